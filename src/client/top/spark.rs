// SPDX-License-Identifier: AGPL-3.0-only
//! Draws a series of values as a small chart in one line (pure).

const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 5] = [' ', '.', ':', '+', '#'];

/// Returns the chart: the newest value is at the right, and the largest shown value has the full height.
pub fn line(values: &[f64], width: usize, ascii: bool) -> String {
    let levels: &[char] = if ascii { &ASCII } else { &BLOCKS };
    let shown = &values[values.len().saturating_sub(width)..];
    let largest = shown.iter().copied().fold(0.0, f64::max);
    let top = levels.len() - 1;
    let level = |value: &f64| match largest > 0.0 && *value > 0.0 {
        // every value above 0 is visible
        true => levels[((value / largest * top as f64).round() as usize).clamp(1, top)],
        false => levels[0],
    };
    let space = " ".repeat(width - shown.len());
    space + &shown.iter().map(level).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_full_and_the_least_is_seen() {
        assert_eq!(line(&[0.0, 1.0, 50.0, 100.0], 6, false), "   ▁▄█");
        assert_eq!(line(&[1.0, 2.0, 3.0, 4.0], 2, true), "+#");
        assert_eq!(line(&[0.0, 0.0], 3, false), "   ");
        assert_eq!(line(&[], 2, false), "  ");
        assert_eq!(line(&[5.0], 0, false), "");
    }
}
