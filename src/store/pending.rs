// SPDX-License-Identifier: AGPL-3.0-only
//! The rows that are not yet on disk (pure).

use std::collections::BTreeMap;

use super::files::calendar::END_OF_TIME;
use super::files::folder::FileId;
use super::format::frame::{Carry, Frame, MAX_CURVES, ScopeName};
use super::types::{
    ConversationPeriod, CurveFilter, EventRow, HistoryInput, MinuteLists, MinuteRows, PrefixRow,
    ScopeRow, TotalRow,
};
use crate::types::flow::Family;

const MINUTE: u64 = 60;
/// The period of a block of the log.
pub const WINDOW: u64 = 300;
/// The maximum number of minutes in memory.
pub const MAX_MINUTES: usize = 70;
/// The maximum number of events in memory.
const MAX_EVENTS: usize = 1000;

/// Rows of minutes, lists of minutes, and events.
#[derive(Debug, Default)]
pub struct Pending {
    /// Frames of one minute, by its start.
    pub minutes: BTreeMap<u64, Frame>,
    /// The exact counts of named prefixes, as frames of one minute.
    pub prefixes: BTreeMap<u64, Frame>,
    pub conversations: Vec<ConversationPeriod>,
    pub events: Vec<EventRow>,
    /// The surplus of the last minute on disk.
    pub carry: Carry,
    /// The synced bytes of log files that may grow: readers ignore what follows.
    pub synced: BTreeMap<FileId, u64>,
}

impl Pending {
    /// Adds a message. Returns the number of rows that found no room.
    pub fn add(&mut self, input: HistoryInput) -> usize {
        match input {
            HistoryInput::Minute(rows) => self.add_rows(&rows),
            HistoryInput::Lists(lists) => self.add_lists(lists),
            HistoryInput::Stop => 0,
            HistoryInput::Event(event) => {
                if self.events.len() >= MAX_EVENTS || event.time >= END_OF_TIME {
                    return 1;
                }
                self.events.push(event);
                0
            }
        }
    }

    fn add_rows(&mut self, rows: &MinuteRows) -> usize {
        let Some(frame) = minute_of(&mut self.minutes, rows.minute) else {
            return rows.rows.len();
        };
        for row in &rows.rows {
            frame.add_row(frame.start, row);
        }
        0
    }

    fn add_lists(&mut self, lists: MinuteLists) -> usize {
        let minute = lists.minute;
        let mut lost = self.add_rows(&MinuteRows {
            minute,
            rows: lists.parts,
        });
        if !lists.prefixes.is_empty() {
            match minute_of(&mut self.prefixes, minute) {
                Some(frame) => {
                    for row in &lists.prefixes {
                        frame.add_row(frame.start, &exact(row));
                    }
                }
                None => lost += lists.prefixes.len(),
            }
        }
        if !lists.conversations.is_empty() {
            if self.conversations.len() >= MAX_MINUTES || minute >= END_OF_TIME {
                return lost + lists.conversations.len();
            }
            self.conversations.push(ConversationPeriod {
                time: minute - minute % MINUTE,
                seconds: MINUTE,
                lists: lists.conversations,
            });
        }
        lost
    }

    pub fn is_empty(&self) -> bool {
        self.minutes.is_empty()
            && self.prefixes.is_empty()
            && self.conversations.is_empty()
            && self.events.is_empty()
    }

    /// Returns the frames of the log for the `ready` minutes, and the next carry.
    pub fn frames(&self, ready: &dyn Fn(u64) -> bool) -> (Vec<Frame>, Carry) {
        let mut carry = self.carry.clone();
        let mut frames = windows(&self.minutes, ready);
        for frame in &mut frames {
            let surplus = frame.fit(&carry);
            carry = surplus;
            frame.limit(MAX_CURVES);
            frame.round();
        }
        (frames, carry)
    }

    /// Returns the frames of the exact counts of prefixes for the `ready` minutes.
    pub fn prefix_frames(&self, ready: &dyn Fn(u64) -> bool) -> Vec<Frame> {
        windows(&self.prefixes, ready)
    }

    /// Removes all rows of the `ready` times.
    pub fn remove(&mut self, ready: &dyn Fn(u64) -> bool) {
        self.minutes.retain(|minute, _| !ready(*minute));
        self.prefixes.retain(|minute, _| !ready(*minute));
        self.conversations.retain(|period| !ready(period.time));
        self.events.retain(|event| !ready(event.time));
    }

    /// Returns the times of all rows.
    pub fn times(&self) -> impl Iterator<Item = u64> {
        let lists = self.conversations.iter().map(|period| period.time);
        let events = self.events.iter().map(|event| event.time);
        let minutes = self.minutes.keys().chain(self.prefixes.keys()).copied();
        minutes.chain(lists).chain(events)
    }

    /// Drops the oldest minutes until at most `max` are left. Returns the number of lost rows.
    pub fn trim(&mut self, max: usize) -> usize {
        let mut lost = 0;
        for frames in [&mut self.minutes, &mut self.prefixes] {
            while frames.len() > max {
                let dropped = frames.pop_first();
                lost += dropped.map_or(0, |(_, frame)| frame.scopes.len());
            }
        }
        let surplus = self.conversations.len().saturating_sub(max);
        let dropped = self.conversations.drain(..surplus);
        lost + dropped.map(|period| period.lists.len()).sum::<usize>()
    }

    /// Returns the selected curves, as they will be on disk.
    pub fn selected(&self, filter: &CurveFilter) -> Vec<Frame> {
        let mut frames = self.frames(&|_| true).0;
        frames.iter_mut().for_each(|frame| select(frame, filter));
        frames
    }
}

/// Returns the frame of a minute; `None` if there is no room or the time is out of range.
fn minute_of(frames: &mut BTreeMap<u64, Frame>, minute: u64) -> Option<&mut Frame> {
    let minute = minute - minute % MINUTE;
    if minute >= END_OF_TIME || (frames.len() >= MAX_MINUTES && !frames.contains_key(&minute)) {
        return None;
    }
    let frame = frames.entry(minute);
    Some(frame.or_insert_with(|| Frame::new(minute, MINUTE, 1)))
}

/// Adds the `ready` minutes up in the windows of the log.
fn windows(minutes: &BTreeMap<u64, Frame>, ready: &dyn Fn(u64) -> bool) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for (minute, frame) in minutes.iter().filter(|(minute, _)| ready(**minute)) {
        let start = minute - minute % WINDOW;
        if frames.last().is_none_or(|last| last.start != start) {
            frames.push(Frame::new(start, MINUTE, (WINDOW / MINUTE) as usize));
        }
        if let Some(window) = frames.last_mut() {
            window.merge(frame);
        }
    }
    frames
}

/// Returns the counts of a prefix as those of an interface with its name.
fn exact(row: &PrefixRow) -> ScopeRow {
    let mut totals = [TotalRow::default(); Family::ALL.len()];
    totals[Family::Other as usize] = TotalRow {
        bytes: row.bytes,
        packets: row.packets,
        max_rate: 0.0,
    };
    ScopeRow {
        interface: row.name.clone(),
        direction: row.direction,
        covered_ms: row.covered_ms,
        totals,
        parts: Vec::new(),
    }
}

/// Keeps what a filter selects; the bytes of other parts become unlisted.
fn select(frame: &mut Frame, filter: &CurveFilter) {
    let is_selected = |name: &ScopeName| filter.has_scope(&name.interface, name.direction);
    frame.scopes.retain(|name, _| is_selected(name));
    for scope in frame.scopes.values_mut() {
        let parts = std::mem::take(&mut scope.parts);
        for (part, columns) in parts {
            match part.kind() {
                Some(_) if filter.has_part(&part) => {
                    scope.parts.insert(part, columns);
                }
                Some(kind) if filter.kinds.contains(&kind) => {
                    for (slot, bytes) in columns.bytes.into_iter().enumerate() {
                        scope.add_unlisted(kind, slot, bytes);
                    }
                }
                _ => {}
            }
        }
    }
}
