// SPDX-License-Identifier: AGPL-3.0-only
//! Reads a file into the effective configuration.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::document::{ConfigError, Document};
use super::*;
use crate::sys::os_error;

/// Bytes; a larger file is refused.
pub const MAX_FILE_SIZE: u64 = 1 << 20;

impl ConfigSource {
    /// Reads, checks and completes the configuration.
    pub fn load(&self, machine: &Machine) -> Result<Config, ConfigError> {
        let file = self.file.display().to_string();
        let text = read(&self.file).map_err(|text| ConfigError::of_file(&file, text))?;
        self.parse(&file, &text, machine)
    }

    /// Like [`ConfigSource::load`] for text that has been read; errors name it `file`.
    pub(super) fn parse(
        &self,
        file: &str,
        text: &str,
        machine: &Machine,
    ) -> Result<Config, ConfigError> {
        let document = Document::parse(file, text, &self.overrides)?;
        let config = read_document(&document, machine);
        document.result().map(|()| config)
    }
}

/// Reads, checks and completes the configuration in `text`, without overrides; errors name it `file`.
pub fn parse(file: &str, text: &str, machine: &Machine) -> Result<Config, ConfigError> {
    ConfigSource::default().parse(file, text, machine)
}

/// Reads every section; the document collects the errors.
pub(super) fn read_document(document: &Document<'_>, machine: &Machine) -> Config {
    let config = Config {
        agent: Agent::read(&document.root().section("agent"), machine),
    };
    // Keys are compared with each other only if each is valid: a default in place of an invalid value
    // would cause false errors.
    if document.result().is_ok() {
        validate::check(&config, document);
    }
    document.reject_unknown();
    config
}

fn cannot_read(error: io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "; name another file with --config",
        io::ErrorKind::PermissionDenied => "; run the command as a user who may, such as root",
        _ => "",
    };
    format!("cannot read: {}{remedy}", os_error::reason(&error))
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    // This precedes the open, because opening a FIFO waits for a writer.
    let metadata = fs::metadata(path).map_err(cannot_read)?;
    if !metadata.is_file() {
        return Err("expected a regular file".into());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|f| f.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes))
        .map_err(cannot_read)?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(format!(
            "expected at most {MAX_FILE_SIZE} bytes, got {}",
            metadata.len().max(bytes.len() as u64)
        ));
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        format!("expected UTF-8, got another byte at offset {valid}")
    })
}
