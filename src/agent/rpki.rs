// SPDX-License-Identifier: AGPL-3.0-only
//! The threads that receive VRPs: thread rpki from a file, thread rtr from a cache.

use std::path::Path;

use crate::config::Agent;
use crate::enrich::rpki;

use super::{Error, Running};

impl Running {
    /// Starts the thread of the configured source, if there is one.
    pub(super) fn start_rpki(&self, agent: &Agent) -> Result<(), Error> {
        let (vrps, errors) = (self.vrps.clone(), self.errors.clone());
        let config = &agent.enrich.rpki;
        if let Some(path) = config.file().map(Path::to_owned) {
            self.spawn("rpki", move |heartbeat| {
                rpki::file::run(&path, &vrps, &errors, &heartbeat);
            })
        } else if let Some(server) = config.rtr.clone() {
            self.spawn("rtr", move |heartbeat| {
                rpki::rtr::run(&server, &vrps, &errors, &heartbeat);
            })
        } else {
            Ok(())
        }
    }

    /// Replaces the thread by that of a new configuration. The VRPs in use stay until others have been received.
    pub(super) fn replace_rpki(&self, agent: &Agent) -> Result<(), String> {
        self.threads.stop("rpki");
        self.threads.stop("rtr");
        match agent.enrich.rpki.enabled() {
            true => self.vrps.set_problem(None),
            false => self.vrps.set(None),
        }
        self.start_rpki(agent).map_err(|error| error.to_string())
    }
}
