// SPDX-License-Identifier: AGPL-3.0-only
//! The numbers in a packet that a rule may name, and how an operator writes a set of them: `53,6000-6063`.

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::Protocol;
use super::kinds::Proposed;
use super::ranges::Ranges;

/// A number in a packet; the kernel has the same numbers for them (`enum rfm_fw_field`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MatchField {
    Protocol,
    Sport,
    Dport,
    /// The source or the destination port.
    Port,
    TcpFlags,
    IcmpType,
    IcmpCode,
    /// Of the IP packet, with its header.
    Length,
    /// See [`Fragments`](super::flags::Fragments).
    Fragment,
    Dscp,
    FlowLabel,
}

impl MatchField {
    pub const ALL: [Self; 11] = [
        Self::Protocol,
        Self::Sport,
        Self::Dport,
        Self::Port,
        Self::TcpFlags,
        Self::IcmpType,
        Self::IcmpCode,
        Self::Length,
        Self::Fragment,
        Self::Dscp,
        Self::FlowLabel,
    ];

    /// Returns whether the number is in the transport header, which later fragments do not have.
    pub fn is_of_transport(self) -> bool {
        matches!(
            self,
            Self::Sport
                | Self::Dport
                | Self::Port
                | Self::TcpFlags
                | Self::IcmpType
                | Self::IcmpCode
        )
    }
}

/// The limit of ranges in one list: more than a Flowspec rule of 4,095 bytes can have.
pub const MAX_RANGES: usize = 2048;

/// How the values of a field are written.
pub trait FieldValues: Copy + Debug + Eq + Hash + 'static {
    const FIELD: MatchField;
    const NOUN: &'static str;
    const MAX: u32;

    fn parse(word: &str) -> Option<u32> {
        word.parse().ok().filter(|value| *value <= Self::MAX)
    }

    fn write(value: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{value}")
    }

    fn invalid() -> String {
        let (noun, max) = (Self::NOUN, Self::MAX);
        format!("a {noun} is a number from 0 to {max}")
    }

    fn proposals() -> Vec<&'static str> {
        Vec::new()
    }
}

/// A list of values and ranges of one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValueSet<V>(Arc<Ranges>, PhantomData<V>);

impl<V: FieldValues> ValueSet<V> {
    pub fn new(ranges: Ranges) -> Self {
        Self(Arc::new(ranges), PhantomData)
    }

    pub fn ranges(&self) -> &Arc<Ranges> {
        &self.0
    }
}

impl<V: FieldValues> From<Arc<Ranges>> for ValueSet<V> {
    fn from(ranges: Arc<Ranges>) -> Self {
        Self(ranges, PhantomData)
    }
}

fn parse_range<V: FieldValues>(word: &str) -> Result<(u32, u32), String> {
    // a name may have a hyphen
    if let Some(value) = V::parse(word) {
        return Ok((value, value));
    }
    let ends = word.split_once('-');
    let ends = ends.and_then(|(first, last)| Some((V::parse(first)?, V::parse(last)?)));
    match ends {
        Some((first, last)) if first <= last => Ok((first, last)),
        Some(_) => Err(format!("the last {} is below the first", V::NOUN)),
        None => Err(V::invalid()),
    }
}

impl<V: FieldValues> FromStr for ValueSet<V> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ranges: Result<Vec<_>, String> = text.split(',').map(parse_range::<V>).collect();
        let ranges: Ranges = ranges?.into_iter().collect();
        match ranges.as_slice().len() > MAX_RANGES {
            true => Err(format!("more than {MAX_RANGES} ranges")),
            false => Ok(Self::new(ranges)),
        }
    }
}

impl<V: FieldValues> fmt::Display for ValueSet<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, &(first, last)) in self.0.as_slice().iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "," })?;
            V::write(first, f)?;
            if first != last {
                f.write_str("-")?;
                V::write(last, f)?;
            }
        }
        Ok(())
    }
}

impl<V: FieldValues> Serialize for ValueSet<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<V: FieldValues> Proposed for ValueSet<V> {
    fn proposals() -> Vec<&'static str> {
        V::proposals()
    }
}

macro_rules! numbers {
    ($($name:ident, $set:ident: $field:ident, $noun:literal, $max:literal;)*) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name;

        impl FieldValues for $name {
            const FIELD: MatchField = MatchField::$field;
            const NOUN: &'static str = $noun;
            const MAX: u32 = $max;
        }

        pub type $set = ValueSet<$name>;
    )*};
}

numbers! {
    SportValue, SourcePorts: Sport, "port", 65_535;
    DportValue, DestinationPorts: Dport, "port", 65_535;
    PortValue, Ports: Port, "port", 65_535;
    IcmpTypeValue, IcmpTypes: IcmpType, "type", 255;
    IcmpCodeValue, IcmpCodes: IcmpCode, "code", 255;
    LengthValue, Lengths: Length, "length", 65_535;
    FlowLabelValue, FlowLabels: FlowLabel, "label", 1_048_575;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProtocolValue;

pub type Protocols = ValueSet<ProtocolValue>;

impl FieldValues for ProtocolValue {
    const FIELD: MatchField = MatchField::Protocol;
    const NOUN: &'static str = "protocol";
    const MAX: u32 = 255;

    fn parse(word: &str) -> Option<u32> {
        let protocol: Protocol = word.parse().ok()?;
        Some(protocol.0.into())
    }

    fn write(value: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Protocol(value as u8))
    }

    fn invalid() -> String {
        "neither a known name nor a number from 0 to 255".into()
    }

    fn proposals() -> Vec<&'static str> {
        Protocol::NAMES.iter().map(|(name, _)| *name).collect()
    }
}

impl Protocols {
    /// Returns whether this is a list in which all have a property.
    pub fn all(&self, has: impl Fn(Protocol) -> bool) -> bool {
        let ranges = self.0.as_slice().iter();
        let mut values = ranges.flat_map(|&(first, last)| first..=last);
        values.all(|value| has(Protocol(value as u8)))
    }
}

/// The classes of RFC 2474, RFC 2597, RFC 3246 and RFC 8622 by their names.
const DSCP_NAMES: [(&str, u32); 22] = [
    ("cs0", 0),
    ("le", 1),
    ("cs1", 8),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("cs2", 16),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("cs3", 24),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("cs4", 32),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("cs5", 40),
    ("ef", 46),
    ("cs6", 48),
    ("cs7", 56),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DscpValue;

pub type Dscps = ValueSet<DscpValue>;

impl FieldValues for DscpValue {
    const FIELD: MatchField = MatchField::Dscp;
    const NOUN: &'static str = "class";
    const MAX: u32 = 63;

    fn parse(word: &str) -> Option<u32> {
        let mut names = DSCP_NAMES.iter();
        match names.find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            Some((_, value)) => Some(*value),
            None => word.parse().ok().filter(|value| *value <= Self::MAX),
        }
    }

    fn write(value: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DSCP_NAMES.iter().find(|(_, known)| *known == value) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{value}"),
        }
    }

    fn invalid() -> String {
        "neither a known class nor a number from 0 to 63".into()
    }

    fn proposals() -> Vec<&'static str> {
        DSCP_NAMES.iter().map(|(name, _)| *name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_shown_in_one_form() {
        for (text, shown) in [
            ("53", "53"),
            ("6000-6063", "6000-6063"),
            ("123,53,54-60", "53-60,123"),
            ("0-65535", "0-65535"),
        ] {
            let ports: Ports = text.parse().unwrap();
            assert_eq!(ports.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Ports>().unwrap(), ports);
        }
        let protocols: Protocols = "udp,tcp,47".parse().unwrap();
        assert_eq!(protocols.to_string(), "tcp,udp,gre");
        assert_eq!(
            "ipv6-icmp".parse::<Protocols>().unwrap().to_string(),
            "icmpv6"
        );
        assert_eq!(
            "ef,1,8-15".parse::<Dscps>().unwrap().to_string(),
            "le,cs1-15,ef"
        );
        assert!(protocols.all(|p| p.0 != 1) && !protocols.all(Protocol::has_ports));
    }

    #[test]
    fn mistakes_have_reasons() {
        let reason = |text: &str| text.parse::<Ports>().unwrap_err();
        assert_eq!(reason("65536"), "a port is a number from 0 to 65535");
        assert_eq!(reason("53,"), "a port is a number from 0 to 65535");
        assert_eq!(reason("60-53"), "the last port is below the first");
        assert!("64".parse::<Dscps>().is_err());
        assert!("1048576".parse::<FlowLabels>().is_err());
        let many: Vec<String> = (0..4098).step_by(2).map(|n| n.to_string()).collect();
        assert_eq!(reason(&many.join(",")), "more than 2048 ranges");
        assert!(many[1..].join(",").parse::<Ports>().is_ok());
    }
}
