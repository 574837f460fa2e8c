// SPDX-License-Identifier: AGPL-3.0-only
//! Tests of the lists of a minute.

use std::collections::HashMap;

use super::*;

const START_MS: u64 = 1_800_000_000_000;

fn record(
    ifindex: u32,
    direction: Direction,
    source: [u8; 4],
    port: u16,
    bytes: u64,
) -> FlowRecord {
    let mut record = FlowRecord::empty(Family::Ipv4);
    record.key.ifindex = ifindex;
    record.key.direction = direction;
    record.key.protocol = 6;
    record.key.src[..4].copy_from_slice(&source);
    record.key.dst[..4].copy_from_slice(&[198, 51, 100, 7]);
    (record.key.src_port, record.key.dst_port) = (port, 50_000);
    (record.packets, record.frame_bytes, record.sample_rate) = (2, bytes, 3);
    record
}

fn settings(addresses: AddressDetail) -> ConversationSettings {
    ConversationSettings {
        addresses,
        billed: Vec::new(),
    }
}

fn name(ifindex: u32) -> Option<Arc<str>> {
    (ifindex < 100).then(|| format!("eth{ifindex}").into())
}

/// Counts the records in one minute and returns its lists.
fn minute(counters: &mut ConversationCounters, records: &[FlowRecord]) -> MinuteLists {
    assert_eq!(counters.advance(0, || START_MS + 1, name), None);
    for record in records {
        counters.count(record, None, |_| true);
    }
    assert_eq!(
        counters.advance(4_000, || panic!("it is not due"), name),
        None
    );
    assert_eq!(counters.advance(10_000, || START_MS + 10_000, name), None);
    let lists = counters
        .advance(70_000, || START_MS + 60_000, name)
        .unwrap();
    assert_eq!(lists.minute, START_MS / 1000);
    lists
}

#[test]
fn a_minute_has_the_scaled_bytes_of_each_conversation_and_service() {
    let mut counters = ConversationCounters::new(&settings(AddressDetail::Prefix));
    let (ingress, egress) = (Direction::Ingress, Direction::Egress);
    let records = [
        record(1, ingress, [192, 0, 2, 1], 443, 1000),
        // the same /24
        record(1, ingress, [192, 0, 2, 200], 443, 500),
        record(1, ingress, [192, 0, 3, 1], 443, 10),
        record(1, ingress, [192, 0, 3, 1], 80, 7),
        record(1, egress, [192, 0, 2, 1], 443, 1),
        record(2, ingress, [192, 0, 2, 1], 443, 2),
        // removed before the end of the minute
        record(100, ingress, [192, 0, 2, 1], 443, 2),
    ];
    let lists = minute(&mut counters, &records);
    let listed: Vec<_> = (lists.conversations.iter())
        .flat_map(|list| {
            let row = |row: &ConversationRow| {
                let ends = format!("{} {} {}", row.source, row.destination, row.service_port);
                (
                    format!("{} {}", list.interface, list.direction.name()),
                    ends,
                    row.bytes,
                    row.packets,
                )
            };
            assert_eq!(list.rest, (0, 0));
            list.rows.iter().map(row).collect::<Vec<_>>()
        })
        .collect();
    let row = |scope: &str, ends: &str, bytes, packets| (scope.into(), ends.into(), bytes, packets);
    assert_eq!(
        listed,
        [
            row("eth1 ingress", "192.0.2.0 198.51.100.0 443", 4500, 12),
            row("eth1 ingress", "192.0.3.0 198.51.100.0 443", 30, 6),
            row("eth1 ingress", "192.0.3.0 198.51.100.0 80", 21, 6),
            row("eth1 egress", "192.0.2.0 198.51.100.0 443", 3, 6),
            row("eth2 ingress", "192.0.2.0 198.51.100.0 443", 6, 6),
        ]
    );
    let first = &lists.parts[0];
    let parts: Vec<_> = first
        .parts
        .iter()
        .map(|part| (part.part.clone(), part.bytes))
        .collect();
    assert_eq!(
        parts,
        [(Part::Service(6, 80), 21), (Part::Service(6, 443), 4530)]
    );
    // 4,530 bytes in the 10 seconds of the first tick
    assert_eq!(first.parts[1].max_rate, 453.0);
    // the next minute begins with nothing
    assert_eq!(
        counters
            .advance(130_000, || START_MS + 120_000, name)
            .unwrap()
            .conversations,
        []
    );
}

#[test]
fn addresses_are_stored_as_configured() {
    let mut first = record(1, Direction::Ingress, [192, 0, 2, 1], 53, 1);
    first.key.family = Family::Ipv6;
    first.key.src = "2001:db8:1:2::3".parse::<Ipv6Addr>().unwrap().octets();
    first.key.dst = "2001:db8:ffff:2::4".parse::<Ipv6Addr>().unwrap().octets();
    for (detail, expected) in [
        (
            AddressDetail::Prefix,
            Some(("2001:db8:1::", "2001:db8:ffff::")),
        ),
        (
            AddressDetail::Full,
            Some(("2001:db8:1:2::3", "2001:db8:ffff:2::4")),
        ),
        (AddressDetail::Absent, None),
    ] {
        let lists = minute(&mut ConversationCounters::new(&settings(detail)), &[first]);
        let rows = lists.conversations.first().map(|list| &list.rows[0]);
        let ends = rows.map(|row| (row.source.to_string(), row.destination.to_string()));
        let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(ends, expected);
        assert_eq!(lists.parts[0].parts[0].bytes, 3);
    }
}

#[test]
fn a_flood_keeps_the_sum_and_the_large_conversations() {
    let mut counters = ConversationCounters::new(&settings(AddressDetail::Full));
    let (mut records, mut total) = (Vec::new(), 0);
    let mut exact: HashMap<IpAddr, u64> = HashMap::new();
    for n in 0..60_000u32 {
        let [_, a, b, c] = n.to_be_bytes();
        for source in [[10, a, b, c], [192, 0, 2, (n % 40) as u8]] {
            let one = record(1, Direction::Egress, source, 443, 100);
            total += 300;
            *exact.entry(one.key.source()).or_default() += 300;
            records.push(one);
        }
    }
    let lists = minute(&mut counters, &records);
    let [list] = &lists.conversations[..] else {
        panic!("one interface and direction");
    };
    assert_eq!(list.rows.len(), LISTED);
    let listed: u64 = list.rows.iter().map(|row| row.bytes).sum();
    assert_eq!(listed + list.rest.0, total);
    let packets: u64 = list.rows.iter().map(|row| row.packets).sum();
    assert_eq!(packets + list.rest.1, 6 * records.len() as u64);
    let bound = total / CONVERSATIONS as u64;
    for row in &list.rows[..40] {
        assert!(row.source.to_string().starts_with("192.0.2."), "{row:?}");
        let right = exact[&row.source];
        assert!(row.bytes <= right && right <= row.bytes + bound, "{row:?}");
    }
    assert!(counters.evicted() > 50_000);
    assert!(counters.bytes() < 1_500_000, "{}", counters.bytes());
}

#[test]
fn a_billed_prefix_counts_each_packet_once() {
    let billed = |prefix: &str, name: &str| StaticPrefix {
        prefix: prefix.parse().unwrap(),
        asn: 0,
        name: name.to_owned(),
        bill: true,
    };
    let mut counters = ConversationCounters::new(&ConversationSettings {
        addresses: AddressDetail::Absent,
        billed: vec![
            billed("192.0.2.0/24", "shop"),
            billed("198.51.100.0/24", "shop"),
            billed("203.0.113.0/24", "idle"),
        ],
    });
    let (ingress, egress) = (Direction::Ingress, Direction::Egress);
    counters.advance(0, || START_MS, name);
    for one in [
        // a packet from the prefix: it enters at eth1 and leaves at eth2
        record(1, ingress, [192, 0, 2, 1], 80, 100),
        record(2, egress, [192, 0, 2, 1], 80, 100),
        record(2, egress, [10, 0, 0, 1], 80, 100_000),
        // stacked on eth2
        record(3, egress, [192, 0, 2, 1], 80, 100),
    ] {
        counters.count(&one, None, |ifindex| ifindex != 3);
    }
    let lists = counters.finish(50_000, name).unwrap();
    assert!(lists.prefixes.iter().all(|row| row.covered_ms == 50_000));
    let rows: Vec<_> = (lists.prefixes.iter())
        .map(|row| (&*row.name, row.direction, row.bytes, row.packets))
        .collect();
    assert_eq!(
        rows,
        [
            // to 198.51.100.7
            ("shop", ingress, 300, 6),
            ("shop", egress, 300, 6),
            ("idle", ingress, 0, 0),
            ("idle", egress, 0, 0),
        ]
    );
}

#[test]
fn a_clock_that_is_set_ends_the_minute() {
    let mut counters = ConversationCounters::new(&settings(AddressDetail::Full));
    let one = record(1, Direction::Ingress, [192, 0, 2, 1], 443, 10);
    assert_eq!(counters.advance(0, || START_MS, name), None);
    counters.count(&one, None, |_| true);
    // back by a year
    let back = START_MS - 365 * 86_400_000;
    let lists = counters.advance(6_000, || back, name).unwrap();
    assert_eq!(
        (lists.minute, lists.conversations.len()),
        (START_MS / 1000, 1)
    );
    counters.count(&one, None, |_| true);
    let lists = counters.advance(12_000, || START_MS, name).unwrap();
    assert_eq!(
        (lists.minute, lists.conversations.len()),
        (back / 60_000 * 60, 1)
    );
}

#[test]
fn named_prefixes_are_parts_and_one_name_is_one_part() {
    let mut counters = ConversationCounters::new(&settings(AddressDetail::Absent));
    let names: [Arc<str>; 3] = ["shop", "office", "shop"].map(Into::into);
    counters.advance(0, || START_MS, name);
    let (ingress, egress) = (Direction::Ingress, Direction::Egress);
    for (ifindex, direction, prefix, bytes) in [
        (1, ingress, Some(0), 1000),
        // the same name, of another prefix
        (1, ingress, Some(2), 10),
        (1, ingress, Some(1), 7),
        (1, egress, Some(1), 5),
        (1, egress, None, 100),
        (2, egress, None, 100),
    ] {
        let one = record(ifindex, direction, [192, 0, 2, 1], 443, bytes);
        counters.count(&one, prefix.map(|n: usize| &names[n]), |_| true);
    }
    let lists = counters.finish(50_000, name).unwrap();
    let prefixes: Vec<_> = (lists.parts.iter())
        .flat_map(|row| row.parts.iter().map(move |part| (row, part)))
        .filter_map(|(row, part)| match &part.part {
            Part::Prefix(prefix) => Some((&*row.interface, row.direction, &**prefix, part.bytes)),
            _ => None,
        })
        .collect();
    assert_eq!(
        prefixes,
        [
            ("eth1", ingress, "office", 21),
            ("eth1", ingress, "shop", 3030),
            ("eth1", egress, "office", 15),
        ]
    );
    let sum: u64 = (lists.parts.iter())
        .flat_map(|row| &row.parts)
        .filter(|part| matches!(part.part, Part::Service(..)))
        .map(|part| part.bytes)
        .sum();
    assert_eq!(sum, 3 * 1222);
}
