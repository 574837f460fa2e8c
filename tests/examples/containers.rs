// SPDX-License-Identifier: AGPL-3.0-only
//! The files for containers are valid YAML, have the options of docs/containers.md, and set keys that exist. The YAML
//! parser is that of Python.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use rfm::config::{Config, ConfigSource, Machine, parse};
use serde_json::{Value, json};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CAPABILITIES: [&str; 3] = ["BPF", "NET_ADMIN", "PERFMON"];

/// The documents of an example.
fn documents(name: &str) -> Vec<Value> {
    const SCRIPT: &str =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";
    let file = fs::File::open(Path::new(ROOT).join("docs/examples").join(name)).expect(name);
    let python = Path::new(ROOT).join(".cache/python/bin/python");
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(file)
        .output()
        .expect("scripts/setup.sh test installs Python with PyYAML");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Reads the configuration of the image with these variables.
fn with_variables(variables: &[(String, String)]) -> Config {
    let file = Path::new(ROOT).join("config/rfm.toml");
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let source = ConfigSource::new(file, &[], variables).expect("names of keys");
    source
        .load(&Machine::here())
        .unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn compose_has_the_options_of_the_chapter() {
    let documents = documents("compose.yaml");
    let service = &documents[0]["services"]["rfm"];
    assert_eq!(service["cap_drop"], json!(["ALL"]));
    assert_eq!(service["cap_add"], json!(CAPABILITIES));
    assert_eq!(service["network_mode"], "host");
    assert_eq!(service["read_only"], true);
    assert_eq!(service.get("privileged"), None);
    let volume = service["volumes"][0].as_str().expect("a volume");
    let name = volume.strip_suffix(":/var/lib/rfm").expect("the state");
    assert!(documents[0]["volumes"].get(name).is_some(), "{name}");
    let set = service["environment"]
        .as_object()
        .expect("variables")
        .iter();
    let set: Vec<_> = set
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
        .collect();
    let prometheus = with_variables(&set).agent.prometheus;
    assert_eq!(prometheus.host, "::");
    assert_eq!(prometheus.allow.len(), 3);
}

#[test]
fn the_daemon_set_has_the_options_of_the_chapter_and_probes() {
    let documents = documents("kubernetes.yaml");
    let of_kind = |kind: &str| {
        let found = documents.iter().find(|document| document["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind}"))
    };
    let map = of_kind("ConfigMap");
    let file = map["data"]["rfm.toml"].as_str().expect("a file");
    parse("rfm.toml", file, &Machine::here()).unwrap_or_else(|e| panic!("{e}"));

    let set = &of_kind("DaemonSet")["spec"];
    let labels = &set["selector"]["matchLabels"];
    assert_eq!(labels, &set["template"]["metadata"]["labels"]);
    let pod = &set["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod.get("hostUsers"), None);
    let container = &pod["containers"][0];
    let context = &container["securityContext"];
    assert_eq!(
        context["capabilities"],
        json!({ "drop": ["ALL"], "add": CAPABILITIES })
    );
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    let port = &container["ports"][0];
    assert_eq!(port["containerPort"], 9669);
    for probe in ["startupProbe", "readinessProbe"] {
        let expected = json!({ "path": "/healthz", "port": port["name"] });
        assert_eq!(container[probe]["httpGet"], expected, "{probe}");
    }
    assert_eq!(
        container["livenessProbe"]["tcpSocket"]["port"],
        port["name"]
    );
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    let volumes = pod["volumes"].as_array().expect("volumes");
    let names = |list: &[Value]| {
        list.iter()
            .map(|one| one["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(mounts), names(volumes));
    // the value comes from the node
    let name = container["env"][0]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert_eq!(
        with_variables(&[(name, "192.0.2.1".into())])
            .agent
            .prometheus
            .host,
        "192.0.2.1"
    );
}
