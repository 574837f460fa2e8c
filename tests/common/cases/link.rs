// SPDX-License-Identifier: AGPL-3.0-only
//! Ethernet, VLAN, MPLS, PPPoE, and devices without a link layer header.

use super::*;
use crate::common::frames::Frame;

pub fn cases() -> Vec<Case> {
    [not_ip(), vlan(), mpls(), pppoe(), layer3()].concat()
}

/// UDP with 12 bytes of payload in IPv4: 40 octets.
fn udp4(below: Frame) -> Frame {
    below.ipv4(SRC4, DST4).udp().payload(12)
}

/// The same in IPv6: 60 octets.
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
        // two in band beside the offloaded one; the key has the outer two
        Case::other("vlan/three", udp4(three())).at_ingress(Is::Flow(flow4().vlans(3, 2))),
        Case::other("vlan/four", udp4(four())),
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
    let tagged = || ethernet().vlan(DOT1Q, 10).mpls(&[16]);
    // RFC 4385: a pseudowire's control word begins with nibble 0
    let pseudowire = labels(2).bytes(&[0; 4]).payload(60);
    vec![
        Case::flow("mpls/1", udp4(labels(1)), flow4()),
        Case::flow("mpls/2", udp6(labels(2)), flow6()),
        Case::flow("mpls/3", udp4(labels(3)), flow4()),
        Case::flow("mpls/4", udp6(labels(4)), flow6()),
        Case::other("mpls/5", udp4(labels(5))),
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
        Case::other("mpls/pseudowire", pseudowire),
        Case::garbled("mpls/cut short", labels(1).truncate(17), "link"),
        Case::garbled(
            "mpls/second label cut short",
            labels(2).truncate(20),
            "link",
        ),
        Case::garbled(
            "mpls/bad ipv4",
            udp4(labels(1)).edit(18, 0x44),
            "ip_header_length",
        ),
        Case::garbled(
            "mpls/ipv6 cut short",
            udp6(labels(1)).truncate(18 + 39),
            "ip_truncated",
        ),
    ]
}

fn pppoe() -> Vec<Case> {
    let session = || ethernet().pppoe();
    let tagged = || ethernet().vlan(DOT1Q, 7).pppoe();
    // RFC 1661: a Configure-Request of the link control protocol
    let lcp = session().says(0xc021).bytes(&[1, 1, 0, 4]).pad_to(60);
    let discovery = ethernet()
        .says(0x8863)
        .bytes(&[0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0]);
    vec![
        Case::flow("pppoe/ipv4", udp4(session()), flow4()),
        Case::flow("pppoe/ipv6", udp6(session()), flow6()),
        Case::flow("pppoe/vlan", udp4(tagged()), flow4().vlans(7, 0)),
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
