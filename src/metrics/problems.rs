// SPDX-License-Identifier: AGPL-3.0-only
//! The problems of the agent: one function decides for the status, the page, `/healthz?verbose` and `rfm_problems`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Input;
use crate::enrich::bmp::RouterStatus;
use crate::firewall::handle::FirewallReport;
use crate::store::event_log;
use crate::sys::clock;
use crate::types::event::EventKind;
use crate::types::problem::{Problem, ProblemKind};

/// A loss is a problem until this time has passed without another one.
const LOSS_WINDOW: Duration = Duration::from_secs(60);
/// The shortest time between two stored values of a counter.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// A database is a problem from this age on.
const DATABASE_AGE: u64 = 60 * DAY;
/// VRPs are a problem from this age on: relying parties write them about every hour.
const VRP_AGE: u64 = DAY;
const DAY: u64 = 24 * 3600;
/// How long a step of the wall clock is reported.
const CLOCK_REPORTED: Duration = Duration::from_secs(600);
/// A smaller difference between the clocks is not a step, and neither is a thousandth of the time between two
/// readings: time synchronization adjusts the rate by at most 0.5 thousandths.
const CLOCK_STEP: i128 = 2_000_000_000;
/// Maximum number of names in one text.
const NAMED: usize = 3;

/// Facts that are not among the metrics.
#[derive(Debug, Default)]
pub struct Facts {
    /// Threads that have ended or do not report.
    pub stuck_threads: Vec<&'static str>,
    /// Whether all interfaces found at the start are attached.
    pub attached: bool,
    /// Interfaces that could not be attached, and the reason of the first.
    pub not_attached: Option<String>,
    /// The problem with the state file of the firewall.
    pub state_file: Option<String>,
    /// Databases in use whose file no longer exists.
    pub missing_databases: Vec<String>,
    /// Files that were found and cannot be used.
    pub broken_databases: Vec<String>,
    /// Why the web configuration file cannot be used since it was changed.
    pub web_config: Option<String>,
    /// The warning that any client may read the metrics and the page.
    pub open_port: Option<String>,
    /// Why the current VRPs cannot be used.
    pub vrps: Option<String>,
    /// Why the history on disk cannot be written.
    pub history: Option<String>,
}

/// The memory between readings: recent values of counters, and the offset of the clocks.
#[derive(Default)]
pub struct ProblemHistory(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    counters: HashMap<String, RecentValues>,
    clock: Option<ClockReading>,
    /// Whether packets were lost at the last reading.
    is_losing: bool,
    step: Option<(Instant, i128)>,
}

struct ClockReading {
    at: Instant,
    /// Wall clock minus boot clock, in nanoseconds.
    offset: i128,
}

/// A moment by all clocks.
#[derive(Clone, Copy)]
pub struct Moment {
    pub instant: Instant,
    pub wall: SystemTime,
    pub boot_ns: u64,
}

impl Moment {
    pub fn now() -> Self {
        Self {
            instant: Instant::now(),
            wall: SystemTime::now(),
            boot_ns: clock::boot_ns(),
        }
    }

    fn unix_ns(self) -> i128 {
        let since = self.wall.duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_nanos() as i128)
    }
}

/// Values of a counter within the window, and the last one before it: at most 62.
#[derive(Default)]
struct RecentValues(VecDeque<(Instant, u64)>);

impl RecentValues {
    /// Returns the increase within the window, and over which time, if there was one.
    fn observe(&mut self, value: u64, now: Instant) -> Option<(u64, Duration)> {
        let values = &mut self.0;
        if values.is_empty() || values.back().is_some_and(|&(_, last)| last > value) {
            // counters of the agent begin at 0, so an earlier loss belongs to this window
            values.clear();
            values.push_back((now, 0));
        }
        let is_before =
            |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) >= LOSS_WINDOW;
        while values.get(1).is_some_and(is_before) {
            values.pop_front();
        }
        let is_recent =
            |(at, _): &&mut (Instant, u64)| now.saturating_duration_since(*at) < SAMPLE_INTERVAL;
        match values.iter_mut().skip(1).next_back().filter(is_recent) {
            Some((_, last)) => *last = value,
            None => values.push_back((now, value)),
        }
        let &(since, first) = values.front()?;
        let span = now.saturating_duration_since(since).max(SAMPLE_INTERVAL);
        (value > first).then(|| (value - first, span))
    }
}

impl ProblemHistory {
    /// Returns the problems at `now`, the most urgent first.
    pub fn problems(&self, input: &Input, facts: &Facts, now: Moment) -> Vec<Problem> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut problems = Vec::new();
        agent(facts, &mut problems);
        memory.losses(input, now, &mut problems);
        interfaces(input, facts, &mut problems);
        if let Some(bmp) = input.bmp {
            sessions(&bmp.routers, &mut problems);
        }
        memory.collectors(input, now, &mut problems);
        if let Some(report) = input.firewall {
            firewall(report, &mut problems);
        }
        let attacks = input.guard.iter().flat_map(|guard| &guard.problems);
        problems.extend(attacks.map(|text| Problem::new(ProblemKind::Attack, text)));
        let state_file = facts.state_file.iter().cloned();
        problems.extend(state_file.map(|text| Problem::new(ProblemKind::FirewallStateFile, text)));
        databases(input, facts, now, &mut problems);
        rpki(input, facts, now, &mut problems);
        let history = facts.history.iter().cloned();
        problems.extend(history.map(|text| Problem::new(ProblemKind::HistoryFailing, text)));
        if !input.reload.successful {
            problems.push(Problem::new(
                ProblemKind::ConfigBroken,
                "the configuration file was refused at the last reload",
            ));
        }
        let web_config = facts.web_config.iter();
        problems.extend(web_config.map(|reason| {
            let text = format!("{reason}; the previous certificate and users stay in use");
            Problem::new(ProblemKind::WebConfigBroken, text)
        }));
        let open_port = facts.open_port.iter().cloned();
        problems.extend(open_port.map(|text| Problem::new(ProblemKind::OpenPort, text)));
        problems.extend(memory.clock(now));
        problems
    }
}

fn agent(facts: &Facts, problems: &mut Vec<Problem>) {
    let stuck = facts.stuck_threads.iter();
    problems.extend(
        stuck.map(|name| Problem::new(ProblemKind::Thread, format!("thread {name} does not run"))),
    );
    if !facts.attached {
        problems.push(Problem::new(
            ProblemKind::Starting,
            "not all interfaces found at the start are attached",
        ));
    }
}

impl Memory {
    fn observe(&mut self, counter: &str, value: u64, now: Moment) -> Option<(u64, Duration)> {
        if !self.counters.contains_key(counter) {
            self.counters
                .insert(counter.to_owned(), RecentValues::default());
        }
        self.counters.get_mut(counter)?.observe(value, now.instant)
    }

    fn losses(&mut self, input: &Input, now: Moment, problems: &mut Vec<Problem>) {
        let totals = &input.flows.totals;
        let families = input.all_hooks.families.iter();
        let lost = families.map(|family| family.dropped.packets).sum();
        let losing = self.observe("lost", lost, now);
        if let Some((packets, span)) = losing {
            problems.push(Problem::new(
                ProblemKind::PacketsLost,
                format!(
                    "{packets} sampled packets did not reach the flow table in the last {}: flows and networks are too low",
                    seconds(span)
                ),
            ));
        }
        let families = input.all_hooks.families.iter();
        let thinned = families.map(|family| family.thinned.packets).sum();
        if let Some((packets, span)) = self.observe("thinned", thinned, now) {
            problems.push(Problem::new(
                ProblemKind::Overload,
                format!(
                    "more new flows than the ring buffer holds: {packets} of their packets were estimated from others in the last {}",
                    seconds(span)
                ),
            ));
        }
        match (
            losing,
            std::mem::replace(&mut self.is_losing, losing.is_some()),
        ) {
            (Some((packets, _)), false) => {
                event_log::record(EventKind::LossBegin, &format!("{packets} sampled packets"));
            }
            (None, true) => event_log::record(EventKind::LossEnd, ""),
            _ => {}
        }
        if let Some((flows, span)) = self.observe("evictions", totals.forced_evictions, now) {
            problems.push(Problem::new(
                ProblemKind::FlowTableFull,
                format!(
                    "the flow table is full ({} flows): {flows} flows ended early in the last {}",
                    totals.max_flows,
                    seconds(span)
                ),
            ));
        }
        if let Some((_, span)) = self.observe("folded", totals.series_folded, now) {
            problems.push(Problem::new(
                ProblemKind::SeriesFull,
                format!(
                    "the limit of {} flow series is reached: new ones were counted under other in the last {}",
                    totals.series_limit,
                    seconds(span)
                ),
            ));
        }
        if let Some(report) = input.firewall
            && let Some((sources, span)) = self.observe("sources", report.stats.new_sources, now)
            && sources > report.max_sources
        {
            problems.push(Problem::new(
                ProblemKind::FirewallSourcesFull,
                format!(
                    "rate limits saw {sources} new sources in the last {}, and have room for {}",
                    seconds(span),
                    report.max_sources
                ),
            ));
        }
    }

    fn collectors(&mut self, input: &Input, now: Moment, problems: &mut Vec<Problem>) {
        let key = |collector: &str| format!("ipfix {collector}");
        let keys: Vec<_> = input.ipfix.iter().map(|s| key(&s.collector)).collect();
        self.counters
            .retain(|name, _| !name.starts_with("ipfix ") || keys.contains(name));
        for (stats, key) in input.ipfix.iter().zip(keys) {
            if let Some((records, span)) = self.observe(&key, stats.dropped().parts, now) {
                problems.push(Problem::new(
                    ProblemKind::IpfixFailing,
                    format!(
                        "{records} flow records were not sent to {} in the last {}",
                        stats.collector,
                        seconds(span)
                    ),
                ));
            }
        }
    }

    /// Finds a step of the wall clock between two readings.
    fn clock(&mut self, now: Moment) -> Option<Problem> {
        let offset = now.unix_ns() - i128::from(now.boot_ns);
        let reading = ClockReading {
            at: now.instant,
            offset,
        };
        if let Some(before) = self.clock.replace(reading) {
            let elapsed = now.instant.saturating_duration_since(before.at).as_nanos() as i128;
            let step = offset - before.offset;
            if step.abs() > CLOCK_STEP + elapsed / 1000 {
                self.step = Some((now.instant, step));
            }
        }
        let (at, step) = self.step?;
        let age = now.instant.saturating_duration_since(at);
        if age >= CLOCK_REPORTED {
            self.step = None;
            return None;
        }
        let direction = if step > 0 { "forward" } else { "back" };
        let size = Duration::from_nanos(u64::try_from(step.abs()).unwrap_or(u64::MAX));
        Some(Problem::new(
            ProblemKind::ClockJumped,
            format!(
                "the wall clock was set {direction} by {}, {} ago",
                seconds(size),
                seconds(age)
            ),
        ))
    }
}

fn interfaces(input: &Input, facts: &Facts, problems: &mut Vec<Problem>) {
    let failed = facts.not_attached.iter().cloned();
    problems.extend(failed.map(|text| Problem::new(ProblemKind::InterfaceNotAttached, text)));
    problems.extend(
        input
            .interfaces
            .iter()
            .flat_map(|i| i.problems.iter().cloned()),
    );
}

fn sessions(routers: &[RouterStatus], problems: &mut Vec<Problem>) {
    let lost: Vec<_> = routers.iter().filter(|r| r.sessions == 0).collect();
    if lost.is_empty() {
        return;
    }
    let names = named(lost.iter().map(|r| r.router.escape_debug().to_string()));
    problems.push(Problem::new(
        ProblemKind::BmpSessionLost,
        format!("no BMP session with {names}: its routes are stale or have expired"),
    ));
}

fn firewall(report: &FirewallReport, problems: &mut Vec<Problem>) {
    if report.attachments.is_empty() {
        problems.push(Problem::new(
            ProblemKind::FirewallNotAttached,
            "the firewall is attached to no interface: no interface matches agent.firewall.interfaces",
        ));
    }
    for attachment in &report.attachments {
        if let Err(reason) = &attachment.state {
            problems.push(Problem::new(
                ProblemKind::FirewallNotAttached,
                format!("no firewall on {}: {reason}", attachment.name),
            ));
        }
    }
    if !report.idle_patterns.is_empty() {
        let names = named(report.idle_patterns.iter().cloned());
        problems.push(Problem::new(
            ProblemKind::FirewallRuleInterface,
            format!("firewall rules name interfaces that do not exist: {names}"),
        ));
    }
}

fn databases(input: &Input, facts: &Facts, now: Moment, problems: &mut Vec<Problem>) {
    let unix = u64::try_from(now.unix_ns() / 1_000_000_000).unwrap_or(0);
    for &(name, built) in input.databases {
        let age = unix.saturating_sub(built);
        if age >= DATABASE_AGE {
            problems.push(Problem::new(
                ProblemKind::DatabaseOld,
                format!("the {name} database is {} days old", age / DAY),
            ));
        }
    }
    let broken = facts.broken_databases.iter();
    problems.extend(
        broken.map(|text| Problem::new(ProblemKind::DatabaseBroken, format!("cannot use {text}"))),
    );
    let missing = facts.missing_databases.iter();
    problems.extend(missing.map(|file| {
        Problem::new(
            ProblemKind::DatabaseMissing,
            format!("the database {file} does not exist any longer"),
        )
    }));
}

fn rpki(input: &Input, facts: &Facts, now: Moment, problems: &mut Vec<Problem>) {
    let Some(rpki) = input.rpki else {
        return;
    };
    if let Some(reason) = &facts.vrps {
        problems.push(Problem::new(
            ProblemKind::RpkiFailing,
            format!("cannot use VRPs: {reason}"),
        ));
    }
    let unix = u64::try_from(now.unix_ns() / 1_000_000_000).unwrap_or(0);
    let age = unix.saturating_sub(rpki.updated);
    if rpki.updated > 0 && age >= VRP_AGE {
        problems.push(Problem::new(
            ProblemKind::RpkiOld,
            format!("the VRPs are {} old", seconds(Duration::from_secs(age))),
        ));
    }
}

/// Lists at most [`NAMED`] names.
fn named(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut text = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

/// Returns a time in seconds, or in larger units if it is long.
fn seconds(span: Duration) -> String {
    match span.as_secs() {
        s if s < 120 => format!("{} s", s.max(1)),
        s if s < 2 * 3600 => format!("{} min", s / 60),
        s if s < 2 * DAY => format!("{} h", s / 3600),
        s => format!("{} days", s / DAY),
    }
}

#[cfg(test)]
mod tests;
