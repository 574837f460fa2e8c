// SPDX-License-Identifier: AGPL-3.0-only
//! The terminal that the view is drawn on: prepared at the start, restored at the end.
//!
//! The terminal may be closed at any moment. Then each write fails; ratatui reports such a failure on
//! standard error, which is the same terminal, and `eprintln!` panics. Writes through [`TerminalOutput`] never fail:
//! the first error is stored, and the loop of the view reads it.

use std::io::{self, ErrorKind, Write};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// Requests reports of buttons and the wheel, in the SGR form. Moves are not reported: each would be drawn.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";

/// Standard output, without errors.
#[derive(Clone, Default)]
pub struct TerminalOutput {
    error: Arc<OnceLock<io::Error>>,
}

impl TerminalOutput {
    /// Stores the first error. The caller repeats an interrupted call by itself.
    fn hide<T>(&self, result: io::Result<T>, done: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                // a later error has the same cause
                let _ = self.error.set(error);
                Ok(done)
            }
            result => result,
        }
    }
}

impl Write for TerminalOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hide(io::stdout().write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hide(io::stdout().flush(), ())
    }
}

/// The prepared terminal. Restores it when dropped.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<TerminalOutput>>,
    output: TerminalOutput,
}

impl Screen {
    /// Prepares the terminal. A panic restores it before its message is printed.
    pub fn open() -> io::Result<Self> {
        let output = TerminalOutput::default();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            hook(info);
        }));
        PREPARED.store(true, Ordering::SeqCst);
        enable_raw_mode().inspect_err(|_| restore())?;
        execute!(output.clone(), EnterAlternateScreen).inspect_err(|_| restore())?;
        let terminal =
            Terminal::new(CrosstermBackend::new(output.clone())).inspect_err(|_| restore())?;
        Ok(Self { terminal, output })
    }

    /// Makes the terminal report the mouse, or leaves it to the terminal, which then selects text.
    pub fn set_mouse(&self, on: bool) -> io::Result<()> {
        let mut output = self.output.clone();
        output.write_all(if on { MOUSE_ON } else { MOUSE_OFF })?;
        output.flush()
    }

    /// Returns the first error of a write.
    pub fn error(&self) -> Option<io::Error> {
        let error = self.output.error.get()?;
        let system = error.raw_os_error().map(io::Error::from_raw_os_error);
        Some(system.unwrap_or_else(|| error.kind().into()))
    }
}

impl Deref for Screen {
    type Target = Terminal<CrosstermBackend<TerminalOutput>>;

    fn deref(&self) -> &Self::Target {
        &self.terminal
    }
}

impl DerefMut for Screen {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.terminal
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // the terminal itself is dropped later, and then finds nothing to do
        let _ = self.terminal.show_cursor();
        restore();
    }
}

/// Whether the terminal is prepared. Only one restores it: a second time would move the cursor back to where it was
/// before, and the message of a panic would be overwritten.
static PREPARED: AtomicBool = AtomicBool::new(false);

/// Restores the terminal as far as it still exists.
fn restore() {
    if !PREPARED.swap(false, Ordering::SeqCst) {
        return;
    }
    let _ = disable_raw_mode();
    let _ = TerminalOutput::default().write_all(MOUSE_OFF);
    let _ = execute!(TerminalOutput::default(), LeaveAlternateScreen);
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// Set in the process that panics.
    const PANICS: &str = "RFM_TEST_PANICS";

    /// Runs in the terminal of the next test; alone it does nothing.
    #[test]
    fn a_view_that_panics() {
        if std::env::var_os(PANICS).is_none() {
            return;
        }
        let screen = Screen::open().unwrap();
        screen.set_mouse(true).unwrap();
        // the terminal is in its modes while the test looks at it
        thread::sleep(Duration::from_secs(2));
        panic!("a mistake in the view");
    }

    #[test]
    fn a_panic_restores_the_terminal_before_its_message() {
        let server = format!("rfm-panic-{}", std::process::id());
        let tmux = |words: &[&str]| {
            let output = Command::new("tmux")
                .args(["-L", &server])
                .args(words)
                .output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let line = format!(
            "echo before; {PANICS}=1 {} --exact --nocapture client::top::screen::tests::a_view_that_panics; \
             stty -a; sleep 60",
            std::env::current_exe().unwrap().display()
        );
        let start = [
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "200",
            "-y",
            "50",
            &line,
        ];
        if tmux(&start).is_err() {
            eprintln!("skipped: no tmux");
            return;
        }
        let property = |name: &str| {
            let format = format!("#{{{name}}}");
            let text = tmux(&["display-message", "-p", &format]);
            text.unwrap_or_default().trim().to_owned()
        };
        let wait = |what: &str, good: &dyn Fn(&str) -> bool| {
            let start = Instant::now();
            loop {
                let screen = tmux(&["capture-pane", "-p"]).unwrap_or_default();
                if good(&screen) {
                    return screen;
                }
                if start.elapsed() > Duration::from_secs(20) {
                    let _ = tmux(&["kill-server"]);
                    panic!("not {what}: {screen}");
                }
                thread::sleep(Duration::from_millis(20));
            }
        };
        wait("the view", &|_| {
            property("alternate_on") == "1" && property("mouse_sgr_flag") == "1"
        });
        let screen = wait("the end", &|screen| screen.contains("-cstopb"));
        let modes = [
            "alternate_on",
            "mouse_sgr_flag",
            "mouse_standard_flag",
            "cursor_flag",
        ];
        let modes = modes.map(property);
        let _ = tmux(&["kill-server"]);
        assert_eq!(modes, ["0", "0", "0", "1"], "{screen}");
        assert!(
            screen.starts_with("before") && screen.contains("a mistake in the view"),
            "{screen}"
        );
        for mode in ["echo", "icanon", "isig", "opost"] {
            assert!(
                screen.split_whitespace().any(|word| word == mode),
                "{mode}: {screen}"
            );
        }
    }

    #[test]
    fn the_first_error_is_stored_and_the_write_succeeds() {
        let output = TerminalOutput::default();
        let failed = |errno: rustix::io::Errno| Err(errno.into());
        assert_eq!(output.hide(failed(rustix::io::Errno::IO), 7).unwrap(), 7);
        assert_eq!(output.hide(failed(rustix::io::Errno::AGAIN), 7).unwrap(), 7);
        let first = output.error.get().unwrap().raw_os_error();
        assert_eq!(first, Some(rustix::io::Errno::IO.raw_os_error()));
        let interrupted = output.hide(failed(rustix::io::Errno::INTR), 7);
        assert_eq!(interrupted.unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
