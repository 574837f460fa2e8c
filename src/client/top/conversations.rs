// SPDX-License-Identifier: AGPL-3.0-only
//! Merges the flows of successive answers to conversations (pure: the clock is an argument).
//!
//! A conversation has both directions between two ends. A forwarded packet is counted at ingress and at egress: each
//! direction uses only one of the two. Interfaces that are stacked on another monitored one are left out.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use humantime_serde::re::humantime::parse_rfc3339;

use super::windows::{Span, WINDOWS, Windows};
use crate::client::format::Estimate;
use crate::control::api;
use crate::types::protocol::Protocol;

/// The maximum number of conversations. The one without traffic for the longest time is evicted.
const MAX_CONVERSATIONS: usize = 4096;
/// The maximum number of flows whose last counts are stored; a few for each conversation.
const MAX_FLOWS: usize = 4 * MAX_CONVERSATIONS;
/// A conversation is removed after this time without traffic, in seconds: then all its rates are 0.
const IDLE: f64 = WINDOWS[WINDOWS.len() - 1];
/// A flow whose last packet is older than this, in seconds, is idle.
const UNDER_WAY: f64 = 2.0;
/// The first packets of successive records are further apart: a record lasts at least a second.
const SAME_TIME: Duration = Duration::from_millis(500);
/// The excess of egress over ingress that no sampling error explains.
const MIN_EXCESS: f64 = 0.05;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    pub address: String,
    /// 0 if the protocol has no ports.
    pub port: u16,
}

/// Two ends; `b` has the lower port, as servers do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationKey {
    pub protocol: u8,
    pub a: HostPort,
    pub b: HostPort,
}

/// The labels of an end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostLabels {
    pub asn: Option<u32>,
    pub asn_name: Option<String>,
    pub country: Option<String>,
    pub city: Option<String>,
    pub net: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Conversation {
    pub ends: [HostLabels; 2],
    /// From `a` to `b`, and from `b` to `a`.
    pub ways: [Way; 2],
    /// The highest rate of both directions over the shortest window, in bytes a second.
    pub peak: f64,
    pub sample_rate: u32,
    last: f64,
}

/// One direction of a conversation.
#[derive(Clone, Debug, Default)]
pub struct Way {
    ingress: Windows,
    egress: Windows,
    sampled_packets: u64,
    /// Of all interfaces, as the samples are.
    packets: f64,
    /// Of the packets, by adaptive sampling.
    variance: f64,
    /// The interfaces, and whether each counted at egress.
    pub places: BTreeSet<(bool, String)>,
}

/// A flow as the agent identifies it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FlowPlace {
    interface: String,
    egress: bool,
    key: ConversationKey,
    forward: bool,
    vlans: (u16, u16),
    /// ICMP has its type here.
    port: u16,
}

/// The last counts of a flow.
struct LastCount {
    first: Option<SystemTime>,
    bytes: u64,
    packets: u64,
    sampled: u64,
    variance: f64,
    /// Bytes and packets a second since the answer before.
    rate: (f64, f64),
    at: f64,
}

impl LastCount {
    /// Returns whether the record of the flow is still the same. The agent converts the time of its first packet with
    /// each answer, so that it differs slightly.
    fn continues_in(&self, flow: &api::LiveFlow, first: Option<SystemTime>) -> bool {
        let moved = self.first.zip(first).is_some_and(|(old, new)| {
            let apart = new.duration_since(old).or_else(|_| old.duration_since(new));
            apart.is_ok_and(|apart| apart > SAME_TIME)
        });
        !moved && flow.bytes >= self.bytes && flow.packets >= self.packets
    }
}

#[derive(Default)]
pub struct Conversations {
    epoch: Option<Instant>,
    now: f64,
    /// With shortened addresses, several flows may have the same place.
    flows: HashMap<FlowPlace, Vec<LastCount>>,
    pub table: HashMap<ConversationKey, Conversation>,
    /// The number of matching flows at the agent, and of those in the last answer.
    pub matched: (u64, u64),
    /// The number of conversations that were evicted.
    pub evicted: u64,
}

impl Conversations {
    /// Adds an answer that arrived at `at`. `left_out` returns whether the flows of an interface are not counted.
    pub fn update(
        &mut self,
        reply: &api::FlowsReply,
        at: Instant,
        left_out: impl Fn(&str) -> bool,
    ) {
        let epoch = *self.epoch.get_or_insert(at);
        let before = self.now;
        self.now = at.saturating_duration_since(epoch).as_secs_f64();
        self.matched = (reply.matched, reply.flows.len() as u64);
        let time = parse_rfc3339(&reply.time).ok();
        for flow in reply.flows.iter().filter(|flow| !left_out(&flow.interface)) {
            self.add(flow, time, before);
        }
        let now = self.now;
        for records in self.flows.values_mut() {
            records.retain(|last| now - last.at <= IDLE);
        }
        self.flows.retain(|_, records| !records.is_empty());
        self.table.retain(|_, one| now - one.last <= IDLE);
        evict(&mut self.flows, MAX_FLOWS, |records| {
            records.iter().map(|last| last.at).fold(0.0, f64::max)
        });
        self.evicted += evict(&mut self.table, MAX_CONVERSATIONS, |one| one.last);
        for one in self.table.values_mut() {
            let rate = one.rate(WINDOWS[0], now).0;
            one.peak = one.peak.max(rate);
        }
    }

    fn add(&mut self, flow: &api::LiveFlow, time: Option<SystemTime>, before: f64) {
        let now = self.now;
        let (key, forward) = key(flow);
        let egress = flow.direction == "egress";
        let place = FlowPlace {
            interface: flow.interface.clone(),
            egress,
            key: key.clone(),
            forward,
            vlans: (flow.vlan, flow.inner_vlan),
            port: flow.dst_port,
        };
        let first = parse_rfc3339(&flow.first).ok();
        let records = self.flows.entry(place).or_default();
        // a record of this answer belongs to another flow of the place
        let is_same = |last: &LastCount| last.at < now && last.continues_in(flow, first);
        let same = records.iter().position(is_same);
        let mut spans = Vec::new();
        let (from, to);
        let (mut bytes, mut packets) = (flow.bytes, flow.packets);
        let mut sampled = flow.sampled_packets;
        let all_variance = (flow.standard_error_packets as f64).powi(2);
        let mut variance = all_variance;
        match same.map(|n| &records[n]) {
            Some(last) => {
                (from, to) = (last.at, now);
                bytes = bytes.saturating_sub(last.bytes);
                packets = packets.saturating_sub(last.packets);
                sampled = sampled.saturating_sub(last.sampled);
                variance = (variance - last.variance).max(0.0);
            }
            None => {
                let ago = |time_of: Option<SystemTime>| {
                    let ago = time
                        .zip(time_of)
                        .and_then(|(t, of)| t.duration_since(of).ok());
                    ago.map_or(0.0, |ago| ago.as_secs_f64())
                };
                let idle = ago(parse_rfc3339(&flow.last).ok());
                // the latest packets are up to a second old: a flow that continues is taken as if they were of now
                let lag = if idle < UNDER_WAY { idle } else { 0.0 };
                from = now - (ago(first) - lag).max(0.0);
                to = if idle < UNDER_WAY { now } else { now - idle };
                // No answer contains the last packets of a record that ended: they are assumed at its last rate.
                if let [last] = &records[..]
                    && last.at >= before
                    && from > last.at
                {
                    let gap = from - last.at;
                    spans.push(Span {
                        from: last.at,
                        to: from,
                        bytes: last.rate.0 * gap,
                        packets: last.rate.1 * gap,
                    });
                }
            }
        }
        let (bytes, packets) = (bytes as f64, packets as f64);
        spans.push(Span {
            from,
            to,
            bytes,
            packets,
        });
        let seconds = (to - from).max(1.0);
        let count = LastCount {
            first,
            bytes: flow.bytes,
            packets: flow.packets,
            sampled: flow.sampled_packets,
            variance: all_variance,
            rate: (bytes / seconds, packets / seconds),
            at: now,
        };
        match same {
            Some(n) => records[n] = count,
            None => records.push(count),
        }
        if packets == 0.0 && !self.table.contains_key(&key) {
            return;
        }
        let one = self.table.entry(key).or_default();
        if packets > 0.0 {
            one.last = now;
        }
        one.sample_rate = flow.sample_rate;
        one.label(flow, forward);
        let way = &mut one.ways[usize::from(!forward)];
        way.places.insert((egress, flow.interface.clone()));
        way.sampled_packets += sampled;
        way.packets += packets;
        way.variance += variance;
        let side = match egress {
            true => &mut way.egress,
            false => &mut way.ingress,
        };
        for span in spans {
            side.add(span);
        }
    }

    /// The time of the last answer, in seconds since the first.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// Forgets everything: the next answers are those of another filter.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Conversation {
    /// Returns bytes and packets a second in both directions.
    pub fn rate(&self, window: f64, now: f64) -> (f64, f64) {
        let [there, back] = self.ways.each_ref().map(|way| way.rate(window, now));
        (there.0 + back.0, there.1 + back.1)
    }

    /// Returns the bytes in both directions since the view knows it.
    pub fn bytes(&self) -> f64 {
        self.ways.iter().map(|way| way.counted().bytes).sum()
    }

    /// Returns the packets in both directions with their error.
    pub fn estimate(&self) -> Estimate {
        let sum = |of: fn(&Way) -> f64| self.ways.iter().map(of).sum::<f64>();
        Estimate {
            sample_rate: self.sample_rate,
            sampled_packets: self.ways.iter().map(|way| way.sampled_packets).sum(),
            packets: sum(|way| way.packets) as u64,
            standard_error: sum(|way| way.variance).sqrt() as u64,
        }
    }

    fn label(&mut self, flow: &api::LiveFlow, forward: bool) {
        let src = HostLabels {
            asn: flow.src_asn,
            asn_name: flow.src_asn_name.clone(),
            country: flow.src_country.clone(),
            city: flow.src_city.clone(),
            net: flow.src_net.clone(),
        };
        let dst = HostLabels {
            asn: flow.dst_asn,
            asn_name: flow.dst_asn_name.clone(),
            country: flow.dst_country.clone(),
            city: flow.dst_city.clone(),
            net: flow.dst_net.clone(),
        };
        self.ends = if forward { [src, dst] } else { [dst, src] };
    }
}

impl Way {
    pub fn rate(&self, window: f64, now: f64) -> (f64, f64) {
        self.counted().rate(window, now, 0.0)
    }

    /// Returns the counts at ingress, or those at egress if there are clearly more: packets of this router itself, or
    /// of an interface that is not monitored. The larger of two samples would be too large on average.
    fn counted(&self) -> &Windows {
        let error = 2.0 / (self.sampled_packets.max(1) as f64).sqrt();
        let excess = self.egress.bytes > self.ingress.bytes * (1.0 + error.max(MIN_EXCESS));
        match excess {
            true => &self.egress,
            false => &self.ingress,
        }
    }
}

/// Removes the oldest entries beyond a maximum; returns their number.
fn evict<K: Eq + Hash, V>(map: &mut HashMap<K, V>, max: usize, time: impl Fn(&V) -> f64) -> u64 {
    let before = map.len();
    if before > max {
        let mut times: Vec<f64> = map.values().map(&time).collect();
        times.sort_by(|a, b| b.total_cmp(a));
        map.retain(|_, one| time(one) > times[max]);
    }
    (before - map.len()) as u64
}

/// Returns the conversation of a flow, and whether the flow is from `a` to `b`.
fn key(flow: &api::LiveFlow) -> (ConversationKey, bool) {
    let has_ports = Protocol(flow.protocol).has_ports();
    let end = |address: &str, port: u16| HostPort {
        address: address.to_owned(),
        port: if has_ports { port } else { 0 },
    };
    let src = end(&flow.src, flow.src_port);
    let dst = end(&flow.dst, flow.dst_port);
    // a prefix in place of an address is compared as text
    let rank = |end: &HostPort| {
        let address = end.address.parse::<IpAddr>().ok();
        (end.port, address, end.address.clone())
    };
    let forward = rank(&src) >= rank(&dst);
    let (a, b) = if forward { (src, dst) } else { (dst, src) };
    let protocol = flow.protocol;
    (ConversationKey { protocol, a, b }, forward)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(place: &str, src: (&str, u16), dst: (&str, u16), bytes: u64) -> api::LiveFlow {
        let (direction, interface) = place.split_once(' ').unwrap();
        api::LiveFlow {
            interface: interface.into(),
            direction: direction.into(),
            protocol: 6,
            src: src.0.into(),
            dst: dst.0.into(),
            src_port: src.1,
            dst_port: dst.1,
            bytes,
            packets: bytes / 100,
            sampled_packets: bytes / 100,
            sample_rate: 1,
            first: "2026-11-29T12:00:00Z".into(),
            ..api::LiveFlow::default()
        }
    }

    fn reply(second: u64, flows: Vec<api::LiveFlow>) -> api::FlowsReply {
        api::FlowsReply {
            time: format!("2026-11-29T12:00:{second:02}Z"),
            sample_rate: 1,
            matched: flows.len() as u64,
            flows,
        }
    }

    const CLIENT: (&str, u16) = ("10.0.0.1", 50_000);
    const SERVER: (&str, u16) = ("192.0.2.1", 443);

    fn only(conversations: &Conversations) -> &Conversation {
        assert_eq!(conversations.table.len(), 1);
        conversations.table.values().next().unwrap()
    }

    #[test]
    fn both_directions_and_both_hooks_are_one_conversation_and_counted_once() {
        let mut conversations = Conversations::default();
        let start = Instant::now();
        for second in 1..=20 {
            let (up, down) = (1000 * second, 9000 * second);
            let flows = vec![
                flow("ingress lan0", CLIENT, SERVER, up),
                flow("egress wan0", CLIENT, SERVER, up),
                flow("ingress wan0", SERVER, CLIENT, down),
                flow("egress lan0", SERVER, CLIENT, down),
                flow("ingress lan0.7", CLIENT, SERVER, up),
            ];
            let mut flows = flows;
            for flow in &mut flows {
                // the clock of the agent
                flow.first = format!("2026-11-29T12:00:00.{second:09}Z");
            }
            let at = start + Duration::from_secs(second);
            conversations.update(&reply(second, flows), at, |name| name == "lan0.7");
        }
        let one = only(&conversations);
        let now = conversations.now();
        for window in WINDOWS {
            let (bytes, packets) = one.rate(window, now);
            assert!((bytes - 10_000.0).abs() < 1.0, "{window}: {bytes}");
            assert!((packets - 100.0).abs() < 0.1, "{window}: {packets}");
        }
        assert_eq!(one.bytes(), 200_000.0);
        assert!((one.peak - 10_000.0).abs() < 1.0);
        let key = conversations.table.keys().next().unwrap();
        assert_eq!((&*key.a.address, key.b.port), ("10.0.0.1", 443));
        assert_eq!(one.ways[0].rate(2.0, now).0.round(), 1000.0);
    }

    /// Shortened addresses: two hosts of a prefix with the same ports have the same place.
    #[test]
    fn flows_with_the_same_place_are_added() {
        let mut conversations = Conversations::default();
        let start = Instant::now();
        let hosts = ("10.0.0.0/24", 50_000);
        for second in 4..=20 {
            let mut flows = vec![
                flow("ingress lan0", hosts, SERVER, 1000 * second),
                flow("ingress lan0", hosts, SERVER, 3000 * (second - 3)),
            ];
            flows[1].first = "2026-11-29T12:00:03Z".into();
            if second % 2 == 0 {
                flows.reverse();
            }
            let at = start + Duration::from_secs(second);
            conversations.update(&reply(second, flows), at, |_| false);
        }
        let one = only(&conversations);
        assert_eq!(one.bytes(), 20_000.0 + 51_000.0);
        assert_eq!(one.rate(10.0, conversations.now()).0.round(), 4000.0);
    }

    #[test]
    fn packets_of_the_router_itself_are_counted_at_egress() {
        let mut conversations = Conversations::default();
        let flows = vec![flow("egress wan0", CLIENT, SERVER, 5000)];
        conversations.update(&reply(5, flows), Instant::now(), |_| false);
        assert_eq!(only(&conversations).rate(10.0, 0.0).0, 1000.0);
    }

    /// The agent ends a record and begins the next: nothing is counted twice, and the rate has no gap.
    #[test]
    fn a_new_record_continues_the_rate() {
        let mut conversations = Conversations::default();
        let start = Instant::now();
        for second in 1..=30 {
            let mut one = flow("ingress lan0", CLIENT, SERVER, 1000 * second);
            if second > 10 {
                // the first packet of the new record is from the middle of this second
                one.first = "2026-11-29T12:00:10.5Z".into();
                one.bytes = 1000 * second - 10_500;
            }
            let at = start + Duration::from_secs(second);
            conversations.update(&reply(second, vec![one]), at, |_| false);
            let rate = only(&conversations).rate(2.0, conversations.now()).0;
            assert!((rate - 1000.0).abs() < 1.0, "{second}: {rate}");
        }
    }

    #[test]
    fn idle_conversations_are_removed_and_their_number_is_bounded() {
        let mut conversations = Conversations::default();
        let start = Instant::now();
        let many = |from: u16| {
            let ports = from..from + 1000;
            let flows = ports.map(|port| flow("ingress lan0", ("10.0.0.1", port), SERVER, 100));
            flows.collect::<Vec<_>>()
        };
        for second in 0..10u16 {
            let flows = many(1000 + 1000 * second);
            let at = start + Duration::from_secs(u64::from(second));
            conversations.update(&reply(second.into(), flows), at, |_| false);
        }
        assert!(conversations.table.len() <= MAX_CONVERSATIONS);
        assert!(conversations.evicted >= 10_000 - MAX_CONVERSATIONS as u64);
        let at = start + Duration::from_secs(100);
        conversations.update(&reply(59, Vec::new()), at, |_| false);
        assert!(conversations.table.is_empty() && conversations.flows.is_empty());
    }
}
