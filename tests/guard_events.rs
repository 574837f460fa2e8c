// SPDX-License-Identifier: AGPL-3.0-only
//! Clients that follow the events of the guard, and the program that runs for each.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use common::agent::{Agent, PORT};
use common::frames::Frame;
use common::lab::{Lab, Namespace, can_run, end, mac_of, wait_for};
use common::packet::Sender;
use rfm::client::http;

/// An agent that watches `v1`, with a low threshold.
struct Fixture {
    agent: Option<Agent>,
    namespace: Namespace,
    socket: PathBuf,
    lab: Lab,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let lab = Lab::new();
        let namespace = lab.wire();
        let file = format!("rfm-events-{name}-{}.sock", std::process::id());
        let mut fixture = Self {
            agent: None,
            namespace,
            socket: std::env::temp_dir().join(file),
            lab,
        };
        fixture.start();
        fixture
    }

    fn start(&mut self) {
        let config = format!(
            "[agent]\ninterfaces = [\"v1\"]\n[agent.bpf]\nsample_rate = 1\n\
             [agent.control]\nsocket = \"{}\"\n\
             [agent.prometheus]\nhost = \"127.0.0.1\"\nport = {PORT}\n\
             [agent.guard]\nenabled = true\nprotect = [\"192.0.2.0/24\"]\nhost_packets = 100\n\
             prefix_packets = 0\n",
            self.socket.display()
        );
        self.agent = Some(Agent::start(&self.lab, &self.namespace, &config));
        // all flows are new in the first three seconds
        sleep(Duration::from_millis(3_500));
    }

    fn restart(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.stop_by(Signal::TERM);
        }
        self.start();
    }

    /// Attacks some hosts at once, until all alarms are raised.
    fn attack(&self, hosts: std::ops::Range<u8>) {
        let known = self.alarms().len();
        let count = hosts.len();
        self.namespace.inside(|| {
            let sender = Sender::new("v0").expect("a packet socket");
            let start = Instant::now();
            let mut n = 0u64;
            while self.alarms().len() < known + count {
                assert!(start.elapsed() < Duration::from_secs(5), "no alarm");
                while n < start.elapsed().as_millis() as u64 / 2 {
                    for host in hosts.clone() {
                        let from = [100, 64, (n >> 8) as u8, n as u8];
                        let frame = Frame::ethernet(mac_of("v0"), mac_of("v1"));
                        let frame = frame.ipv4(from.into(), [192, 0, 2, host].into()).udp();
                        let frame = frame.ports(123, 4_000).payload(100).build();
                        sender.send(&frame, 0).expect("sent");
                    }
                    n += 1;
                }
                sleep(Duration::from_millis(5));
            }
        });
    }

    /// All events that the agent still has.
    fn events(&self) -> Vec<Value> {
        let reply = http::get(&self.socket, "/v1/events").expect("a reply");
        let text = String::from_utf8(reply).expect("UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    fn alarms(&self) -> Vec<Value> {
        let mut events = self.events();
        events.retain(|event| event["event"] == "alarm");
        events
    }

    fn wait_for_ends(&self, count: usize) {
        let ended = || {
            let events = self.events();
            events
                .iter()
                .filter(|event| event["event"] == "end")
                .count()
                == count
        };
        assert!(
            wait_for(Duration::from_secs(15), ended),
            "{:#?}",
            self.events()
        );
    }

    fn follow(&self, query: &str) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).expect("the socket is open");
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).expect("a limit");
        let request = format!("GET /v1/events?follow=true{query} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    }

    fn watch(&self, words: &[&str], output: Stdio) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
        command
            .args(["guard", "watch", "--socket"])
            .arg(&self.socket);
        let command = command.args(words).stdout(output);
        command.spawn().expect("rfm")
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

fn number(event: &Value) -> u64 {
    event["number"].as_u64().expect("a number")
}

fn status(stream: &mut UnixStream) -> String {
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("a status");
    String::from_utf8_lossy(&head[9..]).into_owned()
}

#[test]
fn streams_have_each_event_at_once() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("stream");
    // one that never reads, one that leaves, and one that reads lines in chunks
    let mut silent = fixture.follow("&after=0");
    drop(fixture.follow(""));
    let chunked = fixture.follow("");
    sleep(Duration::from_millis(200));
    let started = Instant::now();
    fixture.attack(1..4);
    let mut lines = BufReader::new(chunked).lines().map_while(Result::ok);
    let mut alarms = lines
        .by_ref()
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .filter(|event| event["event"] == "alarm");
    for polled in fixture.alarms() {
        assert_eq!(alarms.next(), Some(polled));
    }
    // not with the next turn of the server
    assert!(started.elapsed() < Duration::from_secs(4));
    drop(alarms);
    fixture.wait_for_ends(3);
    // after the last event an empty line shows that the agent is there: a chunk of one byte
    let last = Instant::now();
    let is_empty = |line: &String| line == "1";
    assert!(lines.any(|line| is_empty(&line)), "no empty line");
    let silence = last.elapsed();
    assert!(
        (Duration::from_secs(8)..Duration::from_secs(13)).contains(&silence),
        "{silence:?}"
    );
    // six are open, of eight
    let mut more: Vec<_> = (0..6).map(|_| fixture.follow("&after=0")).collect();
    for stream in &mut more {
        assert_eq!(status(stream), "200");
    }
    let mut beyond = fixture.follow("");
    assert_eq!(status(&mut beyond), "503");
    more.pop();
    let fits = || status(&mut fixture.follow("")) == "200";
    assert!(wait_for(Duration::from_secs(2), fits));
    // all its events have waited for the silent one
    assert_eq!(status(&mut silent), "200");
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !text.contains(&format!("\"number\":{},", number(&fixture.events()[5]))) {
        let length = silent.read(&mut bytes).expect("more");
        text += &String::from_utf8_lossy(&bytes[..length]);
    }
    assert_eq!(text.matches("\"event\":\"alarm\"").count(), 3);
}

#[test]
fn a_program_runs_once_for_each_event_whatever_it_does() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let mut fixture = Fixture::new("exec");
    let folder = fixture.lab.path("events");
    fs::create_dir(&folder).expect("a folder");
    let script = fixture.lab.file(
        "guard-event",
        &format!(
            "#!/bin/sh\ncat >>{0}/$RFM_EVENT_NUMBER\n\
             echo \"$RFM_EVENT $RFM_ATTACK_TARGET\" >>{0}/$RFM_EVENT_NUMBER\n\
             case $RFM_ATTACK_TARGET in\n192.0.2.1/32) exit 3;;\n192.0.2.2/32) sleep 1000;;\nesac\n",
            folder.display()
        ),
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let words = ["--timeout", "1", "--exec", script.to_str().expect("UTF-8")];
    let log = fs::File::create(fixture.lab.path("watch.log")).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
    command
        .args(["guard", "watch", "--socket"])
        .arg(&fixture.socket);
    let mut watch = command.args(words).stderr(log).spawn().expect("rfm");
    let printed = fixture.lab.path("printed");
    let output = fs::File::create(&printed).expect("a file");
    let mut printer = fixture.watch(&["--json"], output.into());
    sleep(Duration::from_millis(500));
    fixture.attack(1..4);
    fixture.wait_for_ends(3);
    let mut all = fixture.events();
    fixture.restart();
    fixture.attack(4..6);
    all.extend(fixture.events());
    assert!(all.len() >= 8, "{all:#?}");
    let expected: BTreeMap<u64, Value> = all.iter().map(|e| (number(e), e.clone())).collect();
    assert_eq!(expected.len(), all.len(), "a number occurs twice");
    let runs = || -> BTreeMap<u64, String> {
        let files = fs::read_dir(&folder).expect("the folder");
        let files = files.map(|file| file.expect("a file").path());
        files
            .map(|path| {
                let name = path.file_name().expect("a name").to_string_lossy().parse();
                let text = fs::read_to_string(&path).expect("a text");
                (name.expect("a number"), text)
            })
            .collect()
    };
    let done = || {
        let runs = runs();
        runs.len() >= expected.len() && runs.values().all(|text| text.lines().count() == 2)
    };
    assert!(wait_for(Duration::from_secs(10), done), "{:#?}", runs());
    end(&mut watch);
    end(&mut printer);
    let runs = runs();
    assert_eq!(
        runs.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (number, text) in &runs {
        let (json, variables) = text.split_once('\n').expect("two lines");
        let event: Value = serde_json::from_str(json).expect("JSON");
        assert_eq!(event, expected[number]);
        let target = event["attack"]["target"].as_str().expect("a target");
        let name = event["event"].as_str().expect("a name");
        assert_eq!(variables.trim(), format!("{name} {target}"));
    }
    let printed = fs::read_to_string(printed).expect("a text");
    let printed = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    assert_eq!(printed.collect::<Vec<Value>>(), all);
    let log = fs::read_to_string(fixture.lab.path("watch.log")).expect("a log");
    for part in ["exit status: 3", "killed after 1 s", "connected again"] {
        assert!(log.contains(part), "{log}");
    }
}

const UNIT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/packaging/guard/rfm-guard-events.service"
);

#[test]
fn the_unit_is_valid_and_confined() {
    if !can_run(&["systemd-analyze"]) {
        return;
    }
    let lab = Lab::new();
    let text = fs::read_to_string(UNIT).expect("the unit");
    let text = text.replace("/usr/bin/rfm", env!("CARGO_BIN_EXE_rfm"));
    let unit = lab.file("rfm-guard-events.service", &text);
    for (words, silent) in [
        (&["verify", "--man=no"][..], true),
        (&["security", "--offline=true", "--threshold=30"], false),
    ] {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(words).arg(&unit).output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success(), "{text}");
        assert!(!silent || text.is_empty(), "{text}");
    }
}

#[test]
fn the_example_posts_the_event() {
    if !can_run(&["curl"]) {
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/guard-event");
    let mut command = Command::new(script);
    let command = command
        .env("WEBHOOK", format!("http://{address}/rfm"))
        .stdin(Stdio::piped());
    let mut program = command.stdout(Stdio::null()).spawn().expect("the script");
    let mut input = program.stdin.take().expect("a pipe");
    input.write_all(b"{\"number\": 7}\n").expect("written");
    drop(input);
    let (mut stream, _) = server.accept().expect("curl");
    let limit = Some(Duration::from_secs(5));
    stream.set_read_timeout(limit).expect("a limit");
    let mut request = String::new();
    let mut bytes = [0; 1024];
    while !request.ends_with("{\"number\": 7}\n") {
        let length = stream.read(&mut bytes).expect("more");
        assert!(length > 0, "{request}");
        request += &String::from_utf8_lossy(&bytes[..length]);
    }
    assert!(request.starts_with("POST /rfm HTTP/1.1\r\n"), "{request}");
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .expect("sent");
    assert!(program.wait().expect("an end").success());
}
