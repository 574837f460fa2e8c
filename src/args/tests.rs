// SPDX-License-Identifier: AGPL-3.0-only
//! Tests of the command line.

use std::os::unix::ffi::OsStringExt;

use super::*;

fn parse_words(words: &str) -> Result<Command, String> {
    let args = ["/usr/bin/rfm"].into_iter().chain(words.split_whitespace());
    parse(args.map(OsString::from))
}

#[test]
fn each_switch_is_its_command() {
    let config = || PathBuf::from("a.toml");
    for (words, expected) in [
        (
            "",
            Command::Run {
                config: DEFAULT_PATH.into(),
                set: Vec::new(),
            },
        ),
        (
            "--config a.toml --set a=1 --set=b=2=3",
            Command::Run {
                config: config(),
                set: vec!["a=1".into(), "b=2=3".into()],
            },
        ),
        (
            "--config a.toml --check --set a=",
            Command::Check {
                config: config(),
                set: vec!["a=".into()],
            },
        ),
        (
            "--config a.toml --check-kernel",
            Command::CheckKernel {
                config: config(),
                set: Vec::new(),
            },
        ),
        (
            "--check-database a.mmdb",
            Command::CheckDatabase {
                file: "a.mmdb".into(),
            },
        ),
        ("--detach", Command::Detach),
        ("--version", Command::Version),
    ] {
        assert_eq!(parse_words(words), Ok(expected), "{words}");
    }
}

#[test]
fn commands_take_options_before_and_after_them() {
    let client = |command, config: &str| {
        Command::Client(Box::new(Client {
            command,
            json: false,
            socket: None,
            config: config.into(),
        }))
    };
    for (words, expected) in [
        ("status", client(ClientCommand::Status, DEFAULT_PATH)),
        ("--config a status", client(ClientCommand::Status, "a")),
        (
            "--config a reload --config b",
            client(ClientCommand::Reload, "b"),
        ),
        (
            "set log_level debug",
            client(
                ClientCommand::Set {
                    key: "log_level".into(),
                    value: "debug".into(),
                },
                DEFAULT_PATH,
            ),
        ),
    ] {
        assert_eq!(parse_words(words), Ok(expected), "{words}");
    }
    let Ok(Command::Client(client)) = parse_words("rib ::1 --json --socket /a") else {
        panic!("rib is a command");
    };
    assert_eq!((client.json, client.socket), (true, Some("/a".into())));
}

#[test]
fn top_is_live_without_once() {
    for (words, expected) in [
        ("top", true),
        ("top --once", false),
        ("top --by src", true),
        ("top --limit 3 --once", false),
    ] {
        let Ok(Command::Client(client)) = parse_words(words) else {
            panic!("{words}");
        };
        let ClientCommand::Top { live, .. } = client.command else {
            panic!("{words}");
        };
        assert_eq!(live, expected, "{words}");
    }
}

#[test]
fn mistakes_are_errors() {
    for (words, expected) in [
        ("--chekc", "unknown option --chekc, did you mean --check?"),
        ("--config", "--config needs a value: file"),
        (
            "extra",
            "unknown command extra: expected one of status, flows,",
        ),
        (
            "--check status",
            "expected a command without --check, --check-kernel, --check-database, --detach and --version",
        ),
        ("rib", "rfm rib needs an argument: address"),
        ("firewall del x", "id: expected a whole number, got \"x\""),
        (
            "--set a=1 reload",
            "--set is an option of the agent: expected no command",
        ),
        (
            "--check --detach",
            "expected only one of --check, --check-kernel, --check-database, --detach and --version",
        ),
    ] {
        let error = parse_words(words).unwrap_err();
        assert!(error.starts_with(expected), "{words}: {error}");
    }
    let bytes = OsString::from_vec(vec![b'-', 0xff]);
    assert_eq!(
        parse([OsString::from("rfm"), bytes]),
        Err("expected UTF-8 arguments, got \"-\\xFF\"".into())
    );
}

#[test]
fn the_help_lists_the_exit_codes() {
    let Ok(Command::Help(help)) = parse_words("--help") else {
        panic!("--help asks for the help");
    };
    for part in ["--config", "--check", "--detach", "--version", "RFM_LOG"] {
        assert!(help.contains(part), "{part} in {help}");
    }
    for code in ["0 success", "1 a failure", "2 a mistake", "3 this kernel"] {
        assert!(help.contains(code), "{code} in {help}");
    }
}
