// SPDX-License-Identifier: AGPL-3.0-only
//! The replies of /v1/history and /v1/bill from a folder that the store wrote.

use std::sync::Arc;
use std::time::Duration;

use rfm::bill::Method;
use rfm::bill::current_month::percentiles;
use rfm::control::api::HistoryRow;
use rfm::control::{bill, history};
use rfm::page::stored::query::StoredQuery;
use rfm::page::stored::{StoredNames, answer};
use rfm::store::files::writer::{HistoryWriter, StoreSettings, StoreTime};
use rfm::store::group_sums::MAX_GROUPS;
use rfm::store::reader::HistoryReader;
use rfm::store::shared::SharedHistory;
use rfm::store::types::{
    ConversationList, ConversationRow, CurveFilter, HistoryInput, MinuteLists, MinuteRows, Part,
    PartRow, PrefixRow, ScopeRow, TimeSpan, TotalRow,
};
use rfm::types::address_detail::AddressDetail;
use rfm::types::flow::Direction;
use rfm::types::label::Endpoint;
use serde_json::Value;

/// 2026-11-02 00:00 UTC.
const START: u64 = 1_793_577_600;
const MINUTES: u64 = 20;

fn scope(interface: &str, direction: Direction, bytes: u64) -> ScopeRow {
    let part = |part, bytes| PartRow {
        part,
        bytes,
        max_rate: 5.0,
    };
    let total = |bytes| TotalRow {
        bytes,
        packets: bytes / 100,
        max_rate: 7.0,
    };
    ScopeRow {
        interface: interface.into(),
        direction,
        covered_ms: 60_000,
        totals: [total(bytes), total(bytes / 2), total(0)],
        parts: vec![
            part(Part::Network(64500), bytes),
            part(Part::Network(64501), bytes / 4),
            part(Part::Service(6, 443), bytes / 3),
            part(Part::Prefix("shop".into()), bytes / 5),
        ],
    }
}

fn conversation(source: [u8; 4], port: u16, bytes: u64) -> ConversationRow {
    ConversationRow {
        source: source.into(),
        destination: [198, 51, 100, 7].into(),
        protocol: 6,
        service_port: port,
        bytes,
        packets: bytes / 100,
    }
}

fn now(seconds: u64) -> StoreTime {
    StoreTime {
        wall: START + seconds,
        monotonic: Duration::from_secs(1000 + seconds),
    }
}

/// An empty store.
fn store(path: &std::path::Path) -> (Arc<SharedHistory>, HistoryWriter) {
    let shared = Arc::new(SharedHistory::new(path.to_owned()));
    let settings = StoreSettings {
        max_size: 96 << 20,
        sync_interval: Duration::from_secs(300),
    };
    let writer = HistoryWriter::new(shared.clone(), settings, now(0));
    (shared, writer)
}

/// Writes some minutes of two interfaces, of which the second one has a gap.
fn reader(path: &std::path::Path) -> HistoryReader {
    let (shared, mut writer) = store(path);
    for n in 0..MINUTES {
        let mut rows = vec![scope("eth0", Direction::Ingress, 60_000 + n)];
        rows.push(scope("eth0", Direction::Egress, 600));
        if !(5..10).contains(&n) {
            rows.push(scope("eth1", Direction::Ingress, 30_000));
        }
        let minute = START + n * 60;
        writer.add(HistoryInput::Minute(MinuteRows { minute, rows }));
        let list = ConversationList {
            interface: "eth0".into(),
            direction: Direction::Ingress,
            rows: vec![
                conversation([192, 0, 2, 1], 443, 20_000),
                conversation([192, 0, 2, 1], 80, 10_000),
                conversation([192, 0, 2, 2], 443, 5_000),
            ],
            rest: (50_000, 500),
        };
        let prefix = PrefixRow {
            name: "shop".into(),
            direction: Direction::Egress,
            covered_ms: 60_000,
            bytes: 7_500,
            packets: 10,
        };
        writer.add(HistoryInput::Lists(MinuteLists {
            minute,
            parts: Vec::new(),
            prefixes: vec![prefix],
            conversations: vec![list],
        }));
        writer.tick(now((n + 1) * 60));
    }
    writer.close(now(MINUTES * 60 + 1));
    HistoryReader::new(shared)
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("rfm-queries-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn rows(reader: &HistoryReader, query: &str) -> Vec<HistoryRow> {
    let query = format!("from={START}&to={}&{query}", START + MINUTES * 60);
    let query = history::query(Some(&query), START + 86_400).unwrap();
    let reply = history::history(reader, &query, AddressDetail::Full);
    assert_eq!((reply.from, reply.to), (START, START + MINUTES * 60));
    assert_eq!(reply.damaged_blocks, 0);
    reply.rows
}

/// Returns the sums of bytes of an interface and direction.
fn sum(rows: &[HistoryRow], interface: &str, direction: &str) -> u64 {
    let of = |row: &&HistoryRow| row.interface == interface && row.direction == direction;
    rows.iter().filter(of).map(|row| row.bytes).sum()
}

#[test]
fn rows_and_their_rest_add_up_to_the_interface() {
    let folder = Folder::new("rows");
    let reader = reader(&folder.0.join("history"));
    let eth0: u64 = (0..MINUTES).map(|n| 60_000 + n + (60_000 + n) / 2).sum();
    let totals = rows(&reader, "");
    let [out, received, eth1] = &totals[..] else {
        panic!("three interfaces and directions, got {totals:?}");
    };
    // in the order of names and directions
    let (received, out) = if out.direction == "ingress" {
        (out, received)
    } else {
        (received, out)
    };
    assert_eq!(
        (received.bytes, out.bytes, eth1.bytes),
        (eth0, 900 * MINUTES, 45_000 * 15)
    );
    let packets: u64 = (0..MINUTES)
        .map(|n| (60_000 + n) / 100 + (60_000 + n) / 2 / 100)
        .sum();
    assert_eq!(received.packets, Some(packets));
    assert_eq!(
        (received.covered_seconds, eth1.covered_seconds),
        (1200.0, 900.0)
    );
    for by in [
        "asn",
        "peer_asn",
        "country",
        "net",
        "service",
        "src",
        "src,dst,proto,port",
    ] {
        for limit in [1, 20] {
            let parts = rows(&reader, &format!("by={by}&limit={limit}"));
            assert_eq!(sum(&parts, "eth0", "ingress"), eth0, "{by}");
            assert_eq!(sum(&parts, "eth0", "egress"), 900 * MINUTES, "{by}");
            assert_eq!(sum(&parts, "eth1", "ingress"), 45_000 * 15, "{by}");
            assert_eq!(parts.iter().filter(|row| row.rest).count(), 3, "{by}");
        }
    }
    let networks = rows(&reader, "by=asn&interface=eth0&direction=ingress");
    assert_eq!(networks.len(), 3);
    assert_eq!(networks[0].values["asn"], 64500);
    let right = (0..MINUTES).map(|n| 60_000 + n).sum::<u64>() as f64;
    assert!((networks[0].bytes as f64 - right).abs() <= right / 1000.0);
    let prefixes = rows(&reader, "by=net&interface=eth0&direction=ingress");
    assert_eq!(prefixes[0].values["net"], "shop");
    let right = (0..MINUTES).map(|n| (60_000 + n) / 5).sum::<u64>() as f64;
    assert!((prefixes[0].bytes as f64 - right).abs() <= right / 1000.0);
    let sources = rows(&reader, "by=src&interface=eth0&direction=ingress");
    let shown: Vec<_> = sources
        .iter()
        .map(|row| (row.values.get("src").cloned(), row.bytes))
        .collect();
    assert_eq!(shown[0], (Some("192.0.2.1".into()), 30_000 * MINUTES));
    assert_eq!(shown[1], (Some("192.0.2.2".into()), 5_000 * MINUTES));
    assert_eq!(shown[2], (None, eth0 - 35_000 * MINUTES));
}

#[test]
fn conversations_are_selected_by_address() {
    let folder = Folder::new("addresses");
    let reader = reader(&folder.0.join("history"));
    let eth0: u64 = (0..MINUTES).map(|n| 60_000 + n + (60_000 + n) / 2).sum();
    // bytes a minute of the rows that are selected
    for (selection, expected) in [
        ("address=192.0.2.1", vec![20_000, 10_000]),
        ("src=192.0.2.2", vec![5_000]),
        ("src=192.0.2.0/30", vec![20_000, 10_000, 5_000]),
        (
            "address=198.51.100.7&src=192.0.2.2&dst=198.51.100.0/24",
            vec![5_000],
        ),
        ("dst=192.0.2.1", vec![]),
        ("address=2001:db8::/32", vec![]),
    ] {
        let found = rows(
            &reader,
            &format!("{selection}&interface=eth0&direction=ingress"),
        );
        let bytes: Vec<_> = found
            .iter()
            .filter(|row| !row.rest)
            .map(|row| row.bytes)
            .collect();
        let expected: Vec<_> = expected.into_iter().map(|bytes| bytes * MINUTES).collect();
        assert_eq!(bytes, expected, "{selection}");
        assert_eq!(sum(&found, "eth0", "ingress"), eth0, "{selection}");
        let by_port = rows(&reader, &format!("{selection}&by=port&direction=ingress"));
        assert_eq!(sum(&by_port, "eth0", "ingress"), eth0, "{selection}");
    }
    let refused = |query: &str| history::query(Some(query), START).unwrap_err();
    assert_eq!(
        refused("src=192.0.2.1&by=asn"),
        "by: expected some of src,dst,proto,port with a selection of addresses"
    );
    assert!(refused("src=192.0.2.1/24").starts_with("src: expected an address or a prefix"));
}

#[test]
fn bills_are_of_exact_samples() {
    let folder = Folder::new("bills");
    let reader = reader(&folder.0.join("history"));
    let bill = |query: &str, now: u64| {
        let query = format!("from={START}&to={}&{query}", START + 1200);
        let query = bill::query(Some(&query), START + now).unwrap();
        bill::bill(&reader, &query, &["shop".to_owned()])
    };
    let each = bill("", 86_400);
    let names: Vec<_> = each
        .bills
        .iter()
        .map(|bill| bill.sources.join(" "))
        .collect();
    assert_eq!(names, ["eth0", "eth1", "shop"]);
    let eth0: u64 = (0..MINUTES).map(|n| 60_000 + n + (60_000 + n) / 2).sum();
    assert_eq!(each.bills[0].bytes, [eth0, 900 * MINUTES]);
    let eth1 = &each.bills[1];
    assert_eq!((eth1.intervals, eth1.samples, eth1.missing), (4, 3, 1));
    // 225,000 bytes in 300 s
    assert_eq!(eth1.rates[0].p95, Some(6000.0));
    let shop = &each.bills[2];
    let out = shop
        .rates
        .iter()
        .find(|rate| rate.method == Method::Out)
        .unwrap();
    assert_eq!((shop.bytes, out.p95), ([0, 7_500 * MINUTES], Some(1000.0)));
    let both = bill("interface=eth0,eth1&overhead=4", 86_400);
    let [both] = &both.bills[..] else {
        panic!("one bill");
    };
    assert_eq!((both.samples, both.partial), (4, 1));
    let packets = each.bills[0].packets[0] + eth1.packets[0];
    assert_eq!(both.bytes[0], eth0 + 45_000 * 15 + 4 * packets);
    // the last sample is not complete
    let running = bill("interface=eth1", 1_000);
    assert_eq!((running.to, running.bills[0].intervals), (START + 900, 3));
    let network = bill("asn=64501", 86_400);
    assert!(!network.exact);
    let right = (0..MINUTES).map(|n| (60_000 + n) / 4).sum::<u64>() as f64 + 7_500.0 * 15.0;
    let found = network.bills[0].bytes[0] as f64;
    assert!((found - right).abs() <= right / 1000.0, "{found} {right}");
}

#[test]
fn percentiles_of_the_month_are_those_of_bills() {
    let folder = Folder::new("month");
    let reader = reader(&folder.0.join("history"));
    for (now, to) in [(START + 1200, START + 1200), (START + 1199, START + 900)] {
        let query = bill::query(Some(&format!("from={START}&to={to}")), now).unwrap();
        let bills = bill::bill(&reader, &query, &[]).bills;
        let found = percentiles(&reader, now);
        assert_eq!((found.len(), bills.len()), (2, 2));
        for (found, bill) in found.iter().zip(&bills) {
            let p95 = |method| {
                let rate = bill.rates.iter().find(|rate| rate.method == method);
                rate.and_then(|rate| rate.p95).map(|bits| bits / 8.0)
            };
            assert_eq!(*found.interface, *bill.sources[0]);
            let expected = [p95(Method::In), p95(Method::Out)];
            assert_eq!(found.bytes_per_second, expected, "{now}");
        }
    }
    // another month
    assert!(percentiles(&reader, START + 40 * 86_400).is_empty());
}

#[test]
fn an_empty_span_has_no_conversations() {
    let folder = Folder::new("empty");
    let reader = reader(&folder.0.join("history"));
    let found = |from, to| {
        let span = TimeSpan::new(from, to);
        let found = reader.conversations(span, &CurveFilter::default());
        found.periods.iter().map(|p| p.time).collect::<Vec<_>>()
    };
    assert!(found(START + 100, START + 100).is_empty());
    assert!(found(START + 200, START + 100).is_empty());
    assert_eq!(found(START + 100, START + 101), [START + 60]);
}

#[test]
fn wrong_parameters_are_named() {
    for (query, expected) in [
        ("from=5&to=5", "to: expected a time after 5, got 5"),
        ("from=x", "from: expected a time in Unix seconds, got \"x\""),
        ("by=scr", "by: unknown field \"scr\", did you mean src?"),
        ("by=asn,src", "by: asn cannot be combined with other fields"),
        ("by=src,src", "by: src is given twice"),
        ("limit=0", "limit: expected a number from 1 to 1000"),
    ] {
        let error = history::query(Some(query), START).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    for (query, expected) in [
        (
            "interface=a&asn=1",
            "expected only one of interface, prefix, asn and peer_asn",
        ),
        ("asn=1&overhead=4", "overhead: expected none for an AS"),
        (
            "overhead=1001",
            "overhead: expected a number of bytes from 0 to 1000",
        ),
        ("interface=", "interface: expected at most 64 names"),
    ] {
        let error = bill::query(Some(query), START).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

/// The minutes of a busy store, and the conversations of each.
const BUSY_MINUTES: u64 = 200;
const BUSY_ROWS: u64 = 1000;
/// Bytes of the largest conversation of each minute, and the least bytes of the others.
const LARGE: u64 = 4096 * 200;
const SMALL: u64 = 4096;

/// Writes many more different conversations than a query adds up, and in each minute three that repeat.
fn busy_reader(path: &std::path::Path) -> HistoryReader {
    let (shared, mut writer) = store(path);
    for n in 0..BUSY_MINUTES {
        let minute = START + n * 60;
        let row = |k: u64| match k {
            0..3 => conversation([192, 0, 2, k as u8], 443, LARGE / (k + 1)),
            _ => {
                let address = (10 << 24 | (n * BUSY_ROWS + k) as u32).to_be_bytes();
                conversation(address, 80, SMALL)
            }
        };
        let rows: Vec<_> = (0..BUSY_ROWS).map(row).collect();
        let bytes = rows.iter().map(|row| row.bytes).sum();
        writer.add(HistoryInput::Minute(MinuteRows {
            minute,
            rows: vec![scope("eth0", Direction::Ingress, bytes)],
        }));
        writer.add(HistoryInput::Lists(MinuteLists {
            minute,
            parts: Vec::new(),
            prefixes: Vec::new(),
            conversations: vec![ConversationList {
                interface: "eth0".into(),
                direction: Direction::Ingress,
                rows,
                rest: (0, 0),
            }],
        }));
        writer.tick(now((n + 1) * 60));
    }
    writer.close(now(BUSY_MINUTES * 60 + 1));
    HistoryReader::new(shared)
}

/// Returns the answer of a query and the memory that it took at most, in bytes.
fn measured<T>(query: impl FnOnce() -> T) -> (T, u64) {
    let memory = |name: &str| -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        number.parse::<u64>().unwrap() << 10
    };
    // sets the peak to the present value
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS:");
    let answer = query();
    (answer, memory("VmHWM:").saturating_sub(before))
}

#[test]
fn a_query_of_many_different_rows_is_bounded_and_its_largest_rows_are_exact() {
    const MEMORY: u64 = 32 << 20;
    let folder = Folder::new("many");
    let reader = busy_reader(&folder.0.join("history"));
    let total = (LARGE + LARGE / 2 + LARGE / 3) * BUSY_MINUTES;
    let total = total + SMALL * (BUSY_ROWS - 3) * BUSY_MINUTES;
    let period = format!("from={START}&to={}", START + BUSY_MINUTES * 60);
    let query = history::query(Some(&format!("{period}&by=src,port&limit=4")), START);
    let query = query.unwrap();
    let (reply, memory) = measured(|| history::history(&reader, &query, AddressDetail::Full));
    assert!(memory < MEMORY, "{memory} bytes");
    let found: Vec<_> = reply
        .rows
        .iter()
        .map(|row| (row.values.get("src").and_then(Value::as_str), row.bytes))
        .collect();
    let large = |n: u64| level(LARGE / (n + 1)) * BUSY_MINUTES;
    let expected = [
        (Some("192.0.2.0"), large(0)),
        (Some("192.0.2.1"), large(1)),
        (Some("192.0.2.2"), large(2)),
    ];
    assert_eq!(found[..3], expected);
    assert_eq!((found.len(), found[3].1, found[4].0), (5, SMALL, None));
    // the scope has as many IPv6 bytes beside
    let sum: u64 = found.iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(sum, total + total / 2);
    // each of the dropped rows was as small as this, and one at most is dropped at each time
    assert!((1..=20 * SMALL).contains(&reply.max_missing_bytes));

    let query = format!("{period}&interface=eth0&by=host&rows=4");
    let query = StoredQuery::parse(&query, START + 86_400, AddressDetail::Full).unwrap();
    let names = StoredNames {
        lookup: Box::new(|| Box::new(|_| Endpoint::default())),
        asn_name: Box::new(|_| None),
        addresses: AddressDetail::Full,
    };
    let render = || answer::render(&reader, &names, &query, START + 86_400, AddressDetail::Full);
    let (view, memory) = measured(render);
    assert!(memory < MEMORY, "{memory} bytes");
    let view: Value = serde_json::from_slice(&view).unwrap();
    let rows = view["ingress"]["rows"].as_array().unwrap();
    for (row, (address, bytes)) in rows.iter().zip(expected) {
        assert_eq!((row[0].as_str(), row[1].as_u64()), (address, Some(bytes)));
    }
    let lines = view["ingress"]["lines"].as_u64().unwrap() as usize;
    assert!((rows.len()..=MAX_GROUPS).contains(&lines), "{lines} lines");
    assert_eq!(rows.len(), 4);
    assert!((1..=20 * SMALL).contains(&view["ingress"]["max_missing"].as_u64().unwrap()));
}

/// Returns a number as conversations store it: rounded down by less than a 4096th.
fn level(n: u64) -> u64 {
    use rfm::store::format::level;
    level::decode(level::encode(n))
}
