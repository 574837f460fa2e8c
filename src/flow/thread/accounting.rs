// SPDX-License-Identifier: AGPL-3.0-only
//! The counters that thread flow updates with each record of a flow.

use std::sync::Arc;

use super::{Enrich, InterfaceNames, RecordLookup};
use crate::flow::export_queue::ExportSender;
use crate::flow::labels::SetId;
use crate::flow::paths::{PathCounters, PathVolume};
use crate::flow::peers::{Peer, PeerNames};
use crate::flow::query::FlowContext;
use crate::flow::rollup::Rollup;
use crate::flow::sources::SourceLookup;
use crate::flow::table::{CompletedRecord, FlowObserver};
use crate::flow::talkers::Talkers;
use crate::flow::volume::Volume;
use crate::types::flow::{FlowKey, FlowRecord};
use crate::types::label::{Enrichment, Label};
use crate::types::mac::MacAddress;
use crate::types::network_path::NetworkPath;
use crate::types::source::CheckedSource;

/// Keeps the rollup consistent with the table.
pub(super) struct FlowAccounting<N, K> {
    pub rollup: Rollup,
    pub names: N,
    pub enricher: K,
    pub generation: u32,
    pub export_sender: Option<ExportSender>,
    pub paths: Option<PathCounters>,
    /// The path of the last record; reused.
    pub path: NetworkPath,
    pub talkers: Talkers,
    pub now_ms: u64,
}

impl<N: InterfaceNames, K: Enrich> FlowAccounting<N, K> {
    /// Adds a completed record to the bytes of its AS path.
    fn count_path(&mut self, record: &FlowRecord) {
        let Some(paths) = &mut self.paths else {
            return;
        };
        if self.names.is_summed(record.key.ifindex) {
            self.enricher.path(&record.key, &mut self.path);
            let Volume { bytes, packets, .. } = record.into();
            let volume = PathVolume { bytes, packets };
            paths.count(self.now_ms, record.key.direction, self.path.path(), volume);
        }
    }

    /// Calls `body` with the talkers, which need the labels of flows.
    pub fn with_talkers<T>(&mut self, body: impl FnOnce(&mut Talkers, &Self) -> T) -> T {
        let mut talkers = std::mem::take(&mut self.talkers);
        let result = body(&mut talkers, self);
        self.talkers = talkers;
        result
    }

    /// Updates the generation if names or enrichment changed.
    pub fn update_generation(&mut self, now_ms: u64) {
        // Each of the two only advances, and so does their sum.
        let known = self.enricher.generation(now_ms);
        self.generation = self.names.generation().wrapping_add(known);
    }
}

impl<N: InterfaceNames, K: Enrich> PeerNames for FlowAccounting<N, K> {
    fn ifname(&self, ifindex: u32) -> Arc<str> {
        self.names.name(ifindex).unwrap_or_default()
    }

    fn peer(&self, ifindex: u32, mac: MacAddress) -> Peer {
        self.enricher.peer(ifindex, mac)
    }
}

impl<N: InterfaceNames, K: Enrich> SourceLookup for FlowAccounting<N, K> {
    fn ifname(&self, ifindex: u32) -> Arc<str> {
        self.names.name(ifindex).unwrap_or_default()
    }

    fn check_source(&self, record: &FlowRecord) -> Option<CheckedSource> {
        self.enricher.check_source(record)
    }
}

impl<N: InterfaceNames, K: Enrich> FlowObserver for FlowAccounting<N, K> {
    fn generation(&self) -> u32 {
        self.generation
    }

    fn follows_neighbors(&self) -> bool {
        self.rollup.labels().has(Label::PeerAsn)
    }

    fn started(&mut self, record: &FlowRecord) -> SetId {
        let name = self.names.name(record.key.ifindex);
        let name = name.as_deref().unwrap_or_default();
        self.rollup.open(&record.key, name, &self.known(record))
    }

    fn relabelled(&mut self, set: SetId, part: &FlowRecord) -> SetId {
        let new = self.started(part);
        self.rollup.relabel(set, new, part.into());
        new
    }

    fn updated(&mut self, set: SetId, record: &FlowRecord) {
        self.rollup.count(set, record.into());
        if !record.weights.is_one() {
            self.rollup.add_variance(set, record.into());
        }
        if !self.talkers.is_idle() {
            self.with_talkers(|talkers, context| {
                talkers.count(record, set, context.now_ms, context);
            });
        }
    }

    fn exported(&mut self, set: SetId, part: &CompletedRecord) {
        self.rollup.remove_live(set, Volume::from(&part.record));
        self.count_path(&part.record);
        if let Some(export_sender) = &mut self.export_sender {
            export_sender.push(part);
        }
    }

    fn ended(&mut self, set: SetId) {
        self.rollup.close(set);
    }
}

impl<N: InterfaceNames, K: Enrich> RecordLookup for FlowAccounting<N, K> {
    fn generation(&self) -> u32 {
        self.generation
    }

    fn name(&self, ifindex: u32) -> Option<Arc<str>> {
        self.names.name(ifindex)
    }

    fn is_summed(&self, ifindex: u32) -> bool {
        self.names.is_summed(ifindex)
    }

    fn peer_asn(&self, record: &FlowRecord) -> u32 {
        self.enricher.peer_asn(&record.key, record.neighbor_mac())
    }

    fn source_country(&self, record: &FlowRecord) -> Option<Arc<str>> {
        self.known(record).src.country
    }
}

impl<N: InterfaceNames, K: Enrich> FlowContext for FlowAccounting<N, K> {
    fn known(&self, record: &FlowRecord) -> Enrichment {
        self.enricher.enrichment(&record.key, record.neighbor_mac())
    }

    fn asns(&self, key: &FlowKey, set: SetId) -> [u32; 2] {
        self.rollup.asns_of(set).unwrap_or_else(|| {
            let known = self.enricher.enrichment(key, MacAddress::ZERO);
            [known.src.asn, known.dst.asn]
        })
    }

    fn asn_name(&self, asn: u32) -> Option<Arc<str>> {
        self.enricher.asn_name(asn)
    }

    fn name(&self, ifindex: u32) -> Option<Arc<str>> {
        self.names.name(ifindex)
    }
}
