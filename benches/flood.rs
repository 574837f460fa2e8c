// SPDX-License-Identifier: AGPL-3.0-only
//! Sends live packets into a monitored interface at the highest rate of one CPU: measures their cost, in the
//! kernel and in the agent, and whether all are accounted; compares with other programs.
//!
//! `make bench PART=flood`. `-- --rounds N` for more than three rounds.

mod common;

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

use common::daemon::Daemon;
use common::events::EventReader;
use common::flood::{Flood, Sent};
use common::flows::Load;
use common::lab::{Lab, Namespace, can_run};
use common::metrics::Metrics;
use common::peers::Peer;
use common::report::{Cell, Report, Table, rounds};
use common::run_stats::RunStats;
use common::stats::Figure;
use libbpf_rs::MapHandle;
use rfm::config::DEFAULT_FLOW_CACHE;
use rustix::process::Signal;

const ROUNDS: usize = 3;
const DEVICE: &str = "v0";

/// The duration of a flood; the second one, with the kernel's statistics of programs, may be shorter.
const FLOOD: Duration = Duration::from_millis(800);
const FLOOD_WITH_STATS: Duration = Duration::from_millis(300);
/// After this time the flow cache has been swept, and the other programs have read their queues.
const SETTLED: Duration = Duration::from_millis(1500);

/// After this time a polling reader has read everything.
const READ: Duration = Duration::from_millis(10);

const FEW: Load = Load::Uniform(1000);
const MANY: Load = Load::Uniform(65_536);
/// No flow repeats before 262,144 others.
const HOSTILE: Load = Load::Each(262_144);

/// In a cache of this size, 65,536 flows rarely evict each other.
const LARGE_FLOW_CACHE: u32 = 131_072;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Subject {
    Nothing,
    EmptyTcx,
    /// One ring event for each packet, which its reader discards.
    Events,
    /// `cache`: records of the flow cache.
    Rfm {
        rate: u32,
        cache: u32,
    },
    Peer(Peer),
}

impl Subject {
    fn name(self) -> String {
        match self {
            Self::Nothing => "nothing attached".into(),
            Self::EmptyTcx => "an empty TCX program".into(),
            Self::Events => "ring events, thrown away".into(),
            Self::Rfm { rate, cache } => match cache {
                DEFAULT_FLOW_CACHE => format!("rfm, N = {rate}"),
                0 => format!("rfm, N = {rate}, no flow cache"),
                records => format!("rfm, N = {rate}, flow_cache = {records}"),
            },
            Self::Peer(peer) => peer.program().into(),
        }
    }
}

/// Design targets: ns above an empty program, ns in the program above an empty one, CPU seconds a million packets.
struct Targets {
    above_empty: Option<f64>,
    in_program: Option<f64>,
    cpu: Option<f64>,
    /// Percent.
    lost: Option<f64>,
}

fn targets(subject: Subject, load: Load) -> Targets {
    let exact = subject
        == Subject::Rfm {
            rate: 1,
            cache: DEFAULT_FLOW_CACHE,
        };
    let is = |of: Load, limit| (exact && load == of).then_some(limit);
    Targets {
        above_empty: is(FEW, 30.0),
        in_program: is(MANY, 100.0),
        cpu: is(FEW, 0.01).or(is(MANY, 0.3)),
        lost: is(FEW, 0.0).or(is(MANY, 0.0)),
    }
}

/// The results of one run.
#[derive(Clone, Copy, Debug)]
struct Run {
    sent: Sent,
    /// Nanoseconds in the program, including the cost of the measurement.
    in_program: Option<f64>,
    /// CPU seconds of the daemon for a million packets.
    cpu: Option<f64>,
    /// The dropped share of the sampled packets, or of all sent packets if every packet is sampled.
    lost: Option<f64>,
}

struct Bench {
    lab: Lab,
    events: MapHandle,
    namespace: Namespace,
    flood: Flood,
}

impl Bench {
    fn new() -> Result<Self, Box<dyn Error>> {
        let lab = Lab::new();
        let namespace = lab.namespace("f");
        lab.veth((&namespace, DEVICE), (&namespace, "v1"));
        let mut flood = Flood::new(&namespace, DEVICE)?;
        Ok(Self {
            events: flood.events()?,
            flood,
            lab,
            namespace,
        })
    }

    fn run(&self, subject: Subject) -> Result<Run, Box<dyn Error>> {
        match subject {
            Subject::Nothing => Ok(Run {
                sent: self.flood.run_for(FLOOD)?,
                in_program: None,
                cpu: None,
                lost: None,
            }),
            Subject::EmptyTcx => {
                let _link = self.flood.attach("bench_empty")?;
                Ok(Run {
                    sent: self.flood.run_for(FLOOD)?,
                    in_program: Some(self.in_program()?),
                    cpu: None,
                    lost: None,
                })
            }
            Subject::Events => self.run_events(),
            Subject::Rfm { rate, cache } => self.run_rfm(rate, cache),
            Subject::Peer(peer) => self.run_peer(peer),
        }
    }

    /// Floods again with the kernel's statistics enabled, which themselves cost a few ns.
    fn in_program(&self) -> Result<f64, Box<dyn Error>> {
        let stats = RunStats::enable()?;
        let before = stats.read();
        let sent = self.flood.run_for(FLOOD_WITH_STATS)?;
        let found = stats.ns_per_run(&before, sent.packets);
        found.ok_or_else(|| "no program ran as often as packets came".into())
    }

    fn run_events(&self) -> Result<Run, Box<dyn Error>> {
        let _link = self.flood.attach("bench_ring_event")?;
        let reader = EventReader::start(MapHandle::try_from(&self.events)?);
        let sent = self.flood.run_for(FLOOD)?;
        sleep(READ);
        let (events, cpu) = reader.so_far();
        Ok(Run {
            sent,
            in_program: Some(self.in_program()?),
            cpu: Some(cpu.as_secs_f64() / sent.packets as f64 * 1e6),
            lost: Some(1.0 - events as f64 / sent.packets as f64),
        })
    }

    fn run_rfm(&self, rate: u32, cache: u32) -> Result<Run, Box<dyn Error>> {
        let mut agent = Daemon::rfm(
            &self.lab,
            &self.namespace,
            &format!("[\"{DEVICE}\"]"),
            &format!("sample_rate = {rate}\nflow_cache = {cache}"),
        );
        agent.wait_for("/healthz");
        let before = agent.cpu_time();
        let sent = self.flood.run_for(FLOOD)?;
        sleep(SETTLED);
        let cpu = agent.cpu_time() - before;
        let reply = agent.get("/metrics", false)?;
        let metrics = Metrics::parse(&String::from_utf8(reply.body)?);
        let lost = lost_by_rfm(&metrics, &sent)?;
        let in_program = self.in_program()?;
        agent.stop(Signal::TERM);
        Ok(Run {
            sent,
            in_program: Some(in_program),
            cpu: Some(cpu.as_secs_f64() / sent.packets as f64 * 1e6),
            lost: Some(lost),
        })
    }

    fn run_peer(&self, peer: Peer) -> Result<Run, Box<dyn Error>> {
        let mut daemon = peer.start(&self.lab, &self.namespace, DEVICE);
        sleep(Duration::from_secs(1));
        let before = daemon.cpu_time();
        let sent = self.flood.run_for(FLOOD)?;
        sleep(SETTLED);
        let cpu = daemon.cpu_time() - before;
        let accounted = peer.packets(&self.lab);
        daemon.stop(Signal::INT);
        let share = |packets: u64| 1.0 - packets as f64 / sent.packets as f64;
        Ok(Run {
            sent,
            in_program: None,
            cpu: Some(cpu.as_secs_f64() / sent.packets as f64 * 1e6),
            lost: accounted.map(share),
        })
    }
}

/// Returns the dropped share. It is an error unless every packet was observed, and accounted + dropped packets are
/// exactly the sampled ones.
fn lost_by_rfm(metrics: &Metrics, sent: &Sent) -> Result<f64, Box<dyn Error>> {
    let crossed = metrics.sum("rfm_interface_rx_packets_total", &[]);
    let taken = metrics.sum("rfm_interface_sampled_packets_total", &[]);
    let accounted = metrics.sum("rfm_collector_accounted_packets_total", &[]);
    let lost = metrics.sum("rfm_collector_dropped_packets_total", &[]);
    if crossed != sent.packets || accounted + lost != taken {
        let sent = sent.packets;
        return Err(format!(
            "{sent} sent, {crossed} crossed, {taken} taken, {accounted} accounted, {lost} lost"
        )
        .into());
    }
    Ok(lost as f64 / taken.max(1) as f64)
}

fn cases() -> Vec<(Load, Vec<Subject>)> {
    let rfm = |rate, cache| Subject::Rfm { rate, cache };
    let default = |rate| rfm(rate, DEFAULT_FLOW_CACHE);
    let peers = Peer::installed().into_iter().map(Subject::Peer);
    let mut few = vec![Subject::Nothing, Subject::EmptyTcx];
    few.extend([1000, 100, 10, 1].map(default));
    few.extend([rfm(1, 0), Subject::Events]);
    few.extend(peers.clone());
    let mut many = vec![Subject::EmptyTcx, default(1), rfm(1, LARGE_FLOW_CACHE)];
    many.push(Subject::Events);
    many.extend(peers);
    let hostile = vec![Subject::EmptyTcx, default(1), rfm(1, 0), Subject::Events];
    vec![(FEW, few), (MANY, many), (HOSTILE, hostile)]
}

/// Each load with its subjects and their runs.
type Samples = Vec<(Load, Vec<(Subject, Vec<Run>)>)>;

fn main() -> Result<(), Box<dyn Error>> {
    if !can_run(&["ip", "sysctl"]) {
        return Ok(());
    }
    let bench = Bench::new()?;
    let empty = |subjects: Vec<Subject>| subjects.into_iter().map(|s| (s, vec![])).collect();
    let mut samples: Samples = cases().into_iter().map(|(l, s)| (l, empty(s))).collect();
    for _ in 0..rounds(ROUNDS) {
        for (load, subjects) in &mut samples {
            bench.flood.set_load(*load)?;
            for (subject, runs) in subjects {
                let run = bench.run(*subject);
                runs.push(run.map_err(|e| format!("{}: {e}", subject.name()))?);
            }
        }
    }
    let mut report = Report::new("flood");
    for (load, subjects) in &samples {
        report.add(table(*load, subjects));
    }
    report.write()
}

fn figure(runs: &[Run], of: impl Fn(&Run) -> Option<f64>) -> Option<Figure> {
    let values: Vec<f64> = runs.iter().filter_map(of).collect();
    (!values.is_empty()).then(|| Figure::of(&values))
}

const HOW: &str = "Frames of 60 bytes from one CPU, at full speed. ns a packet is the CPU time of \
    that CPU, including the generation of the packet and its path to the drop in the IP stack; \"in \
    the program\" is the value of the kernel's program statistics (`bpf_stats`), above the empty \
    program. CPU is that of the daemon. Lost: sampled, but not in the daemon's flows 1.5 s later. For \
    rfm, flows + lost = sampled was checked to the packet. \"Ring events, thrown away\": one event of \
    112 bytes for each packet, none of them read, in a ring as large as that of rfm; the minimum cost \
    of a monitor that sends events.";

fn table(load: Load, subjects: &[(Subject, Vec<Run>)]) -> Table {
    let title = format!("Flood, flows: {}", load.name());
    let text = if load == FEW { HOW } else { "" };
    let columns = [
        "program",
        "M packets/s",
        "ns a packet",
        "above empty",
        "target",
        "in the program",
        "target",
        "CPU s per M",
        "target",
        "lost %",
        "target",
    ];
    let mut table = Table::new(&title, text, &columns);
    let empty = subjects.iter().find(|(s, _)| *s == Subject::EmptyTcx);
    let empty = empty.map_or(&[][..], |(_, runs)| runs);
    for (subject, runs) in subjects {
        table.row(subject.name(), cells(*subject, load, runs, empty));
    }
    table
}

fn cells(subject: Subject, load: Load, runs: &[Run], empty: &[Run]) -> Vec<Cell> {
    let shown = |found: Option<Figure>, decimals| match found {
        Some(found) => Cell::figure(found, decimals),
        None => Cell::Nothing,
    };
    let checked = |found: Option<Figure>, limit: Option<f64>, unit| match (found, limit) {
        (Some(found), Some(limit)) => Cell::at_most(found.median, limit, unit),
        _ => Cell::Nothing,
    };
    let above = |of: &dyn Fn(&Run) -> Option<f64>| {
        let ours: Vec<f64> = runs.iter().filter_map(of).collect();
        let theirs: Vec<f64> = empty.iter().filter_map(of).collect();
        let both = !ours.is_empty() && !theirs.is_empty() && subject != Subject::EmptyTcx;
        both.then(|| Figure::above(&ours, &theirs))
    };
    let targets = targets(subject, load);
    let above_empty = above(&|run| Some(run.sent.ns_per_packet()));
    let in_program = above(&|run| run.in_program);
    let cpu = figure(runs, |run| run.cpu);
    let lost = figure(runs, |run| run.lost.map(|lost| lost * 100.0));
    vec![
        shown(figure(runs, |run| Some(run.sent.per_second() / 1e6)), 2),
        shown(figure(runs, |run| Some(run.sent.ns_per_packet())), 0),
        shown(above_empty, 0),
        checked(above_empty, targets.above_empty, "ns"),
        shown(in_program, 0),
        checked(in_program, targets.in_program, "ns"),
        shown(cpu, 3),
        checked(cpu, targets.cpu, "s"),
        shown(lost, 2),
        checked(lost, targets.lost, "%"),
    ]
}
