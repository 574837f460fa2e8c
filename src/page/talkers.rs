// SPDX-License-Identifier: AGPL-3.0-only
//! The top talkers and the filtered traffic, as JSON (pure).

use std::borrow::Cow;

use serde::Serialize;

use super::local::{LocalNetwork, interface_of};
use super::order::{Figures, brief};
use super::points::Points;
use super::query::{ListName, Query};
use crate::flow::talkers::filter::Condition;
use crate::flow::talkers::{
    COUNTERS, TICK_MS, Talker, TalkerAnswer, TalkerList, TalkerPoint, TalkerVolume, TrafficEnd,
};
use crate::history::time_series::Measure;
use crate::history::top_table::{Side, TopKind};
use crate::types::address_detail::short_length;
use crate::types::flow::Direction;
use crate::types::prefix::Prefix;

/// The value, the AS number, the country, the name of the network, and the figures of both directions.
type TalkerLine<'a> = (String, u32, &'a str, Cow<'a, str>, Figures, Figures);

/// The list that the reader selected, and the curve of the traffic that the filters select.
#[derive(Serialize)]
pub(super) struct TalkersView<'a> {
    list: &'static str,
    /// Whether the list starts with all of the flow table.
    complete: bool,
    /// The period of the list, in seconds.
    covered: f32,
    rows: Vec<TalkerLine<'a>>,
    /// The number of lines with traffic in the direction of the reader, with those that it does not show.
    lines: usize,
    total: [Figures; 2],
    counters: usize,
    /// A talker that is not in the list had at most this many bytes when it was evicted.
    missing_at_most: u64,
    evicted: u64,
    evicted_lists: u64,
    bytes: usize,
    /// Seconds between two points.
    step: u64,
    /// The time of the last point in milliseconds, from any origin.
    end: u64,
    /// Whether the curves have only the points that the reader does not have.
    newest: bool,
    /// In the unit of the reader: by direction, then IPv4 and IPv6; oldest first.
    curves: [[Points; 2]; 2],
}

/// Returns the list of thread flow for a list of the page.
pub(super) fn list(query: &Query) -> TalkerList {
    let end = query.end();
    match query.list.unwrap_or(ListName::Services) {
        ListName::Hosts => TalkerList::Hosts(end),
        ListName::Prefixes => TalkerList::Prefixes(end),
        ListName::Services => TalkerList::Services,
        ListName::Networks => TalkerList::Networks(end),
    }
}

pub(super) fn view<'a>(
    query: &Query,
    answer: &'a TalkerAnswer,
    local: &[LocalNetwork],
) -> TalkersView<'a> {
    let covered = answer.covered_ms as f32 / 1000.0;
    let figures = |volume: &TalkerVolume| {
        let (now, total, most) = match query.measure {
            Measure::Bytes => (volume.bytes_now, volume.bytes, volume.bytes_most),
            Measure::Packets => (volume.packets_now, volume.packets, volume.packets_most),
        };
        let mean = total as f32 / covered.max(1.0);
        (
            brief(now),
            brief(mean),
            // the first ticks may be shorter than the window
            brief(most.max(mean)),
            brief(volume.packets_now),
            volume.bytes,
            volume.packets,
        )
    };
    let rows = answer.rows.iter().map(|row| {
        let text = |text: &'a Option<_>| text.as_deref().unwrap_or_default();
        let [ingress, egress] = &row.volumes;
        let connected = || match row.talker {
            Talker::Host(address) | Talker::Network(address) => interface_of(local, address),
            Talker::Service(..) | Talker::Asn(_) => None,
        };
        let net = match (&row.net, connected()) {
            (None, Some(interface)) => format!("network of {interface}").into(),
            (net, _) => text(net).into(),
        };
        let country = text(&row.country);
        let volumes = (figures(ingress), figures(egress));
        (
            name(row.talker),
            row.asn,
            country,
            net,
            volumes.0,
            volumes.1,
        )
    });
    let mut rows: Vec<_> = rows.collect();
    if let Some(direction) = query.direction {
        rows.retain(|line| of(line, direction).4 > 0);
    }
    let lines = rows.len();
    if let Some(order) = query.order() {
        let direction = query.direction.unwrap_or(Direction::Ingress);
        order.apply(&mut rows, |line| of(line, direction));
    }
    let new = query.seen.and_then(|seen| answer.end_ms.checked_sub(seen));
    let new = new.map(|passed| (passed / TICK_MS) as usize);
    let known = new.and_then(|new| answer.points.len().checked_sub(new));
    let points = &answer.points[known.unwrap_or_default()..];
    let curve = |direction: usize, family: usize| {
        let of = |point: &TalkerPoint| point[direction][family][query.measure as usize] as u64;
        Points::new(points.iter().map(of), query.is_packed)
    };
    TalkersView {
        list: query.list.unwrap_or(ListName::Services).name(),
        complete: answer.is_complete,
        covered,
        rows,
        lines,
        total: [0, 1].map(|direction| figures(&answer.totals[direction])),
        counters: COUNTERS,
        missing_at_most: answer.missing_at_most,
        evicted: answer.evicted,
        evicted_lists: answer.evicted_lists,
        bytes: answer.bytes,
        step: TICK_MS / 1000,
        end: answer.end_ms,
        newest: known.is_some(),
        curves: [0, 1].map(|direction| [0, 1].map(|family| curve(direction, family))),
    }
}

/// Returns the figures of a line in one direction.
fn of(line: &TalkerLine, direction: Direction) -> Figures {
    match direction {
        Direction::Ingress => line.4,
        Direction::Egress => line.5,
    }
}

/// Returns the value of a talker as in a filter: `6/443`, an address, a prefix, a number.
fn name(talker: Talker) -> String {
    match talker {
        Talker::Host(address) => address.to_string(),
        Talker::Network(address) => Prefix::new(address, short_length(address)).to_string(),
        Talker::Service(protocol, port) => format!("{protocol}/{port}"),
        Talker::Asn(asn) => asn.to_string(),
    }
}

/// Returns the lines of the history that a filter selects, if the history has them. `number` returns the number of a
/// text.
pub(super) fn history_kind(
    filters: &[Condition],
    number: impl Fn(&str) -> Option<u32>,
) -> Option<(TopKind, u32)> {
    let [filter] = filters else {
        return None;
    };
    let side = |end: &TrafficEnd| match end {
        TrafficEnd::Remote => Side::Far,
        TrafficEnd::Local => Side::Near,
    };
    Some(match filter {
        Condition::Asn(end, asn) => (TopKind::Asn(side(end)), *asn),
        Condition::Peer(end, asn) => (TopKind::Peer(side(end)), *asn),
        Condition::Country(end, country) => (TopKind::Country(side(end)), number(country)?),
        Condition::City(end, city) => (TopKind::City(side(end)), number(city)?),
        Condition::Protocol(protocol) => (TopKind::Protocol, (*protocol).into()),
        Condition::Address(..) | Condition::Service(..) => return None,
    })
}
