// SPDX-License-Identifier: AGPL-3.0-only
//! The current configuration, shared by the threads. Reloads and commands change it; a caller that needs the
//! newest one reads it again each time.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::types::interface_pattern::Patterns;

/// The result of the last read of the configuration.
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

    /// Replaces the current configuration with the one read from the file.
    pub fn reloaded(&self, config: Config) {
        self.set(config);
        self.write().reload = succeeded();
    }

    /// Records that a file was not valid: the current configuration stays.
    pub fn reload_failed(&self) {
        self.write().reload.successful = false;
    }

    /// Replaces the current configuration with the one that a command requested.
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
