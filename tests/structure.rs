// SPDX-License-Identifier: AGPL-3.0-only
//! The rooms of src/: no two top-level modules import each other, not even by a detour, and no engine
//! imports the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The top-level modules that a module imports, each with the first file that does.
type Imports = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// Rooms that take limits of their own; `agent` converts the configuration for them.
const ENGINES: [&str; 6] = ["flow", "enrich", "firewall", "history", "store", "bpf"];

/// Lines above which a file counts as long, and how many files may be.
const LONG: usize = 600;
const MAX_LONG_FILES: usize = 3;

/// Type names that may occur in several files.
const MAX_SHARED_NAMES: usize = 43;

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        let entries = fs::read_dir(folder).unwrap();
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    files.sort();
    files
}

fn below_src(path: &Path) -> &Path {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    path.strip_prefix(src).unwrap()
}

/// `flow` of `src/flow/table.rs`; `None` for the root.
fn room(path: &Path) -> Option<String> {
    let first = below_src(path).components().next().unwrap();
    let name = Path::new(first.as_os_str()).file_stem().unwrap();
    let name = name.to_str().unwrap();
    (!["lib", "main"].contains(&name)).then(|| name.to_owned())
}

fn is_test(path: &Path) -> bool {
    let path = below_src(path);
    path.components()
        .any(|part| ["tests", "tests.rs"].contains(&part.as_os_str().to_str().unwrap()))
}

/// Without comments, and without the tests at the end of a file.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|l| !l.trim_start().starts_with("//"));
    let all: String = lines.map(|l| format!("{l}\n")).collect();
    match all.find("#[cfg(test)]\nmod tests {") {
        Some(at) => all[..at].to_owned(),
        None => all,
    }
}

/// The first segments of all `crate::` paths, `crate::{a, b}` included.
fn imported(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| -> String {
            let end = |c: char| !(c.is_alphanumeric() || c == '_');
            text.trim_start().split(end).next().unwrap().to_owned()
        };
        match rest.strip_prefix('{') {
            None => {
                rooms.insert(word(rest));
            }
            Some(group) => {
                // a path of this group ends at a comma of depth 0
                let (mut depth, mut start) = (0, 0);
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => {
                            rooms.insert(word(&group[start..i]));
                            break;
                        }
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            rooms.insert(word(&group[start..i]));
                            start = i + 1;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

fn imports() -> Imports {
    let mut imports = Imports::new();
    let files = sources();
    for path in files.iter().filter(|path| !is_test(path)) {
        let Some(own) = room(path) else { continue };
        let of_room = imports.entry(own.clone()).or_default();
        for other in imported(&code(path)).into_iter().filter(|r| *r != own) {
            let file = below_src(path).to_owned();
            of_room.entry(other).or_insert(file);
        }
    }
    let rooms: BTreeSet<_> = imports.keys().cloned().collect();
    for of_room in imports.values_mut() {
        of_room.retain(|room, _| rooms.contains(room));
    }
    imports
}

/// A way from `from` to `to` along imports: the rooms on it, both ends included.
fn way(imports: &Imports, from: &str, to: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::from([from.to_owned()]);
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in imports[way.last().unwrap()].keys() {
                let mut way = way.clone();
                way.push(next.clone());
                if next == to {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

#[test]
fn no_two_rooms_import_each_other() {
    let imports = imports();
    assert!(imports.len() > 15, "rooms were not found: {imports:?}");
    let mut circles = Vec::new();
    for (room, others) in &imports {
        for (other, file) in others {
            let Some(back) = way(&imports, other, room) else {
                continue;
            };
            let way: Vec<_> = back
                .windows(2)
                .map(|pair| {
                    let file = imports[&pair[0]][&pair[1]].display();
                    format!("src/{file} imports {}", pair[1])
                })
                .collect();
            circles.push(format!(
                "src/{} imports {other}, and back: {}",
                file.display(),
                way.join(", ")
            ));
        }
    }
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

#[test]
fn no_engine_imports_the_configuration() {
    let imports = imports();
    for engine in ENGINES {
        let file = imports[engine].get("config");
        assert_eq!(file, None, "{engine} imports config");
    }
}

#[test]
fn types_and_sys_import_no_other_room() {
    let imports = imports();
    for ground in ["types", "sys"] {
        assert_eq!(imports[ground], BTreeMap::new(), "{ground}");
    }
}

#[test]
fn few_files_are_long() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|path| fs::read_to_string(path).unwrap().lines().count() > LONG)
        .collect();
    assert!(long.len() <= MAX_LONG_FILES, "{long:?}");
}

#[test]
fn few_type_names_occur_in_several_files() {
    let mut files: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in sources().into_iter().filter(|path| !is_test(path)) {
        for line in code(&path).lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let words: Vec<_> = words
                .into_iter()
                .skip_while(|word| word.starts_with("pub"))
                .collect();
            let [kind, name, ..] = words[..] else {
                continue;
            };
            if ["struct", "enum", "trait", "union"].contains(&kind) {
                let end = |c: char| !(c.is_alphanumeric() || c == '_');
                let name = name.split(end).next().unwrap().to_owned();
                files.entry(name).or_default().insert(path.clone());
            }
        }
    }
    assert!(files.len() > 300, "types were not found");
    files.retain(|_, files| files.len() > 1);
    let names: Vec<_> = files.keys().collect();
    assert!(
        names.len() <= MAX_SHARED_NAMES,
        "{} names of types occur in several files: {names:?}",
        names.len()
    );
}

#[test]
fn import_groups_are_read() {
    let code = "use crate::{flow::table, types::{a, b}};\nfn f() { crate::bpf::ring() }\n";
    let rooms: Vec<_> = imported(code).into_iter().collect();
    assert_eq!(rooms, ["bpf", "flow", "types"]);
}
