// SPDX-License-Identifier: AGPL-3.0-only
//! Rules and packets by the text of RFC 8955 section 4.2.2 and RFC 8956 section 3, and what rfm's own rules add to it.

use std::net::IpAddr;

/// The components that are lists of numbers, with their names in rfm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Component {
    Protocol,
    Port,
    DestinationPort,
    SourcePort,
    IcmpType,
    IcmpCode,
    Length,
    Dscp,
    FlowLabel,
}

impl Component {
    pub const ALL: [Self; 9] = [
        Self::Protocol,
        Self::Port,
        Self::DestinationPort,
        Self::SourcePort,
        Self::IcmpType,
        Self::IcmpCode,
        Self::Length,
        Self::Dscp,
        Self::FlowLabel,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Protocol => "proto",
            Self::Port => "port",
            Self::DestinationPort => "dport",
            Self::SourcePort => "sport",
            Self::IcmpType => "icmp_type",
            Self::IcmpCode => "icmp_code",
            Self::Length => "length",
            Self::Dscp => "dscp",
            Self::FlowLabel => "flow_label",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Meaning {
    /// Of the RFCs.
    Flowspec,
    /// Ports also of SCTP, DCCP and UDP-Lite; unreadable headers are no bypass.
    #[default]
    Rfm,
}

pub const FRAGMENTS: [&str; 6] = ["first", "later", "last", "any", "none", "dont-fragment"];

#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub id: u64,
    pub meaning: Meaning,
    pub action: &'static str,
    pub source: Option<String>,
    pub destination: Option<String>,
    pub components: Vec<(Component, Vec<(u32, u32)>)>,
    /// (value, mask): alternatives.
    pub tcp_flags: Vec<(u8, u8)>,
    /// Alternatives.
    pub fragments: Vec<&'static str>,
    /// Whether the device of the packets is among the interfaces that it names.
    pub on_loopback: Option<bool>,
}

const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

fn flag_words(flags: u8) -> String {
    let set: Vec<_> = (0..8)
        .filter(|bit| flags >> bit & 1 != 0)
        .map(|bit| FLAGS[bit])
        .collect();
    if set.is_empty() {
        "none".to_owned()
    } else {
        set.join(",")
    }
}

impl Rule {
    /// The rule as an operator writes it.
    pub fn words(&self) -> String {
        let mut words = self.action.to_owned();
        let mut add = |name: &str, value: &str| words.push_str(&format!(" {name} {value}"));
        for (name, prefix) in [("src", &self.source), ("dst", &self.destination)] {
            if let Some(prefix) = prefix {
                add(name, prefix);
            }
        }
        for (component, values) in &self.components {
            let list: Vec<_> = values
                .iter()
                .map(|(first, last)| format!("{first}-{last}"))
                .collect();
            add(component.name(), &list.join(","));
        }
        if !self.tcp_flags.is_empty() {
            let tests = self.tcp_flags.iter();
            let tests: Vec<_> = tests
                .map(|(value, mask)| format!("{}/{}", flag_words(*value), flag_words(*mask)))
                .collect();
            add("tcp_flags", &tests.join("|"));
        }
        if !self.fragments.is_empty() {
            add("fragment", &self.fragments.join(","));
        }
        if let Some(on_loopback) = self.on_loopback {
            add("interface", if on_loopback { "1,70000" } else { "3,70000" });
        }
        words
    }

    /// "A packet matches the rule if it matches the intersection (AND) of all components."
    pub fn matches(&self, packet: &Packet) -> bool {
        let within = |prefix: &Option<String>, address| {
            prefix
                .as_ref()
                .is_none_or(|prefix| contains(prefix, address))
        };
        within(&self.source, packet.source)
            && within(&self.destination, packet.destination)
            && self.on_loopback != Some(false)
            && self.components.iter().all(|(component, values)| {
                let has = |number| {
                    values
                        .iter()
                        .any(|(first, last)| (*first..=*last).contains(&number))
                };
                self.has_number(packet, *component, &has)
            })
            && (self.tcp_flags.is_empty() || self.has_flags(packet))
            && (self.fragments.is_empty()
                || self.fragments.iter().any(|name| packet.is_fragment(name)))
    }

    fn has_number(&self, packet: &Packet, component: Component, has: &dyn Fn(u32) -> bool) -> bool {
        let port = |offset| match self.has_ports(packet) {
            true => self.of_header(packet, offset, 2, has),
            false => false,
        };
        match component {
            Component::Protocol => has(packet.protocol.into()),
            Component::Port => port(0) || port(2),
            Component::SourcePort => port(0),
            Component::DestinationPort => port(2),
            Component::IcmpType => packet.is_icmp() && self.of_header(packet, 0, 1, has),
            Component::IcmpCode => packet.is_icmp() && self.of_header(packet, 1, 1, has),
            Component::Length => has(packet.length),
            Component::Dscp => has(packet.dscp),
            Component::FlowLabel => packet.flow_label.is_some_and(has),
        }
    }

    fn has_flags(&self, packet: &Packet) -> bool {
        let has = |flags: u32| {
            self.tcp_flags
                .iter()
                .any(|(value, mask)| flags as u8 & mask == *value)
        };
        packet.protocol == 6 && self.of_header(packet, 13, 1, &has)
    }

    /// RFC 8955 section 4.2.2.4: only TCP and UDP packets can match a component of ports.
    fn has_ports(&self, packet: &Packet) -> bool {
        match self.meaning {
            Meaning::Flowspec => matches!(packet.protocol, 6 | 17),
            Meaning::Rfm => matches!(packet.protocol, 6 | 17 | 33 | 132 | 136),
        }
    }

    /// Tests a number of the transport header.
    fn of_header(
        &self,
        packet: &Packet,
        offset: usize,
        length: usize,
        has: &dyn Fn(u32) -> bool,
    ) -> bool {
        match (&packet.transport, self.meaning) {
            (Transport::Header(bytes), _) => {
                let number = bytes[offset..offset + length].iter();
                has(number.fold(0, |number, byte| number << 8 | u32::from(*byte)))
            }
            (_, Meaning::Flowspec) => false,
            _ if self.action == "pass" => false,
            (Transport::InFirstFragment, Meaning::Rfm) => self.fragments.is_empty(),
            (Transport::Truncated, Meaning::Rfm) => true,
        }
    }
}

fn contains(prefix: &str, address: IpAddr) -> bool {
    let (network, length) = prefix.split_once('/').expect("a prefix");
    let length: u32 = length.parse().expect("a length");
    match (network.parse().expect("an address"), address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let different = u64::from(network.to_bits() ^ address.to_bits());
            different >> (32 - length) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let different = network.to_bits() ^ address.to_bits();
            different.checked_shr(128 - length).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[derive(Debug)]
pub enum Transport {
    Header(Vec<u8>),
    Truncated,
    InFirstFragment,
}

/// A packet as the RFCs see it.
#[derive(Debug)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub transport: Transport,
    pub length: u32,
    pub dscp: u32,
    pub flow_label: Option<u32>,
    /// In bytes.
    pub offset: u16,
    pub more_fragments: bool,
    pub dont_fragment: bool,
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn address<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N]
        .try_into()
        .expect("the bytes of an address")
}

impl Packet {
    pub fn read(frame: &[u8]) -> Self {
        match word(frame, 12) {
            0x8100 => Self::read_ip(&frame[18..]),
            _ => Self::read_ip(&frame[14..]),
        }
    }

    fn read_ip(ip: &[u8]) -> Self {
        let mut packet = match ip[0] >> 4 {
            4 => Self::read_v4(ip),
            _ => Self::read_v6(ip),
        };
        if packet.offset > 0 {
            packet.transport = Transport::InFirstFragment;
        }
        packet
    }

    fn read_v4(ip: &[u8]) -> Self {
        let (length, fragment) = (word(ip, 2), word(ip, 6));
        let protocol = ip[9];
        Self {
            source: IpAddr::from(address::<4>(ip, 12)),
            destination: IpAddr::from(address::<4>(ip, 16)),
            protocol,
            transport: transport(protocol, &ip[usize::from(ip[0] & 15) * 4..length.into()]),
            length: length.into(),
            dscp: (ip[1] >> 2).into(),
            flow_label: None,
            offset: (fragment & 0x1fff) * 8,
            more_fragments: fragment & 0x2000 != 0,
            dont_fragment: fragment & 0x4000 != 0,
        }
    }

    /// RFC 8956 section 3.3: the protocol is that of the first header that is no extension header.
    fn read_v6(ip: &[u8]) -> Self {
        let length = 40 + usize::from(word(ip, 4));
        let (mut next, mut at, mut fragment) = (ip[6], 40, 0);
        while matches!(next, 0 | 43 | 44 | 60) && fragment & 0xfff8 == 0 {
            let size = match next {
                44 => {
                    fragment = word(ip, at + 2);
                    8
                }
                _ => (usize::from(ip[at + 1]) + 1) * 8,
            };
            next = ip[at];
            at += size;
        }
        let class = word(ip, 0) >> 4 & 0xff;
        Self {
            source: IpAddr::from(address::<16>(ip, 8)),
            destination: IpAddr::from(address::<16>(ip, 24)),
            protocol: next,
            transport: transport(next, &ip[at..length]),
            length: length as u32,
            dscp: u32::from(class) >> 2,
            flow_label: Some(u32::from(ip[1] & 15) << 16 | u32::from(word(ip, 2))),
            offset: fragment & 0xfff8,
            more_fragments: fragment & 1 != 0,
            dont_fragment: false,
        }
    }

    pub fn is_icmp(&self) -> bool {
        self.protocol == if self.source.is_ipv4() { 1 } else { 58 }
    }

    /// RFC 8955 section 4.2.2.12.
    fn is_fragment(&self, name: &str) -> bool {
        let is_first = self.offset == 0 && self.more_fragments;
        let is_later = self.offset != 0;
        match name {
            "first" => is_first,
            "later" => is_later,
            "last" => is_later && !self.more_fragments,
            "any" => is_first || is_later,
            "none" => !is_first && !is_later,
            "dont-fragment" => self.dont_fragment,
            _ => panic!("{name}"),
        }
    }
}

/// A header is readable as a whole or not at all.
fn transport(protocol: u8, bytes: &[u8]) -> Transport {
    let length = match protocol {
        6 => 20,
        17 | 136 => 8,
        33 | 132 => 12,
        1 | 58 => 4,
        _ => 0,
    };
    match bytes.len() >= length {
        true => Transport::Header(bytes.to_vec()),
        false => Transport::Truncated,
    }
}
