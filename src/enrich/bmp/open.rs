// SPDX-License-Identifier: AGPL-3.0-only
//! BGP OPEN (RFC 4271 section 4.2) and the capabilities that change how UPDATEs are read.

use crate::enrich::rib::Family;

use super::reader::{Reader, Short};

const OPEN: u8 = 1;
const CAPABILITIES: u8 = 2;
/// RFC 9072: the lengths of the optional parameters have 2 bytes.
const EXTENDED: u8 = 255;
const FOUR_OCTET_AS: u8 = 65;
const ADD_PATH: u8 = 69;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    pub asn: u32,
    pub bgp_id: u32,
    /// Add-Path by family (RFC 7911 section 4): 1 = receives, 2 = sends.
    add_path: [u8; 2],
}

impl Open {
    pub fn read(bytes: &[u8]) -> Result<Self, Short> {
        let mut reader = Reader::new(bytes);
        reader.take(18)?;
        let kind = reader.u8()?;
        let version = reader.u8()?;
        let mut open = Self {
            asn: reader.u16()?.into(),
            ..Self::default()
        };
        // a Loc-RIB may have a made-up OPEN; nothing is learned from what is none
        if kind != OPEN || version != 4 {
            return Ok(Self::default());
        }
        // hold time
        reader.take(2)?;
        open.bgp_id = reader.u32()?;
        let mut length = usize::from(reader.u8()?);
        let mut probe = reader;
        let extended = length > 0 && probe.u8() == Ok(EXTENDED);
        if extended {
            reader = probe;
            length = reader.u16()?.into();
        }
        let mut parameters = Reader::new(reader.take(length)?);
        while !parameters.is_empty() {
            let kind = parameters.u8()?;
            let length = length_of(&mut parameters, extended)?;
            let value = parameters.take(length)?;
            if kind == CAPABILITIES {
                open.capabilities(value)?;
            }
        }
        Ok(open)
    }

    fn capabilities(&mut self, bytes: &[u8]) -> Result<(), Short> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let code = reader.u8()?;
            let length = reader.u8()?;
            let mut value = Reader::new(reader.take(length.into())?);
            match code {
                FOUR_OCTET_AS => self.asn = value.u32()?,
                ADD_PATH => {
                    while let (Ok(afi), Ok(safi), Ok(mode)) = (value.u16(), value.u8(), value.u8())
                    {
                        if let Some(family) = family(afi, safi) {
                            self.add_path[family as usize] = mode;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether this side sends path identifiers to `other`.
    pub fn sends_paths_to(&self, other: &Self, family: Family) -> bool {
        self.add_path[family as usize] & 2 != 0 && other.add_path[family as usize] & 1 != 0
    }
}

fn length_of(reader: &mut Reader<'_>, extended: bool) -> Result<usize, Short> {
    Ok(if extended {
        reader.u16()?.into()
    } else {
        reader.u8()?.into()
    })
}

/// The unicast families; all others stay out of the RIB.
pub fn family(afi: u16, safi: u8) -> Option<Family> {
    match (afi, safi) {
        (1, 1) => Some(Family::Ipv4),
        (2, 1) => Some(Family::Ipv6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(asn: u16, parameters: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xff; 16];
        bytes.extend([0, 0, OPEN, 4]);
        bytes.extend(asn.to_be_bytes());
        bytes.extend([0, 90, 192, 0, 2, 1]);
        bytes.extend(parameters);
        bytes
    }

    #[test]
    fn capabilities_are_read_in_both_encodings() {
        // two parameters; Add-Path: IPv4 both ways, IPv6 to receive, a VPN family
        let first = [CAPABILITIES, 6, 65, 4, 0xfa, 0x56, 0xea, 1];
        let add_path = [69, 12, 0, 1, 1, 3, 0, 2, 1, 1, 0, 1, 128, 3];
        let mut plain = vec![8 + 2 + 14];
        plain.extend(first);
        plain.extend([CAPABILITIES, 14]);
        plain.extend(add_path);
        let mut extended = vec![EXTENDED, EXTENDED, 0, 9 + 3 + 14, CAPABILITIES, 0, 6];
        extended.extend(&first[2..]);
        extended.extend([CAPABILITIES, 0, 14]);
        extended.extend(add_path);
        for parameters in [plain, extended] {
            let read = Open::read(&open(23456, &parameters)).unwrap();
            assert_eq!(read.asn, 4_200_000_001);
            assert_eq!(read.add_path, [3, 1]);
            assert!(read.sends_paths_to(&read, Family::Ipv4));
            assert!(!read.sends_paths_to(&read, Family::Ipv6));
        }
    }

    #[test]
    fn an_open_without_parameters_has_its_short_as() {
        let read = Open::read(&open(65001, &[0])).unwrap();
        let expected = Open {
            asn: 65001,
            bgp_id: 0xc000_0201,
            ..Open::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_truncated_open_is_an_error() {
        let whole = open(1, &[8, CAPABILITIES, 6, 65, 4, 0, 0, 0, 1]);
        assert!(Open::read(&whole).is_ok());
        for end in 0..whole.len() {
            assert!(Open::read(&whole[..end]).is_err(), "{end} bytes");
        }
    }
}
