// SPDX-License-Identifier: AGPL-3.0-only
//! Folders that are not a history are set aside; a full disk stops the history only; `max_size` is
//! kept.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use rfm::store::files::writer::{StoreSettings, size};
use rfm::store::types::{Part, TimeSpan};

use crate::harness::{START, Scratch, Store, check, minute, row, settings};

/// The folders and files beside the history.
fn set_aside(scratch: &Scratch) -> Vec<PathBuf> {
    let entries = fs::read_dir(&scratch.0).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.to_string_lossy().contains(".damaged-"))
        .collect()
}

/// Asserts that a history can be written, and that it has only what is added now.
fn works(path: &Path) {
    let mut store = Store::open(path, START);
    assert_eq!(store.problem(), None);
    store.add(minute(START, vec![row("eth0", [77, 0, 0], vec![])]));
    store.advance(600);
    assert!(store.shared.read().is_empty());
    for found in check(&store.reader(), TimeSpan::new(START, START + 600), 0) {
        assert_eq!(found.values().copied().collect::<Vec<_>>(), [77]);
    }
}

#[test]
fn what_is_no_history_is_set_aside() {
    type Make = fn(&Path);
    let cases: [(&str, Make); 5] = [
        ("a newer version", |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("format"), "rfm-history 2\n").unwrap();
        }),
        ("a foreign folder", |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("letter.txt"), "keep me").unwrap();
        }),
        ("a damaged format", |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("format"), "rfm-h\0story 1\n").unwrap();
        }),
        ("a file", |path| fs::write(path, "keep me").unwrap()),
        ("a link", |path| symlink("/etc", path).unwrap()),
    ];
    for (case, make) in cases {
        let scratch = Scratch::new("foreign");
        make(&scratch.history());
        works(&scratch.history());
        let [aside] = &set_aside(&scratch)[..] else {
            panic!("{case}: one folder is set aside");
        };
        let store = Store::open(&scratch.history(), START + 1800);
        let events = store.reader().events(TimeSpan::new(START, START + 60), 100);
        let events: Vec<_> = events
            .events
            .iter()
            .map(|e| (&e.kind[..], &e.text))
            .collect();
        let [("history_damaged", text)] = events[..] else {
            panic!("{case}: {events:?}");
        };
        assert!(text.ends_with(&*aside.to_string_lossy()), "{case}: {text}");
        drop(store);
        works_again(&scratch);
    }
}

/// A second start finds a history.
fn works_again(scratch: &Scratch) {
    let store = Store::open(&scratch.history(), START + 3600);
    assert_eq!(store.problem(), None);
    assert_eq!(set_aside(scratch).len(), 1);
}

#[test]
fn only_the_agent_may_read_the_files() {
    let scratch = Scratch::new("mode");
    works(&scratch.history());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scratch.history()), 0o700);
    let log = fs::read_dir(scratch.history().join("log")).unwrap().next();
    assert_eq!(mode(&log.unwrap().unwrap().path()), 0o600);
    assert_eq!(mode(&scratch.history().join("format")), 0o600);
}

#[test]
fn two_agents_do_not_write_one_folder() {
    let scratch = Scratch::new("lock");
    let _first = Store::open(&scratch.history(), START);
    let second = Store::open(&scratch.history(), START);
    let problem = second.problem().unwrap();
    assert!(problem.contains("another process uses it"), "{problem}");
    assert!(set_aside(&scratch).is_empty());
}

/// A file system of its own size.
struct Mount(PathBuf);

impl Mount {
    fn new(path: PathBuf, size: &str) -> Self {
        fs::create_dir(&path).unwrap();
        let options = format!("size={size},mode=700");
        let mount = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        let status = Command::new("mount").args(mount).arg(&path).status();
        assert!(status.unwrap().success());
        Self(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_stops_the_history_until_there_is_room() {
    let scratch = Scratch::new("full");
    let mount = Mount::new(scratch.0.join("disk"), "256k");
    let filler = mount.0.join("filler");
    let mut store = Store::open(&mount.0.join("history"), START);
    let mut written = 0;
    let mut record = |store: &mut Store| {
        let time = store.now.wall / 60 * 60;
        store.add(minute(time, vec![row("eth0", [1, 0, 0], vec![])]));
        store.advance(60);
        written += 1;
        written
    };
    for _ in 0..12 {
        record(&mut store);
    }
    assert_eq!(store.problem(), None);
    // the last page of the log may still take some rows
    fs::write(&filler, vec![1; 1 << 20]).unwrap_err();
    let mut minutes = 0;
    while store.problem().is_none() {
        minutes += 1;
        assert!(minutes < 1000, "the disk is not full");
        record(&mut store);
    }
    let problem = store.problem().unwrap();
    assert!(
        problem.contains("no space left on device: free some space"),
        "{problem}"
    );
    for _ in 0..100 {
        record(&mut store);
    }
    let waiting = store.shared.read().minutes.len();
    assert!(waiting <= 25, "{waiting} minutes in memory");
    fs::remove_file(&filler).unwrap();
    let sent = (0..12).map(|_| record(&mut store)).last().unwrap();
    store.advance(600);
    assert_eq!(store.problem(), None);
    let lost = store.shared.counters.lost_rows.load(Ordering::Relaxed);
    assert!(lost > 50, "{lost}");
    let span = TimeSpan::new(START, store.now.wall);
    let found = check(&store.reader(), span, 0);
    let stored: u64 = found[0].values().sum();
    assert_eq!(stored + lost, sent);
}

#[test]
fn the_size_is_kept_and_the_oldest_goes_first() {
    let scratch = Scratch::new("size");
    let settings = StoreSettings {
        max_size: 300_000,
        ..settings()
    };
    let mut store = Store::with(&scratch.history(), START, settings.clone());
    let mut random = 1u64;
    for _ in 0..4000 {
        let time = store.now.wall / 60 * 60;
        let mut part = |asn| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (Part::Network(asn), random >> 40)
        };
        let parts: Vec<_> = (1..40).map(&mut part).collect();
        let total = parts.iter().map(|(_, bytes)| bytes).sum();
        store.add(minute(time, vec![row("eth0", [total, 0, 0], parts)]));
        store.advance(60);
        let bytes = size(&scratch.history()).unwrap();
        assert!(bytes <= settings.max_size, "{bytes} bytes");
    }
    assert_eq!(store.problem(), None);
    assert!(store.shared.counters.evicted_files.load(Ordering::Relaxed) > 0);
    let end = store.now.wall;
    let found = check(&store.reader(), TimeSpan::new(end - 3600, end), 0);
    assert!(
        found[0].len() > 50,
        "the last hour has {} minutes",
        found[0].len()
    );
}
