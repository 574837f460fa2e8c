// SPDX-License-Identifier: AGPL-3.0-only
//! A firewall rule that the view proposes for a line: shown first, applied after a confirmation (pure).

use std::collections::HashMap;
use std::net::IpAddr;

use super::conversations::ConversationKey;
use crate::control::api::{FirewallAdd, FirewallRule, FlowsReply};
use crate::types::address_detail::short_length;
use crate::types::prefix::Prefix;
use crate::types::protocol::Protocol;
use crate::types::rule::{PARTS, PatternCache};

/// The times to live that can be chosen, in seconds.
const TIMES: [u64; 4] = [600, 3600, 86_400, 60];

/// The number of prefixes that are proposed for a network.
const PREFIXES: usize = 4;

/// The state of a proposal at the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProposalState {
    /// The agent has not answered yet.
    #[default]
    Checking,
    /// The firewall is enabled: the rule can be applied.
    Ready,
    Applying,
    /// The reason why it cannot be applied.
    Refused(String),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proposal {
    /// The rules among which the user chooses, without the time to live.
    choices: Vec<FirewallRule>,
    chosen: usize,
    time: usize,
    /// The meaning of the choices, if it is not obvious.
    pub note: Option<String>,
    pub state: ProposalState,
}

impl Proposal {
    /// Proposes rules against a conversation: the first against its packets from `sender` (0 or 1).
    pub fn conversation(key: &ConversationKey, sender: usize) -> Self {
        let ends = [&key.a, &key.b];
        let (src, dst) = (ends[sender % 2], ends[(sender + 1) % 2]);
        let has_ports = Protocol(key.protocol).has_ports();
        let narrow = FirewallRule {
            src: Some(src.address.clone()),
            dst: Some(dst.address.clone()),
            proto: Some(Protocol(key.protocol).to_string()),
            // a client's port is another in each of its connections
            dport: (has_ports && dst == &key.b).then(|| dst.port.to_string()),
            ..FirewallRule::default()
        };
        let mut choices = vec![narrow];
        choices.extend(Self::host(&src.address).choices);
        choices.extend(Self::host(&dst.address).choices);
        Self {
            choices,
            ..Self::default()
        }
    }

    /// Proposes rules against a network, by the prefixes of its hosts with the most traffic among `flows`: a rule has
    /// no AS. `None` if the flows have no addresses of it.
    pub fn network(asn: u32, flows: &FlowsReply) -> Option<Self> {
        let mut sums: HashMap<Prefix, u64> = HashMap::new();
        for flow in &flows.flows {
            let ends = [(&flow.src, flow.src_asn), (&flow.dst, flow.dst_asn)];
            for (address, _) in ends.into_iter().filter(|(_, of)| *of == Some(asn)) {
                if let Some(prefix) = short_prefix(address) {
                    *sums.entry(prefix).or_default() += flow.bytes_per_second;
                }
            }
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|(prefix, bytes)| (std::cmp::Reverse(*bytes), prefix.address()));
        let prefixes = sums.iter().take(PREFIXES);
        let choices: Vec<_> = prefixes
            .flat_map(|(prefix, _)| Self::host(&prefix.to_string()).choices)
            .collect();
        (!choices.is_empty()).then(|| Self {
            choices,
            note: Some(format!(
                "A rule has no AS: these are the prefixes of AS{asn} with the most traffic now."
            )),
            ..Self::default()
        })
    }

    /// Proposes rules against a port of both protocols that have ports.
    pub fn port(port: &str) -> Self {
        let rule = |protocol: &str| FirewallRule {
            proto: Some(protocol.into()),
            dport: Some(port.to_owned()),
            ..FirewallRule::default()
        };
        Self {
            choices: vec![rule("udp"), rule("tcp")],
            ..Self::default()
        }
    }

    /// Proposes a rule against a protocol.
    pub fn protocol(protocol: &str) -> Self {
        Self {
            choices: vec![FirewallRule {
                proto: Some(protocol.to_owned()),
                ..FirewallRule::default()
            }],
            ..Self::default()
        }
    }

    /// Proposes rules against the packets from a host or prefix, and to it.
    pub fn host(address: &str) -> Self {
        let address = Some(address.to_owned());
        let from = FirewallRule {
            src: address.clone(),
            ..FirewallRule::default()
        };
        let to = FirewallRule {
            dst: address,
            ..FirewallRule::default()
        };
        Self {
            choices: vec![from, to],
            ..Self::default()
        }
    }

    pub fn next_rule(&mut self) {
        self.chosen = (self.chosen + 1) % self.choices.len();
        self.changed();
    }

    pub fn next_time(&mut self) {
        self.time = (self.time + 1) % TIMES.len();
        self.changed();
    }

    /// Another rule may be accepted.
    fn changed(&mut self) {
        if matches!(self.state, ProposalState::Refused(_)) {
            self.state = ProposalState::Checking;
        }
    }

    fn rule(&self) -> FirewallRule {
        FirewallRule {
            action: Some("drop".into()),
            ttl_seconds: Some(TIMES[self.time]),
            ..self.choices[self.chosen].clone()
        }
    }

    /// Returns the command with the same effect.
    pub fn command(&self) -> String {
        let rule = self.rule();
        let Ok(rule) = rule.args().rule(&mut PatternCache::default()) else {
            return String::new();
        };
        let parts = PARTS.iter().filter(|part| part.is_shown(&rule));
        let options = parts.map(|part| format!(" --{} {}", part.option, part.word(&rule)));
        format!("rfm firewall add{}", options.collect::<String>())
    }

    /// Returns the request that applies the rule.
    pub fn request(&self, ssh_connection: Option<String>) -> FirewallAdd {
        FirewallAdd {
            rules: vec![self.rule()],
            ssh_connection,
            ..FirewallAdd::default()
        }
    }
}

/// Returns the /24 or /48 of an address, or the prefix that the agent shows in its place.
fn short_prefix(text: &str) -> Option<Prefix> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(Prefix::new(address, short_length(address))),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::conversations::HostPort;
    use super::*;

    #[test]
    fn a_proposal_is_a_command_with_a_time_to_live() {
        let end = |address: &str, port| HostPort {
            address: address.into(),
            port,
        };
        let key = ConversationKey {
            protocol: 6,
            a: end("192.0.2.1", 50_000),
            b: end("198.51.100.1", 443),
        };
        let mut proposal = Proposal::conversation(&key, 0);
        assert_eq!(
            proposal.command(),
            "rfm firewall add --src 192.0.2.1/32 --dst 198.51.100.1/32 --protocol tcp --dport 443 \
             --action drop --ttl 10m"
        );
        proposal.next_rule();
        proposal.next_time();
        assert_eq!(
            proposal.command(),
            "rfm firewall add --src 192.0.2.1/32 --action drop --ttl 1h"
        );
        let answer = Proposal::conversation(&key, 1).command();
        assert!(answer.contains("--protocol tcp --action"), "{answer}");
        let request = proposal.request(None);
        assert_eq!(request.rules[0].ttl_seconds, Some(3600));
        assert!(!request.force);
    }
}
