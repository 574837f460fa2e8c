// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm rib`, and BMP in `rfm status`, with a router that speaks to the agent.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::common::agent::Agent;
use crate::common::lab::{Lab, can_run, wait_for};
use crate::craft::{Said, initiation, peer};
use crate::kit::{Folder, Rig, config};

#[test]
fn rib_tells_every_route_and_which_wins() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let folder = Folder::new();
    let more = "[agent.enrich.rib.bmp]\nhost = \"127.0.0.1\"\nport = 11019\n";
    let config = config(&folder, "[\"v1\"]", 1, more);
    let agent = Agent::start(&lab, &namespace, &config);
    let rig = Rig {
        agent,
        namespace,
        folder,
        lab,
    };
    assert_eq!(rig.json("status")["bmp"]["sessions"], 0);
    let mut bytes = initiation("edge");
    for (n, preference) in [(1, 100), (2, 200)] {
        let mut said = Said::new(&[65000 + u32::from(n), 64999]);
        said.local_pref = Some(preference);
        bytes.extend(peer(n).up());
        bytes.extend(peer(n).announce_with(&[(None, "198.51.100.0/24")], &said));
    }
    let router = rig.namespace.inside(|| {
        let mut stream = TcpStream::connect("127.0.0.1:11019").expect("the collector listens");
        stream.write_all(&bytes).expect("sent");
        stream
    });
    let routes = || {
        rig.json("rib 198.51.100.7")["routes"]
            .as_array()
            .unwrap()
            .len()
    };
    assert!(wait_for(Duration::from_secs(5), || routes() == 2));

    let answer = rig.json("rib 198.51.100.7");
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
        ("view", json!("pre-policy")),
        ("router", json!("127.0.0.1 edge")),
        ("stale", json!(false)),
    ] {
        assert_eq!(best[field], value, "{field}");
    }
    assert_eq!(other["best"], false);
    assert_eq!(other["reason"], "local preference 100 < 200");

    let text = rig.rfm("rib 198.51.100.7");
    let line = |n: usize| text.lines().nth(n).unwrap_or_default();
    assert!(
        line(1).starts_with(">  198.51.100.0/24  10.0.0.2"),
        "{text}"
    );
    assert!(line(2).ends_with("local preference 100 < 200"), "{text}");
    assert_eq!(
        rig.rfm("rib 203.0.113.1"),
        "no route for 203.0.113.1 in table global\n"
    );
    let (code, _, error) = rig.try_rfm("rib 198.51.100.7 --vrf red");
    assert_eq!(
        (code, &*error),
        (1, "rfm: no such VRF in agent.enrich.rib.vrf\n")
    );

    let bmp = &rig.json("status")["bmp"];
    assert_eq!(
        (&bmp["sessions"], &bmp["peer_count"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(bmp["routers"][0]["router"], "127.0.0.1 edge");
    assert_eq!(bmp["routers"][0]["updates"], 2);
    assert_eq!(bmp["peers"][1]["ipv4_routes"], 1);
    assert!(rig.rfm("status").contains("127.0.0.1 edge"));

    let (status, _) = rig.post("/v1/bmp/flush", "{\"router\": \"nobody\"}");
    assert_eq!(status, 404);
    let (status, reply) = rig.post("/v1/bmp/flush", "{\"router\": \"127.0.0.1 edge\"}");
    assert_eq!((status, reply), (200, json!({"sessions": 1})));
    assert!(wait_for(Duration::from_secs(5), || routes() == 0));
    assert_eq!(rig.json("status")["bmp"]["sessions"], 0);
    drop(router);
}

#[test]
fn without_bmp_there_is_no_table() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let rig = Rig::new("");
    assert_eq!(rig.json("status")["bmp"], json!(null));
    let (code, _, error) = rig.try_rfm("rib 198.51.100.7");
    assert_eq!(code, 1);
    assert!(error.contains("agent.enrich.rib.bmp is not set"), "{error}");
}
