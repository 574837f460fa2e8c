// SPDX-License-Identifier: AGPL-3.0-only
//! A terminal (tmux) in which `rfm top` runs.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Pid;

use crate::common::lab::{run, try_run, wait_for};
use crate::common::packet::Sender;
use crate::common::traffic::small_frame;
use crate::harness::Fixture;

pub const TOOLS: [&str; 3] = ["ip", "sysctl", "tmux"];
pub const SOON: Duration = Duration::from_secs(20);

/// A terminal of its own server, so that nobody else's is touched; gone when dropped.
pub struct Terminal {
    server: String,
}

impl Terminal {
    /// Runs a shell line at 80×24, and then prints its exit code and waits.
    pub fn new(line: &str, environment: &str) -> Self {
        Self::with_size(line, environment, (80, 24))
    }

    pub fn with_size(line: &str, environment: &str, (width, height): (u16, u16)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let server = format!("rfm-top-{}-{count}", std::process::id());
        let terminal = Self { server };
        let set = match environment {
            "" => String::new(),
            set => format!("export {set};"),
        };
        let script = format!("echo before; {set} {line}; echo ended:$?; stty -a; sleep 60");
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["new-session", "-d", "-x", &width, "-y", &height, &script];
        run(terminal.tmux().args(["-f", "/dev/null"]).args(size));
        terminal
    }

    pub fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.server]);
        command
    }

    pub fn screen(&self) -> String {
        run(self.tmux().args(["capture-pane", "-p"]))
    }

    pub fn keys(&self, keys: &[&str]) {
        run(self.tmux().arg("send-keys").args(keys));
    }

    /// Presses a button of the mouse at a place, counted from 0, as a terminal reports it (SGR); the wheel has the
    /// buttons 64 and 65.
    pub fn mouse(&self, button: u16, (x, y): (usize, usize)) {
        let event = |end: char| format!("\x1b[<{button};{};{}{end}", x + 1, y + 1);
        run(self.tmux().args(["send-keys", "-l", &event('M')]));
        if button < 64 {
            run(self.tmux().args(["send-keys", "-l", &event('m')]));
        }
    }

    /// The number of the first line that contains a text.
    #[track_caller]
    pub fn line_of(&self, text: &str) -> usize {
        let screen = self.screen();
        let line = screen.lines().position(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("no {text:?} on:\n{screen}"))
    }

    /// What tmux knows of the terminal.
    pub fn property(&self, name: &str) -> String {
        let format = format!("#{{{name}}}");
        let text = run(self.tmux().args(["display-message", "-p", &format]));
        text.trim().to_owned()
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, good: impl Fn(&str) -> bool) {
        let seen = wait_for(SOON, || good(&self.screen()));
        assert!(seen, "not {what}:\n{}", self.screen());
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let seen = wait_for(SOON, || self.screen().contains(text));
        assert!(seen, "no {text:?} on:\n{}", self.screen());
    }

    /// The process of rfm, which runs below the shell of the pane.
    pub fn pid(&self) -> Pid {
        let shell = self.property("pane_pid");
        let children = format!("/proc/{shell}/task/{shell}/children");
        let children = std::fs::read_to_string(children).expect("the shell runs");
        let first = children.split_whitespace().next().expect("it runs rfm");
        Pid::from_raw(first.parse().expect("a number")).expect("not 0")
    }

    /// The screen is back, the cursor shown, and the keys are echoed.
    #[track_caller]
    pub fn assert_clean(&self, status: &str) {
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
        for mode in ["mouse_any_flag", "mouse_sgr_flag"] {
            assert_eq!(self.property(mode), "0", "{mode}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        try_run(self.tmux().arg("kill-server"));
    }
}

pub fn top(fixture: &Fixture) -> String {
    format!(
        "{} top --socket {}",
        env!("CARGO_BIN_EXE_rfm"),
        fixture.socket().display()
    )
}

pub fn traffic(fixture: &Fixture) {
    fixture.namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        for _ in 0..200 {
            sender.send(&small_frame(7), 0).expect("sent");
        }
    });
}
