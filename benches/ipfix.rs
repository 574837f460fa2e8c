// SPDX-License-Identifier: AGPL-3.0-only
//! Measures flow records that are encoded and sent on one core, and the cost of their transfer for thread flow.
//!
//! `make bench PART=ipfix`. Figures refer to the CPU time of the thread that does the work. Thread ipfix
//! receives records as from thread flow, and sends over the loopback to a socket that is read meanwhile. The
//! baseline sends messages of the same length, which are encoded only once. A collector with a small receive buffer
//! counts the messages that it loses.

mod common;
#[path = "ipfix/pacing.rs"]
mod pacing;

use std::error::Error;
use std::hint::black_box;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::machine::thread_time;
use common::report::{Cell, Report, Table, rounds};
use common::stats::Figure;
use rfm::config::{IpfixBind, IpfixCollector};
use rfm::enrich::{BgpInfo, FlowRouting};
use rfm::flow::export_queue::{ExportReceiver, ExportSender};
use rfm::flow::labels::SetId;
use rfm::flow::table::{CompletedRecord, EndReason, FlowObserver, FlowTable, TableLimits};
use rfm::ipfix::collector_stats::CollectorStats;
use rfm::ipfix::flows::{Layout, Template};
use rfm::ipfix::message::{MAX_LENGTH, Message};
use rfm::ipfix::options::ExportedInterface;
use rfm::ipfix::thread::{self as exporter, ExportSources, ExporterSettings, Target};
use rfm::sys::clock::Clock;
use rfm::sys::error_counters::ErrorCounters;
use rfm::sys::threads::Threads;
use rfm::types::flow::{Direction, Family, FlowKey, FlowRecord};
use rfm::types::transport::Transport;

const RUNS: usize = 5;
/// Records of a run.
const RECORDS: u64 = 2_000_000;
/// Design target: million records a second, on one core.
const TARGET: f64 = 0.2;
const FLOWS: u64 = 1 << 16;

const LAYOUT: Layout = Layout {
    routes: true,
    prev_adjacent: true,
    drops: true,
    source_check: None,
};

fn part(n: u64) -> CompletedRecord {
    let v6 = n.is_multiple_of(4);
    let mut src = [0; 16];
    src[..4].copy_from_slice(&(n as u32).to_be_bytes());
    CompletedRecord {
        record: FlowRecord {
            key: FlowKey {
                src,
                dst: [0; 16],
                ifindex: 2,
                src_port: n as u16,
                dst_port: 443,
                vlan_outer: 0,
                vlan_inner: 0,
                protocol: 17,
                direction: Direction::Egress,
                family: if v6 { Family::Ipv6 } else { Family::Ipv4 },
            },
            packets: 3,
            frame_bytes: 1800,
            ip_bytes: 1758,
            first: 1_700_000_000_000_000_000 + n,
            last: 1_700_000_001_000_000_000 + n,
            sample_rate: 1,
            ingress_ifindex: 3,
            src_mac: [2; 6],
            dst_mac: [4; 6],
            tcp_flags: 0x10,
            tos: 0,
            weights: Default::default(),
        },
        reason: EndReason::IdleTimeout,
        dropped: false,
    }
}

/// Returns fixed routing data of a flow: `make bench PART=rib` measures the lookup.
fn known() -> FlowRouting {
    let info = BgpInfo {
        asn: 64_496,
        peer_asn: 64_497,
        prefix_len: 24,
        next_hop: Some([192, 0, 2, 1].into()),
    };
    FlowRouting {
        src: info,
        dst: info,
        ip_next_hop: None,
        source: None,
    }
}

struct Known(FlowRouting);

impl ExportSources for Known {
    fn refresh(&mut self, _: u64) {}
    fn routing(&self, _: &FlowRecord) -> FlowRouting {
        self.0
    }
    fn interfaces(&mut self) -> Vec<ExportedInterface> {
        Vec::new()
    }
    fn dropped(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// A socket that a thread reads until this is dropped.
struct Sink {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sink {
    fn new() -> Result<Self, Box<dyn Error>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let port = socket.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = stop.clone();
        let thread = thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !theirs.load(Ordering::Relaxed) {
                let _ = black_box(socket.recv(&mut buffer));
            }
        });
        Ok(Self {
            port,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns the number of records that fit in one message, and the message.
fn full_message() -> (u64, Message) {
    let (mut message, mut n) = (Message::default(), 0);
    while add(&mut message, &part(n), &known()) {
        n += 1;
    }
    message.seal(1_700_000_000, 1);
    (n, message)
}

/// Adds a record; returns false if there is no room.
fn add(message: &mut Message, part: &CompletedRecord, routing: &FlowRouting) -> bool {
    const LONGEST: usize = 200;
    let template = Template::of(&part.record);
    if !message.has_room(template.id(), LONGEST, MAX_LENGTH) {
        return false;
    }
    template.write_record(
        LAYOUT,
        part,
        &Clock::with_offset(0),
        routing,
        message.record(template.id()),
    );
    true
}

/// Returns million records for each second of CPU time.
fn rate(records: u64, time: Duration) -> f64 {
    records as f64 / time.as_secs_f64() / 1e6
}

fn run_send() -> Result<f64, Box<dyn Error>> {
    let sink = Sink::new()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", sink.port))?;
    let (records, message) = full_message();
    let start = thread_time();
    for _ in 0..RECORDS / records {
        socket.send(message.bytes())?;
    }
    Ok(rate(RECORDS, thread_time() - start))
}

fn run_encode() -> f64 {
    let parts: Vec<_> = (0..4096).map(part).collect();
    let routing = known();
    let mut message = Message::default();
    let start = thread_time();
    for n in 0..RECORDS {
        let part = &parts[n as usize % parts.len()];
        if !add(&mut message, part, &routing) {
            message.seal(1_700_000_000, 1);
            black_box(message.bytes());
            message.clear();
            add(&mut message, part, &routing);
        }
    }
    rate(RECORDS, thread_time() - start)
}

/// Starts thread ipfix towards a port of the loopback. Returns its counts, and its CPU time when it has ended.
fn start_exporter(
    threads: &Threads,
    port: u16,
    export_receiver: ExportReceiver,
) -> Result<(Arc<CollectorStats>, mpsc::Receiver<Duration>), Box<dyn Error>> {
    let collector = IpfixCollector {
        host: "127.0.0.1".into(),
        port,
        transport: Transport::Udp,
    };
    let bind = IpfixBind {
        host: String::new(),
        port: 0,
    };
    let sent = Arc::new(CollectorStats::new(
        collector.label(),
        export_receiver.losses.clone(),
    ));
    let settings = ExporterSettings {
        targets: vec![Target::new(&collector, &bind, sent.clone())],
        template_refresh: Duration::from_secs(60),
        domain: 1,
        layout: LAYOUT,
        sample_rate: 1,
        lookups: Arc::default(),
        clock: Clock::with_offset(0),
    };
    let (cpu_time, took) = mpsc::channel();
    let errors = Arc::new(ErrorCounters::default());
    threads.spawn("ipfix", move |heartbeat| {
        exporter::run(
            settings,
            Known(known()),
            export_receiver,
            &errors,
            &heartbeat,
        );
        let _ = cpu_time.send(thread_time());
    })?;
    // thread ipfix assumes that the collector is present if it has not refused the templates
    thread::sleep(Duration::from_millis(600));
    Ok((sent, took))
}

/// Thread ipfix and its CPU time.
struct Exporter {
    threads: Threads,
    sent: Arc<CollectorStats>,
    took: mpsc::Receiver<Duration>,
    _sink: Sink,
}

impl Exporter {
    fn start() -> Result<(Self, ExportSender), Box<dyn Error>> {
        let sink = Sink::new()?;
        let (export_sender, export_receiver) =
            ExportSender::new(vec![Direction::Egress], Arc::default());
        let threads = Threads::new();
        let (sent, took) = start_exporter(&threads, sink.port, export_receiver)?;
        let exporter = Self {
            threads,
            sent,
            took,
            _sink: sink,
        };
        Ok((exporter, export_sender))
    }

    /// Returns the CPU time of the thread; fails if not all records were sent.
    fn finish(self, records: u64) -> Result<Duration, Box<dyn Error>> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.sent.records() < records && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        self.threads.stop("ipfix");
        let (sent, lost) = (self.sent.records(), self.sent.dropped().parts);
        match (sent, lost) {
            (n, 0) if n == records => Ok(self.took.recv()?),
            _ => Err(format!("{sent} of {records} records sent, {lost} lost").into()),
        }
    }
}

fn run_thread() -> Result<f64, Box<dyn Error>> {
    let (exporter, mut export_sender) = Exporter::start()?;
    for n in 0..RECORDS {
        if n.is_multiple_of(256) {
            export_sender.wait(Instant::now() + Duration::from_secs(10));
        }
        export_sender.push(&part(n));
    }
    drop(export_sender);
    Ok(rate(RECORDS, exporter.finish(RECORDS)?))
}

/// Does no accounting, and may export records.
struct Hands {
    export_sender: Option<ExportSender>,
    parts: u64,
}

impl FlowObserver for Hands {
    fn generation(&self) -> u32 {
        0
    }
    fn started(&mut self, _: &FlowRecord) -> SetId {
        SetId(0)
    }
    fn relabelled(&mut self, set: SetId, _: &FlowRecord) -> SetId {
        set
    }
    fn updated(&mut self, _: SetId, _: &FlowRecord) {}
    fn exported(&mut self, _: SetId, part: &CompletedRecord) {
        self.parts += 1;
        if let Some(export_sender) = &mut self.export_sender {
            export_sender.push(part);
        }
    }
    fn ended(&mut self, _: SetId) {}
}

/// Updates the flow table with records of new flows, which each evict one: there are as many flow records as
/// updates. Returns nanoseconds an update, and the number of flow records.
fn run_flow(export_sender: Option<ExportSender>) -> (f64, u64) {
    let mut table = FlowTable::new(TableLimits {
        max_flows: FLOWS as usize,
        idle_timeout_ms: 30_000,
        active_timeout_ms: 60_000,
        tcp_close_delay_ms: None,
        spread: false,
    });
    let mut hands = Hands {
        export_sender,
        parts: 0,
    };
    let mut spent = Duration::ZERO;
    for first in (0..RECORDS).step_by(256) {
        let batch: Vec<_> = (first..first + 256).map(|n| part(n).record).collect();
        // as if records arrived no faster than they can be exported
        if let Some(export_sender) = &hands.export_sender {
            export_sender.wait(Instant::now() + Duration::from_secs(10));
        }
        let start = thread_time();
        for record in &batch {
            table.update(record, 0, &mut hands);
        }
        spent += thread_time() - start;
    }
    (spent.as_nanos() as f64 / RECORDS as f64, hands.parts)
}

fn run_flow_exporting() -> Result<f64, Box<dyn Error>> {
    let (exporter, export_sender) = Exporter::start()?;
    let (ns, parts) = run_flow(Some(export_sender));
    exporter.finish(parts)?;
    Ok(ns)
}

/// Returns the median over rounds; each round measures each kind once.
fn measure<const N: usize>(
    mut kinds: [&mut dyn FnMut() -> Result<f64, Box<dyn Error>>; N],
) -> Result<[Figure; N], Box<dyn Error>> {
    let mut values: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..rounds(RUNS) {
        for (values, kind) in values.iter_mut().zip(&mut kinds) {
            values.push(kind()?);
        }
    }
    Ok(values.map(|values| Figure::of(&values)))
}

fn sending() -> Result<Table, Box<dyn Error>> {
    let text = "Flow records for each second of CPU time of the working thread, a quarter of them \
                IPv6, all fields. Thread ipfix receives batches from its channel, encodes them and sends \
                messages of 1,400 bytes over the loopback. × is in units of the baseline, which only sends.";
    let columns = ["", "M records/s", "×", "target"];
    let mut table = Table::new("Encode and send", text, &columns);
    let [send, encode, thread] =
        measure([&mut run_send, &mut || Ok(run_encode()), &mut run_thread])?;
    let rows = [
        ("baseline: send messages made before", send, Cell::Nothing),
        ("only encode", encode, Cell::Nothing),
        (
            "thread ipfix",
            thread,
            Cell::at_least(thread.median, TARGET, "M/s"),
        ),
    ];
    for (what, figure, target) in rows {
        let ratio = Cell::ratio(figure.median, send.median);
        table.row(what, [Cell::figure(figure, 2), ratio, target]);
    }
    Ok(table)
}

fn handing_over() -> Result<Table, Box<dyn Error>> {
    let text = "CPU time of the flow table for each record in the worst case: each record belongs \
                to a new flow and evicts another, so that each causes the export of a flow record. Thread \
                ipfix exports meanwhile.";
    let mut table = Table::new("Thread flow", text, &["", "ns a record", "×"]);
    let [alone, exporting] = measure([&mut || Ok(run_flow(None).0), &mut run_flow_exporting])?;
    for (what, figure) in [
        ("baseline: no exporter", alone),
        ("parts handed over", exporting),
    ] {
        let ratio = Cell::ratio(figure.median, alone.median);
        table.row(what, [Cell::figure(figure, 0), ratio]);
    }
    Ok(table)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut report = Report::new("ipfix");
    report.add(sending()?);
    report.add(handing_over()?);
    report.add(pacing::measure()?);
    report.write()
}
