// SPDX-License-Identifier: AGPL-3.0-only
//! Commands and options, from `src/args.rs`: rfm(8), the completions of the shells, and docs/reference/commands.md.
//! Only the values of arguments are written here, in [`values`].

mod bash;
mod fish;
mod manual;
mod reference;
mod values;
mod zsh;

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind};

use crate::{between, generated};
use values::{Values, values};

/// In files whose comments begin with #.
const HEADER: &str = "\
# SPDX-License-Identifier: AGPL-3.0-only
# Made from src/args.rs by `make generate`: do not edit.
";

/// A command and its place on the command line: "rfm firewall add".
struct Command {
    path: String,
    info: CommandInfoWithArgs,
}

impl Command {
    /// Returns all commands, each before those below it.
    fn all() -> Vec<Self> {
        let mut commands = Vec::new();
        collect("rfm", rfm::args::info(), &mut commands);
        commands
    }

    /// The path without the name of the program.
    fn name(&self) -> &str {
        self.path.strip_prefix("rfm ").unwrap_or("")
    }

    /// Whether no command stands below it.
    fn is_leaf(&self) -> bool {
        self.info.commands.is_empty()
    }

    fn options(&self) -> impl Iterator<Item = &FlagInfo<'static>> {
        self.info.flags.iter().filter(|one| !one.hidden)
    }

    /// Names of the options with their dashes, and of the commands below.
    fn words(&self) -> Vec<&str> {
        let below = self.info.commands.iter().map(|one| one.name);
        below.chain(self.options().map(|one| one.long)).collect()
    }

    fn values(&self, option: &FlagInfo<'_>) -> Option<Values> {
        match option.kind {
            FlagInfoKind::Switch => None,
            FlagInfoKind::Option { arg_name } => Some(values(self.name(), arg_name)),
        }
    }
}

fn collect(path: &str, info: CommandInfoWithArgs, commands: &mut Vec<Command>) {
    let below = info.commands.clone();
    let path = path.to_owned();
    commands.push(Command {
        path: path.clone(),
        info,
    });
    for one in below {
        collect(&format!("{path} {}", one.name), one.command, commands);
    }
}

/// Long options that take a value. One name takes a value in all commands or in none: the completions rely on it.
fn options_with_value(commands: &[Command]) -> Vec<&'static str> {
    let mut found = Vec::new();
    let options = || commands.iter().flat_map(Command::options);
    for option in options().filter(|one| one.kind != FlagInfoKind::Switch) {
        let same = |other: &&FlagInfo<'_>| other.long == option.long;
        assert!(
            options()
                .filter(same)
                .all(|other| other.kind != FlagInfoKind::Switch),
            "{} is a switch in one command and takes a value in another",
            option.long
        );
        if !found.contains(&option.long) {
            found.push(option.long);
        }
    }
    found
}

/// The beginning of a description, for the list that a shell shows.
fn short(text: &str) -> &str {
    let end = [". ", ": ", "; ", " (", ", and "]
        .into_iter()
        .filter_map(|mark| text.find(mark))
        .min();
    text[..end.unwrap_or(text.len())].trim_end_matches('.')
}

/// A text with its first letter as a sentence has it.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[test]
fn the_reference_of_the_commands() {
    generated(
        "docs/reference/commands.md",
        &reference::page(&Command::all()),
    );
}

#[test]
fn the_manual_of_the_commands() {
    let commands = Command::all();
    for (marker, text) in [
        ("synopsis", manual::synopsis(&commands)),
        ("options", manual::options(&commands)),
        ("commands", manual::commands(&commands)),
        ("exit status", manual::exit_status(&commands)),
        ("examples", manual::examples(&commands)),
    ] {
        between("docs/man/rfm.8", marker, &text);
    }
}

#[test]
fn the_completions_of_bash() {
    generated(
        "packaging/completions/rfm.bash",
        &bash::script(&Command::all()),
    );
}

#[test]
fn the_completions_of_zsh() {
    generated("packaging/completions/_rfm", &zsh::script(&Command::all()));
}

#[test]
fn the_completions_of_fish() {
    generated(
        "packaging/completions/rfm.fish",
        &fish::script(&Command::all()),
    );
}
