// SPDX-License-Identifier: AGPL-3.0-only
//! AS_PATH (RFC 4271 section 4.3, RFC 5065) in the form that a route holds.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SegmentKind {
    Set = 1,
    Sequence = 2,
    ConfedSequence = 3,
    ConfedSet = 4,
}

/// A sequence of segments of ASNs. No segment is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsPath {
    /// Kind and number of ASNs of each segment.
    segments: Vec<(SegmentKind, u16)>,
    asns: Vec<u32>,
}

impl SegmentKind {
    pub fn new(kind: u8) -> Option<Self> {
        match kind {
            1 => Some(Self::Set),
            2 => Some(Self::Sequence),
            3 => Some(Self::ConfedSequence),
            4 => Some(Self::ConfedSet),
            _ => None,
        }
    }

    /// Returns whether a segment is inside a confederation. Such segments are not part of the path that the
    /// confederation's neighbors see.
    pub fn is_confed(self) -> bool {
        matches!(self, Self::ConfedSequence | Self::ConfedSet)
    }
}

impl AsPath {
    /// Appends a segment; an empty one is left out. A sequence after a sequence continues it: in a message,
    /// a segment has at most 255 ASNs.
    pub fn push(&mut self, kind: SegmentKind, asns: impl IntoIterator<Item = u32>) {
        let before = self.asns.len();
        self.asns.extend(asns);
        let mut count = self.asns.len() - before;
        if matches!(kind, SegmentKind::Sequence | SegmentKind::ConfedSequence)
            && let Some((last, length)) = self.segments.last_mut()
            && *last == kind
        {
            let part = count.min(usize::from(u16::MAX - *length));
            *length += part as u16;
            count -= part;
        }
        while count > 0 {
            let part = count.min(usize::from(u16::MAX));
            self.segments.push((kind, part as u16));
            count -= part;
        }
    }

    pub fn segments(&self) -> impl Iterator<Item = (SegmentKind, &[u32])> {
        self.segments.iter().scan(0, |end, &(kind, count)| {
            let start = *end;
            *end += usize::from(count);
            Some((kind, &self.asns[start..*end]))
        })
    }

    /// Returns all ASNs in order.
    pub fn asns(&self) -> &[u32] {
        &self.asns
    }

    pub fn is_empty(&self) -> bool {
        self.asns.is_empty()
    }

    /// Returns the ASNs of a path that is a single AS_SEQUENCE.
    pub fn as_sequence(&self) -> Option<&[u32]> {
        match self.segments[..] {
            [(SegmentKind::Sequence, _)] => Some(&self.asns),
            _ => None,
        }
    }

    /// Returns the length that the decision process compares: a set counts one (RFC 4271 section
    /// 9.1.2.2), confederation segments nothing (RFC 5065 section 5.3).
    pub fn length(&self) -> u16 {
        let length = |&(kind, count): &(SegmentKind, u16)| match kind {
            SegmentKind::Sequence => count,
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        };
        let lengths = self.segments.iter().map(length);
        lengths.fold(0, u16::saturating_add)
    }

    /// Returns the AS that announced the route first, `own` for a path without external segments, 0 if
    /// the path ends in a set.
    pub fn origin(&self, own: u32) -> u32 {
        let mut end = self.asns.len();
        for &(kind, count) in self.segments.iter().rev() {
            if !kind.is_confed() {
                let last = end.checked_sub(1).map(|last| self.asns[last]);
                return match kind {
                    SegmentKind::Sequence => last.unwrap_or(own),
                    _ => 0,
                };
            }
            end -= usize::from(count);
        }
        own
    }

    /// Returns the first AS of the external segments, `own` if there is none.
    pub fn peer_asn(&self, own: u32) -> u32 {
        let mut start = 0;
        for &(kind, count) in &self.segments {
            if !kind.is_confed() {
                return self.asns[start];
            }
            start += usize::from(count);
        }
        own
    }

    /// Returns whether the path begins inside a confederation.
    pub fn begins_in_confederation(&self) -> bool {
        self.segments
            .first()
            .is_some_and(|(kind, _)| kind.is_confed())
    }

    pub fn contains(&self, asn: u32) -> bool {
        self.asns.contains(&asn)
    }

    /// Removes the first AS of a path that begins with a sequence.
    pub fn remove_first(&mut self) {
        if let Some((kind, count)) = self.segments.first_mut()
            && matches!(kind, SegmentKind::Sequence | SegmentKind::ConfedSequence)
        {
            *count -= 1;
            if *count == 0 {
                self.segments.remove(0);
            }
            self.asns.remove(0);
        }
    }

    /// Keeps the first `most` ASNs. Returns whether there were more.
    pub fn truncate(&mut self, most: usize) -> bool {
        if self.asns.len() <= most {
            return false;
        }
        let mut left = most;
        self.segments.retain_mut(|(_, count)| {
            let kept = usize::from(*count).min(left);
            left -= kept;
            *count = kept as u16;
            kept > 0
        });
        self.asns.truncate(most);
        true
    }
}

/// Formats a path as routers do: `64500 64501 {1,2}`, segments inside a confederation as `(65001 65002)`
/// and `[65001,65002]`.
impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (kind, asns)) in self.segments().enumerate() {
            let (open, between, close) = match kind {
                SegmentKind::Sequence => ("", " ", ""),
                SegmentKind::Set => ("{", ",", "}"),
                SegmentKind::ConfedSequence => ("(", " ", ")"),
                SegmentKind::ConfedSet => ("[", ",", "]"),
            };
            let space = if i > 0 { " " } else { "" };
            write!(f, "{space}{open}")?;
            for (i, asn) in asns.iter().enumerate() {
                write!(f, "{}{asn}", if i > 0 { between } else { "" })?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use SegmentKind::{ConfedSequence, ConfedSet, Sequence, Set};

    fn path(segments: &[(SegmentKind, &[u32])]) -> AsPath {
        let mut path = AsPath::default();
        for (kind, asns) in segments {
            path.push(*kind, asns.iter().copied());
        }
        path
    }

    #[test]
    fn ends_and_length_of_each_kind_of_segment() {
        const OWN: u32 = 64512;
        for (segments, peer_asn, origin, length, shown) in [
            (&[][..], OWN, OWN, 0, ""),
            (&[(Sequence, &[1, 2, 3][..])][..], 1, 3, 3, "1 2 3"),
            (&[(Sequence, &[1, 2]), (Set, &[3, 4])], 1, 0, 3, "1 2 {3,4}"),
            (&[(Set, &[3, 4]), (Sequence, &[5])], 3, 5, 2, "{3,4} 5"),
            (
                &[(ConfedSequence, &[7, 8]), (Sequence, &[1])],
                1,
                1,
                1,
                "(7 8) 1",
            ),
            (
                &[(Sequence, &[1, 2]), (ConfedSet, &[7, 8])],
                1,
                2,
                2,
                "1 2 [7,8]",
            ),
            (&[(ConfedSequence, &[7])], OWN, OWN, 0, "(7)"),
        ] {
            let path = path(segments);
            let got = (path.peer_asn(OWN), path.origin(OWN), path.length());
            assert_eq!(got, (peer_asn, origin, length), "{segments:?}");
            assert_eq!(path.to_string(), shown);
        }
    }

    #[test]
    fn a_long_path_is_cut_inside_a_segment() {
        let mut long = path(&[(Sequence, &[1, 2]), (Set, &[3, 4]), (Sequence, &[5])]);
        assert!(!long.clone().truncate(5));
        assert!(long.truncate(3));
        assert_eq!(long, path(&[(Sequence, &[1, 2]), (Set, &[3])]));
    }

    #[test]
    fn the_first_as_is_removed_from_a_sequence_only() {
        for (segments, shown) in [
            (&[(Sequence, &[1, 2][..])][..], "2"),
            (&[(Sequence, &[1]), (Sequence, &[2])], "2"),
            (&[(ConfedSequence, &[7, 8]), (Sequence, &[1])], "(8) 1"),
            (&[(Set, &[1, 2])], "{1,2}"),
            (&[], ""),
        ] {
            let mut path = path(segments);
            path.remove_first();
            assert_eq!(path.to_string(), shown);
        }
    }
}
