// SPDX-License-Identifier: AGPL-3.0-only
//! The lines of a table that a reader shows: an answer has no others (pure).

/// Current rate, mean, maximum, packets per second, bytes and packets of a line.
pub type Figures = (f32, f32, f32, f32, u64, u64);

/// Rounds a rate to tenths and to five digits, which is more precise than what a page shows, and short.
pub fn brief(rate: f32) -> f32 {
    let digits = rate.abs().max(1.0).log10().floor() as i32;
    let step = 10_f64.powi((digits - 4).max(-1));
    ((f64::from(rate) / step).round() * step) as f32
}

/// The figure that sorts a table. The share is in the order of the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortColumn {
    Now,
    #[default]
    Mean,
    Max,
    PacketRate,
    Packets,
}

impl SortColumn {
    pub fn find(name: &str) -> Option<Self> {
        Some(match name {
            "now" => Self::Now,
            "mean" | "share" => Self::Mean,
            "max" => Self::Max,
            "pps" => Self::PacketRate,
            "packets" => Self::Packets,
            _ => return None,
        })
    }

    fn of(self, (now, mean, max, packet_rate, _, packets): Figures) -> f64 {
        match self {
            Self::Now => now.into(),
            Self::Mean => mean.into(),
            Self::Max => max.into(),
            Self::PacketRate => packet_rate.into(),
            Self::Packets => packets as f64,
        }
    }
}

/// The first lines by one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOrder {
    pub rows: usize,
    pub by: SortColumn,
    pub ascending: bool,
}

impl RowOrder {
    /// Sorts the lines and removes all but the first; lines of one value are in the order of their mean.
    pub fn apply<R>(self, lines: &mut Vec<R>, figures: impl Fn(&R) -> Figures) {
        lines.sort_by(|a, b| {
            let (a, b) = (figures(a), figures(b));
            let order = self.by.of(a).total_cmp(&self.by.of(b));
            let order = match self.ascending {
                true => order,
                false => order.reverse(),
            };
            order.then(b.1.total_cmp(&a.1))
        });
        lines.truncate(self.rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_five_digits() {
        let rates = [
            0.0,
            0.04,
            0.06,
            99.96,
            9_999.96,
            12_345.6,
            23_852_176.0,
            4e10,
        ];
        let expected = [0.0, 0.0, 0.1, 100.0, 10_000.0, 12_346.0, 23_852_000.0, 4e10];
        assert_eq!(rates.map(brief), expected);
    }

    #[test]
    fn the_first_lines_by_each_figure() {
        let lines = [
            (1.0, 10.0, 30.0, 5.0, 100, 7),
            (2.0, 20.0, 20.0, 5.0, 200, 8),
            (3.0, 5.0, 25.0, 5.0, 50, 9),
        ];
        let sorted = |name, ascending| {
            let by = SortColumn::find(name).unwrap();
            let mut found = lines.to_vec();
            let order = RowOrder {
                rows: 2,
                by,
                ascending,
            };
            order.apply(&mut found, |line| *line);
            found.iter().map(|line| line.0 as u8).collect::<Vec<_>>()
        };
        assert_eq!(sorted("now", false), [3, 2]);
        assert_eq!(sorted("now", true), [1, 2]);
        assert_eq!(sorted("mean", false), [2, 1]);
        assert_eq!(sorted("share", false), [2, 1]);
        assert_eq!(sorted("max", false), [1, 3]);
        assert_eq!(sorted("packets", false), [3, 2]);
        // all the same: by the mean
        assert_eq!(sorted("pps", true), [2, 1]);
        assert_eq!(SortColumn::find("name"), None);
    }
}
