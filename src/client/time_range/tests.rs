// SPDX-License-Identifier: AGPL-3.0-only
//! Tests of time ranges. They read the time zone database of the system.

use proptest::prelude::*;

use super::*;

/// Sunday, 29 November 2026, 12:34:56 UTC
const NOW: u64 = 1_795_955_696;

fn zone(name: &str) -> Zone {
    Zone::named(name).unwrap()
}

/// Returns the range as its two ends in its zone.
fn shown(text: &str, zone_name: &str, now: u64) -> String {
    match parse(text, now, &zone(zone_name)) {
        Ok(range) => {
            let ends = [range.from, range.to].map(|end| range.zone.rfc3339(end));
            format!("{} {} {}", ends[0], ends[1], range.zone)
        }
        Err(error) => error,
    }
}

#[test]
fn ranges_are_read_as_people_write_them() {
    for (text, expected) in [
        ("1h", "2026-11-29T11:34:56Z 2026-11-29T12:34:56Z"),
        ("-2h", "2026-11-29T10:34:56Z 2026-11-29T12:34:56Z"),
        ("2h30m", "2026-11-29T10:04:56Z 2026-11-29T12:34:56Z"),
        ("7d", "2026-11-22T12:34:56Z 2026-11-29T12:34:56Z"),
        ("PT90M", "2026-11-29T11:04:56Z 2026-11-29T12:34:56Z"),
        ("P1DT1S", "2026-11-28T12:34:55Z 2026-11-29T12:34:56Z"),
        ("-2h/-1h", "2026-11-29T10:34:56Z 2026-11-29T11:34:56Z"),
        ("-2h/30m", "2026-11-29T10:34:56Z 2026-11-29T11:04:56Z"),
        ("today", "2026-11-29T00:00:00Z 2026-11-29T12:34:56Z"),
        ("Yesterday", "2026-11-28T00:00:00Z 2026-11-29T00:00:00Z"),
        (
            "yesterday/today",
            "2026-11-28T00:00:00Z 2026-11-29T12:34:56Z",
        ),
        ("last tuesday", "2026-11-24T00:00:00Z 2026-11-25T00:00:00Z"),
        ("tue", "2026-11-24T00:00:00Z 2026-11-25T00:00:00Z"),
        // today is a Sunday: the one before
        ("last  Sunday", "2026-11-22T00:00:00Z 2026-11-23T00:00:00Z"),
        ("this week", "2026-11-23T00:00:00Z 2026-11-29T12:34:56Z"),
        ("last week", "2026-11-16T00:00:00Z 2026-11-23T00:00:00Z"),
        ("this month", "2026-11-01T00:00:00Z 2026-11-29T12:34:56Z"),
        ("last month", "2026-10-01T00:00:00Z 2026-11-01T00:00:00Z"),
        ("last year", "2025-01-01T00:00:00Z 2026-01-01T00:00:00Z"),
        ("2026-11-02", "2026-11-02T00:00:00Z 2026-11-03T00:00:00Z"),
        ("2026-02", "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z"),
        ("2025", "2025-01-01T00:00:00Z 2026-01-01T00:00:00Z"),
        (
            "2026-11-01/2026-11-03",
            "2026-11-01T00:00:00Z 2026-11-04T00:00:00Z",
        ),
        (
            "2026-11-01..2026-11-03",
            "2026-11-01T00:00:00Z 2026-11-04T00:00:00Z",
        ),
        (
            "2026-11-02/P1W",
            "2026-11-02T00:00:00Z 2026-11-09T00:00:00Z",
        ),
        (
            "PT2H/2026-11-02T03:00",
            "2026-11-02T01:00:00Z 2026-11-02T03:00:00Z",
        ),
        ("03:00-03:10", "2026-11-29T03:00:00Z 2026-11-29T03:10:00Z"),
        ("3:00 - 3:10", "2026-11-29T03:00:00Z 2026-11-29T03:10:00Z"),
        // not yet today
        ("15:00-15:10", "2026-11-28T15:00:00Z 2026-11-28T15:10:00Z"),
        ("12:00-13:00", "2026-11-29T12:00:00Z 2026-11-29T12:34:56Z"),
        ("23:50-00:10", "2026-11-28T23:50:00Z 2026-11-29T00:10:00Z"),
        ("22:00-24:00", "2026-11-28T22:00:00Z 2026-11-29T00:00:00Z"),
        (
            "03:00:30-03:00:40",
            "2026-11-29T03:00:30Z 2026-11-29T03:00:40Z",
        ),
        ("03:00/10m", "2026-11-29T03:00:00Z 2026-11-29T03:10:00Z"),
        ("03:00/04:00", "2026-11-29T03:00:00Z 2026-11-29T04:00:00Z"),
        ("15:00/now", "2026-11-28T15:00:00Z 2026-11-29T12:34:56Z"),
        (
            "last tuesday 03:00-03:10",
            "2026-11-24T03:00:00Z 2026-11-24T03:10:00Z",
        ),
        (
            "yesterday 23:00-01:00",
            "2026-11-28T23:00:00Z 2026-11-29T01:00:00Z",
        ),
        (
            "2026-11-02 03:00-03:10",
            "2026-11-02T03:00:00Z 2026-11-02T03:10:00Z",
        ),
        (
            "2026-11-02T03:00/PT2H",
            "2026-11-02T03:00:00Z 2026-11-02T05:00:00Z",
        ),
        (
            "2026-11-02T03:00-04:00",
            "2026-11-02T03:00:00Z 2026-11-02T04:00:00Z",
        ),
        (
            "2026-11-02T03:00/04:00",
            "2026-11-02T03:00:00Z 2026-11-02T04:00:00Z",
        ),
        (
            "2026-11-02T23:00/01:00",
            "2026-11-02T23:00:00Z 2026-11-03T01:00:00Z",
        ),
        (
            "2026-11-02T03:00Z/2026-11-02T06:00+02:00",
            "2026-11-02T03:00:00Z 2026-11-02T04:00:00Z",
        ),
        // as in RFC 3339
        (
            "2026-11-02T03:00:00-05:00/1h",
            "2026-11-02T08:00:00Z 2026-11-02T09:00:00Z",
        ),
        (
            "2026-11-02T03:00:00.123+05:30/1h",
            "2026-11-01T21:30:00Z 2026-11-01T22:30:00Z",
        ),
        (
            "@1795000000/@1795000060",
            "2026-11-18T11:06:40Z 2026-11-18T11:07:40Z",
        ),
    ] {
        assert_eq!(shown(text, "UTC", NOW), format!("{expected} UTC"), "{text}");
    }
}

#[test]
fn times_are_those_of_the_zone_and_the_zone_can_be_given() {
    for (text, zone, expected) in [
        (
            "03:00-03:10",
            "Europe/Berlin",
            "2026-11-29T03:00:00+01:00 2026-11-29T03:10:00+01:00 Europe/Berlin",
        ),
        (
            "03:00-03:10 UTC",
            "Europe/Berlin",
            "2026-11-29T03:00:00Z 2026-11-29T03:10:00Z UTC",
        ),
        (
            "03:00-03:10 America/New_York",
            "UTC",
            "2026-11-29T03:00:00-05:00 2026-11-29T03:10:00-05:00 America/New_York",
        ),
        (
            "yesterday[asia/kolkata]",
            "UTC",
            "2026-11-28T00:00:00+05:30 2026-11-29T00:00:00+05:30 Asia/Kolkata",
        ),
        (
            "2026-10-24/2026-10-25",
            "Europe/Berlin",
            "2026-10-24T00:00:00+02:00 2026-10-26T00:00:00+01:00 Europe/Berlin",
        ),
    ] {
        assert_eq!(shown(text, zone, NOW), expected, "{text}");
    }
}

#[test]
fn skipped_and_repeated_times_are_all_moments_that_the_clock_showed() {
    for (text, zone, expected) in [
        // 02:00 to 03:00 is skipped
        (
            "2026-03-29 01:30-03:30",
            "Europe/Berlin",
            "2026-03-29T01:30:00+01:00 2026-03-29T03:30:00+02:00",
        ),
        (
            "2026-03-29 02:30-03:30",
            "Europe/Berlin",
            "2026-03-29T03:00:00+02:00 2026-03-29T03:30:00+02:00",
        ),
        (
            "2026-03-29T02:30/1h",
            "Europe/Berlin",
            "2026-03-29T03:00:00+02:00 2026-03-29T04:00:00+02:00",
        ),
        // 02:00 to 03:00 is repeated
        (
            "2026-10-25 02:10-02:20",
            "Europe/Berlin",
            "2026-10-25T02:10:00+02:00 2026-10-25T02:20:00+01:00",
        ),
        (
            "2026-10-25T02:30+02:00/10m",
            "Europe/Berlin",
            "2026-10-25T02:30:00+02:00 2026-10-25T02:40:00+02:00",
        ),
        (
            "2026-10-25T02:30+01:00/10m",
            "Europe/Berlin",
            "2026-10-25T02:30:00+01:00 2026-10-25T02:40:00+01:00",
        ),
        // half an hour
        (
            "2026-10-04 02:10-02:40",
            "Australia/Lord_Howe",
            "2026-10-04T02:30:00+11:00 2026-10-04T02:40:00+11:00",
        ),
        // midnight is skipped
        (
            "2026-03-29",
            "Asia/Beirut",
            "2026-03-29T01:00:00+03:00 2026-03-30T00:00:00+03:00",
        ),
        // a day is skipped
        (
            "2011-12-29",
            "Pacific/Apia",
            "2011-12-29T00:00:00-10:00 2011-12-31T00:00:00+14:00",
        ),
    ] {
        assert_eq!(
            shown(text, zone, NOW),
            format!("{expected} {zone}"),
            "{text}"
        );
    }
    for (text, zone) in [
        ("2026-03-29 02:10-02:50", "Europe/Berlin"),
        ("2011-12-30", "Pacific/Apia"),
    ] {
        let error = shown(text, zone, NOW);
        assert!(
            error.contains("the clock skipped these times in"),
            "{text}: {error}"
        );
    }
}

#[test]
fn errors_name_what_is_expected() {
    for (text, expected) in [
        ("", "expected a range such as 1h"),
        ("soon", "expected a range such as 1h"),
        (
            "03:00",
            "03:00: expected a range, got a moment; such as 03:00/10m",
        ),
        ("2026-11-02T03:00", "such as 2026-11-02T03:00/10m"),
        ("2026-13-01", "expected a range such as 1h"),
        ("2026-02-29", "expected a range such as 1h"),
        ("25:00-26:00", "expected a range such as 1h"),
        ("03:60-04:00", "expected a range such as 1h"),
        ("2027-01-01", "the range is in the future (UTC)"),
        ("1960-01-01", "expected times from 1970 on"),
        ("2026-11-02/2026-11-01", "the range is empty"),
        (
            "03:00-03:10 Europe/Berln",
            "unknown time zone Europe/Berln: expected a name such as",
        ),
        ("yesterday[../passwd]", "unknown time zone ../passwd"),
        ("1h2h", "expected a range such as 1h"),
        ("0s", "expected a range such as 1h"),
        ("999999999999w", "expected times from 1970 on"),
        ("1m/1m", "expected a range such as 1h"),
        ("-1h\u{1b}[2J", "-1h\\u{1b}[2J: expected"),
    ] {
        let error = parse(text, NOW, &Zone::utc())
            .map(|r| (r.from, r.to))
            .unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
    "Africa/Casablanca",
];

#[test]
fn the_days_of_a_year_and_its_months_leave_no_gap() {
    for name in ZONES {
        let zone = zone(name);
        let range = |text: &str| parse(text, NOW, &zone).unwrap();
        let (year, mut end) = (range("2025"), range("2025").from);
        for month in 1..=12 {
            let whole = range(&format!("2025-{month:02}"));
            assert_eq!(whole.from, end);
            for day in 1..=31 {
                let Ok(day) = parse(&format!("2025-{month:02}-{day:02}"), NOW, &zone) else {
                    continue;
                };
                assert_eq!(day.from, end, "{name}");
                end = day.to;
            }
            assert_eq!(whole.to, end);
        }
        assert_eq!(year.to, end);
    }
}

proptest! {
    #[test]
    fn any_text_is_a_range_or_an_error(text in "\\PC*") {
        drop(parse(&text, NOW, &Zone::utc()));
    }

    #[test]
    fn texts_like_ranges_are_a_range_before_now_or_an_error(
        text in "(@|-|P|PT|last |)[0-9]{0,4}(-[0-9]{0,2}){0,2}[T ]?[0-9]{0,2}(:[0-9]{0,2}){0,2}[-/hmsdwZ+ ]{0,2}[0-9]{0,2}(:[0-9]{0,2})?[hmsdwZ]?",
        at in 0..7usize,
    ) {
        if let Ok(range) = parse(&text, NOW, &zone(ZONES[at])) {
            prop_assert!(range.from < range.to && range.to <= NOW, "{text}: {range:?}");
        }
    }

    #[test]
    fn a_moment_that_is_shown_is_read_back(from in 86_400..NOW - 100_000, length in 1..100_000u64, at in 0..7usize) {
        let zone = zone(ZONES[at]);
        let text = format!("{}/{}", zone.rfc3339(from), zone.rfc3339(from + length));
        let range = parse(&text, NOW, &Zone::utc()).unwrap();
        prop_assert_eq!((range.from, range.to), (from, from + length));
    }

    #[test]
    fn clock_times_are_those_of_the_last_day(from in 0..1440u64, to in 0..1440u64, now in 86_400 * 365..NOW, at in 0..7usize) {
        let text = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
        if let Ok(range) = parse(&format!("{}-{}", text(from), text(to)), now, &zone(ZONES[at])) {
            prop_assert!(range.from < now && now - range.from <= 26 * 3600);
            prop_assert!(range.to - range.from <= 25 * 3600);
            let (before, shown) = (range.zone.clock(range.from - 1), range.zone.clock(range.from));
            let expected = format!("{} {}:00", &shown[..10], text(from));
            // a skipped time is the moment of the change
            prop_assert!(shown == expected || (before < expected && expected < shown), "{shown}");
        }
    }
}
