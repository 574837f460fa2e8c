// SPDX-License-Identifier: AGPL-3.0-only
//! The firewall paths of the control API.

use std::time::{Duration, SystemTime};

use hyper::body::Bytes;
use hyper::http::request;
use hyper::{Request, StatusCode};

use super::access::Access;
use super::params::Params;
use super::post::body;
use super::routes::{ControlRoutes, Reply, RequestError, json};
use super::{api, rfc3339, rfc3339_ns};
use crate::firewall::SshPeer;
use crate::firewall::handle::{Edit, FirewallError, Handle, ListedRule, Requester};
use crate::http::ClientAddress;
use crate::sys::clock::Clock;
use crate::types::flow::FlowRecord;
use crate::types::rule::{PatternCache, RuleId};

/// Bytes of the body of [`api::FIREWALL_ADD`]: about 160 for each rule, at the maximum number of rules.
const MAX_BODY: usize = 16 << 20;

/// Rules in one answer.
pub const MAX_RULES: usize = 10_000;
const DEFAULT_RULES: usize = 1000;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Permits long bodies to clients that may change something, and only for the path that needs them.
pub fn large(
    access: Access,
) -> impl Fn(&request::Parts, ClientAddress<'_>) -> Option<usize> + Send {
    move |parts, peer| {
        let ClientAddress::Unix(connection) = peer else {
            return None;
        };
        let may = parts.uri.path() == api::FIREWALL_ADD && access.may_change(connection).is_ok();
        may.then_some(MAX_BODY)
    }
}

impl ControlRoutes {
    fn ask_firewall(&self) -> Result<&Handle, RequestError> {
        let none = || {
            let error = "there is no firewall: agent.firewall.enabled is false";
            RequestError::new(StatusCode::NOT_FOUND, error)
        };
        self.sources.firewall.as_ref().ok_or_else(none)
    }

    pub(super) fn firewall(&self, request: &Request<Bytes>) -> Reply {
        Params::parse(request.uri().query())
            .and_then(Params::finish)
            .map_err(RequestError::bad_request)?;
        let report = self.ask_firewall()?.report(TIMEOUT).map_err(busy)?;
        let name = |ifindex| {
            let attachment = report
                .attachments
                .iter()
                .find(|attachment| attachment.ifindex == ifindex);
            attachment.map_or_else(String::new, |attachment| attachment.name.clone())
        };
        let clock = Clock::new();
        let dropped = report.dropped.iter();
        let dropped_flows = dropped.map(|flow| dropped_flow(flow, name(flow.key.ifindex), &clock));
        let dropped_flows = dropped_flows.collect();
        let [allow, runtime, config, guard, blackhole, source_check] =
            report.rules.map(|n| n as u64);
        let interfaces = report.attachments.into_iter().map(|attachment| {
            let (mode, problem) = match attachment.state {
                Ok(mode) => (mode.name(), None),
                Err(problem) => ("none", Some(problem)),
            };
            api::FirewallInterface {
                name: attachment.name,
                ifindex: attachment.ifindex,
                mode: mode.to_owned(),
                problem,
            }
        });
        let series = report.series.into_iter().map(|series| api::FirewallSeries {
            rule: series.rule,
            action: series.action.to_owned(),
            packets: series.packets,
            bytes: series.bytes,
        });
        json(&api::FirewallStatus {
            rules: api::FirewallCounts {
                allow,
                runtime,
                config,
                guard,
                blackhole,
                source_check,
            },
            interfaces: interfaces.collect(),
            series: series.collect(),
            dropped_flows,
            lost_samples: report.stats.dropped_records,
            new_sources: report.stats.new_sources,
        })
    }

    pub(super) fn firewall_rules(&self, request: &Request<Bytes>) -> Reply {
        let mut params = Params::parse(request.uri().query()).map_err(RequestError::bad_request)?;
        let from = params
            .read("from", "a place in the list, from 0", |text| {
                text.parse::<u32>().ok()
            })
            .map_err(RequestError::bad_request)?;
        let expected = format_args!("a number from 1 to {MAX_RULES}");
        let limit = params
            .read("limit", expected, |text| {
                let limit = text.parse().ok();
                limit.filter(|n| (1..=MAX_RULES).contains(n))
            })
            .map_err(RequestError::bad_request)?;
        params.finish().map_err(RequestError::bad_request)?;
        let (from, limit) = (from.unwrap_or(0) as usize, limit.unwrap_or(DEFAULT_RULES));
        let listing = self.ask_firewall()?.list(from, limit).map_err(busy)?;
        let now = SystemTime::now();
        json(&api::FirewallRules {
            total: listing.total as u64,
            rules: listing.rules.iter().map(|rule| listed(rule, now)).collect(),
        })
    }

    pub(super) fn add_to_firewall(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::FirewallAdd = body(request, "{\"rules\": [{\"src\": \"192.0.2.0/24\"}]}")?;
        let mut patterns = PatternCache::default();
        let rules = wanted.rules.iter().enumerate().map(|(n, rule)| {
            let read = rule.args().rule(&mut patterns);
            read.map_err(|why| RequestError::bad_request(format!("rules[{n}]: {why}")))
        });
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        let edit = Edit::Add {
            rules,
            replace: wanted.replace,
        };
        self.edit_firewall(edit, wanted.force, wanted.ssh_connection)
    }

    pub(super) fn del_from_firewall(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::FirewallDel = body(request, "{\"ids\": [7]}")?;
        let ids = wanted.ids.iter().copied().map(RuleId).collect();
        self.edit_firewall(Edit::Remove(ids), wanted.force, wanted.ssh_connection)
    }

    pub(super) fn flush_firewall(&self, request: &Request<Bytes>) -> Reply {
        let wanted: api::FirewallFlush = body(request, "{}")?;
        self.edit_firewall(Edit::Flush, wanted.force, wanted.ssh_connection)
    }

    fn edit_firewall(&self, edit: Edit, force: bool, connection: Option<String>) -> Reply {
        let caller = connection.map(|text| {
            SshPeer::parse(&text).ok_or_else(|| {
                let text = text.escape_debug();
                RequestError::bad_request(format!(
                    "ssh_connection: expected two addresses, each with its port, got \"{text}\""
                ))
            })
        });
        let requester = Requester {
            caller: caller.transpose()?,
            force,
        };
        let edited = self
            .ask_firewall()?
            .edit(edit, requester)
            .map_err(refused)?;
        json(&api::FirewallEdited {
            added: edited.added.iter().map(|id| id.0).collect(),
            removed: edited.removed as u64,
        })
    }
}

fn busy(error: FirewallError) -> RequestError {
    RequestError::new(StatusCode::SERVICE_UNAVAILABLE, error.why)
}

fn refused(error: FirewallError) -> RequestError {
    match error.needs_force {
        true => RequestError::new(
            StatusCode::CONFLICT,
            format!("refused: {}, or add --force", error.why),
        ),
        false => RequestError::new(StatusCode::UNPROCESSABLE_ENTITY, error.why),
    }
}

fn dropped_flow(flow: &FlowRecord, interface: String, clock: &Clock) -> api::FirewallFlow {
    let (key, rate) = (&flow.key, u64::from(flow.sample_rate));
    api::FirewallFlow {
        interface,
        protocol: key.protocol,
        src: key.source().to_string(),
        dst: key.destination().to_string(),
        src_port: key.src_port,
        dst_port: key.dst_port,
        vlan: key.vlan_outer,
        packets: flow.packets.saturating_mul(rate),
        bytes: flow.frame_bytes.saturating_mul(rate),
        sampled_packets: flow.packets,
        sample_rate: flow.sample_rate,
        last: rfc3339_ns(clock.wall(flow.last)),
    }
}

fn listed(listed: &ListedRule, now: SystemTime) -> api::FirewallListed {
    let counts = listed.counts;
    api::FirewallListed {
        id: listed.id.0,
        origin: listed.source.name().to_owned(),
        rule: (&listed.rule).into(),
        expires: listed.left.map(|left| rfc3339(now + left)),
        packets: counts.packets,
        bytes: counts.bytes,
        dropped_packets: counts.dropped_packets,
        dropped_bytes: counts.dropped_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::rule_syntax;
    use crate::types::rule::rate::RateJson;

    #[test]
    fn what_is_written_is_read_back() {
        let line = "--src 192.0.2.0/24 --proto tcp --dport 80-90 --interface eth.* --action limit \
                    --rate 7 --per source --ttl 90s";
        let mut patterns = PatternCache::default();
        let args = rule_syntax::parse(line, []).unwrap().0;
        let rule = args.rule(&mut patterns).unwrap();
        let api = api::FirewallRule::from(&rule);
        assert_eq!(api.ttl_seconds, Some(90));
        assert_eq!(api.args().rule(&mut patterns), Ok(rule));
        let wrong = api::FirewallRule {
            rate: Some(RateJson::Packets(0)),
            ..api
        };
        assert!(
            wrong
                .args()
                .rule(&mut patterns)
                .unwrap_err()
                .starts_with("rate: expected")
        );
    }
}
