// SPDX-License-Identifier: AGPL-3.0-only
//! Answers questions from the files, and from the rows that are not yet on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::answer::CurveAnswer;
use super::files::derive::LIST_SECONDS;
use super::files::folder::{self, FileId, FileList, FileSection, MAX_FILE};
use super::files::sources::LogSources;
use super::format::block::{Block, BlockKind, Blocks};
use super::format::frame::{Frame, ScopeName};
use super::format::{conversations, events, series};
use super::pending::Pending;
use super::shared::SharedHistory;
use super::types::{
    ConversationPeriod, Conversations, CurveFilter, Curves, EventRow, EventRows, Sample,
    SampleSource, Samples, Tier, TimeSpan,
};
use crate::sys::threads::Heartbeat;
use crate::types::flow::Direction;

/// The number of points up to which a finer tier is chosen, if the question names none.
const AUTOMATIC_POINTS: u64 = 1500;
/// The maximum number of samples: 14 months.
const MAX_SAMPLES: u64 = 430 * 288;
/// The maximum number of points of a curve.
const MAX_POINTS: u64 = 20_000;
/// The number of points of a curve that are read together: a bound for the memory. One file may have
/// more.
const POINTS_TOGETHER: u64 = 256;

/// Reads the history of a folder.
#[derive(Clone, Debug)]
pub struct HistoryReader {
    path: PathBuf,
    /// The state of the writer; `None` reads only files.
    shared: Option<Arc<SharedHistory>>,
    /// Of the thread that reads.
    heartbeat: Option<Heartbeat>,
}

impl HistoryReader {
    /// Returns a reader of the history that the agent writes.
    pub fn new(shared: Arc<SharedHistory>) -> Self {
        Self {
            path: shared.path.clone(),
            shared: Some(shared),
            heartbeat: None,
        }
    }

    /// Returns a reader of a folder that no agent writes.
    pub fn of_folder(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            shared: None,
            heartbeat: None,
        }
    }

    /// Returns the reader for a thread: it beats with each file.
    pub fn with_heartbeat(mut self, heartbeat: &Heartbeat) -> Self {
        self.heartbeat = Some(heartbeat.clone());
        self
    }

    /// Returns the selected curves. Without a tier, returns the finest one that has at most 1,500
    /// points and all stored data of the span.
    pub fn curves(&self, span: TimeSpan, tier: Option<Tier>, filter: &CurveFilter) -> Curves {
        let pending = self.shared.as_ref().map(|shared| shared.read());
        let tier = tier.unwrap_or_else(|| self.tier_for(span));
        let mut curves = Curves {
            tier,
            curves: Vec::new(),
            damaged_blocks: 0,
        };
        let Some(target) = target(span, tier, MAX_POINTS).map(|frame| frame.span()) else {
            return curves;
        };
        let files = self.files(FileSection::of(tier));
        let held = pending.as_deref();
        let in_memory = held.map_or_else(Vec::new, |pending| pending.selected(filter));
        let mut answer = CurveAnswer::default();
        for period in together(files.periods(&in_memory, target), tier) {
            let from = period.from.max(target.from);
            let slots = period.to.min(target.to).saturating_sub(from) / tier.seconds();
            let mut frame = Frame::new(from, tier.seconds(), slots as usize);
            curves.damaged_blocks +=
                self.each_block(&files, frame.span(), held, &mut |block, is_derived| {
                    if block.kind != BlockKind::Series {
                        return (!is_derived).then_some(());
                    }
                    let step = if is_derived { tier } else { Tier::Minute }.seconds();
                    series::decode_into(&mut frame, block.payload, block.span, step, filter)
                });
            in_memory.iter().for_each(|pending| frame.merge(pending));
            answer.add(&frame, filter);
        }
        drop(pending);
        curves.curves = answer.finish();
        curves
    }

    /// Returns the largest conversations of each minute of the last two days, and of each ten minutes
    /// before. For long spans, [`Self::each_conversation_period`] takes less memory.
    pub fn conversations(&self, span: TimeSpan, filter: &CurveFilter) -> Conversations {
        let mut periods = Vec::new();
        let damaged_blocks =
            self.each_conversation_period(span, filter, &mut |period| periods.push(period));
        periods.sort_by_key(|period| period.time);
        Conversations {
            periods,
            damaged_blocks,
        }
    }

    /// Calls `each` with the same periods one by one, in order of time unless the clock was set back, and
    /// holds only those of a block in memory. Returns the number of damaged blocks.
    pub fn each_conversation_period(
        &self,
        span: TimeSpan,
        filter: &CurveFilter,
        each: &mut dyn FnMut(ConversationPeriod),
    ) -> u64 {
        if span.from >= span.to {
            return 0;
        }
        let pending = self.shared.as_ref().map(|shared| shared.read());
        let mut take = |mut period: ConversationPeriod| {
            period
                .lists
                .retain(|list| filter.has_scope(&list.interface, list.direction));
            let end = period.time.saturating_add(period.seconds);
            if span.overlaps(TimeSpan::new(period.time, end)) && !period.lists.is_empty() {
                each(period);
            }
        };
        // the log has each minute; a derived file serves the periods that it no longer has
        let logs = self.list(FileSection::Log);
        let logged = |time: u64| logs.keys().any(|id| id.period().contains(time));
        let held = pending.as_deref();
        let mut damaged = 0;
        for section in [FileSection::Conversations, FileSection::Log] {
            damaged += self.each_block(
                &self.files(section),
                span,
                held,
                &mut |block, is_derived| {
                    if block.kind != BlockKind::Conversations {
                        return (!is_derived).then_some(());
                    }
                    let is_other = (section == FileSection::Log) == is_derived;
                    if is_other || !block.span.overlaps(span) {
                        return Some(());
                    }
                    let mut times = (block.span.from..block.span.to).step_by(LIST_SECONDS as usize);
                    if is_derived && times.all(logged) {
                        return Some(());
                    }
                    let selects = |name: &str, direction| filter.has_scope(name, direction);
                    let decoded = conversations::decode_selected(block.payload, &selects)?;
                    let wanted = |period: &ConversationPeriod| !is_derived || !logged(period.time);
                    decoded.into_iter().filter(wanted).for_each(&mut take);
                    Some(())
                },
            );
        }
        for period in pending.iter().flat_map(|pending| &pending.conversations) {
            take(period.clone());
        }
        damaged
    }

    /// Returns the exact counts of each five minutes with data.
    pub fn samples(&self, span: TimeSpan, source: &SampleSource) -> Samples {
        let pending = self.shared.as_ref().map(|shared| shared.read());
        let (kind, name) = match source {
            SampleSource::Interface(name) => (BlockKind::Series, name),
            SampleSource::Prefix(name) => (BlockKind::Prefixes, name),
        };
        let filter = CurveFilter {
            interfaces: vec![name.clone()],
            ..CurveFilter::default()
        };
        let mut samples = Samples::default();
        let Some(mut frame) = target(span, Tier::FiveMinutes, MAX_SAMPLES) else {
            return samples;
        };
        let (answered, held) = (frame.span(), pending.as_deref());
        samples.damaged_blocks = self.each_block(
            &self.files(FileSection::Bill),
            answered,
            held,
            &mut |block, is_derived| {
                if block.kind != kind {
                    return Some(());
                }
                let step = if is_derived { 300 } else { 60 };
                series::decode_into(&mut frame, block.payload, block.span, step, &filter)
            },
        );
        match (held, kind) {
            (Some(pending), BlockKind::Series) => {
                let frames = pending.selected(&filter);
                frames.iter().for_each(|pending| frame.merge(pending));
            }
            (Some(pending), _) => {
                let frames = pending.prefix_frames(&|_| true);
                frames.iter().for_each(|prefixes| frame.merge(prefixes));
            }
            (None, _) => {}
        }
        samples.samples = sum_samples(&frame, name);
        samples
    }

    /// Returns the interfaces and prefixes with exact counts in the span, each once.
    pub fn sources(&self, span: TimeSpan) -> Vec<SampleSource> {
        let pending = self.shared.as_ref().map(|shared| shared.read());
        let mut sources = BTreeSet::new();
        self.each_block(
            &self.files(FileSection::Bill),
            span,
            pending.as_deref(),
            &mut |block, _| {
                let source = match block.kind {
                    BlockKind::Series => SampleSource::Interface,
                    BlockKind::Prefixes => SampleSource::Prefix,
                    _ => return Some(()),
                };
                if block.span.overlaps(span) {
                    sources.extend(series::interfaces(block.payload)?.into_iter().map(source));
                }
                Some(())
            },
        );
        let mut add = |frames: &BTreeMap<u64, Frame>, source: fn(Arc<str>) -> SampleSource| {
            let frames = frames.values().filter(|frame| frame.span().overlaps(span));
            let names = frames.flat_map(|frame| frame.scopes.keys());
            sources.extend(names.map(|name| source(name.interface.clone())));
        };
        if let Some(pending) = &pending {
            add(&pending.minutes, SampleSource::Interface);
            add(&pending.prefixes, SampleSource::Prefix);
        }
        sources.into_iter().collect()
    }

    /// Returns the last `max` events of a span.
    pub fn events(&self, span: TimeSpan, max: usize) -> EventRows {
        let pending = self.shared.as_ref().map(|shared| shared.read());
        let held = pending.as_deref();
        let mut last = LastEvents {
            events: Vec::new(),
            span,
            max,
        };
        let damaged_blocks = self.each_block(
            &self.files(FileSection::Events),
            span,
            held,
            &mut |block, is_derived| {
                if block.kind != BlockKind::Events {
                    return (!is_derived).then_some(());
                }
                events::decode(block.payload).map(|decoded| last.add(decoded))
            },
        );
        last.add(pending.iter().flat_map(|pending| pending.events.clone()));
        last.shorten();
        EventRows {
            events: last.events,
            damaged_blocks,
        }
    }

    /// Returns the finest tier with few enough points that reaches back as far as any.
    fn tier_for(&self, span: TimeSpan) -> Tier {
        let few = |tier: &Tier| span.seconds() / tier.seconds() <= AUTOMATIC_POINTS;
        let oldest = |tier: Tier| {
            let files = self.list(FileSection::of(tier));
            files.first_key_value().map_or(u64::MAX, |(id, _)| id.start)
        };
        let tiers: Vec<_> = Tier::ALL.into_iter().filter(few).collect();
        let mut best = Tier::Day;
        let mut best_reach = u64::MAX;
        for tier in tiers.into_iter().rev() {
            let reach = oldest(tier).max(span.from);
            if reach <= best_reach {
                (best, best_reach) = (tier, reach);
            }
        }
        best
    }

    fn files(&self, section: FileSection) -> Files {
        Files {
            section,
            derived: match section {
                FileSection::Log => FileList::new(),
                _ => self.list(section),
            },
            logs: self.list(FileSection::Log),
        }
    }

    fn list(&self, section: FileSection) -> FileList {
        folder::list(&self.path, section).unwrap_or_default()
    }

    fn count_damaged(&self, blocks: u64) {
        if let Some(shared) = &self.shared
            && blocks > 0
        {
            shared.counters.add_damaged(blocks);
        }
    }

    /// Calls `each` with the blocks of a derived section that may have rows of `span`, and then with
    /// those of the log that no derived file includes; `true` marks derived ones. Returns the number
    /// of damaged blocks.
    fn each_block(
        &self,
        files: &Files,
        span: TimeSpan,
        pending: Option<&Pending>,
        each: &mut dyn FnMut(&Block, bool) -> Option<()>,
    ) -> u64 {
        let mut damaged = 0;
        let mut read = |bytes: &[u8], from: u64, period: TimeSpan, is_derived: bool| {
            let mut sources = None;
            let mut blocks = Blocks::after(bytes, from);
            for block in &mut blocks {
                let is_inside = period.from <= block.span.from && block.span.to <= period.to;
                if block.kind == BlockKind::LogSources {
                    sources = sources.or_else(|| LogSources::read(&block));
                } else if !is_inside || each(&block, is_derived).is_none() {
                    damaged += 1;
                }
            }
            damaged += blocks.damaged;
            sources
        };
        let mut included = IncludedLogs::default();
        let mut unreadable = 0;
        for id in files.derived.keys().filter(|id| id.period().overlaps(span)) {
            self.beat();
            let sources = match folder::read_file(&id.path(&self.path), MAX_FILE) {
                Ok(bytes) => read(&bytes, 0, id.period(), true),
                Err(_) => {
                    unreadable += 1;
                    None
                }
            };
            included.files.push((id.period(), sources));
        }
        for (&id, &length) in &files.logs {
            let from = included.of(id);
            if from >= length || !id.period().overlaps(span) {
                continue;
            }
            self.beat();
            match self.log(id, pending) {
                Some(bytes) => drop(read(&bytes, from, id.period(), false)),
                None => unreadable += 1,
            }
        }
        damaged += unreadable;
        self.count_damaged(damaged);
        damaged
    }

    fn beat(&self) {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.beat();
        }
    }

    /// Reads the synced part of a log file.
    fn log(&self, id: FileId, pending: Option<&Pending>) -> Option<Vec<u8>> {
        let synced = pending.and_then(|pending| pending.synced.get(&id));
        let limit = synced.copied().unwrap_or(MAX_FILE);
        folder::read_file(&id.path(&self.path), limit).ok()
    }
}

/// The last events of a span while blocks are read.
struct LastEvents {
    /// At most twice `max`, and the events of a block.
    events: Vec<EventRow>,
    span: TimeSpan,
    max: usize,
}

impl LastEvents {
    fn add(&mut self, events: impl IntoIterator<Item = EventRow>) {
        let events = events.into_iter();
        let span = self.span;
        self.events
            .extend(events.filter(|event| span.contains(event.time)));
        if self.events.len() > 2 * self.max {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        self.events.sort_by_key(|event| event.time);
        let excess = self.events.len().saturating_sub(self.max);
        self.events.drain(..excess);
    }
}

/// The files that may have rows of an answer.
struct Files {
    section: FileSection,
    /// Empty for points of a minute, which only the log has.
    derived: FileList,
    logs: FileList,
}

impl Files {
    /// Returns the periods of the section that may have rows in `target`, in order.
    fn periods(&self, in_memory: &[Frame], target: TimeSpan) -> Vec<TimeSpan> {
        let files = self
            .derived
            .keys()
            .chain(self.logs.keys())
            .map(|id| id.start);
        let starts = files.chain(in_memory.iter().map(|frame| frame.start));
        let starts: BTreeSet<u64> = starts
            .map(|start| self.section.period(start).from)
            .collect();
        let periods = starts.into_iter().map(|start| self.section.period(start));
        periods.filter(|period| period.overlaps(target)).collect()
    }
}

/// The log parts that the derived files of one tier include.
#[derive(Default)]
struct IncludedLogs {
    /// `None` if the sources of a file are damaged: it may include everything of its period.
    files: Vec<(TimeSpan, Option<LogSources>)>,
}

impl IncludedLogs {
    fn of(&self, id: FileId) -> u64 {
        let file = self
            .files
            .iter()
            .find(|(period, _)| period.contains(id.start));
        match file {
            Some((_, Some(sources))) => sources.included(id),
            Some((_, None)) => u64::MAX,
            None => 0,
        }
    }
}

/// Joins the periods of short files, so that each curve is looked up once for several files.
fn together(periods: Vec<TimeSpan>, tier: Tier) -> Vec<TimeSpan> {
    let mut joined: Vec<TimeSpan> = Vec::new();
    for period in periods {
        match joined.last_mut() {
            Some(last) if period.to - last.from <= POINTS_TOGETHER * tier.seconds() => {
                last.to = period.to;
            }
            _ => joined.push(period),
        }
    }
    joined
}

/// Returns the frame of an answer; `None` if the span is empty or out of range.
fn target(span: TimeSpan, tier: Tier, max_points: u64) -> Option<Frame> {
    let step = tier.seconds();
    let start = span.from - span.from % step;
    let slots = span.to.checked_sub(start)?.div_ceil(step);
    (span.from < span.to).then(|| Frame::new(start, step, slots.min(max_points) as usize))
}

/// Returns the sums of all families for each five minutes with data.
fn sum_samples(frame: &Frame, name: &Arc<str>) -> Vec<Sample> {
    let mut samples = Vec::new();
    let scopes = Direction::ALL.map(|direction| {
        let interface = name.clone();
        frame.scopes.get(&ScopeName {
            interface,
            direction,
        })
    });
    for slot in 0..frame.slots {
        let mut sample = Sample {
            time: frame.start + slot as u64 * frame.step,
            ..Sample::default()
        };
        for (direction, scope) in Direction::ALL.into_iter().zip(&scopes) {
            let Some(scope) = scope else { continue };
            let covered = u32::try_from(scope.covered_ms[slot]).unwrap_or(u32::MAX);
            sample.covered_ms = sample.covered_ms.max(covered);
            sample.bytes[direction as usize] = scope.bytes_at(slot);
            let packets = scope
                .totals
                .iter()
                .flatten()
                .map(|total| total.packets[slot]);
            sample.packets[direction as usize] = packets.fold(0, u64::saturating_add);
        }
        if sample.covered_ms > 0 {
            samples.push(sample);
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_stay_and_memory_is_bounded() {
        let mut last = LastEvents {
            events: Vec::new(),
            span: TimeSpan::new(100, 1000),
            max: 3,
        };
        // blocks are not in order after the clock was set back
        for block in [500, 0, 900, 300] {
            last.add((0..200).map(|n| EventRow {
                time: block + n,
                kind: "reload".to_owned(),
                text: String::new(),
            }));
            assert!(last.events.len() <= 6);
        }
        last.shorten();
        let times: Vec<_> = last.events.iter().map(|event| event.time).collect();
        assert_eq!(times, [997, 998, 999]);
    }
}
