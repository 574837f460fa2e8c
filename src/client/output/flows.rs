// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm flows`, and `rfm top` without the live view.

use serde_json::Value as Json;

use crate::client::format::{self, Estimate};
use crate::client::table::{Align, TextTable};
use crate::control::api;
use crate::types::protocol::Protocol;

pub fn flows(list: &api::FlowsReply) -> String {
    let mut table = TextTable::new(&[
        ("INTERFACE", Align::Left),
        ("DIR", Align::Left),
        ("PROTO", Align::Left),
        ("SOURCE", Align::Left),
        ("DESTINATION", Align::Left),
        ("VLAN", Align::Left),
        ("RATE", Align::Right),
        ("BYTES", Align::Right),
        ("PACKETS", Align::Right),
        ("±", Align::Right),
        ("SRC AS", Align::Left),
        ("DST AS", Align::Left),
    ]);
    for flow in &list.flows {
        table.row([
            flow.interface.clone(),
            direction(&flow.direction).into(),
            Protocol(flow.protocol).to_string(),
            end(&flow.src, flow.src_port, has_ports(flow)),
            end(&flow.dst, flow.dst_port, has_ports(flow)),
            vlan(flow),
            format::bits(flow.bytes_per_second as f64),
            format::bytes(flow.bytes),
            flow.packets.to_string(),
            format::error_of(flow.into()),
            network(flow.src_asn, flow.src_asn_name.as_deref()),
            network(flow.dst_asn, flow.dst_asn_name.as_deref()),
        ]);
    }
    match list.flows.len() {
        0 => "no flow that matches\n".into(),
        shown if (shown as u64) < list.matched => format!(
            "{}{shown} of {} flows; more with --limit\n",
            table.render(),
            list.matched
        ),
        _ => table.render(),
    }
}

/// Returns "in" or "out", as seen from the router.
pub fn direction(direction: &str) -> &str {
    match direction {
        "ingress" => "in",
        "egress" => "out",
        other => other,
    }
}

/// Returns whether the protocol has ports: TCP, UDP, DCCP, SCTP and UDP-Lite.
fn has_ports(flow: &api::LiveFlow) -> bool {
    Protocol(flow.protocol).has_ports()
}

pub fn end(address: &str, port: u16, has_ports: bool) -> String {
    match (has_ports, address.contains(':')) {
        (false, _) => address.to_owned(),
        (true, true) => format!("[{address}]:{port}"),
        (true, false) => format!("{address}:{port}"),
    }
}

fn vlan(flow: &api::LiveFlow) -> String {
    match (flow.vlan, flow.inner_vlan) {
        (0, 0) => String::new(),
        (outer, 0) => outer.to_string(),
        (outer, inner) => format!("{outer}.{inner}"),
    }
}

fn network(asn: Option<u32>, name: Option<&str>) -> String {
    match (asn, name) {
        (Some(asn), Some(name)) => format!("{asn} {name}"),
        (Some(asn), None) => asn.to_string(),
        (None, _) => String::new(),
    }
}

/// Returns the values of a group and the name of its AS. If several fields are ASNs, each has its name beside it.
fn named(group: &api::TopGroup, by: &[String]) -> (Vec<String>, String) {
    let several = group.asn_names.len() > 1;
    let cell = |field: &String| {
        let value = value(field, &group.values[field]);
        match group.asn_names.get(field).filter(|_| several) {
            Some(name) => format!("{value} {name}"),
            None => value,
        }
    };
    let name = group.asn_name.clone().filter(|_| !several);
    (by.iter().map(cell).collect(), name.unwrap_or_default())
}

/// `one_direction`: only ingress or egress was requested, so that no packet was counted twice.
pub fn top(top: &api::TopReply, one_direction: bool) -> String {
    let fields = top.by.iter().map(|name| (heading(name), Align::Left));
    let columns: Vec<_> = fields
        .chain([
            ("NAME", Align::Left),
            ("RATE", Align::Right),
            ("BYTES", Align::Right),
            ("SHARE", Align::Right),
            ("PACKETS", Align::Right),
            ("±", Align::Right),
            ("FLOWS", Align::Right),
        ])
        .collect();
    let mut table = TextTable::new(&columns);
    for group in &top.top {
        let sum = &group.sum;
        let (values, name) = named(group, &top.by);
        table.row(values.into_iter().chain([
            name,
            format::bits(sum.bytes_per_second as f64),
            format::bytes(sum.bytes),
            share(sum.bytes, top.total.bytes),
            sum.packets.to_string(),
            format::error_of(Estimate::of_group(sum, top.sample_rate)),
            sum.flows.to_string(),
        ]));
    }
    if top.top.is_empty() {
        return "no flow that matches\n".into();
    }
    let mut text = table.render();
    if (top.top.len() as u64) < top.groups {
        let shown = top.top.len();
        text += &format!("{shown} of {} groups; more with --limit\n", top.groups);
    }
    if !top.left_out.is_empty() {
        let names = top.left_out.join(", ");
        text += &format!("without {names}: the same packets cross an interface below\n");
    }
    if !one_direction && !top.by.iter().any(|field| field == "direction") {
        text += "forwarded packets are counted twice, at ingress and at egress: --direction ingress \
                 counts them once\n";
    }
    text
}

/// Returns the share in percent, with one decimal place.
pub fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => String::new(),
        whole => format!("{:.1}%", part as f64 * 100.0 / whole as f64),
    }
}

/// Returns a field as the name of a column; only a newer agent sends unknown fields.
fn heading(name: &str) -> &'static str {
    let known = crate::flow::query::Field::all().find(|field| field.name() == name);
    known.map_or("VALUE", |field| field.name())
}

pub fn value(field: &str, value: &Json) -> String {
    match (field, value) {
        (_, Json::Null) => "-".into(),
        ("proto", Json::Number(n)) => {
            let number = n.as_u64().and_then(|n| u8::try_from(n).ok());
            number.map_or_else(|| n.to_string(), |number: u8| Protocol(number).to_string())
        }
        ("direction", Json::String(text)) => direction(text).to_owned(),
        (_, Json::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    }
}
