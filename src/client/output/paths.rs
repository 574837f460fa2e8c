// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm paths`

use super::rib::names;
use super::{as_name, share};
use crate::args::PathOptions;
use crate::client::format;
use crate::client::table::{Align, TextTable};
use crate::control::api;

/// The number of ASes behind another one that are listed.
const LISTED: usize = 20;

pub fn paths(reply: &api::PathsReply, options: &PathOptions) -> String {
    let mut table = TextTable::new(&[
        ("AS PATH", Align::Left),
        ("IN", Align::Right),
        ("OUT", Align::Right),
        ("PACKETS", Align::Right),
        ("SHARE", Align::Right),
    ]);
    let mut row = |name: String, sums: &api::PathSums| {
        table.row([
            name,
            format::bytes(sums.ingress.bytes),
            format::bytes(sums.egress.bytes),
            sums.packets().to_string(),
            share(sums.bytes(), reply.total.bytes()),
        ]);
    };
    for entry in &reply.paths {
        row(name(entry), &entry.sums);
    }
    let shown = reply.paths.len() as u64;
    if reply.count > 1 {
        row(
            format!("all {} paths{}", reply.count, selected(options)),
            &reply.matched,
        );
    }
    for (name, sums) in [
        ("no route", &reply.unknown),
        ("rest: paths that found no room", &reply.rest),
    ] {
        if sums.packets() > 0 {
            row(name.to_owned(), sums);
        }
    }
    row("all traffic".to_owned(), &reply.total);
    let since = minute(&reply.since);
    let mut text = match reply.count {
        0 => format!("no path{} since {since}\n\n", selected(options)),
        count if shown < count => {
            format!("{shown} of {count} paths since {since}; more with --limit\n\n")
        }
        _ => format!("since {since}\n\n"),
    };
    text += &table.render();
    text += &names(&reply.asn_names);
    if let Some(history) = &reply.history {
        text.push('\n');
        text += &intervals(history);
    }
    text
}

/// Returns a path as text; it is empty for networks of the own AS, and of static prefixes.
fn name(entry: &api::PathEntry) -> String {
    match (&entry.path[..], entry.origin_asn) {
        ("", Some(origin)) => format!("AS{origin}, without a path"),
        (path, Some(_)) => path.to_owned(),
        (path, None) => format!("{path} (origin unknown)"),
    }
}

fn selected(options: &PathOptions) -> String {
    let parts = [
        (" via AS", &options.via),
        (" with origin AS", &options.origin),
        (" of peer AS", &options.peer),
    ];
    let given = parts.into_iter();
    let given =
        given.filter_map(|(words, asn)| Some(format!("{words}{}", number(asn.as_deref()?))));
    given.collect()
}

fn number(asn: &str) -> &str {
    asn.trim_start_matches(|c: char| !c.is_ascii_digit())
}

fn intervals(history: &[api::PathHistory]) -> String {
    let mut table = TextTable::new(&[
        ("INTERVAL", Align::Left),
        ("IN", Align::Right),
        ("OUT", Align::Right),
        ("RATE IN", Align::Right),
        ("RATE OUT", Align::Right),
    ]);
    for interval in history {
        let (ingress, egress) = (interval.sums.ingress.bytes, interval.sums.egress.bytes);
        let rate = |bytes: u64| format::bits(bytes as f64 / interval.seconds.max(1) as f64);
        table.row([
            minute(&interval.start),
            format::bytes(ingress),
            format::bytes(egress),
            rate(ingress),
            rate(egress),
        ]);
    }
    table.render()
}

/// Returns a time to the minute: "2026-11-29 10:05 UTC".
fn minute(time: &str) -> String {
    let minute = time.get(..16).unwrap_or(time);
    format!("{} UTC", minute.replace('T', " "))
}

pub fn what_if(reply: &api::WhatIfReply) -> String {
    let asn = reply.asn;
    let mut table = TextTable::new(&[
        ("NEIGHBOR", Align::Left),
        ("TRAFFIC OF", Align::Left),
        ("DIR", Align::Left),
        ("BYTES", Align::Right),
        ("95TH PERCENTILE", Align::Right),
        ("PEAK HOUR", Align::Right),
        ("FROM", Align::Left),
    ]);
    let mut add = |name: &str, networks: &str, loads: &api::WhatIfLoads| {
        for (direction, load) in [("in", &loads.ingress), ("out", &loads.egress)] {
            let Some(peak) = &load.peak_hour else {
                continue;
            };
            table.row([
                name.to_owned(),
                networks.to_owned(),
                direction.to_owned(),
                format::bytes(load.bytes),
                format::bits(load.p95_bytes_per_second as f64),
                format::bits(peak.bytes_per_second as f64),
                minute(&peak.start),
            ]);
        }
    };
    let (alone, cone) = (format!("AS{asn}"), format!("AS{asn} and behind"));
    for neighbor in &reply.neighbors {
        let name = match neighbor.peer_asn {
            Some(neighbor) => as_name(neighbor, &reply.asn_names),
            None => "unknown".to_owned(),
        };
        add(&name, &cone, &neighbor.with_cone);
        add(&name, &alone, &neighbor.without_cone);
    }
    if reply.neighbors.len() > 1 {
        add("all", &cone, &reply.total.with_cone);
        add("all", &alone, &reply.total.without_cone);
    }
    let since = minute(&reply.since);
    let mut text = match reply.neighbors.len() {
        0 => format!("no traffic on a path with AS{asn} behind a neighbor since {since}\n"),
        _ => format!(
            "traffic on paths with AS{asn} behind a neighbor since {since}\n\n{}",
            table.render()
        ),
    };
    if reply.direct.packets() > 0 {
        let bytes = format::bytes(reply.direct.bytes());
        text +=
            &format!("\nAS{asn} is a neighbor already: {bytes} are on paths that begin with it.\n");
    }
    if reply.neighbors.is_empty() {
        return text;
    }
    let listed = reply.cone.iter().take(LISTED).map(u32::to_string);
    let listed: Vec<_> = listed.collect();
    text += &match reply.cone.len() {
        0 => format!("\nNo AS was seen behind AS{asn}.\n"),
        n if n > LISTED => format!(
            "\n{n} ASes were seen behind AS{asn}, such as {}.\n",
            listed.join(", ")
        ),
        n => format!(
            "\n{n} {} seen behind AS{asn}: {}.\n",
            if n == 1 { "AS was" } else { "ASes were" },
            listed.join(", ")
        ),
    };
    let listed = reply.cone.iter().take(LISTED).chain([&reply.asn]);
    let listed = listed.filter_map(|asn| Some((*asn, reply.asn_names.get(asn)?.clone())));
    text += &names(&listed.collect());
    text += &format!("\n{}\n", reply.upper_bound);
    text
}
