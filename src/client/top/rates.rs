// SPDX-License-Identifier: AGPL-3.0-only
//! Rates of an interface, from its counters at each poll (pure).

use std::collections::VecDeque;
use std::time::Instant;

use crate::control::api;

/// The number of rates that are stored for each interface, one a poll.
pub const HISTORY: usize = 60;

/// Rates of one interface.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Bytes a second, newest last.
    pub rx: VecDeque<f64>,
    pub tx: VecDeque<f64>,
    pub rx_packets: f64,
    pub tx_packets: f64,
    last: Option<(Instant, [u64; 4])>,
}

impl Rates {
    pub fn note(&mut self, interface: &api::InterfaceStatus, now: Instant) {
        let counters = [
            interface.rx_bytes,
            interface.tx_bytes,
            interface.rx_packets,
            interface.tx_packets,
        ];
        let before = self.last.replace((now, counters));
        let Some((then, old)) = before else {
            // the agent may already have recent rates
            if let Some(rates) = interface.rates {
                self.push(rates.rx_bytes_per_second, rates.tx_bytes_per_second);
                self.rx_packets = rates.rx_packets_per_second;
                self.tx_packets = rates.tx_packets_per_second;
            }
            return;
        };
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let rate = |i: usize| counters[i].saturating_sub(old[i]) as f64 / seconds;
        self.push(rate(0), rate(1));
        (self.rx_packets, self.tx_packets) = (rate(2), rate(3));
    }

    fn push(&mut self, rx: f64, tx: f64) {
        for (history, rate) in [(&mut self.rx, rx), (&mut self.tx, tx)] {
            if history.len() >= HISTORY {
                history.pop_front();
            }
            history.push_back(rate);
        }
    }

    /// Returns the current bytes a second, received and sent.
    pub fn now(&self) -> (f64, f64) {
        let last = |rates: &VecDeque<f64>| rates.back().copied().unwrap_or(0.0);
        (last(&self.rx), last(&self.tx))
    }

    /// Returns the highest bytes a second that are stored, received and sent.
    pub fn peaks(&self) -> (f64, f64) {
        let peak = |rates: &VecDeque<f64>| rates.iter().copied().fold(0.0, f64::max);
        (peak(&self.rx), peak(&self.tx))
    }

    /// Returns the sum of the last ten seconds in both directions, the order of the interfaces.
    pub fn recent(&self) -> f64 {
        let sum = |rates: &VecDeque<f64>| rates.iter().rev().take(10).sum::<f64>();
        sum(&self.rx) + sum(&self.tx)
    }
}
