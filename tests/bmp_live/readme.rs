// SPDX-License-Identifier: AGPL-3.0-only
//! The tests run the stanzas of docs/bgp.md.

const CHAPTER: &str = include_str!("../../docs/bgp.md");
const SECTION: &str = "## BMP on your router";

/// The code block after `title` in the section on BMP, without its fences.
pub fn stanza(title: &str) -> String {
    let (_, section) = CHAPTER
        .split_once(SECTION)
        .unwrap_or_else(|| panic!("docs/bgp.md has no {SECTION:?}"));
    let (_, after) = section
        .split_once(title)
        .unwrap_or_else(|| panic!("no {title:?} in {SECTION:?}"));
    let (_, block) = after.split_once("```").expect("a code block");
    let (block, _) = block.split_once("```").expect("the end of a code block");
    let (_, text) = block.split_once('\n').expect("a line with the language");
    text.to_owned()
}
