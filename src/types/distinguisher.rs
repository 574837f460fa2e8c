// SPDX-License-Identifier: AGPL-3.0-only
//! Route distinguishers.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::named::serialize_as_text;

/// A route distinguisher (RFC 4364 section 4.2) in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Distinguisher(pub [u8; 8]);

impl FromStr for Distinguisher {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (administrator, number) = s.split_once(':').ok_or("without a colon")?;
        let mut bytes = [0; 8];
        let wide = if let Ok(asn) = administrator.parse::<u16>() {
            bytes[2..4].copy_from_slice(&asn.to_be_bytes());
            true
        } else if let Ok(address) = administrator.parse::<Ipv4Addr>() {
            bytes[1] = 1;
            bytes[2..6].copy_from_slice(&address.octets());
            false
        } else {
            let asn: u32 = administrator
                .parse()
                .map_err(|_| "neither AS nor IPv4 address before the colon")?;
            bytes[1] = 2;
            bytes[2..6].copy_from_slice(&asn.to_be_bytes());
            false
        };
        if wide {
            let number: u32 = number
                .parse()
                .map_err(|_| "no number of 32 bits after the colon")?;
            bytes[4..].copy_from_slice(&number.to_be_bytes());
        } else {
            let number: u16 = number
                .parse()
                .map_err(|_| "no number of 16 bits after the colon")?;
            bytes[6..].copy_from_slice(&number.to_be_bytes());
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Distinguisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, kind, a, b, c, d, e, g] = self.0;
        let short = u16::from_be_bytes([e, g]);
        match kind {
            0 => write!(
                f,
                "{}:{}",
                u16::from_be_bytes([a, b]),
                u32::from_be_bytes([c, d, e, g])
            ),
            1 => write!(f, "{}:{short}", Ipv4Addr::new(a, b, c, d)),
            _ => write!(f, "{}:{short}", u32::from_be_bytes([a, b, c, d])),
        }
    }
}

serialize_as_text!(Distinguisher);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishers_are_read_as_rfc_4364_writes_them() {
        for (text, bytes) in [
            ("0:0", [0, 0, 0, 0, 0, 0, 0, 0]),
            ("65000:1", [0, 0, 0xfd, 0xe8, 0, 0, 0, 1]),
            ("192.0.2.1:7", [0, 1, 192, 0, 2, 1, 0, 7]),
            ("65536:7", [0, 2, 0, 1, 0, 0, 0, 7]),
        ] {
            let read: Distinguisher = text.parse().unwrap();
            assert_eq!(read.0, bytes, "{text}");
            assert_eq!(read.to_string(), text);
        }
        for text in ["", "1", ":", "x:1", "1:x", "65536:65536", "192.0.2.1:65536"] {
            assert!(text.parse::<Distinguisher>().is_err(), "{text}");
        }
    }
}
