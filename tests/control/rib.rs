// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm rib`, and BMP in `rfm status`, with a router that speaks to the agent.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::builders::{POST, Said, initiation, peer};
use crate::common::agent::Agent;
use crate::common::lab::{Lab, can_run, wait_for};
use crate::common::mmdb::{Writer, asn};
use crate::harness::{Fixture, Folder, config};

#[test]
fn rib_tells_every_route_and_which_wins() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let folder = Folder::new();
    let mut writer = Writer::new(4, 24, 1_790_000_000);
    // not where the route leads
    writer.insert("192.0.2.0/24", &asn(64999, "Example Origin"));
    writer.insert("203.0.113.0/24", &asn(65002, "Example Transit"));
    let asn_db = lab.path("asn.mmdb");
    std::fs::write(&asn_db, writer.finish()).expect("a database");
    let more = format!(
        "[agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\nport = 11019\n[agent.enrich.mmdb]\nasn_db = {asn_db:?}\n"
    );
    let config = config(&folder, "[\"v1\"]", 1, &more);
    let agent = Agent::start(&lab, &namespace, &config);
    let fixture = Fixture {
        agent,
        namespace,
        folder,
        lab,
    };
    assert_eq!(fixture.json("status")["bmp"]["sessions"], 0);
    let mut bytes = initiation("edge");
    for (n, preference) in [(1, 100), (2, 200)] {
        let mut said = Said::new(&[65000 + u32::from(n), 64999]);
        said.local_pref = Some(preference);
        said.communities = vec![64500 << 16 | 1, 0xffff_ff01];
        bytes.extend(match n {
            1 => peer(n).up(),
            // its host name
            _ => peer(n).up_with(b"\x49\x06\x04west\x00"),
        });
        bytes.extend(
            peer(n)
                .flags(POST)
                .announce_with(&[(None, "198.51.100.0/24")], &said),
        );
    }
    let router = fixture.namespace.inside(|| {
        let mut stream = TcpStream::connect("127.0.0.1:11019").expect("the collector listens");
        stream.write_all(&bytes).expect("sent");
        stream
    });
    let routes = || {
        fixture.json("rib 198.51.100.7")["routes"]
            .as_array()
            .unwrap()
            .len()
    };
    assert!(wait_for(Duration::from_secs(5), || routes() == 2));

    let answer = fixture.json("rib 198.51.100.7");
    assert_eq!(answer["prefix"], "198.51.100.0/24");
    assert_eq!(answer["table"], "global");
    let (best, other) = (&answer["routes"][0], &answer["routes"][1]);
    for (field, value) in [
        ("best", json!(true)),
        ("peer", json!("10.0.0.2")),
        ("reason", json!("local preference")),
        ("local_pref", json!(200)),
        ("origin_asn", json!(64999)),
        ("neighbour_asn", json!(65002)),
        ("as_path_length", json!(2)),
        ("as_path", json!("65002 64999")),
        ("peer_asn", json!(65002)),
        ("peer_name", json!("west")),
        ("communities", json!(["64500:1", "65535:65281"])),
        ("large_communities", json!([])),
        ("local_pref_sent", json!(true)),
        ("med_sent", json!(false)),
        ("step", json!("local preference")),
        ("unknown_steps", json!(["weight or preference"])),
        ("view", json!("post-policy")),
        ("router", json!("127.0.0.1 edge")),
        ("stale", json!(false)),
    ] {
        assert_eq!(best[field], value, "{field}");
    }
    assert_eq!(other["best"], false);
    assert_eq!(other["reason"], "local preference 100 < 200");

    assert!(best["age_max"].as_u64().is_some_and(|age| age < 60));
    assert_eq!(best["age_min"], best["age_max"]);

    let names = json!({"64999": "Example Origin", "65002": "Example Transit"});
    let named = || fixture.json("rib 198.51.100.7")["asn_names"] == names;
    assert!(wait_for(Duration::from_secs(5), named));

    let labels = fixture.rfm("lookup 198.51.100.7");
    let row = labels.lines().find(|l| l.starts_with("peer_asn_name "));
    let row = row.expect("a row");
    assert!(row.contains(" Example Transit  database "), "{labels}");

    let text = fixture.rfm("rib 198.51.100.7");
    let (head, text) = text.split_once('\n').unwrap();
    assert_eq!(
        head,
        "198.51.100.7 in table global: 198.51.100.0/24, origin AS64999, neighbor AS65002"
    );
    for line in [
        "> 198.51.100.0/24 from 10.0.0.2 (AS65002, west), post-policy",
        "    AS path      65002 64999",
        "    communities  64500:1 65535:65281",
        "    chosen by    local preference",
        "    unknown      weight or preference",
        "  198.51.100.0/24 from 10.0.0.1 (AS65001), post-policy",
        "    not chosen   local preference 100 < 200",
        "    names        AS64999 Example Origin, AS65002 Example Transit",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    let whole = fixture.json("rib 198.51.100.0/24");
    assert_eq!(whole["routes"].as_array().unwrap().len(), 2);
    assert_eq!(fixture.json("rib 198.51.0.0/16")["routes"], json!([]));
    assert_eq!(
        fixture.rfm("rib 203.0.113.1"),
        "no route for 203.0.113.1 in table global\n"
    );
    let none = fixture.json("rib 203.0.113.1");
    assert_eq!(none["none_chosen"], "no router has sent a route for it");
    let (code, _, error) = fixture.try_rfm("rib 198.51.100.7 --vrf red");
    assert_eq!(
        (code, &*error),
        (
            1,
            "rfm: no such VRF: agent.enrich.rib.vrf names those that have a table\n"
        )
    );

    let bmp = &fixture.json("status")["bmp"];
    assert_eq!(
        (&bmp["sessions"], &bmp["peer_count"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(bmp["routers"][0]["router"], "127.0.0.1 edge");
    assert_eq!(bmp["routers"][0]["updates"], 2);
    assert_eq!(bmp["peers"][1]["ipv4_routes"], 1);
    assert!(fixture.rfm("status").contains("127.0.0.1 edge"));

    let (status, _) = fixture.post("/v1/bmp/flush", "{\"router\": \"nobody\"}");
    assert_eq!(status, 404);
    let (status, reply) = fixture.post("/v1/bmp/flush", "{\"router\": \"127.0.0.1 edge\"}");
    assert_eq!((status, reply), (200, json!({"sessions": 1})));
    assert!(wait_for(Duration::from_secs(5), || routes() == 0));
    assert_eq!(fixture.json("status")["bmp"]["sessions"], 0);
    drop(router);
}

#[test]
fn lookup_names_the_source_of_each_label() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mmdb");
    let city_db = format!("{data}/GeoLite2-City-Test.mmdb");
    let more = format!(
        "[agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\nport = 11019\n\
         [agent.enrich.mmdb]\ncity_db = \"{city_db}\"\n\
         [[agent.enrich.prefix]]\nprefix = \"::ffff:198.51.100.0/121\"\nname = \"office\"\n\
         [[agent.enrich.prefix]]\nprefix = \"10.0.0.0/8\"\nasn = 64512\n"
    );
    let fixture = Fixture::new(&more);
    let mut bytes = [initiation("edge"), peer(1).up()].concat();
    bytes.extend(peer(1).announce("198.51.100.0/24", &[65001, 64999]));
    bytes.extend(peer(1).announce("0.0.0.0/0", &[65001]));
    let _router = fixture.namespace.inside(|| {
        let mut stream = TcpStream::connect("127.0.0.1:11019").expect("the collector listens");
        stream.write_all(&bytes).expect("sent");
        stream
    });
    let label = |address: &str, label: &str| {
        let answer = fixture.json(&format!("lookup {address}"));
        let labels = answer["labels"].as_array().unwrap().iter();
        let found = labels
            .clone()
            .find(|l| l["label"] == label)
            .unwrap()
            .clone();
        (found["value"].clone(), found["source"].clone())
    };
    let arrived = || label("198.51.100.7", "asn").0 == "64999";
    assert!(wait_for(Duration::from_secs(5), arrived));
    let route = "BGP route 198.51.100.0/24 of 10.0.0.1 (AS65001), pre-policy of 127.0.0.1 edge";
    let default = "BGP route 0.0.0.0/0 of 10.0.0.1 (AS65001), pre-policy of 127.0.0.1 edge";
    let database = format!("database {city_db}");
    let by_default = format!("none: a default route, {default}");
    for (address, name, value, source) in [
        ("198.51.100.7", "asn", json!("64999"), route),
        ("198.51.100.7", "peer_asn", json!("65001"), route),
        (
            "198.51.100.7",
            "rpki",
            json!(null),
            "none: no VRPs are in use (agent.enrich.rpki)",
        ),
        (
            "198.51.100.7",
            "net",
            json!("office"),
            "static prefix 198.51.100.0/25",
        ),
        (
            "198.51.100.200",
            "net",
            json!(null),
            "none: no static prefix",
        ),
        (
            "10.1.2.3",
            "asn",
            json!("64512"),
            "static prefix 10.0.0.0/8",
        ),
        (
            "10.1.2.3",
            "peer_asn",
            json!(null),
            "none: the static prefix 10.0.0.0/8 replaces the route",
        ),
        ("203.0.113.9", "asn", json!(null), &by_default),
        ("203.0.113.9", "peer_asn", json!("65001"), default),
        ("81.2.69.160", "city", json!("London"), &database),
        ("203.0.113.9", "asn_name", json!(null), "none: no ASN"),
        (
            "::ffff:127.0.0.1",
            "asn",
            json!(null),
            "none: loopback, link-local and multicast addresses have no labels",
        ),
    ] {
        let expected = (value, json!(source));
        assert_eq!(label(address, name), expected, "{address} {name}");
    }
    let text = fixture.rfm("lookup 198.51.100.7");
    assert_eq!(text.lines().count(), 9, "{text}");
    assert!(
        text.starts_with("LABEL          VALUE   SOURCE\n"),
        "{text}"
    );
    let (code, _, error) = fixture.try_rfm("lookup 198.51.100.7 --vrf red");
    assert_eq!(
        (code, &*error),
        (
            1,
            "rfm: no such VRF: agent.enrich.rib.vrf names those that have a table\n"
        )
    );
}

#[test]
fn without_bmp_there_is_no_table() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let fixture = Fixture::new("");
    assert_eq!(fixture.json("status")["bmp"], json!(null));
    let (code, _, error) = fixture.try_rfm("rib 198.51.100.7");
    assert_eq!(code, 1);
    assert!(error.contains("agent.enrich.rib.bmp is not set"), "{error}");
}
