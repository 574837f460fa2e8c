// SPDX-License-Identifier: AGPL-3.0-only
//! A rate over time: an hour in points of 5 s and a day in points of 2 min, allocated as it fills
//! (pure).

use std::mem::size_of;

/// Seconds between two ticks, and therefore between two points of the last hour.
pub const TICK_SECONDS: u64 = 5;
/// The number of points per series: an hour of ticks, and a day of their means.
pub const POINTS: usize = 720;
/// The number of ticks in a point of the day.
pub const COARSE_TICKS: u64 = 24;
/// The number of points by which a curve grows.
const GROWTH: usize = 60;

/// The size of a full curve in bytes.
pub const FULL_CURVE_BYTES: usize =
    size_of::<TimeSeries>() + 2 * POINTS * (size_of::<Point>() + size_of::<PacketSize>());

/// A rate in 16 bits: the exponent and the first eight bits of the fraction of an f32, without its
/// sign. The relative error is at most 1/512, less than the width of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point(u16);

impl Point {
    const DROPPED_BITS: u32 = 15;

    /// `rate` is neither negative nor NaN.
    fn new(rate: f32) -> Self {
        let half = 1 << (Self::DROPPED_BITS - 1);
        Self((rate.to_bits().saturating_add(half) >> Self::DROPPED_BITS) as u16)
    }

    fn rate(self) -> f32 {
        f32::from_bits(u32::from(self.0) << Self::DROPPED_BITS)
    }
}

/// A mean packet size in eight bits: sixteenths of an octave above [`PacketSize::LEAST`]. The relative error is at most
/// 2.2 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PacketSize(u8);

impl PacketSize {
    const LEAST: f32 = 8.0;
    const STEPS: f32 = 16.0;

    fn new(bytes: f32, packets: f32) -> Self {
        let octaves = (bytes / packets / Self::LEAST).log2();
        // NaN, of no packets, becomes 0
        Self((octaves * Self::STEPS).round() as u8)
    }

    fn bytes(self) -> f32 {
        Self::LEAST * (f32::from(self.0) / Self::STEPS).exp2()
    }
}

/// The unit of the points of a curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    #[default]
    Bytes,
    Packets,
}

/// The last [`POINTS`] points.
#[derive(Debug, Default)]
struct Ring {
    points: Vec<Point>,
    sizes: Vec<PacketSize>,
    /// The index of the oldest point, once the ring is full.
    oldest: u16,
}

impl Ring {
    fn push(&mut self, (bytes, packets): (f32, f32)) {
        let (point, size) = (Point::new(bytes), PacketSize::new(bytes, packets));
        if self.points.len() < POINTS {
            if self.points.len() == self.points.capacity() {
                self.points.reserve_exact(GROWTH);
                self.sizes.reserve_exact(GROWTH);
            }
            self.points.push(point);
            self.sizes.push(size);
        } else {
            let oldest = usize::from(self.oldest);
            (self.points[oldest], self.sizes[oldest]) = (point, size);
            self.oldest = (self.oldest + 1) % POINTS as u16;
        }
    }

    /// Returns the points, oldest first.
    fn iter(&self, measure: Measure) -> impl ExactSizeIterator<Item = f32> {
        let (len, oldest) = (self.points.len(), usize::from(self.oldest));
        (0..len).map(move |i| {
            let at = (oldest + i) % len;
            let bytes = self.points[at].rate();
            match measure {
                Measure::Bytes => bytes,
                Measure::Packets => bytes / self.sizes[at].bytes(),
            }
        })
    }

    fn bytes(&self) -> usize {
        self.points.capacity() * size_of::<Point>() + self.sizes.capacity()
    }
}

/// A curve. Its points end at the last tick; their number determines the start.
#[derive(Debug, Default)]
pub struct TimeSeries {
    fine: Ring,
    coarse: Ring,
    /// The sum of the ticks since the last point of the day.
    sum: (f32, f32),
    ticks: u16,
}

impl TimeSeries {
    /// Adds the rates of bytes and packets of tick number `tick`, which follows the previous tick.
    pub fn push(&mut self, tick: u64, rates: (f32, f32)) {
        self.fine.push(rates);
        self.sum = (self.sum.0 + rates.0, self.sum.1 + rates.1);
        self.ticks += 1;
        if tick.is_multiple_of(COARSE_TICKS) {
            let ticks = f32::from(self.ticks);
            self.coarse.push((self.sum.0 / ticks, self.sum.1 / ticks));
            (self.sum, self.ticks) = ((0.0, 0.0), 0);
        }
    }

    /// Returns the points of the hour, oldest first.
    pub fn hour(&self, measure: Measure) -> impl ExactSizeIterator<Item = f32> {
        self.fine.iter(measure)
    }

    pub fn day(&self, measure: Measure) -> impl ExactSizeIterator<Item = f32> {
        self.coarse.iter(measure)
    }

    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.fine.bytes() + self.coarse.bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES: Measure = Measure::Bytes;

    #[test]
    fn a_curve_costs_what_it_holds_and_never_more() {
        let mut curve = TimeSeries::default();
        assert_eq!(curve.bytes(), size_of::<TimeSeries>());
        curve.push(1, (1.0, 1.0));
        assert_eq!(curve.bytes(), size_of::<TimeSeries>() + 180);
        for tick in 2..200_000 {
            curve.push(tick, (1.0, 1.0));
        }
        assert_eq!(curve.bytes(), FULL_CURVE_BYTES);
        assert_eq!(FULL_CURVE_BYTES, 4448);
        assert_eq!(
            (curve.hour(BYTES).len(), curve.day(BYTES).len()),
            (POINTS, POINTS)
        );
    }

    #[test]
    fn the_last_points_stay_in_order() {
        let mut curve = TimeSeries::default();
        for tick in 1..=1000u16 {
            curve.push(tick.into(), (f32::from(tick % 256), 1.0));
        }
        let expected = (281..=1000u16).map(|tick| f32::from(tick % 256));
        assert!(curve.hour(BYTES).eq(expected));
    }

    #[test]
    fn a_point_of_the_day_is_the_mean_of_its_ticks() {
        let mut curve = TimeSeries::default();
        // starts in the middle of a point
        for tick in 13..=48 {
            let rate = if tick <= 24 { 8.0 } else { (tick % 2) as f32 };
            curve.push(tick, (rate, rate / 500.0));
        }
        assert_eq!(curve.day(BYTES).collect::<Vec<_>>(), [8.0, 0.5]);
        let packets = curve.day(Measure::Packets).zip([8.0, 0.5]);
        packets.for_each(|(packets, bytes)| assert!((packets * 500.0 / bytes - 1.0).abs() < 0.023));
    }

    proptest! {
        #[test]
        fn a_point_is_true_to_a_512th(rate in 0.0f32..1e15) {
            let error = (Point::new(rate).rate() - rate).abs();
            prop_assert!(error <= rate / 512.0 || rate < f32::MIN_POSITIVE);
        }
    }

    #[test]
    fn packets_are_true_to_a_44th() {
        let mut curve = TimeSeries::default();
        let sizes = [14.0f32, 64.0, 590.0, 1514.0, 9014.0, 65_549.0];
        for (tick, size) in (1..).zip(sizes) {
            curve.push(tick, (size * 1000.0, 1000.0));
        }
        curve.push(7, (0.0, 0.0));
        let packets: Vec<_> = curve.hour(Measure::Packets).collect();
        assert_eq!(packets[6], 0.0);
        packets[..6]
            .iter()
            .for_each(|n| assert!((n / 1000.0 - 1.0).abs() < 0.023, "{n}"));
    }

    #[test]
    fn extremes_are_survived() {
        for rate in [0.0, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY] {
            assert!(Point::new(rate).rate() >= rate / 1.01, "{rate}");
        }
        assert_eq!(Point::new(0.0).rate(), 0.0);
    }
}
