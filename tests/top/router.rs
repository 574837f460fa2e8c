// SPDX-License-Identifier: AGPL-3.0-only
//! A router that forwards between customers and networks with names, with constant traffic in both directions.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::common::agent::Agent;
use crate::common::cases::SRC_MAC;
use crate::common::frames::Frame;
use crate::common::lab::{Lab, Namespace, mac_of};
use crate::common::mmdb::{Value, Writer, asn};
use crate::common::packet::Sender;
use crate::harness::{Folder, config};

/// Network, AS, name, country.
const NETWORKS: [(&str, u32, &str, &str); 6] = [
    ("198.18.1.0/24", 64496, "Example Video Delivery", "NL"),
    ("198.18.2.0/24", 64497, "Cloud Nine Hosting", "US"),
    ("198.18.3.0/24", 64498, "Northern Search", "DE"),
    ("198.18.4.0/24", 64499, "Alpine Research Network", "CH"),
    ("2001:db8:4::/48", 64500, "Zürich Fibre 東京", "CH"),
    ("100.64.7.0/24", 64511, "City Fibre Cooperative", "DE"),
];

/// Client, server, protocol, packets in 20 ms from and to the client, with their sizes.
type Talk = (&'static str, u16, &'static str, u16, u8, [(u32, usize); 2]);
const TALKS: [Talk; 6] = [
    (
        "100.64.7.21",
        51_234,
        "198.18.1.10",
        443,
        6,
        [(1, 66), (8, 1514)],
    ),
    (
        "100.64.7.142",
        60_012,
        "198.18.2.200",
        443,
        17,
        [(1, 120), (3, 1350)],
    ),
    (
        "100.64.7.9",
        40_001,
        "198.18.3.53",
        53,
        17,
        [(1, 80), (1, 240)],
    ),
    (
        "100.64.7.33",
        33_000,
        "198.18.4.4",
        22,
        6,
        [(1, 90), (1, 90)],
    ),
    (
        "100.64.7.77",
        45_000,
        "198.18.2.201",
        8443,
        6,
        [(4, 1514), (1, 66)],
    ),
    (
        "2001:db8:7::1234:abcd",
        50_505,
        "2001:db8:4:1::8",
        443,
        6,
        [(1, 1000), (0, 0)],
    ),
];

/// Traffic until it is dropped.
struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

pub struct BusyRouter {
    _traffic: Traffic,
    _agent: Agent,
    pub folder: Folder,
    _lab: Lab,
}

impl BusyRouter {
    /// `more` is TOML of further sections.
    pub fn new(more: &str) -> Self {
        let lab = Lab::new();
        let (router, far) = lab.router();
        router.ip("address add 10.98.0.1/24 dev lan0");
        // nobody's MAC address: lan1 would send the packets back
        router.ip("neighbour replace 10.98.0.2 lladdr 02:00:00:00:cc:03 nud permanent dev lan0");
        router.ip("route add 100.64.7.0/24 via 10.98.0.2 dev lan0");
        router.run("sysctl", "-qw net.ipv4.conf.wan0.rp_filter=0");
        router.ip("link set lan0 alias customers");
        router.ip("link set wan0 alias transit");
        let folder = Folder::new();
        let databases = databases(&lab);
        let text = config(
            &folder,
            "[\"lan0\", \"wan0\"]",
            1,
            &format!(
                "[agent.enrich.mmdb]\nasn_db = \"{}\"\ncity_db = \"{}\"\n{more}",
                databases[0].display(),
                databases[1].display()
            ),
        );
        let agent = Agent::start(&lab, &router, &text);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = vec![
            traffic(&router, ("lan1", "lan0"), 0, &stop),
            traffic(&far, ("sink0", "wan0"), 1, &stop),
        ];
        Self {
            _traffic: Traffic { stop, threads },
            _agent: agent,
            folder,
            _lab: lab,
        }
    }

    /// The command of the view.
    pub fn top(&self, options: &str) -> String {
        let rfm = env!("CARGO_BIN_EXE_rfm");
        let socket = self.folder.socket();
        format!("{rfm} top --socket {} {options}", socket.display())
    }
}

fn databases(lab: &Lab) -> [PathBuf; 2] {
    let now = std::time::SystemTime::now();
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let build_time = now.as_secs() as u32;
    let mut asns = Writer::new(6, 28, build_time).with_type("GeoLite2-ASN");
    let mut cities = Writer::new(6, 28, build_time).with_type("GeoLite2-City");
    for (network, number, name, country) in NETWORKS {
        asns.insert(network, &asn(number, name));
        let country = Value::Map(vec![("iso_code", country.into())]);
        cities.insert(network, &Value::Map(vec![("country", country)]));
    }
    [("asn.mmdb", asns), ("city.mmdb", cities)].map(|(name, writer)| {
        let path = lab.path(name);
        fs::write(&path, writer.finish()).expect("a file of the lab");
        path
    })
}

/// Sends one direction of the conversations, from `devices.0` to the MAC address of `devices.1`.
fn traffic(
    namespace: &Namespace,
    devices: (&'static str, &'static str),
    way: usize,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let frames: Vec<(Vec<u8>, u32)> = TALKS
        .iter()
        .filter(|talk| talk.5[way].0 > 0)
        .map(|talk| (frame(talk, devices.1, way), talk.5[way].0))
        .collect();
    let (namespace, stop) = (namespace.clone(), stop.clone());
    thread::spawn(move || {
        namespace.inside(|| {
            let sender = Sender::new(devices.0).expect("a packet socket");
            while !stop.load(Ordering::Relaxed) {
                for (frame, times) in &frames {
                    for _ in 0..*times {
                        // a full queue drops the packet
                        let _ = sender.send(frame, 0);
                    }
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
    })
}

fn frame(talk: &Talk, device: &str, way: usize) -> Vec<u8> {
    let (client, client_port, server, server_port, protocol, sizes) = *talk;
    let ends = [(client, client_port), (server, server_port)];
    let (src, dst) = (ends[way], ends[1 - way]);
    let frame = Frame::ethernet(SRC_MAC, mac_of(device));
    let frame = match (src.0.parse().unwrap(), dst.0.parse().unwrap()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => frame.ipv4(src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) => frame.ipv6(src, dst),
        _ => unreachable!("one family"),
    };
    let frame = match protocol {
        6 => frame.tcp(0x10),
        _ => frame.udp(),
    };
    frame.ports(src.1, dst.1).pad_to(sizes[way].1).build()
}
