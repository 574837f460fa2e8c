// SPDX-License-Identifier: AGPL-3.0-only
//! The PDUs of RTR, the protocol between an RPKI cache and a router (RFC 8210 section 5; version 0: RFC 6810).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The version that rfm requests first.
pub const VERSION: u8 = 1;
const HEADER: usize = 8;
/// Maximum length of a PDU: an Error Report contains another PDU and a text.
pub const MAX_LENGTH: usize = 4096;
/// Maximum number of bytes of an error text that are shown.
const MAX_TEXT: usize = 200;

// RFC 8210 section 5.12
pub const ERROR_CORRUPT: u16 = 0;
pub const ERROR_NO_DATA: u16 = 2;
pub const ERROR_VERSION: u16 = 4;
pub const ERROR_TYPE: u16 = 5;
pub const ERROR_UNKNOWN_WITHDRAWAL: u16 = 6;
pub const ERROR_DUPLICATE: u16 = 7;

/// A VRP that the cache announces or withdraws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixPdu {
    pub announce: bool,
    pub address: IpAddr,
    pub length: u8,
    pub max_length: u8,
    pub asn: u32,
}

/// Intervals in seconds; version 0 has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
}

/// A PDU that a cache sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pdu {
    SerialNotify {
        session: u16,
        serial: u32,
    },
    CacheResponse {
        session: u16,
    },
    Prefix(PrefixPdu),
    EndOfData {
        session: u16,
        serial: u32,
        intervals: Option<Intervals>,
    },
    CacheReset,
    /// A key of a router for BGPsec, which is of no use here.
    RouterKey,
    ErrorReport {
        code: u16,
        text: String,
    },
}

/// Why the bytes are no PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PduError {
    Length { kind: u8, length: u32 },
    Kind(u8),
    Version(u8),
}

impl PduError {
    /// Returns the code for an Error Report.
    pub fn code(self) -> u16 {
        match self {
            Self::Length { .. } => ERROR_CORRUPT,
            Self::Kind(_) => ERROR_TYPE,
            Self::Version(_) => ERROR_VERSION,
        }
    }
}

impl fmt::Display for PduError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { kind, length } => write!(f, "PDU type {kind} with {length} bytes"),
            Self::Kind(kind) => write!(f, "unknown PDU type {kind}"),
            Self::Version(version) => write!(f, "protocol version {version}"),
        }
    }
}

/// Returns the first PDU of the bytes, its version and its length; `None` if it is not complete.
pub fn decode(bytes: &[u8]) -> Result<Option<(Pdu, u8, usize)>, PduError> {
    let Some((header, _)) = bytes.split_at_checked(HEADER) else {
        return Ok(None);
    };
    let (version, kind) = (header[0], header[1]);
    if version > VERSION {
        return Err(PduError::Version(version));
    }
    let session = u16::from_be_bytes([header[2], header[3]]);
    let length = word(header, 4);
    let fits = match (kind, version) {
        (0, _) => length == 12,
        (3 | 8, _) => length == 8,
        (4, _) => length == 20,
        (6, _) => length == 32,
        (7, 0) => length == 12,
        (7, _) => length == 24,
        // length of the key: RFC 8210 section 5.10
        (9, 1) => (HEADER + 24..=MAX_LENGTH).contains(&(length as usize)),
        (10, _) => (HEADER + 8..=MAX_LENGTH).contains(&(length as usize)),
        _ => return Err(PduError::Kind(kind)),
    };
    if !fits {
        return Err(PduError::Length { kind, length });
    }
    let Some(pdu) = bytes.get(..length as usize) else {
        return Ok(None);
    };
    let body = &pdu[HEADER..];
    let decoded = match kind {
        0 => Pdu::SerialNotify {
            session,
            serial: word(body, 0),
        },
        3 => Pdu::CacheResponse { session },
        4 => {
            let address: [u8; 4] = array(&body[4..]);
            prefix(body, Ipv4Addr::from(address).into(), word(body, 8))
        }
        6 => {
            let address: [u8; 16] = array(&body[4..]);
            prefix(body, Ipv6Addr::from(address).into(), word(body, 20))
        }
        7 => Pdu::EndOfData {
            session,
            serial: word(body, 0),
            intervals: (version > 0).then(|| Intervals {
                refresh: word(body, 4),
                retry: word(body, 8),
                expire: word(body, 12),
            }),
        },
        8 => Pdu::CacheReset,
        9 => Pdu::RouterKey,
        _ => Pdu::ErrorReport {
            code: session,
            text: error_text(body).ok_or(PduError::Length { kind, length })?,
        },
    };
    Ok(Some((decoded, version, length as usize)))
}

fn prefix(body: &[u8], address: IpAddr, asn: u32) -> Pdu {
    Pdu::Prefix(PrefixPdu {
        announce: body[0] & 1 != 0,
        address,
        length: body[1],
        max_length: body[2],
        asn,
    })
}

/// Returns the text of an Error Report, which follows the erroneous PDU; each has its length before it.
fn error_text(body: &[u8]) -> Option<String> {
    let (_, rest) = counted(body)?;
    let (text, _) = counted(rest)?;
    let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
    Some(text.escape_debug().to_string())
}

fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    rest.split_at_checked(word(length, 0) as usize)
}

/// `at` is within the bytes: the length was checked.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(&bytes[at..]))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

/// Returns a Serial Query: the changes since a serial number.
pub fn serial_query(version: u8, session: u16, serial: u32) -> Vec<u8> {
    let mut pdu = header(version, 1, session, 12);
    pdu.extend(serial.to_be_bytes());
    pdu
}

/// Returns a Reset Query: all data.
pub fn reset_query(version: u8) -> Vec<u8> {
    header(version, 2, 0, 8)
}

/// Returns an Error Report with the header of the erroneous PDU, or as much as there is of it.
pub fn error_report(version: u8, code: u16, erroneous: &[u8], text: &str) -> Vec<u8> {
    let erroneous = &erroneous[..erroneous.len().min(HEADER)];
    let length = HEADER + 8 + erroneous.len() + text.len();
    let mut pdu = header(version, 10, code, length as u32);
    for part in [erroneous, text.as_bytes()] {
        pdu.extend((part.len() as u32).to_be_bytes());
        pdu.extend(part);
    }
    pdu
}

fn header(version: u8, kind: u8, session: u16, length: u32) -> Vec<u8> {
    let mut pdu = vec![version, kind];
    pdu.extend(session.to_be_bytes());
    pdu.extend(length.to_be_bytes());
    pdu
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let pairs = digits
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).unwrap());
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).unwrap())
            .collect()
    }

    /// The figures of RFC 8210 section 5.
    #[test]
    fn each_kind_is_decoded() {
        for (text, expected) in [
            (
                "01 00 0007 0000000c 00000009",
                Pdu::SerialNotify {
                    session: 7,
                    serial: 9,
                },
            ),
            ("00 03 0007 00000008", Pdu::CacheResponse { session: 7 }),
            (
                "01 04 0000 00000014 01 18 1a 00 c0000200 0000fbf4",
                Pdu::Prefix(PrefixPdu {
                    announce: true,
                    address: [192, 0, 2, 0].into(),
                    length: 24,
                    max_length: 26,
                    asn: 64500,
                }),
            ),
            (
                "01 06 0000 00000020 00 20 30 00 20010db8000000000000000000000000 0000fbf4",
                Pdu::Prefix(PrefixPdu {
                    announce: false,
                    address: "2001:db8::".parse().unwrap(),
                    length: 32,
                    max_length: 48,
                    asn: 64500,
                }),
            ),
            (
                "00 07 0007 0000000c 00000009",
                Pdu::EndOfData {
                    session: 7,
                    serial: 9,
                    intervals: None,
                },
            ),
            (
                "01 07 0007 00000018 00000009 00000e10 00000258 00001c20",
                Pdu::EndOfData {
                    session: 7,
                    serial: 9,
                    intervals: Some(Intervals {
                        refresh: 3600,
                        retry: 600,
                        expire: 7200,
                    }),
                },
            ),
            ("01 08 0000 00000008", Pdu::CacheReset),
            (
                "01 0a 0004 00000013 00000000 00000003 610a62",
                Pdu::ErrorReport {
                    code: 4,
                    text: "a\\nb".into(),
                },
            ),
        ] {
            let whole = bytes(text);
            let (pdu, version, length) = decode(&whole).unwrap().unwrap();
            assert_eq!(
                (pdu, version, length),
                (expected, whole[0], whole.len()),
                "{text}"
            );
            for cut in 0..whole.len() {
                assert_eq!(decode(&whole[..cut]), Ok(None), "{text}, {cut} bytes");
            }
        }
    }

    #[test]
    fn wrong_lengths_types_and_versions_are_errors() {
        for (text, expected) in [
            ("01 04 0000 00000015 00", "PDU type 4 with 21 bytes"),
            ("01 07 0000 0000000c 00", "PDU type 7 with 12 bytes"),
            ("00 07 0000 00000018 00", "PDU type 7 with 24 bytes"),
            ("01 0a 0000 00001001 00", "PDU type 10 with 4097 bytes"),
            (
                "01 0a 0000 00000010 00000001 00000000",
                "PDU type 10 with 16 bytes",
            ),
            ("01 03 0000 00000007", "PDU type 3 with 7 bytes"),
            ("01 05 0000 00000008", "unknown PDU type 5"),
            ("00 09 0000 00000024", "unknown PDU type 9"),
            ("02 03 0000 00000008", "protocol version 2"),
        ] {
            let error = decode(&bytes(text)).unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn queries_and_reports_have_the_form_of_the_rfc() {
        assert_eq!(serial_query(1, 7, 9), bytes("01 01 0007 0000000c 00000009"));
        assert_eq!(reset_query(0), bytes("00 02 0000 00000008"));
        let report = error_report(1, 5, &bytes("01 05 0000 00000008 ff"), "why");
        assert_eq!(
            report,
            bytes("01 0a 0005 0000001b 00000008 0105000000000008 00000003 776879")
        );
        let Ok(Some((Pdu::ErrorReport { code, text }, 1, _))) = decode(&report) else {
            panic!("{report:?}");
        };
        assert_eq!((code, &*text), (5, "why"));
    }
}
