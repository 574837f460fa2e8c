// SPDX-License-Identifier: AGPL-3.0-only
//! Traffic totals of the last hour and the last day, small enough for a table of thousands of lines
//! (pure). Each window has six pieces; the newest one is being filled.

use super::time_series::TICK_SECONDS;

const PIECES: usize = 6;

/// The period of a mean, a maximum and a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    #[default]
    Hour,
    Day,
}

impl Window {
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Returns the number of ticks in a piece.
    fn piece(self) -> u64 {
        let seconds = match self {
            Self::Hour => 3600,
            Self::Day => 86_400,
        };
        seconds / TICK_SECONDS / PIECES as u64
    }

    fn slot(self, tick: u64) -> usize {
        (tick / self.piece()) as usize % PIECES
    }

    /// Returns whether a piece starts with this tick.
    pub fn turns(self, tick: u64) -> bool {
        tick.is_multiple_of(self.piece())
    }

    /// Returns the length of the pieces at `tick`, in seconds.
    pub fn covered(self, tick: u64) -> u64 {
        let into = tick % self.piece() + 1;
        let full = (PIECES as u64 - 1) * self.piece();
        // the first tick is number 1
        TICK_SECONDS * tick.min(full + into)
    }
}

/// Sums over one window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    pub bytes: f32,
    pub packets: f32,
    /// The highest rate of a tick, in bytes per second.
    pub most: f32,
}

#[derive(Clone, Debug, Default)]
pub struct WindowTotals {
    hour: [Sums; PIECES],
    day: [Sums; PIECES],
}

impl WindowTotals {
    /// Clears the piece that starts. Call it for each tick at which [`Window::turns`] is true,
    /// before adding anything.
    pub fn turn(&mut self, window: Window, tick: u64) {
        self.pieces_mut(window)[window.slot(tick)] = Sums::default();
    }

    pub fn add(&mut self, tick: u64, bytes: f32, packets: f32, rate: f32) {
        for window in Window::ALL {
            let piece = &mut self.pieces_mut(window)[window.slot(tick)];
            piece.bytes += bytes;
            piece.packets += packets;
            piece.most = piece.most.max(rate);
        }
    }

    pub fn sums(&self, window: Window) -> Sums {
        let pieces = match window {
            Window::Hour => &self.hour,
            Window::Day => &self.day,
        };
        pieces.iter().fold(Sums::default(), |sum, piece| Sums {
            bytes: sum.bytes + piece.bytes,
            packets: sum.packets + piece.packets,
            most: sum.most.max(piece.most),
        })
    }

    fn pieces_mut(&mut self, window: Window) -> &mut [Sums; PIECES] {
        match window {
            Window::Hour => &mut self.hour,
            Window::Day => &mut self.day,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds `bytes` at each of the ticks.
    fn run(windows: &mut WindowTotals, ticks: std::ops::RangeInclusive<u64>, bytes: f32) {
        for tick in ticks {
            for window in Window::ALL {
                if window.turns(tick) {
                    windows.turn(window, tick);
                }
            }
            windows.add(tick, bytes, 1.0, bytes / 5.0);
        }
    }

    #[test]
    fn the_mean_of_what_is_steady_is_its_rate_at_every_moment() {
        let mut windows = WindowTotals::default();
        for tick in 1..40_000 {
            run(&mut windows, tick..=tick, 500.0);
            for window in Window::ALL {
                let mean = windows.sums(window).bytes / window.covered(tick) as f32;
                assert!((mean - 100.0).abs() < 0.01, "tick {tick}: {mean}");
            }
        }
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut windows = WindowTotals::default();
        run(&mut windows, 1..=10, 5000.0);
        run(&mut windows, 11..=720, 0.0);
        let told = |sums: Sums| (sums.bytes, sums.most);
        assert_eq!(told(windows.sums(Window::Hour)), (0.0, 0.0));
        assert_eq!(told(windows.sums(Window::Day)), (50_000.0, 1000.0));
        run(&mut windows, 721..=17_280, 0.0);
        assert_eq!(told(windows.sums(Window::Day)), (0.0, 0.0));
    }

    #[test]
    fn a_window_reaches_back_what_it_says() {
        assert_eq!(Window::Hour.covered(1), 5);
        assert_eq!(Window::Hour.covered(100), 500);
        assert_eq!(Window::Hour.covered(719), 3595);
        assert_eq!(Window::Hour.covered(1439), 3600);
        assert_eq!(Window::Hour.covered(720), 3005);
        assert_eq!(Window::Day.covered(20_159), 86_400);
    }
}
