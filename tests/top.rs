// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm top` in a real terminal: it shows what is there, and leaves the terminal as it was, however it
//! ends.

mod common;
#[path = "control/harness.rs"]
#[allow(dead_code, reason = "the tests of the socket use more of it")]
mod harness;

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::lab::{can_run, run, try_run, wait_for};
use common::packet::Sender;
use common::traffic::small_frame;
use harness::Fixture;
use rustix::process::{Pid, Signal, kill_process};

const TOOLS: [&str; 3] = ["ip", "sysctl", "tmux"];
const SOON: Duration = Duration::from_secs(10);

/// A terminal of its own server, so that nobody else's is touched; gone when dropped.
struct Terminal {
    server: String,
}

impl Terminal {
    /// Runs a shell line, and then says how it ended and waits.
    fn new(line: &str, environment: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let server = format!("rfm-top-{}-{count}", std::process::id());
        let terminal = Self { server };
        let set = match environment {
            "" => String::new(),
            set => format!("export {set};"),
        };
        let script = format!("echo before; {set} {line}; echo ended:$?; stty -a; sleep 60");
        let size = ["new-session", "-d", "-x", "80", "-y", "24", &script];
        run(terminal.tmux().args(["-f", "/dev/null"]).args(size));
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.server]);
        command
    }

    fn screen(&self) -> String {
        run(self.tmux().args(["capture-pane", "-p"]))
    }

    fn keys(&self, keys: &[&str]) {
        run(self.tmux().arg("send-keys").args(keys));
    }

    /// What tmux knows of the terminal.
    fn property(&self, name: &str) -> String {
        let format = format!("#{{{name}}}");
        let text = run(self.tmux().args(["display-message", "-p", &format]));
        text.trim().to_owned()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let seen = wait_for(SOON, || self.screen().contains(text));
        assert!(seen, "no {text:?} on:\n{}", self.screen());
    }

    /// The process of rfm, which runs below the shell of the pane.
    fn pid(&self) -> Pid {
        let shell = self.property("pane_pid");
        let children = format!("/proc/{shell}/task/{shell}/children");
        let children = std::fs::read_to_string(children).expect("the shell runs");
        let first = children.split_whitespace().next().expect("it runs rfm");
        Pid::from_raw(first.parse().expect("a number")).expect("not 0")
    }

    /// The screen is back, the cursor shown, and the keys are echoed.
    #[track_caller]
    fn assert_clean(&self, status: &str) {
        self.wait_for(&format!("ended:{status}"));
        self.wait_for("-cstopb");
        let screen = self.screen();
        assert!(
            screen.starts_with("before"),
            "not the old screen:\n{screen}"
        );
        for mode in ["echo", "icanon", "isig", "opost"] {
            let set = screen.split_whitespace().any(|word| word == mode);
            assert!(set, "no {mode} in:\n{screen}");
        }
        assert_eq!(self.property("alternate_on"), "0");
        assert_eq!(self.property("cursor_flag"), "1", "the cursor is shown");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        try_run(self.tmux().arg("kill-server"));
    }
}

fn top(fixture: &Fixture) -> String {
    format!(
        "{} top --socket {}",
        env!("CARGO_BIN_EXE_rfm"),
        fixture.socket().display()
    )
}

fn traffic(fixture: &Fixture) {
    fixture.namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        for _ in 0..200 {
            sender.send(&small_frame(7), 0).expect("sent");
        }
    });
}

#[test]
fn it_shows_what_crosses_and_obeys_keys() {
    if !can_run(&TOOLS) {
        return;
    }
    let fixture = Fixture::new("");
    fixture.namespace.ip("link set v1 alias uplink");
    traffic(&fixture);
    let terminal = Terminal::new(&top(&fixture), "LANG=C.UTF-8");
    terminal.wait_for("v1 uplink");
    terminal.wait_for("8.0.0.1:7");
    terminal.wait_for("12.0 kB");
    terminal.keys(&["6"]);
    terminal.wait_for("udp");
    terminal.keys(&["1", "/"]);
    terminal.wait_for("filter: _");
    terminal.keys(&["tcp", "Enter"]);
    terminal.wait_for("no live flow matches the filter");
    terminal.keys(&["/", "C-u", "v9", "Enter"]);
    terminal.wait_for("no watched interface is called v9");
    terminal.keys(&["/", "C-u", "Enter", "p"]);
    terminal.wait_for("PAUSED");
    assert_eq!(terminal.property("alternate_on"), "1");
    terminal.keys(&["q"]);
    terminal.assert_clean("0");
}

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
