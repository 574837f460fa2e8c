// SPDX-License-Identifier: AGPL-3.0-only
//! Ports, flags, types and codes, and transport headers that are not all there.

use super::*;

pub fn cases() -> Vec<Case> {
    [ports(), flags(), icmp(), cut_short()].concat()
}

fn ports() -> Vec<Case> {
    vec![
        Case::flow(
            "tcp/ipv4",
            ether4().tcp(SYN).payload(4),
            Flow::v4(TCP, 44).ports().flags(SYN),
        ),
        Case::flow(
            "tcp/ipv6",
            ether6().tcp(ACK).payload(4),
            Flow::v6(TCP, 64).ports().flags(ACK),
        ),
        Case::flow("udp/ipv4", ether4().udp(), Flow::v4(UDP, 28).ports()),
        Case::flow("udp/ipv6", ether6().udp(), Flow::v6(UDP, 48).ports()),
        Case::flow(
            "udp/highest ports",
            ether4().udp().ports(65_535, 65_534),
            Flow::v4(UDP, 28).port_pair(65_535, 65_534),
        ),
        Case::flow("udp/ports 0", ether4().udp().ports(0, 0), Flow::v4(UDP, 28)),
        Case::flow("sctp/ipv4", ether4().sctp(), Flow::v4(SCTP, 32).ports()),
        Case::flow("sctp/ipv6", ether6().sctp(), Flow::v6(SCTP, 52).ports()),
        Case::flow("dccp/ipv4", ether4().dccp(), Flow::v4(DCCP, 32).ports()),
        Case::flow("dccp/ipv6", ether6().dccp(), Flow::v6(DCCP, 52).ports()),
        Case::flow(
            "udplite/ipv4",
            ether4().udplite().payload(4),
            Flow::v4(UDPLITE, 32).ports(),
        ),
        Case::flow(
            "udplite/ipv6",
            ether6().udplite(),
            Flow::v6(UDPLITE, 48).ports(),
        ),
    ]
}

/// Each of the eight, and all of them.
fn flags() -> Vec<Case> {
    [
        ("tcp/fin", 0x01),
        ("tcp/syn", 0x02),
        ("tcp/rst", 0x04),
        ("tcp/psh", 0x08),
        ("tcp/ack", 0x10),
        ("tcp/urg", 0x20),
        ("tcp/ece", 0x40),
        ("tcp/cwr", 0x80),
        ("tcp/all flags", 0xff),
        ("tcp/no flags", 0),
    ]
    .map(|(name, flags)| {
        let flow = Flow::v4(TCP, 40).ports().flags(flags);
        Case::flow(name, ether4().tcp(flags), flow)
    })
    .to_vec()
}

fn icmp() -> Vec<Case> {
    let v4 = |kind, code| Flow::v4(ICMP, 28).type_code(kind, code);
    let v6 = |kind, code| Flow::v6(ICMPV6, 48).type_code(kind, code);
    vec![
        Case::flow("icmp/echo", ether4().icmp(8, 0), v4(8, 0)),
        Case::flow("icmp/echo reply", ether4().icmp(0, 0), v4(0, 0)),
        Case::flow("icmp/port unreachable", ether4().icmp(3, 3), v4(3, 3)),
        Case::flow("icmpv6/echo", ether6().icmpv6(128, 0), v6(128, 0)),
        Case::flow("icmpv6/unreachable", ether6().icmpv6(1, 4), v6(1, 4)),
        Case::flow("icmpv6/solicitation", ether6().icmpv6(135, 0), v6(135, 0)),
    ]
}

/// Such a packet is a flow with ports 0.
fn cut_short() -> Vec<Case> {
    let tcp4 = |present: usize| ether4().tcp(SYN).truncate(34 + present);
    let tcp6 = |present: usize| ether6().tcp(SYN).truncate(54 + present);
    let udp4 = |present: usize| ether4().udp().truncate(34 + present);
    // the length field ends in the middle of the header; what follows is padding, not ports
    let padding = ether4().says(UDP.into()).bytes(&[0x9c]).pad_with(60, 0xee);
    let padding6 = ether6().says(TCP.into()).bytes(&[0x9c]).pad_with(80, 0xee);
    vec![
        Case::flow("tcp/missing", tcp4(0), Flow::v4(TCP, 20)),
        Case::flow("tcp/3 bytes", tcp4(3), Flow::v4(TCP, 23)),
        Case::flow("tcp/19 bytes", tcp4(19), Flow::v4(TCP, 39)),
        Case::flow("tcp/3 bytes in ipv6", tcp6(3), Flow::v6(TCP, 43)),
        Case::flow("udp/missing", udp4(0), Flow::v4(UDP, 20)),
        Case::flow("udp/7 bytes", udp4(7), Flow::v4(UDP, 27)),
        Case::flow(
            "sctp/3 bytes",
            ether4().sctp().truncate(34 + 3),
            Flow::v4(SCTP, 23),
        ),
        Case::flow(
            "icmp/1 byte",
            ether4().icmp(8, 1).truncate(34 + 1),
            Flow::v4(ICMP, 21),
        ),
        Case::flow(
            "icmpv6/missing",
            ether6().icmpv6(128, 0).truncate(54),
            Flow::v6(ICMPV6, 40),
        ),
        Case::flow("udp/ends in padding", padding, Flow::v4(UDP, 21)),
        Case::flow("tcp/ends in padding in ipv6", padding6, Flow::v6(TCP, 41)),
    ]
}
