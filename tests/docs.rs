// SPDX-License-Identifier: AGPL-3.0-only
//! Documents name only keys of the configuration that exist; documents, dashboard, alerts and page use only series that
//! exist. Links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rfm::config::reference::reference;
use rfm::metrics::declarations::REFERENCE;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What stands between backticks in one cell or line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The paths of all keys and sections, without the marks of lists.
fn keys_there() -> BTreeSet<String> {
    let mut there = BTreeSet::new();
    for section in reference().flat() {
        let mut path = section.path.as_str();
        for key in &section.keys {
            there.insert(format!("{path}.{}", key.declared.name));
        }
        there.insert(path.to_owned());
        while let Some((above, _)) = path.rsplit_once('.') {
            there.insert(above.to_owned());
            path = above;
        }
    }
    there
}

#[test]
fn the_documents_name_only_keys_that_exist() {
    let there = keys_there();
    for document in [
        "README.md",
        "SECURITY.md",
        "ARCHITECTURE.md",
        "docs/CONTROL.md",
    ] {
        let text = read(document);
        let mut found = 0;
        for word in text.lines().flat_map(quoted) {
            let word = word.trim_start_matches('[');
            let end = word.find(|c: char| !c.is_ascii_lowercase() && !matches!(c, '_' | '.'));
            let key = word[..end.unwrap_or(word.len())].trim_end_matches('.');
            if key.starts_with("agent.") {
                found += 1;
                assert!(there.contains(key), "{document}: no key {key}");
            }
        }
        assert!(found > 0 || document != "README.md");
    }
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
        "docs/reference/configuration.md",
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
