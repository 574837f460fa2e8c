// SPDX-License-Identifier: AGPL-3.0-only
//! Other collectors while the agent runs: no record is lost on the way, and who stays keeps its counts.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::common::agent::{Agent, EXACT, config};
use super::common::lab::{Lab, Namespace, can_run, wait_for};
use super::common::packet::Sender;
use super::common::traffic::send_burst;
use super::fixture::{ANSWER_TIMEOUT, Listener};

/// Flows end two seconds after their last packet.
fn towards(ports: &[u16]) -> String {
    let collector =
        |port| format!("[[agent.ipfix.collector]]\nhost = \"127.0.0.1\"\nport = {port}\n");
    let collectors: String = ports.iter().map(collector).collect();
    let timeout = "[agent.collector]\neviction_timeout = \"2s\"\nactive_timeout = \"1h\"\n";
    config(r#"["v0"]"#, &format!("{EXACT}{timeout}{collectors}"))
}

/// Packets in the records of a collector, until there are so many or no message comes.
fn packets(collector: &mut Listener, enough: u64) -> u64 {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut sum = 0;
    while sum < enough && Instant::now() < deadline {
        if let Some(message) = collector.next(Duration::from_secs(1)) {
            sum += message.flows().map(|flow| flow.number(2)).sum::<u64>();
        }
    }
    sum
}

#[test]
fn collectors_change_without_a_loss() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let listener = || namespace.inside(Listener::new);
    let [mut gone, mut stays, mut new] = [listener(), listener(), listener()];
    let send = |count| {
        namespace.inside(|| send_burst(&Sender::new("v0").expect("a packet socket"), count));
    };
    let label = |listener: &Listener| format!("127.0.0.1:{}", listener.port());
    let agent = Agent::start(&lab, &namespace, &towards(&[gone.port(), stays.port()]));
    send(300);
    assert_eq!(packets(&mut gone, 300), 300);
    assert_eq!(packets(&mut stays, 300), 300);

    // what is under way when the collectors change goes to the previous ones or to the new ones
    send(200);
    lab.file("rfm.toml", &towards(&[stays.port(), new.port()]));
    agent.signal(Signal::HUP);
    assert!(wait_for(ANSWER_TIMEOUT, || agent
        .log()
        .contains("read again")));
    let log = agent.log();
    assert!(
        log.contains("agent.ipfix.collector") && !log.contains("kept"),
        "{log}"
    );
    send(100);
    assert_eq!(packets(&mut stays, 300), 300);
    let late = packets(&mut new, 300);
    assert_eq!(late + packets(&mut gone, 300 - late), 300);
    let (metrics, counted) = agent.scrape_until(ANSWER_TIMEOUT, |m| {
        m.get("rfm_ipfix_records_total", &[("collector", &label(&stays))]) >= Some(400.0)
    });
    assert!(counted, "the one that stays counts on: {metrics:?}");
    let dropped = metrics.sum("rfm_ipfix_dropped_records_total", &[]);
    assert_eq!(dropped, 0);
    let former = [("collector", &*label(&gone))];
    assert_eq!(metrics.get("rfm_ipfix_records_total", &former), None);

    lab.file("rfm.toml", &towards(&[]));
    agent.signal(Signal::HUP);
    let none = |m: &super::common::metrics::Metrics| m.sum("rfm_ipfix_records_total", &[]) == 0;
    assert!(agent.scrape_until(ANSWER_TIMEOUT, none).1);
    agent.stop();
}

/// A hosts file that holds in one namespace; removed when dropped.
struct Hosts(PathBuf);

impl Hosts {
    fn new(namespace: &Namespace, text: &str) -> Self {
        // ip-netns(8) mounts it over /etc/hosts
        let folder = PathBuf::from("/etc/netns").join(namespace.name());
        fs::create_dir_all(&folder).expect("root may");
        let hosts = Self(folder);
        hosts.set(text);
        hosts
    }

    /// Writes to the same file: it is mounted.
    fn set(&self, text: &str) {
        fs::write(self.0.join("hosts"), text).expect("root may");
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_reload_looks_up_the_name_of_a_collector_that_has_moved() {
    const NAME: &str = "collector.example";
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let hosts = Hosts::new(&namespace, &format!("127.0.0.1 {NAME}\n"));
    let on = |address: &str, port| {
        let socket = namespace.inside(|| UdpSocket::bind((address, port)));
        Listener::around(socket.expect("a free port"))
    };
    let mut before = on("127.0.0.1", 0);
    let mut after = on("127.0.0.2", before.port());
    let send = |count| {
        namespace.inside(|| send_burst(&Sender::new("v0").expect("a packet socket"), count));
    };
    let host = |name| format!("host = \"{name}\"\nport = {}\n", before.port());
    let toml = towards(&[before.port()]).replace(&host("127.0.0.1"), &host(NAME));
    let agent = Agent::start(&lab, &namespace, &toml);
    send(100);
    assert_eq!(packets(&mut before, 100), 100);

    hosts.set(&format!("127.0.0.2 {NAME}\n"));
    agent.signal(Signal::HUP);
    assert!(wait_for(ANSWER_TIMEOUT, || agent
        .log()
        .contains("has another address: 127.0.0.2")));
    after.introduced();
    send(200);
    assert_eq!(packets(&mut after, 200), 200);
    assert!(before.next(Duration::from_millis(100)).is_none());
    agent.stop();
}
