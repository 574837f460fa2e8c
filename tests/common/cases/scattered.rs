// SPDX-License-Identifier: AGPL-3.0-only
//! Frames whose headers may lie outside the linear part of the buffer: each stack once, with a payload
//! of 4,200 bytes.

use super::*;
use crate::common::frames::Frame;

const PAYLOAD: usize = 4_200;

pub fn cases() -> Vec<Case> {
    let udp4 = |below: Frame| below.ipv4(SRC4, DST4).udp().payload(PAYLOAD);
    let tcp6 = |below: Frame| below.ipv6(SRC6, DST6).tcp(SYN).payload(PAYLOAD);
    let flow4 = || Flow::v4(UDP, 4_228).ports();
    let flow6 = || Flow::v6(TCP, 4_260).ports().flags(SYN);
    let chain = ether6()
        .hop_by_hop()
        .destopt()
        .routing()
        .fragment6(0, false)
        .ah()
        .destopt()
        .tcp(ACK)
        .payload(PAYLOAD);
    vec![
        Case::flow("scattered/ipv4", udp4(ethernet()), flow4()),
        Case::flow("scattered/ipv6", tcp6(ethernet()), flow6()),
        Case::flow(
            "scattered/options",
            ether4().options(40).tcp(ACK).payload(PAYLOAD),
            Flow::v4(TCP, 4_280).ports().flags(ACK),
        ),
        Case::flow(
            "scattered/vlan",
            udp4(ethernet().vlan(DOT1Q, 10)),
            flow4().vlans(10, 0),
        ),
        Case::flow(
            "scattered/qinq",
            tcp6(ethernet().vlan(DOT1AD, 100).vlan(DOT1Q, 10)),
            flow6().vlans(100, 10),
        ),
        Case::flow(
            "scattered/mpls",
            udp4(ethernet().mpls(&[16, 17, 18, 19])),
            flow4(),
        ),
        Case::flow("scattered/pppoe", tcp6(ethernet().pppoe()), flow6()),
        Case::flow(
            "scattered/six extensions",
            chain,
            Flow::v6(TCP, 4_356).ports().flags(ACK),
        ),
        Case::flow(
            "scattered/later fragment",
            ether6()
                .fragment6(1448, true)
                .says(UDP.into())
                .payload(PAYLOAD),
            Flow::v6(UDP, 4_248),
        ),
        Case::flow(
            "scattered/icmp",
            ether4().icmp(8, 0).payload(PAYLOAD),
            Flow::v4(ICMP, 4_228).type_code(8, 0),
        ),
        Case::garbled(
            "scattered/bad version",
            udp4(ethernet()).edit(14, 0x95),
            "ip_version",
        ),
        Case::other("scattered/not ip", ethernet().says(0x88cc).payload(PAYLOAD)),
    ]
}
