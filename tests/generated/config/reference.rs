// SPDX-License-Identifier: AGPL-3.0-only
//! docs/reference/configuration.md: a table of keys for each section.

use rfm::config::reference::{KeyReference, SectionReference, TableLayout};

use super::{full, reload, values};

const HEAD: &str = "\
# Configuration

<!-- Written by `make generate` from the declarations of the keys in src/config/: change these. -->

Every key of `/etc/rfm/rfm.toml`. [config/rfm.toml](../../config/rfm.toml) is a file with all of them, rfm.toml(5) the manual page.
Durations are written `\"30s\"`, `\"5m\"`, `\"1h30m\"`. `rfm --check` shows the configuration in effect, or all errors.

The column \"reload\" shows whether `rfm reload` (or SIGHUP) applies a new value, or the agent keeps the old one until a restart.
";

pub fn page(sections: &[&SectionReference]) -> String {
    let mut page = HEAD.to_owned();
    for section in sections {
        let path = &section.path;
        page += &match section.layout {
            TableLayout::Table | TableLayout::FreeKeys => format!("\n## `[{path}]`\n\n"),
            TableLayout::Tables(max) => format!("\n## `[[{path}]]`\n\nAt most {max} tables. "),
        };
        let text = full(section.text, section.details);
        if !text.is_empty() {
            page += &format!("{}\n\n", escaped(&text));
        }
        page += "| key | default | values | reload | meaning |\n|---|---|---|---|---|\n";
        for key in &section.keys {
            page += &row(section, key);
        }
    }
    page
}

fn row(section: &SectionReference, key: &KeyReference) -> String {
    let declared = &key.declared;
    let default = match (&key.default, declared.example) {
        _ if declared.required => "required".into(),
        (Some(default), _) => format!("`{default}`"),
        (None, Some(example)) => format!("unset, such as `{example}`"),
        (None, None) => "unset".into(),
    };
    let default = match declared.recommended {
        Some(value) => format!("{default}; the shipped file sets `{value}`"),
        None => default,
    };
    let name = match section.layout {
        TableLayout::FreeKeys => format!("a name, such as `{}`", declared.name),
        TableLayout::Table | TableLayout::Tables(_) => format!("`{}`", declared.name),
    };
    format!(
        "| {name} | {default} | {} | {} | {} |\n",
        escaped(&values(key)),
        escaped(&reload(key)),
        escaped(&full(declared.text, declared.details))
    )
}

/// Text without the signs that Markdown would take for its own.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '|' | '<' | '[' | ']' | '_') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
