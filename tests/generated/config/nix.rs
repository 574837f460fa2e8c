// SPDX-License-Identifier: AGPL-3.0-only
//! nixos/types.nix: each key with its type, default and description.

use rfm::config::reference::{KeyReference, SectionReference, TableLayout};
use toml::Value;

use super::{full, has_free_keys, short};

const HEAD: &str = r#"# Written by `make generate` from the declarations of the keys in src/config/: change these.
#
#   type      of lib.types; a key that may be null has no default, only an example
#   default   the value that config/rfm.toml shows
#   shipped   whether config/rfm.toml sets the key
#   required  whether an entry of a list must set it: the default is an example then
#
# SPDX-License-Identifier: AGPL-3.0-only
{ lib }:
let
  inherit (lib.types) attrsOf bool either enum ints listOf nullOr str;
in
{
"#;

pub fn file(sections: &[&SectionReference]) -> String {
    let mut file = HEAD.to_owned();
    for section in sections {
        for key in &section.keys {
            file += &option(section, key);
        }
    }
    file + "}\n"
}

fn option(section: &SectionReference, key: &KeyReference) -> String {
    let declared = &key.declared;
    let free = has_free_keys(section);
    let path = match section.layout {
        TableLayout::Table => format!("{}.{}", section.path, declared.name),
        TableLayout::Tables(_) => format!("{}[].{}", section.path, declared.name),
        TableLayout::FreeKeys => section.path.clone(),
    };
    let required = declared.required && declared.recommended.is_none();
    let kind = match (free, declared.example.is_some() && !required) {
        (true, _) => format!("attrsOf {}", argument(&key.nix)),
        (false, true) => format!("nullOr {}", argument(&key.nix)),
        (false, false) => key.nix.clone(),
    };
    let default = match free {
        true => "{ }".into(),
        false => value(key.shown()),
    };
    let text = match free {
        true => full(section.text, Some(declared.text)),
        false => full(&short(key), declared.details),
    };
    format!(
        "  \"{path}\" = {{\n    type = {kind};\n    default = {default};\n    shipped = {};\n    required = {required};\n    description = {};\n  }};\n",
        declared.recommended.is_some(),
        quoted(&text)
    )
}

fn argument(kind: &str) -> String {
    match kind.contains(' ') {
        true => format!("({kind})"),
        false => kind.to_owned(),
    }
}

/// A value of TOML in the language of Nix.
fn value(text: &str) -> String {
    let table: toml::Table = format!("value = {text}").parse().expect("TOML");
    expression(&table["value"])
}

fn expression(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) if items.is_empty() => "[ ]".into(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(expression).collect();
            format!("[ {} ]", items.join(" "))
        }
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace("${", "\\${"))
}
