// SPDX-License-Identifier: AGPL-3.0-only
//! Decodes the NLRI of a rule (RFC 8955 section 4, RFC 8956 section 3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::operators::Operators;
use crate::types::prefix::Prefix;

/// The family of the packets that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowFamily {
    Ipv4,
    Ipv6,
}

/// The type of a component, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ComponentKind {
    Destination = 1,
    Source = 2,
    /// Of IPv6: the protocol after all extension headers.
    Protocol = 3,
    Port = 4,
    DestinationPort = 5,
    SourcePort = 6,
    IcmpType = 7,
    IcmpCode = 8,
    TcpFlags = 9,
    Length = 10,
    Dscp = 11,
    Fragment = 12,
    /// Of IPv6 only.
    FlowLabel = 13,
}

/// Bits of an address, from `offset` on. Only IPv6 has offsets other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressPattern {
    /// The address with the bits in their places; all others are 0.
    pub prefix: Prefix,
    pub offset: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FlowComponent {
    Address(ComponentKind, AddressPattern),
    Tests(ComponentKind, Operators),
}

/// A valid rule: at least one component, in ascending order of the types, each type at most once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlowRule {
    family: FlowFamily,
    components: Box<[FlowComponent]>,
}

/// The fault of a malformed NLRI. The receiver treats the NLRI as withdrawn (RFC 7606 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NlriError {
    /// The NLRI has no component.
    Empty,
    /// A component is longer than the NLRI.
    Truncated,
    UnknownType(u8),
    /// A component of this type follows one of the same or a higher type.
    NotAscending(u8),
    /// A prefix has this length, which its family or its offset does not allow.
    PrefixLength(u8),
    /// A value has more bytes than its component allows.
    ValueSize(usize),
}

/// An NLRI is longer than its attribute: the start of the next is unknown, and a BGP session may be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverrunError {
    pub wanted: usize,
    pub left: usize,
}

/// From this length on, a length has two bytes.
const LONG: u8 = 0xf0;

/// Returns the NLRIs of an attribute, each without its length (RFC 8955 section 4.1). Ends after an error.
pub fn split(mut bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], OverrunError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let nlri = first(&mut bytes);
        if nlri.is_err() {
            bytes = &[];
        }
        Some(nlri)
    })
}

fn first<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], OverrunError> {
    let (length, rest) = match bytes {
        [high, low, rest @ ..] if *high >= LONG => {
            (usize::from(high & 0x0f) << 8 | usize::from(*low), rest)
        }
        [length, rest @ ..] if *length < LONG => (usize::from(*length), rest),
        _ => {
            let (wanted, left) = (2, bytes.len());
            return Err(OverrunError { wanted, left });
        }
    };
    let (nlri, after) = rest.split_at_checked(length).ok_or(OverrunError {
        wanted: length,
        left: rest.len(),
    })?;
    *bytes = after;
    Ok(nlri)
}

impl FlowFamily {
    fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }

    /// Returns the prefix of all addresses.
    pub fn all_addresses(self) -> Prefix {
        match self {
            Self::Ipv4 => Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            Self::Ipv6 => Prefix::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        }
    }

    fn address(self, bits: u128) -> IpAddr {
        match self {
            Self::Ipv4 => Ipv4Addr::from_bits((bits >> 96) as u32).into(),
            Self::Ipv6 => Ipv6Addr::from_bits(bits).into(),
        }
    }
}

impl ComponentKind {
    const ALL: [Self; 13] = [
        Self::Destination,
        Self::Source,
        Self::Protocol,
        Self::Port,
        Self::DestinationPort,
        Self::SourcePort,
        Self::IcmpType,
        Self::IcmpCode,
        Self::TcpFlags,
        Self::Length,
        Self::Dscp,
        Self::Fragment,
        Self::FlowLabel,
    ];

    fn of_number(number: u8, family: FlowFamily) -> Option<Self> {
        let kind = Self::ALL.into_iter().find(|kind| *kind as u8 == number)?;
        (kind != Self::FlowLabel || family == FlowFamily::Ipv6).then_some(kind)
    }

    /// Returns the most bytes of a value, if the RFC requires ("MUST") a limit.
    fn max_value_size(self) -> usize {
        match self {
            Self::TcpFlags => 2,
            Self::Fragment => 1,
            _ => 8,
        }
    }
}

impl FlowComponent {
    pub fn kind(&self) -> ComponentKind {
        match self {
            Self::Address(kind, _) | Self::Tests(kind, _) => *kind,
        }
    }

    /// Reads a component after its type; returns the bytes after it.
    fn read(
        kind: ComponentKind,
        family: FlowFamily,
        bytes: &[u8],
    ) -> Result<(Self, &[u8]), NlriError> {
        match kind {
            ComponentKind::Destination | ComponentKind::Source => {
                let (pattern, rest) = AddressPattern::read(family, bytes)?;
                Ok((Self::Address(kind, pattern), rest))
            }
            _ => {
                let (tests, rest) = Operators::read(bytes, kind.max_value_size())?;
                Ok((Self::Tests(kind, tests), rest))
            }
        }
    }
}

impl AddressPattern {
    fn read(family: FlowFamily, bytes: &[u8]) -> Result<(Self, &[u8]), NlriError> {
        let (length, offset, rest) = match (family, bytes) {
            (FlowFamily::Ipv4, [length, rest @ ..]) => (*length, 0, rest),
            (FlowFamily::Ipv6, [length, offset, rest @ ..]) => (*length, *offset, rest),
            _ => return Err(NlriError::Truncated),
        };
        // RFC 8956 section 3.1: offset < length, or both are 0
        if length > family.bits() || offset > 0 && offset >= length {
            return Err(NlriError::PrefixLength(length));
        }
        let size = usize::from((length - offset).div_ceil(8));
        let (pattern, rest) = rest.split_at_checked(size).ok_or(NlriError::Truncated)?;
        let mut octets = [0; 16];
        octets[..size].copy_from_slice(pattern);
        // the bits after the pattern have no meaning: `Prefix` clears them
        let bits = u128::from_be_bytes(octets) >> offset;
        let prefix = Prefix::new(family.address(bits), length);
        Ok((Self { prefix, offset }, rest))
    }
}

impl FlowRule {
    /// Decodes one NLRI, without its length.
    pub fn decode(family: FlowFamily, nlri: &[u8]) -> Result<Self, NlriError> {
        let mut components: Vec<FlowComponent> = Vec::new();
        let mut rest = nlri;
        while let [number, after @ ..] = rest {
            let kind =
                ComponentKind::of_number(*number, family).ok_or(NlriError::UnknownType(*number))?;
            if components.last().is_some_and(|last| last.kind() >= kind) {
                return Err(NlriError::NotAscending(*number));
            }
            let (component, after) = FlowComponent::read(kind, family, after)?;
            components.push(component);
            rest = after;
        }
        if components.is_empty() {
            return Err(NlriError::Empty);
        }
        Ok(Self {
            family,
            components: components.into(),
        })
    }

    pub fn family(&self) -> FlowFamily {
        self.family
    }

    pub fn components(&self) -> &[FlowComponent] {
        &self.components
    }

    /// Returns the destination prefix, which validation requires (RFC 8955 section 6); `None` if it has an offset.
    pub fn destination(&self) -> Option<Prefix> {
        match self.components.first()? {
            FlowComponent::Address(ComponentKind::Destination, pattern) if pattern.offset == 0 => {
                Some(pattern.prefix)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
