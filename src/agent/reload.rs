// SPDX-License-Identifier: AGPL-3.0-only
//! Changes the configuration while the agent runs: by a reload of the configuration file, or by a command.
//!
//! The steps that can fail run first: a file that is not valid, or that names an unusable database or
//! web configuration file, changes nothing.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::commands::{Applied, Command, CommandError};
use super::firewall::FirewallThread;
use super::ipfix::{Export, Exporter};
use super::links::LinksThread;
use super::{Running, derive};
use crate::attach::thread::LinkCommand;
use crate::bpf::load::ConfigMap;
use crate::config::{Config, ConfigSource, Machine};
use crate::enrich::bmp::BmpChange;
use crate::enrich::mmdb::Databases;
use crate::enrich::rib::SharedRib;
use crate::flow::thread::{self, FlowChange, Request};
use crate::store::event_log;
use crate::sys::logging;
use crate::sys::os_error;
use crate::types::event::EventKind;

/// The time that thread flow has to apply a change.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// All parts that a change of the configuration affects.
pub(super) struct Reconfigurer<'a> {
    pub source: &'a ConfigSource,
    pub running: &'a Running,
    pub links: &'a LinksThread,
    pub flows: Sender<Request>,
    pub bmp: Option<Sender<BmpChange>>,
    pub rib: SharedRib,
    pub export: Export,
    pub programs: ConfigMap,
    pub firewall: FirewallThread,
}

impl Reconfigurer<'_> {
    pub fn apply(&self, command: Command) -> Result<Applied, CommandError> {
        match command {
            Command::Reload => self.reload(),
            Command::SetSampleRate(rate) => self.set_sample_rate(rate),
            Command::SetLogLevel(level) => {
                logging::set_level(level);
                log::info!("the log level is {level} now");
                Ok(Applied::default())
            }
        }
    }

    /// Reads the file again.
    pub fn reload(&self) -> Result<Applied, CommandError> {
        let live = &self.running.live;
        match self.try_reload() {
            Ok((config, done)) => {
                live.reloaded(config);
                let keys = |keys: &[String]| match keys {
                    [] => "nothing".to_owned(),
                    keys => keys.join(", "),
                };
                let changed = keys(&done.changed);
                event_log::record(EventKind::Reload, &changed);
                log::info!("configuration read again; changed: {changed}");
                if !done.kept.is_empty() {
                    log::warn!("kept as before until the next start: {}", keys(&done.kept));
                }
                Ok(done)
            }
            Err(reason) => {
                live.reload_failed();
                log::error!("{reason}");
                log::error!("the configuration in force stays as it is");
                Err(reason)
            }
        }
    }

    fn try_reload(&self) -> Result<(Config, Applied), CommandError> {
        let read = self.source.load(&Machine::here());
        let read = read.map_err(|error| error.to_string())?;
        let before = self.running.live.config();
        let after = before.merged(&read);
        let done = Applied {
            changed: before.differences(&after),
            kept: after.differences(&read),
        };
        let databases = (before.agent.enrich.mmdb != after.agent.enrich.mmdb)
            .then(|| Databases::open(&derive::databases(&after.agent.enrich.mmdb)))
            .transpose()?;
        let web = self.running.web.read(&after.agent.prometheus)?;
        self.firewall.change(&before, &after)?;
        self.push_to_programs(&after)?;
        if let Some(databases) = databases {
            self.running
                .replace_databases(databases, derive::databases(&after.agent.enrich.mmdb))?;
        }
        if before.agent.enrich.rpki != after.agent.enrich.rpki {
            self.running.replace_rpki(&after.agent)?;
        }
        self.running.replace_web(web)?;
        let exports = before.agent.ipfix != after.agent.ipfix;
        self.push_to_threads(&after, exports)?;
        for warning in after.warnings() {
            log::warn!("{warning}");
        }
        Ok((after, done))
    }

    /// Sets the values in the map of the BPF programs; they apply to the next packet.
    fn push_to_programs(&self, config: &Config) -> Result<(), CommandError> {
        let bpf = &config.agent.bpf;
        let batch = derive::wakeup_batch_here(bpf);
        self.programs.set(bpf.sample_rate, batch).map_err(|error| {
            let reason = os_error::reason(&error);
            format!("cannot set the sample rate of the BPF programs: {reason}; nothing was changed")
        })
    }

    /// Sends the new configuration to the threads; `exports` if the collectors have changed.
    fn push_to_threads(&self, config: &Config, exports: bool) -> Result<(), CommandError> {
        let agent = &config.agent;
        let ended = |name: &str| format!("thread {name} has ended");
        let interfaces = &self.running.interfaces;
        interfaces.set_previous_ttl(agent.prometheus.series_ttl);
        let (export_sender, exporter) = match exports {
            true => {
                let (export_sender, exporter) = self.export.prepare(agent);
                (Some(export_sender), exporter)
            }
            false => (None, None),
        };
        if exports {
            self.firewall
                .export(export_sender.as_ref().and_then(Option::as_ref));
        }
        let change = FlowChange {
            settings: derive::flow(agent),
            prefixes: agent.enrich.prefix.clone(),
            export_sender,
        };
        self.flows
            .send(Request::Change(Box::new(change)))
            .map_err(|_| ended("flow"))?;
        match exports {
            true => self.replace_exporter(config, exporter)?,
            false => self.export.look_up_again(),
        }
        if let Some(bmp) = &self.bmp {
            bmp.send(agent.into()).map_err(|_| ended("bmp"))?;
        }
        let command = LinkCommand::Watch {
            patterns: Arc::new(agent.patterns()),
            directions: agent.directions.clone(),
            roles: agent.interface.clone(),
        };
        match self.links.handle.send(command) {
            true => Ok(()),
            false => Err(ended("links")),
        }
    }

    /// Replaces thread ipfix. Thread flow already sends its records to the new one; the previous one sends its
    /// remaining records and ends.
    fn replace_exporter(
        &self,
        config: &Config,
        exporter: Option<Exporter>,
    ) -> Result<(), CommandError> {
        // requests are answered in order: after this answer, thread flow has applied the change
        thread::ask(&self.flows, REPLY_TIMEOUT, Request::Totals).map_err(|_| {
            "the flow table did not answer in time: the agent is overloaded; try again".to_owned()
        })?;
        self.running.threads.stop("ipfix");
        match exporter {
            Some(exporter) => self
                .running
                .start_ipfix(exporter, &config.agent, &self.rib)
                .map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    fn set_sample_rate(&self, rate: u32) -> Result<Applied, CommandError> {
        const KEY: &str = "agent.bpf.sample_rate";
        if rate == 0 {
            return Err(format!("{KEY}: expected at least 1, got 0"));
        }
        let mut config = Config::clone(&self.running.live.config());
        let before = std::mem::replace(&mut config.agent.bpf.sample_rate, rate);
        self.push_to_programs(&config)?;
        self.running.live.set(config);
        log::info!("{KEY} is {rate} now, it was {before}");
        Ok(Applied {
            changed: vec![KEY.to_owned()],
            kept: Vec::new(),
        })
    }
}
