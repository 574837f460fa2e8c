// SPDX-License-Identifier: AGPL-3.0-only
//! The control socket and thread control, which serves it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;

use super::bmp::Bmp;
use super::commands::{Applied, Command, CommandSender};
use super::labels::Labels;
use super::{Error, Running, View};
use crate::config::Config;
use crate::config::control::DEFAULT_SOCKET;
use crate::control::access::{Access, find_group};
use crate::control::routes::{self, ControlRoutes};
use crate::control::socket::{self, SocketError, SocketFile};
use crate::control::{AgentCommands, Bgp, LIMITS, Sources, api, firewall};
use crate::http::Server;
use crate::metrics::collect::LinkReader;
use crate::netlink::LinkSocket;
use crate::sys::error_counters::ErrorCounters;
use crate::sys::wake_up::WakeUp;

/// File descriptors that are reserved for clients when no others are free.
pub(super) const RESERVE: usize = 16;

/// The server of the control socket, with its access rules.
pub(super) struct Control {
    server: Server,
    access: Access,
    /// Removed when the agent ends.
    file: SocketFile,
}

impl Control {
    /// Listens on the control socket if the configuration enables it.
    pub fn bind(config: &Config, errors: &Arc<ErrorCounters>) -> Result<Option<Self>, Error> {
        let config = &config.agent.control;
        if config.socket.as_os_str().is_empty() {
            return Ok(None);
        }
        let write_group = match &config.write_group[..] {
            "" => None,
            name => Some(
                find_group(name)
                    .ok_or_else(|| Error::Control(SocketError::Group(name.to_owned())))?,
            ),
        };
        let (listener, file) = match socket::bind(config) {
            Ok(bound) => bound,
            // the default socket was not requested, so its failure must not prevent the start
            Err(error @ SocketError::Io(..)) if config.socket == Path::new(DEFAULT_SOCKET) => {
                log::warn!("no control socket: {error}");
                return Ok(None);
            }
            Err(error) => return Err(Error::Control(error)),
        };
        let server = Server::unix(listener, errors.clone())
            .map_err(Error::Start)?
            .limits(LIMITS)
            .reserve(RESERVE)
            .refuse(routes::server_error);
        let access = Access::new(write_group);
        let server = server.large(firewall::large(access.clone()));
        log::info!("control socket {}", config.socket.display());
        Ok(Some(Self {
            server,
            access,
            file,
        }))
    }

    /// Starts thread control. The caller keeps the returned file until the thread has ended.
    pub fn start(
        self,
        running: &Running,
        config_file: &Path,
        commands: CommandSender,
        view: View,
        exporters: Vec<api::ExporterStatus>,
        bmp: &Bmp,
    ) -> Result<SocketFile, Error> {
        let mut links = LinkSocket::new(running.errors.clone());
        let found = links.dump().map_err(Error::Links)?;
        let links = LinkReader::new(links, found);
        let firewall = view.firewall.clone();
        let live = running.live.clone();
        let sources = Sources {
            scrape: running.scrape(view, links)?,
            threads: running.threads.clone(),
            config_file: config_file.to_owned(),
            in_force: Box::new(move || live.get()),
            exporters,
            commands: Box::new(Commands(commands)),
            lookup: Box::new(Labels::new(running, bmp.rib())),
            bgp: bmp
                .sessions(running.vrps.clone())
                .map(|sessions| Box::new(sessions) as Box<dyn Bgp>),
            firewall,
            history: (running.history.as_ref())
                .map(|history| history.for_control())
                .transpose()?,
        };
        let (mut server, access) = (self.server, self.access);
        if let Some(history) = &sources.history {
            server = server.deferrer(&history.deferrer);
        }
        if let Some(guard) = &sources.scrape.guard {
            let wake_up = Arc::new(WakeUp::new().map_err(Error::Start)?);
            guard.lock().wake_up = Some(wake_up.clone());
            server = server.wake_up(wake_up);
        }
        running.spawn("control", move |heartbeat| {
            let routes = ControlRoutes::new(sources, access);
            server.run(&heartbeat, move |request, peer| {
                routes.answer(&request, peer)
            });
        })?;
        Ok(self.file)
    }
}

/// Sends commands to the main thread; only that thread changes the current configuration.
struct Commands(CommandSender);

/// The main thread may be busy with previous commands.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

impl AgentCommands for Commands {
    fn set_sample_rate(&self, sample_rate: u32) -> Result<(), String> {
        self.ask(Command::SetSampleRate(sample_rate)).map(drop)
    }

    fn set_log_level(&self, level: LevelFilter) -> Result<(), String> {
        self.ask(Command::SetLogLevel(level)).map(drop)
    }

    fn reload(&self) -> Result<api::ReloadReply, String> {
        let done = self.ask(Command::Reload)?;
        Ok(api::ReloadReply {
            changed: done.changed,
            needs_restart: done.kept,
        })
    }
}

impl Commands {
    fn ask(&self, command: Command) -> Result<Applied, String> {
        self.0.ask(command, REPLY_TIMEOUT)
    }
}
