// SPDX-License-Identifier: AGPL-3.0-only
//! BMP messages (RFC 7854 section 4): the common header, the per-peer header, and the decoded parts of each
//! kind.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::enrich::rib::{PeerKey, PeerKind, View};

use super::cursor::{Cursor, TruncatedError};

/// Maximum length of a BMP message, common header included. The largest reasonable message is a peer-up
/// with two OPENs of the extended length (RFC 8654) and its TLVs.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// Length of the common header: version, length, type.
pub const HEADER: usize = 6;
const VERSION: u8 = 3;

/// Flags of the per-peer header (RFC 7854 section 4.2, RFC 8671 section 4, RFC 9069 section 4.2).
const IPV6: u8 = 0x80;
const POST_POLICY: u8 = 0x40;
const AS_PATH_2: u8 = 0x20;
const RIB_OUT: u8 = 0x10;
const FILTERED: u8 = 0x80;
/// The peer type of a Loc-RIB. FRR also uses it, with the post-policy flag, for routes that it originates
/// itself: these are not its whole Loc-RIB.
const LOC_RIB: u8 = 3;

/// The reason of a peer-down: a Loc-RIB, or the routes of the router itself, are no longer sent (RFC 9069
/// section 4.4).
pub const LOCAL_SYSTEM_CLOSED: u8 = 6;

/// Text from a router is truncated to this length; RFC 7854 section 4.4 sets no limit.
const MAX_TEXT: usize = 255;

/// Why a session cannot continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    Version(u8),
    Length(u32),
}

#[derive(Clone, Copy, Debug)]
pub struct BmpMessage<'a> {
    pub kind: MessageKind,
    pub body: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    RouteMonitoring,
    Statistics,
    PeerDown,
    PeerUp,
    Initiation,
    Termination,
    Mirroring,
    Unknown(u8),
}

/// The per-peer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerHeader {
    pub key: PeerKey,
    /// The view of the routes; `None` for Adj-RIB-Out.
    pub view: Option<View>,
    /// AS_PATH has ASNs of 2 bytes.
    pub as_path_2: bool,
    /// The message is of a filtered Loc-RIB.
    pub filtered: bool,
    pub asn: u32,
    pub bgp_id: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    Truncated(TruncatedError),
    Kind(u8),
}

/// The two OPENs of a peer-up, as complete BGP messages.
#[derive(Clone, Copy, Debug)]
pub struct PeerUp<'a> {
    pub sent: &'a [u8],
    pub received: &'a [u8],
}

/// Returns the first message in `buffer` and its length, or `None` if the message is incomplete.
pub fn next(buffer: &[u8]) -> Result<Option<(BmpMessage<'_>, usize)>, FrameError> {
    // the first byte shows a wrong version: there is no need to wait for more bytes of such a sender
    match buffer.first() {
        Some(&VERSION) => {}
        Some(&other) => return Err(FrameError::Version(other)),
        None => return Ok(None),
    }
    let mut header = Cursor::new(&buffer[1..]);
    let (Ok(length), Ok(kind)) = (header.u32(), header.u8()) else {
        return Ok(None);
    };
    let whole = usize::try_from(length).unwrap_or(usize::MAX);
    if !(HEADER..=MAX_MESSAGE).contains(&whole) {
        return Err(FrameError::Length(length));
    }
    let Some(bytes) = buffer.get(HEADER..whole) else {
        return Ok(None);
    };
    let message = BmpMessage {
        kind: MessageKind::from(kind),
        body: bytes,
    };
    Ok(Some((message, whole)))
}

impl From<u8> for MessageKind {
    fn from(kind: u8) -> Self {
        match kind {
            0 => Self::RouteMonitoring,
            1 => Self::Statistics,
            2 => Self::PeerDown,
            3 => Self::PeerUp,
            4 => Self::Initiation,
            5 => Self::Termination,
            6 => Self::Mirroring,
            other => Self::Unknown(other),
        }
    }
}

impl PeerHeader {
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Self, HeaderError> {
        let kind = cursor.u8()?;
        let flags = cursor.u8()?;
        let distinguisher = cursor.array()?;
        let address: [u8; 16] = cursor.array()?;
        let asn = cursor.u32()?;
        let bgp_id = cursor.u32()?;
        // seconds and microseconds; some senders leave them zero
        cursor.take(8)?;
        let is_unspecified = address == [0; 16];
        let is_type_3 = kind == LOC_RIB;
        let kind = match kind {
            LOC_RIB if flags & POST_POLICY != 0 => PeerKind::Originated,
            LOC_RIB => PeerKind::LocRib,
            0..=2 if is_unspecified => PeerKind::Originated,
            0 => PeerKind::Global,
            1 => PeerKind::Distinguished,
            2 => PeerKind::Local,
            other => return Err(HeaderError::Kind(other)),
        };
        let is_loc_rib = kind == PeerKind::LocRib;
        let (asn, bgp_id) = match is_loc_rib && !is_unspecified {
            // FRR up to 10.0 fills in the neighbor that sent the route
            true => (0, 0),
            false => (asn, bgp_id),
        };
        let view = match flags {
            _ if is_loc_rib => Some(View::LocRib),
            f if f & RIB_OUT != 0 => None,
            f if f & POST_POLICY != 0 => Some(View::PostPolicy),
            _ => Some(View::PrePolicy),
        };
        let address = match address {
            _ if is_loc_rib || kind == PeerKind::Originated => Ipv6Addr::UNSPECIFIED.into(),
            a if flags & IPV6 != 0 => IpAddr::from(Ipv6Addr::from(a)),
            [.., a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
        };
        // the router has one Loc-RIB, and is one origin of routes, regardless of the values that it fills
        // in
        let identified = match kind {
            PeerKind::LocRib | PeerKind::Originated => (0, 0),
            PeerKind::Global | PeerKind::Distinguished | PeerKind::Local => (asn, bgp_id),
        };
        Ok(Self {
            key: PeerKey {
                kind,
                distinguisher,
                address,
                asn: identified.0,
                bgp_id: identified.1,
            },
            view,
            as_path_2: !is_type_3 && flags & AS_PATH_2 != 0,
            // if there is an address, this flag marks an IPv6 address
            filtered: is_loc_rib && is_unspecified && flags & FILTERED != 0,
            asn,
            bgp_id,
        })
    }
}

impl PeerHeader {
    /// Returns whether the header is about the router itself and not about a neighbor.
    pub fn is_of_router(&self) -> bool {
        matches!(self.key.kind, PeerKind::LocRib | PeerKind::Originated)
    }
}

impl<'a> PeerUp<'a> {
    /// Reads the part after the per-peer header (RFC 7854 section 4.10).
    pub fn read(cursor: &mut Cursor<'a>) -> Result<Self, TruncatedError> {
        // local address, local port, remote port
        cursor.take(16 + 2 + 2)?;
        let (sent, rest) = split_opens(cursor.rest());
        let received = whole_bgp(rest).map_or(rest, |(received, _)| received);
        Ok(Self { sent, received })
    }
}

/// The start of each BGP message. Some senders write other bytes into a peer-up.
const MARKER: [u8; 16] = [0xff; 16];

/// Splits the two OPENs of a peer-up. The first one ends at its length (RFC 4271 section 4.1), unless the
/// second begins at another position.
fn split_opens(bytes: &[u8]) -> (&[u8], &[u8]) {
    let by_length = whole_bgp(bytes);
    if let Some(split) = by_length.filter(|(_, rest)| rest.starts_with(&MARKER)) {
        return split;
    }
    let later = bytes.get(MARKER.len()..).unwrap_or_default();
    let next = later.windows(MARKER.len()).position(|w| w == MARKER);
    let by_marker = next.map(|at| bytes.split_at(at + MARKER.len()));
    by_marker.or(by_length).unwrap_or((bytes, &[]))
}

/// Splits off one BGP message, by the length in its header.
fn whole_bgp(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    const HEADER: usize = 19;
    let length = bytes.get(16..18)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let whole = Some(length).filter(|length| *length >= HEADER)?;
    bytes.split_at_checked(whole)
}

/// Returns sysName and sysDescr of an initiation (RFC 7854 section 4.4); malformed parts are left out.
pub fn initiation(body: &[u8]) -> (String, String) {
    let (mut name, mut descr) = (String::new(), String::new());
    let mut cursor = Cursor::new(body);
    while let (Ok(kind), Ok(length)) = (cursor.u16(), cursor.u16()) {
        let Ok(value) = cursor.take(usize::from(length)) else {
            break;
        };
        match kind {
            1 => descr = text(value),
            2 => name = text(value),
            _ => {}
        }
    }
    (name, descr)
}

fn text(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(MAX_TEXT)];
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| !c.is_control()).collect()
}

impl From<TruncatedError> for HeaderError {
    fn from(short: TruncatedError) -> Self {
        Self::Truncated(short)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(v) => write!(f, "BMP version {v} instead of {VERSION}"),
            Self::Length(l) => {
                write!(
                    f,
                    "a message of {l} bytes instead of {HEADER} to {MAX_MESSAGE}"
                )
            }
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(short) => short.fmt(f),
            Self::Kind(kind) => write!(f, "peer type {kind} is not known"),
        }
    }
}

impl fmt::Display for TruncatedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes are left of {} wanted", self.left, self.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(version: u8, length: u32, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![version];
        bytes.extend(length.to_be_bytes());
        bytes.push(kind);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_message_is_waited_for_until_it_is_whole() {
        let whole = frame(3, 9, 4, &[1, 2, 3]);
        for end in 0..whole.len() {
            assert!(next(&whole[..end]).unwrap().is_none(), "{end} bytes");
        }
        let (message, length) = next(&whole).unwrap().unwrap();
        assert_eq!(
            (message.kind, message.body, length),
            (MessageKind::Initiation, &[1, 2, 3][..], 9)
        );
    }

    #[test]
    fn what_is_no_bmp_is_known_at_once() {
        assert_eq!(next(b"GET").unwrap_err(), FrameError::Version(b'G'));
        for length in [0, 5, MAX_MESSAGE as u32 + 1, u32::MAX] {
            let bytes = frame(3, length, 0, &[]);
            assert_eq!(next(&bytes).unwrap_err(), FrameError::Length(length));
        }
    }

    #[test]
    fn the_flags_tell_view_and_form() {
        let named = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let header = |kind, flags, address: [u8; 16]| {
            let mut bytes = [0; 42];
            bytes[0] = kind;
            bytes[1] = flags;
            bytes[10..26].copy_from_slice(&address);
            PeerHeader::read(&mut Cursor::new(&bytes)).unwrap()
        };
        for (kind, flags, view, as_path_2, filtered) in [
            (0, 0x00, Some(View::PrePolicy), false, false),
            (1, 0x40, Some(View::PostPolicy), false, false),
            (2, 0x60, Some(View::PostPolicy), true, false),
            (0, 0x10, None, false, false),
            (0, 0x50, None, false, false),
            (3, 0x00, Some(View::LocRib), false, false),
            (3, 0x80, Some(View::LocRib), false, true),
            (3, 0x40, Some(View::PostPolicy), false, false),
        ] {
            let address = if kind == 3 { [0; 16] } else { named };
            let h = header(kind, flags, address);
            let got = (h.view, h.as_path_2, h.filtered);
            assert_eq!(got, (view, as_path_2, filtered), "{kind} {flags:#x}");
        }
        let address = IpAddr::from([13, 14, 15, 16]);
        assert_eq!(header(0, 0, named).key.address, address);
        assert!(header(0, 0x80, named).key.address.is_ipv6());
        let of_neighbor = header(3, 0x80, named);
        assert!(!of_neighbor.filtered);
        assert_eq!(of_neighbor.key, header(3, 0, [0; 16]).key);
        assert_eq!(header(0, 0x40, [0; 16]).key.kind, PeerKind::Originated);
    }

    #[test]
    fn text_from_a_router_is_cut_and_cleaned() {
        let mut body = vec![0, 2, 0, 4];
        body.extend(b"r\n\x1b1");
        body.extend([0, 1, 1, 44]);
        body.extend([b'x'; 300]);
        body.extend([0, 9, 255, 255, 0]);
        let (name, descr) = initiation(&body);
        assert_eq!((name.as_str(), descr.len()), ("r1", MAX_TEXT));
    }
}
