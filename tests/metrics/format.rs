// SPDX-License-Identifier: AGPL-3.0-only
//! A reader of the text format 0.0.4 that allows only what the format's description allows, and of that
//! only the order in which rfm writes it: HELP, TYPE, samples; each family once.

use std::collections::HashSet;

pub struct Exposition {
    pub families: Vec<Family>,
}

pub struct Family {
    pub name: String,
    pub help: String,
    pub kind: String,
    pub samples: Vec<Sample>,
}

pub struct Sample {
    pub labels: Vec<(String, String)>,
    pub value: String,
}

impl Exposition {
    pub fn parse(text: &str) -> Result<Self, String> {
        let body = text.strip_suffix('\n').ok_or("no newline at the end")?;
        let mut families: Vec<Family> = Vec::new();
        let mut names = HashSet::new();
        let mut seen = HashSet::new();
        let mut lines = body.split('\n');
        while let Some(line) = lines.next() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or(format!("bare: {line}"))?;
                let kind = lines
                    .next()
                    .and_then(|l| {
                        l.strip_prefix("# TYPE ")?
                            .strip_prefix(name)?
                            .strip_prefix(' ')
                    })
                    .ok_or(format!("no TYPE after {line}"))?;
                if !matches!(kind, "counter" | "gauge") || !names.insert(name.to_owned()) {
                    return Err(format!("kind {kind} or a second {name}"));
                }
                families.push(Family {
                    name: name.to_owned(),
                    help: help.to_owned(),
                    kind: kind.to_owned(),
                    samples: Vec::new(),
                });
                continue;
            }
            let family = families.last_mut().ok_or("a sample before any family")?;
            let rest = line
                .strip_prefix(&family.name)
                .ok_or(format!("{line} in {}", family.name))?;
            let sample = sample(rest).ok_or(format!("not a sample: {line:?}"))?;
            if !seen.insert((family.name.clone(), sample.labels.clone())) {
                return Err(format!("twice: {line}"));
            }
            family.samples.push(sample);
        }
        Ok(Self { families })
    }

    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<&str> {
        let family = self.families.iter().find(|f| f.name == name)?;
        let same = |s: &&Sample| {
            let ours = s.labels.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            ours.eq(labels.iter().copied())
        };
        family.samples.iter().find(same).map(|s| s.value.as_str())
    }
}

/// What follows a name: `{labels} value` or ` value`.
fn sample(text: &str) -> Option<Sample> {
    let (labels, rest) = match text.strip_prefix('{') {
        Some(inner) => labels(inner)?,
        None => (Vec::new(), text),
    };
    let value = rest.strip_prefix(' ')?;
    let number = value
        .bytes()
        .all(|b| b.is_ascii_digit() || b"+-.e".contains(&b));
    (number && value.parse::<f64>().is_ok()).then(|| Sample {
        labels,
        value: value.to_owned(),
    })
}

type Labels = Vec<(String, String)>;

/// `name="value"` with commas between, up to and with the brace; and what is left.
fn labels(mut text: &str) -> Option<(Labels, &str)> {
    let mut labels: Labels = Vec::new();
    loop {
        let (name, rest) = text.split_once("=\"")?;
        let mut bytes = name.bytes();
        let plain = |b: u8| b.is_ascii_alphabetic() || b == b'_';
        let valid =
            bytes.next().is_some_and(plain) && bytes.all(|b| plain(b) || b.is_ascii_digit());
        if !valid || labels.iter().any(|(known, _)| known == name) {
            return None;
        }
        let (value, rest) = quoted(rest)?;
        labels.push((name.to_owned(), value));
        match rest.strip_prefix(',') {
            Some(more) => text = more,
            None => return Some((labels, rest.strip_prefix('}')?)),
        }
    }
}

/// Up to the closing quote, unescaped; and what is left after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}
