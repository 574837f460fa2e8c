// SPDX-License-Identifier: AGPL-3.0-only
//! README.md against what it tells of: the keys of config/rfm.toml, which the config's own tests hold to the code, and
//! the series of tests/golden/metrics.txt, which the metrics' tests do. What either has, both have. Links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The part of a document from one `## ` heading to the next.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let from = text.find(&format!("\n## {heading}\n")).expect(heading) + 1;
    let rest = &text[from..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// What stands between backticks in one cell or line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `a_{b,c}_d{label}` → a_b_d, a_c_d: braces hold alternatives, but at the end labels.
fn families(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else {
        return vec![name.to_owned()];
    };
    let Some((inside, after)) = rest.split_once('}') else {
        return vec![name.to_owned()];
    };
    if after.is_empty() {
        return vec![before.to_owned()];
    }
    let all = inside.split(',');
    all.flat_map(|word| families(&format!("{before}{word}{after}")))
        .collect()
}

/// Keys that the first cells of README's tables name: `a.b.c`, `.d` is a.b.d; `[[a.b]]` `c` is a.b.c.
fn keys_told(text: &str) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for line in text.lines() {
        let cell = line
            .strip_prefix("| `")
            .and_then(|row| row.split(" | ").next());
        let Some(cell) = cell.filter(|cell| cell.starts_with("agent") || cell.starts_with('['))
        else {
            continue;
        };
        let mut table = String::new();
        for word in quoted(&format!("`{cell}")) {
            if let Some(name) = word.strip_prefix('[') {
                table = name.trim_matches(['[', ']']).to_owned();
            } else if let Some(name) = word.strip_prefix('.') {
                told.insert(format!("{table}.{name}"));
            } else if word.starts_with("agent.") {
                table = word.rsplit_once('.').unwrap().0.to_owned();
                told.insert(word.to_owned());
            } else {
                told.insert(format!("{table}.{word}"));
            }
        }
        // a table whose keys are the reader's own
        if !table.is_empty() && quoted(&format!("`{cell}")).count() == 1 && cell.starts_with('[') {
            told.insert(table);
        }
    }
    told
}

/// Keys of config/rfm.toml, in force or commented out.
fn keys_there() -> BTreeSet<String> {
    const VRF: &str = "agent.enrich.rib.vrf";
    let text = read("config/rfm.toml");
    let mut table = "";
    let mut there = BTreeSet::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']);
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with(' ')) {
            there.insert(if table == VRF {
                VRF.into()
            } else {
                format!("{table}.{key}")
            });
        }
    }
    there
}

#[test]
fn the_readme_has_every_key_and_no_other() {
    let told = keys_told(section(&read("README.md"), "Configuration"));
    let there = keys_there();
    let missing: Vec<_> = there.iter().filter(|key| !told.contains(*key)).collect();
    let unknown: Vec<_> = told
        .iter()
        .filter(|key| {
            !there.contains(*key) && !there.iter().any(|t| t.starts_with(&format!("{key}.")))
        })
        .collect();
    assert!(missing.is_empty(), "in config/rfm.toml alone: {missing:?}");
    assert!(unknown.is_empty(), "in README.md alone: {unknown:?}");
}

#[test]
fn the_readme_has_every_series_and_no_other() {
    let golden = read("tests/golden/metrics.txt");
    let there: BTreeSet<&str> = golden
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let readme = read("README.md");
    let told: BTreeSet<String> = quoted_names(section(&readme, "Metrics"));
    let missing: Vec<_> = there
        .iter()
        .filter(|name| !told.iter().any(|told| names(told, name)))
        .collect();
    assert!(missing.is_empty(), "in the golden file alone: {missing:?}");
    let unknown: Vec<_> = quoted_names(&readme)
        .into_iter()
        .filter(|told| !there.iter().any(|name| names(told, name)))
        .collect();
    assert!(unknown.is_empty(), "in README.md alone: {unknown:?}");
}

/// `process_*` names all that begin so.
fn names(told: &str, name: &str) -> bool {
    match told.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => told == name,
    }
}

/// Series in backticks, written out.
fn quoted_names(text: &str) -> BTreeSet<String> {
    let names = text.lines().flat_map(quoted);
    names
        .filter(|name| name.starts_with("rfm_") || name.starts_with("process_"))
        .map(|name| {
            name.split_once("{").map_or(name, |(before, rest)| {
                if rest.contains('"') || rest.contains('=') {
                    before
                } else {
                    name
                }
            })
        })
        .filter(|name| !name.contains(' '))
        .flat_map(families)
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/COMPARISON.md",
        "docs/BENCHMARKS.md",
        "docs/reference/commands.md",
    ] {
        let text = read(document);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(document)
            .parent()
            .unwrap()
            .to_owned();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            if target.contains("://") || (file.is_empty() && anchor.is_empty()) {
                continue;
            }
            if file.is_empty() {
                let found = text.lines().filter(|l| l.starts_with('#')).any(|l| {
                    l.trim_start_matches('#')
                        .trim()
                        .to_lowercase()
                        .replace(' ', "-")
                        == anchor
                });
                assert!(found, "{document}: no heading for #{anchor}");
            } else {
                assert!(
                    folder.join(file).exists(),
                    "{document}: {file} is not there"
                );
            }
        }
    }
}
