// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm rib`

use crate::client::table::{Align, Table};
use crate::control::api;

pub fn rib(answer: &api::RibAnswer) -> String {
    if answer.routes.is_empty() {
        return format!(
            "no route for {} in table {}\n",
            answer.address, answer.table
        );
    }
    let mut table = Table::new(&[
        ("", Align::Left),
        ("PREFIX", Align::Left),
        ("PEER", Align::Left),
        ("VIEW", Align::Left),
        ("PATH", Align::Right),
        ("NEXT HOP", Align::Left),
        ("ORIGIN AS", Align::Right),
        ("NEIGHBOUR AS", Align::Right),
        ("PREF", Align::Right),
        ("LENGTH", Align::Right),
        ("ORIGIN", Align::Left),
        ("MED", Align::Right),
        ("ROUTER", Align::Left),
        ("WHY", Align::Left),
    ]);
    let number = |n: Option<u32>| n.map_or_else(String::new, |n| n.to_string());
    for route in &answer.routes {
        let mut why = route.reason.clone();
        if route.stale {
            why += ", stale";
        }
        if route.blackhole {
            why += ", blackhole";
        }
        match route.blackhole_state.as_deref() {
            Some("taken") => why += " taken",
            Some(reason) => why += &format!(" refused ({reason})"),
            None => {}
        }
        table.row([
            if route.best { ">" } else { " " }.into(),
            route.prefix.clone(),
            route.peer.clone(),
            route.view.clone(),
            number(route.path_id),
            route.next_hop.clone().unwrap_or_default(),
            number(route.origin_asn),
            number(route.neighbour_asn),
            route.local_pref.to_string(),
            route.as_path_length.to_string(),
            route.origin.clone(),
            route.med.to_string(),
            route.router.clone(),
            why,
        ]);
    }
    table.render()
}
