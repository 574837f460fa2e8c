// SPDX-License-Identifier: AGPL-3.0-only
//! docs/reference/commands.md.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality, PositionalInfo};

pub fn page(info: &CommandInfoWithArgs) -> String {
    let mut page = "\
<!-- Made from src/args.rs by `make generate`: do not edit. -->
# Commands and options of rfm

"
    .to_owned();
    page += &command("rfm", info, 2);
    page += "\n## Exit codes\n\n| code | meaning |\n|---|---|\n";
    for code in info.error_codes {
        page += &format!("| {} | {} |\n", code.code, code.description);
    }
    page
}

/// A command and those below it, under headings of `level`.
fn command(name: &str, info: &CommandInfoWithArgs, level: usize) -> String {
    let mut text = format!(
        "{} {name}\n\n`{}`\n\n{}\n",
        "#".repeat(level),
        usage(name, info),
        info.description
    );
    for note in info.notes {
        text += &format!("\n{}\n", note.replace('\n', " "));
    }
    let arguments = info
        .positionals
        .iter()
        .map(|one| (shown_positional(one), one.description));
    let options = info
        .flags
        .iter()
        .filter(|one| !one.hidden)
        .map(|one| (shown_flag(one), one.description));
    text += "\n| argument | meaning |\n|---|---|\n";
    for (shown, description) in arguments.chain(options) {
        text += &format!("| `{shown}` | {} |\n", description.replace('|', "\\|"));
    }
    for one in &info.commands {
        text += "\n";
        text += &command(
            &format!("{name} {}", one.name),
            &one.command,
            level + usize::from(level < 4),
        );
    }
    text
}

fn usage(name: &str, info: &CommandInfoWithArgs) -> String {
    let mut usage = name.to_owned();
    if !info.commands.is_empty() {
        usage += " COMMAND";
    }
    usage += " [OPTIONS]";
    for one in info.positionals {
        usage += " ";
        usage += &shown_positional(one);
    }
    usage
}

fn shown_positional(one: &PositionalInfo<'_>) -> String {
    let name = one.name.to_uppercase();
    match one.optionality {
        Optionality::Required => name,
        Optionality::Optional => format!("[{name}]"),
        Optionality::Repeating | Optionality::Greedy => format!("{name}..."),
    }
}

fn shown_flag(one: &FlagInfo<'_>) -> String {
    match one.kind {
        FlagInfoKind::Switch => one.long.to_owned(),
        FlagInfoKind::Option { arg_name } => format!("{} {}", one.long, arg_name.to_uppercase()),
    }
}
