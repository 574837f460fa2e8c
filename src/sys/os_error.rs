// SPDX-License-Identifier: AGPL-3.0-only
//! Errors of the operating system in words: without their numbers, and with a remedy for the usual causes.

use std::fmt::Display;
use std::io;

const START: &str = " (os error ";

/// Returns the text of an error, in the middle of a sentence: "no such file or directory".
pub fn reason(error: &(impl Display + ?Sized)) -> String {
    let text = in_words(error.to_string());
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        // not an abbreviation
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text,
    }
}

/// Returns the reason why a file cannot be read, with the remedy.
pub fn of_file(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "; check the path",
        io::ErrorKind::PermissionDenied => "; give the user or a group of the service read access",
        _ => "",
    };
    reason(error) + remedy
}

/// Replaces "(os error N)" in a text, also of an error that contains another one.
pub fn in_words(mut text: String) -> String {
    while let Some(start) = text.find(START) {
        let number = &text[start + START.len()..];
        let digits = number.find(')').unwrap_or(number.len());
        let remedy = number[..digits].parse().map_or("", remedy);
        let end = (start + START.len() + digits + 1).min(text.len());
        text.replace_range(start..end, remedy);
    }
    text
}

/// Returns the number of the first error in a text that contains "(os error N)".
pub fn number(text: &str) -> Option<i32> {
    let (_, rest) = text.split_once(START)?;
    rest.split_once(')')?.0.parse().ok()
}

/// Returns the remedy of an error that does not depend on what failed.
fn remedy(errno: i32) -> &'static str {
    match errno {
        libc::EMFILE => ": raise LimitNOFILE of the service",
        libc::ENFILE => ": raise the sysctl fs.file-max",
        libc::ENOSPC => ": free some space",
        libc::EROFS => ": choose a writable place",
        libc::ENOMEM => ": raise the memory limit of the service, or free memory",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_number_of_its_error() {
        let text = "loading: Operation not permitted (os error 1): again (os error 24)";
        assert_eq!(number(text), Some(libc::EPERM));
        for text in ["", "loading", "cut (os error 2", "(os error x)"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn errors_have_words_and_no_number() {
        let error = |errno| io::Error::from_raw_os_error(errno);
        for (text, expected) in [
            (reason(&error(libc::ENOENT)), "no such file or directory"),
            (
                reason(&error(libc::ENOSPC)),
                "no space left on device: free some space",
            ),
            (
                of_file(&error(libc::ENOENT)),
                "no such file or directory; check the path",
            ),
            (
                of_file(&error(libc::EACCES)),
                "permission denied; give the user or a group of the service read access",
            ),
            (reason("TLS: closed"), "TLS: closed"),
            (reason(""), ""),
            (
                reason("loading: Operation not permitted (os error 1): again (os error 24)"),
                "loading: Operation not permitted: again: raise LimitNOFILE of the service",
            ),
            (reason("cut (os error 2"), "cut"),
        ] {
            assert_eq!(text, expected);
        }
    }
}
