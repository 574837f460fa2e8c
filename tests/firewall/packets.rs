// SPDX-License-Identifier: AGPL-3.0-only
//! What becomes of packets, by each kind of rule.

use std::time::{Duration, Instant};

use crate::common::lab::can_run;
use crate::common::packet::Sender;
use crate::wire::{LIMIT, TOOLS, add, guarded, matched, packet, passed, past, send, to_port};

#[test]
fn drops_passes_and_counts_by_the_first_rule_that_matches() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded(
        "[[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\n\
         [[agent.firewall.rule]]\nsrc = \"2001:db8:1::/48\"\nproto = \"udp\"\ndport = \"50-60\"\n\
         [[agent.firewall.rule]]\nsrc = \"203.0.113.0/24\"\naction = \"count\"\n",
    );
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 10), 0);
    assert_eq!(passed(&fixture, &packet("192.0.3.1"), 10), 10);
    assert_eq!(passed(&fixture, &packet("2001:db8:1::7"), 10), 0);
    assert_eq!(passed(&fixture, &to_port("2001:db8:1::7", 61), 10), 10);
    assert_eq!(passed(&fixture, &packet("203.0.113.7"), 10), 10);

    // runtime rules go first
    let pass = add(&fixture, "--src 192.0.2.1 --action pass");
    let drop = add(&fixture, "--src 203.0.113.0/25");
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 5), 5);
    assert_eq!(passed(&fixture, &packet("192.0.2.2"), 5), 0);
    assert_eq!(passed(&fixture, &packet("203.0.113.7"), 5), 0);
    assert_eq!(passed(&fixture, &packet("203.0.113.200"), 5), 5);
    let metrics = fixture.agent.scrape();
    for (rule, action, packets) in [
        ("config-1", "drop", 15),
        ("config-2", "drop", 10),
        ("config-3", "count", 15),
        (&*format!("runtime-{pass}"), "pass", 5),
        (&*format!("runtime-{drop}"), "drop", 5),
    ] {
        assert_eq!(matched(&metrics, rule, action), packets, "{rule}");
    }
    let labels = [("rule", "config-1"), ("action", "drop")];
    let bytes = metrics.sum("rfm_firewall_bytes_total", &labels);
    assert_eq!(bytes, 15 * packet("192.0.2.1").len() as u64);
    // the flows know nothing of what was dropped
    assert_eq!(
        metrics.sum("rfm_collector_sampled_packets_total", &[]),
        past(&metrics)
    );

    fixture.rfm(&format!("firewall del {drop}"));
    assert_eq!(passed(&fixture, &packet("203.0.113.7"), 5), 5);
    fixture.rfm("firewall flush");
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 5), 0);
}

#[test]
fn a_limit_lets_through_what_it_says() {
    if !can_run(&TOOLS) {
        return;
    }
    const RATE: u64 = 500;
    let fixture = guarded("");
    let id = add(
        &fixture,
        &format!("--src 192.0.2.0/24 --action limit --rate {RATE}"),
    );
    let frame = packet("192.0.2.1");
    // twice as many as may pass, over a second
    let start = Instant::now();
    let mut sent = 0u64;
    fixture.namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        while start.elapsed() < Duration::from_secs(1) {
            for _ in 0..20 {
                sender.send(&frame, 0).expect("sent");
                sent += 1;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    let label = format!("runtime-{id}");
    let of = |m: &_, action| matched(m, &label, action);
    let all = |m: &_| of(m, "pass") + of(m, "drop") == sent;
    let (metrics, reached) = fixture.agent.scrape_until(LIMIT, all);
    assert!(reached, "{sent} sent");
    assert!(
        fixture
            .agent
            .scrape_until(LIMIT, |m| past(m) == of(&metrics, "pass"))
            .1
    );
    let allowed = RATE as f64 * seconds + RATE as f64 / 10.0 + 2.0;
    let passed = of(&metrics, "pass") as f64;
    println!("{sent} sent in {seconds:.3} s, {passed} passed, at most {allowed:.0} may");
    assert!(passed <= allowed);
    assert!(passed >= allowed * 0.9, "{passed} of {allowed}");
    // other sources are not the rule's
    send(&fixture, &packet("192.0.3.1"), 200);
    let more = |m: &_| past(m) as f64 == passed + 200.0;
    assert!(fixture.agent.scrape_until(LIMIT, more).1);
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

#[test]
fn the_allow_list_and_own_addresses_always_pass() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded(
        "allow = [\"192.0.2.0/24\"]\n[[agent.firewall.rule]]\nsrc = \"0.0.0.0/0\"\naction = \"drop\"\n",
    );
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 5), 5);
    assert_eq!(passed(&fixture, &packet("203.0.113.1"), 5), 0);
    // the address becomes an own one, and ceases to be
    let own = |how: &str| {
        fixture
            .namespace
            .ip(&format!("address {how} 198.51.100.9/32 dev lo"))
    };
    own("add");
    let rules = || fixture.json("firewall stats")["rules"]["allow"].as_u64();
    assert!(
        crate::common::lab::wait_for(LIMIT, || rules() == Some(3)),
        "{:?}",
        rules()
    );
    assert_eq!(passed(&fixture, &packet("203.0.113.1"), 5), 5);
    own("del");
    assert!(
        crate::common::lab::wait_for(LIMIT, || rules() == Some(2)),
        "{:?}",
        rules()
    );
    assert_eq!(passed(&fixture, &packet("203.0.113.1"), 5), 0);
}

#[test]
fn a_rule_is_for_the_interfaces_that_it_names() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    add(&fixture, "--src 192.0.2.0/24 --interface wan.*");
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 5), 5);
    // another interface comes to be meant: the wire itself, renamed
    add(&fixture, "--src 192.0.3.0/24 --interface v1");
    assert_eq!(passed(&fixture, &packet("192.0.3.1"), 5), 0);
}
