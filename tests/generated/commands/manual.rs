// SPDX-License-Identifier: AGPL-3.0-only
//! Parts of rfm(8), in mdoc(7).

use argh::{FlagInfo, FlagInfoKind, Optionality, PositionalInfo};

use super::{Command, capitalized};

/// Longest line.
const WIDTH: usize = 78;

/// As many options as this, in the same commands, are listed once for all of these.
const MANY: usize = 2;

pub fn synopsis(commands: &[Command]) -> String {
    let mut text = ".Nm\n".to_owned();
    for option in commands[0].options() {
        text += &format!(".Op {}\n", flag(option));
    }
    text + ".Nm\n.Op Fl -config Ar file\n.Ar command\n.Op Ar options\n"
}

/// Those without a command.
pub fn options(commands: &[Command]) -> String {
    let all: Vec<_> = commands[0].options().collect();
    list(&all)
}

pub fn commands(commands: &[Command]) -> String {
    let leaves: Vec<_> = commands.iter().filter(|one| one.is_leaf()).collect();
    let groups = groups(&leaves);
    let mut text = String::new();
    for group in groups
        .iter()
        .filter(|group| group.commands.len() == leaves.len())
    {
        text += "Every command takes these options:\n";
        text += &list(&group.options);
    }
    text += ".Bl -tag -width Ds\n";
    for one in commands.iter().filter(|one| !one.name().is_empty()) {
        text += &item(one, &groups);
    }
    text += ".El\n";
    for group in &groups {
        if group.is_shared() && group.commands.len() < leaves.len() {
            let names: Vec<_> = group
                .commands
                .iter()
                .map(|one| format!("`{one}`"))
                .collect();
            text += ".Pp\n";
            text += &prose(&format!("{} also take these options:", names.join(" and ")));
            text += &list(&group.options);
        }
    }
    text
}

pub fn exit_status(commands: &[Command]) -> String {
    let codes = commands.iter().flat_map(|one| one.info.error_codes);
    let item = |code: &argh::ErrorCodeInfo<'_>| {
        format!(".It {}\n{}", code.code, sentence(code.description))
    };
    codes.map(item).collect()
}

pub fn examples(commands: &[Command]) -> String {
    let mut text = String::new();
    for example in commands.iter().flat_map(|one| one.info.examples) {
        let (caption, line) = example.split_once('\n').expect("a caption, and a command");
        let separator = if text.is_empty() { "" } else { ".Pp\n" };
        text += &format!("{separator}{}.Pp\n.Dl {line}\n", prose(caption));
    }
    text
}

/// Options that the same commands take, with the same words.
struct Group<'a> {
    commands: Vec<&'a str>,
    options: Vec<&'a FlagInfo<'static>>,
}

impl Group<'_> {
    fn is_shared(&self) -> bool {
        self.commands.len() > 1 && self.options.len() >= MANY
    }
}

fn groups<'a>(leaves: &[&'a Command]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for one in leaves {
        for option in one.options() {
            let takes = |leaf: &&&'a Command| leaf.options().any(|other| other == option);
            let commands: Vec<_> = leaves
                .iter()
                .filter(takes)
                .map(|leaf| leaf.name())
                .collect();
            match groups.iter_mut().find(|group| group.commands == commands) {
                Some(group) if group.options.contains(&option) => {}
                Some(group) => group.options.push(option),
                None => groups.push(Group {
                    commands,
                    options: vec![option],
                }),
            }
        }
    }
    groups
}

fn item(one: &Command, groups: &[Group<'_>]) -> String {
    let mut text = format!(".It Ic {}", one.name());
    if !one.is_leaf() {
        text += " Ar command";
    }
    for positional in one.info.positionals {
        text += &format!(" {}", argument(positional));
    }
    text += "\n";
    text += &prose(one.info.description);
    for note in one.info.notes {
        text += &prose(note);
    }
    let own = groups.iter().filter(|group| !group.is_shared());
    let own = own.filter(|group| group.commands.contains(&one.name()));
    let own: Vec<_> = own
        .flat_map(|group| group.options.iter().copied())
        .collect();
    let described = one.info.positionals.iter().map(|positional| {
        format!(
            ".It {}\n{}",
            argument(positional),
            sentence(positional.description)
        )
    });
    let described: String = described.collect();
    if own.is_empty() && described.is_empty() || !one.is_leaf() {
        return text;
    }
    text + &tagged(&(described + &items(&own)))
}

fn argument(one: &PositionalInfo<'_>) -> String {
    match one.optionality {
        Optionality::Repeating | Optionality::Greedy => format!("Ar {} ...", one.name),
        _ => format!("Ar {}", one.name),
    }
}

fn flag(one: &FlagInfo<'_>) -> String {
    let name = one.long.trim_start_matches('-');
    match one.kind {
        FlagInfoKind::Switch => format!("Fl -{name}"),
        FlagInfoKind::Option { arg_name } => format!("Fl -{name} Ar {arg_name}"),
    }
}

fn list(options: &[&FlagInfo<'_>]) -> String {
    tagged(&items(options))
}

fn items(options: &[&FlagInfo<'_>]) -> String {
    let item = |one: &&FlagInfo<'_>| format!(".It {}\n{}", flag(one), sentence(one.description));
    options.iter().map(item).collect()
}

fn tagged(items: &str) -> String {
    format!(".Bl -tag -width Ds\n{items}.El\n")
}

/// A description as a sentence.
fn sentence(text: &str) -> String {
    let end = if text.ends_with(['.', ':']) { "" } else { "." };
    prose(&format!("{}{end}", capitalized(text)))
}

/// Text with words in backquotes, as lines of mdoc: a sentence begins a line.
fn prose(text: &str) -> String {
    let mut out = String::new();
    let mut line = String::new();
    let end_line = |line: &mut String, out: &mut String| {
        if !line.is_empty() {
            *out += line;
            out.push('\n');
            line.clear();
        }
    };
    let words = text.split_whitespace().peekable();
    for word in words {
        if let Some((before, rest)) = word.split_once('`') {
            let (name, after) = rest
                .split_once('`')
                .expect("a word in backquotes is one word");
            end_line(&mut line, &mut out);
            let before: String = before.chars().map(|c| format!("{c} ")).collect();
            let after: String = after.chars().map(|c| format!(" {c}")).collect();
            out += &format!(".Ic {before}{name}{after}\n");
            continue;
        }
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            end_line(&mut line, &mut out);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
        if word.ends_with('.') {
            end_line(&mut line, &mut out);
        }
    }
    end_line(&mut line, &mut out);
    out
}
