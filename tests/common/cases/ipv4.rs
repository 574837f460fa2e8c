// SPDX-License-Identifier: AGPL-3.0-only
//! IPv4: options, fragments, tunnels, and headers that are not what they say.

use super::*;

pub fn cases() -> Vec<Case> {
    [headers(), fragments(), tunnels(), garbled()].concat()
}

fn headers() -> Vec<Case> {
    let with_options = |bytes: usize| ether4().options(bytes).tcp(SYN);
    let tcp = |ip_bytes: u64| Flow::v4(TCP, ip_bytes).ports().flags(SYN);
    vec![
        Case::flow("ipv4/options 4", with_options(4), tcp(44)),
        Case::flow("ipv4/options 40", with_options(40), tcp(80)),
        Case::flow(
            "ipv4/tos",
            ether4().tos(0xb8).udp(),
            Flow::v4(UDP, 28).ports().tos(0xb8),
        ),
        // no transport header is known, or wanted
        Case::flow(
            "ipv4/protocol 0",
            ether4().says(0).payload(20),
            Flow::v4(0, 40),
        ),
        Case::flow("ipv4/ah stays 51", ether4().ah().tcp(SYN), Flow::v4(51, 64)),
        Case::flow("ipv4/esp", ether4().says(50).payload(20), Flow::v4(50, 40)),
        Case::flow("ipv4/nothing inside", ether4().says(253), Flow::v4(253, 20)),
        Case::flow(
            "ipv4/length 0",
            ether4().udp().payload(4).edit(16, 0).edit(17, 0),
            Flow::v4(UDP, 32).ports(),
        ),
        Case::flow(
            "ipv4/length beyond the frame",
            ether4().udp().payload(100).truncate(14 + 60),
            Flow::v4(UDP, 60).ports(),
        ),
    ]
}

fn fragments() -> Vec<Case> {
    let first = ether4().fragment(0, true).tcp(ACK).payload(12);
    let later = |offset, more| ether4().fragment(offset, more).says(TCP.into()).payload(32);
    vec![
        Case::flow(
            "ipv4/first fragment",
            first,
            Flow::v4(TCP, 52).ports().flags(ACK),
        ),
        Case::flow("ipv4/middle fragment", later(8, true), Flow::v4(TCP, 52)),
        Case::flow("ipv4/last fragment", later(1480, false), Flow::v4(TCP, 52)),
        Case::flow(
            "ipv4/fragment far out",
            later(65_528, false),
            Flow::v4(TCP, 52),
        ),
        Case::flow(
            "ipv4/dont fragment",
            ether4().udp().edit(14 + 6, 0x40),
            Flow::v4(UDP, 28).ports(),
        ),
        Case::flow(
            "ipv4/icmp fragment",
            ether4().fragment(8, false).says(ICMP.into()).payload(8),
            Flow::v4(ICMP, 28),
        ),
    ]
}

/// A tunnel is its outer header.
fn tunnels() -> Vec<Case> {
    let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let gre = ether4().says(47).bytes(&[0, 0, 8, 0]).payload(40);
    let vxlan = ether4()
        .udp()
        .ports(50_000, 4789)
        .bytes(&[8, 0, 0, 0, 0, 0, 1, 0])
        .payload(60);
    vec![
        Case::flow(
            "ipv4/ipip",
            ether4().ipv4(a, b).udp().payload(4),
            Flow::v4(4, 52),
        ),
        Case::flow(
            "ipv4/6in4",
            ether4().ipv6(SRC6, DST6).tcp(SYN),
            Flow::v4(41, 80),
        ),
        Case::flow("ipv4/gre", gre, Flow::v4(47, 64)),
        Case::flow(
            "ipv4/vxlan",
            vxlan,
            Flow::v4(UDP, 96).port_pair(50_000, 4789),
        ),
    ]
}

fn garbled() -> Vec<Case> {
    let udp = || ether4().udp().payload(20);
    let of_length = |length: u8| udp().edit(16, 0).edit(17, length);
    let tagged = ethernet().vlan(DOT1Q, 10).ipv4(SRC4, DST4);
    vec![
        Case::garbled("ipv4/length 1", of_length(1), "ip_header_length"),
        Case::garbled("ipv4/length 10", of_length(10), "ip_header_length"),
        Case::garbled("ipv4/length 19", of_length(19), "ip_header_length"),
        Case::flow("ipv4/length 20", of_length(20), Flow::v4(UDP, 20)),
        Case::garbled(
            "ipv4/length 19 in a VLAN",
            tagged.udp().payload(20).edit(14 + 7, 19),
            "ip_header_length",
        ),
        Case::garbled(
            "ipv4/length below its options",
            ether4().options(8).udp().edit(17, 27),
            "ip_header_length",
        ),
        Case::garbled("ipv4/version 6", udp().edit(14, 0x65), "ip_version"),
        Case::garbled("ipv4/version 0", udp().edit(14, 0x05), "ip_version"),
        Case::garbled("ipv4/ihl 4", udp().edit(14, 0x44), "ip_header_length"),
        Case::garbled("ipv4/ihl 0", udp().edit(14, 0x40), "ip_header_length"),
        Case::garbled(
            "ipv4/ihl beyond the frame",
            udp().edit(14, 0x4f),
            "ip_truncated",
        ),
        Case::garbled("ipv4/cut at 19", udp().truncate(14 + 19), "ip_truncated"),
        Case::garbled("ipv4/cut at 1", udp().truncate(14 + 1), "ip_truncated"),
        Case::garbled("ipv4/cut at 0", udp().truncate(14), "ip_truncated"),
        Case::garbled(
            "ipv4/options cut",
            ether4().options(40).udp().truncate(14 + 59),
            "ip_truncated",
        ),
    ]
}
