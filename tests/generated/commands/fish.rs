// SPDX-License-Identifier: AGPL-3.0-only
//! packaging/completions/rfm.fish.

use argh::FlagInfo;

use super::bash::RULE_IDS;
use super::{Command, HEADER, Values, options_with_value, short, values};

pub fn script(commands: &[Command]) -> String {
    let below = commands.iter().filter(|one| !one.name().is_empty());
    let paths: Vec<_> = below.map(|one| format!("'{}'", one.path)).collect();
    let valued = options_with_value(commands);
    let valued: Vec<_> = valued.iter().map(|long| format!("'* {long}'")).collect();
    let mut script = TEMPLATE
        .replace("HEADER\n", HEADER)
        .replace("PATHS", &paths.join(" "))
        .replace("VALUED", &valued.join(" "));
    for one in commands {
        script += &below_it(one);
    }
    script += &options(commands);
    for one in commands {
        script += &positionals(one);
    }
    script
}

const TEMPLATE: &str = r#"# fish completion for rfm
HEADER

# Prints the command that is typed, and its positional arguments, one a line.
function __rfm_words
    set --local command rfm
    set --local positionals
    set --local is_value no
    for word in (commandline -opc)[2..]
        if test $is_value = yes
            set is_value no
            continue
        end
        switch "$command $word"
            case PATHS
                set command "$command $word"
            case VALUED
                set is_value yes
            case '* -*'
            case '*'
                set --append positionals $word
        end
    end
    printf '%s\n' $command $positionals
end

# Whether one of these commands is typed.
function __rfm_in
    contains -- (__rfm_words)[1] $argv
end

# Whether this command is typed, with so many positional arguments, the last of which is this one.
function __rfm_at --argument-names command count last
    set --local words (__rfm_words)
    test "$words[1]" = "$command"; and test (count $words) -eq (math $count + 1)
    and begin
        test -z "$last"; or test "$words[-1]" = "$last"
    end
end

complete -c rfm -f

"#;

fn below_it(one: &Command) -> String {
    let line = |below: &argh::SubCommandInfo| {
        format!(
            "complete -c rfm -n \"__rfm_at '{}' 0\" -a {} -d '{}'\n",
            one.path,
            below.name,
            quoted(short(below.command.description))
        )
    };
    one.info.commands.iter().map(line).collect()
}

/// One line for all commands in which an option is the same.
fn options(commands: &[Command]) -> String {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for one in commands {
        for option in one.options() {
            let rest = option_line(one, option);
            let path = format!("'{}'", one.path);
            match lines.iter_mut().find(|(known, _)| *known == rest) {
                Some((_, paths)) => paths.push(path),
                None => lines.push((rest, vec![path])),
            }
        }
    }
    let line = |(rest, paths): (String, Vec<String>)| {
        if paths.len() == commands.len() {
            return format!("complete -c rfm {rest}\n");
        }
        format!(
            "complete -c rfm -n \"__rfm_in {}\" {rest}\n",
            paths.join(" ")
        )
    };
    lines.into_iter().map(line).collect()
}

fn option_line(one: &Command, option: &FlagInfo<'_>) -> String {
    let value = one.values(option).map_or(String::new(), |values| {
        format!(" {}", proposed(&values).unwrap_or_else(|| "-x".into()))
    });
    format!(
        "-l {}{value} -d '{}'",
        option.long.trim_start_matches('-'),
        quoted(short(option.description))
    )
}

fn proposed(values: &Values) -> Option<String> {
    Some(match values {
        Values::Free | Values::After(_) => return None,
        Values::Files => "-r -F".into(),
        Values::Interfaces => "-x -a '(__fish_print_interfaces)'".into(),
        Values::RuleIds => {
            let ids = RULE_IDS.replace('$', "\\$").replace('\"', "\\\"");
            // fish reports an unknown command whatever the redirection
            format!("-x -a \"(type -q rfm; and {ids})\"")
        }
        Values::Words(words) => format!("-x -a '{}'", words.join(" ")),
        // fish adds no space after an equals sign
        Values::Keys(words) => format!("-x -a '{}'", words.join("= ") + "="),
        Values::List(words) => format!(
            "-x -a \"(__fish_complete_list , 'string join \\n {}')\"",
            words.join(" ")
        ),
    })
}

fn positionals(one: &Command) -> String {
    let mut lines = String::new();
    for (at, positional) in one.info.positionals.iter().enumerate() {
        let found = values(one.name(), positional.name);
        if let Values::After(cases) = &found {
            for (before, words) in cases {
                lines += &format!(
                    "complete -c rfm -n \"__rfm_at '{}' {at} {before}\" -a '{}'\n",
                    one.path,
                    words.join(" ")
                );
            }
        } else if let Some(proposed) = proposed(&found) {
            // without an option there is none that takes a value
            let proposed = proposed.trim_start_matches("-x ").trim_start_matches("-r ");
            lines += &format!(
                "complete -c rfm -n \"__rfm_at '{}' {at}\" {proposed}\n",
                one.path
            );
        }
    }
    lines
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\'', "\\'")
        .replace('`', "")
}
