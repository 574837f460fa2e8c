// SPDX-License-Identifier: AGPL-3.0-only
//! What one scrape costs: the text, its compression, and the dump of the interfaces.
//!
//! `cargo bench --bench scrape`; without `--bench` each measurement runs once, to prove that it works.

use std::hint::black_box;
use std::io::{self, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use rfm::bpf::counters::HookCounters;
use rfm::errors::Errors;
use rfm::export::metrics::{Build, Input, Interface, Reload, render};
use rfm::flow::snapshot::{SeriesRow, Snapshot};
use rfm::links::{Link, LinkSocket};

/// Set in the copy of this program that runs in a namespace full of links.
const INSIDE: &str = "RFM_BENCH_INSIDE_NETNS";
const VETHS: usize = 200;

fn main() -> io::Result<()> {
    let rounds = match std::env::args().any(|a| a == "--bench") {
        true => 31,
        false => 1,
    };
    if std::env::var_os(INSIDE).is_some() {
        return links(rounds);
    }
    text(rounds)?;
    links_in_namespace(rounds)
}

/// Median and spread (10th to 90th percentile) of the CPU time that `body` takes, whatever else the
/// machine does meanwhile.
fn measure(rounds: usize, mut body: impl FnMut()) -> String {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = cpu_time();
            body();
            cpu_time().saturating_sub(start)
        })
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    format!("{:8.3} ms ({:.3} to {:.3})", at(50), at(10), at(90))
}

fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn text(rounds: usize) -> io::Result<()> {
    let links: Vec<Link> = (1..=50).map(link).collect();
    let interfaces: Vec<Interface> = links.iter().map(interface).collect();
    let errors = Errors::default();
    for series in [100, 1_000, 4_096, 10_000] {
        let flows = Snapshot {
            series: (0..series).map(row).collect(),
            ..Snapshot::default()
        };
        let input = input(&interfaces, &flows, &errors);
        let mut plain = Vec::new();
        render(&input, Duration::default, &mut plain)?;
        let size = plain.len();
        let time = measure(rounds, || {
            let mut out = Vec::new();
            render(&input, Duration::default, &mut out).unwrap_or_default();
            black_box(out);
        });
        println!("{series:6} series, plain        {time}, {size} bytes");
        let time = measure(rounds, || {
            let _ = render(&input, Duration::default, &mut io::sink());
        });
        println!("{series:6} series, not kept     {time}");
        for level in 1..=6 {
            let size = compressed(&input, level)?;
            let time = measure(rounds, || {
                let _ = black_box(compressed(&input, level));
            });
            println!("{series:6} series, gzip {level}       {time}, {size} bytes");
        }
        crate_encoder(rounds, series, &flows);
    }
    Ok(())
}

fn compressed(input: &Input, level: u32) -> io::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    render(input, Duration::default, &mut encoder)?;
    Ok(encoder.finish()?.len())
}

/// The baseline: the six flow families by way of the `prometheus` crate's protos.
fn crate_encoder(rounds: usize, series: u64, flows: &Snapshot) {
    let time = measure(rounds, || {
        let families: Vec<MetricFamily> = (0..6).map(|_| protos(flows)).collect();
        let mut out = Vec::new();
        let _ = TextEncoder::new().encode(&families, &mut out);
        black_box(out);
    });
    println!("{series:6} series, prometheus crate, the flow families alone {time}");
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
    errors: &'a Errors,
) -> Input<'a> {
    Input {
        interfaces,
        departed: HookCounters::default(),
        pattern_matches: &[("*", 50)],
        flows,
        flow_gauges: true,
        sample_rate: 100,
        databases: &[],
        errors,
        parse_errors: &[],
        build: Build {
            version: "0",
            revision: "0",
        },
        reload: Reload {
            successful: true,
            success_time: 0.0,
        },
        process: None,
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
        link,
        master: "",
        attach: "tcx",
        ingress: Some(HookCounters::default()),
        egress: Some(HookCounters::default()),
    }
}

/// Figures as wide as those of a busy router.
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
        bytes_total: bytes,
        packets_total: bytes / 700,
        live_bytes: bytes / 50,
        live_packets: bytes / 35_000,
        live_sampled_bytes: bytes / 5_000,
        live_sampled_packets: bytes / 3_500_000,
        live_flows: 1,
    }
}

fn links_in_namespace(rounds: usize) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: dump of {VETHS} links needs root");
        return Ok(());
    }
    let netns = format!("rfm-bench-{}", std::process::id());
    let ip = |args: &[&str]| Command::new("ip").args(args).status();
    ip(&["netns", "add", &netns])?;
    let inside = Command::new("ip")
        .args(["netns", "exec", &netns])
        .arg(std::env::current_exe()?)
        .args((rounds > 1).then_some("--bench"))
        .env(INSIDE, "1")
        .status();
    ip(&["netns", "del", &netns])?;
    match inside?.success() {
        true => Ok(()),
        false => Err(io::Error::other("the part in the namespace failed")),
    }
}

fn links(rounds: usize) -> io::Result<()> {
    let mut batch = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(std::process::Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = batch.stdin.take() {
        for n in 0..VETHS / 2 {
            writeln!(stdin, "link add a{n} up type veth peer name b{n}")?;
        }
    }
    batch.wait()?;
    let cold = measure(rounds.min(5), || {
        let _ = LinkSocket::new(Arc::new(Errors::default())).dump();
    });
    let mut socket = LinkSocket::new(Arc::new(Errors::default()));
    let count = socket.dump()?.len();
    let warm = measure(rounds, || {
        let _ = black_box(socket.dump());
    });
    println!("{count:6} links, first dump, with speeds {cold}");
    println!("{count:6} links, dump                    {warm}");
    Ok(())
}
