// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the page: its memory, the cost of an update and of a view, and whether its readers slow down the
//! collector.
//!
//! `make bench PART=history`

mod common;

use std::error::Error;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use common::daemon::{Daemon, PORT};
use common::flood::Flood;
use common::flows::Load;
use common::lab::{Lab, Namespace, can_run};
use common::machine::thread_time;
use common::metrics::Metrics;
use common::report::{Cell, Report, Table, rounds};
use common::stats::Figure;
use rfm::flow::snapshot::SeriesRow;
use rfm::history::{History, HistoryReading, InterfaceReading};
use rfm::http::encoding;
use rfm::netlink::Link;
use rfm::page::query::Query;
use rfm::page::view::{AgentState, render};
use rfm::types::address_detail::AddressDetail;
use rfm::types::counters::{Count, HookCounters};

const READERS: usize = 50;
/// The page of a reader sends a request every 5 s: these readers send more, to have a measurable effect.
const PAUSE: Duration = Duration::from_millis(250);
const TIME: Duration = Duration::from_secs(5);
const ROUNDS: usize = 5;
/// At this packet rate nothing may be dropped, even with readers.
const PACE: u32 = 500_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut report = Report::new("history");
    report.add(by_itself());
    if can_run(&["ip", "sysctl"]) {
        let lab = Lab::new();
        let namespace = lab.namespace("y");
        lab.veth((&namespace, "v0"), (&namespace, "v1"));
        report.add(under_readers(&lab, &namespace)?);
    }
    report.write()
}

/// A router with a number of interfaces and series, as thread page sees it.
struct Router {
    history: History,
    links: Vec<Link>,
    series: Vec<SeriesRow>,
    hook: HookCounters,
    ticks: u64,
}

impl Router {
    fn new(interfaces: u32, sets: u32) -> Self {
        let link = |n| Link {
            ifindex: n + 1,
            name: format!("eth{n}"),
            ..Link::default()
        };
        let set = |n: u32| {
            let labels = format!(
                "ifname=\"eth{}\",direction=\"{}\",proto=\"{}\",src_asn=\"{}\",dst_asn=\"64496\",src_city=\"city {}\",dst_city=\"\"",
                n % interfaces,
                ["ingress", "egress"][(n / interfaces % 2) as usize],
                [6, 17][(n % 2) as usize],
                64_500 + n / 2,
                n % 300
            );
            row(&labels)
        };
        Self {
            history: History::default(),
            links: (0..interfaces).map(link).collect(),
            series: (0..sets).map(set).collect(),
            hook: HookCounters::default(),
            ticks: 0,
        }
    }

    /// Updates the history. Every series has traffic in every update: the worst case.
    fn tick(&mut self, ticks: u64) {
        self.ticks += ticks;
        for (n, row) in self.series.iter_mut().enumerate() {
            row.bytes_total += 100_000 / (n as u64 + 1) + 100;
            row.packets_total += 1;
        }
        self.hook.families[0].observed += Count {
            packets: 1000,
            bytes: 1_000_000,
        };
        let interfaces: Vec<_> = self
            .links
            .iter()
            .map(|link| InterfaceReading {
                link,
                master: "",
                attach: "tcx",
                role: None,
                provider: "",
                is_summed: true,
                hooks: [Some(&self.hook), Some(&self.hook)],
            })
            .collect();
        self.history.feed(&HistoryReading {
            now_ms: self.ticks * 5000,
            wall: self.ticks as f64 * 5.0,
            interfaces: &interfaces,
            uplink: None,
            series: &self.series,
            asns: &[],
            sample_rate: 1,
        });
    }
}

fn row(labels: &str) -> SeriesRow {
    SeriesRow {
        labels: labels.into(),
        created_ms: 0,
        bytes_total: 0,
        packets_total: 0,
        live_bytes: 0,
        live_packets: 0,
        live_sampled_bytes: 0,
        live_sampled_packets: 0,
        error_bytes: 0,
        error_packets: 0,
        live_flows: 0,
    }
}

fn by_itself() -> Table {
    let mut table = Table::new(
        "History: what it holds and costs",
        "Bytes held after a minute and after a day; CPU ms of an update (one each 5 s) in which \
         every series changes, and of a view with its compression (once per update for all readers \
         of the same view).",
        &[
            "interfaces, series",
            "a minute",
            "a day",
            "tick",
            "view",
            "bytes",
            "packed",
        ],
    );
    for (interfaces, sets) in [(1, 0), (4, 100), (4, 4_096), (32, 10_000)] {
        let mut router = Router::new(interfaces, sets);
        (0..13).for_each(|_| router.tick(1));
        let minute = router.history.bytes();
        (0..720).for_each(|_| router.tick(24));
        let mut tick = || {
            let start = thread_time();
            router.tick(1);
            (thread_time() - start).as_secs_f64() * 1e3
        };
        let tick: Vec<f64> = (0..21).map(|_| tick()).collect();
        let query = Query::default();
        let view = || {
            let start = thread_time();
            let view = render(
                &router.history,
                &query,
                None,
                AddressDetail::Full,
                &AgentState::default(),
                false,
            );
            black_box(encoding::gzip(&view, encoding::Level::Small));
            (thread_time() - start).as_secs_f64() * 1e3
        };
        let view: Vec<f64> = (0..21).map(|_| view()).collect();
        let plain = render(
            &router.history,
            &query,
            None,
            AddressDetail::Full,
            &AgentState::default(),
            false,
        );
        table.row(
            format!("{interfaces}, {sets}"),
            [
                Cell::text(minute.to_string()),
                Cell::text(router.history.bytes().to_string()),
                Cell::figure(Figure::of(&tick), 2),
                Cell::figure(Figure::of(&view), 2),
                Cell::text(plain.len().to_string()),
                Cell::text(
                    encoding::gzip(&plain, encoding::Level::Small)
                        .map_or(0, |packed| packed.len())
                        .to_string(),
                ),
            ],
        );
    }
    table
}

/// The results of the rounds with, or without, readers.
#[derive(Default)]
struct Found {
    pace: Vec<f64>,
    cpu: Vec<f64>,
    lost: u64,
    views: Vec<f64>,
    took: Vec<f64>,
}

fn under_readers(lab: &Lab, namespace: &Namespace) -> Result<Table> {
    let text = format!(
        "The agent at N = 1 under {PACE} packets a second of 1,000 flows, alternately without and \
         with {READERS} readers of the page, each of which sends four requests a second (a \
         browser: one in 5 s). CPU of the whole agent, ms a second; a view: ms from request to \
         last byte, with a separate connection."
    );
    let columns = [
        "readers",
        "packets/s",
        "lost",
        "target",
        "agent CPU",
        "views/s",
        "a view",
    ];
    let mut table = Table::new("History: 50 readers at once", &text, &columns);
    let agent = Daemon::rfm(lab, namespace, "[\"v0\"]", "sample_rate = 1");
    agent.wait_for("/healthz");
    let flood = Flood::new(namespace, "v0")?;
    flood.set_load(Load::Each(1000))?;
    let mut found = [Found::default(), Found::default()];
    for _ in 0..rounds(ROUNDS) {
        for (readers, found) in [0, READERS].into_iter().zip(&mut found) {
            round(&agent, namespace, &flood, readers, found)?;
        }
    }
    for (readers, found) in [0, READERS].into_iter().zip(found) {
        table.row(
            readers.to_string(),
            [
                Cell::figure(Figure::of(&found.pace), 0),
                Cell::text(found.lost.to_string()),
                Cell::at_most(found.lost as f64, 0.0, "lost"),
                Cell::figure(Figure::of(&found.cpu), 1),
                Cell::figure(Figure::of(&found.views), 0),
                match readers {
                    0 => Cell::Nothing,
                    _ => Cell::figure(Figure::of(&found.took), 2),
                },
            ],
        );
    }
    Ok(table)
}

fn round(
    agent: &Daemon,
    namespace: &Namespace,
    flood: &Flood,
    readers: usize,
    found: &mut Found,
) -> Result<()> {
    let lost = || -> Result<u64> {
        let reply = agent.get("/metrics", false)?;
        let metrics = Metrics::parse(&String::from_utf8(reply.body)?);
        Ok(metrics.sum("rfm_collector_dropped_packets_total", &[]))
    };
    let (before, cpu) = (lost()?, agent.cpu_time());
    let (stop, views, took) = (
        AtomicBool::new(false),
        AtomicU64::new(0),
        Mutex::new(Vec::new()),
    );
    let sent = scope(|threads| {
        for reader in 0..readers {
            let (stop, views, took) = (&stop, &views, &took);
            threads.spawn(move || {
                namespace.inside(|| {
                    // not all at the same moment
                    sleep(PAUSE / READERS as u32 * reader as u32);
                    while !stop.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        if read_view().is_ok() {
                            views.fetch_add(1, Ordering::Relaxed);
                            let mut took = took.lock().unwrap_or_else(PoisonError::into_inner);
                            took.push(start.elapsed().as_secs_f64() * 1e3);
                        }
                        sleep(PAUSE);
                    }
                });
            });
        }
        let start = Instant::now();
        let sent = flood.run_paced(PACE, |_| start.elapsed() < TIME);
        stop.store(true, Ordering::Relaxed);
        sent
    })?;
    let seconds = sent.elapsed.as_secs_f64();
    found.pace.push(sent.per_second());
    found
        .cpu
        .push((agent.cpu_time() - cpu).as_secs_f64() * 1e3 / seconds);
    found.lost += lost()? - before;
    found.views.push(views.into_inner() as f64 / seconds);
    found
        .took
        .extend(took.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(())
}

fn read_view() -> std::io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "GET /page/v1.json HTTP/1.0\r\nHost: b\r\nAccept-Encoding: gzip\r\n\r\n"
    )?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    match reply.starts_with(b"HTTP/1.0 200") || reply.starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err(std::io::Error::other("no view")),
    }
}
