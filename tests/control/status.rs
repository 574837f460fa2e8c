// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm status`: the same figures as /metrics, in JSON and for people.

use std::time::Duration;

use serde_json::Value;

use crate::common::agent::Agent;
use crate::common::lab::{Lab, can_run, wait_for};
use crate::common::packet::Sender;
use crate::common::traffic::{send_burst, small_frame};
use crate::harness::{self, Fixture, Folder};

fn interface<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut all = status["interfaces"].as_array().expect("a list").iter();
    all.find(|i| i["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {status}"))
}

#[test]
fn status_has_the_figures_of_metrics() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let role =
        "[[agent.interface]]\ninterfaces = [\"v1\"]\nrole = \"ix\"\nprovider = \"Example\"\n";
    let fixture = Fixture::new(role);
    fixture.namespace.ip("link set v1 alias transit");
    fixture.namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        send_burst(&sender, 500);
    });
    let accounted = |status: &Value| status["flows"]["accounted_packets"] == 500;
    assert!(wait_for(Duration::from_secs(5), || accounted(
        &fixture.json("status")
    )));
    let status = fixture.json("status");
    let metrics = fixture.agent.scrape();
    assert_eq!(status["version"], env!("RFM_VERSION"));
    assert_eq!(status["healthy"], true);
    assert_eq!(status["sample_rate"], 1);
    assert!(status["uptime_seconds"].as_u64().expect("seconds") < 600);
    assert!(status["started"].as_str().expect("a time").ends_with('Z'));

    let v1 = interface(&status, "v1");
    let of = |name: &str| metrics.sum(name, &[("ifname", "v1")]);
    assert_eq!(v1["attach"], "tcx");
    assert_eq!(v1["alias"], "transit");
    let text = fixture.rfm("status");
    assert!(text.contains("ix: Example"), "{text}");
    assert_eq!(v1["rx_packets"], 500);
    for (field, series) in [
        ("rx_bytes", "rfm_interface_rx_bytes_total"),
        ("rx_packets", "rfm_interface_rx_packets_total"),
        ("tx_bytes", "rfm_interface_tx_bytes_total"),
        ("tx_packets", "rfm_interface_tx_packets_total"),
        ("sampled_packets", "rfm_interface_sampled_packets_total"),
        ("sampled_bytes", "rfm_interface_sampled_bytes_total"),
        ("speed_bytes", "rfm_interface_speed_bytes"),
    ] {
        assert_eq!(v1[field], of(series), "{field}");
    }
    let device = &v1["device"];
    assert_eq!(
        device["rx_packets"],
        of("rfm_interface_device_rx_packets_total")
    );
    let families = v1["families"].as_array().expect("a list");
    let ipv4 = families
        .iter()
        .find(|f| f["family"] == "ipv4")
        .expect("IPv4");
    assert_eq!(ipv4["rx_packets"], 500);
    assert_eq!(status["flows"]["active"], 500);
    assert_eq!(
        status["flows"]["series"],
        metrics.sum("rfm_flow_series", &[])
    );
    assert_eq!(status["lost"]["packets"], 0);

    let threads: Vec<_> = status["threads"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    for name in ["ring", "flow", "http", "control"] {
        assert!(
            threads
                .iter()
                .any(|t| t["name"] == name && t["alive"] == true),
            "{name} in {threads:?}"
        );
    }
}

#[test]
fn an_interface_without_a_slot_is_a_problem() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let folder = Folder::new();
    let toml = harness::config(&folder, r#"["v1", "late.*"]"#, 1, "");
    let toml = toml.replace("sample_rate", "iface_stats_size = 1\nsample_rate");
    let agent = Agent::start(&lab, &namespace, &toml);
    let status = || -> Value {
        let (_, out, _) = harness::parts(harness::rfm(&folder.socket(), "status --json"));
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
    };
    assert_eq!(status()["healthy"], true);
    namespace.ip("link add late0 type veth peer name other0");
    let expected = "1 interface is not counted (late0): all 1 slots are taken; \
                    raise agent.bpf.iface_stats_size and restart rfm";
    let listed = || status()["problems"][0]["text"] == expected;
    assert!(wait_for(Duration::from_secs(5), listed), "{}", status());
    assert_eq!(status()["healthy"], false);
    assert_eq!(interface(&status(), "late0")["attach"], "none");
    namespace.ip("link del late0");
    let healthy = || status()["healthy"] == true;
    assert!(wait_for(Duration::from_secs(10), healthy), "{}", status());
    agent.stop();
}

#[test]
fn a_rate_is_what_crossed_since_the_last_look() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    fixture.json("status");
    let before = interface(&fixture.json("status"), "v1")["rx_bytes"].clone();
    std::thread::sleep(Duration::from_millis(600));
    // a reading to count from
    fixture.get("/v1/interfaces");
    fixture.namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        for _ in 0..1000 {
            sender.send(&small_frame(1), 0).expect("sent");
        }
    });
    std::thread::sleep(Duration::from_millis(1000));
    let status = fixture.json("status");
    let v1 = interface(&status, "v1");
    let bytes = v1["rx_bytes"].as_u64().unwrap() - before.as_u64().unwrap();
    assert_eq!(bytes, 60_000);
    let rates = &v1["rates"];
    let told = rates["rx_bytes_per_second"].as_f64().unwrap() * rates["seconds"].as_f64().unwrap();
    assert!((told - 60_000.0).abs() < 1.0, "{rates}");
    assert_eq!(rates["tx_bytes_per_second"], 0.0);
}

#[test]
fn people_read_a_table() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    fixture.namespace.ip("link set v1 alias trans\u{7}it");
    let text = fixture.rfm("status");
    let line = |start: &str| {
        text.lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no line {start} in {text}"))
    };
    assert!(line("rfm ").contains(env!("RFM_VERSION")));
    assert!(line("health").ends_with("healthy"));
    assert!(line("sampling").ends_with("every packet"));
    assert!(line("lost").ends_with("nothing"));
    let (heading, v1) = (line("INTERFACE"), line("v1"));
    assert_eq!(heading.find("ATTACH"), v1.find("tcx"), "{text}");
    assert!(v1.ends_with("trans\u{fffd}it"), "no bell rings: {v1}");
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
}

#[test]
fn what_is_in_force_is_told_as_json_and_toml() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("mode = \"0600\"");
    let (status, config) = fixture.get("/v1/config");
    assert_eq!(status, 200);
    let agent = &config["agent"];
    assert_eq!(agent["bpf"]["sample_rate"], 1);
    assert_eq!(agent["control"]["mode"], "0600");
    assert_eq!(agent["collector"]["eviction_timeout"], "30s");
    let text = rfm_get_text(&fixture, "/v1/config?format=toml");
    let toml: toml::Table = text.parse().expect("TOML");
    assert_eq!(serde_json::to_value(toml).unwrap(), config);
}

/// The body, whatever it is.
fn rfm_get_text(fixture: &Fixture, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(fixture.socket()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn mistakes_are_answered_in_json_with_their_status() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    for (path, status, error) in [
        ("/v1/nope", 404, "no such path here"),
        ("/metrics", 404, "no such path here"),
        ("/v1/status?x=1", 400, "unknown parameter x"),
        (
            "/v1/flows?limit=0",
            400,
            "limit: expected a number from 1 to 1000, got \"0\"",
        ),
        (
            "/v1/flows?interface=v9",
            404,
            "no monitored interface is called v9",
        ),
        ("/v1/top?by=colour", 400, "by: unknown field \"colour\""),
        (
            "/v1/rib",
            400,
            "address: missing; give one, such as 192.0.2.1",
        ),
        (
            "/v1/rib?address=x",
            400,
            "address: expected an address or a prefix without host bits, got \"x\"",
        ),
        ("/v1/reload", 405, "this path takes POST"),
    ] {
        let (got, body) = fixture.get(path);
        assert_eq!(got, status, "{path}");
        let text = body["error"].as_str().unwrap_or_default();
        assert!(text.starts_with(error), "{path}: {text}");
    }
    let (status, body) = fixture.post("/v1/status", "");
    assert_eq!(
        (status, &body["error"]),
        (405, &"this path takes GET, HEAD".into())
    );
}

#[test]
fn all_views_report_the_same_problems() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    const DATABASE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/mmdb/GeoLite2-ASN-Test.mmdb"
    );
    let folder = Folder::new();
    let copy = folder.socket().with_file_name("asn.mmdb");
    std::fs::copy(DATABASE, &copy).expect("a copy");
    let lab = Lab::new();
    let namespace = lab.wire();
    let more = format!(
        "[agent.enrich.mmdb]\nasn_db = {copy:?}\n\
         [agent.firewall]\nenabled = true\ninterfaces = [\"v1\"]\n\
         [[agent.firewall.rule]]\ninterface = \"eht0\"\nproto = \"udp\"\naction = \"count\"\n"
    );
    let agent = Agent::start(
        &lab,
        &namespace,
        &harness::config(&folder, r#"["v1"]"#, 1, &more),
    );
    std::fs::remove_file(&copy).expect("it exists");
    let status: Value = {
        let (_, out, _) = harness::parts(harness::rfm(&folder.socket(), "status --json"));
        serde_json::from_str(&out).expect("JSON")
    };
    let problems = status["problems"].as_array().expect("a list").clone();
    let kinds: Vec<_> = problems.iter().map(|p| p["kind"].clone()).collect();
    // the test database was built years ago
    let expected = [
        "firewall_rule_interface",
        "database_old",
        "database_missing",
    ];
    assert_eq!(kinds, expected, "{status}");
    assert_eq!(status["healthy"], false);

    let metrics = agent.scrape();
    assert_eq!(metrics.sum("rfm_problems", &[]), 3);
    for kind in expected {
        assert_eq!(metrics.get("rfm_problems", &[("kind", kind)]), Some(1.0));
    }
    let reply = agent.get("/healthz?verbose").expect("an answer");
    assert_eq!(reply.status, 200, "the agent itself works");
    let verbose = reply.body;
    assert!(verbose.starts_with("3 problems\n"), "{verbose}");
    let (_, text, _) = harness::parts(harness::rfm(&folder.socket(), "status"));
    assert!(text.contains("health       3 problems"), "{text}");
    for problem in &problems {
        for part in ["text", "remedy"] {
            let part = problem[part].as_str().expect("a text");
            assert!(verbose.contains(part) && text.contains(part), "{part}");
        }
    }
    let shown = || {
        let reply = agent.get("/page/v1.json").expect("an answer");
        let view: Value = serde_json::from_str(&reply.body).expect("JSON");
        view["problems"] == status["problems"]
    };
    assert!(wait_for(Duration::from_secs(12), shown));
    agent.stop();
}
