// SPDX-License-Identifier: AGPL-3.0-only
//! The guard paths of the control API.

use std::time::SystemTime;

use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use serde::Serialize;

use super::params::Params;
use super::post::body;
use super::routes::{ControlRoutes, Reply, RequestError, json};
use super::{api, rfc3339};
use crate::guard::baseline::{HourValues, LearnedTraffic, hour_of_week};
use crate::guard::links::LinkLoad;
use crate::guard::report::AttackId;
use crate::guard::shared::{AttackEvent, AttackStatus, GuardHandle, OperatorCommand};
use crate::http::respond;
use crate::sys::clock;
use crate::types::address_detail::AddressDetail;
use crate::types::flow::FlowRecord;
use crate::types::guard::{Heading, Quantity};
use crate::types::named::Named;
use crate::types::prefix::Prefix;

/// One JSON object in each line.
pub(super) const JSON_LINES: &str = "application/x-ndjson";

impl ControlRoutes {
    fn ask_guard(&self) -> Result<&GuardHandle, RequestError> {
        let none = || {
            let error = "there is no guard: agent.guard.enabled is false";
            RequestError::new(StatusCode::NOT_FOUND, error)
        };
        self.sources.scrape.guard.as_ref().ok_or_else(none)
    }

    pub(super) fn guard(&self, request: &Request<Bytes>) -> Reply {
        Params::parse(request.uri().query())
            .and_then(Params::finish)
            .map_err(RequestError::bad_request)?;
        let state = self.ask_guard()?.lock().clone();
        let config = (self.sources.in_force)();
        let config = &config.config.agent.guard;
        let addresses = self.addresses();
        let texts = |prefixes: &[Prefix]| prefixes.iter().map(Prefix::to_string).collect();
        json(&api::GuardReply {
            time: rfc3339(SystemTime::now()),
            mode: config.mode.name().to_owned(),
            action: config.action.name().to_owned(),
            protect: texts(&state.protect),
            allowed: texts(&state.allowed),
            baselines: baselines(&state.learned),
            hosts: state.hosts,
            evicted_hosts: state.evictions,
            active: state
                .active
                .iter()
                .map(|one| attack(one, addresses))
                .collect(),
            ended: state
                .ended
                .iter()
                .rev()
                .map(|one| attack(one, addresses))
                .collect(),
        })
    }

    /// Returns the events after a number, one in each line; with `follow` also those that occur later.
    pub(super) fn events(&self, request: &Request<Bytes>) -> Reply {
        let mut params = Params::parse(request.uri().query()).map_err(RequestError::bad_request)?;
        let after = params
            .read("after", "the number of an event, from 0", |text| {
                text.parse::<u64>().ok()
            })
            .map_err(RequestError::bad_request)?;
        let follow = params
            .read("follow", "true or false", |text| text.parse::<bool>().ok())
            .map_err(RequestError::bad_request)?;
        params.finish().map_err(RequestError::bad_request)?;
        let guard = self.ask_guard()?;
        if follow == Some(true) {
            let live = self.sources.scrape.live.clone();
            return Ok(self.streams.open(guard, live, after)?.into());
        }
        let state = guard.lock();
        let mut lines = Vec::new();
        let mut after = after.unwrap_or(0);
        while let Some((event, _)) = state.next_event(after) {
            lines.extend(event_line(event, self.addresses()));
            after = event.number;
        }
        Ok(respond::content(StatusCode::OK, JSON_LINES, lines).into())
    }

    pub(super) fn stop_guard(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::GuardStop = body(request, "{\"id\": 7}")?;
        self.command_guard(OperatorCommand::Stop(AttackId(wanted.id)))
    }

    pub(super) fn allow_in_guard(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::GuardAllow = body(request, "{\"prefix\": \"192.0.2.1\"}")?;
        let prefix = wanted.prefix.parse().map_err(|_| {
            let text = wanted.prefix.escape_debug();
            RequestError::bad_request(format!(
                "prefix: expected an address or a prefix, got \"{text}\""
            ))
        })?;
        self.command_guard(OperatorCommand::Allow(prefix))
    }

    fn command_guard(&self, command: OperatorCommand) -> Reply {
        let removed = self.ask_guard()?.ask(command);
        let removed =
            removed.map_err(|error| RequestError::new(StatusCode::UNPROCESSABLE_ENTITY, error))?;
        json(&api::GuardChanged {
            removed_rules: removed as u64,
        })
    }
}

/// Returns an event as a line of JSON.
pub(super) fn event_line(event: &AttackEvent, addresses: AddressDetail) -> Vec<u8> {
    let event = api::GuardEvent {
        number: event.number,
        time: rfc3339(event.time),
        event: event.step.name().to_owned(),
        attack: attack(&event.attack, addresses),
    };
    json_line(&event)
}

pub(super) fn json_line(value: &impl Serialize) -> Vec<u8> {
    // the types of the API have text keys and no values of their own: this cannot fail
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The usual traffic in the current hour.
fn baselines(learned: &LearnedTraffic) -> Vec<api::GuardBaseline> {
    let hour = hour_of_week(clock::unix_seconds());
    let each = learned
        .iter()
        .flat_map(|one| Heading::ALL.iter().map(move |heading| (one, *heading)));
    each.map(|((prefix, hours), heading)| {
        let usual = &hours[hour][heading as usize];
        let value = |quantity: Quantity| f64::from(usual[quantity as usize]).round();
        let is_learned = |hour: &&HourValues| hour.iter().flatten().any(|value| *value > 0.0);
        api::GuardBaseline {
            prefix: prefix.to_string(),
            direction: heading.name().to_owned(),
            learned_hours: hours.iter().filter(is_learned).count() as u64,
            packets_per_second: value(Quantity::Packets),
            bits_per_second: value(Quantity::Bits),
            new_flows_per_second: value(Quantity::NewFlows),
            syn_per_second: value(Quantity::Syn),
            fragments_per_second: value(Quantity::Fragments),
        }
    })
    .collect()
}

fn attack(status: &AttackStatus, addresses: AddressDetail) -> api::GuardAttack {
    let report = &status.report;
    let value = |quantity: Quantity| f64::from(report.values[quantity as usize]).round();
    api::GuardAttack {
        id: report.id.0,
        target: report.target.to_string(),
        direction: report.heading.name().to_owned(),
        kind: report.kind.name().to_owned(),
        threshold: report.threshold.into(),
        packets_per_second: value(Quantity::Packets),
        bits_per_second: value(Quantity::Bits),
        new_flows_per_second: value(Quantity::NewFlows),
        syn_per_second: value(Quantity::Syn),
        fragments_per_second: value(Quantity::Fragments),
        began: rfc3339(status.began),
        alarm: rfc3339(status.alarm),
        ended: status.ended.map(rfc3339),
        signature: report.signature.as_ref().map(ToString::to_string),
        share: report
            .signature
            .as_ref()
            .map(|signature| signature.share.into()),
        action: status.decision.action.name().to_owned(),
        reason: status.decision.reason.to_owned(),
        rules: status.decision.rules.iter().map(Into::into).collect(),
        in_force: status.in_force,
        expires: status.expires.map(rfc3339),
        matched_packets: status.packets,
        matched_bytes: status.bytes,
        problem: status.problem.clone(),
        interface: report.interface.as_deref().map(Into::into),
        link_bits_per_second: status.link.as_ref().map(|link| link.rate.round()),
        link_speed: status.link.as_ref().and_then(|link| link.speed),
        link_full: status.link.as_ref().is_some_and(LinkLoad::is_full),
        countries: (report.origins.countries.iter())
            .map(|country| country.as_ref().to_owned())
            .collect(),
        peer_asns: report.origins.peer_asns.clone(),
        pcap: status.pcap.clone(),
        sampled_sources: report.sources as u64,
        flows: report
            .flows
            .iter()
            .map(|record| flow(record, addresses))
            .collect(),
    }
}

fn flow(record: &FlowRecord, addresses: AddressDetail) -> api::GuardFlow {
    let key = &record.key;
    let rate = u64::from(record.sample_rate);
    api::GuardFlow {
        protocol: key.protocol,
        src: addresses.text(key.source()),
        dst: addresses.text(key.destination()),
        src_port: key.src_port,
        dst_port: key.dst_port,
        tcp_flags: record.tcp_flags,
        packets: record.packets.saturating_mul(rate),
        bytes: record.frame_bytes.saturating_mul(rate),
    }
}
