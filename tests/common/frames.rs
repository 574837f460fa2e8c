// SPDX-License-Identifier: AGPL-3.0-only
//! Builds frames header by header, with true lengths and checksums:
//! `Frame::ethernet(SRC, DST).vlan(0x8100, 10).ipv4(A, B).tcp(SYN).payload(4)`.
//!
//! Each header names the one that follows it, unless it was told otherwise by [`Frame::says`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub type Mac = [u8; 6];

pub const SRC_PORT: u16 = 40_000;
pub const DST_PORT: u16 = 443;

#[derive(Clone)]
enum Header {
    Ethernet { dst: Mac, src: Mac },
    Vlan { id: u16, tpid: u16 },
    Mpls(Vec<u32>),
    Pppoe,
    Ipv4(Ipv4),
    Ipv6(Ipv6),
    Extension { kind: u8, body: Vec<u8> },
    Tcp(u8),
    Udp,
    UdpLite,
    Sctp,
    Dccp,
    Icmp { kind: u8, code: u8 },
    Icmpv6 { kind: u8, code: u8 },
    Payload(Vec<u8>),
}

#[derive(Clone)]
struct Ipv4 {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    tos: u8,
    options: usize,
    /// Offset in eighths of bytes, and the bits of more fragments and don't fragment.
    fragment: u16,
}

#[derive(Clone)]
struct Ipv6 {
    src: Ipv6Addr,
    dst: Ipv6Addr,
    class: u8,
    label: u32,
}

/// A frame in the making: the headers from the outside in, and what is done to the bytes at the end.
#[derive(Clone, Default)]
pub struct Frame {
    headers: Vec<Header>,
    /// By position in `headers`: the type this header claims to be followed by.
    claims: Vec<(usize, u16)>,
    ports: Option<(u16, u16)>,
    pad: Option<(usize, u8)>,
    cut: Option<usize>,
    edits: Vec<(usize, u8)>,
}

impl Frame {
    pub fn ethernet(src: Mac, dst: Mac) -> Self {
        Self::default().with(Header::Ethernet { dst, src })
    }

    /// A packet of a device without a link layer header.
    pub fn layer3() -> Self {
        Self::default()
    }

    pub fn vlan(self, tpid: u16, id: u16) -> Self {
        self.with(Header::Vlan { id, tpid })
    }

    /// Label stack entries from the top; the last one is the bottom of the stack.
    pub fn mpls(self, labels: &[u32]) -> Self {
        self.with(Header::Mpls(labels.to_vec()))
    }

    /// PPPoE session header and the PPP protocol number.
    pub fn pppoe(self) -> Self {
        self.with(Header::Pppoe)
    }

    pub fn ipv4(self, src: Ipv4Addr, dst: Ipv4Addr) -> Self {
        self.with(Header::Ipv4(Ipv4 {
            src,
            dst,
            tos: 0,
            options: 0,
            fragment: 0,
        }))
    }

    pub fn ipv6(self, src: Ipv6Addr, dst: Ipv6Addr) -> Self {
        self.with(Header::Ipv6(Ipv6 {
            src,
            dst,
            class: 0,
            label: 0,
        }))
    }

    /// The flow label of the IPv6 header just added.
    pub fn flow_label(mut self, value: u32) -> Self {
        match self.headers.last_mut() {
            Some(Header::Ipv6(ip)) => ip.label = value,
            _ => panic!("flow_label() comes right after ipv6()"),
        }
        self
    }

    /// IPv4 ToS or IPv6 traffic class of the header just added.
    pub fn tos(mut self, value: u8) -> Self {
        match self.headers.last_mut() {
            Some(Header::Ipv4(ip)) => ip.tos = value,
            Some(Header::Ipv6(ip)) => ip.class = value,
            _ => panic!("tos() comes right after ipv4() or ipv6()"),
        }
        self
    }

    /// `bytes` of IPv4 options, a multiple of four up to 40.
    pub fn options(mut self, bytes: usize) -> Self {
        assert!(bytes.is_multiple_of(4) && bytes <= 40);
        self.last_ipv4().options = bytes;
        self
    }

    /// IPv4 fragment at `offset` bytes, a multiple of eight.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        assert!(offset.is_multiple_of(8));
        self.last_ipv4().fragment = (offset / 8) | (u16::from(more) << 13);
        self
    }

    /// The flag of IPv4.
    pub fn dont_fragment(mut self) -> Self {
        self.last_ipv4().fragment |= 1 << 14;
        self
    }

    pub fn hop_by_hop(self) -> Self {
        self.extension(0, &[1, 4, 0, 0, 0, 0])
    }

    pub fn routing(self) -> Self {
        let mut body = [0; 22];
        body[0] = 4; // RFC 8754 segment routing
        self.extension(43, &body)
    }

    pub fn destopt(self) -> Self {
        self.extension(60, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// IPv6 fragment header at `offset` bytes, a multiple of eight.
    pub fn fragment6(self, offset: u16, more: bool) -> Self {
        assert!(offset.is_multiple_of(8));
        let [high, low] = (offset | u16::from(more)).to_be_bytes();
        self.extension(44, &[high, low, 0, 0, 0, 1])
    }

    /// Authentication header with a 96-bit check value (RFC 4302).
    pub fn ah(self) -> Self {
        self.extension(51, &[0; 22])
    }

    fn extension(self, kind: u8, body: &[u8]) -> Self {
        let body = body.to_vec();
        self.with(Header::Extension { kind, body })
    }

    pub fn tcp(self, flags: u8) -> Self {
        self.with(Header::Tcp(flags))
    }

    pub fn udp(self) -> Self {
        self.with(Header::Udp)
    }

    pub fn udplite(self) -> Self {
        self.with(Header::UdpLite)
    }

    pub fn sctp(self) -> Self {
        self.with(Header::Sctp)
    }

    pub fn dccp(self) -> Self {
        self.with(Header::Dccp)
    }

    pub fn icmp(self, kind: u8, code: u8) -> Self {
        self.with(Header::Icmp { kind, code })
    }

    pub fn icmpv6(self, kind: u8, code: u8) -> Self {
        self.with(Header::Icmpv6 { kind, code })
    }

    /// Ports other than [`SRC_PORT`] and [`DST_PORT`].
    pub fn ports(mut self, src: u16, dst: u16) -> Self {
        self.ports = Some((src, dst));
        self
    }

    pub fn payload(self, bytes: usize) -> Self {
        self.bytes(&vec![0x5a; bytes])
    }

    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.with(Header::Payload(bytes.to_vec()))
    }

    /// The type the header just added names as the next: an EtherType, PPP or IP protocol number.
    pub fn says(mut self, next: u16) -> Self {
        self.claims.push((self.headers.len() - 1, next));
        self
    }

    /// Ethernet padding: bytes that no length field speaks of.
    pub fn pad_to(self, length: usize) -> Self {
        self.pad_with(length, 0)
    }

    pub fn pad_with(mut self, length: usize, byte: u8) -> Self {
        self.pad = Some((length, byte));
        self
    }

    /// Cuts the finished frame, so that length fields promise more than is there.
    pub fn truncate(mut self, length: usize) -> Self {
        self.cut = Some(length);
        self
    }

    /// Overwrites one byte of the finished frame.
    pub fn edit(mut self, at: usize, byte: u8) -> Self {
        self.edits.push((at, byte));
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (position, header) in self.headers.iter().enumerate().rev() {
            let next = self.next_type(position);
            bytes = match header {
                Header::Ethernet { dst, src } => ethernet(dst, src, next, &bytes),
                Header::Vlan { id, .. } => join(&[&id.to_be_bytes(), &next.to_be_bytes(), &bytes]),
                Header::Mpls(labels) => join(&[&label_stack(labels), &bytes]),
                Header::Pppoe => pppoe(next, &bytes),
                Header::Ipv4(ip) => ip.wrap(next as u8, &bytes),
                Header::Ipv6(ip) => ip.wrap(next as u8, &bytes),
                Header::Extension { kind, body } => extension(*kind, next as u8, body, &bytes),
                Header::Payload(data) => join(&[data, &bytes]),
                transport => self.transport(position, transport, &bytes),
            };
        }
        if let Some((length, byte)) = self.pad {
            bytes.resize(bytes.len().max(length), byte);
        }
        if let Some(length) = self.cut {
            assert!(length <= bytes.len(), "nothing to cut");
            bytes.truncate(length);
        }
        for (at, byte) in &self.edits {
            bytes[*at] = *byte;
        }
        bytes
    }

    fn with(mut self, header: Header) -> Self {
        self.headers.push(header);
        self
    }

    fn last_ipv4(&mut self) -> &mut Ipv4 {
        match self.headers.last_mut() {
            Some(Header::Ipv4(ip)) => ip,
            _ => panic!("this comes right after ipv4()"),
        }
    }

    /// What the header at `position` writes into its next-type field.
    fn next_type(&self, position: usize) -> u16 {
        if let Some((_, claim)) = self.claims.iter().find(|(at, _)| *at == position) {
            return *claim;
        }
        let Some(next) = self.headers.get(position + 1) else {
            return 0;
        };
        let in_ppp = matches!(self.headers[position], Header::Pppoe);
        match next {
            Header::Ethernet { .. } | Header::Payload(_) => 0,
            Header::Vlan { tpid, .. } => *tpid,
            Header::Mpls(_) => 0x8847,
            Header::Pppoe => 0x8864,
            Header::Ipv4(_) if in_ppp => 0x0021,
            Header::Ipv6(_) if in_ppp => 0x0057,
            Header::Ipv4(_) if self.inside_ip(position) => 4,
            Header::Ipv6(_) if self.inside_ip(position) => 41,
            Header::Ipv4(_) => 0x0800,
            Header::Ipv6(_) => 0x86dd,
            Header::Extension { kind, .. } => (*kind).into(),
            Header::Tcp(_) => 6,
            Header::Udp => 17,
            Header::UdpLite => 136,
            Header::Sctp => 132,
            Header::Dccp => 33,
            Header::Icmp { .. } => 1,
            Header::Icmpv6 { .. } => 58,
        }
    }

    fn inside_ip(&self, position: usize) -> bool {
        self.headers[..=position]
            .iter()
            .any(|h| matches!(h, Header::Ipv4(_) | Header::Ipv6(_)))
    }

    fn transport(&self, position: usize, header: &Header, payload: &[u8]) -> Vec<u8> {
        let (src, dst) = self.ports.unwrap_or((SRC_PORT, DST_PORT));
        let ports = join(&[&src.to_be_bytes(), &dst.to_be_bytes()]);
        let length = ((8 + payload.len()) as u16).to_be_bytes();
        // header, offset of its checksum, whether that covers a pseudo header
        let (head, at, pseudo) = match header {
            Header::Tcp(flags) => {
                let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, *flags, 0xff, 0xff, 0, 0, 0, 0];
                (join(&[&ports, &rest]), 16, true)
            }
            Header::Udp => (join(&[&ports, &length, &[0, 0]]), 6, true),
            // RFC 3828: a coverage of 0 is the whole datagram
            Header::UdpLite => (join(&[&ports, &[0, 0, 0, 0]]), 6, true),
            Header::Dccp => {
                // RFC 4340: a Data packet with short sequence numbers and three words of header
                let rest = [3, 0, 0, 0, 2 << 1, 0, 0, 1];
                (join(&[&ports, &rest]), 6, true)
            }
            Header::Sctp => {
                let mut packet = join(&[&ports, &[0, 0, 0, 1, 0, 0, 0, 0], payload]);
                let sum = crc32c(&packet).to_le_bytes();
                packet[8..12].copy_from_slice(&sum);
                return packet;
            }
            Header::Icmp { kind, code } => (vec![*kind, *code, 0, 0, 0, 1, 0, 1], 2, false),
            Header::Icmpv6 { kind, code } => (vec![*kind, *code, 0, 0, 0, 1, 0, 1], 2, true),
            _ => unreachable!("not a transport header"),
        };
        let mut packet = join(&[&head, payload]);
        let mut covered = packet.clone();
        if pseudo {
            let protocol = self.next_type(position - 1) as u8;
            covered.splice(0..0, self.pseudo_header(position, protocol, packet.len()));
        }
        let sum = match internet_checksum(&covered) {
            0 => 0xffff, // RFC 768: 0 would say that there is none
            sum => sum,
        };
        packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// RFC 9293 section 3.1 and RFC 8200 section 8.1.
    fn pseudo_header(&self, position: usize, protocol: u8, length: usize) -> Vec<u8> {
        let (src, dst) = self.headers[..position]
            .iter()
            .rev()
            .find_map(|header| match header {
                Header::Ipv4(ip) => Some((IpAddr::V4(ip.src), IpAddr::V4(ip.dst))),
                Header::Ipv6(ip) => Some((IpAddr::V6(ip.src), IpAddr::V6(ip.dst))),
                _ => None,
            })
            .expect("a transport header stands inside IP");
        let mut bytes = join(&[&octets(src), &octets(dst)]);
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend([0, 0, 0, protocol]);
        bytes
    }
}

impl Ipv4 {
    fn wrap(&self, protocol: u8, inner: &[u8]) -> Vec<u8> {
        let length = 20 + self.options;
        let mut head = vec![0x40 | (length / 4) as u8, self.tos];
        head.extend(((length + inner.len()) as u16).to_be_bytes());
        head.extend([0, 1]);
        head.extend(self.fragment.to_be_bytes());
        head.extend([64, protocol, 0, 0]);
        head.extend(self.src.octets());
        head.extend(self.dst.octets());
        head.resize(length, 1); // option 1: no operation
        let sum = internet_checksum(&head);
        head[10..12].copy_from_slice(&sum.to_be_bytes());
        join(&[&head, inner])
    }
}

impl Ipv6 {
    fn wrap(&self, next: u8, inner: &[u8]) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.class) << 20 | self.label;
        let mut head = first.to_be_bytes().to_vec();
        head.extend((inner.len() as u16).to_be_bytes());
        head.extend([next, 64]);
        head.extend(self.src.octets());
        head.extend(self.dst.octets());
        join(&[&head, inner])
    }
}

/// A type below 1,536 is a length; 0 means that the caller put an LLC payload there.
fn ethernet(dst: &Mac, src: &Mac, next: u16, inner: &[u8]) -> Vec<u8> {
    let kind = if next == 0 { inner.len() as u16 } else { next };
    join(&[dst, src, &kind.to_be_bytes(), inner])
}

/// RFC 3032: label, traffic class, bottom of stack, TTL.
fn label_stack(labels: &[u32]) -> Vec<u8> {
    let bottom = labels.len() - 1;
    labels
        .iter()
        .enumerate()
        .flat_map(|(i, label)| (label << 12 | u32::from(i == bottom) << 8 | 64).to_be_bytes())
        .collect()
}

/// RFC 2516 section 4, session stage, then the PPP protocol number.
fn pppoe(protocol: u16, inner: &[u8]) -> Vec<u8> {
    let length = (2 + inner.len()) as u16;
    let head = [0x11, 0, 0, 7];
    join(&[&head, &length.to_be_bytes(), &protocol.to_be_bytes(), inner])
}

/// RFC 8200 section 4; AH counts its length in words (RFC 4302), a fragment header has none.
fn extension(kind: u8, next: u8, body: &[u8], inner: &[u8]) -> Vec<u8> {
    let length = match kind {
        44 => 0,
        51 => (2 + body.len()) / 4 - 2,
        _ => (2 + body.len()) / 8 - 1,
    };
    join(&[&[next, length as u8], body, inner])
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// RFC 1071.
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// Castagnoli, reflected (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

#[test]
fn checksums_are_those_of_the_standards() {
    // RFC 1071 section 3; RFC 3720 appendix B.4
    assert_eq!(
        internet_checksum(&[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7]),
        !0xddf2
    );
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
}
