// SPDX-License-Identifier: AGPL-3.0-only
//! Rules that end by themselves, that a reload brings, and that change under a flood.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::lab::{can_run, wait_for};
use crate::common::packet::Sender;
use crate::common::traffic::meanwhile;
use crate::wire::{LIMIT, TOOLS, add, file, guarded, matched, packet, passed, past};

#[test]
fn a_rule_ends_by_itself() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    let start = Instant::now();
    add(&fixture, "--src 192.0.2.0/24 --ttl 2s");
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 3), 0);
    let gone = || fixture.json("firewall list")["total"] == 0;
    assert!(wait_for(LIMIT, gone));
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(4),
        "{took:?}"
    );
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 3), 3);
}

#[test]
fn a_reload_changes_the_rules_of_the_file_and_no_other() {
    if !can_run(&TOOLS) {
        return;
    }
    let rule = |src: &str| format!("[[agent.firewall.rule]]\nsrc = \"{src}\"\n");
    let fixture = guarded(&(rule("192.0.2.0/24") + &rule("192.0.3.0/24")));
    let runtime = add(&fixture, "--src 192.0.4.0/24");
    assert_eq!(passed(&fixture, &packet("192.0.3.1"), 3), 0);

    let reload = |text: &str| {
        fixture.lab.file("rfm.toml", &file(&fixture.folder, text));
        fixture.try_rfm("reload --json")
    };
    let (code, said, _) = reload(&(rule("192.0.3.0/24") + &rule("192.0.5.0/24")));
    assert_eq!(code, 0);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["changed"], json!(["agent.firewall.rule"]));
    for (from, expected) in [
        ("192.0.2.1", 4),
        ("192.0.3.1", 0),
        ("192.0.4.1", 0),
        ("192.0.5.1", 0),
    ] {
        assert_eq!(passed(&fixture, &packet(from), 4), expected, "{from}");
    }
    // the rule that stayed has its number and its count
    let metrics = fixture.agent.scrape();
    assert_eq!(matched(&metrics, "config-2", "drop"), 7);
    assert_eq!(matched(&metrics, &format!("runtime-{runtime}"), "drop"), 4);

    let (code, _, error) = reload("[[agent.firewall.rule]]\nsrc = \"nonsense\"\n");
    assert_eq!(code, 1);
    assert!(
        error.contains("agent.firewall.rule[0].src: expected a prefix"),
        "{error}"
    );
    assert_eq!(passed(&fixture, &packet("192.0.5.1"), 3), 0, "as before");

    // an interface that is no longer configured passes everything
    let off = file(&fixture.folder, &rule("192.0.5.0/24")).replace("[\"v1\"]\n[[", "[\"x\"]\n[[");
    fixture.lab.file("rfm.toml", &off);
    fixture.rfm("reload");
    let none = |m: &crate::common::metrics::Metrics| m.sum("rfm_firewall_interfaces", &[]) == 0;
    assert!(
        fixture.agent.scrape_until(LIMIT, none).1,
        "{}",
        fixture.agent.log()
    );
    assert_eq!(passed(&fixture, &packet("192.0.5.1"), 3), 3);
}

#[test]
fn no_packet_meets_the_wrong_rules_while_they_change() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("[[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\n");
    let (good, bad) = (packet("192.0.3.1"), packet("192.0.2.1"));
    let sent = AtomicU64::new(0);
    let flood = |stop: &std::sync::atomic::AtomicBool| {
        let sender = Sender::new("v0").expect("a packet socket");
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..100 {
                sender.send(&good, 0).expect("sent");
                sender.send(&bad, 0).expect("sent");
            }
            sent.fetch_add(100, Ordering::Relaxed);
        }
    };
    let mut changes = 0;
    fixture.namespace.inside(|| {
        meanwhile(&[&flood], || {
            let end = Instant::now() + Duration::from_secs(3);
            while Instant::now() < end {
                let id = add(&fixture, &format!("--src 203.0.113.{}", changes % 200));
                fixture.rfm(&format!("firewall del {id}"));
                changes += 2;
            }
        });
    });
    let sent = sent.load(Ordering::Relaxed);
    println!("{changes} changes while {sent} good and {sent} bad packets came");
    let all = |m: &_| past(m) + matched(m, "config-1", "drop") >= 2 * sent;
    let (metrics, reached) = fixture.agent.scrape_until(LIMIT, all);
    assert!(
        reached,
        "{} and {}",
        past(&metrics),
        matched(&metrics, "config-1", "drop")
    );
    assert_eq!(
        past(&metrics),
        sent,
        "all that should pass and none that should not"
    );
    assert_eq!(matched(&metrics, "config-1", "drop"), sent);
    assert!(changes > 10);
}

#[test]
fn what_has_changed_holds_for_the_next_packet() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    let frame = packet("192.0.2.1");
    for _ in 0..10 {
        let id = add(&fixture, "--src 192.0.2.0/24");
        assert_eq!(passed(&fixture, &frame, 20), 0);
        fixture.rfm(&format!("firewall del {id}"));
        assert_eq!(passed(&fixture, &frame, 20), 20);
    }
}
