// SPDX-License-Identifier: AGPL-3.0-only
//! The control socket and thread control, which serves it.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Sender;
use log::LevelFilter;

use super::{Error, Running, health, unix_time};
use crate::config::Config;
use crate::config::control::DEFAULT_SOCKET;
use crate::control::access::{Access, find_group};
use crate::control::routes::{self, Routes};
use crate::control::socket::{self, BindError, SocketFile};
use crate::control::{Changes, InForce, LIMITS, Sources, api};
use crate::errors::Errors;
use crate::export::http::Server;
use crate::export::scrape::LinkReader;
use crate::flow::worker::Request;
use crate::links::LinkSocket;

/// What listens, and who may change something there.
pub(super) struct Control {
    server: Server,
    access: Access,
    /// Removed when the agent ends.
    file: SocketFile,
}

impl Control {
    /// Listens, where the configuration asks for it.
    pub fn bind(config: &Config, errors: &Arc<Errors>) -> Result<Option<Self>, Error> {
        let config = &config.agent.control;
        if config.socket.as_os_str().is_empty() {
            return Ok(None);
        }
        let write_group = match &config.write_group[..] {
            "" => None,
            name => Some(
                find_group(name)
                    .ok_or_else(|| Error::Control(BindError::Group(name.to_owned())))?,
            ),
        };
        let (listener, file) = match socket::bind(config) {
            Ok(bound) => bound,
            // who has not asked for the socket shall not miss the agent for want of it
            Err(error @ BindError::Io(..)) if config.socket == Path::new(DEFAULT_SOCKET) => {
                log::warn!("no control socket: {error}");
                return Ok(None);
            }
            Err(error) => return Err(Error::Control(error)),
        };
        let server = Server::unix(listener, errors.clone())
            .map_err(Error::Start)?
            .limits(LIMITS)
            .refuse(routes::refuse);
        log::info!("control socket {}", config.socket.display());
        Ok(Some(Self {
            server,
            access: Access::new(write_group),
            file,
        }))
    }

    /// Thread control. The file is for whoever outlives it.
    pub fn start(
        self,
        running: &Running,
        config_file: &Path,
        config: &Config,
        flows: Sender<Request>,
        exporters: Vec<api::Exporter>,
    ) -> Result<SocketFile, Error> {
        let mut links = LinkSocket::new(running.errors.clone());
        let found = links.dump().map_err(Error::Links)?;
        let links = RefCell::new(LinkReader::new(links, found));
        let (threads, attached) = (running.threads.clone(), running.attached.clone());
        let (in_force, loaded) = (Arc::new(config.clone()), unix_time());
        let sources = Sources {
            scrape: running.scrape(&config.agent, flows, links)?,
            threads: running.threads.clone(),
            health: Box::new(move || health(&threads, &attached)),
            config_file: config_file.to_owned(),
            config: Box::new(move || InForce {
                config: in_force.clone(),
                reload_successful: true,
                reload_success: loaded,
            }),
            exporters,
            changes: Box::new(Fixed),
            bgp: None,
        };
        let (server, access) = (self.server, self.access);
        running.spawn("control", move |heartbeat| {
            let routes = Routes::new(sources, access);
            server.run(&heartbeat, move |request, peer| {
                routes.answer(&request, peer)
            });
        })?;
        Ok(self.file)
    }
}

/// Nothing can be changed while the agent runs.
struct Fixed;

const FIXED: &str = "this version changes nothing while it runs";

impl Changes for Fixed {
    fn set_sample_rate(&self, _: u32) -> Result<(), String> {
        Err(FIXED.into())
    }

    fn set_log_level(&self, level: LevelFilter) -> Result<(), String> {
        log::set_max_level(level);
        Ok(())
    }

    fn reload(&self) -> Result<api::Reloaded, String> {
        Err(FIXED.into())
    }
}
