// SPDX-License-Identifier: AGPL-3.0-only
//! Defines the MAC address of an Ethernet device.

use std::fmt;
use std::str::FromStr;

use super::named::serialize_as_text;

/// A MAC address; all zero on devices without Ethernet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    pub const ZERO: Self = Self([0; 6]);

    /// Returns whether it is the address of a group: broadcast or multicast.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl FromStr for MacAddress {
    type Err = &'static str;

    /// Parses "02:00:5e:00:53:01", with colons or hyphens.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            let part = part.ok_or("not six pairs of hexadecimal digits")?;
            let digits = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = Some(part)
                .filter(|part| digits(part))
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or("not hexadecimal")?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err("more than six pairs of digits"),
        }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

serialize_as_text!(MacAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let mac: MacAddress = "02-00-5E-00-53-aF".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:00:53:af");
        assert!(!mac.is_group() && MacAddress([0xff; 6]).is_group());
        for wrong in [
            "",
            "02:00:5e:00:53",
            "02:00:5e:00:53:01:02",
            "02:00:5e:00:53:1",
            "02:00:5e:00:53:+1",
            "02:00:5e:00:53:gg",
        ] {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
    }
}
