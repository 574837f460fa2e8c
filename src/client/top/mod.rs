// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm top`: the live view.
//!
//! - [`model`]: replies and keys → the state to show (pure); it uses `tab`, `rates`, `rows`, `filter`,
//!   `spark` and `keys`,
//! - [`view`]: draws a model,
//! - `poll`: queries the agent,
//! - `screen`: the terminal,
//! - here: keys, signals, and the loop.

mod filter;
mod keys;
mod model;
mod poll;
mod rates;
mod rows;
mod screen;
mod spark;
mod tab;
#[cfg(test)]
mod tests;
mod view;

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use model::Model;
use poll::Poller;
use screen::Screen;
use view::Theme;

/// The longest wait for a key: signals and replies are read at the same interval.
const INPUT_INTERVAL: Duration = Duration::from_millis(100);

/// The view ends if the agent does not reply for this time: a restart takes less.
const AGENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Shows the agent behind `socket` until a key, a signal or an error ends the view.
pub fn run(socket: &Path) -> Result<(), String> {
    if env::var("TERM").is_ok_and(|term| term == "dumb") {
        return Err(
            "this terminal (TERM=dumb) cannot be drawn on: try rfm top --once, or --json".into(),
        );
    }
    let mut model = Model::default();
    // without an agent, the error appears on the unchanged terminal
    let status = crate::client::http::get(socket, "/v1/interfaces");
    status.map_err(|error| error.to_string())?;
    let failed = |error: io::Error| format!("the terminal: {error}");
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // A second signal ends the program even if it is blocked. But when a terminal is closed, SIGHUP may
        // arrive twice, from the kernel and from the shell.
        if signal != SIGHUP {
            signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())
                .map_err(failed)?;
        }
        signal_hook::flag::register(signal, stop.clone()).map_err(failed)?;
    }
    let poller = Poller::start(socket.to_owned(), model.request()).map_err(failed)?;
    let mut screen = Screen::open().map_err(failed)?;
    let keys = keyboard().map_err(failed)?;
    match watch(&mut screen, &keys, &mut model, &poller, &stop) {
        // a closed terminal is a normal end of the view
        Err(ViewError::Terminal(_)) if is_closed(&screen, &keys) => Ok(()),
        Err(ViewError::Terminal(error)) => Err(failed(error)),
        Err(ViewError::Agent(problem)) => Err(problem),
        Ok(()) => Ok(()),
    }
}

/// An error that ends the view.
enum ViewError {
    Terminal(io::Error),
    Agent(String),
}

impl From<io::Error> for ViewError {
    fn from(error: io::Error) -> Self {
        Self::Terminal(error)
    }
}

fn watch(
    screen: &mut Screen,
    keys: &OwnedFd,
    model: &mut Model,
    poller: &Poller,
    stop: &AtomicBool,
) -> Result<(), ViewError> {
    let theme = theme();
    let mut changed = true;
    while !model.quit && !stop.load(Ordering::Relaxed) {
        if changed {
            screen.draw(|frame| view::draw(frame, model, theme))?;
            if let Some(error) = screen.error() {
                return Err(ViewError::Terminal(error));
            }
        }
        changed = take_input(keys, model, poller)?;
        while let Ok(answer) = poller.samples.try_recv() {
            changed = true;
            match answer {
                Ok(sample) => model.update(sample, Instant::now()),
                Err(problem) => model.failed(problem),
            }
        }
        if model.silence(Instant::now()) > AGENT_TIMEOUT {
            let problem = model.problem.take();
            return Err(ViewError::Agent(
                problem.unwrap_or_else(|| "the agent does not answer".into()),
            ));
        }
    }
    Ok(())
}

/// Opens the terminal from which crossterm reads keys.
fn keyboard() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    match stdin.is_terminal() {
        true => Ok(rustix::io::dup(stdin)?),
        false => Ok(File::open("/dev/tty")?.into()),
    }
}

/// Returns whether an error of the terminal means that it was closed. The first call that fails, and its
/// error, depend on the moment.
fn is_closed(screen: &Screen, keys: &OwnedFd) -> bool {
    let written = screen.error().and_then(|error| error.raw_os_error());
    let closed = [Errno::IO, Errno::NXIO, Errno::PIPE].map(Errno::raw_os_error);
    written.is_some_and(|error| closed.contains(&error))
        || hung_up(keys, Duration::ZERO).unwrap_or(true)
}

/// Waits for keys, at most for `timeout`; returns true if the terminal is closed.
fn hung_up(keys: &OwnedFd, timeout: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::new(keys, PollFlags::IN)];
    match poll(&mut fds, Timespec::try_from(timeout).ok().as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let end = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    Ok(fds[0].revents().intersects(end))
}

/// Waits a moment for keys; returns true if there is something to draw. A closed terminal is an error:
/// crossterm would read its end again and again, and never return.
fn take_input(keys: &OwnedFd, model: &mut Model, poller: &Poller) -> io::Result<bool> {
    if hung_up(keys, INPUT_INTERVAL)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut changed = false;
    while event::poll(Duration::ZERO)? {
        changed = true;
        if let Event::Key(key) = event::read()?
            && let Some(action) = keys::action(key, model.editing.is_some())
            && model.apply(action)
        {
            poller.request(model.request());
        }
    }
    Ok(changed)
}

/// Derives the capabilities of the terminal from the environment.
fn theme() -> Theme {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let term = env::var("TERM").unwrap_or_default();
    let plain = ["vt100", "vt102", "vt220", "linux-m", "xterm-mono"].contains(&&*term);
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale = locale
        .iter()
        .find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    let utf8 = locale.contains("utf-8") || locale.contains("utf8");
    Theme {
        color: !set("NO_COLOR") && !plain,
        ascii: !utf8 || term.starts_with("vt"),
    }
}
