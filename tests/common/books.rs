// SPDX-License-Identifier: AGPL-3.0-only
//! Promise 3, read off a scrape: what crossed, what was taken of it, and where that is now.

use super::agent::Agent;
use super::lab::DeviceCounters;
use super::metrics::Metrics;

use std::ops::{Add, Sub};
use std::time::Duration;

/// Records are in the ring, a channel and the flow table within this time.
pub const SETTLED: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

impl Count {
    /// `name` has one `*` where the unit goes.
    fn read(metrics: &Metrics, name: &str, labels: &[(&str, &str)]) -> Self {
        let of = |unit| metrics.sum(&name.replace('*', unit), labels);
        Self {
            packets: of("packets"),
            bytes: of("bytes"),
        }
    }

    fn at_most(self, other: Self) -> bool {
        self.packets <= other.packets && self.bytes <= other.bytes
    }
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl Sub for Count {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            packets: self.packets - before.packets,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// Over all interfaces and directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// IPv4 and IPv6.
    pub crossed: Count,
    pub taken: Count,
    pub accounted: Count,
    pub lost: Count,
}

impl Books {
    pub fn read(metrics: &Metrics) -> Self {
        let crossed = |name| {
            let of = |family| Count::read(metrics, name, &[("family", family)]);
            of("ipv4") + of("ipv6")
        };
        Self {
            crossed: crossed("rfm_interface_rx_*_total") + crossed("rfm_interface_tx_*_total"),
            taken: Count::read(metrics, "rfm_interface_sampled_*_total", &[]),
            accounted: Count::read(metrics, "rfm_collector_accounted_*_total", &[]),
            lost: Count::read(metrics, "rfm_collector_dropped_*_total", &[]),
        }
    }

    /// What must hold at any moment.
    pub fn hold(&self) -> bool {
        (self.accounted + self.lost).at_most(self.taken)
    }

    /// What must hold in silence.
    pub fn are_even(&self) -> bool {
        self.accounted + self.lost == self.taken
    }
}

/// IPv4 and IPv6 of one hook.
pub fn crossed_ip(metrics: &Metrics, device: &str, hook: &str) -> Count {
    let way = if hook == "ingress" { "rx" } else { "tx" };
    let name = format!("rfm_interface_{way}_*_total");
    let of = |family| Count::read(metrics, &name, &[("ifname", device), ("family", family)]);
    of("ipv4") + of("ipv6")
}

/// At a sample rate of 1 what crossed is what was taken, on each hook, and what is in flows, but for
/// what was lost, which is told. Returns what was lost.
pub fn accounted(metrics: &Metrics, devices: &[&str]) -> Result<Count, String> {
    let books = Books::read(metrics);
    let mut flows = Count::default();
    for device in devices {
        for hook in ["ingress", "egress"] {
            let labels = [("ifname", *device), ("direction", hook)];
            let crossed = crossed_ip(metrics, device, hook);
            let taken = Count::read(metrics, "rfm_interface_sampled_*_total", &labels);
            if crossed != taken {
                return Err(format!(
                    "{device} {hook}: {crossed:?} crossed, {taken:?} taken"
                ));
            }
            let of_hook = Count::read(metrics, "rfm_flow_*_total", &labels);
            if books.lost == Count::default() && of_hook != crossed {
                return Err(format!(
                    "{device} {hook}: {crossed:?} crossed, {of_hook:?} in flows"
                ));
            }
            flows = flows + of_hook;
        }
    }
    match books.are_even() && flows == books.accounted {
        true => Ok(books.lost),
        false => Err(format!("{flows:?} in flows, {books:?}")),
    }
}

/// Waits until all is accounted; the scrape that says so, and what was lost.
pub fn settle(agent: &Agent, devices: &[&str]) -> (Metrics, Count) {
    let (metrics, _) = agent.scrape_until(SETTLED, |m| accounted(m, devices).is_ok());
    let lost = accounted(&metrics, devices).unwrap_or_else(|e| panic!("{e}"));
    (metrics, lost)
}

/// Waits until all that was taken, on interfaces that are or were, is accounted or lost; the scrape that
/// says so.
pub fn settle_totals(agent: &Agent) -> Metrics {
    let totals = |m: &Metrics| {
        let of = |what| Count::read(m, &format!("rfm_collector_{what}_*_total"), &[]);
        (of("sampled"), of("accounted") + of("dropped"))
    };
    let (metrics, _) = agent.scrape_until(SETTLED, |m| {
        let (taken, arrived) = totals(m);
        assert!(arrived.at_most(taken), "{arrived:?} of {taken:?}");
        taken == arrived
    });
    let (taken, arrived) = totals(&metrics);
    assert_eq!(taken, arrived, "{}", agent.log());
    metrics
}

/// Our counters of one device, as the device counts.
pub fn of_hooks(metrics: &Metrics, device: &str) -> DeviceCounters {
    counters(metrics, "rfm_interface", device)
}

/// The device's own counters, as we show them.
pub fn of_device(metrics: &Metrics, device: &str) -> DeviceCounters {
    counters(metrics, "rfm_interface_device", device)
}

fn counters(metrics: &Metrics, prefix: &str, device: &str) -> DeviceCounters {
    let of = |way| {
        Count::read(
            metrics,
            &format!("{prefix}_{way}_*_total"),
            &[("ifname", device)],
        )
    };
    let (rx, tx) = (of("rx"), of("tx"));
    DeviceCounters {
        rx_packets: rx.packets,
        rx_bytes: rx.bytes,
        tx_packets: tx.packets,
        tx_bytes: tx.bytes,
    }
}
