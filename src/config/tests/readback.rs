// SPDX-License-Identifier: AGPL-3.0-only
//! Tests that the printed configuration can be read back, and that no text causes a panic.

use proptest::prelude::*;

use super::shipped::uncommented;
use super::*;

/// Values for each key, valid or left out.
fn any_config() -> impl Strategy<Value = String> {
    let quoted = |values: &'static [&'static str]| {
        prop::sample::select(values)
            .prop_map(|v| format!("{v:?}"))
            .boxed()
    };
    let raw = |values: &'static [&'static str]| {
        prop::sample::select(values).prop_map(String::from).boxed()
    };
    let number = |range: std::ops::RangeInclusive<u32>| range.prop_map(|n| n.to_string()).boxed();
    let power = |first: u32, last: u32| (first..=last).prop_map(|n| (1 << n).to_string()).boxed();
    let duration = || {
        (1u64..=365 * 24 * 3600)
            .prop_map(|s| format!("\"{s}s\""))
            .boxed()
    };
    let prefixes = || {
        prop::collection::btree_set((any::<u32>(), 0u32..=32), 0..5)
            .prop_map(|set| {
                let prefix = |(a, l): (u32, u32)| {
                    let a = a & u32::MAX.checked_shl(32 - l).unwrap_or(0);
                    format!("\"{}/{l}\"", std::net::Ipv4Addr::from_bits(a))
                };
                let set: std::collections::BTreeSet<_> = set.into_iter().map(prefix).collect();
                format!("[{}]", set.into_iter().collect::<Vec<_>>().join(", "))
            })
            .boxed()
    };
    let flag = || raw(&["true", "false"]);
    let hosts = || quoted(&["::", "127.0.0.1", "fe80::1%eth0", "example.net", ""]);
    let keys = vec![
        (
            "exclude_interfaces",
            raw(&["[]", "[\"wg.*\", '\\d+']", "[\"*\"]"]),
        ),
        ("require_interface", flag()),
        (
            "directions",
            raw(&["[\"egress\"]", "[\"egress\", \"ingress\"]"]),
        ),
        (
            "interface",
            raw(&[
                "[]",
                "[{ interfaces = [\"a\"], role = \"ix\" }, { interfaces = [], provider = \"x\" }]",
            ]),
        ),
        ("bpf.sample_rate", number(1..=u32::MAX)),
        ("bpf.ring_buf_size", power(12, 30)),
        ("bpf.wakeup_batch", number(1..=u32::MAX)),
        ("bpf.iface_stats_size", number(0..=65_535)),
        ("bpf.position", quoted(&["head", "tail"])),
        ("bpf.flow_cache", power(5, 20)),
        ("collector.max_flows", number(0..=1 << 30)),
        ("collector.eviction_timeout", duration()),
        ("collector.active_timeout", duration()),
        ("collector.paths", flag()),
        ("prometheus.host", hosts()),
        ("prometheus.port", number(1..=65_535)),
        ("prometheus.allow", prefixes()),
        ("prometheus.flow_gauges", flag()),
        (
            "prometheus.labels",
            raw(&["[]", "[\"vlan\", \"proto\"]", "[\"src_net\"]"]),
        ),
        ("prometheus.max_series", number(1..=10_000_000)),
        ("prometheus.series_ttl", duration()),
        ("prometheus.peer_series", flag()),
        ("prometheus.transit_series", number(0..=1_000)),
        ("prometheus.p95_series", flag()),
        ("prometheus.page", flag()),
        ("ipfix.host", hosts()),
        ("ipfix.port", number(0..=65_535)),
        ("ipfix.bind", raw(&["{ host = \"::1\" }", "{ port = 9 }"])),
        ("ipfix.template_refresh", duration()),
        ("ipfix.observation_domain_id", number(1..=u32::MAX)),
        ("ipfix.prev_adjacent", flag()),
        (
            "ipfix.collector",
            raw(&["[]", "[{ transport = \"tcp\" }, { port = 1 }]"]),
        ),
        ("enrich.mmdb.asn_db", quoted(&["", "/a \"b\""])),
        ("enrich.rib.local_asn", number(0..=u32::MAX)),
        (
            "enrich.rib.communities",
            raw(&["[]", "[\"64500:*\", \"*:7\", \"64500:*:1\"]"]),
        ),
        ("enrich.rpki.rtr", quoted(&["", "[::1]:1", "a.example"])),
        ("enrich.source_check.mode", quoted(&["off", "count"])),
        ("enrich.source_check.bogons", prefixes()),
        ("enrich.rib.bmp.host", hosts()),
        ("enrich.rib.bmp.allow", prefixes()),
        ("enrich.rib.bmp.max_routes", number(1..=1_000_000_000)),
        (
            "enrich.rib.vrf",
            raw(&["{}", "{ red = \"0:0\", \"a b\" = \"192.0.2.1:3\" }"]),
        ),
        (
            "enrich.peer",
            raw(&[
                "[]",
                "[{ interface = \"a\", asn = 1 }, { mac = \"02-00-00-00-00-01\", name = \"\\\"\" }]",
                "[{ address = \"::1\", asn = 4294967295 }]",
            ]),
        ),
        (
            "enrich.prefix",
            raw(&["[{ prefix = \"::/0\", name = \"ü\" }]"]),
        ),
        ("control.socket", quoted(&["", "/run/a"])),
        ("control.mode", quoted(&["0600", "777"])),
        ("control.group", quoted(&["", "adm"])),
        ("firewall.interfaces", raw(&["[\"*\"]", "[]"])),
        ("firewall.allow", prefixes()),
        ("firewall.blackhole_peers", raw(&["[\"AS1\", \"::1\"]"])),
        ("firewall.blackhole_min_length", raw(&["[24, 48]"])),
        (
            "firewall.rule",
            raw(&["[{ action = \"limit\", rate = 5 }, { proto = \"47\", ttl = \"90s\" }]"]),
        ),
    ];
    let lines: Vec<_> = keys
        .into_iter()
        .map(|(key, values)| {
            prop::option::of(values.prop_map(move |value| format!("{key} = {value}\n")))
        })
        .collect();
    lines.prop_map(|lines| with(&lines.into_iter().flatten().collect::<String>()))
}

#[test]
fn a_list_without_tables_is_not_printed() {
    let printed = read(&with("")).unwrap().to_string();
    for list in ["collector =", "prefix =", "rule ="] {
        assert!(!printed.contains(list), "{list} in {printed}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(text in any_config()) {
        let config = read(&text).unwrap();
        let printed = config.to_string();
        prop_assert_eq!(&read(&printed).unwrap(), &config, "{}", printed);
    }

    #[test]
    fn no_text_is_a_panic(text in ".*") {
        let _ = parse("t", &text, &MACHINE);
    }

    #[test]
    fn no_change_of_the_shipped_file_is_a_panic(
        at in 0..SHIPPED.len(),
        length in 0usize..40,
        instead in "[\\[\\]{}=\"'.,#\n 0-9a-z]{0,8}",
    ) {
        let text = uncommented();
        let end = (at + length).min(text.len());
        if let (Some(before), Some(after)) = (text.get(..at), text.get(end..)) {
            let _ = parse("t", &format!("{before}{instead}{after}"), &MACHINE);
        }
    }
}
