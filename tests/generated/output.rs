// SPDX-License-Identifier: AGPL-3.0-only
//! Compares a file, or a part of a file, with the text that the code makes; or writes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Tests run side by side, and several may write parts of one file.
static FILES: Mutex<()> = Mutex::new(());

/// The whole file at `path` (from the root of the repository) is `text`.
pub fn generated(path: &str, text: &str) {
    let _guard = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    settle(path, fs::read_to_string(file(path)).ok().as_deref(), text);
}

/// `text` stands in the file at `path` between two lines of comment, `begin generated: MARKER` and
/// `end generated: MARKER`. The lines are written by hand and stay.
pub fn between(path: &str, marker: &str, text: &str) {
    let _guard = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let old = fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let new = replaced(&old, marker, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    settle(path, Some(&old), &new);
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn settle(path: &str, old: Option<&str>, new: &str) {
    if old == Some(new) {
        return;
    }
    if std::env::var("RFM_GENERATE").as_deref() == Ok("1") {
        let file = file(path);
        let folder = file.parent().expect("a file is in a folder");
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, new))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        println!("wrote {path}");
        return;
    }
    match old {
        Some(old) => panic!(
            "{path} differs from the code: run `make generate`\n{}",
            first_difference(old, new)
        ),
        None => panic!("{path} is missing: run `make generate`"),
    }
}

fn first_difference(old: &str, new: &str) -> String {
    let (mut old, mut new) = (old.lines(), new.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (old, new) if old == new => {}
            (old, new) => {
                let shown = |line: Option<&str>| line.unwrap_or("(end of file)").to_owned();
                return format!(
                    "line {number}, in the file: {}\nline {number}, expected:    {}",
                    shown(old),
                    shown(new)
                );
            }
        }
    }
    "the line ends differ".into()
}

/// `old` with `text` between the two lines of `marker`.
fn replaced(old: &str, marker: &str, text: &str) -> Result<String, String> {
    let lines: Vec<_> = old.split_inclusive('\n').collect();
    let place = |word: &str| {
        let wanted = format!("{word} generated: {marker}");
        let mut found = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| comment(line) == wanted);
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(at),
            (None, _) => Err(format!("expected a line of comment \"{wanted}\"")),
            (Some(_), Some(_)) => Err(format!("expected one line \"{wanted}\", got several")),
        }
    };
    let (begin, end) = (place("begin")?, place("end")?);
    if end <= begin {
        return Err(format!("the end of {marker} stands before its beginning"));
    }
    let newline = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    Ok([
        &lines[..=begin].concat(),
        text,
        newline,
        &lines[end..].concat(),
    ]
    .concat())
}

/// A line without the signs by which its language marks comments.
fn comment(line: &str) -> &str {
    let signs = |c: char| c.is_whitespace() || c.is_ascii_punctuation();
    line.trim_start_matches(signs).trim_end_matches(signs)
}

#[test]
fn a_part_is_replaced_between_its_markers() {
    for (begin, end) in [
        ("# begin generated: a-b", "# end generated: a-b"),
        (
            "<!-- begin generated: a-b -->",
            "<!-- end generated: a-b -->",
        ),
        (".\\\" begin generated: a-b", ".\\\" end generated: a-b"),
    ] {
        let old = format!("x\n{begin}\nold\n{end}\ny\n");
        let new = format!("x\n{begin}\nnew\n{end}\ny\n");
        assert_eq!(replaced(&old, "a-b", "new"), Ok(new.clone()));
        assert_eq!(replaced(&new, "a-b", "new\n"), Ok(new.clone()));
        assert!(replaced(&old, "a", "new").is_err());
        assert!(replaced(&format!("{old}{old}"), "a-b", "new").is_err());
    }
}

#[test]
fn the_first_different_line_is_named() {
    let text = first_difference("a\nb\n", "a\nc\n");
    assert!(text.contains("line 2, in the file: b"), "{text}");
    assert!(first_difference("a\n", "a\nb\n").contains("(end of file)"));
}
