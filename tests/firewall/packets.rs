// SPDX-License-Identifier: AGPL-3.0-only
//! What becomes of packets, by each kind of rule.

use crate::common::lab::can_run;
use crate::wire::{LIMIT, TOOLS, add, guarded, matched, packet, passed, past, to_port};

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
