// SPDX-License-Identifier: AGPL-3.0-only
//! Commands and options, from `src/args.rs`: parts of rfm(8), and docs/reference/commands.md.

mod reference;

use argh::ErrorCodeInfo;

use crate::{between, generated};

const MANUAL: &str = "docs/man/rfm.8";

#[test]
fn the_reference_of_the_commands() {
    let info = rfm::args::info();
    generated("docs/reference/commands.md", &reference::page(&info));
}

#[test]
fn the_exit_codes_of_the_manual() {
    let info = rfm::args::info();
    let item = |code: &ErrorCodeInfo<'_>| {
        format!(".It {}\n{}.\n", code.code, capitalized(code.description))
    };
    let items: String = info.error_codes.iter().map(item).collect();
    between(MANUAL, "exit status", &items);
}

/// A text with its first letter as a sentence has it.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
