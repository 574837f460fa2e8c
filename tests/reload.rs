// SPDX-License-Identifier: AGPL-3.0-only
//! The configuration is read again while traffic flows: what can change changes, nothing that was
//! counted is lost, and a file that is not in order changes nothing.

mod common;

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::accounting::{SETTLED, seen_ip, settle_totals};
use common::agent::{Agent, EXACT, config};
use common::lab::{Lab, Namespace, can_run, wait_for};
use common::metrics::Metrics;
use common::packet::Sender;
use common::traffic::{meanwhile, send_burst, small_frame};
use rustix::process::Signal;

const TOOLS: [&str; 2] = ["ip", "sysctl"];
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mmdb");

/// Has the agent read another file; what it said of that.
fn reload(lab: &Lab, agent: &Agent, config: &str) -> String {
    let before = agent.log().len();
    lab.file("rfm.toml", config);
    agent.signal(Signal::HUP);
    let said = || agent.log().split_at(before).1.to_owned();
    let answered = || said().contains("read again") || said().contains("stays as it is");
    assert!(wait_for(SETTLED, answered), "{}", agent.log());
    // what is kept is said in the line after
    thread::sleep(Duration::from_millis(50));
    said()
}

fn send(namespace: &Namespace, device: &str, count: u16) {
    namespace.inside(|| send_burst(&Sender::new(device).expect("a packet socket"), count));
}

fn sent(metrics: &Metrics, device: &str) -> u64 {
    seen_ip(metrics, device, "egress").packets
}

fn successful(metrics: &Metrics) -> (f64, f64) {
    let of = |name: &str| metrics.get(name, &[]).expect(name);
    (
        of("rfm_config_last_reload_successful"),
        of("rfm_config_last_reload_success_timestamp_seconds"),
    )
}

#[test]
fn a_variable_keeps_its_precedence_over_the_file() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    const NAME: &str = "RFM_AGENT__COLLECTOR__MAX_FLOWS";
    let file = |max_flows: u32, batch: u32| {
        let more = format!("collector.max_flows = {max_flows}\nbpf.wakeup_batch = {batch}\n");
        config(r#"["v0"]"#, &more)
    };
    let agent = Agent::start_with(&lab, &namespace, &file(1000, 7), &[(NAME, "2000")]);
    let limit = |agent: &Agent| agent.scrape().get("rfm_collector_max_flows", &[]);
    let set = format!("agent.collector.max_flows is set by {NAME}");
    assert!(agent.log().contains(&set), "{}", agent.log());
    assert_eq!(limit(&agent), Some(2000.0));
    let said = reload(&lab, &agent, &file(3000, 8));
    assert!(said.contains("changed: agent.bpf.wakeup_batch\n"), "{said}");
    assert_eq!(limit(&agent), Some(2000.0));
}

#[test]
fn interfaces_and_directions_follow_and_counters_go_on() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let agent = Agent::start(&lab, &namespace, &config(r#"["v0"]"#, EXACT));
    send(&namespace, "v0", 10);
    let (_, reached) = agent.scrape_until(SETTLED, |m| sent(m, "v0") == 10);
    assert!(reached);

    let said = reload(&lab, &agent, &config(r#"["v1"]"#, EXACT));
    assert!(said.contains("changed: agent.interfaces"), "{said}");
    let attached = |m: &Metrics, device| {
        let labels = [("ifname", device), ("attach", "tcx")];
        m.get("rfm_interface_info", &labels).is_some()
    };
    let only_v1 = |m: &Metrics| attached(m, "v1") && !attached(m, "v0");
    assert!(agent.scrape_until(SETTLED, only_v1).1);
    send(&namespace, "v0", 5);

    let more = format!("directions = [\"egress\"]\nexclude_interfaces = [\"v1\"]\n{EXACT}");
    reload(&lab, &agent, &config(r#"["v.*"]"#, &more));
    let only_v0 = |m: &Metrics| attached(m, "v0") && !attached(m, "v1");
    let (metrics, reached) = agent.scrape_until(SETTLED, only_v0);
    assert!(reached, "{}", agent.log());
    assert_eq!(sent(&metrics, "v0"), 10, "its counters go on");
    let received = [("ifname", "v0")];
    let received = |m: &Metrics| m.get("rfm_interface_rx_packets_total", &received);
    assert_eq!(received(&metrics), None);
    send(&namespace, "v0", 7);
    assert!(agent.scrape_until(SETTLED, |m| sent(m, "v0") == 17).1);
    let pattern = [("pattern", "v.*")];
    let matches = agent
        .scrape()
        .get("rfm_interface_pattern_matches", &pattern);
    assert_eq!(matches, Some(1.0));

    // the other hook of an interface that is watched already
    reload(&lab, &agent, &config(r#"["v0"]"#, EXACT));
    assert!(agent.scrape_until(SETTLED, |m| received(m).is_some()).1);
    send(&namespace, "v1", 4);
    let came = |m: &Metrics| seen_ip(m, "v0", "ingress").packets == 4;
    assert!(agent.scrape_until(SETTLED, came).1);
    settle_totals(&agent);
    agent.stop();
}

#[test]
fn the_sample_rate_changes_in_mid_traffic_and_nothing_is_lost() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let with_rate = |rate: u32| {
        let more = format!("[agent.bpf]\nsample_rate = {rate}\nring_buf_size = 4194304\n");
        config(r#"["v0", "v1"]"#, &more)
    };
    let agent = Agent::start(&lab, &namespace, &with_rate(1));
    let traffic = |stop: &std::sync::atomic::AtomicBool| {
        let sender = Sender::new("v0").expect("a packet socket");
        let frames: Vec<_> = (0..50).map(small_frame).collect();
        while !stop.load(Ordering::Relaxed) {
            for frame in &frames {
                sender.send(frame, 0).expect("sent");
            }
        }
    };
    let estimated = |m: &Metrics| {
        let labels = [("ifname", "v0"), ("direction", "egress")];
        m.sum("rfm_flow_packets_total", &labels)
    };
    namespace.inside(|| {
        meanwhile(&[&traffic], || {
            let mut last = 0;
            for rate in [10, 1, 5] {
                reload(&lab, &agent, &with_rate(rate));
                let metrics = agent.scrape();
                assert_eq!(metrics.get("rfm_sample_rate", &[]), Some(rate.into()));
                assert!(estimated(&metrics) >= last, "a counter fell");
                last = estimated(&metrics);
                thread::sleep(Duration::from_millis(500));
            }
        });
    });
    let metrics = settle_totals(&agent);
    assert_eq!(metrics.sum("rfm_collector_dropped_packets_total", &[]), 0);
    let ratio = estimated(&metrics) as f64 / sent(&metrics, "v0") as f64;
    println!(
        "{} sent, {ratio:.4} of that estimated",
        sent(&metrics, "v0")
    );
    assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
    agent.stop();
}

#[test]
fn limits_and_timeouts_follow() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let agent = Agent::start(&lab, &namespace, &config(r#"["v0"]"#, EXACT));
    send(&namespace, "v0", 500);
    let active = |m: &Metrics| m.sum("rfm_collector_active_flows", &[]);
    assert!(agent.scrape_until(SETTLED, |m| active(m) == 500).1);
    let counted = |m: &Metrics| m.sum("rfm_flow_packets_total", &[("ifname", "v0")]);
    assert_eq!(counted(&agent.scrape()), 500);

    let fewer = "[agent.collector]\nmax_flows = 100\n";
    let toml = config(r#"["v0"]"#, &format!("{EXACT}{fewer}"));
    reload(&lab, &agent, &toml);
    let (metrics, reached) = agent.scrape_until(SETTLED, |m| active(m) == 100);
    assert!(reached, "{} flows", active(&metrics));
    assert_eq!(metrics.get("rfm_collector_max_flows", &[]), Some(100.0));
    assert_eq!(
        metrics.sum("rfm_collector_forced_evictions_total", &[]),
        400
    );
    assert_eq!(counted(&metrics), 500);

    let shorter = format!("{EXACT}{fewer}eviction_timeout = \"1s\"\n");
    let no_gauges = "flow_gauges = false\nmax_series = 77\nseries_ttl = \"2s\"\n";
    reload(&lab, &agent, &(config(r#"["v0"]"#, &shorter) + no_gauges));
    let (metrics, reached) = agent.scrape_until(SETTLED, |m| active(m) == 0);
    assert!(reached, "{} flows", active(&metrics));
    assert_eq!(metrics.get("rfm_flow_series_limit", &[]), Some(77.0));
    assert_eq!(metrics.get("rfm_flow_packets", &[]), None);
    let forgotten = |m: &Metrics| m.sum("rfm_flow_series", &[]) == 0;
    assert!(agent.scrape_until(SETTLED, forgotten).1);

    // who may ask
    let nobody = "allow = [\"192.0.2.1/32\"]\n";
    reload(&lab, &agent, &(config(r#"["v0"]"#, EXACT) + nobody));
    assert!(agent.get("/metrics").is_err());
    reload(&lab, &agent, &config(r#"["v0"]"#, EXACT));
    assert_eq!(agent.get("/healthz").expect("an answer").status, 200);
    agent.stop();
}

#[test]
fn what_is_known_of_addresses_follows() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let labels = "labels = [\"ifname\", \"direction\", \"src_asn\", \"src_net\"]\n";
    let base = || config(r#"["v0"]"#, EXACT) + labels;
    let agent = Agent::start(&lab, &namespace, &base());
    let counted = |m: &Metrics, asn: &str, net: &str| {
        let labels = [("src_asn", asn), ("src_net", net), ("direction", "egress")];
        m.sum("rfm_flow_packets_total", &labels)
    };
    let send_and_find = |asn: &str, net: &str, expected: u64| {
        // flows are asked about again as they go on, at most twice a second
        thread::sleep(Duration::from_millis(600));
        send(&namespace, "v0", 3);
        let (metrics, reached) = agent.scrape_until(SETTLED, |m| counted(m, asn, net) == expected);
        assert!(reached, "{asn} {net}: {}", counted(&metrics, asn, net));
        metrics
    };
    send_and_find("", "", 3);
    let prefix = "[[agent.enrich.prefix]]\nprefix = \"8.0.0.0/8\"\nasn = 65000\nname = \"own\"\n";
    reload(&lab, &agent, &(base() + prefix));
    let metrics = send_and_find("65000", "own", 3);
    assert_eq!(
        counted(&metrics, "", ""),
        3,
        "counts stay where they were made"
    );
    let databases = format!("[agent.enrich.mmdb]\nasn_db = \"{DATA}/GeoLite2-ASN-Test.mmdb\"\n");
    reload(&lab, &agent, &(base() + &databases));
    let database = [("database", "asn")];
    let built = agent
        .scrape()
        .get("rfm_mmdb_build_timestamp_seconds", &database);
    assert!(built.is_some());
    send_and_find("", "", 6);
    // a thread looks after the files, and ends when there are to be none
    let threads = |m: &Metrics| m.sum("process_threads", &[]);
    let before = threads(&agent.scrape());
    let none = "[agent.enrich.mmdb]\nasn_db = \"\"\ncity_db = \"\"\n";
    reload(&lab, &agent, &(base() + none));
    assert_eq!(threads(&agent.scrape()), before - 1);
    assert_eq!(agent.get("/healthz").expect("an answer").status, 200);
    agent.stop();
}

#[test]
fn who_may_send_bmp_follows() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let with = |more: &str| {
        let bmp = "[agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\nport = 11019\n";
        format!("{}{bmp}{more}", config(r#"["v0"]"#, EXACT))
    };
    let agent = Agent::start(&lab, &namespace, &with(""));
    // one that may not is cut off at once; the other is waited for
    let stays = || {
        namespace.inside(|| {
            let mut stream = TcpStream::connect("127.0.0.1:11019").expect("it listens");
            let limit = Some(Duration::from_secs(1));
            stream.set_read_timeout(limit).expect("a timeout");
            let read = stream.read(&mut [0]);
            read.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
        })
    };
    assert!(stays());
    let said = reload(&lab, &agent, &with("allow = [\"192.0.2.1/32\"]\n"));
    assert!(
        said.contains("changed: agent.enrich.rib.bmp.allow"),
        "{said}"
    );
    assert!(wait_for(SETTLED, || !stays()));
    reload(
        &lab,
        &agent,
        &with("max_sessions = 4\nstale_time = \"9m\"\n"),
    );
    assert!(wait_for(SETTLED, stays));
    agent.stop();
}

#[test]
fn a_broken_file_changes_nothing() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let good = config(r#"["v0"]"#, EXACT);
    let agent = Agent::start(&lab, &namespace, &good);
    let (yes, first) = successful(&agent.scrape());
    assert_eq!(yes, 1.0);
    let rate = "[agent.bpf]\nsample_rate = 50\n";
    let missing = "[agent.enrich.mmdb]\nasn_db = \"/does/not/exist\"\n";
    for (broken, reason) in [
        ("agent = 1".to_owned(), "agent"),
        (
            config(r#"["v1"]"#, "[agent.bpf]\nsample_rat = 50\n"),
            "sample_rat",
        ),
        (
            config(r#"["v1"]"#, &format!("{rate}{missing}")),
            "/does/not/exist",
        ),
    ] {
        let said = reload(&lab, &agent, &broken);
        assert!(said.contains(reason) && said.contains("ERROR"), "{said}");
        let metrics = agent.scrape();
        assert_eq!(successful(&metrics), (0.0, first));
        assert_eq!(metrics.get("rfm_sample_rate", &[]), Some(1.0));
        let labels = [("ifname", "v0"), ("attach", "tcx")];
        assert!(metrics.get("rfm_interface_info", &labels).is_some());
    }
    reload(&lab, &agent, &good);
    let (yes, second) = successful(&agent.scrape());
    assert!(yes == 1.0 && second > first, "{first} {second}");
    agent.stop();
}

#[test]
fn what_cannot_change_is_named() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let agent = Agent::start(&lab, &namespace, &config(r#"["v0"]"#, EXACT));
    let more = "[agent.bpf]\nsample_rate = 3\nflow_cache = 0\nposition = \"tail\"\n";
    let said = reload(&lab, &agent, &config(r#"["v0"]"#, more));
    assert!(said.contains("changed: agent.bpf.sample_rate"), "{said}");
    let kept = "kept as before until the next start: agent.bpf.position, agent.bpf.flow_cache";
    assert!(said.contains(kept), "{said}");
    let (yes, _) = successful(&agent.scrape());
    assert_eq!(yes, 1.0);
    agent.stop();
}
