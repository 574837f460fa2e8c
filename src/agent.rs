// SPDX-License-Identifier: AGPL-3.0-only
//! Wiring; the place that the agent will take.

use std::fmt;

use crate::config::Config;

#[derive(Debug)]
pub struct Error(&'static str);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Error {}

pub fn run(_config: &Config) -> Result<(), Error> {
    Err(Error("the agent is not wired up"))
}

pub fn detach() -> Result<(), Error> {
    Err(Error("the agent is not wired up"))
}
