// SPDX-License-Identifier: AGPL-3.0-only
//! Measures records per second and bytes per flow of the flow table, without and with the rollup behind it.
//!
//! `make bench PART=table`. Each figure is the median of three runs, with the least and the
//! greatest, each in its own process. Bytes are the total growth of resident memory over a run.
//! The baseline is the standard library's hash map from key to the same record, which
//! neither ages nor evicts. One run by itself: `-- NAME FLOWS`.

mod common;

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;
use std::{env, fs};

use common::machine::thread_time;
use common::report::{Cell, Report, Table, rounds};
use common::stats::Figure;
use rfm::enrich::neighbors::{Neighbor, NeighborMap, NeighborTable, PeerAs};
use rfm::flow::conversations::{ConversationCounters, ConversationSettings};
use rfm::flow::labels::SetId;
use rfm::flow::paths::{INTERVAL, MAX_ENTRIES, MAX_INTERVALS, PathCounters, PathVolume};
use rfm::flow::peers::{MAX_PEERS, Peer, PeerCounters, PeerNames};
use rfm::flow::rollup::{self, Rollup};
use rfm::flow::table::{CompletedRecord, FlowObserver, FlowTable, TableLimits};
use rfm::flow::volume::Volume;
use rfm::types::address_detail::AddressDetail;
use rfm::types::flow::{Direction, Family, FlowKey, FlowRecord};
use rfm::types::label::{Endpoint, Enrichment, Labels};
use rfm::types::mac::MacAddress;
use rfm::types::network_path::NetworkPath;

const RUNS: usize = 3;
const FEW: u64 = 1 << 16;
const MANY: u64 = 1_000_000;

/// Design targets: millions of records a second, and bytes of a flow, at the smaller number of flows.
const TARGET_RATE: f64 = 5.0;
const TARGET_BYTES: f64 = 160.0;
/// Of the bytes by neighbor: 2,500 neighbors in 1 MB.
const TARGET_PEER_NS: f64 = 200.0;
const TARGET_PEER_BYTES: f64 = 400.0;
/// Of the bytes by AS path.
const TARGET_PATH_NS: f64 = 200.0;
const TARGET_PATH_MB: f64 = 8.0;
/// Of the conversations and services for the history on disk.
const TARGET_CONVERSATION_NS: f64 = 50.0;
const ASNS: u32 = 4096;
/// One in this number of records belongs to a new flow.
const CHURN: u64 = 50;

/// Does no accounting.
struct Nobody;

impl FlowObserver for Nobody {
    fn generation(&self) -> u32 {
        0
    }
    fn started(&mut self, _: &FlowRecord) -> SetId {
        SetId(0)
    }
    fn relabelled(&mut self, set: SetId, _: &FlowRecord) -> SetId {
        set
    }
    fn updated(&mut self, _: SetId, record: &FlowRecord) {
        black_box(record.frame_bytes);
    }
    fn exported(&mut self, _: SetId, part: &CompletedRecord) {
        black_box(part.record.frame_bytes);
    }
    fn ended(&mut self, _: SetId) {}
}

/// The rollup, with an ASN for each source.
struct Accounting {
    rollup: Rollup,
    /// Bytes by AS path, and the paths of the sources.
    paths: Option<(PathCounters, Vec<NetworkPath>)>,
}

impl FlowObserver for Accounting {
    fn generation(&self) -> u32 {
        0
    }
    fn started(&mut self, record: &FlowRecord) -> SetId {
        let key = &record.key;
        let asn = 1 + u32::from(key.src_port) % ASNS;
        let src = Endpoint {
            asn,
            ..Endpoint::default()
        };
        let dst = Endpoint::default();
        self.rollup.open(
            key,
            "eth0",
            &Enrichment {
                src,
                dst,
                peer_asn: 0,
            },
        )
    }
    fn relabelled(&mut self, set: SetId, _: &FlowRecord) -> SetId {
        set
    }
    fn updated(&mut self, set: SetId, record: &FlowRecord) {
        self.rollup.count(set, record.into());
    }
    fn exported(&mut self, set: SetId, part: &CompletedRecord) {
        self.rollup.remove_live(set, Volume::from(&part.record));
        if let Some((counters, paths)) = &mut self.paths {
            let record = &part.record;
            let path = &paths[usize::from(record.key.src_port) % paths.len()];
            let volume = PathVolume {
                bytes: record.frame_bytes,
                packets: record.packets,
            };
            counters.count(0, record.key.direction, path.path(), volume);
        }
    }
    fn ended(&mut self, set: SetId) {
        self.rollup.close(set);
    }
}

/// Returns a path of five ASes, another for each number.
fn path(n: u32) -> NetworkPath {
    let mut path = NetworkPath::default();
    path.push_sequence(
        [
            3320 + n % 8,
            1299 + n % 64,
            64_000 + n,
            200_000 + n,
            400_000 + n,
        ]
        .into_iter(),
    );
    path.set_origin(400_000 + n);
    path
}

/// Returns the rollup; with `paths`, as many AS paths are counted too.
fn accounting_of(paths: u32) -> Accounting {
    let counters = || PathCounters::new(SystemTime::now(), 100);
    Accounting {
        paths: (paths > 0).then(|| (counters(), (0..paths).map(path).collect())),
        ..accounting()
    }
}

fn accounting() -> Accounting {
    let limits = rollup::RollupLimits {
        max_series: 10_000,
        series_ttl_ms: 3_600_000,
    };
    Accounting {
        rollup: Rollup::new(Labels::default(), limits),
        paths: None,
    }
}

fn record(n: u64) -> FlowRecord {
    let mut src = [0; 16];
    src[..8].copy_from_slice(&n.to_be_bytes());
    FlowRecord {
        key: FlowKey {
            src,
            dst: [7; 16],
            ifindex: 2,
            src_port: n as u16,
            dst_port: 443,
            vlan_outer: 0,
            vlan_inner: 0,
            protocol: 6,
            direction: Direction::Ingress,
            family: Family::Ipv6,
        },
        packets: 3,
        frame_bytes: 1800,
        ip_bytes: 1758,
        first: 1,
        last: 2,
        sample_rate: 1,
        ingress_ifindex: 0,
        src_mac: [2; 6],
        dst_mac: [4; 6],
        tcp_flags: 0x10,
        tos: 0,
        weights: Default::default(),
    }
}

/// Records of `flows` flows in random order; with `churn`, a constant share of them belongs to new flows.
struct Stream {
    state: u64,
    flows: u64,
    fresh: u64,
    churn: bool,
    count: u64,
}

impl Stream {
    fn new(flows: u64, churn: bool) -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
            flows,
            fresh: flows,
            churn,
            count: 0,
        }
    }

    fn batch(&mut self, out: &mut Vec<FlowRecord>) {
        out.clear();
        for _ in 0..1024 {
            // xorshift64
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.count += 1;
            let fresh = self.churn && self.count.is_multiple_of(CHURN);
            self.fresh += u64::from(fresh);
            // The current flows are the `flows` newest ones.
            let back = if fresh { 0 } else { self.state % self.flows };
            out.push(record(self.fresh - back));
        }
    }
}

fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("procfs is mounted");
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|f| f.parse().ok());
    pages.expect("statm has a second field") * 4096
}

fn table(flows: u64) -> FlowTable {
    FlowTable::new(TableLimits {
        max_flows: flows as usize,
        idle_timeout_ms: 30_000,
        active_timeout_ms: 60_000,
        tcp_close_delay_ms: None,
        spread: false,
    })
}

/// Returns CPU nanoseconds for each record of `total`, without the creation of the records.
fn time(stream: &mut Stream, total: u64, mut apply: impl FnMut(&[FlowRecord], u64)) -> f64 {
    let (mut batch, mut spent, mut done) = (Vec::new(), 0, 0);
    while done < total {
        stream.batch(&mut batch);
        let start = thread_time();
        // One record for each 200 ns of the table's time.
        apply(&batch, stream.count / 5_000);
        spent += (thread_time() - start).as_nanos();
        done += batch.len() as u64;
    }
    spent as f64 / done as f64
}

/// The results of a run: nanoseconds a record, bytes a flow.
type Figures = (f64, u64);

fn run_table(flows: u64, churn: bool, mut observer: impl FlowObserver) -> Figures {
    let before = resident();
    let mut table = table(flows);
    for n in 1..=flows {
        table.update(&record(n), 0, &mut observer);
    }
    let mut stream = Stream::new(flows, churn);
    let ns = time(&mut stream, 2 * flows.max(1 << 20), |batch, now| {
        for record in batch {
            table.update(record, now, &mut observer);
        }
        table.expire(now, 4096, &mut observer);
    });
    (ns, (resident() - before) / flows)
}

fn run_map(flows: u64) -> Figures {
    let before = resident();
    let mut map: HashMap<FlowKey, FlowRecord> = HashMap::new();
    for n in 1..=flows {
        map.insert(record(n).key, record(n));
    }
    let mut stream = Stream::new(flows, false);
    let ns = time(&mut stream, 2 * flows.max(1 << 20), |batch, _| {
        for record in batch {
            let entry = map.entry(record.key).or_insert(*record);
            entry.packets += record.packets;
            entry.frame_bytes += record.frame_bytes;
            entry.last = record.last;
        }
    });
    (ns, (resident() - before) / flows)
}

/// Looks up neighbors in a map, as the agent does when a name may have changed.
struct Neighbors(NeighborMap);

impl PeerNames for Neighbors {
    fn ifname(&self, _: u32) -> Arc<str> {
        "ix0".into()
    }
    fn peer(&self, ifindex: u32, mac: MacAddress) -> Peer {
        let neighbor = self.0.get(ifindex, mac);
        neighbor.map_or_else(Peer::default, |neighbor| Peer {
            asn: neighbor.asn_for(|| None),
            name: neighbor.name.clone(),
            known: true,
        })
    }
}

fn mac(n: u64) -> MacAddress {
    let [.., a, b] = n.to_be_bytes();
    MacAddress([2, 0, 0, 0, a, b])
}

/// Counts the records of random neighbors, each with an IPv4, an IPv6 and a link-local address.
fn run_peers(neighbors: u64) -> Figures {
    const FEW_NEIGHBORS: u64 = 16;
    if neighbors > FEW_NEIGHBORS {
        // the code is resident before the tables are measured
        black_box(run_peers(FEW_NEIGHBORS));
    }
    let before = resident();
    let mut table = NeighborTable::default();
    let addresses = |n: u64| -> [IpAddr; 3] {
        let [.., a, b] = n.to_be_bytes();
        let six = |first| Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, n as u16).into();
        [[10, 0, a, b].into(), six(0xfd00), six(0xfe80)]
    };
    for n in 0..neighbors {
        for address in addresses(n) {
            table.update(2, address, Some(mac(n)), 0);
        }
    }
    let neighbor = |n| Neighbor {
        asn: PeerAs::One(64500 + n as u32),
        name: format!("Member {n}").into(),
        addresses: addresses(n)[..2].into(),
    };
    let map = NeighborMap::of((0..neighbors).map(|n| ((2, mac(n)), neighbor(n))));
    let (names, mut counters) = (Neighbors(map), PeerCounters::default());
    let mut stream = Stream::new(neighbors, false);
    let mut apply = |batch: &[FlowRecord], now: u64| {
        for record in batch {
            let mut record = *record;
            record.src_mac = mac(u64::from(record.key.src_port)).0;
            counters.count(&record, now, 0, &names);
        }
    };
    let ns = time(&mut stream, 1 << 22, &mut apply);
    let bytes = (resident() - before) / neighbors;
    black_box((&table, &names));
    (ns, bytes)
}

/// Counts a day of `intervals` with as many new paths in each as have room: nanoseconds a record, and all bytes.
fn run_paths(intervals: u64) -> Figures {
    const MS: u64 = 1000;
    let before = resident();
    let mut counters = PathCounters::new(SystemTime::now(), 1000);
    let (mut spent, mut records) = (0, 0);
    for interval in 0..intervals {
        let first = interval as u32 * MAX_ENTRIES as u32;
        let paths: Vec<_> = (first..first + MAX_ENTRIES as u32).map(path).collect();
        let start = thread_time();
        for round in 0..4 {
            for path in &paths {
                let volume = PathVolume {
                    bytes: 1_000_000_000 + round,
                    packets: 1_000_000,
                };
                counters.count(
                    interval * INTERVAL * MS,
                    Direction::Egress,
                    path.path(),
                    volume,
                );
            }
        }
        spent += (thread_time() - start).as_nanos();
        records += 4 * paths.len();
    }
    black_box(&counters);
    (spent as f64 / records as f64, resident() - before)
}

/// Counts the records of random flows as conversations and services.
fn run_conversations(flows: u64, churn: bool) -> Figures {
    let before = resident();
    let mut counters = ConversationCounters::new(&ConversationSettings {
        addresses: AddressDetail::Full,
        billed: Vec::new(),
    });
    let mut stream = Stream::new(flows, churn);
    let mut apply = |batch: &[FlowRecord], now: u64| {
        black_box(counters.advance(now, || now, |_| None));
        for record in batch {
            counters.count(record, None, |_| true);
        }
    };
    let ns = time(&mut stream, 1 << 22, &mut apply);
    (ns, resident() - before)
}

fn run(name: &str, flows: u64) -> Option<Figures> {
    Some(match name {
        "std-hashmap" => run_map(flows),
        "table" => run_table(flows, false, Nobody),
        "table-churn" => run_table(flows, true, Nobody),
        "rollup" => run_table(flows, false, accounting()),
        "peers" => run_peers(flows),
        "paths" => run_paths(flows),
        "conversations" => run_conversations(flows, false),
        "conversations-churn" => run_conversations(flows, true),
        "rollup-paths" => run_table(flows, true, accounting_of(4 * MAX_ENTRIES as u32)),
        "rollup-churn" => run_table(flows, true, accounting()),
        _ => return None,
    })
}

/// Starts this program for one run, so that no run uses memory that another run left.
fn run_apart(name: &str, flows: u64) -> Result<Figures, Box<dyn Error>> {
    let output = Command::new(env::current_exe()?)
        .args([name, &flows.to_string()])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let (ns, bytes) = text.trim().split_once(' ').ok_or("two figures expected")?;
    Ok((ns.parse()?, bytes.parse()?))
}

/// The names of the runs on the command line, and their descriptions.
const WHAT: [(&str, &str); 6] = [
    ("std-hashmap", "baseline: std HashMap"),
    ("table", "table"),
    ("table-churn", "table, one in 50 a new flow"),
    ("rollup", "table and rollup, 4,096 ASNs"),
    ("rollup-churn", "the same, one in 50 a new flow"),
    ("rollup-paths", "the same, and 4,096 AS paths"),
];

/// Returns the table of figures for a number of flows.
fn measure(flows: u64) -> Result<Table, Box<dyn Error>> {
    let columns = [
        "",
        "M records/s",
        "×",
        "target",
        "bytes a flow",
        "×",
        "target",
    ];
    let text = "Records of random flows into the flow table, on one thread; bytes are the growth \
                of resident memory in a separate process. × is in units of the baseline, which neither ages \
                nor evicts.";
    let title = format!("Flow table, {flows} flows");
    let mut table = Table::new(&title, if flows == FEW { text } else { "" }, &columns);
    let mut baseline = None;
    for (name, what) in WHAT {
        let runs: Result<Vec<Figures>, _> =
            (0..rounds(RUNS)).map(|_| run_apart(name, flows)).collect();
        let runs = runs?;
        let rates: Vec<f64> = runs.iter().map(|(ns, _)| 1e3 / ns).collect();
        let bytes: Vec<f64> = runs.iter().map(|(_, bytes)| *bytes as f64).collect();
        let (rate, bytes) = (Figure::of(&rates), Figure::of(&bytes));
        let (base_rate, base_bytes) = *baseline.get_or_insert((rate.median, bytes.median));
        let target = |cell| match name == "table" && flows == FEW {
            true => cell,
            false => Cell::Nothing,
        };
        table.row(
            what,
            [
                Cell::figure(rate, 2),
                Cell::ratio(rate.median, base_rate),
                target(Cell::at_least(rate.median, TARGET_RATE, "M/s")),
                Cell::figure(bytes, 0),
                Cell::ratio(bytes.median, base_bytes),
                target(Cell::at_most(bytes.median, TARGET_BYTES, "B")),
            ],
        );
    }
    Ok(table)
}

/// Returns the figures of the bytes by neighbor.
fn measure_peers() -> Result<Table, Box<dyn Error>> {
    let columns = ["", "ns a record", "target", "bytes a neighbor", "target"];
    let text = "Records of random neighbors into the counters of their MAC addresses; bytes include the \
                neighbor table with three addresses each, and the map to the ASes with two.";
    let mut table = Table::new("Bytes by neighbor, 2,500 neighbors", text, &columns);
    let runs: Result<Vec<Figures>, _> = (0..rounds(RUNS))
        .map(|_| run_apart("peers", MAX_PEERS as u64))
        .collect();
    let runs = runs?;
    let ns: Vec<f64> = runs.iter().map(|(ns, _)| *ns).collect();
    let bytes: Vec<f64> = runs.iter().map(|(_, bytes)| *bytes as f64).collect();
    let (ns, bytes) = (Figure::of(&ns), Figure::of(&bytes));
    table.row(
        "rfm",
        [
            Cell::figure(ns, 0),
            Cell::at_most(ns.median, TARGET_PEER_NS, "ns"),
            Cell::figure(bytes, 0),
            Cell::at_most(bytes.median, TARGET_PEER_BYTES, "B"),
        ],
    );
    Ok(table)
}

/// Returns the figures of the bytes by AS path.
fn measure_paths() -> Result<Table, Box<dyn Error>> {
    let columns = ["", "ns a record", "target", "MB", "target"];
    let text = "A day of 288 intervals, each with 1,024 new paths, and 1,000 series: the most memory that the counts take.";
    let mut table = Table::new("Bytes by AS path", text, &columns);
    let runs: Result<Vec<Figures>, _> = (0..rounds(RUNS))
        .map(|_| run_apart("paths", MAX_INTERVALS as u64))
        .collect();
    let runs = runs?;
    let ns: Vec<f64> = runs.iter().map(|(ns, _)| *ns).collect();
    let megabytes: Vec<f64> = runs.iter().map(|(_, bytes)| *bytes as f64 / 1e6).collect();
    let (ns, megabytes) = (Figure::of(&ns), Figure::of(&megabytes));
    table.row(
        "rfm",
        [
            Cell::figure(ns, 0),
            Cell::at_most(ns.median, TARGET_PATH_NS, "ns"),
            Cell::figure(megabytes, 1),
            Cell::at_most(megabytes.median, TARGET_PATH_MB, "MB"),
        ],
    );
    Ok(table)
}

/// Returns the figures of the conversations and services for the history on disk.
fn measure_conversations() -> Result<Table, Box<dyn Error>> {
    let columns = ["", "ns a record", "target", "MB"];
    let text = "Records of random flows into the 8,192 counters of conversations and services, with whole addresses. \
                Without a history nothing is counted. More conversations than counters evict each other.";
    let mut table = Table::new("Conversations for the history", text, &columns);
    for (name, conversations, what) in [
        ("conversations", 1_000, "1,000 conversations"),
        ("conversations", 6_000, "6,000 conversations"),
        (
            "conversations-churn",
            1_000,
            "1,000 conversations, one in 50 records a new one",
        ),
        ("conversations", FEW, "65,536 conversations of equal size"),
    ] {
        let runs = (0..rounds(RUNS)).map(|_| run_apart(name, conversations));
        let runs: Vec<Figures> = runs.collect::<Result<_, _>>()?;
        let ns: Vec<f64> = runs.iter().map(|(ns, _)| *ns).collect();
        let megabytes: Vec<f64> = runs.iter().map(|(_, bytes)| *bytes as f64 / 1e6).collect();
        let ns = Figure::of(&ns);
        table.row(
            what,
            [
                Cell::figure(ns, 0),
                match conversations == FEW {
                    true => Cell::Nothing,
                    false => Cell::at_most(ns.median, TARGET_CONVERSATION_NS, "ns"),
                },
                Cell::figure(Figure::of(&megabytes), 1),
            ],
        );
    }
    Ok(table)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [name, flows, ..] = &args[..]
        && let Ok(flows) = flows.parse()
        && let Some((ns, bytes)) = run(name, flows)
    {
        println!("{ns} {bytes}");
        return Ok(());
    }
    let mut report = Report::new("table");
    for flows in [FEW, MANY] {
        report.add(measure(flows)?);
    }
    report.add(measure_peers()?);
    report.add(measure_paths()?);
    report.add(measure_conversations()?);
    report.write()
}
