// SPDX-License-Identifier: AGPL-3.0-only
//! Options: the sampling rate, the names of interfaces, and the statistics of the exporter (pure).
//!
//! The rate is sent as samplingInterval with the observation domain as scope: nfdump, pmacct,
//! goflow2 and akvorado all accept only this form.

use super::fields::{FieldWriter, TemplateWriter, element as e};
use super::flows::Template;
use crate::flow::export_queue::RecordCounts;

/// The first field of each options template is the scope.
const SCOPE_FIELDS: u16 = 1;

pub const SAMPLING_ID: u16 = 256 + Template::COUNT;
pub const INTERFACE_ID: u16 = SAMPLING_ID + 1;
pub const STATISTICS_ID: u16 = SAMPLING_ID + 2;

/// An interface to which records refer by its index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportedInterface {
    pub ifindex: u32,
    pub name: String,
    pub description: String,
    /// True if its flows are also those of another monitored interface.
    pub repeats: bool,
}

/// The totals of sent and not sent data of a collector (RFC 7011 section 4.1 to 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub messages: u64,
    pub bytes: u64,
    pub records: u64,
    pub not_sent: RecordCounts,
    /// Sampled packets that were dropped before they were in a flow.
    pub ignored_packets: u64,
    pub ignored_octets: u64,
}

pub fn sampling(writer: &mut impl FieldWriter, domain: u32, rate: u32) {
    writer.u32(e::OBSERVATION_DOMAIN_ID, domain);
    writer.u32(e::SAMPLING_INTERVAL, rate);
}

/// Writes the names of an interface. An empty description is replaced by the name, because some
/// collectors cannot read an empty text.
pub fn interface(writer: &mut impl FieldWriter, interface: &ExportedInterface) {
    let ExportedInterface {
        name, description, ..
    } = interface;
    writer.u32(e::INGRESS_INTERFACE, interface.ifindex);
    writer.text(e::INTERFACE_NAME, name);
    let empty = description.is_empty();
    writer.text(
        e::INTERFACE_DESCRIPTION,
        if empty { name } else { description },
    );
}

pub fn statistics(writer: &mut impl FieldWriter, domain: u32, statistics: &Statistics) {
    let s = statistics;
    writer.u32(e::OBSERVATION_DOMAIN_ID, domain);
    writer.u64(e::EXPORTED_MESSAGE_TOTAL_COUNT, s.messages);
    writer.u64(e::EXPORTED_OCTET_TOTAL_COUNT, s.bytes);
    writer.u64(e::EXPORTED_FLOW_RECORD_TOTAL_COUNT, s.records);
    writer.u64(e::NOT_SENT_FLOW_TOTAL_COUNT, s.not_sent.parts);
    writer.u64(e::NOT_SENT_PACKET_TOTAL_COUNT, s.not_sent.packets);
    writer.u64(e::NOT_SENT_OCTET_TOTAL_COUNT, s.not_sent.octets);
    writer.u64(e::IGNORED_PACKET_TOTAL_COUNT, s.ignored_packets);
    writer.u64(e::IGNORED_OCTET_TOTAL_COUNT, s.ignored_octets);
}

/// Appends all options template records.
pub fn templates(out: &mut Vec<u8>) {
    template(out, SAMPLING_ID, |writer| sampling(writer, 0, 0));
    template(out, INTERFACE_ID, |writer| {
        interface(writer, &ExportedInterface::default());
    });
    template(out, STATISTICS_ID, |writer| {
        statistics(writer, 0, &Statistics::default());
    });
}

fn template(out: &mut Vec<u8>, id: u16, fields: impl FnOnce(&mut TemplateWriter<'_>)) {
    out.extend(id.to_be_bytes());
    let count_at = out.len();
    out.extend([0; 2]);
    out.extend(SCOPE_FIELDS.to_be_bytes());
    let mut writer = TemplateWriter {
        out,
        fields: 0,
        record_length: 0,
    };
    fields(&mut writer);
    let fields = writer.fields;
    out[count_at..count_at + 2].copy_from_slice(&fields.to_be_bytes());
}
