// SPDX-License-Identifier: AGPL-3.0-only
//! The HTTP port without access control: this program was built without the feature `tls`. The configuration rejects
//! `agent.prometheus.web_config`.

use std::sync::Arc;

use super::{Error, Running};
use crate::config::{Config, ConfigError, ConfigSource, Prometheus};
use crate::http::Server;
use crate::http::gate::AccessStatus;
use crate::sys::error_counters::ErrorCounters;

pub(super) struct Web(Arc<AccessStatus>);

/// The access control of another configuration: none.
pub(super) struct NoWebChange;

impl Web {
    pub fn new(_: &Prometheus, _: &Arc<ErrorCounters>) -> Result<Self, Error> {
        Ok(Self(Arc::default()))
    }

    pub fn status(&self) -> Arc<AccessStatus> {
        self.0.clone()
    }

    pub fn scheme(&self) -> &'static str {
        "http"
    }

    pub fn guard(&self, server: Server) -> Server {
        server
    }

    pub fn read(&self, _: &Prometheus) -> Result<NoWebChange, String> {
        Ok(NoWebChange)
    }
}

impl Running {
    pub(super) fn start_web(&self) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn replace_web(&self, _: NoWebChange) -> Result<(), String> {
        Ok(())
    }
}

pub fn check(_: &ConfigSource, _: &Config) -> Result<Vec<String>, ConfigError> {
    Ok(Vec::new())
}
