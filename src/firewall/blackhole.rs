// SPDX-License-Identifier: AGPL-3.0-only
//! The prefixes that routers request to drop, for the thread that makes rules from them. The RIB decides which
//! prefixes are accepted (`enrich/rib/blackhole.rs`).

use crossbeam_channel::Receiver;

use super::thread;
use crate::enrich::rib::{Rib, RoutePrefix, SharedRib};

/// A view of the blackhole routes in the RIB.
#[derive(Clone, Debug)]
pub struct Blackholes(SharedRib);

impl Blackholes {
    pub fn new(rib: SharedRib) -> Self {
        Self(rib)
    }
}

impl thread::Blackholes for Blackholes {
    /// Returns the generation and the prefixes, which are sorted.
    fn snapshot(&self) -> (u64, Vec<crate::types::prefix::Prefix>) {
        let (generation, prefixes) = self.0.read(Rib::blackholes);
        let of_config = |prefix: RoutePrefix| {
            crate::types::prefix::Prefix::new(prefix.address(), prefix.length())
        };
        (generation, prefixes.into_iter().map(of_config).collect())
    }

    fn changed(&self) -> Receiver<()> {
        self.0.blackholes_changed()
    }
}
