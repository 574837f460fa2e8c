// SPDX-License-Identifier: AGPL-3.0-only
//! Reads a YAML document into a tree that keeps line numbers. Pure.
//!
//! Values stay text: the reader of a key decides what it means, as `yaml.v2` does for the fields of a Go struct. Anchors,
//! aliases and tags are refused: no web configuration file needs them.

use saphyr_parser::{Event, Input, Parser, ScalarStyle, Span, StrInput};

/// Mappings and lists within each other.
const MAX_DEPTH: usize = 8;

/// Keys, values and list items of one document.
const MAX_NODES: usize = 10_000;

#[derive(Debug, PartialEq, Eq)]
pub struct YamlNode {
    pub line: usize,
    pub value: YamlValue,
}

#[derive(Debug, PartialEq, Eq)]
pub enum YamlValue {
    /// `plain` if it has no quotes and is no block of text.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<YamlNode>),
    Map(Vec<YamlEntry>),
}

#[derive(Debug, PartialEq, Eq)]
pub struct YamlEntry {
    pub line: usize,
    pub key: String,
    pub value: YamlNode,
}

impl YamlNode {
    /// Returns whether the value is absent: a key without a value, or YAML's null.
    pub fn is_null(&self) -> bool {
        let YamlValue::Scalar { text, plain: true } = &self.value else {
            return false;
        };
        ["", "~", "null", "Null", "NULL"].contains(&text.as_str())
    }
}

/// Reads a document; `None` if it is empty.
pub fn read(text: &str) -> Result<Option<YamlNode>, String> {
    let mut reader = YamlReader {
        parser: Parser::new(CompactInput(StrInput::new(text))),
        nodes: 0,
    };
    let mut document = None;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(document),
            (Event::DocumentStart(_), span) if document.is_some() => {
                return Err(at(&span, "expected one document, got another one"));
            }
            (Event::DocumentStart(_), _) => {
                let event = reader.next()?;
                document = Some(reader.node(event, 0)?);
            }
            _ => {}
        }
    }
}

fn at(span: &Span, text: impl std::fmt::Display) -> String {
    format!("line {}: {text}", span.start.line())
}

struct YamlReader<'t> {
    parser: Parser<'t, CompactInput<'t>>,
    nodes: usize,
}

impl<'t> YamlReader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), String> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(format!(
                "line {}: not valid YAML: {}",
                error.marker().line(),
                error.info()
            )),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, (event, span): (Event<'t>, Span), depth: usize) -> Result<YamlNode, String> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let text = format!("expected at most {MAX_NODES} keys and values");
            return Err(at(&span, text));
        }
        if depth > MAX_DEPTH {
            let text = format!("expected at most {MAX_DEPTH} levels");
            return Err(at(&span, text));
        }
        let refused = |what: &str| Err(at(&span, format!("{what} are not supported")));
        let line = span.start.line();
        let value = match event {
            Event::Alias(_) => return refused("aliases (*name)"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor > 0 =>
            {
                return refused("anchors (&name)");
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => return refused("tags (!name)"),
            Event::Scalar(text, style, ..) => YamlValue::Scalar {
                text: text.into_owned(),
                plain: style == ScalarStyle::Plain,
            },
            Event::SequenceStart(..) => YamlValue::List(self.list(depth)?),
            Event::MappingStart(..) => YamlValue::Map(self.map(depth)?),
            _ => return Err(at(&span, "expected a value")),
        };
        Ok(YamlNode { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<YamlNode>, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(items),
                event => items.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<YamlEntry>, String> {
        let mut entries: Vec<YamlEntry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(entries);
            }
            let key = self.node((event, span), depth + 1)?;
            let YamlValue::Scalar { text, .. } = key.value else {
                return Err(at(&span, "expected a key"));
            };
            if entries.iter().any(|entry| entry.key == text) {
                let text = text.escape_debug();
                return Err(at(&span, format!("the key {text} appears twice")));
            }
            let event = self.next()?;
            entries.push(YamlEntry {
                line: key.line,
                key: text,
                value: self.node(event, depth + 1)?,
            });
        }
    }
}

/// A text as the parser reads it, by calls: the parser is compiled for its input, and with the small methods of
/// `StrInput` in each place it is 20 kB larger.
struct CompactInput<'t>(StrInput<'t>);

impl Input for CompactInput<'_> {
    #[inline(never)]
    fn lookahead(&mut self, count: usize) {
        self.0.lookahead(count);
    }

    fn buflen(&self) -> usize {
        self.0.buflen()
    }

    fn bufmaxlen(&self) -> usize {
        self.0.bufmaxlen()
    }

    #[inline(never)]
    fn raw_read_ch(&mut self) -> char {
        self.0.raw_read_ch()
    }

    #[inline(never)]
    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        self.0.raw_read_non_breakz_ch()
    }

    #[inline(never)]
    fn skip(&mut self) {
        self.0.skip();
    }

    #[inline(never)]
    fn skip_n(&mut self, count: usize) {
        self.0.skip_n(count);
    }

    #[inline(never)]
    fn peek(&self) -> char {
        self.0.peek()
    }

    #[inline(never)]
    fn peek_nth(&self, n: usize) -> char {
        self.0.peek_nth(n)
    }

    #[inline(never)]
    fn peek_opt(&self) -> Option<char> {
        self.0.peek_opt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(line: usize, text: &str, plain: bool) -> YamlNode {
        let text = text.to_owned();
        let value = YamlValue::Scalar { text, plain };
        YamlNode { line, value }
    }

    #[test]
    fn maps_lists_and_texts_are_read_with_their_lines() {
        let text = "# a comment\na:\n  b: 'x: y'\n  c: [1, \"2\"]\nd:\ne: |\n  l1\n  l2\n";
        let Some(YamlNode {
            value: YamlValue::Map(top),
            ..
        }) = read(text).unwrap()
        else {
            panic!("a map");
        };
        let keys: Vec<_> = top.iter().map(|e| (e.line, e.key.as_str())).collect();
        assert_eq!(keys, [(2, "a"), (5, "d"), (6, "e")]);
        let YamlValue::Map(a) = &top[0].value.value else {
            panic!("a map");
        };
        assert_eq!(a[0].value, scalar(3, "x: y", false));
        let YamlValue::List(c) = &a[1].value.value else {
            panic!("a list");
        };
        assert_eq!(c[..], [scalar(4, "1", true), scalar(4, "2", false)]);
        assert!(top[1].value.is_null());
        assert!(!scalar(1, "null", false).is_null());
        assert!(
            matches!(&top[2].value.value, YamlValue::Scalar { text, .. } if text == "l1\nl2\n")
        );
    }

    #[test]
    fn an_empty_file_is_no_document() {
        for text in ["", "# nothing\n", "\n\n"] {
            assert_eq!(read(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn features_that_hide_settings_are_refused() {
        for (text, expected) in [
            ("a: 1\na: 2\n", "line 2: the key a appears twice"),
            ("a: &x 1\n", "line 1: anchors (&name) are not supported"),
            (
                "a: 1\nb: !!str 2\n",
                "line 2: tags (!name) are not supported",
            ),
            (
                "---\na: 1\n---\nb: 1\n",
                "line 3: expected one document, got another one",
            ),
            ("? [a]\n: 1\n", "line 1: expected a key"),
            (
                "[[[[[[[[[[1]]]]]]]]]]\n",
                "line 1: expected at most 8 levels",
            ),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
        let broken = read("a: [1\nb: 2\n").unwrap_err();
        assert!(broken.contains("not valid YAML"), "{broken}");
        let many = read(&"- 1\n".repeat(MAX_NODES + 1)).unwrap_err();
        assert!(many.contains("at most 10000"), "{many}");
    }
}
