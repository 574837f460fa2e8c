// SPDX-License-Identifier: AGPL-3.0-only
//! What other threads may ask of the main thread while the agent runs: the one place that changes what
//! is in force, so that two changes never cross.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::LevelFilter;

/// Commands that wait for the main thread; one more is refused.
const WAITING: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration file again, as SIGHUP does.
    Reload,
    /// 1 in N, N at least 1.
    SetSampleRate(u32),
    SetLogLevel(LevelFilter),
}

/// What a command did: keys of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// In force now.
    pub changed: Vec<String>,
    /// Other in the file, but as before until the next start.
    pub kept: Vec<String>,
}

/// Why nothing was changed.
pub type CommandError = String;

/// A command, and where its answer goes.
pub(super) struct Envelope {
    pub command: Command,
    pub reply: Sender<Result<Applied, CommandError>>,
}

/// Asks the main thread; cheap to clone, for any thread.
#[derive(Clone)]
pub struct CommandSender {
    envelopes: Sender<Envelope>,
    /// A byte here ends the main thread's wait.
    waker: Arc<UnixStream>,
}

impl CommandSender {
    pub(super) fn new(waker: UnixStream) -> (Self, Receiver<Envelope>) {
        let (envelopes, waiting) = bounded(WAITING);
        let waker = Arc::new(waker);
        (Self { envelopes, waker }, waiting)
    }

    /// Waits until the command is carried out, or refused, at most `timeout`.
    pub fn ask(&self, command: Command, timeout: Duration) -> Result<Applied, CommandError> {
        let deadline = Instant::now() + timeout;
        let (reply, answer) = bounded(1);
        self.envelopes
            .try_send(Envelope { command, reply })
            .map_err(|_| format!("{WAITING} commands are waiting already, or the agent ends"))?;
        self.wake();
        answer
            .recv_deadline(deadline)
            .unwrap_or_else(|_| Err(format!("no answer within {} s", timeout.as_secs())))
    }

    /// Has the main thread look around at once.
    pub(super) fn wake(&self) {
        // a full socket has woken it already
        let _ = (&*self.waker).write(&[0]);
    }
}
