// SPDX-License-Identifier: AGPL-3.0-only
//! The scrapers, and the time up to which each has read. Pure: the caller passes the time.
//!
//! A database computes an increase from the second value of a series on. A scraper therefore gets a
//! series that is new to it once as 0, and from its next scrape on with its value.
//!
//! A scraper is a connection, because scrapers keep theirs open. A new connection inherits the state
//! of the closed connection of the same address and user agent that read last. If there is none, its
//! sender may still be a scraper that has read values before: its previous connection was lost and
//! rfm did not notice, or its state was evicted. A value that fell to 0 would then count twice.
//! Such a scraper therefore gets as 0 only series that are 0, or not there, in the last response of
//! every scraper that it may be.

use std::net::IpAddr;

use crate::http::follow::End;

/// The maximum number of scrapers.
const MAX_SCRAPERS: usize = 16;
/// After this time without a read, a scraper is treated as a new one.
const ABSENT_MS: u64 = 5 * 60_000;
/// A new scraper is treated as if it had read this long ago: an agent that has just started exposes
/// everything as 0 first, and one that has run for long causes no spike.
const ASSUMED_READ_MS: u64 = 2 * 60_000;

/// Returns, for the time of a snapshot, the creation time from which on series are exposed as 0;
/// `None` if the reader gets all values.
pub type ZeroSince<'a> = dyn Fn(u64) -> Option<u64> + 'a;

/// The sender of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct Scraper {
    pub connection: u64,
    pub address: IpAddr,
    /// A hash of the user agent.
    pub agent: u64,
}

impl Scraper {
    /// Returns whether two connections may belong to the same scraper.
    fn may_be(&self, other: &Self) -> bool {
        (self.address, self.agent) == (other.address, other.agent)
    }
}

#[derive(Debug)]
struct Entry {
    scraper: Scraper,
    is_open: bool,
    /// The time of the last snapshot that the scraper has read.
    read_ms: u64,
    /// The time from which on series were 0 in its last response.
    zero_since_ms: u64,
    /// The time of the snapshot that is being written.
    pending_ms: Option<u64>,
    /// The time of the snapshot that was written last, until it is known whether it was read.
    written_ms: Option<u64>,
    /// True if its last connection ended at once after a response.
    closes_early: bool,
}

impl Entry {
    /// Notes that the response that was written last was read.
    fn confirm(&mut self) {
        if let Some(read_ms) = self.written_ms.take() {
            self.read_ms = read_ms;
        }
    }

    fn is_absent(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.read_ms) > ABSENT_MS
    }
}

/// The last [`MAX_SCRAPERS`] scrapers.
#[derive(Debug, Default)]
pub struct Scrapers {
    entries: Vec<Entry>,
    /// The latest of the times from which on series were 0 in a response to an evicted scraper.
    evicted_zero_since_ms: u64,
    evicted: u64,
}

impl Scrapers {
    /// Notes that a snapshot is sent to a scraper. Returns the creation time from which on series
    /// are exposed to it as 0. A further request on a connection shows that the previous response
    /// was read.
    pub fn read(&mut self, scraper: Scraper, now_ms: u64) -> u64 {
        let at = self
            .find(&scraper)
            .or_else(|| self.inherit(&scraper, now_ms));
        let at = at.unwrap_or_else(|| self.add(scraper, now_ms));
        let entry = &mut self.entries[at];
        if entry.written_ms.is_some() {
            entry.closes_early = false;
        }
        entry.confirm();
        if entry.is_absent(now_ms) {
            entry.read_ms = now_ms.saturating_sub(ASSUMED_READ_MS);
        }
        entry.zero_since_ms = entry.read_ms;
        entry.pending_ms = Some(now_ms);
        entry.read_ms
    }

    /// Returns the number of scrapers whose state was evicted although they had read within the last
    /// minutes.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Notes that the last response of a connection was completely written.
    pub fn written(&mut self, connection: u64) {
        if let Some(entry) = self.of(connection) {
            entry.written_ms = entry.pending_ms.take();
        }
    }

    /// Notes the end of a connection. If the scraper may not have used the last response, it gets
    /// the same series as 0 again, and none whose value it may have stored.
    pub fn closed(&mut self, connection: u64, end: End) {
        if let Some(entry) = self.of(connection) {
            entry.is_open = false;
            entry.pending_ms = None;
            let was_used = match end {
                End::Complete => true,
                // a scraper that stops; if it does so again, it closes after each scrape
                End::Early => std::mem::replace(&mut entry.closes_early, true),
                End::Failed => false,
            };
            if !was_used {
                entry.written_ms = None;
            }
            entry.confirm();
        }
    }

    fn of(&mut self, connection: u64) -> Option<&mut Entry> {
        let mut entries = self.entries.iter_mut();
        entries.find(|entry| entry.is_open && entry.scraper.connection == connection)
    }

    fn find(&self, scraper: &Scraper) -> Option<usize> {
        let is_same = |e: &Entry| e.is_open && e.scraper.connection == scraper.connection;
        self.entries.iter().position(is_same)
    }

    /// Gives the state of a closed connection to a new one.
    fn inherit(&mut self, scraper: &Scraper, now_ms: u64) -> Option<usize> {
        let entries = self.entries.iter().enumerate();
        let closed = entries.filter(|(_, entry)| {
            !entry.is_open && !entry.is_absent(now_ms) && entry.scraper.may_be(scraper)
        });
        let (at, _) = closed.max_by_key(|(_, entry)| entry.read_ms)?;
        self.entries[at].scraper = *scraper;
        self.entries[at].is_open = true;
        Some(at)
    }

    /// Adds a scraper.
    fn add(&mut self, scraper: Scraper, now_ms: u64) -> usize {
        self.make_room(now_ms);
        let same = self.entries.iter().filter(|e| e.scraper.may_be(&scraper));
        let shown = same.map(|entry| entry.zero_since_ms).max().unwrap_or(0);
        let assumed = now_ms.saturating_sub(ASSUMED_READ_MS);
        let read_ms = assumed.max(shown).max(self.evicted_zero_since_ms);
        self.entries.push(Entry {
            scraper,
            is_open: true,
            read_ms,
            zero_since_ms: read_ms,
            pending_ms: None,
            written_ms: None,
            closes_early: false,
        });
        self.entries.len() - 1
    }

    /// Evicts the scraper that has not read for longest, closed ones first, if there are too many.
    fn make_room(&mut self, now_ms: u64) {
        if self.entries.len() < MAX_SCRAPERS {
            return;
        }
        let entries = self.entries.iter().enumerate();
        let longest = entries.min_by_key(|(_, e)| (e.is_open, e.read_ms));
        if let Some((at, _)) = longest {
            let entry = self.entries.swap_remove(at);
            let shown = self.evicted_zero_since_ms.max(entry.zero_since_ms);
            self.evicted_zero_since_ms = shown;
            self.evicted += u64::from(!entry.is_absent(now_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const MINUTE: u64 = 60_000;
    /// A long time after the start.
    const NOW: u64 = 100 * MINUTE;

    fn scraper(connection: u64) -> Scraper {
        Scraper {
            connection,
            address: Ipv4Addr::LOCALHOST.into(),
            agent: 1,
        }
    }

    /// Reads and receives everything.
    fn scrape(scrapers: &mut Scrapers, connection: u64, now_ms: u64) -> u64 {
        let since = scrapers.read(scraper(connection), now_ms);
        scrapers.written(connection);
        since
    }

    #[test]
    fn each_scraper_has_its_own_time() {
        let mut scrapers = Scrapers::default();
        assert_eq!(scrape(&mut scrapers, 1, NOW), NOW - 2 * MINUTE);
        assert_eq!(scrape(&mut scrapers, 2, NOW + 5), NOW + 5 - 2 * MINUTE);
        assert_eq!(scrape(&mut scrapers, 1, NOW + 10), NOW);
        assert_eq!(scrape(&mut scrapers, 2, NOW + 20), NOW + 5);
    }

    #[test]
    fn a_response_that_was_not_received_does_not_count() {
        let mut scrapers = Scrapers::default();
        scrape(&mut scrapers, 1, NOW);
        scrapers.read(scraper(1), NOW + 10);
        scrapers.closed(1, End::Complete);
        scrapers.written(1);
        assert_eq!(scrape(&mut scrapers, 2, NOW + 20), NOW);
        assert_eq!(scrape(&mut scrapers, 2, NOW + 30), NOW + 20);
    }

    #[test]
    fn a_response_that_was_written_to_a_connection_that_failed_does_not_count() {
        let mut scrapers = Scrapers::default();
        scrape(&mut scrapers, 1, NOW);
        assert_eq!(scrape(&mut scrapers, 1, NOW + 10), NOW);
        scrapers.closed(1, End::Failed);
        assert_eq!(scrape(&mut scrapers, 2, NOW + 20), NOW);
        scrapers.closed(2, End::Failed);
        assert_eq!(scrape(&mut scrapers, 3, NOW + 30), NOW);
        assert_eq!(scrape(&mut scrapers, 3, NOW + 40), NOW + 30);
        scrapers.closed(3, End::Complete);
        assert_eq!(scrape(&mut scrapers, 4, NOW + 50), NOW + 40);
    }

    #[test]
    fn the_first_early_end_is_that_of_a_scraper_that_stops() {
        let mut scrapers = Scrapers::default();
        scrape(&mut scrapers, 1, NOW);
        assert_eq!(scrape(&mut scrapers, 1, NOW + 10), NOW);
        scrapers.closed(1, End::Early);
        assert_eq!(scrape(&mut scrapers, 2, NOW + 20), NOW);
        assert_eq!(scrape(&mut scrapers, 2, NOW + 30), NOW + 20);
        scrapers.closed(2, End::Early);
        assert_eq!(scrape(&mut scrapers, 3, NOW + 40), NOW + 20);
        // from here on it closes after each scrape
        for n in 4..9 {
            scrapers.closed(n - 1, End::Early);
            assert_eq!(scrape(&mut scrapers, n, NOW + n * 10 + 10), NOW + n * 10);
        }
    }

    #[test]
    fn a_new_connection_inherits_the_closed_one_that_read_last() {
        let mut scrapers = Scrapers::default();
        for (connection, now) in [(1, NOW), (2, NOW + 10), (3, NOW + 20)] {
            scrape(&mut scrapers, connection, now);
        }
        scrapers.closed(1, End::Complete);
        scrapers.closed(2, End::Complete);
        let stranger = Scraper {
            agent: 2,
            ..scraper(9)
        };
        assert_eq!(scrapers.read(stranger, NOW + 25), NOW + 25 - 2 * MINUTE);
        assert_eq!(scrape(&mut scrapers, 4, NOW + 30), NOW + 10);
        assert_eq!(scrape(&mut scrapers, 5, NOW + 30), NOW);
        assert_eq!(scrape(&mut scrapers, 3, NOW + 30), NOW + 20, "still open");
    }

    #[test]
    fn an_absent_scraper_is_new_again_and_time_never_goes_back() {
        let mut scrapers = Scrapers::default();
        scrape(&mut scrapers, 1, NOW);
        let last = NOW + 5 * MINUTE;
        assert_eq!(scrape(&mut scrapers, 1, last), NOW);
        let late = last + 5 * MINUTE + 1;
        assert_eq!(scrape(&mut scrapers, 1, late), late - 2 * MINUTE);
        assert_eq!(scrape(&mut Scrapers::default(), 1, MINUTE), 0);
    }

    /// Otherwise, series that the scraper has received with a value would fall to 0 and count twice.
    #[test]
    fn a_scraper_whose_previous_connection_is_open_gets_no_value_back_as_zero() {
        let mut scrapers = Scrapers::default();
        for n in 0..10 {
            scrape(&mut scrapers, 1, NOW + n * 15);
        }
        // in its last response, series from NOW + 120 on were 0
        assert_eq!(scrape(&mut scrapers, 2, NOW + 150), NOW + 120);
        assert_eq!(scrape(&mut scrapers, 2, NOW + 165), NOW + 150);
        let stranger = Scraper {
            agent: 2,
            ..scraper(3)
        };
        assert_eq!(scrapers.read(stranger, NOW + 160), NOW + 160 - 2 * MINUTE);
        // the same for a response that was perhaps received
        scrapers.read(scraper(1), NOW + 170);
        assert_eq!(scrape(&mut scrapers, 4, NOW + 180), NOW + 150);
    }

    #[test]
    fn two_scrapers_of_one_address_get_all_as_zero_after_a_start() {
        let mut scrapers = Scrapers::default();
        let start = NOW;
        assert!(scrape(&mut scrapers, 1, start) < start);
        assert!(scrape(&mut scrapers, 2, start + 10) < start);
    }

    #[test]
    fn a_stale_closed_connection_is_not_inherited() {
        let mut scrapers = Scrapers::default();
        scrape(&mut scrapers, 1, NOW);
        scrape(&mut scrapers, 2, NOW);
        scrapers.closed(1, End::Complete);
        for n in 0..30 {
            scrape(&mut scrapers, 2, NOW + MINUTE + n * 15_000);
        }
        let last = NOW + MINUTE + 29 * 15_000;
        assert_eq!(scrape(&mut scrapers, 3, last + 15_000), last - 15_000);
    }

    #[test]
    fn more_scrapers_than_fit_never_get_a_value_back_as_zero() {
        let mut scrapers = Scrapers::default();
        let mut since = [0; MAX_SCRAPERS + 1];
        let same = |connection| Scraper {
            agent: connection,
            ..scraper(connection)
        };
        for n in 0..40 {
            for (connection, since) in since.iter_mut().enumerate() {
                let now = NOW + n * 15_000 + connection as u64;
                let zero_since = scrapers.read(same(connection as u64), now);
                scrapers.written(connection as u64);
                assert!(zero_since >= *since, "{connection}: {zero_since} < {since}");
                assert!(now - zero_since <= 2 * MINUTE);
                *since = zero_since;
            }
        }
        assert!(scrapers.evicted() > 100, "{}", scrapers.evicted());
        assert_eq!(scrapers.entries.len(), MAX_SCRAPERS);
    }

    #[test]
    fn the_scrapers_are_bounded_and_a_closed_one_is_replaced_first() {
        let mut scrapers = Scrapers::default();
        for connection in 0..MAX_SCRAPERS as u64 {
            scrape(&mut scrapers, connection, NOW + connection);
        }
        scrapers.closed(7, End::Complete);
        let stranger = Scraper {
            agent: 2,
            ..scraper(100)
        };
        scrapers.read(stranger, NOW + 50);
        assert_eq!(scrapers.entries.len(), MAX_SCRAPERS);
        assert_eq!(scrapers.evicted(), 1);
        for connection in (0..MAX_SCRAPERS as u64).filter(|n| *n != 7) {
            assert_eq!(
                scrape(&mut scrapers, connection, NOW + 60),
                NOW + connection
            );
        }
    }
}
