// SPDX-License-Identifier: AGPL-3.0-only
//! Documents name only keys of the configuration that exist; chapters for operators, dashboard, alerts and page use only
//! series that exist. scripts/check-links.py checks links.

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
    let mut found = 0;
    for document in documents() {
        let text = read(&document);
        for word in text.lines().flat_map(quoted) {
            let word = word.trim_start_matches('[');
            let is_key =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
            let end = word.find(|c| !is_key(c));
            let key = word[..end.unwrap_or(word.len())].trim_end_matches('.');
            if key.starts_with("agent.") {
                found += 1;
                assert!(there.contains(key), "{document}: no key {key}");
            }
        }
    }
    assert!(found > 50, "only {found} keys were found");
}

#[test]
fn every_example_names_the_version_that_it_was_run_with() {
    for example in files_of("docs/examples") {
        let text = read(&example);
        let names = text.lines().any(|line| {
            let after = line.split("Run with ").nth(1).unwrap_or_default();
            after.contains(|c: char| c.is_ascii_digit()) || line.contains("not run with rfm")
        });
        assert!(names, "{example}: no version in \"Run with ...\"");
    }
}

#[test]
fn every_path_of_the_control_api_is_in_the_reference() {
    let reference = read("docs/reference/control.md");
    let routes = read("src/control/routes.rs");
    let paths: Vec<_> = routes
        .split('"')
        .filter(|text| text.starts_with("/v1/"))
        .collect();
    assert!(paths.len() > 12, "{paths:?}");
    for path in paths {
        assert!(reference.contains(path), "{path} is not in the reference");
    }
}

#[test]
fn every_series_that_is_used_exists() {
    // documents for developers also name functions and maps, which begin with rfm_ as well
    let developers = ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];
    let mut files = documents();
    files.retain(|file| {
        !developers.contains(&file.as_str()) && !file.starts_with("docs/developers/")
    });
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

/// All documents for people, as paths from the root of the repository.
fn documents() -> Vec<String> {
    let top = [
        "README",
        "ARCHITECTURE",
        "CHANGELOG",
        "CONTRIBUTING",
        "SECURITY",
    ];
    let mut documents: Vec<_> = top.iter().map(|name| format!("{name}.md")).collect();
    for folder in ["docs", "docs/reference", "docs/developers"] {
        let files = files_of(folder).into_iter();
        documents.extend(files.filter(|file| file.ends_with(".md")));
    }
    assert!(documents.len() > 20, "{documents:?}");
    documents
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
