// SPDX-License-Identifier: AGPL-3.0-only
//! Thread rpki, which reads the VRPs.

use std::path::Path;

use crate::config::Agent;
use crate::enrich::rpki;

use super::{Error, Running};

impl Running {
    /// Starts thread rpki if a file with VRPs is configured.
    pub(super) fn start_rpki(&self, agent: &Agent) -> Result<(), Error> {
        let Some(path) = agent.enrich.rpki.file().map(Path::to_owned) else {
            return Ok(());
        };
        let (vrps, errors) = (self.vrps.clone(), self.errors.clone());
        self.spawn("rpki", move |heartbeat| {
            rpki::file::run(&path, &vrps, &errors, &heartbeat);
        })
    }

    /// Restarts thread rpki with the file of a new configuration. The VRPs in use stay until the file has been read.
    pub(super) fn replace_rpki(&self, agent: &Agent) -> Result<(), String> {
        self.threads.stop("rpki");
        match agent.enrich.rpki.file() {
            Some(_) => self.vrps.set_problem(None),
            None => self.vrps.set(None),
        }
        self.start_rpki(agent).map_err(|error| error.to_string())
    }
}
