// SPDX-License-Identifier: AGPL-3.0-only
//! Formats values in readable units.

use std::time::SystemTime;

use humantime_serde::re::humantime::parse_rfc3339;

use crate::control::api::{FirewallFlow, LiveFlow, TopSum};

const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// Returns three digits and a decimal prefix: "950", "1.23 M".
fn scaled(value: f64) -> (String, &'static str) {
    let mut value = value;
    let mut prefix = 0;
    // a value that would be rounded to 1000 becomes 1 of the next prefix
    while value >= 999.5 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    let text = match value {
        v if prefix == 0 && v.fract() == 0.0 => format!("{v:.0}"),
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    };
    (text, PREFIXES[prefix])
}

/// "1.23 MB"
pub fn bytes(bytes: u64) -> String {
    let (text, prefix) = scaled(bytes as f64);
    format!("{text} {prefix}B")
}

/// Formats bytes a second as "1.23 Mbit/s": link speeds are given in bits.
pub fn bits(bytes_per_second: f64) -> String {
    let (text, prefix) = scaled(bytes_per_second * 8.0);
    format!("{text} {prefix}bit/s")
}

/// Formats bytes a second as "1.23 MB/s".
pub fn byte_rate(bytes_per_second: f64) -> String {
    let (text, prefix) = scaled(bytes_per_second);
    format!("{text} {prefix}B/s")
}

/// Formats a rounded value without a space, for narrow columns: "1.23Mb".
pub fn short(value: f64, unit: &str) -> String {
    // the sum of nothing is -0.0
    let (text, prefix) = scaled(value.round() + 0.0);
    format!("{text}{prefix}{unit}")
}

/// "1.23 k"
pub fn count(count: f64) -> String {
    let (text, prefix) = scaled(count);
    format!("{text}{prefix}")
}

/// Formats a duration in its two largest units: "3d 4h", "5m 6s".
pub fn duration(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, 'd'),
        (seconds / 3600 % 24, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    let start = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown = parts[start..].iter().take(2);
    let shown: Vec<_> = shown.map(|(n, unit)| format!("{n}{unit}")).collect();
    shown.join(" ")
}

/// "1 rule", "2 rules"
pub fn plural(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}

/// Formats a time as RFC 3339 relative to now: "in 9m 59s", or "expired".
pub fn until(time: &str, now: SystemTime) -> String {
    let Ok(time) = parse_rfc3339(time) else {
        return time.to_owned();
    };
    match time.duration_since(now) {
        Ok(left) => format!("in {}", duration(left.as_secs())),
        Err(_) => "expired".to_owned(),
    }
}

/// Formats a time as RFC 3339 relative to now: "3s ago".
pub fn since(time: &str, now: SystemTime) -> String {
    let Ok(time) = parse_rfc3339(time) else {
        return time.to_owned();
    };
    let age = now.duration_since(time).unwrap_or_default();
    format!("{} ago", duration(age.as_secs()))
}

/// Sampled packets with which the error of sampling does not matter.
const ENOUGH_SAMPLES: u64 = 100;

/// A number of packets that was estimated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimate {
    pub sample_rate: u32,
    pub sampled_packets: u64,
    pub packets: u64,
    /// The standard error by adaptive sampling.
    pub standard_error: u64,
}

/// Adaptive sampling has no part in the samples of the firewall.
impl From<&FirewallFlow> for Estimate {
    fn from(flow: &FirewallFlow) -> Self {
        Self {
            sample_rate: flow.sample_rate,
            sampled_packets: flow.sampled_packets,
            packets: flow.packets,
            standard_error: 0,
        }
    }
}

impl From<&LiveFlow> for Estimate {
    fn from(flow: &LiveFlow) -> Self {
        Self {
            sample_rate: flow.sample_rate,
            sampled_packets: flow.sampled_packets,
            packets: flow.packets,
            standard_error: flow.standard_error_packets,
        }
    }
}

impl Estimate {
    pub fn of_group(sum: &TopSum, sample_rate: u32) -> Self {
        Self {
            sample_rate,
            sampled_packets: sum.sampled_packets,
            packets: sum.packets,
            standard_error: sum.standard_error_packets,
        }
    }

    /// Returns the error in percent, with 95 % confidence: 1.96 times the standard errors of sampling, 1 / √samples, and
    /// of adaptive sampling. `None` if nothing was estimated, or if there are so many samples that the error does not
    /// matter.
    pub fn error(&self) -> Option<u32> {
        let is_sampled = self.sample_rate > 1;
        let samples = self.sampled_packets.max(1) as f64;
        let of_sampling = if is_sampled { 1.0 / samples } else { 0.0 };
        let adaptive = self.standard_error as f64 / self.packets.max(1) as f64;
        let error = (196.0 * (of_sampling + adaptive * adaptive).sqrt()).round() as u32;
        let is_doubtful = is_sampled && self.sampled_packets < ENOUGH_SAMPLES;
        (is_doubtful || self.standard_error > 0 && error > 0).then_some(error)
    }
}

/// Returns the error of an estimate as text; empty if it does not matter.
pub fn error_of(estimate: Estimate) -> String {
    let percent = estimate.error();
    percent.map_or_else(String::new, |percent| format!("±{percent}%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        for (value, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_996, "10.0 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(bytes(value), expected);
        }
        assert_eq!(bits(125_000_000.0), "1.00 Gbit/s");
        assert_eq!(bits(0.1), "0.80 bit/s");
        assert_eq!(byte_rate(1_000_000.0), "1.00 MB/s");
        assert_eq!(short(1_234_000.4, "b"), "1.23Mb");
        assert_eq!(short(0.4, "B"), "0B");
        assert_eq!(short(-0.0, "b"), "0b");
        assert_eq!(count(1_234.0), "1.23k");
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3_661, "1h 1m"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn times_are_relative_and_nouns_have_a_number() {
        let now = parse_rfc3339("2026-11-29T12:00:00Z").unwrap();
        assert_eq!(until("2026-11-29T12:09:59.900Z", now), "in 9m 59s");
        assert_eq!(until("2026-11-29T11:59:59Z", now), "expired");
        assert_eq!(since("2026-11-29T11:00:00Z", now), "1h 0m ago");
        assert_eq!(since("2026-11-29T12:00:01Z", now), "0s ago");
        assert_eq!(since("soon", now), "soon");
        let counts = [0, 1, 2].map(|n| plural(n, "rule"));
        assert_eq!(counts, ["0 rules", "1 rule", "2 rules"]);
    }

    #[test]
    fn few_samples_are_marked_and_exact_figures_are_not() {
        let error = |sample_rate, sampled_packets, standard_error| {
            let estimate = Estimate {
                sample_rate,
                sampled_packets,
                packets: sampled_packets * u64::from(sample_rate),
                standard_error,
            };
            estimate.error()
        };
        for (samples, expected) in [
            (100, None),
            (99, Some(20)),
            (25, Some(39)),
            (1, Some(196)),
            (0, Some(196)),
        ] {
            assert_eq!(error(100, samples, 0), expected);
        }
        assert_eq!(error(1, 1, 0), None);
        // adaptive sampling counted packets several times
        assert_eq!(error(1, 1000, 100), Some(20));
        assert_eq!(error(1, 1000, 1), None);
        assert_eq!(error(100, 1000, 10_000), Some(21));
        assert_eq!(error(100, 25, 1_000), Some(88));
    }
}
