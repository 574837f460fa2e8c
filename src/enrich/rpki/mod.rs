// SPDX-License-Identifier: AGPL-3.0-only
//! RPKI: the Validated ROA Payloads (VRPs) by which routes are validated (RFC 6811).
//!
//! ```text
//! file of rpki-client, Routinator or FORT ─┬─► VrpTable ─► SharedVrps ─► thread flow, control
//!         json.rs, file.rs: thread rpki    │     table.rs
//! cache, by RTR                           ─┘
//!         rtr/: thread rtr
//! ```

pub mod file;
pub mod json;
pub mod rtr;
mod table;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use super::rib::Route;
use crate::types::validity::RouteValidity;

pub use table::{MAX_COVERING, MAX_VRPS, Vrp, VrpError, VrpList, VrpTable};

/// The VRPs in use, shared by the threads that look up and the thread that replaces them.
#[derive(Debug, Default)]
pub struct SharedVrps {
    state: RwLock<State>,
    generation: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    used: Option<UsedVrps>,
    problem: Option<String>,
}

/// The VRPs in use and their origin.
#[derive(Clone, Debug)]
pub struct UsedVrps {
    pub table: Arc<VrpTable>,
    /// The file or the cache that supplied them.
    pub source: Arc<str>,
    /// When they were written or received.
    pub updated: SystemTime,
}

impl SharedVrps {
    pub fn get(&self) -> Option<UsedVrps> {
        self.read().used.clone()
    }

    /// Returns a number that advances when the VRPs change.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns why there are no VRPs, or none from the current file.
    pub fn problem(&self) -> Option<String> {
        self.read().problem.clone()
    }

    /// Replaces the VRPs, and removes the problem.
    pub fn set(&self, used: Option<UsedVrps>) {
        let new = State {
            used,
            problem: None,
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *state, new);
        drop(state);
        self.generation.fetch_add(1, Ordering::Release);
        drop(old);
    }

    pub fn set_problem(&self, problem: Option<String>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.problem = problem;
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VrpTable {
    /// Returns the validation state of the route to an address.
    pub fn validate_route(&self, address: IpAddr, route: Route) -> RouteValidity {
        self.validate(address, route.prefix_len, route.origin_asn)
    }
}
