// SPDX-License-Identifier: AGPL-3.0-only
//! Keys that environment variables and `--set` replace in the file.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{ConfigError, KeyError, join, without_indices};

/// A variable names a key if its name begins so and contains [`SEPARATOR`]: RFM_AGENT__BPF__SAMPLE_RATE. Names with
/// single underscores, such as RFM_LOG, have other purposes.
const PREFIX: &str = "RFM_";
/// Separates the sections of a key in the name of a variable; no key contains it.
const SEPARATOR: &str = "__";

/// The name of the option in errors.
const OPTION: &str = "--set";

/// A value in place of the one in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The name of the variable, or of the option.
    pub source: String,
    /// The key, without dots.
    pub path: Vec<String>,
    text: String,
}

impl Override {
    fn new(source: &str, path: Vec<String>, text: &str) -> Self {
        Self {
            source: source.to_owned(),
            path,
            text: text.trim().to_owned(),
        }
    }

    /// Returns the dotted path of the key.
    pub fn key(&self) -> String {
        self.path
            .iter()
            .fold(String::new(), |key, part| join(&key, part))
    }

    /// The value as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Parses the value: in the syntax of the file, otherwise as a string without quotes.
    pub fn value(&self) -> Result<Spanned<DeValue<'_>>, String> {
        let text = self.text();
        DeValue::parse(text).or_else(|error| match text.chars().next() {
            Some(first @ ('[' | '{' | '"' | '\'')) => Err(format!(
                "{}; quote a string that begins with {first}",
                error.message().replace('\n', "; ")
            )),
            _ => Ok(Spanned::new(0..text.len(), DeValue::String(text.into()))),
        })
    }
}

/// The file and the overrides, from which the configuration is read at the start and at each reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigSource {
    pub file: PathBuf,
    /// In the order in which they apply.
    pub(super) overrides: Vec<Override>,
}

impl ConfigSource {
    /// Reads the names of `variables` and the texts `KEY=VALUE` of `options`, which have precedence.
    pub fn new(
        file: PathBuf,
        options: &[String],
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let variables = variables.into_iter();
        let variables = variables.filter_map(|(name, value)| from_variable(&name, &value));
        let mut overrides = variables.collect::<Result<Vec<_>, _>>()?;
        // a section precedes its keys
        overrides.sort_by(|a, b| a.path.cmp(&b.path));
        for option in options {
            overrides.push(from_option(option)?);
        }
        Ok(Self { file, overrides })
    }

    /// Returns a line for each override.
    pub fn describe(&self) -> impl Iterator<Item = String> {
        let line = |one: &Override| format!("{} is set by {}", one.key(), one.source);
        self.overrides.iter().map(line)
    }

    /// Returns an error about the value of a key, with the source of the value.
    pub fn error(&self, key: &str, text: String) -> KeyError {
        KeyError {
            source: self.source_of(key),
            line: None,
            key: key.to_owned(),
            text,
        }
    }

    fn source_of(&self, key: &str) -> Option<String> {
        let key = without_indices(key);
        let sets = |one: &&Override| {
            let rest = key.strip_prefix(&one.key());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let last = self.overrides.iter().rfind(sets);
        last.map(|one| one.source.clone())
    }
}

fn from_variable(name: &OsString, value: &OsString) -> Option<Result<Override, ConfigError>> {
    let rest = name.as_bytes().strip_prefix(PREFIX.as_bytes())?;
    let separator = SEPARATOR.as_bytes();
    if !rest.windows(separator.len()).any(|part| part == separator) {
        return None;
    }
    let shown = name.to_string_lossy();
    let error = |text: &str| Some(Err(ConfigError::of_file(&shown, text.to_owned())));
    let (Some(rest), Some(value)) = (str::from_utf8(rest).ok(), value.to_str()) else {
        return error("expected UTF-8");
    };
    if rest.contains(|c: char| c.is_lowercase()) {
        return error("expected a name in upper case");
    }
    let path = rest.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
    Some(Ok(Override::new(&shown, path, value)))
}

fn from_option(text: &str) -> Result<Override, ConfigError> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match parse_key(key) {
        Some(path) if text.contains('=') => Ok(Override::new(OPTION, path, value)),
        _ => Err(ConfigError::of_file(
            OPTION,
            format!(
                "expected KEY=VALUE, such as agent.bpf.sample_rate=1, got \"{}\"",
                text.escape_debug()
            ),
        )),
    }
}

/// Parses a dotted key in the syntax of the file.
fn parse_key(key: &str) -> Option<Vec<String>> {
    if key.contains(char::is_control) {
        return None;
    }
    let line = format!("{key} = 0");
    let mut table = DeTable::parse(&line).ok()?.into_inner();
    let mut path = Vec::new();
    loop {
        let (name, value) = table.into_iter().next()?;
        path.push(name.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

/// Replaces or adds a value; makes the sections above it. `Err` names the path of a value that is not a section.
pub fn put<'d>(
    table: &mut DeTable<'d>,
    path: &'d [String],
    value: Spanned<DeValue<'d>>,
    made: &mut Vec<String>,
) -> Result<(), String> {
    let mut table = table;
    let mut above = String::new();
    let Some((last, sections)) = path.split_last() else {
        return Ok(());
    };
    for name in sections {
        above = join(&above, name);
        if !table.contains_key(name.as_str()) {
            table.insert(key_of(name), unlocated(DeValue::Table(DeTable::new())));
            made.push(above.clone());
        }
        table = match table.get_mut(name.as_str()).map(Spanned::get_mut) {
            Some(DeValue::Table(inner)) => inner,
            _ => return Err(above),
        };
    }
    table.insert(key_of(last), value);
    Ok(())
}

fn key_of(name: &str) -> Spanned<std::borrow::Cow<'_, str>> {
    unlocated(name.into())
}

/// A value that has no place in the file.
fn unlocated<T>(value: T) -> Spanned<T> {
    Spanned::new(usize::MAX..usize::MAX, value)
}
