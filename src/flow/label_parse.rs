// SPDX-License-Identifier: AGPL-3.0-only
//! Parses the labels of a series from its text, for the page and for formats other than text.

use std::borrow::Cow;

/// The labels of a series in their order: name and value.
pub struct Pairs<'a>(&'a str);

pub fn pairs(text: &str) -> Pairs<'_> {
    Pairs(text)
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_once('=')?;
        let rest = rest.strip_prefix('"')?;
        let plain = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (value, end) = match rest.as_bytes()[plain] {
            b'"' => (rest[..plain].into(), plain),
            _ => {
                let end = plain + closing_quote(&rest[plain..])?;
                (unescape(&rest[..end]), end)
            }
        };
        self.0 = rest[end + 1..].strip_prefix(',').unwrap_or_default();
        Some((name, value))
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn unescape(value: &str) -> Cow<'_, str> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(c) => out.push(c),
                None => {}
            },
            c => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::text_format::push_label;

    fn written(labels: &[(&str, &str)]) -> String {
        let mut out = Vec::new();
        for (name, value) in labels {
            if !out.is_empty() {
                out.push(b',');
            }
            push_label(&mut out, name, value);
        }
        String::from_utf8(out).unwrap()
    }

    fn read(text: &str) -> Vec<(String, String)> {
        let owned = |(name, value): (&str, Cow<str>)| (name.to_owned(), value.into_owned());
        pairs(text).map(owned).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec("[\\\\\"\n,=a-é]{0,8}", 0..5)) {
            let labels: Vec<_> = values.iter().map(|v| ("name", v.as_str())).collect();
            let expected: Vec<_> = values.iter().map(|v| ("name".to_owned(), v.clone())).collect();
            prop_assert_eq!(read(&written(&labels)), expected);
        }

        #[test]
        fn any_text_is_survived(text in ".{0,60}") {
            read(&text);
            read(&format!("a=\"{text}"));
        }
    }
}
