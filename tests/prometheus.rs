// SPDX-License-Identifier: AGPL-3.0-only
//! A real Prometheus scrapes the agent: what its queries say of flows is what they say of interfaces.

mod common;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::agent::{Agent, EXACT, PORT, config, http_get_with};
use common::cases::{DST_MAC, DST4, SRC_MAC, SRC4};
use common::frames::Frame;
use common::lab::{Lab, Namespace, can_run, ipv4, ipv6, wait_for};
use common::metrics::Metrics;
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

/// The protocols of the series that appear between scrapes, one each.
const PROTOCOLS: std::ops::Range<u8> = 61..254;

/// `increase()` contains the first packets of series that appear between two scrapes.
#[test]
fn first_values_of_new_series_count() {
    first_values_count("");
}

/// Without the flow gauges, Prometheus reads OpenMetrics.
#[test]
fn first_values_of_new_series_count_in_openmetrics() {
    first_values_count("flow_gauges = false\n");
}

/// `more` are keys of `[agent.prometheus]`.
fn first_values_count(more: &str) {
    if !can_run(&["ip", "sysctl", "prometheus"]) {
        return;
    }
    let lab = Lab::new();
    let (a, _b) = lab.pair();
    let config = config(r#"["a0"]"#, EXACT) + more;
    let agent = Agent::start(&lab, &a, &config);
    prometheus(&lab, &a);
    for protocol in PROTOCOLS {
        send_packet(&a, protocol);
        std::thread::sleep(Duration::from_millis(20));
    }
    // long beside the second by which Prometheus extrapolates
    std::thread::sleep(Duration::from_secs(30));
    let selector = |unit: &str| {
        let all: Vec<_> = PROTOCOLS.map(|n| n.to_string()).collect();
        format!("rfm_flow_{unit}_total{{proto=~'{}'}}", all.join("|"))
    };
    let truth = agent.scrape();
    for unit in ["bytes", "packets"] {
        let name = format!("rfm_flow_{unit}_total");
        let of = |n: u8| truth.sum(&name, &[("proto", &n.to_string())]);
        let truth: u64 = PROTOCOLS.map(of).sum();
        assert!(truth >= PROTOCOLS.len() as u64, "{unit}: {truth}");
        let series = selector(unit);
        let answer = |expression: &str| {
            query(&a, &expression.replace('$', &format!("{series}[2m]"))).expect("series")
        };
        let shown = answer("sum(max_over_time($) - min_over_time($))");
        assert_eq!(shown, truth as f64, "{unit}");
        assert_eq!(answer("sum(resets($))"), 0.0, "{unit}");
        assert_eq!(
            answer("count(changes($) == 1)"),
            PROTOCOLS.len() as f64,
            "{unit}: each series has 0 and then its value"
        );
        let share = answer("sum(increase($))") / truth as f64;
        println!("{unit}: increase() is {:.1} % of the truth", share * 100.0);
        assert!((0.995..1.1).contains(&share), "{unit}: {share}");
    }
    agent.stop();
}

/// Sends a packet of a flow series of its own.
fn send_packet(namespace: &Namespace, protocol: u8) {
    namespace.inside(|| {
        let sender = Sender::new("a0").expect("a packet socket");
        let frame = Frame::ethernet(SRC_MAC, DST_MAC)
            .ipv4(SRC4, DST4)
            .says(protocol.into())
            .payload(100 + usize::from(protocol));
        sender.send(&frame.build(), 0).expect("sent");
    });
}

fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64()
}

/// The series of a scrape with the times at which counters began.
fn scrape_created(namespace: &Namespace) -> Metrics {
    let accept = "Accept: application/openmetrics-text\r\n";
    let reply = http_get_with(namespace, PORT, "/metrics?created=1", accept);
    Metrics::parse(&reply.expect("/metrics answers").body)
}

/// The bar of the documentation: within 1.5 s of the first packet, and always the same.
#[test]
fn counters_have_the_time_of_their_first_packet() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let (a, _b) = lab.pair();
    let before = now();
    let config = config(r#"["a0"]"#, EXACT) + "flow_gauges = false\n";
    let agent = Agent::start(&lab, &a, &config);
    let started = now();
    let sent = [101, 102, 103].map(|protocol| {
        let time = now();
        send_packet(&a, protocol);
        std::thread::sleep(Duration::from_secs(2));
        (protocol.to_string(), time)
    });
    let first = scrape_created(&a);
    for (protocol, time) in &sent {
        for unit in ["bytes", "packets"] {
            let name = format!("rfm_flow_{unit}_created");
            let created = first.get(&name, &[("proto", protocol)]).expect("a time");
            let delay = created - time;
            println!("protocol {protocol}: {delay:.3} s after its first packet");
            assert!((-0.01..1.5).contains(&delay), "{name}: {delay}");
        }
    }
    let of_interface = [("ifname", "a0"), ("family", "ipv4")];
    let interface = first.get("rfm_interface_tx_bytes_created", &of_interface);
    let interface = interface.expect("a time");
    assert!((before..started).contains(&interface), "{interface}");
    let process = first
        .get("process_start_time_seconds", &[])
        .expect("a time");
    let of_agent = first.get("rfm_collector_accounted_packets_created", &[]);
    assert!((of_agent.expect("a time") - process).abs() < 0.002);
    assert_eq!(
        first.get("rfm_interface_device_tx_bytes_created", &[]),
        None
    );

    send_packet(&a, 101);
    std::thread::sleep(Duration::from_secs(2));
    let second = scrape_created(&a);
    let labels = [("proto", "101")];
    let packets = |metrics: &Metrics| metrics.get("rfm_flow_packets_total", &labels);
    assert_eq!([&first, &second].map(packets), [Some(1.0), Some(2.0)]);
    for name in ["rfm_flow_bytes_created", "rfm_interface_tx_bytes_created"] {
        assert_eq!(first.get(name, &[]), second.get(name, &[]), "{name}");
    }
    agent.stop();
}
