// SPDX-License-Identifier: AGPL-3.0-only
//! A routing table as an MRT file (RFC 6396), and a GoBGP that announces it. One part of the routes is recorded; the other
//! is made from a seed, for paths that no recorded route has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::common::lab::{run, wait_for};
use crate::daemon::HOME;
use crate::recorded;
use crate::topology::{HERE, Topology, WEST};

const TABLE_DUMP_V2: u16 = 13;
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;
const RIB_IPV6_UNICAST: u16 = 4;

/// The routes at the end of a file that repeat its first ones: gobgp ends before it has sent the last routes of a file.
const REPEATED: usize = 12_000;

/// ASNs of all kinds: of 2 and 4 bytes, private, reserved for documents, AS_TRANS.
const ASNS: [u32; 40] = {
    let mut asns = [23456; 40];
    let mut n = 1;
    while n < 40 {
        asns[n] = match n % 4 {
            0 => 4_200_000_000 + n as u32,
            1 => 64_600 + n as u32,
            2 => 3000 + 7 * n as u32,
            _ => 396_000 + n as u32,
        };
        n += 1;
    }
    asns
};

/// The session of which the table has the routes.
const RECORDED: &str = "bird3-trixie";

/// A route of the table.
#[derive(Clone, Debug)]
pub struct Route {
    pub address: IpAddr,
    pub length: u8,
    /// All path attributes but the next hop, encoded.
    pub attributes: Vec<u8>,
}

/// Numbers that are the same in every run (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn asn(&mut self) -> u32 {
        ASNS[self.below(ASNS.len())]
    }

    /// A path with prepending, ASes that return, and sets.
    fn path(&mut self) -> (Vec<u32>, Vec<u32>) {
        let mut sequence = Vec::new();
        for _ in 0..1 + self.below(5) {
            let asn = match self.below(12) {
                0 => sequence.first().copied().unwrap_or(64_600),
                _ => self.asn(),
            };
            let times = if self.below(4) == 0 {
                1 + self.below(4)
            } else {
                1
            };
            sequence.extend(std::iter::repeat_n(asn, times));
        }
        let set = match self.below(15) {
            0 => BTreeSet::from([self.asn(), self.asn(), self.asn()]),
            _ => BTreeSet::new(),
        };
        // senders put a set in any order
        (sequence, set.into_iter().rev().collect())
    }
}

/// Returns the recorded routes, with this many made routes of IPv4 and half as many of IPv6.
pub fn table(random: &mut Random, made: usize) -> Vec<Route> {
    let mut table: BTreeMap<_, _> = recorded::routes(RECORDED, HOME)
        .into_iter()
        .map(|route| ((route.address, route.length), route))
        .collect();
    let made = make(random, made).into_iter();
    table.extend(made.map(|route| ((route.address, route.length), route)));
    table.into_values().collect()
}

fn make(random: &mut Random, routes: usize) -> Vec<Route> {
    let mut prefixes = BTreeSet::new();
    while prefixes.len() < routes {
        let length = [12, 16, 20, 24][random.below(4)];
        let bits = 20 << 24 | random.below(1 << 24) as u32;
        let bits = bits >> (32 - length) << (32 - length);
        prefixes.insert((IpAddr::V4(Ipv4Addr::from(bits)), length));
    }
    while prefixes.len() < routes * 3 / 2 {
        let (low, length) = (random.below(1 << 16) as u16, [32, 40, 48][random.below(3)]);
        let bits = u128::from(Ipv6Addr::new(0x2a00, low >> 8, low, low, 0, 0, 0, 0));
        let bits = bits >> (128 - length) << (128 - length);
        prefixes.insert((IpAddr::V6(Ipv6Addr::from(bits)), length as u8));
    }
    let made = prefixes.into_iter().map(|(address, length)| {
        let (sequence, set) = random.path();
        let mut attributes = attribute(0x40, 1, &[0]);
        attributes.extend(attribute(0x40, 2, &as_path(&sequence, &set)));
        Route {
            address,
            length,
            attributes,
        }
    });
    made.collect()
}

/// The file of a table.
pub fn file(table: &[Route]) -> Vec<u8> {
    let mut index = vec![192, 0, 2, 1, 0, 0, 0, 1];
    // a peer with an IPv4 address and an AS of 4 bytes
    index.extend([2, 192, 0, 2, 2, 192, 0, 2, 2, 0, 0, 0xfb, 0xf6]);
    let mut bytes = record(PEER_INDEX_TABLE, &index);
    let repeated = table.iter().cycle().take(table.len() + REPEATED);
    for (n, route) in (0_u32..).zip(repeated) {
        let mut body = n.to_be_bytes().to_vec();
        body.push(route.length);
        let used = usize::from(route.length.div_ceil(8));
        let mut attributes = route.attributes.clone();
        let kind = match route.address {
            IpAddr::V4(address) => {
                body.extend(&address.octets()[..used]);
                attributes.extend(attribute(0x40, 3, &[192, 0, 2, 2]));
                RIB_IPV4_UNICAST
            }
            IpAddr::V6(address) => {
                body.extend(&address.octets()[..used]);
                // gobgp reads the whole attribute; section 4.3.4 has only the next hop
                let next_hop = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
                let value = [&[0, 2, 1, 16], &next_hop.octets()[..], &[0]].concat();
                attributes.extend(attribute(0x80, 14, &value));
                RIB_IPV6_UNICAST
            }
        };
        body.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        body.extend((attributes.len() as u16).to_be_bytes());
        body.extend(attributes);
        bytes.extend(record(kind, &body));
    }
    bytes
}

fn as_path(sequence: &[u32], set: &[u32]) -> Vec<u8> {
    let segments = [(2_u8, sequence), (1, set)];
    let segments = segments.into_iter().filter(|(_, asns)| !asns.is_empty());
    let bytes = segments.flat_map(|(kind, asns)| {
        let numbers = asns.iter().flat_map(|asn| asn.to_be_bytes());
        [kind, asns.len() as u8].into_iter().chain(numbers)
    });
    bytes.collect()
}

fn record(subtype: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(TABLE_DUMP_V2.to_be_bytes());
    bytes.extend(subtype.to_be_bytes());
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    [&[flags, code, value.len() as u8], value].concat()
}

/// Announces a table to the router as the neighbor WEST.
pub fn announce(topology: &Topology, table: &[Route]) {
    let (lab, far) = (&topology.lab, topology.far());
    let (address, asn) = (WEST.local, WEST.asn);
    let mut config = format!(
        "[global.config]\nas = {asn}\nrouter-id = \"{address}\"\nport = -1\n\
         [[neighbors]]\n[neighbors.config]\nneighbor-address = \"{HERE}\"\npeer-as = {HOME}\n\
         [neighbors.transport.config]\nlocal-address = \"{address}\"\n\
         [neighbors.timers.config]\nconnect-retry = 1\nidle-hold-time-after-reset = 1\n",
    );
    for family in ["ipv4", "ipv6"] {
        config += &format!(
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\n\
             afi-safi-name = \"{family}-unicast\"\n"
        );
    }
    let config = lab.file("feeder.toml", &config).display().to_string();
    let arguments = ["-f", &config, "--api-hosts", "127.0.0.1:50051"];
    lab.spawn(far, "feeder.log", "gobgpd", &arguments);
    let answers = || {
        far.command("gobgp", &["neighbor"])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    assert!(wait_for(Duration::from_secs(20), answers), "gobgpd starts");
    let path = lab.path("table.mrt");
    std::fs::write(&path, file(table)).expect("a file");
    let path = path.display().to_string();
    let next_hop6 = WEST.next_hop.to_string();
    let next_hop4 = address.to_string();
    for (other, next_hop) in [("--no-ipv6", &next_hop4), ("--no-ipv4", &next_hop6)] {
        let arguments = [
            "mrt",
            "inject",
            "global",
            &path,
            other,
            "--nexthop",
            next_hop,
        ];
        run(&mut far.command("gobgp", &arguments));
    }
}
