// SPDX-License-Identifier: AGPL-3.0-only
//! Ethernet, VLAN, MPLS, PPPoE, and devices without a link layer header.

use super::*;
use crate::common::frames::Frame;

pub fn cases() -> Vec<Case> {
    [not_ip(), vlan(), mpls(), pseudowires(), pppoe(), layer3()].concat()
}

/// UDP with 12 bytes of payload in IPv4: 40 bytes.
fn udp4(below: Frame) -> Frame {
    below.ipv4(SRC4, DST4).udp().payload(12)
}

/// The same in IPv6: 60 bytes.
fn udp6(below: Frame) -> Frame {
    below.ipv6(SRC6, DST6).udp().payload(12)
}

fn flow4() -> Flow {
    Flow::v4(UDP, 40).ports()
}

fn flow6() -> Flow {
    Flow::v6(UDP, 60).ports()
}

fn not_ip() -> Vec<Case> {
    let arp = ethernet().says(0x0806).bytes(&[
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0xaa, 1, 8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 2,
    ]);
    let spanning_tree = ethernet().bytes(&[0x42, 0x42, 3]).payload(35).pad_to(60);
    // RFC 1042: IPv4 in SNAP; rare enough to be `other`
    let snap = ethernet()
        .bytes(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45, 0])
        .payload(40);
    vec![
        Case::flow("ethernet/ipv4", udp4(ethernet()), flow4()),
        Case::flow("ethernet/ipv6", udp6(ethernet()), flow6()),
        Case::flow("ethernet/padding", udp4(ethernet()).pad_to(60), flow4()),
        Case::other("ethernet/arp", arp.pad_to(60)),
        Case::other("ethernet/llc", spanning_tree),
        Case::other("ethernet/snap", snap),
        Case::other("ethernet/lldp", ethernet().says(0x88cc).payload(46)),
        Case::other("ethernet/unknown", ethernet().says(0xffff).payload(46)),
    ]
}

fn vlan() -> Vec<Case> {
    let one = || ethernet().vlan(DOT1Q, 10);
    let provider = || ethernet().vlan(DOT1AD, 100).vlan(DOT1Q, 10);
    let double = || ethernet().vlan(DOT1Q, 100).vlan(DOT1Q, 10);
    let three = || ethernet().vlan(DOT1AD, 3).vlan(DOT1AD, 2).vlan(DOT1Q, 1);
    let four = || three().vlan(DOT1Q, 4);
    let tags = |n| (0..n).fold(ethernet(), |f, i| f.vlan([DOT1Q, DOT1AD][i / 3 % 2], 0));
    // priority 7, drop eligible: not part of the id
    let marked = ethernet().vlan(DOT1Q, 0xf00a);
    // priority tag: VLAN 0 is no VLAN (802.1Q section 9.6)
    let priority = ethernet().vlan(DOT1Q, 0xe000);
    let priority_then_id = ethernet().vlan(DOT1Q, 0).vlan(DOT1Q, 10);
    vec![
        Case::flow("vlan/ipv4", udp4(one()), flow4().vlans(10, 0)),
        Case::flow("vlan/ipv6", udp6(one()), flow6().vlans(10, 0)),
        Case::flow(
            "vlan/802.1ad",
            udp4(ethernet().vlan(DOT1AD, 4094)),
            flow4().vlans(4094, 0),
        ),
        Case::flow("vlan/marked", udp4(marked), flow4().vlans(10, 0)),
        Case::flow("vlan/priority", udp4(priority), flow4()),
        Case::flow(
            "vlan/priority+802.1q",
            udp4(priority_then_id),
            flow4().vlans(0, 10),
        ),
        Case::flow("vlan/qinq", udp4(provider()), flow4().vlans(100, 10)),
        Case::flow("vlan/qinq ipv6", udp6(provider()), flow6().vlans(100, 10)),
        Case::flow("vlan/two 802.1q", udp6(double()), flow6().vlans(100, 10)),
        // the key has the outer two
        Case::flow("vlan/three", udp4(three()), flow4().vlans(3, 2)),
        Case::flow("vlan/four", udp6(four()), flow6().vlans(3, 2)),
        // the kernel strips tags of VLAN 0 until none is left
        Case::flow("vlan/12 of VLAN 0", udp4(tags(12)), flow4()),
        Case::flow("vlan/66 of VLAN 0", udp6(tags(66)), flow6()),
        Case::flow("vlan/67 of VLAN 0", udp4(tags(67)), flow4()),
        Case::flow("vlan/370 of VLAN 0", udp4(tags(370)), flow4()),
        Case::other("vlan/12, then ARP", tags(12).says(0x0806).payload(46)),
        Case::garbled("vlan/12, cut short", tags(12).truncate(14 + 46), "link"),
        Case::garbled("vlan/100, cut short", tags(100).truncate(14 + 398), "link"),
        Case::flow("vlan/5, then mpls", udp4(tags(5).mpls(&[16; 7])), flow4()),
        Case::flow("vlan/5, then pppoe", udp6(tags(5).pppoe()), flow6()),
        Case::other("vlan/arp", one().says(0x0806).payload(46)),
        Case::other("vlan/llc", one().says(38).payload(38)),
        Case::garbled("vlan/cut short", one().truncate(17), "link").unseen_at_ingress(),
        Case::garbled("vlan/second cut short", double().truncate(21), "link"),
        Case::garbled(
            "vlan/no ip",
            one().says(0x0800).truncate(18),
            "ip_truncated",
        )
        .unseen_at_ingress(),
    ]
}

fn mpls() -> Vec<Case> {
    let labels = |n: usize| ethernet().mpls(&[16, 17, 18, 19, 20][..n]);
    let many = |n: usize| ethernet().mpls(&vec![0xf_fffe; n]);
    let tagged = || ethernet().vlan(DOT1Q, 10).mpls(&[16]);
    vec![
        Case::flow("mpls/1", udp4(labels(1)), flow4()),
        Case::flow("mpls/2", udp6(labels(2)), flow6()),
        Case::flow("mpls/3", udp4(labels(3)), flow4()),
        Case::flow("mpls/4", udp6(labels(4)), flow6()),
        Case::flow("mpls/5", udp4(labels(5)), flow4()),
        Case::flow("mpls/64", udp6(many(64)), flow6()),
        Case::flow("mpls/65", udp4(many(65)), flow4()),
        Case::flow("mpls/300", udp6(many(300)), flow6()),
        Case::flow(
            "mpls/ipv4 explicit null",
            udp4(ethernet().mpls(&[0])),
            flow4(),
        ),
        Case::flow(
            "mpls/ipv6 explicit null",
            udp6(ethernet().mpls(&[2])),
            flow6(),
        ),
        Case::flow("mpls/vlan", udp4(tagged()), flow4().vlans(10, 0)),
        Case::flow(
            "mpls/ipv4 options",
            labels(1).ipv4(SRC4, DST4).options(40).udp(),
            Flow::v4(UDP, 68).ports(),
        ),
        Case::flow("mpls/ipv6 padding", udp6(labels(1)).pad_to(84), flow6()),
        Case::flow(
            "mpls/ipv6 in a minimal frame",
            labels(1).ipv6(SRC6, DST6).says(59).pad_to(64),
            Flow::v6(59, 40),
        ),
        Case::garbled("mpls/cut short", labels(1).truncate(17), "link"),
        Case::garbled(
            "mpls/second label cut short",
            labels(2).truncate(20),
            "link",
        ),
        Case::garbled("mpls/300 cut short", many(300).truncate(1200), "link"),
    ]
}

/// What an MPLS label stack carries beside IP. No field tells, so nothing of it is an error.
fn pseudowires() -> Vec<Case> {
    let labels = || ethernet().mpls(&[16, 17]);
    let wire = |mac: [u8; 6], inner: fn(Frame) -> Frame| {
        let inner = inner(Frame::ethernet(SRC_MAC, mac)).build();
        labels().bytes(&inner)
    };
    let tcp4 = |f: Frame| f.ipv4(SRC4, DST4).tcp(SYN).payload(200);
    let tcp6 = |f: Frame| f.ipv6(SRC6, DST6).tcp(SYN).payload(200);
    // RFC 4385: a control word begins with nibble 0
    let control = Frame::ethernet(SRC_MAC, [0x45, 0, 0, 1, 2, 3]);
    let control = [&[0; 4][..], &tcp4(control).build()].concat();
    vec![
        Case::other("pseudowire/control word", labels().bytes(&control)),
        Case::other("pseudowire/zeroes", labels().bytes(&[0; 64])),
        // without one, the destination address comes first
        Case::other("pseudowire/45", wire([0x45, 0, 0, 0xea, 0x12, 1], tcp4)),
        Case::other("pseudowire/4c", wire([0x4c, 0x5e, 0x0c, 1, 2, 3], tcp6)),
        Case::other("pseudowire/44", wire([0x44, 0x5e, 0x0c, 1, 2, 3], tcp4)),
        Case::other("pseudowire/60", wire([0x60, 0x3e, 0x5f, 1, 0, 40], tcp6)),
        Case::other("pseudowire/6c", wire([0x6c, 0x3e, 0x5f, 1, 0xf0, 9], tcp4)),
        Case::other("pseudowire/68 00:00", wire([0x68, 5, 5, 5, 0, 0], tcp4)),
        Case::other("pseudowire/short", wire([0x45, 0, 0, 9, 9, 9], |f| f)),
        Case::other("mpls/bad ipv4", udp4(labels()).edit(22, 0x44)),
        Case::other("mpls/bad ipv4 checksum", udp4(labels()).edit(32, 0xaa)),
        Case::other("mpls/ipv6 cut short", udp6(labels()).truncate(14 + 8 + 39)),
        Case::other("mpls/nothing", labels()),
    ]
}

fn pppoe() -> Vec<Case> {
    let session = || ethernet().pppoe();
    let tagged = || ethernet().vlan(DOT1Q, 7).pppoe();
    // RFC 1661 section 6.5: a protocol field of one byte
    let short = |protocol: u8, ipv6| {
        let packet = match ipv6 {
            false => udp4(Frame::layer3()).build(),
            true => udp6(Frame::layer3()).build(),
        };
        let length = (packet.len() as u16 + 1).to_be_bytes();
        let head = [0x11, 0, 0, 7, length[0], length[1], protocol];
        ethernet()
            .says(0x8864)
            .bytes(&[&head, &packet[..]].concat())
    };
    let labelled = |protocol: u16| session().says(protocol).mpls(&[16, 17]);
    // RFC 1661: a Configure-Request of the link control protocol
    let lcp = session().says(0xc021).bytes(&[1, 1, 0, 4]).pad_to(60);
    let discovery = ethernet()
        .says(0x8863)
        .bytes(&[0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0]);
    vec![
        Case::flow("pppoe/ipv4", udp4(session()), flow4()),
        Case::flow("pppoe/ipv6", udp6(session()), flow6()),
        Case::flow("pppoe/vlan", udp4(tagged()), flow4().vlans(7, 0)),
        Case::flow("pppoe/code 9", udp4(session()).edit(15, 9), flow4()),
        Case::flow("pppoe/version 2", udp6(session()).edit(14, 0x21), flow6()),
        Case::flow("pppoe/short protocol, ipv4", short(0x21, false), flow4()),
        Case::flow("pppoe/short protocol, ipv6", short(0x57, true), flow6()),
        Case::other("pppoe/short protocol, not ip", short(0x2b, false)),
        Case::flow("pppoe/mpls", udp4(labelled(0x0281)), flow4()),
        Case::flow("pppoe/mpls multicast", udp6(labelled(0x0283)), flow6()),
        Case::other("pppoe/lcp", lcp),
        Case::other("pppoe/discovery", discovery.pad_to(60)),
        Case::garbled("pppoe/cut short", udp4(session()).truncate(14 + 7), "link"),
        Case::garbled(
            "pppoe/bad version",
            udp4(session()).edit(22, 0x65),
            "ip_version",
        ),
    ]
}

fn layer3() -> Vec<Case> {
    let bare = Frame::layer3;
    let (ipv4, ipv6) = (0x0800, 0x86dd);
    vec![
        Case::flow("l3/ipv4", udp4(bare()), flow4()).layer3(ipv4),
        Case::flow("l3/ipv6", udp6(bare()), flow6()).layer3(ipv6),
        Case::flow(
            "l3/ipv6 hop-by-hop",
            bare().ipv6(SRC6, DST6).hop_by_hop().tcp(SYN),
            Flow::v6(TCP, 68).ports().flags(SYN),
        )
        .layer3(ipv6),
        Case::flow("l3/mpls", udp4(bare().mpls(&[16])), flow4()).layer3(0x8847),
        Case::other("l3/not ip", bare().payload(40)).layer3(0x88cc),
        Case::garbled("l3/bad version", udp4(bare()).edit(0, 0x65), "ip_version").layer3(ipv4),
        Case::garbled(
            "l3/bad header length",
            udp4(bare()).edit(0, 0x42),
            "ip_header_length",
        )
        .layer3(ipv4),
        Case::garbled("l3/one byte", udp4(bare()).truncate(1), "ip_truncated").layer3(ipv4),
        Case::garbled("l3/ipv4 cut", udp4(bare()).truncate(19), "ip_truncated").layer3(ipv4),
        Case::garbled("l3/ipv6 cut", udp6(bare()).truncate(39), "ip_truncated").layer3(ipv6),
    ]
}
