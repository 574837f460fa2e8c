// SPDX-License-Identifier: AGPL-3.0-only
//! Statistics of the sessions: counters for /metrics, and lines for the log.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::sys::error_counters::{ErrorCounters, LOG_INTERVAL, Subsystem};

use super::error::{BmpError, SessionStats};
use super::families::IgnoredFamily;

/// How long a router without sessions stays in the metrics, in milliseconds.
const ROUTER_EXPIRY: u64 = 24 * 3600 * 1000;
/// Maximum number of routers in the metrics; beyond it, the router that has been disconnected longest is
/// evicted.
const MAX_ROUTERS: usize = 1024;

/// Statistics of all routers, shared by the session threads and the readers.
pub struct RouterStats {
    errors: Arc<ErrorCounters>,
    error_counts: [AtomicU64; BmpError::ALL.len()],
    routers: Mutex<Vec<TrackedRouter>>,
    notes: Mutex<SessionLogLimiter>,
}

/// Limits the log lines about sessions that start and end.
#[derive(Debug, Default)]
struct SessionLogLimiter {
    last: Option<u64>,
    left_out: u64,
}

/// The state of one router, as shown in the metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouterStatus {
    /// Address, and the name that the router sent.
    pub router: String,
    pub sessions: usize,
    /// Unix time of the last message; 0 before the first.
    pub last_message: f64,
    pub updates: u64,
    pub withdraws: u64,
    /// Routes announced of each ignored family.
    pub ignored: [u64; IgnoredFamily::ALL.len()],
    /// Sessions in which bytes followed an UPDATE in its message.
    pub trailing: u64,
}

#[derive(Debug)]
struct TrackedRouter {
    status: RouterStatus,
    ended_at: u64,
    /// How often a flush of its sessions was requested.
    flushes: u64,
}

impl RouterStats {
    pub fn new(errors: Arc<ErrorCounters>) -> Self {
        Self {
            errors,
            error_counts: Default::default(),
            routers: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// Returns every router of the last day; sessions with the same name and address are combined.
    pub fn routers(&self) -> Vec<RouterStatus> {
        self.tracked().iter().map(|r| r.status.clone()).collect()
    }

    pub fn error_counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |error: BmpError| self.error_counts[error as usize].load(Ordering::Relaxed);
        BmpError::ALL.into_iter().map(move |f| (f.name(), count(f)))
    }

    pub fn count_error(&self, error: BmpError, detail: impl FnOnce() -> String) {
        self.error_counts[error as usize].fetch_add(1, Ordering::Relaxed);
        self.errors
            .count_and_log(Subsystem::Bmp, error.name(), detail);
    }

    /// Reports that no file descriptor is left, if that is the error.
    pub fn note_shortage(&self, error: &io::Error) {
        self.errors.note_shortage(error);
    }

    /// Records a new session of an identified router.
    pub fn session_started(&self, router: &str, now: u64) {
        self.note(router, "began", now);
        let mut tracked = self.tracked();
        tracked.retain(|r| r.status.sessions > 0 || now.saturating_sub(r.ended_at) < ROUTER_EXPIRY);
        if let Some(tracked_router) = tracked.iter_mut().find(|r| r.status.router == router) {
            tracked_router.status.sessions += 1;
            return;
        }
        if tracked.len() >= MAX_ROUTERS {
            let lost = tracked.iter().enumerate();
            let lost = lost.filter(|(_, r)| r.status.sessions == 0);
            if let Some((oldest, _)) = lost.min_by_key(|(_, r)| r.ended_at) {
                tracked.swap_remove(oldest);
            }
        }
        tracked.push(TrackedRouter {
            status: RouterStatus {
                router: router.to_owned(),
                sessions: 1,
                ..RouterStatus::default()
            },
            ended_at: 0,
            flushes: 0,
        });
    }

    pub fn session_ended(&self, router: &str, now: u64) {
        self.note(router, "ended", now);
        if let Some(tracked_router) = find(&mut self.tracked(), router) {
            tracked_router.status.sessions = tracked_router.status.sessions.saturating_sub(1);
            tracked_router.ended_at = now;
        }
    }

    /// Ends the sessions of a router and removes its routes, so that it sends all of them again. Returns
    /// the number of sessions, or `None` if it has none.
    pub fn flush(&self, router: &str) -> Option<u64> {
        let mut tracked = self.tracked();
        let tracked_router = find(&mut tracked, router).filter(|r| r.status.sessions > 0)?;
        tracked_router.flushes += 1;
        log::info!("sessions of {} are flushed", router.escape_debug());
        Some(tracked_router.status.sessions as u64)
    }

    /// Returns the number of flushes of a router; its sessions end when this number changes. `None` before
    /// the router is identified.
    pub fn flushes(&self, router: &str) -> Option<u64> {
        find(&mut self.tracked(), router).map(|tracked_router| tracked_router.flushes)
    }

    /// Adds the statistics of a batch of messages. `router` is empty before it is identified.
    pub fn add(&self, router: &str, address: IpAddr, stats: &SessionStats) {
        for (error, count, detail) in stats.error_counts() {
            self.error_counts[error as usize].fetch_add(count, Ordering::Relaxed);
            for _ in 1..count {
                self.errors.count(Subsystem::Bmp);
            }
            let text = || format!("{address}: {detail}");
            self.errors
                .count_and_log(Subsystem::Bmp, error.name(), text);
        }
        if stats.messages > 0
            && let Some(tracked_router) = find(&mut self.tracked(), router)
        {
            tracked_router.status.last_message = unix_time();
            tracked_router.status.updates += stats.updates;
            tracked_router.status.withdraws += stats.withdraws;
            for (sum, more) in tracked_router.status.ignored.iter_mut().zip(stats.ignored) {
                *sum += more;
            }
            if stats.trailing {
                tracked_router.status.trailing += 1;
                let router = router.escape_debug();
                log::info!("bmp: {router} sends bytes after an UPDATE in its message; ignored");
            }
        }
    }

    /// Removes routers that have had no session for a day.
    pub fn expire(&self, now: u64) {
        self.tracked()
            .retain(|r| r.status.sessions > 0 || now.saturating_sub(r.ended_at) < ROUTER_EXPIRY);
    }

    fn note(&self, router: &str, what: &str, now: u64) {
        let left_out = {
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.admit(now)
        };
        let router = router.escape_debug();
        match left_out {
            Some(0) => log::info!("bmp: the session of {router} {what}"),
            Some(n) => log::info!("bmp: the session of {router} {what} ({n} lines left out)"),
            None => {}
        }
    }

    fn tracked(&self) -> MutexGuard<'_, Vec<TrackedRouter>> {
        self.routers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionLogLimiter {
    /// Returns `Some(n)` if a line may be written now; n lines were left out since the last one.
    fn admit(&mut self, now: u64) -> Option<u64> {
        let since = self.last.map(|last| now.saturating_sub(last));
        if since.is_some_and(|ms| u128::from(ms) < LOG_INTERVAL.as_millis()) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

fn find<'a>(tracked: &'a mut [TrackedRouter], router: &str) -> Option<&'a mut TrackedRouter> {
    tracked.iter_mut().find(|r| r.status.router == router)
}

fn unix_time() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_lost_router_is_spoken_of_for_a_day() {
        let router_stats = RouterStats::new(Arc::default());
        router_stats.session_started("a", 0);
        router_stats.session_started("a", 0);
        router_stats.session_started("b", 0);
        router_stats.session_ended("b", 1000);
        router_stats.session_ended("a", 1000);
        let sessions = |m: &RouterStats| -> Vec<_> {
            let routers = m.routers().into_iter();
            routers.map(|r| (r.router, r.sessions)).collect()
        };
        router_stats.expire(1000 + ROUTER_EXPIRY - 1);
        assert_eq!(sessions(&router_stats), [("a".into(), 1), ("b".into(), 0)]);
        router_stats.expire(1000 + ROUTER_EXPIRY);
        assert_eq!(sessions(&router_stats), [("a".into(), 1)]);
    }

    #[test]
    fn names_made_up_by_the_thousand_push_out_only_what_is_lost() {
        let router_stats = RouterStats::new(Arc::default());
        router_stats.session_started("live", 0);
        for n in 0..3 * MAX_ROUTERS {
            let name = format!("{n}");
            router_stats.session_started(&name, n as u64);
            router_stats.session_ended(&name, n as u64);
        }
        let routers = router_stats.routers();
        assert_eq!(routers.len(), MAX_ROUTERS);
        assert!(
            routers
                .iter()
                .any(|r| r.router == "live" && r.sessions == 1)
        );
    }

    #[test]
    fn each_fault_is_counted_in_both_places() {
        let errors = Arc::new(ErrorCounters::default());
        let router_stats = RouterStats::new(errors.clone());
        let mut stats = SessionStats::default();
        for _ in 0..5 {
            stats.count_error(BmpError::Nlri, || "odd".into());
        }
        stats.count_error(BmpError::Peer, || "odd".into());
        router_stats.add("", ADDRESS, &stats);
        let counts: Vec<_> = router_stats
            .error_counts()
            .filter(|(_, n)| *n > 0)
            .collect();
        assert_eq!(counts, [("peer", 1), ("nlri", 5)]);
        assert_eq!(errors.get(Subsystem::Bmp), 6);
    }
}
