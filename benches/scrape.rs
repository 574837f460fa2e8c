// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the cost of one scrape: the text and its compression by themselves, `/metrics` of a running server
//! with a full flow table, `/metrics` of the agent under traffic, and the dump of many interfaces.
//!
//! `make bench PART=scrape`

mod common;

use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use common::daemon::{Daemon, PORT};
use common::flood::Flood;
use common::flows::Load;
use common::lab::{Lab, Namespace, can_run};
use common::machine::thread_time;
use common::metrics::Metrics;
use common::report::{Cell, Report, Table, rounds};
use common::stats::Figure;
use crossbeam_channel::bounded;
use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use rfm::config::current::Reload;
use rfm::flow::snapshot::{SeriesRow, Snapshot};
use rfm::flow::thread::{self, Endpoints, FlowSettings, InterfaceNames};
use rfm::flow::{rollup, table};
use rfm::http::Server;
use rfm::metrics::collect::ScrapeRequest;
use rfm::metrics::exposition::Format;
use rfm::metrics::{Build, Input, Interface, render};
use rfm::netlink::{Link, LinkSocket};
use rfm::page::routes::Routes;
use rfm::sys::error_counters::ErrorCounters;
use rfm::sys::threads::Threads;
use rfm::types::counters::HookCounters;
use rfm::types::flow::{Direction, Family, FlowKey, FlowRecord};
use rfm::types::label::Labels;
use rfm::types::role::InterfaceRole;

const ROUNDS: usize = 21;
const FLOWS: u32 = 65_536;
const VETHS: usize = 200;

/// Design target: milliseconds for /metrics with this number of series.
const TARGET: f64 = 10.0;
const TARGET_SERIES: u32 = 4096;
/// Design target: the time of protobuf as a multiple of that of the text, with this number of series.
const TARGET_FORMAT_RATIO: f64 = 1.3;
const TARGET_FORMAT_SERIES: u64 = 10_000;

/// First arguments of the copies of this program that serve, and that dump many links.
const SERVE: &str = "serve";
const LINKS: &str = "links";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [what, series, ..] if what == SERVE => return serve(series.parse()?),
        [what, rounds, ..] if what == LINKS => return links(rounds.parse()?),
        _ => {}
    }
    let mut report = Report::new("scrape");
    report.add(text()?);
    report.add(formats());
    report.add(zero_first());
    if can_run(&["ip", "sysctl"]) {
        let lab = Lab::new();
        let namespace = lab.namespace("h");
        lab.veth((&namespace, "v0"), (&namespace, "v1"));
        report.add(over_http(&lab, &namespace)?);
        report.add(peak_memory(&lab, &namespace)?);
        report.add(under_traffic(&lab, &namespace)?);
        report.add(many_links(&lab)?);
    }
    report.write()
}

/// Returns the CPU milliseconds of `body` on this thread.
fn measure(mut body: impl FnMut()) -> Figure {
    let times: Vec<f64> = (0..rounds(ROUNDS))
        .map(|_| {
            let start = thread_time();
            body();
            (thread_time() - start).as_secs_f64() * 1e3
        })
        .collect();
    Figure::of(&times)
}

fn text() -> Result<Table> {
    let mut table = Table::new(
        "Scrape: only the text",
        "CPU ms to write the text for 50 interfaces and the given number of series, and bytes. The \
         baseline is only the six flow families, by the encoder of the `prometheus` crate.",
        &[
            "series",
            "text",
            "bytes",
            "prometheus crate",
            "×",
            "text, gzip 1",
            "bytes",
            "text, gzip 6",
            "bytes",
        ],
    );
    let links: Vec<Link> = (1..=50).map(link).collect();
    let interfaces: Vec<Interface> = links.iter().map(interface).collect();
    let errors = ErrorCounters::default();
    for series in [100, 1_000, 4_096, 10_000] {
        let flows = Snapshot {
            series: (0..series).map(row).collect(),
            ..Snapshot::default()
        };
        let input = input(&interfaces, &flows, &errors);
        let plain = rendered(Format::TextV0, &input);
        let ours = measure(|| {
            black_box(rendered(Format::TextV0, &input));
        });
        let theirs = measure(|| crate_encoder(&flows));
        let mut cells = vec![
            Cell::figure(ours, 2),
            Cell::text(plain.len().to_string()),
            Cell::figure(theirs, 2),
            Cell::ratio(theirs.median, ours.median),
        ];
        for level in [1, 6] {
            let time = measure(|| {
                let _ = black_box(compressed(&input, level));
            });
            let size = compressed(&input, level)?;
            cells.extend([Cell::figure(time, 2), Cell::text(size.to_string())]);
        }
        table.row(series.to_string(), cells);
    }
    Ok(table)
}

fn rendered(format: Format, input: &Input) -> Vec<u8> {
    let mut out = Vec::new();
    render(format, input, Duration::default, &mut out);
    out
}

fn compressed(input: &Input, level: u32) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(&rendered(Format::TextV0, input))?;
    Ok(encoder.finish()?.len())
}

/// Compares the time of each format with that of the text, in alternating rounds.
fn formats() -> Table {
    let mut table = Table::new(
        "Scrape: the formats",
        "CPU ms to write /metrics with 50 interfaces and the given number of series, in rounds that \
         alternate between the formats, and bytes. × compares medians with the text. In protobuf, the first of \
         the six families of flows encodes the labels again, and the others copy them with what does not change.",
        &[
            "series",
            "text 0.0.4",
            "bytes",
            "protobuf",
            "bytes",
            "×",
            "target",
        ],
    );
    let links: Vec<Link> = (1..=50).map(link).collect();
    let interfaces: Vec<Interface> = links.iter().map(interface).collect();
    let errors = ErrorCounters::default();
    for series in [1_000, TARGET_FORMAT_SERIES] {
        let flows = Snapshot {
            series: (0..series).map(row).collect(),
            ..Snapshot::default()
        };
        let input = input(&interfaces, &flows, &errors);
        let formats = [Format::TextV0, Format::Protobuf];
        let sizes = formats.map(|format| rendered(format, &input).len());
        let mut times = formats.map(|_| Vec::new());
        for _ in 0..rounds(ROUNDS) {
            for ((format, size), times) in formats.iter().zip(sizes).zip(&mut times) {
                let start = thread_time();
                // as the server, which knows the size of the previous answer
                let mut out = Vec::with_capacity(size + size / 8);
                render(*format, &input, Duration::default, &mut out);
                black_box(out);
                times.push((thread_time() - start).as_secs_f64() * 1e3);
            }
        }
        let [text, protobuf] = times.map(|times| Figure::of(&times));
        let [text_bytes, protobuf_bytes] = sizes.map(|size| Cell::text(size.to_string()));
        let ratio = protobuf.median / text.median;
        let target = match series {
            TARGET_FORMAT_SERIES => Cell::at_most(ratio, TARGET_FORMAT_RATIO, "×"),
            _ => Cell::Nothing,
        };
        table.row(
            series.to_string(),
            [
                Cell::figure(text, 2),
                text_bytes,
                Cell::figure(protobuf, 2),
                protobuf_bytes,
                Cell::ratio(protobuf.median, text.median),
                target,
            ],
        );
    }
    table
}

fn crate_encoder(flows: &Snapshot) {
    let families: Vec<MetricFamily> = (0..6).map(|_| protos(flows)).collect();
    let mut out = Vec::new();
    // into memory; the error is not part of the measurement
    let _ = TextEncoder::new().encode(&families, &mut out);
    black_box(out);
}

/// Scrapes a server that runs the threads of this program in another process.
fn over_http(lab: &Lab, namespace: &Namespace) -> Result<Table> {
    let mut table = Table::new(
        "Scrape: /metrics by HTTP",
        "ms from connecting to the last byte, and CPU ms of the server, of threads flow and http \
         with 65,536 flows in the table; each flow has an interface whose name is as long as the \
         ASN and city values of a series.",
        &[
            "series", "plain", "target", "CPU", "bytes", "gzip", "CPU", "bytes",
        ],
    );
    for series in [100, 1000, TARGET_SERIES, 10_000] {
        let program = std::env::current_exe()?;
        let program = program.to_string_lossy();
        let server = Daemon::start(lab, namespace, &program, &[SERVE, &series.to_string()]);
        server.wait_for("/metrics");
        let plain = scrapes(&server, false, Duration::ZERO)?;
        let gzip = scrapes(&server, true, Duration::ZERO)?;
        let target = match series {
            TARGET_SERIES => Cell::at_most(plain.latency.median, TARGET, "ms"),
            _ => Cell::Nothing,
        };
        let mut cells = vec![Cell::figure(plain.latency, 1), target];
        cells.extend([
            Cell::figure(plain.cpu, 1),
            Cell::text(plain.bytes.to_string()),
        ]);
        cells.extend([Cell::figure(gzip.latency, 1), Cell::figure(gzip.cpu, 1)]);
        cells.push(Cell::text(gzip.bytes.to_string()));
        table.row(series.to_string(), cells);
    }
    Ok(table)
}

/// Measures what a scraper adds, which gets new series as 0 at first.
fn zero_first() -> Table {
    let mut table = Table::new(
        "Scrape: new series as 0",
        "CPU ms of a scrape by a client that is a scraper, to set the counters of series that it has not read yet to 0, \
         of 10,000 series.",
        &["new series", "ms"],
    );
    let mut flows = Snapshot {
        series: (0..TARGET_FORMAT_SERIES).map(row).collect(),
        ..Snapshot::default()
    };
    for (name, since_ms) in [("none", u64::MAX), ("all", 0)] {
        let time = measure(|| black_box(&mut flows).start_at_zero(since_ms));
        table.row(name, [Cell::figure(time, 3)]);
    }
    table
}

/// Scrapes servers with the most series, each in one format.
fn peak_memory(lab: &Lab, namespace: &Namespace) -> Result<Table> {
    const PROTOBUF: &str = "Accept: application/vnd.google.protobuf\r\n";
    const TOLERANCE: f64 = 1.02;
    let mut table = Table::new(
        "Scrape: peak memory of the formats",
        "Highest resident memory in kB of the server above with 10,000 series, after 21 scrapes in \
         the format; the target for protobuf is that of the text, with 2 % for the variance.",
        &["format", "kB", "target"],
    );
    let program = std::env::current_exe()?;
    let program = program.to_string_lossy();
    let peak = |fields: &str| -> Result<f64> {
        let series = TARGET_FORMAT_SERIES.to_string();
        let server = Daemon::start(lab, namespace, &program, &[SERVE, &series]);
        server.wait_for("/healthz");
        for _ in 0..rounds(ROUNDS) {
            server.get_with("/metrics", fields)?;
        }
        Ok(server.peak_memory() as f64 / 1024.0)
    };
    let text = peak("")?;
    let protobuf = peak(PROTOBUF)?;
    let cell = |kilobytes: f64| Cell::text(format!("{kilobytes:.0}"));
    table.row("text 0.0.4", [cell(text)]);
    let target = Cell::at_most(protobuf, (text * TOLERANCE).round(), "kB");
    table.row("protobuf", [cell(protobuf), target]);
    Ok(table)
}

/// The cost of scrapes.
struct Scrapes {
    latency: Figure,
    cpu: Figure,
    bytes: usize,
}

fn scrapes(server: &Daemon, gzip: bool, pause: Duration) -> Result<Scrapes> {
    let (mut latency, mut cpu, mut bytes) = (vec![], vec![], 0);
    for _ in 0..rounds(ROUNDS) {
        sleep(pause);
        let before = server.cpu_time();
        let reply = server.get("/metrics", gzip)?;
        latency.push(reply.took.as_secs_f64() * 1e3);
        cpu.push((server.cpu_time() - before).as_secs_f64() * 1e3);
        bytes = reply.body.len();
    }
    Ok(Scrapes {
        latency: Figure::of(&latency),
        cpu: Figure::of(&cpu),
        bytes,
    })
}

/// Scrapes the agent with a full flow table while it receives packets of all flows.
fn under_traffic(lab: &Lab, namespace: &Namespace) -> Result<Table> {
    const PACKETS_PER_SECOND: u32 = 100_000;
    const PAUSE: Duration = Duration::from_millis(20);
    let flood = Flood::new(namespace, "v0")?;
    flood.set_load(Load::Each(FLOWS))?;
    let agent = Daemon::rfm(lab, namespace, "[\"v0\"]", "sample_rate = 1");
    agent.wait_for("/healthz");
    flood.run_paced(PACKETS_PER_SECOND, |sent| sent < 3 * u64::from(FLOWS))?;
    let enough = AtomicBool::new(false);
    let (plain, gzip) = std::thread::scope(|scope| -> Result<_> {
        let traffic = scope.spawn(|| {
            let go_on = |_| !enough.load(Ordering::Relaxed);
            let sent = flood.run_paced(PACKETS_PER_SECOND, go_on);
            sent.map_err(|error| error.to_string())
        });
        let found = scrapes(&agent, false, PAUSE)
            .and_then(|plain| Ok((plain, scrapes(&agent, true, PAUSE)?)));
        enough.store(true, Ordering::Relaxed);
        traffic.join().map_err(|_| "the traffic has failed")??;
        found
    })?;
    sleep(Duration::from_millis(1500));
    let reply = agent.get("/metrics", false)?;
    let metrics = Metrics::parse(&String::from_utf8(reply.body)?);
    let sum = |name: &str| metrics.sum(name, &[]).to_string();

    let mut table = Table::new(
        "Scrape: the agent under traffic",
        "ms from connecting to the last byte of /metrics of the agent with one interface, while it \
         receives 100,000 packets/s of 65,536 flows in turn at N = 1; CPU ms include the work on \
         these packets.",
        &["", "ms", "target", "CPU", "bytes"],
    );
    for (name, found) in [("plain", plain), ("gzip", gzip)] {
        table.row(
            name,
            [
                Cell::figure(found.latency, 1),
                Cell::at_most(found.latency.median, TARGET, "ms"),
                Cell::figure(found.cpu, 1),
                Cell::text(found.bytes.to_string()),
            ],
        );
    }
    let held = sum("rfm_collector_active_flows");
    table.row("flows held", [Cell::text(held)]);
    let lost = metrics.sum("rfm_collector_dropped_packets_total", &[]);
    table.row(
        "packets lost",
        [
            Cell::text(lost.to_string()),
            Cell::at_most(lost as f64, 0.0, "packets"),
        ],
    );
    Ok(table)
}

/// Runs threads flow and http, with a full table of flows in a number of series.
fn serve(series: u32) -> Result<()> {
    let (records, records_rx) = bounded(16);
    let (spare, _spare_rx) = bounded(1);
    let (requests, requests_rx) = bounded(16);
    let threads = Threads::new();
    threads.spawn("flow", move |heartbeat| {
        let settings = FlowSettings {
            peer_series: false,
            paths: false,
            transit_series: 0,
            source_check: false,
            history: None,
            table: table::TableLimits {
                max_flows: FLOWS as usize,
                idle_timeout_ms: 3_600_000,
                active_timeout_ms: 3_600_000,
                tcp_close_delay_ms: None,
                spread: false,
            },
            rollup: rollup::RollupLimits {
                max_series: 10_000,
                series_ttl_ms: 3_600_000,
            },
            labels: Labels::default(),
        };
        let channels = Endpoints {
            records: records_rx,
            spare,
            requests: requests_rx,
            export_sender: None,
            history_sender: None,
            guard: None,
        };
        thread::run(&settings, Places, (), channels, &heartbeat);
    })?;
    for first in (0..FLOWS).step_by(256) {
        records.send((first..first + 256).map(|n| record(n, series)).collect())?;
    }
    let errors = Arc::new(ErrorCounters::default());
    let server = Server::bind("127.0.0.1", PORT, errors.clone())?;
    let metrics = move |request: &ScrapeRequest, out: &mut Vec<u8>| {
        let flows = thread::snapshot(&requests, Duration::from_secs(5)).ok_or("no answer")?;
        let format = (request.format)(false);
        render(format, &input(&[], &flows, &errors), Duration::default, out);
        Ok(format)
    };
    let routes = Routes::new(metrics, || Ok(()), || Ok(Vec::new()));
    threads.spawn("http", move |heartbeat| {
        server.run(&heartbeat, move |request, _| routes.answer(&request));
    })?;
    // runs until it is killed
    loop {
        sleep(Duration::from_secs(1));
    }
}

/// A source of interface names as long as the values that ASNs and cities add to a series.
struct Places;

impl InterfaceNames for Places {
    fn generation(&self) -> u32 {
        0
    }

    fn name(&self, ifindex: u32) -> Option<Arc<str>> {
        const CITIES: [&str; 4] = ["Amsterdam", "Frankfurt am Main", "São Paulo", ""];
        let city = CITIES[(ifindex % 4) as usize];
        Some(format!("eth0 64496 {} {city} {city}", 100_000 + ifindex).into())
    }
}

fn record(n: u32, series: u32) -> FlowRecord {
    let mut src = [0; 16];
    src[..4].copy_from_slice(&n.to_be_bytes());
    FlowRecord {
        key: FlowKey {
            src,
            dst: [7; 16],
            ifindex: 1 + n % series,
            src_port: n as u16,
            dst_port: 443,
            vlan_outer: 0,
            vlan_inner: 0,
            protocol: 6,
            direction: Direction::Ingress,
            family: Family::Ipv4,
        },
        packets: 3000 + u64::from(n),
        frame_bytes: 1_800_000 + u64::from(n),
        ip_bytes: 1_758_000,
        first: 1,
        last: 2,
        sample_rate: 1,
        ingress_ifindex: 0,
        src_mac: [2; 6],
        dst_mac: [4; 6],
        tcp_flags: 0x10,
        tos: 0,
        weights: Default::default(),
    }
}

fn protos(flows: &Snapshot) -> MetricFamily {
    let metrics = flows.series.iter().map(|row| {
        let labels = row.labels.split("\",").map(|label| {
            let (name, value) = label.split_once("=\"").unwrap_or_default();
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.trim_end_matches('"').to_owned());
            pair
        });
        let mut counter = Counter::default();
        counter.set_value(row.bytes_total as f64);
        let mut metric = Metric::from_label(labels.collect());
        metric.set_counter(counter);
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name("rfm_flow_bytes_total".into());
    family.set_help("Help.".into());
    family.set_field_type(MetricType::COUNTER);
    family.set_metric(metrics.collect());
    family
}

fn input<'a>(
    interfaces: &'a [Interface<'a>],
    flows: &'a Snapshot,
    errors: &'a ErrorCounters,
) -> Input<'a> {
    Input {
        peer_series: false,
        source_check: false,
        interfaces,
        all_hooks: HookCounters::default(),
        pattern_matches: &[("*", 50)],
        flows,
        flow_gauges: true,
        sample_rate: 100,
        overload_rate: 1,
        databases: &[],
        bmp: None,
        rpki: None,
        ipfix: &[],
        firewall: None,
        errors,
        http_auth_failures: None,
        dropped_log_lines: 0,
        guard: None,
        history: None,
        month_percentiles: &[],
        parse_errors: &[],
        build: Build {
            version: "0",
            revision: "0",
        },
        reload: Reload {
            successful: true,
            success_time: 0.0,
        },
        problems: &[],
        process: None,
        evicted_scrapers: 0,
        started_ms: Some(1_700_000_000_000),
    }
}

fn link(ifindex: u32) -> Link {
    Link {
        ifindex,
        name: format!("eth{ifindex}"),
        kind: "ethernet".into(),
        speed_bytes: Some(1_250_000_000),
        ..Link::default()
    }
}

fn interface(link: &Link) -> Interface<'_> {
    Interface {
        name: &link.name,
        link,
        master: "",
        attach: "tcx",
        role: InterfaceRole::default(),
        is_summed: true,
        ingress: Some(HookCounters::default()),
        egress: Some(HookCounters::default()),
        created_ms: Some(1_700_000_000_000),
        assigned_ms: Some(1_700_000_000_000),
        removals: [0; 2],
        problems: Vec::new(),
    }
}

/// Returns a row with values as wide as those of a busy router.
fn row(n: u64) -> SeriesRow {
    const CITIES: [&str; 5] = ["Amsterdam", "Frankfurt am Main", "São Paulo", "", "Tōkyō"];
    let labels = format!(
        "ifname=\"eth{}\",direction=\"{}\",proto=\"{}\",src_asn=\"{}\",dst_asn=\"{}\",src_city=\"{}\",dst_city=\"{}\"",
        n % 4,
        ["ingress", "egress"][(n % 2) as usize],
        [6, 17][(n / 2 % 2) as usize],
        64_496,
        n.wrapping_mul(2_654_435_761) % 400_000,
        CITIES[(n % 5) as usize],
        CITIES[(n / 5 % 5) as usize],
    );
    let bytes = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    SeriesRow {
        labels: labels.into(),
        created_ms: 1_700_000_000_000 + n * 7,
        bytes_total: bytes,
        packets_total: bytes / 700,
        live_bytes: bytes / 50,
        live_packets: bytes / 35_000,
        live_sampled_bytes: bytes / 5_000,
        live_sampled_packets: bytes / 3_500_000,
        error_bytes: 0,
        error_packets: 0,
        live_flows: 1,
    }
}

fn many_links(lab: &Lab) -> Result<Table> {
    let mut table = Table::new(
        "Scrape: the dump of interfaces",
        "CPU ms to request all links from the kernel, as each scrape does; the first variant also \
         requests speeds.",
        &["links", "first", "each"],
    );
    let namespace = lab.namespace("l");
    let program = std::env::current_exe()?;
    let output = namespace
        .command(
            &program.to_string_lossy(),
            &[LINKS, &rounds(ROUNDS).to_string()],
        )
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [count, first, each @ ..] = &figures[..] else {
        return Err(format!("the part in the namespace failed: {text}").into());
    };
    table.row(
        count.to_string(),
        [
            Cell::figure(Figure::of(&[*first]), 1),
            Cell::figure(Figure::of(each), 1),
        ],
    );
    Ok(table)
}

/// Runs inside a namespace: creates links, and prints their number and the time of each dump.
fn links(rounds: usize) -> Result<()> {
    let mut batch = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = batch.stdin.take() {
        for n in 0..VETHS / 2 {
            writeln!(stdin, "link add a{n} up type veth peer name b{n}")?;
        }
    }
    batch.wait()?;
    let mut socket = LinkSocket::new(Arc::new(ErrorCounters::default()));
    let mut times = Vec::new();
    let mut count = 0;
    for _ in 0..=rounds {
        let start = thread_time();
        count = socket.dump()?.len();
        times.push((thread_time() - start).as_secs_f64() * 1e3);
    }
    print!("{count}");
    times.iter().for_each(|time| print!(" {time}"));
    Ok(())
}
