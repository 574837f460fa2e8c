// SPDX-License-Identifier: AGPL-3.0-only
//! Limits: rates in packets and in bits, bursts, and a rate for each source.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::cases::{DST_MAC, SRC_MAC};
use crate::common::frames::Frame;
use crate::common::lab::can_run;
use crate::common::packet::Sender;
use crate::harness::Fixture;
use crate::wire::{LIMIT, TO, TOOLS, add, guarded, matched, packet, passed, past};

/// Adds a limit and sends for a second, about `per_second` packets. Returns the packets that were sent and that
/// passed, and the seconds.
fn overrun(fixture: &Fixture, rate: &str, frame: &[u8], per_second: u64) -> (u64, u64, f64) {
    let words = format!("--dst {TO} --action limit --rate {rate}");
    let label = format!("runtime-{}", add(fixture, &words));
    let before = past(&fixture.agent.scrape());
    let start = Instant::now();
    let mut sent = 0;
    fixture.namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        while start.elapsed() < Duration::from_secs(1) {
            for _ in 0..per_second / 200 {
                sender.send(frame, 0).expect("sent");
                sent += 1;
            }
            sleep(Duration::from_millis(5));
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let of = |m: &_, action| matched(m, &label, action);
    let all = |m: &_| of(m, "pass") + of(m, "drop") == sent;
    let (metrics, reached) = fixture.agent.scrape_until(LIMIT, all);
    assert!(reached, "{sent} sent");
    let passed = of(&metrics, "pass");
    let arrived = |m: &_| past(m) == before + passed;
    assert!(fixture.agent.scrape_until(LIMIT, arrived).1);
    fixture.rfm("firewall flush");
    (sent, passed, seconds)
}

/// The packets that may pass in a time: those of the rate, and those of a tenth of a second.
fn assert_is_limited((sent, passed, seconds): (u64, u64, f64), per_second: f64) {
    let allowed = per_second * (seconds + 0.1) + 2.0;
    println!("{sent} sent in {seconds:.3} s, {passed} passed, at most {allowed:.0} may");
    assert!(sent as f64 > allowed * 1.2, "too few to be limited");
    assert!(passed as f64 <= allowed * 1.02, "{passed} of {allowed}");
    assert!(passed as f64 >= allowed * 0.9, "{passed} of {allowed}");
}

#[test]
fn a_limit_passes_its_rate_in_packets_or_in_bits() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    let frame = packet("192.0.2.1");
    assert_is_limited(overrun(&fixture, "500", &frame, 2000), 500.0);
    for (bytes, rate, bits) in [(100, "400kbit", 400e3), (1400, "6mbit", 6e6)] {
        let frame = of_bytes(bytes);
        let per_second = bits / 8.0 / bytes as f64;
        assert_is_limited(overrun(&fixture, rate, &frame, 2000), per_second);
    }
    // other sources are not the rule's
    add(&fixture, "--src 192.0.2.0/24 --action limit --rate 1");
    assert_eq!(passed(&fixture, &packet("192.0.3.1"), 200), 200);
}

/// A frame of so many bytes.
fn of_bytes(bytes: usize) -> Vec<u8> {
    let frame = Frame::ethernet(SRC_MAC, DST_MAC);
    let frame = frame.ipv4(Ipv4Addr::new(192, 0, 2, 1), TO).udp();
    frame.payload(bytes - 14 - 20 - 8).build()
}

/// A burst passes at once, and again after a pause in which the rate has filled it.
#[test]
fn a_burst_passes_at_once_after_a_pause() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    let short = packet("192.0.2.1");
    let long = of_bytes(500);
    for (rate, burst, frame, packets) in [
        ("2", 50, &short, 50),
        ("1", 1, &short, 1),
        // 1,000 bytes a second
        ("8kbit", 10_000, &long, 20),
        ("8kbit", 1_000, &long, 2),
    ] {
        let words = format!("--dst {TO} --action limit --rate {rate} --burst {burst}");
        add(&fixture, &words);
        // few pass while the burst is sent: two a second
        let expected = packets..packets + 4;
        let passed = passed(&fixture, frame, 200);
        assert!(expected.contains(&passed), "{passed} of {packets}: {words}");
        fixture.rfm("firewall flush");
    }
    add(
        &fixture,
        &format!("--dst {TO} --action limit --rate 20 --burst 10"),
    );
    for _ in 0..2 {
        let passed = passed(&fixture, &short, 200);
        assert!((10..20).contains(&passed), "{passed}");
        sleep(Duration::from_secs(1));
    }
}

/// A bucket of one hundred for each source: by a rule that was added, and by one of the file.
#[test]
fn a_limit_per_source_is_each_sources_own() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded(
        "[[agent.firewall.rule]]\nproto = \"udp\"\naction = \"limit\"\nrate = 1000\nper = \"source\"\n",
    );
    // a tenth of a second may come at once, and little more while it is sent
    let of_burst = |from: &str, count| {
        let passed = passed(&fixture, &packet(from), count);
        assert!((100..count / 2).contains(&passed), "{passed} from {from}");
    };
    of_burst("192.0.2.1", 2000);
    of_burst("192.0.2.2", 2000);
    of_burst("2001:db8:5::1", 2000);
    let words = "--src 192.0.3.0/24 --action limit --rate 1 --per source";
    let id = add(&fixture, words);
    for from in ["192.0.3.1", "192.0.3.2", "192.0.3.3"] {
        assert_eq!(passed(&fixture, &packet(from), 2), 1, "{from}");
    }
    assert_eq!(add(&fixture, words), id, "it is the same rule");
    let list = fixture.json("firewall list");
    assert_eq!(list["rules"][0]["rule"]["per"], "source");
    let text = fixture.rfm("firewall list");
    assert!(text.contains("1/s a source"), "{text}");
    let stats = fixture.rfm("firewall stats");
    assert!(stats.contains("\nnew sources of limits: 6\n"), "{stats}");
    let metrics = fixture.agent.scrape();
    assert_eq!(metrics.sum("rfm_firewall_new_sources_total", &[]), 6);
}
