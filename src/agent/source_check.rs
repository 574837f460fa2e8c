// SPDX-License-Identifier: AGPL-3.0-only
//! Thread source-check, which builds the tables of the source check.

use crate::config::Agent;
use crate::enrich::rib::SharedRib;
use crate::enrich::source_check::{self, SourceSettings, TableSources};
use crate::types::source::SourceCheckMode;

use super::{Error, Running};

impl Running {
    /// Starts thread source-check if sources are checked.
    pub(super) fn start_source_check(&self, agent: &Agent, rib: &SharedRib) -> Result<(), Error> {
        if !agent.enrich.source_check.enabled() {
            return Ok(());
        }
        let live = self.live.clone();
        let settings = move || {
            let config = live.config();
            SourceSettings {
                bogons: config.agent.enrich.source_check.bogons.clone(),
                roles: config.agent.interface.clone(),
            }
        };
        let sources = TableSources {
            rib: rib.clone(),
            interfaces: self.interfaces.clone(),
            neighbors: self.neighbors.clone(),
            settings: Box::new(settings),
            enforces: agent.enrich.source_check.mode == SourceCheckMode::Enforce,
            tables: self.sources.clone(),
            errors: self.errors.clone(),
        };
        self.spawn("source-check", move |heartbeat| {
            source_check::run(sources, &heartbeat);
        })
    }
}
