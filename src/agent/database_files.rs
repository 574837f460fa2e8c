// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm --check` opens the databases and the file with VRPs that the configuration names, `rfm --check-database` one
//! database.

use std::path::Path;

use super::{Error, derive};
use crate::config::{Config, ConfigError, ConfigSource};
use crate::enrich::mmdb::{Database, DatabasePlace, Inspection};
use crate::enrich::rpki;

/// Reads one file as the agent does; returns a description.
pub fn inspect_database(path: &Path) -> Result<String, Error> {
    let found = Inspection::of(path);
    let error = |error| Error::Database(format!("cannot use {}: {error}", path.display()));
    Ok(found.map_err(error)?.to_string())
}

/// Opens the files as the agent will. Returns a line about each that `"auto"` found.
pub fn open_files(source: &ConfigSource, config: &Config) -> Result<Vec<String>, ConfigError> {
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    for file in derive::databases(&config.agent.enrich.mmdb) {
        let Some(named) = file.path() else {
            continue;
        };
        let opened = Database::open(&named, file.kind, &|| {});
        match (file.place, opened) {
            (DatabasePlace::File(_), Ok(_)) => {}
            (DatabasePlace::File(_), Err(error)) => errors.push(source.error(
                file.kind.key(),
                format!("cannot use {}: {error}", named.display()),
            )),
            (DatabasePlace::Folders(_), Ok(_)) => {
                lines.push(format!("{}: found {}", file.kind.key(), named.display()));
            }
            (DatabasePlace::Folders(_), Err(error)) => lines.push(format!(
                "{}: cannot use {}: {error}",
                file.kind.key(),
                named.display()
            )),
        }
    }
    if let Some(named) = config.agent.enrich.rpki.file()
        && let Err(error) = rpki::file::open(named, &|| {})
    {
        errors.push(source.error(
            rpki::file::KEY,
            format!("cannot use {}: {error}", named.display()),
        ));
    }
    if errors.is_empty() {
        return Ok(lines);
    }
    Err(ConfigError {
        file: source.file.display().to_string(),
        errors,
        left_out: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Machine};

    #[test]
    fn the_databases_named_are_opened() {
        const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mmdb");
        let machine = Machine::here();
        let open = |path: &str| {
            let text = format!(
                "[agent]\ninterfaces = [\"eth0\"]\n[agent.enrich.mmdb]\ncity_db = \"{path}\"\n"
            );
            let config = config::parse("t", &text, &machine).unwrap();
            let source = ConfigSource::new("t".into(), &[], []).unwrap();
            open_files(&source, &config)
                .map(drop)
                .map_err(|e| e.to_string())
        };
        let refused = |path: &str, reason: &str| {
            let text = format!("t: agent.enrich.mmdb.city_db: cannot use {path}: {reason}");
            Err(text)
        };
        assert_eq!(open(&format!("{FOLDER}/GeoLite2-City-Test.mmdb")), Ok(()));
        assert_eq!(open(""), Ok(()));
        for (path, reason) in [
            (
                "/nonexistent/a",
                "no such file or directory; check the path",
            ),
            ("/dev/zero", "expected a regular file"),
            (
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
                "it is incomplete, or no MMDB database: download it again",
            ),
            (
                &format!("{FOLDER}/GeoLite2-ASN-Test.mmdb"),
                "its records have neither city nor country: use a city or country database",
            ),
        ] {
            assert_eq!(open(path), refused(path, reason));
        }
    }
}
