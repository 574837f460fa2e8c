// SPDX-License-Identifier: AGPL-3.0-only
//! Metrics, from `src/metrics/declarations.rs`: docs/reference/metrics.md.

use std::fmt::Write;

use rfm::bpf::counters::PARSE_ERRORS;
use rfm::enrich::bmp::{BmpError, IgnoredFamily};
use rfm::enrich::rib::BlackholeRejectReason;
use rfm::metrics::declarations::{REFERENCE, ReferenceEntry, ReferenceSection};
use rfm::sys::error_counters::Subsystem;
use rfm::types::rule::RuleSource;

use crate::generated;

#[test]
fn the_reference_of_the_metrics() {
    let mut page = "<!-- Made from src/metrics/declarations.rs by `make generate`: do not edit. -->\n\
                    # Metrics of rfm\n\n\
                    `/metrics` serves these series. The first sentences of each meaning are its HELP line.\n"
        .to_owned();
    for section in REFERENCE {
        write_section(&mut page, section);
    }
    generated("docs/reference/metrics.md", &page);
}

fn write_section(page: &mut String, section: &ReferenceSection) {
    let ReferenceSection { title, intro, .. } = section;
    let head = "| series | type | labels | meaning |\n|---|---|---|---|";
    writeln!(page, "\n## {title}\n\n{intro}\n\n{head}").expect("a String takes all");
    for metric in section.metrics {
        let labels: Vec<_> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            meaning(metric)
        )
        .expect("a String takes all");
    }
}

fn meaning(metric: &ReferenceEntry) -> String {
    [metric.help, metric.details].join(" ").trim_end().into()
}

#[test]
fn the_reference_has_every_value_of_a_label() {
    for (name, values) in [
        (
            "rfm_bmp_errors_total",
            BmpError::ALL.map(BmpError::name).to_vec(),
        ),
        (
            "rfm_bmp_ignored_routes_total",
            IgnoredFamily::ALL.map(IgnoredFamily::name).to_vec(),
        ),
        (
            "rfm_firewall_blackhole_refused_total",
            BlackholeRejectReason::ALL
                .map(BlackholeRejectReason::name)
                .to_vec(),
        ),
        (
            "rfm_firewall_rules",
            RuleSource::ALL.map(RuleSource::name).to_vec(),
        ),
        (
            "rfm_errors_total",
            Subsystem::ALL.map(Subsystem::name).to_vec(),
        ),
        ("rfm_parse_errors_total", PARSE_ERRORS.to_vec()),
    ] {
        let mut metrics = REFERENCE.iter().flat_map(|section| section.metrics);
        let details = metrics
            .find(|metric| metric.name == name)
            .expect(name)
            .details;
        for value in values {
            assert!(details.contains(&format!("`{value}`")), "{name}: {value}");
        }
    }
}
