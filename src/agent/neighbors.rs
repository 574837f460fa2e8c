// SPDX-License-Identifier: AGPL-3.0-only
//! Thread neighbors, which maps MAC addresses to the ASes of neighbors.

use crate::config::Agent;
use crate::enrich::neighbors::{self, NeighborSources};
use crate::enrich::rib::SharedRib;
use crate::types::label::Label;

use super::{Error, Running};

impl Running {
    /// Starts thread neighbors if a label, a series, the source check or the guard uses its map.
    pub(super) fn start_neighbors(&self, agent: &Agent, rib: &SharedRib) -> Result<(), Error> {
        let prometheus = &agent.prometheus;
        let is_shown = prometheus.labels.contains(&Label::PeerAsn) || prometheus.peer_series;
        if !is_shown && !agent.enrich.source_check.enabled() && !agent.guard.enabled {
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
