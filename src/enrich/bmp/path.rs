// SPDX-License-Identifier: AGPL-3.0-only
//! AS_PATH and AS4_PATH (RFC 4271 section 4.3, RFC 6793), reduced to what is kept: both ends and the
//! length.

use super::reader::Reader;

const AS_SET: u8 = 1;
const AS_SEQUENCE: u8 = 2;
/// RFC 5065
const CONFED_SEQUENCE: u8 = 3;
const CONFED_SET: u8 = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsPath {
    /// `None`: the path is empty, or holds confederation segments only.
    ends: Option<Ends>,
    /// A set counts one, confederation segments nothing.
    pub length: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    first: u32,
    /// `None`: an AS_SET.
    last: Option<u32>,
}

/// Bytes of an ASN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Two,
    Four,
}

impl AsPath {
    /// Reads a path whose ASNs should have this width. Some senders say one and send the other: what
    /// does not parse is tried with the other. `None`: it is malformed in both.
    pub fn read(bytes: &[u8], width: Width) -> Option<(Self, Width)> {
        Self::read_after(None, bytes, width)
    }

    /// As [`AsPath::read`], of a sender that writes this AS before the path it has received.
    pub fn read_after(prepended: Option<u32>, bytes: &[u8], width: Width) -> Option<(Self, Width)> {
        [width, width.other()]
            .into_iter()
            .find_map(|width| Some((Self::read_exactly(prepended, bytes, width)?, width)))
    }

    fn read_exactly(mut prepended: Option<u32>, bytes: &[u8], width: Width) -> Option<Self> {
        let mut path = Self::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let kind = reader.u8().ok()?;
            let mut count = reader.u8().ok()?;
            let mut asns = reader.take(usize::from(count) * width.bytes()).ok()?;
            // RFC 7606 section 7.2: a segment without ASNs is malformed
            let mut first = width.asn(asns)?;
            if kind == AS_SEQUENCE && prepended.take() == Some(first) {
                asns = &asns[width.bytes()..];
                count -= 1;
                let Some(next) = width.asn(asns) else {
                    continue;
                };
                first = next;
            }
            let last = width.asn(&asns[asns.len() - width.bytes()..])?;
            let (last, length) = match kind {
                AS_SEQUENCE => (Some(last), u16::from(count)),
                AS_SET => (None, 1),
                CONFED_SEQUENCE | CONFED_SET => continue,
                _ => return None,
            };
            let first = path.ends.map_or(first, |ends| ends.first);
            path.ends = Some(Ends { first, last });
            path.length = path.length.saturating_add(length);
        }
        Some(path)
    }

    /// Puts the ASNs that 2 bytes could not carry in their place (RFC 6793 section 4.2.3).
    pub fn merge(self, four: Self) -> Self {
        match (self.ends, four.ends) {
            (Some(two), Some(ends)) if four.length <= self.length => Self {
                ends: Some(Ends {
                    first: if four.length == self.length {
                        ends.first
                    } else {
                        two.first
                    },
                    last: ends.last,
                }),
                length: self.length,
            },
            _ => self,
        }
    }

    /// The AS the route comes from; an empty path begins and ends at home. 0: none single.
    pub fn origin(&self, own: u32) -> u32 {
        self.ends.map_or(own, |ends| ends.last.unwrap_or(0))
    }

    /// The AS the route was heard from.
    pub fn neighbour(&self, own: u32) -> u32 {
        self.ends.map_or(own, |ends| ends.first)
    }
}

impl Width {
    fn other(self) -> Self {
        match self {
            Self::Two => Self::Four,
            Self::Four => Self::Two,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// The first ASN in `bytes`.
    fn asn(self, bytes: &[u8]) -> Option<u32> {
        let mut reader = Reader::new(bytes);
        match self {
            Self::Two => reader.u16().ok().map(u32::from),
            Self::Four => reader.u32().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(kind: u8, asns: &[u32], width: Width) -> Vec<u8> {
        let mut bytes = vec![kind, asns.len() as u8];
        for asn in asns {
            match width {
                Width::Two => bytes.extend((*asn as u16).to_be_bytes()),
                Width::Four => bytes.extend(asn.to_be_bytes()),
            }
        }
        bytes
    }

    fn path(segments: &[(u8, &[u32])], width: Width) -> AsPath {
        let bytes: Vec<u8> = segments
            .iter()
            .flat_map(|(kind, asns)| segment(*kind, asns, width))
            .collect();
        let (path, read_as) = AsPath::read(&bytes, width).unwrap();
        assert_eq!(read_as, width);
        path
    }

    const OWN: u32 = 64512;

    #[test]
    fn both_ends_and_the_length() {
        let many: Vec<u32> = (1..=255).collect();
        for (segments, neighbour, origin, length) in [
            (&[][..], OWN, OWN, 0),
            (&[(AS_SEQUENCE, &[1, 2, 3][..])][..], 1, 3, 3),
            (&[(AS_SEQUENCE, &[1, 2]), (AS_SET, &[3, 4, 5])], 1, 0, 3),
            (&[(AS_SET, &[3])], 3, 0, 1),
            (&[(AS_SET, &[3, 4]), (AS_SEQUENCE, &[5])], 3, 5, 2),
            (&[(CONFED_SEQUENCE, &[7]), (AS_SEQUENCE, &[1, 2])], 1, 2, 2),
            (&[(AS_SEQUENCE, &[1, 2]), (CONFED_SET, &[7])], 1, 2, 2),
            (
                &[(CONFED_SEQUENCE, &[7, 8]), (CONFED_SET, &[9])],
                OWN,
                OWN,
                0,
            ),
            (&[(AS_SEQUENCE, &many), (AS_SEQUENCE, &[256])], 1, 256, 256),
        ] {
            for width in [Width::Two, Width::Four] {
                let path = path(segments, width);
                let got = (path.neighbour(OWN), path.origin(OWN), path.length);
                assert_eq!(got, (neighbour, origin, length), "{segments:?} {width:?}");
            }
        }
    }

    #[test]
    fn what_the_sender_wrote_before_the_path_is_taken_off_once() {
        for (segments, neighbour, origin, length) in [
            (&[(AS_SEQUENCE, &[OWN, 1, 2][..])][..], 1, 2, 2),
            (&[(AS_SEQUENCE, &[OWN, OWN, 1]), (AS_SET, &[3])], OWN, 0, 3),
            (&[(AS_SEQUENCE, &[OWN]), (AS_SEQUENCE, &[1, 2])], 1, 2, 2),
            (&[(AS_SEQUENCE, &[OWN])], OWN, OWN, 0),
            // a sender that does not do so any more
            (&[(AS_SEQUENCE, &[1, OWN, 2])], 1, 2, 3),
            (&[(AS_SEQUENCE, &[1]), (AS_SEQUENCE, &[OWN, 2])], 1, 2, 3),
        ] {
            for width in [Width::Two, Width::Four] {
                let bytes: Vec<u8> = segments
                    .iter()
                    .flat_map(|(kind, asns)| segment(*kind, asns, width))
                    .collect();
                let (path, _) = AsPath::read_after(Some(OWN), &bytes, width).unwrap();
                let got = (path.neighbour(OWN), path.origin(OWN), path.length);
                assert_eq!(got, (neighbour, origin, length), "{segments:?} {width:?}");
            }
        }
    }

    #[test]
    fn a_path_of_the_other_width_is_read_as_it_is() {
        let bytes = segment(AS_SEQUENCE, &[4_200_000_001, 65001], Width::Four);
        let (path, width) = AsPath::read(&bytes, Width::Two).unwrap();
        assert_eq!((path.origin(OWN), width), (65001, Width::Four));
        let bytes = segment(AS_SEQUENCE, &[64500, 64501, 64502], Width::Two);
        let (path, width) = AsPath::read(&bytes, Width::Four).unwrap();
        assert_eq!((path.origin(OWN), width), (64502, Width::Two));
    }

    #[test]
    fn as4_path_fills_in_from_the_end() {
        let two = path(&[(AS_SEQUENCE, &[100, 23456, 23456])], Width::Two);
        for (four, neighbour, origin) in [
            (&[70_000, 80_000][..], 100, 80_000),
            (&[60_000, 70_000, 80_000], 60_000, 80_000),
            // longer than AS_PATH: ignored
            (&[1, 2, 3, 4], 100, 23456),
        ] {
            let merged = two.merge(path(&[(AS_SEQUENCE, four)], Width::Four));
            let got = (merged.neighbour(OWN), merged.origin(OWN), merged.length);
            assert_eq!(got, (neighbour, origin, 3), "{four:?}");
        }
        assert_eq!(two.merge(AsPath::default()), two);
    }

    #[test]
    fn a_malformed_path_is_none() {
        for bytes in [
            &[2][..],
            &[2, 0],
            &[2, 1, 0],
            &[9, 1, 0, 0, 0, 1],
            &[2, 3, 0, 1],
        ] {
            assert_eq!(AsPath::read(bytes, Width::Four), None, "{bytes:?}");
        }
    }
}
