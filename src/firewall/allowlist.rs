// SPDX-License-Identifier: AGPL-3.0-only
//! The packets that always pass, and whether a change would lock out its caller. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::types::prefix::Prefix;
use crate::types::rule::fields::MatchField;
use crate::types::rule::ranges::Ranges;
use crate::types::rule::{Action, KernelRule, Match, RuleId};

/// The most local addresses and peers; a machine with more does not terminate BGP.
pub const MAX_LOCAL: usize = 1024;
pub const MAX_PEERS: usize = 1024;
/// The most rules of the allow list: two for each prefix, one for each local address, and two for each peer or for
/// each pair of a local address and a peer.
pub const MAX_RULES: usize = 16 * 1024;
/// With more pairs than this, BGP with a peer passes for any local address.
const MAX_PAIRS: usize = 4096;

const TCP: u32 = 6;
const BGP: u32 = 179;

/// The sources of the allow list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowlist {
    /// `agent.firewall.allow`
    pub allow: Vec<Prefix>,
    /// `agent.firewall.allow_own`
    pub allow_own: bool,
    pub local: BTreeSet<IpAddr>,
    /// BMP routers and BGP peers.
    pub peers: BTreeSet<IpAddr>,
}

impl Allowlist {
    /// Returns the packets that always pass, even if a rule drops them.
    pub fn matches(&self) -> Vec<Match> {
        let mut matches = Vec::new();
        for &prefix in &self.allow {
            matches.extend(both_ways(prefix));
        }
        if self.allow_own {
            // no valid packet arrives from a local address
            matches.extend(self.local.iter().map(|&address| to(only(address))));
            for &peer in &self.peers {
                matches.extend(both_ways(only(peer)));
            }
        } else {
            matches.extend(self.bgp());
        }
        matches
    }

    /// Returns BGP between a local address and a peer, whichever side opened the connection.
    fn bgp(&self) -> Vec<Match> {
        let either_port = |matcher: Match| {
            let with = |field| matcher.clone().with(field, Ranges::one(BGP));
            [with(MatchField::Dport), with(MatchField::Sport)]
        };
        let base = |peer: IpAddr, local: Option<IpAddr>| {
            let pair = Match {
                src: Some(only(peer)),
                dst: local.map(only),
                ..Match::default()
            };
            pair.with(MatchField::Protocol, Ranges::one(TCP))
        };
        let pairs = self.local.len().saturating_mul(self.peers.len());
        if pairs > MAX_PAIRS {
            let peers = self.peers.iter();
            return peers.flat_map(|&p| either_port(base(p, None))).collect();
        }
        let mut matches = Vec::new();
        for &peer in &self.peers {
            let same_family = self
                .local
                .iter()
                .filter(|local| local.is_ipv4() == peer.is_ipv4());
            matches.extend(same_family.flat_map(|&local| either_port(base(peer, Some(local)))));
        }
        matches
    }
}

fn only(address: IpAddr) -> Prefix {
    Prefix::new(address, if address.is_ipv4() { 32 } else { 128 })
}

fn to(prefix: Prefix) -> Match {
    Match {
        dst: Some(prefix),
        ..Match::default()
    }
}

fn both_ways(prefix: Prefix) -> [Match; 2] {
    let from = Match {
        src: Some(prefix),
        ..Match::default()
    };
    [from, to(prefix)]
}

/// The SSH connection of a caller: `SSH_CONNECTION` of sshd(8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SshPeer {
    pub client: IpAddr,
    pub client_port: u16,
    pub server: IpAddr,
    pub server_port: u16,
}

impl SshPeer {
    /// Parses the variable; `None` if it does not have the format of sshd.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let mut end = || {
            let address = words.next()?;
            // a link-local address has its zone
            let address = address.split('%').next()?.parse::<IpAddr>().ok()?;
            Some((address.to_canonical(), words.next()?.parse().ok()?))
        };
        let (client, client_port) = end()?;
        let (server, server_port) = end()?;
        Some(Self {
            client,
            client_port,
            server,
            server_port,
        })
    }

    /// Returns the rule that stops this connection, if there is one. A rule for some interfaces is assumed to apply to
    /// the caller's interface if it stops packets, and not to apply if it passes them.
    pub fn stopped_by(&self, rules: &[KernelRule]) -> Option<RuleId> {
        for rule in rules
            .iter()
            .filter(|rule| self.matches_connection(&rule.matcher))
        {
            match rule.action {
                Action::Drop | Action::Limit => return Some(rule.id),
                Action::Pass if rule.matcher.interfaces.is_none() => return None,
                Action::Pass | Action::Count => {}
            }
        }
        None
    }

    fn matches_connection(&self, matcher: &Match) -> bool {
        let (client, server) = (self.client_port.into(), self.server_port.into());
        // its packets may have any length, flags and marks
        let may_match = |field, values: &Ranges| match field {
            MatchField::Protocol => values.contains(TCP),
            MatchField::Sport => values.contains(client),
            MatchField::Dport => values.contains(server),
            MatchField::Port => values.contains(client) || values.contains(server),
            MatchField::IcmpType | MatchField::IcmpCode => false,
            MatchField::TcpFlags
            | MatchField::Length
            | MatchField::Fragment
            | MatchField::Dscp
            | MatchField::FlowLabel => true,
        };
        matcher.src.is_none_or(|src| src.contains(self.client))
            && matcher.dst.is_none_or(|dst| dst.contains(self.server))
            && matcher
                .fields()
                .iter()
                .all(|(field, values)| may_match(*field, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::rule::Per;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn allowlist(allow_own: bool) -> Allowlist {
        Allowlist {
            allow: vec!["192.0.2.0/24".parse().unwrap()],
            allow_own,
            local: [address("198.51.100.1"), address("2001:db8::1")].into(),
            peers: [address("198.51.100.2")].into(),
        }
    }

    #[test]
    fn own_addresses_and_peers_pass_unless_told_otherwise() {
        let all = allowlist(true).matches();
        assert_eq!(all.len(), 2 + 2 + 2);
        assert_eq!(all[2], to("198.51.100.1/32".parse().unwrap()));
        let bgp = allowlist(false).matches();
        assert_eq!(bgp.len(), 2 + 2, "only of the same family");
        for (matcher, port) in bgp[2..].iter().zip([MatchField::Dport, MatchField::Sport]) {
            assert_eq!(matcher.src, Some(only(address("198.51.100.2"))));
            assert_eq!(matcher.dst, Some(only(address("198.51.100.1"))));
            let fields: Vec<_> = matcher.fields().iter().map(|(field, _)| *field).collect();
            assert_eq!(fields, [MatchField::Protocol, port]);
        }
    }

    #[test]
    fn many_pairs_of_addresses_are_not_multiplied() {
        let many = |n: u32| (0..n).map(|n| IpAddr::V4(n.into())).collect();
        let allowlist = Allowlist {
            local: many(1024),
            peers: many(1024),
            ..Allowlist::default()
        };
        let matches = allowlist.matches();
        assert_eq!(matches.len(), 2048);
        assert!(
            matches
                .iter()
                .all(|matcher| matcher.dst.is_none() && matcher.src.is_some())
        );
    }

    #[test]
    fn the_connection_of_the_caller_is_read() {
        let caller = SshPeer::parse("192.0.2.7 51234 ::ffff:198.51.100.1 22").unwrap();
        assert_eq!(caller.server, address("198.51.100.1"));
        assert_eq!((caller.client_port, caller.server_port), (51234, 22));
        let linked = SshPeer::parse("fe80::7%eth0 1 fe80::1%eth0 22").unwrap();
        assert_eq!(linked.client, address("fe80::7"));
        for text in ["", "192.0.2.7 51234", "a b c d", "::1 1 ::2 65536"] {
            assert_eq!(SshPeer::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_would_stop_the_caller_is_found_by_priority() {
        let caller = SshPeer::parse("192.0.2.7 51234 198.51.100.1 22").unwrap();
        let rule = |id, src: &str, action, interfaces: Option<Vec<u32>>| KernelRule {
            id: RuleId(id),
            matcher: Match {
                src: Some(src.parse().unwrap()),
                interfaces,
                ..Match::default()
            },
            action,
            rate: None,
            burst: None,
            per: Per::Rule,
        };
        let drop = rule(7, "192.0.2.0/24", Action::Drop, None);
        let other = rule(8, "203.0.113.0/24", Action::Drop, None);
        let found = |rules: &[KernelRule]| caller.stopped_by(rules);
        assert_eq!(found(std::slice::from_ref(&other)), None);
        assert_eq!(found(&[other, drop.clone()]), Some(RuleId(7)));
        let pass = |interfaces| rule(1, "192.0.2.7/32", Action::Pass, interfaces);
        assert_eq!(found(&[pass(None), drop.clone()]), None);
        assert_eq!(found(&[pass(Some(vec![3])), drop.clone()]), Some(RuleId(7)));
        let counted = rule(1, "0.0.0.0/0", Action::Count, None);
        let mut narrow = drop;
        narrow.matcher.interfaces = Some(vec![9]);
        assert_eq!(found(&[counted, narrow.clone()]), Some(RuleId(7)));
        narrow
            .matcher
            .set(MatchField::TcpFlags, Ranges::one(2).into());
        assert_eq!(found(std::slice::from_ref(&narrow)), Some(RuleId(7)));
        narrow
            .matcher
            .set(MatchField::Dport, Ranges::one(80).into());
        assert_eq!(found(&[narrow]), None);
    }
}
