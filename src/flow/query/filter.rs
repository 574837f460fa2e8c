// SPDX-License-Identifier: AGPL-3.0-only
//! Selects flows.

use super::FlowContext;
use crate::flow::labels::SetId;
use crate::types::flow::{Direction, FlowRecord};
use crate::types::prefix::Prefix;

/// Conditions for an endpoint of a flow; a condition that is not set matches everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointFilter {
    pub prefix: Option<Prefix>,
    pub port: Option<u16>,
    pub asn: Option<u32>,
}

/// Conditions for a flow; all that are set must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// By ifindex; `None` = all.
    pub interfaces: Option<Vec<u32>>,
    pub direction: Option<Direction>,
    pub protocol: Option<u8>,
    pub src: EndpointFilter,
    pub dst: EndpointFilter,
    /// Each condition must match one of the two endpoints, not all of them the same one.
    pub either: EndpointFilter,
}

impl Filter {
    /// Returns whether a flow matches. Checks the ASNs last, because they may need a lookup.
    pub(super) fn admits(
        &self,
        record: &FlowRecord,
        set: SetId,
        context: &impl FlowContext,
    ) -> bool {
        let key = &record.key;
        let interface = self.interfaces.as_ref();
        interface.is_none_or(|all| all.contains(&key.ifindex))
            && self.direction.is_none_or(|d| d == key.direction)
            && self.protocol.is_none_or(|p| p == key.protocol)
            && self.ports(key.src_port, key.dst_port)
            && self.addresses(record)
            && self.asns(record, set, context)
    }

    fn ports(&self, src: u16, dst: u16) -> bool {
        self.holds(|end| end.port, |port| port == src, |port| port == dst)
    }

    fn addresses(&self, record: &FlowRecord) -> bool {
        let key = &record.key;
        self.holds(
            |end| end.prefix,
            |prefix| prefix.contains(key.source()),
            |prefix| prefix.contains(key.destination()),
        )
    }

    fn asns(&self, record: &FlowRecord, set: SetId, context: &impl FlowContext) -> bool {
        let wanted = [&self.src, &self.dst, &self.either];
        if wanted.iter().all(|end| end.asn.is_none()) {
            return true;
        }
        let [src, dst] = context.asns(&record.key, set);
        self.holds(|end| end.asn, |asn| asn == src, |asn| asn == dst)
    }

    /// Returns whether one condition of the endpoints matches, given the values for the source and
    /// the destination.
    fn holds<T: Copy>(
        &self,
        part: impl Fn(&EndpointFilter) -> Option<T>,
        of_src: impl Fn(T) -> bool,
        of_dst: impl Fn(T) -> bool,
    ) -> bool {
        part(&self.src).is_none_or(&of_src)
            && part(&self.dst).is_none_or(&of_dst)
            && part(&self.either).is_none_or(|wanted| of_src(wanted) || of_dst(wanted))
    }
}
