// SPDX-License-Identifier: AGPL-3.0-only
//! Parses a time range as people write it: `03:00-03:10`, `yesterday`, `2026-11-02T03:00/PT2H`, `-2h`. Pure.
//!
//! - [`zone`]: the time zone of the reader, from the time zone database of the system,
//! - `calendar`: days, weeks, months and clock times of a zone as moments,
//! - `words`: the lexical parts: dates, clock times, durations.
//!
//! Clock times that a zone skips or repeats: a range contains all moments at which the clock showed its times. It
//! therefore begins at the first of two moments and ends at the last; a skipped time is the moment of the change.

mod calendar;
#[cfg(test)]
mod tests;
mod words;
pub mod zone;

use jiff::civil::DateTime;

use calendar::Calendar;
use words::{ClockTime, Day};
pub use zone::Zone;

/// A range of times in Unix seconds, half open, with the zone in which it was written.
#[derive(Clone, Debug)]
pub struct TimeRange {
    pub from: u64,
    pub to: u64,
    pub zone: Zone,
}

/// A summary of what is accepted, for errors.
const EXPECTED: &str = "expected a range such as 1h, today, yesterday 03:00-03:10, 2026-11-02, \
                        2026-11-02T03:00/PT2H or 03:00-03:10 Europe/Berlin";

/// One side of a range, or a whole one.
#[derive(Clone, Copy, Debug)]
enum RangePart {
    /// A day, a week, a month or a year: its first moment and the first one after it.
    Period { from: i64, to: i64, day: Day },
    /// A moment, which has two values if the clock showed it twice.
    Moment { first: i64, last: i64, day: Day },
    /// A clock time without a day.
    Clock(ClockTime),
    /// A length of time, in seconds; `-2h` is a moment.
    Length(i64),
}

/// Parses a range. `now` is in Unix seconds; times are those of `zone` unless the text ends with another one. The
/// range ends at `now` if it would end later.
pub fn parse(text: &str, now: u64, zone: &Zone) -> Result<TimeRange, String> {
    let now = i64::try_from(now).map_err(|_| "the clock of this machine is wrong".to_owned())?;
    let (text, zone) = split_zone(text.trim(), zone)?;
    let calendar = Calendar::new(&zone, now)?;
    let (from, to) = range(text, &calendar, now)?;
    let shown = text.escape_debug();
    if to <= from {
        return Err(format!(
            "{shown}: the range is empty: it ends before it begins, or the clock skipped these times in {zone}"
        ));
    }
    if from >= now {
        return Err(format!("{shown}: the range is in the future ({zone})"));
    }
    match (u64::try_from(from), u64::try_from(to.min(now))) {
        (Ok(from), Ok(to)) => Ok(TimeRange { from, to, zone }),
        _ => Err(format!("{shown}: expected times from 1970 on")),
    }
}

/// Returns the text without the zone at its end, and that zone.
fn split_zone<'a>(text: &'a str, zone: &Zone) -> Result<(&'a str, Zone), String> {
    let ends_with_zone = text
        .strip_suffix(']')
        .and_then(|text| text.rsplit_once('['));
    if let Some((rest, name)) = ends_with_zone {
        return Ok((rest.trim_end(), Zone::named(name)?));
    }
    match text.rsplit_once(char::is_whitespace) {
        Some((rest, name)) if words::is_zone_like(name) => {
            Ok((rest.trim_end(), Zone::named(name)?))
        }
        _ => Ok((text, zone.clone())),
    }
}

fn range(text: &str, calendar: &Calendar<'_>, now: i64) -> Result<(i64, i64), String> {
    let unknown = |text: &str| format!("{}: {EXPECTED}", text.escape_debug());
    if let Some((left, right)) = text.split_once('/').or_else(|| text.split_once("..")) {
        let left = part(left.trim(), calendar, now).ok_or_else(|| unknown(text))?;
        let right = part(right.trim(), calendar, now).ok_or_else(|| unknown(text))?;
        return between(left, right, calendar).ok_or_else(|| unknown(text));
    }
    if let Some((day, from, to)) = words::clock_range(text) {
        let day = match day {
            "" => None,
            day => Some(calendar.day(day).ok_or_else(|| unknown(text))?),
        };
        let found = match day {
            Some(day) => calendar.clock_range(day, from, to),
            None => calendar.latest_clock_range(from, to, now),
        };
        return found.ok_or_else(|| unknown(text));
    }
    match part(text, calendar, now) {
        Some(RangePart::Period { from, to, .. }) => Ok((from, to)),
        Some(RangePart::Length(seconds)) => Ok((now - seconds, now)),
        // `-2h`: since then
        Some(RangePart::Moment { first, .. }) if text.starts_with('-') => Ok((first, now)),
        Some(RangePart::Moment { .. } | RangePart::Clock(_)) => Err(format!(
            "{0}: expected a range, got a moment; such as {0}/10m",
            text.escape_debug()
        )),
        None => Err(unknown(text)),
    }
}

/// Returns the range between two parts.
fn between(left: RangePart, right: RangePart, calendar: &Calendar<'_>) -> Option<(i64, i64)> {
    let end = |part| match part {
        // the end of a range is a whole day: 2026-11-01/2026-11-03 contains the third
        RangePart::Period { to, .. } => Some(to),
        RangePart::Moment { last, .. } => Some(last),
        RangePart::Clock(_) | RangePart::Length(_) => None,
    };
    let (from, day) = match (left, right) {
        (RangePart::Length(seconds), right) => return end(right).map(|to| (to - seconds, to)),
        (RangePart::Period { from, day, .. }, _) => (from, day),
        (RangePart::Moment { first, day, .. }, _) => (first, day),
        // the latest occurrence
        (RangePart::Clock(from), RangePart::Clock(to)) => {
            return calendar.latest_clock_range(from, to, calendar.now());
        }
        (RangePart::Clock(from), _) => {
            let (first, day) = calendar.latest_clock(from)?;
            (first, day)
        }
    };
    match right {
        RangePart::Length(seconds) => Some((from, from.checked_add(seconds)?)),
        RangePart::Clock(to) => {
            let same_day = calendar.last(day, to)?;
            match same_day > from {
                true => Some((from, same_day)),
                false => Some((from, calendar.last(day.tomorrow()?, to)?)),
            }
        }
        right => end(right).map(|to| (from, to)),
    }
}

/// Parses a moment, a period or a length.
fn part(text: &str, calendar: &Calendar<'_>, now: i64) -> Option<RangePart> {
    if text.eq_ignore_ascii_case("now") {
        let day = calendar.today();
        return Some(RangePart::Moment {
            first: now,
            last: now,
            day,
        });
    }
    if let Some(seconds) = text.strip_prefix('-').and_then(words::length) {
        let moment = now.checked_sub(seconds)?;
        let day = calendar.day_of(moment)?;
        return Some(RangePart::Moment {
            first: moment,
            last: moment,
            day,
        });
    }
    if let Some(seconds) = words::length(text) {
        return Some(RangePart::Length(seconds));
    }
    if let Some(seconds) = text.strip_prefix('@') {
        let moment = words::digits(seconds)?;
        let day = calendar.day_of(moment)?;
        return Some(RangePart::Moment {
            first: moment,
            last: moment,
            day,
        });
    }
    if let Some((from, to, day)) = calendar.period(text) {
        return Some(RangePart::Period { from, to, day });
    }
    if let Some(clock) = words::clock(text) {
        return Some(RangePart::Clock(clock));
    }
    let (day, clock) = words::split_day(text)?;
    let day = calendar.day(day)?;
    let (clock, offset) = words::clock_with_offset(clock)?;
    let Some(offset) = offset else {
        let (first, last) = (calendar.first(day, clock)?, calendar.last(day, clock)?);
        return Some(RangePart::Moment { first, last, day });
    };
    let local: DateTime = day.at(clock)?;
    let moment = offset.to_timestamp(local).ok()?.as_second();
    Some(RangePart::Moment {
        first: moment,
        last: moment,
        day: calendar.day_of(moment)?,
    })
}
