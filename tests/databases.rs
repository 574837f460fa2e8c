// SPDX-License-Identifier: AGPL-3.0-only
//! Databases that are found in folders, before and after the start.

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::lab::wait_for;
use rfm::enrich::mmdb::{self, DatabaseFile, DatabasePlace, Databases};
use rfm::sys::error_counters::ErrorCounters;
use rfm::sys::threads::Threads;
use rfm::types::database::DatabaseKind;

const ASN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/data/mmdb/GeoLite2-ASN-Test.mmdb"
);
/// The thread looks each second, and reads a file that is the same in two looks.
const NOTICED: Duration = Duration::from_secs(10);

#[test]
fn a_database_that_appears_is_found_and_a_broken_one_is_a_problem() {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("found-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let files = [DatabaseFile {
        kind: DatabaseKind::Asn,
        place: DatabasePlace::Folders(vec![PathBuf::from("/nonexistent"), folder.clone()]),
    }];
    let databases = Arc::new(Databases::open(&files).expect("no database is no error"));
    assert!(databases.get(DatabaseKind::Asn).is_none());
    let threads = Threads::new();
    let theirs = databases.clone();
    threads
        .spawn("mmdb", move |beat| {
            mmdb::run(&theirs, &files, &ErrorCounters::default(), &beat);
        })
        .expect("a thread");

    let uses = |name: &str| {
        let path = databases.path(DatabaseKind::Asn);
        path.is_some_and(|path| *path == folder.join(name))
    };
    let first = databases.generation();
    fs::copy(ASN, folder.join("asn.mmdb")).expect("a copy");
    assert!(wait_for(NOTICED, || uses("asn.mmdb")));
    assert_eq!(databases.generation(), first + 1);

    // preferred, but broken: the one in use stays
    let broken = folder.join("GeoLite2-ASN.mmdb");
    fs::write(&broken, "no database").expect("a file");
    let problem = || databases.problems().first().cloned().unwrap_or_default();
    let expected = format!("{}: ", broken.display());
    assert!(wait_for(NOTICED, || problem().starts_with(&expected)));
    assert!(uses("asn.mmdb"));

    // replaced by a good one, as an updater does
    let beside = folder.join("beside");
    fs::copy(ASN, &beside).expect("a copy");
    fs::rename(&beside, &broken).expect("a rename");
    assert!(wait_for(NOTICED, || uses("GeoLite2-ASN.mmdb")));
    assert_eq!(databases.problems(), Vec::<String>::new());

    // a broken file that is removed is no longer a problem
    fs::remove_file(folder.join("asn.mmdb")).expect("it exists");
    fs::write(&broken, "no database").expect("a file");
    assert!(wait_for(NOTICED, || problem().starts_with(&expected)));
    fs::remove_file(&broken).expect("it exists");
    assert!(wait_for(NOTICED, || databases.problems().is_empty()));
    assert!(
        databases.get(DatabaseKind::Asn).is_some(),
        "its copy stays in use"
    );
    threads.stop("mmdb");

    // at the start, a broken file is no error either
    fs::write(&broken, "no database").expect("a file");
    let files = [DatabaseFile {
        kind: DatabaseKind::Asn,
        place: DatabasePlace::Folders(vec![folder.clone()]),
    }];
    let opened = Databases::open(&files).expect("it starts");
    assert!(opened.get(DatabaseKind::Asn).is_none());
    assert_eq!(opened.problems().len(), 1);
    fs::remove_dir_all(&folder).expect("it exists");
}
