// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the messages that a collector loses because its receive buffer is full: many flows that end together,
//! many long flows that start together, and a high rate of new flows.

use std::error::Error;
use std::fs;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use rfm::flow::export_queue::ExportSender;
use rfm::flow::rollup::RollupLimits;
use rfm::flow::table::TableLimits;
use rfm::flow::thread::{Endpoints, FlowSettings, InterfaceNames};
use rfm::ipfix::collector_stats::CollectorStats;
use rfm::ipfix::flows::Template;
use rfm::sys::threads::Threads;
use rfm::types::flow::{Direction, FlowRecord};
use rfm::types::label::Labels;
use rustix::net::sockopt;

use super::common::report::{Cell, Table, measuring, rounds};
use super::common::stats::Figure;
use super::{LAYOUT, full_message, part, start_exporter};

const RUNS: usize = 3;
/// Flows that end or start together.
const FLOWS: u64 = 30_000;
/// New flows a second at the high rate.
const RATE: u64 = 200_000;
/// The receive buffer for the high rate, in bytes; the others have the kernel's default.
const LARGE_BUFFER: usize = 64 << 20;
/// The time that the collector works on a message: it could receive 20,000 a second.
const WORK: Duration = Duration::from_micros(50);
const BATCH: u64 = 256;
/// The period in which bursts are counted.
const PERIOD: Duration = Duration::from_millis(20);

/// Figures of one run.
#[derive(Default)]
struct Run {
    /// Flow records that the collector received.
    records: u64,
    /// Messages that the kernel dropped because the receive buffer was full.
    lost: u64,
    messages: u64,
    /// The maximum number of messages received in [`PERIOD`].
    burst: u64,
    /// The maximum number of records that waited in rfm.
    queue: u64,
}

/// A collector that works on each message.
struct Collector {
    port: u16,
    /// Set at the end of the situation that is measured: the last records of the agent are a burst of their own.
    measured: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Run>,
}

impl Collector {
    fn start(buffer: Option<usize>) -> Result<Self, Box<dyn Error>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        if let Some(size) = buffer {
            sockopt::set_socket_recv_buffer_size_force(&socket, size)?;
        }
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let port = socket.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let measured = Arc::new(AtomicBool::new(false));
        let (stopping, ignored) = (stop.clone(), measured.clone());
        let work = if buffer.is_some() {
            Duration::ZERO
        } else {
            WORK
        };
        Ok(Self {
            port,
            measured,
            stop,
            thread: thread::spawn(move || receive(&socket, &stopping, &ignored, work)),
        })
    }

    fn finish(self) -> Result<Run, Box<dyn Error>> {
        thread::sleep(Duration::from_millis(500));
        let lost = dropped(self.port)?;
        self.stop.store(true, Ordering::Relaxed);
        let run = self.thread.join().map_err(|_| "the collector failed")?;
        Ok(Run { lost, ..run })
    }
}

fn receive(
    socket: &UdpSocket,
    stopping: &AtomicBool,
    measured: &AtomicBool,
    work: Duration,
) -> Run {
    let lengths: Vec<_> = Template::all()
        .map(|template| {
            (
                template.id(),
                template.write_template(LAYOUT, &mut Vec::new()),
            )
        })
        .collect();
    let (mut run, mut buffer) = (Run::default(), [0; 2048]);
    let (mut period, mut burst) = (Instant::now(), 0);
    while !stopping.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let received = Instant::now();
        run.messages += 1;
        run.records += records(&buffer[..length], &lengths);
        if received - period > PERIOD {
            (period, burst) = (received, 0);
        }
        burst += 1;
        if !measured.load(Ordering::Relaxed) {
            run.burst = run.burst.max(burst);
        }
        while received.elapsed() < work {}
    }
    run
}

/// Returns the flow records in a message.
fn records(message: &[u8], lengths: &[(u16, usize)]) -> u64 {
    let (mut records, mut rest) = (0, message.get(16..).unwrap_or_default());
    while let [a, b, c, d, ..] = *rest {
        let (id, length) = (
            u16::from_be_bytes([a, b]),
            u16::from_be_bytes([c, d]).into(),
        );
        if let Some((_, of_record)) = lengths.iter().find(|(template, _)| *template == id) {
            records += (usize::saturating_sub(length, 4) / of_record) as u64;
        }
        rest = rest.get(length.max(4)..).unwrap_or_default();
    }
    records
}

/// Returns the packets that the kernel dropped at a socket.
fn dropped(port: u16) -> Result<u64, Box<dyn Error>> {
    let address = format!("0100007F:{port:04X}");
    let sockets = fs::read_to_string("/proc/net/udp")?;
    let mut lines = sockets.lines().map(|line| line.split_whitespace());
    let mut line = lines
        .find(|line| line.clone().nth(1) == Some(&address))
        .ok_or("the collector has no socket")?;
    Ok(line
        .next_back()
        .ok_or("no drops in /proc/net/udp")?
        .parse()?)
}

struct NoNames;

impl InterfaceNames for NoNames {
    fn generation(&self) -> u32 {
        0
    }
    fn name(&self, _: u32) -> Option<Arc<str>> {
        None
    }
}

/// Threads flow and ipfix, and a collector.
struct Pipeline {
    threads: Threads,
    records: Sender<Vec<FlowRecord>>,
    stats: Arc<CollectorStats>,
    longest: Arc<AtomicU64>,
    collector: Collector,
    next: u64,
}

impl Pipeline {
    fn start(
        buffer: Option<usize>,
        idle_timeout_ms: u64,
        spread: bool,
    ) -> Result<Self, Box<dyn Error>> {
        let collector = Collector::start(buffer)?;
        let threads = Threads::new();
        let (export_sender, export_receiver) =
            ExportSender::new(vec![Direction::Egress], Arc::default());
        let (stats, _) = start_exporter(&threads, collector.port, export_receiver)?;
        let settings = FlowSettings {
            table: TableLimits {
                max_flows: 1 << 20,
                idle_timeout_ms,
                active_timeout_ms: 5_000,
                tcp_close_delay_ms: None,
                spread,
            },
            rollup: RollupLimits {
                max_series: 100,
                series_ttl_ms: 3_600_000,
            },
            labels: Labels::default(),
            peer_series: false,
            paths: false,
            transit_series: 0,
            source_check: false,
            history: None,
        };
        let (records, received) = bounded(32);
        let (spare, _) = bounded(1);
        let (_, requests) = bounded(1);
        let endpoints = Endpoints {
            records: received,
            spare,
            requests,
            export_sender: Some(export_sender),
            history_sender: None,
            guard: None,
        };
        threads.spawn("flow", move |heartbeat| {
            rfm::flow::thread::run(&settings, NoNames, (), endpoints, &heartbeat);
        })?;
        let (longest, watched) = (Arc::new(AtomicU64::new(0)), stats.clone());
        let maximum = longest.clone();
        threads.spawn("watch", move |heartbeat| {
            while !heartbeat.stopping() {
                maximum.fetch_max(watched.queued(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        })?;
        Ok(Self {
            threads,
            records,
            stats,
            longest,
            collector,
            next: 0,
        })
    }

    /// Sends one record of each of the next flows.
    fn send(&mut self, flows: u64) -> Result<(), Box<dyn Error>> {
        let end = self.next + flows;
        while self.next < end {
            let last = (self.next + BATCH).min(end);
            let batch = (self.next..last).map(|n| part(n).record).collect();
            self.records.send(batch)?;
            self.next = last;
        }
        Ok(())
    }

    fn finish(self) -> Result<Run, Box<dyn Error>> {
        self.collector.measured.store(true, Ordering::Relaxed);
        let queue = self.longest.load(Ordering::Relaxed);
        drop(self.records);
        for name in ["flow", "ipfix", "watch"] {
            self.threads.stop(name);
        }
        match self.stats.dropped().parts {
            0 => Ok(Run {
                queue,
                ..self.collector.finish()?
            }),
            n => Err(format!("rfm dropped {n} records").into()),
        }
    }
}

/// Sends the messages of the flows without a pause, as a program without pacing does.
fn without_a_pause() -> Result<Run, Box<dyn Error>> {
    let collector = Collector::start(None)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", collector.port))?;
    let (records, message) = full_message();
    for _ in 0..FLOWS.div_ceil(records) {
        socket.send(message.bytes())?;
    }
    collector.finish()
}

fn end_together() -> Result<Run, Box<dyn Error>> {
    let mut pipeline = Pipeline::start(None, 1_000, true)?;
    pipeline.send(FLOWS)?;
    thread::sleep(Duration::from_secs(4));
    complete(pipeline, FLOWS)
}

/// Long flows, with a record of each in each second, as the kernel sends them.
fn start_together(spread: bool) -> Result<Run, Box<dyn Error>> {
    let mut pipeline = Pipeline::start(None, 30_000, spread)?;
    for _ in 0..20 {
        pipeline.next = 0;
        let start = Instant::now();
        pipeline.send(FLOWS)?;
        thread::sleep(Duration::from_secs(1).saturating_sub(start.elapsed()));
    }
    pipeline.finish()
}

fn high_rate() -> Result<Run, Box<dyn Error>> {
    const SECONDS: u64 = 5;
    const STEPS: u64 = 100;
    let mut pipeline = Pipeline::start(Some(LARGE_BUFFER), 1_000, true)?;
    let start = Instant::now();
    for step in 1..=SECONDS * STEPS {
        pipeline.send(RATE / STEPS)?;
        let due = Duration::from_secs(1) * step as u32 / STEPS as u32;
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
    thread::sleep(Duration::from_secs(4));
    complete(pipeline, RATE * SECONDS)
}

/// Ends a run in which each flow has one record.
fn complete(pipeline: Pipeline, flows: u64) -> Result<Run, Box<dyn Error>> {
    let run = pipeline.finish()?;
    match run.records {
        n if n == flows || run.lost > 0 => Ok(run),
        n => Err(format!("{n} of {flows} records received").into()),
    }
}

pub fn measure() -> Result<Table, Box<dyn Error>> {
    let text = format!(
        "A collector on the loopback that works {} µs on each message, with the kernel's default receive buffer; at the \
         high rate it has a buffer of 64 MB and does not work. Threads flow and ipfix are those of the agent. \
         Ending: {FLOWS} flows end in the same 0.1 s. Long: {FLOWS} flows start together and continue for 20 s, \
         with an active timeout of 5 s. High rate: {RATE} new flows a second for 5 s. Lost: messages that the \
         kernel dropped because the buffer was full. Burst: the maximum number of messages received in {} ms, and queue: \
         that of records that waited in thread ipfix, both before threads flow and ipfix were stopped.",
        WORK.as_micros(),
        PERIOD.as_millis()
    );
    let columns = ["", "messages", "lost", "target", "burst", "queue"];
    let mut table = Table::new("Paced export", &text, &columns);
    type Kind<'a> = (&'a str, bool, &'a dyn Fn() -> Result<Run, Box<dyn Error>>);
    let kinds: [Kind; 5] = [
        ("baseline: ending, without a pause", false, &without_a_pause),
        ("ending", true, &end_together),
        ("long, not spread", false, &|| start_together(false)),
        ("long", true, &|| start_together(true)),
        ("high rate", true, &high_rate),
    ];
    for (name, has_target, kind) in kinds {
        if !measuring() && name.starts_with("long") {
            continue;
        }
        let runs = (0..rounds(RUNS)).map(|_| kind());
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        let of = |value: fn(&Run) -> u64| {
            let values: Vec<_> = runs.iter().map(|run| value(run) as f64).collect();
            Figure::of(&values)
        };
        let lost = of(|run| run.lost);
        let target = match has_target {
            true => Cell::at_most(lost.max, 0.0, "messages"),
            false => Cell::Nothing,
        };
        let messages = Cell::figure(of(|run| run.messages + run.lost), 0);
        let rest = [of(|run| run.burst), of(|run| run.queue)];
        let [burst, queue] = rest.map(|figure| Cell::figure(figure, 0));
        table.row(
            name,
            [messages, Cell::figure(lost, 0), target, burst, queue],
        );
    }
    Ok(table)
}
