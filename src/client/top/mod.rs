// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm top`: the live view.
//!
//! - [`model`]: replies → the state to show (pure); `conversations` merges flows, with the rates of `windows`;
//!   `rates` has those of interfaces,
//! - `keys` and `apply`: keys → changes of the state (pure), with `filter` and `proposal`; `presets`: options,
//! - [`view`]: draws a model, with `rows`, `columns`, `notes`, `overlay` and `spark`,
//! - `poll`: queries the agent; `names`: queries the resolver,
//! - `screen`: the terminal,
//! - here: keys, signals, and the loop.

mod apply;
mod columns;
mod conversations;
mod filter;
mod keys;
mod model;
mod names;
mod notes;
mod overlay;
mod poll;
mod presets;
mod proposal;
mod rates;
mod rows;
mod screen;
mod spark;
mod tab;
#[cfg(test)]
mod tests;
mod unit;
mod view;
mod windows;

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;
use ratatui::crossterm::event::{self, Event, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::ClientError;
use apply::KeyAction;
use keys::KeyMode;
use model::{AgentRequest, Model};
use names::Resolver;
use poll::{PollEvent, Poller};
pub use presets::TopPresets;
use screen::Screen;
use view::Theme;

use crate::sys::os_error;

/// The longest wait for a key: signals and replies are read at the same interval.
const INPUT_INTERVAL: Duration = Duration::from_millis(100);

/// The view ends if the agent does not reply for this time after a query: a restart takes less.
const AGENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Shows the agent behind `socket` until a key, a signal or an error ends the view.
pub fn run(socket: &Path, presets: TopPresets) -> Result<(), ClientError> {
    let model = presets.model().map_err(ClientError::Usage)?;
    show(socket, model).map_err(ClientError::Failed)
}

fn show(socket: &Path, mut model: Model) -> Result<(), String> {
    if env::var("TERM").is_ok_and(|term| term == "dumb") {
        return Err(
            "this terminal (TERM=dumb) cannot be drawn on: try rfm top --once, or --json".into(),
        );
    }
    // without an agent, the error appears on the unchanged terminal
    let status = crate::client::http::get(socket, "/v1/interfaces");
    status.map_err(|error| error.to_string())?;
    let failed = |error: io::Error| {
        let reason = os_error::reason(&error);
        format!("cannot use the terminal: {reason}; try rfm top --once")
    };
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
    let mut terminal = LiveTerminal {
        screen: Screen::open().map_err(failed)?,
        keys: keyboard().map_err(failed)?,
        theme: theme(),
        resolver: None,
        mouse: false,
    };
    match terminal.watch(&mut model, &poller, &stop) {
        // a closed terminal is a normal end of the view
        Err(ViewError::Terminal(_)) if terminal.is_closed() => Ok(()),
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

/// The terminal, and the thread for names, which starts when they are shown first.
struct LiveTerminal {
    screen: Screen,
    keys: OwnedFd,
    theme: Theme,
    resolver: Option<Resolver>,
    /// Whether the terminal reports the mouse.
    mouse: bool,
}

impl LiveTerminal {
    fn watch(
        &mut self,
        model: &mut Model,
        poller: &Poller,
        stop: &AtomicBool,
    ) -> Result<(), ViewError> {
        let mut changed = true;
        while !model.quit && !stop.load(Ordering::Relaxed) {
            if changed {
                self.draw(model)?;
            }
            changed = self.take_input(model, poller)?;
            for request in model.take_requests() {
                if !poller.send(request.clone()) {
                    model.answered(&request, Err("too many requests wait: try again".into()));
                }
            }
            loop {
                let event = match poller.events.try_recv() {
                    Ok(event) => event,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        let text = "the thread that queries the agent has ended: please report the lines above";
                        return Err(ViewError::Agent(text.into()));
                    }
                };
                changed = true;
                match event {
                    PollEvent::Sample(Ok(sample)) => model.update(*sample, Instant::now()),
                    PollEvent::Sample(Err(problem)) => model.failed(problem),
                    PollEvent::Answer(request, answer) => {
                        model.answered(&request, answer);
                        // the list shows the effect of a rule soon
                        if matches!(request, AgentRequest::AddRule(_)) {
                            poller.request(model.request());
                        }
                    }
                }
            }
            while let Some(Ok((address, name))) = self
                .resolver
                .as_ref()
                .map(|resolver| resolver.answers.try_recv())
            {
                changed = true;
                model.names.set(&address, name);
            }
            if model.silence(Instant::now()) > AGENT_TIMEOUT + model.interval {
                let problem = model.problem.take();
                return Err(ViewError::Agent(problem.unwrap_or_else(|| {
                    "the agent does not answer: see its log (journalctl -u rfm)".into()
                })));
            }
        }
        Ok(())
    }

    fn draw(&mut self, model: &mut Model) -> Result<(), ViewError> {
        if self.mouse != model.mouse {
            self.mouse = model.mouse;
            self.screen.set_mouse(self.mouse)?;
        }
        let (theme, mut room) = (self.theme, 0);
        self.screen
            .draw(|frame| room = view::draw(frame, model, theme))?;
        if let Some(error) = self.screen.error() {
            return Err(ViewError::Terminal(error));
        }
        let unnamed = model.unnamed(room);
        if self.resolver.is_none() && !unnamed.is_empty() {
            self.resolver = Some(Resolver::start()?);
        }
        if let Some(resolver) = &self.resolver {
            for address in unnamed
                .iter()
                .take_while(|address| resolver.request(address))
            {
                model.names.set(address, None);
            }
        }
        Ok(())
    }

    /// Returns whether an error of the terminal means that it was closed. The first call that fails, and its
    /// error, depend on the moment.
    fn is_closed(&self) -> bool {
        let written = self.screen.error().and_then(|error| error.raw_os_error());
        let closed = [Errno::IO, Errno::NXIO, Errno::PIPE].map(Errno::raw_os_error);
        written.is_some_and(|error| closed.contains(&error))
            || hung_up(&self.keys, Duration::ZERO).unwrap_or(true)
    }

    /// Waits a moment for keys; returns true if there is something to draw. A closed terminal is an error:
    /// crossterm would read its end again and again, and never return.
    fn take_input(&mut self, model: &mut Model, poller: &Poller) -> io::Result<bool> {
        if hung_up(&self.keys, INPUT_INTERVAL)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut changed = false;
        while event::poll(Duration::ZERO)? {
            changed = true;
            let action = match event::read()? {
                Event::Key(key) => keys::action(key, KeyMode::of(model)),
                Event::Mouse(mouse) => self.clicked(mouse, model)?,
                _ => None,
            };
            if let Some(action) = action
                && model.apply(action)
            {
                poller.request(model.request());
            }
        }
        Ok(changed)
    }

    fn clicked(&self, mouse: MouseEvent, model: &Model) -> io::Result<Option<KeyAction>> {
        let place = (mouse.column, mouse.row);
        Ok(match mouse.kind {
            MouseEventKind::ScrollUp => Some(KeyAction::Up(keys::WHEEL)),
            MouseEventKind::ScrollDown => Some(KeyAction::Down(keys::WHEEL)),
            MouseEventKind::Down(MouseButton::Left) => {
                let size = self.screen.size()?;
                let area = Rect::new(0, 0, size.width, size.height);
                view::hit(model, area, place, self.theme)
            }
            MouseEventKind::Down(MouseButton::Right) => Some(KeyAction::Back),
            _ => None,
        })
    }
}

/// Opens the terminal from which crossterm reads keys.
fn keyboard() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    match stdin.is_terminal() {
        true => Ok(rustix::io::dup(stdin)?),
        false => Ok(File::open("/dev/tty")?.into()),
    }
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
