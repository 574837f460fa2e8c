// SPDX-License-Identifier: AGPL-3.0-only
//! Converts the answers of thread flow to the replies of /v1/flows and /v1/top.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{api, rfc3339_ns};
use crate::flow::query::{Field, FlowRow, Group, Sum, Value};
use crate::interfaces::InterfaceRegistry;
use crate::sys::clock::Clock;
use crate::types::address_detail::AddressDetail;
use crate::types::label::Endpoint;

pub fn flow(
    row: &FlowRow,
    interfaces: &InterfaceRegistry,
    clock: &Clock,
    addresses: AddressDetail,
) -> api::LiveFlow {
    let (record, sum) = (&row.record, &row.sum);
    let key = &record.key;
    let name = |ifindex| interfaces.name_of(ifindex).map(|name| name.to_string());
    let input = record.ingress_ifindex;
    api::LiveFlow {
        interface: name(key.ifindex).unwrap_or_default(),
        direction: key.direction.name().to_owned(),
        protocol: key.protocol,
        src: addresses.text(key.source()),
        dst: addresses.text(key.destination()),
        src_port: key.src_port,
        dst_port: key.dst_port,
        vlan: key.vlan_outer,
        inner_vlan: key.vlan_inner,
        bytes: sum.bytes,
        packets: sum.packets,
        sampled_bytes: record.frame_bytes,
        sampled_packets: record.packets,
        standard_error_bytes: sum.variance.error_bytes(),
        standard_error_packets: sum.variance.error_packets(),
        sample_rate: record.sample_rate,
        bytes_per_second: sum.bytes_per_second,
        packets_per_second: sum.packets_per_second,
        first: rfc3339_ns(clock.wall(record.first)),
        last: rfc3339_ns(clock.wall(record.last)),
        tcp_flags: record.tcp_flags,
        tos: record.tos,
        input_interface: (input > 0).then(|| name(input)).flatten(),
        ..ends(&row.known.src, &row.known.dst)
    }
}

/// Returns a flow with the labels of its two endpoints.
fn ends(src: &Endpoint, dst: &Endpoint) -> api::LiveFlow {
    let number = |n: u32| (n > 0).then_some(n);
    let text = |text: &Option<Arc<str>>| text.as_ref().map(|text| text.to_string());
    api::LiveFlow {
        src_asn: number(src.asn),
        dst_asn: number(dst.asn),
        src_asn_name: text(&src.asn_name),
        dst_asn_name: text(&dst.asn_name),
        src_peer_asn: number(src.peer_asn),
        dst_peer_asn: number(dst.peer_asn),
        src_city: text(&src.city),
        dst_city: text(&dst.city),
        src_country: text(&src.country),
        dst_country: text(&dst.country),
        src_net: text(&src.net),
        dst_net: text(&dst.net),
        ..api::LiveFlow::default()
    }
}

pub fn group(group: &Group, fields: &[Field]) -> api::TopGroup {
    let values = fields.iter().zip(&group.values);
    let values = values.map(|(field, value)| (field.name().to_owned(), json(value)));
    let names = fields.iter().zip(&group.asn_names);
    let names = names.filter_map(|(field, name)| Some((field.name(), name.as_deref()?)));
    let names = names.map(|(field, name)| (field.to_owned(), name.to_owned()));
    api::TopGroup {
        values: Map::from_iter(values),
        asn_name: group
            .asn_names
            .iter()
            .flatten()
            .next()
            .map(|name| name.to_string()),
        asn_names: names.collect(),
        sum: sum(&group.sum),
    }
}

fn json(value: &Value) -> Json {
    match value {
        Value::Nothing => Json::Null,
        Value::Number(n) => (*n).into(),
        Value::Address(address) => IpAddr::to_string(address).into(),
        Value::Prefix(prefix) => prefix.to_string().into(),
        Value::Text(text) => (**text).into(),
    }
}

pub fn sum(sum: &Sum) -> api::TopSum {
    api::TopSum {
        flows: sum.flows,
        bytes: sum.bytes,
        packets: sum.packets,
        bytes_per_second: sum.bytes_per_second,
        packets_per_second: sum.packets_per_second,
        sampled_packets: sum.sampled_packets,
        standard_error_bytes: sum.variance.error_bytes(),
        standard_error_packets: sum.variance.error_packets(),
    }
}
