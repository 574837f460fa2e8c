// SPDX-License-Identifier: AGPL-3.0-only
//! Each field of a rule: packets on the wire, of which exactly those that match are counted and dropped.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::common::cases::{DST_MAC, SRC_MAC};
use crate::common::frames::Frame;
use crate::common::lab::can_run;
use crate::common::packet::Receiver;
use crate::harness::Fixture;
use crate::wire::{LIMIT, TO, TOOLS, add, guarded, matched, past, send};

const FROM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FROM6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const TO6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Of each frame.
const COUNT: u64 = 3;

fn v4() -> Frame {
    Frame::ethernet(SRC_MAC, DST_MAC).ipv4(FROM, TO)
}

fn v6() -> Frame {
    Frame::ethernet(SRC_MAC, DST_MAC).ipv6(FROM6, TO6)
}

fn udp(sport: u16, dport: u16) -> Frame {
    v4().udp().ports(sport, dport).payload(20)
}

fn udp6(sport: u16, dport: u16) -> Frame {
    v6().udp().ports(sport, dport).payload(20)
}

fn tcp(flags: u8) -> Frame {
    v4().tcp(flags)
}

fn marked(class: u8) -> Frame {
    v4().tos(class << 2).udp().payload(20)
}

fn marked6(class: u8) -> Frame {
    v6().tos(class << 2).udp().payload(20)
}

fn labeled(label: u32) -> Frame {
    v6().flow_label(label).udp().payload(20)
}

/// A packet of so many bytes with its IP header.
fn long(bytes: usize) -> Frame {
    v4().udp().payload(bytes - 28)
}

fn long6(bytes: usize) -> Frame {
    v6().udp().payload(bytes - 48)
}

/// A first fragment with its UDP header.
fn first() -> Frame {
    v4().fragment(0, true).udp().ports(53, 7000).payload(24)
}

fn first6() -> Frame {
    v6().fragment6(0, true).udp().ports(53, 7000).payload(24)
}

fn later(offset: u16, more: bool) -> Frame {
    v4().says(17).fragment(offset, more).payload(32)
}

fn later6(offset: u16, more: bool) -> Frame {
    v6().fragment6(offset, more).says(17).payload(32)
}

/// Adds the same rule twice: it counts, then it drops. The frames in `matching` are counted and dropped, those in
/// `others` arrive.
fn check(fixture: &Fixture, words: &str, matching: &[Frame], others: &[Frame]) {
    let counted = add(fixture, &format!("{words} --action count"));
    let dropped = add(fixture, &format!("{words} --action drop"));
    let receiver = fixture
        .namespace
        .inside(|| Receiver::new("v1").expect("a packet socket"));
    let frames: Vec<_> = matching.iter().chain(others).map(Frame::build).collect();
    let before = past(&fixture.agent.scrape());
    for frame in &frames {
        send(fixture, frame, COUNT);
    }
    let [counted, dropped] = [counted, dropped].map(|id| format!("runtime-{id}"));
    let sent = frames.len() as u64 * COUNT;
    let (metrics, reached) = fixture.agent.scrape_until(LIMIT, |m| {
        past(m) - before + matched(m, &dropped, "drop") == sent
    });
    assert!(reached, "{words}: not all of {sent} packets were counted");
    let mut arrived = vec![0; frames.len()];
    while let Some(frame) = receiver.next().expect("a frame") {
        if let Some(at) = frames.iter().position(|sent| *sent == frame) {
            arrived[at] += 1;
        }
    }
    let (of_matching, of_others) = arrived.split_at(matching.len());
    assert!(of_matching.iter().all(|n| *n == 0), "{words}: {arrived:?}");
    assert!(
        of_others.iter().all(|n| *n == COUNT),
        "{words}: {arrived:?}"
    );
    let expected = matching.len() as u64 * COUNT;
    for (rule, action) in [(&counted, "count"), (&dropped, "drop")] {
        assert_eq!(
            matched(&metrics, rule, action),
            expected,
            "{words}: {action}"
        );
    }
    fixture.rfm("firewall flush");
}

#[test]
fn ports_are_of_the_source_the_destination_or_either() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    check(
        &fixture,
        "--sport 53,123,6000-6063",
        &[
            udp(53, 9),
            udp(123, 9),
            udp(6000, 9),
            udp(6063, 9),
            udp6(123, 9),
            v4().tcp(SYN).ports(53, 9),
            v6().sctp().ports(6001, 9),
        ],
        &[
            udp(52, 53),
            udp(54, 123),
            udp(5999, 9),
            udp(6064, 9),
            udp6(9, 123),
            v4().icmp(8, 0),
            v4().says(47).payload(20),
        ],
    );
    check(
        &fixture,
        "--protocol udp --dport 80,8000-8015",
        &[udp(9, 80), udp(9, 8000), udp6(9, 8015)],
        &[
            udp(80, 9),
            udp(9, 79),
            udp(9, 7999),
            udp6(9, 8016),
            v4().tcp(SYN).ports(9, 80),
        ],
    );
    check(
        &fixture,
        "--protocol tcp,udp --port 53,100-200",
        &[
            udp(53, 9),
            udp(9, 53),
            udp6(9, 200),
            v4().tcp(SYN).ports(100, 9),
        ],
        &[
            udp(54, 9),
            udp(9, 99),
            udp6(201, 9),
            v4().sctp().ports(53, 9),
        ],
    );
    check(
        &fixture,
        "--sport 1-10 --dport 20-30",
        &[udp(10, 20), udp6(1, 30)],
        &[udp(20, 10), udp(10, 31), udp6(11, 20)],
    );
}

#[test]
fn flags_of_tcp_are_those_of_a_mask() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    check(
        &fixture,
        "--tcp-flags syn/syn,ack",
        &[tcp(SYN), tcp(SYN | FIN), v6().tcp(SYN)],
        &[tcp(SYN | ACK), tcp(ACK), tcp(0), v6().tcp(ACK), udp(2, 2)],
    );
    check(
        &fixture,
        "--tcp-flags rst|none/all",
        &[tcp(RST), tcp(RST | ACK), tcp(0), v6().tcp(0)],
        &[tcp(SYN), tcp(FIN), v6().tcp(ACK), v4().icmp(0, 0)],
    );
    check(
        &fixture,
        "--tcp-flags syn,fin --dport 443",
        &[tcp(SYN | FIN), tcp(SYN | FIN | ACK)],
        &[tcp(SYN), tcp(FIN), v4().tcp(SYN | FIN).ports(443, 80)],
    );
}

#[test]
fn icmp_has_types_and_codes() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    let echo6 = |kind| v6().icmpv6(kind, 0).payload(8);
    check(
        &fixture,
        "--protocol icmp --icmp-type 8,13-14",
        &[v4().icmp(8, 0), v4().icmp(13, 0), v4().icmp(14, 0)],
        &[
            v4().icmp(0, 0),
            v4().icmp(12, 0),
            v4().icmp(15, 0),
            echo6(8),
        ],
    );
    check(
        &fixture,
        "--icmp-type 3 --icmp-code 1-3,13",
        &[v4().icmp(3, 1), v4().icmp(3, 3), v4().icmp(3, 13)],
        &[
            v4().icmp(3, 0),
            v4().icmp(3, 4),
            v4().icmp(11, 1),
            udp(3, 1),
        ],
    );
    check(
        &fixture,
        "--protocol icmpv6 --icmp-type 128-129",
        &[echo6(128), echo6(129)],
        &[echo6(127), echo6(130), v4().icmp(128, 0)],
    );
}

#[test]
fn a_length_is_that_of_the_ip_packet() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    check(
        &fixture,
        "--length 40,100-200,1400-65535",
        &[
            tcp(SYN), // 40 bytes
            long(100),
            long(200),
            long(1500),
            long6(100),
            long6(1400),
            // the padding of Ethernet is not part of the packet
            long(101).pad_to(60 + 200),
        ],
        &[
            long(41),
            long(99),
            long(201),
            long(1399),
            long6(99),
            long6(201),
            long(50).pad_to(14 + 120),
        ],
    );
}

#[test]
fn fragments_are_of_six_kinds() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    let firsts = [first(), first6()];
    let middles = [later(32, true), later6(32, true)];
    let lasts = [later(64, false), later6(64, false)];
    let flagged = [v4().dont_fragment().udp().payload(20)];
    let whole = [udp(53, 7000), udp6(53, 7000)];
    // a packet in one fragment is whole (RFC 6946)
    let atomic = [v6().fragment6(0, false).udp().payload(16)];
    let all: [&[Frame]; 6] = [&firsts, &middles, &lasts, &flagged, &whole, &atomic];
    for (words, matches) in [
        ("first", [true, false, false, false, false, false]),
        ("later", [false, true, true, false, false, false]),
        ("last", [false, false, true, false, false, false]),
        ("any", [true, true, true, false, false, false]),
        ("none", [false, false, false, true, true, true]),
        ("dont-fragment", [false, false, false, true, false, false]),
        ("first,last", [true, false, true, false, false, false]),
        (
            "dont-fragment,later",
            [false, true, true, true, false, false],
        ),
    ] {
        let of = |is: bool| -> Vec<_> {
            let chosen = all
                .iter()
                .zip(matches)
                .filter(|(_, matches)| *matches == is);
            chosen
                .flat_map(|(frames, _)| frames.iter().cloned())
                .collect()
        };
        check(
            &fixture,
            &format!("--fragment {words}"),
            &of(true),
            &of(false),
        );
    }
}

/// Nobody bypasses a rule with ports by fragmenting packets, unless the rule names fragments or passes.
#[test]
fn later_fragments_have_the_ports_that_a_rule_drops() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    let later = || [later(32, true), later(64, false), later6(32, true)];
    let other = || v4().says(6).fragment(64, false).payload(32);
    let [a, b, c] = later();
    let matching = [first(), first6(), udp(53, 9), a, b, c];
    let words = "--protocol udp --sport 53";
    check(&fixture, words, &matching, &[other(), udp(54, 9)]);
    let [a, b, c] = later();
    let others = [a, b, c, other(), udp(53, 9)];
    let words = "--protocol udp --sport 53 --fragment first,later";
    check(&fixture, words, &[first(), first6()], &others);
    let [a, b, c] = later();
    let words = "--protocol udp --fragment later";
    check(&fixture, words, &[a, b, c], &[first(), other(), udp(53, 9)]);
}

#[test]
fn marks_are_dscps_and_flow_labels() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    check(
        &fixture,
        "--dscp ef,0,10-14",
        &[
            marked(46),
            marked(0),
            marked(10),
            marked(14),
            marked6(46),
            // the two lowest bits are of ECN
            v4().tos(46 << 2 | 3).udp().payload(20),
        ],
        &[marked(45), marked(9), marked(15), marked6(47), marked6(1)],
    );
    check(
        &fixture,
        "--flow-label 7,1000-1048575",
        &[labeled(7), labeled(1000), labeled(0xfffff)],
        &[labeled(0), labeled(8), labeled(999), udp(7, 7)],
    );
}

/// As a signature of an attack: a rule with a prefix, and one without.
#[test]
fn fields_of_one_rule_must_all_match() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    let ntp = |sport, bytes: usize, class: u8| {
        let ip = v4().tos(class << 2).dont_fragment();
        ip.udp().ports(sport, 7000).payload(bytes - 28)
    };
    let words = "--protocol udp --sport 123 --length 400-500 --fragment none --dscp 0";
    for prefix in ["", "--dst 198.51.100.0/24 "] {
        check(
            &fixture,
            &format!("{prefix}{words}"),
            &[ntp(123, 400, 0), ntp(123, 468, 0)],
            &[
                ntp(124, 468, 0),
                ntp(123, 399, 0),
                ntp(123, 501, 0),
                ntp(123, 468, 1),
                v4().tcp(ACK).ports(123, 7000).payload(400),
                v4().fragment(0, true).udp().ports(123, 7000).payload(400),
            ],
        );
    }
}
