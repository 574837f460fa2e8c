// SPDX-License-Identifier: AGPL-3.0-only
//! Sums over flows with common values.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{Field, FlowContext, Sort, Sum, Value};
use crate::flow::labels::SetId;
use crate::types::address_detail::AddressDetail;
use crate::types::flow::FlowRecord;
use crate::types::label::{Enrichment, Label};
use crate::types::validity::RouteValidity;

/// The maximum number of fields in one query.
pub const MAX_FIELDS: usize = 4;

/// The maximum number of groups; the traffic of any further group is added to the rest.
pub const MAX_GROUPS: usize = 1 << 16;

/// The name of each field that is an AS.
pub type AsnNames = Box<[Option<Arc<str>>]>;

/// One group of an answer.
#[derive(Clone, Debug)]
pub struct Group {
    /// In the order of the fields in the query.
    pub values: Box<[Value]>,
    pub sum: Sum,
    /// The names of the ASNs among the values, in the order of the fields; empty if no field is an AS.
    pub asn_names: AsnNames,
}

/// The sums, on the way from the flow thread to the caller. The caller sorts them: with many
/// groups, sorting takes longer than the flow thread may pause.
#[derive(Debug)]
pub struct Groups {
    fields: Vec<Field>,
    addresses: AddressDetail,
    sums: HashMap<Box<[Value]>, Entry, RandomState>,
    rest: Sum,
    /// The values of one flow; reused, so that no flow needs an allocation.
    values: Vec<Value>,
}

#[derive(Debug)]
struct Entry {
    sum: Sum,
    asn_names: AsnNames,
}

impl Groups {
    pub(super) fn new(fields: Vec<Field>, addresses: AddressDetail) -> Self {
        Self {
            fields,
            addresses,
            sums: HashMap::default(),
            rest: Sum::default(),
            values: Vec::with_capacity(MAX_FIELDS),
        }
    }

    pub(super) fn add(
        &mut self,
        record: &FlowRecord,
        set: SetId,
        sum: &Sum,
        context: &impl FlowContext,
    ) {
        self.values.clear();
        let known = self
            .fields
            .iter()
            .any(|f| takes_lookup(*f))
            .then(|| context.known(record));
        let asns = self
            .fields
            .iter()
            .any(|f| asn_end(*f).is_some())
            .then(|| context.asns(&record.key, set));
        for &field in &self.fields {
            let value = match (asn_end(field), asns) {
                (Some(end), Some(asns)) => number(asns[end]),
                _ => value(field, record, known.as_ref(), context, self.addresses),
            };
            self.values.push(value);
        }
        if let Some(entry) = self.sums.get_mut(&self.values[..]) {
            entry.sum.add(sum);
        } else if self.sums.len() < MAX_GROUPS {
            let entry = Entry {
                sum: *sum,
                asn_names: self.asn_names(record, context),
            };
            self.sums.insert(self.values.as_slice().into(), entry);
        } else {
            self.rest.add(sum);
        }
    }

    /// Returns the names of the ASNs among the values, in the order of the fields; empty if no field is an AS.
    fn asn_names(&self, record: &FlowRecord, context: &impl FlowContext) -> AsnNames {
        let is_asn = |field: &Field| matches!(field, Field::Label(label) if label.is_asn());
        if !self.fields.iter().any(is_asn) {
            return AsnNames::default();
        }
        let known = context.known(record);
        let ends = [known.src.asn_name, known.dst.asn_name];
        let fields = self.fields.iter().zip(&self.values);
        let name = |(field, value): (&Field, &Value)| match (asn_end(*field), value) {
            (Some(end), Value::Number(_)) => ends[end].clone(),
            (None, Value::Number(asn)) if is_asn(field) => context.asn_name(*asn),
            _ => None,
        };
        fields.map(name).collect()
    }

    /// Returns the largest groups first, the number of groups, and the rest.
    pub fn sorted(self, sort: Sort, limit: usize) -> (Vec<Group>, u64, Sum) {
        let count = self.sums.len() as u64;
        let group = |(values, entry): (Box<[Value]>, Entry)| Group {
            values,
            sum: entry.sum,
            asn_names: entry.asn_names,
        };
        let mut groups: Vec<_> = self.sums.into_iter().map(group).collect();
        let rank = |group: &Group| {
            std::cmp::Reverse(match sort {
                Sort::Packets => group.sum.packets,
                Sort::Rate => group.sum.bytes_per_second,
                // groups have no times
                Sort::Bytes | Sort::Last | Sort::Duration => group.sum.bytes,
            })
        };
        if groups.len() > limit {
            groups.select_nth_unstable_by_key(limit, rank);
            groups.truncate(limit);
        }
        groups.sort_unstable_by_key(rank);
        (groups, count, self.rest)
    }
}

/// Returns the endpoint (0: source, 1: destination) whose AS a field is.
fn asn_end(field: Field) -> Option<usize> {
    match field {
        Field::Label(Label::SrcAsn) => Some(0),
        Field::Label(Label::DstAsn) => Some(1),
        _ => None,
    }
}

fn takes_lookup(field: Field) -> bool {
    match field {
        Field::Label(label) => match label {
            Label::SrcCity
            | Label::DstCity
            | Label::SrcCountry
            | Label::DstCountry
            | Label::SrcPeerAsn
            | Label::DstPeerAsn
            | Label::PeerAsn
            | Label::SrcNet
            | Label::DstNet
            | Label::SrcCommunity
            | Label::DstCommunity
            | Label::SrcRpki
            | Label::DstRpki => true,
            Label::Ifname
            | Label::Direction
            | Label::Proto
            | Label::SrcAsn
            | Label::DstAsn
            | Label::Vlan => false,
        },
        Field::Src | Field::Dst | Field::SrcPort | Field::DstPort => false,
    }
}

fn value(
    field: Field,
    record: &FlowRecord,
    known: Option<&Enrichment>,
    context: &impl FlowContext,
    addresses: AddressDetail,
) -> Value {
    let address = |address| match (addresses, addresses.of(address)) {
        (_, None) => Value::Nothing,
        (AddressDetail::Full, _) => Value::Address(address),
        (_, Some(prefix)) => Value::Prefix(prefix),
    };
    let key = &record.key;
    let text = |of: fn(&Enrichment) -> &Option<Arc<str>>| {
        let text = known.and_then(|known| of(known).clone());
        text.map_or(Value::Nothing, Value::Text)
    };
    let asn = |of: fn(&Enrichment) -> u32| number(known.map_or(0, of));
    let validity = |of: fn(&Enrichment) -> Option<RouteValidity>| {
        let validity = known.and_then(of);
        validity.map_or(Value::Nothing, |validity| {
            Value::Text(validity.name().into())
        })
    };
    match field {
        Field::Src => address(key.source()),
        Field::Dst => address(key.destination()),
        Field::SrcPort => Value::Number(key.src_port.into()),
        Field::DstPort => Value::Number(key.dst_port.into()),
        Field::Label(label) => match label {
            Label::Ifname => context
                .name(key.ifindex)
                .map_or(Value::Nothing, Value::Text),
            Label::Direction => Value::Text(key.direction.name().into()),
            Label::Proto => Value::Number(key.protocol.into()),
            Label::SrcAsn => asn(|k| k.src.asn),
            Label::DstAsn => asn(|k| k.dst.asn),
            Label::SrcCity => text(|k| &k.src.city),
            Label::DstCity => text(|k| &k.dst.city),
            Label::SrcCountry => text(|k| &k.src.country),
            Label::DstCountry => text(|k| &k.dst.country),
            Label::SrcPeerAsn => asn(|k| k.src.peer_asn),
            Label::DstPeerAsn => asn(|k| k.dst.peer_asn),
            Label::PeerAsn => asn(|k| k.peer_asn),
            Label::SrcNet => text(|k| &k.src.net),
            Label::DstNet => text(|k| &k.dst.net),
            Label::Vlan => number(key.vlan_outer.into()),
            Label::SrcCommunity => text(|k| &k.src.communities),
            Label::DstCommunity => text(|k| &k.dst.communities),
            Label::SrcRpki => validity(|k| k.src.rpki),
            Label::DstRpki => validity(|k| k.dst.rpki),
        },
    }
}

/// Converts a number to a value; 0 stands for none.
fn number(n: u32) -> Value {
    match n {
        0 => Value::Nothing,
        n => Value::Number(n),
    }
}
