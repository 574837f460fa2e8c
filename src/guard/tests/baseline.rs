//! What the guard learns of the protected prefixes, and the thresholds that follow.

use super::simulation::{SECOND, Simulation, Stream, settings};
use crate::guard::Thresholds;
use crate::guard::baseline::{
    BaselineSettings, Baselines, HOURS, HourValues, LearnedTraffic, MAX_LEARNED, hour_of_week,
};
use crate::types::guard::{BaselineMode, Heading, Quantity};
use crate::types::prefix::Prefix;

/// A Monday, 0:00 UTC.
const MONDAY: u64 = 1_704_067_200;
const HOUR: u64 = 3_600;
const FLOOR: Thresholds = Thresholds([2_000.0, 2e7, f32::INFINITY, 400.0, 500.0]);

fn prefix() -> Prefix {
    "198.51.100.0/24".parse().unwrap()
}

fn baselines(mode: BaselineMode, learned: LearnedTraffic) -> Baselines {
    let settings = BaselineSettings {
        mode,
        factor: 3.0,
        learned,
    };
    Baselines::new(&[prefix()], settings)
}

fn packets(value: f32) -> HourValues {
    let mut values = HourValues::default();
    values[Heading::In as usize][Quantity::Packets as usize] = value;
    values
}

/// 10,000 packets a second from 8 to 20 o'clock, and 1,000 in the night.
fn by_day(unix_s: u64) -> f32 {
    match unix_s / HOUR % 24 {
        8..20 => 10_000.0,
        _ => 1_000.0,
    }
}

fn threshold(baselines: &Baselines, unix_s: u64) -> f32 {
    baselines.thresholds(0, Heading::In, &FLOOR, unix_s).0[Quantity::Packets as usize]
}

/// Learns a week.
fn week(baselines: &mut Baselines, start: u64, traffic: impl Fn(u64) -> f32) {
    for second in start..=start + HOURS as u64 * HOUR {
        baselines.observe(0, &packets(traffic(second)), false, second);
    }
}

#[test]
fn thresholds_follow_the_hours_of_the_week_and_never_fall_below_the_floor() {
    let mut baselines = baselines(BaselineMode::Learn, LearnedTraffic::new());
    assert_eq!(threshold(&baselines, MONDAY), 2_000.0);
    week(&mut baselines, MONDAY, by_day);
    let next = MONDAY + HOURS as u64 * HOUR;
    assert_eq!(threshold(&baselines, next + 12 * HOUR), 30_000.0);
    assert_eq!(threshold(&baselines, next + 3 * HOUR), 3_000.0);
    // ten minutes before the day begins, and after it ends
    assert_eq!(threshold(&baselines, next + 8 * HOUR - 300), 30_000.0);
    assert_eq!(threshold(&baselines, next + 20 * HOUR + 300), 30_000.0);
    assert_eq!(threshold(&baselines, next + 20 * HOUR + 900), 3_000.0);
    // the other direction had no traffic, and a quantity without a threshold has none
    let out = baselines.thresholds(0, Heading::Out, &FLOOR, next + 12 * HOUR);
    assert_eq!(out, FLOOR);
    let new_flows =
        baselines.thresholds(0, Heading::In, &FLOOR, next).0[Quantity::NewFlows as usize];
    assert_eq!(new_flows, f32::INFINITY);
}

#[test]
fn a_flood_raises_the_baseline_slowly_and_an_attack_never() {
    let mut baselines = baselines(BaselineMode::Learn, LearnedTraffic::new());
    week(&mut baselines, MONDAY, |_| 1_000.0);
    let second = MONDAY + HOURS as u64 * HOUR;
    // a flood below the threshold for a week: at most twice the known value counts, and of the difference a quarter
    week(&mut baselines, second, |_| 50_000.0);
    let third = second + HOURS as u64 * HOUR;
    assert_eq!(threshold(&baselines, third + HOUR), 3_750.0);
    for at in third..=third + HOURS as u64 * HOUR {
        baselines.observe(0, &packets(50_000.0), true, at);
    }
    assert_eq!(threshold(&baselines, third + HOUR), 3_750.0);
    // minutes with an attack are left out, the others of the hour are learned
    let fourth = third + HOURS as u64 * HOUR;
    for at in fourth..=fourth + HOUR {
        let is_attacked = at < fourth + 600;
        let value = if is_attacked { 50_000.0 } else { 1_250.0 };
        baselines.observe(0, &packets(value), is_attacked, at);
    }
    assert_eq!(threshold(&baselines, fourth + HOUR / 2), 3_750.0);
}

#[test]
fn a_frozen_baseline_stays_and_one_that_is_off_does_nothing() {
    let mut learning = baselines(BaselineMode::Learn, LearnedTraffic::new());
    week(&mut learning, MONDAY, by_day);
    let learned = learning.take_changed().expect("hours were learned");
    assert!(learning.take_changed().is_none(), "nothing since");

    // the next start of the agent
    let mut frozen = baselines(BaselineMode::Frozen, learned.clone());
    assert_eq!(
        frozen.take_changed().as_ref(),
        Some(&learned),
        "to be shown"
    );
    week(&mut frozen, MONDAY, |_| 20_000.0);
    assert!(frozen.take_changed().is_none());
    assert_eq!(threshold(&frozen, MONDAY + 12 * HOUR), 30_000.0);

    let mut off = baselines(BaselineMode::Off, learned);
    week(&mut off, MONDAY, by_day);
    assert!(off.take_changed().is_none());
    assert_eq!(threshold(&off, MONDAY + 12 * HOUR), 2_000.0);
}

#[test]
fn a_part_of_an_hour_is_not_learned_and_prefixes_beyond_the_limit_are_not() {
    let mut baselines = baselines(BaselineMode::Learn, LearnedTraffic::new());
    // 20 minutes before the end of the first hour
    for at in MONDAY + HOUR - 1_200..=MONDAY + HOUR {
        baselines.observe(0, &packets(9_000.0), false, at);
    }
    assert_eq!(threshold(&baselines, MONDAY + HOUR / 2), 2_000.0);

    let many: Vec<Prefix> = (0..MAX_LEARNED + 4)
        .map(|n| format!("10.{}.{}.0/24", n >> 8, n & 255).parse().unwrap())
        .collect();
    let settings = BaselineSettings {
        mode: BaselineMode::Learn,
        factor: 3.0,
        learned: LearnedTraffic::new(),
    };
    let mut all = Baselines::new(&many, settings);
    all.observe(MAX_LEARNED + 1, &packets(9_000.0), false, MONDAY);
    let learned = all.take_changed().expect("to be shown");
    assert_eq!(learned.len(), MAX_LEARNED);
}

/// Hosts below their thresholds; together 9,000 packets a second, where the floor of the prefix is 4,000.
fn carpet(simulation: &mut Simulation) {
    for n in 0..12_u8 {
        let source = format!("203.0.113.{n}");
        let target = format!("198.51.100.{n}");
        let stream = Stream::udp(&source, &target, 750.0, (SECOND, 6 * SECOND));
        simulation.stream(&stream, u64::from(n));
    }
    simulation.run(8 * SECOND);
}

#[test]
fn the_same_traffic_is_an_attack_in_the_night_and_none_by_day() {
    let mut learning = baselines(BaselineMode::Learn, LearnedTraffic::new());
    week(&mut learning, MONDAY, by_day);
    let learned = learning.take_changed().expect("hours were learned");
    for (hour, expected) in [(3, 1), (12, 0)] {
        let mut settings = settings("198.51.100.0/24");
        settings.prefix.0[Quantity::Bits as usize] = f32::INFINITY;
        settings.baseline = BaselineSettings {
            mode: BaselineMode::Frozen,
            factor: 3.0,
            learned: learned.clone(),
        };
        let mut simulation = Simulation::with(settings);
        simulation.unix_s = MONDAY + hour * HOUR;
        carpet(&mut simulation);
        let alarms = simulation.alarms.len();
        assert_eq!(
            alarms, expected,
            "at {hour} o'clock: {:?}",
            simulation.alarms
        );
    }
}

#[test]
fn the_detector_learns_what_it_counts() {
    let mut settings = settings("198.51.100.0/24");
    settings.baseline = BaselineSettings {
        mode: BaselineMode::Learn,
        factor: 3.0,
        learned: LearnedTraffic::new(),
    };
    let mut simulation = Simulation::with(settings);
    simulation.unix_s = MONDAY;
    let stream = Stream::udp("203.0.113.1", "198.51.100.1", 100.0, (0, 3_700 * SECOND));
    simulation.stream(&stream, 3);
    simulation.run(3_700 * SECOND);
    let learned = simulation.detector.take_learned().expect("an hour");
    let usual = learned[&prefix()][hour_of_week(MONDAY)];
    let found = usual[Heading::In as usize][Quantity::Packets as usize];
    assert!((95.0..105.0).contains(&found), "{found}");
}
