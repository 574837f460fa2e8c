// SPDX-License-Identifier: AGPL-3.0-only
//! Bytes by AS path: they equal a calculation over all flows and the answers of `rfm rib`, to the byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path as FilePath;
use std::process::Command;
use std::time::Duration;

use serde_json::Value as Json;

use crate::common::agent::{Agent, EXACT};
use crate::common::lab::{run as run_command, wait_for};
use crate::common::metrics::Metrics;
use crate::common::mmdb;
use crate::communities;
use crate::daemon::Daemon;
use crate::mrt::{self, Random};
use crate::speaker::Path;
use crate::topology::{EAST, NOWHERE, NOWHERE6, Topology};

/// Routes of IPv4 beside those that are recorded.
const MADE: usize = 400;
const FLOWS: usize = 400;

/// Flows are complete soon after their last packet.
const COLLECTOR: &str =
    "[agent.collector]\npaths = true\neviction_timeout = \"1s\"\nactive_timeout = \"2s\"\n";

/// Announced by EAST: default routes, and networks that WEST announces too or not.
const EASTERN: [(&str, &[u32], &[u32]); 7] = [
    ("0.0.0.0/0", &[64503, 64599, 64598], &[]),
    ("::/0", &[64503, 64599], &[]),
    ("198.51.100.0/24", &[64503], &[]),
    ("203.0.113.0/24", &[64503, 64503, 64510, 64510], &[]),
    ("192.0.2.0/24", &[64503], &[64530, 64531]),
    ("2001:db8:1::/48", &[64503, 64503, 64520, 64503], &[]),
    ("2001:db8:2::/48", &[64503, 64510, 64520], &[64533, 64530]),
];
const EASTERN_ADDRESSES: [&str; 7] = [
    "9.9.9.9",
    "2c00::1",
    "198.51.100.7",
    "203.0.113.7",
    "192.0.2.7",
    "2001:db8:1::7",
    "2001:db8:2::7",
];

/// Names of ASes on the paths of EAST.
const NAMES: [(u32, &str); 3] = [
    (64503, "Eastern Neighbor"),
    (64510, "Middle Carrier"),
    (64520, "Far Network"),
];

/// Bytes and packets: at ingress, then at egress.
pub type Sums = [u64; 4];

/// A path without repetitions, each place with its ASes; and the origin, 0 if it is unknown.
type Key = (Vec<Vec<u32>>, u32);

pub fn run(daemon: &dyn Daemon) {
    let topology = Topology::new(daemon);
    let socket = topology.lab.path("rfm.sock");
    let database = database(&topology);
    let sections = format!("{EXACT}{COLLECTOR}{database}{}", communities::SECTION);
    let agent = topology.agent_with(&sections, &socket);
    let _router = topology.start(daemon);
    topology.wait_for_session(&agent, Duration::from_secs(15));

    let mut random = Random(64512);
    let table = mrt::table(&mut random, MADE);
    let mut east = topology.speaker(EAST);
    topology.change(|| {
        mrt::announce(&topology, &table);
        for (prefix, sequence, set) in EASTERN {
            east.announce(prefix, Path::new(sequence, set));
        }
        east.end_of_rib();
    });
    let western = table
        .iter()
        .map(|route| format!("{}/{}", route.address, route.length));
    let eastern = EASTERN.iter().map(|(prefix, ..)| (*prefix).to_owned());
    let prefixes = western.chain(eastern).collect::<BTreeSet<_>>().len() as u64;
    let (metrics, all) = agent.scrape_until(Duration::from_secs(60), |m| {
        m.sum("rfm_rib_prefixes", &[]) == prefixes
    });
    let held = metrics.sum("rfm_rib_prefixes", &[]);
    assert!(
        all,
        "{held} of {prefixes} prefixes\n{}",
        topology.daemon_log()
    );
    topology.settle();

    // the flows, and what each adds to the path of its ends
    let mut addresses: Vec<IpAddr> = table.iter().map(|route| route.address).collect();
    addresses.extend(EASTERN_ADDRESSES.map(|a| a.parse::<IpAddr>().expect("an address")));
    addresses.extend([NOWHERE, NOWHERE6]);
    let mut sent: BTreeMap<IpAddr, Sums> = BTreeMap::new();
    topology.measure(&agent, |topology| {
        let mut total = 0;
        for n in 0..FLOWS {
            let src = addresses[random.below(addresses.len())];
            // the last addresses are those of EAST, and without a route
            let from = if n % 4 == 0 { addresses.len() - 9 } else { 0 };
            let mut dst = src;
            while dst == src || dst.is_ipv4() != src.is_ipv4() {
                dst = addresses[from + random.below(addresses.len() - from)];
            }
            let count = 1 + random.below(4) as u64;
            let bytes = topology.send((src, dst), random.below(1000), count) * count;
            for (address, at) in [(src, 0), (dst, 2)] {
                let sums = sent.entry(address).or_default();
                sums[at] += bytes;
                sums[at + 1] += count;
            }
            total += 2 * count;
        }
        total
    });

    let (mut expected, mut without) = (BTreeMap::<Key, Sums>::new(), Sums::default());
    for (address, sums) in &sent {
        match path_by_rib(&socket, *address) {
            Some(key) => add(expected.entry(key).or_default(), sums),
            None => add(&mut without, sums),
        }
    }
    assert!(expected.len() > 200, "{} paths", expected.len());

    // all flows are complete: the sums are those of the series
    let mut reply = Json::Null;
    let complete = wait_for(Duration::from_secs(30), || {
        reply = get(&socket, "paths?limit=1000");
        let metrics = agent.scrape();
        let of = |direction| metrics.sum("rfm_flow_bytes_total", &[("direction", direction)]);
        let total = sums_of(&reply["total"]);
        [total[0], total[2]] == ["ingress", "egress"].map(of)
    });
    assert!(complete, "{reply}");

    let listed = reply["paths"].as_array().expect("a list").iter();
    let listed: BTreeMap<(String, u64), Sums> = listed
        .map(|entry| {
            let path = entry["path"].as_str().expect("a text").to_owned();
            let origin = entry["origin_asn"].as_u64().unwrap_or(0);
            ((path, origin), sums_of(entry))
        })
        .collect();
    let wanted: BTreeMap<_, _> = expected
        .iter()
        .map(|((path, origin), sums)| ((text(path), u64::from(*origin)), *sums))
        .collect();
    assert_eq!(listed, wanted, "differences by path");
    assert_eq!(sums_of(&reply["rest"]), Sums::default());
    // neighbor discovery has no route either
    let unknown = sums_of(&reply["unknown"]);
    assert!(
        (0..4).all(|i| unknown[i] >= without[i]),
        "{unknown:?} {without:?}"
    );

    let metrics = agent.scrape();
    check_series(&metrics, &expected);
    communities::check(&metrics, &socket, &sent);
    check_page(&agent, &expected);
    let asns: BTreeSet<u32> = expected
        .keys()
        .flat_map(|key| key.0.iter().flatten())
        .copied()
        .collect();
    for asn in &asns {
        compare(&socket, &expected, *asn);
    }
    check_commands(&socket);

    // a change of routes changes no count
    topology.change(|| {
        for (prefix, _, _) in EASTERN {
            east.withdraw(prefix);
        }
    });
    let after = get(&socket, "paths?limit=1000");
    assert_eq!(after["paths"], reply["paths"]);
    agent.stop();
}

/// An ASN database with the names, which has no network of a route. Returns the section of the configuration.
fn database(topology: &Topology) -> String {
    let mut writer = mmdb::Writer::new(4, 24, 1_700_000_000).with_type("ASN");
    for (at, (asn, name)) in NAMES.into_iter().enumerate() {
        writer.insert(&format!("100.64.{at}.0/24"), &mmdb::asn(asn, name));
    }
    let path = topology.lab.path("asn.mmdb");
    std::fs::write(&path, writer.finish()).expect("a file");
    format!("[agent.enrich.mmdb]\nasn_db = {path:?}\n")
}

/// The series of ASes on the path are sums over the expected paths, and there is no other.
fn check_series(metrics: &Metrics, expected: &BTreeMap<Key, Sums>) {
    let mut wanted = BTreeMap::<(u32, usize), Sums>::new();
    for ((path, origin), sums) in expected {
        let mut seen = BTreeSet::new();
        for (at, asns) in path.iter().enumerate() {
            for asn in asns {
                if asn != origin && seen.insert(*asn) {
                    add(wanted.entry((*asn, at + 1)).or_default(), sums);
                }
            }
        }
    }
    const NAME: &str = "rfm_transit_bytes_total";
    for ((asn, position), sums) in &wanted {
        let (asn, position) = (asn.to_string(), position.to_string());
        for (direction, bytes) in [("ingress", sums[0]), ("egress", sums[2])] {
            let labels = [
                ("asn", &*asn),
                ("position", &*position),
                ("direction", direction),
            ];
            assert_eq!(metrics.sum(NAME, &labels), bytes, "{labels:?}");
        }
    }
    let all: u64 = wanted.values().map(|sums| sums[0] + sums[2]).sum();
    assert_eq!(metrics.sum(NAME, &[]), all);
}

/// The page shows the networks that carry most, and those that originate most.
fn check_page(agent: &Agent, expected: &BTreeMap<Key, Sums>) {
    let (mut carried, mut originated) = (BTreeMap::<u32, Sums>::new(), BTreeMap::new());
    for ((path, origin), sums) in expected {
        let asns: BTreeSet<u32> = path.iter().flatten().copied().collect();
        for asn in asns.into_iter().filter(|asn| asn != origin) {
            add(carried.entry(asn).or_default(), sums);
        }
        if *origin > 0 {
            add(originated.entry(*origin).or_default(), sums);
        }
    }
    let all = carried.keys().chain(originated.keys());
    let all = all.collect::<BTreeSet<_>>().len();
    let bytes = |of: &BTreeMap<u32, Sums>, asn: u32| {
        let sums = of.get(&asn).copied().unwrap_or_default();
        serde_json::json!([sums[0], sums[2]])
    };
    // the page reads the paths every 30 s
    let mut table = Json::Null;
    let shown = wait_for(Duration::from_secs(60), || {
        let reply = agent.get("/page/v1.json").expect("a page");
        let view: Json = serde_json::from_str(&reply.body).expect("JSON");
        table = view["paths"].clone();
        let rows = table["networks"].as_array().expect("a list");
        let is_right = |row: &Json| {
            let asn = row[0].as_u64().expect("an AS") as u32;
            row[1] == bytes(&carried, asn) && row[2] == bytes(&originated, asn)
        };
        rows.len() >= 20 && table["networks_total"] == all && rows.iter().all(is_right)
    });
    assert!(shown, "{all} networks: {table}");
}

/// Compares the answers about one AS with sums over the expected paths.
fn compare(socket: &FilePath, expected: &BTreeMap<Key, Sums>, asn: u32) {
    let sum = |matches: &dyn Fn(&Key) -> bool| {
        let mut sums = Sums::default();
        let matching = expected.iter().filter(|(key, _)| matches(key));
        matching.for_each(|(_, more)| add(&mut sums, more));
        sums
    };
    let of = |query: &str| sums_of(&get(socket, query)["matched"]);
    let place = |key: &Key| key.0.iter().position(|asns| asns.contains(&asn));
    let via = sum(&|key| place(key).is_some());
    assert_eq!(of(&format!("paths?via={asn}")), via, "via {asn}");
    assert_eq!(
        of(&format!("paths?origin={asn}")),
        sum(&|key| key.1 == asn),
        "origin {asn}"
    );
    assert_eq!(
        of(&format!("paths?peer={asn}")),
        sum(&|key| place(key) == Some(0)),
        "peer {asn}"
    );
    let history = get(socket, &format!("paths?via={asn}&history=true"));
    let mut all = Sums::default();
    let intervals = history["history"].as_array().expect("a list");
    intervals
        .iter()
        .for_each(|interval| add(&mut all, &sums_of(interval)));
    assert_eq!(all, via, "the history of {asn}");

    let what_if = get(socket, &format!("paths/what_if?asn={asn}"));
    let behind = |key: &Key| place(key).is_some_and(|place| place > 0);
    let bytes = |loads: &Json| {
        ["ingress", "egress"].map(|way| loads[way]["bytes"].as_u64().expect("a number"))
    };
    let wanted = |neighbor: Option<u32>, alone: bool| {
        let is_first = |key: &Key| neighbor.is_none_or(|n| key.0[0] == [n]);
        let sums = sum(&|key| behind(key) && is_first(key) && (!alone || key.1 == asn));
        [sums[0], sums[2]]
    };
    let total = &what_if["total"];
    assert_eq!(
        bytes(&total["with_cone"]),
        wanted(None, false),
        "behind {asn}"
    );
    assert_eq!(
        bytes(&total["without_cone"]),
        wanted(None, true),
        "{asn} alone"
    );
    // all traffic is of the last hour
    let hours = |loads: &Json| {
        ["ingress", "egress"].map(|way| loads[way]["peak_hour"]["bytes"].as_u64().unwrap_or(0))
    };
    assert_eq!(hours(&total["with_cone"]), wanted(None, false), "{asn}");
    assert_eq!(hours(&total["without_cone"]), wanted(None, true), "{asn}");
    for neighbor in what_if["neighbors"].as_array().expect("a list") {
        let first = neighbor["peer_asn"].as_u64().expect("an AS") as u32;
        let [with, alone] = [false, true].map(|alone| wanted(Some(first), alone));
        assert_eq!(bytes(&neighbor["with_cone"]), with, "{asn} behind {first}");
        assert_eq!(
            bytes(&neighbor["without_cone"]),
            alone,
            "{asn} behind {first}"
        );
    }
    let cone = expected.keys().filter(|key| behind(key)).flat_map(|key| {
        let place = place(key).expect("it is behind");
        key.0[place + 1..].iter().flatten()
    });
    let cone: BTreeSet<u64> = cone
        .filter(|other| **other != asn)
        .map(|asn| u64::from(*asn))
        .collect();
    let shown = what_if["cone"].as_array().expect("a list").iter();
    assert_eq!(
        shown.filter_map(Json::as_u64).collect::<BTreeSet<_>>(),
        cone
    );
}

/// The commands print what the socket replies.
fn check_commands(socket: &FilePath) {
    let rfm = |arguments: &[&str]| {
        let socket = ["--socket", socket.to_str().expect("UTF-8")];
        run_command(
            Command::new(env!("CARGO_BIN_EXE_rfm"))
                .args(arguments)
                .args(socket),
        )
    };
    let text = rfm(&["paths", "--via", "64510", "--history"]);
    for line in [
        "64503 64510 ",
        "64503 64510 64520 {64530,64533} (origin unknown)",
        "INTERVAL",
        "all traffic",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line}:\n{text}");
    }
    for (asn, name) in NAMES {
        assert!(text.contains(&format!("AS{asn} {name}")), "{name}:\n{text}");
    }
    let text = rfm(&["paths", "--what-if", "AS64510"]);
    for part in [
        "AS64503 Eastern Neighbor  AS64510 and behind",
        "64520, 64530, 64533",
        "AS64520 Far Network",
        "upper bound",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let text = rfm(&["lookup", "203.0.113.7"]);
    let row = text.lines().find(|l| l.starts_with("peer_asn_name "));
    let is_named = row.is_some_and(|row| row.contains(" Eastern Neighbor "));
    assert!(is_named, "{text}");
}

/// The path that `rfm rib` shows for the best route, without repetitions.
fn path_by_rib(socket: &FilePath, address: IpAddr) -> Option<Key> {
    let reply = get(socket, &format!("rib?address={address}"));
    let best = reply["routes"]
        .as_array()?
        .iter()
        .find(|route| route["best"] == true)?;
    let path = best["as_path"].as_str().expect("a text");
    let mut places: Vec<Vec<u32>> = path
        .split_whitespace()
        .map(|place| {
            let asns = place.trim_matches(['{', '}']).split(',');
            let asns: BTreeSet<u32> = asns.map(|asn| asn.parse().expect("an AS")).collect();
            asns.into_iter().collect()
        })
        .collect();
    places.dedup();
    let length = best["prefix"]
        .as_str()?
        .rsplit('/')
        .next()?
        .parse::<u8>()
        .ok()?;
    if length < 8 {
        places.truncate(1);
    }
    let origin = match places.last().map(|last| &last[..]) {
        Some([origin]) if length >= 8 => *origin,
        _ => 0,
    };
    Some((places, origin))
}

fn text(path: &[Vec<u32>]) -> String {
    let places = path.iter().map(|asns| match &asns[..] {
        [asn] => asn.to_string(),
        set => {
            let asns: Vec<_> = set.iter().map(u32::to_string).collect();
            format!("{{{}}}", asns.join(","))
        }
    });
    places.collect::<Vec<_>>().join(" ")
}

pub fn add(sums: &mut Sums, more: &Sums) {
    sums.iter_mut()
        .zip(more)
        .for_each(|(sum, more)| *sum += more);
}

fn sums_of(sums: &Json) -> Sums {
    let of = |way: &str, what: &str| sums[way][what].as_u64().expect("a number");
    [
        of("ingress", "bytes"),
        of("ingress", "packets"),
        of("egress", "bytes"),
        of("egress", "packets"),
    ]
}

pub fn get(socket: &FilePath, path: &str) -> Json {
    let mut stream = UnixStream::connect(socket).expect("the socket");
    let request = format!("GET /v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {reply}");
    serde_json::from_str(body).expect("JSON")
}
