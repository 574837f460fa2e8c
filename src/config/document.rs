// SPDX-License-Identifier: AGPL-3.0-only
//! A TOML document while it is read: each read of a key makes it known, a key that was never read is unknown,
//! and every error is stored with its line, or with the override that has set the value.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::overrides::{self, Override};
use super::values::{KeyType, Parsed, Value, ValueError};
use crate::types::did_you_mean::nearest;

/// The most errors that are listed for one file; the rest are only counted.
const MAX_ERRORS: usize = 20;

/// The most characters that are shown of a rejected value.
const MAX_SHOWN: usize = 40;

/// One error in the file or in an override.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyError {
    /// The variable or option that has set the value; `None` for the file.
    pub source: Option<String>,
    /// From 1; `None` for an error of the whole file, or of an override.
    pub line: Option<usize>,
    /// Dotted path of the key; empty if the error concerns no key.
    pub key: String,
    pub text: String,
}

/// All errors of one file, in the order of its lines, and those of the overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub file: String,
    pub errors: Vec<KeyError>,
    /// The number of errors that are not listed.
    pub left_out: usize,
}

impl ConfigError {
    /// Returns the error of a file that is not usable as a whole.
    pub fn of_file(file: &str, text: String) -> Self {
        let error = KeyError {
            text,
            ..KeyError::default()
        };
        Self {
            file: file.to_owned(),
            errors: vec![error],
            left_out: 0,
        }
    }
}

impl std::error::Error for ConfigError {}

/// One line per error: `FILE:LINE: KEY: TEXT`, or `SOURCE: KEY: TEXT`.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", error.source.as_ref().unwrap_or(&self.file))?;
            if let Some(line) = error.line {
                write!(f, "{line}:")?;
            }
            if !error.key.is_empty() {
                write!(f, " {}:", error.key)?;
            }
            write!(f, " {}", error.text)?;
        }
        if self.left_out > 0 {
            write!(f, "\n{}: {} more problems", self.file, self.left_out)?;
        }
        Ok(())
    }
}

/// An error whose line is not yet counted: there may be many more errors than are shown.
#[derive(Clone)]
struct UnlocatedError {
    /// The index of the override that has set the value.
    source: Option<usize>,
    offset: usize,
    key: String,
    text: String,
}

/// The results of the reads so far.
#[derive(Default)]
struct State {
    errors: Vec<UnlocatedError>,
    /// Paths that were read, without indices; `true` for a section.
    known: BTreeMap<String, bool>,
    /// The offset of each key that was read, by its path with indices.
    offsets: BTreeMap<String, usize>,
}

pub struct Document<'d> {
    file: &'d str,
    text: &'d str,
    overrides: &'d [Override],
    /// The index of the override that has set a value or made a section, by the path.
    set: BTreeMap<String, usize>,
    made: BTreeMap<String, usize>,
    root: Spanned<DeTable<'d>>,
    state: RefCell<State>,
}

impl<'d> Document<'d> {
    /// Parses `text`, whose name in errors is `file`, and replaces the values that `overrides` set.
    pub fn parse(
        file: &'d str,
        text: &'d str,
        overrides: &'d [Override],
    ) -> Result<Self, ConfigError> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut document = Self {
            file,
            text,
            overrides,
            set: BTreeMap::new(),
            made: BTreeMap::new(),
            root,
            state: RefCell::default(),
        };
        for error in &errors {
            let offset = error.span().map_or(0, |s| s.start);
            document.report(offset, "", error.message().replace('\n', "; "));
        }
        for (index, one) in overrides.iter().enumerate() {
            document.apply(index, one);
        }
        document.result().map(|()| document)
    }

    fn apply(&mut self, index: usize, one: &'d Override) {
        let key = one.key();
        let below = format!("{key}.");
        self.set.retain(|path, _| !path.starts_with(&below));
        self.set.insert(key.clone(), index);
        let value = match one.value() {
            Ok(value) => value,
            Err(text) => return self.report(0, &key, text),
        };
        let mut made = Vec::new();
        if let Err(above) = overrides::put(self.root.get_mut(), &one.path, value, &mut made) {
            let text = format!("{above} is not a section: its value can only be set as a whole");
            self.report(0, &key, text);
        }
        self.made.extend(made.into_iter().map(|path| (path, index)));
    }

    /// Returns the top-level table.
    pub fn root(&self) -> Section<'_> {
        Section {
            document: self,
            path: String::new(),
            table: Some(self.root.get_ref()),
        }
    }

    /// Adds an error with a key that may or may not be in the file.
    pub fn reject(&self, key: &str, text: impl Into<String>) {
        let offset = self.offset_of(key);
        self.report(offset, key, text.into());
    }

    /// Adds an error for each key that was never read. Call it after all sections have been read.
    pub fn reject_unknown(&self) {
        let known = std::mem::take(&mut self.state.borrow_mut().known);
        self.walk(self.root.get_ref(), "", "", &known);
        self.state.borrow_mut().known = known;
    }

    /// Returns the errors, if there are any.
    pub fn result(&self) -> Result<(), ConfigError> {
        let mut errors = self.state.borrow().errors.clone();
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by_key(|found| (found.source, found.offset));
        let left_out = errors.len().saturating_sub(MAX_ERRORS);
        errors.truncate(MAX_ERRORS);
        Err(ConfigError {
            file: self.file.to_owned(),
            errors: errors.into_iter().map(|f| self.located(f)).collect(),
            left_out,
        })
    }

    fn located(&self, found: UnlocatedError) -> KeyError {
        let source = found
            .source
            .map(|index| self.overrides[index].source.clone());
        let before = self.text.get(..found.offset).filter(|_| source.is_none());
        KeyError {
            source,
            line: before.map(|text| 1 + text.bytes().filter(|b| *b == b'\n').count()),
            key: printable(&found.key),
            text: printable(&found.text),
        }
    }

    /// Returns the keys that were read so far, without sections.
    #[cfg(test)]
    pub fn known_keys(&self) -> Vec<String> {
        let state = self.state.borrow();
        let keys = state.known.iter().filter(|(_, section)| !**section);
        keys.map(|(key, _)| key.clone()).collect()
    }

    fn walk(&self, table: &DeTable<'_>, path: &str, shown: &str, known: &BTreeMap<String, bool>) {
        for (key, value) in table {
            let path = join(path, key.get_ref());
            let shown = join(shown, key.get_ref());
            match (known.get(&path), value.get_ref()) {
                (None, _) => self.reject_key(key, &path, &shown, known),
                (Some(true), DeValue::Table(inner)) => self.walk(inner, &path, &shown, known),
                (Some(true), DeValue::Array(items)) => {
                    for (i, item) in items.iter().enumerate() {
                        if let Some(inner) = item.get_ref().as_table() {
                            self.walk(inner, &path, &format!("{shown}[{i}]"), known);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn reject_key(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        path: &str,
        shown: &str,
        known: &BTreeMap<String, bool>,
    ) {
        // The search runs only for errors that will be shown: the file may have very many wrong keys.
        let listed = self.state.borrow().errors.len() < MAX_ERRORS;
        let hint = listed.then(|| nearest(path, known.keys().map(String::as_str)));
        let text = match hint.flatten() {
            Some(hint) => match misplaced(path, hint, known) {
                Some((name, section)) => format!("\"{name}\" belongs in the section [{section}]"),
                None => format!("unknown key, did you mean {hint}?"),
            },
            None => "unknown key".into(),
        };
        self.report(key.span().start, shown, text);
    }

    fn offset_of(&self, key: &str) -> usize {
        let state = self.state.borrow();
        let mut key = key;
        loop {
            if let Some(offset) = state.offsets.get(key) {
                return *offset;
            }
            // The key is not in the file: the line of its section is the best substitute.
            match key.rfind('.') {
                Some(dot) => key = &key[..dot],
                None => return usize::MAX,
            }
        }
    }

    /// Returns the index of the override that has set the value of a key.
    fn source_of(&self, key: &str) -> Option<usize> {
        let key = without_indices(key);
        let made = self.made.get(&key);
        let mut above = Some(&*key);
        while let Some(path) = above {
            if let Some(index) = self.set.get(path) {
                return Some(*index);
            }
            above = path.rsplit_once('.').map(|(above, _)| above);
        }
        made.copied()
    }

    fn report(&self, offset: usize, key: &str, text: String) {
        self.state.borrow_mut().errors.push(UnlocatedError {
            source: self.source_of(key),
            offset,
            key: key.to_owned(),
            text,
        });
    }

    fn value_error(&self, key: &str, error: ValueError, value: &Value<'_>) {
        let ValueError {
            span,
            expected,
            reason,
        } = error;
        let got = self.shown(key, span.clone(), value);
        let reason = reason.map_or_else(String::new, |r| format!(" ({r})"));
        self.report(
            span.start,
            key,
            format!("expected {expected}, got {got}{reason}"),
        );
    }

    /// Returns the text at `span`, shortened.
    fn shown(&self, key: &str, span: Range<usize>, value: &Value<'_>) -> String {
        if value.get_ref().is_table() {
            return "a table".into();
        }
        let source = self.source_of(key);
        let text = source.map_or(self.text, |index| self.overrides[index].text());
        let text = match text.get(span).unwrap_or_default() {
            "" => "\"\"",
            text => text,
        };
        match text.char_indices().nth(MAX_SHOWN) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.to_owned(),
        }
    }
}

/// A table of the document, perhaps absent.
pub struct Section<'d> {
    document: &'d Document<'d>,
    path: String,
    table: Option<&'d DeTable<'d>>,
}

impl<'d> Section<'d> {
    /// Returns the value of `key`, or `default` if it is not set or not valid; the latter adds an error.
    pub fn read<K: KeyType>(&self, key: &str, kind: K, default: K::Value) -> K::Value {
        self.optional(key, kind).unwrap_or(default)
    }

    /// Like [`Section::read`] for a key without a default.
    pub fn optional<K: KeyType>(&self, key: &str, kind: K) -> Option<K::Value> {
        let path = self.path_of(key);
        let value = self.find(key, &path, false)?;
        match kind.parse(value) {
            Ok(t) => Some(t),
            Err(errors) => {
                for error in errors {
                    self.document.value_error(&path, error, value);
                }
                None
            }
        }
    }

    /// Like [`Section::optional`], but a missing key is an error, whose text shows `example`.
    pub fn required<K: KeyType>(&self, key: &str, kind: K, example: &str) -> Option<K::Value> {
        if !self.has(key) {
            self.document
                .reject(&self.path_of(key), format!("required, such as {example}"));
        }
        self.optional(key, kind)
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|t| t.contains_key(key))
    }

    /// Returns the table `key`.
    pub fn section(&self, key: &str) -> Section<'d> {
        let path = self.path_of(key);
        let value = self.find(key, &path, true);
        let table = value.and_then(|value| self.table_of(value, &path));
        Section {
            document: self.document,
            path,
            table,
        }
    }

    /// Returns the tables of `[[key]]`, at most `max`.
    pub fn sections(&self, key: &str, max: usize) -> Vec<Section<'d>> {
        let path = self.path_of(key);
        let Some(value) = self.find(key, &path, true) else {
            return Vec::new();
        };
        let items = match value.get_ref().as_array() {
            Some(items) if items.len() <= max => items,
            _ => {
                let expected = format!("at most {max} tables [[{path}]]");
                self.wrong(value, &path, expected);
                return Vec::new();
            }
        };
        let item = |(i, value): (usize, &'d Value<'d>)| {
            let path = format!("{path}[{i}]");
            self.note(&path, value);
            let table = self.table_of(value, &path);
            Section {
                document: self.document,
                path,
                table,
            }
        };
        items.iter().enumerate().map(item).collect()
    }

    /// Returns the keys and values of a table whose keys the operator names; `name` checks these.
    pub fn entries<K: KeyType>(
        &self,
        key: &str,
        name: impl Fn(&str, &Value<'_>) -> Parsed<()>,
        kind: K,
    ) -> BTreeMap<String, K::Value> {
        let path = self.path_of(key);
        let mut entries = BTreeMap::new();
        let table = self
            .find(key, &path, false)
            .and_then(|value| self.table_of(value, &path));
        for (key, value) in table.into_iter().flatten() {
            match name(key.get_ref(), value).and_then(|()| kind.parse(value)) {
                Ok(t) => {
                    entries.insert(key.get_ref().to_string(), t);
                }
                Err(errors) => {
                    for error in errors {
                        self.document
                            .value_error(&join(&path, key.get_ref()), error, value);
                    }
                }
            }
        }
        entries
    }

    fn table_of(&self, value: &'d Value<'d>, path: &str) -> Option<&'d DeTable<'d>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong(value, path, "a table".into());
        }
        table
    }

    fn wrong(&self, value: &Value<'_>, path: &str, expected: String) {
        let error = ValueError {
            span: value.span(),
            expected,
            reason: None,
        };
        self.document.value_error(path, error, value);
    }

    fn find(&self, key: &str, path: &str, section: bool) -> Option<&'d Value<'d>> {
        let mut state = self.document.state.borrow_mut();
        state.known.insert(without_indices(path), section);
        let value = self.table?.get(key)?;
        state.offsets.insert(path.to_owned(), value.span().start);
        Some(value)
    }

    fn note(&self, path: &str, value: &Value<'_>) {
        let mut state = self.document.state.borrow_mut();
        state.offsets.insert(path.to_owned(), value.span().start);
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

/// Returns the path of `key` below `path`.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// `agent.ipfix.collector[3].host` → `agent.ipfix.collector.host`
pub fn without_indices(path: &str) -> String {
    path.split('.')
        .map(|part| part.split_once('[').map_or(part, |(name, _)| name))
        .collect::<Vec<_>>()
        .join(".")
}

/// Escapes characters that a terminal would interpret: keys and strings of the file may have any character.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// Returns the name and the section of a key that is in another section, if no other section has a key of this name.
fn misplaced<'h>(
    path: &str,
    hint: &'h str,
    known: &BTreeMap<String, bool>,
) -> Option<(&'h str, &'h str)> {
    let (_, name) = path.rsplit_once('.')?;
    let (section, its_name) = hint.rsplit_once('.')?;
    let has_name = |key: &&String| key.rsplit('.').next() == Some(name);
    let is_only = known.keys().filter(has_name).count() == 1;
    (name == its_name && is_only).then_some((its_name, section))
}
