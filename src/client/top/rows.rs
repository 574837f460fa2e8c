// SPDX-License-Identifier: AGPL-3.0-only
//! Converts the lists to rows of text (pure).

use std::collections::HashMap;

use super::conversations::{Conversation, ConversationKey, HostLabels, HostPort};
use super::names::NameCache;
use super::rates::Rates;
use super::tab::Tab;
use super::unit::RateUnit;
use super::windows::WINDOWS;
use crate::client::format::{self, Estimate};
use crate::client::output::{direction, end, share, value};
use crate::client::table::clean;
use crate::control::api;
use crate::types::protocol::Protocol;

/// The target of a row: the content that Enter opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RowTarget {
    #[default]
    Nothing,
    Conversation(ConversationKey),
    /// The conversations with these parameters of a query.
    Query(Vec<(String, String)>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListRow {
    /// Identifies the row in successive answers.
    pub key: String,
    pub cells: Vec<String>,
    /// Whether the values are estimated from few samples.
    pub few_samples: bool,
    pub target: RowTarget,
    /// All that a typed word may match, in lower case.
    pub search: String,
    /// The addresses whose names are shown.
    pub addresses: Vec<String>,
    /// The value of the bar.
    pub figure: f64,
}

/// The settings of the view that change texts.
#[derive(Clone, Copy)]
pub struct RowStyle<'a> {
    pub unit: RateUnit,
    pub names: &'a NameCache,
}

impl ListRow {
    fn new(key: String, cells: impl IntoIterator<Item = String>, target: RowTarget) -> Self {
        let cells: Vec<_> = cells.into_iter().map(|cell| clean(&cell)).collect();
        Self {
            key,
            search: cells.join(" ").to_lowercase(),
            cells,
            target,
            ..Self::default()
        }
    }
}

/// Returns the row of a conversation; `now` is the time of the last answer.
pub fn conversation(
    key: &ConversationKey,
    one: &Conversation,
    now: f64,
    style: RowStyle<'_>,
) -> ListRow {
    let rates = WINDOWS.map(|window| one.rate(window, now));
    let [a, b] = &one.ends;
    let far = if network(b).is_empty() { a } else { b };
    let error = format::error_of(one.estimate());
    let protocol = Protocol(key.protocol);
    let places = places(one);
    let [there, back] = one.ways.each_ref().map(|way| way.rate(WINDOWS[1], now).0);
    let cells = [
        protocol.to_string(),
        host_port(&key.a, protocol, style),
        arrow(one, now).to_owned(),
        host_port(&key.b, protocol, style),
        match protocol.has_ports() {
            true => String::new(),
            false => protocol.to_string(),
        },
        short_network(far),
        country(far),
        network(a),
        country(a),
        network(b),
        country(b),
        style.unit.short(rates[0].0),
        style.unit.short(rates[1].0),
        style.unit.short(rates[2].0),
        style.unit.short(one.peak),
        format::short(rates[1].1, ""),
        format::short(one.bytes(), "B"),
        style.unit.short(there),
        style.unit.short(back),
        error.clone(),
        places,
        String::new(),
    ];
    let target = RowTarget::Conversation(key.clone());
    let mut row = ListRow::new(conversation_id(key), cells, target);
    row.few_samples = !error.is_empty();
    row.figure = rates[1].0;
    row.addresses = vec![key.a.address.clone(), key.b.address.clone()];
    let cities = [a, b].map(|end| end.city.clone().unwrap_or_default());
    let more = [
        &*key.a.address,
        &key.b.address,
        &cities.join(" "),
        &network(a),
        &network(b),
    ];
    row.search += &format!(" {}", more.join(" ").to_lowercase());
    row
}

pub fn conversation_id(key: &ConversationKey) -> String {
    let ConversationKey { protocol, a, b } = key;
    format!(
        "{protocol} {} {} {} {}",
        a.address, a.port, b.address, b.port
    )
}

/// Returns the end that sends: "→" to `b`, "←" to `a`, "↔" if both send at least a tenth.
fn arrow(one: &Conversation, now: f64) -> &'static str {
    let [there, back] = one.ways.each_ref().map(|way| way.rate(WINDOWS[1], now).0);
    match (there, back) {
        (there, back) if back < there / 10.0 => "→",
        (there, back) if there < back / 10.0 => "←",
        _ => "↔",
    }
}

pub fn host_port(host: &HostPort, protocol: Protocol, style: RowStyle<'_>) -> String {
    match style.names.get(&host.address) {
        Some(name) if protocol.has_ports() => format!("{name}:{}", host.port),
        Some(name) => name.to_owned(),
        None => end(&host.address, host.port, protocol.has_ports()),
    }
}

/// Returns "AS64500 Example Net"; a static prefix has a name if the AS has none.
pub fn network(end: &HostLabels) -> String {
    match (end.asn, end.asn_name.as_ref().or(end.net.as_ref())) {
        (Some(asn), Some(name)) => format!("AS{asn} {name}"),
        (Some(asn), None) => format!("AS{asn}"),
        (None, _) => end.net.clone().unwrap_or_default(),
    }
}

/// Returns the name of a network, or its number.
fn short_network(end: &HostLabels) -> String {
    let name = end.asn_name.as_ref().or(end.net.as_ref());
    name.cloned().unwrap_or_else(|| network(end))
}

fn country(end: &HostLabels) -> String {
    end.country.clone().unwrap_or_default()
}

/// Returns the interfaces of the direction that carries more: "lan0>wan0".
fn places(one: &Conversation) -> String {
    let [there, back] = &one.ways;
    let way = if back.places.len() > there.places.len() {
        back
    } else {
        there
    };
    let names = |egress: bool| {
        let names = way.places.iter().filter(|(out, _)| *out == egress);
        let names: Vec<_> = names.map(|(_, name)| &**name).collect();
        names.join(",")
    };
    format!("{}>{}", names(false), names(true))
}

/// Returns the rows of sums by one field, or by those of `--by`.
pub fn groups(top: &api::TopReply, tab: Tab, style: RowStyle<'_>) -> Vec<ListRow> {
    let totals = totals(top);
    let fields: Vec<_> = match tab.field() {
        Some(field) => vec![field],
        None => {
            let fields = top.by.iter().map(|field| &**field);
            fields.filter(|field| *field != "direction").collect()
        }
    };
    let row = |group| group_row(group, &fields, (tab, top.sample_rate, totals), style);
    top.top.iter().map(row).collect()
}

fn group_row(
    group: &api::TopGroup,
    fields: &[&str],
    (tab, sample_rate, totals): (Tab, u32, (u64, u64)),
    style: RowStyle<'_>,
) -> ListRow {
    let sum = &group.sum;
    let way = group.values.get("direction").and_then(|way| way.as_str());
    let way = way.unwrap_or_default();
    let of = |field: &&str| value(field, group.values.get(*field).unwrap_or_default());
    let values: Vec<_> = fields.iter().map(of).collect();
    let host = match fields {
        ["src" | "dst"] => style.names.get(&values[0]).map(str::to_owned),
        _ => None,
    };
    let error = format::error_of(Estimate::of_group(sum, sample_rate));
    let whole = if way == "egress" { totals.1 } else { totals.0 };
    let cells = [
        direction(way).to_owned(),
        values.join("  "),
        group.asn_name.clone().or(host).unwrap_or_default(),
        style.unit.rate(sum.bytes_per_second as f64),
        share(sum.bytes, whole),
        format::bytes(sum.bytes),
        format::count(sum.packets as f64),
        sum.flows.to_string(),
        error.clone(),
        String::new(),
    ];
    let target = match tab {
        Tab::Fields => RowTarget::Query(parameters(group, fields)),
        _ => RowTarget::Query(either(group, fields)),
    };
    let mut row = ListRow::new(format!("{way} {}", values.join(" ")), cells, target);
    row.few_samples = !error.is_empty();
    row.figure = sum.bytes_per_second as f64;
    if let ["src" | "dst"] = fields {
        row.addresses = values;
    }
    if fields.iter().any(|field| field.ends_with("asn")) {
        row.search += &format!(" as{}", row.cells[1]);
    }
    row
}

/// Returns the parameters that select the flows of a group.
fn parameters(group: &api::TopGroup, fields: &[&str]) -> Vec<(String, String)> {
    let selectable = |field: &&&str| {
        let names = ["src", "dst", "src_port", "dst_port", "src_asn", "dst_asn"];
        names.contains(*field) || **field == "proto"
    };
    let parameter = |field: &&str| {
        let value = group.values.get(*field).filter(|value| !value.is_null())?;
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let name = if *field == "proto" { "protocol" } else { field };
        Some((name.to_owned(), value))
    };
    fields
        .iter()
        .filter(selectable)
        .filter_map(parameter)
        .collect()
}

/// Returns the parameters for both directions: a conversation with a host has packets from it and to it.
fn either(group: &api::TopGroup, fields: &[&str]) -> Vec<(String, String)> {
    let both = |name: String| match &*name {
        "src" | "dst" => "address".to_owned(),
        "src_asn" | "dst_asn" => "asn".to_owned(),
        "src_port" | "dst_port" => "port".to_owned(),
        _ => name,
    };
    let parameters = parameters(group, fields).into_iter();
    parameters
        .map(|(name, value)| (both(name), value))
        .collect()
}

/// Returns the bytes of the shown groups, in and out: a share refers to its direction.
fn totals(top: &api::TopReply) -> (u64, u64) {
    let mut sums = (0, 0);
    for group in &top.top {
        let is_egress = group
            .values
            .get("direction")
            .is_some_and(|way| way == "egress");
        let sum = if is_egress { &mut sums.1 } else { &mut sums.0 };
        *sum += group.sum.bytes;
    }
    sums
}

pub fn interfaces(
    status: Option<&api::Status>,
    rates: &HashMap<u32, Rates>,
    style: RowStyle<'_>,
) -> Vec<ListRow> {
    let interfaces = busiest_first(status, rates).into_iter();
    interfaces
        .map(|interface| {
            let rates = rates.get(&interface.ifindex);
            let (rx, tx) = rates.map_or((0.0, 0.0), Rates::now);
            let peaks = rates.map_or((0.0, 0.0), Rates::peaks);
            let packets = rates.map_or((0.0, 0.0), |r| (r.rx_packets, r.tx_packets));
            let cells = [
                interface.name.clone(),
                match interface.up {
                    true => interface.attach.clone(),
                    false => "down".to_owned(),
                },
                speed(interface),
                style.unit.rate(rx),
                format::count(packets.0.round()),
                style.unit.rate(tx),
                format::count(packets.1.round()),
                style.unit.rate(peaks.0),
                style.unit.rate(peaks.1),
                interface.stacked_on.clone().unwrap_or_default(),
                interface.alias.clone(),
            ];
            let query = vec![("interface".to_owned(), interface.name.clone())];
            let key = interface.ifindex.to_string();
            ListRow::new(key, cells, RowTarget::Query(query))
        })
        .collect()
}

/// Returns the rows of a conversation's page: what can be opened from there.
pub fn page(key: &ConversationKey, one: &Conversation, style: RowStyle<'_>) -> Vec<ListRow> {
    let mut rows = Vec::new();
    let mut add = |title: &str, value: String, more: String, query: (&str, String)| {
        let query = vec![(query.0.to_owned(), query.1)];
        let cells = [title.to_owned(), value, more];
        rows.push(ListRow::new(
            title.to_owned(),
            cells,
            RowTarget::Query(query),
        ));
    };
    let hosts = [("host A", &key.a), ("host B", &key.b)];
    for ((title, host), labels) in hosts.into_iter().zip(&one.ends) {
        let name = style.names.get(&host.address).unwrap_or_default();
        let place = [labels.city.as_deref(), labels.country.as_deref()];
        let place: Vec<_> = place.into_iter().flatten().collect();
        let more = [name, &place.join(", ")].join(" ");
        let query = ("address", host.address.clone());
        add(title, host.address.clone(), more.trim().to_owned(), query);
    }
    for (title, labels) in ["network A", "network B"].into_iter().zip(&one.ends) {
        if let Some(asn) = labels.asn {
            let name = labels.asn_name.clone().unwrap_or_default();
            add(title, format!("AS{asn}"), name, ("asn", asn.to_string()));
        }
    }
    let protocol = Protocol(key.protocol);
    if protocol.has_ports() {
        let port = key.b.port.to_string();
        add("port B", port.clone(), protocol.to_string(), ("port", port));
    }
    let mut names: Vec<_> = one.ways.iter().flat_map(|way| &way.places).collect();
    names.sort_by(|a, b| a.1.cmp(&b.1));
    names.dedup_by(|a, b| a.1 == b.1);
    for (_, name) in names {
        let query = ("interface", name.clone());
        add(
            &format!("interface {name}"),
            name.clone(),
            String::new(),
            query,
        );
    }
    for row in &mut rows {
        row.addresses = vec![key.a.address.clone(), key.b.address.clone()];
    }
    rows
}

/// Returns the interfaces by their traffic of the last ten seconds, then by name.
pub fn busiest_first<'a>(
    status: Option<&'a api::Status>,
    rates: &HashMap<u32, Rates>,
) -> Vec<&'a api::InterfaceStatus> {
    let mut all: Vec<_> = status.iter().flat_map(|s| &s.interfaces).collect();
    let recent = |i: &api::InterfaceStatus| rates.get(&i.ifindex).map_or(0.0, Rates::recent);
    all.sort_by(|a, b| {
        let by_rate = recent(b).total_cmp(&recent(a));
        by_rate.then_with(|| a.name.cmp(&b.name))
    });
    all
}

pub fn speed(interface: &api::InterfaceStatus) -> String {
    let speed = interface.speed_bytes;
    speed.map_or_else(String::new, |bytes| format::bits(bytes as f64))
}
