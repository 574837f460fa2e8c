// SPDX-License-Identifier: AGPL-3.0-only
//! The points of a curve, as numbers or packed into a short text (pure).

use serde::{Serialize, Serializer};

/// Two neighboring levels of packed points differ by 1 %, so that a point is accurate to 0.5 %.
const STEP: f64 = 1.01;
/// The largest change of the level that takes one character.
const NEAR: i32 = 43;
/// The character of an unchanged level.
const SAME: u8 = b'O';

/// In bytes or packets per second, oldest first.
#[derive(Debug, PartialEq, Eq)]
pub enum Points {
    Numbers(Vec<u64>),
    /// The first level and the changes of the level, where a level is the logarithm of the rate plus one: a change by
    /// up to [`NEAR`] is one character, and any other one is `!`, the number and a space.
    Packed(String),
}

impl Points {
    pub fn new(rates: impl Iterator<Item = u64>, is_packed: bool) -> Self {
        match is_packed {
            true => Self::Packed(pack(rates)),
            false => Self::Numbers(rates.collect()),
        }
    }
}

impl Serialize for Points {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Numbers(numbers) => numbers.serialize(serializer),
            Self::Packed(text) => text.serialize(serializer),
        }
    }
}

fn pack(rates: impl Iterator<Item = u64>) -> String {
    let mut text = String::new();
    let mut level = 0;
    for rate in rates {
        let next = ((rate as f64).ln_1p() / STEP.ln()).round() as i32;
        let change = next - level;
        level = next;
        match u8::try_from(change + i32::from(SAME)) {
            Ok(code) if change.abs() <= NEAR => {
                // a backslash would be escaped
                text.push(char::from(code + u8::from(code >= b'\\')));
            }
            _ => text += &format!("!{change} "),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `unpack` of the page does.
    fn unpack(text: &str) -> Vec<u64> {
        let mut rest = text.chars();
        let (mut level, mut points) = (0, Vec::new());
        while let Some(c) = rest.next() {
            level += match c {
                '!' => {
                    let number: String = rest.by_ref().take_while(|c| *c != ' ').collect();
                    number.parse().unwrap()
                }
                c => {
                    let code = c as i32;
                    code - i32::from(code > 92) - i32::from(SAME)
                }
            };
            points.push((STEP.powi(level)).round() as u64 - 1);
        }
        points
    }

    #[test]
    fn packed_points_are_accurate_to_half_a_percent() {
        let rates = [
            0,
            0,
            1,
            2,
            90,
            0,
            1_000,
            1_013,
            987,
            125_000_000,
            124_000_000,
            u64::MAX >> 20,
            0,
        ];
        let text = pack(rates.into_iter());
        let found = unpack(&text);
        assert_eq!(found.len(), rates.len());
        for (found, rate) in found.into_iter().zip(rates) {
            let error = (found as f64 - rate as f64).abs();
            assert!(error <= rate as f64 * 0.005 + 0.5, "{rate}: {found}");
        }
        assert!(!text.contains(['"', '\\']), "{text}");
        // every change of one character
        let levels: Vec<u64> = (0..=NEAR)
            .chain((0..NEAR).rev())
            .map(|n| STEP.powi(1000 + n) as u64)
            .collect();
        assert!(!pack(levels.iter().copied()).contains(['"', '\\']));
        assert_eq!(unpack(&pack(levels.iter().copied())).len(), levels.len());
    }

    #[test]
    fn a_steady_curve_is_short() {
        let steady = (0..720).map(|n| 1_000_000 + n % 100 * 1000);
        assert!(pack(steady).len() < 730);
    }
}
