// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm set` and `rfm reload`: what they change, and what they say.

use serde_json::json;

use crate::common::lab::can_run;
use crate::harness::{Fixture, config};

#[test]
fn the_sample_rate_is_set_and_shown_everywhere() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    assert_eq!(
        fixture.rfm("set bpf.sample_rate 10"),
        "bpf.sample_rate = 10\n"
    );
    assert_eq!(fixture.json("status")["sample_rate"], 10);
    assert_eq!(
        fixture.agent.scrape().get("rfm_sample_rate", &[]),
        Some(10.0)
    );
    assert_eq!(
        fixture.get("/v1/config").1["agent"]["bpf"]["sample_rate"],
        10
    );
    let said = fixture.json("set agent.bpf.sample_rate 7");
    assert_eq!(said, json!({"sample_rate": 7}));
    assert_eq!(fixture.json("status")["sample_rate"], 7);

    for (body, error) in [
        (
            "{\"sample_rate\": 0}",
            "sample_rate: expected a whole number from 1",
        ),
        ("{\"sample_rate\": -1}", "the body: expected JSON such as"),
        ("{\"rate\": 5}", "the body: expected JSON such as"),
        ("", "the body: expected JSON such as"),
        ("sample_rate=5", "the body: expected JSON such as"),
    ] {
        let (status, reply) = fixture.post("/v1/sample_rate", body);
        assert_eq!(status, 400, "{body}");
        let text = reply["error"].as_str().unwrap_or_default();
        assert!(text.starts_with(error), "{body}: {text}");
    }
    assert_eq!(fixture.json("status")["sample_rate"], 7, "nothing changed");
}

#[test]
fn the_log_level_is_set() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    assert_eq!(fixture.json("status")["log_level"], "info");
    fixture.rfm("set log_level debug");
    assert_eq!(fixture.json("status")["log_level"], "debug");
    let (status, reply) = fixture.post("/v1/log_level", "{\"log_level\": \"loud\"}");
    assert_eq!(status, 400);
    let text = reply["error"].as_str().unwrap_or_default();
    assert!(
        text.contains("off, error, warn, info, debug, trace"),
        "{text}"
    );
}

#[test]
fn a_reload_says_what_changed_and_what_takes_a_restart() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    assert_eq!(fixture.rfm("reload"), "reloaded: nothing changed\n");
    let text = config(&fixture.folder, "[\"v1\"]", 5, "mode = \"0600\"");
    fixture.lab.file("rfm.toml", &text);
    let said = fixture.json("reload");
    assert_eq!(said["changed"], json!(["agent.bpf.sample_rate"]));
    assert_eq!(said["needs_restart"], json!(["agent.control.mode"]));
    assert_eq!(fixture.json("status")["sample_rate"], 5);

    fixture
        .lab
        .file("rfm.toml", "[agent]\ninterfaces = [\"v1\"]\nbroken");
    let (code, _, error) = fixture.try_rfm("reload");
    assert_eq!(code, 1);
    assert!(error.contains("rfm.toml"), "{error}");
    let status = fixture.json("status");
    assert_eq!(status["sample_rate"], 5);
    assert_eq!(status["config"]["last_reload_successful"], false);
}

#[test]
fn mistakes_in_a_command_are_told_before_the_agent_is_asked() {
    for (words, expected) in [
        (
            "set bpf.sample_rate 0",
            "rfm: bpf.sample_rate: expected a whole number from 1 to 4294967295, got \"0\"\n",
        ),
        (
            "set bpf.sampel_rate 5",
            "rfm: unknown key bpf.sampel_rate, did you mean bpf.sample_rate?\n",
        ),
        (
            "set log_level loud",
            "rfm: log_level: expected off, error, warn, info, debug or trace, got \"loud\"\n",
        ),
    ] {
        let output = crate::harness::rfm(std::path::Path::new("/nonexistent/a.sock"), words);
        let (code, out, error) = crate::harness::parts(output);
        assert_eq!((code, &*out, &*error), (2, "", expected), "{words}");
    }
}
