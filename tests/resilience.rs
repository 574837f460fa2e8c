// SPDX-License-Identifier: AGPL-3.0-only
//! The agent among broken clients, at rest, refused a start, and told to end.

mod common;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::accounting::{Count, SETTLED, settle};
use common::agent::{Agent, EXACT, PORT, config, http_get, refused};
use common::http::raise_descriptor_limit;
use common::lab::{Lab, can_run, end, wait_for};
use common::metrics::Metrics;
use common::packet::Sender;
use common::traffic::{Other, meanwhile, small_frame};
use rustix::process::{Pid, Signal, kill_process};

const BOTH: &str = r#"["v0", "v1"]"#;

// Broken clients

/// Connects to the agent; this thread is in its namespace.
fn client() -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).expect("it listens");
    let timeout = Some(Duration::from_secs(1));
    stream.set_write_timeout(timeout).expect("a timeout");
    stream
}

/// Sends what the server takes: it may close at any time.
fn send(mut stream: &TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// Requests that never end, a byte now and then.
fn slow_clients(stop: &AtomicBool) {
    let streams: Vec<TcpStream> = (0..20).map(|_| client()).collect();
    for byte in b"GET /metrics HTTP/1.1\r\nX: "
        .iter()
        .chain([b'x'; 1_000].iter())
    {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        streams.iter().for_each(|stream| send(stream, &[*byte]));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Headers a hundred times larger than the limit.
fn huge_headers(stop: &AtomicBool) {
    let huge = format!(
        "GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 21)
    );
    while !stop.load(Ordering::Relaxed) {
        send(&client(), huge.as_bytes());
    }
}

/// Half a request and no more; half a connection; a request whose answer nobody reads.
fn half_open_clients(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let streams: Vec<TcpStream> = (0..30).map(|_| client()).collect();
        for (i, stream) in streams.iter().enumerate() {
            match i % 3 {
                0 => send(stream, b"GET /metr"),
                1 => drop(stream.shutdown(Shutdown::Write)),
                _ => {
                    (0..20).for_each(|_| send(stream, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))
                }
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A thousand connections at once, again and again; each says something.
fn crowd(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let streams: Vec<TcpStream> = (0..1_000).map(|_| client()).collect();
        streams.iter().for_each(|stream| send(stream, b"GET"));
    }
}

/// Some 20,000 packets a second over 1,000 flows.
fn traffic(stop: &AtomicBool) {
    let sender = Sender::new("v0").expect("a packet socket");
    let frames: Vec<_> = (0..1_000).map(small_frame).collect();
    for burst in frames.chunks(100).cycle() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        for frame in burst {
            sender.send(frame, 0).expect("sent");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn broken_http_clients_stop_neither_the_exporter_nor_the_collector() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    raise_descriptor_limit(4_096);
    let lab = Lab::new();
    let namespace = lab.wire();
    let agent = Agent::start(&lab, &namespace, &config(BOTH, EXACT));
    agent.scrape();
    let memory_before = agent.resident_memory();
    let (mut grown, mut slowest, mut answers) = (0, Duration::ZERO, 0);
    let all = [
        slow_clients,
        huge_headers,
        half_open_clients,
        crowd,
        traffic,
    ];
    let inside = all.map(|other| {
        let namespace = &namespace;
        move |stop: &AtomicBool| namespace.inside(|| other(stop))
    });
    let others: Vec<Other> = inside.iter().map(|other| other as Other).collect();
    meanwhile(&others, || {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(6) {
            let answer = agent.get("/metrics");
            grown = grown.max(agent.resident_memory().saturating_sub(memory_before));
            if let Ok(reply) = answer {
                assert_eq!(reply.status, 200);
                slowest = slowest.max(reply.took);
                answers += 1;
            }
        }
    });
    let (metrics, lost) = settle(&agent, &["v0", "v1"]);
    assert_eq!(lost, Count::default());
    let packets = metrics.sum("rfm_collector_accounted_packets_total", &[]);
    let refused = metrics.sum("rfm_errors_total", &[("subsystem", "http")]);
    println!(
        "{answers} answers, slowest {slowest:?}, grew by {grown} bytes, {packets} packets, \
         {refused} http errors"
    );
    assert!(answers >= 10, "a good client had {answers} answers in 6 s");
    assert!(packets > 20_000, "hardly any traffic: {packets}");
    assert!(refused > 0, "no client was broken: no test");
    assert!(grown < 16 << 20, "grew by {grown} bytes");
    agent.stop();
}

// At rest

#[test]
fn an_idle_agent_uses_less_than_a_thousandth_of_a_core() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    const WATCHED: Duration = Duration::from_secs(10);
    // without optimisation the same work takes several times as long
    const PARTS: u32 = if cfg!(debug_assertions) { 400 } else { 1_000 };
    let lab = Lab::new();
    let namespace = lab.wire();
    let agent = Agent::start(&lab, &namespace, &config(BOTH, EXACT));
    let before = agent.cpu_time();
    let wake = cost_of_a_wake(WATCHED);
    let used = agent.cpu_time() - before;
    // on a noisy host, a thread that only sleeps takes many times the usual time for each wake
    let noise = (wake.as_secs_f64() / USUAL_WAKE.as_secs_f64()).max(1.0);
    let limit = (WATCHED / PARTS).mul_f64(noise);
    println!("{used:?} in {WATCHED:?}, {wake:?} for a wake, limit {limit:?}");
    assert!(used < limit, "{used:?} in {WATCHED:?}, limit {limit:?}");
    agent.stop();
}

/// The CPU time of a wake from half a second of sleep, on a host that is not loaded.
const USUAL_WAKE: Duration = Duration::from_micros(30);

/// Sleeps for `time` in steps of half a second, and returns the CPU time that each of them takes.
fn cost_of_a_wake(time: Duration) -> Duration {
    const STEP: Duration = Duration::from_millis(500);
    let cpu_time = || {
        let text =
            std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel counts");
        let spent = text.split(' ').next().and_then(|field| field.parse().ok());
        Duration::from_nanos(spent.expect("nanoseconds"))
    };
    let wakes = (time.as_millis() / STEP.as_millis()) as u32;
    let before = cpu_time();
    (0..wakes).for_each(|_| thread::sleep(STEP));
    (cpu_time() - before) / wakes
}

// Refused a start, and told to end

#[test]
fn a_start_without_a_matching_interface_names_those_present() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let (code, said) = refused(&lab, &namespace, &config(r#"["eth[0-9]"]"#, EXACT), &[]);
    assert_eq!(code, Some(1), "{said}");
    let expected = "agent.interfaces matches none of the interfaces present (lo, v1, v0): \
                    a pattern is for the whole name; to start without one, set \
                    agent.require_interface = false";
    assert!(said.contains(expected), "{said}");
    // and this is what happens then
    let config = config(
        r#"["eth[0-9]"]"#,
        &format!("require_interface = false\n{EXACT}"),
    );
    Agent::start(&lab, &namespace, &config).stop();
}

#[test]
fn a_start_on_a_busy_port_names_it() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let busy = namespace.inside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)));
    let _busy = busy.expect("a free port");
    let (code, said) = refused(&lab, &namespace, &config(BOTH, EXACT), &[]);
    assert_eq!(code, Some(1), "{said}");
    let expected = "agent.prometheus: port 9669 is taken, perhaps by another rfm (see: ss -ltnp 'sport = :9669')";
    assert!(said.contains(expected), "{said}");
}

/// Root without capabilities has no more rights than anybody, but may read the files of the test.
#[test]
fn a_start_without_privilege_names_what_is_missing() {
    if !can_run(&["ip", "sysctl", "setpriv"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let (code, said) = refused(&lab, &namespace, &config(BOTH, EXACT), &unprivileged);
    assert_eq!(code, Some(1), "{said}");
    let expected = "not permitted: CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN missing";
    assert!(said.contains(expected), "{said}");
}

/// Sends SIGHUP again and again from the moment at which the process no longer dies of it.
fn hang_up(pid: u32, stop: &AtomicBool) {
    const HUP: u64 = 1 << (libc::SIGHUP - 1);
    let survives = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        ["SigBlk:", "SigCgt:"].iter().any(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
            bits.is_some_and(|bits| bits & HUP != 0)
        })
    };
    while !survives() && !stop.load(Ordering::Acquire) {
        thread::yield_now();
    }
    let pid = Pid::from_raw(pid as i32).expect("a process");
    while !stop.load(Ordering::Acquire) {
        let _ = kill_process(pid, Signal::HUP);
        thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn sighup_during_the_start_is_a_reload_after_it() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let agent = Agent::start_disturbed(&lab, &namespace, &config(BOTH, EXACT), hang_up);
    let reloaded = || agent.log().contains("configuration read again");
    assert!(wait_for(SETTLED, reloaded), "{}", agent.log());
    // the verifier's EAGAIN, which would also cost the flow cache
    assert!(!agent.log().contains("temporarily"), "{}", agent.log());
    agent.stop();
}

#[test]
fn sigint_and_sigterm_end_it_soon_in_mid_traffic() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    meanwhile(&[&|stop| namespace.inside(|| traffic(stop))], || {
        for signal in [Signal::INT, Signal::TERM] {
            let agent = Agent::start(&lab, &namespace, &config(BOTH, EXACT));
            let took = agent.stop_by(signal);
            assert!(took < Duration::from_secs(3), "{signal:?}: {took:?}");
        }
    });
}

// A log that nobody reads

/// The pipe behind standard error is full from the start on. Lines are lost, and nothing else.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let (_reader, mut writer) = std::io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("a flag");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).expect("a flag");
    let text = config(r#"["v.*", "old.*", "new.*"]"#, EXACT);
    let file = lab.file("unread.toml", &text);
    let path = file.to_str().expect("a path in UTF-8");
    let mut command = namespace.command(env!("CARGO_BIN_EXE_rfm"), &["--config", path]);
    // far more lines than pipe and queue have room for
    let command = command.env("RFM_LOG", "trace").stderr(writer);
    let mut child = command.spawn().expect("a process");
    let get = |path| http_get(&namespace, PORT, path);
    let is_healthy = || get("/healthz").is_ok_and(|reply| reply.status == 200);
    let healthy = wait_for(SETTLED, is_healthy);
    // each is a line, and each end of it another
    for _ in 0..60 {
        namespace.ip("link add old0 type veth peer name old1");
        thread::sleep(Duration::from_millis(100));
        namespace.ip("link del old0");
    }
    namespace.ip("link add new0 type veth peer name new1");
    let scrape = || Metrics::parse(&get("/metrics").expect("it answers").body);
    let attached = || {
        let of = |n: &Metrics, name: &str| n.sum("rfm_interface_info", &[("ifname", name)]);
        let metrics = scrape();
        of(&metrics, "new0") == 1 && of(&metrics, "new1") == 1
    };
    let follows = wait_for(SETTLED, attached);
    let dropped = scrape().get("rfm_log_dropped_lines_total", &[]);
    // for as long as a thread that waits would take to be called unhealthy
    thread::sleep(Duration::from_secs(11));
    let still_healthy = is_healthy();
    let start = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let mut status = None;
    wait_for(Duration::from_secs(10), || {
        status = child.try_wait().expect("our own child");
        status.is_some()
    });
    end(&mut child);
    assert!(healthy && follows && still_healthy);
    assert!(dropped > Some(0.0), "{dropped:?}");
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
}
