// SPDX-License-Identifier: AGPL-3.0-only
//! A figure: the median of several rounds, with the least and the greatest value.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figure {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Figure {
    /// Returns the figure of at least one value.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self {
            median: (low + high) / 2.0,
            min: sorted[0],
            max: sorted[sorted.len() - 1],
        }
    }

    /// Returns the figure of `values` less `baseline`, round by round: a disturbance of a whole round affects both.
    pub fn above(values: &[f64], baseline: &[f64]) -> Self {
        let differences: Vec<f64> = values.iter().zip(baseline).map(|(v, b)| v - b).collect();
        Self::of(&differences)
    }
}
