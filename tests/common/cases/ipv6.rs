// SPDX-License-Identifier: AGPL-3.0-only
//! IPv6: extension headers alone and in chains, fragments, and headers that are not what they say.

use super::*;

pub fn cases() -> Vec<Case> {
    [headers(), extensions(), chains(), fragments(), garbled()].concat()
}

fn tcp(ip_bytes: u64) -> Flow {
    Flow::v6(TCP, ip_bytes).ports().flags(SYN)
}

fn headers() -> Vec<Case> {
    let mobility = ether6().says(135).bytes(&[59, 0, 1, 0, 0, 0, 0, 0]);
    vec![
        Case::flow(
            "ipv6/traffic class",
            ether6().tos(0xb8).udp(),
            Flow::v6(UDP, 48).ports().tos(0xb8),
        ),
        // any next header that is not walked is the protocol
        Case::flow("ipv6/mobility", mobility, Flow::v6(135, 48)),
        Case::flow(
            "ipv6/hip",
            ether6().says(139).payload(40),
            Flow::v6(139, 80),
        ),
        Case::flow(
            "ipv6/shim6",
            ether6().says(140).payload(8),
            Flow::v6(140, 48),
        ),
        Case::flow("ipv6/esp", ether6().says(50).payload(32), Flow::v6(50, 72)),
        Case::flow("ipv6/no next header", ether6().says(59), Flow::v6(59, 40)),
        Case::flow(
            "ipv6/bytes after no next header",
            ether6().says(59).payload(20),
            Flow::v6(59, 60),
        ),
        Case::flow(
            "ipv6/4in6",
            ether6().ipv4(SRC4, DST4).udp(),
            Flow::v6(4, 68),
        ),
        Case::flow(
            "ipv6/6in6",
            ether6().ipv6(DST6, SRC6).tcp(SYN),
            Flow::v6(41, 100),
        ),
        Case::flow(
            "ipv6/gre",
            ether6().says(47).bytes(&[0, 0, 0x86, 0xdd]).payload(40),
            Flow::v6(47, 84),
        ),
        // what follows is padding, or not of this packet (RFC 8200 section 3)
        Case::flow(
            "ipv6/no payload, padding",
            ether6().says(ICMPV6.into()).pad_with(60, 0x80),
            Flow::v6(ICMPV6, 40),
        ),
        Case::flow(
            "ipv6/no payload, bytes behind",
            ether6().udp().payload(20).edit(14 + 5, 0),
            Flow::v6(UDP, 40),
        ),
        Case::flow(
            "ipv6/no payload in a VLAN",
            ethernet()
                .vlan(DOT1Q, 10)
                .ipv6(SRC6, DST6)
                .says(TCP.into())
                .pad_with(80, 2),
            Flow::v6(TCP, 40).vlans(10, 0),
        ),
        Case::flow(
            "ipv6/no payload, and padding like a header",
            ether6()
                .says(60)
                .bytes(&[58, 0, 1, 4, 0, 0, 0, 0, 0x80, 0])
                .edit(14 + 5, 0),
            Flow::v6(60, 40),
        ),
        // RFC 2675: the length is in the hop-by-hop header
        Case::flow(
            "ipv6/jumbogram",
            ether6().hop_by_hop().udp().edit(14 + 5, 0),
            Flow::v6(UDP, 56).ports(),
        ),
        Case::flow(
            "ipv6/length beyond the frame",
            ether6().udp().payload(100).truncate(14 + 60),
            Flow::v6(UDP, 60).ports(),
        ),
    ]
}

fn extensions() -> Vec<Case> {
    vec![
        Case::flow("ipv6/hop-by-hop", ether6().hop_by_hop().tcp(SYN), tcp(68)),
        Case::flow("ipv6/routing", ether6().routing().tcp(SYN), tcp(84)),
        Case::flow("ipv6/destination", ether6().destopt().tcp(SYN), tcp(76)),
        Case::flow("ipv6/ah", ether6().ah().tcp(SYN), tcp(84)),
        Case::flow(
            "ipv6/hop-by-hop icmpv6",
            ether6().hop_by_hop().icmpv6(143, 0),
            Flow::v6(ICMPV6, 56).type_code(143, 0),
        ),
        Case::flow(
            "ipv6/ah then esp",
            ether6().ah().says(50).payload(16),
            Flow::v6(50, 80),
        ),
        Case::flow(
            "ipv6/destination then nothing",
            ether6().destopt().says(59),
            Flow::v6(59, 56),
        ),
        // cut short: the protocol is the extension header itself
        Case::flow(
            "ipv6/hop-by-hop cut at 1",
            ether6().hop_by_hop().tcp(SYN).truncate(14 + 41),
            Flow::v6(0, 41),
        ),
        Case::flow(
            "ipv6/routing missing",
            ether6().routing().tcp(SYN).truncate(14 + 40),
            Flow::v6(43, 40),
        ),
        Case::flow(
            "ipv6/routing body cut",
            ether6().routing().tcp(SYN).truncate(14 + 40 + 23),
            Flow::v6(43, 63),
        ),
        Case::flow(
            "ipv6/destination longer than the frame",
            ether6().destopt().tcp(SYN).edit(14 + 41, 255),
            Flow::v6(60, 76),
        ),
        Case::flow(
            "ipv6/fragment cut",
            ether6().fragment6(0, true).udp().truncate(14 + 40 + 7),
            Flow::v6(44, 47),
        ),
        Case::flow(
            "ipv6/ah cut",
            ether6().ah().tcp(SYN).truncate(14 + 40 + 12),
            Flow::v6(51, 52),
        ),
    ]
}

fn chains() -> Vec<Case> {
    let six = || {
        ether6()
            .hop_by_hop()
            .destopt()
            .routing()
            .fragment6(0, false)
            .ah()
            .destopt()
    };
    let long = || ether6().destopt().destopt().destopt().destopt().destopt();
    vec![
        // 40 + 8 + 16 + 24 + 8 + 24 + 16 + 20
        Case::flow("ipv6/six extensions", six().tcp(SYN), tcp(156)),
        Case::flow(
            "ipv6/seven extensions",
            six().destopt().tcp(SYN),
            Flow::v6(60, 172),
        ),
        Case::flow("ipv6/seventh is ah", six().ah().tcp(SYN), Flow::v6(51, 180)),
        Case::flow(
            "ipv6/six then udp",
            long().destopt().udp(),
            Flow::v6(UDP, 144).ports(),
        ),
        Case::flow(
            "ipv6/six then mobility",
            long().destopt().says(135).payload(8),
            Flow::v6(135, 144),
        ),
    ]
}

fn fragments() -> Vec<Case> {
    let later = ether6().fragment6(1448, true);
    vec![
        Case::flow(
            "ipv6/first fragment",
            ether6().fragment6(0, true).udp().payload(16),
            Flow::v6(UDP, 72).ports(),
        ),
        // RFC 6946
        Case::flow(
            "ipv6/atomic fragment",
            ether6().fragment6(0, false).tcp(SYN),
            tcp(68),
        ),
        Case::flow(
            "ipv6/later fragment",
            later.clone().says(UDP.into()).payload(32),
            Flow::v6(UDP, 80),
        ),
        Case::flow(
            "ipv6/last fragment",
            ether6().fragment6(2896, false).says(TCP.into()).payload(32),
            Flow::v6(TCP, 80),
        ),
        // what the fragment header names is not here: it is the protocol, walked or not
        Case::flow(
            "ipv6/later fragment of destination",
            later.says(60).payload(32),
            Flow::v6(60, 80),
        ),
        Case::flow(
            "ipv6/routing then later fragment",
            ether6()
                .routing()
                .fragment6(8, false)
                .says(ICMPV6.into())
                .payload(8),
            Flow::v6(ICMPV6, 80),
        ),
        Case::flow(
            "ipv6/first fragment of destination",
            ether6().fragment6(0, true).destopt().udp(),
            Flow::v6(UDP, 72).ports(),
        ),
    ]
}

fn garbled() -> Vec<Case> {
    let udp = || ether6().udp().payload(20);
    vec![
        Case::garbled("ipv6/version 4", udp().edit(14, 0x45), "ip_version"),
        Case::garbled("ipv6/version 15", udp().edit(14, 0xf0), "ip_version"),
        Case::garbled("ipv6/cut at 39", udp().truncate(14 + 39), "ip_truncated"),
        Case::garbled("ipv6/cut at 1", udp().truncate(14 + 1), "ip_truncated"),
        Case::garbled("ipv6/cut at 0", udp().truncate(14), "ip_truncated"),
    ]
}
