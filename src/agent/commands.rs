// SPDX-License-Identifier: AGPL-3.0-only
//! Commands from other threads to the main thread while the agent runs. Only the main thread changes the
//! current configuration, so that two changes never overlap.

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

/// The configuration keys that a command affected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The new value is in effect.
    pub changed: Vec<String>,
    /// The value in the file differs; the previous value stays until the next start.
    pub kept: Vec<String>,
}

/// Why nothing was changed.
pub type CommandError = String;

/// A command, and the channel for its reply.
pub(super) struct Envelope {
    pub command: Command,
    pub reply: Sender<Result<Applied, CommandError>>,
}

/// Sends commands to the main thread; cheap to clone, for any thread.
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

    /// Sends a command and waits until it is applied or refused, at most for `timeout`.
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

    /// Wakes the main thread at once.
    pub(super) fn wake(&self) {
        // a full socket has woken it already
        let _ = (&*self.waker).write(&[0]);
    }
}
