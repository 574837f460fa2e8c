// SPDX-License-Identifier: AGPL-3.0-only
//! Interfaces that come, go and change while the agent runs. It hears of them; what it counts stays
//! exact, and what it held of them is given back.

mod common;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use common::accounting::{SETTLED, seen_ip, settle_totals};
use common::agent::{Agent, EXACT, config};
use common::lab::{Lab, Namespace, can_run, wait_for};
use common::metrics::Metrics;
use common::packet::{Sender, Tun};
use common::traffic::{send_burst, small_frame};
use libbpf_rs::query::LinkInfoIter;
use rustix::process::Signal;

const TOOLS: [&str; 2] = ["ip", "sysctl"];

/// A silent namespace, and an agent that watches what these patterns mean.
fn start(lab: &Lab, interfaces: &str, more: &str) -> (Namespace, Agent) {
    let namespace = lab.namespace("h");
    let more = format!("require_interface = false\n{more}");
    let agent = Agent::start(lab, &namespace, &config(interfaces, &more));
    (namespace, agent)
}

fn add(namespace: &Namespace, device: &str, peer: &str) {
    namespace.ip(&format!("link add {device} type veth peer name {peer}"));
    namespace.ip(&format!("link set {device} up"));
    namespace.ip(&format!("link set {peer} up"));
}

fn send(namespace: &Namespace, device: &str, count: u16) {
    namespace.inside(|| send_burst(&Sender::new(device).expect("a packet socket"), count));
}

fn is_attached(metrics: &Metrics, device: &str) -> bool {
    let labels = [("ifname", device), ("attach", "tcx")];
    metrics.get("rfm_interface_info", &labels).is_some()
}

fn is_shown(metrics: &Metrics, device: &str) -> bool {
    let labels = [("ifname", device)];
    metrics.get("rfm_interface_info", &labels).is_some()
}

fn wait_attached(agent: &Agent, devices: &[&str]) {
    let all = |m: &Metrics| devices.iter().all(|device| is_attached(m, device));
    let (_, reached) = agent.scrape_until(SETTLED, all);
    assert!(reached, "{devices:?} are not attached");
}

fn wait_gone(agent: &Agent, device: &str) {
    let (_, reached) = agent.scrape_until(SETTLED, |m| !is_shown(m, device));
    assert!(reached, "{device} is still there");
}

/// Waits until so many packets were sent on the interface, and no more.
fn wait_sent(agent: &Agent, device: &str, packets: u64) {
    let sent = |m: &Metrics| seen_ip(m, device, "egress").packets;
    let (metrics, _) = agent.scrape_until(SETTLED, |m| sent(m) == packets);
    assert_eq!(sent(&metrics), packets, "{device}");
}

#[test]
fn one_that_appears_alone_is_attached_within_100_ms() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let (namespace, agent) = start(&lab, r#"["up.*"]"#, EXACT);
    let took = |n: u32| {
        let device = format!("up{n}");
        let start = Instant::now();
        namespace.ip(&format!("link add {device} type veth peer name down{n}"));
        while !is_attached(&agent.scrape(), &device) {
            assert!(start.elapsed() < SETTLED, "{device} is not attached");
            thread::sleep(Duration::from_millis(2));
        }
        start.elapsed()
    };
    // the time of `ip` and of a scrape is in it, and the machine may be busy: the best of some counts
    let times: Vec<_> = (0..10).map(took).collect();
    println!("{times:?}");
    assert!(
        times.iter().min() < Some(&Duration::from_millis(100)),
        "{times:?}"
    );
    assert!(
        !is_shown(&agent.scrape(), "down0"),
        "not what the patterns mean"
    );
    agent.stop();
}

#[test]
fn a_burst_is_worked_off_and_those_already_gone_are_skipped() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let (namespace, agent) = start(&lab, r#"["v.*"]"#, EXACT);
    let mut lines = String::new();
    for n in 0..25 {
        lines += &format!("link add va{n} type veth peer name vb{n}\nlink set va{n} up\n");
    }
    for n in 0..25 {
        lines += &format!("link add vgone{n} type veth peer name vgo{n}\nlink del vgone{n}\n");
    }
    let file = lab.file("burst", &lines);
    let start = Instant::now();
    namespace.ip(&format!("-batch {}", file.display()));
    let names = (0..25).flat_map(|n| [format!("va{n}"), format!("vb{n}")]);
    let names: Vec<_> = names.collect();
    let all = |m: &Metrics| names.iter().all(|name| is_attached(m, name));
    let (metrics, reached) = agent.scrape_until(4 * SETTLED, all);
    assert!(
        reached,
        "not all of {names:?} are attached: {}",
        agent.log()
    );
    println!("50 interfaces in {:?}", start.elapsed());
    let matches = [("pattern", "v.*")];
    let matches = metrics.get("rfm_interface_pattern_matches", &matches);
    assert_eq!(matches, Some(50.0));
    assert!(!is_shown(&metrics, "vgone0"));
    let netlink = [("subsystem", "netlink")];
    assert_eq!(
        metrics.sum("rfm_errors_total", &netlink),
        0,
        "{}",
        agent.log()
    );
    agent.stop();
}

#[test]
fn a_rename_begins_a_new_series() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let (namespace, agent) = start(&lab, r#"["wan.*"]"#, EXACT);
    add(&namespace, "wan0", "far0");
    wait_attached(&agent, &["wan0"]);
    send(&namespace, "wan0", 30);
    wait_sent(&agent, "wan0", 30);
    settle_totals(&agent);

    namespace.ip("link set wan0 name wan1");
    wait_attached(&agent, &["wan1"]);
    send(&namespace, "wan1", 12);
    wait_sent(&agent, "wan1", 12);
    assert!(!is_shown(&agent.scrape(), "wan0"));
    let metrics = settle_totals(&agent);
    let flows = |device| {
        let labels = [("ifname", device), ("direction", "egress")];
        metrics.sum("rfm_flow_packets_total", &labels)
    };
    // counts stay where they were made, and the same flows go on under the new name
    assert_eq!((flows("wan0"), flows("wan1")), (30, 12));

    // the patterns are for the name that it has
    namespace.ip("link set wan1 name lan1");
    wait_gone(&agent, "wan1");
    assert!(!is_shown(&agent.scrape(), "lan1"));
    send(&namespace, "lan1", 100);
    namespace.ip("link set lan1 name wan0");
    wait_attached(&agent, &["wan0"]);
    send(&namespace, "wan0", 5);
    wait_sent(&agent, "wan0", 35);
    settle_totals(&agent);

    // two interfaces exchange their names
    add(&namespace, "wan2", "far2");
    wait_attached(&agent, &["wan2"]);
    send(&namespace, "wan2", 7);
    wait_sent(&agent, "wan2", 7);
    let lines = "link set wan0 name tmp\nlink set wan2 name wan0\nlink set tmp name wan2\n";
    let file = lab.file("exchange", lines);
    namespace.ip(&format!("-batch {}", file.display()));
    let index = namespace.ifindex("wan2").to_string();
    let labels = [("ifname", "wan2"), ("ifindex", &*index)];
    let exchanged = |m: &Metrics| m.get("rfm_interface_info", &labels).is_some();
    assert!(agent.scrape_until(SETTLED, exchanged).1);
    settle_totals(&agent);
    agent.stop();
}

#[test]
fn one_that_is_made_again_counts_on() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let (namespace, agent) = start(&lab, r#"["ppp.*"]"#, EXACT);
    for round in 1..=3 {
        add(&namespace, "ppp0", "far0");
        wait_attached(&agent, &["ppp0"]);
        send(&namespace, "ppp0", 20);
        wait_sent(&agent, "ppp0", 20 * round);
        // deleted while its records are in the flow cache: they find its name all the same
        namespace.ip("link del ppp0");
        wait_gone(&agent, "ppp0");
        let metrics = settle_totals(&agent);
        let labels = [("ifname", "ppp0"), ("direction", "egress")];
        let flows = metrics.sum("rfm_flow_packets_total", &labels);
        assert_eq!(flows, 20 * round);
    }
    agent.stop();
}

#[test]
fn one_that_moves_to_another_namespace_is_let_go() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let elsewhere = lab.namespace("e");
    let (namespace, agent) = start(&lab, r#"["m.*"]"#, EXACT);
    add(&namespace, "m0", "far0");
    wait_attached(&agent, &["m0"]);
    send(&namespace, "m0", 10);
    wait_sent(&agent, "m0", 10);
    let before = links_held();
    namespace.ip(&format!("link set m0 netns {}", elsewhere.name()));
    wait_gone(&agent, "m0");
    // the kernel would keep the programs on it, wherever it is
    assert!(wait_for(SETTLED, || links_held() + 2 == before));
    elsewhere.ip("link set m0 up");
    send(&elsewhere, "m0", 50);
    let metrics = settle_totals(&agent);
    assert_eq!(metrics.sum("rfm_collector_sampled_packets_total", &[]), 10);
    elsewhere.ip(&format!("link set m0 netns {}", namespace.name()));
    namespace.ip("link set m0 up");
    wait_attached(&agent, &["m0"]);
    send(&namespace, "m0", 5);
    wait_sent(&agent, "m0", 15);
    agent.stop();
}

/// TCX links in the kernel, of whomever.
fn links_held() -> usize {
    LinkInfoIter::default().count()
}

#[test]
fn a_type_that_is_not_read_is_said_once_and_no_failure() {
    if !can_run(&TOOLS) {
        return;
    }
    const ARPHRD_INFINIBAND: u32 = 32;
    const ARPHRD_ETHER: u32 = 1;
    let lab = Lab::new();
    let namespace = lab.namespace("h");
    let tun = namespace.inside(|| Tun::new("t0").expect("a tun device"));
    tun.set_type(ARPHRD_INFINIBAND)
        .expect("a device that is down");
    // healthy although this one cannot be watched
    let agent = Agent::start(&lab, &namespace, &config(r#"["*"]"#, EXACT));
    namespace.ip("link set t0 alias x");
    thread::sleep(Duration::from_millis(200));
    let metrics = agent.scrape();
    let netlink = [("subsystem", "netlink")];
    assert_eq!(metrics.sum("rfm_errors_total", &netlink), 0);
    assert!(!is_shown(&metrics, "t0"));
    let said = agent.log().matches("t0 (ifindex").count();
    assert_eq!(said, 1, "{}", agent.log());
    // its type may change, and back
    tun.set_type(ARPHRD_ETHER).expect("a device that is down");
    wait_attached(&agent, &["t0"]);
    tun.set_type(ARPHRD_INFINIBAND)
        .expect("a device that is down");
    wait_gone(&agent, "t0");
    assert_eq!(agent.get("/healthz").expect("an answer").status, 200);
    agent.stop();
}

#[test]
fn five_hundred_that_come_and_go_leave_nothing() {
    if !can_run(&TOOLS) {
        return;
    }
    const ROUNDS: u64 = 500;
    let lab = Lab::new();
    // far fewer slots than interfaces
    let more = format!("{EXACT}iface_stats_size = 128\n");
    // the page remembers interfaces that were there, so many: that is no leak
    let namespace = lab.namespace("h");
    let more = format!("require_interface = false\n{more}");
    let toml = config(r#"["c.*"]"#, &more) + "page = false\n";
    let agent = Agent::start(&lab, &namespace, &toml);
    // what grows once does so here
    come_and_go(&namespace, 0..50);
    settle_totals(&agent);
    let (links, files, memory) = (links_held(), agent.open_files(), agent.resident_memory());
    let start = Instant::now();
    come_and_go(&namespace, 50..50 + ROUNDS);
    println!("{ROUNDS} interfaces in {:?}", start.elapsed());
    let gone = wait_for(2 * SETTLED, || {
        agent.open_files() == files && links_held() <= links
    });
    let now = (links_held(), agent.open_files(), agent.resident_memory());
    println!("links, files, memory: before {links} {files} {memory}, after {now:?}");
    assert!(gone, "{now:?}");
    // the counters of each name stay for series_ttl, and the heap has holes: 500 and 1,000 rounds take 1 MB alike
    assert!(now.2 < memory + (2 << 20), "{} bytes more", now.2 - memory);
    let metrics = settle_totals(&agent);
    let netlink = [("subsystem", "netlink")];
    assert_eq!(
        metrics.sum("rfm_errors_total", &netlink),
        0,
        "{}",
        agent.log()
    );
    assert!(metrics.sum("rfm_collector_sampled_packets_total", &[]) > ROUNDS);
    // and the next has a slot
    add(&namespace, "clast", "far");
    wait_attached(&agent, &["clast"]);
    agent.stop();
}

/// Some live for a moment, with traffic, and some not at all.
fn come_and_go(namespace: &Namespace, rounds: std::ops::Range<u64>) {
    namespace.inside(|| {
        for n in rounds {
            // some names come again
            let device = format!("c{}", n % 300);
            ip(&[
                "link", "add", &device, "up", "type", "veth", "peer", "name", "far",
            ]);
            ip(&["link", "set", "far", "up"]);
            if n % 5 != 0 {
                thread::sleep(Duration::from_millis(30));
            }
            let sender = Sender::new(&device).expect("a packet socket");
            for port in 0..10 {
                sender.send(&small_frame(port), 0).expect("sent");
            }
            ip(&["link", "del", &device]);
        }
    });
}

/// `ip` in the namespace of the calling thread.
fn ip(args: &[&str]) {
    common::lab::run(std::process::Command::new("ip").args(args));
}

#[test]
fn after_an_overflow_all_links_are_asked_for() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let (namespace, agent) = start(&lab, r#"["o.*"]"#, EXACT);
    for (device, peer) in [("o0", "far0"), ("o1", "far1"), ("o2", "far2")] {
        add(&namespace, device, peer);
    }
    wait_attached(&agent, &["o0", "o1", "o2"]);
    let index = namespace.ifindex("o2");
    send(&namespace, "o2", 10);
    wait_sent(&agent, "o2", 10);

    agent.signal(Signal::STOP);
    let mut lines = String::new();
    for n in 0..5_000 {
        lines += &format!("link set lo alias {n}\n");
    }
    // none of this is heard; the index of o2 is given to another device
    lines += "link del o0\nlink set o1 name onew\nlink add o5 type veth peer name far5\n";
    lines += &format!("link del o2\nlink add o2 index {index} type veth peer name far2\n");
    lines += "link set o2 up\nlink set far2 up\n";
    let file = lab.file("flood", &lines);
    namespace.ip(&format!("-batch {}", file.display()));
    agent.signal(Signal::CONT);

    wait_attached(&agent, &["onew", "o5", "o2"]);
    let metrics = agent.scrape();
    assert!(!is_shown(&metrics, "o0") && !is_shown(&metrics, "o1"));
    let netlink = [("subsystem", "netlink")];
    assert_eq!(
        metrics.sum("rfm_errors_total", &netlink),
        1,
        "{}",
        agent.log()
    );
    assert!(
        agent.log().contains("reading the interfaces again"),
        "{}",
        agent.log()
    );
    send(&namespace, "o2", 10);
    wait_sent(&agent, "o2", 20);
    settle_totals(&agent);
    agent.stop();
}

#[test]
fn one_that_cannot_be_attached_does_not_hinder_the_others() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let more = format!("{EXACT}iface_stats_size = 2\n");
    let (namespace, agent) = start(&lab, r#"["s.*"]"#, &more);
    for n in 0..3 {
        add(&namespace, &format!("s{n}"), &format!("far{n}"));
    }
    wait_attached(&agent, &["s0", "s1"]);
    let netlink = [("subsystem", "netlink")];
    let counted = |m: &Metrics| m.sum("rfm_errors_total", &netlink) > 0;
    assert!(agent.scrape_until(SETTLED, counted).1);
    assert!(agent.log().contains("cannot monitor s2"), "{}", agent.log());
    // the alert on interfaces that are not attached sees it
    let refused = [("ifname", "s2"), ("attach", "none")];
    let listed = |m: &Metrics| m.get("rfm_interface_info", &refused) == Some(1.0);
    assert!(agent.scrape_until(SETTLED, listed).1);
    // it has no counters, which would look like silence
    let metrics = agent.scrape();
    let counters = [("ifname", "s2"), ("family", "ipv4")];
    let received = metrics.get("rfm_interface_rx_packets_total", &counters);
    assert_eq!(received, None);
    send(&namespace, "s1", 10);
    wait_sent(&agent, "s1", 10);
    // it is tried again, and gets the slot of one that left
    namespace.ip("link del s0");
    let (_, reached) = agent.scrape_until(3 * SETTLED, |m| is_attached(m, "s2"));
    assert!(reached, "{}", agent.log());
    let names: BTreeSet<_> = ["s1", "s2"].into();
    assert!(names.iter().all(|name| is_attached(&agent.scrape(), name)));
    assert!(!listed(&agent.scrape()), "it is listed once");
    agent.stop();
}
