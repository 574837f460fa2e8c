// SPDX-License-Identifier: AGPL-3.0-only
//! BGP OPEN (RFC 4271 section 4.2) and the capabilities that change how UPDATEs are decoded.

use super::cursor::{Cursor, TruncatedError};
use super::families::AfiSafi;

const OPEN: u8 = 1;
const CAPABILITIES: u8 = 2;
/// RFC 9072: the lengths of the optional parameters have 2 bytes.
const EXTENDED: u8 = 255;
const FOUR_OCTET_AS: u8 = 65;
const ADD_PATH: u8 = 69;
/// draft-walton-bgp-hostname-capability: sent by FRR and GoBGP, and by BIRD if configured.
const HOSTNAME: u8 = 73;
/// Maximum length of a stored host name, in bytes.
const MAX_HOSTNAME: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    pub asn: u32,
    pub bgp_id: u32,
    /// Families with Add-Path (RFC 7911 section 4): 1 = receives, 2 = sends.
    add_path: Vec<(AfiSafi, u8)>,
    /// The name that the speaker sent.
    pub hostname: Option<String>,
}

impl Open {
    /// Reads an OPEN. Returns `None` for another message: a Loc-RIB may contain a made-up message.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, TruncatedError> {
        let mut cursor = Cursor::new(bytes);
        cursor.take(18)?;
        let kind = cursor.u8()?;
        let version = cursor.u8()?;
        let mut open = Self {
            asn: cursor.u16()?.into(),
            ..Self::default()
        };
        if kind != OPEN || version != 4 {
            return Ok(None);
        }
        // hold time
        cursor.take(2)?;
        open.bgp_id = cursor.u32()?;
        let mut length = usize::from(cursor.u8()?);
        let mut probe = cursor;
        let extended = length > 0 && probe.u8() == Ok(EXTENDED);
        if extended {
            cursor = probe;
            length = cursor.u16()?.into();
        }
        let mut parameters = Cursor::new(cursor.take(length)?);
        while !parameters.is_empty() {
            let kind = parameters.u8()?;
            let length = length_of(&mut parameters, extended)?;
            let value = parameters.take(length)?;
            if kind == CAPABILITIES {
                open.capabilities(value)?;
            }
        }
        Ok(Some(open))
    }

    fn capabilities(&mut self, bytes: &[u8]) -> Result<(), TruncatedError> {
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let code = cursor.u8()?;
            let length = cursor.u8()?;
            let mut value = Cursor::new(cursor.take(length.into())?);
            match code {
                FOUR_OCTET_AS => self.asn = value.u32()?,
                ADD_PATH => {
                    while let (Ok(afi), Ok(safi), Ok(mode)) = (value.u16(), value.u8(), value.u8())
                    {
                        self.add_path.push((AfiSafi { afi, safi }, mode));
                    }
                }
                HOSTNAME => {
                    // only for operators: a malformed host name is no error of the OPEN
                    let length = value.u8().map_or(0, usize::from);
                    let name = value.take(length).unwrap_or_default();
                    let name = String::from_utf8_lossy(&name[..name.len().min(MAX_HOSTNAME)]);
                    self.hostname = (!name.is_empty()).then(|| name.into_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the mode of a family; 0 without Add-Path. If there are several, the last one counts.
    fn add_path(&self, family: AfiSafi) -> u8 {
        let mut modes = self.add_path.iter().rev();
        modes
            .find(|(named, _)| *named == family)
            .map_or(0, |(_, mode)| *mode)
    }
}

/// The OPENs of a peer-up, as far as they can be decoded.
#[derive(Clone, Debug, Default)]
pub struct Opens {
    pub sent: Option<Open>,
    pub received: Option<Open>,
}

impl Opens {
    /// Returns whether the peer sends path identifiers (RFC 7911 section 4), or `None` if that is not
    /// certain. One OPEN can only exclude them.
    pub fn add_path(&self, family: AfiSafi) -> Option<bool> {
        let sends = self.received.as_ref().map(|o| o.add_path(family) & 2 != 0);
        let receives = self.sent.as_ref().map(|o| o.add_path(family) & 1 != 0);
        match (sends, receives) {
            (Some(sends), Some(receives)) => Some(sends && receives),
            (Some(false), None) | (None, Some(false)) => Some(false),
            _ => None,
        }
    }

    /// Like [`Opens::add_path`], for the routes of the router itself: the router makes up both OPENs (RFC
    /// 9069 section 4.4), and neither side sends to the other.
    pub fn add_path_of_router(&self, family: AfiSafi) -> Option<bool> {
        let opens = [&self.sent, &self.received].map(Option::as_ref);
        let modes = opens.map(|open| open.map(|open| open.add_path(family)));
        match modes {
            [Some(0), Some(0)] => Some(false),
            _ => self.add_path(family).filter(|add_path| *add_path),
        }
    }
}

fn length_of(cursor: &mut Cursor<'_>, extended: bool) -> Result<usize, TruncatedError> {
    Ok(if extended {
        cursor.u16()?.into()
    } else {
        cursor.u8()?.into()
    })
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
            let read = read.unwrap();
            assert_eq!(read.asn, 4_200_000_001);
            let modes = [1, 2].map(|afi| read.add_path(AfiSafi { afi, safi: 1 }));
            assert_eq!(modes, [3, 1]);
        }
    }

    #[test]
    fn an_open_without_parameters_has_its_short_as() {
        let read = Open::read(&open(65001, &[0])).unwrap().unwrap();
        let expected = Open {
            asn: 65001,
            bgp_id: 0xc000_0201,
            ..Open::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_host_name_is_read_and_bounded() {
        let with = |value: &[u8]| {
            let length = value.len() as u8;
            let mut parameters = vec![length + 4, CAPABILITIES, length + 2, HOSTNAME, length];
            parameters.extend(value);
            let read = Open::read(&open(65001, &parameters)).unwrap();
            read.unwrap().hostname
        };
        assert_eq!(with(b"\x04west\x03lan"), Some("west".into()));
        assert_eq!(with(b"\x00\x00"), None);
        assert_eq!(with(b"\x09west"), None);
        assert_eq!(with(b""), None);
        let long = [&[200][..], &[b'x'; 200]].concat();
        assert_eq!(with(&long), Some("x".repeat(MAX_HOSTNAME)));
    }

    #[test]
    fn a_truncated_open_is_an_error() {
        let whole = open(1, &[8, CAPABILITIES, 6, 65, 4, 0, 0, 0, 1]);
        assert!(Open::read(&whole).is_ok());
        for end in 0..whole.len() {
            assert!(Open::read(&whole[..end]).is_err(), "{end} bytes");
        }
    }

    /// Returns an OPEN with this Add-Path mode for IPv4.
    fn with_mode(mode: u8) -> Option<Open> {
        Some(Open {
            add_path: vec![(AfiSafi::IPV4_UNICAST, mode)],
            ..Open::default()
        })
    }

    #[test]
    fn both_sides_agree_on_path_identifiers() {
        for (sent, received, peer, router) in [
            (with_mode(3), with_mode(3), Some(true), Some(true)),
            (with_mode(1), with_mode(2), Some(true), Some(true)),
            (with_mode(2), with_mode(1), Some(false), None),
            (with_mode(2), with_mode(2), Some(false), None),
            (with_mode(0), with_mode(3), Some(false), None),
            (with_mode(0), with_mode(0), Some(false), Some(false)),
            // a single OPEN can only exclude them
            (None, with_mode(3), None, None),
            (None, with_mode(1), Some(false), None),
            (with_mode(1), None, None, None),
            (with_mode(2), None, Some(false), None),
            (None, None, None, None),
        ] {
            let opens = Opens { sent, received };
            let family = AfiSafi::IPV4_UNICAST;
            let got = (opens.add_path(family), opens.add_path_of_router(family));
            assert_eq!(got, (peer, router), "{opens:?}");
        }
    }
}
