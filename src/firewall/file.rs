// SPDX-License-Identifier: AGPL-3.0-only
//! A rule file: one rule a line, in the syntax of the command line. A line with only a prefix drops the packets
//! from this prefix, which is the common format of block lists; `#` and `;` start a comment. The file `-` is standard
//! input.

use std::io;
use std::path::Path;

use super::rule_syntax;
use crate::sys::files::{read_bytes, read_limited};
use crate::types::rule::{PatternCache, Rule, RuleArgs};

/// Bytes: about 160 for each rule, at the maximum number of rules.
pub const MAX_SIZE: u64 = 16 << 20;

/// The most errors that are listed; further errors are only counted.
const MAX_SHOWN: usize = 10;

/// Returns every rule of the file, or the errors of all invalid lines.
pub fn load(path: &Path) -> Result<Vec<Rule>, String> {
    let shown = path.display();
    let text = match path == Path::new("-") {
        true => text(read_limited(io::stdin(), MAX_SIZE)),
        false => text(read_bytes(path, MAX_SIZE)),
    };
    let text = text.map_err(|error| format!("{shown}: {error}"))?;
    parse(&text).map_err(|mistakes| {
        let shown_lines = mistakes.iter().take(MAX_SHOWN);
        let mut said: Vec<_> = shown_lines
            .map(|(line, mistake)| format!("{shown}:{line}: {mistake}"))
            .collect();
        if let Some(more) = mistakes.len().checked_sub(MAX_SHOWN).filter(|n| *n > 0) {
            said.push(format!("{shown}: {more} more lines are no rules"));
        }
        said.join("\n")
    })
}

fn text(bytes: Result<Vec<u8>, String>) -> Result<String, String> {
    String::from_utf8(bytes?).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        format!("cannot read: expected UTF-8, got another byte at offset {valid}")
    })
}

/// Line numbers, from 1, each with its error.
type LineErrors = Vec<(usize, String)>;

fn parse(text: &str) -> Result<Vec<Rule>, LineErrors> {
    let mut patterns = PatternCache::default();
    let (mut rules, mut mistakes) = (Vec::new(), Vec::new());
    for (n, line) in text.lines().enumerate() {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match rule(line, &mut patterns) {
            Ok(rule) => rules.push(rule),
            Err(mistake) => mistakes.push((n + 1, mistake)),
        }
    }
    match mistakes.is_empty() {
        true => Ok(rules),
        false => Err(mistakes),
    }
}

fn rule(line: &str, patterns: &mut PatternCache) -> Result<Rule, String> {
    if line.starts_with("--") || line.contains(char::is_whitespace) {
        return rule_syntax::parse(line, [])?.0.rule(patterns);
    }
    let mut args = RuleArgs::default();
    if let Some(src) = args.get_mut("src") {
        *src = Some(line.into());
    }
    args.rule(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rule::Action;

    #[test]
    fn words_and_bare_prefixes_are_rules() {
        let text = "# a list\n192.0.2.0/24\n\n; another\n--dst 2001:db8::/32 --action count # why\n ::1 ; SBL1\n";
        let rules = parse(text).unwrap();
        let shown: Vec<_> = rules.iter().map(Rule::to_string).collect();
        assert_eq!(
            shown,
            [
                "--action drop --src 192.0.2.0/24",
                "--action count --dst 2001:db8::/32",
                "--action drop --src ::1/128"
            ]
        );
        assert_eq!(rules[0].action, Action::Drop);
    }

    #[test]
    fn each_broken_line_is_named_by_its_number() {
        let mistakes = parse("192.0.2.0/24\nnonsense\n--src\n").unwrap_err();
        assert_eq!(mistakes.len(), 2);
        assert_eq!(mistakes[0].0, 2);
        assert!(
            mistakes[0].1.starts_with("src: expected a prefix"),
            "{mistakes:?}"
        );
        assert_eq!(mistakes[1], (3, "--src has no value".into()));
    }

    #[test]
    fn what_is_no_file_is_told() {
        let error = load(Path::new("/nonexistent/rules")).unwrap_err();
        assert!(
            error.starts_with("/nonexistent/rules: cannot read"),
            "{error}"
        );
        assert!(load(Path::new("/")).unwrap_err().contains("regular file"));
    }
}
