// SPDX-License-Identifier: AGPL-3.0-only
//! The values that a shell proposes for an argument.

use rfm::config::reference::{SectionReference, TableLayout, reference};
use rfm::flow::query::{Field, Sort};
use rfm::types::flow::Direction;
use rfm::types::named::Named;
use rfm::types::protocol::Protocol;
use rfm::types::rule::PARTS;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// There is nothing to propose.
    Free,
    Files,
    Interfaces,
    /// Numbers of runtime rules, from the running agent.
    RuleIds,
    Words(Vec<String>),
    /// Some of these, with commas.
    List(Vec<String>),
    /// One of these, and then a value.
    Keys(Vec<String>),
    /// By the positional argument before it.
    After(Vec<(String, Vec<String>)>),
}

/// Returns what fits an argument of a command ("firewall add"): the `arg_name` of an option, or a positional argument.
pub fn values(command: &str, argument: &str) -> Values {
    if command == "firewall add"
        && let Some(words) = words_of_part(argument)
    {
        return Values::Words(words);
    }
    match (command, argument) {
        (_, "file" | "path") => Values::Files,
        (_, "name" | "device") => Values::Interfaces,
        ("firewall del", "id") => Values::RuleIds,
        (_, "direction") => Values::Words(names(&Direction::ALL)),
        (_, "protocol") => Values::Words(texts(Protocol::NAMES.iter().map(|(name, _)| *name))),
        ("top", "order") => Values::Words(texts(Sort::OF_SUMS.iter().map(|sort| sort.name()))),
        (_, "order") => Values::Words(texts(Sort::ALL.iter().map(|sort| sort.name()))),
        (_, "fields") => Values::List(texts(Field::all().map(Field::name))),
        (_, "key=value") => Values::Keys(reference().flat().into_iter().flat_map(keys).collect()),
        ("set", "key") => Values::Words(texts(rfm::client::KEYS.iter().map(|(key, _)| *key))),
        ("set", "value") => Values::After(vec![("log_level".into(), levels())]),
        _ => Values::Free,
    }
}

/// The paths that `--set` takes: single keys, and tables of which there may be several as a whole.
fn keys(section: &SectionReference) -> Vec<String> {
    let path = &section.path;
    match section.layout {
        TableLayout::Table => {
            let keys = section.keys.iter();
            keys.map(|key| format!("{path}.{}", key.declared.name))
                .collect()
        }
        TableLayout::Tables(_) | TableLayout::FreeKeys => vec![path.clone()],
    }
}

/// The words of a part of a firewall rule, if it has some.
fn words_of_part(argument: &str) -> Option<Vec<String>> {
    let mut parts = PARTS.iter().filter(|part| part.argument == argument);
    let words = parts.next()?.words();
    (!words.is_empty()).then(|| texts(words.into_iter()))
}

fn names<T: Named>(all: &[T]) -> Vec<String> {
    texts(all.iter().map(|one| one.name()))
}

fn texts<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    words.map(str::to_owned).collect()
}

fn levels() -> Vec<String> {
    let all = log::LevelFilter::iter();
    all.map(|level| level.as_str().to_ascii_lowercase())
        .collect()
}
