// SPDX-License-Identifier: AGPL-3.0-only
//! The NixOS module against what it must agree with: config/rfm.toml, config/rfm.service and the program. It is
//! evaluated by Nix itself, with a small stand-in for nixpkgs' lib (tests/nixos/lib.nix); no network, no store.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::lab::can_run;
use serde_json::{Value, json};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const VRF: &str = "agent.enrich.rib.vrf";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

fn nix(args: &[&str]) -> Result<String, String> {
    let output = Command::new("nix-instantiate")
        .args(args)
        .current_dir(ROOT)
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// tests/nixos/eval.nix for `services.rfm = settings`.
fn evaluate(settings: &Value) -> Result<Value, String> {
    let text = settings.to_string();
    let text = nix(&[
        "--eval",
        "--strict",
        "--json",
        "--store",
        "dummy://",
        "--argstr",
        "settings",
        &text,
        "tests/nixos/eval.nix",
    ])?;
    Ok(serde_json::from_str(&text).unwrap())
}

/// What `rfm --check` prints of a config, or what it says against it.
fn check(name: &str, config: &str) -> Result<String, String> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nixos-{name}.toml"));
    fs::write(&file, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rfm"))
        .arg("--config")
        .arg(&file)
        .arg("--check")
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

fn to_toml(written: &Value) -> String {
    toml::to_string(&serde_json::from_value::<toml::Table>(written.clone()).unwrap()).unwrap()
}

/// config/rfm.toml with every key in force.
fn uncommented() -> toml::Table {
    let text = read("config/rfm.toml");
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') => key,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n").parse().unwrap()
}

/// Path → value of each key, list tables marked by [].
fn leaves(prefix: &str, table: &toml::Table, found: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let path = format!("{prefix}{name}");
        match value {
            toml::Value::Table(_) if path == VRF => drop(found.insert(path, json!({}))),
            toml::Value::Table(inner) => leaves(&format!("{path}."), inner, found),
            toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
                for item in items {
                    leaves(&format!("{path}[]."), item.as_table().unwrap(), found);
                }
            }
            _ => drop(found.insert(path, serde_json::to_value(value).unwrap())),
        }
    }
}

#[test]
fn every_file_parses() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    for file in [
        "flake.nix",
        "nixos/module.nix",
        "nixos/options.nix",
        "nixos/package.nix",
        "nixos/tests/rfm.nix",
        "nixos/types.nix",
    ] {
        nix(&["--parse", file]).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

/// Blocks of docs/install.md in this language, without their fences.
fn blocks(language: &str) -> Vec<String> {
    let chapter = read("docs/install.md");
    let fence = format!("```{language}\n");
    let blocks = chapter.split(&fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_examples_of_the_chapter_on_installation_parse() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let blocks = blocks("nix");
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        nix(&["--parse", "-E", &block]).unwrap_or_else(|error| panic!("{block}: {error}"));
    }
}

#[test]
fn the_flake_gives_package_module_and_tests() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let evaluate = |revision: &str| -> Value {
        let arguments = ["--eval", "--strict", "--json", "--store", "dummy://"];
        let given = ["--arg", "revision", revision, "tests/nixos/flake.nix"];
        let text = nix(&[&arguments[..], &given].concat()).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let found = evaluate("{ shortRev = \"0123abc\"; }");
    assert_eq!(found["systems"], json!(["aarch64-linux", "x86_64-linux"]));
    assert_eq!(found["pname"], "rfm");
    assert_eq!(found["modulePackage"], "rfm");
    assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(found["revision"], "0123abc");
    assert_eq!(found["lock"], true);
    assert_eq!(found["nodes"], json!(["left", "right", "router"]));
    // the build asks scripts/version.sh, which needs an interpreter of the sandbox
    assert_eq!(found["patch"], "patchShebangs scripts");
    for (revision, expected) in [
        ("{ dirtyShortRev = \"0123abc-dirty\"; }", "0123abc-dirty"),
        ("{ }", ""),
    ] {
        assert_eq!(evaluate(revision)["revision"], expected);
    }
    // what the package installs is there
    let commands = found["commands"].as_str().unwrap();
    let words = commands.split_whitespace();
    let ours: Vec<&str> = words
        .filter(|word| {
            ["packaging/", "grafana/", "config/"]
                .iter()
                .any(|f| word.starts_with(f))
        })
        .collect();
    assert!(ours.len() > 5, "{commands}");
    for file in ours {
        assert!(Path::new(ROOT).join(file).exists(), "{file}");
    }
    check("vm", &to_toml(&found["written"])).unwrap();
}

#[test]
fn each_key_of_the_file_is_an_option_with_its_default_and_comment() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    // each list has one entry, so that the options inside are looked at
    let lists = json!({ "enable": true, "settings": { "agent": {
        "ipfix": { "collector": [{}] },
        "enrich": { "prefix": [{ "prefix": "10.0.0.0/8" }] },
        "firewall": { "rule": [{}] },
    }}});
    let result = evaluate(&lists).unwrap();
    let mut expected = BTreeMap::new();
    leaves("", &uncommented(), &mut expected);

    let keys = result["keys"].as_array().unwrap();
    let defaults: BTreeMap<String, Value> = keys
        .iter()
        .map(|key| {
            (
                key["path"].as_str().unwrap().to_owned(),
                key["default"].clone(),
            )
        })
        .collect();
    assert_eq!(defaults, expected);

    // the description has all of the comment in the file, which is broken into lines there
    let text = read("config/rfm.toml");
    let comments: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("# ")).collect();
    let comments = comments.join(" ");
    for key in keys {
        let description = key["description"].as_str().unwrap();
        let first = description.split_inclusive(". ").next().unwrap().trim();
        assert!(!first.is_empty() && comments.contains(first), "{key}");
    }
}

#[test]
fn a_module_that_sets_nothing_runs_the_shipped_config() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let result = evaluate(&json!({ "enable": true })).unwrap();
    let written = check("default", &to_toml(&result["written"])).unwrap();
    assert_eq!(written, check("shipped", &read("config/rfm.toml")).unwrap());
    assert_eq!(evaluate(&json!({})).unwrap()["service"], json!({}));
}

#[test]
fn what_is_set_is_written_and_the_program_takes_it() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let agent = json!({
        "interfaces": ["eth0", "wg.*"],
        "require_interface": true,
        "bpf": { "sample_rate": 50, "flow_cache": 0 },
        "collector": { "eviction_timeout": "15s" },
        "prometheus": { "host": "127.0.0.1", "port": 9700, "labels": ["ifname", "direction"] },
        "enrich": { "prefix": [{ "prefix": "10.1.0.0/16", "asn": 64501, "name": "lab" }, { "prefix": "10.2.0.0/16" }] },
    });
    let result = evaluate(&json!({ "enable": true, "settings": { "agent": agent } })).unwrap();
    let mut expected = agent.clone();
    // what is as the program has it anyway is left out, but for the key that has to be there
    expected["enrich"]["prefix"] = json!([
        { "prefix": "10.1.0.0/16", "asn": 64501, "name": "lab" },
        { "prefix": "10.2.0.0/16" },
    ]);
    // the module enables it
    expected["history"] = json!({ "path": "/var/lib/rfm/history" });
    assert_eq!(result["written"], json!({ "agent": expected }));
    let printed = check("set", &to_toml(&result["written"])).unwrap();
    for line in [
        "sample_rate = 50",
        "port = 9700",
        "name = \"lab\"",
        "eviction_timeout = \"15s\"",
    ] {
        assert!(printed.contains(line), "{line} in {printed}");
    }
}

#[test]
fn mistakes_are_refused_with_their_path() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    for (agent, expected) in [
        (
            json!({ "bpf": { "sample_rat": 1 } }),
            "agent.bpf.sample_rat does not exist",
        ),
        (
            json!({ "bpf": { "sample_rate": "1" } }),
            "agent.bpf.sample_rate is no int",
        ),
        (
            json!({ "prometheus": { "port": 65536 } }),
            "agent.prometheus.port is no int",
        ),
        (
            json!({ "bpf": { "position": "middle" } }),
            "agent.bpf.position is no enum",
        ),
        (
            json!({ "firewall": { "rule": [{ "action": "limit", "rate": true }] } }),
            "rate is no nullOr",
        ),
        (
            json!({ "enrich": { "prefix": [{ "asn": 1 }] } }),
            "prefix.prefix is not set",
        ),
    ] {
        let settings = json!({ "enable": true, "settings": { "agent": agent } });
        let error = evaluate(&settings).unwrap_err();
        assert!(error.contains(expected), "{expected} in {error}");
    }
}

#[test]
fn the_firewall_is_opened_for_what_listens() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    for (open, agent, ports) in [
        (false, json!({}), json!({})),
        (true, json!({}), json!([9669])),
        (
            true,
            json!({ "prometheus": { "port": 9700 } }),
            json!([9700]),
        ),
        (
            true,
            json!({ "enrich": { "rib": { "bmp": { "host": "::" } } } }),
            json!([9669, 11019]),
        ),
        (
            true,
            json!({ "enrich": { "rib": { "bmp": { "port": 1790 } } } }),
            json!([9669, 1790]),
        ),
    ] {
        let settings =
            json!({ "enable": true, "openFirewall": open, "settings": { "agent": agent } });
        assert_eq!(evaluate(&settings).unwrap()["ports"], ports, "{settings}");
    }
}

#[test]
fn the_service_reads_a_web_configuration_file_by_its_groups() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let path = "/var/lib/web/web.yml";
    let set = evaluate(&json!({
        "enable": true,
        "webConfig": path,
        "supplementaryGroups": ["acme"],
        "settings": { "agent": { "prometheus": { "host": "::" } } },
    }))
    .unwrap();
    let file = set["file"].as_str().unwrap();
    assert!(
        file.contains(&format!("\"web_config\":\"{path}\"")),
        "{file}"
    );
    assert!(file.contains("\"host\":\"::\""), "{file}");
    // the build has no certificates to check
    assert!(
        file.contains("grep -vE '^(asn_db|city_db|web_config) = '"),
        "{file}"
    );
    assert_eq!(
        set["service"]["serviceConfig"]["SupplementaryGroups"],
        json!(["acme"])
    );
    let unset = evaluate(&json!({ "enable": true })).unwrap();
    assert!(!unset["file"].as_str().unwrap().contains("\"web_config\""));
}

/// Section.Key → values, in their order.
fn directives(unit: &str) -> BTreeMap<String, Vec<String>> {
    let mut section = "";
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in unit.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            let values = found.entry(format!("{section}.{key}")).or_default();
            values.push(value.to_owned());
        }
    }
    found
}

/// A value of a NixOS unit as systemd reads it.
fn as_directive(value: &Value) -> Vec<String> {
    match value {
        Value::Bool(true) => vec!["yes".into()],
        Value::Bool(false) => vec!["no".into()],
        Value::Array(items) => items.iter().flat_map(as_directive).collect(),
        Value::String(text) => vec![
            text.replace("/package/bin/", "/usr/bin/")
                // there the command is at hand, elsewhere the shell's own is
                .replace(
                    "/coreutils/bin/kill -HUP $MAINPID",
                    "sh -c \"kill -HUP ${MAINPID}\"",
                ),
        ],
        other => vec![other.to_string()],
    }
}

#[test]
fn the_service_is_the_shipped_unit() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let service = evaluate(&json!({ "enable": true })).unwrap()["service"].clone();
    let parts = [
        ("Unit.Description", "description"),
        ("Unit.Documentation", "documentation"),
        ("Unit.After", "after"),
        ("Install.WantedBy", "wantedBy"),
    ];
    let ours = unit(&service, &["serviceConfig", "unitConfig"], &parts);
    assert_eq!(ours, directives(&read("config/rfm.service")));
}

/// The directives of a unit of the module.
fn unit(unit: &Value, options: &[&str], parts: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for option in options {
        let section = match *option {
            "serviceConfig" => "Service",
            "timerConfig" => "Timer",
            _ => "Unit",
        };
        for (key, value) in unit[option].as_object().unwrap() {
            found.insert(format!("{section}.{key}"), as_directive(value));
        }
    }
    for (key, option) in parts {
        found.insert((*key).into(), vec![as_directive(&unit[option]).join(" ")]);
    }
    found
}

#[test]
fn the_updater_is_off_and_otherwise_the_shipped_units() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let off = evaluate(&json!({ "enable": true })).unwrap();
    assert_eq!((&off["updater"], &off["timer"]), (&json!({}), &json!({})));
    let on = json!({ "enable": true, "updateDatabases": { "enable": true } });
    let on = evaluate(&on).unwrap();
    let folder = "packaging/databases/rfm-update-databases";
    let parts = [
        ("Unit.Description", "description"),
        ("Unit.Documentation", "documentation"),
        ("Unit.Wants", "wants"),
        ("Unit.After", "after"),
    ];
    let ours = unit(&on["updater"], &["serviceConfig"], &parts);
    assert_eq!(ours, directives(&read(&format!("{folder}.service"))));
    let parts = [
        ("Unit.Description", "description"),
        ("Unit.Documentation", "documentation"),
        ("Install.WantedBy", "wantedBy"),
    ];
    let ours = unit(&on["timer"], &["timerConfig"], &parts);
    assert_eq!(ours, directives(&read(&format!("{folder}.timer"))));
}

#[test]
fn the_program_for_events_is_off_and_otherwise_the_shipped_unit() {
    if !can_run(&["nix-instantiate"]) {
        return;
    }
    let off = evaluate(&json!({ "enable": true })).unwrap();
    assert_eq!(off["events"], json!({}));
    let on = json!({ "enable": true, "guardEvents": { "program": "/etc/rfm/guard-event" } });
    let on = evaluate(&on).unwrap();
    let parts = [
        ("Unit.Description", "description"),
        ("Unit.Documentation", "documentation"),
        ("Unit.After", "after"),
        ("Install.WantedBy", "wantedBy"),
    ];
    let ours = unit(&on["events"], &["serviceConfig", "unitConfig"], &parts);
    let shipped = read("packaging/guard/rfm-guard-events.service");
    assert_eq!(ours, directives(&shipped));
}
