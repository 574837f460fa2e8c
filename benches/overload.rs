// SPDX-License-Identifier: AGPL-3.0-only
//! A flood of new flows against an agent that has the CPU for a tenth of the time: are the totals of networks right, and
//! their stated errors? The limit is `cpu.max`, which does not apply to the real-time thread, or stops all threads.
//!
//! `make bench PART=overload`

mod common;

use std::error::Error;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use common::counted_flood::{Flood, Flows, NETWORKS};
use common::cpu_limit::CpuLimit;
use common::daemon::{Daemon, PORT, RFM};
use common::frames::Mac;
use common::lab::{Lab, Namespace, can_run};
use common::metrics::Metrics;
use common::report::{Cell, Report, Table};
use common::stats::Figure;
use rustix::process::Signal;

/// 4,096 of each network.
const FLOWS: u32 = 1 << 20;
const SPAN: Duration = Duration::from_secs(8);
const CHUNK: u32 = 10_000;
/// The records of the flow cache are in the flow table.
const SETTLED: Duration = Duration::from_secs(3);

/// How the CPU time of the agent is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// A control group: all threads but thread ring, which is real-time.
    CpuMax,
    /// SIGSTOP and SIGCONT: all threads.
    Stop,
}

/// The time that the agent runs in each period, and the rate of the packets.
struct Overload {
    limit: Limit,
    run: Duration,
    period: Duration,
    packets_per_second: Option<u32>,
    /// Design target: the mean error of a network, in percent.
    target: f64,
}

const fn overload(
    limit: Limit,
    (run, period): (u64, u64),
    rate: Option<u32>,
    target: f64,
) -> Overload {
    Overload {
        limit,
        run: Duration::from_millis(run),
        period: Duration::from_millis(period),
        packets_per_second: rate,
        target,
    }
}

const OVERLOADS: [Overload; 6] = [
    overload(Limit::CpuMax, (1, 10), None, 4.0),
    overload(Limit::CpuMax, (10, 100), None, 9.0),
    overload(Limit::Stop, (1, 10), Some(1_000_000), 4.0),
    overload(Limit::Stop, (10, 100), Some(1_000_000), 9.0),
    overload(Limit::Stop, (1, 10), None, 4.0),
    overload(Limit::Stop, (10, 100), None, 9.0),
];

/// An address of no device here: the kernel drops the packets behind the hook, and does not spend the generator's time
/// on routing them.
const NOBODY: Mac = [2, 0, 0, 0, 0xee, 0xee];

/// The rate of a flood, and the figures of the agent beside the truth.
struct Outcome {
    per_second: f64,
    thinned_percent: f64,
    dropped_percent: f64,
    /// Percent of the truth.
    mean_error: f64,
    stated_error: f64,
    sum: f64,
    /// Percent of the networks within so many standard errors.
    within: [f64; 3],
}

fn main() -> Result<(), Box<dyn Error>> {
    if !can_run(&["ip", "sysctl", "clang"]) {
        return Ok(());
    }
    let text = format!(
        "{FLOWS} flows of {NETWORKS} networks, each packet of a random one, for {} s on one CPU, to a MAC address of no \
         device. `cpu.max` limits all threads but thread ring, which is real-time and may use its CPU; SIGSTOP and \
         SIGCONT stop and continue the whole agent. A network is within n standard errors if its packets in \
         `rfm_flow_packets_total` are as near to those that the generator counted; the standard error is \
         `rfm_flow_standard_error_packets`.",
        SPAN.as_secs()
    );
    let columns = [
        "limit",
        "the agent runs",
        "packets/s",
        "left out, %",
        "lost, %",
        "lost",
        "mean error, %",
        "stated, %",
        "target",
        "sum, %",
        "sum",
        "within 1, 2, 3, %",
        "within 1",
        "within 3",
    ];
    let mut table = Table::new("Overload", &text, &columns);
    for overload in &OVERLOADS {
        let outcome = measure(overload)?;
        let number = |value: f64, decimals| Cell::figure(Figure::of(&[value]), decimals);
        let [one, two, three] = outcome.within;
        let limit = match overload.limit {
            Limit::CpuMax => "cpu.max, without ring",
            Limit::Stop => "SIGSTOP, all threads",
        };
        table.row(
            limit,
            [
                Cell::text(format!("{:?} of {:?}", overload.run, overload.period)),
                number(outcome.per_second, 0),
                number(outcome.thinned_percent, 1),
                number(outcome.dropped_percent, 3),
                Cell::at_most(outcome.dropped_percent, 0.1, "%"),
                number(outcome.mean_error, 1),
                number(outcome.stated_error, 1),
                Cell::at_most(outcome.mean_error, overload.target, "%"),
                number(outcome.sum, 2),
                Cell::within(outcome.sum, (98.0, 102.0), "%"),
                Cell::text(format!("{one:.1}, {two:.1}, {three:.1}")),
                Cell::within(one, (60.0, 78.0), "%"),
                Cell::at_least(three, 98.0, "%"),
            ],
        );
    }
    let mut report = Report::new("overload");
    report.add(table);
    report.write()
}

fn config() -> String {
    let mut text = format!(
        "[agent]\ninterfaces = [\"lan0\"]\n[agent.bpf]\nsample_rate = 1\n[agent.control]\nsocket = \"\"\n\
         [agent.prometheus]\nhost = \"127.0.0.1\"\nport = {PORT}\nlabels = [\"src_net\"]\n\
         [agent.history]\npath = \"\"\n"
    );
    for network in 0..NETWORKS {
        writeln!(
            text,
            "[[agent.enrich.prefix]]\nprefix = \"198.18.{network}.0/24\"\nname = \"{network}\""
        )
        .expect("a String takes all");
    }
    text
}

fn measure(overload: &Overload) -> Result<Outcome, Box<dyn Error>> {
    let lab = Lab::new();
    let (router, _far) = lab.router();
    let file = lab.file("rfm.toml", &config());
    let file = file.to_str().ok_or("a path in UTF-8")?;
    let mut agent = Daemon::start(&lab, &router, RFM, &["--config", file]);
    agent.wait_for("/healthz");
    let flood = Flood::new(&lab.path(""), NOBODY, Flows::Uniform(FLOWS));
    let per_second = match overload.limit {
        Limit::CpuMax => {
            let _limit = CpuLimit::new(agent.pid(), overload.run, overload.period)?;
            send(&flood, &router, overload.packets_per_second)
        }
        Limit::Stop => send_to_stopped(&agent, overload, || {
            send(&flood, &router, overload.packets_per_second)
        }),
    };
    sleep(SETTLED);
    let reply = agent.get("/metrics", false)?;
    let metrics = Metrics::parse(&String::from_utf8(reply.body)?);
    agent.stop(Signal::TERM);
    Ok(compare(&metrics, &flood.sent(), per_second))
}

/// Runs `send` while the agent is stopped and continued.
fn send_to_stopped<T>(agent: &Daemon, overload: &Overload, send: impl FnOnce() -> T) -> T {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                agent.signal(Signal::CONT);
                sleep(overload.run);
                agent.signal(Signal::STOP);
                sleep(overload.period - overload.run);
            }
            agent.signal(Signal::CONT);
        });
        let sent = send();
        ended.store(true, Ordering::Relaxed);
        sent
    })
}

/// Returns the packets per second.
fn send(flood: &Flood, router: &Namespace, packets_per_second: Option<u32>) -> f64 {
    let lan0 = router.ifindex("lan0");
    let start = Instant::now();
    let mut sent = 0_u64;
    while start.elapsed() < SPAN {
        if let Some(rate) = packets_per_second {
            let due = Duration::from_secs_f64(sent as f64 / f64::from(rate));
            sleep(due.saturating_sub(start.elapsed()));
        }
        flood.run_on(router, lan0, CHUNK, 1);
        sent += u64::from(CHUNK);
    }
    sent as f64 / start.elapsed().as_secs_f64()
}

fn compare(metrics: &Metrics, truth: &[u64], per_second: f64) -> Outcome {
    let percent_of_sampled = |name: &str| {
        let sampled = metrics.sum("rfm_collector_sampled_packets_total", &[]) as f64;
        100.0 * metrics.sum(name, &[]) as f64 / sampled
    };
    let networks: Vec<_> = (0..truth.len()).map(|n| n.to_string()).collect();
    let of = |name: &str| -> Vec<f64> {
        let value = |network: &String| metrics.sum(name, &[("src_net", network)]) as f64;
        networks.iter().map(value).collect()
    };
    let estimates = of("rfm_flow_packets_total");
    let errors = of("rfm_flow_standard_error_packets");
    let truth: Vec<f64> = truth.iter().map(|&sent| sent as f64).collect();
    let count = truth.len() as f64;
    let all = || estimates.iter().zip(&truth).zip(&errors);
    let within = |errors: f64| {
        let near =
            all().filter(|((estimate, sent), error)| (*estimate - *sent).abs() <= errors * *error);
        100.0 * near.count() as f64 / count
    };
    let off = all().map(|((estimate, sent), _)| (estimate - sent).abs() / sent);
    let stated = all().map(|((_, sent), error)| error / sent);
    Outcome {
        per_second,
        thinned_percent: percent_of_sampled("rfm_collector_thinned_packets_total"),
        dropped_percent: percent_of_sampled("rfm_collector_dropped_packets_total"),
        mean_error: 100.0 * off.sum::<f64>() / count,
        stated_error: 100.0 * stated.sum::<f64>() / count,
        sum: 100.0 * estimates.iter().sum::<f64>() / truth.iter().sum::<f64>(),
        within: [1.0, 2.0, 3.0].map(within),
    }
}
