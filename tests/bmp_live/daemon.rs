// SPDX-License-Identifier: AGPL-3.0-only
//! What the scenarios need to know of a routing daemon.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::common::lab::{Lab, Namespace, end, wait_for};

/// The router's AS, as in the README.
pub const HOME: u32 = 64512;

pub trait Daemon {
    /// Writes its configuration: two passive sessions with the neighbours of [`crate::topology`], and the
    /// README's stanza.
    fn configure(&self, lab: &Lab);

    /// Program and arguments; it stays in the foreground.
    fn command(&self, lab: &Lab) -> (String, Vec<String>);

    /// A program that must run before it, its arguments, and the socket that shows that it is ready.
    fn helper(&self, _: &Lab) -> Option<(String, Vec<String>, PathBuf)> {
        None
    }

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

/// A daemon and its helper at work; killed without a farewell when dropped.
pub struct Running(Vec<Child>);

impl Running {
    pub fn start(lab: &Lab, namespace: &Namespace, daemon: &dyn Daemon) -> Self {
        let mut running = Self(Vec::new());
        if let Some((program, arguments, socket)) = daemon.helper(lab) {
            // that of a run before
            let _ = std::fs::remove_file(&socket);
            running.0.push(spawn(lab, namespace, &program, &arguments));
            let ready = wait_for(Duration::from_secs(10), || socket.exists());
            assert!(ready, "{program} makes no {}", socket.display());
        }
        let (program, arguments) = daemon.command(lab);
        running.0.push(spawn(lab, namespace, &program, &arguments));
        running
    }
}

fn spawn(lab: &Lab, namespace: &Namespace, program: &str, arguments: &[String]) -> Child {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(lab.path("daemon.log"))
        .expect("a log file");
    let child = namespace
        .command(program, &arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn();
    child.unwrap_or_else(|e| panic!("{program}: {e}"))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.iter_mut().rev().for_each(end);
    }
}
