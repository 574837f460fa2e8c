// SPDX-License-Identifier: AGPL-3.0-only
//! Each kind of frame against rules by addresses, protocols and ports.

use std::net::{Ipv4Addr, Ipv6Addr};

use rfm::types::hook::FrameStart;

use crate::common::frames::Frame;
use crate::common::lab::{Lab, can_run};
use crate::common::packet::Tun;
use crate::fixture::Verdict::{Drop, Pass};
use crate::fixture::{
    A4, A6, B4, B6, Fixture, LOOPBACK, check, ether, fixture, fixture_of, rules, v4, v6,
};

const SYN: u8 = 2;

#[test]
fn each_kind_of_rule_drops_what_it_says_and_nothing_else() {
    let tcp4 = || v4().tcp(SYN).ports(1000, 80);
    let udp4 = || v4().udp().ports(1000, 80).payload(20);
    let tcp6 = || v6().tcp(SYN).ports(1000, 80);
    check(&[
        ("drop src 10.1.2.3", tcp4(), Drop),
        ("drop src 10.1.2.4", tcp4(), Pass),
        ("drop src 10.0.0.0/8", tcp4(), Drop),
        ("drop src 11.0.0.0/8", tcp4(), Pass),
        ("drop src 0.0.0.0/0", tcp4(), Drop),
        ("drop src 0.0.0.0/0", tcp6(), Pass),
        ("drop dst 192.0.2.0/24", tcp4(), Drop),
        ("drop dst 10.1.2.3", tcp4(), Pass),
        ("drop src 10.1.2.3 dst 192.0.2.0/24", tcp4(), Drop),
        ("drop src 10.1.2.3 dst 192.0.3.0/24", tcp4(), Pass),
        ("drop src 10.0.0.0/8 dst 192.0.2.9", tcp4(), Drop),
        ("drop src 11.0.0.0/8 dst 192.0.2.9", tcp4(), Pass),
        ("drop src 2001:db8:1::/48", tcp6(), Drop),
        ("drop src 2001:db8:2::/48", tcp6(), Pass),
        ("drop src 2001:db8::/32", tcp6(), Drop),
        ("drop dst 2001:db8:2::9", tcp6(), Drop),
        ("drop dst 2001:db8:2::8", tcp6(), Pass),
        ("drop dst 2001:db8:2::/65", tcp6(), Drop),
        ("drop src ::/0", tcp6(), Drop),
        ("drop src ::/0", tcp4(), Pass),
        ("drop src 2001:db8:1::3 dst 2001:db8:2::/64", tcp6(), Drop),
        ("drop src 2001:db8:1::4 dst 2001:db8:2::9", tcp6(), Pass),
        ("drop proto tcp", tcp4(), Drop),
        ("drop proto tcp", tcp6(), Drop),
        ("drop proto tcp", udp4(), Pass),
        ("drop proto icmp", v4().icmp(8, 0), Drop),
        ("drop proto icmpv6", v6().icmpv6(128, 0), Drop),
        ("drop proto tcp dport 80", tcp4(), Drop),
        ("drop proto tcp dport 79-81", tcp6(), Drop),
        ("drop proto tcp dport 81-90", tcp4(), Pass),
        ("drop proto udp dport 80", tcp4(), Pass),
        ("drop proto tcp sport 1000", tcp4(), Drop),
        ("drop proto tcp sport 80", tcp4(), Pass),
        ("drop proto sctp dport 80", v4().sctp().ports(1, 80), Drop),
        ("drop src 10.0.0.0/8 proto udp dport 80", udp4(), Drop),
        ("drop src 10.0.0.0/8 proto udp dport 81", udp4(), Pass),
        ("drop src 10.0.0.0/8 interface 1", tcp4(), Drop),
        ("drop src 10.0.0.0/8 interface 2", tcp4(), Pass),
        ("drop interface 7,1,900000", tcp4(), Drop),
        ("drop interface 7,2,900000", tcp4(), Pass),
        ("drop interface ", tcp4(), Pass),
        ("drop proto 47", v4().says(47).payload(8), Drop),
    ]);
}

#[test]
fn frames_are_seen_through_what_stands_before_their_ip_header() {
    let inner = |frame: Frame| frame.ipv4(A4, B4).udp().ports(1, 53).payload(12);
    let inner6 = |frame: Frame| frame.ipv6(A6, B6).udp().ports(1, 53).payload(12);
    const RULE: &str = "drop src 10.1.2.0/24 proto udp dport 53";
    const RULE6: &str = "drop src 2001:db8:1::/64 proto udp dport 53";
    const OTHER: &str = "drop src 10.1.3.0/24 proto udp dport 53";
    check(&[
        (RULE, inner(ether().vlan(0x8100, 10)), Drop),
        (OTHER, inner(ether().vlan(0x8100, 10)), Pass),
        (RULE, inner(ether().vlan(0x88a8, 10).vlan(0x8100, 20)), Drop),
        (RULE6, inner6(ether().vlan(0x8100, 10)), Drop),
        (
            RULE6,
            inner6(ether().vlan(0x88a8, 10).vlan(0x8100, 20)),
            Drop,
        ),
        (RULE, inner(ether().mpls(&[16, 17])), Drop),
        (RULE, inner(ether().vlan(0x8100, 10).pppoe()), Drop),
        (RULE6, inner6(ether().pppoe()), Drop),
        (
            RULE,
            ether()
                .ipv4(A4, B4)
                .options(8)
                .udp()
                .ports(1, 53)
                .payload(2),
            Drop,
        ),
        (
            OTHER,
            ether()
                .ipv4(A4, B4)
                .options(8)
                .udp()
                .ports(1, 53)
                .payload(2),
            Pass,
        ),
    ]);
}

/// Linux strips any number of tags of VLAN 0 by itself, and with its routes and sockets of labels and
/// PPPoE headers.
#[test]
fn deep_stacks_hide_nothing() {
    let inner = |frame: Frame| frame.ipv4(A4, B4).udp().ports(1, 53).payload(12);
    let inner6 = |frame: Frame| frame.ipv6(A6, B6).udp().ports(1, 53).payload(12);
    let tags = |n| (0..n).fold(ether(), |f, i| f.vlan([0x8100, 0x88a8][i % 2], 0));
    let labels = |n| ether().mpls(&vec![16; n]);
    let short = [
        &[0x11, 0, 0, 7, 0, 41, 0x21][..],
        &inner(Frame::layer3()).build(),
    ];
    let short = ether().says(0x8864).bytes(&short.concat());
    const RULE: &str = "drop src 10.1.2.0/24 proto udp dport 53";
    const RULE6: &str = "drop dst 2001:db8:2::/64 proto udp dport 53";
    const OTHER: &str = "drop src 10.1.3.0/24 proto udp dport 53";
    const PORT: &str = "drop src 10.1.2.0/24 proto udp dport 54";
    check(&[
        (RULE, inner(tags(3)), Drop),
        (RULE6, inner6(tags(4)), Drop),
        (RULE, inner(tags(35)), Drop),
        (RULE6, inner6(tags(370)), Drop),
        (OTHER, inner(tags(5)), Pass),
        (PORT, inner(tags(5)), Pass),
        (RULE, inner(labels(5)), Drop),
        (RULE6, inner6(labels(90)), Drop),
        (OTHER, inner(labels(6)), Pass),
        (RULE, inner(tags(9).mpls(&[16; 9])), Drop),
        (RULE, inner(tags(3).pppoe()), Drop),
        (RULE, inner(ether().pppoe()).edit(15, 9), Drop),
        (OTHER, inner(ether().pppoe()).edit(15, 9), Pass),
        (RULE, inner(ether().pppoe().says(0x0281).mpls(&[16])), Drop),
        (RULE, short.clone(), Drop),
        (OTHER, short, Pass),
        // a receiver drops it too, and a pseudowire begins with any address
        ("drop src 0.0.0.0/0", inner(labels(1)).edit(28, 9), Pass),
        // Linux accepts bytes behind a packet
        (RULE6, inner6(labels(1)).pad_to(200), Drop),
    ]);
}

/// Without types, 128 labels are read. A rule that could match a frame with more of them applies.
#[test]
fn programs_without_types_read_128_labels() {
    let Some(mut fixture) = fixture_of(0, false) else {
        return;
    };
    let set = rules(&["drop src 10.1.2.4"]);
    fixture.firewall.replace(&set).expect("rules");
    for (depth, expected) in [(128, Pass), (129, Drop)] {
        let frame = ether().mpls(&vec![16; depth]).ipv4(A4, B4).udp();
        assert_eq!(fixture.verdict(&frame.build()), expected, "{depth}");
    }
}

/// Without types it is unknown whether the outer headers of a GRE packet are there: as under lockdown.
#[test]
fn programs_without_types_read_no_packet_that_begins_with_gre() {
    let Some(mut fixture) = fixture_of(0, false) else {
        return;
    };
    let outer = Ipv4Addr::new(198, 51, 100, 1);
    let gre = Frame::layer3().ipv4(outer, outer).says(47).payload(40);
    for (line, expected) in [("drop src 10.1.2.3", Drop), ("pass src 10.1.2.3", Pass)] {
        fixture.firewall.replace(&rules(&[line])).expect(line);
        let got = fixture.verdict_of(FrameStart::Gre, &gre.clone().build());
        assert_eq!(got, expected, "{line}");
    }
}

/// A header that starts beyond 32 kB is not read. Rules that could match the packet apply.
#[test]
fn a_stack_too_deep_to_read_is_dropped_by_the_first_rule_that_could_match() {
    let inner = |frame: Frame| frame.ipv4(A4, B4).udp().payload(12).build();
    let labels = |n| inner(ether().mpls(&vec![16; n]));
    let (readable, deep) = (labels(8000), labels(9000));
    for (lines, on_readable, on_deep, counted) in [
        (&["drop src 10.1.2.3"][..], Drop, Drop, vec![(1, 2)]),
        (&["drop src 10.1.2.4"], Pass, Drop, vec![(1, 1)]),
        (
            &["pass src 10.1.2.4", "drop dst ::/0"],
            Pass,
            Drop,
            vec![(2, 1)],
        ),
        (
            &["pass proto udp", "count proto udp"],
            Pass,
            Pass,
            vec![(1, 1)],
        ),
        (
            &["drop interface 2", "drop src 10.1.2.4 interface 1"],
            Pass,
            Drop,
            vec![(2, 1)],
        ),
        (&["drop interface 2"], Pass, Pass, vec![]),
        (&["limit proto udp rate 1000"], Pass, Pass, vec![(1, 2)]),
        (&[], Pass, Pass, vec![]),
    ] {
        let Some(fixture) = Fixture::with(&rules(lines)) else {
            return;
        };
        assert_eq!(fixture.verdict(&readable), on_readable, "{lines:?}");
        assert_eq!(fixture.verdict(&deep), on_deep, "{lines:?}");
        assert_eq!(fixture.packets(), counted, "{lines:?}");
    }
}

#[test]
fn extension_headers_hide_nothing() {
    let tcp = |frame: Frame| frame.tcp(SYN).ports(1, 22);
    const RULE: &str = "drop proto tcp dport 22";
    check(&[
        (RULE, tcp(v6().hop_by_hop()), Drop),
        (RULE, tcp(v6().hop_by_hop().routing().destopt().ah()), Drop),
        ("drop proto tcp dport 23", tcp(v6().hop_by_hop()), Pass),
        ("drop proto udp", tcp(v6().hop_by_hop().destopt()), Pass),
        (
            "drop dst 2001:db8:2::/48 proto tcp",
            tcp(v6().destopt()),
            Drop,
        ),
        // cut short, or more of them than are walked: what cannot be seen does not open a door
        (RULE, v6().hop_by_hop().says(60).payload(1), Drop),
        (
            RULE,
            tcp((0..7).fold(v6(), |frame, _| frame.destopt())),
            Drop,
        ),
        ("drop proto 60", v6().hop_by_hop().says(60).payload(1), Drop),
    ]);
}

#[test]
fn fragments_without_ports_are_no_bypass() {
    let first = || v4().fragment(0, true).udp().ports(1, 53).payload(40);
    let later = || v4().fragment(64, true).says(17).payload(40);
    let later_tcp = || v4().fragment(64, false).says(6).payload(40);
    let first6 = || v6().fragment6(0, true).udp().ports(1, 53).payload(40);
    let later6 = || v6().fragment6(64, false).says(17).payload(40);
    check(&[
        ("drop proto udp dport 53", first(), Drop),
        ("drop proto udp dport 54", first(), Pass),
        ("drop proto udp dport 53", later(), Drop),
        ("drop proto udp dport 54", later(), Drop),
        ("drop proto udp dport 53", later_tcp(), Pass),
        ("drop src 10.1.2.3 proto udp dport 53", later(), Drop),
        ("drop src 10.1.2.4 proto udp dport 53", later(), Pass),
        ("drop proto udp dport 53", first6(), Drop),
        ("drop proto udp dport 54", first6(), Pass),
        ("drop proto udp dport 54", later6(), Drop),
        ("drop proto tcp dport 54", later6(), Pass),
        // a first fragment so small that the ports lie in the next
        (
            "drop proto tcp dport 22",
            v4().fragment(0, true).says(6).payload(8),
            Drop,
        ),
        ("drop proto tcp dport 22", v4().says(6).payload(3), Drop),
    ]);
}

/// A rule that passes by ports does not pass what has none to see.
#[test]
fn a_later_fragment_is_not_passed_by_ports() {
    let Some(fixture) = Fixture::with(&rules(&[
        "pass proto udp dport 53",
        "drop dst 192.0.2.0/24",
    ])) else {
        return;
    };
    let first = v4().fragment(0, true).udp().ports(1, 53).payload(40);
    let later = v4().fragment(64, false).says(17).payload(40);
    assert_eq!(fixture.verdict(&first.build()), Pass);
    assert_eq!(fixture.verdict(&later.build()), Drop);
    assert_eq!(fixture.packets(), [(1, 1), (2, 1)]);
}

#[test]
fn what_keeps_a_link_alive_always_passes() {
    // decided by the address alone, and with a rule that asks for more
    let everything = ["drop src ::/0", "drop src 0.0.0.0/0", "drop interface 1"];
    for lines in [&everything[..2], &everything] {
        let Some(fixture) = Fixture::with(&rules(lines)) else {
            return;
        };
        keeps_links_alive(&fixture);
    }
}

fn keeps_links_alive(fixture: &Fixture) {
    let local: Ipv6Addr = "fe80::1".parse().unwrap();
    let edge: Ipv6Addr = "febf::1".parse().unwrap();
    let site: Ipv6Addr = "fec0::1".parse().unwrap();
    let group: Ipv6Addr = "ff02::1".parse().unwrap();
    let discovery = |kind| v6().icmpv6(kind, 0).payload(16).edit(14 + 7, 255).build();
    for (name, frame, expected) in [
        ("ARP", ether().says(0x0806).payload(28).build(), Pass),
        ("a length field", ether().payload(46).build(), Pass),
        ("IPv4 cut short", v4().udp().truncate(30).build(), Pass),
        (
            "link-local source",
            ether().ipv6(local, B6).udp().build(),
            Pass,
        ),
        (
            "end of fe80::/10",
            ether().ipv6(edge, B6).udp().build(),
            Pass,
        ),
        (
            "beyond fe80::/10",
            ether().ipv6(site, B6).udp().build(),
            Drop,
        ),
        (
            "link-local destination",
            ether().ipv6(A6, local).udp().build(),
            Pass,
        ),
        (
            "link-local group",
            ether().ipv6(A6, group).udp().build(),
            Pass,
        ),
        (
            "in a VLAN",
            ether().vlan(0x8100, 1).ipv6(A6, group).udp().build(),
            Pass,
        ),
        (
            "echo request",
            v6().icmpv6(128, 0).edit(14 + 7, 255).build(),
            Drop,
        ),
        (
            "before discovery",
            v6().icmpv6(132, 0).edit(14 + 7, 255).build(),
            Drop,
        ),
        ("router solicitation", discovery(133), Pass),
        ("redirect", discovery(137), Pass),
        (
            "behind an extension header",
            v6().hop_by_hop()
                .icmpv6(135, 0)
                .payload(16)
                .edit(14 + 7, 255)
                .build(),
            Pass,
        ),
        ("after discovery", discovery(138), Drop),
        ("from afar", v6().icmpv6(135, 0).payload(16).build(), Drop),
    ] {
        assert_eq!(fixture.verdict(&frame), expected, "{name}");
    }
}

#[test]
fn devices_without_ethernet_begin_with_ip() {
    let Some(fixture) = Fixture::with(&rules(&[
        "drop src 10.1.2.3 proto udp dport 53",
        "drop src 2001:db8:1::3",
    ])) else {
        return;
    };
    let four = |src| Frame::layer3().ipv4(src, B4).udp().ports(1, 53).payload(9);
    let six = |src| Frame::layer3().ipv6(src, B6).udp().payload(9);
    let ip = |frame: Frame| fixture.verdict_of(FrameStart::Ip, &frame.build());
    assert_eq!(ip(four(A4)), Drop);
    assert_eq!(ip(four(B4)), Pass);
    assert_eq!(ip(six(A6)), Drop);
    assert_eq!(ip(six(B6)), Pass);

    let labelled = Frame::layer3().mpls(&[16, 17]);
    assert_eq!(ip(labelled.clone().ipv4(A4, B4).udp().ports(1, 53)), Drop);
    assert_eq!(ip(labelled.ipv4(B4, B4).udp().ports(1, 53)), Pass);

    let (outer4, outer6) = (Ipv4Addr::new(198, 51, 100, 1), B6);
    let gre = |head: &[u8], inner: &Frame| {
        let payload = [head, &inner.build()].concat();
        let over4 = Frame::layer3()
            .ipv4(outer4, outer4)
            .says(47)
            .bytes(&payload);
        let over6 = Frame::layer3()
            .ipv6(outer6, outer6)
            .says(47)
            .bytes(&payload);
        [over4, over6].map(|frame| fixture.verdict_of(FrameStart::Gre, &frame.build()))
    };
    let keyed = [0x20, 0, 8, 0, 0, 0, 0, 7];
    let all = [0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1];
    for head in [&[0, 0, 8, 0][..], &keyed, &all] {
        assert_eq!(gre(head, &four(A4)), [Drop; 2], "{head:?}");
        assert_eq!(gre(head, &four(B4)), [Pass; 2], "{head:?}");
        assert_eq!(gre(head, &six(A6)), [Drop; 2], "{head:?}");
    }
}

/// Frames larger than a page lie in pieces; both are counted whole.
#[test]
fn jumbo_frames_are_judged_and_counted_whole() {
    let Some(fixture) = Fixture::with(&rules(&["drop src 10.1.2.3"])) else {
        return;
    };
    let frame = v4().udp().payload(8900).build();
    assert_eq!(fixture.verdict(&frame), Drop);
    assert_eq!(fixture.counts()[&1].bytes, frame.len() as u64);
}

#[test]
fn the_first_match_wins_and_what_counts_goes_on() {
    let Some(fixture) = Fixture::with(&rules(&[
        "count src 10.0.0.0/8",         // 1
        "pass src 10.1.2.3 proto tcp",  // 2
        "count dst 192.0.2.0/24",       // 3
        "drop dst 192.0.2.9 proto udp", // 4
        "count proto udp",              // 5: behind a drop for the same packets
        "count src 10.1.0.0/16",        // 6
        "pass src 10.1.2.0/24",         // 7
        "drop src 10.0.0.0/8",          // 8
    ])) else {
        return;
    };
    assert_eq!(fixture.verdict(&v4().tcp(SYN).build()), Pass);
    assert_eq!(fixture.packets(), [(1, 1), (2, 1)]);
    assert_eq!(fixture.verdict(&v4().udp().build()), Drop);
    assert_eq!(fixture.packets(), [(1, 2), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(fixture.verdict(&v4().icmp(8, 0).build()), Pass);
    assert_eq!(
        fixture.packets(),
        [(1, 3), (2, 1), (3, 2), (4, 1), (6, 1), (7, 1)]
    );
    let other = ether()
        .ipv4(Ipv4Addr::new(10, 9, 9, 9), A4)
        .tcp(SYN)
        .build();
    assert_eq!(fixture.verdict(&other), Drop);
    assert_eq!(
        fixture.packets(),
        [(1, 4), (2, 1), (3, 2), (4, 1), (6, 1), (7, 1), (8, 1)]
    );
}

#[test]
fn without_rules_everything_passes() {
    let Some(fixture) = fixture() else {
        return;
    };
    assert_eq!(fixture.verdict(&v4().udp().build()), Pass);
    let Some(fixture) = Fixture::with(&[]) else {
        return;
    };
    assert_eq!(fixture.verdict(&v4().udp().build()), Pass);
    assert_eq!(fixture.verdict(&v6().udp().build()), Pass);
    assert_eq!(fixture.packets(), []);
}

/// The kernel leaves the outer headers of a GRE packet in front only for devices whose header_ops parse them, as
/// those of loopback do, and those of a tun device do not.
#[test]
fn header_ops_decide_whether_a_gre_header_is_the_outer_one() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("t");
    namespace.inside(|| {
        let _tun = Tun::new("t0").expect("a tun device");
        namespace.ip("link set t0 up");
        let fixed = namespace.ifindex("t0");
        let (outer, inner) = (
            Ipv4Addr::new(198, 51, 100, 1),
            Frame::layer3().ipv4(A4, B4).udp(),
        );
        let payload = [&[0, 0, 8, 0][..], &inner.build()].concat();
        let packet = Frame::layer3()
            .ipv4(outer, outer)
            .says(47)
            .bytes(&payload)
            .build();
        for (rule, of_many, of_one) in [
            ("drop src 10.1.2.3/32", Drop, Pass),
            ("drop src 198.51.100.1/32", Pass, Drop),
            ("drop proto 47", Pass, Drop),
            ("drop proto udp", Drop, Pass),
        ] {
            let fixture = Fixture::with(&rules(&[rule])).expect("root");
            assert_eq!(
                fixture.verdict_on(LOOPBACK, FrameStart::Gre, &packet),
                of_many,
                "{rule}"
            );
            assert_eq!(
                fixture.verdict_on(fixed, FrameStart::Gre, &packet),
                of_one,
                "{rule}"
            );
        }
    });
}
