// SPDX-License-Identifier: AGPL-3.0-only
//! Decodes AS_PATH and AS4_PATH (RFC 4271 section 4.3, RFC 6793) into an [`AsPath`].

use crate::enrich::rib::{AsPath, SegmentKind};

use super::cursor::Cursor;

/// The width of an ASN: 2 or 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsnWidth {
    Two,
    Four,
}

/// Reads a path with ASNs of this width. Some senders announce one width and send the other: a path that
/// does not parse is decoded with the other width. Returns `None` if it is malformed in both.
pub fn read(bytes: &[u8], width: AsnWidth) -> Option<(AsPath, AsnWidth)> {
    [width, width.other()]
        .into_iter()
        .find_map(|width| Some((read_exactly(bytes, width)?, width)))
}

fn read_exactly(bytes: &[u8], width: AsnWidth) -> Option<AsPath> {
    let mut path = AsPath::default();
    let mut cursor = Cursor::new(bytes);
    while !cursor.is_empty() {
        let kind = SegmentKind::new(cursor.u8().ok()?)?;
        let count = cursor.u8().ok()?;
        // RFC 7606 section 7.2: a segment without ASNs is malformed
        if count == 0 {
            return None;
        }
        let asns = cursor.take(usize::from(count) * width.bytes()).ok()?;
        path.push(kind, width.asns(asns));
    }
    Some(path)
}

/// Replaces the ASNs that 2 bytes could not carry with those of AS4_PATH (RFC 6793 section 4.2.3). The
/// result has as many ASes from the start of AS_PATH as AS_PATH is longer than AS4_PATH, then AS4_PATH.
/// Ignores an AS4_PATH that is longer.
pub fn merge(two: AsPath, four: &AsPath) -> AsPath {
    let Some(mut left) = two.length().checked_sub(four.length()) else {
        return two;
    };
    if four.is_empty() {
        return two;
    }
    let mut merged = AsPath::default();
    for (kind, asns) in two.segments() {
        let is_counted = !kind.is_confed();
        if is_counted && left == 0 {
            break;
        }
        let taken = match kind {
            SegmentKind::Sequence => asns.len().min(left.into()),
            _ => asns.len(),
        };
        if is_counted {
            let counted = if kind == SegmentKind::Set { 1 } else { taken };
            left -= counted as u16;
        }
        merged.push(kind, asns[..taken].iter().copied());
    }
    for (kind, asns) in four.segments() {
        merged.push(kind, asns.iter().copied());
    }
    merged
}

impl AsnWidth {
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

    fn asns(self, bytes: &[u8]) -> impl Iterator<Item = u32> {
        let asn = |bytes: &[u8]| bytes.iter().fold(0, |asn, &b| asn << 8 | u32::from(b));
        bytes.chunks_exact(self.bytes()).map(asn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use SegmentKind::{ConfedSequence, Sequence, Set};

    fn bytes(segments: &[(u8, &[u32])], width: AsnWidth) -> Vec<u8> {
        let segment = |(kind, asns): &(u8, &[u32])| {
            let mut bytes = vec![*kind, asns.len() as u8];
            for asn in *asns {
                bytes.extend(&asn.to_be_bytes()[4 - width.bytes()..]);
            }
            bytes
        };
        segments.iter().flat_map(segment).collect()
    }

    fn path(segments: &[(SegmentKind, &[u32])]) -> AsPath {
        let mut path = AsPath::default();
        for (kind, asns) in segments {
            path.push(*kind, asns.iter().copied());
        }
        path
    }

    #[test]
    fn segments_of_all_kinds_are_read_in_both_widths() {
        let many: Vec<u32> = (1..=255).collect();
        for (segments, shown) in [
            (&[][..], ""),
            (&[(2, &[1, 2, 3][..])][..], "1 2 3"),
            (&[(2, &[1, 2]), (1, &[3, 4, 5])], "1 2 {3,4,5}"),
            (&[(3, &[7]), (4, &[8, 9]), (2, &[1])], "(7) [8,9] 1"),
        ] {
            for width in [AsnWidth::Two, AsnWidth::Four] {
                let (path, read_as) = read(&bytes(segments, width), width).unwrap();
                assert_eq!((path.to_string().as_str(), read_as), (shown, width));
            }
        }
        let long = bytes(&[(2, &many), (2, &[256])], AsnWidth::Four);
        assert_eq!(read(&long, AsnWidth::Four).unwrap().0.length(), 256);
    }

    #[test]
    fn a_path_of_the_other_width_is_read_as_it_is() {
        let four = bytes(&[(2, &[4_200_000_001, 65001])], AsnWidth::Four);
        let (path, width) = read(&four, AsnWidth::Two).unwrap();
        assert_eq!(
            (path.asns(), width),
            (&[4_200_000_001, 65001][..], AsnWidth::Four)
        );
        let two = bytes(&[(2, &[64500, 64501, 64502])], AsnWidth::Two);
        let (path, width) = read(&two, AsnWidth::Four).unwrap();
        assert_eq!(
            (path.asns(), width),
            (&[64500, 64501, 64502][..], AsnWidth::Two)
        );
    }

    #[test]
    fn as4_path_replaces_the_end_of_as_path() {
        let short = path(&[(Sequence, &[100, 23456, 23456])]);
        let with_set = path(&[(Sequence, &[100, 23456]), (Set, &[23456, 5])]);
        let confed = path(&[(ConfedSequence, &[7]), (Sequence, &[100, 23456])]);
        for (two, four, merged) in [
            (
                &short,
                &[(Sequence, &[70_000, 80_000][..])][..],
                "100 70000 80000",
            ),
            (&short, &[(Sequence, &[1, 70_000, 80_000])], "1 70000 80000"),
            // longer than AS_PATH, or empty
            (&short, &[(Sequence, &[1, 2, 3, 4])], "100 23456 23456"),
            (&short, &[], "100 23456 23456"),
            (&with_set, &[(Set, &[70_000, 5])], "100 23456 {70000,5}"),
            (
                &with_set,
                &[(Sequence, &[70_000]), (Set, &[80_000, 5])],
                "100 70000 {80000,5}",
            ),
            (&confed, &[(Sequence, &[70_000])], "(7) 100 70000"),
        ] {
            assert_eq!(merge(two.clone(), &path(four)).to_string(), merged);
        }
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
            assert_eq!(read(bytes, AsnWidth::Four), None, "{bytes:?}");
        }
    }
}
