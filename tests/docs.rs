// SPDX-License-Identifier: AGPL-3.0-only
//! README.md against what it tells of: the keys of config/rfm.toml, which the config's own tests hold to the code. What
//! either has, both have. Documents, dashboard, alerts and page use only series that exist. Links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rfm::metrics::declarations::REFERENCE;

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
fn every_series_that_is_used_exists() {
    let series = |file: &str| file.ends_with(".md") || file.ends_with(".yml");
    let mut files = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    files.extend(files_of("docs").into_iter().filter(|file| series(file)));
    files.extend(files_of("docs/examples"));
    files.extend(files_of("grafana"));
    let scripts = files_of("src/page").into_iter();
    files.extend(scripts.filter(|file| file.ends_with(".js")));
    let mut used = BTreeSet::new();
    for file in files {
        let text = read(&file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|w| w.starts_with("rfm_") || w.starts_with("process_")) {
            let found = declared().any(|name| name == word || is_beginning(word, name));
            assert!(found, "{file}: there is no series {word}");
            used.insert(word.to_owned());
        }
    }
    assert!(used.len() > 60, "only {used:?}");
}

/// `rfm_flow_` stands for all whose names begin so.
fn is_beginning(word: &str, name: &str) -> bool {
    word.ends_with('_') && name.starts_with(word)
}

fn declared() -> impl Iterator<Item = &'static str> {
    let metrics = REFERENCE.iter().flat_map(|section| section.metrics);
    metrics.map(|metric| metric.name)
}

/// The files of a folder, as paths from the root of the repository.
fn files_of(folder: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(path).expect(folder).flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    files
        .filter_map(|entry| Some(format!("{folder}/{}", entry.file_name().to_str()?)))
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
        "docs/reference/metrics.md",
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
