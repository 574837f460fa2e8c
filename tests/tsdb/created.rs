// SPDX-License-Identifier: AGPL-3.0-only
//! Created timestamps, with the flag of Prometheus 3 and without.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::agent::{Agent, EXACT, PORT, config, http_get};
use crate::common::lab::{Lab, Namespace, can_run, wait_for};
use crate::engine::{Engine, Kind, Spec, can_run_all};
use crate::traffic::{INTERFACES, SERIES_PER_PROTOCOL, namespace, send_for};
use crate::truth::{Truth, check, increase, seconds, settled};

const PROXY: u16 = 9670;

const FLAG: &[&str] = &["--enable-feature=created-timestamp-zero-ingestion"];

/// With the flag, directly and by a proxy that removes the field by which rfm recognises scrapers: only the created
/// timestamps help it then.
const FLAGGED: [Spec; 2] = [
    Spec {
        flags: FLAG,
        ..Spec::new("flagged", Kind::Prometheus3, 19091)
    },
    Spec {
        flags: FLAG,
        target: PROXY,
        ..Spec::new("by-proxy", Kind::Prometheus3, 19092)
    },
];

/// Without the flag, in the same places.
const PLAIN: [Spec; 2] = [
    Spec::new("plain", Kind::Prometheus3, 19093),
    Spec {
        target: PROXY,
        ..Spec::new("plain-by-proxy", Kind::Prometheus3, 19094)
    },
];

fn start_proxy(lab: &Lab, namespace: &Namespace) {
    let folder = lab.path("").display().to_string();
    let configuration = format!(
        "user root;\ndaemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n\
         events {{}}\nhttp {{\naccess_log off;\nserver {{\nlisten 127.0.0.1:{PROXY};\nlocation / {{\n\
         proxy_pass http://127.0.0.1:{PORT};\nproxy_set_header X-Prometheus-Scrape-Timeout-Seconds '';\n}}\n}}\n}}\n"
    );
    let file = lab.file("nginx.conf", &configuration);
    let file = file.to_str().expect("a path in UTF-8");
    lab.spawn(namespace, "nginx.log", "nginx", &["-c", file]);
    let answers = || http_get(namespace, PROXY, "/healthz").is_ok_and(|reply| reply.status == 200);
    assert!(wait_for(Duration::from_secs(20), answers), "nginx");
}

/// The names of all series that a database has of the agent, without those that it adds itself.
fn names(engine: &Engine) -> BTreeSet<String> {
    let now = *engine.scrapes().last().expect("a scrape");
    let job = engine.spec.name;
    let result = engine.at(now, &format!("count by (__name__) ({{scraper='{job}'}})"));
    let names = result
        .iter()
        .filter_map(|(labels, _)| labels["__name__"].as_str());
    names
        .filter(|name| *name != "up" && !name.starts_with("scrape_"))
        .map(str::to_owned)
        .collect()
}

/// Without the zeros of rfm, a series whose first packet arrives between the time that Prometheus gives to a scrape and
/// the response has a value before its created timestamp, which counts twice.
fn assert_nearly_all(engine: &Engine, truth: &Truth, start: f64) {
    let share = increase(engine, start) / truth.packets();
    println!("{}: increase() {:.3} %", engine.spec.name, share * 100.0);
    assert!((0.995..1.01).contains(&share), "{share}");
}

#[test]
fn created_timestamps_count_the_first_values() {
    if !can_run_all([Kind::Prometheus3]) || !can_run(&["nginx"]) {
        return;
    }
    let (lab, start) = (Lab::new(), seconds());
    let namespace = namespace(&lab);
    let agent = Agent::start(&lab, &namespace, &config(INTERFACES, EXACT));
    start_proxy(&lab, &namespace);
    let flagged = FLAGGED.map(|spec| Engine::start(&lab, &namespace, spec));
    let plain = PLAIN.map(|spec| Engine::start(&lab, &namespace, spec));
    let protocols = 61..111;
    send_for(
        &namespace,
        protocols.clone().collect(),
        Duration::from_secs(15),
    );
    let mut truth = settled(&agent, &flagged);
    assert_eq!(truth.series(), protocols.len() * SERIES_PER_PROTOCOL);
    settled(&agent, &plain);
    check(&truth, &flagged[..1], start, 0);
    check(&truth, &plain[..1], start, 0);
    assert_nearly_all(&flagged[1], &truth, start);
    // the proxy does remove the field: without it and without the flag, the first values are missing
    let share = increase(&plain[1], start) / increase(&plain[0], start);
    assert!(share < 0.99, "without zeros: {share}");

    let expected = names(&plain[0]);
    assert!(expected.len() > 30, "{expected:?}");
    assert!(!expected.iter().any(|name| name.ends_with("_created")));
    for engine in &flagged {
        assert_eq!(names(engine), expected, "{}", engine.spec.name);
    }

    agent.stop();
    let agent = Agent::start(&lab, &namespace, &config(INTERFACES, EXACT));
    send_for(&namespace, protocols.collect(), Duration::from_secs(15));
    truth.add(&settled(&agent, &flagged));
    check(&truth, &flagged[..1], start, 1);
    assert_nearly_all(&flagged[1], &truth, start);
    agent.stop();
}
