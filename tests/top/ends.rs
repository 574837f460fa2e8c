// SPDX-License-Identifier: AGPL-3.0-only
//! The terminal is as it was, however the view ends.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::common::lab::{can_run, run, wait_for};
use crate::harness::Fixture;
use crate::terminal::{SOON, TOOLS, Terminal, top, traffic};

#[test]
fn the_terminal_is_clean_after_every_end() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = Fixture::new("");
    let start = || {
        let terminal = Terminal::new(&top(&fixture), "LANG=C.UTF-8");
        terminal.wait_for("every packet");
        terminal
    };
    let terminal = start();
    terminal.keys(&["C-c"]);
    terminal.assert_clean("0");
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let terminal = start();
        kill_process(terminal.pid(), signal).expect("it runs");
        terminal.assert_clean("0");
    }
    let terminal = start();
    let Fixture { agent, .. } = fixture;
    agent.kill();
    terminal.wait_for("no agent answers on");
    let gone = wait_for(Duration::from_secs(20), || {
        terminal.screen().contains("ended:")
    });
    assert!(gone, "{}", terminal.screen());
    terminal.assert_clean("1");
    assert!(terminal.screen().contains("rfm: no agent answers on"));
}

/// Closing the terminal is an ordinary end, whether or not SIGHUP reaches the program.
#[test]
fn a_closed_terminal_ends_it_with_exit_code_0() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = Fixture::new("");
    for (name, wrapper) in [("hangup", ""), ("silent", "setsid -w ")] {
        let status = fixture.folder.0.join(name);
        // the shell survives the hangup and stores the exit code
        let line = format!(
            "trap '' HUP; {wrapper}{}; echo $? >{}",
            top(&fixture),
            status.display()
        );
        let terminal = Terminal::new(&line, "LANG=C.UTF-8");
        terminal.wait_for("every packet");
        let pid = terminal.pid();
        drop(terminal);
        let ended = wait_for(SOON, || {
            std::fs::read_to_string(&status).is_ok_and(|code| !code.is_empty())
        });
        if !ended {
            kill_process(pid, Signal::KILL).expect("it runs");
        }
        let code = std::fs::read_to_string(&status).expect("a status");
        assert_eq!(code.trim(), "0", "{name}");
    }
}

/// A reader that has read enough is no failure; a full disk is one.
#[test]
fn client_commands_survive_a_closed_pipe() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = Fixture::new("");
    let socket = fixture.socket().display().to_string();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["flows"],
        &["top", "--once"],
        &["top"],
        &["--help"],
        &["top", "--help"],
        &["--version"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
        command.args(arguments);
        if !arguments
            .iter()
            .any(|argument| argument.starts_with("--h") || *argument == "--version")
        {
            command.args(["--socket", &socket]);
        }
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (error_reader, error_writer) = std::io::pipe().expect("a pipe");
        drop(error_reader);
        let status = command
            .stdout(writer)
            .stderr(error_writer)
            .status()
            .expect("it starts");
        assert_eq!(status.code(), Some(0), "{arguments:?}: {status}");
        let full = std::fs::File::options().write(true).open("/dev/full");
        let status = command
            .stdout(full.expect("it exists"))
            .status()
            .expect("it starts");
        assert_eq!(status.code(), Some(1), "{arguments:?}: {status}");
    }
}

#[test]
fn plain_terminals_are_served_or_told() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = Fixture::new("");
    traffic(&fixture);
    // no colour, no UTF-8
    let terminal = Terminal::new(&top(&fixture), "TERM=vt100 LC_ALL=C LANG=C");
    terminal.wait_for("8.0.0.1:7");
    assert!(terminal.screen().is_ascii(), "{}", terminal.screen());
    let colours = run(terminal.tmux().args(["capture-pane", "-p", "-e"]));
    // 39 and 49 are the terminal's own
    let coloured = ["\x1b[38;", "\x1b[48;"].iter().any(|c| colours.contains(c))
        || (0..8).any(|n| colours.contains(&format!("\x1b[3{n}m")));
    assert!(!coloured, "{colours:?}");
    terminal.keys(&["q"]);
    terminal.assert_clean("0");

    let terminal = Terminal::new(&top(&fixture), "TERM=dumb");
    terminal.assert_clean("1");
    assert!(terminal.screen().contains("cannot be drawn on"));

    let socket = fixture.folder.0.join("other.sock");
    let line = format!(
        "{} top --socket {}",
        env!("CARGO_BIN_EXE_rfm"),
        socket.display()
    );
    let terminal = Terminal::new(&line, "");
    terminal.assert_clean("1");
    assert!(terminal.screen().contains("no agent answers on"));
}
