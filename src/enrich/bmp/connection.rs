// SPDX-License-Identifier: AGPL-3.0-only
//! THREAD bmp-session: reads one router's connection and applies its messages to the Rib.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::enrich::rib::SharedRib;
use crate::store::event_log;
use crate::types::event::EventKind;

use super::error::{BmpError, SessionStats};
use super::message::{FrameError, MAX_MESSAGE};
use super::session::{Session, SessionState};
use super::stats::RouterStats;

/// A read returns after this time at the latest, so that the thread notices when the agent stops.
pub const READ_TIMEOUT: Duration = Duration::from_millis(500);
/// Timeout of the first message, and of the rest of a message that has begun.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Size of the read buffer in bytes; a longer message makes it grow.
const CHUNK: usize = 64 * 1024;
/// Bytes applied at once, while readers of the Rib wait: about 0.1 ms. A longer message is applied whole.
const BATCH: usize = 8 * 1024;

pub struct Connection {
    pub session: Session,
    pub stream: TcpStream,
    pub address: IpAddr,
    pub rib: SharedRib,
    pub router_stats: Arc<RouterStats>,
    pub epoch: Instant,
    pub stop: Arc<AtomicBool>,
    pub presence: Arc<PeerPresence>,
}

/// The time since which a session has had no peer, read by thread bmp.
pub struct PeerPresence(AtomicU64);

impl PeerPresence {
    const PEERS: u64 = u64::MAX;

    pub fn new(now: u64) -> Self {
        Self(AtomicU64::new(now))
    }

    fn set(&self, has_peers: bool, now: u64) {
        let had_peers = self.0.load(Ordering::Relaxed) == Self::PEERS;
        if has_peers != had_peers {
            let since = if has_peers { Self::PEERS } else { now };
            self.0.store(since, Ordering::Relaxed);
        }
    }

    /// Returns the milliseconds without a peer, or `None` if a peer is up.
    pub fn idle(&self, now: u64) -> Option<u64> {
        let since = self.0.load(Ordering::Relaxed);
        (since != Self::PEERS).then(|| now.saturating_sub(since))
    }
}

/// Received bytes that are not applied yet.
struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

/// Why a connection ends.
enum EndReason {
    Closed,
    /// An operator requests the whole table again.
    Flushed,
    Error(BmpError, String),
}

impl EndReason {
    /// Returns why the session was lost; `None` if an operator ended it.
    fn loss(&self) -> Option<&str> {
        match self {
            Self::Closed => Some("closed by the router"),
            Self::Flushed => None,
            Self::Error(_, detail) => Some(detail),
        }
    }
}

impl Connection {
    pub fn run(mut self) {
        let mut router = String::new();
        let end = self.serve(&mut router);
        let now = millis(self.epoch);
        let Self { session, rib, .. } = &mut self;
        rib.write(now, |rib| match end {
            EndReason::Flushed => session.flush(rib, now),
            _ => session.close(rib, now),
        });
        if !router.is_empty() {
            self.router_stats.session_ended(&router, now);
            // an end that the agent requested has its own event, or is none
            if !self.stop.load(Ordering::Acquire)
                && let Some(reason) = end.loss()
            {
                event_log::record(EventKind::BmpLost, &format!("{router}: {reason}"));
            }
        }
        if let EndReason::Error(error, detail) = end {
            let address = self.address;
            self.router_stats
                .count_error(error, || format!("{address}: {detail}"));
        }
    }

    fn serve(&mut self, router: &mut String) -> EndReason {
        let mut buffer = Buffer::default();
        // when the last complete message arrived
        let mut progress = Instant::now();
        let mut flushes = None;
        loop {
            let read = self.stream.read(buffer.space());
            // nothing that arrived later is applied
            if self.stop.load(Ordering::Acquire) {
                return EndReason::Closed;
            }
            match read {
                Ok(0) => return EndReason::Closed,
                Ok(n) => {
                    buffer.filled += n;
                    match self.apply(&mut buffer, router) {
                        Ok((0, _)) => {}
                        Ok((_, SessionState::Open)) => progress = Instant::now(),
                        Ok((_, SessionState::Ended)) => return EndReason::Closed,
                        Err(detail) => return EndReason::Error(BmpError::Frame, detail),
                    }
                }
                Err(e) if is_timeout(e.kind()) => {}
                Err(e) => return EndReason::Error(BmpError::Read, e.to_string()),
            }
            let now = self.router_stats.flushes(router);
            if flushes.is_some() && now != flushes {
                return EndReason::Flushed;
            }
            flushes = now;
            if buffer.filled == 0 && self.session.has_begun() {
                progress = Instant::now();
            }
            if progress.elapsed() > MESSAGE_TIMEOUT {
                return EndReason::Error(BmpError::Silent, "no whole message came in time".into());
            }
        }
    }

    /// Applies the complete messages in the buffer and removes them.
    fn apply(
        &mut self,
        buffer: &mut Buffer,
        router: &mut String,
    ) -> Result<(usize, SessionState), String> {
        let mut stats = SessionStats::default();
        let now = millis(self.epoch);
        let result = self.apply_in_batches(&buffer.bytes[..buffer.filled], now, &mut stats);
        if router.is_empty() && self.session.has_begun() {
            *router = label(self.address, self.session.sys_name());
            self.router_stats.session_started(router, now);
        }
        self.presence.set(self.session.has_peers(), now);
        self.router_stats.add(router, self.address, &stats);
        let (done, next) = result.map_err(|error| error.to_string())?;
        buffer.consume(done);
        Ok((done, next))
    }

    fn apply_in_batches(
        &mut self,
        bytes: &[u8],
        now: u64,
        stats: &mut SessionStats,
    ) -> Result<(usize, SessionState), FrameError> {
        let Self { session, rib, .. } = self;
        let mut done = 0;
        let mut batch = BATCH;
        loop {
            let rest = &bytes[done..];
            let piece = &rest[..rest.len().min(batch)];
            let (length, next) = rib.write(now, |rib| {
                // every writer also frees removed routes: otherwise the routes of flapping peers would
                // accumulate
                rib.sweep();
                session.feed(rib, piece, now, stats)
            })?;
            done += length;
            if next == SessionState::Ended || piece.len() == rest.len() {
                return Ok((done, next));
            }
            batch = if length == 0 { 2 * batch } else { BATCH };
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            bytes: vec![0; CHUNK],
            filled: 0,
        }
    }
}

impl Buffer {
    /// Returns the free space to read into. A message longer than the buffer makes it grow, up to the
    /// maximum length of a message.
    fn space(&mut self) -> &mut [u8] {
        if self.filled == self.bytes.len() {
            self.bytes.resize(MAX_MESSAGE, 0);
        }
        &mut self.bytes[self.filled..]
    }

    fn consume(&mut self, done: usize) {
        self.bytes.copy_within(done..self.filled, 0);
        self.filled -= done;
        if self.filled < CHUNK && self.bytes.len() > CHUNK {
            self.bytes.truncate(CHUNK);
            self.bytes.shrink_to_fit();
        }
    }
}

/// Returns the name of a router in metrics and log.
pub fn label(address: IpAddr, sys_name: &str) -> String {
    if sys_name.is_empty() {
        address.to_string()
    } else {
        format!("{address} {sys_name}")
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Returns the time in the unit of the RIB: milliseconds since `epoch`.
pub(super) fn millis(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
}
