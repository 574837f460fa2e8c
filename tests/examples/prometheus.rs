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
    // prometheus.yml expects the rules beside it, as docs/many-routers.md copies them
    let lab = Lab::among_others();
    for name in ["rules.yml", "alerts.yml"] {
        lab.file(name, &shipped(name));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let mut checked = 0;
    for entry in fs::read_dir(folder).expect("docs/examples") {
        let path = entry.expect("a file").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("UTF-8");
        let how: &[&str] = match name {
            "prometheus-remote-write.yml" => &["check", "config", "--agent", "--lint-fatal"],
            _ if name.starts_with("prometheus") => &["check", "config", "--lint-fatal"],
            _ => continue,
        };
        let copy = lab.file(name, &example(name));
        run(Command::new("promtool").args(how).arg(copy));
        checked += 1;
    }
    assert_eq!(checked, 3);
}

/// A file of rules or alerts.
fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("grafana")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
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

fn quick(config: &str) -> String {
    replaced(config, "global:\n", "global:\n  scrape_interval: 1s\n")
}

fn start_all(lab: &Lab, namespace: &Namespace) {
    lab.file(
        "rules.yml",
        &replaced(&shipped("rules.yml"), "interval: 1m", "interval: 1s"),
    );
    lab.file("alerts.yml", &shipped("alerts.yml"));
    let site = routers(&replaced(
        &example("prometheus.yml"),
        "scrape_interval: 15s",
        "scrape_interval: 1s",
    ));
    let storage =
        |port: u16, how: &str| format!("--storage.{how}={}", lab.path(&port.to_string()).display());
    start(lab, namespace, SITE, &site, &[&storage(SITE, "tsdb.path")]);

    let sites = "\"prometheus.ams.example.net:9090\", \"prometheus.fra.example.net:9090\"";
    let above = replaced(
        &example("prometheus-federate.yml"),
        sites,
        &format!("\"127.0.0.1:{SITE}\""),
    );
    let above = quick(&above);
    let receiver = "--web.enable-remote-write-receiver";
    start(
        lab,
        namespace,
        ABOVE,
        &above,
        &[&storage(ABOVE, "tsdb.path"), receiver],
    );

    let write = format!("http://127.0.0.1:{ABOVE}/api/v1/write");
    let sender = replaced(
        &example("prometheus-remote-write.yml"),
        "https://mimir.example.net/api/v1/push",
        &write,
    );
    let sender = routers(&quick(&sender));
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
    let sums = "rfm:interface_tx_bits:rate5m{ifname='v0',family='ipv4'} > 0";
    let federated = wait_for(ANSWER_TIMEOUT, || {
        send();
        ask(&namespace, ABOVE, sums).len() == 3
            && ask(
                &namespace,
                ABOVE,
                "sum by (site) (rfm:network_out_bits:rate5m) > 0",
            )
            .len()
                == 2
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
    // the label of the site's Prometheus stays, that of the one above does not replace it
    assert_eq!(
        labels(&results, "prometheus"),
        ["prometheus-1".to_owned()].into()
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
