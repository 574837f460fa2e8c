// SPDX-License-Identifier: AGPL-3.0-only
//! Tests which source provides which label of an address.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::enrich::mmdb::{DatabaseFile, DatabasePlace};
use crate::types::flow::{Direction, Family};
use crate::types::mac::MacAddress;
use crate::types::prefix::Prefix;
use neighbors::{Neighbor, PeerAs};

const GLOBAL: Option<TableId> = Some(TableId::GLOBAL);
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mmdb");

fn databases(asn: bool, city: bool) -> Arc<Databases> {
    let file = |kind, name: &str| DatabaseFile {
        kind,
        place: DatabasePlace::File(Path::new(DATA).join(name)),
    };
    let asn = asn.then(|| file(DatabaseKind::Asn, "GeoLite2-ASN-Test.mmdb"));
    let city = city.then(|| file(DatabaseKind::City, "GeoLite2-City-Test.mmdb"));
    let files: Vec<_> = asn.into_iter().chain(city).collect();
    let databases = Databases::open(&files).unwrap();
    if let Some(database) = databases.get(DatabaseKind::Asn) {
        database.index(&|| {}).unwrap();
    }
    Arc::new(databases)
}

/// Routes for interface 1; the one with the longest prefix is the best.
#[derive(Clone, Default)]
struct Table {
    routes: Vec<(Prefix, Route)>,
    generation: Arc<AtomicU32>,
}

impl Table {
    fn new(routes: &[(&str, u32, u32)]) -> Self {
        let route = |&(prefix, origin_asn, peer_asn): &(&str, u32, u32)| {
            let prefix: Prefix = prefix.parse().unwrap();
            let route = Route {
                prefix_len: prefix.length(),
                origin_asn,
                peer_asn,
                ..Route::default()
            };
            (prefix, route)
        };
        Self {
            routes: routes.iter().map(route).collect(),
            generation: Arc::default(),
        }
    }
}

impl RouteLookup for Table {
    fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    fn table(&self, ifindex: u32) -> Option<TableId> {
        (ifindex == 1).then_some(TableId::GLOBAL)
    }

    fn lookup(&self, ends: [IpAddr; 2], _: TableId) -> [Option<Route>; 2] {
        ends.map(|address| {
            let held = self.routes.iter().filter(|(p, _)| p.contains(address));
            let best = held.max_by_key(|(prefix, _)| prefix.length());
            best.map(|(_, route)| *route)
        })
    }
}

fn prefix(prefix: &str, asn: u32, name: &str) -> StaticPrefix {
    StaticPrefix {
        prefix: prefix.parse().unwrap(),
        asn,
        name: name.into(),
        bill: false,
    }
}

fn enricher(routes: &[(&str, u32, u32)], prefixes: &[StaticPrefix]) -> Enricher {
    let routes: Box<dyn RouteLookup> = Box::new(Table::new(routes));
    Enricher::new(
        Some(routes),
        prefixes,
        databases(true, true),
        Arc::default(),
    )
}

fn key(ifindex: u32) -> FlowKey {
    FlowKey {
        src: [0; 16],
        dst: [0; 16],
        ifindex,
        src_port: 0,
        dst_port: 0,
        vlan_outer: 0,
        vlan_inner: 0,
        protocol: 6,
        direction: Direction::Ingress,
        family: Family::Ipv4,
    }
}

fn endpoint(enricher: &Enricher, address: IpAddr, table: Option<TableId>) -> Endpoint {
    let routes = enricher.routes_to([address; 2], table);
    let [endpoint, other] = routes.map(|route| enricher.endpoint(address, route, table));
    assert_eq!(endpoint, other);
    endpoint
}

/// Returns origin AS, peer AS, name of the network, and name of the AS.
fn known(known: &Endpoint) -> (u32, u32, Option<&str>, Option<&str>) {
    let (net, name) = (known.net.as_deref(), known.asn_name.as_deref());
    (known.asn, known.peer_asn, net, name)
}

#[test]
fn routes_answer_before_databases() {
    let enricher = enricher(
        &[
            ("0.0.0.0/0", 0, 64496),
            ("1.0.0.0/24", 64500, 64497),
            ("1.128.0.0/11", 1221, 64498),
            ("10.0.0.0/8", 64501, 64499),
            ("10.1.0.0/16", 1221, 64499),
        ],
        &[],
    );
    for (address, ifindex, expected) in [
        // the database has another AS there, and no network of 64500
        ("1.0.0.1", 1, (64500, 64497, None, None)),
        ("::ffff:1.0.0.1", 1, (64500, 64497, None, None)),
        ("1.128.0.1", 1, (1221, 64498, None, Some("Telstra Pty Ltd"))),
        // the route has no origin: the AS is from the database, the peer AS is kept
        (
            "15.0.0.1",
            1,
            (71, 64496, None, Some("Hewlett-Packard Company")),
        ),
        (
            "15.0.0.1",
            2,
            (71, 0, None, Some("Hewlett-Packard Company")),
        ),
        ("10.0.0.1", 1, (64501, 64499, None, None)),
        // no database finds this AS for the address, but one has its name
        ("10.1.0.1", 1, (1221, 64499, None, Some("Telstra Pty Ltd"))),
        ("10.0.0.1", 2, (0, 0, None, None)),
    ] {
        let endpoint = endpoint(&enricher, address.parse().unwrap(), enricher.table(ifindex));
        assert_eq!(known(&endpoint), expected, "{address} on {ifindex}");
    }
}

#[test]
fn exported_flows_tell_the_same_in_numbers() {
    let next_hop: IpAddr = "192.0.2.254".parse().unwrap();
    let mut table = Table::new(&[("0.0.0.0/0", 0, 64496), ("10.0.0.0/8", 64501, 64499)]);
    table.routes[1].1.next_hop = Some(next_hop);
    let local = [
        prefix("10.1.0.0/16", 65001, "own"),
        prefix("10.2.0.0/16", 0, "named"),
    ];
    let databases = databases(true, true);
    let enricher = Enricher::new(Some(Box::new(table)), &local, databases, Arc::default());
    let info = |asn, peer_asn, prefix_len, next_hop| BgpInfo {
        asn,
        peer_asn,
        prefix_len,
        next_hop,
    };
    for (address, ifindex, expected) in [
        ([10, 0, 0, 1], 1, info(64501, 64499, 8, Some(next_hop))),
        // BGP does not lead to the own network
        ([10, 1, 0, 1], 1, info(65001, 0, 16, None)),
        ([10, 2, 0, 1], 1, info(64501, 64499, 16, Some(next_hop))),
        // the origin is from the database
        ([15, 0, 0, 1], 1, info(71, 64496, 0, None)),
        ([15, 0, 0, 1], 2, info(71, 0, 0, None)),
        ([127, 0, 0, 1], 1, BgpInfo::default()),
    ] {
        let mut key = key(ifindex);
        key.src[..4].copy_from_slice(&address);
        key.dst[..4].copy_from_slice(&[127, 0, 0, 1]);
        let routing = enricher.routing(&key);
        assert_eq!(routing.src, expected, "{address:?} on {ifindex}");
        assert_eq!(routing.dst, BgpInfo::default());
        let known = enricher.enrichment(&key, MacAddress::ZERO).src;
        assert_eq!(
            (known.asn, known.peer_asn),
            (expected.asn, expected.peer_asn)
        );
    }
}

#[test]
fn static_prefixes_take_part_in_the_longest_match() {
    let enricher = enricher(
        &[
            ("0.0.0.0/0", 0, 64496),
            ("10.0.0.0/16", 64500, 64497),
            ("10.0.1.0/24", 64501, 64497),
            ("10.2.0.0/16", 64502, 64497),
        ],
        &[
            prefix("10.0.0.0/16", 65000, "equal"),
            prefix("10.1.0.0/16", 65001, "of the default"),
            prefix("10.2.0.0/15", 65002, "less specific"),
            prefix("10.2.9.0/24", 0, "named"),
            prefix("1.128.0.0/16", 0, "telstra"),
        ],
    );
    for (address, expected) in [
        ("10.0.0.1", (65000, 0, Some("equal"), None)),
        ("10.0.1.1", (64501, 64497, None, None)),
        ("10.1.0.1", (65001, 0, Some("of the default"), None)),
        ("10.2.0.1", (64502, 64497, None, None)),
        ("10.3.0.1", (65002, 0, Some("less specific"), None)),
        // a name without an AS leaves the AS to the other sources
        ("10.2.9.1", (64502, 64497, Some("named"), None)),
        (
            "1.128.0.1",
            (1221, 64496, Some("telstra"), Some("Telstra Pty Ltd")),
        ),
    ] {
        let endpoint = endpoint(&enricher, address.parse().unwrap(), GLOBAL);
        assert_eq!(known(&endpoint), expected, "{address}");
    }
}

#[test]
fn places_are_the_databases_alone() {
    let with = enricher(&[("81.2.69.0/24", 64500, 64501)], &[]);
    let found = endpoint(&with, "81.2.69.142".parse().unwrap(), GLOBAL);
    assert_eq!(found.city.as_deref(), Some("London"));
    assert_eq!(found.country.as_deref(), Some("GB"));
    let without = Enricher::new(None, &[], databases(false, false), Arc::default());
    let found = endpoint(&without, "81.2.69.142".parse().unwrap(), GLOBAL);
    assert_eq!(found, Endpoint::default());
}

#[test]
fn addresses_of_nobody_have_no_label() {
    let everything = [("0.0.0.0/0", 1, 1), ("::/0", 1, 1)];
    let prefixes = [prefix("0.0.0.0/0", 1, "v4"), prefix("::/0", 1, "v6")];
    let enricher = enricher(&everything, &prefixes);
    for address in [
        "127.0.0.1",
        "169.254.1.1",
        "224.0.0.251",
        "239.255.255.250",
        "::1",
        "fe80::1",
        "ff02::fb",
        "::ffff:127.0.0.1",
        "::ffff:169.254.1.1",
    ] {
        let endpoint = endpoint(&enricher, address.parse().unwrap(), GLOBAL);
        assert_eq!(endpoint, Endpoint::default(), "{address}");
    }
    for address in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "fd00::1"] {
        let endpoint = endpoint(&enricher, address.parse().unwrap(), GLOBAL);
        assert_eq!(endpoint.asn, 1, "{address}");
    }
}

#[test]
fn both_ends_of_a_flow_are_known() {
    let mut key = key(1);
    key.src[..4].copy_from_slice(&[1, 0, 0, 1]);
    key.dst[..4].copy_from_slice(&[81, 2, 69, 142]);
    let enrichment = enricher(&[], &[]).enrichment(&key, MacAddress::ZERO);
    assert_eq!(
        (enrichment.src.asn, enrichment.src.city.as_deref()),
        (15169, None)
    );
    assert_eq!(
        (enrichment.dst.asn, enrichment.dst.city.as_deref()),
        (0, Some("London"))
    );
}

#[test]
fn the_peer_is_the_neighbor_and_a_route_decides_between_its_ases() {
    let hop = |last: u8| IpAddr::from([10, 0, 0, last]);
    let mut table = Table::new(&[
        ("192.0.2.0/25", 64510, 64501),
        ("192.0.2.128/25", 64511, 64502),
    ]);
    table.routes[0].1.next_hop = Some(hop(1));
    table.routes[1].1.next_hop = Some(hop(3));
    let mac = |last: u8| MacAddress([2, 0, 0, 0, 0, last]);
    let neighbor = |asn, addresses: &[IpAddr]| Neighbor {
        asn,
        addresses: addresses.into(),
        ..Neighbor::default()
    };
    let neighbors = Arc::new(SharedNeighbors::default());
    neighbors.set(NeighborMap::of([
        ((1, mac(1)), neighbor(PeerAs::Several, &[hop(1), hop(2)])),
        ((1, mac(2)), neighbor(PeerAs::One(64509), &[])),
        ((1, mac(3)), neighbor(PeerAs::Unknown, &[hop(1)])),
        ((1, mac(4)), neighbor(PeerAs::One(1221), &[])),
        (
            (1, mac(5)),
            Neighbor {
                name: "configured".into(),
                ..neighbor(PeerAs::One(1221), &[])
            },
        ),
    ]));
    let enricher = Enricher::new(
        Some(Box::new(table)),
        &[],
        databases(true, false),
        Arc::default(),
    )
    .with_neighbors(neighbors);
    let peer = |last, direction, source: u8| {
        let mut key = key(1);
        key.direction = direction;
        key.src[..4].copy_from_slice(&[192, 0, 2, source]);
        enricher.enrichment(&key, mac(last)).peer_asn
    };
    let ingress = Direction::Ingress;
    assert_eq!(
        peer(1, ingress, 1),
        64501,
        "the return path is by this router"
    );
    assert_eq!(
        peer(1, ingress, 200),
        0,
        "the return path is by another router"
    );
    assert_eq!(
        peer(1, Direction::Egress, 1),
        0,
        "there is no route to the destination"
    );
    assert_eq!(
        peer(2, ingress, 1),
        64509,
        "the sender, not the return path"
    );
    assert_eq!(peer(3, ingress, 1), 0, "no session");
    for (last, name) in [(2, ""), (3, ""), (4, "Telstra Pty Ltd"), (5, "configured")] {
        assert_eq!(&*enricher.peer(1, mac(last)).name, name, "{last}");
    }
    assert_eq!(peer(6, ingress, 1), 0, "no entry");
}

#[test]
fn the_generation_advances_at_most_twice_a_second() {
    let table = Table::new(&[]);
    let generation = table.generation.clone();
    let routes: Box<dyn RouteLookup> = Box::new(table);
    let mut enricher = Enricher::new(Some(routes), &[], databases(false, false), Arc::default());
    let mut seen = Vec::new();
    for now_ms in (0..3000).step_by(10) {
        // changes continuously in the first second, then no longer
        if now_ms < 1000 {
            generation.fetch_add(1, Ordering::Relaxed);
        }
        seen.push(enricher.generation(now_ms));
    }
    seen.dedup();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn a_record_that_cannot_be_read_is_counted_and_no_label() {
    let errors = Arc::new(ErrorCounters::default());
    let enricher = Enricher::new(None, &[], databases(false, false), errors.clone());
    let broken = || Err(MaxMindDbError::invalid_database("cut"));
    assert_eq!(enricher.counted::<u32>(broken()), None);
    assert_eq!(enricher.counted(Ok(Some(1))), Some(1));
    assert_eq!(errors.get(Subsystem::Mmdb), 1);
}
