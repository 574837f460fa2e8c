//! The life of the rules of an attack.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::simulation::*;
use crate::guard::ActionSettings;
use crate::guard::backend::RuleBackend;
use crate::guard::links::LinkCounters;
use crate::guard::report::{AttackReport, DetectorEvent};
use crate::guard::shared::{AttackStep, GuardHandle};
use crate::guard::thread::Worker;
use crate::types::guard::{AlarmKind, AlarmTarget, GuardAction, GuardMode, Quantity};
use crate::types::rule::Rule;

const PACKETS: AlarmKind = AlarmKind::Attack(Quantity::Packets);

#[derive(Clone, Default)]
struct Firewall(Arc<Mutex<(Vec<Rule>, u64)>>);

impl RuleBackend for Firewall {
    fn set(&self, rules: Vec<Rule>) -> Result<Vec<(u64, u64)>, String> {
        let mut state = self.0.lock().unwrap();
        let counts = rules.iter().map(|_| (state.1, state.1 * 100)).collect();
        state.0 = rules;
        Ok(counts)
    }
}

impl Firewall {
    fn rules(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }
}

fn report() -> AttackReport {
    let mut simulation = Simulation::new("192.0.2.0/24");
    for n in 0..500 {
        let source = format!("198.51.{}.{}", n / 250, n % 250);
        let mut ntp = Stream::udp(&source, "192.0.2.7", 4.0, (4 * SECOND, 6 * SECOND));
        ntp.ports = (123, 123);
        simulation.stream(&ntp, n % 16);
    }
    simulation.run(6 * SECOND);
    simulation.alarms.remove(0)
}

fn settings(mode: GuardMode) -> ActionSettings {
    ActionSettings {
        mode,
        action: GuardAction::Drop,
        ttl: Duration::from_secs(10),
        max_rules: 4,
    }
}

fn steps(handle: &GuardHandle) -> Vec<AttackStep> {
    handle
        .lock()
        .events
        .iter()
        .map(|event| event.step)
        .collect()
}

#[test]
fn a_rule_stays_while_it_matches_and_then_for_its_ttl() {
    let firewall = Firewall::default();
    let (handle, _) = GuardHandle::new();
    let backend = Some(Box::new(firewall.clone()) as _);
    let mut worker = Worker::new(
        settings(GuardMode::Act),
        backend,
        handle.clone(),
        LinkCounters::default(),
    );
    let start = Instant::now();
    let report = report();
    let id = report.id;
    worker.handle(DetectorEvent::Alarm(Box::new(report)), start);
    assert_eq!(firewall.rules(), 1);
    assert_eq!(steps(&handle), [AttackStep::Alarm, AttackStep::Rules]);
    let attacks = handle.lock().attacks.clone();
    assert_eq!(attacks.get(&(PACKETS, GuardAction::Drop)), Some(&1));
    // the rule hides the traffic from the detector, and its counter shows it
    worker.handle(DetectorEvent::Calm(id), start);
    for second in 1..=30 {
        firewall.0.lock().unwrap().1 += 1_000;
        worker.check(start + Duration::from_secs(second));
        assert_eq!(firewall.rules(), 1);
    }
    for second in 31..39 {
        worker.check(start + Duration::from_secs(second));
        assert_eq!(firewall.rules(), 1, "{second}");
    }
    worker.check(start + Duration::from_millis(39_500));
    assert_eq!(firewall.rules(), 0);
    let state = handle.lock();
    assert!(state.active.is_empty());
    assert_eq!(state.ended[0].packets, 30_000);
    let steps: Vec<_> = state.events.iter().map(|event| event.step).collect();
    assert_eq!(steps[2..], [AttackStep::RulesRemoved, AttackStep::End]);
}

#[test]
fn in_mode_watch_the_rule_is_only_proposed() {
    let firewall = Firewall::default();
    let (handle, _) = GuardHandle::new();
    let backend = Some(Box::new(firewall.clone()) as _);
    let mut worker = Worker::new(
        settings(GuardMode::Watch),
        backend,
        handle.clone(),
        LinkCounters::default(),
    );
    let report = report();
    let id = report.id;
    worker.handle(DetectorEvent::Alarm(Box::new(report)), Instant::now());
    assert_eq!(firewall.rules(), 0);
    {
        let state = handle.lock();
        assert_eq!(state.active[0].decision.rules.len(), 1);
        let kind = (PACKETS, GuardAction::Alert);
        assert_eq!(state.attacks.get(&kind), Some(&1));
    }
    worker.handle(DetectorEvent::Calm(id), Instant::now());
    worker.check(Instant::now());
    assert_eq!(steps(&handle), [AttackStep::Alarm, AttackStep::End]);
}

#[test]
fn rules_beyond_the_maximum_are_not_added() {
    let firewall = Firewall::default();
    let (handle, _) = GuardHandle::new();
    let backend = Some(Box::new(firewall.clone()) as _);
    let mut worker = Worker::new(
        settings(GuardMode::Act),
        backend,
        handle.clone(),
        LinkCounters::default(),
    );
    for n in 0..6 {
        let mut report = report();
        report.id.0 = n;
        let host = format!("192.0.2.{n}").parse().unwrap();
        report.target = AlarmTarget::Prefix(host);
        if let Some(signature) = &mut report.signature {
            signature.dst = host;
        }
        worker.handle(DetectorEvent::Alarm(Box::new(report)), Instant::now());
    }
    assert_eq!(firewall.rules(), 4);
    let state = handle.lock();
    let last = &state.active[5].decision;
    assert!(last.reason.contains("max_rules"), "{last:?}");
}

#[test]
fn a_reader_of_events_learns_how_many_it_has_missed() {
    let (handle, _) = GuardHandle::new();
    let mut worker = Worker::new(
        settings(GuardMode::Watch),
        None,
        handle.clone(),
        LinkCounters::default(),
    );
    let report = report();
    let first = handle.lock().first_event;
    for n in 0..300 {
        let mut report = report.clone();
        report.id.0 = n;
        worker.handle(
            DetectorEvent::Alarm(Box::new(report.clone())),
            Instant::now(),
        );
        worker.handle(DetectorEvent::Calm(report.id), Instant::now());
        worker.check(Instant::now());
    }
    let state = handle.lock();
    let next = |after| {
        let found = state.next_event(after);
        found.map(|(event, missed)| (event.number - first, missed))
    };
    // 600 events, of which 256 are kept
    assert_eq!(next(first), Some((345, 344)));
    assert_eq!(next(first + 400), Some((401, 0)));
    assert_eq!(next(first + 600), None);
    // numbers of a previous agent, and of one whose clock was ahead
    assert_eq!(next(first - 1_000_000), Some((345, 344)));
    assert_eq!(next(first + 1_000_000), Some((345, 344)));
}
