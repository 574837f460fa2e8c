// SPDX-License-Identifier: AGPL-3.0-only
//! Thread neighbors, which maps MAC addresses to the ASes of neighbors.

use crate::config::Agent;
use crate::enrich::neighbors::{self, NeighborSources};
use crate::enrich::rib::SharedRib;
use crate::types::label::Label;

use super::{Error, Running};

impl Running {
    /// Starts thread neighbors if a label or a series uses its map.
    pub(super) fn start_neighbors(&self, agent: &Agent, rib: &SharedRib) -> Result<(), Error> {
        let prometheus = &agent.prometheus;
        let has_label = prometheus.labels.contains(&Label::PeerAsn);
        if !has_label && !prometheus.peer_series && !agent.enrich.source_check.enabled() {
            return Ok(());
        }
        let live = self.live.clone();
        let sources = NeighborSources {
            rib: rib.clone(),
            interfaces: self.interfaces.clone(),
            peers: Box::new(move || live.config().agent.enrich.peer.clone()),
            neighbors: self.neighbors.clone(),
            errors: self.errors.clone(),
        };
        self.spawn("neighbors", move |heartbeat| {
            neighbors::run(sources, &heartbeat);
        })
    }
}
