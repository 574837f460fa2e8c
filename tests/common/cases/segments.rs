// SPDX-License-Identifier: AGPL-3.0-only
//! Super-packets: counted as the segments they stand for, each with its replicated headers.

use super::*;
use crate::common::packet::Super;

pub fn cases() -> Vec<Case> {
    let tcp4 = || ether4().tcp(ACK).payload(1_300);
    let tcp6 = || ether6().tcp(ACK).payload(1_300);
    let tagged = ethernet().vlan(DOT1AD, 100).vlan(DOT1Q, 10);
    let acknowledged = |flow: Flow| flow.ports().flags(ACK);
    vec![
        // 3 segments of 500, 500, 300 with 54 bytes of headers each; IP bytes without the 14
        Case::flow("gso/tcp", tcp4(), acknowledged(Flow::v4(TCP, 1_420))).segments(
            500,
            3,
            1_300 + 3 * 54,
        ),
        Case::flow(
            "gso/count unknown",
            tcp4(),
            acknowledged(Flow::v4(TCP, 1_420)),
        )
        .segmented_by(500, 0, 3, 1_300 + 3 * 54),
        Case::flow("gso/tcp ipv6", tcp6(), acknowledged(Flow::v6(TCP, 1_480))).segments(
            500,
            3,
            1_300 + 3 * 74,
        ),
        Case::flow(
            "gso/udp",
            ether4().udp().payload(1_200),
            Flow::v4(UDP, 1_312).ports(),
        )
        .segments(300, 4, 1_200 + 4 * 42),
        Case::flow(
            "gso/udp count unknown",
            ether4().udp().payload(1_200),
            Flow::v4(UDP, 1_312).ports(),
        )
        .segmented_by(300, 0, 4, 1_200 + 4 * 42),
        Case::flow(
            "gso/one segment",
            ether4().tcp(ACK).payload(100),
            acknowledged(Flow::v4(TCP, 140)),
        )
        .segmented_by(500, 0, 1, 154),
        Case::flow(
            "gso/qinq",
            tagged.ipv4(SRC4, DST4).tcp(ACK).payload(1_000),
            acknowledged(Flow::v4(TCP, 1_080)).vlans(100, 10),
        )
        .segments(500, 2, 1_000 + 2 * 62),
        Case::flow(
            "gso/ipv4 options",
            ether4().options(12).tcp(ACK).payload(1_000),
            acknowledged(Flow::v4(TCP, 1_104)),
        )
        .segments(500, 2, 1_000 + 2 * 66),
        Case::flow(
            "gso/ipv6 hop-by-hop",
            ether6().hop_by_hop().tcp(ACK).payload(1_000),
            acknowledged(Flow::v6(TCP, 1_136)),
        )
        .segments(500, 2, 1_000 + 2 * 82),
    ]
}

impl Case {
    /// As the kernel is told of it; `None` for what is no GSO packet or has but one segment.
    pub fn super_packet(&self) -> Option<Super> {
        let segmentation = self.segmentation?;
        let flow = self.expect.flow.as_ref()?;
        let copies = self.expect.packets.checked_sub(1).filter(|n| *n > 0)?;
        let headers = (self.expect.bytes - self.frame.len() as u64) / copies;
        let transport_length = if flow.protocol == TCP { 20 } else { 8 };
        Some(Super {
            gso_size: segmentation.size as u16,
            transport: headers as u16 - transport_length,
            payload: headers as u16,
            udp: flow.protocol != TCP,
            ipv6: flow.src.is_ipv6(),
        })
    }

    /// A GSO packet of `count` segments, `bytes` on the wire in all.
    pub(super) fn segments(self, size: u32, count: u32, bytes: u64) -> Self {
        self.segmented_by(size, count, count.into(), bytes)
    }

    /// As [`Case::segments`]; `said` is the count that the stack says.
    fn segmented_by(mut self, size: u32, said: u32, packets: u64, bytes: u64) -> Self {
        self.segmentation = Some(Segmentation { size, count: said });
        (self.expect.packets, self.expect.bytes) = (packets, bytes);
        self
    }
}
