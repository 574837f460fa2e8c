// SPDX-License-Identifier: AGPL-3.0-only
//! The agent as a service: what it tells the service manager, with how few rights it runs, and the unit.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::accounting::{SETTLED, seen_ip, settle_totals};
use common::agent::{Agent, EXACT, config};
use common::lab::{Lab, Namespace, can_run, run, try_run, wait_for};
use common::metrics::Metrics;
use common::packet::Sender;
use common::traffic::send_burst;
use rustix::process::Signal;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/rfm.service");

#[test]
fn the_service_manager_is_told() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let path = lab.path("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(SETTLED)).expect("a timeout");
    let mut heard = Vec::new();
    let mut wait_for_message = |start: &str| {
        let mut buffer = [0; 1024];
        loop {
            let length = manager.recv(&mut buffer);
            let length = length.unwrap_or_else(|e| panic!("no {start}: {e}: {heard:?}"));
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            if heard
                .last()
                .is_some_and(|message| message.starts_with(start))
            {
                return heard.clone();
            }
        }
    };
    let socket = path.to_str().expect("a path in UTF-8");
    let environment = [("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "900000")];
    let toml = config(r#"["v.*"]"#, EXACT);
    let agent = Agent::start_with(&lab, &namespace, &toml, &environment);
    let heard = wait_for_message("READY=1");
    assert!(
        !heard.iter().any(|m| m.starts_with("STOPPING")),
        "{heard:?}"
    );
    wait_for_message("STATUS=watching 2 interfaces, 1 in 1 packets sampled");
    for _ in 0..3 {
        wait_for_message("WATCHDOG=1");
    }
    lab.file("rfm.toml", &toml.replace("rate = 1", "rate = 9"));
    agent.signal(Signal::HUP);
    wait_for_message("RELOADING=1\nMONOTONIC_USEC=");
    wait_for_message("READY=1");
    wait_for_message("STATUS=watching 2 interfaces, 1 in 9 packets sampled");
    lab.file("rfm.toml", "broken");
    agent.signal(Signal::HUP);
    wait_for_message("READY=1");
    wait_for_message(
        "STATUS=watching 2 interfaces, 1 in 9 packets sampled; the configuration file",
    );
    agent.signal(Signal::TERM);
    wait_for_message("STOPPING=1");
    agent.stop();
}

/// Of each thread, the fields of its status that tell what it may do.
/// Receives what the agent sends to the service manager, with the time.
fn listen(manager: UnixDatagram, stop: &AtomicBool) -> Vec<(Instant, String)> {
    let mut heard = Vec::new();
    let mut buffer = [0; 1024];
    let nap = Some(Duration::from_millis(100));
    manager.set_read_timeout(nap).expect("a timeout");
    while !stop.load(Ordering::Relaxed) {
        if let Ok(length) = manager.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            heard.push((Instant::now(), text));
        }
    }
    heard
}

/// The kernel attaches and detaches one hook after the other, about 10 ms each. With some thousands of interfaces that
/// is longer than the unit's limits, which must end only an agent that is stuck.
#[test]
fn many_interfaces_need_not_fear_the_limits_of_the_unit() {
    const PAIRS: usize = 75;
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("m");
    let links = (0..PAIRS).map(|n| format!("link add a{n} type veth peer name b{n}\n"));
    let batch = lab.file("links", &links.collect::<String>());
    namespace.ip(&format!("-batch {}", batch.display()));
    let path = lab.path("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let socket = path.to_str().expect("a path in UTF-8");
    let stop = AtomicBool::new(false);
    let (start, ended, heard) = thread::scope(|scope| {
        let listener = scope.spawn(|| listen(manager, &stop));
        let start = Instant::now();
        let toml = config(r#"["[ab].*"]"#, EXACT);
        let environment = [("NOTIFY_SOCKET", socket)];
        let agent = Agent::start_with(&lab, &namespace, &toml, &environment);
        // the main thread reports readiness right after /healthz, which the start waits for
        thread::sleep(Duration::from_secs(1));
        agent.stop();
        let ended = Instant::now();
        stop.store(true, Ordering::Relaxed);
        (start, ended, listener.join().expect("it listens"))
    });
    let time = |begin: &str| {
        let message = heard.iter().find(|(_, text)| text.starts_with(begin));
        message.unwrap_or_else(|| panic!("no {begin}: {heard:?}")).0
    };
    let (ready, stopping) = (time("READY=1"), time("STOPPING=1"));
    for (phase, begin, end) in [("start", start, ready), ("stop", stopping, ended)] {
        let within = |(at, text): &&(Instant, String)| {
            text == "EXTEND_TIMEOUT_USEC=30000000" && *at > begin && *at <= end
        };
        let requests = heard.iter().filter(within).count();
        let took = end - begin;
        println!(
            "{phase} of {} interfaces: {took:?}, {requests} requests for time",
            2 * PAIRS
        );
        // the first comes after a second
        let expected = took.as_secs().saturating_sub(1) as usize;
        assert!(
            requests >= expected,
            "{phase}: {requests} requests in {took:?}"
        );
    }
}

fn rights(agent: &Agent) -> BTreeMap<String, Vec<String>> {
    let folder = format!("/proc/{}/task", agent.pid());
    let tasks = fs::read_dir(folder).expect("the agent runs");
    let of_task = |path: &Path| {
        let status = fs::read_to_string(path.join("status")).expect("a thread");
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let names = [
            "CapEff:",
            "CapPrm:",
            "CapInh:",
            "CapAmb:",
            "NoNewPrivs:",
            "Seccomp:",
        ];
        (field("Name:"), names.map(field).to_vec())
    };
    tasks
        .map(|task| of_task(&task.expect("an entry").path()))
        .collect()
}

/// CAP_NET_ADMIN (12), CAP_PERFMON (38) and CAP_BPF (39).
fn expected_rights() -> Vec<String> {
    let kept = format!("{:016x}", 1_u64 << 12 | 1 << 38 | 1 << 39);
    let none = "0".repeat(16);
    [&*kept, &kept, &none, &none, "1", "2"]
        .map(str::to_owned)
        .to_vec()
}

/// With few rights it attaches what comes later, reads its file again, and stops cleanly.
fn works_on(lab: &Lab, namespace: &Namespace, agent: &Agent) {
    let few = || rights(agent).values().all(|r| *r == expected_rights());
    assert!(wait_for(SETTLED, few), "{:?}", rights(agent));
    namespace.ip("link add late0 type veth peer name far0");
    namespace.ip("link set late0 up");
    namespace.ip("link set far0 up");
    let labels = [("ifname", "late0"), ("attach", "tcx")];
    let attached = |m: &Metrics| m.get("rfm_interface_info", &labels).is_some();
    assert!(agent.scrape_until(SETTLED, attached).1, "{}", agent.log());
    namespace.inside(|| send_burst(&Sender::new("late0").expect("a packet socket"), 20));
    let sent = |m: &Metrics| seen_ip(m, "late0", "egress").packets == 20;
    assert!(agent.scrape_until(SETTLED, sent).1);
    settle_totals(agent);
    let prefix = "[[agent.enrich.prefix]]\nprefix = \"10.0.0.0/8\"\nasn = 1\n";
    let toml = config(r#"["late0"]"#, EXACT) + prefix;
    let file = lab.file("rfm.toml", &toml);
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).expect("a file of ours");
    agent.signal(Signal::HUP);
    let gone = |m: &Metrics| m.get("rfm_interface_info", &[("ifname", "v0")]).is_none();
    assert!(agent.scrape_until(SETTLED, gone).1, "{}", agent.log());
    assert!(
        !agent.log().contains("without this restriction"),
        "{}",
        agent.log()
    );
}

#[test]
fn root_keeps_what_attaching_needs() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let agent = Agent::start(&lab, &namespace, &config(r#"["v0", "late0"]"#, EXACT));
    works_on(&lab, &namespace, &agent);
    agent.stop();
}

#[test]
fn another_user_with_three_capabilities_does_as_well() {
    if !can_run(&["ip", "sysctl", "setpriv"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let own = "--reuid=65534 --regid=65534 --clear-groups --no-new-privs";
    let caps = "+bpf,+net_admin,+perfmon";
    let (inherit, ambient) = (
        format!("--inh-caps=-all,{caps}"),
        format!("--ambient-caps=-all,{caps}"),
    );
    let mut words = vec!["setpriv"];
    words.extend(own.split(' '));
    words.extend([&*inherit, &*ambient]);
    let toml = config(r#"["v0", "late0"]"#, EXACT);
    let agent = Agent::start_under(&lab, &namespace, &toml, &words);
    works_on(&lab, &namespace, &agent);
    agent.stop();
}

#[test]
fn the_unit_is_in_order_and_tight() {
    if !can_run(&["systemd-analyze"]) {
        return;
    }
    // its program need not be installed here
    let lab = Lab::new();
    let unit = fs::read_to_string(UNIT).expect("the unit");
    let unit = unit.replace("/usr/bin/rfm", env!("CARGO_BIN_EXE_rfm"));
    let file = lab.file("rfm.service", &unit);
    // nor its man pages
    let mut verify = Command::new("systemd-analyze");
    let output = try_run(verify.args(["verify", "--man=no"]).arg(&file));
    // it says what it does not know, and ends well all the same
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    // two descriptors for each of 65,535 interfaces, and more
    let limit = unit.lines().find_map(|l| l.strip_prefix("LimitNOFILE="));
    let limit: u32 = limit
        .and_then(|text| text.parse().ok())
        .expect("LimitNOFILE");
    assert!(limit > 3 * 65_535, "{limit}");
    let said = run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=17"])
        .arg(&file));
    let line = said.lines().last().unwrap_or_default();
    println!("{line}");
    assert!(line.contains("exposure level"), "{said}");
}

/// Runs a maintainer script on a copy of the folders that the service leaves as a dynamic user; returns what is left.
fn left_after(script: &str, argument: &str) -> Vec<String> {
    let lab = Lab::among_others();
    let root = lab.path("root");
    for folder in ["lib", "cache"] {
        let var = root.join("var").join(folder);
        let private = var.join("private/rfm");
        fs::create_dir_all(&private).expect("a folder");
        fs::write(private.join("firewall"), "rules").expect("a file");
        symlink("private/rfm", var.join("rfm")).expect("a link");
        fs::create_dir_all(var.join("private/other")).expect("a folder");
    }
    // rpm runs its scripts in a chroot; dpkg may set DPKG_ROOT instead
    let text = fs::read_to_string(script).expect("a script");
    let text = text.replace("\"/var", &format!("\"{}/var", root.display()));
    // nothing outside of the copy may change
    let tools = lab.path("tools");
    fs::create_dir(&tools).expect("a folder");
    for tool in ["systemctl", "rmdir"] {
        symlink("/bin/true", tools.join(tool)).expect("a link");
    }
    run(Command::new("sh")
        .args(["-c", &text, "script", argument])
        .env("PATH", format!("{}:/usr/bin:/bin", tools.display()))
        .env("DPKG_ROOT", &root));
    let found = run(Command::new("find").arg(&root).args(["-name", "rfm"]));
    found.lines().map(str::to_owned).collect()
}

#[test]
fn purge_removes_the_state_of_a_dynamic_user() {
    const DEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/debian/postrm");
    const RPM: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/rpm/post-uninstall.sh"
    );
    assert_eq!(left_after(DEB, "remove").len(), 4);
    assert_eq!(left_after(DEB, "upgrade").len(), 4);
    assert_eq!(left_after(DEB, "purge"), [""; 0]);
    assert_eq!(left_after(RPM, "1").len(), 4);
    assert_eq!(left_after(RPM, "0"), [""; 0]);
}

#[test]
fn the_exit_codes_tell_how_it_ended() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    for signal in [Signal::TERM, Signal::INT] {
        let agent = Agent::start(&lab, &namespace, &config(r#"["v0"]"#, EXACT));
        let took = agent.stop_by(signal);
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
}
