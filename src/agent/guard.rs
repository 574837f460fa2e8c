// SPDX-License-Identifier: AGPL-3.0-only
//! Starts thread guard, if the guard is enabled.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crossbeam_channel::Receiver;

use super::{Error, Running};
use crate::bpf::capture::{PacketCapture, TracedProgram};
use crate::bpf::load::LoadedPrograms;
use crate::config::{self, Agent};
use crate::firewall::handle::Handle;
use crate::guard::backend::RuleBackend;
use crate::guard::baseline::BaselineSettings;
use crate::guard::baseline_file::{self, BaselineFile};
use crate::guard::feed::GuardFeed;
use crate::guard::links::LinkCounters;
use crate::guard::recorder::PacketFiles;
use crate::guard::report::DetectorEvent;
use crate::guard::shared::{GuardHandle, GuardRequest};
use crate::guard::thread::Worker;
use crate::guard::thresholds::PlainThreshold;
use crate::guard::{ActionSettings, DetectorSettings, Thresholds};
use crate::netlink;
use crate::sys::os_error;
use crate::types::guard::BaselineMode;
use crate::types::prefix::Prefix;

/// Protected prefixes if the configuration names none; the rest is left out.
const MAX_LOCAL: usize = 256;

/// The guard before its start: other threads receive its handle first.
pub(super) struct PreparedGuard {
    pub handle: GuardHandle,
    requests: Receiver<GuardRequest>,
    events: Receiver<DetectorEvent>,
    settings: ActionSettings,
    links: LinkCounters,
    /// `None`: nothing is learned.
    baseline: Option<BaselineFile>,
}

impl PreparedGuard {
    /// Returns the guard and its feed for thread flow; `None` if it is disabled.
    pub fn prepare(agent: &Agent) -> Result<Option<(Self, GuardFeed)>, Error> {
        let config = &agent.guard;
        if !config.enabled {
            return Ok(None);
        }
        let protect = match config.protect.is_empty() {
            true => local_networks().map_err(Error::Start)?,
            false => config.protect.clone(),
        };
        let names: Vec<_> = protect.iter().map(Prefix::to_string).collect();
        match names.is_empty() {
            true => log::warn!(
                "the guard protects nothing: this machine has no connected network; set agent.guard.protect"
            ),
            false => log::info!("the guard protects {}", names.join(", ")),
        }
        let (handle, requests) = GuardHandle::new();
        handle.lock().protect.clone_from(&protect);
        let (feed, events) = GuardFeed::new(
            detector(config, protect),
            thresholds(config),
            handle.clone(),
        );
        let guard = Self {
            handle,
            requests,
            events,
            settings: ActionSettings {
                mode: config.mode,
                action: config.action,
                ttl: config.ttl,
                max_rules: config.max_rules as usize,
            },
            links: links(config),
            baseline: (config.baseline == BaselineMode::Learn)
                .then(|| BaselineFile(config.baseline_file.clone())),
        };
        Ok(Some((guard, feed)))
    }
}

impl Running {
    /// Returns the recorder of attacks, if it is enabled. An error only disables it.
    pub(super) fn recorder(
        &self,
        config: &config::Guard,
        loaded: &LoadedPrograms,
        firewall: Vec<TracedProgram>,
    ) -> Option<PacketFiles> {
        if !config.pcap {
            return None;
        }
        let disabled = |why: String| log::warn!("the packets of attacks are not stored: {why}");
        let ingress = loaded.traced_ingress();
        let ingress = ingress.map_err(|error| disabled(error.to_string())).ok()?;
        let capture = PacketCapture::new(ingress, firewall);
        let capture = capture
            .map_err(|error| {
                disabled(format!(
                    "{error}; see docs/guard.md for the kernels that can do this"
                ))
            })
            .ok()?;
        let interfaces = self.interfaces.clone();
        let name = move |ifindex| Some(interfaces.name_of(ifindex)?.to_string());
        let folder = config.pcap_dir.clone();
        let files = config.pcap_files as usize;
        let recorder = PacketFiles::new(capture, folder, files, Box::new(name));
        let failed = |error| {
            let why = os_error::reason(&error);
            disabled(format!(
                "{}: {why}; set agent.guard.pcap_dir",
                config.pcap_dir.display()
            ));
        };
        recorder.map_err(failed).ok()
    }

    pub(super) fn start_guard(
        &self,
        guard: PreparedGuard,
        firewall: Option<Handle>,
        recorder: Option<PacketFiles>,
    ) -> Result<(), Error> {
        let backend = firewall.map(|handle| Box::new(handle) as Box<dyn RuleBackend>);
        let worker = Worker::new(guard.settings, backend, guard.handle, guard.links);
        let worker = worker.save(guard.baseline);
        let worker = match recorder {
            Some(recorder) => worker.record(Box::new(recorder)),
            None => worker,
        };
        let (events, requests) = (guard.events, guard.requests);
        self.spawn("guard", move |heartbeat| {
            worker.run(&events, &requests, &heartbeat);
        })
    }
}

fn detector(config: &config::Guard, protect: Vec<Prefix>) -> DetectorSettings {
    let of = |values: [u64; 5]| {
        Thresholds(values.map(|value| match value {
            0 => f32::INFINITY,
            value => value as f32,
        }))
    };
    DetectorSettings {
        protect,
        host: of([
            config.host_packets,
            config.host_bits,
            config.host_new_flows,
            config.host_syn,
            config.host_fragments,
        ]),
        prefix: of([
            config.prefix_packets,
            config.prefix_bits,
            config.prefix_new_flows,
            config.prefix_syn,
            config.prefix_fragments,
        ]),
        baseline: baseline(config),
    }
}

fn baseline(config: &config::Guard) -> BaselineSettings {
    let path = &config.baseline_file;
    let learned = match config.baseline {
        BaselineMode::Off => Ok(Default::default()),
        BaselineMode::Learn | BaselineMode::Frozen => baseline_file::load(path),
    };
    BaselineSettings {
        mode: config.baseline,
        factor: config.baseline_factor as f32,
        learned: learned.unwrap_or_else(|why| {
            let shown = path.display();
            log::warn!(
                "the baseline of the guard in {shown} is not used, so that the thresholds are those of the configuration: {why}"
            );
            Default::default()
        }),
    }
}

fn links(config: &config::Guard) -> LinkCounters {
    let speeds = config.link.iter();
    let speeds = speeds.map(|link| (link.interface.clone(), link.speed));
    LinkCounters::new("/sys/class/net".into(), speeds.collect())
}

fn thresholds(config: &config::Guard) -> Vec<PlainThreshold> {
    let tables = config.threshold.iter();
    // a valid table has one target and one limit
    let valid = tables.filter_map(|table| {
        let (kind, limit) = table.limits().pop()?;
        Some(PlainThreshold {
            target: table.targets().pop()?,
            heading: table.direction,
            kind,
            limit,
            lasts: table.r#for,
        })
    });
    valid.collect()
}

/// Returns the networks to which this machine is connected.
fn local_networks() -> std::io::Result<Vec<Prefix>> {
    let networks = netlink::connected_networks()?;
    let prefixes = networks.into_iter().map(|network| network.prefix);
    let is_local = |prefix: &Prefix| {
        let is_link_local = match prefix.address() {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        !is_link_local && !prefix.address().is_loopback()
    };
    let named: BTreeSet<_> = prefixes
        .filter(is_local)
        .map(|prefix| (prefix.address(), prefix.length()))
        .collect();
    let sorted = named.into_iter().take(MAX_LOCAL);
    Ok(sorted
        .map(|(address, length)| Prefix::new(address, length))
        .collect())
}
