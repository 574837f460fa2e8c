// SPDX-License-Identifier: AGPL-3.0-only
//! The networks between this router and an address: an AS path as sums over paths use it.
//!
//! It differs from the AS_PATH attribute (RFC 4271 section 4.3): an AS that is prepended counts once, segments of a
//! confederation are left out (RFC 5065: other networks do not see them), and so are the router's own ASes before its
//! neighbor. An AS_SET is one place on the path with several ASes, in ascending order. Private ASNs, and an own AS
//! behind the neighbor, are ASes like others.

use std::fmt;

/// Precedes the number of ASes of a set. AS 0 is on no path (RFC 7607).
const SET: u32 = 0;

/// Maximum number of words, so that hostile paths take little memory.
const MAX_WORDS: usize = 130;

/// Builds an AS path as words: the origin AS (0: unknown), then each AS or set.
#[derive(Clone, Debug)]
pub struct NetworkPath {
    words: Vec<u32>,
    /// The AS at the end, 0 after a set and at the beginning.
    last: u32,
}

impl Default for NetworkPath {
    fn default() -> Self {
        Self {
            words: vec![0],
            last: 0,
        }
    }
}

impl NetworkPath {
    /// Makes the path unknown.
    pub fn clear(&mut self) {
        self.words.truncate(1);
        self.words[0] = 0;
        self.last = 0;
    }

    /// Appends the ASes of a sequence.
    pub fn push_sequence(&mut self, asns: impl Iterator<Item = u32>) {
        for asn in asns.filter(|asn| *asn != 0) {
            if asn != self.last && self.words.len() < MAX_WORDS {
                self.words.push(asn);
            }
            self.last = asn;
        }
    }

    /// Appends a set; one with a single AS is a sequence.
    pub fn push_set(&mut self, asns: impl Iterator<Item = u32>) {
        let mut asns: Vec<u32> = asns.filter(|asn| *asn != 0).collect();
        asns.sort_unstable();
        asns.dedup();
        match asns[..] {
            [] => {}
            [asn] => self.push_sequence([asn].into_iter()),
            _ => {
                self.last = 0;
                if self.words.len() + 2 + asns.len() <= MAX_WORDS {
                    self.words.extend([SET, asns.len() as u32]);
                    self.words.append(&mut asns);
                }
            }
        }
    }

    /// Sets the origin, 0 if it is unknown.
    pub fn set_origin(&mut self, origin: u32) {
        self.words[0] = origin;
    }

    /// Removes the places before the first one with this AS, if there is one.
    pub fn begin_with(&mut self, neighbor: u32) {
        let before = self.path().hops();
        let before: usize = before
            .take_while(|hop| !hop.contains(&neighbor))
            .map(length)
            .sum();
        if 1 + before < self.words.len() {
            self.words.drain(1..=before);
        }
    }

    /// Keeps only the first place: the rest of the path is unknown.
    pub fn keep_neighbor(&mut self) {
        let kept = self.path().hops().next().map_or(0, length);
        self.words.truncate(1 + kept);
        self.words[0] = 0;
    }

    pub fn path(&self) -> PathWords<'_> {
        PathWords(&self.words)
    }
}

/// Returns the number of words of a place.
fn length(hop: &[u32]) -> usize {
    match hop.len() {
        1 => 1,
        set => 2 + set,
    }
}

#[derive(Clone, Debug)]
pub struct Hops<'a>(&'a [u32]);

impl<'a> Iterator for Hops<'a> {
    type Item = &'a [u32];

    fn next(&mut self) -> Option<&'a [u32]> {
        let (hop, rest) = match *self.0 {
            [SET, count, ref rest @ ..] => rest.split_at_checked(count as usize)?,
            _ => self.0.split_at_checked(1)?,
        };
        self.0 = rest;
        Some(hop)
    }
}

/// A path as words, which can be stored and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathWords<'a>(pub &'a [u32]);

impl<'a> PathWords<'a> {
    /// Returns the ASes of each place, from the neighbor on.
    pub fn hops(self) -> Hops<'a> {
        Hops(self.0.get(1..).unwrap_or_default())
    }

    /// Returns the origin AS, 0 if it is unknown.
    pub fn origin(self) -> u32 {
        self.0.first().copied().unwrap_or(0)
    }

    /// Returns the ASes of the first place: the neighbor.
    pub fn neighbors(self) -> &'a [u32] {
        self.hops().next().unwrap_or_default()
    }

    /// Returns the ASes before the origin, each with its first place.
    pub fn transit(self) -> impl Iterator<Item = (u32, usize)> + 'a {
        let hops = self.hops().zip(1..);
        let places = hops.flat_map(|(hop, place)| hop.iter().map(move |asn| (*asn, place)));
        places.filter(move |(asn, place)| *asn != self.origin() && self.place(*asn) == Some(*place))
    }

    /// Returns whether nothing is known: there was no route.
    pub fn is_unknown(self) -> bool {
        self.0.len() <= 1 && self.origin() == 0
    }

    /// Returns the first place of an AS: 1 for the neighbor. The origin of a path of which parts are missing is on it,
    /// at the end.
    pub fn place(self, asn: u32) -> Option<usize> {
        let place = self.hops().position(|hop| hop.contains(&asn));
        let at_end = || (self.lacks_origin() && asn == self.origin()).then(|| self.hops().count());
        place.or_else(at_end).map(|place| place + 1)
    }

    /// Returns whether the path ends before its origin, since it was too long.
    fn lacks_origin(self) -> bool {
        let origin = self.origin();
        let last = self.hops().last();
        origin != 0 && last.is_some_and(|last| last != [origin])
    }
}

/// Formats the path as routers do: `64500 64501 {64502,64503}`; `...` stands for a missing part.
impl fmt::Display for PathWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for hop in self.hops() {
            f.write_str(between)?;
            between = " ";
            match hop {
                [asn] => write!(f, "{asn}")?,
                set => {
                    let asns: Vec<_> = set.iter().map(u32::to_string).collect();
                    write!(f, "{{{}}}", asns.join(","))?;
                }
            }
        }
        match self.lacks_origin() {
            true => write!(f, " ... {}", self.origin()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(asns: &[u32], origin: u32) -> NetworkPath {
        let mut path = NetworkPath::default();
        path.push_sequence(asns.iter().copied());
        path.set_origin(origin);
        path
    }

    fn text(path: &NetworkPath) -> String {
        path.path().to_string()
    }

    #[test]
    fn a_prepended_as_counts_once_and_one_that_returns_stays() {
        assert_eq!(text(&path(&[1, 1, 1, 2, 3, 3], 3)), "1 2 3");
        assert_eq!(text(&path(&[1, 2, 1], 1)), "1 2 1");
        assert_eq!(path(&[1, 2, 1], 1).path().place(1), Some(1));
        // private ASNs and AS_TRANS are ASes like others; AS 0 is none
        assert_eq!(text(&path(&[64512, 0, 23456], 23456)), "64512 23456");
    }

    #[test]
    fn a_set_is_one_place() {
        let mut path = path(&[1, 2], 0);
        path.push_set([9, 7, 9].into_iter());
        path.push_set([5].into_iter());
        path.push_sequence([5, 7].into_iter());
        assert_eq!(text(&path), "1 2 {7,9} 5 7");
        let words = path.path();
        let places: Vec<_> = [1, 2, 7, 9, 5, 3].map(|asn| words.place(asn)).into();
        assert_eq!(places, [Some(1), Some(2), Some(3), Some(3), Some(4), None]);
    }

    #[test]
    fn own_ases_before_the_neighbor_are_left_out() {
        let mut own = path(&[64512, 64513, 1, 64512], 64512);
        own.begin_with(1);
        assert_eq!(text(&own), "1 64512");
        own.begin_with(7);
        assert_eq!(text(&own), "1 64512");
        let mut empty = path(&[], 64512);
        empty.begin_with(64512);
        assert!(!empty.path().is_unknown());
        assert!(empty.path().neighbors().is_empty());
    }

    #[test]
    fn a_default_route_shows_only_the_neighbor() {
        let mut default = path(&[1, 2], 2);
        default.keep_neighbor();
        assert_eq!(default.path(), path(&[1], 0).path());
        let mut none = path(&[], 64512);
        none.keep_neighbor();
        assert!(none.path().is_unknown());
    }

    #[test]
    fn a_long_path_is_cut_and_keeps_its_origin() {
        let long: Vec<u32> = (1..1000).collect();
        let long = path(&long, 999);
        assert_eq!(long.words.len(), MAX_WORDS);
        assert!(text(&long).ends_with(" 128 129 ... 999"));
        assert_eq!(long.path().place(999), Some(130));
        assert_eq!(long.path().place(998), None);
    }
}
