// SPDX-License-Identifier: AGPL-3.0-only
//! Whether the link of an attack is full: then no rule on this router helps.
//!
//! The counters of the interface include the packets that the firewall drops; flow records do not.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::types::guard::Heading;

/// A link is full from this part of its speed on.
const FULL_PART: f64 = 0.95;
/// The time over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// Preamble, checksum and gap of an Ethernet frame, in bytes, which no counter includes.
const FRAME_OVERHEAD: u64 = 24;
/// ARPHRD_ETHER of linux/if_arp.h.
const ETHERNET: &str = "1";
const MEGABIT: f64 = 1e6;
/// The remedy if a link is full.
pub const FULL: &str = "no rule on this router helps, only an announcement upstream";

/// The load of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkLoad {
    pub interface: Arc<str>,
    /// Bits per second on the wire, the highest of the attack; 0 until it has been measured.
    pub rate: f64,
    /// Bits per second; `None` if unknown.
    pub speed: Option<f64>,
}

impl LinkLoad {
    pub fn is_full(&self) -> bool {
        self.speed
            .is_some_and(|speed| self.rate >= speed * FULL_PART)
    }
}

/// Reads speeds and counters of interfaces from sysfs.
#[derive(Clone, Debug, Default)]
pub struct LinkCounters {
    /// `/sys/class/net`.
    root: PathBuf,
    /// Bits per second by the name of the interface: those of the configuration.
    speeds: BTreeMap<String, u64>,
}

impl LinkCounters {
    pub fn new(root: PathBuf, speeds: BTreeMap<String, u64>) -> Self {
        Self { root, speeds }
    }

    fn read(&self, interface: &str, file: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(interface).join(file)).ok()?;
        Some(text.trim().to_owned())
    }

    fn speed(&self, interface: &str) -> Option<f64> {
        if let Some(speed) = self.speeds.get(interface) {
            return Some(*speed as f64);
        }
        // -1 is unknown
        let speed: f64 = self.read(interface, "speed")?.parse().ok()?;
        (speed > 0.0).then_some(speed * MEGABIT)
    }

    /// Returns the bits that have crossed the wire.
    fn bits(&self, interface: &str, heading: Heading) -> Option<u64> {
        let side = match heading {
            Heading::In => "rx",
            Heading::Out => "tx",
        };
        let count = |unit: &str| -> Option<u64> {
            let text = self.read(interface, &format!("statistics/{side}_{unit}"))?;
            text.parse().ok()
        };
        let (bytes, packets) = (count("bytes")?, count("packets")?);
        let overhead = match self.read(interface, "type")?.as_str() {
            ETHERNET => FRAME_OVERHEAD,
            _ => 0,
        };
        Some(bytes.saturating_add(packets.saturating_mul(overhead)) * 8)
    }
}

/// Measures the link of one attack.
#[derive(Clone, Debug)]
pub struct LinkMeter {
    heading: Heading,
    load: LinkLoad,
    previous: Option<(Instant, u64)>,
}

impl LinkMeter {
    pub fn new(interface: Arc<str>, heading: Heading, reader: &LinkCounters) -> Self {
        let speed = reader.speed(&interface);
        Self {
            heading,
            load: LinkLoad {
                interface,
                rate: 0.0,
                speed,
            },
            previous: None,
        }
    }

    /// Reads the counters if it is time; returns the load.
    pub fn measure(&mut self, now: Instant, reader: &LinkCounters) -> &LinkLoad {
        let age = |(at, _): (Instant, u64)| now.saturating_duration_since(at);
        let is_due = self.previous.is_none_or(|previous| age(previous) >= WINDOW);
        if self.load.speed.is_none() || !is_due {
            return &self.load;
        }
        if let Some(bits) = reader.bits(&self.load.interface, self.heading)
            && let Some(previous) = self.previous.replace((now, bits))
        {
            let rate = bits.saturating_sub(previous.1) as f64 / age(previous).as_secs_f64();
            self.load.rate = self.load.rate.max(rate);
        }
        &self.load
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_full_from_95_percent_of_its_speed() {
        let root = std::env::temp_dir().join(format!("rfm-links-{}", std::process::id()));
        let device = root.join("wan0");
        fs::create_dir_all(device.join("statistics")).unwrap();
        let write = |file: &str, text: &str| fs::write(device.join(file), text).unwrap();
        let count = |bytes: u64, packets: u64| {
            write("statistics/rx_bytes", &format!("{bytes}\n"));
            write("statistics/rx_packets", &format!("{packets}\n"));
        };
        let start = Instant::now();
        // 60 bytes are 84 on the wire: 14,881 packets a second fill 10 Mbit/s
        for (speed, configured, packets, expected) in [
            ("10\n", None, 14_881, true),
            ("10\n", None, 14_000, false),
            ("-1\n", None, 14_881, false),
            ("10000\n", Some(10_000_000), 14_881, true),
            ("10\n", Some(1_000_000_000), 14_881, false),
        ] {
            write("speed", speed);
            write("type", "1\n");
            count(1_000, 10);
            let speeds = configured.map(|speed| ("wan0".to_owned(), speed));
            let reader = LinkCounters::new(root.clone(), speeds.into_iter().collect());
            let mut meter = LinkMeter::new("wan0".into(), Heading::In, &reader);
            assert!(!meter.measure(start, &reader).is_full());
            count(1_000 + 60 * packets, 10 + packets);
            // too early
            let early = start + Duration::from_millis(500);
            assert_eq!(meter.measure(early, &reader).rate, 0.0);
            let later = start + Duration::from_secs(1);
            let load = meter.measure(later, &reader).clone();
            assert_eq!(load.is_full(), expected, "{load:?}");
            // it stays in the report after the attack
            let end = start + Duration::from_secs(5);
            assert_eq!(meter.measure(end, &reader), &load);
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
