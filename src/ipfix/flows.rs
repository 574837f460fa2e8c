// SPDX-License-Identifier: AGPL-3.0-only
//! Flow records: the templates, and the fields of each (pure).

use std::net::IpAddr;
use std::num::NonZeroU32;

use super::fields::{FieldWriter, RecordWriter, TemplateWriter, element as e, enterprise_element};
use crate::enrich::{BgpInfo, FlowRouting};
use crate::flow::table::{CompletedRecord, EndReason};
use crate::sys::clock::Clock;
use crate::types::flow::{Direction, Family, FlowKey, FlowRecord};
use crate::types::source::SourceState;

/// The first template id (RFC 7011 section 3.4.3).
const FIRST_ID: u16 = 256;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// Values of forwardingStatus (RFC 7270 section 4.12). A packet that passes the firewall may still
/// be dropped later.
const UNKNOWN: u8 = 0;
const DROPPED_BY_ACL: u8 = 130;

/// The fields that the configuration selects.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// True if routes are known: prefix lengths, next hops and adjacent ASes can be exported.
    pub routes: bool,
    /// True if the AS on the return path to the source is exported.
    pub prev_adjacent: bool,
    /// True if there are flows that a firewall dropped, which must be distinguished from the
    /// others.
    pub drops: bool,
    /// The enterprise of the field with the result of the source check; `None` if it is not exported.
    pub source_check: Option<NonZeroU32>,
}

/// The template of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    family: Family,
    /// True if the record has MAC addresses and VLANs.
    ethernet: bool,
    icmp: bool,
}

impl Template {
    pub const COUNT: u16 = 8;

    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(|bits| Self {
            family: if bits & 1 == 0 {
                Family::Ipv4
            } else {
                Family::Ipv6
            },
            ethernet: bits & 2 != 0,
            icmp: bits & 4 != 0,
        })
    }

    pub fn of(record: &FlowRecord) -> Self {
        const ICMP: u8 = 1;
        const ICMPV6: u8 = 58;
        let key = &record.key;
        Self {
            family: key.family,
            ethernet: record.src_mac != [0; 6] || record.dst_mac != [0; 6],
            icmp: match key.family {
                Family::Ipv4 => key.protocol == ICMP,
                Family::Ipv6 | Family::Other => key.protocol == ICMPV6,
            },
        }
    }

    /// Returns the index in [`Template::all`].
    pub fn index(self) -> usize {
        usize::from(self.bits())
    }

    /// Returns the id of the template and of the sets of its records.
    pub fn id(self) -> u16 {
        FIRST_ID + self.bits()
    }

    fn bits(self) -> u16 {
        let v6 = u16::from(self.family != Family::Ipv4);
        v6 + 2 * u16::from(self.ethernet) + 4 * u16::from(self.icmp)
    }

    /// Appends the template record; returns the length of a record in bytes.
    pub fn write_template(self, layout: Layout, out: &mut Vec<u8>) -> usize {
        out.extend(self.id().to_be_bytes());
        let count_at = out.len();
        out.extend([0; 2]);
        let mut writer = TemplateWriter {
            out,
            fields: 0,
            record_length: 0,
        };
        let nothing = FlowRouting::default();
        write(&mut writer, self, layout, &blank(self.family), &nothing);
        let (fields, record_length) = (writer.fields, writer.record_length);
        out[count_at..count_at + 2].copy_from_slice(&fields.to_be_bytes());
        record_length
    }

    /// Appends a flow record, with its times on the wall clock.
    pub fn write_record(
        self,
        layout: Layout,
        flow: &CompletedRecord,
        clock: &Clock,
        routing: &FlowRouting,
        out: &mut Vec<u8>,
    ) {
        let mut flow = *flow;
        let record = &mut flow.record;
        (record.first, record.last) = (clock.wall(record.first), clock.wall(record.last));
        write(&mut RecordWriter(out), self, layout, &flow, routing);
    }
}

/// Returns an empty flow, because a template has no values.
fn blank(family: Family) -> CompletedRecord {
    CompletedRecord {
        record: FlowRecord::empty(family),
        reason: EndReason::IdleTimeout,
        dropped: false,
    }
}

fn write(
    writer: &mut impl FieldWriter,
    template: Template,
    layout: Layout,
    flow: &CompletedRecord,
    routing: &FlowRouting,
) {
    let CompletedRecord {
        record,
        reason,
        dropped,
    } = flow;
    let key = &record.key;
    write_addresses(writer, template, key);
    writer.u8(e::PROTOCOL_IDENTIFIER, key.protocol);
    writer.u16(e::SOURCE_TRANSPORT_PORT, key.src_port);
    // contains the ICMP type and code, as in NetFlow, for collectors that do not know the ICMP
    // field
    writer.u16(e::DESTINATION_TRANSPORT_PORT, key.dst_port);
    if template.icmp {
        let element = match template.family {
            Family::Ipv4 => e::ICMP_TYPE_CODE_IPV4,
            Family::Ipv6 | Family::Other => e::ICMP_TYPE_CODE_IPV6,
        };
        writer.u16(element, key.dst_port);
    }
    writer.u8(e::TCP_CONTROL_BITS, record.tcp_flags);
    writer.u8(e::IP_CLASS_OF_SERVICE, record.tos);
    writer.u64(e::OCTET_DELTA_COUNT, record.ip_bytes);
    writer.u64(e::PACKET_DELTA_COUNT, record.packets);
    writer.u64(e::LAYER2_OCTET_DELTA_COUNT, record.frame_bytes);
    writer.u64(e::FLOW_START_MILLISECONDS, record.first / NANOS_PER_MILLI);
    writer.u64(e::FLOW_END_MILLISECONDS, record.last / NANOS_PER_MILLI);
    write_interfaces(writer, record);
    writer.u8(e::FLOW_END_REASON, *reason as u8);
    if layout.drops {
        let status = if *dropped { DROPPED_BY_ACL } else { UNKNOWN };
        writer.u8(e::FORWARDING_STATUS, status);
    }
    if template.ethernet {
        writer.put(e::SOURCE_MAC_ADDRESS, record.src_mac);
        writer.put(e::DESTINATION_MAC_ADDRESS, record.dst_mac);
        writer.u16(e::VLAN_ID, key.vlan_outer);
        writer.u16(e::DOT1Q_CUSTOMER_VLAN_ID, key.vlan_inner);
    }
    writer.u32(e::BGP_SOURCE_AS_NUMBER, routing.src.asn);
    writer.u32(e::BGP_DESTINATION_AS_NUMBER, routing.dst.asn);
    if layout.routes {
        write_routes(writer, template.family, layout, routing);
    }
    if let Some(enterprise) = layout.source_check {
        let value = source_check(routing.source);
        writer.enterprise_u8(enterprise, enterprise_element::SOURCE_CHECK, value);
    }
}

/// Returns the value of the field sourceCheck.
fn source_check(state: Option<SourceState>) -> u8 {
    match state {
        None => 0,
        Some(SourceState::Feasible) => 1,
        Some(SourceState::Unknown) => 2,
        Some(SourceState::Bogon) => 3,
        Some(SourceState::Local) => 4,
        Some(SourceState::Unrouted) => 5,
        Some(SourceState::Infeasible) => 6,
    }
}

fn write_addresses(writer: &mut impl FieldWriter, template: Template, key: &FlowKey) {
    match template.family {
        Family::Ipv4 => {
            let [src, dst] = [key.src, key.dst].map(|a| [a[0], a[1], a[2], a[3]]);
            writer.put(e::SOURCE_IPV4_ADDRESS, src);
            writer.put(e::DESTINATION_IPV4_ADDRESS, dst);
        }
        Family::Ipv6 | Family::Other => {
            writer.put(e::SOURCE_IPV6_ADDRESS, key.src);
            writer.put(e::DESTINATION_IPV6_ADDRESS, key.dst);
        }
    }
}

/// Writes both interfaces. At egress both are known; 0 means this machine, or unknown.
fn write_interfaces(writer: &mut impl FieldWriter, record: &FlowRecord) {
    let (ingress, egress) = match record.key.direction {
        Direction::Ingress => (record.key.ifindex, 0),
        Direction::Egress => (record.ingress_ifindex, record.key.ifindex),
    };
    writer.u32(e::INGRESS_INTERFACE, ingress);
    writer.u32(e::EGRESS_INTERFACE, egress);
    writer.u8(e::FLOW_DIRECTION, record.key.direction as u8);
}

fn write_routes(
    writer: &mut impl FieldWriter,
    family: Family,
    layout: Layout,
    routing: &FlowRouting,
) {
    let FlowRouting {
        src,
        dst,
        ip_next_hop,
        ..
    } = routing;
    writer.u32(e::BGP_NEXT_ADJACENT_AS_NUMBER, dst.peer_asn);
    if layout.prev_adjacent {
        writer.u32(e::BGP_PREV_ADJACENT_AS_NUMBER, src.peer_asn);
    }
    let lengths = [src, dst].map(|info: &BgpInfo| info.prefix_len);
    let elements = match family {
        Family::Ipv4 => [
            e::SOURCE_IPV4_PREFIX_LENGTH,
            e::DESTINATION_IPV4_PREFIX_LENGTH,
        ],
        Family::Ipv6 | Family::Other => [
            e::SOURCE_IPV6_PREFIX_LENGTH,
            e::DESTINATION_IPV6_PREFIX_LENGTH,
        ],
    };
    for (element, length) in elements.into_iter().zip(lengths) {
        writer.u8(element, length);
    }
    for (hop, v4, v6) in [
        (
            dst.next_hop,
            e::BGP_NEXT_HOP_IPV4_ADDRESS,
            e::BGP_NEXT_HOP_IPV6_ADDRESS,
        ),
        (
            *ip_next_hop,
            e::IP_NEXT_HOP_IPV4_ADDRESS,
            e::IP_NEXT_HOP_IPV6_ADDRESS,
        ),
    ] {
        match (family, hop) {
            (Family::Ipv4, Some(IpAddr::V4(hop))) => writer.put(v4, hop.octets()),
            (Family::Ipv4, _) => writer.put(v4, [0; 4]),
            (_, Some(IpAddr::V6(hop))) => writer.put(v6, hop.octets()),
            (_, _) => writer.put(v6, [0; 16]),
        }
    }
}
