// SPDX-License-Identifier: AGPL-3.0-only
//! The actions of a rule: extended communities (RFC 8955 section 7, RFC 8956 section 6).

use std::fmt;

use super::FlowRejectReason;
use crate::types::named::Named;
use crate::types::rule::Action;
use crate::types::rule::rate::LimitRate;

const TRAFFIC_RATE_BYTES: u16 = 0x8006;
const TRAFFIC_ACTION: u16 = 0x8007;
const TRAFFIC_RATE_PACKETS: u16 = 0x800c;
const TRAFFIC_MARKING: u16 = 0x8009;
/// Into the VRF of a route target in each of its three forms, and to a next hop
/// (draft-ietf-idr-flowspec-redirect-ip) in both of its forms.
const REDIRECTS: [u16; 5] = [0x8008, 0x8108, 0x8208, 0x0800, 0x010c];
/// Of the attribute for IPv6 (RFC 5701): to a next hop, and into the VRF of a route target.
const IPV6_REDIRECTS: [u16; 2] = [0x000c, 0x000d];

const TERMINAL: u8 = 1;
const SAMPLE: u8 = 2;

/// The decoded actions. Without any, packets that match are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FlowActions {
    bytes: Option<f32>,
    packets: Option<f32>,
    bits: Option<u8>,
}

/// The action of the firewall that has the effect of the communities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowOutcome {
    pub action: Action,
    /// Of [`Action::Limit`].
    pub rate: Option<LimitRate>,
}

impl FlowActions {
    /// Decodes the values of the attributes EXTENDED COMMUNITIES and IPv6 Address Specific Extended Community. Other
    /// communities, such as route targets, have no effect on packets.
    pub fn decode(communities: &[u8], ipv6_communities: &[u8]) -> Result<Self, FlowRejectReason> {
        let (ipv6, rest) = ipv6_communities.as_chunks::<20>();
        if !rest.is_empty() {
            return Err(FlowRejectReason::Malformed);
        }
        let kinds = ipv6.iter().map(|c| u16::from_be_bytes([c[0], c[1]]));
        if kinds.into_iter().any(|kind| IPV6_REDIRECTS.contains(&kind)) {
            return Err(FlowRejectReason::Redirect);
        }
        let (communities, rest) = communities.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(FlowRejectReason::Malformed);
        }
        let mut actions = Self::default();
        for community in communities {
            actions.add(*community)?;
        }
        Ok(actions)
    }

    fn add(&mut self, community: [u8; 8]) -> Result<(), FlowRejectReason> {
        let [high, low, _, _, value @ ..] = community;
        match u16::from_be_bytes([high, low]) {
            TRAFFIC_RATE_BYTES => set(&mut self.bytes, f32::from_be_bytes(value)),
            TRAFFIC_RATE_PACKETS => set(&mut self.packets, f32::from_be_bytes(value)),
            TRAFFIC_ACTION => set(&mut self.bits, value[3] & (TERMINAL | SAMPLE)),
            TRAFFIC_MARKING => Err(FlowRejectReason::Mark),
            kind if REDIRECTS.contains(&kind) => Err(FlowRejectReason::Redirect),
            _ => Ok(()),
        }
    }

    /// Returns whether packets that match shall be sampled and logged.
    pub fn is_sampled(&self) -> bool {
        self.bits.is_some_and(|bits| bits & SAMPLE != 0)
    }

    /// Returns whether later rules are evaluated too: the terminal bit is set (RFC 8955 section 7.3).
    fn continues(&self) -> bool {
        self.bits.is_some_and(|bits| bits & TERMINAL != 0)
    }

    /// Returns the action of the firewall. A packet that is dropped needs no further rule.
    pub fn outcome(&self) -> Result<FlowOutcome, FlowRejectReason> {
        let rates = [self.bytes, self.packets];
        if rates.into_iter().flatten().any(f32::is_nan) {
            return Err(FlowRejectReason::Rate);
        }
        // a negative rate is treated as 0
        if rates.into_iter().flatten().any(|rate| rate <= 0.0) {
            return Ok(FlowOutcome::of(Action::Drop));
        }
        let rate = match rates {
            [None, None] if self.continues() => return Ok(FlowOutcome::of(Action::Count)),
            [None, None] => return Ok(FlowOutcome::of(Action::Pass)),
            [Some(_), Some(_)] => return Err(FlowRejectReason::Conflict),
            [Some(bytes), None] => LimitRate::of_bits(8.0 * f64::from(bytes)),
            [None, Some(packets)] => LimitRate::of_packets(packets.into()),
        };
        if self.continues() {
            return Err(FlowRejectReason::Terminal);
        }
        Ok(FlowOutcome {
            action: Action::Limit,
            rate: Some(rate.ok_or(FlowRejectReason::Rate)?),
        })
    }
}

fn set<T: PartialEq>(action: &mut Option<T>, value: T) -> Result<(), FlowRejectReason> {
    match action {
        Some(set) if *set != value => Err(FlowRejectReason::Conflict),
        _ => {
            *action = Some(value);
            Ok(())
        }
    }
}

impl FlowOutcome {
    fn of(action: Action) -> Self {
        Self { action, rate: None }
    }
}

impl fmt::Display for FlowOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "→ {}", self.action.name())?;
        match self.rate {
            Some(rate) => write!(f, " {rate}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn community(kind: u16, value: [u8; 4]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &[0, 0], &value].concat()
    }

    fn rate(kind: u16, rate: f32) -> Vec<u8> {
        community(kind, rate.to_be_bytes())
    }

    fn outcome(communities: &[Vec<u8>]) -> Result<String, FlowRejectReason> {
        let actions = FlowActions::decode(&communities.concat(), &[])?;
        actions.outcome().map(|outcome| outcome.to_string())
    }

    #[test]
    fn rates_become_drops_and_limits() {
        let (bytes, packets) = (TRAFFIC_RATE_BYTES, TRAFFIC_RATE_PACKETS);
        let shows = |communities: &[Vec<u8>], text: &str| {
            assert_eq!(outcome(communities).as_deref(), Ok(text));
        };
        shows(&[], "→ pass");
        shows(&[rate(bytes, 0.0)], "→ drop");
        shows(&[rate(packets, 0.0)], "→ drop");
        shows(&[rate(bytes, -5.0)], "→ drop");
        shows(&[rate(bytes, 125_000.0)], "→ limit 1mbit");
        shows(&[rate(packets, 1000.0)], "→ limit 1000");
        // one of them allows no packet
        shows(&[rate(packets, 10.0), rate(bytes, 0.0)], "→ drop");
        // a route target
        shows(&[community(0x0002, [0, 0, 0, 1])], "→ pass");
    }

    #[test]
    fn a_set_terminal_bit_continues_with_the_next_rule() {
        let bits = |bits| community(TRAFFIC_ACTION, [0, 0, 0, bits]);
        assert_eq!(outcome(&[bits(0)]).as_deref(), Ok("→ pass"));
        assert_eq!(outcome(&[bits(TERMINAL)]).as_deref(), Ok("→ count"));
        let drop = rate(TRAFFIC_RATE_BYTES, 0.0);
        assert_eq!(outcome(&[bits(TERMINAL), drop]).as_deref(), Ok("→ drop"));
        let limit = rate(TRAFFIC_RATE_BYTES, 125_000.0);
        let both = [bits(TERMINAL), limit.clone()];
        assert_eq!(outcome(&both), Err(FlowRejectReason::Terminal));
        assert_eq!(
            outcome(&[bits(SAMPLE), limit]).as_deref(),
            Ok("→ limit 1mbit")
        );
        let sampled = FlowActions::decode(&bits(SAMPLE), &[]).unwrap();
        assert!(sampled.is_sampled() && !FlowActions::default().is_sampled());
    }

    #[test]
    fn actions_without_an_equal_in_the_firewall_are_refused() {
        let (bytes, packets) = (TRAFFIC_RATE_BYTES, TRAFFIC_RATE_PACKETS);
        for kind in REDIRECTS {
            let redirect = [community(kind, [0; 4])];
            assert_eq!(
                outcome(&redirect),
                Err(FlowRejectReason::Redirect),
                "{kind:#x}"
            );
        }
        assert_eq!(
            outcome(&[community(TRAFFIC_MARKING, [0; 4])]),
            Err(FlowRejectReason::Mark)
        );
        for (kind, number) in [
            (bytes, f32::NAN),
            (bytes, f32::INFINITY),
            (bytes, 1.0),
            (bytes, 1e30),
            (bytes, 1000.0625),
            (packets, 0.5),
            (packets, 2e9),
            (packets, f32::NAN),
        ] {
            assert_eq!(outcome(&[rate(kind, number)]), Err(FlowRejectReason::Rate));
        }
        let two = [rate(bytes, 2e6), rate(packets, 1000.0)];
        assert_eq!(outcome(&two), Err(FlowRejectReason::Conflict));
        let differ = [rate(bytes, 2e6), rate(bytes, 3e6)];
        assert_eq!(outcome(&differ), Err(FlowRejectReason::Conflict));
        let same = [rate(bytes, 2e6), rate(bytes, 2e6)];
        assert_eq!(outcome(&same).as_deref(), Ok("→ limit 16mbit"));
        assert_eq!(
            outcome(&[vec![0x80, 6, 0]]),
            Err(FlowRejectReason::Malformed)
        );
        for kind in IPV6_REDIRECTS {
            let community = [&kind.to_be_bytes()[..], &[0; 18]].concat();
            let actions = FlowActions::decode(&[], &community);
            assert_eq!(actions, Err(FlowRejectReason::Redirect));
        }
    }
}
