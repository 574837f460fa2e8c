// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the memory that Prometheus (Debian's) needs for the series of one router, with none of them and with many.
//!
//! `make bench PART=series`

mod common;

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use common::daemon::Daemon;
use common::lab::{Lab, Namespace, can_run};
use common::metrics::Metrics;
use common::report::{Cell, Report, Table, measuring};
use common::stats::Figure;

const PORT: u16 = 9669;
const FIRST_PROMETHEUS: u16 = 19_090;
/// A chunk of Prometheus has 120 samples: each series has a full chunk and the next one.
const WATCHED: Duration = Duration::from_secs(150);
/// The garbage collector makes the memory rise and fall.
const MEASURED: Duration = Duration::from_secs(30);

const COUNTERS: [&str; 2] = ["rfm_flow_bytes_total", "rfm_flow_packets_total"];
const GAUGES: [&str; 4] = [
    "rfm_flow_bytes",
    "rfm_flow_packets",
    "rfm_flow_sampled_bytes",
    "rfm_flow_sampled_packets",
];

/// The number of label combinations, and whether there are also gauges.
const ROUTERS: [(u64, bool); 4] = [(0, false), (10_000, false), (4_000, true), (10_000, true)];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    if !can_run(&["ip", "sysctl", "prometheus"]) {
        return Ok(());
    }
    let lab = Lab::new();
    let namespace = lab.namespace("p");
    let listener = namespace.inside(|| TcpListener::bind(("127.0.0.1", PORT)))?;
    spawn(move || serve(&listener));

    let watchers: Vec<Daemon> = (FIRST_PROMETHEUS..)
        .zip(ROUTERS)
        .map(|(port, router)| prometheus(&lab, &namespace, port, router))
        .collect();
    let (watched, measured) = match measuring() {
        true => (WATCHED, MEASURED),
        false => (Duration::from_secs(3), Duration::from_secs(1)),
    };
    sleep(watched);
    let mut found: Vec<Vec<f64>> = vec![Vec::new(); watchers.len()];
    let end = Instant::now() + measured;
    while Instant::now() < end {
        for (daemon, values) in watchers.iter().zip(&mut found) {
            values.push(daemon.memory().anonymous as f64);
        }
        sleep(Duration::from_millis(250));
    }
    let heads: Vec<Metrics> = (FIRST_PROMETHEUS..)
        .zip(ROUTERS)
        .map(|(port, _)| namespace.inside(|| own_metrics(port)))
        .collect::<std::io::Result<_>>()?;
    let mut report = Report::new("series");
    report.add(tell(&found, &heads));
    report.write()
}

/// Returns the metrics of Prometheus about itself.
fn own_metrics(port: u16) -> std::io::Result<Metrics> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok(Metrics::parse(body))
}

fn tell(found: &[Vec<f64>], heads: &[Metrics]) -> Table {
    let mut table = Table::new(
        "Prometheus: memory for the series of one router",
        "Anonymous memory of Prometheus (Debian's package with its defaults), which scrapes every \
         second for three minutes, so that each series has more than one chunk of 120 samples. MB, \
         over the last half minute; kB a series are above the memory without any series.",
        &[
            "combinations",
            "gauges",
            "series",
            "chunks",
            "MB",
            "kB a series",
            "at most",
        ],
    );
    let nothing = Figure::of(&found[0]);
    for (((sets, gauges), values), head) in ROUTERS.into_iter().zip(found).zip(heads) {
        let figure = Figure::of(values);
        // includes the five series that Prometheus adds for a target
        let series = head.sum("prometheus_tsdb_head_series", &[]);
        let chunks = head.sum("prometheus_tsdb_head_chunks", &[]);
        let each = |bytes: f64| match sets {
            0 => Cell::Nothing,
            _ => Cell::text(format!(
                "{:.1}",
                (bytes - nothing.median) / series as f64 / 1e3
            )),
        };
        let megabytes = values.iter().map(|bytes| bytes / 1e6).collect::<Vec<_>>();
        table.row(
            sets.to_string(),
            [
                Cell::text(if gauges { "yes" } else { "no" }),
                Cell::text(series.to_string()),
                Cell::text(chunks.to_string()),
                Cell::figure(Figure::of(&megabytes), 0),
                each(figure.median),
                each(figure.max),
            ],
        );
    }
    table
}

fn prometheus(lab: &Lab, namespace: &Namespace, port: u16, router: (u64, bool)) -> Daemon {
    let (sets, gauges) = router;
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n\
         - job_name: rfm\n  metrics_path: /{sets}/{gauges}\n  static_configs: [{{targets: ['127.0.0.1:{PORT}']}}]\n"
    );
    let file = lab.file(&format!("{port}.yml"), &config);
    let arguments = [
        format!("--config.file={}", file.display()),
        format!(
            "--storage.tsdb.path={}",
            lab.path(&port.to_string()).display()
        ),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Daemon::start(lab, namespace, "prometheus", &arguments)
}

fn families(gauges: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let counters = COUNTERS.into_iter().map(|name| (name, "counter"));
    let gauges = GAUGES.into_iter().filter(move |_| gauges);
    counters.chain(gauges.map(|name| (name, "gauge")))
}

/// Serves until the program ends: each scraper has its own thread, and the values grow from scrape to scrape.
fn serve(listener: &TcpListener) {
    let start = Instant::now();
    for stream in listener.incoming().flatten() {
        // a scraper that disconnects is no error
        spawn(move || drop(answer(stream, start)));
    }
}

fn answer(mut stream: TcpStream, start: Instant) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut line = String::from("-");
        while !line.trim().is_empty() {
            line.clear();
            reader.read_line(&mut line)?;
        }
        let mut words = request.split(['/', ' ']).filter(|word| !word.is_empty());
        let sets = words.nth(1).ok_or("no path")?.parse()?;
        let gauges = words.next() == Some("true");
        let body = text(sets, gauges, start.elapsed().as_secs());
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

/// Returns the text in the form of the agent's, with the default labels.
fn text(sets: u64, gauges: bool, seconds: u64) -> String {
    const CITIES: [&str; 5] = ["Amsterdam", "Frankfurt am Main", "São Paulo", "", "Tōkyō"];
    let mut out = String::new();
    for (family, kind) in families(gauges) {
        // writing to a String cannot fail
        let _ = writeln!(out, "# TYPE {family} {kind}");
        for n in 0..sets {
            let _ = writeln!(
                out,
                "{family}{{ifname=\"eth{}\",direction=\"{}\",proto=\"{}\",src_asn=\"64496\",dst_asn=\"{}\",src_city=\"{}\",dst_city=\"{}\"}} {}",
                n % 4,
                ["ingress", "egress"][(n % 2) as usize],
                [6, 17][(n / 2 % 2) as usize],
                n.wrapping_mul(2_654_435_761) % 400_000,
                CITIES[(n % 5) as usize],
                CITIES[(n / 5 % 5) as usize],
                (n + 1) * 1000 + seconds * (n % 1009) * 1499,
            );
        }
    }
    out
}
