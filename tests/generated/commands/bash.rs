// SPDX-License-Identifier: AGPL-3.0-only
//! packaging/completions/rfm.bash.

use super::{Command, HEADER, Values, options_with_value, values};

pub fn script(commands: &[Command]) -> String {
    let below = commands.iter().filter(|one| !one.name().is_empty());
    let paths: Vec<_> = below.map(|one| format!("\"{}\"", one.path)).collect();
    let valued = options_with_value(commands);
    let valued: Vec<_> = valued.iter().map(|long| format!("*\" {long}\"")).collect();
    TEMPLATE
        .replace("HEADER\n", HEADER)
        .replace("PATHS", &paths.join(" | "))
        .replace("VALUED", &valued.join(" | "))
        .replace("OPTION_VALUES\n", &option_values(commands))
        .replace("POSITIONAL_VALUES\n", &positional_values(commands))
        .replace("WORDS\n", &words(commands))
}

const TEMPLATE: &str = r#"# bash completion for rfm
HEADER

_rfm() {
    local current=${COMP_WORDS[COMP_CWORD]} command=rfm option="" before="" word words="" begun=""
    local -i positionals=0
    COMPREPLY=()

    # what the words before the current one are
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [ -n "$option" ]; then
            option=""
            continue
        fi
        case "$command $word" in
        PATHS) command+=" $word" ;;
        VALUED) option=$word ;;
        *" -"*) ;;
        *)
            positionals+=1
            before=$word
            ;;
        esac
    done

    if [ -n "$option" ]; then
        case "$command $option" in
OPTION_VALUES
        esac
    else
        case "$command $positionals $before" in
POSITIONAL_VALUES
        esac
        case "$command" in
WORDS
        esac
    fi

    case $words in
    @files*)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        [[ $current != -* ]] && return
        ;;
    @list*)
        begun=${current%"${current##*,}"}
        current=${current##*,}
        ;;
    @keys*) compopt -o nospace 2>/dev/null ;;
    esac
    words=${words#@files}
    words=${words#@list}
    words=${words#@keys}
    mapfile -t COMPREPLY < <(compgen -P "$begun" -W "$words" -- "$current")
}

complete -F _rfm rfm
"#;

/// Prints the numbers of the runtime rules.
pub const RULE_IDS: &str = "rfm firewall list 2>/dev/null | awk '$2 == \"runtime\" { print $1 }'";

/// How the template marks them.
fn marked(values: &Values) -> Option<String> {
    Some(match values {
        Values::Free | Values::After(_) => return None,
        Values::Files => "words=@files".into(),
        Values::Interfaces => "words=$(cd /sys/class/net 2>/dev/null && echo *)".into(),
        Values::RuleIds => format!("words=$({RULE_IDS})"),
        Values::Words(words) => format!("words=\"{}\"", words.join(" ")),
        Values::List(words) => format!("words=\"@list {}\"", words.join(" ")),
        Values::Keys(words) => format!("words=\"@keys {}\"", words.join("= ") + "="),
    })
}

fn option_values(commands: &[Command]) -> String {
    let mut text = String::new();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for long in options_with_value(commands) {
        let mut cases: Vec<(String, String)> = Vec::new();
        for one in commands {
            let Some(option) = one.options().find(|option| option.long == long) else {
                continue;
            };
            if let Some(marked) = one.values(option).and_then(|values| marked(&values)) {
                cases.push((format!("\"{} {long}\"", one.path), marked));
            }
        }
        // in all commands the same: one pattern
        if cases.iter().all(|(_, marked)| *marked == cases[0].1) {
            cases.truncate(1);
            if let Some(case) = cases.first_mut() {
                case.0 = format!("*\" {long}\"");
            }
        }
        for (pattern, marked) in cases {
            match groups.iter_mut().find(|(known, _)| *known == marked) {
                Some((_, patterns)) => patterns.push(pattern),
                None => groups.push((marked, vec![pattern])),
            }
        }
    }
    for (marked, patterns) in groups {
        text += &format!("        {}) {marked} ;;\n", patterns.join(" | "));
    }
    text
}

fn positional_values(commands: &[Command]) -> String {
    let mut text = String::new();
    for one in commands {
        for (at, positional) in one.info.positionals.iter().enumerate() {
            match values(one.name(), positional.name) {
                Values::After(cases) => {
                    for (before, words) in cases {
                        text += &format!(
                            "        \"{} {at} {before}\") words=\"{}\" ;;\n",
                            one.path,
                            words.join(" ")
                        );
                    }
                }
                values => {
                    if let Some(marked) = marked(&values) {
                        let repeats = matches!(
                            positional.optionality,
                            argh::Optionality::Repeating | argh::Optionality::Greedy
                        );
                        let at = if repeats {
                            String::new()
                        } else {
                            format!("{at} ")
                        };
                        text += &format!("        \"{} {at}\"*) {marked} ;;\n", one.path);
                    }
                }
            }
        }
    }
    text
}

fn words(commands: &[Command]) -> String {
    let line = |one: &Command| {
        format!(
            "        \"{}\") words+=\" {} \" ;;\n",
            one.path,
            one.words().join(" ")
        )
    };
    commands.iter().map(line).collect()
}
