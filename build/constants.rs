// SPDX-License-Identifier: AGPL-3.0-only
//! Translates the constants of the BPF headers into Rust: enumerators, and macros that are an integer expression.
//!
//! C and Rust have the same syntax for such expressions, except for the suffixes of literals. A constant is a
//! u32, or a u64 if it has a literal that ends in ULL; a macro with a parameter becomes a const fn. Other
//! constructs do not compile.

/// Returns the Rust code for all constants of a header.
pub fn translate(header: &str) -> String {
    let text = without_comments(&header.replace("\\\n", " "));
    let mut code = String::new();
    for line in text.lines() {
        if let Some(definition) = line.strip_prefix("#define ") {
            code.push_str(&of_macro(definition));
        }
    }
    for part in text.split("\nenum ").skip(1) {
        let list = part.split(['{', '}']).nth(1).expect("an enum has a body");
        for entry in list.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let (name, value) = entry
                .split_once('=')
                .unwrap_or_else(|| panic!("{entry}: write its value, Rust needs it"));
            code.push_str(&constant(name.trim(), value));
        }
    }
    code
}

/// Translates `NAME VALUE` or `NAME(parameter) VALUE`; returns nothing for the guard of a header, which has no
/// value.
fn of_macro(definition: &str) -> String {
    let end = definition
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(definition.len());
    let (name, rest) = definition.split_at(end);
    let call = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    match call {
        Some((parameter, value)) => {
            let (kind, value) = expression(value);
            format!("pub const fn {name}({parameter}: {kind}) -> {kind} {{ {value} }}\n")
        }
        None if rest.trim().is_empty() => String::new(),
        None => constant(name, rest),
    }
}

fn constant(name: &str, value: &str) -> String {
    let (kind, value) = expression(value);
    format!("pub const {name}: {kind} = {value};\n")
}

/// Returns the type and the text of an expression, without the suffixes of its literals.
fn expression(value: &str) -> (&'static str, String) {
    let kind = if value.contains("ULL") { "u64" } else { "u32" };
    let mut text = String::new();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = value.trim();
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c| word(c) != word(first)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(length);
        let literal = first.is_ascii_digit();
        let shown = if literal {
            token.trim_end_matches(['u', 'U', 'L'])
        } else {
            token
        };
        text.push_str(shown);
        rest = after;
    }
    (kind, text)
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |code, part| {
        code + part.split_once("*/").map_or("", |(_, after)| after)
    })
}
