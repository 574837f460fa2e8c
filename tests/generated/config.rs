// SPDX-License-Identifier: AGPL-3.0-only
//! The keys of the configuration, from the declarations in `src/config/`: config/rfm.toml, rfm.toml(5),
//! nixos/types.nix, and docs/reference/configuration.md.

mod manual;
mod nix;
mod reference;
mod shipped;

use rfm::config::reference::{KeyReference, ReloadClass, SectionReference, reference};

use crate::generated;

#[test]
fn the_shipped_configuration() {
    generated("config/rfm.toml", &shipped::file(&reference().flat()));
}

#[test]
fn the_manual_of_the_configuration() {
    generated("docs/man/rfm.toml.5", &manual::page(&reference().flat()));
}

#[test]
fn the_options_of_nixos() {
    generated("nixos/types.nix", &nix::file(&reference().flat()));
}

#[test]
fn the_reference_of_the_configuration() {
    let page = reference::page(&reference().flat());
    generated("docs/reference/configuration.md", &page);
}

/// The text of a key or section with its details.
fn full(text: &str, details: Option<&str>) -> String {
    match details {
        Some(details) => format!("{text} {details}").trim().to_owned(),
        None => text.to_owned(),
    }
}

/// The short text of a key. It names the default if the packaged file sets another value.
fn short(key: &KeyReference) -> String {
    let text = key.declared.text;
    match (&key.default, key.declared.recommended) {
        (Some(default), Some(_)) => format!("{text} Default {default}."),
        _ => text.to_owned(),
    }
}

/// The valid values, with what a number counts.
fn values(key: &KeyReference) -> String {
    match key.declared.unit {
        Some(unit) => format!("{} ({unit})", key.expected),
        None => key.expected.clone(),
    }
}

/// What a reload does with the key.
fn reload(key: &KeyReference) -> String {
    match key.declared.reload {
        ReloadClass::Applied => "applied".into(),
        ReloadClass::Restart => "needs a restart".into(),
        ReloadClass::Conditional(text) => format!("applied {text}"),
    }
}

/// `text` in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Whether the operator names the keys of the section.
fn has_free_keys(section: &SectionReference) -> bool {
    section.layout == rfm::config::reference::TableLayout::FreeKeys
}
