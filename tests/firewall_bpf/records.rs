// SPDX-License-Identifier: AGPL-3.0-only
//! Flow records of dropped packets.

use std::cell::RefCell;
use std::rc::Rc;

use libbpf_rs::RingBufferBuilder;
use rfm::bpf::record;
use rfm::types::flow::{Direction, Family, FlowRecord};

use crate::fixture::Verdict::{Drop, Pass};
use crate::fixture::{A4, B4, Fixture, LOOPBACK, ether, fixture_with, rules, v4, v6};

/// What the ring holds.
fn records(fixture: &Fixture) -> Vec<FlowRecord> {
    let ring = fixture.firewall.ring().expect("the ring");
    let records = Rc::new(RefCell::new(Vec::new()));
    let taken = records.clone();
    let mut builder = RingBufferBuilder::new();
    builder
        .add(&ring, move |bytes| {
            let record = record::decode(bytes, Some).expect("a record");
            taken.borrow_mut().push(record);
            0
        })
        .expect("the ring");
    builder
        .build()
        .expect("the ring")
        .consume()
        .expect("records");
    records.take()
}

#[test]
fn each_dropped_packet_is_a_record_at_a_rate_of_one() {
    let Some(mut fixture) = fixture_with(1) else {
        return;
    };
    let set = rules(&[
        "drop proto udp",
        "limit proto icmp rate 1",
        "count proto tcp",
    ]);
    fixture.firewall.replace(&set).expect("rules");
    let udp = ether()
        .vlan(0x8100, 42)
        .ipv4(A4, B4)
        .tos(0x20)
        .udp()
        .ports(5, 53)
        .payload(30)
        .build();
    let icmp = v4().icmp(8, 0).build();
    assert_eq!(fixture.verdict(&udp), Drop);
    assert_eq!(
        [fixture.verdict(&icmp), fixture.verdict(&icmp)],
        [Pass, Drop]
    );
    assert_eq!(fixture.verdict(&v4().tcp(2).build()), Pass);
    assert_eq!(fixture.verdict(&v6().udp().build()), Drop);

    let [first, second, third] = records(&fixture).try_into().expect("three records");
    assert_eq!(first.key.src[..4], A4.octets());
    assert_eq!(first.key.dst[..4], B4.octets());
    assert_eq!((first.key.src_port, first.key.dst_port), (5, 53));
    assert_eq!((first.key.vlan_outer, first.key.vlan_inner), (42, 0));
    assert_eq!((first.key.protocol, first.key.family), (17, Family::Ipv4));
    assert_eq!(
        (first.key.ifindex, first.ingress_ifindex),
        (LOOPBACK, LOOPBACK)
    );
    assert_eq!(first.key.direction, Direction::Ingress);
    assert_eq!((first.packets, first.frame_bytes), (1, udp.len() as u64));
    assert_eq!((first.ip_bytes, first.tos), (58, 0x20));
    assert_eq!(first.src_mac, [2, 0, 0, 0, 0, 1]);
    assert_eq!(first.dst_mac, [2, 0, 0, 0, 0, 2]);
    assert_eq!(first.sample_rate, 1);
    assert_eq!((second.key.protocol, second.key.dst_port), (1, 8 << 8));
    assert_eq!(third.key.family, Family::Ipv6);
    assert_eq!(
        fixture
            .firewall
            .stats()
            .expect("the statistics")
            .dropped_records,
        0
    );
}

#[test]
fn one_in_so_many_is_taken_and_what_the_ring_cannot_hold_is_counted() {
    let Some(mut fixture) = fixture_with(10) else {
        return;
    };
    fixture
        .firewall
        .replace(&rules(&["drop proto udp"]))
        .expect("rules");
    let frame = v4().udp().build();
    for _ in 0..2000 {
        fixture.verdict(&frame);
    }
    let found = records(&fixture);
    assert!((100..300).contains(&found.len()), "{} of 2000", found.len());
    assert!(found.iter().all(|record| record.sample_rate == 10));

    let Some(mut fixture) = fixture_with(1) else {
        return;
    };
    fixture
        .firewall
        .replace(&rules(&["drop proto udp"]))
        .expect("rules");
    for _ in 0..1000 {
        assert_eq!(fixture.verdict(&frame), Drop);
    }
    // a record has 112 bytes, and a head of 8
    let room = 65_536 / 120;
    let dropped = fixture
        .firewall
        .stats()
        .expect("the statistics")
        .dropped_records;
    let held = records(&fixture).len() as u64;
    assert_eq!(held + dropped, 1000);
    assert!((room - 1..=room).contains(&held), "{held} held");
    assert_eq!(fixture.packets(), [(1, 1000)]);
}

#[test]
fn without_a_rate_there_are_no_records() {
    let Some(fixture) = Fixture::with(&rules(&["drop proto udp"])) else {
        return;
    };
    assert_eq!(fixture.verdict(&v4().udp().build()), Drop);
    assert!(records(&fixture).is_empty());
}
