// SPDX-License-Identifier: AGPL-3.0-only
//! Errors that the agent survived: one counter per subsystem (`rfm_errors_total`), and a limit on the log lines
//! that someone outside can cause.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::os_error;

/// At most one log line of a kind is written in this time; the next line names the number of the others.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The values of the label `subsystem` of `rfm_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Subsystem {
    BpfMap,
    RingBuffer,
    Ipfix,
    Bmp,
    Mmdb,
    Http,
    Control,
    Netlink,
    Firewall,
    Rpki,
}

impl Subsystem {
    pub const ALL: [Self; 10] = [
        Self::BpfMap,
        Self::RingBuffer,
        Self::Ipfix,
        Self::Bmp,
        Self::Mmdb,
        Self::Http,
        Self::Control,
        Self::Netlink,
        Self::Firewall,
        Self::Rpki,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::BpfMap => "bpf_map",
            Self::RingBuffer => "ring_buffer",
            Self::Ipfix => "ipfix",
            Self::Bmp => "bmp",
            Self::Mmdb => "mmdb",
            Self::Http => "http",
            Self::Control => "control",
            Self::Netlink => "netlink",
            Self::Firewall => "firewall",
            Self::Rpki => "rpki",
        }
    }
}

/// Error counters, shared by all threads.
#[derive(Default)]
pub struct ErrorCounters {
    counts: [AtomicU64; Subsystem::ALL.len()],
    log: LogLimit,
    shortages: AtomicU64,
}

impl ErrorCounters {
    /// Counts one error.
    pub fn count(&self, subsystem: Subsystem) {
        self.counts[subsystem as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one error and logs it, at most once per subsystem and kind in [`LOG_INTERVAL`].
    ///
    /// `kind` is a fixed word, never text from outside; `message` is escaped before it is written.
    pub fn count_and_log(
        &self,
        subsystem: Subsystem,
        kind: &'static str,
        message: impl FnOnce() -> String,
    ) {
        let left_out = self.log.admit(subsystem.name(), kind, Instant::now());
        self.count_and_log_if(subsystem, left_out, message);
    }

    /// Counts one error and logs it if `left_out` is `Some(n)`: n lines were left out since the previous one.
    pub fn count_and_log_if(
        &self,
        subsystem: Subsystem,
        left_out: Option<u64>,
        message: impl FnOnce() -> String,
    ) {
        self.count(subsystem);
        if let Some(left_out) = left_out {
            let message = os_error::in_words(message()).escape_debug().to_string();
            match left_out {
                0 => log::warn!("{}: {message}", subsystem.name()),
                n => log::warn!("{}: {message} ({n} more left out)", subsystem.name()),
            }
        }
    }

    /// Counts an error if it means that no file descriptor is free. The servers then close idle connections.
    pub fn note_shortage(&self, error: &io::Error) {
        let errno = error.raw_os_error();
        if errno == Some(libc::EMFILE) || errno == Some(libc::ENFILE) {
            self.shortages.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how often no file descriptor was free.
    pub fn shortages(&self) -> u64 {
        self.shortages.load(Ordering::Relaxed)
    }

    pub fn get(&self, subsystem: Subsystem) -> u64 {
        self.counts[subsystem as usize].load(Ordering::Relaxed)
    }
}

/// Stores when each kind was last logged. Kinds are compiled in, so the table is bounded.
#[derive(Default)]
struct LogLimit {
    kinds: Mutex<Vec<LoggedKind>>,
}

struct LoggedKind {
    scope: &'static str,
    name: &'static str,
    last: Instant,
    left_out: u64,
}

impl LogLimit {
    /// Returns `Some(n)` if a line may be written now; n lines of its kind were left out since the previous one.
    fn admit(&self, scope: &'static str, name: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds
            .iter_mut()
            .find(|k| k.scope == scope && k.name == name)
        {
            Some(kind) if now.saturating_duration_since(kind.last) < LOG_INTERVAL => {
                kind.left_out += 1;
                None
            }
            Some(kind) => {
                kind.last = now;
                Some(std::mem::take(&mut kind.left_out))
            }
            None => {
                kinds.push(LoggedKind {
                    scope,
                    name,
                    last: now,
                    left_out: 0,
                });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_kind_and_interval_with_the_rest_counted() {
        let limit = LogLimit::default();
        let start = Instant::now();
        assert_eq!(limit.admit("http", "accept", start), Some(0));
        assert_eq!(limit.admit("http", "accept", start), None);
        assert_eq!(limit.admit("http", "accept", start), None);
        assert_eq!(limit.admit("bmp", "accept", start), Some(0));
        assert_eq!(limit.admit("http", "accept", start + LOG_INTERVAL), Some(2));
        assert_eq!(
            limit.admit("http", "accept", start + 2 * LOG_INTERVAL),
            Some(0)
        );
    }

    #[test]
    fn every_subsystem_has_its_own_counter() {
        let errors = ErrorCounters::default();
        errors.count(Subsystem::Bmp);
        for s in Subsystem::ALL {
            assert_eq!(errors.get(s), u64::from(s == Subsystem::Bmp));
        }
    }
}
