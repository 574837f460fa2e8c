// SPDX-License-Identifier: AGPL-3.0-only
//! Answers questions from the files, and from the rows that are not yet on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::{Block, BlockKind, Blocks};
use super::folder::{self, FileId, FileList, MAX_FILE, Section};
use super::frame::{Frame, ScopeColumns, ScopeName};
use super::pending::Pending;
use super::series;
use super::shared::Shared;
use super::sources::Sources;
use super::types::{
    ConversationPeriod, Conversations, Curve, CurveFilter, CurvePoint, Curves, EventRows, Part,
    PartKind, Sample, SampleSource, Samples, Tier, TimeSpan,
};
use super::{conversations, events};
use crate::types::flow::{Direction, Family};

/// The number of points up to which a finer tier is chosen, if the question names none.
const AUTOMATIC_POINTS: u64 = 1500;
/// The maximum number of samples: 14 months.
const MAX_SAMPLES: u64 = 430 * 288;
/// The maximum number of points of a curve.
const MAX_POINTS: u64 = 20_000;
/// The maximum number of points of all curves of an answer: a bound for its memory.
const MAX_CELLS: usize = 1 << 20;
/// The maximum number of curves of an answer.
const MAX_ANSWER: usize = 1024;

/// Reads the history of a folder.
#[derive(Clone, Debug)]
pub struct HistoryReader {
    path: PathBuf,
    /// The state of the writer; `None` reads only files.
    shared: Option<Arc<Shared>>,
}

impl HistoryReader {
    /// Returns a reader of the history that the agent writes.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            path: shared.path.clone(),
            shared: Some(shared),
        }
    }

    /// Returns a reader of a folder that no agent writes.
    pub fn of_folder(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            shared: None,
        }
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
        let Some(mut frame) = target(span, tier, MAX_POINTS) else {
            return curves;
        };
        let max_curves = (MAX_CELLS / frame.slots.max(1)).clamp(16, MAX_ANSWER);
        let section = Section::of(tier);
        let answered = frame.span();
        let held = pending.as_deref();
        curves.damaged_blocks =
            self.each_block(section, answered, held, &mut |block, is_derived| {
                let step = if is_derived { tier } else { Tier::Minute }.seconds();
                match block.kind {
                    BlockKind::Series => {
                        series::decode_into(&mut frame, block.payload, block.span, step, filter)?;
                        if frame.curves() > max_curves {
                            frame.limit(max_curves / 2);
                        }
                        Some(())
                    }
                    _ => (!is_derived).then_some(()),
                }
            });
        if let Some(pending) = held {
            pending.add_to(&mut frame, filter);
        }
        drop(pending);
        for (name, scope) in &frame.scopes {
            put_curves(&mut curves.curves, &frame, (name, scope), filter);
        }
        curves
    }

    /// Returns the largest conversations of each minute of the last two days, and of each ten minutes
    /// before.
    pub fn conversations(&self, span: TimeSpan, filter: &CurveFilter) -> Conversations {
        let pending = self.shared.as_ref().map(|shared| shared.read());
        let mut periods = Vec::new();
        let mut take = |mut period: ConversationPeriod| {
            period
                .lists
                .retain(|list| filter.has_scope(&list.interface, list.direction));
            let end = period.time.saturating_add(period.seconds);
            if span.overlaps(TimeSpan::new(period.time, end)) && !period.lists.is_empty() {
                periods.push(period);
            }
        };
        // the log has each minute; a derived file serves the periods that it no longer has
        let logs = self.list(Section::Log);
        let logged = |time: u64| logs.keys().any(|id| id.period().contains(time));
        let held = pending.as_deref();
        let mut damaged = 0;
        for section in [Section::Conversations, Section::Log] {
            damaged += self.each_block(section, span, held, &mut |block, is_derived| {
                if block.kind != BlockKind::Conversations {
                    return (!is_derived).then_some(());
                }
                if (section == Section::Log) == is_derived {
                    return Some(());
                }
                let decoded = conversations::decode(block.payload)?;
                let wanted = |period: &ConversationPeriod| !is_derived || !logged(period.time);
                decoded.into_iter().filter(wanted).for_each(&mut take);
                Some(())
            });
        }
        for period in pending.iter().flat_map(|pending| &pending.conversations) {
            take(period.clone());
        }
        periods.sort_by_key(|period| period.time);
        Conversations {
            periods,
            damaged_blocks: damaged,
        }
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
        samples.damaged_blocks =
            self.each_block(Section::Bill, answered, held, &mut |block, is_derived| {
                if block.kind != kind {
                    return Some(());
                }
                let step = if is_derived { 300 } else { 60 };
                series::decode_into(&mut frame, block.payload, block.span, step, &filter)
            });
        match (held, kind) {
            (Some(pending), BlockKind::Series) => pending.add_to(&mut frame, &filter),
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
        self.each_block(Section::Bill, span, pending.as_deref(), &mut |block, _| {
            let source = match block.kind {
                BlockKind::Series => SampleSource::Interface,
                BlockKind::Prefixes => SampleSource::Prefix,
                _ => return Some(()),
            };
            if block.span.overlaps(span) {
                sources.extend(series::interfaces(block.payload)?.into_iter().map(source));
            }
            Some(())
        });
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

    pub fn events(&self, span: TimeSpan) -> EventRows {
        let pending = self.shared.as_ref().map(|shared| shared.read());
        let mut rows = EventRows::default();
        let held = pending.as_deref();
        let found = &mut rows.events;
        rows.damaged_blocks =
            self.each_block(Section::Events, span, held, &mut |block, is_derived| {
                if block.kind != BlockKind::Events {
                    return (!is_derived).then_some(());
                }
                let decoded = events::decode(block.payload)?;
                found.extend(
                    decoded
                        .into_iter()
                        .filter(|event| span.contains(event.time)),
                );
                Some(())
            });
        let memory = pending.iter().flat_map(|pending| &pending.events);
        found.extend(memory.filter(|event| span.contains(event.time)).cloned());
        found.sort_by_key(|event| event.time);
        rows
    }

    /// Returns the finest tier with few enough points that reaches back as far as any.
    fn tier_for(&self, span: TimeSpan) -> Tier {
        let few = |tier: &Tier| span.seconds() / tier.seconds() <= AUTOMATIC_POINTS;
        let oldest = |tier: Tier| {
            let files = self.list(Section::of(tier));
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

    fn list(&self, section: Section) -> FileList {
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
        section: Section,
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
                if block.kind == BlockKind::Sources {
                    sources = sources.or_else(|| Sources::read(&block));
                } else if !is_inside || each(&block, is_derived).is_none() {
                    damaged += 1;
                }
            }
            damaged += blocks.damaged;
            sources
        };
        let mut included = IncludedLogs::default();
        let mut unreadable = 0;
        let derived = match section {
            Section::Log => FileList::new(),
            _ => self.list(section),
        };
        for id in derived.into_keys().filter(|id| id.period().overlaps(span)) {
            let sources = match folder::read_file(&id.path(&self.path), MAX_FILE) {
                Ok(bytes) => read(&bytes, 0, id.period(), true),
                Err(_) => {
                    unreadable += 1;
                    None
                }
            };
            included.files.push((id.period(), sources));
        }
        for (id, length) in self.list(Section::Log) {
            let from = included.of(id);
            if from >= length || !id.period().overlaps(span) {
                continue;
            }
            match self.log(id, pending) {
                Some(bytes) => drop(read(&bytes, from, id.period(), false)),
                None => unreadable += 1,
            }
        }
        damaged += unreadable;
        self.count_damaged(damaged);
        damaged
    }

    /// Reads the synced part of a log file.
    fn log(&self, id: FileId, pending: Option<&Pending>) -> Option<Vec<u8>> {
        let synced = pending.and_then(|pending| pending.synced.get(&id));
        let limit = synced.copied().unwrap_or(MAX_FILE);
        folder::read_file(&id.path(&self.path), limit).ok()
    }
}

/// The log parts that the derived files of one tier include.
#[derive(Default)]
struct IncludedLogs {
    /// `None` if the sources of a file are damaged: it may include everything of its period.
    files: Vec<(TimeSpan, Option<Sources>)>,
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

fn put_curves(
    curves: &mut Vec<Curve>,
    frame: &Frame,
    (name, scope): (&ScopeName, &ScopeColumns),
    filter: &CurveFilter,
) {
    let mut put = |part: Part, points: Vec<CurvePoint>| {
        curves.push(Curve {
            interface: name.interface.clone(),
            direction: name.direction,
            part,
            points,
        });
    };
    let time = |slot: usize| frame.start + slot as u64 * frame.step;
    let point = |slot: usize, bytes: u64, packets: u64, max_rate: f32| CurvePoint {
        time: time(slot),
        covered_ms: u32::try_from(scope.covered_ms[slot]).unwrap_or(u32::MAX),
        bytes,
        packets,
        max_rate,
    };
    let observed: Vec<_> = (0..frame.slots)
        .filter(|slot| scope.covered_ms[*slot] > 0)
        .collect();
    for (family, total) in Family::ALL.into_iter().zip(&scope.totals) {
        let Some(total) = total else { continue };
        let slots = observed.iter().copied();
        let points = slots.map(|s| point(s, total.bytes[s], total.packets[s], total.max[s]));
        put(Part::Total(family), points.collect());
    }
    for (part, columns) in &scope.parts {
        let slots = (0..frame.slots).filter(|slot| columns.bytes[*slot] > 0);
        let points = slots.map(|slot| point(slot, columns.bytes[slot], 0, columns.max[slot]));
        put(part.clone(), points.collect());
    }
    for kind in PartKind::ALL {
        if filter.kinds.contains(&kind) {
            let rest = scope.rest(kind);
            let slots = observed.iter().copied();
            let points = slots.map(|slot| point(slot, rest[slot], 0, 0.0));
            put(Part::Rest(kind), points.collect());
        }
    }
}
