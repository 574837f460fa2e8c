// SPDX-License-Identifier: AGPL-3.0-only
//! The parts of attributes that only `rfm rib` reads, as a byte string: AS path, communities, cluster
//! list. A full table has about 200,000 different ones, so each byte counts.
//!
//! The string has one byte of flags, the path, and the lists that the flags announce, each with its length.
//! Numbers that are mostly small have 7 bits in a byte (LEB128).

use super::as_path::SegmentKind;
use super::attributes::Attributes;

/// The path is one AS_SEQUENCE between the neighbor and the origin, which are held elsewhere.
const PLAIN: u8 = 1;
const COMMUNITIES: u8 = 2;
const LARGE_COMMUNITIES: u8 = 4;
const CLUSTER_LIST: u8 = 8;
/// A list had more entries than are kept, or nothing is kept.
const CUT: u8 = 16;

/// The output of [`encode`] if no memory may be used: no path, no lists.
pub const LEFT_OUT: [u8; 2] = [CUT, 0];

/// Appends the details of these attributes.
pub fn encode(attributes: &Attributes, bytes: &mut Vec<u8>) {
    let flags = bytes.len();
    bytes.push(if attributes.cut { CUT } else { 0 });
    match plain(attributes) {
        Some(between) => {
            bytes[flags] |= PLAIN;
            number(bytes, attributes.path.asns().len() as u32);
            between.iter().for_each(|asn| number(bytes, *asn));
        }
        None => {
            number(bytes, attributes.path.segments().count() as u32);
            for (kind, asns) in attributes.path.segments() {
                bytes.push(kind as u8);
                number(bytes, asns.len() as u32);
                asns.iter().for_each(|asn| number(bytes, *asn));
            }
        }
    }
    let communities = attributes.communities.iter().map(|c| [*c]);
    list(bytes, flags, COMMUNITIES, communities);
    let large = attributes.large_communities.iter().copied();
    list(bytes, flags, LARGE_COMMUNITIES, large);
    let clusters = attributes.cluster_list.iter().map(|c| [*c]);
    list(bytes, flags, CLUSTER_LIST, clusters);
}

/// Decodes the output of [`encode`] into attributes that have neighbor and origin.
pub fn decode(bytes: &[u8], attributes: &mut Attributes) {
    let mut bytes = Cursor(bytes);
    let flags = bytes.byte();
    attributes.cut = flags & CUT != 0;
    let ends = (attributes.peer_asn, attributes.origin_asn);
    let path = &mut attributes.path;
    bytes.path(flags, ends, |kind, asns| path.push(kind, asns));
    if flags & COMMUNITIES != 0 {
        attributes.communities = bytes.list().map(|[c]| c).collect();
    }
    if flags & LARGE_COMMUNITIES != 0 {
        attributes.large_communities = bytes.list().collect();
    }
    if flags & CLUSTER_LIST != 0 {
        attributes.cluster_list = bytes.list().map(|[c]| c).collect();
    }
}

/// Passes each segment of the path to `segment`, without memory of its own. `ends` are the neighbor and the origin.
/// Returns whether the path is complete.
pub fn visit_path(
    bytes: &[u8],
    ends: (u32, u32),
    segment: impl FnMut(SegmentKind, &mut dyn Iterator<Item = u32>),
) -> bool {
    let mut bytes = Cursor(bytes);
    let flags = bytes.byte();
    bytes.path(flags, ends, segment);
    flags & CUT == 0
}

/// Returns the ASNs between the ends of a path, if nothing else is needed to restore it.
fn plain(attributes: &Attributes) -> Option<&[u32]> {
    let asns = attributes.path.as_sequence()?;
    let (first, last) = (*asns.first()?, *asns.last()?);
    let ends = (attributes.peer_asn, attributes.origin_asn);
    ((first, last) == ends).then(|| asns.get(1..asns.len() - 1).unwrap_or_default())
}

fn number(bytes: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn list<const N: usize>(
    bytes: &mut Vec<u8>,
    flags: usize,
    flag: u8,
    entries: impl ExactSizeIterator<Item = [u32; N]>,
) {
    if entries.len() == 0 {
        return;
    }
    bytes[flags] |= flag;
    number(bytes, entries.len() as u32);
    for word in entries.flatten() {
        bytes.extend(word.to_be_bytes());
    }
}

/// Reads the output of [`encode`]. Bytes beyond its end would read as zeros.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        byte
    }

    fn number(&mut self) -> u32 {
        let mut value = 0;
        for shift in (0..32).step_by(7) {
            let byte = self.byte();
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }

    /// Passes each segment of the path to `segment`, which reads all of its ASNs.
    fn path(
        &mut self,
        flags: u8,
        (first, last): (u32, u32),
        mut segment: impl FnMut(SegmentKind, &mut dyn Iterator<Item = u32>),
    ) {
        let count = self.number();
        if flags & PLAIN != 0 {
            let between = (2..count).map(|_| self.number());
            let last = (count > 1).then_some(last);
            let mut asns = [first].into_iter().chain(between).chain(last);
            return segment(SegmentKind::Sequence, &mut asns);
        }
        for _ in 0..count {
            let kind = SegmentKind::new(self.byte());
            let count = self.number();
            let mut asns = (0..count).map(|_| self.number());
            segment(kind.unwrap_or(SegmentKind::Sequence), &mut asns);
        }
    }

    fn list<const N: usize>(&mut self) -> impl Iterator<Item = [u32; N]> {
        let count = self.number();
        (0..count).map(|_| [(); N].map(|()| u32::from_be_bytes([(); 4].map(|()| self.byte()))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::enrich::rib::AsPath;

    fn asn() -> impl Strategy<Value = u32> {
        prop_oneof![1_u32..200, any::<u32>()]
    }

    fn attributes() -> impl Strategy<Value = Attributes> {
        let segment = (1_u8..5, prop::collection::vec(asn(), 1..6));
        let segments = prop::collection::vec(segment, 0..4);
        let ends = (any::<bool>(), asn());
        let communities = prop::collection::vec(any::<u32>(), 0..5);
        let large = prop::collection::vec(any::<[u32; 3]>(), 0..3);
        let clusters = prop::collection::vec(any::<u32>(), 0..3);
        (segments, ends, communities, large, clusters, any::<bool>()).prop_map(
            |(segments, (real, other), communities, large_communities, cluster_list, cut)| {
                let mut path = AsPath::default();
                for (kind, asns) in segments {
                    path.push(SegmentKind::new(kind).unwrap(), asns);
                }
                Attributes {
                    peer_asn: if real { path.peer_asn(7) } else { other },
                    origin_asn: path.origin(7),
                    path,
                    communities,
                    large_communities,
                    cluster_list,
                    cut,
                    ..Attributes::default()
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(given in attributes()) {
            let mut bytes = Vec::new();
            encode(&given, &mut bytes);
            let mut read = Attributes {
                peer_asn: given.peer_asn,
                origin_asn: given.origin_asn,
                ..Attributes::default()
            };
            // the store pads a string
            bytes.extend([0; 3]);
            decode(&bytes, &mut read);
            prop_assert_eq!(read, given);
        }
    }

    #[test]
    fn a_usual_path_takes_two_bytes_for_each_as_between_its_ends() {
        let mut path = AsPath::default();
        path.push(SegmentKind::Sequence, [3320, 1299, 2914, 64500]);
        let attributes = Attributes {
            peer_asn: 3320,
            origin_asn: 64500,
            path,
            ..Attributes::default()
        };
        let mut bytes = Vec::new();
        encode(&attributes, &mut bytes);
        assert_eq!(bytes.len(), 2 + 2 * 2);
    }
}
