// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm rib` and `rfm lookup`

use std::collections::BTreeMap;

use super::as_name;
use crate::client::format::duration;
use crate::client::table::{Align, TextTable, clean};
use crate::control::api;

/// The longest line, if the text can be broken.
const WIDTH: usize = 100;

pub fn rib(answer: &api::RibReply) -> String {
    let (asked, table) = (&answer.address, &answer.table);
    let mut text = match answer.routes.iter().find(|route| route.best) {
        Some(best) => {
            let of = |name, asn: Option<u32>| asn.map(|asn| format!(", {name} AS{asn}"));
            let origin = match best.is_default() {
                true => ", a default route without origin".to_owned(),
                false => of("origin", best.origin_asn).unwrap_or_default(),
            };
            let neighbor = of("neighbor", best.neighbour_asn).unwrap_or_default();
            format!(
                "{asked} in table {table}: {}{origin}{neighbor}\n",
                best.prefix
            )
        }
        None if answer.routes.is_empty() => format!("no route for {asked} in table {table}\n"),
        None => {
            let reason = answer.none_chosen.as_deref().unwrap_or("unknown");
            format!("no route was chosen for {asked} in table {table}: {reason}\n")
        }
    };
    for route in &answer.routes {
        text.push('\n');
        text += &block(route);
    }
    text += &names(&answer.asn_names);
    if answer.routes.iter().any(|r| !r.unknown_steps.is_empty()) {
        text += "\nSteps shown as unknown are not in BMP: the router may have chosen another route there. \
                 Only\na Loc-RIB is certain.\n";
    }
    text
}

/// Returns a line with the names of ASNs, if there are any.
pub(super) fn names(names: &BTreeMap<u32, String>) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<_> = names.keys().map(|asn| as_name(*asn, names)).collect();
    format!("\n{}", wrapped("names", &names.join(", ")))
}

/// Returns a route as lines with a name and a value each.
fn block(route: &api::RibRoute) -> String {
    let mark = if route.best { ">" } else { " " };
    let peer = match (route.peer_asn, &route.peer_name) {
        (Some(asn), Some(name)) => format!("{} (AS{asn}, {name})", route.peer),
        (Some(asn), None) => format!("{} (AS{asn})", route.peer),
        (None, _) => route.peer.clone(),
    };
    let path_id = route.path_id.map(|id| format!(", path {id}"));
    let head = format!(
        "{mark} {} from {peer}{}, {}\n",
        route.prefix,
        path_id.unwrap_or_default(),
        route.view
    );
    let mut text = clean_line(&head);
    let mut line = |name: &str, value: String| text += &wrapped(name, &value);
    let path = match &route.as_path[..] {
        "" if route.cut => "not held: no memory was left for it".to_owned(),
        "" => "empty: the router's own AS".to_owned(),
        path => path.to_owned(),
    };
    line("AS path", path);
    let next_hop = route.next_hop.as_deref().unwrap_or("none");
    let sent = |value: u32, sent: bool| match sent {
        true => value.to_string(),
        false => format!("{value} (not sent)"),
    };
    line(
        "attributes",
        format!(
            "next hop {next_hop}, origin {}, local preference {}, MED {}",
            route.origin,
            sent(route.local_pref, route.local_pref_sent),
            sent(route.med, route.med_sent),
        ),
    );
    if let Some(validity) = &route.rpki {
        line("rpki", validity.clone());
    }
    if !route.communities.is_empty() {
        line("communities", route.communities.join(" "));
    }
    if !route.large_communities.is_empty() {
        line("large", route.large_communities.join(" "));
    }
    if let Some(originator) = &route.originator_id {
        let clusters = route.cluster_list.join(" ");
        line(
            "reflected",
            format!("originator {originator}, clusters {clusters}"),
        );
    }
    let stale = match route.stale {
        true => ", stale: the session has ended",
        false => "",
    };
    line(
        "received",
        format!("{} ago from router {}{stale}", age(route), route.router),
    );
    if route.blackhole {
        let state = match route.blackhole_state.as_deref() {
            Some("taken") => "taken".to_owned(),
            Some(reason) => format!("refused ({reason})"),
            None => "community present; no rule asks for it".to_owned(),
        };
        line("blackhole", state);
    }
    line(
        match route.best {
            true => "chosen by",
            false => "not chosen",
        },
        route.reason.clone(),
    );
    if !route.unknown_steps.is_empty() {
        line("unknown", route.unknown_steps.join(", "));
    }
    text
}

fn age(route: &api::RibRoute) -> String {
    let (least, most) = (duration(route.age_min), duration(route.age_max));
    match route.age_max - route.age_min {
        // the difference is too small to matter
        0..10 => most,
        _ => format!("{least} to {most}"),
    }
}

/// Returns a name and its value; lines of the value are broken between words.
fn wrapped(name: &str, value: &str) -> String {
    const INDENT: usize = 17;
    let value = clean(value);
    let mut text = format!("    {name:<width$}", width = INDENT - 4);
    let mut column = INDENT;
    for (n, word) in value.split(' ').enumerate() {
        let length = word.chars().count();
        if n > 0 && column + 1 + length > WIDTH {
            text += &format!("\n{:INDENT$}", "");
            column = INDENT;
        } else if n > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += length;
    }
    text.push('\n');
    text
}

fn clean_line(line: &str) -> String {
    clean(line.trim_end()) + "\n"
}

pub fn lookup(answer: &api::LookupReply) -> String {
    let mut table = TextTable::new(&[
        ("LABEL", Align::Left),
        ("VALUE", Align::Left),
        ("SOURCE", Align::Left),
    ]);
    for label in &answer.labels {
        table.row([
            label.label.clone(),
            label.value.clone().unwrap_or_else(|| "-".into()),
            label.source.clone(),
        ]);
    }
    table.render()
}
