// SPDX-License-Identifier: AGPL-3.0-only
//! Thread ipfix and its data sources.

use std::cell::RefCell;
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::{Error, Running};
use crate::bpf::counters::Counters;
use crate::config::current::CurrentConfig;
use crate::config::{Agent, Config};
use crate::enrich::rib::SharedRib;
use crate::enrich::{Enricher, FlowRouting};
use crate::flow::export_queue::{DroppedRecords, ExportReceiver, ExportSender};
use crate::flow::thread::Enrich;
use crate::interfaces::InterfaceRegistry;
use crate::ipfix::collector_stats::{CollectorStats, CollectorStatsList};
use crate::ipfix::flows::Layout;
use crate::ipfix::options::ExportedInterface;
use crate::ipfix::thread::{self, ExportSources, ExporterSettings, Target};
use crate::netlink::{Link, LinkSocket, NextHops, stacked_interfaces};
use crate::sys::clock::Clock;
use crate::types::flow::{Direction, FlowRecord};

/// The state of the export that survives a change of its configuration.
#[derive(Clone, Default)]
pub(super) struct Export {
    pub stats: CollectorStatsList,
    losses: Arc<DroppedRecords>,
    lookups: Arc<AtomicU32>,
}

/// Thread ipfix before its start: thread flow receives its end of the channel first.
pub(super) struct Exporter {
    settings: ExporterSettings,
    export_receiver: ExportReceiver,
}

impl Export {
    /// Returns the ends of the channel for thread flow and thread ipfix; none without a collector. A collector
    /// that stays configured keeps its counts.
    pub fn prepare(&self, agent: &Agent) -> (Option<ExportSender>, Option<Exporter>) {
        let ipfix = &agent.ipfix;
        let before = self.stats.all();
        let collectors = ipfix.collectors();
        let stats: Vec<_> = collectors
            .iter()
            .map(|collector| self.stats(collector.label(), &before))
            .collect();
        self.stats.replace(stats.clone());
        if collectors.is_empty() {
            return (None, None);
        }
        let targets = collectors.iter().zip(stats);
        let targets = targets.map(|(collector, stats)| Target::new(collector, &ipfix.bind, stats));
        let settings = ExporterSettings {
            targets: targets.collect(),
            template_refresh: ipfix.template_refresh,
            domain: ipfix.observation_domain_id,
            layout: Layout {
                routes: agent.enrich.rib.bmp.enabled(),
                prev_adjacent: ipfix.prev_adjacent,
                drops: agent.firewall.enabled,
                source_check: NonZeroU32::new(ipfix.enterprise_number)
                    .filter(|_| agent.enrich.source_check.enabled()),
            },
            sample_rate: agent.bpf.sample_rate,
            lookups: self.lookups.clone(),
            clock: Clock::new(),
        };
        let (export_sender, export_receiver) =
            ExportSender::new(ipfix.directions.clone(), self.losses.clone());
        (
            Some(export_sender),
            Some(Exporter {
                settings,
                export_receiver,
            }),
        )
    }

    /// Requests a new lookup of the names of the collectors.
    pub fn look_up_again(&self) {
        self.lookups.fetch_add(1, Ordering::Release);
    }

    fn stats(&self, label: String, before: &[Arc<CollectorStats>]) -> Arc<CollectorStats> {
        let same = before.iter().find(|stats| stats.collector == label);
        same.cloned()
            .unwrap_or_else(|| Arc::new(CollectorStats::new(label, self.losses.clone())))
    }
}

impl Running {
    pub(super) fn start_ipfix(
        &self,
        exporter: Exporter,
        agent: &Agent,
        rib: &SharedRib,
    ) -> Result<(), Error> {
        let sources = AgentSources {
            enricher: self.enricher(agent, rib),
            checks_sources: exporter.settings.layout.source_check.is_some(),
            links: LinkSocket::new(self.errors.clone()),
            gateways: RefCell::new(NextHops::new(self.errors.clone())),
            interfaces: self.interfaces.clone(),
            counters: self.counters.clone(),
            config: self.live.config(),
            live: self.live.clone(),
        };
        let errors = self.errors.clone();
        self.spawn("ipfix", move |heartbeat| {
            thread::run(
                exporter.settings,
                sources,
                exporter.export_receiver,
                &errors,
                &heartbeat,
            );
        })
    }
}

/// The data of the agent that thread ipfix uses.
struct AgentSources {
    enricher: Enricher,
    checks_sources: bool,
    links: LinkSocket,
    gateways: RefCell<NextHops>,
    interfaces: Arc<InterfaceRegistry>,
    counters: Arc<OnceLock<Counters>>,
    live: Arc<CurrentConfig>,
    /// The configuration at the last refresh.
    config: Arc<Config>,
}

impl ExportSources for AgentSources {
    fn refresh(&mut self, now_ms: u64) {
        let config = self.live.config();
        if !Arc::ptr_eq(&config, &self.config) {
            self.enricher.set_prefixes(&config.agent.enrich.prefix);
            self.config = config;
        }
        self.enricher.generation(now_ms);
    }

    fn routing(&self, record: &FlowRecord) -> FlowRouting {
        let mut routing = self.enricher.routing(&record.key);
        if self.checks_sources && record.key.direction == Direction::Ingress {
            let checked = self.enricher.check_source(record);
            routing.source = checked.map(|checked| checked.state);
        }
        routing.ip_next_hop = routing.dst.next_hop.and_then(|hop| {
            let mut gateways = self.gateways.borrow_mut();
            gateways.of(hop, Instant::now())
        });
        routing
    }

    fn end_batch(&mut self) {
        self.enricher.end_batch();
    }

    /// Returns no interfaces if the kernel does not answer: the socket has counted and logged the error.
    fn interfaces(&mut self) -> Vec<ExportedInterface> {
        let links = self.links.dump().unwrap_or_default();
        let watched: HashSet<_> = self
            .interfaces
            .monitored()
            .into_iter()
            .map(|w| w.ifindex)
            .collect();
        let repeating = stacked_interfaces::repeating_flows(
            links.iter().filter(|link| watched.contains(&link.ifindex)),
        );
        let interface = |link: &Link| ExportedInterface {
            ifindex: link.ifindex,
            name: link.name.clone(),
            description: link.alias.clone(),
            repeats: repeating.contains(&link.ifindex),
        };
        links.iter().map(interface).collect()
    }

    fn dropped(&self) -> (u64, u64) {
        let Some(counters) = self.counters.get() else {
            return (0, 0);
        };
        let kernel = |slot, direction| counters.hook(slot, direction).ok();
        let all = self.interfaces.snapshot().all_hooks(kernel);
        all.families
            .iter()
            .fold((0, 0), |(packets, bytes), family| {
                let dropped = family.dropped;
                (
                    u64::wrapping_add(packets, dropped.packets),
                    u64::wrapping_add(bytes, dropped.bytes),
                )
            })
    }
}
