// SPDX-License-Identifier: AGPL-3.0-only
//! packaging/completions/_rfm.

use super::bash::RULE_IDS;
use super::{Command, HEADER, Values, short, values};

pub fn script(commands: &[Command]) -> String {
    let functions: Vec<_> = commands.iter().rev().map(function).collect();
    format!(
        "#compdef rfm\n# zsh completion for rfm\n{HEADER}\n_rfm_rule_ids() {{\n  compadd -- $({RULE_IDS})\n}}\n\n{}\n_rfm \"$@\"\n",
        functions.join("\n")
    )
}

fn function(one: &Command) -> String {
    let mut lines = Vec::new();
    for option in one.options() {
        let value = match (&option.kind, one.values(option)) {
            (argh::FlagInfoKind::Option { arg_name }, Some(values)) => {
                format!(":{arg_name}:{}", action(&values))
            }
            _ => String::new(),
        };
        let repeats = match option.optionality {
            argh::Optionality::Repeating => "*",
            _ => "",
        };
        lines.push(format!(
            "'{repeats}{}[{}]{value}'",
            option.long,
            quoted(short(option.description))
        ));
    }
    for (at, positional) in one.info.positionals.iter().enumerate() {
        let place = match positional.optionality {
            argh::Optionality::Repeating | argh::Optionality::Greedy => "*".to_owned(),
            _ => (at + 1).to_string(),
        };
        let action = action(&values(one.name(), positional.name));
        lines.push(format!("'{place}:{}:{action}'", positional.name));
    }
    let name = function_name(one);
    if one.is_leaf() {
        return format!("{name}() {{\n  _arguments{}\n}}\n", listed(&lines, "    "));
    }
    lines.push("'1: :->command'".into());
    lines.push("'*:: :->argument'".into());
    let mut text = format!(
        "{name}() {{\n  local context state line\n  typeset -A opt_args\n  local -a commands=(\n"
    );
    for below in &one.info.commands {
        text += &format!(
            "    '{}:{}'\n",
            below.name,
            quoted(short(below.command.description))
        );
    }
    text += &format!("  )\n  _arguments -C{}\n", listed(&lines, "    "));
    text += "  case $state in\n    command) _describe command commands ;;\n    argument)\n      case $line[1] in\n";
    for below in &one.info.commands {
        text += &format!("        {}) {name}_{} ;;\n", below.name, below.name);
    }
    text += "      esac ;;\n  esac\n}\n";
    text
}

fn function_name(one: &Command) -> String {
    format!("_{}", one.path.replace(' ', "_"))
}

fn listed(lines: &[String], indent: &str) -> String {
    let one = |line: &String| format!(" \\\n{indent}{line}");
    lines.iter().map(one).collect()
}

fn action(values: &Values) -> String {
    match values {
        Values::Free => String::new(),
        Values::Files => "_files".into(),
        Values::Interfaces => "_net_interfaces".into(),
        Values::RuleIds => "_rfm_rule_ids".into(),
        Values::Words(words) => format!("({})", words.join(" ")),
        Values::List(words) => format!("_values -s , field {}", words.join(" ")),
        Values::Keys(words) => format!("{{ compadd -S = -- {} }}", words.join(" ")),
        Values::After(cases) => {
            let one = |(before, words): &(String, Vec<String>)| {
                format!("[[ $line[1] == {before} ]] && compadd {}", words.join(" "))
            };
            let cases: Vec<_> = cases.iter().map(one).collect();
            format!("{{ {} }}", cases.join("; "))
        }
    }
}

/// In single quotes, between brackets or after a colon.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
        .replace('[', "\\[")
        .replace(']', "\\]")
        .replace(':', "\\:")
        .replace('`', "")
}
