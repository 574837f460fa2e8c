// SPDX-License-Identifier: AGPL-3.0-only
//! Firewall rules as words: a valid one is read back from how it is shown. And files of them.

use rfm::firewall::file;
use rfm::firewall::rule_syntax::parse;
use rfm::types::rule::PatternCache;

pub fn run(input: &[u8]) {
    let _ = file::load(&super::file("rules", input));
    let text = String::from_utf8_lossy(input);
    for line in text.lines() {
        let mut patterns = PatternCache::default();
        let Ok((args, _)) = parse(line, ["comment"]) else {
            continue;
        };
        let Ok(rule) = args.rule(&mut patterns) else {
            continue;
        };
        let shown = rule.to_string();
        let (again, _) = parse(&shown, []).expect("a shown rule is valid");
        let again = again.rule(&mut patterns).expect("a shown rule is valid");
        assert_eq!(again.to_string(), shown);
    }
}
