// SPDX-License-Identifier: AGPL-3.0-only
//! The rate at which messages leave the queue of a UDP collector (pure).
//!
//! A receive buffer of the kernel's default size holds about 90 messages. A token bucket keeps bursts below that
//! and leaves the collector time to read. Its rate rises only if the queue would become too long otherwise.

use std::time::Instant;

/// The maximum number of messages in the queue: about 11 MB.
pub const MAX_QUEUED: usize = 8_192;
/// Messages a second while the queue is short.
const BASE_RATE: f64 = 2_000.0;
/// Messages that may be sent at once at the base rate.
const BASE_BURST: f64 = 32.0;
/// Messages in the queue above which the rate rises: about 25,000 records.
const SHORT_QUEUE: usize = MAX_QUEUED / 4;
/// Messages a second by which the rate rises with each further message.
const RISE: f64 = 8.0;
/// Messages in the queue above which there is no limit: a full queue drops records for certain.
const LONG_QUEUE: usize = MAX_QUEUED / 8 * 7;
/// At a raised rate, a burst is the messages of 1/250 s, because the thread may sleep longer than requested.
const BURSTS_PER_SECOND: f64 = 250.0;

#[derive(Debug)]
pub struct Pacer {
    tokens: f64,
    filled: Instant,
}

impl Pacer {
    pub fn new(now: Instant) -> Self {
        Self {
            tokens: BASE_BURST,
            filled: now,
        }
    }

    /// Returns how many of the `queued` messages may be sent now. The rate is at least `minimum` messages a second.
    pub fn allowed(&mut self, queued: usize, minimum: f64, now: Instant) -> usize {
        let rate = rate(queued).max(minimum);
        let burst = BASE_BURST.max(rate / BURSTS_PER_SECOND);
        let elapsed = now.saturating_duration_since(self.filled);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * rate).min(burst);
        self.filled = now;
        let excess = queued.saturating_sub(LONG_QUEUE);
        excess.max(self.tokens as usize).min(queued)
    }

    /// Takes the token of one sent message.
    pub fn spend(&mut self) {
        self.tokens = (self.tokens - 1.0).max(0.0);
    }
}

/// Returns messages a second for a queue of this length.
fn rate(queued: usize) -> f64 {
    BASE_RATE + RISE * queued.saturating_sub(SHORT_QUEUE) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const STEP: Duration = Duration::from_millis(1);

    /// Sends a queue to which `arriving(step)` messages are added in each millisecond. Returns the largest number
    /// of messages sent in one, the longest queue and the time until it was empty.
    fn send(arriving: impl Fn(u32) -> usize) -> (usize, usize, Duration) {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        let (mut queued, mut burst, mut longest) = (0, 0, 0);
        for step in 1.. {
            queued += arriving(step);
            let allowed = pacer.allowed(queued, 0.0, start + STEP * step);
            (0..allowed).for_each(|_| pacer.spend());
            burst = burst.max(allowed);
            longest = longest.max(queued);
            queued -= allowed;
            if queued == 0 && arriving(step + 1) == 0 {
                return (burst, longest, STEP * step);
            }
        }
        unreachable!()
    }

    #[test]
    fn a_burst_is_sent_at_the_base_rate() {
        let (burst, _, time) = send(|step| if step == 1 { 2_000 } else { 0 });
        assert_eq!(burst, 32);
        assert!((980..=1_000).contains(&time.as_millis()), "{time:?}");
    }

    #[test]
    fn the_rate_rises_with_the_queue() {
        // 200,000 records a second
        let (burst, longest, _) = send(|step| if step < 5_000 { 13 } else { 0 });
        assert!(burst <= 60, "{burst}");
        assert!((2_048..4_096).contains(&longest), "{longest}");
        // a full flow table at once
        let (burst, longest, time) = send(|step| if step == 1 { 4_400 } else { 0 });
        assert!(burst < 90 && longest == 4_400, "{burst} {longest}");
        assert!(time < Duration::from_secs(2), "{time:?}");
    }

    #[test]
    fn a_queue_that_is_nearly_full_is_sent_without_a_limit() {
        let (_, longest, _) = send(|step| if step < 500 { 200 } else { 0 });
        assert!((LONG_QUEUE..MAX_QUEUED).contains(&longest), "{longest}");
    }

    #[test]
    fn an_idle_collector_saves_no_more_than_a_burst() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        assert_eq!(
            pacer.allowed(1_000, 0.0, start + Duration::from_secs(60)),
            32
        );
        assert_eq!(pacer.allowed(10, 0.0, start + Duration::from_secs(60)), 10);
        assert!(pacer.allowed(1_000, 1e6, start + Duration::from_secs(120)) == 1_000);
    }
}
