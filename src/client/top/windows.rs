// SPDX-License-Identifier: AGPL-3.0-only
//! Rates over several windows, from counts that each cover a span of time (pure). Times are seconds.

use std::collections::VecDeque;

/// The windows of the rates in seconds, the longest last.
pub const WINDOWS: [f64; 3] = [2.0, 10.0, 40.0];

/// A rate over less than this would show a single packet as a burst.
const MIN_SPAN: f64 = 1.0;

/// Packets and bytes that were counted between two times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    pub from: f64,
    pub to: f64,
    pub bytes: f64,
    pub packets: f64,
}

/// The counts of the longest window, and the sums of all.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    spans: VecDeque<Span>,
    /// The begin of the first span.
    pub since: Option<f64>,
    pub bytes: f64,
}

impl Windows {
    /// Adds a span, and forgets those that have left the longest window.
    pub fn add(&mut self, span: Span) {
        self.bytes += span.bytes;
        self.since = Some(self.since.map_or(span.from, |since| since.min(span.from)));
        match self.spans.back_mut() {
            // the flows of a conversation that one answer reports
            Some(last) if (last.from, last.to) == (span.from, span.to) => {
                last.bytes += span.bytes;
                last.packets += span.packets;
            }
            _ => self.spans.push_back(span),
        }
        let start = span.to - WINDOWS[WINDOWS.len() - 1];
        while self.spans.front().is_some_and(|first| first.to <= start) {
            self.spans.pop_front();
        }
    }

    /// Returns bytes and packets within a window that ends at `now`. A span counts in proportion to its part in it.
    fn within(&self, window: f64, now: f64) -> (f64, f64) {
        let mut sums = (0.0, 0.0);
        for span in &self.spans {
            let inside = span.to.min(now) - span.from.max(now - window);
            let length = span.to - span.from;
            let part = match length > 0.0 {
                true => (inside / length).clamp(0.0, 1.0),
                false => f64::from(u8::from(span.to > now - window)),
            };
            sums.0 += span.bytes * part;
            sums.1 += span.packets * part;
        }
        sums
    }

    /// Returns bytes and packets a second over a window that ends at `now`. The time before `start`, at which nothing
    /// was counted, and before the first span is not part of the window.
    pub fn rate(&self, window: f64, now: f64, start: f64) -> (f64, f64) {
        let known = now - self.since.map_or(start, |since| since.min(start));
        let span = window.min(known).max(MIN_SPAN);
        let (bytes, packets) = self.within(window, now);
        (bytes / span, packets / span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: f64, to: f64, bytes: f64) -> Span {
        let packets = bytes / 100.0;
        Span {
            from,
            to,
            bytes,
            packets,
        }
    }

    #[test]
    fn a_constant_rate_is_the_same_in_all_windows() {
        let mut windows = Windows::default();
        for second in 0..60 {
            let from = f64::from(second);
            windows.add(span(from, from + 1.0, 500.0));
        }
        for window in WINDOWS {
            assert_eq!(windows.rate(window, 60.0, 0.0), (500.0, 5.0));
        }
        assert_eq!(windows.spans.len(), 40);
        assert_eq!(windows.bytes, 30_000.0);
        // after 4 s of silence
        assert_eq!(windows.rate(2.0, 64.0, 0.0).0, 0.0);
        assert_eq!(windows.rate(10.0, 64.0, 0.0).0, 300.0);
    }

    /// A record that began before the view is spread over its time; what began later has only its own part.
    #[test]
    fn windows_contain_only_the_time_that_is_known() {
        let mut old = Windows::default();
        old.add(span(-20.0, 0.0, 20_000.0));
        assert_eq!(old.rate(2.0, 0.0, 0.0).0, 1000.0);
        assert_eq!(old.rate(40.0, 0.0, 0.0).0, 1000.0);
        let mut new = Windows::default();
        new.add(span(30.0, 31.0, 4000.0));
        assert_eq!(new.rate(40.0, 40.0, 0.0).0, 100.0);
        assert_eq!(new.rate(40.0, 31.0, 29.0).0, 2000.0);
    }
}
