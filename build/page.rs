// SPDX-License-Identifier: AGPL-3.0-only
//! Joins the files of the page into one small document.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The parts of the page's script, in this order. They share one closure: the page defines no globals.
const SCRIPT: [&str; 26] = [
    "dom",
    "copy",
    "filters",
    "selection",
    "format",
    "axis",
    "period",
    "names",
    "merge",
    "past",
    "request",
    "draw",
    "status",
    "databases",
    "interfaces",
    "talkers",
    "chart",
    "events",
    "table",
    "plain_table",
    "paths",
    "source_check",
    "attacks",
    "health",
    "theme",
    "start",
];

/// Builds OUT_DIR/page.html and page.html.gz from page.html, page.css and script/ in src/page, and
/// OUT_DIR/page.rs with both and the policy that lets a browser run only this script and apply only this style.
pub fn build(out: &Path) {
    let read = |name: &str| {
        let path = format!("src/page/{name}");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let style = without_spaces(&read("page.css"));
    let parts = SCRIPT
        .map(|part| read(&format!("script/{part}.js")))
        .concat();
    let script = without_spaces_in_code(&without_comments(&parts));
    let script = with_short_names(&script, shared_names(&parts));
    let script = format!("\"use strict\";\n(() => {{\n{script}}})();\n");
    let page = without_space_between_tags(&read("page.html"))
        .replace("<style></style>", &format!("<style>{style}</style>"))
        .replace("<script></script>", &format!("<script>{script}</script>"));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        base64(&Sha256::digest(&script)),
        base64(&Sha256::digest(&style)),
    );
    let tag = base64(&Sha256::digest(&page)[..12]);
    let mut packed = Vec::new();
    let options = zopfli::Options::default();
    zopfli::compress(options, zopfli::Format::Gzip, page.as_bytes(), &mut packed)
        .expect("to memory");
    let code = format!(
        "const DOCUMENT: &[u8] = include_bytes!(\"page.html\");\n\
         const DOCUMENT_PACKED: &[u8] = include_bytes!(\"page.html.gz\");\n\
         const DOCUMENT_POLICY: &str = {policy:?};\n\
         const DOCUMENT_TAG: &str = {:?};\n",
        format!("\"{tag}\""),
    );
    for (name, content) in [
        ("page.html", page.as_bytes()),
        ("page.html.gz", &packed),
        ("page.rs", code.as_bytes()),
    ] {
        fs::write(out.join(name), content).expect("OUT_DIR can be written");
    }
}

/// Removes the lines that are comments, and the indentation: a third of the document.
fn without_comments(script: &str) -> String {
    let lines = script.lines().map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    code.map(|line| format!("{line}\n")).collect()
}

/// Joins the lines that end and begin with a tag.
fn without_space_between_tags(page: &str) -> String {
    let lines: Vec<_> = page.lines().map(str::trim).collect();
    lines.join("\n").replace(">\n<", "><")
}

/// Removes the spaces and line ends of a style sheet that separate nothing.
fn without_spaces(style: &str) -> String {
    let lines: String = style.lines().map(str::trim).collect();
    let pairs = [
        (" {", "{"),
        ("{ ", "{"),
        ("; ", ";"),
        (": ", ":"),
        (", ", ","),
        (";}", "}"),
        (" }", "}"),
    ];
    let remove = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    pairs.into_iter().fold(lines, remove)
}

/// Returns the characters of a script, and whether each is code: strings and templates are not.
fn characters(script: &str) -> Vec<(char, bool)> {
    let is_in_code = |quotes: &[char]| matches!(quotes.last(), None | Some('{'));
    let (mut quotes, mut is_escaped, mut last) = (Vec::new(), false, ' ');
    let mut kind = |c: char| {
        let was_in_code = is_in_code(&quotes);
        match quotes.last() {
            Some('"' | '\'' | '`') if is_escaped => is_escaped = false,
            Some('"' | '\'' | '`') if c == '\\' => is_escaped = true,
            Some(quote) if *quote == c && c != '{' => drop(quotes.pop()),
            // a template has code between ${ and }
            Some('`') if c == '{' && last == '$' => quotes.push('{'),
            Some('"' | '\'' | '`') => {}
            _ if matches!(c, '"' | '\'' | '`') => quotes.push(c),
            Some('{') if c == '{' => quotes.push('{'),
            Some('{') if c == '}' => drop(quotes.pop()),
            _ => {}
        }
        last = c;
        (c, was_in_code && is_in_code(&quotes))
    };
    script.chars().map(&mut kind).collect()
}

/// Removes the spaces around the operators of a script, and needless line ends; strings and templates stay.
fn without_spaces_in_code(script: &str) -> String {
    const ALONE: &str = "{}();:,=<>?&|+*";
    let characters = characters(script);
    let mut out = String::new();
    for (at, &(c, is_code)) in characters.iter().enumerate() {
        let next = characters.get(at + 1).map_or(' ', |(next, _)| *next);
        let follows = |list: &str| out.ends_with(|last| list.contains(last));
        let is_needless = match c {
            ' ' => (ALONE.contains(next) || follows(ALONE)) && next != '+' && !follows("+"),
            // a statement never ends here
            '\n' => follows("{([;,") || "})]".contains(next),
            _ => false,
        };
        if !is_code || !is_needless {
            out.push(c);
        }
    }
    out
}

/// Returns the functions and variables that begin a line of a script: those that all parts share.
fn shared_names(script: &str) -> impl Iterator<Item = String> {
    let name = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let (_, name) = line
            .split_once(' ')
            .filter(|(word, _)| ["function", "const", "let"].contains(word))?;
        let name: String = name.chars().take_while(|c| is_in_word(*c)).collect();
        (name.len() > 2).then_some(name)
    };
    script
        .lines()
        .filter_map(name)
        .collect::<Vec<_>>()
        .into_iter()
}

fn is_in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

/// Gives names two letters, without those of which a use could be a property.
fn with_short_names(script: &str, names: impl Iterator<Item = String>) -> String {
    let mut words: Vec<(String, bool)> = Vec::new();
    for (c, is_code) in characters(script) {
        let kind = |c| (is_code, is_in_word(c));
        match words.last_mut() {
            Some((word, was_code)) if (*was_code, word.ends_with(is_in_word)) == kind(c) => {
                word.push(c)
            }
            _ => words.push((c.to_string(), is_code)),
        }
    }
    let text = |at: usize| words.get(at).map_or("", |(text, _)| &**text);
    let mut uses: BTreeMap<String, usize> = names.map(|name| (name, 0)).collect();
    for (at, (name, _)) in words
        .iter()
        .enumerate()
        .filter(|(_, (_, is_code))| *is_code)
    {
        let (before, after) = (text(at.wrapping_sub(1)), text(at + 1));
        let is_property =
            before.ends_with('.') && !before.ends_with("...") || after.starts_with(':');
        let may_be_key = before.ends_with(['{', ',']) && after.starts_with([',', '}', '=']);
        if is_property || may_be_key {
            uses.remove(name);
        } else if let Some(count) = uses.get_mut(name) {
            *count += 1;
        }
    }
    let known: BTreeSet<&str> = words
        .iter()
        .map(|(text, _)| &**text)
        .chain(["do"])
        .collect();
    let letters = || 'a'..='z';
    let short = letters().flat_map(|first| letters().map(move |second| format!("{first}{second}")));
    let mut uses: Vec<_> = uses.into_iter().collect();
    uses.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let short = short.filter(|name| !known.contains(&**name));
    let short: BTreeMap<_, _> = uses.into_iter().map(|(name, _)| name).zip(short).collect();
    let renamed = words.iter().map(|(text, is_code)| match short.get(text) {
        Some(name) if *is_code => &**name,
        _ => &**text,
    });
    renamed.collect()
}

/// Encodes bytes as base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, i| {
            word << 8 | u32::from(chunk.get(i).copied().unwrap_or(0))
        });
        for i in 0..4 {
            text.push(match i <= chunk.len() {
                true => ALPHABET[(word >> (18 - 6 * i) & 63) as usize] as char,
                false => '=',
            });
        }
    }
    text
}
