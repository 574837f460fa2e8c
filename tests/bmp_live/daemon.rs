// SPDX-License-Identifier: AGPL-3.0-only
//! What the scenarios need to know of a routing daemon.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::common::lab::{Lab, Namespace, end};

/// The router's AS, as in the README.
pub const HOME: u32 = 64512;

pub trait Daemon {
    /// Writes its configuration: two passive sessions with the neighbours of [`crate::site`], and the
    /// README's stanza.
    fn configure(&self, lab: &Lab);

    /// Program and arguments; it stays in the foreground.
    fn command(&self, lab: &Lab) -> (String, Vec<String>);

    /// How it comes back to an agent that was restarted.
    fn rejoins(&self) -> Rejoins;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejoins {
    /// Within this time.
    ByItself(Duration),
    /// It notices only when it writes.
    OnUpdates,
    /// It is back within this time, and silent about sessions that are up already.
    WithNewSessionsOnly(Duration),
}

/// A daemon at work; killed without a farewell when dropped.
pub struct Running(Child);

impl Running {
    pub fn start(lab: &Lab, namespace: &Namespace, daemon: &dyn Daemon) -> Self {
        let (program, arguments) = daemon.command(lab);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(lab.path("daemon.log"))
            .expect("a log file");
        let child = namespace
            .command(&program, &arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn();
        Self(child.unwrap_or_else(|e| panic!("{program}: {e}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}
