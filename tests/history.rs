// SPDX-License-Identifier: AGPL-3.0-only
//! The history on disk of an agent with real traffic: what SIGTERM stores, what SIGKILL leaves, and restarts.

mod common;

use std::path::Path;
use std::time::Duration;

use common::agent::{Agent, EXACT, config};
use common::lab::{Lab, Namespace, can_run, wait_for};
use common::packet::Sender;
use common::traffic::send_burst;
use rfm::store::reader::HistoryReader;
use rfm::store::types::{Curve, CurveFilter, Part, Tier, TimeSpan};
use rfm::types::flow::{Direction, Family};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(20);

fn settings(folder: &Path) -> String {
    let folder = folder.display();
    let history = format!("[agent.history]\npath = \"{folder}\"\n");
    config(r#"["v0"]"#, &format!("{EXACT}{history}"))
}

/// The IPv4 bytes that v0 received, of all time.
fn stored(folder: &Path) -> u64 {
    let reader = HistoryReader::of_folder(folder);
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let span = TimeSpan::new(now - 7200, now + 60);
    let curves = reader.curves(span, Some(Tier::Minute), &CurveFilter::everything());
    assert_eq!(curves.damaged_blocks, 0);
    let is_ipv4 = |curve: &&Curve| {
        curve.direction == Direction::Ingress && curve.part == Part::Total(Family::Ipv4)
    };
    let points = curves.curves.iter().filter(is_ipv4).flat_map(|c| &c.points);
    points.map(|point| point.bytes).sum()
}

/// Sends packets to v0 until the agent has counted them, and returns its counter.
fn receive(agent: &Agent, a: &Namespace) -> u64 {
    let ipv4 = [("ifname", "v0"), ("family", "ipv4")];
    let before = agent.scrape().sum("rfm_interface_rx_packets_total", &ipv4);
    a.inside(|| send_burst(&Sender::new("v1").expect("a socket"), 500));
    let (metrics, counted) = agent.scrape_until(LIMIT, |metrics| {
        metrics.sum("rfm_interface_rx_packets_total", &ipv4) >= before + 500
    });
    assert!(counted, "{}", agent.log());
    metrics.sum("rfm_interface_rx_bytes_total", &ipv4)
}

/// Waits until thread page has made its first reading, from which the history counts.
fn wait_for_page(agent: &Agent) {
    let there = |agent: &Agent| {
        let page = agent.get("/page/v1.json");
        page.is_ok_and(|page| page.body.contains("\"v0\""))
    };
    assert!(wait_for(LIMIT, || there(agent)), "{}", agent.log());
}

#[test]
fn what_was_counted_survives_ends_of_all_kinds() {
    if !can_run(&["ip"]) {
        return;
    }
    let lab = Lab::new();
    let a = lab.namespace("a");
    lab.veth((&a, "v0"), (&a, "v1"));
    let folder = lab.path("history");
    let mut expected = 0;
    for round in 0..3 {
        let agent = Agent::start(&lab, &a, &settings(&folder));
        wait_for_page(&agent);
        // counters start at 0, and so does the history
        expected += receive(&agent, &a);
        agent.stop_by(Signal::TERM);
        assert_eq!(stored(&folder), expected, "round {round}");

        // a killed agent loses what it has not synced, and nothing else
        let agent = Agent::start(&lab, &a, &settings(&folder));
        wait_for_page(&agent);
        receive(&agent, &a);
        agent.kill();
        assert_eq!(stored(&folder), expected, "round {round}");
    }
}
