// SPDX-License-Identifier: AGPL-3.0-only
//! Rules that limit, and what a set may hold.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libbpf_rs::query::MapInfoIter;
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use rfm::bpf::xdp::{EncodeError, ReplaceError};
use rfm::types::prefix::Prefix;
use rfm::types::rule::{KernelRule, RuleId};

use crate::fixture::Verdict::{Drop, Pass};
use crate::fixture::{A4, B6, Fixture, MAX_RULES, drop_from, ether, fixture, rule, rules, v4};

/// Puts packets for so long; those that passed, and how long it really was.
fn flood(fixture: &Fixture, time: Duration) -> (u64, u64, Duration) {
    let frame = v4().udp().payload(20).build();
    let start = Instant::now();
    let (mut passed, mut dropped) = (0, 0);
    while start.elapsed() < time {
        match fixture.verdict(&frame) {
            Pass => passed += 1,
            Drop => dropped += 1,
        }
    }
    (passed, dropped, start.elapsed())
}

#[test]
fn a_limit_passes_its_rate_and_a_burst_of_a_tenth() {
    for rate in [1_u32, 20, 333, 1000, 7000] {
        let line = format!("limit src 10.0.0.0/8 rate {rate}");
        let Some(fixture) = Fixture::with(&rules(&[&line])) else {
            return;
        };
        let (passed, dropped, took) = flood(&fixture, Duration::from_millis(400));
        let burst = u64::from((rate / 10).max(1));
        let most = burst + (took.as_secs_f64() * f64::from(rate)) as u64 + 1;
        // a machine that is busy may not come to put packets for a while, in which tokens overflow
        let least = burst.max(most * 8 / 10);
        assert!(
            (least..=most).contains(&passed),
            "{rate}/s: {passed} of {least} to {most}"
        );
        let counts = fixture.counts()[&1];
        assert_eq!(counts.packets, passed + dropped, "{rate}/s");
        assert_eq!(counts.dropped_packets, dropped, "{rate}/s");
        assert_eq!(counts.bytes, counts.packets * 62, "{rate}/s");
        assert_eq!(counts.dropped_bytes, dropped * 62, "{rate}/s");
    }
}

/// A rate in bits counts frames, and lets every packet pass that finds a full bucket.
#[test]
fn a_limit_in_bits_passes_its_rate() {
    for (line, burst) in [
        ("rate 8mbit", 100_000),
        ("rate 800kbit burst 30000", 30_000),
    ] {
        let line = format!("limit src 10.0.0.0/8 {line}");
        let limit = rule(1, &line);
        let per_second = limit.rate.expect("a rate").per_second();
        let Some(fixture) = Fixture::with(&[limit]) else {
            return;
        };
        let frame = v4().udp().payload(1000).build();
        let start = Instant::now();
        let mut passed = 0;
        while start.elapsed() < Duration::from_millis(400) {
            if fixture.verdict(&frame) == Pass {
                passed += frame.len() as u64;
            }
        }
        let most = burst + (start.elapsed().as_secs_f64() * per_second as f64) as u64;
        let least = burst.max(most * 8 / 10) - frame.len() as u64;
        assert!(
            (least..=most + frame.len() as u64).contains(&passed),
            "{line}: {passed} of {least} to {most}"
        );
    }
    let Some(fixture) = Fixture::with(&rules(&["limit src 10.0.0.0/8 rate 8kbit burst 64"])) else {
        return;
    };
    let long = v4().udp().payload(1000).build();
    assert_eq!(
        [fixture.verdict(&long), fixture.verdict(&long)],
        [Pass, Drop]
    );
}

#[test]
fn a_burst_is_as_large_as_the_rule_says() {
    let Some(fixture) = Fixture::with(&rules(&["limit src 10.0.0.0/8 rate 1 burst 5"])) else {
        return;
    };
    let frame = v4().udp().payload(20).build();
    let verdicts: Vec<_> = (0..7).map(|_| fixture.verdict(&frame)).collect();
    assert_eq!(verdicts, [Pass, Pass, Pass, Pass, Pass, Drop, Drop]);
}

#[test]
fn a_limit_is_each_rules_own_and_ends_the_search() {
    let Some(fixture) = Fixture::with(&rules(&[
        "limit src 10.1.2.3 proto udp rate 1",
        "limit src 10.1.2.3 rate 1",
        "drop src 10.0.0.0/8",
    ])) else {
        return;
    };
    let (udp, tcp) = (v4().udp().build(), v4().tcp(2).build());
    assert_eq!([fixture.verdict(&udp), fixture.verdict(&udp)], [Pass, Drop]);
    assert_eq!([fixture.verdict(&tcp), fixture.verdict(&tcp)], [Pass, Drop]);
    assert_eq!(fixture.packets(), [(1, 2), (2, 2)]);
}

/// What was given out stays given out, whatever else changes.
#[test]
fn a_change_of_rules_gives_no_fresh_burst() {
    let limit = rule(1, "limit src 10.0.0.0/8 rate 10");
    let Some(mut fixture) = Fixture::with(std::slice::from_ref(&limit)) else {
        return;
    };
    let frame = v4().udp().build();
    assert_eq!(
        [fixture.verdict(&frame), fixture.verdict(&frame)],
        [Pass, Drop]
    );
    let other = rule(2, "drop src 11.0.0.0/8");
    fixture.firewall.replace(&[other, limit]).expect("rules");
    assert_eq!(fixture.verdict(&frame), Drop);
    sleep(Duration::from_millis(150));
    assert_eq!(
        [fixture.verdict(&frame), fixture.verdict(&frame)],
        [Pass, Drop]
    );
    assert_eq!(fixture.counts()[&1].packets, 5);
    assert_eq!(fixture.counts()[&1].dropped_packets, 3);
    // another rate is another limit
    fixture
        .firewall
        .replace(&[rule(1, "limit src 10.0.0.0/8 rate 20")])
        .expect("rules");
    assert_eq!(fixture.verdict(&frame), Pass);
}

#[test]
fn what_a_set_cannot_hold_is_refused_and_changes_nothing() {
    let Some(mut fixture) = Fixture::with(&rules(&["drop src 10.1.2.3"])) else {
        return;
    };
    let many = |count: u64, line: &str| -> Vec<KernelRule> {
        let first = rule(0, line);
        let numbered = |id| KernelRule {
            id: RuleId(id),
            ..first.clone()
        };
        (0..count).map(numbered).collect()
    };
    let mut deep = many(600, "drop dst 10.0.0.0/8 proto tcp");
    deep.extend(many(425, "drop dst 10.1.0.0/16 proto udp"));
    let cases = [
        (
            many(u64::from(MAX_RULES) + 1, "drop dst 10.1.2.3"),
            "expected at most 100000 rules, got 100001: remove some",
        ),
        (
            many(1025, "drop proto tcp"),
            "expected at most 1024 rules without a prefix, got 1025: remove some, or give them --src or --dst",
        ),
        (
            deep,
            "expected at most 1024 rules for 10.1.0.0/16 and the prefixes that contain it, got 1025: remove some",
        ),
        (
            many(1, "limit src ::/0"),
            "rule 0 has the action limit and no rate: set one",
        ),
    ];
    for (rules, reason) in cases {
        let error = fixture.firewall.replace(&rules).expect_err(reason);
        assert_eq!(error.to_string(), reason);
        assert!(matches!(error, ReplaceError::Rules(_)), "{reason}");
        assert_eq!(fixture.verdict(&v4().udp().build()), Drop, "{reason}");
    }
    assert_eq!(fixture.packets(), [(1, 4)]);
    let no_rate = EncodeError::NoRate(RuleId(3));
    assert_eq!(
        no_rate.to_string(),
        "rule 3 has the action limit and no rate: set one"
    );
}

/// The longest chains that are taken: the last rule of each still decides.
#[test]
fn the_longest_chains_are_walked_to_their_end() {
    let mut all: Vec<String> = Vec::new();
    all.extend((0..1023).map(|i| format!("drop proto tcp dport {}", i + 1)));
    all.extend((0..1023).map(|i| format!("drop src 10.1.2.3 proto udp dport {}", i + 1)));
    all.extend((0..1024).map(|i| format!("drop dst 192.0.2.9 proto udp dport {}", i + 2000)));
    all.push("drop src 10.1.2.3 proto udp dport 9000".into());
    all.push("drop proto tcp dport 9000".into());
    let lines: Vec<&str> = all.iter().map(String::as_str).collect();
    let Some(fixture) = Fixture::with(&rules(&lines)) else {
        return;
    };
    let udp = |port| fixture.verdict(&v4().udp().ports(1, port).build());
    let tcp = |port| fixture.verdict(&v4().tcp(2).ports(1, port).build());
    assert_eq!(
        [udp(9000), udp(9001), udp(3023), udp(3024)],
        [Drop, Pass, Drop, Pass]
    );
    assert_eq!([tcp(9000), tcp(9001), tcp(1023)], [Drop, Pass, Drop]);
    assert_eq!(
        fixture.packets(),
        [(1023, 1), (3070, 1), (3071, 1), (3072, 1)]
    );
}

#[test]
fn a_hundred_thousand_prefixes_are_brought_in_within_a_second() {
    let Some(mut fixture) = fixture() else { return };
    let rules: Vec<KernelRule> = (0..MAX_RULES)
        .map(|id| {
            let address = Ipv4Addr::from_bits(id.wrapping_mul(0x9e37_79b1));
            drop_from(id.into(), Prefix::new(address.into(), 32))
        })
        .collect();
    // the shortest of three: others use this machine too, and this build is not optimised
    let took = (0..3)
        .map(|_| {
            let start = Instant::now();
            fixture.firewall.replace(&rules).expect("rules");
            start.elapsed()
        })
        .min();
    assert!(took < Some(Duration::from_secs(1)), "{took:?}");
    let last = Ipv4Addr::from_bits((MAX_RULES - 1).wrapping_mul(0x9e37_79b1));
    assert_eq!(fixture.verdict(&ether().ipv4(last, A4).udp().build()), Drop);
    assert_eq!(fixture.packets(), [(u64::from(MAX_RULES) - 1, 1)]);
}

/// Each source has the whole rate, an IPv6 source with all of its /64; of another rule it is another one.
#[test]
fn a_limit_per_source_gives_each_its_own_bucket() {
    let Some(mut fixture) = Fixture::with(&rules(&[
        "limit dst 192.0.2.0/24 rate 1 per source",
        "limit src 2001:db8::/32 rate 1 per source",
        "limit proto tcp rate 1 per source",
    ])) else {
        return;
    };
    let from = |last: u8| {
        let frame = ether().ipv4([10, 7, 0, last].into(), [192, 0, 2, 9].into());
        frame.udp().build()
    };
    for last in [1, 2, 3] {
        let verdicts = [0; 3].map(|_| fixture.verdict(&from(last)));
        assert_eq!(verdicts, [Pass, Drop, Drop], "{last}");
    }
    let from6 = |address: &str| ether().ipv6(address.parse().unwrap(), B6).udp().build();
    for (address, expected) in [
        ("2001:db8:0:1::1", Pass),
        ("2001:db8:0:1::1", Drop),
        ("2001:db8:0:1:ffff::2", Drop),
        ("2001:db8:0:2::1", Pass),
    ] {
        assert_eq!(fixture.verdict(&from6(address)), expected, "{address}");
    }
    let tcp = ether().ipv4([10, 7, 0, 1].into(), [198, 51, 100, 1].into());
    let tcp = tcp.tcp(2).build();
    assert_eq!([fixture.verdict(&tcp), fixture.verdict(&tcp)], [Pass, Drop]);
    let counts = fixture.counts();
    let figures = |id: u64| (counts[&id].packets, counts[&id].dropped_packets);
    assert_eq!(
        [figures(1), figures(2), figures(3)],
        [(9, 6), (4, 2), (2, 1)]
    );
    assert_eq!(
        fixture
            .firewall
            .stats()
            .expect("the statistics")
            .new_sources,
        6
    );

    // other rules come and go: what was given out stays given out, unless no rule was for each source
    let limit = rule(1, "limit dst 192.0.2.0/24 rate 1 per source");
    let other = rule(9, "drop src 11.0.0.0/8");
    fixture
        .firewall
        .replace(&[other.clone(), limit.clone()])
        .expect("rules");
    assert_eq!(fixture.verdict(&from(1)), Drop);
    fixture.firewall.replace(&[other]).expect("rules");
    fixture.firewall.replace(&[limit]).expect("rules");
    assert_eq!(fixture.verdict(&from(1)), Pass);
}

/// The kernel's time in the units of a bucket, 1/64 ns, wraps after nine years. A bucket from before that is
/// full, like each one that was idle for long.
#[test]
fn a_bucket_from_before_the_clock_wrapped_is_full() {
    let Some(fixture) = Fixture::with(&rules(&["limit dst 192.0.2.0/24 rate 1 per source"])) else {
        return;
    };
    let source = Ipv4Addr::new(11, 77, 1, 2);
    let frame = ether().ipv4(source, [192, 0, 2, 9].into()).udp().build();
    let put = || fixture.verdict(&frame);
    assert_eq!([put(), put()], [Pass, Drop]);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = (now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64) << 6;
    let year = (365 * 86_400 * 1_000_000_000_u64) << 6;
    for idle in [year / 12, year, 4 * year, 6 * year, 9 * year] {
        set_bucket(source, now.wrapping_sub(idle));
        assert_eq!([put(), put()], [Pass, Drop], "{idle}");
    }
}

/// Writes the bucket of a source that no other test has.
fn set_bucket(source: Ipv4Addr, full_at: u64) {
    let mut set = 0;
    for info in MapInfoIter::default().filter(|info| info.name == "rfm_fw_source") {
        // a map of another program may be gone by now
        let Ok(map) = MapHandle::from_map_id(info.id) else {
            continue;
        };
        let network = u64::from(source.to_bits()) << 32;
        let is_of = |key: &Vec<u8>| key[..8] == network.to_ne_bytes();
        let keys: Vec<_> = map.keys().filter(is_of).collect();
        for key in keys {
            map.update(&key, &full_at.to_ne_bytes(), MapFlags::ANY)
                .expect("written");
            set += 1;
        }
    }
    assert_eq!(set, 1);
}

/// More sources than there are buckets: each new one begins with a full one, whoever has to go for it.
#[test]
fn sources_without_end_are_counted_and_take_no_more_room() {
    let Some(fixture) = Fixture::with(&rules(&["limit dst 192.0.2.0/24 rate 1 per source"])) else {
        return;
    };
    let sources = 70_000_u32;
    for n in 0..sources {
        let frame = ether().ipv4(Ipv4Addr::from_bits(0x0b00_0000 + n), [192, 0, 2, 9].into());
        assert_eq!(fixture.verdict(&frame.udp().build()), Pass, "{n}");
    }
    assert_eq!(fixture.packets(), [(1, u64::from(sources))]);
    let stats = fixture.firewall.stats().expect("the statistics");
    assert_eq!(stats.new_sources, u64::from(sources));
}
