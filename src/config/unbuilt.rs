// SPDX-License-Identifier: AGPL-3.0-only
//! Keys of the reference that this version does not obey yet. To set one is an error rather than a
//! silent nothing; the effective configuration does not show them. Who builds a feature deletes its
//! line.

use toml::{Table, Value};

use super::document::join;

pub const MESSAGE: &str = "not built yet in this version";

/// Keys or whole sections, with the one value that may be set because it asks for nothing.
const KEYS: &[(&str, Option<&str>)] = &[("agent.firewall", None)];

/// What `table` sets of it: dotted paths, with a message for each.
pub fn find(table: &Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    find_below("", table, &mut found);
    found
}

fn find_below(path: &str, table: &Table, found: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let path = join(path, key);
        if let Value::Table(inner) = value {
            find_below(&path, inner, found);
        } else if let Some(message) = refuse(&path, value) {
            found.push((path, message));
        }
    }
}

/// Takes it out of `table`, and what is empty then.
pub fn remove(table: &mut Table) {
    remove_below("", table);
}

fn remove_below(path: &str, table: &mut Table) {
    table.retain(|key, value| {
        let path = join(path, key);
        if let Value::Table(inner) = value {
            remove_below(&path, inner);
            !inner.is_empty()
        } else {
            refuse(&path, value).is_none()
        }
    });
}

/// Why `path` may not have `value`, if so.
fn refuse(path: &str, value: &Value) -> Option<String> {
    let (_, allowed) = KEYS.iter().find(|(key, _)| lies_in(path, key))?;
    (allowed.is_none() || text(value).as_deref() != *allowed).then(|| MESSAGE.to_owned())
}

/// Whether `path` is `key` or stands in the section `key`.
fn lies_in(path: &str, key: &str) -> bool {
    path.strip_prefix(key)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A plain value as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Integer(i) => Some(i.to_string()),
        Value::Boolean(b) => Some(b.to_string()),
        _ => None,
    }
}
