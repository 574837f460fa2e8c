// SPDX-License-Identifier: AGPL-3.0-only
//! The access control of the HTTP port: the web configuration file, its gate for thread http, and thread web.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Error, Running};
use crate::config::{Config, ConfigError, ConfigSource, Prometheus};
use crate::http::Server;
use crate::http::gate::{AccessStatus, Gate};
use crate::sys::error_counters::ErrorCounters;
use crate::web::gate::WebGate;
use crate::web::load::{Attempt, Loaded, WebFiles, load};
use crate::web::thread;

const KEY: &str = "agent.prometheus.web_config";

pub(super) struct Web {
    gate: Arc<WebGate>,
    status: Arc<AccessStatus>,
    /// The file in use, and the files that were read for it.
    watched: Mutex<Option<(PathBuf, WebFiles)>>,
}

/// The access control of another configuration.
pub(super) struct WebChange {
    open_health: bool,
    file: Option<(PathBuf, WebFiles, Loaded)>,
}

impl Web {
    /// Reads the file that the configuration names, if it names one.
    pub fn new(prometheus: &Prometheus, errors: &Arc<ErrorCounters>) -> Result<Self, Error> {
        let status = Arc::<AccessStatus>::default();
        let gate = WebGate::new(status.clone(), errors.clone()).map_err(Error::Start)?;
        let web = Self {
            gate: Arc::new(gate),
            status,
            watched: Mutex::default(),
        };
        web.put_into_effect(read(prometheus).map_err(Error::Web)?);
        Ok(web)
    }

    pub fn status(&self) -> Arc<AccessStatus> {
        self.status.clone()
    }

    pub fn scheme(&self) -> &'static str {
        match self.gate.tls() {
            Some(_) => "https",
            None => "http",
        }
    }

    pub fn guard(&self, server: Server) -> Server {
        server.gate(self.gate.clone())
    }

    /// Reads the file of another configuration; nothing changes yet.
    pub fn read(&self, prometheus: &Prometheus) -> Result<WebChange, String> {
        read(prometheus).map_err(|reason| format!("{KEY}: {reason}"))
    }

    fn put_into_effect(&self, change: WebChange) {
        self.gate.set_open_health(change.open_health);
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        match change.file {
            Some((path, files, loaded)) => {
                *watched = Some((path, files));
                self.gate.replace(Some(loaded));
            }
            None => {
                *watched = None;
                self.gate.replace(None);
            }
        }
    }
}

impl Running {
    /// Starts thread web if a web configuration file is in use.
    pub(super) fn start_web(&self) -> Result<(), Error> {
        let watched = self.web.watched.lock();
        let watched = watched.unwrap_or_else(PoisonError::into_inner).clone();
        let Some((path, files)) = watched else {
            return Ok(());
        };
        let gate = self.web.gate.clone();
        self.spawn("web", move |heartbeat| {
            thread::run(&gate, path, files, &heartbeat);
        })
    }

    /// Puts a change into effect, and restarts thread web with the files of now.
    pub(super) fn replace_web(&self, change: WebChange) -> Result<(), String> {
        self.threads.stop("web");
        self.web.put_into_effect(change);
        self.start_web().map_err(|error| error.to_string())
    }
}

/// Reads the file that a configuration names, and logs its warnings.
fn read(prometheus: &Prometheus) -> Result<WebChange, String> {
    let mut change = WebChange {
        open_health: prometheus.open_health,
        file: None,
    };
    if let Some(path) = prometheus.web_config() {
        let Attempt { result, files } = load(path);
        let loaded = result?;
        for warning in warnings(prometheus, &loaded) {
            log::warn!("{warning}");
        }
        change.file = Some((path.to_owned(), files, loaded));
    }
    Ok(change)
}

/// Returns what the operator should know about a file that is valid.
fn warnings(prometheus: &Prometheus, loaded: &Loaded) -> Vec<String> {
    let of_file = loaded.warnings.iter();
    let mut warnings: Vec<_> = of_file.map(|text| format!("{KEY}: {text}")).collect();
    if !loaded.is_protected() {
        warnings.extend(prometheus.open_port());
    }
    if !loaded.users.is_empty() && loaded.tls.is_none() && !prometheus.is_local() {
        warnings.push(format!(
            "{KEY}: users without a certificate: names and passwords cross the network in clear text; set \
             tls_server_config"
        ));
    }
    warnings
}

/// Reads the web configuration file and its certificates as the agent will; for `rfm --check`. Returns warnings.
pub fn check(source: &ConfigSource, config: &Config) -> Result<Vec<String>, ConfigError> {
    let prometheus = &config.agent.prometheus;
    let Some(file) = prometheus.web_config() else {
        return Ok(Vec::new());
    };
    match load(file).result {
        Ok(loaded) => Ok(warnings(prometheus, &loaded)),
        Err(text) => Err(ConfigError {
            file: source.file.display().to_string(),
            errors: vec![source.error(KEY, text)],
            left_out: 0,
        }),
    }
}
