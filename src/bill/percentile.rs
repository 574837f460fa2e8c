// SPDX-License-Identifier: AGPL-3.0-only
//! The 95th percentile of sorted values.

/// Returns the value at the nearest rank: of *n* values the one at position ⌈0.95 n⌉, counted from 1. That is the highest
/// value after the highest 5 % (rounded down) were removed.
pub fn nearest_rank(sorted: &[f64]) -> Option<f64> {
    let rank = (sorted.len() * 95).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// Returns the value at position 0.95 (n - 1), counted from 0, interpolated between its two neighbors.
pub fn interpolated(sorted: &[f64]) -> Option<f64> {
    let hundredths = sorted.len().checked_sub(1)? * 95;
    let (at, fraction) = (hundredths / 100, hundredths % 100);
    let below = *sorted.get(at)?;
    let above = sorted.get(at + 1).copied().unwrap_or(below);
    Some(below + (above - below) * fraction as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_a_percentile() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        for (count, nearest, between) in [
            (0, None, None),
            (1, Some(1.0), Some(1.0)),
            (2, Some(2.0), Some(1.95)),
            (19, Some(19.0), Some(18.1)),
            (20, Some(19.0), Some(19.05)),
        ] {
            assert_eq!(nearest_rank(&values[..count]), nearest, "{count}");
            let found = interpolated(&values[..count]);
            let close = found
                .zip(between)
                .is_none_or(|(a, b)| (a - b).abs() < 1e-12);
            assert!(
                close && found.is_some() == between.is_some(),
                "{count}: {found:?}"
            );
        }
    }
}
