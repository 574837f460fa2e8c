// SPDX-License-Identifier: AGPL-3.0-only
//! The traffic of flow records, and the variance that adaptive sampling gives its sums (pure).

use std::ops::{AddAssign, SubAssign};

use crate::types::flow::FlowRecord;

/// Packets and bytes, as sampled and scaled by the sample rate. Arithmetic wraps, so that an added
/// value can always be subtracted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    pub bytes: u64,
    pub packets: u64,
    pub sampled_bytes: u64,
    pub sampled_packets: u64,
}

impl From<&FlowRecord> for Volume {
    fn from(record: &FlowRecord) -> Self {
        let rate = u64::from(record.sample_rate);
        Self {
            bytes: record.frame_bytes.wrapping_mul(rate),
            packets: record.packets.wrapping_mul(rate),
            sampled_bytes: record.frame_bytes,
            sampled_packets: record.packets,
        }
    }
}

impl AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.packets = self.packets.wrapping_add(other.packets);
        self.sampled_bytes = self.sampled_bytes.wrapping_add(other.sampled_bytes);
        self.sampled_packets = self.sampled_packets.wrapping_add(other.sampled_packets);
    }
}

impl SubAssign for Volume {
    fn sub_assign(&mut self, other: Self) {
        self.bytes = self.bytes.wrapping_sub(other.bytes);
        self.packets = self.packets.wrapping_sub(other.packets);
        self.sampled_bytes = self.sampled_bytes.wrapping_sub(other.sampled_bytes);
        self.sampled_packets = self.sampled_packets.wrapping_sub(other.sampled_packets);
    }
}

/// The variance of sums of packets and bytes, scaled by the sample rate: that of adaptive sampling only, which counts the
/// first packets of records several times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Variance {
    bytes: f64,
    packets: f64,
}

impl Variance {
    /// Returns the standard error of the bytes.
    pub fn error_bytes(&self) -> u64 {
        self.bytes.sqrt() as u64
    }

    pub fn error_packets(&self) -> u64 {
        self.packets.sqrt() as u64
    }
}

/// k (k - 1) x², where the first packet carried x: one packet, of the average size of the record.
impl From<&FlowRecord> for Variance {
    fn from(record: &FlowRecord) -> Self {
        let rate = f64::from(record.sample_rate);
        let packets = record.weights.variance() as f64 * rate * rate;
        let size = record.frame_bytes as f64 / record.packets.max(1) as f64;
        Self {
            bytes: packets * size * size,
            packets,
        }
    }
}

impl AddAssign for Variance {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.packets += other.packets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::flow::Family;
    use crate::types::weights::Weights;

    #[test]
    fn only_the_weight_of_the_first_packet_has_a_variance() {
        let mut record = FlowRecord::empty(Family::Ipv4);
        (record.packets, record.frame_bytes) = (10, 1000);
        assert_eq!(Variance::from(&record), Variance::default());
        (record.weights, record.sample_rate) = (Weights::of(8), 5);
        let mut variance = Variance::from(&record);
        assert_eq!((variance.packets, variance.bytes), (1_400.0, 14_000_000.0));
        variance += variance;
        assert_eq!(
            (variance.error_packets(), variance.error_bytes()),
            (52, 5_291)
        );
    }
}
