// SPDX-License-Identifier: AGPL-3.0-only
//! Agents under load are killed at random moments: the history has every minute that was synced, with the bytes of the
//! counters.
//!
//! A minute is stored when it has ended, so that a kill takes a minute: RFM_SOAK_AGENT_KILLS is the number of kills, 4 by
//! default, in as many agents at once; `make soak` sets 50 of 10 agents.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::agent::{Agent, EXACT, config};
use common::lab::{Lab, Namespace, can_run, wait_for};
use common::packet::Sender;
use common::traffic::send_burst;
use rfm::store::reader::HistoryReader;
use rfm::store::types::{CurveFilter, Part, PartKind, Tier, TimeSpan};
use rfm::types::flow::Direction;

const KILLS: &str = "RFM_SOAK_AGENT_KILLS";
const AGENTS: usize = 10;
const LIMIT: Duration = Duration::from_secs(150);
/// Each agent has a load for at least this time.
const LOAD_SECONDS: u64 = 15;
/// The silence after a minute: more than the time between two readings, less than that until the minute is stored.
const SILENT_SECONDS: u64 = 12;

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
}

/// The bytes that v0 received, by minute, and of all services with their rest.
fn stored(folder: &Path, since: u64) -> (Vec<(u64, u64)>, u64) {
    let reader = HistoryReader::of_folder(folder);
    let span = TimeSpan::new(since, now().as_secs() + 60);
    let filter = CurveFilter {
        directions: vec![Direction::Ingress],
        ..CurveFilter::everything()
    };
    let curves = reader.curves(span, Some(Tier::Minute), &filter);
    assert_eq!(curves.damaged_blocks, 0);
    let (mut minutes, mut services) = (Vec::new(), 0);
    for curve in &curves.curves {
        let points = || curve.points.iter().map(|point| (point.time, point.bytes));
        match curve.part {
            Part::Total(_) => minutes.extend(points()),
            _ if curve.part.kind() == Some(PartKind::Service) => {
                services += points().map(|(_, bytes)| bytes).sum::<u64>();
            }
            _ => {}
        }
    }
    (minutes, services)
}

fn received(agent: &Agent) -> u64 {
    let labels = [("ifname", "v0")];
    agent.scrape().sum("rfm_interface_rx_bytes_total", &labels)
}

/// Sends while `is_loaded`.
fn load(a: &Namespace, is_loaded: &AtomicBool, ends: &AtomicBool) {
    a.inside(|| {
        let sender = Sender::new("v1").expect("a packet socket");
        while !ends.load(Ordering::Acquire) {
            if is_loaded.load(Ordering::Acquire) {
                send_burst(&sender, 200);
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
}

/// What is known about an agent that was killed.
struct Killed {
    /// The minute that was synced, and the bytes that the agent had counted at its end.
    minute: u64,
    synced: u64,
    /// Whether the minute of the kill is the next one.
    at_once: bool,
}

/// Runs an agent until a minute with its load is synced, and kills it within the next seconds.
fn kill_one(
    lab: &Lab,
    a: &Namespace,
    folder: &Path,
    is_loaded: &AtomicBool,
    delay: Duration,
) -> Killed {
    let history = format!(
        "[agent.history]\npath = \"{}\"\nsync_interval = \"1s\"\n",
        folder.display()
    );
    let agent = Agent::start(lab, a, &config(r#"["v0"]"#, &format!("{EXACT}{history}")));
    // the history counts from the first reading of thread page
    let is_read = || {
        agent
            .get("/page/v1.json")
            .is_ok_and(|page| page.body.contains("\"v0\""))
    };
    assert!(wait_for(LIMIT, is_read), "{}", agent.log());
    is_loaded.store(true, Ordering::Release);
    let begun = now().as_secs();
    let is_late = || now().as_secs() % 60 >= 45 && now().as_secs() - begun >= LOAD_SECONDS;
    assert!(wait_for(LIMIT, is_late));
    // silence around the end of the minute, so that it has the bytes of the counters
    is_loaded.store(false, Ordering::Release);
    let mut last = u64::MAX;
    let is_silent = || {
        let bytes = received(&agent);
        thread::sleep(Duration::from_millis(500));
        std::mem::replace(&mut last, bytes) == bytes
    };
    assert!(wait_for(LIMIT, is_silent));
    let (minute, synced) = (now().as_secs() / 60 * 60, last);
    // thread page divides a reading between the minutes that it touches
    assert!(wait_for(LIMIT, || now().as_secs() >= minute + 60 + SILENT_SECONDS));
    // the next minute is under load when the agent is killed
    is_loaded.store(true, Ordering::Release);
    let is_synced = || {
        stored(folder, minute)
            .0
            .iter()
            .any(|(time, _)| *time == minute)
    };
    assert!(wait_for(LIMIT, is_synced), "{}", agent.log());
    thread::sleep(delay);
    agent.kill();
    is_loaded.store(false, Ordering::Release);
    let at_once = now().as_secs() < minute + 120;
    Killed {
        minute,
        synced,
        at_once,
    }
}

fn kill_often(kills: usize, seed: u64) {
    let lab = Lab::among_others();
    let a = lab.namespace("a");
    lab.veth((&a, "v0"), (&a, "v1"));
    let folder = lab.path("history");
    let since = now().as_secs() / 60 * 60;
    let (is_loaded, ends) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut least, mut random) = (0, seed);
    thread::scope(|scope| {
        scope.spawn(|| load(&a, &is_loaded, &ends));
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut is_exact = true;
            for kill in 0..kills {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                // at most 4 s
                let delay = Duration::from_micros(random >> 42);
                let killed = kill_one(&lab, &a, &folder, &is_loaded, delay);
                least += killed.synced;
                is_exact &= killed.at_once;
                let (minutes, services) = stored(&folder, since);
                let up_to = |(time, _): &&(u64, u64)| *time <= killed.minute;
                let synced: u64 = minutes.iter().filter(up_to).map(|(_, bytes)| bytes).sum();
                let all: u64 = minutes.iter().map(|(_, bytes)| bytes).sum();
                assert_eq!(services, all, "kill {kill}: services and their rest");
                match is_exact {
                    true => assert_eq!(synced, least, "kill {kill}: {minutes:?}"),
                    // a slow machine: the next minute was stored as well, in part
                    false => assert!(synced >= least, "kill {kill}: {synced} of {least}"),
                }
            }
        }));
        ends.store(true, Ordering::Release);
        if let Err(reason) = run {
            std::panic::resume_unwind(reason);
        }
    });
    println!("{kills} kills, {least} bytes were synced");
}

#[test]
fn killed_agents_keep_every_synced_minute() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let kills = std::env::var(KILLS).map_or(4, |kills| kills.parse().expect("a number"));
    let agents = kills.min(AGENTS);
    thread::scope(|scope| {
        for agent in 0..agents {
            let share = kills / agents + usize::from(agent < kills % agents);
            scope.spawn(move || kill_often(share, 7 + agent as u64));
        }
    });
}
