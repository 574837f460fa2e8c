// SPDX-License-Identifier: AGPL-3.0-only
//! Adds the readings of the page up to rows of a minute for the history on disk (pure, apart from
//! the sender, which never waits).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::History;
use super::string_refs::OTHER;
use super::top_table::{Side, TopKey, TopKind};
use super::window_totals::Window;
use crate::store::format::frame::MAX_CURVES;
use crate::store::sender::HistorySender;
use crate::store::types::{HistoryInput, MinuteRows, Part, PartRow, ScopeRow, TotalRow};
use crate::types::counters::Count;
use crate::types::flow::{Direction, Family};

const MINUTE_MS: u64 = 60_000;
/// A longer time between two readings counts as this long.
const MAX_ELAPSED_MS: u64 = 3_600_000;

/// The sums of a minute by interface and direction.
type ScopeSums = BTreeMap<(Arc<str>, Direction), ScopeSum>;

#[derive(Debug, Default)]
struct ScopeSum {
    covered_ms: u64,
    totals: [TotalRow; Family::ALL.len()],
    parts: HashMap<TopKey, (Part, u64, f32), RandomState>,
}

#[derive(Debug)]
pub struct Recorder {
    sender: HistorySender,
    /// The monotonic time of the last reading.
    last_ms: Option<u64>,
    /// The minutes that are not complete, by their number since 1970.
    open: BTreeMap<u64, ScopeSums>,
    /// The lines of the page that are stored.
    chosen: HashSet<TopKey, RandomState>,
}

/// The part of a period that lies in one minute.
#[derive(Clone, Copy)]
struct Piece {
    minute: u64,
    /// Milliseconds since the start of the period.
    from_ms: u64,
    to_ms: u64,
}

impl Recorder {
    pub fn new(sender: HistorySender) -> Self {
        Self {
            sender,
            last_ms: None,
            open: BTreeMap::new(),
            chosen: HashSet::default(),
        }
    }

    /// Adds the traffic between the last two readings of `history`, and sends the minutes that are
    /// complete. `now_ms` is monotonic; `wall` is in seconds since 1970.
    pub fn read(&mut self, history: &History, now_ms: u64, wall: f64) {
        let Some(last_ms) = self.last_ms.replace(now_ms) else {
            return;
        };
        let elapsed_ms = now_ms.saturating_sub(last_ms).clamp(1, MAX_ELAPSED_MS);
        let pieces = pieces((wall * 1000.0) as u64, elapsed_ms);
        let current = pieces.last().map_or(0, |piece| piece.minute);
        if !self.open.contains_key(&current) {
            self.choose(history);
        }
        self.choose_newcomers(history);
        for piece in pieces {
            let sums = self.open.entry(piece.minute).or_default();
            let share = Share { piece, elapsed_ms };
            add_interfaces(sums, history, share);
            add_parts(sums, history, &self.chosen, share);
        }
        // after a step of the clock, the minutes before it are complete as well
        let complete: Vec<_> = self
            .open
            .keys()
            .copied()
            .filter(|m| *m != current)
            .collect();
        complete.into_iter().for_each(|minute| self.send(minute));
    }

    /// Sends the minutes that are not complete, at the end.
    pub fn flush(&mut self) {
        let open: Vec<_> = self.open.keys().copied().collect();
        open.into_iter().for_each(|minute| self.send(minute));
    }

    fn send(&mut self, minute: u64) {
        let sums = self.open.remove(&minute).unwrap_or_default();
        let rows = sums
            .into_iter()
            .map(|((interface, direction), sum)| ScopeRow {
                interface,
                direction,
                covered_ms: u32::try_from(sum.covered_ms).unwrap_or(u32::MAX),
                totals: sum.totals,
                parts: sum.parts.into_values().map(part_row).collect(),
            });
        self.sender.send(HistoryInput::Minute(MinuteRows {
            minute: minute * 60,
            rows: rows.collect(),
        }));
    }

    /// Chooses the lines with most traffic in the last hour: for each interface, direction and kind
    /// the first, then the second, until there is no room.
    fn choose(&mut self, history: &History) {
        let mut lines: Vec<_> = history
            .entries
            .iter()
            .filter(|(key, _)| is_stored(key))
            .map(|(key, entry)| (*key, entry.sums(Window::Hour).bytes))
            .filter(|(_, bytes)| *bytes > 0.0)
            .collect();
        lines.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut ranks: HashMap<_, usize, RandomState> = HashMap::default();
        let mut ranked: Vec<_> = lines
            .iter()
            .enumerate()
            .map(|(place, (key, _))| {
                let rank = ranks.entry((key.scope, key.kind)).or_default();
                *rank += 1;
                (*rank, place, *key)
            })
            .collect();
        ranked.sort_unstable_by_key(|(rank, place, _)| (*rank, *place));
        ranked.truncate(room(history));
        self.chosen = ranked.into_iter().map(|(_, _, key)| key).collect();
    }

    /// Adds lines with traffic since the last reading while there is room.
    fn choose_newcomers(&mut self, history: &History) {
        let free = room(history).saturating_sub(self.chosen.len());
        if free == 0 {
            return;
        }
        let is_new = |key: &TopKey| is_stored(key) && !self.chosen.contains(key);
        let moving = history
            .entries
            .iter()
            .filter(|(_, entry)| entry.now.0 > 0.0);
        let mut newcomers: Vec<_> = moving
            .filter(|(key, _)| is_new(key))
            .map(|(key, entry)| (Reverse(entry.now.0.to_bits()), *key))
            .collect();
        newcomers.sort_unstable();
        let first = newcomers.into_iter().take(free);
        self.chosen.extend(first.map(|(_, key)| key));
    }
}

/// Returns the number of parts that are stored beside the totals.
fn room(history: &History) -> usize {
    let families = |observed: &[Count; Family::ALL.len()]| {
        observed.iter().filter(|count| count.packets > 0).count()
    };
    let hooks = history.interfaces().flat_map(|(_, port)| port.observed);
    let totals: usize = hooks.flatten().map(|observed| families(&observed)).sum();
    MAX_CURVES.saturating_sub(totals)
}

fn is_stored(key: &TopKey) -> bool {
    let is_far = matches!(
        key.kind,
        TopKind::Asn(Side::Far) | TopKind::Peer(Side::Far) | TopKind::Country(Side::Far)
    );
    is_far && key.value != OTHER
}

fn part(key: &TopKey, history: &History) -> Option<Part> {
    Some(match key.kind {
        TopKind::Asn(_) => Part::Network(key.value),
        TopKind::Peer(_) => Part::Neighbor(key.value),
        TopKind::Country(_) => {
            let code = history.names.text(key.value).as_bytes();
            Part::Country(if code.is_empty() {
                *b"  "
            } else {
                code.try_into().ok()?
            })
        }
        _ => return None,
    })
}

fn part_row((part, bytes, max_rate): (Part, u64, f32)) -> PartRow {
    PartRow {
        part,
        bytes,
        max_rate,
    }
}

/// A share of the traffic between two readings.
#[derive(Clone, Copy)]
struct Share {
    piece: Piece,
    elapsed_ms: u64,
}

impl Share {
    /// Returns the part of a sum. The parts of all pieces add up to the sum.
    fn of(self, sum: u64) -> u64 {
        let up_to = |ms: u64| u128::from(sum) * u128::from(ms) / u128::from(self.elapsed_ms);
        (up_to(self.piece.to_ms) - up_to(self.piece.from_ms)) as u64
    }

    fn rate(self, sum: u64) -> f32 {
        sum as f32 * 1000.0 / self.elapsed_ms as f32
    }
}

/// Cuts the period of `elapsed_ms` that ends at `end_ms` at the minutes.
fn pieces(end_ms: u64, elapsed_ms: u64) -> Vec<Piece> {
    let start_ms = end_ms.saturating_sub(elapsed_ms);
    let mut pieces = Vec::new();
    let mut from_ms = 0;
    while from_ms < elapsed_ms {
        let minute = (start_ms + from_ms) / MINUTE_MS;
        let to_ms = ((minute + 1) * MINUTE_MS - start_ms).min(elapsed_ms);
        pieces.push(Piece {
            minute,
            from_ms,
            to_ms,
        });
        from_ms = to_ms;
    }
    pieces
}

fn add_interfaces(sums: &mut ScopeSums, history: &History, share: Share) {
    for (_, port) in history.interfaces() {
        for direction in Direction::ALL {
            if port.observed[direction as usize].is_none() {
                continue;
            }
            let sum = sums.entry((port.name.clone(), direction)).or_default();
            sum.covered_ms += share.piece.to_ms - share.piece.from_ms;
            for (total, grown) in sum.totals.iter_mut().zip(port.grown[direction as usize]) {
                total.bytes += share.of(grown.bytes);
                total.packets += share.of(grown.packets);
                total.max_rate = total.max_rate.max(share.rate(grown.bytes));
            }
        }
    }
}

fn add_parts(
    sums: &mut ScopeSums,
    history: &History,
    chosen: &HashSet<TopKey, RandomState>,
    share: Share,
) {
    for key in chosen {
        let Some(entry) = history.entries.get(key) else {
            continue;
        };
        let seconds = share.elapsed_ms as f32 / 1000.0;
        let sampled = (entry.now.0 * seconds).round() as u64;
        let bytes = sampled.saturating_mul(history.sample_rate.into());
        let interface = history.interface(key.scope.interface);
        let Some(port) = interface.filter(|_| bytes > 0) else {
            continue;
        };
        let Some(sum) = sums.get_mut(&(port.name.clone(), key.scope.direction)) else {
            continue;
        };
        if !sum.parts.contains_key(key)
            && let Some(part) = part(key, history)
        {
            sum.parts.insert(*key, (part, 0, 0.0));
        }
        if let Some((_, total, max)) = sum.parts.get_mut(key) {
            *total += share.of(bytes);
            *max = max.max(share.rate(bytes));
        }
    }
}
