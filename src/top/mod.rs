// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm top`: the live view.
//!
//! - [`model`]: what was heard and typed → what is to be seen (pure); `rows`, `filter`, `spark` and
//!   `keys` are parts of it,
//! - [`view`]: the picture of a model,
//! - `poll`: asks the agent,
//! - here: the terminal, and the loop.

mod filter;
mod keys;
mod model;
mod poll;
mod rows;
mod spark;
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

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use model::Model;
use poll::Poller;
use view::Look;

/// Between two looks at what came: a signal is noticed so soon.
const TICK: Duration = Duration::from_millis(100);

/// An agent that is started anew is waited for; one that stays away ends the view.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Shows the agent behind `socket` until somebody ends it.
pub fn run(socket: &Path) -> Result<(), String> {
    if env::var("TERM").is_ok_and(|term| term == "dumb") {
        return Err(
            "this terminal (TERM=dumb) cannot be drawn on: try rfm top --once, or --json".into(),
        );
    }
    let mut model = Model::default();
    // an agent that is not there is told in words, on the screen as it is
    let status = crate::client::http::get(socket, "/v1/interfaces");
    status.map_err(|error| error.to_string())?;
    let failed = |error: io::Error| format!("the terminal: {error}");
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // whatever the first is stuck in, a second one ends it
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())
            .map_err(failed)?;
        signal_hook::flag::register(signal, stop.clone()).map_err(failed)?;
    }
    let poller = Poller::start(socket.to_owned(), model.wanted()).map_err(failed)?;
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let restore = Restore;
    let keys = keyboard().map_err(failed)?;
    let end = watch(&mut terminal, &keys, &mut model, &poller, &stop);
    drop(terminal);
    drop(restore);
    end
}

/// Leaves the terminal as it was, whatever happens; a panic does so before it says anything, by the
/// hook that `ratatui::try_init` sets.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn watch(
    terminal: &mut DefaultTerminal,
    keys: &OwnedFd,
    model: &mut Model,
    poller: &Poller,
    stop: &AtomicBool,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("the terminal: {error}");
    let look = look();
    let mut changed = true;
    while !model.quit && !stop.load(Ordering::Relaxed) {
        if changed {
            let draw = terminal.draw(|frame| view::draw(frame, model, look));
            draw.map_err(failed)?;
        }
        changed = take_input(keys, model, poller).map_err(failed)?;
        while let Ok(answer) = poller.samples.try_recv() {
            changed = true;
            match answer {
                Ok(sample) => model.update(sample, Instant::now()),
                Err(trouble) => model.lost(trouble),
            }
        }
        if model.silence(Instant::now()) > GIVE_UP {
            let trouble = model.trouble.take();
            return Err(trouble.unwrap_or_else(|| "the agent does not answer".into()));
        }
    }
    Ok(())
}

/// The terminal that keys come from, as crossterm chooses it.
fn keyboard() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    match stdin.is_terminal() {
        true => Ok(rustix::io::dup(stdin)?),
        false => Ok(File::open("/dev/tty")?.into()),
    }
}

/// Waits a moment for keys; true if there is something to draw. A terminal that is gone is an error: crossterm
/// would read the end of it again and again, and never come back.
fn take_input(keys: &OwnedFd, model: &mut Model, poller: &Poller) -> io::Result<bool> {
    let mut fds = [PollFd::new(keys, PollFlags::IN)];
    match poll(&mut fds, Timespec::try_from(TICK).ok().as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if fds[0]
        .revents()
        .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
    {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is gone"));
    }
    let mut changed = false;
    while event::poll(Duration::ZERO)? {
        changed = true;
        if let Event::Key(key) = event::read()?
            && let Some(action) = keys::action(key, model.editing.is_some())
            && model.act(action)
        {
            poller.want(model.wanted());
        }
    }
    Ok(changed)
}

/// What the environment says of the terminal.
fn look() -> Look {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let term = env::var("TERM").unwrap_or_default();
    let plain = ["vt100", "vt102", "vt220", "linux-m", "xterm-mono"].contains(&&*term);
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale = locale
        .iter()
        .find_map(|name| env::var(name).ok().filter(|v| !v.is_empty()));
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    let utf8 = locale.contains("utf-8") || locale.contains("utf8");
    Look {
        colour: !set("NO_COLOR") && !plain,
        ascii: !utf8 || term.starts_with("vt"),
    }
}
