// SPDX-License-Identifier: AGPL-3.0-only
//! A real Prometheus scrapes the agent: what its queries say of flows is what they say of interfaces.

mod common;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::agent::{Agent, EXACT, config};
use common::cases::{DST_MAC, DST4, SRC_MAC, SRC4};
use common::frames::Frame;
use common::lab::{Lab, Namespace, can_run, ipv4, ipv6, wait_for};
use common::packet::Sender;
use common::prometheus::{query, start as prometheus};
use common::traffic::meanwhile;

/// How long traffic runs under its eyes.
const WATCHED: Duration = Duration::from_secs(60);

/// Steady traffic both ways, IPv4 and IPv6, TCP and UDP, for a while longer than is watched.
fn steady_traffic(lab: &Lab, a: &Namespace, b: &Namespace) {
    for (port, host, how) in [
        (5201, ipv4(2).to_string(), "-u -b 40M"),
        (5202, ipv6(2).to_string(), "-u -b 20M -R"),
        (5203, ipv4(2).to_string(), "-b 30M -R"),
        (5204, ipv6(2).to_string(), "-b 10M"),
    ] {
        let port = port.to_string();
        lab.spawn(
            b,
            &format!("server-{port}.log"),
            "iperf3",
            &["-s", "-p", &port],
        );
        let listening = || {
            b.run("ss", &format!("-Hltn sport = {port}"))
                .contains(&port)
        };
        assert!(
            wait_for(Duration::from_secs(5), listening),
            "iperf3 does not listen"
        );
        let seconds = (WATCHED.as_secs() + 60).to_string();
        let mut arguments = vec!["-c", &host, "-p", &port, "-t", &seconds];
        arguments.extend(how.split_whitespace());
        lab.spawn(a, &format!("client-{port}.log"), "iperf3", &arguments);
    }
}

/// Flows and interfaces, packets and bytes, agree within 2 % at one moment of Prometheus's time.
fn assert_agreement(namespace: &Namespace) {
    for unit in ["bytes", "packets"] {
        let flows = format!("sum(rate(rfm_flow_{unit}_total[30s]))");
        let ip = "{family=~'ipv4|ipv6'}[30s]";
        let interfaces = format!(
            "sum(rate(rfm_interface_rx_{unit}_total{ip})) + sum(rate(rfm_interface_tx_{unit}_total{ip}))"
        );
        let rate = query(namespace, &interfaces).expect("interface series");
        let ratio = query(namespace, &format!("{flows} / ({interfaces})")).expect("flow series");
        println!(
            "{unit}: {rate:.0} a second, flows are {:.3} % of it",
            ratio * 100.0
        );
        assert!(rate > 1_000.0, "{unit}: hardly any traffic: {rate}");
        assert!(
            (ratio - 1.0).abs() < 0.02,
            "{unit}: flows are {ratio} of the interfaces"
        );
    }
}

fn watched_agent(lab: &Lab, a: &Namespace, b: &Namespace, more: &str) -> Agent {
    let more = format!("{EXACT}{more}");
    let agent = Agent::start(lab, a, &config(r#"["a0"]"#, &more));
    prometheus(lab, a);
    steady_traffic(lab, a, b);
    agent
}

#[test]
fn rates_of_flows_and_interfaces_agree() {
    if !can_run(&["ip", "sysctl", "prometheus", "promtool", "iperf3", "ss"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    let agent = watched_agent(&lab, &a, &b, "");
    std::thread::sleep(WATCHED);
    assert_agreement(&a);
    assert_eq!(
        query(&a, "min_over_time(up[30s])"),
        Some(1.0),
        "a scrape failed"
    );
    promtool_is_content(&lab, &agent);
    agent.stop();
}

fn promtool_is_content(lab: &Lab, agent: &Agent) {
    let body = agent.get("/metrics").expect("/metrics answers").body;
    let file = lab.file("metrics.txt", &body);
    let input = std::fs::File::open(file).expect("just written");
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(input)
        .output()
        .expect("promtool");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// A flow table far too small for the traffic: what is evicted stays counted.
#[test]
fn rates_agree_while_flows_are_evicted() {
    if !can_run(&["ip", "sysctl", "prometheus", "iperf3", "ss"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    let agent = watched_agent(&lab, &a, &b, "[agent.collector]\nmax_flows = 16\n");
    meanwhile(&[&|stop| a.inside(|| many_flows("a0", stop))], || {
        std::thread::sleep(WATCHED);
        assert_agreement(&a);
    });
    let evicted = agent
        .scrape()
        .sum("rfm_collector_forced_evictions_total", &[]);
    assert!(
        evicted > 10_000,
        "only {evicted} flows were evicted: no test"
    );
    agent.stop();
}

/// Some 2,000 packets a second over 10,000 flows, until told to stop.
fn many_flows(device: &str, stop: &AtomicBool) {
    let sender = Sender::new(device).expect("a packet socket");
    let start = Instant::now();
    for round in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        for i in 0..20 {
            let frame = Frame::ethernet(SRC_MAC, DST_MAC)
                .ipv4(SRC4, DST4)
                .udp()
                .ports(((round * 20 + i) % 10_000) as u16, 9)
                .payload(400);
            sender.send(&frame.build(), 0).expect("sent");
        }
        let due = Duration::from_millis(10 * round);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
}
