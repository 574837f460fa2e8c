// SPDX-License-Identifier: AGPL-3.0-only
//! What is told of the sessions: counters for /metrics, and lines for the log.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::errors::{Errors, LOG_INTERVAL, Subsystem};

use super::families::Unread;
use super::tally::{Fault, Tally};

/// How long a lost router is spoken of, in milliseconds.
const MEMORY: u64 = 24 * 3600 * 1000;
/// Routers that are spoken of; beyond it the one lost longest is forgotten.
const MAX_ROUTERS: usize = 1024;

/// Shared by the threads of all sessions and whoever asks.
pub struct Monitor {
    errors: Arc<Errors>,
    faults: [AtomicU64; Fault::ALL.len()],
    routers: Mutex<Vec<Record>>,
    notes: Mutex<Notes>,
}

/// Limits what is logged of sessions that come and go.
#[derive(Debug, Default)]
struct Notes {
    last: Option<u64>,
    left_out: u64,
}

/// One router as the metrics show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouterStatus {
    /// Address, and the name it gives itself.
    pub router: String,
    pub sessions: usize,
    /// Unix time; 0 before the first.
    pub last_message: f64,
    pub updates: u64,
    pub withdraws: u64,
    /// Routes announced of each family that is not read.
    pub ignored: [u64; Unread::ALL.len()],
    /// Sessions in which bytes followed an UPDATE in its message.
    pub trailing: u64,
}

#[derive(Debug)]
struct Record {
    status: RouterStatus,
    lost: u64,
    /// How often its sessions were told to end.
    flushes: u64,
}

impl Monitor {
    pub fn new(errors: Arc<Errors>) -> Self {
        Self {
            errors,
            faults: Default::default(),
            routers: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// Every router of the last day, those of one name and address together.
    pub fn routers(&self) -> Vec<RouterStatus> {
        self.records().iter().map(|r| r.status.clone()).collect()
    }

    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |fault: Fault| self.faults[fault as usize].load(Ordering::Relaxed);
        Fault::ALL.into_iter().map(move |f| (f.name(), count(f)))
    }

    pub fn fault(&self, fault: Fault, detail: impl FnOnce() -> String) {
        self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
        self.errors.report(Subsystem::Bmp, fault.name(), detail);
    }

    /// Reports that no file descriptor is left, if that is the error.
    pub fn note_shortage(&self, error: &io::Error) {
        self.errors.note_shortage(error);
    }

    /// A session has told who it is.
    pub fn up(&self, router: &str, now: u64) {
        self.note(router, "began", now);
        let mut records = self.records();
        records.retain(|r| r.status.sessions > 0 || now.saturating_sub(r.lost) < MEMORY);
        if let Some(record) = records.iter_mut().find(|r| r.status.router == router) {
            record.status.sessions += 1;
            return;
        }
        if records.len() >= MAX_ROUTERS {
            let lost = records.iter().enumerate();
            let lost = lost.filter(|(_, r)| r.status.sessions == 0);
            if let Some((oldest, _)) = lost.min_by_key(|(_, r)| r.lost) {
                records.swap_remove(oldest);
            }
        }
        records.push(Record {
            status: RouterStatus {
                router: router.to_owned(),
                sessions: 1,
                ..RouterStatus::default()
            },
            lost: 0,
            flushes: 0,
        });
    }

    pub fn down(&self, router: &str, now: u64) {
        self.note(router, "ended", now);
        if let Some(record) = find(&mut self.records(), router) {
            record.status.sessions = record.status.sessions.saturating_sub(1);
            record.lost = now;
        }
    }

    /// Makes the sessions of a router end and its routes be forgotten, so that it sends all anew. How many
    /// sessions, `None` if it has none.
    pub fn flush(&self, router: &str) -> Option<u64> {
        let mut records = self.records();
        let record = find(&mut records, router).filter(|r| r.status.sessions > 0)?;
        record.flushes += 1;
        log::info!("sessions of {} are flushed", router.escape_debug());
        Some(record.status.sessions as u64)
    }

    /// A session that sees it change is to end. `None` before the router told who it is.
    pub fn flushes(&self, router: &str) -> Option<u64> {
        find(&mut self.records(), router).map(|record| record.flushes)
    }

    /// Enters what a session brought. `router` is empty before it told who it is.
    pub fn enter(&self, router: &str, address: IpAddr, tally: &Tally) {
        for (fault, count, detail) in tally.faults() {
            self.faults[fault as usize].fetch_add(count, Ordering::Relaxed);
            for _ in 1..count {
                self.errors.count(Subsystem::Bmp);
            }
            let text = || format!("{address}: {detail}");
            self.errors.report(Subsystem::Bmp, fault.name(), text);
        }
        if tally.messages > 0
            && let Some(record) = find(&mut self.records(), router)
        {
            record.status.last_message = unix_time();
            record.status.updates += tally.updates;
            record.status.withdraws += tally.withdraws;
            for (sum, more) in record.status.ignored.iter_mut().zip(tally.ignored) {
                *sum += more;
            }
            if tally.trailing {
                record.status.trailing += 1;
                let router = router.escape_debug();
                log::info!("bmp: {router} sends bytes after an UPDATE in its message; ignored");
            }
        }
    }

    /// Forgets routers that were lost a day ago.
    pub fn expire(&self, now: u64) {
        self.records()
            .retain(|r| r.status.sessions > 0 || now.saturating_sub(r.lost) < MEMORY);
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

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.routers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// `Some(n)` if a line may be written now, n having been left out since the last.
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

fn find<'a>(records: &'a mut [Record], router: &str) -> Option<&'a mut Record> {
    records.iter_mut().find(|r| r.status.router == router)
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
        let monitor = Monitor::new(Arc::default());
        monitor.up("a", 0);
        monitor.up("a", 0);
        monitor.up("b", 0);
        monitor.down("b", 1000);
        monitor.down("a", 1000);
        let sessions = |m: &Monitor| -> Vec<_> {
            let routers = m.routers().into_iter();
            routers.map(|r| (r.router, r.sessions)).collect()
        };
        monitor.expire(1000 + MEMORY - 1);
        assert_eq!(sessions(&monitor), [("a".into(), 1), ("b".into(), 0)]);
        monitor.expire(1000 + MEMORY);
        assert_eq!(sessions(&monitor), [("a".into(), 1)]);
    }

    #[test]
    fn names_made_up_by_the_thousand_push_out_only_what_is_lost() {
        let monitor = Monitor::new(Arc::default());
        monitor.up("live", 0);
        for n in 0..3 * MAX_ROUTERS {
            let name = format!("{n}");
            monitor.up(&name, n as u64);
            monitor.down(&name, n as u64);
        }
        let routers = monitor.routers();
        assert_eq!(routers.len(), MAX_ROUTERS);
        assert!(
            routers
                .iter()
                .any(|r| r.router == "live" && r.sessions == 1)
        );
    }

    #[test]
    fn each_fault_is_counted_in_both_places() {
        let errors = Arc::new(Errors::default());
        let monitor = Monitor::new(errors.clone());
        let mut tally = Tally::default();
        for _ in 0..5 {
            tally.fault(Fault::Nlri, || "odd".into());
        }
        tally.fault(Fault::Peer, || "odd".into());
        monitor.enter("", ADDRESS, &tally);
        let counts: Vec<_> = monitor.faults().filter(|(_, n)| *n > 0).collect();
        assert_eq!(counts, [("peer", 1), ("nlri", 5)]);
        assert_eq!(errors.get(Subsystem::Bmp), 6);
    }
}
