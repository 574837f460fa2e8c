// SPDX-License-Identifier: AGPL-3.0-only

use std::time::{Duration, Instant};

use super::Fake;
use crate::firewall::attachments::Attachments;
use crate::netlink::{Event, Link};
use crate::types::hook::FrameStart;
use crate::types::interface_pattern::{Pattern, Patterns};

const ARPHRD_ETHER: u16 = 1;
const ARPHRD_NONE: u16 = 0xfffe;

fn link(ifindex: u32, name: &str) -> Link {
    Link {
        ifindex,
        name: name.into(),
        arphrd: ARPHRD_ETHER,
        ..Link::default()
    }
}

fn patterns(text: &str) -> Patterns {
    Patterns::new(vec![text.parse::<Pattern>().unwrap()], Vec::new())
}

fn attached(fake: &Fake) -> Vec<u32> {
    fake.with(|state| state.attached.keys().copied().collect())
}

#[test]
fn interfaces_are_followed_as_they_come_change_and_go() {
    let (mut fake, now) = (Fake::default(), Instant::now());
    let backend = fake.clone();
    let mut attachments =
        Attachments::new(patterns("eth.*"), vec![link(1, "eth0"), link(2, "wan")]);
    attachments.reconcile(&mut fake, now);
    assert_eq!(attached(&backend), [1]);
    assert!(attachments.take_renumbered());

    // our own attaching also causes an event, which changes nothing
    attachments.take(Event::New(link(1, "eth0")), &mut fake);
    assert!(!attachments.take_renumbered());
    attachments.take(Event::New(link(2, "eth1")), &mut fake);
    attachments.take(Event::New(link(7, "eth7")), &mut fake);
    attachments.reconcile(&mut fake, now);
    assert_eq!(attached(&backend), [1, 2, 7]);
    assert_eq!(attachments.resolve(&"eth[17]".parse().unwrap()), [2, 7]);

    attachments.take(Event::New(link(2, "wan")), &mut fake);
    attachments.take(Event::Gone(7), &mut fake);
    assert_eq!(
        attached(&backend),
        [1, 2],
        "one that has gone is let go at once"
    );
    attachments.take(Event::New(link(7, "eth8")), &mut fake);
    attachments.reconcile(&mut fake, now);
    assert_eq!(attached(&backend), [1, 7]);

    // frames of another kind need another program
    let bare = Link {
        arphrd: ARPHRD_NONE,
        ..link(1, "eth0")
    };
    attachments.take(Event::New(bare), &mut fake);
    attachments.reconcile(&mut fake, now);
    assert_eq!(backend.with(|state| state.attached[&1]), FrameStart::Ip);

    attachments.set_patterns(patterns("eth8"));
    attachments.reconcile(&mut fake, now);
    assert_eq!(attached(&backend), [7]);
    attachments.replace(vec![link(7, "other"), link(8, "eth8")], &mut fake);
    attachments.reconcile(&mut fake, now);
    assert_eq!(attached(&backend), [8]);
}

#[test]
fn what_is_refused_is_told_and_tried_again_at_longer_intervals() {
    let (mut fake, start) = (Fake::default(), Instant::now());
    let backend = fake.clone();
    backend.refuse(Some("another program is there"));
    let mut attachments = Attachments::new(patterns("*"), vec![link(1, "eth0")]);
    attachments.reconcile(&mut fake, start);
    let all = attachments.all();
    assert_eq!(all[0].state, Err("another program is there".into()));
    let second = Duration::from_secs(1);
    assert_eq!(attachments.next_retry(), Some(start + second));
    attachments.reconcile(&mut fake, start + second);
    assert_eq!(attachments.next_retry(), Some(start + 3 * second));
    backend.refuse(None);
    attachments.reconcile(&mut fake, start + 2 * second);
    assert_eq!(attached(&backend), [0u32; 0]);
    attachments.reconcile(&mut fake, start + 3 * second);
    assert_eq!(attached(&backend), [1]);
    assert!(attachments.all()[0].state.is_ok());
    assert_eq!(attachments.next_retry(), None);
}

#[test]
fn a_program_that_another_removed_is_attached_again() {
    let (mut fake, now) = (Fake::default(), Instant::now());
    let backend = fake.clone();
    let mut attachments =
        Attachments::new(patterns("eth.*"), vec![link(1, "eth0"), link(2, "eth1")]);
    attachments.reconcile(&mut fake, now);
    assert_eq!(attachments.find_removed(&fake), Vec::<String>::new());
    backend.with(|state| state.attached.remove(&2));
    assert_eq!(attachments.find_removed(&fake), ["eth1"]);
    assert_eq!(attachments.find_removed(&fake), Vec::<String>::new());
    attachments.reconcile(&mut fake, now);
    assert_eq!(attached(&backend), [1, 2]);
}

/// A thread that attaches thousands of interfaces without a heartbeat would be reported as stuck.
#[test]
fn many_interfaces_are_attached_and_detached_in_turns() {
    const COUNT: usize = 50;
    let (mut fake, now) = (Fake::default(), Instant::now());
    let backend = fake.clone();
    let links = (1..=COUNT as u32).map(|n| link(n, &format!("eth{n}")));
    let mut attachments = Attachments::new(patterns("eth.*"), links.collect());
    let mut turns = |attachments: &mut Attachments| {
        let mut most = 0;
        while attachments.has_work() {
            let before = attached(&backend).len();
            attachments.reconcile(&mut fake, now);
            most = most.max(before.abs_diff(attached(&backend).len()));
        }
        most
    };
    assert_eq!(turns(&mut attachments), 8);
    assert_eq!(attached(&backend).len(), COUNT);
    attachments.set_patterns(patterns("none"));
    assert_eq!(turns(&mut attachments), 8);
    assert_eq!(attached(&backend), [0; 0]);
}

#[test]
fn an_interface_that_has_vanished_is_no_error_and_a_reason_is_reported_once() {
    let (mut fake, now) = (Fake::default(), Instant::now());
    // the loopback interface exists, the other does not
    let links = vec![link(1, "eth0"), link(1 << 30, "eth1")];
    let mut attachments = Attachments::new(patterns("eth.*"), links);
    fake.refuse(Some("no"));
    let problems = attachments.reconcile(&mut fake, now);
    assert_eq!(problems, ["no firewall on eth0 (ifindex 1): no"]);
    assert_eq!(attachments.all().len(), 2);
    let later = now + Duration::from_secs(2);
    assert!(attachments.reconcile(&mut fake, later).is_empty());
}
