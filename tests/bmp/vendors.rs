// SPDX-License-Identifier: AGPL-3.0-only
//! Recorded sessions of Cisco, Huawei and Juniper routers leave the routes that another decoder reports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rfm::enrich::bmp::{Session, SessionStats};
use rfm::enrich::rib::{HeldRoute, Rib, RibConfig, View};
use rfm::types::distinguisher::Distinguisher;
use serde_json::Value;

use crate::captures::settings;
use crate::data::{messages, unpacked};

/// Streams, and unlabelled and labelled routes at their ends.
const FIGURES: (usize, usize, usize) = (19, 4605, 1825);

fn expected() -> BTreeMap<String, Value> {
    let bytes = unpacked("bmp-vendors/expected.json.xz");
    serde_json::from_slice(&bytes).unwrap()
}

/// A table for each distinguisher.
fn with_tables(expected: &Value) -> RibConfig {
    let distinguisher = |hex: &String| {
        let number = u64::from_str_radix(hex, 16).unwrap();
        (format!("vrf-{hex}"), Distinguisher(number.to_be_bytes()))
    };
    let tables = expected["vrf"].as_object().unwrap();
    RibConfig {
        vrf: tables.keys().map(distinguisher).collect(),
        ..settings()
    }
}

/// A route in the words of the other decoder.
fn shown(route: &HeldRoute) -> Value {
    let (peer, attributes) = (&route.peer, &route.attributes);
    let (address, view) = match route.view {
        View::LocRib => ("loc-rib".to_owned(), "loc-rib"),
        View::PrePolicy => (peer.address.to_string(), "pre-policy"),
        View::PostPolicy => (peer.address.to_string(), "post-policy"),
    };
    let next_hop = attributes.next_hop.map(|hop| hop.to_string());
    serde_json::json!([
        format!("{:016x}", u64::from_be_bytes(peer.distinguisher)),
        format!("{}/{}", route.prefix.address(), route.prefix.length()),
        address,
        view,
        route.path_id,
        attributes.origin_asn,
        attributes.peer_asn,
        next_hop,
        attributes.preference().local_pref(),
        attributes.preference().med(),
        attributes.origin,
        attributes.path_length,
    ])
}

/// The other decoder writes mapped addresses in hexadecimal digits.
fn with_usual_next_hop(mut route: Value) -> Value {
    if let Some(address) = route[7].as_str().and_then(|hop| hop.parse::<IpAddr>().ok()) {
        route[7] = address.to_string().into();
    }
    route
}

#[test]
fn each_route_is_as_another_decoder_reports_it() {
    let (mut figures, mut errors) = ((0, 0, 0), Vec::new());
    for (name, expected) in expected() {
        let mut rib = Rib::new(with_tables(&expected));
        let mut session = Session::new([192, 0, 2, 1].into(), false, 0);
        let mut stats = SessionStats::default();
        let bytes = unpacked(&format!("bmp-vendors/{name}.bmp.xz"));
        for message in messages(&bytes) {
            let fed = session.feed(&mut rib, message, 0, &mut stats).unwrap();
            assert_eq!(fed.0, message.len(), "{name}");
        }
        // the other decoder does not read labelled unicast
        let (labelled, unlabelled): (Vec<_>, _) =
            rib.routes().into_iter().partition(|route| route.labelled);
        let mut held: Vec<_> = unlabelled.iter().map(shown).collect();
        let routes = expected["routes"].as_array().unwrap();
        let mut routes: Vec<_> = routes.iter().cloned().map(with_usual_next_hop).collect();
        for list in [&mut held, &mut routes] {
            list.sort_by_key(Value::to_string);
        }
        let missing: Vec<_> = routes.iter().filter(|r| !held.contains(r)).collect();
        let surplus: Vec<_> = held.iter().filter(|r| !routes.contains(r)).collect();
        assert_eq!((&missing[..], &surplus[..]), (&[][..], &[][..]), "{name}");
        assert_eq!(held.len(), routes.len(), "{name}");
        for (error, times, _) in stats.error_counts() {
            errors.push((name.clone(), error.name(), times));
        }
        figures.0 += 1;
        figures.1 += held.len();
        figures.2 += labelled.len();
    }
    assert_eq!(figures, FIGURES);
    // routes of VRFs for which the router has sent no Peer Up
    assert_eq!(
        errors,
        [("pmacct-208-2001_db8_90__1".to_owned(), "unknown_peer", 20)]
    );
}
