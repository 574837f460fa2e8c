// SPDX-License-Identifier: AGPL-3.0-only
//! SIGINT and SIGTERM, to be waited for.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

/// SIGINT and SIGTERM, as bytes on a socket that can be waited for with a timeout.
pub(super) struct SignalPipe {
    stream: UnixStream,
}

impl SignalPipe {
    pub fn new() -> io::Result<Self> {
        let (stream, writer) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { stream })
    }

    /// True if a signal came within `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> bool {
        // a timeout that cannot be set, or a read that fails otherwise, ends in one more round
        let _ = self.stream.set_read_timeout(Some(timeout));
        self.stream.read(&mut [0]).is_ok_and(|count| count > 0)
    }
}
