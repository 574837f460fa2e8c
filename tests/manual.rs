// SPDX-License-Identifier: AGPL-3.0-only
//! Manual pages and completions know every option, command and key that there is, and no other. Needs
//! no privilege.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rfm::flow::query::{Field, Sort};

const COMMANDS: [&str; 12] = [
    "status", "flows", "top", "paths", "history", "bill", "rib", "lookup", "set", "reload",
    "firewall", "guard",
];

/// Those behind `firewall` and `guard`.
const OF_FIREWALL: [&str; 6] = ["add", "del", "list", "flush", "stats", "load"];
const OF_GUARD: [&str; 5] = ["list", "show", "stop", "allow", "watch"];

type Words = BTreeSet<String>;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn help(words: &[&str]) -> String {
    let output = run(Command::new(env!("CARGO_BIN_EXE_rfm"))
        .args(words)
        .arg("--help"));
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The options that a help lists, without dashes.
fn options(words: &[&str]) -> Words {
    let text = help(words);
    let lines = text.lines().filter_map(|line| line.strip_prefix("  --"));
    let name = |line: &str| line.split([' ', ',']).next().unwrap_or_default().to_owned();
    lines.map(name).collect()
}

fn all_options() -> Words {
    let of_commands = COMMANDS.iter().flat_map(|command| options(&[command]));
    let of_firewall = OF_FIREWALL
        .iter()
        .flat_map(|command| options(&["firewall", command]));
    let all = options(&[]).into_iter().chain(of_commands);
    let of_guard = OF_GUARD
        .iter()
        .flat_map(|command| options(&["guard", command]));
    all.chain(of_firewall).chain(of_guard).collect()
}

/// What follows `mark` in `text`, as far as the letters of an option go.
fn after(text: &str, mark: &str) -> Words {
    let rest = text.split(mark).skip(1);
    let word = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
        rest[..end.unwrap_or(rest.len())].to_owned()
    };
    rest.map(word).filter(|word| !word.is_empty()).collect()
}

#[test]
fn the_commands_are_those_of_the_help() {
    let text = help(&[]);
    let (_, commands) = text.split_once("Commands:\n").expect("commands");
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names = commands.filter(|line| !line.starts_with("    "));
    let names: Vec<_> = names
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, COMMANDS);
}

#[test]
fn the_manual_has_every_option_and_command() {
    let page = read("docs/man/rfm.8");
    assert_eq!(after(&page, "Fl -"), {
        let mut options = all_options();
        // in the synopsis behind a bar
        options.insert("detach".into());
        options
    });
    for command in COMMANDS {
        assert!(page.contains(&format!("\n.It Ic {command}")), "{command}");
    }
    for command in OF_FIREWALL {
        assert!(
            page.contains(&format!("\n.It Ic firewall {command}")),
            "{command}"
        );
    }
    for (key, _) in settable() {
        let found = page.lines().any(|line| {
            let name = line.strip_prefix(".Ic ").unwrap_or_default();
            name.split(' ').next() == Some(key)
        });
        assert!(found, "{key}");
    }
}

#[test]
fn the_completions_have_every_option_and_command() {
    for (path, mark, command) in [
        ("packaging/completions/rfm.bash", "--", " {} "),
        ("packaging/completions/_rfm", "'--", "'{}:"),
        ("packaging/completions/rfm.fish", " -l ", " -a {} "),
    ] {
        // zsh marks an option that may be given several times
        let text = read(path).replace("'*--", "'--");
        let found = after(&text, mark);
        assert_eq!(found, all_options(), "{path}");
        let spaced = text.replace(['"', '('], " ");
        for name in COMMANDS {
            let wanted = command.replace("{}", name);
            assert!(spaced.contains(&wanted), "{path}: {name}");
        }
        for name in OF_FIREWALL {
            assert!(
                spaced
                    .split([' ', '\n', ')', '\''])
                    .any(|word| word == name),
                "{path}: firewall {name}"
            );
        }
        for field in Field::all() {
            assert!(
                spaced
                    .split([' ', '\n', ')', '\''])
                    .any(|word| word == field.name()),
                "{path}: {field:?}"
            );
        }
        for sort in Sort::ALL {
            assert!(text.contains(sort.name()), "{path}: {sort:?}");
        }
        for (key, _) in settable() {
            assert!(text.contains(key), "{path}: {key}");
        }
    }
}

fn settable() -> [(&'static str, &'static str); 2] {
    rfm::client::KEYS
}

fn is_there(tool: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok();
    if !there {
        println!("skipped: {tool} is not installed");
    }
    assert!(
        there || std::env::var("RFM_REQUIRE_TOOLS").as_deref() != Ok("1"),
        "{tool} is not installed"
    );
    there
}

#[test]
fn mandoc_has_nothing_to_say() {
    if !is_there("mandoc") {
        return;
    }
    for page in [
        "docs/man/rfm.8",
        "docs/man/rfm.toml.5",
        "docs/man/rfm-update-databases.8",
    ] {
        let output = run(Command::new("mandoc").args(["-T", "lint"]).arg(file(page)));
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        // whether the pages it names are installed is another matter
        let other =
            |line: &&str| !line.contains("referenced manual") && !line.contains("mandoc.db");
        let complaints: Vec<_> = said.lines().filter(other).collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

#[test]
fn the_shells_can_read_their_completions() {
    for (shell, path) in [
        ("bash", "packaging/completions/rfm.bash"),
        ("zsh", "packaging/completions/_rfm"),
        ("fish", "packaging/completions/rfm.fish"),
    ] {
        if is_there(shell) {
            let output = run(Command::new(shell).arg("-n").arg(file(path)));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{path}: {said}");
        }
    }
}

/// Words on the command line, and what completes the last of them.
const COMPLETED: [(&str, &str); 19] = [
    ("rfm re", "reload"),
    ("rfm flows --so", "--socket --sort"),
    ("rfm flows --sort d", "duration"),
    ("rfm top --sort d", ""),
    ("rfm set b", "bpf.sample_rate"),
    ("rfm set --json b", "bpf.sample_rate"),
    ("rfm firewall l", "list load"),
    ("rfm firewall add --ac", "--action"),
    ("rfm firewall add --action l", "limit"),
    ("rfm firewall del --fo", "--force"),
    ("rfm firewall list --fo", ""),
    ("rfm set log_level d", "debug"),
    ("rfm set bpf.sample_rate d", ""),
    ("rfm --config x top --by src_a", "src_asn"),
    ("rfm top --by dst_port,src_a", "dst_port,src_asn"),
    ("rfm flows --interface top --so", "--socket --sort"),
    ("rfm --config Cargo.tom", "Cargo.toml"),
    ("rfm --set agent.bpf.sam", "agent.bpf.sample_rate="),
    ("rfm --check --set agent.enrich.pre", "agent.enrich.prefix="),
];

fn completed(shell: &mut Command) -> String {
    let output = run(shell.current_dir(env!("CARGO_MANIFEST_DIR")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "{said}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut words: Vec<_> = text
        .lines()
        .map(|line| line.split('\t').next().unwrap_or_default())
        .filter(|word| !word.is_empty())
        .collect();
    words.sort_unstable();
    words.join(" ")
}

#[test]
fn bash_completes_what_fits() {
    let file = file("packaging/completions/rfm.bash");
    for (words, expected) in COMPLETED {
        let script = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={}; _rfm; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.display(),
            words.split(' ').count() - 1
        );
        assert_eq!(
            completed(Command::new("bash").args(["-c", &script])),
            expected,
            "{words}"
        );
    }
}

/// The numbers of rules come from the agent: a function takes the place of the program.
#[test]
fn the_numbers_of_runtime_rules_are_completed() {
    const LIST: &str =
        "ID  FROM     ACTION\\n 1  allow    pass\\n 7  runtime  drop\\n12  runtime  count\\n";
    let bash = file("packaging/completions/rfm.bash");
    let script = format!(
        "source {}; rfm() {{ printf '{LIST}'; }}; COMP_WORDS=(rfm firewall del 7 ''); COMP_CWORD=4; _rfm; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        bash.display()
    );
    let found = completed(Command::new("bash").args(["-c", &script]));
    let numbers: Vec<_> = found
        .split(' ')
        .filter(|word| !word.starts_with('-'))
        .collect();
    assert_eq!(numbers, ["12", "7"]);
    if is_there("fish") {
        let fish = file("packaging/completions/rfm.fish");
        let script = format!(
            "function rfm; printf '{LIST}'; end; source {}; complete -C 'rfm firewall del '",
            fish.display()
        );
        let mut fish = Command::new("fish");
        let found = completed(fish.args(["--no-config", "-c", &script]));
        assert_eq!(found, "12 7");
    }
}

#[test]
fn fish_completes_what_fits() {
    if !is_there("fish") {
        return;
    }
    let file = file("packaging/completions/rfm.fish");
    for (words, expected) in COMPLETED {
        let script = format!("source {}; complete -C '{words}'", file.display());
        let mut fish = Command::new("fish");
        assert_eq!(
            completed(fish.args(["--no-config", "-c", &script])),
            expected,
            "{words}"
        );
    }
}
