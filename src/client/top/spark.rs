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

const PARTS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Returns a bar for a part of the largest value, from 0 to 1. Every part above 0 is visible.
pub fn bar(part: f64, width: usize, ascii: bool) -> String {
    if part <= 0.0 || width == 0 {
        return String::new();
    }
    if ascii {
        let full = (part * width as f64).round() as usize;
        return "#".repeat(full.clamp(1, width));
    }
    let eighths = ((part * width as f64 * 8.0).round() as usize).clamp(1, width * 8);
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(PARTS[eighths % 8]);
    }
    bar
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

    #[test]
    fn a_bar_is_in_proportion() {
        assert_eq!(bar(1.0, 4, false), "████");
        assert_eq!(bar(0.5, 4, false), "██");
        assert_eq!(bar(0.3, 4, false), "█▎");
        assert_eq!(bar(0.001, 4, false), "▏");
        assert_eq!(bar(0.0, 4, false), "");
        assert_eq!(bar(0.01, 4, true), "#");
        assert_eq!(bar(0.6, 4, true), "##");
    }
}
