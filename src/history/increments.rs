// SPDX-License-Identifier: AGPL-3.0-only
//! Computes the increments of each series since the previous reading (pure).

use std::cmp::Reverse;
use std::mem::size_of;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::flow::snapshot::SeriesRow;

/// A series at the previous reading. The address of its text identifies it; the text is kept, so
/// that no other text can have the same address.
#[derive(Debug)]
struct Seen {
    _text: Arc<str>,
    bytes: u64,
    packets: u64,
    round: u32,
}

#[derive(Debug, Default)]
pub struct Increments {
    seen: HashMap<usize, Seen, RandomState>,
    round: u32,
}

impl Increments {
    /// Calls `moved` with labels, bytes and packets of each series that grew, largest growth first,
    /// so that the largest get the limited space. A series that is new since the previous reading
    /// started at 0; at the first reading, all counts are older and are ignored.
    pub fn take(&mut self, rows: &[SeriesRow], mut moved: impl FnMut(&str, u64, u64)) {
        let mut grown = Vec::new();
        let first = self.round == 0;
        self.round = self.round.wrapping_add(1).max(1);
        for row in rows {
            let place = row.labels.as_ptr() as usize;
            let seen = self.seen.entry(place).or_insert_with(|| Seen {
                _text: row.labels.clone(),
                bytes: if first { row.bytes_total } else { 0 },
                packets: if first { row.packets_total } else { 0 },
                round: 0,
            });
            let bytes = row.bytes_total.wrapping_sub(seen.bytes);
            let packets = row.packets_total.wrapping_sub(seen.packets);
            (seen.bytes, seen.packets) = (row.bytes_total, row.packets_total);
            seen.round = self.round;
            if packets > 0 || bytes > 0 {
                grown.push((bytes, packets, &row.labels));
            }
        }
        grown.sort_unstable_by_key(|&(bytes, packets, _)| Reverse((bytes, packets)));
        for (bytes, packets, labels) in grown {
            moved(labels, bytes, packets);
        }
        self.seen.retain(|_, seen| seen.round == self.round);
        // otherwise the table would stay large forever after a peak
        if self.seen.capacity() > 4 * self.seen.len() + 64 {
            self.seen.shrink_to(2 * self.seen.len());
        }
    }

    /// Returns the memory in use, without the texts, which the series of the flow thread share.
    pub fn bytes(&self) -> usize {
        self.seen.capacity() * (size_of::<(usize, Seen)>() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(labels: &Arc<str>, bytes: u64) -> SeriesRow {
        SeriesRow {
            labels: labels.clone(),
            created_ms: 0,
            bytes_total: bytes,
            packets_total: bytes / 100,
            live_bytes: 0,
            live_packets: 0,
            live_sampled_bytes: 0,
            live_sampled_packets: 0,
            error_bytes: 0,
            error_packets: 0,
            live_flows: 0,
        }
    }

    fn take(increments: &mut Increments, rows: &[SeriesRow]) -> Vec<(String, u64, u64)> {
        let mut moved = Vec::new();
        increments.take(rows, |text, bytes, packets| {
            moved.push((text.to_owned(), bytes, packets));
        });
        moved
    }

    #[test]
    fn what_is_there_at_first_counts_from_then_on() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut increments = Increments::default();
        assert_eq!(take(&mut increments, &[row(&a, 1000)]), []);
        let moved = take(&mut increments, &[row(&a, 1500), row(&b, 700)]);
        assert_eq!(moved, [("b".into(), 700, 7), ("a".into(), 500, 5)]);
        assert_eq!(take(&mut increments, &[row(&a, 1500), row(&b, 700)]), []);
    }

    #[test]
    fn a_set_that_was_forgotten_begins_anew() {
        let a: Arc<str> = "a".into();
        let mut increments = Increments::default();
        take(&mut increments, &[row(&a, 1000)]);
        take(&mut increments, &[]);
        assert!(increments.seen.is_empty());
        let again: Arc<str> = "a".into();
        assert_eq!(
            take(&mut increments, &[row(&again, 300)]),
            [("a".into(), 300, 3)]
        );
    }

    #[test]
    fn a_crowd_that_has_gone_leaves_no_large_table() {
        let crowd: Vec<_> = (0..10_000).map(|n| row(&n.to_string().into(), n)).collect();
        let mut increments = Increments::default();
        take(&mut increments, &crowd);
        let large = increments.bytes();
        take(&mut increments, &crowd[..10]);
        assert!(increments.bytes() < large / 20);
    }
}
