// SPDX-License-Identifier: AGPL-3.0-only
//! `/metrics`: the text of a fixed input, the families that are declared, and what hostile strings do to it.

mod fixture;
mod format;
mod openmetrics;
mod protobuf;

use std::io::Write;
use std::process::{Command, Stdio};

use fixture::Fixture;
use format::Exposition;
use proptest::prelude::*;
use rfm::metrics::declarations::REFERENCE;
use rfm::types::label::Label;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics.txt");

#[test]
fn the_text_of_a_fixed_input_is_the_golden_one() {
    let text = Fixture::new().text();
    if std::env::var_os("RFM_BLESS").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    assert!(
        text == golden,
        "differs from {GOLDEN}; RFM_BLESS=1 writes it again:\n{text}"
    );
}

#[test]
fn the_families_are_exactly_those_declared_and_in_form() {
    let text = Fixture::new().text();
    let families = Exposition::parse(&text).unwrap().families;
    let declared: Vec<_> = REFERENCE.iter().flat_map(|s| s.metrics).collect();
    assert_eq!(families.len(), declared.len());
    for metric in declared {
        let name = metric.name;
        let family = families.iter().find(|f| f.name == name).expect(name);
        assert_eq!(family.kind, metric.kind.name(), "{name}");
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
        assert_eq!(family.help, metric.help, "{name}");
        assert!(family.help.ends_with('.'), "{name}");
        let details = metric.details;
        assert!(details.is_empty() || details.ends_with('.'), "{name}");
        assert!(!family.samples.is_empty(), "{name}");
        for sample in &family.samples {
            let labels: Vec<_> = sample.labels.iter().map(|(name, _)| name).collect();
            let configured = labels.len() == Label::USUAL.len() && metric.labels.is_empty();
            assert!(configured || labels == metric.labels, "{name}: {labels:?}");
        }
    }
}

#[test]
fn the_figures_stand_under_their_labels() {
    let text = Exposition::parse(&Fixture::new().text()).unwrap();
    let value = |name: &str, labels: &[(&str, &str)]| text.value(name, labels);
    let v6 = [("ifname", "eth0"), ("family", "ipv6")];
    assert_eq!(value("rfm_interface_rx_bytes_total", &v6), Some("10200"));
    assert_eq!(value("rfm_interface_tx_packets_total", &v6), Some("201"));
    let taken = [("ifname", "eth0"), ("direction", "egress")];
    assert_eq!(
        value("rfm_interface_sampled_packets_total", &taken),
        Some("63")
    );
    assert_eq!(
        value("rfm_interface_sampled_bytes_total", &taken),
        Some("6300")
    );
    // what all hooks counted is told apart: the fixture says 400 of it, in 3 families
    for (name, expected) in [
        ("rfm_collector_sampled_packets_total", "63"),
        ("rfm_collector_sampled_bytes_total", "6300"),
        ("rfm_collector_dropped_packets_total", "6"),
        ("rfm_collector_dropped_bytes_total", "600"),
        ("rfm_collector_dropped_events_total", "5"),
        ("rfm_collector_thinned_packets_total", "12"),
        ("rfm_collector_thinned_bytes_total", "1200"),
        ("rfm_collector_added_packets_total", "9"),
        ("rfm_collector_added_bytes_total", "900"),
        ("rfm_collector_overload_rate", "8"),
    ] {
        assert_eq!(value(name, &[]), Some(expected), "{name}");
    }
    let up = |router| value("rfm_bmp_session_up", &[("router", router)]);
    let routers = ["192.0.2.1 edge \"1\"", "2001:db8::1", "192.0.2.3"];
    assert_eq!(routers.map(up), [Some("1"), Some("0"), Some("1")]);
    assert_eq!(value("rfm_bmp_sessions", &[]), Some("3"));
    let silent = [("router", "192.0.2.3")];
    assert_eq!(
        value("rfm_bmp_last_message_timestamp_seconds", &silent),
        None
    );
    let routes = |family| value("rfm_rib_routes", &[("family", family)]);
    assert_eq!(["ipv4", "ipv6"].map(routes), [Some("6006"), Some("6007")]);
    let ppp = [("ifname", "ppp0"), ("family", "ipv4")];
    assert!(value("rfm_interface_rx_bytes_total", &ppp).is_some());
    assert_eq!(value("rfm_interface_tx_bytes_total", &ppp), None);
}

#[test]
fn without_gauges_the_counters_stay() {
    let text = Fixture::new().text_with(|input| input.flow_gauges = false);
    for family in &Exposition::parse(&text).unwrap().families {
        let gauge = family.kind == "gauge" && family.name.starts_with("rfm_flow_");
        let stays = ["rfm_flow_series", "rfm_flow_standard_error_"];
        assert!(
            !gauge || stays.iter().any(|name| family.name.starts_with(name)),
            "{}",
            family.name
        );
    }
    assert!(text.contains("\nrfm_flow_bytes_total{"));
}

#[test]
fn what_has_no_samples_is_left_out() {
    let text = Fixture::empty().text_with(|input| {
        input.process = None;
        input.parse_errors = &[];
    });
    let families = Exposition::parse(&text).unwrap().families;
    let absent = [
        "rfm_interface_",
        "rfm_flow_bytes",
        "rfm_flow_packets",
        "rfm_parse",
        "rfm_bmp_",
        "rfm_rib_",
        "process_",
    ];
    for family in families {
        assert!(
            !absent.iter().any(|a| family.name.starts_with(a)),
            "{}",
            family.name
        );
    }
    assert!(!text.contains("rfm_interface_"));
}

#[test]
fn promtool_finds_nothing() {
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = match tool {
        Ok(tool) => tool,
        Err(error) => {
            let required = std::env::var("RFM_REQUIRE_TOOLS").is_ok_and(|v| v == "1");
            assert!(!required, "promtool: {error}");
            eprintln!("skipped: promtool: {error}");
            return;
        }
    };
    let text = Fixture::hostile("a\"b\\c\nd", "é{}\r\t").text();
    let mut stdin = tool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

proptest! {
    #[test]
    fn hostile_names_and_aliases_come_back_as_they_were(
        name in r#"([\\"\n\r{}=, #a-zé\x00-\x1f]{1,15}|\PC{1,15})"#,
        alias in r#"([\\"\n\r{}=, #a-zé\x00-\x1f]{0,255}|\PC{0,99})"#,
    ) {
        let text = Fixture::hostile(&name, &alias).text();
        let text = Exposition::parse(&text).unwrap();
        let info = text.families.iter().find(|f| f.name == "rfm_interface_info").unwrap();
        let labels = &info.samples[0].labels;
        let label = |key| labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        prop_assert_eq!(label("ifname"), Some(name.as_str()));
        prop_assert_eq!(label("ifalias"), Some(alias.as_str()));
        prop_assert_eq!(label("attach"), Some("tcx"));
        let up = text.value("rfm_bmp_session_up", &[("router", alias.as_str())]);
        prop_assert_eq!(up, Some("1"));
    }
}
