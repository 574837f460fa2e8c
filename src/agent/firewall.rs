// SPDX-License-Identifier: AGPL-3.0-only
//! Starts and controls thread firewall, if the firewall is enabled.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::derive::has_kernel_types;
use super::{Error, Running};
use crate::bpf::capture::TracedProgram;
use crate::bpf::xdp::XdpSettings;
use crate::config::{self, Agent, Config};
use crate::enrich::rib::{PeerKind, SharedRib};
use crate::enrich::source_check;
use crate::firewall::allowlist::{self, MAX_PEERS};
use crate::firewall::backend::Programs;
use crate::firewall::blackhole::Blackholes;
use crate::firewall::handle::{FirewallSettings, Handle, RequestReceiver};
use crate::firewall::kept_links::KeptLinks;
use crate::firewall::pins::Pins;
use crate::firewall::rule_set::{MAX_GUARD_RULES, MAX_RULES};
use crate::firewall::thread::{Worker, WorkerParams};
use crate::flow::export_queue::ExportSender;
use crate::netlink::{self, LinkEvents, LinkSocket};
use crate::sys::os_error;
use crate::types::flow::Direction;
use crate::types::interface_pattern::Patterns;
use crate::types::source::SourceCheckMode;

/// Dropped packets often belong to floods, and a few samples of a flood are enough.
const MIN_SAMPLE_RATE: u32 = 100;
/// Bytes: about two thousand samples between two reads.
const RING_BYTES: u32 = 256 * 1024;

/// Returns the part of the configuration that can change while the agent runs.
fn rule_settings(config: &config::Firewall) -> FirewallSettings {
    FirewallSettings {
        patterns: Patterns::new(config.interfaces.clone(), Vec::new()),
        rules: config.rule.clone(),
        allow: config.allow.clone(),
        allow_own: config.allow_own,
        blackhole_action: config.blackhole_action,
    }
}

/// Thread firewall before its start: other threads receive its handle first.
pub(super) struct Firewall {
    handle: Handle,
    requests: RequestReceiver,
}

impl Firewall {
    pub fn prepare(agent: &Agent) -> Result<Option<Self>, Error> {
        if !agent.firewall.enabled {
            return Ok(None);
        }
        let (handle, requests) = Handle::new().map_err(Error::Start)?;
        Ok(Some(Self { handle, requests }))
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

/// The running thread firewall; none if the firewall is disabled.
#[derive(Clone, Default)]
pub(super) struct FirewallThread(Option<Handle>);

/// The running thread, and its programs for programs that trace them.
type Started = (FirewallThread, Vec<TracedProgram>);

impl FirewallThread {
    /// Applies the part of the configuration that can change.
    pub fn change(&self, before: &Config, after: &Config) -> Result<(), String> {
        let (before, after) = (&before.agent.firewall, &after.agent.firewall);
        match &self.0 {
            Some(handle) if before != after => handle
                .change(rule_settings(after))
                .map_err(|refusal| refusal.why),
            _ => Ok(()),
        }
    }

    /// Sets the export queue for dropped flows, in addition to the flows of thread flow.
    pub fn export(&self, export_sender: Option<&ExportSender>) {
        if let Some(handle) = &self.0 {
            handle.export(export_sender.map(clone_for_firewall));
        }
    }

    /// Detaches everything and ends the thread.
    pub fn end(&self, running: &Running, waiting: &mut dyn FnMut(Duration)) {
        if let Some(handle) = &self.0 {
            handle.end();
            running.threads.stop_with("firewall", waiting);
        }
    }
}

/// Returns the settings of the firewall's programs and maps.
pub(super) fn xdp_settings(agent: &Agent) -> XdpSettings {
    XdpSettings {
        sample_rate: agent.bpf.sample_rate.max(MIN_SAMPLE_RATE),
        ring_bytes: RING_BYTES,
        max_rules: (MAX_RULES + MAX_GUARD_RULES + allowlist::MAX_RULES + source_check::MAX_RULES)
            as u32,
        typed: has_kernel_types(),
    }
}

impl Running {
    pub(super) fn start_firewall(
        &self,
        firewall: Option<Firewall>,
        agent: &Agent,
        rib: &SharedRib,
        export_sender: Option<ExportSender>,
        mut kept: KeptLinks,
    ) -> Result<Started, Error> {
        let Some(Firewall { handle, requests }) = firewall else {
            drop(remove_pins(|_| false));
            return Ok(Started::default());
        };
        let config = &agent.firewall;
        let patterns = Patterns::new(config.interfaces.clone(), Vec::new());
        let events = LinkEvents::open(self.errors.clone()).map_err(Error::Links)?;
        let links = LinkSocket::new(self.errors.clone()).dump();
        let links = links.map_err(Error::Links)?;
        let is_wanted = |ifindex| {
            let link = netlink::find(&links, ifindex);
            link.is_some_and(|link| patterns.matches(&link.name, link.loopback))
        };
        let pins = remove_pins(|ifindex| config.pin && is_wanted(ifindex));
        match kept.retain(is_wanted) {
            0 => {}
            count => log::info!(
                "firewall: {count} interfaces kept their program while the service restarted"
            ),
        }
        let settings = xdp_settings(agent);
        let programs =
            Programs::load(&settings, pins.filter(|_| config.pin), kept).map_err(Error::Load)?;
        let traced = programs.traced().map_err(Error::Maps)?;
        let (rib, routers) = (rib.clone(), rib.clone());
        let asked_for = !config.blackhole_communities.is_empty();
        let enforced = agent.enrich.source_check.mode == SourceCheckMode::Enforce;
        let sources = self.sources.clone();
        let start = WorkerParams {
            backend: Box::new(programs),
            settings: rule_settings(config),
            state_file: config.state_file.clone(),
            events,
            links,
            peers: Box::new(move || peers(&routers)),
            blackholes: asked_for.then(|| Box::new(Blackholes::new(rib)) as _),
            source_check: enforced.then(|| Box::new(move || sources.rules()) as _),
            export_sender,
            errors: self.errors.clone(),
        };
        let worker = Worker::new(start, requests).map_err(Error::Firewall)?;
        self.spawn("firewall", move |heartbeat| worker.run(&heartbeat))?;
        Ok((FirewallThread(Some(handle)), traced))
    }
}

/// Removes the pins that killed agents left and that this agent does not take over. `None` without a `/proc`.
pub(super) fn remove_pins(kept: impl Fn(u32) -> bool) -> Option<Pins> {
    let pins = Pins::find()
        .inspect_err(|error| {
            log::warn!(
                "cannot read the network namespace: {}",
                os_error::reason(error)
            )
        })
        .ok()?;
    let (pins, removed) = pins.remove(kept);
    if removed > 0 {
        log::info!("removed the firewall of a killed agent from {removed} interfaces");
    }
    Some(pins)
}

/// Returns a sender for dropped flows: packets are dropped on ingress, so the configured directions do not
/// apply.
pub(super) fn clone_for_firewall(export_sender: &ExportSender) -> ExportSender {
    export_sender.clone_for(vec![Direction::Ingress])
}

/// Returns the addresses of the BMP routers and of the peers that they report.
fn peers(rib: &SharedRib) -> BTreeSet<IpAddr> {
    let (peers, _) = rib.read(|rib| rib.peers(MAX_PEERS));
    let mut addresses = BTreeSet::new();
    for peer in peers {
        addresses.insert(peer.router.address.to_canonical());
        // a Loc-RIB has none, nor has the router itself
        if !matches!(peer.key.kind, PeerKind::LocRib | PeerKind::Originated) {
            addresses.insert(peer.key.address.to_canonical());
        }
    }
    addresses
}
