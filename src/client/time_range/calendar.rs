// SPDX-License-Identifier: AGPL-3.0-only
//! Days, weeks, months and clock times of a zone, as moments in Unix seconds.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::AmbiguousOffset;

use super::words::{self, ClockTime, Day};
use super::zone::Zone;

/// The calendar of a zone at one moment.
pub(super) struct Calendar<'a> {
    zone: &'a Zone,
    now: i64,
    today: Date,
}

impl<'a> Calendar<'a> {
    pub fn new(zone: &'a Zone, now: i64) -> Result<Self, String> {
        let moment = Timestamp::from_second(now).map_err(|error| error.to_string())?;
        let today = zone.rules.to_datetime(moment).date();
        Ok(Self { zone, now, today })
    }

    pub fn now(&self) -> i64 {
        self.now
    }

    pub fn today(&self) -> Day {
        Day(self.today)
    }

    pub fn day_of(&self, moment: i64) -> Option<Day> {
        let moment = Timestamp::from_second(moment).ok()?;
        Some(Day(self.zone.rules.to_datetime(moment).date()))
    }

    /// Parses a day: a date, today, yesterday, or a weekday, which is the last one before today.
    pub fn day(&self, text: &str) -> Option<Day> {
        if let Some(date) = words::date(text) {
            return Some(Day(date));
        }
        if text.eq_ignore_ascii_case("today") {
            return Some(self.today());
        }
        if text.eq_ignore_ascii_case("yesterday") {
            return self.today().yesterday();
        }
        let name = match text.split_once(char::is_whitespace) {
            Some((last, name)) if last.eq_ignore_ascii_case("last") => name.trim_start(),
            _ => text,
        };
        let weekday = words::weekday(name)?;
        let mut day = self.today.yesterday().ok()?;
        while day.weekday() != weekday {
            day = day.yesterday().ok()?;
        }
        Some(Day(day))
    }

    /// Parses a period: a day, this or last week, month or year, 2026-11 or 2026. Returns its first moment, the first
    /// one after it, and its first day.
    pub fn period(&self, text: &str) -> Option<(i64, i64, Day)> {
        let (from, to) = match self.day(text) {
            Some(day) => (day.0, day.0.tomorrow().ok()?),
            None => words::month_or_year(text).or_else(|| self.named_period(text))?,
        };
        Some((self.start(from)?, self.start(to)?, Day(from)))
    }

    fn named_period(&self, text: &str) -> Option<(Date, Date)> {
        let (which, unit) = text.split_once(char::is_whitespace)?;
        let is_last = match which {
            word if word.eq_ignore_ascii_case("this") => false,
            word if word.eq_ignore_ascii_case("last") => true,
            _ => return None,
        };
        // each unit: its first day, from any day of it
        type First = fn(Date) -> Option<Date>;
        const UNITS: [(&str, First); 3] = [
            ("week", first_of_week),
            ("month", |day| Some(day.first_of_month())),
            ("year", |day| Some(day.first_of_year())),
        ];
        let unit = unit.trim_start();
        let (name, first) = UNITS
            .iter()
            .find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
        let this = first(self.today)?;
        if is_last {
            return Some((first(this.yesterday().ok()?)?, this));
        }
        let next = match *name {
            "week" => (0..7).try_fold(this, |day, _| day.tomorrow().ok())?,
            "month" => this.last_of_month().tomorrow().ok()?,
            _ => this.last_of_year().tomorrow().ok()?,
        };
        Some((this, next))
    }

    /// Returns the first moment of a day.
    fn start(&self, day: Date) -> Option<i64> {
        self.first(Day(day), ClockTime(0))
    }

    /// Returns the first moment at which the clock showed a time.
    pub fn first(&self, day: Day, clock: ClockTime) -> Option<i64> {
        self.moment(day.at(clock)?, true)
    }

    /// Returns the last moment at which the clock showed a time.
    pub fn last(&self, day: Day, clock: ClockTime) -> Option<i64> {
        self.moment(day.at(clock)?, false)
    }

    fn moment(&self, local: DateTime, first: bool) -> Option<i64> {
        let found = self.zone.rules.to_ambiguous_timestamp(local);
        let moment = match (found.offset(), first) {
            // skipped: the moment of the change, the first one after what the clock would have shown
            (AmbiguousOffset::Gap { after, .. }, _) => {
                let before = after.to_timestamp(local).ok()?;
                self.zone.rules.following(before).next()?.timestamp()
            }
            (_, true) => found.earlier().ok()?,
            (_, false) => found.later().ok()?,
        };
        Some(moment.as_second())
    }

    /// Returns the range between two clock times of a day; it ends on the next day if the second is not later.
    pub fn clock_range(&self, day: Day, from: ClockTime, to: ClockTime) -> Option<(i64, i64)> {
        let end = match to > from {
            true => day,
            false => day.tomorrow()?,
        };
        Some((self.first(day, from)?, self.last(end, to)?))
    }

    /// Returns the latest range between two clock times that has begun.
    pub fn latest_clock_range(
        &self,
        from: ClockTime,
        to: ClockTime,
        now: i64,
    ) -> Option<(i64, i64)> {
        let today = self.clock_range(self.today(), from, to)?;
        match today.0 < now {
            true => Some(today),
            false => self.clock_range(self.today().yesterday()?, from, to),
        }
    }

    /// Returns the latest moment before now at which the clock showed a time, and its day.
    pub fn latest_clock(&self, clock: ClockTime) -> Option<(i64, Day)> {
        let days = [Some(self.today()), self.today().yesterday()];
        let mut moments = days
            .into_iter()
            .flatten()
            .filter_map(|day| Some((self.first(day, clock)?, day)));
        moments.find(|(moment, _)| *moment < self.now)
    }
}

/// Returns the Monday of a week.
fn first_of_week(mut day: Date) -> Option<Date> {
    while day.weekday() != Weekday::Monday {
        day = day.yesterday().ok()?;
    }
    Some(day)
}
