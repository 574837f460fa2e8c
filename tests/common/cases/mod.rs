// SPDX-License-Identifier: AGPL-3.0-only
//! One frame per header stack, and what the programs must make of it: the family it is counted
//! under, the flow it is, or why it is none. Figures are written out by hand, not computed by a second
//! parser.

mod ipv4;
mod ipv6;
mod link;
mod scattered;
mod segments;
mod transport;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rfm::types::flow::Family;

use super::frames::{DST_PORT, Frame, Mac, SRC_PORT};

pub const SRC_MAC: Mac = [2, 0, 0, 0, 0xaa, 1];
/// No device has it, so that no stack answers.
pub const DST_MAC: Mac = [2, 0, 0, 0, 0xbb, 2];

/// Bytes 12 and 13 of a packet from here are 0x0800: where `BPF_PROG_TEST_RUN` takes the start of a
/// packet without link layer header for Ethernet, it finds the true EtherType there.
pub const SRC4: Ipv4Addr = Ipv4Addr::new(8, 0, 0, 1);
pub const DST4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// As [`SRC4`], with 0x86dd.
pub const SRC6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x86dd, 0, 0, 0, 0, 1);
pub const DST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

pub const DOT1Q: u16 = 0x8100;
pub const DOT1AD: u16 = 0x88a8;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const DCCP: u8 = 33;
pub const ICMPV6: u8 = 58;
pub const SCTP: u8 = 132;
pub const UDPLITE: u8 = 136;

pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;

/// What stands below the network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Ethernet,
    /// None; the device says the EtherType.
    Layer3(u16),
}

/// A GSO packet: what the stack says of its segments.
#[derive(Clone, Copy, Debug)]
pub struct Segmentation {
    /// Payload bytes of each segment.
    pub size: u32,
    /// 0 where the sender does not say (virtual machines, taps).
    pub count: u32,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    pub link: Link,
    pub frame: Vec<u8>,
    pub segmentation: Option<Segmentation>,
    /// As the frame lies on the wire: all tags in band.
    pub expect: Expect,
    /// At the ingress hook of a real device the kernel has moved the first tag into metadata.
    pub ingress: Ingress,
}

#[derive(Clone, Debug)]
pub enum Ingress {
    Same,
    Differs(Expect),
    /// The kernel drops it before any hook.
    Unseen,
}

/// What exactly one frame must move; anything else must stand still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    pub family: Family,
    pub packets: u64,
    /// Frame bytes, tags included, of all segments.
    pub bytes: u64,
    pub flow: Option<Flow>,
    /// `reason` of `rfm_parse_errors_total`.
    pub error: Option<&'static str>,
}

/// The flow's key, and what is remembered of its first packet. `packets` and `bytes` are those of
/// [`Expect`]: every IP packet is in a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub src_port: u16,
    pub dst_port: u16,
    pub vlan_outer: u16,
    pub vlan_inner: u16,
    pub ip_bytes: u64,
    pub tos: u8,
    pub tcp_flags: u8,
    pub src_mac: Mac,
    pub dst_mac: Mac,
}

impl Flow {
    fn between(src: IpAddr, dst: IpAddr, protocol: u8, ip_bytes: u64) -> Self {
        Self {
            src,
            dst,
            protocol,
            src_port: 0,
            dst_port: 0,
            vlan_outer: 0,
            vlan_inner: 0,
            ip_bytes,
            tos: 0,
            tcp_flags: 0,
            src_mac: SRC_MAC,
            dst_mac: DST_MAC,
        }
    }

    fn v4(protocol: u8, ip_bytes: u64) -> Self {
        Self::between(SRC4.into(), DST4.into(), protocol, ip_bytes)
    }

    fn v6(protocol: u8, ip_bytes: u64) -> Self {
        Self::between(SRC6.into(), DST6.into(), protocol, ip_bytes)
    }

    /// The builder's usual ports.
    fn ports(self) -> Self {
        self.port_pair(SRC_PORT, DST_PORT)
    }

    fn port_pair(mut self, src: u16, dst: u16) -> Self {
        (self.src_port, self.dst_port) = (src, dst);
        self
    }

    /// As NetFlow carries them.
    fn type_code(self, kind: u8, code: u8) -> Self {
        self.port_pair(0, u16::from_be_bytes([kind, code]))
    }

    fn vlans(mut self, outer: u16, inner: u16) -> Self {
        (self.vlan_outer, self.vlan_inner) = (outer, inner);
        self
    }

    fn flags(mut self, flags: u8) -> Self {
        self.tcp_flags = flags;
        self
    }

    fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    fn family(&self) -> Family {
        match self.src {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }
}

/// What [`Case::new`] is told; the frame's own length makes it an [`Expect`].
enum Is {
    Flow(Flow),
    /// Well-formed, but not IP.
    Other,
    /// Counted as `other`, and as a parse error.
    Garbled(&'static str),
}

impl Is {
    fn expect(self, bytes: u64) -> Expect {
        let (family, flow, error) = match self {
            Self::Flow(flow) => (flow.family(), Some(flow), None),
            Self::Other => (Family::Other, None, None),
            Self::Garbled(reason) => (Family::Other, None, Some(reason)),
        };
        Expect {
            family,
            packets: 1,
            bytes,
            flow,
            error,
        }
    }
}

impl Case {
    fn new(name: &'static str, frame: Frame, is: Is) -> Self {
        let frame = frame.build();
        let expect = is.expect(frame.len() as u64);
        Self {
            name,
            link: Link::Ethernet,
            frame,
            segmentation: None,
            expect,
            ingress: Ingress::Same,
        }
    }

    fn flow(name: &'static str, frame: Frame, flow: Flow) -> Self {
        Self::new(name, frame, Is::Flow(flow))
    }

    fn other(name: &'static str, frame: Frame) -> Self {
        Self::new(name, frame, Is::Other)
    }

    fn garbled(name: &'static str, frame: Frame, reason: &'static str) -> Self {
        Self::new(name, frame, Is::Garbled(reason))
    }

    /// For devices without Ethernet, whose flows have no MAC addresses.
    fn layer3(mut self, protocol: u16) -> Self {
        self.link = Link::Layer3(protocol);
        if let Some(flow) = &mut self.expect.flow {
            (flow.src_mac, flow.dst_mac) = ([0; 6], [0; 6]);
        }
        self
    }

    fn at_ingress(mut self, is: Is) -> Self {
        self.ingress = Ingress::Differs(is.expect(self.frame.len() as u64));
        self
    }

    fn unseen_at_ingress(mut self) -> Self {
        self.ingress = Ingress::Unseen;
        self
    }

    /// What the ingress hook of a real device must count; `None`: nothing.
    pub fn expect_at_ingress(&self) -> Option<&Expect> {
        match &self.ingress {
            Ingress::Same => Some(&self.expect),
            Ingress::Differs(expect) => Some(expect),
            Ingress::Unseen => None,
        }
    }

    /// `BPF_PROG_TEST_RUN` takes every packet for Ethernet, and recent kernels refuse those that
    /// then have no room for the IP header that the EtherType names (net/bpf/test_run.c).
    pub fn fits_test_run(&self) -> bool {
        let Some((link, network)) = self.frame.split_at_checked(14) else {
            return false;
        };
        let ether_type = u16::from_be_bytes([link[12], link[13]]);
        let room = match ether_type {
            0x0800 => network.len() >= 20,
            0x86dd => network.len() >= 40,
            _ => true,
        };
        match self.link {
            Link::Ethernet => room,
            Link::Layer3(protocol) => room && protocol == ether_type,
        }
    }
}

/// Frames longer than a page, to be sent with little in the first piece; not among [`all`].
pub fn scattered() -> Vec<Case> {
    scattered::cases()
}

/// One of many flows: a UDP packet with its own source port.
pub fn numbered(port: u16) -> Case {
    let flow = Flow::v4(UDP, 28).port_pair(port, DST_PORT);
    Case::flow("numbered", ether4().udp().ports(port, DST_PORT), flow)
}

/// A GSO packet of one of many flows: `segments` of 50 bytes each behind 42 bytes of headers.
pub fn numbered_gso(port: u16, segments: u32) -> Case {
    let payload = 50 * segments as usize;
    let flow = Flow::v4(UDP, 28 * u64::from(segments) + payload as u64);
    let frame = ether4().udp().ports(port, DST_PORT).payload(payload);
    let flow = flow.port_pair(port, DST_PORT);
    Case::flow("numbered gso", frame, flow).segments(50, segments, u64::from(segments) * 92)
}

/// Every case.
pub fn all() -> Vec<Case> {
    let cases = [
        link::cases(),
        ipv4::cases(),
        ipv6::cases(),
        transport::cases(),
        segments::cases(),
    ]
    .concat();
    for (i, case) in cases.iter().enumerate() {
        let twin = cases[..i].iter().find(|c| c.name == case.name);
        assert!(twin.is_none(), "two cases are named {}", case.name);
    }
    cases
}

/// Every case as the programs for kernels without types count it: they read at most 128 entries of a stack.
pub fn untyped() -> Vec<Case> {
    const DEEP: [&str; 3] = ["mpls/300", "mpls/300 cut short", "vlan/370 of VLAN 0"];
    let mut cases = all();
    for name in DEEP {
        let case = cases.iter_mut().find(|case| case.name == name);
        let case = case.expect("there are deep stacks");
        case.expect = Is::Other.expect(case.frame.len() as u64);
    }
    cases
}

/// UDP below that many MPLS labels, for programs that read them or do not.
pub fn label_stack(depth: usize, is_read: bool) -> Case {
    let frame = ethernet().mpls(&vec![16; depth]);
    let frame = frame.ipv4(SRC4, DST4).udp().payload(12);
    match is_read {
        true => Case::flow("labels that are read", frame, Flow::v4(UDP, 40).ports()),
        false => Case::other("labels that are not read", frame),
    }
}

fn ethernet() -> Frame {
    Frame::ethernet(SRC_MAC, DST_MAC)
}

fn ether4() -> Frame {
    ethernet().ipv4(SRC4, DST4)
}

fn ether6() -> Frame {
    ethernet().ipv6(SRC6, DST6)
}
