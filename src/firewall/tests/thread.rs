// SPDX-License-Identifier: AGPL-3.0-only
//! Tests of the thread by itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Fake, rules};
use crate::firewall::allowlist::SshPeer;
use crate::firewall::handle::{Edit, FirewallError, FirewallSettings, Handle, Requester};
use crate::firewall::thread::{Blackholes, Worker, WorkerParams};
use crate::netlink::LinkEvents;
use crate::sys::error_counters::{ErrorCounters, Subsystem};
use crate::sys::threads::Threads;
use crate::types::interface_pattern::Patterns;
use crate::types::prefix::Prefix;
use crate::types::rule::{Action, RuleId};

const LIMIT: Duration = Duration::from_secs(5);

/// A thread firewall without interfaces; it ends with the test.
struct Fixture {
    backend: Fake,
    handle: Handle,
    errors: Arc<ErrorCounters>,
    threads: Threads,
}

fn settings(lines: &[&str]) -> FirewallSettings {
    FirewallSettings {
        patterns: Patterns::new(Vec::new(), Vec::new()),
        rules: rules(lines),
        allow: Vec::new(),
        // these tests must not depend on the addresses of the machine
        allow_own: false,
        blackhole_action: Action::Drop,
    }
}

impl Fixture {
    fn new(settings: FirewallSettings) -> Self {
        Self::with(settings, PathBuf::new(), None)
    }

    fn with(
        settings: FirewallSettings,
        state_file: PathBuf,
        blackholes: Option<Box<dyn Blackholes>>,
    ) -> Self {
        Self::with_kernel(Fake::default(), settings, state_file, blackholes)
    }

    fn with_kernel(
        backend: Fake,
        settings: FirewallSettings,
        state_file: PathBuf,
        blackholes: Option<Box<dyn Blackholes>>,
    ) -> Self {
        let errors = Arc::new(ErrorCounters::default());
        let (handle, inbox) = Handle::new().unwrap();
        let start = WorkerParams {
            backend: Box::new(backend.clone()),
            settings,
            state_file,
            events: LinkEvents::open(errors.clone()).unwrap(),
            links: Vec::new(),
            peers: Box::new(BTreeSet::new),
            blackholes,
            source_check: None,
            export_sender: None,
            errors: errors.clone(),
        };
        let worker = Worker::new(start, inbox).unwrap();
        let threads = Threads::new();
        threads
            .spawn("firewall", move |heartbeat| worker.run(&heartbeat))
            .unwrap();
        Self {
            backend,
            handle,
            errors,
            threads,
        }
    }

    fn add(&self, lines: &[&str]) -> Result<Vec<RuleId>, FirewallError> {
        self.add_as(lines, Requester::default())
    }

    fn add_as(&self, lines: &[&str], requester: Requester) -> Result<Vec<RuleId>, FirewallError> {
        let edit = Edit::Add {
            rules: rules(lines),
            replace: false,
        };
        self.handle.edit(edit, requester).map(|edited| edited.added)
    }

    fn wait_for_ids(&self, expected: &[u64]) {
        let deadline = Instant::now() + LIMIT;
        while self.backend.ids() != expected && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.backend.ids(), expected);
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.handle.end();
        self.threads.stop("firewall");
    }
}

#[test]
fn a_change_is_in_force_when_it_is_answered() {
    let fixture = Fixture::new(settings(&["--src ::1"]));
    assert_eq!(fixture.backend.ids(), [1], "before the thread began");
    assert_eq!(
        fixture.add(&["--src ::2", "--src ::3"]),
        Ok(vec![RuleId(2), RuleId(3)])
    );
    assert_eq!(fixture.backend.ids(), [2, 3, 1]);
    fixture
        .handle
        .edit(Edit::Remove(vec![RuleId(2)]), Requester::default())
        .unwrap();
    assert_eq!(fixture.backend.ids(), [3, 1]);
    fixture.handle.change(settings(&["--src ::4"])).unwrap();
    assert_eq!(fixture.backend.ids(), [3, 4]);
    let edited = fixture
        .handle
        .edit(Edit::Flush, Requester::default())
        .unwrap();
    assert_eq!((edited.removed, fixture.backend.ids()), (1, vec![4]));
    let listing = fixture.handle.list(0, 10).unwrap();
    assert_eq!((listing.total, listing.rules[0].id), (1, RuleId(4)));
}

#[test]
fn what_the_kernel_refuses_changes_nothing() {
    let fixture = Fixture::new(settings(&["--src ::1"]));
    fixture.backend.refuse(Some("no memory"));
    assert_eq!(
        fixture.add(&["--src ::2"]),
        Err(FirewallError::new("no memory"))
    );
    let error = fixture.handle.change(settings(&[])).unwrap_err();
    assert_eq!(error.why, "no memory");
    fixture.backend.refuse(None);
    assert_eq!(fixture.handle.list(0, 10).unwrap().total, 1);
    assert_eq!(
        fixture.add(&["--src ::2"]),
        Ok(vec![RuleId(2)]),
        "its number was not used"
    );
    assert_eq!(fixture.backend.ids(), [2, 1]);
}

#[test]
fn rules_end_on_time_even_where_the_kernel_refuses_for_a_while() {
    let fixture = Fixture::new(settings(&["--src ::1 --ttl 1s"]));
    fixture.add(&["--src ::2 --ttl 1s", "--src ::3"]).unwrap();
    assert_eq!(fixture.backend.ids(), [2, 3, 1]);
    fixture.backend.refuse(Some("no memory"));
    std::thread::sleep(Duration::from_millis(1500));
    assert!(fixture.errors.get(Subsystem::Firewall) > 0);
    fixture.backend.refuse(None);
    fixture.wait_for_ids(&[3]);
}

#[test]
fn who_would_lock_himself_out_must_insist() {
    let fixture = Fixture::new(settings(&[]));
    let requester = Requester {
        caller: SshPeer::parse("192.0.2.7 51234 198.51.100.1 22"),
        force: false,
    };
    let forced = Requester {
        force: true,
        ..requester
    };
    let add = |line: &str, requester| fixture.add_as(&[line], requester);
    assert!(add("--src 203.0.113.0/24", requester).is_ok());
    let refusal = add("--src 192.0.2.0/24", requester).unwrap_err();
    assert!(refusal.needs_force);
    assert!(
        refusal
            .why
            .contains("your own SSH connection from 192.0.2.7"),
        "{refusal:?}"
    );
    let pass = add("--src 192.0.2.7 --action pass", requester).unwrap();
    add("--src 192.0.2.0/24", requester).unwrap();
    // now only this rule keeps the connection open
    let remove = || Edit::Remove(pass.clone());
    assert!(
        fixture
            .handle
            .edit(remove(), requester)
            .unwrap_err()
            .needs_force
    );
    fixture.handle.edit(remove(), forced).unwrap();
    add("--src 192.0.2.7 --action drop", requester).expect("stopped already");

    let refusal = fixture.add(&["--action drop"]).unwrap_err();
    assert!(
        refusal.needs_force && refusal.why.contains("drop ALL traffic"),
        "{refusal:?}"
    );
    fixture.add(&["--action count"]).unwrap();
    add("--action drop --interface eth0", forced).unwrap();
}

#[test]
fn the_state_file_brings_rules_back() {
    let folder = std::env::temp_dir().join(format!("rfm-firewall-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("state");
    let start = || Fixture::with(settings(&["--src ::1"]), file.clone(), None);
    {
        let fixture = start();
        fixture
            .add(&["--src ::2 --ttl 1h", "--src ::3", "--src ::4 --ttl 1s"])
            .unwrap();
    }
    std::thread::sleep(Duration::from_millis(2100));
    {
        let fixture = start();
        assert_eq!(fixture.backend.ids(), [2, 3, 1]);
        let left = fixture.handle.list(0, 1).unwrap().rules[0].left.unwrap();
        assert!(left > Duration::from_secs(3590) && left < Duration::from_secs(3600));
        assert_eq!(fixture.add(&["--src ::5"]).unwrap(), [RuleId(4)]);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// A folder for a state file; removed at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = format!("rfm-firewall-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(folder);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn wait_until(yes: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + LIMIT;
    while !yes() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    yes()
}

#[test]
fn a_save_that_failed_is_tried_again_and_is_a_problem_until_then() {
    let folder = Folder::new("again");
    let fixture = Fixture::with(settings(&[]), folder.state(), None);
    assert_eq!(fixture.handle.problem(), None);
    // no space, no permission, no folder: the thread handles all of them alike
    fs::create_dir(folder.state()).unwrap();
    fixture.add(&["--src ::2"]).unwrap();
    assert!(wait_until(|| fixture.handle.problem().is_some()));
    let problem = fixture.handle.problem().unwrap();
    assert!(
        problem.contains("agent.firewall.state_file: cannot save the rules to"),
        "{problem}"
    );
    assert!(fixture.errors.get(Subsystem::Firewall) > 0);
    fs::remove_dir(folder.state()).unwrap();
    assert!(wait_until(|| fixture.handle.problem().is_none()));
    let saved = fs::read_to_string(folder.state()).unwrap();
    assert!(saved.contains("--src ::2/128"), "{saved}");
    // the agent makes the last attempt when it ends
    fs::remove_file(folder.state()).unwrap();
    fs::create_dir(folder.state()).unwrap();
    fixture.add(&["--src ::3"]).unwrap();
    assert!(wait_until(|| fixture.handle.problem().is_some()));
    fs::remove_dir(folder.state()).unwrap();
    drop(fixture);
    let saved = fs::read_to_string(folder.state()).unwrap();
    assert!(saved.contains("--src ::3/128"), "{saved}");
}

#[test]
fn a_state_file_that_cannot_be_read_ends_nothing() {
    let good = b"--id 7 --action drop --src ::2/128\n";
    let folder = Folder::new("unreadable");
    let start = || Fixture::with(settings(&["--src ::1"]), folder.state(), None);

    fs::write(folder.state(), [b"# \xff\n\xfe\n", &good[..]].concat()).unwrap();
    let fixture = start();
    assert_eq!(fixture.backend.ids(), [7, 1]);
    assert!(wait_until(|| folder.0.join("state.bad").exists()));
    let is_clean = || fs::read(folder.state()).is_ok_and(|bytes| !bytes.contains(&0xfe));
    assert!(wait_until(is_clean));
    let kept = fs::read(folder.0.join("state.bad")).unwrap();
    assert!(kept.contains(&0xfe) && fixture.handle.problem().is_none());
    drop(fixture);
    fs::remove_file(folder.state()).unwrap();

    fs::create_dir(folder.state()).unwrap();
    let fixture = start();
    assert_eq!(fixture.backend.ids(), [1]);
    let problem = fixture.handle.problem().unwrap();
    assert!(problem.contains("expected a regular file"), "{problem}");
    drop(fixture);
    fs::remove_dir(folder.state()).unwrap();

    let path = folder.state();
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: the path is a string that ends in NUL and outlives the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let fixture = start();
    assert!(fixture.handle.problem().is_some());
    // the next rule replaces it by a file
    fixture.add(&["--src ::3"]).unwrap();
    assert!(wait_until(|| fixture.handle.problem().is_none()));
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

/// The state file has more rules than the kernel accepts together with those of the configuration.
#[test]
fn restored_rules_that_the_kernel_refuses_end_nothing() {
    let folder = Folder::new("refused");
    let text = "--id 7 --action drop --src ::2/128\n";
    fs::write(folder.state(), text).unwrap();
    let backend = Fake::default();
    backend.with(|state| state.most_rules = Some(1));
    let fixture = Fixture::with_kernel(backend, settings(&["--src ::1"]), folder.state(), None);
    assert_eq!(fixture.backend.ids(), [1]);
    assert!(wait_until(|| folder.0.join("state.bad").exists()));
    let kept = fs::read_to_string(folder.0.join("state.bad")).unwrap();
    assert_eq!(kept, text);
}

type Snapshot = (u64, Vec<Prefix>);

/// Prefixes that a test sets.
struct Routes {
    prefixes: Arc<Mutex<Snapshot>>,
    changed: Receiver<()>,
}

impl Routes {
    fn new() -> (Self, Arc<Mutex<Snapshot>>, Sender<()>) {
        let (wake, changed) = bounded(1);
        let prefixes: Arc<Mutex<Snapshot>> = Arc::default();
        let routes = Self {
            prefixes: prefixes.clone(),
            changed,
        };
        (routes, prefixes, wake)
    }
}

impl Blackholes for Routes {
    fn snapshot(&self) -> Snapshot {
        self.prefixes.lock().unwrap().clone()
    }

    fn changed(&self) -> Receiver<()> {
        self.changed.clone()
    }
}

#[test]
fn blackholes_come_and_go_within_a_second() {
    let (routes, prefixes, wake) = Routes::new();
    let fixture = Fixture::with(
        settings(&["--src ::1"]),
        PathBuf::new(),
        Some(Box::new(routes)),
    );
    let set = |generation, texts: &[&str]| {
        let all = texts.iter().map(|text| text.parse().unwrap()).collect();
        *prefixes.lock().unwrap() = (generation, all);
        let _ = wake.try_send(());
        Instant::now()
    };
    let since = set(1, &["192.0.2.1", "2001:db8::/48"]);
    fixture.wait_for_ids(&[1, 2, 3]);
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "{:?}",
        since.elapsed()
    );
    fixture.backend.count(2, 7);
    let since = set(2, &["2001:db8::/48"]);
    fixture.wait_for_ids(&[1, 3]);
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "{:?}",
        since.elapsed()
    );
    let report = fixture.handle.report(LIMIT).unwrap();
    let series = report
        .series
        .iter()
        .find(|s| s.rule == "blackhole")
        .unwrap();
    assert_eq!(
        (series.action, series.packets),
        ("drop", 7),
        "what it counted stays"
    );
}

/// Each change of a large rule set costs time. A route that is announced and withdrawn all the time uses only a
/// limited share of the CPU, and the last change is in effect soon after.
#[test]
fn a_route_that_flaps_among_many_rules_costs_a_share_of_a_cpu() {
    let (routes, prefixes, wake) = Routes::new();
    let fixture = Fixture::with(
        settings(&["--src ::1"]),
        PathBuf::new(),
        Some(Box::new(routes)),
    );
    fixture
        .backend
        .with(|state| state.takes = Duration::from_millis(150));
    let before = fixture.backend.with(|state| state.replaced);
    let start = Instant::now();
    let mut generation = 0;
    while start.elapsed() < Duration::from_secs(3) {
        generation += 1;
        let hole = (generation % 2 == 0).then(|| "192.0.2.1".parse().unwrap());
        *prefixes.lock().unwrap() = (generation, hole.into_iter().collect());
        let _ = wake.try_send(());
        std::thread::sleep(Duration::from_millis(20));
    }
    let steps = fixture.backend.with(|state| state.replaced) - before;
    // 150 ms of work, 600 of rest
    assert!((1..=5).contains(&steps), "{steps}");
    *prefixes.lock().unwrap() = (generation + 1, vec!["192.0.2.9".parse().unwrap()]);
    let _ = wake.try_send(());
    assert!(wait_until(|| fixture.backend.ids().len() == 2));
    // a command does not wait for that
    let start = Instant::now();
    fixture.add(&["--src ::2"]).unwrap();
    assert!(start.elapsed() < Duration::from_millis(500));
}

#[test]
fn many_who_ask_at_once_are_all_answered() {
    let fixture = Fixture::new(settings(&[]));
    std::thread::scope(|scope| {
        for n in 1..=8 {
            let fixture = &fixture;
            scope.spawn(move || fixture.add(&[&format!("--src ::{n}")]).unwrap());
        }
    });
    assert_eq!(fixture.backend.ids().len(), 8);
    let replaced = fixture.backend.with(|state| state.replaced);
    assert!(replaced <= 9, "{replaced}");
}
