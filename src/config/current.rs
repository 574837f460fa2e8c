// SPDX-License-Identifier: AGPL-3.0-only
//! The configuration in force, shared by the threads. It changes when the configuration is read again
//! and by commands; a caller that needs the newest gets it again each time.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::types::interface_pattern::Patterns;

/// How the configuration was last read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reload {
    pub successful: bool,
    /// Seconds since the Unix epoch; the start counts as the first success.
    pub success_time: f64,
}

/// The configuration at one moment.
#[derive(Clone, Debug)]
pub struct ConfigSnapshot {
    pub config: Arc<Config>,
    pub patterns: Arc<Patterns>,
    pub reload: Reload,
}

pub struct CurrentConfig {
    inner: RwLock<ConfigSnapshot>,
}

impl CurrentConfig {
    pub fn new(config: Config) -> Self {
        let patterns = Arc::new(config.agent.patterns());
        Self {
            inner: RwLock::new(ConfigSnapshot {
                config: Arc::new(config),
                patterns,
                reload: succeeded(),
            }),
        }
    }

    pub fn get(&self) -> ConfigSnapshot {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.clone()
    }

    pub fn config(&self) -> Arc<Config> {
        self.get().config
    }

    /// What a file said is in force now.
    pub fn reloaded(&self, config: Config) {
        self.set(config);
        self.write().reload = succeeded();
    }

    /// A file was not in order: what was in force stays.
    pub fn reload_failed(&self) {
        self.write().reload.successful = false;
    }

    /// What a command asked for is in force now.
    pub fn set(&self, config: Config) {
        let patterns = Arc::new(config.agent.patterns());
        let mut inner = self.write();
        inner.config = Arc::new(config);
        inner.patterns = patterns;
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, ConfigSnapshot> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn succeeded() -> Reload {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Reload {
        successful: true,
        success_time: now.map_or(0.0, |elapsed| elapsed.as_secs_f64()),
    }
}
