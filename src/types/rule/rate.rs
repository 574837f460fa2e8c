// SPDX-License-Identifier: AGPL-3.0-only
//! The rate of a limit: packets or bits per second.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

/// The highest rate in packets per second.
pub const MAX_PACKETS: u32 = 1_000_000_000;

/// The lowest and the highest rate in bits per second: the arithmetic of the kernel is exact to 2 % between them.
const MIN_BITS: u64 = 8_000;
const MAX_BITS: u64 = 1_000_000_000_000;

/// The longest time for which a burst may be saved up, in seconds.
const MAX_BURST_SECONDS: u64 = 3600;

/// Units as in tc(8).
const UNITS: [(&str, u64); 5] = [
    ("tbit", 1_000_000_000_000),
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

/// A rate per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitRate {
    Packets(u32),
    /// Of frames without FCS, which is what the counters of a rule have.
    Bits(u64),
}

impl LimitRate {
    /// Returns packets or bytes per second: the unit of a burst.
    pub fn per_second(self) -> u64 {
        match self {
            Self::Packets(packets) => packets.into(),
            Self::Bits(bits) => bits / 8,
        }
    }

    /// Returns the rate of exactly this number of packets, if it is one.
    pub fn of_packets(packets: f64) -> Option<Self> {
        let whole = packets.fract() == 0.0 && (1.0..=f64::from(MAX_PACKETS)).contains(&packets);
        whole.then_some(Self::Packets(packets as u32))
    }

    /// Returns the rate of exactly this number of bits, if it is one.
    pub fn of_bits(bits: f64) -> Option<Self> {
        let whole = bits.fract() == 0.0 && (MIN_BITS as f64..=MAX_BITS as f64).contains(&bits);
        whole.then_some(Self::Bits(bits as u64))
    }

    /// Returns the highest burst.
    pub fn max_burst(self) -> u64 {
        self.per_second() * MAX_BURST_SECONDS
    }
}

impl FromStr for LimitRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if unit.is_empty() {
            let packets = number.parse().ok();
            let packets = packets.filter(|packets| (1..=MAX_PACKETS).contains(packets));
            return packets
                .map(Self::Packets)
                .ok_or_else(|| format!("packets are a number from 1 to {MAX_PACKETS}"));
        }
        let unit = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let bits = unit.and_then(|(_, bits)| number.parse::<u64>().ok()?.checked_mul(*bits));
        bits.filter(|bits| (MIN_BITS..=MAX_BITS).contains(bits))
            .map(Self::Bits)
            .ok_or_else(|| "bits are a number and a unit, from 8kbit to 1tbit".into())
    }
}

impl fmt::Display for LimitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packets(packets) => write!(f, "{packets}"),
            Self::Bits(bits) => {
                let unit = UNITS.iter().find(|(_, unit)| bits % unit == 0);
                let (name, unit) = unit.unwrap_or(&("bit", 1));
                write!(f, "{}{name}", bits / unit)
            }
        }
    }
}

/// A number of packets is a number in the configuration and in JSON.
impl Serialize for LimitRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Packets(packets) => serializer.serialize_u32(*packets),
            Self::Bits(_) => serializer.collect_str(self),
        }
    }
}

/// A rate in JSON, which is not checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RateJson {
    Packets(u64),
    Text(String),
}

impl fmt::Display for RateJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packets(packets) => write!(f, "{packets}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl From<LimitRate> for RateJson {
    fn from(rate: LimitRate) -> Self {
        match rate {
            LimitRate::Packets(packets) => Self::Packets(packets.into()),
            LimitRate::Bits(_) => Self::Text(rate.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_no_unit_and_bits_have_one() {
        for (text, rate, shown) in [
            ("1000", LimitRate::Packets(1000), "1000"),
            ("10mbit", LimitRate::Bits(10_000_000), "10mbit"),
            ("1500kbit", LimitRate::Bits(1_500_000), "1500kbit"),
            ("2000Mbit", LimitRate::Bits(2_000_000_000), "2gbit"),
            ("1tbit", LimitRate::Bits(MAX_BITS), "1tbit"),
            ("8001bit", LimitRate::Bits(8001), "8001bit"),
        ] {
            assert_eq!(text.parse(), Ok(rate), "{text}");
            assert_eq!(rate.to_string(), shown);
            assert_eq!(shown.parse(), Ok(rate));
        }
        for text in [
            "",
            "0",
            "1000000001",
            "mbit",
            "1mb",
            "7kbit",
            "2tbit",
            "-1",
            "1.5mbit",
        ] {
            assert!(text.parse::<LimitRate>().is_err(), "{text}");
        }
        assert_eq!(LimitRate::Bits(8_000).max_burst(), 3_600_000);
    }
}
