// SPDX-License-Identifier: AGPL-3.0-only
//! MMDB files of all shapes: good and broken ones, replaced ones, ones that are cut short.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::lab::wait_for;
use common::mmdb::{Value, Writer, asn};
use proptest::prelude::*;
use rfm::enrich::mmdb::{self, Database, DatabaseFile, DatabasePlace, Databases, MmdbError};
use rfm::sys::error_counters::{ErrorCounters, Subsystem};
use rfm::sys::threads::Threads;
use rfm::types::database::DatabaseKind;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mmdb");

/// A replaced file is noticed within this time.
const NOTICED: Duration = Duration::from_secs(5);

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }

    fn below(parent: &Path, name: &str) -> Self {
        let path = parent.join(format!("rfm-mmdb-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Puts a new file in the place of `path`, at once.
    fn replace(&self, path: &Path, content: impl AsRef<[u8]>) {
        fs::rename(self.file("new", content), path).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path, kind: DatabaseKind) -> Database {
    Database::open(path, kind, &|| {}).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn shipped(name: &str, kind: DatabaseKind) -> Database {
    open(&Path::new(DATA).join(name), kind)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn asn_of(database: &Database, text: &str) -> (u32, Option<String>) {
    let found = database.asn(address(text)).unwrap();
    found.map_or((0, None), |found| {
        (found.number, found.name.map(Into::into))
    })
}

fn place_of(database: &Database, text: &str) -> (Option<String>, Option<String>) {
    let found = database.location(address(text)).unwrap();
    found.map_or((None, None), |found| {
        (found.city.map(Into::into), found.country.map(Into::into))
    })
}

// Shapes

#[test]
fn maxminds_asn_database_answers() {
    let database = shipped("GeoLite2-ASN-Test.mmdb", DatabaseKind::Asn);
    for (text, number, name) in [
        ("1.0.0.1", 15169, Some("Google Inc.")),
        ("1.159.255.255", 1221, Some("Telstra Pty Ltd")),
        ("1.160.0.0", 0, None),
        ("::ffff:1.128.0.1", 1221, Some("Telstra Pty Ltd")),
        // of this network the database has no name
        ("12.82.1.1", 7018, None),
        ("2600:7000::1", 6939, Some("Hurricane Electric, Inc.")),
        ("10.0.0.1", 0, None),
        ("::1", 0, None),
        ("2001:db8::1", 0, None),
    ] {
        assert_eq!(
            asn_of(&database, text),
            (number, name.map(Into::into)),
            "{text}"
        );
    }
    assert_eq!(database.build_time(), 1_770_245_369);
}

#[test]
fn maxminds_city_database_answers() {
    let database = shipped("GeoLite2-City-Test.mmdb", DatabaseKind::City);
    for (text, city, country) in [
        ("81.2.69.142", Some("London"), Some("GB")),
        ("89.160.20.120", Some("Linköping"), Some("SE")),
        ("::ffff:89.160.20.120", Some("Linköping"), Some("SE")),
        ("2001:480::1", Some("San Diego"), Some("US")),
        // a country without a city
        ("2001:218::1", None, Some("JP")),
        ("10.0.0.1", None, None),
    ] {
        let expected = (city.map(Into::into), country.map(Into::into));
        assert_eq!(place_of(&database, text), expected, "{text}");
    }
}

fn map(entries: Vec<(&'static str, Value)>) -> Value {
    Value::Map(entries)
}

#[test]
fn other_makers_shapes_are_read() {
    let folder = Folder::new("shapes");
    let mut writer = Writer::new(6, 28, 1);
    for (network, record) in [
        (
            "192.0.2.0/24",
            map(vec![("asn", Value::Number(64500)), ("name", "A".into())]),
        ),
        (
            "198.51.100.0/24",
            map(vec![("asn", "AS64501".into()), ("as_name", "B".into())]),
        ),
        ("203.0.113.0/24", map(vec![("asn", "64502".into())])),
        // nothing that could be a number, and names that are no text
        (
            "203.0.114.0/24",
            map(vec![
                ("asn", Value::List(vec!["x".into()])),
                ("name", Value::Number(1)),
            ]),
        ),
        (
            "203.0.115.0/24",
            map(vec![
                ("asn", "AS99999999999".into()),
                ("as_name", "".into()),
            ]),
        ),
    ] {
        writer.insert(network, &record);
    }
    let database = open(&folder.file("asn.mmdb", writer.finish()), DatabaseKind::Asn);
    for (text, number, name) in [
        ("192.0.2.1", 64500, Some("A")),
        ("198.51.100.255", 64501, Some("B")),
        ("203.0.113.0", 64502, None),
        ("203.0.114.1", 0, None),
        ("203.0.115.1", 0, None),
    ] {
        assert_eq!(
            asn_of(&database, text),
            (number, name.map(Into::into)),
            "{text}"
        );
    }

    let mut writer = Writer::new(6, 32, 1);
    let named = |name: &str| map(vec![("name", name.into())]);
    let english = |name: &str| {
        map(vec![(
            "names",
            map(vec![("de", "x".into()), ("en", name.into())]),
        )])
    };
    for (network, record) in [
        (
            "192.0.2.0/24",
            map(vec![("city", named("Bern")), ("country_code", "CH".into())]),
        ),
        (
            "198.51.100.0/24",
            map(vec![("city", "Oslo".into()), ("country", "NO".into())]),
        ),
        (
            "203.0.113.0/24",
            map(vec![
                ("city", english("Prague")),
                ("country", map(vec![("iso_code", "CZ".into())])),
            ]),
        ),
        (
            "203.0.114.0/24",
            map(vec![
                ("city", "".into()),
                ("country", "Austria".into()),
                ("country_code", "AT".into()),
            ]),
        ),
        ("203.0.115.0/24", map(vec![("country", "Austria".into())])),
    ] {
        writer.insert(network, &record);
    }
    let database = open(
        &folder.file("city.mmdb", writer.finish()),
        DatabaseKind::City,
    );
    for (text, city, country) in [
        ("192.0.2.1", Some("Bern"), Some("CH")),
        ("198.51.100.1", Some("Oslo"), Some("NO")),
        ("203.0.113.1", Some("Prague"), Some("CZ")),
        ("203.0.114.1", None, Some("AT")),
        ("203.0.115.1", None, None),
    ] {
        let expected = (city.map(Into::into), country.map(Into::into));
        assert_eq!(place_of(&database, text), expected, "{text}");
    }
}

#[test]
fn each_record_size_and_ip_version_is_read() {
    let folder = Folder::new("sizes");
    for ip_version in [4, 6] {
        for record_size in [24, 28, 32] {
            let mut writer = Writer::new(ip_version, record_size, 7);
            writer.insert("192.0.2.0/25", &asn(1, "low"));
            writer.insert("192.0.2.128/25", &asn(2, "high"));
            if ip_version == 6 {
                writer.insert("2001:db8::/32", &asn(3, "six"));
            }
            let database = open(&folder.file("a.mmdb", writer.finish()), DatabaseKind::Asn);
            let number = |text| asn_of(&database, text).0;
            assert_eq!((number("192.0.2.127"), number("192.0.2.128")), (1, 2));
            assert_eq!(number("::ffff:192.0.2.200"), 2);
            let six = if ip_version == 6 { 3 } else { 0 };
            assert_eq!(number("2001:db8::1"), six);
            assert_eq!(database.build_time(), 7);
        }
    }
}

// Broken ones

#[test]
fn broken_files_are_refused() {
    for name in [
        "MaxMind-DB-test-broken-pointers-24.mmdb",
        "cyclic-data-structure.mmdb",
        "libmaxminddb-corrupt-search-tree.mmdb",
        "README.md",
        "nonexistent",
        ".",
    ] {
        for kind in DatabaseKind::ALL {
            let result = Database::open(&Path::new(DATA).join(name), kind, &|| {});
            assert!(result.is_err(), "{name}");
        }
    }
    let swapped = Database::open(
        &Path::new(DATA).join("GeoLite2-City-Test.mmdb"),
        DatabaseKind::Asn,
        &|| {},
    );
    assert!(matches!(
        swapped,
        Err(MmdbError::NoUsableRecords(DatabaseKind::Asn))
    ));
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let folder = Folder::new("cut");
    let whole = fs::read(Path::new(DATA).join("GeoLite2-ASN-Test.mmdb")).unwrap();
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let path = folder.file("cut.mmdb", &whole[..length]);
        assert!(
            Database::open(&path, DatabaseKind::Asn, &|| {}).is_err(),
            "{length}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_are_a_panic(
        city in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        addresses in prop::collection::vec(any::<u128>(), 20),
    ) {
        let (name, kind) = match city {
            true => ("GeoLite2-City-Test.mmdb", DatabaseKind::City),
            false => ("GeoLite2-ASN-Test.mmdb", DatabaseKind::Asn),
        };
        let mut bytes = fs::read(Path::new(DATA).join(name)).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let folder = Folder::new("fuzz");
        let path = folder.file("a.mmdb", bytes);
        if let Ok(database) = Database::open(&path, kind, &|| {}) {
            for bits in addresses {
                let four = Ipv4Addr::from_bits(bits as u32).into();
                for address in [IpAddr::from(std::net::Ipv6Addr::from_bits(bits)), four] {
                    let _ = database.asn(address);
                    let _ = database.location(address);
                }
            }
        }
    }
}

// Replaced ones

/// Databases that thread mmdb looks after.
struct Watch {
    databases: Arc<Databases>,
    errors: Arc<ErrorCounters>,
    threads: Threads,
}

impl Watch {
    fn of(asn_db: &Path) -> Self {
        Self::at(DatabasePlace::File(asn_db.to_owned()))
    }

    fn at(place: DatabasePlace) -> Self {
        let files = [DatabaseFile {
            kind: DatabaseKind::Asn,
            place,
        }];
        let databases = Arc::new(Databases::open(&files).unwrap());
        let errors = Arc::new(ErrorCounters::default());
        let threads = Threads::new();
        let (theirs, counted) = (databases.clone(), errors.clone());
        threads
            .spawn("mmdb", move |beat| {
                mmdb::run(&theirs, &files, &counted, &beat)
            })
            .unwrap();
        Self {
            databases,
            errors,
            threads,
        }
    }

    fn asn(&self, text: &str) -> u32 {
        asn_of(&self.databases.get(DatabaseKind::Asn).unwrap(), text).0
    }

    fn errors(&self) -> u64 {
        self.errors.get(Subsystem::Mmdb)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.threads.stop("mmdb");
    }
}

/// 192.0.2.0/24 is AS `number`, in a file of about `networks` times 100 bytes.
fn small(number: u32, networks: u32) -> Vec<u8> {
    let mut writer = Writer::new(6, 24, number);
    writer.insert("192.0.2.0/24", &asn(number, "Example"));
    for n in 0..networks {
        let network = format!("10.{}.{}.0/24", n >> 8, n & 255);
        writer.insert(&network, &asn(number, &format!("Example {n}")));
    }
    writer.finish()
}

#[test]
fn a_replaced_file_is_noticed_and_a_broken_one_refused() {
    let folder = Folder::new("replace");
    let path = folder.file("asn.mmdb", small(1, 0));
    let watch = Watch::of(&path);
    // the names of the first are read once the thread runs, those of the others before they are used
    let generation = |expected| wait_for(NOTICED, || watch.databases.generation() == expected);
    assert!(generation(1), "the names of the first");
    assert_eq!(
        (watch.asn("192.0.2.1"), watch.databases.build_times()),
        (1, vec![("asn", 1)])
    );

    folder.replace(&path, small(2, 10));
    assert!(wait_for(NOTICED, || watch.asn("192.0.2.1") == 2));
    assert!(generation(2), "{}", watch.databases.generation());
    assert_eq!(watch.databases.build_times(), [("asn", 2)]);

    folder.replace(&path, &small(3, 10)[..200]);
    assert!(wait_for(NOTICED, || watch.errors() == 1), "it is counted");
    thread::sleep(Duration::from_millis(2500));
    assert_eq!((watch.errors(), watch.asn("192.0.2.1")), (1, 2), "once");

    fs::remove_file(&path).unwrap();
    assert!(
        wait_for(NOTICED, || watch.errors() == 2),
        "one that has gone too"
    );
    assert_eq!(watch.asn("192.0.2.1"), 2);

    folder.file("asn.mmdb", small(4, 0));
    assert!(wait_for(NOTICED, || watch.asn("192.0.2.1") == 4));
    assert!(generation(3), "{}", watch.databases.generation());
    assert_eq!(watch.errors(), 2);
}

#[test]
fn lookups_go_on_while_files_are_replaced() {
    let folder = Folder::new("load");
    let path = folder.file("asn.mmdb", small(1, 5000));
    let watch = Watch::of(&path);
    let done = AtomicBool::new(false);
    let seen = [const { AtomicU32::new(0) }; 2];
    thread::scope(|scope| {
        for seen in &seen {
            let (watch, done) = (&watch, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    // each database is of one piece
                    let database = watch.databases.get(DatabaseKind::Asn).unwrap();
                    let number = asn_of(&database, "192.0.2.1").0;
                    for n in 0..100 {
                        assert_eq!(asn_of(&database, &format!("10.{}.3.4", n % 19)).0, number);
                    }
                    seen.store(number, Ordering::Relaxed);
                }
            });
        }
        // both readers look up in each database before the next replaces it
        let mut missed = Vec::new();
        for number in 1..=4 {
            if number > 1 {
                folder.replace(&path, small(number, 5000));
            }
            let by_all = || seen.iter().all(|s| s.load(Ordering::Relaxed) == number);
            if !wait_for(NOTICED, by_all) {
                missed.push(number);
            }
        }
        // the readers end before a panic here waits for them
        done.store(true, Ordering::Relaxed);
        assert!(missed.is_empty(), "{missed:?}");
    });
    assert_eq!(watch.errors(), 0);
}

// In a process of its own

const ROLE: &str = "RFM_TEST_ROLE";
const FILE: &str = "RFM_TEST_FILE";

/// The test `name` of this binary once more, as `role`.
fn child(name: &str, role: &str, file: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture"])
        .env(ROLE, role)
        .env(FILE, file)
        .stdout(Stdio::null());
    command
}

/// `None` in the test itself.
fn role() -> Option<(String, PathBuf)> {
    let role = std::env::var(ROLE).ok()?;
    Some((role, std::env::var_os(FILE)?.into()))
}

/// Looks up all the time until the file says "end".
fn look_up_until_the_end(path: &Path) {
    let watch = Watch::of(path);
    let start = Instant::now();
    fs::write(path.with_extension("ready"), "").unwrap();
    while fs::read(path.with_extension("end")).is_err() {
        for n in 0..5000 {
            assert_eq!(watch.asn(&format!("10.{}.{}.1", n >> 8, n & 255)), 1);
        }
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    assert!(watch.errors() > 0, "the cut is noticed");
}

/// What would become of a plain map.
fn touch_a_plain_map(path: &Path) {
    let file = fs::File::open(path).unwrap();
    // SAFETY: that the file is cut below the map is the point: it ends this process by SIGBUS.
    let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
    fs::write(path.with_extension("ready"), "").unwrap();
    while fs::read(path.with_extension("end")).is_err() {
        let sum: u64 = map.iter().map(|&byte| u64::from(byte)).sum();
        assert!(sum > 0);
    }
}

#[test]
fn a_file_cut_short_under_its_lookups_ends_nobody() {
    use std::os::unix::process::ExitStatusExt;
    const NAME: &str = "a_file_cut_short_under_its_lookups_ends_nobody";
    const SIGBUS: i32 = 7;
    match role() {
        Some((role, path)) if role == "plain" => return touch_a_plain_map(&path),
        Some((_, path)) => return look_up_until_the_end(&path),
        None => {}
    }
    for (role, signal) in [("plain", Some(SIGBUS)), ("copy", None)] {
        let folder = Folder::new(role);
        let path = folder.file("asn.mmdb", small(1, 5000));
        let mut child = child(NAME, role, &path).spawn().unwrap();
        let ready = || path.with_extension("ready").exists();
        assert!(wait_for(Duration::from_secs(20), ready), "{role}");
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        thread::sleep(Duration::from_secs(4));
        fs::write(path.with_extension("end"), "").unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), signal, "{role}: {status}");
        assert!(signal.is_some() || status.success(), "{role}: {status}");
    }
}

/// Bytes of a line of /proc/self/status.
fn memory(line: &str) -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    let kibibytes = line
        .trim_start_matches(':')
        .trim()
        .strip_suffix(" kB")
        .unwrap();
    kibibytes.parse::<i64>().unwrap() * 1024
}

/// 170,000 networks: some 20 MB.
fn large() -> Vec<u8> {
    let mut writer = Writer::new(6, 32, 1);
    for n in 0..170_000 {
        let record = asn(
            n + 1,
            &format!("Organisation {n}, of which there are many like it"),
        );
        writer.insert(
            &format!("{}.{}.{}.0/24", 20 + (n >> 16), n >> 8 & 255, n & 255),
            &record,
        );
    }
    writer.finish()
}

#[test]
fn memory_does_not_grow_by_the_database() {
    const NAME: &str = "memory_does_not_grow_by_the_database";
    if let Some((_, path)) = role() {
        let before = ["RssAnon", "RssShmem", "RssFile"].map(memory);
        let mut kept = Vec::new();
        for _ in 0..3 {
            let database = open(&path, DatabaseKind::Asn);
            for n in 0..170_000u32 {
                let bits = (20 << 24) + (n << 8) + 1;
                let found = database.asn(Ipv4Addr::from_bits(bits).into()).unwrap();
                assert_eq!(found.map(|asn| asn.number), Some(n + 1));
            }
            kept.push(database);
        }
        let after = ["RssAnon", "RssShmem", "RssFile"].map(memory);
        let [anonymous, shared, file] = [0, 1, 2].map(|i| after[i] - before[i]);
        println!("anonymous {anonymous}, shared {shared}, file {file}");
        assert!(anonymous < 1 << 20 && shared == 0, "{anonymous} {shared}");
        assert!(file > 30_000_000, "the maps are there: {file}");
        return;
    }
    let bytes = large();
    assert!(
        (18_000_000..30_000_000).contains(&bytes.len()),
        "{}",
        bytes.len()
    );
    // also where the database itself lies in memory
    for parent in [env!("CARGO_TARGET_TMPDIR"), "/dev/shm"].map(Path::new) {
        if parent.is_dir() {
            let folder = Folder::below(parent, "memory");
            let path = folder.file("asn.mmdb", &bytes);
            let status = child(NAME, "memory", &path).status().unwrap();
            assert!(status.success(), "{}", parent.display());
        }
    }
}

/// The ASNs and networks of ip-location-db, if scripts/setup.sh has fetched them (`scripts/setup.sh bench`).
fn real_networks() -> Option<Vec<(Ipv4Addr, u32, u32, String)>> {
    let csv = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/ip-location-db/asn-ipv4.csv");
    let text = fs::read_to_string(csv).ok()?;
    let mut networks = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(4, ',');
        let mut next = || fields.next().expect("four fields");
        let first: Ipv4Addr = next().parse().expect("an address");
        let last: Ipv4Addr = next().parse().expect("an address");
        let asn = next().parse().expect("a number");
        let name: String = next().trim_matches('"').chars().take(80).collect();
        // a range is one network or several
        let (mut at, last) = (u64::from(first.to_bits()), u64::from(last.to_bits()));
        while at <= last {
            let aligned = if at == 0 { 32 } else { at.trailing_zeros() };
            let fits = (last - at + 1).ilog2();
            let size = aligned.min(fits);
            networks.push((Ipv4Addr::from_bits(at as u32), 32 - size, asn, name.clone()));
            at += 1 << size;
        }
    }
    Some(networks)
}

/// As many networks and ASNs as the Internet has.
fn invented_networks() -> Vec<(Ipv4Addr, u32, u32, String)> {
    let network = |n: u32| {
        let asn = 1 + n % 90_000;
        let address = Ipv4Addr::from_bits((1 << 24) + (n << 8));
        (address, 24, asn, format!("Example network {asn}"))
    };
    (0..400_000).map(network).collect()
}

/// Returns size and resident memory, in kB, of the nameless files of a folder that this process maps (proc(5), smaps).
fn mapped_copies(folder: &Path) -> (u64, u64) {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut is_copy, mut size, mut resident) = (false, 0, 0);
    for line in maps.lines() {
        let kilobytes = || -> u64 {
            let number = line.split_whitespace().nth(1);
            number.unwrap().parse().unwrap()
        };
        if line.starts_with("Size:") && is_copy {
            size += kilobytes();
        } else if line.starts_with("Rss:") && is_copy {
            resident += kilobytes();
        } else if line
            .split_whitespace()
            .next()
            .is_some_and(|word| word.contains('-'))
        {
            is_copy = line.contains(folder.to_str().unwrap()) && line.ends_with("(deleted)");
        }
    }
    (size, resident)
}

#[test]
fn a_full_database_names_every_as_in_little_memory() {
    let networks = real_networks().unwrap_or_else(|| {
        println!("with invented networks: scripts/setup.sh bench fetches real ones");
        invented_networks()
    });
    let mut writer = Writer::new(6, 28, 1);
    let mut expected: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for (address, length, number, name) in &networks {
        writer.insert(&format!("{address}/{length}"), &asn(*number, name));
        if *number > 0 && !name.is_empty() {
            expected.entry(*number).or_default().insert(name);
        }
    }
    let folder = Folder::new("full");
    let path = folder.file("asn.mmdb", writer.finish());
    let database = open(&path, DatabaseKind::Asn);
    assert_eq!(database.asn_name(13_335), None, "there is no index yet");
    let start = Instant::now();
    let named = database.index(&|| {}).unwrap();
    println!(
        "{} networks, {named} ASNs, {:?}, {} bytes",
        networks.len(),
        start.elapsed(),
        database.index_bytes()
    );
    assert_eq!(named, expected.len());
    assert!(named > 70_000, "{named}");
    assert!(database.index_bytes() <= 12 * named);
    let (size, resident) = mapped_copies(&folder.0);
    assert!(
        size > 0 && resident <= size / 10,
        "{resident} of {size} kB are resident"
    );
    for (number, names) in &expected {
        let found = database.asn_name(*number);
        assert!(
            found.is_some_and(|found| names.contains(found)),
            "{number}: {found:?}"
        );
    }
    assert_eq!(database.asn_name(4_200_000_000), None);
}
