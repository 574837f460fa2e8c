// SPDX-License-Identifier: AGPL-3.0-only
//! Rates between two readings of the interface counters (pure).
//!
//! No counter is read only for rates: they are calculated between the readings of successive requests. The
//! first request after a long pause returns no rates, and the client repeats it a moment later.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::api::{InterfaceRates, InterfaceStatus};

/// Over a shorter time a rate is noise.
const SHORTEST: Duration = Duration::from_millis(500);
/// Over a longer time a rate does not describe the present.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct CounterReading {
    at: Instant,
    /// By ifindex: bytes and packets received, bytes and packets sent.
    counters: HashMap<u32, [u64; 4]>,
}

/// The last two readings, at least [`SHORTEST`] apart.
#[derive(Debug, Default)]
pub struct RateKeeper {
    before: Option<CounterReading>,
    last: Option<CounterReading>,
}

impl RateKeeper {
    /// Sets the rates of interfaces whose counters were read at `now`.
    pub fn fill(&mut self, interfaces: &mut [InterfaceStatus], now: Instant) {
        let is_old = |r: &CounterReading| now.saturating_duration_since(r.at) >= SHORTEST;
        if self.last.as_ref().is_none_or(is_old) {
            let counters = interfaces.iter().map(|i| (i.ifindex, counters(i)));
            let reading = CounterReading {
                at: now,
                counters: counters.collect(),
            };
            self.before = self.last.replace(reading);
        }
        let Some(before) = &self.before else {
            return;
        };
        let span = now.saturating_duration_since(before.at);
        if span > LONGEST {
            return;
        }
        for interface in interfaces {
            let then = before.counters.get(&interface.ifindex);
            interface.rates = then.map(|then| rates(*then, counters(interface), span));
        }
    }
}

fn counters(interface: &InterfaceStatus) -> [u64; 4] {
    [
        interface.rx_bytes,
        interface.rx_packets,
        interface.tx_bytes,
        interface.tx_packets,
    ]
}

fn rates(then: [u64; 4], now: [u64; 4], span: Duration) -> InterfaceRates {
    let seconds = span.as_secs_f64();
    // if another interface has replaced one with the same number, its counters began again
    let rate = |i: usize| now[i].saturating_sub(then[i]) as f64 / seconds;
    InterfaceRates {
        seconds,
        rx_bytes_per_second: rate(0),
        rx_packets_per_second: rate(1),
        tx_bytes_per_second: rate(2),
        tx_packets_per_second: rate(3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(keeper: &mut RateKeeper, rx_bytes: u64, now: Instant) -> Option<InterfaceRates> {
        let mut interfaces = [InterfaceStatus {
            ifindex: 3,
            rx_bytes,
            ..InterfaceStatus::default()
        }];
        keeper.fill(&mut interfaces, now);
        interfaces[0].rates
    }

    #[test]
    fn a_rate_is_between_readings_that_are_far_enough_apart() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut keeper = RateKeeper::default();
        assert_eq!(ask(&mut keeper, 1000, at(0)), None);
        assert_eq!(ask(&mut keeper, 1500, at(100)), None, "too soon");
        let rates = ask(&mut keeper, 3000, at(1000)).unwrap();
        assert_eq!((rates.rx_bytes_per_second, rates.seconds), (2000.0, 1.0));
        // a second client at the same moment receives the same
        let rates = ask(&mut keeper, 3000, at(1000)).unwrap();
        assert_eq!(rates.rx_bytes_per_second, 2000.0);
        let rates = ask(&mut keeper, 3300, at(1100)).unwrap();
        assert!((rates.rx_bytes_per_second - 2300.0 / 1.1).abs() < 1e-6);
        assert_eq!(ask(&mut keeper, 9000, at(100_000)), None, "long ago");
        assert!(ask(&mut keeper, 9000, at(101_000)).is_some());
    }

    #[test]
    fn what_begins_anew_has_no_negative_rate() {
        let start = Instant::now();
        let mut keeper = RateKeeper::default();
        ask(&mut keeper, 1000, start);
        let rates = ask(&mut keeper, 10, start + Duration::from_secs(1)).unwrap();
        assert_eq!(rates.rx_bytes_per_second, 0.0);
    }
}
