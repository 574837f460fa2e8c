// SPDX-License-Identifier: AGPL-3.0-only
//! At a sample rate of 1 each byte is under the origin that was announced, and under the neighbour that
//! announced it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::common::agent::EXACT;
use crate::daemon::Daemon;
use crate::speaker::Path;
use crate::topology::{EAST, Topology, WEST};

/// Who announces it, where it comes from, an address in it, and its labels.
struct Network {
    by_west: bool,
    prefix: &'static str,
    path: Path<'static>,
    address: &'static str,
    origin: &'static str,
    neighbour: &'static str,
}

const fn west(
    prefix: &'static str,
    path: Path<'static>,
    address: &'static str,
    origin: &'static str,
) -> Network {
    Network {
        by_west: true,
        prefix,
        path,
        address,
        origin,
        neighbour: "64502",
    }
}

const fn east(
    prefix: &'static str,
    path: Path<'static>,
    address: &'static str,
    origin: &'static str,
) -> Network {
    Network {
        by_west: false,
        neighbour: "64503",
        ..west(prefix, path, address, origin)
    }
}

const NETWORKS: [Network; 11] = [
    west(
        "198.51.100.0/24",
        Path::new(&[64502, 64510], &[]),
        "198.51.100.1",
        "64510",
    ),
    // more specific than the one before, and farther
    east(
        "198.51.100.128/25",
        Path::new(&[64503, 1, 2, 64521], &[]),
        "198.51.100.200",
        "64521",
    ),
    east(
        "198.51.101.0/24",
        Path::new(&[64503], &[]),
        "198.51.101.1",
        "64503",
    ),
    west(
        "192.0.2.0/24",
        Path::new(&[64502, 4_200_000_001], &[]),
        "192.0.2.1",
        "4200000001",
    ),
    // an aggregate has no single origin
    east(
        "203.0.113.0/24",
        Path::new(&[64503], &[64530, 64531]),
        "203.0.113.1",
        "",
    ),
    // nor has a default route
    west(
        "0.0.0.0/0",
        Path::new(&[64502, 64599], &[]),
        "100.64.0.1",
        "",
    ),
    west(
        "2001:db8:1::/48",
        Path::new(&[64502, 64510], &[]),
        "2001:db8:1::1",
        "64510",
    ),
    east(
        "2001:db8:2::/48",
        Path::new(&[64503, 4_200_000_002], &[]),
        "2001:db8:2::1",
        "4200000002",
    ),
    east(
        "2001:db8:2:8000::/49",
        Path::new(&[64503, 64521], &[]),
        "2001:db8:2:8000::1",
        "64521",
    ),
    west(
        "2001:db8:3::/48",
        Path::new(&[64502], &[64530, 64531]),
        "2001:db8:3::1",
        "",
    ),
    east("::/0", Path::new(&[64503, 64599], &[]), "2001:db8:f::1", ""),
];

/// Origin and neighbour of source and destination.
type Ends = [&'static str; 4];

pub fn run(daemon: &dyn Daemon) {
    let topology = Topology::new(daemon);
    let agent = topology.agent(EXACT, Duration::from_secs(60));
    let _router = topology.start(daemon);
    topology.wait_for_session(&agent, Duration::from_secs(15));
    let (mut west, mut east) = (topology.speaker(WEST), topology.speaker(EAST));
    topology.change(|| {
        for network in &NETWORKS {
            let speaker = if network.by_west {
                &mut west
            } else {
                &mut east
            };
            speaker.announce(network.prefix, network.path);
        }
        west.end_of_rib();
        east.end_of_rib();
    });

    let mut expected: BTreeMap<Ends, (u64, u64)> = BTreeMap::new();
    let mut total = (0, 0);
    let (_, metrics) = topology.measure(&agent, |topology| {
        for (n, (src, dst)) in (1..).zip(pairs()) {
            let ends = (address(src), address(dst));
            let bytes = topology.send(ends, 10 * n as usize, n) * n;
            let labels = [src.origin, src.neighbour, dst.origin, dst.neighbour];
            let (packets, octets) = expected.entry(labels).or_default();
            (*packets, *octets) = (*packets + n, *octets + bytes);
            total = (total.0 + n, total.1 + bytes);
        }
        2 * total.0
    });
    for (ifname, direction) in [("lan0", "ingress"), ("wan0", "egress")] {
        let place = [
            ("ifname", ifname),
            ("direction", direction),
            ("proto", "17"),
        ];
        let moved = |labels: &[(&str, &str)]| {
            let labels = [&place[..], labels].concat();
            let of = |what| metrics.sum(what, &labels);
            (of("rfm_flow_packets_total"), of("rfm_flow_bytes_total"))
        };
        for (ends, sent) in &expected {
            let names = ["src_asn", "src_peer_asn", "dst_asn", "dst_peer_asn"];
            let labels: Vec<_> = names.into_iter().zip(*ends).collect();
            assert_eq!(moved(&labels), *sent, "{ifname} {ends:?}");
        }
        assert_eq!(moved(&[]), total, "{ifname}: nothing is under other labels");
    }
    agent.stop();
}

/// Each network sends to each other of its family.
fn pairs() -> impl Iterator<Item = (&'static Network, &'static Network)> {
    let all = NETWORKS
        .iter()
        .flat_map(|a| NETWORKS.iter().map(move |b| (a, b)));
    all.filter(|(a, b)| a.prefix != b.prefix && address(a).is_ipv4() == address(b).is_ipv4())
}

fn address(network: &Network) -> IpAddr {
    network.address.parse().expect("an address")
}
