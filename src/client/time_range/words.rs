// SPDX-License-Identifier: AGPL-3.0-only
//! The lexical parts of a range: dates, clock times, lengths, and the words for days.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::Offset;

const DAY: i64 = 86_400;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day(pub Date);

/// The time of day in seconds; 24:00 is the end of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClockTime(pub i64);

impl Day {
    pub fn tomorrow(self) -> Option<Self> {
        self.0.tomorrow().ok().map(Self)
    }

    pub fn yesterday(self) -> Option<Self> {
        self.0.yesterday().ok().map(Self)
    }

    pub fn at(self, ClockTime(seconds): ClockTime) -> Option<DateTime> {
        let (day, seconds) = match seconds < DAY {
            true => (self, seconds),
            false => (self.tomorrow()?, seconds - DAY),
        };
        let part = |value: i64| i8::try_from(value).ok();
        let (hour, minute) = (part(seconds / 3600)?, part(seconds / 60 % 60)?);
        Some(day.0.at(hour, minute, part(seconds % 60)?, 0))
    }
}

pub(super) const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

const DAY_WORDS: [&str; 6] = ["today", "yesterday", "now", "week", "month", "year"];

/// Returns a weekday by its name or its first three letters.
pub(super) fn weekday(text: &str) -> Option<Weekday> {
    let text = text.to_ascii_lowercase();
    let named = |(name, _): &&(&str, Weekday)| text == *name || text == name[..3];
    WEEKDAYS.iter().find(named).map(|(_, day)| *day)
}

/// Returns whether the last word of a text can only be a time zone: it begins with a letter, and is no word for a day.
pub(super) fn is_zone_like(word: &str) -> bool {
    let is_time = |part: &str| {
        let known = |known: &&str| part.eq_ignore_ascii_case(known);
        !part.starts_with(|c: char| c.is_ascii_alphabetic())
            || DAY_WORDS.iter().any(known)
            || weekday(part).is_some()
            || length(part).is_some()
    };
    let first = word.split(['/', '.']).next().unwrap_or_default();
    !is_time(first)
}

/// Parses a number that consists only of digits.
pub(super) fn digits(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 12 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// Parses 03:00 or 03:00:30; 24:00 is the end of the day.
pub(super) fn clock(text: &str) -> Option<ClockTime> {
    let mut parts = text.split(':');
    let (hour, minute) = (parts.next()?, parts.next()?);
    let second = parts.next();
    let number = |text: &str, length| digits(text).filter(|_| text.len() <= length);
    let two = |text: &str| number(text, 2).filter(|n| text.len() == 2 && *n < 60);
    let second = match second {
        Some(second) => two(second)?,
        None => 0,
    };
    let seconds = number(hour, 2)? * 3600 + two(minute)? * 60 + second;
    (parts.next().is_none() && seconds <= DAY).then_some(ClockTime(seconds))
}

/// Parses `[DAY ]FROM-TO` of clock times; the day may be empty.
pub(super) fn clock_range(text: &str) -> Option<(&str, ClockTime, ClockTime)> {
    let (left, to) = text.rsplit_once('-')?;
    let (left, to) = (left.trim_end(), to.trim_start());
    let (day, from) = split_day(left).unwrap_or(("", left));
    // 2026-11-02T03:00:00-05:00 is a moment with its offset as in RFC 3339; 2026-11-02T03:00-05:00 is a range
    let is_offset = !day.is_empty() && from.len() > 5 && to.len() <= 5;
    match is_offset {
        true => None,
        false => Some((day, clock(from)?, clock(to)?)),
    }
}

/// Splits a day from the clock time behind it: at a space, or at the T of a date.
pub(super) fn split_day(text: &str) -> Option<(&str, &str)> {
    let at_space = text.rsplit_once(char::is_whitespace);
    let (day, clock) = at_space.or_else(|| {
        let at = text.find(['T', 't']).filter(|at| *at >= 8)?;
        Some((&text[..at], &text[at + 1..]))
    })?;
    let is_clock = clock.starts_with(|c: char| c.is_ascii_digit());
    is_clock.then_some((day.trim_end(), clock))
}

/// Parses a clock time with or without an offset: 03:00, 03:00Z, 03:00:00+01:00. A fraction of a second is dropped.
pub(super) fn clock_with_offset(text: &str) -> Option<(ClockTime, Option<Offset>)> {
    let (time, offset) = if let Some(time) = text.strip_suffix(['Z', 'z']) {
        (time, Some(Offset::UTC))
    } else if let Some((time, offset)) = text.split_once('+') {
        (time, Some(offset_of(offset, 1)?))
    } else if let Some((time, offset)) = text.split_once('-') {
        (time, Some(offset_of(offset, -1)?))
    } else {
        (text, None)
    };
    let time = match time.split_once('.') {
        Some((time, fraction)) if digits(fraction).is_some() => time,
        Some(_) => return None,
        None => time,
    };
    Some((clock(time)?, offset))
}

fn offset_of(text: &str, sign: i32) -> Option<Offset> {
    let ClockTime(seconds) = clock(text)?;
    Offset::from_seconds(sign * i32::try_from(seconds).ok()?).ok()
}

/// Parses a length as 2h30m or PT2H30M, in seconds: of fixed units, the largest of them a week.
pub(super) fn length(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let mut total = 0i64;
    let mut add = |text: &str, units: &[(char, i64)]| {
        let mut rest = text;
        let mut units = units.iter();
        while !rest.is_empty() {
            let at = rest.find(|c: char| !c.is_ascii_digit())?;
            let number = digits(&rest[..at])?;
            let unit = rest[at..].chars().next()?;
            // each unit once, the largest first
            let (_, seconds) = units.find(|(name, _)| *name == unit)?;
            total = total.checked_add(number.checked_mul(*seconds)?)?;
            rest = &rest[at + unit.len_utf8()..];
        }
        Some(())
    };
    const WEEKS: (char, i64) = ('W', 7 * DAY);
    const DAYS: (char, i64) = ('D', DAY);
    const TIMES: [(char, i64); 3] = [('H', 3600), ('M', 60), ('S', 1)];
    match upper.strip_prefix('P') {
        Some(iso) => {
            let (days, times) = iso.split_once('T').unwrap_or((iso, ""));
            add(days, &[WEEKS, DAYS])?;
            add(times, &TIMES)?;
        }
        None => add(&upper, &[[WEEKS, DAYS].as_slice(), &TIMES].concat())?,
    }
    (total > 0).then_some(total)
}

/// Parses 2026-11-02.
pub(super) fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let lengths = (year.len(), month.len(), day.len()) == (4, 2, 2) && parts.next().is_none();
    lengths.then(|| date_of(year, month, day))?
}

/// Parses 2026-11 or 2026: returns the first day of the period, and the first one after it.
pub(super) fn month_or_year(text: &str) -> Option<(Date, Date)> {
    if let Some((year, month)) = text.split_once('-') {
        let first = (year.len() == 4 && month.len() == 2).then(|| date_of(year, month, "01"))??;
        return Some((first, first.last_of_month().tomorrow().ok()?));
    }
    let first = (text.len() == 4).then(|| date_of(text, "01", "01"))??;
    Some((first, first.last_of_year().tomorrow().ok()?))
}

fn date_of(year: &str, month: &str, day: &str) -> Option<Date> {
    let year = i16::try_from(digits(year)?).ok()?;
    let part = |text| i8::try_from(digits(text)?).ok();
    Date::new(year, part(month)?, part(day)?).ok()
}
