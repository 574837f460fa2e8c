// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the memory that the whole agent takes for AS paths, beside a full table.

use std::error::Error;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::common::frames::Frame;
use super::common::lab::{Lab, Namespace};
use super::common::packet::Sender;
use super::common::report::{Cell, Table};
use super::common::stats::Figure;
use super::table::{self, Load};

/// Flows to random prefixes: sixteen times as many as an interval has paths.
const FLOWS: usize = 16_384;
const COMPLETE: Duration = Duration::from_secs(60);

/// Design targets in MB: a full table with AS paths, and the paths of flows.
const TARGET_RIB: f64 = 65.0;
const TARGET_PATHS: f64 = 8.0;

/// Flows are complete soon after their last packet.
const COLLECTOR: &str = "[agent.bpf]\nsample_rate = 1\n\
    [agent.collector]\neviction_timeout = \"1s\"\nactive_timeout = \"2s\"\n";
const PATHS: &str = "paths = true\n";
/// Series of flows would take more than the paths.
const LABELS: &str = "labels = [\"ifname\", \"direction\"]\n";
const SERIES: &str = "transit_series = 1000\n";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn send(namespace: &Namespace, flows: &[(IpAddr, IpAddr)]) -> Result<()> {
    let sender = namespace.inside(|| Sender::new("v0"))?;
    for (source, destination) in flows {
        let frame = Frame::ethernet([2; 6], [4; 6]);
        let frame = match (*source, *destination) {
            (IpAddr::V4(source), IpAddr::V4(to)) => frame.ipv4(source, to),
            (IpAddr::V6(source), IpAddr::V6(to)) => frame.ipv6(source, to),
            _ => continue,
        };
        sender.send(&frame.udp().ports(9, 9).payload(1000).build(), 0)?;
    }
    Ok(())
}

/// Returns the resident memory in MB with the table, and after all flows are complete.
fn round(
    lab: &Lab,
    namespace: &Namespace,
    counts_paths: bool,
    session: &[u8],
    flows: &[(IpAddr, IpAddr)],
) -> Result<[f64; 2]> {
    let (paths, series) = match counts_paths {
        true => (PATHS, SERIES),
        false => ("", ""),
    };
    let sections = format!("{COLLECTOR}{paths}");
    let agent = Agent::with(lab, namespace, &sections, &format!("{LABELS}{series}"));
    let (_router, ..) = agent.load(session, 0)?;
    let with_table = agent.settled();
    send(namespace, flows)?;
    let deadline = Instant::now() + COMPLETE;
    loop {
        // records arrive within a second
        sleep(Duration::from_secs(2));
        let metrics = agent.metrics()?;
        let sent = metrics.sum("rfm_flow_packets_total", &[]) as usize;
        if sent >= flows.len() && metrics.sum("rfm_collector_active_flows", &[]) < 100 {
            let transit = metrics.sum("rfm_transit_bytes_total", &[]);
            if (transit > 0) != counts_paths {
                return Err(format!("{transit} bytes by AS on the path").into());
            }
            return Ok([with_table, agent.settled()]);
        }
        if Instant::now() > deadline {
            return Err(format!("{sent} packets of {} flows", flows.len()).into());
        }
    }
}

pub fn measure(lab: &Lab, rounds: usize) -> Result<Table> {
    let namespace = lab.namespace("p");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    let session = table::session(0);
    let addresses = table::addresses(2 * FLOWS, Load::Any);
    let [ipv4, ipv6] = [true, false].map(|is_ipv4| {
        let family = addresses.iter().filter(move |a| a.is_ipv4() == is_ipv4);
        family.copied().collect::<Vec<_>>()
    });
    let pairs = ipv4.chunks_exact(2).chain(ipv6.chunks_exact(2));
    let flows: Vec<_> = pairs.map(|pair| (pair[0], pair[1])).collect();
    let mut runs: [Vec<[f64; 2]>; 2] = Default::default();
    for _ in 0..rounds {
        for (runs, counts_paths) in runs.iter_mut().zip([false, true]) {
            runs.push(round(lab, &namespace, counts_paths, &session, &flows)?);
        }
    }
    let text = format!(
        "MB resident of the whole agent: after a full table, and after {} flows to random prefixes of it are complete. \
         Series of flows have no label of a network. With AS paths, the current interval has all its 1,024 paths, and \
         there are 1,000 series of ASes. A whole day of full intervals is in \"Bytes by AS path\".",
        flows.len()
    );
    let columns = ["AS paths", "full table", "and the flows", "target"];
    let mut table = Table::new("Memory of AS paths", &text, &columns);
    let figure = |runs: &[[f64; 2]], at: usize| {
        Figure::of(&runs.iter().map(|run| run[at]).collect::<Vec<_>>())
    };
    for (name, runs) in ["not counted", "counted"].into_iter().zip(&runs) {
        let loaded = figure(runs, 1);
        let target = match name {
            "counted" => Cell::at_most(loaded.median, TARGET_RIB + TARGET_PATHS, "MB"),
            _ => Cell::Nothing,
        };
        table.row(
            name,
            [
                Cell::figure(figure(runs, 0), 2),
                Cell::figure(loaded, 2),
                target,
            ],
        );
    }
    let [without, with] = [0, 1].map(|at| figure(&runs[at], 1).median);
    let more = Figure::of(&[with - without]);
    table.row(
        "difference of the medians",
        [
            Cell::Nothing,
            Cell::figure(more, 2),
            Cell::at_most(more.median, TARGET_PATHS, "MB"),
        ],
    );
    Ok(table)
}
