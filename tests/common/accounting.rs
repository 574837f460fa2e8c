// SPDX-License-Identifier: AGPL-3.0-only
//! The accounting of a scrape: packets seen and sampled, and how many of those are in flows or dropped.

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
pub struct Accounting {
    /// IPv4 and IPv6.
    pub seen: Count,
    pub sampled: Count,
    pub accounted: Count,
    pub dropped: Count,
    /// Left out by adaptive sampling, and what it counted for those.
    pub thinned: Count,
    pub added: Count,
}

impl Accounting {
    pub fn read(metrics: &Metrics) -> Self {
        let seen = |name| {
            let of = |family| Count::read(metrics, name, &[("family", family)]);
            of("ipv4") + of("ipv6")
        };
        Self {
            seen: seen("rfm_interface_rx_*_total") + seen("rfm_interface_tx_*_total"),
            sampled: Count::read(metrics, "rfm_interface_sampled_*_total", &[]),
            accounted: Count::read(metrics, "rfm_collector_accounted_*_total", &[]),
            dropped: Count::read(metrics, "rfm_collector_dropped_*_total", &[]),
            thinned: Count::read(metrics, "rfm_collector_thinned_*_total", &[]),
            added: Count::read(metrics, "rfm_collector_added_*_total", &[]),
        }
    }

    /// Holds at any moment.
    pub fn is_consistent(&self) -> bool {
        (self.accounted + self.dropped + self.thinned).at_most(self.sampled + self.added)
    }

    /// Holds when no packet is on its way.
    pub fn is_balanced(&self) -> bool {
        self.accounted + self.dropped + self.thinned == self.sampled + self.added
    }
}

/// IPv4 and IPv6 of one hook.
pub fn seen_ip(metrics: &Metrics, device: &str, hook: &str) -> Count {
    let way = if hook == "ingress" { "rx" } else { "tx" };
    let name = format!("rfm_interface_{way}_*_total");
    let of = |family| Count::read(metrics, &name, &[("ifname", device), ("family", family)]);
    of("ipv4") + of("ipv6")
}

/// Checks that each hook sampled all that it has seen, at a sample rate of 1, and that flows contain it except
/// for the dropped part. Returns the dropped part.
pub fn accounted(metrics: &Metrics, devices: &[&str]) -> Result<Count, String> {
    let accounting = Accounting::read(metrics);
    let mut flows = Count::default();
    for device in devices {
        for hook in ["ingress", "egress"] {
            let labels = [("ifname", *device), ("direction", hook)];
            let seen = seen_ip(metrics, device, hook);
            let sampled = Count::read(metrics, "rfm_interface_sampled_*_total", &labels);
            if seen != sampled {
                return Err(format!(
                    "{device} {hook}: {seen:?} seen, {sampled:?} sampled"
                ));
            }
            let of_hook = Count::read(metrics, "rfm_flow_*_total", &labels);
            let exact = [accounting.dropped, accounting.thinned] == [Count::default(); 2];
            if exact && of_hook != seen {
                return Err(format!(
                    "{device} {hook}: {seen:?} seen, {of_hook:?} in flows"
                ));
            }
            flows = flows + of_hook;
        }
    }
    match accounting.is_balanced() && flows == accounting.accounted {
        true => Ok(accounting.dropped),
        false => Err(format!("{flows:?} in flows, {accounting:?}")),
    }
}

/// Waits until all is accounted; returns that scrape and the dropped part.
pub fn settle(agent: &Agent, devices: &[&str]) -> (Metrics, Count) {
    let (metrics, _) = agent.scrape_until(SETTLED, |m| accounted(m, devices).is_ok());
    let dropped = accounted(&metrics, devices).unwrap_or_else(|e| panic!("{e}"));
    (metrics, dropped)
}

/// Waits until all that was sampled, on present and former interfaces, is accounted or dropped; returns that
/// scrape.
pub fn settle_totals(agent: &Agent) -> Metrics {
    let totals = |m: &Metrics| {
        let of = |what| Count::read(m, &format!("rfm_collector_{what}_*_total"), &[]);
        let left_out = of("dropped") + of("thinned");
        (of("sampled") + of("added"), of("accounted") + left_out)
    };
    let (metrics, _) = agent.scrape_until(SETTLED, |m| {
        let (sampled, arrived) = totals(m);
        assert!(arrived.at_most(sampled), "{arrived:?} of {sampled:?}");
        sampled == arrived
    });
    let (sampled, arrived) = totals(&metrics);
    assert_eq!(sampled, arrived, "{}", agent.log());
    metrics
}

/// rfm's counters of one device, in the terms of the device.
pub fn of_hooks(metrics: &Metrics, device: &str) -> DeviceCounters {
    counters(metrics, "rfm_interface", device)
}

/// The device's own counters, as rfm shows them.
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
