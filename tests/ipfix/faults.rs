// SPDX-License-Identifier: AGPL-3.0-only
//! Collectors that refuse, start late, restart or are slow: each costs only its own records, which are counted, and
//! rfm connects to it again by itself and sends templates first.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rfm::sys::error_counters::Subsystem;
use rfm::types::transport::Transport;

use super::common::lab::wait_for;
use super::decode::{Decoded, Decoder};
use super::fixture::{ANSWER_TIMEOUT, Fixture, Listener, parts};

const REFRESH: Duration = Duration::from_secs(4);

/// A message that all the others need, which has no flows.
fn is_introduction(message: &Decoded) -> bool {
    let rate = message.records.iter().any(|record| record.has(34));
    message.templates.len() == 12 && rate && message.flows().count() == 0
}

#[test]
fn one_that_refuses_costs_nobody_else_and_is_reached_when_it_is_there() {
    let mut good = Listener::new();
    let port = Listener::new().port();
    let mut fixture = Fixture::new(
        &[(Transport::Udp, port), (Transport::Udp, good.port())],
        REFRESH,
    );
    good.introduced();
    let start = Instant::now();
    fixture.export(&parts(0..40));
    assert_eq!(good.flows(40).len(), 40);
    assert_eq!(fixture.settle(40), (0, 40));
    let mut late = Listener::on(port);
    let bound = Instant::now();
    let first = late.introduced();
    assert!(is_introduction(&first), "{first:?}");
    assert!(bound.elapsed() < REFRESH + Duration::from_secs(1));
    fixture.export(&parts(100..110));
    assert_eq!(late.flows(10).len(), 10);
    assert_eq!(fixture.settle(50), (10, 40));
    assert_eq!(good.flows(10).len(), 10);
    assert!(wait_for(ANSWER_TIMEOUT, || fixture.stats[1].records() == 50));
    assert_eq!(fixture.stats[1].dropped().parts, 0);
    // after 1 s, then every 2 s at most
    let errors = fixture.errors.get(Subsystem::Ipfix);
    let most = 3 + start.elapsed().as_secs() / 2;
    assert!((1..=most).contains(&errors), "{errors} errors");
}

#[test]
fn one_that_is_restarted_misses_what_was_sent_meanwhile() {
    let mut collector = Listener::new();
    let port = collector.port();
    // the longest pause is a second, and records wait for three
    let mut fixture = Fixture::new(&[(Transport::Udp, port)], Duration::from_secs(2));
    assert!(is_introduction(&collector.introduced()));
    fixture.export(&parts(0..30));
    assert_eq!(collector.flows(30).len(), 30);
    assert_eq!(fixture.settle(30), (30, 0));
    drop(collector);
    for round in 0..3 {
        fixture.export(&parts(100 * round..100 * round + 20));
        fixture.settle(30 + 20 * (u64::from(round) + 1));
    }
    assert_eq!(fixture.counts(), (30, 60));
    let mut collector = Listener::on(port);
    assert!(is_introduction(&collector.introduced()));
    fixture.export(&parts(0..30));
    assert_eq!(collector.flows(30).len(), 30);
    assert_eq!(fixture.settle(120), (60, 60));
}

#[test]
fn one_that_returns_receives_the_records_since_the_last_attempt() {
    let mut collector = Listener::new();
    let port = collector.port();
    // the first pauses are short; records wait longer than the longest, which is 10 s
    let mut fixture = Fixture::udp(port);
    collector.introduced();
    fixture.export(&parts(0..30));
    assert_eq!(collector.flows(30).len(), 30);
    assert_eq!(fixture.settle(30), (30, 0));
    drop(collector);
    // rejected: the collector cannot have them
    fixture.export(&parts(100..110));
    assert_eq!(fixture.settle(40), (30, 10));
    let errors = fixture.errors.get(Subsystem::Ipfix);
    assert!(errors >= 1, "{errors} errors");
    fixture.export(&parts(200..220));
    let waiting = || fixture.stats[0].queued() == 20;
    assert!(wait_for(ANSWER_TIMEOUT, waiting), "{:?}", fixture.counts());
    let mut collector = Listener::on(port);
    let first = collector.next(ANSWER_TIMEOUT).expect("templates");
    assert!(is_introduction(&first), "{first:?}");
    let ports: Vec<_> = collector.flows(20).iter().map(|r| r.number(7)).collect();
    assert_eq!(ports, (200..220).collect::<Vec<_>>());
    assert_eq!(fixture.settle(60), (50, 10));
    assert_eq!(fixture.stats[0].queued(), 0);
}

#[test]
fn records_of_another_sample_rate_do_not_wait() {
    let port = Listener::new().port();
    let mut fixture = Fixture::udp(port);
    let rejected = || fixture.errors.get(Subsystem::Ipfix) > 0;
    assert!(wait_for(ANSWER_TIMEOUT, rejected));
    fixture.export(&parts(0..20));
    let waiting = |fixture: &Fixture, records| {
        wait_for(ANSWER_TIMEOUT, || fixture.stats[0].queued() == records)
    };
    assert!(waiting(&fixture, 20), "{:?}", fixture.counts());
    let mut other = parts(100..110);
    other
        .iter_mut()
        .for_each(|part| part.record.sample_rate = 7);
    fixture.export(&other);
    assert_eq!(fixture.settle(20), (0, 20));
    assert!(waiting(&fixture, 10), "{:?}", fixture.counts());
}

#[test]
fn one_that_restarts_unnoticed_reads_again_after_a_refresh() {
    let mut collector = Listener::new();
    let refresh = Duration::from_secs(1);
    let mut fixture = Fixture::new(&[(Transport::Udp, collector.port())], refresh);
    collector.introduced();
    collector.decoder = Decoder::default();
    let start = Instant::now();
    let again = collector.next(ANSWER_TIMEOUT).expect("a refresh");
    assert!(is_introduction(&again), "{again:?}");
    assert!(start.elapsed() < refresh + Duration::from_millis(700));
    fixture.export(&parts(0..5));
    assert_eq!(collector.flows(5).len(), 5);
}

#[test]
fn the_options_tell_rate_interfaces_and_what_was_lost() {
    let mut collector = Listener::new();
    let refresh = Duration::from_secs(1);
    let mut fixture = Fixture::new(&[(Transport::Udp, collector.port())], refresh);
    collector.introduced();
    fixture.export(&parts(0..5));
    collector.flows(5);
    fixture.settle(5);
    let first = collector.next(ANSWER_TIMEOUT).expect("a refresh");
    let message = collector.with_rest(first);
    let option = |element| {
        let mut records = message.records.iter();
        records.find(|r| r.has(element)).expect("an option")
    };
    assert_eq!(option(34).number(34), 1);
    let statistics = option(42);
    assert_eq!(statistics.number(42), 5);
    assert!(statistics.number(40) > 500 && statistics.number(41) >= 2);
    for (element, value) in [(166, 0), (167, 0), (168, 0), (164, 11), (165, 1111)] {
        assert_eq!(statistics.number(element), value, "element {element}");
    }
    let interfaces = message.records.iter().filter(|r| r.has(82));
    let interfaces: Vec<_> = interfaces
        .map(|r| (r.number(10), r.fields[&82].clone(), r.fields[&83].clone()))
        .collect();
    let expected = [
        (2, "eth0", "to the world"),
        (3, "lan", "lan"),
        (4, "eth0.10", "eth0.10"),
    ];
    assert_eq!(
        interfaces,
        expected.map(|(i, a, b)| (i, a.into(), b.into()))
    );
    // the form for nfdump
    let described: Vec<_> = message
        .records
        .iter()
        .filter(|r| r.has(149) && r.has(83))
        .map(|r| (r.number(10), r.fields[&83].len(), r.fixed_text(83)))
        .collect();
    assert_eq!(described, expected.map(|(i, _, b)| (i, 64, b.into())));
}

#[test]
fn the_last_records_leave_before_the_thread_ends() {
    let mut collector = Listener::new();
    let mut fixture = Fixture::udp(collector.port());
    collector.introduced();
    fixture.export(&parts(0..1000));
    fixture.stop();
    assert_eq!(collector.flows(1000).len(), 1000);
}

/// The TCP side of a collector.
struct Stream {
    stream: TcpStream,
    decoder: Decoder,
}

impl Stream {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).unwrap();
        Self {
            stream,
            decoder: Decoder::default(),
        }
    }

    fn next(&mut self) -> Decoded {
        let mut bytes = vec![0; 16];
        self.stream.read_exact(&mut bytes).expect("a header");
        let length = u16::from_be_bytes([bytes[2], bytes[3]]);
        bytes.resize(length.into(), 0);
        self.stream.read_exact(&mut bytes[16..]).expect("a message");
        self.decoder.message(&bytes)
    }

    fn flows(&mut self, count: usize) -> usize {
        let mut found = 0;
        while found < count {
            found += self.next().flows().count();
        }
        found
    }
}

#[test]
fn over_tcp_templates_come_once_in_each_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut fixture = Fixture::new(&[(Transport::Tcp, port)], Duration::from_secs(1));
    let mut stream = Stream::accept(&listener);
    let first = stream.next();
    assert!(is_introduction(&first) && first.sequence == 0, "{first:?}");
    let refresh = stream.next();
    assert!(refresh.templates.is_empty() && refresh.records[0].has(34));
    assert_eq!(refresh.sequence as usize, first.records.len());
    fixture.export(&parts(0..50));
    assert_eq!(stream.flows(50), 50);
    drop(stream);
    // lost at the latest when something is written
    let mut stream = Stream::accept(&listener);
    let first = stream.next();
    assert!(is_introduction(&first) && first.sequence == 0, "{first:?}");
    fixture.export(&parts(0..50));
    assert_eq!(stream.flows(50), 50);
    assert_eq!(fixture.settle(100), (100, 0));
    fixture.export(&parts(0..500));
    fixture.stop();
    assert_eq!(stream.flows(500), 500);
}

#[test]
fn one_that_reads_nothing_is_not_waited_for() {
    const PARTS: u16 = 50_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut good = Listener::new();
    let mut fixture = Fixture::new(
        &[(Transport::Tcp, port), (Transport::Udp, good.port())],
        REFRESH,
    );
    let mut slow = Stream::accept(&listener);
    good.introduced();
    let mut received = 0;
    for first in (0..PARTS).step_by(1000) {
        fixture.export(&parts(first..first + 1000));
        received += good.flows(1000).len();
    }
    assert_eq!(received, usize::from(PARTS), "the other misses nothing");
    let dropped = fixture.stats[0].dropped().parts;
    assert!(dropped > 0, "{dropped} of {PARTS}");
    // what was not dropped is in the pipe
    let waiting = usize::from(PARTS) - dropped as usize;
    assert_eq!(slow.flows(waiting), waiting);
    assert_eq!(fixture.settle(PARTS.into()), (waiting as u64, dropped));
}
