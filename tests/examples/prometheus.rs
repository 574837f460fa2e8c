// SPDX-License-Identifier: AGPL-3.0-only
//! Routers → a site's Prometheus → one above it by federation, and the same series by remote write, all with the files
//! of docs/examples. Hosts are replaced, and intervals, which are too long to wait for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::common::agent::{Agent, EXACT, config, http_get};
use super::common::cases::{DST_MAC, DST4, SRC_MAC, SRC4};
use super::common::frames::Frame;
use super::common::lab::{Lab, Namespace, can_run, run, wait_for};
use super::common::packet::Sender;
use super::flows::{ANSWER_TIMEOUT, example, replaced};

const SITE: u16 = 9090;
const ABOVE: u16 = 9091;
const AGENT: u16 = 9092;

#[test]
fn promtool_accepts_every_file() {
    if !can_run(&["promtool"]) {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let mut checked = 0;
    for entry in fs::read_dir(folder).expect("docs/examples") {
        let path = entry.expect("a file").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("UTF-8");
        let how: &[&str] = match name {
            "prometheus-remote-write.yml" => &["check", "config", "--agent", "--lint-fatal"],
            _ if name.starts_with("prometheus") => &["check", "config", "--lint-fatal"],
            _ if name.ends_with("-rules.yml") => &["check", "rules", "--lint-fatal"],
            _ => continue,
        };
        run(Command::new("promtool").args(how).arg(&path));
        checked += 1;
    }
    assert_eq!(checked, 4);
}

fn start(lab: &Lab, namespace: &Namespace, port: u16, config: &str, more: &[&str]) {
    let file = lab.file(&format!("prometheus-{port}.yml"), config);
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    let log = format!("prometheus-{port}.log");
    lab.spawn(namespace, &log, "prometheus", &arguments);
    let ready = || http_get(namespace, port, "/-/ready").is_ok_and(|reply| reply.status == 200);
    let said = || fs::read_to_string(lab.path(&log)).unwrap_or_default();
    assert!(wait_for(ANSWER_TIMEOUT, ready), "{}", said());
}

/// The results of an instant query.
fn ask(namespace: &Namespace, port: u16, expression: &str) -> Vec<Value> {
    let escaped: String = expression.bytes().map(|b| format!("%{b:02x}")).collect();
    let reply = http_get(namespace, port, &format!("/api/v1/query?query={escaped}"));
    let body = reply.expect("Prometheus answers").body;
    let mut json: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(json["status"], "success", "{expression}: {body}");
    serde_json::from_value(json["data"]["result"].take()).expect("a list")
}

fn labels(results: &[Value], name: &str) -> BTreeSet<String> {
    let label = |result: &Value| {
        result["metric"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    results.iter().map(label).collect()
}

/// One agent on three loopback addresses stands for three routers.
fn routers(text: &str) -> String {
    let mut text = text.to_owned();
    for n in 1..=3 {
        text = text.replace(&format!("r{n}.example.net:"), &format!("127.0.0.{n}:"));
    }
    assert!(!text.contains(".example.net:9669"), "{text}");
    text
}

fn start_all(lab: &Lab, namespace: &Namespace) {
    let rules = replaced(&example("rfm-rules.yml"), "interval: 1m", "interval: 1s");
    lab.file("rfm-rules.yml", &rules);
    let site = routers(&replaced(
        &example("prometheus.yml"),
        "scrape_interval: 15s",
        "scrape_interval: 1s",
    ));
    let storage =
        |port: u16, how: &str| format!("--storage.{how}={}", lab.path(&port.to_string()).display());
    start(lab, namespace, SITE, &site, &[&storage(SITE, "tsdb.path")]);

    let quick = "global: {scrape_interval: 1s}\n";
    let sites = "\"prometheus.ams.example.net:9090\", \"prometheus.fra.example.net:9090\"";
    let above = replaced(
        &example("prometheus-federate.yml"),
        sites,
        &format!("\"127.0.0.1:{SITE}\""),
    );
    let receiver = "--web.enable-remote-write-receiver";
    start(
        lab,
        namespace,
        ABOVE,
        &(quick.to_owned() + &above),
        &[&storage(ABOVE, "tsdb.path"), receiver],
    );

    let write = format!("http://127.0.0.1:{ABOVE}/api/v1/write");
    let sender = replaced(
        &example("prometheus-remote-write.yml"),
        "https://mimir.example.net/api/v1/push",
        &write,
    );
    let sender = replaced(&sender, "global:\n", "global:\n  scrape_interval: 1s\n");
    let sender = routers(&sender);
    let agent = ["--enable-feature=agent", &storage(AGENT, "agent.path")];
    start(lab, namespace, AGENT, &sender, &agent);
}

#[test]
fn sums_are_federated_and_series_are_written_away() {
    if !can_run(&["ip", "sysctl", "prometheus"]) {
        return;
    }
    let lab = Lab::among_others();
    let namespace = lab.wire();
    let everywhere = replaced(&config(r#"["v0"]"#, EXACT), "\"127.0.0.1\"", "\"0.0.0.0\"");
    let _agent = Agent::start(&lab, &namespace, &everywhere);
    let sender = namespace.inside(|| Sender::new("v0").expect("a packet socket"));
    let frame = Frame::ethernet(SRC_MAC, DST_MAC)
        .ipv4(SRC4, DST4)
        .udp()
        .ports(1, 2)
        .payload(100)
        .build();
    let send = || (0..10).for_each(|_| sender.send(&frame, 0).expect("sent"));
    send();
    start_all(&lab, &namespace);
    // what counts up once no scrape has seen it begin is a rate
    let sums = "rfm:interface_tx_bits:rate1m{ifname='v0'} > 0";
    let federated = wait_for(ANSWER_TIMEOUT, || {
        send();
        ask(&namespace, ABOVE, sums).len() == 3
            && ask(&namespace, ABOVE, "rfm:egress_asn_bits:rate5m > 0").len() == 2
    });
    assert!(
        federated,
        "{:?}",
        ask(&namespace, ABOVE, "{__name__=~'rfm:.*'}")
    );
    let results = ask(&namespace, ABOVE, sums);
    assert_eq!(
        labels(&results, "site"),
        ["ams", "fra"].map(str::to_owned).into()
    );
    let instances = (1..=3).map(|n| format!("127.0.0.{n}:9669")).collect();
    assert_eq!(labels(&results, "instance"), instances);

    // both stores have the counters and not the gauges; of the site, the one above has none but what was written to it
    let written = wait_for(ANSWER_TIMEOUT, || {
        ask(&namespace, ABOVE, "rfm_flow_bytes_total{ifname='v0'}").len() == 1
    });
    assert!(written, "{:?}", ask(&namespace, ABOVE, "up"));
    assert_eq!(
        ask(&namespace, SITE, "rfm_flow_bytes_total{ifname='v0'}").len(),
        3
    );
    for port in [SITE, ABOVE] {
        assert_eq!(
            ask(
                &namespace,
                port,
                "rfm_interface_tx_bytes_total{ifname='v0',instance='127.0.0.1:9669'}"
            )
            .len(),
            3
        );
        assert!(
            ask(
                &namespace,
                port,
                "{__name__=~'rfm_flow_(sampled_)?(bytes|packets)'}"
            )
            .is_empty()
        );
    }
    // nothing more is sent: the values written remotely are those of the site
    let bytes = |port| {
        let results = ask(
            &namespace,
            port,
            "rfm_flow_bytes_total{instance='127.0.0.1:9669'}",
        );
        results.first().map(|result| result["value"][1].clone())
    };
    let same = wait_for(ANSWER_TIMEOUT, || {
        bytes(SITE).is_some() && bytes(SITE) == bytes(ABOVE)
    });
    assert!(same, "{:?} and {:?}", bytes(SITE), bytes(ABOVE));
}
