// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm firewall`: its output, and who may use it.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::lab::{can_run, try_run};
use crate::harness::{Fixture, parts};
use crate::wire::{TOOLS, add, guarded, packet, passed};

#[test]
fn what_was_added_is_listed_and_taken_out() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture =
        guarded("allow = [\"203.0.113.0/24\"]\n[[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\n");
    let id = add(
        &fixture,
        "--dst 198.51.100.0/24 --proto udp --dport 53 --ttl 1h",
    );
    assert_eq!(passed(&fixture, &packet("192.0.7.1"), 3), 0);
    let list = fixture.json("firewall list --all");
    assert_eq!(list["total"], 4);
    let origins: Vec<_> = list["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["origin"])
        .collect();
    assert_eq!(origins, ["allow", "allow", "runtime", "config"]);
    let added = &list["rules"][2];
    assert_eq!(added["id"], id);
    assert_eq!(added["packets"], 3);
    assert_eq!(added["rule"]["dport"], "53");
    assert_eq!(added["rule"]["action"], "drop");
    assert!(added["expires"].as_str().unwrap().ends_with('Z'));
    let text = fixture.rfm("firewall list");
    assert!(text.starts_with("ID  FROM"), "{text}");
    assert!(text.contains("198.51.100.0/24"), "{text}");
    assert!(text.contains("  in 59m "), "{text}");
    assert!(
        text.ends_with("\n2 rules of the allow list, listed with --all\n"),
        "{text}"
    );
    let listed = fixture.json("firewall list");
    assert_eq!(listed["total"], 2);
    assert_eq!(listed["rules"].as_array().unwrap().len(), 2);
    let stats = fixture.rfm("firewall stats");
    assert!(
        stats.starts_with(
            "rules: 2 allow, 1 runtime, 1 config, 0 guard, 0 blackhole, 0 source-check\n"
        ),
        "{stats}"
    );
    assert!(
        stats.contains(&format!("\nruntime-{id}  drop          3")),
        "{stats}"
    );
    let stats = fixture.json("firewall stats");
    assert_eq!(stats["interfaces"][0]["name"], "v1");
    assert_eq!(stats["interfaces"][0]["problem"], json!(null));

    assert_eq!(
        fixture.rfm(&format!("firewall del {id}")),
        "1 rule removed\n"
    );
    let (code, _, error) = fixture.try_rfm(&format!("firewall del {id}"));
    assert_eq!(
        (code, &*error),
        (
            1,
            &*format!("rfm: there is no rule {id} (see: rfm firewall list)\n")
        )
    );
    let config = list["rules"][3]["id"].as_u64().unwrap();
    let (code, _, error) = fixture.try_rfm(&format!("firewall del {config}"));
    assert_eq!(code, 1);
    assert!(error.contains("is of the configuration"), "{error}");
}

#[test]
fn mistakes_are_told_before_the_agent_is_asked() {
    for (words, expected) in [
        (
            "add --src 192.0.2.1/24",
            "rfm: --src: expected a prefix such as 10.0.0.0/8",
        ),
        (
            "add --protocol icmp --dport 53",
            "rfm: --dport: needs a proto with ports",
        ),
        (
            "add --tcp-flags fyn",
            "rfm: --tcp-flags: expected flags such as syn/syn,ack",
        ),
        (
            "add --protocol none",
            "rfm: --protocol: expected protocols such as tcp",
        ),
        ("add --action limit", "rfm: --rate: required with action"),
        ("del", "rfm: expected the number of a rule"),
        ("load /nonexistent/a", "rfm: /nonexistent/a: cannot read"),
    ] {
        let socket = std::path::Path::new("/nonexistent/a.sock");
        let (code, _, error) = parts(crate::harness::rfm(socket, &format!("firewall {words}")));
        assert_eq!(code, 2, "{words}");
        assert!(error.starts_with(expected), "{words}: {error}");
    }
}

#[test]
fn a_file_is_loaded_whole_or_not_at_all() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    let load = |more: &str, text: &str| {
        let file = fixture.lab.file("rules", text);
        fixture.try_rfm(&format!("firewall load {} {more}", file.display()))
    };
    let (code, _, error) = load("", "192.0.2.0/24\n--src nonsense\n\n--acton drop\n");
    assert_eq!(code, 2);
    assert!(
        error.contains("/rules:2: src: expected a prefix"),
        "{error}"
    );
    assert!(
        error.contains("/rules:4: unknown option --acton, did you mean --action?"),
        "{error}"
    );
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 3), 3);
    let (code, said, _) = load(
        "",
        "# a list\n192.0.2.0/24\n--src 192.0.3.0/24 --action count\n",
    );
    assert_eq!((code, &*said), (0, "2 rules\n"));
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 3), 0);
    assert_eq!(passed(&fixture, &packet("192.0.3.1"), 3), 3);
    let (_, said, _) = load("--replace", "192.0.3.0/24\n");
    assert_eq!(said, "1 rule in place of 2\n");
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 3), 3);
    assert_eq!(passed(&fixture, &packet("192.0.3.1"), 3), 0);
}

#[test]
fn a_hundred_thousand_prefixes_are_loaded_at_once_and_not_one_more() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("");
    let prefix = |n: u32| format!("10.{}.{}.{}/32\n", n >> 16, n >> 8 & 255, n & 255);
    let text: String = (0..100_000).map(prefix).collect();
    let file = fixture.lab.file("rules", &text);
    let start = Instant::now();
    assert_eq!(
        fixture.rfm(&format!("firewall load {}", file.display())),
        "100000 rules\n"
    );
    let took = start.elapsed();
    println!("100,000 prefixes loaded in {took:?}, command and all");
    // without optimisation some times as long as it takes those who run it
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(passed(&fixture, &packet("10.0.0.77"), 3), 0);
    assert_eq!(passed(&fixture, &packet("10.1.134.159"), 3), 0);
    assert_eq!(passed(&fixture, &packet("10.1.134.160"), 3), 3);
    let (code, _, error) = fixture.try_rfm("firewall add --src 192.0.2.1");
    assert_eq!(code, 1);
    assert!(
        error.contains("expected at most 100000 rules, got 100001: remove some"),
        "{error}"
    );
    assert_eq!(
        fixture.json("firewall list")["rules"]
            .as_array()
            .unwrap()
            .len(),
        100_000
    );
    let metrics = fixture.agent.scrape();
    let series = metrics.get("rfm_firewall_packets_total", &[("rule", "other")]);
    assert!(series.is_some());
    assert_eq!(
        metrics.sum("rfm_firewall_rules", &[("origin", "runtime")]),
        100_000
    );
    assert_eq!(fixture.rfm("firewall flush"), "100000 rules removed\n");
    assert_eq!(passed(&fixture, &packet("10.0.0.77"), 3), 3);
}

#[test]
fn reading_is_for_all_who_may_open_the_socket_and_changing_is_not() {
    if !can_run(&["ip", "sysctl", "setpriv"]) {
        return;
    }
    let fixture = Fixture::new(&format!("mode = \"0666\"\n{}", crate::wire::section("")));
    let program = fixture.folder.0.join("rfm");
    std::fs::copy(env!("CARGO_BIN_EXE_rfm"), &program).expect("copied");
    let file = fixture.folder.0.join("rules");
    std::fs::write(&file, "192.0.2.0/24\n".repeat(1000)).expect("written");
    let as_nobody = |words: &str| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(words.split_whitespace())
            .arg("--socket")
            .arg(fixture.socket())
            .current_dir("/");
        parts(try_run(&mut command))
    };
    for words in ["firewall list", "firewall stats"] {
        let (code, _, error) = as_nobody(words);
        assert_eq!((code, &*error), (0, ""), "{words}");
    }
    let load = format!("firewall load {}", file.display());
    for words in [
        "firewall add --src 192.0.2.1",
        "firewall del 1",
        "firewall flush",
    ] {
        let (code, _, error) = as_nobody(words);
        assert_eq!(code, 1, "{words}");
        assert!(error.contains("may only read"), "{words}: {error}");
    }
    // not even the body is taken in
    let (code, _, error) = as_nobody(&load);
    assert_eq!(code, 1);
    assert!(error.contains("too large"), "{error}");
    assert_eq!(fixture.json("firewall list")["total"], 0);
}

#[test]
fn a_change_that_would_cut_off_the_caller_needs_force() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("allow_own = false\n");
    let over_ssh = |words: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
        command
            .args(words.split_whitespace())
            .arg("--socket")
            .arg(fixture.socket())
            .env("SSH_CONNECTION", "192.0.2.7 51234 198.51.100.1 22");
        parts(try_run(&mut command))
    };
    let (code, _, error) = over_ssh("firewall add --src 192.0.2.0/24");
    assert_eq!(code, 1);
    assert!(
        error.contains("would stop your own SSH connection from 192.0.2.7"),
        "{error}"
    );
    assert!(error.contains("force"), "{error}");
    assert_eq!(fixture.json("firewall list")["total"], 0);
    let (code, _, error) = over_ssh("firewall add --src 192.0.2.0/24 --proto udp");
    assert_eq!((code, &*error), (0, ""));
    let (code, _, error) = over_ssh("firewall add --src 192.0.2.0/24 --force");
    assert_eq!((code, &*error), (0, ""));
    let (code, _, error) = fixture.try_rfm("firewall add");
    assert_eq!(code, 1);
    let expected = "rfm: refused: this rule would drop ALL traffic. Give --src, --dst or --protocol, or add --force\n";
    assert_eq!(error, expected);
}

#[test]
fn without_a_firewall_there_is_none_to_ask() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = Fixture::new("");
    let (code, _, error) = fixture.try_rfm("firewall list");
    assert_eq!(code, 1);
    assert!(error.contains("agent.firewall.enabled is false"), "{error}");
    assert_eq!(fixture.agent.scrape().get("rfm_firewall_rules", &[]), None);
}
