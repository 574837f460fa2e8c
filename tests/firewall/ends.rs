// SPDX-License-Identifier: AGPL-3.0-only
//! Beginnings and ends: restarts, a killed agent, a hook that is taken, interfaces that come later.

use std::time::Duration;

use rustix::process::Signal;

use crate::common::agent::Agent;
use crate::common::lab::{Lab, can_run, run, wait_for};
use crate::common::metrics::Metrics;
use crate::harness::Folder;
use crate::wire::{LIMIT, TOOLS, add, agent_on, file, guarded, packet, passed, section};

/// Whether a program is on the XDP hook of `v1`.
pub fn has_program(namespace: &crate::common::lab::Namespace) -> bool {
    namespace.ip("link show dev v1").contains("xdp")
}

#[test]
fn a_killed_agent_leaves_nothing_and_traffic_flows() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = guarded("[[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\n");
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 3), 0);
    assert!(has_program(&fixture.namespace));
    fixture.agent.signal(Signal::KILL);
    let gone = wait_for(Duration::from_secs(5), || !has_program(&fixture.namespace));
    assert!(gone, "{}", fixture.namespace.ip("link show dev v1"));
    let before = fixture.namespace.device_counters("v1");
    crate::wire::send(&fixture, &packet("192.0.2.1"), 5);
    let came = || fixture.namespace.device_counters("v1") - before;
    assert!(wait_for(LIMIT, || came().rx_packets == 5));
}

#[test]
fn a_clean_stop_detaches_and_a_restart_has_the_rules_of_before() {
    if !can_run(&TOOLS) {
        return;
    }
    let folder = Folder::new();
    let state = folder.0.join("state");
    let more = format!("state_file = \"{}\"\n", state.display());
    let mut fixture = guarded(&more);
    let id = add(&fixture, "--src 192.0.2.0/24 --ttl 1h");
    add(&fixture, "--src 192.0.3.0/24 --ttl 1s");
    let text = file(&fixture.folder, &more);
    fixture.agent.signal(Signal::TERM);
    let stopped = wait_for(LIMIT, || !has_program(&fixture.namespace));
    assert!(stopped, "{}", fixture.agent.log());
    assert!(wait_for(LIMIT, || fixture.agent.log().contains("stopping")
        && !fixture.socket().exists()));
    std::thread::sleep(Duration::from_millis(1200));

    fixture.agent = agent_on(&fixture.lab, &fixture.namespace, &text);
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 3), 0);
    assert_eq!(
        passed(&fixture, &packet("192.0.3.1"), 3),
        3,
        "it has ended meanwhile"
    );
    let list = fixture.json("firewall list");
    assert_eq!(
        (&list["total"], &list["rules"][0]["id"]),
        (&1.into(), &id.into())
    );
}

#[test]
fn a_hook_that_is_taken_is_left_alone() {
    if !can_run(&["ip", "sysctl", "clang"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let folder = Folder::new();
    let source = lab.file(
        "other.c",
        "__attribute__((section(\"xdp\"), used)) int other(void *c) { return 2; }\n\
         char LICENSE[] __attribute__((section(\"license\"), used)) = \"GPL\";\n",
    );
    let object = lab.path("other.o");
    let mut clang = std::process::Command::new("clang");
    run(clang
        .args(["-O2", "-g", "--target=bpf", "-c"])
        .arg(&source)
        .arg("-o")
        .arg(&object));
    let shown = object.display();
    namespace.ip(&format!("link set dev v1 xdpgeneric obj {shown} sec xdp"));
    let agent = Agent::start(&lab, &namespace, &file(&folder, ""));
    let refused = |m: &Metrics| m.sum("rfm_firewall_interfaces", &[("mode", "none")]) == 1;
    assert!(agent.scrape_until(LIMIT, refused).1, "{}", agent.log());
    assert!(agent.log().contains("no firewall on v1"), "{}", agent.log());
    let remedy = "is attached already: detach it (ip link set dev INTERFACE xdp off), or leave the interface out";
    assert!(agent.log().contains(remedy), "{}", agent.log());
    assert!(
        namespace.ip("link show dev v1").contains("xdpgeneric"),
        "it is still there"
    );
    // and takes its place when the other goes
    namespace.ip("link set dev v1 xdpgeneric off");
    let attached = |m: &Metrics| m.sum("rfm_firewall_interfaces", &[("mode", "none")]) == 0;
    assert!(agent.scrape_until(LIMIT, attached).1, "{}", agent.log());
    agent.stop();
}

#[test]
fn interfaces_that_come_later_are_guarded_and_gone_ones_forgotten() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("w");
    let folder = Folder::new();
    let text = file(&folder, "").replace("[agent]\n", "[agent]\nrequire_interface = false\n");
    let agent = Agent::start(&lab, &namespace, &text);
    let on = |m: &Metrics| m.sum("rfm_firewall_interfaces", &[]);
    assert_eq!(on(&agent.scrape()), 0);
    for _ in 0..3 {
        lab.veth((&namespace, "v0"), (&namespace, "v1"));
        assert!(
            agent.scrape_until(LIMIT, |m| on(m) == 1).1,
            "{}",
            agent.log()
        );
        assert!(wait_for(LIMIT, || has_program(&namespace)));
        namespace.ip("link set dev v1 name v2");
        assert!(
            agent.scrape_until(LIMIT, |m| on(m) == 0).1,
            "{}",
            agent.log()
        );
        namespace.ip("link set dev v2 name v1");
        assert!(
            agent.scrape_until(LIMIT, |m| on(m) == 1).1,
            "{}",
            agent.log()
        );
        namespace.ip("link del v0");
        assert!(
            agent.scrape_until(LIMIT, |m| on(m) == 0).1,
            "{}",
            agent.log()
        );
    }
    agent.stop();
}

#[test]
fn what_the_config_may_not_say_is_refused_at_the_start() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let folder = Folder::new();
    let text = file(&folder, "").replace("interfaces = [\"v1\"]\n\n", "");
    assert!(text.contains(section("").split('\n').next().unwrap()));
    let (code, said) = crate::common::agent::refused(&lab, &namespace, &text, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("agent.firewall.interfaces: required"),
        "{said}"
    );
}
