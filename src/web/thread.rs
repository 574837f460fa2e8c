// SPDX-License-Identifier: AGPL-3.0-only
//! Thread web: verifies passwords, and reads the files again when they change.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::gate::WebGate;
use super::load::{Attempt, WebFiles, load};
use crate::sys::threads::{self, Heartbeat};

/// The time between two checks of the files.
const INTERVAL: Duration = Duration::from_secs(1);

/// The longest wait for a password, so that a stop is noticed.
const TICK: Duration = Duration::from_millis(250);

/// Runs until `heartbeat` requests a stop. `files` are those that were read for the gate's current state.
pub fn run(gate: &WebGate, path: PathBuf, files: WebFiles, heartbeat: &Heartbeat) {
    threads::lower_priority();
    let mut watch = Watch {
        path,
        files,
        state: FileHealth::Good,
    };
    let mut checked = Instant::now();
    while !heartbeat.stopping() {
        heartbeat.beat();
        gate.work(TICK);
        if checked.elapsed() >= INTERVAL {
            watch.check(gate);
            checked = Instant::now();
        }
    }
}

/// The files, and whether they can be used.
struct Watch {
    path: PathBuf,
    files: WebFiles,
    state: FileHealth,
}

#[derive(PartialEq, Eq)]
enum FileHealth {
    Good,
    /// Could not be used once. A renewal may be under way that replaces one file after the other.
    Doubtful,
    /// The reason that was reported.
    Broken(String),
}

impl Watch {
    fn check(&mut self, gate: &WebGate) {
        if self.state != FileHealth::Doubtful && !self.files.have_changed() {
            return;
        }
        let Attempt { result, files } = load(&self.path);
        self.files = files;
        self.state = match (result, &self.state) {
            (Ok(loaded), _) => {
                for warning in &loaded.warnings {
                    log::warn!("{}: {warning}", self.path.display());
                }
                gate.replace(Some(loaded));
                log::info!("{}: read again", self.path.display());
                FileHealth::Good
            }
            (Err(_), FileHealth::Good) => FileHealth::Doubtful,
            (Err(reason), FileHealth::Broken(reported)) if *reported == reason => {
                FileHealth::Broken(reason)
            }
            (Err(reason), _) => {
                log::error!(
                    "agent.prometheus.web_config: {reason}; the previous certificate and users stay in use: correct \
                     the file, and rfm reads it again within 2 s"
                );
                gate.status.set_problem(Some(reason.clone()));
                FileHealth::Broken(reason)
            }
        };
    }
}
