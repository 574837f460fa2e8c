// SPDX-License-Identifier: AGPL-3.0-only
//! Checks the words of the command line against the commands and options, before they are parsed: an unknown one is
//! answered with the nearest, and other common spellings are accepted.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

use crate::types::did_you_mean::nearest;

/// Spellings of options that are accepted for each other, if a command has one of them.
const ALIASES: [(&str, &str); 2] = [("--proto", "--protocol"), ("--protocol", "--proto")];

/// Returns the words as the parser expects them: `-h`, `-V`, `help COMMAND` and `version` become options, and
/// `--option=value` two words.
pub(super) fn prepare(
    words: Vec<String>,
    program: &CommandInfoWithArgs,
) -> Result<Vec<String>, String> {
    let mut words = words.into_iter();
    let (mut prepared, mut positionals) = (Vec::new(), Vec::new());
    let (mut command, mut path) = (program, "rfm".to_owned());
    // the options of the command so far
    let mut given = Vec::new();
    let mut help = false;
    while let Some(word) = words.next() {
        match &*word {
            "--" => {
                positionals.extend(words);
                break;
            }
            "-h" | "--help" => help = true,
            "-V" => prepared.push("--version".into()),
            // a lone dash is a file: standard input
            option if option.starts_with('-') && option != "-" && !is_negative(command, option) => {
                let (name, value) = match option.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (option, None),
                };
                let flag = find(command, name).ok_or_else(|| unknown_option(name, command))?;
                let is_single =
                    flag.kind != FlagInfoKind::Switch && flag.optionality != Optionality::Repeating;
                if is_single && given.contains(&flag.long) {
                    return Err(format!("{name} is given twice"));
                }
                given.push(flag.long);
                prepared.push(flag.long.to_owned());
                if let FlagInfoKind::Option { arg_name } = flag.kind {
                    let value = value.or_else(|| words.next());
                    let missing = || format!("{name} needs a value: {arg_name}");
                    prepared.push(value.ok_or_else(missing)?);
                } else if value.is_some() {
                    return Err(format!("{name} takes no value"));
                }
            }
            _ if command.commands.is_empty() => positionals.push(word),
            "help" => help = true,
            "version" if path == "rfm" => prepared.push("--version".into()),
            name => {
                let below = command.commands.iter().find(|one| one.name == name);
                let below = below.ok_or_else(|| unknown_command(name, &path, command))?;
                command = &below.command;
                given.clear();
                path = format!("{path} {name}");
                prepared.push(word);
            }
        }
    }
    match help {
        true => prepared.push("--help".into()),
        false => check_arguments(command, &path, &positionals)?,
    }
    if positionals.iter().any(|word| word.starts_with('-')) {
        prepared.push("--".into());
    }
    prepared.extend(positionals);
    Ok(prepared)
}

/// Checks that a command has its arguments, and no others.
fn check_arguments(
    command: &CommandInfoWithArgs,
    path: &str,
    given: &[String],
) -> Result<(), String> {
    if !command.commands.is_empty() && path != "rfm" {
        let names: Vec<_> = command.commands.iter().map(|one| one.name).collect();
        return Err(format!("{path} needs a command: {}", names.join(", ")));
    }
    let expected = &command.positionals;
    let missing = expected.iter().skip(given.len());
    let missing: Vec<_> = missing
        .filter(|one| one.optionality == Optionality::Required)
        .map(|one| one.name)
        .collect();
    if !missing.is_empty() {
        return Err(format!("{path} needs an argument: {}", missing.join(", ")));
    }
    let repeats = |one: &argh::PositionalInfo<'_>| {
        matches!(
            one.optionality,
            Optionality::Repeating | Optionality::Greedy
        )
    };
    match given.get(expected.len()) {
        Some(word) if !expected.iter().any(repeats) => Err(format!(
            "unexpected argument \"{}\" of {path}",
            word.escape_debug()
        )),
        _ => Ok(()),
    }
}

/// Returns whether a word is a negative number or time, such as `-2h`, of a command that takes such words.
fn is_negative(command: &CommandInfoWithArgs, word: &str) -> bool {
    let digit = word[1..].starts_with(|c: char| c.is_ascii_digit());
    digit && !command.positionals.is_empty()
}

/// Returns an option of a command by its name, or by another spelling.
fn find<'a>(command: &'a CommandInfoWithArgs, name: &str) -> Option<&'a FlagInfo<'static>> {
    let called = |name: &str| command.flags.iter().find(|flag| flag.long == name);
    called(name).or_else(|| {
        let (_, other) = ALIASES.iter().find(|(alias, _)| *alias == name)?;
        called(other)
    })
}

/// Rewords an error of the parser about a value of the wrong type: only numbers have one.
pub(super) fn reworded(error: &str) -> String {
    let parts = error
        .strip_prefix("Error parsing positional argument '")
        .and_then(|rest| rest.split_once("' with value '"))
        .and_then(|(name, rest)| Some((name, rest.rsplit_once("': ")?.0)));
    match parts {
        Some((name, value)) => format!(
            "{name}: expected a whole number, got \"{}\"",
            value.escape_debug()
        ),
        None => error.to_owned(),
    }
}

fn unknown_option(name: &str, command: &CommandInfoWithArgs) -> String {
    let shown = name.escape_debug();
    let names = command.flags.iter().filter(|flag| !flag.hidden);
    match nearest(name, names.map(|flag| flag.long)) {
        Some(near) => format!("unknown option {shown}, did you mean {near}?"),
        None => format!("unknown option {shown}"),
    }
}

fn unknown_command(name: &str, path: &str, command: &CommandInfoWithArgs) -> String {
    let shown = name.escape_debug();
    let names = || command.commands.iter().map(|one| one.name);
    match nearest(name, names()) {
        Some(near) => format!("unknown command {shown}, did you mean {path} {near}?"),
        None => {
            let names: Vec<_> = names().collect();
            format!(
                "unknown command {shown}: expected one of {}",
                names.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(words: &str) -> Result<String, String> {
        let words = words.split_whitespace().map(str::to_owned).collect();
        prepare(words, &super::super::info()).map(|words| words.join(" "))
    }

    #[test]
    fn common_spellings_are_accepted() {
        for (words, expected) in [
            ("-h", "--help"),
            ("help", "--help"),
            ("help status", "status --help"),
            ("help firewall add", "firewall add --help"),
            ("firewall help", "firewall --help"),
            ("flows -h", "flows --help"),
            ("-V", "--version"),
            ("version", "--version"),
            ("--config=a.toml --check", "--config a.toml --check"),
            ("flows --proto tcp", "flows --protocol tcp"),
            ("flows --limit -1", "flows --limit -1"),
            ("history -2h --by asn", "history --by asn -- -2h"),
            ("firewall add --protocol tcp", "firewall add --protocol tcp"),
            ("firewall add --proto=tcp", "firewall add --protocol tcp"),
            ("firewall load - --replace", "firewall load --replace -- -"),
            ("rib version", "rib version"),
            ("set -- log_level -h", "set -- log_level -h"),
        ] {
            assert_eq!(prepared(words).as_deref(), Ok(expected), "{words}");
        }
    }

    #[test]
    fn a_mistyped_word_is_answered_with_the_nearest() {
        for (words, expected) in [
            ("--chekc", "unknown option --chekc, did you mean --check?"),
            ("stauts", "unknown command stauts, did you mean rfm status?"),
            (
                "firewall ad",
                "unknown command ad, did you mean rfm firewall add?",
            ),
            (
                "flows --limt 3",
                "unknown option --limt, did you mean --limit?",
            ),
            ("flows --zzz", "unknown option --zzz"),
            ("-x", "unknown option -x"),
            ("flows --limit", "--limit needs a value: n"),
            ("status --json=1", "--json takes no value"),
            ("flows --limit 1 --limit=2", "--limit is given twice"),
            (
                "firewall add --proto tcp --protocol udp",
                "--protocol is given twice",
            ),
            ("rib", "rfm rib needs an argument: address"),
            ("set log_level", "rfm set needs an argument: value"),
            (
                "status extra",
                "unexpected argument \"extra\" of rfm status",
            ),
            ("rib ::1 ::2", "unexpected argument \"::2\" of rfm rib"),
            (
                "firewall",
                "rfm firewall needs a command: add, del, list, flush, stats, load",
            ),
        ] {
            assert_eq!(prepared(words), Err(expected.to_owned()), "{words}");
        }
        let all = prepared("quit").unwrap_err();
        assert!(
            all.starts_with("unknown command quit: expected one of status, "),
            "{all}"
        );
    }
}
