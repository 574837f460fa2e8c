// SPDX-License-Identifier: AGPL-3.0-only
//! Labels of live traffic as routers tell them: BMP messages on one side of the agent, packets on the
//! other.

#[allow(dead_code)]
#[path = "bmp/builders.rs"]
mod builders;
mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use builders::{initiation, peer};
use common::agent::{Agent, EACH_PACKET, config};
use common::cases::{DST_MAC, SRC_MAC};
use common::frames::Frame;
use common::lab::{Lab, Namespace, can_run, try_run};
use common::metrics::Metrics;
use common::packet::Sender;

const BMP: u16 = 11_019;
const SETTLED: Duration = Duration::from_secs(5);
/// What the label may lag behind a route.
const LAG: Duration = Duration::from_secs(1);

const LABELS: &str = "labels = [\"ifname\", \"direction\", \"src_asn\", \"src_peer_asn\", \
                      \"dst_asn\", \"dst_peer_asn\"]\n";

/// An agent that watches `v0` and listens for BMP, and what sends on `v0`.
struct Fixture {
    agent: Agent,
    namespace: Namespace,
    sender: Sender,
    sent: u64,
}

impl Fixture {
    fn start(lab: &Lab, namespace: &Namespace, more: &str) -> Self {
        let bmp = format!("[agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\n{more}");
        let config = config(r#"["v0"]"#, &format!("{EACH_PACKET}{bmp}")) + LABELS;
        Self {
            agent: Agent::start(lab, namespace, &config),
            namespace: namespace.clone(),
            sender: namespace.inside(|| Sender::new("v0").expect("a packet socket")),
            sent: 0,
        }
    }

    fn connect(&self) -> TcpStream {
        self.namespace.inside(|| {
            let address = SocketAddr::from(([127, 0, 0, 1], BMP));
            TcpStream::connect(address).expect("the agent listens")
        })
    }

    /// The scrape after `count` packets from 203.0.113.1 to 192.0.2.1 are accounted.
    fn send(&mut self, source_port: u16, count: u64) -> Metrics {
        let frame = Frame::ethernet(SRC_MAC, DST_MAC)
            .ipv4([203, 0, 113, 1].into(), [192, 0, 2, 1].into())
            .udp()
            .ports(source_port, 9)
            .payload(20)
            .build();
        for _ in 0..count {
            self.sender.send(&frame, 0).expect("sent");
        }
        self.sent += count;
        let (metrics, all) = self
            .agent
            .scrape_until(SETTLED, |m| accounted(m) == self.sent);
        assert!(all, "{} of {} accounted", accounted(&metrics), self.sent);
        metrics
    }
}

fn accounted(metrics: &Metrics) -> u64 {
    metrics.sum("rfm_collector_accounted_packets_total", &[])
}

fn of_source(metrics: &Metrics, asn: &str, neighbour: &str) -> u64 {
    let labels = [("src_asn", asn), ("src_peer_asn", neighbour)];
    metrics.sum("rfm_flow_packets_total", &labels)
}

#[test]
fn labels_follow_the_routes_within_a_second() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let mut fixture = Fixture::start(&lab, &namespace, "stale_time = \"3s\"\n");
    let prefix = "203.0.113.0/24";
    let begin = [initiation("near"), peer(1).up(), peer(2).up()].concat();
    let mut router = fixture.connect();
    router.write_all(&begin).expect("sent");

    // what is sent, and the origin and neighbour from then on
    let steps: [(Vec<u8>, &str, &str); 6] = [
        (peer(1).announce(prefix, &[65001, 1]), "1", "65001"),
        // a longer path does not win
        (peer(2).announce(prefix, &[65002, 7, 2]), "1", "65001"),
        (peer(1).withdraw(prefix), "2", "65002"),
        (peer(1).announce(prefix, &[65001, 3]), "3", "65001"),
        (peer(1).down(), "2", "65002"),
        (peer(2).announce("0.0.0.0/0", &[65002, 8]), "2", "65002"),
    ];
    let mut expected = std::collections::BTreeMap::new();
    for (n, (message, asn, neighbour)) in (1..).zip(&steps) {
        router.write_all(message).expect("sent");
        sleep(LAG);
        // a flow that goes on, and a new one
        fixture.send(1000, n);
        let metrics = fixture.send(2000 + n as u16, 1);
        *expected.entry((*asn, *neighbour)).or_insert(0) += n + 1;
        for (&(asn, neighbour), &packets) in &expected {
            assert_eq!(of_source(&metrics, asn, neighbour), packets, "step {n}");
        }
        // nothing tells of the destination until a default route does: a neighbour, no origin
        let via = if n < 6 { "" } else { "65002" };
        let default = [("dst_asn", ""), ("dst_peer_asn", via), ("src_asn", *asn)];
        assert!(metrics.sum("rfm_flow_packets_total", &default) > 0, "{n}");
    }

    let name = [("router", "127.0.0.1 near")];
    let metrics = fixture.agent.scrape();
    assert_eq!(metrics.get("rfm_bmp_session_up", &name), Some(1.0));
    assert_eq!(metrics.get("rfm_bmp_peers", &[]), Some(1.0));
    assert_eq!(metrics.get("rfm_bmp_updates_total", &name), Some(4.0));
    assert_eq!(
        metrics.get("rfm_rib_routes", &[("family", "ipv4")]),
        Some(2.0)
    );

    // the router is gone: its routes stay for a while, and then no more
    drop(router);
    sleep(LAG);
    let metrics = fixture.send(1000, 10);
    assert_eq!(
        of_source(&metrics, "2", "65002"),
        expected[&("2", "65002")] + 10
    );
    assert_eq!(metrics.get("rfm_bmp_session_up", &name), Some(0.0));
    assert_eq!(metrics.get("rfm_bmp_sessions", &[]), Some(0.0));
    assert_eq!(
        metrics.get("rfm_rib_stale_routes", &[("family", "ipv4")]),
        Some(2.0)
    );
    sleep(Duration::from_secs(3) + LAG);
    let before = of_source(&metrics, "", "");
    let metrics = fixture.send(1000, 5);
    assert_eq!(of_source(&metrics, "", ""), before + 5);

    // and back
    let mut router = fixture.connect();
    let again = [begin, peer(1).announce(prefix, &[65001, 9])].concat();
    router.write_all(&again).expect("sent");
    sleep(LAG);
    let metrics = fixture.send(1000, 5);
    assert_eq!(of_source(&metrics, "9", "65001"), 5);
    fixture.agent.stop();
}

#[test]
fn traffic_of_a_vrf_has_no_label_of_the_global_table() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    if !kernel_has_vrf() {
        println!("skipped: this kernel has no VRF devices");
        return;
    }
    for (vrf, expected) in [
        ("", ("", "")),
        ("[agent.enrich.rib.vrf]\nred = \"0:0\"\n", ("1", "65001")),
    ] {
        let lab = Lab::new();
        let namespace = lab.wire();
        namespace.ip("link add red type vrf table 10");
        namespace.ip("link set red up");
        namespace.ip("link set v0 master red");
        let mut fixture = Fixture::start(&lab, &namespace, vrf);
        let mut router = fixture.connect();
        let route = peer(1).announce("203.0.113.0/24", &[65001, 1]);
        let bytes = [initiation("near"), peer(1).up(), route].concat();
        router.write_all(&bytes).expect("sent");
        sleep(LAG);
        let metrics = fixture.send(1000, 3);
        assert_eq!(of_source(&metrics, expected.0, expected.1), 3, "{vrf}");
        // it stops with a session open
        fixture.agent.stop();
    }
}

fn kernel_has_vrf() -> bool {
    let lab = Lab::new();
    let namespace = lab.namespace("t");
    let mut add = namespace.command("ip", &["link", "add", "red", "type", "vrf", "table", "10"]);
    try_run(&mut add).status.success()
}
