// SPDX-License-Identifier: AGPL-3.0-only
//! Networks that the operator names, beside those that BGP tells.

use rfm::enrich::rib::{Settings, Source, TableId};

use crate::craft::*;

fn lab() -> Lab {
    Lab::with(Settings {
        statics: vec![
            static_prefix("198.51.100.0/24", 64510, "office"),
            static_prefix("10.0.0.0/8", 0, "lab"),
            static_prefix("2001:db8::/32", 64511, ""),
            static_prefix("127.0.0.0/8", 64512, "self"),
            static_prefix("0.0.0.0/0", 64513, "all"),
        ],
        vrf: vec![("red".into(), "65000:1".parse().unwrap())],
        ..Settings::default()
    })
}

fn name(lab: &Lab, address: &str) -> Option<String> {
    match lab.route(address)?.source {
        Source::Static(name) => Some(name.to_string()),
        Source::Bgp => None,
    }
}

#[test]
fn they_answer_where_bgp_is_silent() {
    let mut lab = lab();
    lab.rib.settle();
    assert_eq!(lab.origin("198.51.100.1"), 64510);
    assert_eq!(name(&lab, "198.51.100.1").as_deref(), Some("office"));
    assert_eq!(lab.origin("2001:db8::1"), 64511);
    assert_eq!(lab.origin("10.0.0.1"), 0, "no ASN was given");
    assert_eq!(name(&lab, "10.0.0.1").as_deref(), Some("lab"));
    assert_eq!(
        lab.origin("192.0.2.1"),
        64513,
        "the operator may name a default"
    );
    assert_eq!(lab.route("127.0.0.1"), None, "loopback has no label");
    assert_eq!(lab.route("2001:db9::1"), None);
}

#[test]
fn they_win_at_equal_length_and_lose_to_longer_ones() {
    let mut lab = lab();
    let s = lab.connect_from("127.0.0.1", true, "near");
    lab.send(s, &peer(1).up());
    lab.send(s, &peer(1).announce("198.51.100.0/24", &[65001, 1]));
    lab.send(s, &peer(1).announce("198.51.0.0/16", &[65001, 1]));
    lab.send(s, &peer(1).announce("198.51.100.128/25", &[65001, 2]));
    assert_eq!(lab.origin("198.51.100.1"), 64510);
    assert_eq!(lab.origin("198.51.100.129"), 2);
    assert_eq!(
        lab.origin("198.51.101.1"),
        1,
        "longer than the static default"
    );
    assert_eq!(lab.route("198.51.100.1").unwrap().prefix_len, 24);
}

#[test]
fn they_belong_to_the_global_table() {
    let mut lab = lab();
    lab.rib.settle();
    let red = lab.rib.table(Some("red")).unwrap();
    assert_ne!(red, TableId::GLOBAL);
    assert_eq!(lab.rib.lookup([198, 51, 100, 1].into(), red), None);
}
