// SPDX-License-Identifier: AGPL-3.0-only
//! Firewall rules as words: a valid one is read back from how it is shown. And files of them.

use rfm::firewall::file;
use rfm::firewall::words::{Known, Shown, check, parse};

pub fn run(input: &[u8]) {
    let _ = file::load(&super::file("rules", input));
    let text = String::from_utf8_lossy(input);
    for line in text.lines() {
        let mut known = Known::default();
        let Ok((words, _)) = parse(line, ["comment"]) else {
            continue;
        };
        let Ok(rule) = words.rule(&mut known) else {
            continue;
        };
        if check(&rule).is_err() {
            continue;
        }
        let shown = Shown(&rule).to_string();
        let (again, _) = parse(&shown, []).expect("a shown rule is valid");
        let again = again.rule(&mut known).expect("a shown rule is valid");
        assert_eq!(Shown(&again).to_string(), shown);
    }
}
