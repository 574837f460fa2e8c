// SPDX-License-Identifier: AGPL-3.0-only
//! The network: a router that runs the daemon and the agent, two BGP neighbours on one side of it, and
//! packets that it forwards from `lan0` to `wan0`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::accounting::SETTLED;
use crate::common::agent::{Agent, config};
use crate::common::frames::Frame;
use crate::common::lab::{Lab, Namespace, mac_of, wait_for};
use crate::common::metrics::Metrics;
use crate::common::packet::Sender;
use crate::daemon::{Daemon, Running};
use crate::readme::stanza;
use crate::speaker::{Identity, Speaker};

/// The router among its neighbours.
pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
pub const HERE6: Ipv6Addr = v6(1);
pub const WEST: Identity = neighbour(2, 64502);
pub const EAST: Identity = neighbour(3, 64503);

/// Addresses without a route.
pub const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
pub const NOWHERE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 9));

/// What a label may lag behind what is seen on the BMP wire.
const LAG: Duration = Duration::from_secs(1);
/// A daemon reports a whole change without a pause of this length.
const PAUSE: Duration = Duration::from_millis(150);
/// A daemon reports a change within this time.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(10);

const LABELS: &str = "labels = [\"ifname\", \"direction\", \"proto\", \"src_asn\", \"src_peer_asn\", \
                      \"dst_asn\", \"dst_peer_asn\"]\n";

const fn v6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd98, 0, 0, 0, 0, 0, 0, host)
}

const fn neighbour(host: u8, asn: u32) -> Identity {
    Identity {
        local: Ipv4Addr::new(10, 98, 0, host),
        router: HERE,
        asn,
        next_hop: v6(host as u16),
    }
}

/// The agent's.
fn file(sections: &str, stale_time: Duration) -> String {
    let bmp = stanza("rfm.toml");
    let stale = format!("stale_time = \"{}s\"\n", stale_time.as_secs());
    let more = format!("{sections}{bmp}{stale}allow = [\"::1\"]\n");
    config(r#"["lan0", "wan0"]"#, &more) + LABELS
}

pub struct Topology {
    pub lab: Lab,
    pub router: Namespace,
    far: Namespace,
    sender: Sender,
}

impl Topology {
    pub fn new(daemon: &dyn Daemon) -> Self {
        let lab = Lab::among_others();
        let (router, sink) = lab.router();
        let far = lab.namespace("n");
        lab.veth((&router, "bgp0"), (&far, "bgp1"));
        for (namespace, device, hosts) in [(&router, "bgp0", &[1][..]), (&far, "bgp1", &[2, 3])] {
            allow_ipv6(namespace, device);
            for host in hosts {
                namespace.ip(&format!("address add 10.98.0.{host}/24 dev {device}"));
                namespace.ip(&format!("address add {}/64 dev {device} nodad", v6(*host)));
            }
        }
        forward_ipv6(&router);
        drop(sink);
        daemon.configure(&lab);
        let sender = router.inside(|| Sender::new("lan1").expect("a packet socket"));
        Self {
            lab,
            router,
            far,
            sender,
        }
    }

    /// The agent as the README configures it, with the labels that BGP fills in.
    pub fn agent(&self, sections: &str, stale_time: Duration) -> Agent {
        Agent::start(&self.lab, &self.router, &file(sections, stale_time))
    }

    /// The same agent with a control socket.
    pub fn agent_with(&self, sections: &str, socket: &Path) -> Agent {
        let config = file(sections, Duration::from_secs(60));
        let socket = format!("socket = {socket:?}");
        let config = config.replacen("socket = \"\"", &socket, 1) + "transit_series = 1000\n";
        let more = "\"dst_peer_asn\", \"src_community\", \"dst_community\"";
        let config = config.replacen("\"dst_peer_asn\"", more, 1);
        Agent::start(&self.lab, &self.router, &config)
    }

    /// The namespace of the BGP neighbours.
    pub fn far(&self) -> &Namespace {
        &self.far
    }

    /// The same agent with other sections.
    pub fn reload(&self, agent: &Agent, sections: &str, stale_time: Duration) {
        let times = || agent.log().matches("configuration read again").count();
        let before = times();
        self.lab.file("rfm.toml", &file(sections, stale_time));
        agent.signal(Signal::HUP);
        assert!(
            wait_for(UPDATE_TIMEOUT, || times() > before),
            "{}",
            agent.log()
        );
        sleep(LAG);
    }

    pub fn start(&self, daemon: &dyn Daemon) -> Running {
        Running::start(&self.lab, &self.router, daemon)
    }

    pub fn speaker(&self, identity: Identity) -> Speaker {
        Speaker::establish(&self.far, identity)
    }

    /// Sends a packet through the router `count` times; the bytes of one.
    pub fn send(&self, (src, dst): (IpAddr, IpAddr), payload: usize, count: u64) -> u64 {
        let frame = Frame::ethernet(mac_of("lan1"), mac_of("lan0"));
        let frame = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => frame.ipv4(src, dst),
            (IpAddr::V6(src), IpAddr::V6(dst)) => frame.ipv6(src, dst),
            _ => panic!("two families"),
        };
        let frame = frame.udp().payload(payload).build();
        for _ in 0..count {
            self.sender.send(&frame, 0).expect("sent");
        }
        frame.len() as u64
    }

    /// Bytes that routers have sent to the agent and that have arrived there, as the kernel counts them:
    /// independent of the agent.
    fn on_the_wire(&self) -> u64 {
        let text = self
            .router
            .run("ss", "-Htni state established dport = :11019");
        let fields = text.split_whitespace();
        let acknowledged = fields.filter_map(|field| field.strip_prefix("bytes_acked:"));
        acknowledged.filter_map(|n| n.parse::<u64>().ok()).sum()
    }

    /// Makes a change and waits until it shows on the BMP wire and in labels.
    pub fn change(&self, change: impl FnOnce()) {
        let before = self.on_the_wire();
        change();
        let reported = wait_for(UPDATE_TIMEOUT, || self.on_the_wire() != before);
        assert!(reported, "BMP did not report the change");
        self.settle();
    }

    /// Waits until the BMP connection is quiet, and then as long as labels may lag.
    pub fn settle(&self) {
        let mut last = self.on_the_wire();
        wait_for(UPDATE_TIMEOUT, || {
            sleep(PAUSE);
            let before = std::mem::replace(&mut last, self.on_the_wire());
            before == last
        });
        sleep(LAG - PAUSE);
    }

    /// Waits until the daemon has connected to the agent and has sent its Initiation message.
    pub fn wait_for_session(&self, agent: &Agent, limit: Duration) {
        let (_, up) = agent.scrape_until(limit, |m| m.sum("rfm_bmp_sessions", &[]) == 1);
        assert!(up, "no BMP session after {limit:?}\n{}", self.daemon_log());
    }

    /// Sends and waits until the agent has accounted for it; the scrapes before and after.
    pub fn measure(&self, agent: &Agent, send: impl FnOnce(&Self) -> u64) -> (Metrics, Metrics) {
        let before = agent.scrape();
        let sent = send(self);
        let goal = udp_packets(&before) + sent;
        let (after, all) = agent.scrape_until(SETTLED, |m| udp_packets(m) >= goal);
        assert!(all, "{} of {goal} packets accounted", udp_packets(&after));
        assert_eq!(udp_packets(&after), goal);
        (before, after)
    }

    /// Sends packets from an address and looks for them under this ASN and this peer's.
    pub fn expect(&self, agent: &Agent, address: &str, [asn, peer]: [&str; 2], what: &str) {
        const COUNT: u64 = 2;
        let src: IpAddr = address.parse().expect("an address");
        let dst = if src.is_ipv4() { NOWHERE } else { NOWHERE6 };
        let (before, after) = self.measure(agent, |topology| {
            topology.send((src, dst), 100, COUNT);
            2 * COUNT
        });
        let labels = [
            ("ifname", "lan0"),
            ("src_asn", asn),
            ("src_peer_asn", peer),
            ("dst_asn", ""),
        ];
        let of = |metrics: &Metrics| metrics.sum("rfm_flow_packets_total", &labels);
        assert_eq!(
            of(&after) - of(&before),
            COUNT,
            "{what}: {address} is not of AS {asn} by {peer}\n{:?}\n{}",
            after.moved_since(&before),
            bgp_series(agent)
        );
    }

    /// A normal configuration is neither an error nor a reason for a warning.
    pub fn expect_no_errors(&self, agent: &Agent) {
        let metrics = agent.scrape();
        assert_eq!(metrics.sum("rfm_bmp_errors_total", &[]), 0);
        assert_eq!(metrics.sum("rfm_errors_total", &[]), 0);
        assert!(!agent.log().contains("WARN"), "{}", agent.log());
    }

    pub fn daemon_log(&self) -> String {
        std::fs::read_to_string(self.lab.path("daemon.log")).unwrap_or_default()
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}---", self.daemon_log());
        }
    }
}

/// Sessions, peers and routes as the agent counts them.
fn bgp_series(agent: &Agent) -> String {
    let page = agent.get("/metrics").map(|reply| reply.body);
    let page = page.unwrap_or_default();
    let of_bgp = |line: &&str| line.starts_with("rfm_bmp") || line.starts_with("rfm_rib");
    let series: Vec<_> = page.lines().filter(of_bgp).collect();
    series.join("\n")
}

/// On both devices that it crosses.
fn udp_packets(metrics: &Metrics) -> u64 {
    metrics.sum("rfm_flow_packets_total", &[("proto", "17")])
}

fn allow_ipv6(namespace: &Namespace, device: &str) {
    let conf = format!("net.ipv6.conf.{device}");
    namespace.run(
        "sysctl",
        &format!("-qw {conf}.accept_dad=0 {conf}.accept_ra=0 {conf}.disable_ipv6=0"),
    );
}

fn forward_ipv6(router: &Namespace) {
    for device in ["lan0", "wan0"] {
        allow_ipv6(router, device);
    }
    router.run("sysctl", "-qw net.ipv6.conf.all.forwarding=1");
    let sink = mac_of("sink0").map(|byte| format!("{byte:02x}")).join(":");
    router.ip("address add fd99::1/64 dev wan0 nodad");
    router.ip(&format!(
        "neighbour replace fd99::2 lladdr {sink} nud permanent dev wan0"
    ));
    router.ip("-6 route add default via fd99::2 dev wan0");
}
