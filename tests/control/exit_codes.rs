// SPDX-License-Identifier: AGPL-3.0-only
//! The exit codes of rfm(8): each command with success, a usage error, no agent, a refusal, and an object that does not
//! exist.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use argh::CommandInfoWithArgs;

use crate::common::lab::{can_run, try_run};
use crate::harness::{Fixture, parts, rfm};

const SUCCESS: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;

const FIREWALL: &str = "[agent.firewall]\nenabled = true\ninterfaces = [\"v1\"]\n\
                        [[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\n\
                        [agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\nport = 11019\n\
                        [agent.collector]\npaths = true\n\
                        [agent.guard]\nenabled = true\nprotect = [\"192.0.2.0/24\"]\n";

/// A command, with its name, the words that succeed, and those that are usage errors.
type Words = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const COMMANDS: [Words; 22] = [
    ("status", &[""], &["--jsno", "extra"]),
    (
        "flows",
        &[
            "",
            "--proto icmp6",
            "--protocol icmpv6",
            "--direction in",
            "--asn as64500",
        ],
        &[
            "--limit 0",
            "--sort size",
            "--protocol x",
            "--direction up",
            "--asn 0",
            "--src 192.0.2.1/24",
            "--dst-port 70000",
            "--limit",
        ],
    ),
    (
        "top",
        &["--once", "--json", "--once --by src_asn,dst_asn"],
        &[
            "--once --by colour",
            "--once --limit 0",
            "--once --sort last",
            "--json --by src,src",
        ],
    ),
    (
        "paths",
        &["", "--history", "--what-if 64500"],
        &[
            "--via x",
            "--limit 1001",
            "--what-if 0",
            "--what-if 1 --via 2",
        ],
    ),
    // tests/history_agent.rs has those that succeed
    ("history", &[], &["--jsno", "2999-01-01", "--tz Mars/X"]),
    ("bill", &[], &["--month x", "extra"]),
    (
        "rib",
        &["192.0.2.1"],
        &["", "192.0.2.1/24", "x", "192.0.2.1 extra"],
    ),
    ("lookup", &["192.0.2.1"], &["", "192.0.2.0/24", "x"]),
    (
        "set",
        &["log_level info", "bpf.sample_rate 2"],
        &[
            "",
            "log_level",
            "log_level loud",
            "bpf.sample_rate 0",
            "colour red",
        ],
    ),
    ("reload", &[""], &["now"]),
    ("firewall", &[], &["", "ad"]),
    (
        "firewall add",
        &[
            "--src 192.0.3.0/24 --protocol icmp6 --ttl 1h30m",
            "--src 192.0.3.0/24 --proto 58",
        ],
        &[
            "--src x",
            "--ttl 30",
            "--ttl 366days",
            "--protocol x",
            "--protocol icmp --dport 53",
            "--action deny",
            "--rate 0",
        ],
    ),
    ("firewall list", &["", "--all"], &["extra"]),
    ("firewall stats", &[""], &["--all"]),
    ("firewall del", &[], &["", "x"]),
    (
        "firewall load",
        &["- --force"],
        &["", "/nonexistent/a", "/", "/dev/null"],
    ),
    ("guard", &[], &["", "lst"]),
    ("guard list", &[""], &["extra"]),
    ("guard show", &[], &["", "x"]),
    ("guard stop", &[], &["", "x"]),
    ("guard allow", &["192.0.2.1"], &[""]),
    // tests/guard_events.rs has those that succeed
    ("guard watch", &[], &["extra", "--timeout x", "--after -1"]),
];

fn leaves(path: &str, info: &CommandInfoWithArgs, found: &mut Vec<String>) {
    for below in &info.commands {
        let path = format!("{path} {}", below.name);
        found.push(path.trim().to_owned());
        leaves(&path, &below.command, found);
    }
}

#[test]
fn each_command_has_the_exit_codes_of_the_manual() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    // no command is left out; flush is last, since it removes rules
    let mut all = Vec::new();
    leaves("", &rfm::args::info(), &mut all);
    let mut known: Vec<_> = COMMANDS.iter().map(|(name, ..)| *name).collect();
    known.push("firewall flush");
    all.sort();
    known.sort();
    assert_eq!(all, known);

    let fixture = Fixture::new(FIREWALL);
    let nobody = Path::new("/nonexistent/rfm.sock");
    for (name, good, bad) in COMMANDS {
        for words in good {
            let words = format!("{name} {words}");
            let (code, out, errors) = fixture.try_rfm(&words);
            assert_eq!((code, &*errors), (SUCCESS, ""), "{words}: {out}");
            let (code, out, errors) = parts(rfm(nobody, &words));
            assert_eq!((code, &*out), (FAILED, ""), "{words}: {errors}");
            let told = "no agent answers on /nonexistent/rfm.sock: is rfm running?";
            assert!(errors.contains(told), "{words}: {errors}");
        }
        for words in bad {
            let words = format!("{name} {words}");
            let (code, out, errors) = fixture.try_rfm(&words);
            assert_eq!((code, &*out), (USAGE, ""), "{words}: {errors}");
            assert!(errors.starts_with("rfm: "), "{words}: {errors}");
        }
    }
    // errors of the agent name the option
    for (words, expected) in [
        (
            "flows --dst-port 70000",
            "rfm: --dst-port: expected a port from 0 to 65535, got \"70000\"\n",
        ),
        (
            "paths --what-if x",
            "rfm: --what-if: expected an AS number from 1 to 4294967295, such as 64500 or AS64500, got \"x\"\n",
        ),
        (
            "lookup x",
            "rfm: address: expected an IP address, got \"x\"\n",
        ),
    ] {
        assert_eq!(fixture.try_rfm(words).2, expected);
    }

    // an object that does not exist, and a change that is refused
    let list = fixture.json("firewall list");
    let config = list["rules"]
        .as_array()
        .unwrap()
        .iter()
        .find(|rule| rule["origin"] == "config");
    let config = config.expect("the rule of the configuration")["id"].clone();
    for (words, expected) in [
        (
            "flows --interface v9",
            "no monitored interface is called v9",
        ),
        (
            "top --once --interface v9",
            "no monitored interface is called v9",
        ),
        (
            "history",
            "there is no history: set agent.history.path, and restart rfm",
        ),
        ("history yesterday --by asn --json", "there is no history"),
        ("bill", "there is no history"),
        ("rib 192.0.2.1 --vrf red", "no such VRF"),
        ("lookup 192.0.2.1 --vrf red", "no such VRF"),
        ("firewall del 4000000000", "there is no rule 4000000000"),
        (
            &format!("firewall del {config}"),
            "remove it there, and run rfm reload",
        ),
        ("firewall add", "this rule would drop ALL traffic"),
    ] {
        let (code, out, errors) = fixture.try_rfm(words);
        assert_eq!((code, &*out), (FAILED, ""), "{words}: {errors}");
        assert!(errors.contains(expected), "{words}: {errors}");
    }
    assert_eq!(fixture.try_rfm("firewall flush").0, SUCCESS);
    assert_eq!(parts(rfm(nobody, "firewall flush")).0, FAILED);
    assert_eq!(fixture.try_rfm("firewall flush extra").0, USAGE);
    for words in [
        "set log_level info",
        "reload",
        "firewall flush",
        "firewall del 1",
        "firewall add --src 192.0.2.1",
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
        let socket = fixture.socket();
        command
            .args(words.split_whitespace())
            .arg("--socket")
            .arg(socket);
        // a user who may open the socket and change nothing
        command.uid(65_534).gid(65_534);
        let (code, _, errors) = parts(try_run(&mut command));
        assert_eq!(code, FAILED, "{words}: {errors}");
        assert!(errors.contains("permission denied"), "{words}: {errors}");
    }
}

/// Rules from standard input, with both kinds of comment.
#[test]
fn standard_input_is_a_rule_file() {
    use std::io::Write;
    use std::process::Stdio;
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new(FIREWALL);
    let load = |text: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
        command
            .args(["firewall", "load", "-", "--socket"])
            .arg(fixture.socket());
        let pipe = || Stdio::piped();
        let mut child = command
            .stdin(pipe())
            .stdout(pipe())
            .stderr(pipe())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(text.as_bytes()).expect("it reads");
        drop(stdin);
        parts(child.wait_with_output().expect("it ends"))
    };
    let loaded =
        load("# a list\n192.0.2.0/25 ; SBL1\n; another\n--src 192.0.3.0/24 --proto tcp # why\n\n");
    assert_eq!(loaded, (SUCCESS, "2 rules\n".into(), String::new()));
    let (code, _, errors) = load("192.0.2.0/24\nnonsense\n");
    assert_eq!(code, USAGE);
    assert!(
        errors.starts_with("rfm: -:2: src: expected a prefix"),
        "{errors}"
    );
}
