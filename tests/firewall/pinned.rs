// SPDX-License-Identifier: AGPL-3.0-only
//! `agent.firewall.pin`: what outlives the agent, who takes it over, and how one gets rid of it.

use std::fs;

use crate::common::agent::{Agent, http_get};
use crate::common::lab::{Lab, Namespace, can_run, run, wait_for};
use crate::ends::has_program;
use crate::harness::{Fixture, Folder};
use crate::wire::{LIMIT, attached, file, packet, passed};

const CONFIG: &str = "pin = true\n[[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\n";

/// A process that keeps a mount namespace with a file system of BPF objects; its number. `ip netns exec`
/// makes one for each command, without.
fn keeper(lab: &Lab, namespace: &Namespace) -> String {
    let file = lab.path("keeper.pid");
    let script = format!(
        "mount -t bpf bpf /sys/fs/bpf && echo $$ > {} && exec sleep 1000",
        file.display()
    );
    lab.spawn(namespace, "keeper.log", "sh", &["-c", &script]);
    let pid = || {
        fs::read_to_string(&file)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    assert!(wait_for(LIMIT, || !pid().is_empty()), "nothing was mounted");
    pid()
}

#[test]
fn what_is_pinned_stays_is_taken_over_and_can_be_removed() {
    if !can_run(&["ip", "sysctl", "mount", "nsenter"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let folder = Folder::new();
    let pid = keeper(&lab, &namespace);
    let inside = ["nsenter", "--mount", "--root", "--target", &pid];
    let text = file(&folder, CONFIG);
    let start = |text: &str| Agent::start_under(&lab, &namespace, text, &inside);

    let agent = start(&text);
    attached(&agent);
    agent.kill();
    assert!(has_program(&namespace), "it outlives a killed agent");

    let agent = start(&text);
    attached(&agent);
    let fixture = Fixture {
        agent,
        namespace: namespace.clone(),
        folder,
        lab: Lab::among_others(),
    };
    assert_eq!(passed(&fixture, &packet("192.0.2.1"), 3), 0);
    assert_eq!(passed(&fixture, &packet("192.0.3.1"), 3), 3);
    let log = fixture.agent.log();
    assert!(!log.contains("no firewall on v1"), "{log}");
    let Fixture { agent, .. } = fixture;
    agent.kill();

    // without the key, what was left is not in the way
    let agent = start(&text.replace("pin = true\n", ""));
    attached(&agent);
    let log = agent.log();
    assert!(
        log.contains("removed the firewall of a killed agent"),
        "{log}"
    );
    agent.kill();
    assert!(
        wait_for(LIMIT, || !has_program(&namespace)),
        "it is not pinned now"
    );

    let agent = start(&text);
    attached(&agent);
    agent.stop();
    assert!(
        has_program(&namespace),
        "nor does a clean stop detach what is pinned"
    );
    let mut detach = namespace.command(inside[0], &inside[1..]);
    run(detach.args([env!("CARGO_BIN_EXE_rfm"), "--detach"]));
    assert!(
        wait_for(LIMIT, || !has_program(&namespace)),
        "nothing is left"
    );
}

/// One file system of BPF objects for two network namespaces, in which the interface has the same number: each
/// agent has its own link. Neither the start of another agent nor `rfm --detach` removes what an agent that runs has pinned.
#[test]
fn agents_that_share_a_file_system_leave_each_other_alone() {
    if !can_run(&["ip", "sysctl", "mount", "nsenter"]) {
        return;
    }
    let lab = Lab::new();
    let (one, two) = (lab.wire(), lab.namespace("x"));
    lab.veth((&two, "v0"), (&two, "v1"));
    assert_eq!(one.ifindex("v1"), two.ifindex("v1"));
    let pid = keeper(&lab, &one);
    let inside = ["nsenter", "--mount", "--root", "--target", &pid];
    let detach = |namespace: &Namespace| {
        let mut detach = namespace.command(inside[0], &inside[1..]);
        run(detach.args([env!("CARGO_BIN_EXE_rfm"), "--detach"]));
    };
    let (folder, other_folder) = (Folder::new(), Folder::new());
    let first = Agent::start_under(&lab, &one, &file(&folder, CONFIG), &inside);
    attached(&first);
    let programs = || [&one, &two].map(has_program);
    let second = Agent::start_under(&lab, &two, &file(&other_folder, CONFIG), &inside);
    attached(&second);
    assert_eq!(programs(), [true, true]);
    detach(&one);
    detach(&two);
    let third = Folder::new();
    let text = file(&third, "").replace("port = 9669", "port = 9670");
    assert!(text.contains("port = 9670"));
    let third = Agent::start_under(&lab, &one, &text, &inside);
    let healthy = || http_get(&one, 9670, "/healthz").is_ok_and(|reply| reply.status == 200);
    assert!(wait_for(LIMIT, healthy), "{}", third.log());
    third.stop();

    // so both are still pinned
    second.kill();
    assert_eq!(programs(), [true, true]);
    detach(&one);
    assert_eq!(programs(), [true, true], "it is of the other namespace");
    detach(&two);
    assert!(wait_for(LIMIT, || !has_program(&two)));
    first.kill();
    assert_eq!(programs(), [true, false]);
    detach(&one);
    assert!(wait_for(LIMIT, || !has_program(&one)));
}
