// SPDX-License-Identifier: AGPL-3.0-only
//! Alerts and recording rules: in order, tested, and each with a line in the runbook.

use std::path::Path;
use std::process::Command;

use crate::common::lab::{can_run, run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    if !can_run(&["promtool"]) {
        return;
    }
    let folder = Path::new(ROOT).join("grafana");
    let mut promtool = Command::new("promtool");
    run(promtool
        .args(["check", "rules", "--lint-fatal", "alerts.yml", "rules.yml"])
        .current_dir(&folder));
    let mut promtool = Command::new("promtool");
    run(promtool
        .args(["test", "rules", "alerts.test.yml"])
        .current_dir(&folder));
}

#[test]
fn every_alert_is_tested_and_has_a_line_in_the_runbook() {
    let read = |name: &str| std::fs::read_to_string(Path::new(ROOT).join(name)).expect(name);
    let (alerts, tests, runbook) = (
        read("grafana/alerts.yml"),
        read("grafana/alerts.test.yml"),
        read("docs/prometheus.md"),
    );
    let names: Vec<_> = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        assert!(
            runbook.contains(&format!("| `{name}` |")),
            "{name} is not in docs/prometheus.md"
        );
        let fires = format!("alertname: {name}\n        exp_alerts:\n          - ");
        assert!(tests.contains(&fires), "no test in which {name} fires");
        let silent = format!("alertname: {name}, exp_alerts: []");
        assert!(tests.contains(&silent), "no test in which {name} is silent");
    }
}
