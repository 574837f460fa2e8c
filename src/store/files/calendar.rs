// SPDX-License-Identifier: AGPL-3.0-only
//! UTC days and months of Unix times (pure), for the names of files.

pub const DAY: u64 = 86_400;
/// The end of the year 9999: later times are not stored.
pub const END_OF_TIME: u64 = 253_402_300_800;

/// Returns year, month and day of a number of days since 1970 (the proleptic Gregorian calendar).
pub fn date(days: u64) -> (u64, u64, u64) {
    // years begin in March, so that the leap day is their last one; eras have 400 years
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Returns the number of days since 1970 of a date from 1970 to 9999 that exists.
pub fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    (date(days) == (year, month, day)).then_some(days)
}

/// Returns the start of the UTC month that contains `time`.
pub fn month_start(time: u64) -> u64 {
    let (_, _, day) = date(time / DAY);
    (time / DAY + 1 - day) * DAY
}

/// Returns the end of the UTC month that contains `time`.
pub fn month_end(time: u64) -> u64 {
    month_start(month_start(time) + 31 * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(20_786), (2026, 11, 29));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(days(2026, 2, 29), None);
        assert_eq!(days(2028, 2, 29), Some(21_243));
        for day in 0..END_OF_TIME / DAY {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn months_are_next_to_each_other() {
        let mut start = 0;
        for _ in 0..12 * 100 {
            assert_eq!(month_start(start), start);
            let end = month_end(start);
            assert_eq!(month_end(end - 1), end);
            assert!((28..=31).contains(&((end - start) / DAY)));
            start = end;
        }
        assert_eq!(date(start / DAY), (2070, 1, 1));
    }
}
