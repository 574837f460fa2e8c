// SPDX-License-Identifier: AGPL-3.0-only
//! The RIB joined to what the operator says: networks that BGP does not tell, and VRFs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use rfm::enrich::bmp::{Session, SessionStats};
use rfm::enrich::mmdb::Databases;
use rfm::enrich::rib::{RibConfig, SharedRib, TableId};
use rfm::enrich::{Enricher, VrfRib};
use rfm::flow::thread::Enrich;
use rfm::interfaces::InterfaceRegistry;
use rfm::types::distinguisher::Distinguisher;
use rfm::types::flow::{Direction, Family, FlowKey};
use rfm::types::label::Endpoint;
use rfm::types::mac::MacAddress;
use rfm::types::network_path::NetworkPath;
use rfm::types::static_prefix::StaticPrefix;

use crate::builders::*;

/// In no VRF.
const PLAIN: u32 = 1;

struct Joined {
    rib: SharedRib,
    session: Session,
    interfaces: Arc<InterfaceRegistry>,
    enricher: Enricher,
}

impl Joined {
    /// VRF devices red (distinguisher 65000:1) and blue (the global table) are configured.
    fn new(prefixes: &[StaticPrefix]) -> Self {
        let devices = [("red", "65000:1"), ("blue", "0:0")];
        let vrf: BTreeMap<String, Distinguisher> = devices
            .map(|(device, rd)| (device.to_owned(), rd.parse().unwrap()))
            .into();
        let rib = SharedRib::new(RibConfig {
            max_routes: 1000,
            stale_ms: STALE,
            vrf: vrf.clone().into_iter().collect(),
            ..RibConfig::default()
        });
        let interfaces = Arc::new(InterfaceRegistry::new(
            8,
            std::time::Duration::from_secs(3600),
        ));
        let routes = VrfRib::new(rib.clone(), interfaces.clone(), &vrf);
        Self {
            session: Session::new("127.0.0.1".parse().unwrap(), true, 0),
            enricher: Enricher::new(Some(Box::new(routes)), prefixes, none(), Arc::default()),
            interfaces,
            rib,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut stats = SessionStats::default();
        let fed = self
            .rib
            .write(0, |rib| self.session.feed(rib, bytes, 0, &mut stats));
        assert_eq!(fed.unwrap().0, bytes.len());
    }

    fn on(&self, ifindex: u32, address: &str) -> Endpoint {
        endpoint(&self.enricher, ifindex, address)
    }

    /// Origin, neighbour, name of the network.
    fn known(&self, address: &str) -> (u32, u32, String) {
        known(&self.enricher, address)
    }
}

fn none() -> Arc<Databases> {
    Arc::new(Databases::open(&[]).unwrap())
}

/// A flow from an address.
fn key(ifindex: u32, address: IpAddr) -> FlowKey {
    let mut key = FlowKey {
        src: [0; 16],
        dst: [0; 16],
        ifindex,
        src_port: 0,
        dst_port: 0,
        vlan_outer: 0,
        vlan_inner: 0,
        protocol: 6,
        direction: Direction::Ingress,
        family: Family::Ipv6,
    };
    match address {
        IpAddr::V6(address) => key.src = address.octets(),
        IpAddr::V4(address) => {
            key.family = Family::Ipv4;
            key.src[..4].copy_from_slice(&address.octets());
        }
    }
    key
}

fn endpoint(enricher: &Enricher, ifindex: u32, address: &str) -> Endpoint {
    let key = key(ifindex, address.parse().unwrap());
    enricher.enrichment(&key, MacAddress::ZERO).src
}

fn known(enricher: &Enricher, address: &str) -> (u32, u32, String) {
    let Endpoint {
        asn, peer_asn, net, ..
    } = endpoint(enricher, PLAIN, address);
    (asn, peer_asn, net.as_deref().unwrap_or_default().to_owned())
}

fn statics() -> [StaticPrefix; 5] {
    [
        static_prefix("198.51.100.0/24", 64510, "office"),
        static_prefix("10.0.0.0/8", 0, "lab"),
        static_prefix("2001:db8::/32", 64511, ""),
        static_prefix("127.0.0.0/8", 64512, "self"),
        static_prefix("0.0.0.0/0", 64513, "all"),
    ]
}

/// Of addresses that BGP says nothing of.
const ALONE: [(&str, (u32, u32, &str)); 6] = [
    ("198.51.100.1", (64510, 0, "office")),
    ("2001:db8::1", (64511, 0, "")),
    // no ASN was given
    ("10.0.0.1", (0, 0, "lab")),
    // the operator may name a default
    ("192.0.2.1", (64513, 0, "all")),
    // loopback has no label
    ("127.0.0.1", (0, 0, "")),
    ("2001:db9::1", (0, 0, "")),
];

#[test]
fn static_prefixes_answer_where_bgp_is_silent_or_not_there() {
    let joined = Joined::new(&statics());
    let without = Enricher::new(None, &statics(), none(), Arc::default());
    for (address, (asn, peer, net)) in ALONE {
        let expected = (asn, peer, net.to_owned());
        assert_eq!(joined.known(address), expected, "{address}");
        assert_eq!(known(&without, address), expected, "{address}");
    }
}

#[test]
fn static_prefixes_win_at_equal_length_and_lose_to_longer_ones() {
    let mut joined = Joined::new(&statics());
    joined.send(&initiation("near"));
    joined.send(&peer(1).up());
    for (prefix, origin) in [
        ("198.51.100.0/24", 1),
        ("198.51.0.0/16", 2),
        ("198.51.100.128/25", 3),
        ("10.0.0.0/8", 4),
        ("0.0.0.0/0", 5),
    ] {
        joined.send(&peer(1).announce(prefix, &[65001, origin]));
    }
    for (address, expected) in [
        ("198.51.100.1", (64510, 0, "office")),
        ("198.51.100.129", (3, 65001, "")),
        // longer than the static default
        ("198.51.101.1", (2, 65001, "")),
        // a name alone leaves the ASN to BGP
        ("10.0.0.1", (4, 65001, "lab")),
        ("192.0.2.1", (64513, 0, "all")),
    ] {
        let (asn, peer, net) = expected;
        let expected = (asn, peer, net.to_owned());
        assert_eq!(joined.known(address), expected, "{address}");
    }
}

#[test]
fn a_default_route_tells_the_neighbour_alone() {
    let mut joined = Joined::new(&[static_prefix("10.0.0.0/8", 0, "lab")]);
    joined.send(&initiation("near"));
    joined.send(&peer(1).up());
    joined.send(&peer(1).announce("0.0.0.0/0", &[65001, 5]));
    joined.send(&peer(2).up());
    joined.send(&peer(2).announce("32.0.0.0/7", &[65002, 6]));
    joined.send(&peer(2).announce("40.0.0.0/8", &[65002, 7]));
    assert_eq!(joined.known("192.0.2.1"), (0, 65001, String::new()));
    assert_eq!(joined.known("33.0.0.1"), (0, 65002, String::new()));
    assert_eq!(joined.known("40.0.0.1"), (7, 65002, String::new()));
    assert_eq!(joined.known("10.0.0.1"), (0, 65001, "lab".to_owned()));
}

/// The label of each address, compared with the attributes of the route that the RIB explains as the best one.
#[test]
fn communities_are_those_of_the_best_route_that_match() {
    let mut joined = Joined::new(&[static_prefix("10.0.7.0/24", 64510, "office")]);
    let patterns = ["64500:*", "*:7", "64500:*:1"].map(|text| text.parse().unwrap());
    joined.enricher = joined.enricher.with_communities(&patterns);
    joined.send(&initiation("near"));
    for n in [1, 2] {
        joined.send(&peer(n).up());
    }
    for i in 0..256_u32 {
        let length = 16 + i % 12;
        let network = (10 << 24 | i << 12) & (u32::MAX << (32 - length));
        let prefix = format!("{}/{length}", std::net::Ipv4Addr::from(network));
        let said = Said {
            local_pref: Some(i * 7 % 5),
            communities: (0..i % 4)
                .map(|k| ((64499 + k % 2) << 16) + (i * 3 + k) % 11)
                .collect(),
            large_communities: (0..i % 3).map(|k| [64500, i, k]).collect(),
            ..Said::new(&[65001, 100 + i])
        };
        let from = peer(1 + (i % 2) as u8);
        joined.send(&from.announce_with(&[(None, &prefix)], &said));
    }
    let mut labelled = 0;
    for i in 0..4096_u32 {
        let address = std::net::Ipv4Addr::from(10 << 24 | i << 8 | 1);
        let explained = joined
            .rib
            .read(|rib| rib.explain(address.into(), TableId::GLOBAL, 1000));
        let best = explained.into_iter().find(|route| route.best);
        let attributes = best.map(|best| best.route.attributes);
        let (mut plain, mut large) = attributes
            .map(|a| (a.communities, a.large_communities))
            .unwrap_or_default();
        plain.sort_unstable();
        plain.dedup();
        large.sort_unstable();
        let plain = plain.iter().map(|c| (c >> 16, c & 0xffff));
        let plain = plain.filter(|(asn, value)| *asn == 64500 || *value == 7);
        let large = large.iter().filter(|[_, _, last]| *last == 1);
        let mut expected: Vec<String> = plain.map(|(a, b)| format!("{a}:{b}")).collect();
        expected.extend(large.map(|[a, b, c]| format!("{a}:{b}:{c}")));
        if i == 7 {
            // the AS of a static prefix replaces the route
            expected.clear();
        }
        let known = joined.on(PLAIN, &address.to_string()).communities;
        let known = known.as_deref().unwrap_or_default();
        assert_eq!(known, expected.join(","), "{address}");
        labelled += u32::from(!known.is_empty());
    }
    assert!(labelled > 500, "{labelled} addresses with communities");
}

#[test]
fn traffic_in_a_vrf_has_the_labels_of_its_own_table_or_none() {
    let mut joined = Joined::new(&statics());
    joined.send(&initiation("near"));
    joined.send(&peer(1).up());
    joined.send(&peer(1).announce("203.0.113.0/24", &[65001, 1]));
    let mut inside = peer(2);
    inside.kind = 1;
    inside.distinguisher = [0, 0, 0xfd, 0xe8, 0, 0, 0, 1];
    joined.send(&inside.up());
    joined.send(&inside.announce("203.0.113.0/24", &[65002, 2]));
    let vrfs = [(2, Some("red")), (3, Some("blue")), (4, Some("green"))];
    joined.interfaces.set_vrfs(&vrfs);
    let asn = |ifindex| joined.on(ifindex, "203.0.113.1").asn;
    assert_eq!([PLAIN, 2, 3, 4].map(asn), [1, 2, 1, 0]);
    // what is configured speaks of the global table
    let net = |ifindex| joined.on(ifindex, "10.0.0.1").net.is_some();
    assert_eq!([PLAIN, 2, 3, 4].map(net), [true, false, true, false]);
    joined.interfaces.set_vrfs(&vrfs[1..]);
    assert_eq!(joined.on(2, "203.0.113.1").asn, 1);
}

/// The AS path of traffic to an address, and its origin (0: unknown).
fn path(joined: &Joined, ifindex: u32, address: &str) -> (String, u32) {
    let address: IpAddr = address.parse().unwrap();
    let mut key = key(ifindex, address);
    let mut path = NetworkPath::default();
    (key.src, key.dst) = ([0; 16], key.src);
    key.direction = Direction::Egress;
    joined.enricher.path(&key, &mut path);
    let egress = (path.path().to_string(), path.path().origin());
    // at ingress it is that of the source
    (key.src, key.dst) = (key.dst, [0; 16]);
    key.direction = Direction::Ingress;
    joined.enricher.path(&key, &mut path);
    assert_eq!((path.path().to_string(), path.path().origin()), egress);
    egress
}

#[test]
fn the_as_path_of_traffic_is_that_of_the_best_route_without_repetitions() {
    const SET: u8 = 1;
    const SEQUENCE: u8 = 2;
    const MEMBERS: u8 = 3;
    const MEMBER_SET: u8 = 4;
    let mut joined = Joined::new(&[
        static_prefix("100.64.0.0/10", 64513, ""),
        static_prefix("127.0.0.0/8", 64512, ""),
        static_prefix("198.51.0.0/16", 64514, ""),
    ]);
    joined.send(&initiation("near"));
    // the local view: own ASes and loops stay
    joined.send(&loc_rib().up());
    type Segments<'a> = &'a [(u8, &'a [u32])];
    let cases: [(&str, &str, Segments, &str, u32); 9] = [
        (
            "198.51.100.0/24",
            "198.51.100.1",
            &[(SEQUENCE, &[7, 7, 7, 8, 9, 9])],
            "7 8 9",
            9,
        ),
        (
            "198.51.101.0/24",
            "198.51.101.1",
            &[(SEQUENCE, &[7, 8, 7, HOME, 64512])],
            "7 8 7 64500 64512",
            64512,
        ),
        (
            "198.51.102.0/24",
            "198.51.102.1",
            &[(SEQUENCE, &[7]), (SET, &[12, 11, 12])],
            "7 {11,12}",
            0,
        ),
        (
            "198.51.103.0/24",
            "198.51.103.1",
            &[(SET, &[12, 11]), (SEQUENCE, &[9])],
            "{11,12} 9",
            9,
        ),
        (
            "198.51.104.0/24",
            "198.51.104.1",
            &[
                (MEMBERS, &[65101, 65102]),
                (MEMBER_SET, &[65103]),
                (SEQUENCE, &[7, 9]),
            ],
            "7 9",
            9,
        ),
        (
            "198.51.105.0/24",
            "198.51.105.1",
            &[(MEMBERS, &[65101])],
            "",
            HOME,
        ),
        ("198.51.106.0/24", "198.51.106.1", &[], "", HOME),
        (
            "192.0.2.0/25",
            "192.0.2.1",
            &[(SEQUENCE, &[HOME, HOME, 7, 9])],
            "64500 7 9",
            9,
        ),
        ("0.0.0.0/0", "9.9.9.9", &[(SEQUENCE, &[7, 8])], "7", 0),
    ];
    for (prefix, _, segments, _, _) in cases {
        let said = Said {
            segments: segments
                .iter()
                .map(|(kind, asns)| (*kind, asns.to_vec()))
                .collect(),
            ..Said::default()
        };
        joined.send(&loc_rib().announce_with(&[(None, prefix)], &said));
    }
    for (_, address, segments, expected, origin) in cases {
        let got = path(&joined, PLAIN, address);
        assert_eq!(got, (expected.to_owned(), origin), "{segments:?}");
    }
    // a network with an AS of the configuration, and addresses without routes
    assert_eq!(path(&joined, PLAIN, "100.64.0.1"), (String::new(), 64513));
    assert_eq!(path(&joined, PLAIN, "198.51.99.1"), (String::new(), 64514));
    for none in ["224.0.0.1", "127.0.0.1", "169.254.1.1", "2001:db8::1"] {
        assert_eq!(path(&joined, PLAIN, none), (String::new(), 0), "{none}");
    }
}

#[test]
fn traffic_in_a_vrf_has_the_as_path_of_its_own_table_or_none() {
    let mut joined = Joined::new(&[]);
    joined.send(&initiation("near"));
    joined.send(&peer(1).up());
    joined.send(&peer(1).announce("203.0.113.0/24", &[65001, 1]));
    let mut inside = peer(2);
    inside.kind = 1;
    inside.distinguisher = [0, 0, 0xfd, 0xe8, 0, 0, 0, 1];
    joined.send(&inside.up());
    joined.send(&inside.announce("203.0.113.0/24", &[65002, 2]));
    let vrfs = [(2, Some("red")), (3, Some("blue")), (4, Some("green"))];
    joined.interfaces.set_vrfs(&vrfs);
    let paths = [PLAIN, 2, 3, 4].map(|ifindex| path(&joined, ifindex, "203.0.113.1").0);
    assert_eq!(paths, ["65001 1", "65002 2", "65001 1", ""]);
}
