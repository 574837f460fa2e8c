// SPDX-License-Identifier: AGPL-3.0-only
//! Converts the agent's lists to rows of text (pure).

use std::collections::HashMap;

use super::rates::Rates;
use super::tab::Tab;
use crate::client::format;
use crate::client::output::{direction, end, has_ports, share, value};
use crate::client::table::clean;
use crate::control::api;
use crate::types::protocol::Protocol;

/// A column: its title, whether it has numbers, and whether it may be shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub title: &'static str,
    pub right: bool,
    pub flexible: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRow {
    /// Identifies the row in successive answers.
    pub key: String,
    pub cells: Vec<String>,
    /// Whether the values are estimated from few samples.
    pub few_samples: bool,
}

const fn text(title: &'static str) -> Column {
    Column {
        title,
        right: false,
        flexible: false,
    }
}

const fn long(title: &'static str) -> Column {
    Column {
        title,
        right: false,
        flexible: true,
    }
}

const fn figure(title: &'static str) -> Column {
    Column {
        title,
        right: true,
        flexible: false,
    }
}

pub fn columns(tab: Tab) -> &'static [Column] {
    match tab {
        Tab::Flows => {
            const {
                &[
                    text("IF"),
                    text("DIR"),
                    text("PROTO"),
                    long("SOURCE"),
                    long("DESTINATION"),
                    figure("RATE"),
                    figure("BYTES"),
                    figure("±"),
                ]
            }
        }
        Tab::SrcAsn | Tab::DstAsn => {
            const {
                &[
                    text("DIR"),
                    figure("AS"),
                    long("NAME"),
                    figure("RATE"),
                    figure("BYTES"),
                    figure("SHARE"),
                    figure("FLOWS"),
                    figure("±"),
                ]
            }
        }
        Tab::SrcPort | Tab::DstPort | Tab::Protocol => {
            const {
                &[
                    text("DIR"),
                    figure("VALUE"),
                    figure("RATE"),
                    figure("BYTES"),
                    figure("SHARE"),
                    figure("PACKETS"),
                    figure("FLOWS"),
                    figure("±"),
                ]
            }
        }
        Tab::Interfaces => {
            const {
                &[
                    text("NAME"),
                    text("HOOK"),
                    figure("SPEED"),
                    figure("RX"),
                    figure("RX PKT/S"),
                    figure("TX"),
                    figure("TX PKT/S"),
                    text("ON"),
                    long("ALIAS"),
                ]
            }
        }
    }
}

pub fn flows(list: &api::FlowsReply) -> Vec<ListRow> {
    list.flows.iter().map(flow).collect()
}

fn flow(flow: &api::LiveFlow) -> ListRow {
    let ports = has_ports(flow);
    let ends = [
        end(&flow.src, flow.src_port, ports),
        end(&flow.dst, flow.dst_port, ports),
    ];
    let error = sampling_error(flow.sample_rate, flow.sampled_packets);
    let [src, dst] = ends;
    let start = [
        flow.interface.clone(),
        direction(&flow.direction).to_owned(),
        Protocol(flow.protocol).to_string(),
        src,
        dst,
    ];
    let vlans = format!("{}.{}", flow.vlan, flow.inner_vlan);
    ListRow {
        // ICMP has its type in the port
        key: format!("{} {} {vlans}", start.join(" "), flow.dst_port),
        few_samples: !error.is_empty(),
        cells: cleaned(start.into_iter().chain([
            format::bits(flow.bytes_per_second as f64),
            format::bytes(flow.bytes),
            error,
        ])),
    }
}

pub fn groups(top: &api::TopReply, tab: Tab) -> Vec<ListRow> {
    let field = tab.field().unwrap_or_default();
    let totals = totals(top);
    top.top
        .iter()
        .map(|group| {
            let sum = &group.sum;
            let way = group.values.get("direction").and_then(|way| way.as_str());
            let way = way.unwrap_or_default();
            let name = value(field, group.values.get(field).unwrap_or_default());
            let error = sampling_error(top.sample_rate, sum.sampled_packets);
            let mut cells = vec![direction(way).to_owned(), name.clone()];
            if matches!(tab, Tab::SrcAsn | Tab::DstAsn) {
                cells.push(group.asn_name.clone().unwrap_or_default());
            }
            let whole = if way == "egress" { totals.1 } else { totals.0 };
            cells.extend([
                format::bits(sum.bytes_per_second as f64),
                format::bytes(sum.bytes),
                share(sum.bytes, whole),
            ]);
            if !matches!(tab, Tab::SrcAsn | Tab::DstAsn) {
                cells.push(format::count(sum.packets as f64));
            }
            cells.extend([sum.flows.to_string(), error.clone()]);
            ListRow {
                key: format!("{way} {name}"),
                few_samples: !error.is_empty(),
                cells: cleaned(cells),
            }
        })
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

pub fn interfaces(status: Option<&api::Status>, rates: &HashMap<u32, Rates>) -> Vec<ListRow> {
    let interfaces = busiest_first(status, rates).into_iter();
    interfaces
        .map(|interface| {
            let rates = rates.get(&interface.ifindex);
            let (rx, tx) = rates.map_or((0.0, 0.0), Rates::now);
            let packets = rates.map_or((0.0, 0.0), |r| (r.rx_packets, r.tx_packets));
            ListRow {
                key: interface.ifindex.to_string(),
                few_samples: false,
                cells: cleaned([
                    interface.name.clone(),
                    match interface.up {
                        true => interface.attach.clone(),
                        false => "down".to_owned(),
                    },
                    speed(interface),
                    format::bits(rx),
                    format::count(packets.0.round()),
                    format::bits(tx),
                    format::count(packets.1.round()),
                    interface.stacked_on.clone().unwrap_or_default(),
                    interface.alias.clone(),
                ]),
            }
        })
        .collect()
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

fn sampling_error(sample_rate: u32, sampled_packets: u64) -> String {
    let percent = format::sampling_error(sample_rate, sampled_packets);
    percent.map_or_else(String::new, |percent| format!("±{percent}%"))
}

fn cleaned(cells: impl IntoIterator<Item = String>) -> Vec<String> {
    cells.into_iter().map(|cell| clean(&cell)).collect()
}
