// SPDX-License-Identifier: AGPL-3.0-only
//! docs/reference/commands.md.

use argh::{FlagInfo, FlagInfoKind, Optionality, PositionalInfo};

use super::{Command, capitalized};

pub fn page(commands: &[Command]) -> String {
    let mut page = "\
<!-- Made from src/args.rs by `make generate`: do not edit -->
# Commands and options of rfm
"
    .to_owned();
    for one in commands {
        page += "\n";
        page += &command(one);
    }
    page += "\n## Exit codes\n\n| code | meaning |\n|---|---|\n";
    for code in commands.iter().flat_map(|one| one.info.error_codes) {
        page += &format!("| {} | {} |\n", code.code, cell(code.description));
    }
    page
}

fn command(one: &Command) -> String {
    let level = one.path.split(' ').count() + 1;
    let mut text = format!(
        "{} {}\n\n```\n{}\n```\n\n{}\n",
        "#".repeat(level),
        one.path,
        usage(one),
        one.info.description
    );
    for note in one.info.notes {
        text += &format!("\n{note}\n");
    }
    for example in one.info.examples {
        let (caption, line) = example.split_once('\n').expect("a caption, and a command");
        text += &format!("\n{caption}\n\n```\n{line}\n```\n");
    }
    let arguments = one
        .info
        .positionals
        .iter()
        .map(|one| (positional(one), one.description));
    let options = one.options().map(|one| (option(one), one.description));
    text += "\n| argument | meaning |\n|---|---|\n";
    for (shown, description) in arguments.chain(options) {
        text += &format!("| `{shown}` | {} |\n", cell(description));
    }
    text
}

fn cell(text: &str) -> String {
    capitalized(text).replace('|', "\\|")
}

fn usage(one: &Command) -> String {
    let mut usage = one.path.clone();
    if !one.is_leaf() {
        usage += if one.name().is_empty() {
            " [COMMAND]"
        } else {
            " COMMAND"
        };
    }
    usage += " [OPTIONS]";
    for one in one.info.positionals {
        usage += " ";
        usage += &positional(one);
    }
    usage
}

fn positional(one: &PositionalInfo<'_>) -> String {
    let name = one.name.to_uppercase();
    match one.optionality {
        Optionality::Required => name,
        Optionality::Optional => format!("[{name}]"),
        Optionality::Repeating | Optionality::Greedy => format!("{name}..."),
    }
}

fn option(one: &FlagInfo<'_>) -> String {
    match one.kind {
        FlagInfoKind::Switch => one.long.to_owned(),
        FlagInfoKind::Option { arg_name } => format!("{} {}", one.long, arg_name.to_uppercase()),
    }
}
