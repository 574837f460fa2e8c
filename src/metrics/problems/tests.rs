// SPDX-License-Identifier: AGPL-3.0-only

use std::sync::Arc;

use super::*;
use crate::config::current::Reload;
use crate::firewall::attachments::Attachment;
use crate::flow::snapshot::{Snapshot, Totals};
use crate::ipfix::collector_stats::CollectorStats;
use crate::metrics::{Bmp, Build, Interface, Rpki};
use crate::sys::error_counters::ErrorCounters;
use crate::types::counters::{Count, HookCounters};

/// An agent without problems, one second after the start.
struct Agent {
    lost: u64,
    thinned: u64,
    totals: Totals,
    bmp: Option<Bmp>,
    rpki: Option<Rpki>,
    ipfix: Vec<Arc<CollectorStats>>,
    firewall: Option<FirewallReport>,
    databases: Vec<(&'static str, u64)>,
    reload_successful: bool,
    facts: Facts,
    history: ProblemHistory,
    now: Moment,
}

/// In 2023.
const UNIX: u64 = 1_700_000_000;

impl Agent {
    fn new() -> Self {
        Self {
            lost: 0,
            thinned: 0,
            totals: Totals::default(),
            bmp: None,
            rpki: None,
            ipfix: Vec::new(),
            firewall: None,
            databases: Vec::new(),
            reload_successful: true,
            facts: Facts {
                attached: true,
                ..Facts::default()
            },
            history: ProblemHistory::default(),
            now: Moment {
                instant: Instant::now(),
                wall: UNIX_EPOCH + Duration::from_secs(UNIX),
                boot_ns: 1_000_000_000,
            },
        }
    }

    fn pass(&mut self, seconds: u64) {
        let span = Duration::from_secs(seconds);
        self.now.instant += span;
        self.now.wall += span;
        self.now.boot_ns += seconds * 1_000_000_000;
    }

    fn problems(&self) -> Vec<Problem> {
        let flows = Snapshot {
            totals: self.totals,
            ..Snapshot::default()
        };
        let mut all_hooks = HookCounters::default();
        all_hooks.families[1].dropped = Count {
            packets: self.lost,
            bytes: 60 * self.lost,
        };
        all_hooks.families[0].thinned.packets = self.thinned;
        let interfaces: [Interface; 0] = [];
        let input = Input {
            peer_series: false,
            source_check: false,
            interfaces: &interfaces,
            all_hooks,
            pattern_matches: &[],
            flows: &flows,
            flow_gauges: false,
            sample_rate: 1,
            overload_rate: 1,
            databases: &self.databases,
            rpki: self.rpki,
            bmp: self.bmp.as_ref(),
            ipfix: &self.ipfix,
            firewall: self.firewall.as_ref(),
            errors: &ErrorCounters::default(),
            http_auth_failures: None,
            dropped_log_lines: 0,
            guard: None,
            history: None,
            month_percentiles: &[],
            parse_errors: &[],
            build: Build {
                version: "",
                revision: "",
            },
            reload: Reload {
                successful: self.reload_successful,
                success_time: 0.0,
            },
            problems: &[],
            process: None,
            evicted_scrapers: 0,
            started_ms: None,
        };
        self.history.problems(&input, &self.facts, self.now)
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.problems().iter().map(|p| p.kind.name()).collect()
    }

    fn only_text(&self) -> String {
        let [problem] = &self.problems()[..] else {
            panic!("{:?}", self.problems());
        };
        problem.text.clone()
    }
}

#[test]
fn a_loss_begins_and_ends_once() {
    let mut agent = Agent::new();
    let mut events = Vec::new();
    for second in 0..300 {
        agent.pass(1);
        if (10..20).contains(&second) {
            agent.lost += 7;
        }
        agent.problems();
        let recorded = event_log::recorded().into_iter();
        events.extend(recorded.map(|(kind, text)| (second, kind, text)));
    }
    // the last packet is lost in second 19, and a minute without another one follows
    let [
        (10, EventKind::LossBegin, text),
        (end, EventKind::LossEnd, _),
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(text, "7 sampled packets");
    assert!((79..=81).contains(end), "{end}");
}

#[test]
fn an_overload_is_a_problem_for_a_minute() {
    let mut agent = Agent::new();
    agent.problems();
    agent.pass(1);
    agent.thinned = 5;
    assert_eq!(
        agent.only_text(),
        "more new flows than the ring buffer holds: 5 of their packets were estimated from others in the last 1 s"
    );
    for _ in 0..70 {
        agent.pass(1);
        agent.problems();
    }
    assert_eq!(agent.kinds(), Vec::<&str>::new());
}

#[test]
fn an_agent_without_problems_is_healthy() {
    let mut agent = Agent::new();
    agent.databases = vec![("asn", UNIX - 59 * DAY)];
    agent.firewall = Some(FirewallReport {
        attachments: vec![attachment(
            "eth0",
            Ok(crate::firewall::backend::Mode::Native),
        )],
        ..FirewallReport::default()
    });
    assert_eq!(agent.problems(), []);
}

#[test]
fn a_loss_is_a_problem_until_a_minute_has_passed_without_another_one() {
    let mut agent = Agent::new();
    agent.problems();
    for second in 0..200 {
        agent.pass(1);
        agent.lost += u64::from(second % 10 == 0) * 5;
        assert_eq!(agent.kinds(), ["packets_lost"], "{second}");
    }
    // five of every ten seconds: 30 within a minute
    assert!(agent.only_text().starts_with("30 sampled packets"));
    assert!(agent.only_text().contains("in the last 60 s"));
    for second in 0..50 {
        agent.pass(1);
        assert_eq!(agent.kinds(), ["packets_lost"], "{second}");
    }
    agent.pass(2);
    assert_eq!(agent.kinds(), [""; 0]);
}

#[test]
fn a_loss_before_the_first_reading_and_between_rare_readings_is_not_missed() {
    let mut agent = Agent::new();
    agent.lost = 7;
    assert!(agent.only_text().starts_with("7 sampled packets"));
    agent.pass(61);
    assert_eq!(agent.kinds(), [""; 0]);
    agent.pass(7200);
    agent.lost += 9;
    let text = agent.only_text();
    assert!(text.starts_with("9 sampled packets"), "{text}");
    assert!(text.contains("in the last 2 h"), "{text}");
    agent.pass(61);
    assert_eq!(agent.kinds(), [""; 0]);
}

#[test]
fn values_stored_for_a_counter_are_bounded() {
    let mut values = RecentValues::default();
    let start = Instant::now();
    for step in 0..100_000 {
        values.observe(step, start + Duration::from_millis(10 * step));
    }
    assert!(values.0.len() <= 62, "{}", values.0.len());
}

#[test]
fn full_tables_are_problems() {
    let mut agent = Agent::new();
    agent.totals = Totals {
        forced_evictions: 3,
        max_flows: 1024,
        series_folded: 1,
        series_limit: 100,
        ..Totals::default()
    };
    agent.firewall = Some(FirewallReport {
        attachments: vec![attachment("eth0", Err("no".into()))],
        max_sources: 10,
        ..FirewallReport::default()
    });
    if let Some(report) = &mut agent.firewall {
        report.stats.new_sources = 10;
    }
    let expected = ["flow_table_full", "series_full", "firewall_not_attached"];
    assert_eq!(agent.kinds(), expected);
    if let Some(report) = &mut agent.firewall {
        report.stats.new_sources = 11;
    }
    assert!(agent.kinds().contains(&"firewall_sources_full"));
}

#[test]
fn lost_sessions_failing_collectors_and_files_are_problems() {
    let mut agent = Agent::new();
    let router = |router: &str, sessions| RouterStatus {
        router: router.into(),
        sessions,
        ..RouterStatus::default()
    };
    agent.bmp = Some(Bmp {
        routers: vec![router("up", 1), router("a\u{1b}[31m", 0), router("b", 0)],
        ..Bmp::default()
    });
    assert_eq!(
        agent.only_text(),
        "no BMP session with a\\u{1b}[31m, b: its routes are stale or have expired"
    );
    agent.bmp = None;
    let stats = Arc::new(CollectorStats::new("[::1]:4739".into(), Arc::default()));
    agent.ipfix = vec![stats.clone()];
    assert_eq!(agent.kinds(), [""; 0]);
    agent.pass(5);
    stats.add_dropped(crate::flow::export_queue::RecordCounts {
        parts: 12,
        ..Default::default()
    });
    assert_eq!(
        agent.only_text(),
        "12 flow records were not sent to [::1]:4739 in the last 5 s"
    );
    agent.ipfix.clear();
    agent.databases = vec![("asn", UNIX - 61 * DAY)];
    agent.facts.missing_databases = vec!["/x/asn.mmdb".into()];
    agent.facts.state_file = Some("cannot save".into());
    agent.facts.not_attached = Some("1 interface".into());
    agent.facts.stuck_threads = vec!["flow"];
    agent.facts.attached = false;
    agent.reload_successful = false;
    let expected = [
        "thread",
        "starting",
        "interface_not_attached",
        "firewall_state_file",
        "database_old",
        "database_missing",
        "config_broken",
    ];
    assert_eq!(agent.kinds(), expected);
}

#[test]
fn vrps_that_cannot_be_used_or_are_old_are_problems() {
    let mut agent = Agent::new();
    agent.facts.vrps = Some("/x/json: it is broken".into());
    assert_eq!(agent.kinds(), [""; 0], "no VRPs are configured");
    agent.rpki = Some(Rpki::default());
    assert_eq!(agent.only_text(), "cannot use VRPs: /x/json: it is broken");
    agent.facts.vrps = None;
    agent.rpki = Some(Rpki {
        vrps: [1, 0],
        updated: UNIX - DAY + 1,
    });
    assert_eq!(agent.kinds(), [""; 0]);
    agent.pass(1);
    assert_eq!(agent.only_text(), "the VRPs are 24 h old");
}

#[test]
fn a_firewall_on_no_interface_and_rules_without_one_are_problems() {
    let mut agent = Agent::new();
    agent.firewall = Some(FirewallReport {
        idle_patterns: ["eht0", "b", "c", "d"].map(str::to_owned).into(),
        ..FirewallReport::default()
    });
    let problems = agent.problems();
    assert!(problems[0].text.contains("is attached to no interface"));
    assert_eq!(
        problems[1].text,
        "firewall rules name interfaces that do not exist: eht0, b, c and 1 more"
    );
}

#[test]
fn a_step_of_the_wall_clock_is_reported_for_ten_minutes_and_drift_is_not() {
    let mut agent = Agent::new();
    assert_eq!(agent.kinds(), [""; 0]);
    agent.pass(5);
    agent.now.wall += Duration::from_secs(3600);
    assert_eq!(
        agent.only_text(),
        "the wall clock was set forward by 60 min, 1 s ago"
    );
    agent.pass(30);
    agent.now.wall -= Duration::from_secs(86_400 * 3);
    let text = agent.only_text();
    assert!(
        text.starts_with("the wall clock was set back by 3 days"),
        "{text}"
    );
    agent.pass(599);
    assert_eq!(agent.kinds(), ["clock_jumped"]);
    agent.pass(1);
    assert_eq!(agent.kinds(), [""; 0]);
    // 0.5 thousandths over a day
    agent.pass(86_400);
    agent.now.wall += Duration::from_secs(43);
    assert_eq!(agent.kinds(), [""; 0]);
}

#[test]
fn a_port_open_to_all_clients_is_a_problem_until_it_is_limited() {
    let mut agent = Agent::new();
    let text = "agent.prometheus listens on [::]:9669 for anyone";
    agent.facts.open_port = Some(text.into());
    assert_eq!(agent.kinds(), ["open_port"]);
    assert_eq!(agent.only_text(), text);
    agent.facts.open_port = None;
    assert_eq!(agent.kinds(), [""; 0]);
}

fn attachment(name: &str, state: Result<crate::firewall::backend::Mode, String>) -> Attachment {
    Attachment {
        ifindex: 1,
        name: name.into(),
        state,
    }
}
