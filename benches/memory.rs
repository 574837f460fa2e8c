// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the resident memory of the release build, idle and with a full flow table, compared with other programs.
//!
//! `make bench PART=memory`

mod common;

use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

use common::daemon::{Daemon, Memory};
use common::flood::Flood;
use common::flows::Load;
use common::lab::{Lab, Namespace, can_run};
use common::metrics::Metrics;
use common::peers::Peer;
use common::report::{Cell, Report, Table};

const FLOWS: u32 = 65_536;
/// Each flow 15 times: a flow that is missed at full speed is repeated.
const PACKETS: u64 = 1_000_000;

/// Design targets in MB.
const TARGET_IDLE: f64 = 5.0;
const TARGET_LOADED: f64 = 16.0;

struct Found {
    name: String,
    idle: Memory,
    loaded: Memory,
    flows: String,
}

fn measure_rfm(
    lab: &Lab,
    namespace: &Namespace,
    flood: &Flood,
    name: &str,
    bpf: &str,
) -> Result<Found, Box<dyn Error>> {
    let agent = Daemon::rfm(lab, namespace, "[\"v0\"]", bpf);
    agent.wait_for("/healthz");
    let scrape = || -> Result<Metrics, Box<dyn Error>> {
        let reply = agent.get("/metrics", false)?;
        Ok(Metrics::parse(&String::from_utf8(reply.body)?))
    };
    scrape()?;
    sleep(Duration::from_millis(1500));
    let idle = agent.memory();
    flood.run_packets(PACKETS)?;
    sleep(Duration::from_millis(1500));
    let metrics = scrape()?;
    Ok(Found {
        name: name.to_owned(),
        idle,
        loaded: agent.memory(),
        flows: metrics.sum("rfm_collector_active_flows", &[]).to_string(),
    })
}

fn measure_peer(
    lab: &Lab,
    namespace: &Namespace,
    flood: &Flood,
    peer: Peer,
) -> Result<Found, Box<dyn Error>> {
    let daemon = peer.start(lab, namespace, "v0");
    sleep(Duration::from_secs(1));
    let idle = daemon.memory();
    flood.run_packets(PACKETS)?;
    sleep(Duration::from_secs(1));
    Ok(Found {
        name: peer.program().to_owned(),
        idle,
        loaded: daemon.memory(),
        flows: String::new(),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    if !can_run(&["ip", "sysctl"]) {
        return Ok(());
    }
    let lab = Lab::new();
    let namespace = lab.namespace("m");
    lab.veth((&namespace, "v0"), (&namespace, "v1"));
    let flood = Flood::new(&namespace, "v0")?;
    flood.set_load(Load::Each(FLOWS))?;

    let mut found = vec![measure_rfm(
        &lab,
        &namespace,
        &flood,
        "rfm",
        "sample_rate = 1",
    )?];
    for peer in Peer::installed() {
        found.push(measure_peer(&lab, &namespace, &flood, peer)?);
    }
    let mut report = Report::new("memory");
    report.add(table(&found));
    report.write()
}

fn table(found: &[Found]) -> Table {
    let text = format!(
        "Resident memory in MB (1,000,000 bytes), its anonymous part in brackets: the rest is \
         code, and mappings of the ring. Idle: one interface, two seconds after the start. Loaded: \
         after {PACKETS} packets of {FLOWS} flows in turn at full speed."
    );
    let columns = [
        "program",
        "idle",
        "target",
        "loaded",
        "target",
        "flows held",
    ];
    let mut table = Table::new("Memory", &text, &columns);
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let cell = |m: &Memory| Cell::text(format!("{:.2} ({:.2})", mb(m.resident), mb(m.anonymous)));
    for row in found {
        let target = |memory: &Memory, limit| match row.name.as_str() {
            "rfm" => Cell::at_most(mb(memory.resident), limit, "MB"),
            _ => Cell::Nothing,
        };
        table.row(
            &row.name,
            [
                cell(&row.idle),
                target(&row.idle, TARGET_IDLE),
                cell(&row.loaded),
                target(&row.loaded, TARGET_LOADED),
                Cell::text(&row.flows),
            ],
        );
    }
    table
}
