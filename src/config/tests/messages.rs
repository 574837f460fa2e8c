// SPDX-License-Identifier: AGPL-3.0-only
//! Tests the exact messages, and the ends of all ranges.

use super::*;

#[test]
fn each_message_says_where_what_and_instead_of_what() {
    for (text, expected) in [
        (
            "",
            "t: agent.interfaces: required, such as interfaces = [\"eth0\"], or [\"*\"] for all but loopback",
        ),
        (
            "\n[agent]\n",
            "t:2: agent.interfaces: required, such as interfaces = [\"eth0\"], or [\"*\"] for all but loopback",
        ),
        (
            "[agent]\ninterfaces = []",
            "t:2: agent.interfaces: expected at least one pattern, got none",
        ),
        (
            "[agent]\ninterfaces = \"eth0\"",
            "t:2: agent.interfaces: expected a list in [brackets], got \"eth0\"",
        ),
        (
            "[agent]\ninterfaces = [\"a\",\n\"(\",\n7]",
            "t:3: agent.interfaces: expected a regular expression or \"*\", got \"(\" (found open group without closing ')')\nt:4: agent.interfaces: expected a regular expression or \"*\", got 7",
        ),
        (
            "[agent]\ninterfaces = [\"a\", \"a\"]",
            "t:2: agent.interfaces: expected each item only once, got \"a\"",
        ),
        (
            "agent = 3",
            "t:1: agent: expected a table, got 3\nt:1: agent.interfaces: required, such as interfaces = [\"eth0\"], or [\"*\"] for all but loopback",
        ),
        (
            &set("prometheus.dashboard", "\"javascript:alert(1)\""),
            "t:3: agent.prometheus.dashboard: expected an address that starts with http:// or https://, of at most 4095 bytes, or \"\", got \"javascript:alert(1)\"",
        ),
        (
            &set(
                "guard.threshold",
                "[{ interface = \"a\", above_bits = 1, for = \"0s\" }]",
            ),
            "t:3: agent.guard.threshold[0].for: expected a duration from \"1s\" to \"365days\", such as \"30s\" or \"5m\", got \"0s\"",
        ),
        (
            &set("guard.threshold", "[{ interface = \"a\", peer_asn = 1 }]"),
            "t:3: agent.guard.threshold[0].above_bits: expected one of above_packets, above_bits, below_packets and below_bits, got 0\nt:3: agent.guard.threshold[0].interface: expected one of interface, peer_asn and prefix, got 2",
        ),
        (
            &set(
                "guard.threshold",
                "[{ prefix = \"10.0.0.0/8\", above_bits = 1, below_bits = 9 }]",
            ),
            "t:3: agent.guard.threshold[0].above_bits: expected one of above_packets, above_bits, below_packets and below_bits, got 2",
        ),
        ("[agent", "t:1: unclosed table, expected `]`"),
        (
            "[agent]\ninterfaces = [\"a\"]\ninterfaces = [\"b\"]",
            "t:3: duplicate key",
        ),
        (&set("bpf", "1"), "t:3: agent.bpf: expected a table, got 1"),
        (
            &set("bpf.sample_rate", "0"),
            "t:3: agent.bpf.sample_rate: expected a whole number from 1 to 4294967295, got 0",
        ),
        (
            &set("bpf.sample_rate", "\"100\""),
            "t:3: agent.bpf.sample_rate: expected a whole number from 1 to 4294967295, got \"100\"",
        ),
        (
            &set("bpf.sample_rate", "1.5"),
            "t:3: agent.bpf.sample_rate: expected a whole number from 1 to 4294967295, got 1.5",
        ),
        (
            &set(
                "bpf.sample_rate",
                "99999999999999999999999999999999999999999",
            ),
            "t:3: agent.bpf.sample_rate: expected a whole number from 1 to 4294967295, got 9999999999999999999999999999999999999999...",
        ),
        (
            &set("bpf.ring_buf_size", "262145"),
            "t:3: agent.bpf.ring_buf_size: expected a power of two from 4096 to 1073741824, got 262145",
        ),
        (
            &set("bpf.flow_cache", "3"),
            "t:3: agent.bpf.flow_cache: expected 0 or a power of two from 32 to 1048576, got 3",
        ),
        (
            &set("bpf.position", "\"middle\""),
            "t:3: agent.bpf.position: expected \"head\" or \"tail\", got \"middle\"",
        ),
        (
            &set("require_interface", "1"),
            "t:3: agent.require_interface: expected true or false, got 1",
        ),
        (
            &set("directions", "[]"),
            "t:3: agent.directions: expected at least one direction, got none",
        ),
        (
            &set("directions", "[\"up\"]"),
            "t:3: agent.directions: expected \"ingress\" or \"egress\", got \"up\"",
        ),
        (
            &set("directions", "[\"egress\", \"egress\"]"),
            "t:3: agent.directions: expected each item only once, got \"egress\"",
        ),
        (
            &set("collector.eviction_timeout", "\"0.5s\""),
            "t:3: agent.collector.eviction_timeout: expected a duration from \"1s\" to \"365days\", such as \"30s\" or \"5m\", got \"0.5s\"",
        ),
        (
            &set("collector.eviction_timeout", "30"),
            "t:3: agent.collector.eviction_timeout: expected a duration from \"1s\" to \"365days\", such as \"30s\" or \"5m\", got 30",
        ),
        (
            &set("collector.active_timeout", "\"30\""),
            "t:3: agent.collector.active_timeout: expected a duration from \"1s\" to \"365days\", such as \"30s\" or \"5m\", got \"30\" (time unit needed, for example 30sec or 30ms)",
        ),
        (
            &set("prometheus.host", "\"10.0.0\""),
            "t:3: agent.prometheus.host: expected an address or a host name, got \"10.0.0\" (neither an address nor a host name)",
        ),
        (
            &set("prometheus.allow", "[\"10.0.0.1/8\"]"),
            "t:3: agent.prometheus.allow: expected a prefix such as \"10.0.0.0/8\", got \"10.0.0.1/8\" (has bits beyond its length, the prefix would be 10.0.0.0/8)",
        ),
        (
            &set("control.mode", "\"0888\""),
            "t:3: agent.control.mode: expected octal permission bits such as \"0660\", got \"0888\" (from \"0000\" to \"0777\")",
        ),
        (
            &set("control.mode", "0o660"),
            "t:3: agent.control.mode: expected octal permission bits such as \"0660\", got 0o660",
        ),
        (
            &set("control.socket", "\"rfm.sock\""),
            "t:3: agent.control.socket: expected an absolute path of at most 107 bytes or \"\", got \"rfm.sock\"",
        ),
        (
            &set("ipfix.directions", "[]"),
            "t:3: agent.ipfix.directions: expected at least one direction, got none",
        ),
        (
            &set(
                "directions = [\"egress\"]\nipfix.directions",
                "[\"ingress\"]",
            ),
            "t:4: agent.ipfix.directions: expected directions of agent.directions, got \"ingress\"",
        ),
        (
            &set("enrich.rib.vrf.a-name-too-long-for-a-device", "\"0:0\""),
            "t:3: agent.enrich.rib.vrf.a-name-too-long-for-a-device: expected the name of a device, of 1 to 15 bytes, got \"0:0\"",
        ),
        (
            &set("enrich.rib.vrf.red", "\"1\""),
            "t:3: agent.enrich.rib.vrf.red: expected a distinguisher such as \"65000:1\", got \"1\" (without a colon)",
        ),
        (
            &set("enrich.prefix", "[{ asn = 1 }]"),
            "t:3: agent.enrich.prefix[0].prefix: required, such as prefix = \"10.0.0.0/8\"",
        ),
        (
            &set(
                "enrich.prefix",
                "[{ prefix = \"::/8\" },\n{ prefix = \"::/8\" }]",
            ),
            "t:4: agent.enrich.prefix[1].prefix: expected each prefix only once, got ::/8 again",
        ),
        (
            &set("enrich.prefix", "3"),
            "t:3: agent.enrich.prefix: expected at most 10000 tables [[agent.enrich.prefix]], got 3",
        ),
        (
            &set("interface", "[{ role = \"ix\" }]"),
            "t:3: agent.interface[0].interfaces: required, such as interfaces = [\"eth0\"]",
        ),
        (
            &set("interface", "[{ interfaces = [\"a\"], role = \"ixp\" }]"),
            "t:3: agent.interface[0].role: expected \"transit\", \"ix\", \"pni\", \"customer\" or \"internal\", got \"ixp\" \
             (no such role)",
        ),
        (
            &set("enrich.peer", "[{ asn = 1 }]"),
            "t:3: agent.enrich.peer[0].interface: required without mac and address",
        ),
        (
            &set("enrich.peer", "[{ interface = \"eth0\" }]"),
            "t:3: agent.enrich.peer[0].asn: expected an AS or a name, got neither",
        ),
        (
            &set("enrich.peer", "[{ mac = \"02:00\", asn = 1 }]"),
            "t:3: agent.enrich.peer[0].mac: expected a MAC address such as \"02:00:5e:00:53:01\", got \"02:00\" \
             (not six pairs of hexadecimal digits)",
        ),
        (
            &set("firewall.enabled", "true"),
            "t:3: agent.firewall.interfaces: required when the firewall is enabled",
        ),
        (
            &set("firewall.blackhole_min_length", "[33, 128]"),
            "t:3: agent.firewall.blackhole_min_length: expected two lengths, IPv4 up to 32 and IPv6 up to 128, got [33, 128]",
        ),
        (
            &set("firewall.blackhole_action", "\"pass\""),
            "t:3: agent.firewall.blackhole_action: expected \"drop\" or \"count\", got \"pass\"",
        ),
        (
            &with("[[agent.firewall.rule]]\naction = \"limit\""),
            "t:3: agent.firewall.rule[0].rate: required with action \"limit\"",
        ),
        (
            &with("[[agent.firewall.rule]]\nrate = 5"),
            "t:4: agent.firewall.rule[0].rate: needs action \"limit\"",
        ),
        (
            &with("[[agent.firewall.rule]]\nproto = \"icmp\"\ndport = \"80\""),
            "t:5: agent.firewall.rule[0].dport: needs a proto with ports, such as \"tcp\", or none",
        ),
        (
            &with("[[agent.firewall.rule]]\nproto = \"tcp\"\ndport = \"80-70\""),
            "t:5: agent.firewall.rule[0].dport: expected ports such as \"80\" or \"53,6000-6063\", got \"80-70\" (the last port is below the first)",
        ),
        (
            &with("[[agent.firewall.rule]]\nproto = \"tcp,esp\"\nsport = \"53\""),
            "t:5: agent.firewall.rule[0].sport: needs a proto with ports, such as \"tcp\", or none",
        ),
        (
            &with("[[agent.firewall.rule]]\nproto = \"udp\"\ntcp_flags = \"syn\""),
            "t:5: agent.firewall.rule[0].tcp_flags: needs the proto \"tcp\", or none",
        ),
        (
            &with("[[agent.firewall.rule]]\nproto = \"tcp\"\nicmp_type = \"8\""),
            "t:5: agent.firewall.rule[0].icmp_type: needs the proto \"icmp\" or \"icmpv6\", or none",
        ),
        (
            &with("[[agent.firewall.rule]]\nsrc = \"192.0.2.1\"\nflow_label = \"8\""),
            "t:5: agent.firewall.rule[0].flow_label: needs prefixes of IPv6, or none",
        ),
        (
            &with("[[agent.firewall.rule]]\naction = \"limit\"\nrate = \"5mb\""),
            "t:5: agent.firewall.rule[0].rate: expected packets per second such as \"1000\", or bits per second such as \"10mbit\", got \"5mb\" (bits are a number and a unit, from 8kbit to 1tbit)",
        ),
        (
            &with("[[agent.firewall.rule]]\naction = \"limit\"\nrate = 1\nburst = 3601"),
            "t:6: agent.firewall.rule[0].burst: expected at most 3600, an hour of the rate, got 3601",
        ),
        (
            &with("[[agent.firewall.rule]]\nburst = 3601"),
            "t:4: agent.firewall.rule[0].burst: needs action \"limit\"",
        ),
        (
            &with("[[agent.firewall.rule]]\nsrc = \"::/0\"\ndst = \"0.0.0.0/0\""),
            "t:5: agent.firewall.rule[0].dst: expected the family of src (::/0), got 0.0.0.0/0",
        ),
    ] {
        assert_eq!(message(read(text)), expected, "{text}");
    }
}

#[test]
fn an_unknown_key_names_the_nearest() {
    for (text, expected) in [
        (
            with("interfces = 1"),
            "t:3: agent.interfces: unknown key, did you mean agent.interfaces?",
        ),
        (
            with("sample_rate = 1"),
            "t:3: agent.sample_rate: \"sample_rate\" belongs in the section [agent.bpf]",
        ),
        (
            with("[agent.firewall]\nexclude_interfaces = 1"),
            "t:4: agent.firewall.exclude_interfaces: \"exclude_interfaces\" belongs in the section [agent]",
        ),
        (
            with("\n[agent.bpf]\nsamplerate = 1"),
            "t:5: agent.bpf.samplerate: unknown key, did you mean agent.bpf.sample_rate?",
        ),
        (
            with("[agent.promtheus]\nport = 1"),
            "t:3: agent.promtheus: unknown key, did you mean agent.prometheus?",
        ),
        (
            with("[[agent.ipfix.collector]]\n[[agent.ipfix.collector]]\nhots = 1"),
            "t:5: agent.ipfix.collector[1].hots: unknown key, did you mean agent.ipfix.collector.host?",
        ),
        (with("colour = 1"), "t:3: agent.colour: unknown key"),
        (
            with("\"a\\u001b[2J\" = 1"),
            "t:3: agent.a\\u{1b}[2J: unknown key",
        ),
    ] {
        assert_eq!(message(read(&text)), expected, "{text}");
    }
}

#[test]
fn all_errors_are_listed_in_the_order_of_the_lines_and_their_number_is_bounded() {
    let text = with("bpf.position = 1\nbfp = 2\nprometheus.port = 0\nbpf.sample_rate = 0");
    assert_eq!(
        message(read(&text)),
        "t:3: agent.bpf.position: expected \"head\" or \"tail\", got 1\n\
         t:4: agent.bfp: unknown key, did you mean agent.bpf?\n\
         t:5: agent.prometheus.port: expected a whole number from 1 to 65535, got 0\n\
         t:6: agent.bpf.sample_rate: expected a whole number from 1 to 4294967295, got 0"
    );
    let many: String = (0..1000).map(|i| format!("x{i} = 1\n")).collect();
    let error = read(&with(&many)).unwrap_err();
    assert_eq!((error.errors.len(), error.left_out), (20, 980));
    assert!(error.to_string().ends_with("\nt: 980 more problems"));
}

/// Accepted and rejected values; the first and the last of each are the ends.
#[rustfmt::skip]
const RANGES: &[(&str, &[&str], &[&str])] = &[
    ("bpf.sample_rate", &["1", "4294967295", "0x10"], &["0", "-1", "4294967296"]),
    ("bpf.ring_buf_size", &["4096", "1073741824"], &["0", "2048", "2147483648"]),
    ("bpf.wakeup_batch", &["1", "4294967295"], &["0", "4294967296"]),
    ("bpf.iface_stats_size", &["0", "65535"], &["-1", "65536"]),
    ("bpf.flow_cache", &["0", "32", "1048576"], &["-1", "16", "1000", "2097152"]),
    ("collector.max_flows", &["0", "1", "1073741824"], &["-1", "1073741825"]),
    ("collector.eviction_timeout", &["\"1s\"", "\"365days\""], &["\"999ms\"", "\"366days\"", "\"\""]),
    ("collector.active_timeout", &["\"1s\"", "\"365days\""], &["\"999ms\"", "\"-1s\""]),
    ("prometheus.port", &["1", "65535"], &["0", "65536"]),
    ("prometheus.host", &["\"::\"", "\"fe80::1%eth0\"", "\"localhost\"", "\"a_b.example\""], &["\"a b\"", "\"::g\"", "\"256.1.1.1\"", "\"-a\"", "1"]),
    ("prometheus.labels", &["[]", "[\"vlan\"]", "[\"src_net\"]"], &["[\"port\"]", "\"vlan\""]),
    ("prometheus.max_series", &["1", "10000000"], &["0", "10000001"]),
    ("prometheus.series_ttl", &["\"1s\"", "\"365days\""], &["\"0s\"", "1"]),
    ("ipfix.port", &["0", "65535"], &["-1", "65536"]),
    ("ipfix.bind.port", &["0", "65535"], &["-1", "65536"]),
    ("ipfix.template_refresh", &["\"1s\""], &["\"0s\""]),
    ("ipfix.observation_domain_id", &["1", "4294967295"], &["0", "4294967296"]),
    ("enrich.rib.local_asn", &["0", "4294967295"], &["-1", "4294967296"]),
    ("enrich.rpki.rtr", &["\"\"", "\"[::1]\"", "\"a:1\""], &["\"::1\"", "\"a:0\"", "1"]),
    ("enrich.source_check.mode", &["\"off\"", "\"count\""], &["\"on\"", "true"]),
    ("enrich.rib.communities", &["[]", "[\"64500:*\"]", "[\"1:2:*\"]"], &["[\"64500\"]", "[\"65536:*\"]", "\"64500:*\""]),
    ("enrich.rib.bmp.port", &["0", "65535"], &["-1", "65536"]),
    ("enrich.rib.bmp.max_sessions", &["1", "1024"], &["0", "1025"]),
    ("enrich.rib.bmp.max_routes", &["1", "1000000000"], &["0", "1000000001"]),
    ("enrich.rib.bmp.stale_time", &["\"1s\""], &["\"0s\""]),
    ("enrich.mmdb.asn_db", &["\"\"", "\"/a\""], &["\"a\"", "1"]),
    ("control.mode", &["\"000\"", "\"0777\""], &["\"1777\"", "\"77\"", "\"+77\"", "432"]),
    ("control.group", &["\"\"", "\"adm\""], &["1", "\"a\\nb\""]),
    ("firewall.blackhole_min_length", &["[0, 0]", "[32, 128]"], &["[33, 0]", "[0, 129]", "[1]", "[1, 2, 3]", "1"]),
    ("firewall.blackhole_max", &["1", "100000"], &["0", "100001"]),
];

#[test]
fn every_range_has_its_ends() {
    for &(key, inside, outside) in RANGES {
        for value in inside {
            assert_eq!(
                message(read(&set(key, value))),
                "no error",
                "{key} = {value}"
            );
        }
        for value in outside {
            let got = message(read(&set(key, value)));
            let start = format!("t:3: agent.{key}: expected ");
            assert!(got.starts_with(&start), "{key} = {value}: {got}");
        }
    }
}

#[test]
fn the_source_check_and_rpki_check_other_keys() {
    assert_eq!(
        message(read(&set("enrich.source_check.mode", "\"enforce\""))),
        "t:3: agent.enrich.source_check.mode: \"enforce\" needs agent.firewall.enabled"
    );
    assert_eq!(
        message(read(&set("enrich.rpki", "{ vrps = \"/a\", rtr = \"b\" }"))),
        "t:3: agent.enrich.rpki.rtr: expected vrps or rtr, got both"
    );
}

#[test]
fn blackholing_needs_its_safety() {
    let text = set("firewall.blackhole_communities", "[\"65535:666\"]");
    assert_eq!(
        message(read(&text)),
        "t:3: agent.firewall.blackhole_within: required with blackhole_communities\n\
         t:3: agent.firewall.blackhole_peers: required with blackhole_communities\n\
         t:3: agent.firewall.blackhole_communities: needs agent.enrich.rib.bmp with a list of \
         routers in agent.enrich.rib.bmp.allow"
    );
    let safe = text
        + "\nfirewall.blackhole_within = [\"192.0.2.0/24\"]\n\
           firewall.blackhole_peers = [\"AS65000\", \"2001:db8::1\"]\n\
           enrich.rib.bmp = { port = 11019, allow = [\"::1\"] }\n";
    assert_eq!(message(read(&safe)), "no error");
}
