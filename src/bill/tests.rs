// SPDX-License-Identifier: AGPL-3.0-only
//! Tests of bills; tests/bill compares them with an independent calculation.

use proptest::prelude::*;

use super::*;

fn sample(time: u64, covered_ms: u32, bytes: [u64; 2]) -> Sample {
    Sample {
        time,
        covered_ms,
        bytes,
        packets: bytes.map(|bytes| bytes / 100),
    }
}

fn full(time: u64, bytes: [u64; 2]) -> Sample {
    sample(time, 300_000, bytes)
}

fn rate(bill: &Bill, method: Method) -> &MethodRate {
    bill.rates
        .iter()
        .find(|rate| rate.method == method)
        .unwrap()
}

fn named(sources: Vec<Vec<Sample>>) -> Vec<(String, Vec<Sample>)> {
    let names = (0..).map(|n| format!("eth{n}"));
    names.zip(sources).collect()
}

const DAY: TimeSpan = TimeSpan {
    from: 0,
    to: 86_400,
};

#[test]
fn several_sources_are_added_before_the_percentile() {
    // the ports are busy at different times: the sum is constant
    let first = (0..288).map(|n| full(n * 300, [if n % 2 == 0 { 37_500 } else { 0 }, 0]));
    let second = (0..288).map(|n| full(n * 300, [if n % 2 == 0 { 0 } else { 37_500 }, 75_000]));
    let bill = bill(&named(vec![first.collect(), second.collect()]), DAY, 0);
    assert_eq!(
        (bill.intervals, bill.samples, bill.missing, bill.partial),
        (288, 288, 0, 0)
    );
    assert_eq!(rate(&bill, Method::In).p95, Some(1000.0));
    assert_eq!(rate(&bill, Method::Out).p95, Some(2000.0));
    assert_eq!(rate(&bill, Method::Max).p95, Some(2000.0));
    assert_eq!(
        rate(&bill, Method::SumBySample).p95_interpolated,
        Some(3000.0)
    );
    assert_eq!(bill.bytes, [288 * 37_500, 288 * 75_000]);
}

#[test]
fn the_highest_five_percent_do_not_count() {
    // 14 of 288 are 5 % rounded down
    let burst = |n| if n < 14 { 3_750_000 } else { 37_500 };
    let samples = (0..288)
        .map(|n| full(n * 300, [burst(n), burst(n + 1)]))
        .collect();
    let bill = bill(&named(vec![samples]), DAY, 0);
    let received = rate(&bill, Method::In);
    assert_eq!(
        (received.p95, received.peak),
        (Some(1000.0), Some(100_000.0))
    );
    assert_eq!(received.peak_time, Some(0));
}

#[test]
fn intervals_without_a_rate_are_missing_and_bytes_still_count() {
    let samples = vec![
        full(0, [37_500, 0]),
        // a restart: too short for a rate
        sample(600, 100_000, [37_500, 0]),
        sample(900, 150_000, [37_500, 0]),
        // outside
        full(86_400, [1, 1]),
    ];
    let other = vec![full(0, [0, 37_500])];
    let bill = bill(&named(vec![samples, other]), DAY, 0);
    assert_eq!((bill.samples, bill.missing, bill.partial), (2, 286, 1));
    assert_eq!(bill.bytes, [3 * 37_500, 37_500]);
    // half of the interval was observed: twice the rate
    assert_eq!(rate(&bill, Method::In).peak, Some(2000.0));
}

#[test]
fn samples_of_one_interval_are_added_after_the_clock_was_set_back() {
    let samples = vec![
        full(300, [37_500, 0]),
        full(0, [37_500, 0]),
        full(300, [112_500, 0]),
    ];
    let bill = bill(&named(vec![samples]), DAY, 0);
    assert_eq!(bill.samples, 2);
    // 150,000 bytes in 600 seconds
    assert_eq!(rate(&bill, Method::In).peak, Some(2000.0));
    assert_eq!(bill.bytes, [187_500, 0]);
}

#[test]
fn overhead_is_added_to_each_packet() {
    let bill = bill(&named(vec![vec![full(0, [37_500, 0])]]), DAY, 4);
    assert_eq!(bill.bytes, [37_500 + 375 * 4, 0]);
    assert_eq!(rate(&bill, Method::In).p95, Some(1040.0));
}

#[test]
fn without_samples_there_is_no_rate() {
    let bill = bill(&named(vec![Vec::new()]), DAY, 4);
    assert_eq!((bill.samples, bill.missing), (0, 288));
    assert!(
        bill.rates
            .iter()
            .all(|rate| rate.p95.is_none() && rate.peak.is_none())
    );
}

#[test]
fn errors_of_a_file_name_the_line() {
    for (text, expected) in [
        ("", "line 1: expected the columns time,source,"),
        (
            "time,in_bytes\n",
            "line 1: expected the columns time,in_bytes,out_bytes",
        ),
        (
            "time,in_bytes,out_bytes\n0,1,x\n",
            "line 2: out_bytes: expected a whole number, got \"x\"",
        ),
        (
            "time,in_bytes,out_bytes\n0,1,1\n0,-1,1\n",
            "line 3: in_bytes: expected a whole number",
        ),
        (
            "time,in_bytes,out_bytes\n0,1\n",
            "line 2: out_bytes: expected a value",
        ),
        (
            "time,in_bytes,out_bytes\n\"0,1,1\n",
            "line 2: expected a closing quote",
        ),
        (
            "time,covered_seconds,in_bytes,out_bytes\n0,NaN,1,1",
            "line 2: covered_seconds: expected seconds",
        ),
    ] {
        let error = file::parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    let short =
        file::parse("\u{feff}Out_Bytes,x,time,in_bytes\r\n7,ignored,300,5\r\n\r\n").unwrap();
    let expected = Sample {
        packets: [0; 2],
        ..full(300, [5, 7])
    };
    assert_eq!(short, [(String::new(), vec![expected])]);
}

prop_compose! {
    fn any_sample()(time in 0..1u64 << 40, covered_ms in 0..600_000u32, bytes: [u64; 2], packets: [u64; 2]) -> Sample {
        Sample { time, covered_ms, bytes, packets }
    }
}

proptest! {
    #[test]
    fn a_written_file_is_read_back(
        sources in prop::collection::btree_map("\\PC{0,8}[^ \t]", prop::collection::vec(any_sample(), 1..5), 0..4)
    ) {
        let sources: Vec<_> = sources.into_iter().filter(|(name, _)| name.trim() == name).collect();
        prop_assert_eq!(file::parse(&file::write(&sources)), Ok(sources));
    }

    #[test]
    fn any_file_is_read_or_refused(text in "(time|source|in_bytes|out_bytes|[0-9\",\r\n]){0,60}") {
        drop(file::parse(&text));
    }

    #[test]
    fn any_samples_have_a_bill(samples in prop::collection::vec(any_sample(), 0..50), overhead: u32) {
        let bill = bill(&named(vec![samples]), TimeSpan { from: 0, to: 1 << 40 }, overhead);
        for rate in &bill.rates {
            prop_assert!(rate.p95 <= rate.peak && rate.p95.is_none_or(f64::is_finite));
        }
    }
}
