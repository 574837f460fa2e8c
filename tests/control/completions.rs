// SPDX-License-Identifier: AGPL-3.0-only
//! The completions in the shells themselves: commands, options, values, interfaces, and the numbers of rules.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::common::lab::{can_run, wait_for};
use crate::harness::Fixture;
use crate::terminal::Terminal;

const PROMPT: &str = "ready>";

struct Shell {
    name: &'static str,
    /// Starts it without the files of the user; `{scripts}` is the folder of the completions.
    start: &'static str,
    /// Commands after the start.
    setup: &'static [&'static str],
    /// Keys that list what fits.
    list: &'static [&'static str],
}

const SHELLS: [Shell; 3] = [
    Shell {
        name: "bash",
        start: "bash --norc --noprofile",
        setup: &[
            "bind 'set completion-query-items 0'",
            "source {scripts}/rfm.bash",
        ],
        list: &["Tab", "Tab"],
    },
    Shell {
        name: "zsh",
        start: "zsh -f",
        setup: &[
            "fpath=({scripts} $fpath)",
            "autoload -Uz compinit",
            "compinit -u -D",
        ],
        list: &["Tab"],
    },
    Shell {
        name: "fish",
        start: "fish --no-config -C 'function fish_prompt; echo -n \"ready> \"; end'",
        setup: &["source {scripts}/rfm.fish"],
        list: &["Tab"],
    },
];

#[test]
fn shells_complete_values_interfaces_and_numbers_of_rules() {
    if !can_run(&["ip", "sysctl", "tmux", "bash", "zsh", "fish"]) {
        return;
    }
    let fixture = Fixture::new("[agent.firewall]\nenabled = true\ninterfaces = [\"v1\"]\n");
    let ids: Vec<_> = (1..=2)
        .map(|n| fixture.json(&format!("firewall add --src 192.0.2.{n}"))["added"][0].to_string())
        .collect();
    // the name of the program, at the socket of this agent
    let bin = fixture.folder.0.join("bin");
    fs::create_dir(&bin).expect("a folder of the test");
    let socket = fixture.socket();
    let script = format!(
        "#!/bin/sh\nexec {} \"$@\" --socket {}\n",
        env!("CARGO_BIN_EXE_rfm"),
        socket.display()
    );
    fs::write(bin.join("rfm"), script).expect("written");
    fs::set_permissions(bin.join("rfm"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let cases: [(&str, Vec<&str>); 12] = [
        ("rfm fire", vec!["firewall"]),
        (
            "rfm firewall ",
            vec!["add", "del", "list", "flush", "stats", "load"],
        ),
        ("rfm flows --src", vec!["--src", "--src-port", "--src-asn"]),
        ("rfm flows --protocol ", vec!["icmpv6", "tcp", "udplite"]),
        ("rfm top --direction ", vec!["ingress", "egress"]),
        (
            "rfm flows --sort ",
            vec!["bytes", "packets", "rate", "last", "duration"],
        ),
        (
            "rfm firewall add --action ",
            vec!["drop", "pass", "count", "limit"],
        ),
        ("rfm firewall add --per ", vec!["rule", "source"]),
        (
            "rfm top --by src_asn,dst_c",
            vec!["dst_city", "dst_country"],
        ),
        ("rfm set log_level ", vec!["off", "warn", "trace"]),
        ("rfm flows --interface l", vec!["lo"]),
        ("rfm firewall del ", ids.iter().map(|id| &**id).collect()),
    ];
    for shell in &SHELLS {
        let home = fixture.folder.0.join(shell.name);
        fs::create_dir(&home).expect("a folder of the test");
        let environment = format!(
            "PATH={}:$PATH PS1='{PROMPT} ' LANG=C.UTF-8 HOME={}",
            bin.display(),
            home.display()
        );
        let terminal = Terminal::with_size(shell.start, &environment, (100, 40));
        terminal.wait_for(PROMPT);
        for line in shell.setup {
            let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/completions");
            terminal.keys(&["-l", &line.replace("{scripts}", scripts)]);
            terminal.keys(&["Enter"]);
        }
        // Control-C would interrupt the setup
        terminal.keys(&["-l", "echo do''ne"]);
        terminal.keys(&["Enter"]);
        terminal.wait_until("the setup", |screen| {
            screen.lines().any(|line| line.trim() == "done")
        });
        for (typed, expected) in &cases {
            let has_all = |screen: &str| {
                let words: Vec<_> = screen.split([' ', '\n', ',']).collect();
                expected.iter().all(|word| words.contains(word))
            };
            let soon = |seconds, good: &dyn Fn(&str) -> bool| {
                wait_for(Duration::from_secs(seconds), || good(&terminal.screen()))
            };
            // a busy shell may drop a key, or handle it late
            let shown = (0..10).any(|_| {
                terminal.keys(&["C-c"]);
                terminal.keys(&["C-l"]);
                if !soon(3, &|screen| screen.trim() == PROMPT) {
                    return false;
                }
                terminal.keys(&["-l", typed]);
                if !soon(3, &|screen| screen.contains(typed.trim_end())) {
                    return false;
                }
                terminal.keys(shell.list);
                soon(8, &has_all)
            });
            let (name, screen) = (shell.name, terminal.screen());
            assert!(shown, "{name}, {typed:?}: no {expected:?}:\n{screen}");
        }
    }
}
