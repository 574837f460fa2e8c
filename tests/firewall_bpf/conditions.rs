// SPDX-License-Identifier: AGPL-3.0-only
//! Each condition of a rule against each kind of frame.

use crate::common::frames::Frame;
use crate::fixture::Verdict::{Drop, Pass};
use crate::fixture::{A4, B4, Fixture, check, ether, rule, v4, v6};

const SYN: u8 = 2;

#[test]
fn lists_of_values_match_each_of_them() {
    let tcp4 = || v4().tcp(SYN).ports(1000, 80);
    let udp6 = || v6().udp().ports(53, 4000).payload(20);
    check(&[
        ("drop proto tcp,udp", tcp4(), Drop),
        ("drop proto 0-5,7-255", tcp4(), Pass),
        ("drop proto tcp dport 22,80,443", tcp4(), Drop),
        ("drop proto tcp dport 22,81-443", tcp4(), Pass),
        ("drop proto tcp sport 1-999,1001", tcp4(), Pass),
        ("drop proto tcp,udp sport 53,123,11211", udp6(), Drop),
        ("drop proto tcp port 80", tcp4(), Drop),
        ("drop proto tcp port 1000", tcp4(), Drop),
        ("drop proto tcp port 81,999", tcp4(), Pass),
        ("drop proto udp port 4000 sport 53", udp6(), Drop),
        ("drop proto udp port 53 dport 53", udp6(), Pass),
        ("drop src 10.0.0.0/8 proto tcp port 80,81", tcp4(), Drop),
        ("drop src 11.0.0.0/8 proto tcp port 80,81", tcp4(), Pass),
        // a list so long that its tree has nodes
        (LONG_LIST, tcp4(), Drop),
        (LONG_LIST, v4().tcp(SYN).ports(1000, 81), Pass),
        (LONG_LIST, v4().tcp(SYN).ports(1000, 118), Drop),
        (LONG_LIST, v4().tcp(SYN).ports(1000, 119), Pass),
    ]);
}

const LONG_LIST: &str = "drop proto tcp dport \
    0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30,32,34,36,38,40,42,44,46,48,50,52,54,56,58,60,62,64,66,68,70,72,74,76,78,80,\
    82,84,86,88,90,92,94,96,98,100,102,104,106,108,110,112,114,116,118";

#[test]
fn tcp_flags_and_icmp_types_are_those_of_the_header() {
    let tcp4 = |flags| v4().tcp(flags).ports(1000, 80);
    let tcp6 = |flags| v6().hop_by_hop().tcp(flags).ports(1000, 80);
    const SYN_ACK: u8 = 0x12;
    const RST: u8 = 4;
    let icmp = |kind, code| v4().icmp(kind, code);
    let later = || v4().fragment(64, false).says(1).payload(40);
    check(&[
        ("drop tcp_flags syn/syn,ack", tcp4(SYN), Drop),
        ("drop tcp_flags syn/syn,ack", tcp6(SYN), Drop),
        ("drop tcp_flags syn/syn,ack", tcp4(SYN_ACK), Pass),
        ("drop tcp_flags syn", tcp6(SYN_ACK), Drop),
        ("drop proto tcp tcp_flags syn/syn,ack|rst", tcp4(RST), Drop),
        ("drop tcp_flags none/all", tcp4(0), Drop),
        ("drop tcp_flags none/all", tcp4(SYN), Pass),
        ("drop tcp_flags none/all", v4().udp().payload(4), Pass),
        ("drop tcp_flags none/syn", icmp(8, 0), Pass),
        ("drop icmp_type 8", icmp(8, 0), Drop),
        ("drop icmp_type 0-7,9-255", icmp(8, 0), Pass),
        ("drop icmp_type 3 icmp_code 1,4", icmp(3, 4), Drop),
        ("drop icmp_type 3 icmp_code 1,4", icmp(3, 3), Pass),
        (
            "drop proto icmpv6 icmp_type 128-129",
            v6().icmpv6(128, 0),
            Drop,
        ),
        (
            "drop proto icmp icmp_type 128-129",
            v6().icmpv6(128, 0),
            Pass,
        ),
        ("drop icmp_type 0", tcp4(SYN), Pass),
        ("drop icmp_code 0", v4().udp().ports(0, 0), Pass),
        // no header to see is no bypass
        ("drop icmp_type 5", later(), Drop),
        ("drop tcp_flags rst", later(), Pass),
        (
            "drop tcp_flags rst",
            v4().fragment(64, false).says(6).payload(40),
            Drop,
        ),
        ("drop tcp_flags rst", v4().says(6).payload(13), Drop),
        ("pass icmp_type 5", later(), Pass),
    ]);
}

#[test]
fn lengths_marks_and_labels_are_those_of_the_ip_header() {
    let udp4 = |bytes| v4().udp().payload(bytes);
    let udp6 = |bytes| v6().udp().payload(bytes);
    // type of service, and the second byte of an IPv6 header with the label
    let marked4 = |tos| udp4(4).edit(14 + 1, tos);
    let marked6 = |first, second| udp6(4).edit(14, first).edit(15, second).edit(17, 7);
    check(&[
        ("drop length 48", udp4(20), Drop),
        ("drop length 0-47,49-65535", udp4(20), Pass),
        ("drop length 1000-1500", udp4(1472), Drop),
        ("drop length 68", udp6(20), Drop),
        ("drop length 67", udp6(20), Pass),
        // padding of Ethernet is not of the packet
        ("drop length 28", udp4(0).pad_to(60), Drop),
        (
            "drop proto udp length 60",
            ether().vlan(0x8100, 3).ipv4(A4, B4).udp().payload(32),
            Drop,
        ),
        ("drop dscp ef", marked4(46 << 2 | 1), Drop),
        ("drop dscp 0-45,47-63", marked4(46 << 2 | 1), Pass),
        ("drop dscp cs1,ef", marked6(0x6b, 0x80), Drop),
        ("drop dscp 0", marked6(0x6b, 0x80), Pass),
        ("drop flow_label 65543", marked6(0x60, 0x01), Drop),
        (
            "drop flow_label 0-65542,65544-1048575",
            marked6(0x60, 0x01),
            Pass,
        ),
        ("drop flow_label 0-1048575", udp4(4), Pass),
        ("drop flow_label 0", udp6(4), Drop),
    ]);
}

#[test]
fn each_kind_of_fragment_is_told_apart() {
    let fragment4 = |at, more| v4().fragment(at, more).says(17).payload(64);
    let fragment6 = |at, more| v6().fragment6(at, more).says(17).payload(64);
    // the flag in an IPv4 header without fragments
    let whole = || v4().udp().payload(64);
    let flagged = || whole().edit(14 + 6, 0x40);
    let kinds = ["first", "later", "last", "any", "none", "dont-fragment"];
    let frames: [(Frame, [bool; 6]); 9] = [
        (fragment4(0, true), [true, false, false, true, false, false]),
        (
            fragment4(64, true),
            [false, true, false, true, false, false],
        ),
        (
            fragment4(64, false),
            [false, true, true, true, false, false],
        ),
        (fragment6(0, true), [true, false, false, true, false, false]),
        (
            fragment6(64, true),
            [false, true, false, true, false, false],
        ),
        (
            fragment6(64, false),
            [false, true, true, true, false, false],
        ),
        // an atomic fragment (RFC 6946) is a whole packet
        (
            fragment6(0, false),
            [false, false, false, false, true, false],
        ),
        (
            whole().edit(14 + 6, 0),
            [false, false, false, false, true, false],
        ),
        (flagged(), [false, false, false, false, true, true]),
    ];
    let lines = kinds.map(|kind| format!("drop fragment {kind}"));
    let mut cases = Vec::new();
    for (frame, expected) in &frames {
        for (line, drops) in lines.iter().zip(expected) {
            cases.push((
                line.as_str(),
                frame.clone(),
                if *drops { Drop } else { Pass },
            ));
        }
    }
    check(&cases);
}

/// Whoever names fragments says which are meant.
#[test]
fn a_rule_that_names_fragments_and_ports_matches_no_later_fragment() {
    let first = || v4().fragment(0, true).udp().ports(1, 53).payload(40);
    let later = || v4().fragment(64, true).says(17).payload(40);
    check(&[
        ("drop proto udp dport 53 fragment first", first(), Drop),
        (
            "drop proto udp dport 53 fragment first,later",
            later(),
            Pass,
        ),
        ("drop proto udp fragment later", later(), Drop),
        (
            "drop proto udp dport 53 fragment none",
            v4().says(17).payload(2),
            Drop,
        ),
        // fragments may begin after the headers that are read
        (
            "drop fragment later",
            (0..7).fold(v6(), |frame, _| frame.destopt()).udp(),
            Drop,
        ),
        (
            "pass fragment later",
            (0..7).fold(v6(), |frame, _| frame.destopt()).udp(),
            Pass,
        ),
    ]);
}

/// RFC 8955 section 4.2.2: a component never matches a packet that does not show it.
#[test]
fn a_flowspec_rule_matches_only_what_it_can_read() {
    let lines = [
        "drop proto udp dport 53",
        "drop dst 192.0.2.0/24 proto udp port 53,54",
    ];
    let frames = [
        (v4().udp().ports(1, 53).payload(9), Drop),
        (v4().fragment(0, true).udp().ports(1, 53).payload(40), Drop),
        (v4().fragment(64, true).says(17).payload(40), Pass),
        (v4().says(17).payload(2), Pass),
    ];
    for line in lines {
        let mut flowspec = rule(1, line);
        flowspec.matcher = flowspec.matcher.into_flowspec();
        let Some(fixture) = Fixture::with(&[flowspec]) else {
            return;
        };
        for (frame, expected) in &frames {
            assert_eq!(fixture.verdict(&frame.clone().build()), *expected, "{line}");
        }
    }
}
