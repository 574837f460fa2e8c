// SPDX-License-Identifier: AGPL-3.0-only
//! Everything is accounted: more packets than the agent can take, forwarded on both CPUs from one
//! watched interface to another.

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::accounting::{Accounting, Count, seen_ip};
use common::agent::{Agent, EACH_PACKET, EXACT, config};
use common::flood::{FRAME_LEN, Flood, Flows};
use common::lab::{Lab, Namespace, can_run, mac_of, wait_for};
use common::metrics::Metrics;

const CPUS: usize = 2;
/// On each CPU.
const PACKETS: u32 = 500_000;
const ALL_PACKETS: u64 = PACKETS as u64 * CPUS as u64;

/// A sweep takes a second, the timers come in their own time, and the ring is polled ten times a
/// second.
const ONE_SWEEP: Duration = Duration::from_millis(1_300);

/// The result of one flood, from its start until all is accounted.
struct Outcome {
    agent: Agent,
    metrics: Metrics,
    accounting: Accounting,
    slowest_scrape: Duration,
    /// Resident memory: the most there was above that before.
    grown: u64,
}

/// A flood takes both CPUs: two at a time would measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A router, and an agent that watches both of its sides.
struct Fixture {
    _turn: MutexGuard<'static, ()>,
    lab: Lab,
    router: Namespace,
    far: Namespace,
}

impl Fixture {
    fn new() -> Option<Self> {
        if !can_run(&["ip", "sysctl", "clang"]) {
            return None;
        }
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let lab = Lab::new();
        let (router, far) = lab.router();
        Some(Self {
            _turn: turn,
            lab,
            router,
            far,
        })
    }

    /// Sends the flood through while scraping, and waits for `patience` after its end.
    fn flood(&self, more: &str, flows: Flows, patience: Duration) -> Outcome {
        let config = config(r#"["lan0", "wan0"]"#, more);
        let agent = Agent::start(&self.lab, &self.router, &config);
        let flood = Flood::new(&self.lab.path(""), mac_of("lan0"), flows);
        let lan0 = self.router.ifindex("lan0");
        let memory_before = agent.resident_memory();
        let (mut slowest_scrape, mut grown) = (Duration::ZERO, 0);
        let mut scrapes = 0;
        let start = Instant::now();
        thread::scope(|scope| {
            let flood = scope.spawn(|| flood.run(&self.router, lan0, PACKETS, CPUS));
            while !flood.is_finished() {
                let reply = agent.get("/metrics").expect("/metrics in the flood");
                assert_eq!(reply.status, 200);
                let accounting = Accounting::read(&Metrics::parse(&reply.body));
                assert!(accounting.is_consistent(), "{accounting:?}");
                slowest_scrape = slowest_scrape.max(reply.took);
                grown = grown.max(agent.resident_memory().saturating_sub(memory_before));
                scrapes += 1;
            }
        });
        let rate = ALL_PACKETS as f64 / start.elapsed().as_secs_f64() / 1e6;
        thread::sleep(patience);
        let metrics = agent.scrape();
        let accounting = Accounting::read(&metrics);
        println!(
            "{rate:.2} million packets a second, {scrapes} scrapes, slowest {slowest_scrape:?}, \
             grew by {grown} bytes\n{accounting:?}"
        );
        Outcome {
            agent,
            metrics,
            accounting,
            slowest_scrape,
            grown,
        }
    }
}

impl Outcome {
    /// Both interfaces counted every packet, once.
    fn all_seen(&self) {
        for (device, hook) in [("lan0", "ingress"), ("wan0", "egress")] {
            let expected = Count {
                packets: ALL_PACKETS,
                bytes: ALL_PACKETS * FRAME_LEN as u64,
            };
            let seen = seen_ip(&self.metrics, device, hook);
            assert_eq!(seen, expected, "{device} {hook}");
        }
    }

    /// Promise 3 in silence, at a sample rate of 1.
    fn all_accounted(&self) {
        self.all_seen();
        assert_eq!(self.accounting.sampled, self.accounting.seen);
        assert!(self.accounting.is_balanced(), "{:?}", self.accounting);
    }

    fn nothing_dropped(&self) {
        assert_eq!(self.accounting.dropped, Count::default());
    }
}

#[test]
fn a_flood_of_a_thousand_flows_loses_nothing_with_default_settings() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let outcome = fixture.flood(EXACT, Flows::Uniform(1_000), ONE_SWEEP);
    outcome.all_accounted();
    outcome.nothing_dropped();
    outcome.agent.stop();
}

#[test]
fn a_sampled_flood_is_accounted_with_default_settings() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let outcome = fixture.flood("", Flows::Uniform(1_000), ONE_SWEEP);
    outcome.all_seen();
    assert!(outcome.accounting.is_balanced(), "{:?}", outcome.accounting);
    outcome.nothing_dropped();
    // 20,000 gaps, uniform on 1 to 199: their sum varies by 0.4 %
    let share = outcome.accounting.seen.packets as f64 / outcome.accounting.sampled.packets as f64;
    assert!((97.0..103.0).contains(&share), "1 in {share}");
    outcome.agent.stop();
}

#[test]
fn a_flood_over_a_flow_table_that_is_too_small_is_accounted() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let more = format!("{EXACT}[agent.collector]\nmax_flows = 16\n");
    let outcome = fixture.flood(&more, Flows::Uniform(1_000), ONE_SWEEP);
    outcome.all_accounted();
    let metrics = &outcome.metrics;
    assert!(metrics.sum("rfm_collector_active_flows", &[]) <= 16);
    let evicted = metrics.sum("rfm_collector_forced_evictions_total", &[]);
    assert!(evicted > 1_000, "only {evicted} evictions: no test");
    outcome.agent.stop();
}

/// The ring holds some thirty records. A sweep that finds it full comes again after 2 ms, so that the
/// 16,384 records of two CPUs take a second more than a sweep does.
#[test]
fn a_flood_over_a_ring_that_is_too_small_is_forwarded_and_accounted() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    for (bpf, sweeps) in [(EACH_PACKET, 1), (EXACT, 3)] {
        let more = format!("{bpf}ring_buf_size = 4096\n[agent.collector]\nmax_flows = 1024\n");
        let received = || fixture.far.device_counters("sink0").rx_packets;
        let before = received();
        let outcome = fixture.flood(&more, Flows::Uniform(65_536), ONE_SWEEP * sweeps);
        wait_for(Duration::from_secs(1), || {
            received() - before == ALL_PACKETS
        });
        assert_eq!(received() - before, ALL_PACKETS, "forwarding suffered");
        outcome.all_accounted();
        let (dropped, thinned) = (
            outcome.accounting.dropped.packets,
            outcome.accounting.thinned.packets,
        );
        assert!(dropped + thinned > 0, "the ring was never full: no test");
        assert!(
            outcome.accounting.accounted.packets > 0,
            "nothing got through"
        );
        assert!(outcome.slowest_scrape < Duration::from_secs(2));
        assert!(outcome.grown < 16 << 20, "grew by {} bytes", outcome.grown);
        outcome.agent.stop();
    }
}

/// Each packet a new flow: the cache never hits, and evicts for each.
#[test]
fn a_flood_of_nothing_but_new_flows_is_accounted() {
    let Some(fixture) = Fixture::new() else {
        return;
    };
    let outcome = fixture.flood(EXACT, Flows::AllNew, ONE_SWEEP);
    outcome.all_accounted();
    let records = outcome
        .metrics
        .sum("rfm_collector_dropped_events_total", &[]);
    // a dropped record is one packet here, or several with a weight
    assert!(records <= outcome.accounting.dropped.packets);
    assert!(outcome.grown < 64 << 20, "grew by {} bytes", outcome.grown);
    outcome.agent.stop();
}
