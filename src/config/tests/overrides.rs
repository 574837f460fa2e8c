// SPDX-License-Identifier: AGPL-3.0-only
//! Tests that a variable and `--set` have the effect that the same value has in the file, and the same errors.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::config::reference::{KeyReference, SectionReference, TableLayout, reference};

const FILE: &str = "[agent]\ninterfaces = [\"eth0\"]\n";

fn variables(set: &[(&str, &str)]) -> Result<ConfigSource, ConfigError> {
    let set = set.iter().map(|(name, value)| (name.into(), value.into()));
    ConfigSource::new("t".into(), &[], set)
}

fn options(set: &[&str]) -> Result<ConfigSource, ConfigError> {
    let set: Vec<_> = set.iter().map(|&text| text.to_owned()).collect();
    ConfigSource::new("t".into(), &set, [])
}

fn read_with(source: Result<ConfigSource, ConfigError>, file: &str) -> Result<Config, ConfigError> {
    source?.parse("t", file, &MACHINE)
}

/// Values in the syntax of the file, valid ones for the most part, for a key whose valid values are `expected`.
fn values(expected: &str, example: &str) -> BoxedStrategy<String> {
    let texts = |texts: &[&str]| {
        let texts: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
        prop::sample::select(texts).boxed()
    };
    let range = |text: &str| {
        let numbers = text
            .split(" from ")
            .nth(1)
            .and_then(|r| r.split_once(" to "));
        let number = |text: &str| text.parse::<u64>().ok();
        numbers.and_then(|(start, end)| Some((number(start)?, number(end)?)))
    };
    if let Some((_, item)) = expected.split_once(" items, each ") {
        let items = prop::collection::vec(values(item, "\"\""), 0..4);
        return items
            .prop_map(|items| format!("[{}]", items.join(", ")))
            .boxed();
    }
    if let Some((start, end)) = range(expected) {
        return match expected.contains("power of two") {
            true => (start.ilog2()..=end.ilog2())
                .prop_map(|n| (1_u64 << n).to_string())
                .boxed(),
            false => (start..=end).prop_map(|n| n.to_string()).boxed(),
        };
    }
    if expected.starts_with('"') && !expected.contains(", ") {
        let words: Vec<_> = expected.split(" or ").map(str::to_owned).collect();
        return prop::sample::select(words).boxed();
    }
    for (begin, valid) in [
        ("true or false", &[][..]),
        ("a duration", &["7s", "1h30m", "90m"]),
        ("a size", &["8M", "64M", "1G"]),
        (
            "a regular expression",
            &["eth[0-9]+", "wg.*", "*", "a b", "="],
        ),
        ("a prefix", &["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]),
        (
            "an address or a host name",
            &["::", "192.0.2.1", "fe80::1%eth0", "a.example"],
        ),
        ("an absolute path", &["/a b", "/var/lib/x=y#z", ""]),
        (
            "an address that starts with http",
            &["https://a.example/?b=c#d"],
        ),
        ("an address or an AS", &["AS65000", "192.0.2.7", "::7"]),
        ("a community such as", &["65535:666", "1:2:3"]),
        ("a community with", &["64500:*", "1:2:*"]),
        (
            "a host with or without a port",
            &["192.0.2.1:323", "[2001:db8::1]:7", "a.example"],
        ),
        ("octal", &["0600", "0777", "666"]),
        ("a string", &["adm", "a \u{fc}", "7", "true"]),
    ] {
        if expected.starts_with(begin) {
            return match valid {
                [] => any::<bool>().prop_map(|b| b.to_string()).boxed(),
                valid => texts(valid),
            };
        }
    }
    if expected.starts_with("two lengths") {
        return Just("[24, 48]".to_owned()).boxed();
    }
    Just(example.to_owned()).boxed()
}

/// The sections whose keys can be set one by one.
fn single_keys(section: &SectionReference) -> impl Iterator<Item = (String, &KeyReference)> {
    let is_single = section.layout == TableLayout::Table;
    let keys = section.keys.iter().filter(move |_| is_single);
    keys.map(|key| (format!("{}.{}", section.path, key.declared.name), key))
}

/// The name of the variable, from the rule in the documents.
fn variable(key: &str) -> String {
    format!("RFM_{}", key.to_uppercase().replace('.', "__"))
}

/// Errors without their place, so that those of several sources can be compared.
fn texts(result: Result<Config, ConfigError>) -> Result<Config, Vec<(String, String)>> {
    result.map_err(|error| {
        let mut errors: Vec<_> = error.errors.into_iter().map(|e| (e.key, e.text)).collect();
        errors.sort();
        errors
    })
}

#[test]
fn every_key_has_the_same_effect_from_each_source() {
    let all = reference();
    let default = read(FILE).unwrap();
    let mut without_effect = Vec::new();
    let mut count = 0;
    for (key, declared) in all.flat().into_iter().flat_map(single_keys) {
        let mut has_effect = false;
        let mut runner = TestRunner::deterministic();
        let name = variable(&key);
        for _ in 0..32 {
            let values = values(&declared.expected, declared.shown());
            let value = values.new_tree(&mut runner).unwrap().current();
            let line = format!("{} = {value}", key.trim_start_matches("agent."));
            let expected = texts(read(&match key.as_str() {
                "agent.interfaces" => format!("[agent]\n{line}"),
                _ => format!("{FILE}{line}"),
            }));
            let option = format!("{key}={value}");
            assert_eq!(
                texts(read_with(options(&[&option]), FILE)),
                expected,
                "{option}"
            );
            let set = [(name.as_str(), value.as_str())];
            assert_eq!(
                texts(read_with(variables(&set), FILE)),
                expected,
                "{option}"
            );
            has_effect |= expected.is_ok_and(|config| config != default);
        }
        if !has_effect {
            without_effect.push(key);
        }
        count += 1;
    }
    assert!(count > 60, "only {count} keys");
    // these need other keys
    let needing = [
        "agent.firewall.enabled",
        "agent.firewall.blackhole_communities",
    ];
    assert_eq!(without_effect, needing);
}

#[test]
fn values_are_toml_and_other_words_are_strings() {
    for (option, expected) in [
        (
            "agent.prometheus.host=192.0.2.1",
            "prometheus.host = \"192.0.2.1\"",
        ),
        ("agent.prometheus.host=::", "prometheus.host = \"::\""),
        ("agent.prometheus.host=", "prometheus.host = \"\""),
        ("agent.prometheus.host='::'", "prometheus.host = \"::\""),
        ("agent.history.max_size= 64M ", "history.max_size = \"64M\""),
        ("agent.control.mode=0600", "control.mode = \"0600\""),
        ("agent.bpf.sample_rate=0x10", "bpf.sample_rate = 16"),
        ("agent.collector.paths=true", "collector.paths = true"),
        ("agent.\"bpf\".sample_rate = 7", "bpf.sample_rate = 7"),
        (
            "agent.prometheus.allow=[\"10.0.0.0/8\", '::1/128']",
            "prometheus.allow = [\"10.0.0.0/8\", \"::1/128\"]",
        ),
        (
            "agent.prometheus.dashboard=https://a.example/?b=c",
            "prometheus.dashboard = \"https://a.example/?b=c\"",
        ),
        // a list of tables, and a table with keys of the operator, as a whole or one key
        (
            "agent.enrich.prefix=[{ prefix = \"10.0.0.0/8\", asn = 7 }]",
            "enrich.prefix = [{ prefix = \"10.0.0.0/8\", asn = 7 }]",
        ),
        (
            "agent.enrich.rib.vrf={ red = \"0:0\", \"a b\" = \"1:2\" }",
            "enrich.rib.vrf = { red = \"0:0\", \"a b\" = \"1:2\" }",
        ),
        (
            "agent.enrich.rib.vrf.\"a.b\"=65000:1",
            "enrich.rib.vrf.\"a.b\" = \"65000:1\"",
        ),
    ] {
        let file = read(&with(expected)).unwrap();
        assert_eq!(read_with(options(&[option]), FILE), Ok(file), "{option}");
    }
}

#[test]
fn an_override_replaces_the_value_of_the_file() {
    let file = with(
        "bpf.sample_rate = 5\n[[agent.ipfix.collector]]\nhost = \"::1\"\n\
         [[agent.ipfix.collector]]\nhost = \"::2\"\n",
    );
    let collector = "agent.ipfix.collector=[{ host = \"::3\" }]";
    let agent = read_with(options(&[collector]), &file).unwrap().agent;
    let hosts: Vec<_> = agent
        .ipfix
        .collectors()
        .into_iter()
        .map(|c| c.host)
        .collect();
    assert_eq!(hosts, ["::3"]);
    assert_eq!(agent.bpf.sample_rate, 5);
    // the option has precedence over the variable, and the last option over the one before it
    let rate = |set: &[&str], variables: &[(&str, &str)]| {
        let set: Vec<_> = set.iter().map(|&text| text.to_owned()).collect();
        let variables = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        let source = ConfigSource::new("t".into(), &set, variables);
        read_with(source, &file).unwrap().agent.bpf.sample_rate
    };
    let variable = ("RFM_AGENT__BPF__SAMPLE_RATE", "6");
    assert_eq!(rate(&[], &[variable]), 6);
    assert_eq!(rate(&["agent.bpf.sample_rate=7"], &[variable]), 7);
    let twice = ["agent.bpf.sample_rate=7", "agent.bpf.sample_rate=8"];
    assert_eq!(rate(&twice, &[]), 8);
    // a section replaces all its keys, and a key of it may follow
    assert_eq!(rate(&["agent.bpf={}"], &[]), 100);
    assert_eq!(
        rate(&[], &[variable, ("RFM_AGENT__BPF", "{ wakeup_batch = 1 }")]),
        6
    );
}

#[test]
fn variables_with_other_purposes_are_no_keys() {
    let names = [
        "RFM_LOG",
        "RFM_FORCE",
        "RFM_REVISION",
        "RFM_PORT",
        "RFM_SERVICE_HOST",
        "PATH",
        "XRFM_A__B",
    ];
    let set: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
    assert_eq!(
        variables(&set),
        Ok(ConfigSource {
            file: "t".into(),
            overrides: Vec::new()
        })
    );
}

#[test]
fn an_error_names_its_source() {
    let in_variable = |name, value| message(read_with(variables(&[(name, value)]), FILE));
    for (name, value, expected) in [
        (
            "RFM_AGENT__PROMETHEUS__PORT",
            "0",
            "RFM_AGENT__PROMETHEUS__PORT: agent.prometheus.port: expected a whole number from 1 to 65535, got 0",
        ),
        (
            "RFM_AGENT__PROMTHEUS__PORT",
            "1",
            "RFM_AGENT__PROMTHEUS__PORT: agent.promtheus: unknown key, did you mean agent.prometheus?",
        ),
        (
            "RFM_AGENT__BPF__SAMPLERATE",
            "1",
            "RFM_AGENT__BPF__SAMPLERATE: agent.bpf.samplerate: unknown key, did you mean agent.bpf.sample_rate?",
        ),
        (
            "RFM_AGNT__BPF",
            "1",
            "RFM_AGNT__BPF: agnt: unknown key, did you mean agent?",
        ),
        ("RFM_AGENT__", "1", "RFM_AGENT__: agent.: unknown key"),
        (
            "RFM_Agent__BPF",
            "1",
            "RFM_Agent__BPF: expected a name in upper case",
        ),
        (
            "RFM_AGENT__BPF",
            "1",
            "RFM_AGENT__BPF: agent.bpf: expected a table, got 1",
        ),
    ] {
        assert_eq!(in_variable(name, value), expected, "{name}={value}");
    }
    let in_option = |option| message(read_with(options(&[option]), FILE));
    let usage = |got: &str| {
        format!("--set: expected KEY=VALUE, such as agent.bpf.sample_rate=1, got \"{got}\"")
    };
    for (option, expected) in [
        ("agent.bpf.sample_rate", usage("agent.bpf.sample_rate")),
        ("=1", usage("=1")),
        ("agent..bpf=1", usage("agent..bpf=1")),
        ("agent.ipfix.collector[0].host=::", usage("agent.ipfix.collector[0].host=::")),
        ("a\n[b]\nc=1", usage("a\\n[b]\\nc=1")),
        (
            "agent.prometheus.host=",
            "no error".into(),
        ),
        (
            "agent.prometheus.port=",
            "--set: agent.prometheus.port: expected a whole number from 1 to 65535, got \"\"".into(),
        ),
        (
            "agent.bpf.position=middle",
            "--set: agent.bpf.position: expected \"head\" or \"tail\", got middle".into(),
        ),
        (
            "agent.prometheus.allow=[10.0.0.0/8]",
            "--set: agent.prometheus.allow: invalid float, expected nothing; quote a string that begins with [".into(),
        ),
        (
            "agent.firewall.enabled=true",
            "t: agent.firewall.interfaces: required when the firewall is enabled".into(),
        ),
        (
            "agent.ipfix.collector.host=::1",
            "--set: agent.ipfix.collector: expected at most 16 tables [[agent.ipfix.collector]], got a table\n\
             --set: agent.ipfix.collector.host: unknown key, did you mean agent.enrich.rib.bmp.host?".into(),
        ),
        (
            "agent.ipfix.collector=[{ hots = \"::1\" }]",
            "--set: agent.ipfix.collector[0].hots: unknown key, did you mean agent.ipfix.collector.host?".into(),
        ),
        (
            "agent.interfaces.x=1",
            "--set: agent.interfaces.x: agent.interfaces is not a section: its value can only be set as a whole".into(),
        ),
    ] {
        assert_eq!(in_option(option), expected, "{option:?}");
    }
    // errors of the file come first, with their lines
    let file = with("bpf.sample_rate = 0");
    assert_eq!(
        message(read_with(options(&["agent.prometheus.port=0"]), &file)),
        "t:3: agent.bpf.sample_rate: expected a whole number from 1 to 4294967295, got 0\n\
         --set: agent.prometheus.port: expected a whole number from 1 to 65535, got 0"
    );
    let replaced = options(&["agent.bpf.sample_rate=1"]);
    assert_eq!(message(read_with(replaced, &file)), "no error");
    // one collector in the file, and one of its keys in an option
    let file = with("[[agent.ipfix.collector]]");
    assert_eq!(
        message(read_with(
            options(&["agent.ipfix.collector.host=::1"]),
            &file
        )),
        "--set: agent.ipfix.collector.host: agent.ipfix.collector is not a section: its value can only be set as a whole"
    );
    let bytes = OsString::from_vec(vec![b'\xff']);
    let source = ConfigSource::new("t".into(), &[], [("RFM_AGENT__A".into(), bytes)]);
    assert_eq!(
        source.unwrap_err().to_string(),
        "RFM_AGENT__A: expected UTF-8"
    );
}

#[test]
fn other_errors_about_a_key_name_the_source_of_its_value() {
    let source = options(&["agent.enrich.mmdb={}", "agent.bpf.position=head"]).unwrap();
    for (key, expected) in [
        ("agent.enrich.mmdb.asn_db", Some("--set".to_owned())),
        ("agent.enrich.mmdb_x", None),
        ("agent.enrich", None),
    ] {
        assert_eq!(source.error(key, String::new()).source, expected, "{key}");
    }
    let lines: Vec<_> = source.describe().collect();
    let set = [
        "agent.enrich.mmdb is set by --set",
        "agent.bpf.position is set by --set",
    ];
    assert_eq!(lines, set);
}

proptest! {
    #[test]
    fn no_override_is_a_panic(options in prop::collection::vec(".*", 0..4), name in "RFM_[A-Z_]{0,9}__.*", value in ".*") {
        let variables = [(OsString::from(name), OsString::from(value))];
        let set: Vec<_> = options.iter().map(|text| format!("agent.bpf.{text}")).collect();
        let _ = read_with(ConfigSource::new("t".into(), &options, variables.clone()), FILE);
        let _ = read_with(ConfigSource::new("t".into(), &set, variables), FILE);
    }
}
