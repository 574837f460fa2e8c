// SPDX-License-Identifier: AGPL-3.0-only
//! Attacks are dropped or limited, and nothing else is.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::common::lab::{can_run, wait_for};
use crate::common::traffic::{Other, meanwhile};
use crate::floods::{RATE, ethernet, flood, spoofed};
use crate::legitimate::Legitimate;
use crate::network::{HOST, Network, TOOLS, TTL, host6, time};

/// An attack, and what its first alarm must say.
struct Case {
    name: &'static str,
    frame: Box<dyn Fn(u64) -> Vec<u8> + Sync>,
    target: &'static str,
    signature: &'static [&'static str],
    action: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |name, target, signature, action, frame: Box<dyn Fn(u64) -> Vec<u8> + Sync>| Case {
        name,
        frame,
        target,
        signature,
        action,
    };
    let random = |n: u64| (n.wrapping_mul(40_503) >> 3) as u16 | 1;
    vec![
        case(
            "NTP reflection from 500 sources",
            "192.0.2.7/32",
            &["protocol udp", "sport 123", "length 468"],
            "drop",
            Box::new(move |n| {
                let frame = ethernet().ipv4(spoofed(n % 500), HOST).udp();
                frame.ports(123, random(n % 500)).payload(440).build()
            }),
        ),
        case(
            "SYN flood of 40 bytes",
            "192.0.2.7/32",
            &["protocol tcp", "syn/syn,ack", "dport 443", "length 40"],
            "drop",
            Box::new(move |n| {
                let frame = ethernet().ipv4(spoofed(n), HOST).tcp(0x02);
                frame.ports(random(n), 443).build()
            }),
        ),
        case(
            "UDP carpet over a /24",
            "192.0.2.0/24",
            &["dst 192.0.2.0/24", "protocol udp", "length 228"],
            "drop",
            Box::new(move |n| {
                let to = Ipv4Addr::new(192, 0, 2, (n * 97 % 253) as u8 + 1);
                let frame = ethernet().ipv4(spoofed(n), to).udp();
                frame.ports(random(n), random(n + 7)).payload(200).build()
            }),
        ),
        case(
            "fragments",
            "192.0.2.7/32",
            &["protocol udp", "fragment later"],
            "drop",
            Box::new(move |n| {
                let frame = ethernet().ipv4(spoofed(n), HOST);
                let frame = frame.fragment(1_480 * ((n % 5) as u16 + 1), true);
                frame.udp().ports(random(n), 9).payload(300).build()
            }),
        ),
        case(
            "DNS amplification with IPv6",
            "2001:db8:1::7/128",
            &["protocol udp", "sport 53", "length"],
            "drop",
            Box::new(move |n| {
                let from = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, (n % 300) as u16 + 1);
                let frame = ethernet().ipv6(from, host6()).udp();
                frame
                    .ports(53, random(n))
                    .payload(1_100 + (n % 60) as usize)
                    .build()
            }),
        ),
        case(
            "GRE flood",
            "192.0.2.7/32",
            &["protocol gre"],
            "drop",
            Box::new(move |n| {
                let frame = ethernet().ipv4(spoofed(n), HOST);
                frame.says(47).payload(100 + (n % 700) as usize).build()
            }),
        ),
    ]
}

fn has(text: &str, part: &str) -> bool {
    text.split(", ").any(|one| one.contains(part))
}

/// Runs an attack until its rules have been in force for two seconds, and checks everything that has an
/// expectation. Returns the time from the alarm to the rule.
fn attack(network: &Network, legitimate: &Legitimate<'_>, case: &Case) -> Duration {
    let before = network.events().len();
    let sent = AtomicU64::new(0);
    let answers = legitimate.answers.load(SeqCst);
    let began = SystemTime::now();
    let first = |events: &[Value], step: &str| {
        let found = events[before..].iter().find(|event| event["event"] == step);
        found.cloned()
    };
    let attacker: Other<'_> = &|stop| {
        flood(&network.outside, RATE, &*case.frame, &sent, stop);
    };
    // the packets sent so far, at times of the clock of the events
    let samples = Mutex::new(Vec::new());
    let sampler: Other<'_> = &|stop| {
        while !stop.load(SeqCst) {
            let sample = (SystemTime::now(), sent.load(SeqCst));
            samples.lock().expect("no panic").push(sample);
            sleep(Duration::from_millis(1));
        }
    };
    let rules = meanwhile(&[attacker, sampler], || {
        let limit = Duration::from_secs(5);
        assert!(
            wait_for(limit, || first(&network.events(), "rules").is_some()),
            "{}: no rules: {:#}",
            case.name,
            network.guard()
        );
        sleep(Duration::from_millis(3_000));
        first(&network.events(), "rules").expect("still there")
    });
    let ended = SystemTime::now();
    let attack = &rules["attack"];
    let signature = attack["signature"].as_str().unwrap_or("none");
    let alarm = time(&attack["alarm"]).duration_since(began).expect("after");
    let rule = time(&rules["time"])
        .duration_since(time(&attack["alarm"]))
        .expect("after");
    let done = wait_for(TTL + Duration::from_secs(10), || {
        first(&network.events(), "end").is_some()
    });
    assert!(done, "{}: {:#}", case.name, network.guard());
    let removed = first(&network.events(), "rules_removed").expect("removed");
    let matched = removed["attack"]["matched_packets"].as_u64();
    let matched = matched.expect("a number");
    let at_rule = time(&rules["time"]);
    let samples = samples.into_inner().expect("no panic");
    let earlier = samples.iter().rfind(|(at, _)| *at <= at_rule);
    let (_, before_rule) = *earlier.expect("a sample before the rule");
    let all = sent.load(SeqCst);
    assert!(matched <= all, "{}: {matched} of {all}", case.name);
    // all counters are final: what is neither matched nor sent before the rule has passed
    let passed = (all - matched).saturating_sub(before_rule);
    let share = 1.0 - passed as f64 / (all - before_rule) as f64;
    println!(
        "{}: alarm after {alarm:?}, rule after {rule:?} more, {:.1} % dropped: {signature}",
        case.name,
        100.0 * share
    );
    assert_eq!(attack["target"], case.target, "{attack:#}");
    assert_eq!(attack["action"], case.action, "{attack:#}");
    for part in case.signature {
        assert!(has(signature, part), "{}: {signature}", case.name);
    }
    assert_eq!(attack["interface"], "wan0");
    assert_eq!(attack["peer_asns"], json!([64500]), "{attack:#}");
    assert_eq!(first(&network.events(), "link_full"), None, "{}", case.name);
    assert!(alarm <= Duration::from_millis(1_500), "{}", case.name);
    assert!(share >= 0.98, "{}: {share}", case.name);
    let after = time(&removed["time"]).duration_since(ended).expect("after");
    assert!(after <= TTL, "{}: removed after {after:?}", case.name);
    assert!(legitimate.answers.load(SeqCst) > answers + 200);
    rule
}

#[test]
fn attacks_are_dropped_and_nothing_else() {
    if !can_run(&TOOLS) {
        return;
    }
    let network = Network::new();
    let legitimate = Legitimate {
        network: &network,
        answers: AtomicU64::new(0),
    };
    legitimate.serve();
    let agent = network.agent("drop");
    let [web, ssh, dns]: [Other<'_>; 3] = [
        &|stop| legitimate.web(stop),
        &|stop| legitimate.ssh(stop),
        &|stop| legitimate.dns(stop),
    ];
    let before = network.retransmitted(&network.outside);
    meanwhile(&[web, ssh, dns], || {
        // all flows are new in the first three seconds
        sleep(Duration::from_secs(4));
        let cases = cases();
        for case in &cases {
            let rule = attack(&network, &legitimate, case);
            assert!(
                rule <= Duration::from_millis(100),
                "{}: {rule:?}",
                case.name
            );
        }
    });
    // a busy machine answers some segments late, and the kernel sends them again; queries by UDP are sent once
    let again = network.retransmitted(&network.outside) - before;
    assert!(again < 10, "{again} segments were sent again");
    let metrics = agent.scrape();
    assert_eq!(metrics.sum("rfm_guard_active", &[]), 0);
    let drops = metrics.sum("rfm_guard_attacks_total", &[("action", "drop")]);
    assert_eq!(drops, cases().len() as u64, "{:#}", network.guard());
    agent.stop();
}

#[test]
fn an_attack_that_fills_the_link_is_reported_as_such() {
    if !can_run(&TOOLS) {
        return;
    }
    let network = Network::new();
    // 506 bytes of each frame on the wire
    let speed = RATE * 506 * 8;
    let link = format!("[[agent.guard.link]]\ninterface = \"wan0\"\nspeed = {speed}\n");
    let agent = network.agent_with("drop", &link);
    sleep(Duration::from_secs(4));
    let ntp = &cases()[0];
    let sent = AtomicU64::new(0);
    let attacker: Other<'_> = &|stop| flood(&network.outside, RATE, &*ntp.frame, &sent, stop);
    meanwhile(&[attacker], || {
        let full = || {
            let events = network.events();
            events
                .into_iter()
                .find(|event| event["event"] == "link_full")
        };
        let reported = wait_for(Duration::from_secs(15), || full().is_some());
        assert!(reported, "{:#}", network.guard());
        let attack = &full().expect("still there")["attack"];
        // the rule drops all packets, and the link is full nevertheless
        assert_eq!(
            (&attack["in_force"], &attack["link_full"]),
            (&json!(true), &json!(true))
        );
        let rate = attack["link_bits_per_second"].as_f64().expect("a number");
        assert!(rate >= 0.95 * speed as f64, "{attack:#}");
    });
    assert!(
        agent.log().contains("only an announcement upstream"),
        "{}",
        agent.log()
    );
    agent.stop();
}

#[test]
fn a_flood_of_syns_as_clients_send_them_is_limited_by_source() {
    if !can_run(&TOOLS) {
        return;
    }
    let network = Network::new();
    let legitimate = Legitimate {
        network: &network,
        answers: AtomicU64::new(0),
    };
    legitimate.serve();
    let agent = network.agent("drop");
    let [web, ssh]: [Other<'_>; 2] = [&|stop| legitimate.web(stop), &|stop| legitimate.ssh(stop)];
    let sent = AtomicU64::new(0);
    meanwhile(&[web, ssh], || {
        sleep(Duration::from_secs(4));
        // 60 bytes: 20 of options
        let frame = |n: u64| {
            let frame = ethernet().ipv4(spoofed(n), HOST).tcp(0x02);
            let mut bytes = frame
                .ports((n % 60_000) as u16 + 1, 443)
                .payload(20)
                .build();
            bytes[46] = 10 << 4;
            bytes
        };
        let attacker: Other<'_> = &|stop| flood(&network.outside, RATE, &frame, &sent, stop);
        meanwhile(&[attacker], || {
            let rules = || {
                let events = network.events();
                events.into_iter().find(|event| event["event"] == "rules")
            };
            assert!(wait_for(Duration::from_secs(5), || rules().is_some()));
            let event = rules().expect("still there");
            let attack = &event["attack"];
            assert_eq!(attack["action"], "limit", "{attack:#}");
            assert_eq!(attack["rules"][0]["per"], "source", "{attack:#}");
            sleep(Duration::from_secs(2));
        });
    });
    assert!(legitimate.answers.load(SeqCst) > 200);
    agent.stop();
}
