// SPDX-License-Identifier: AGPL-3.0-only
//! Decides which BMP sessions are admitted (pure): silent sessions must not keep routers out.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::error::BmpError;

/// A session without a peer is idle after this time, in milliseconds.
pub const IDLE: u64 = 60_000;

/// Number of sessions that every source may have, if `max_sessions` permits. Above it, a source has at most
/// half of all sessions.
const LEAST_SHARE: usize = 4;

/// Maximum number of known routers; beyond it, the one seen longest ago is evicted.
const MAX_KNOWN: usize = 1024;

/// An IPv4 address, or the /64 of an IPv6 address: a host chooses freely within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        const INTERFACE: u128 = u64::MAX as u128;
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !INTERFACE).into(),
            ipv4 => ipv4,
        })
    }
}

/// A session that is up.
#[derive(Clone, Copy, Debug)]
pub struct ActiveSession {
    pub source: Source,
    /// The time without a peer, in milliseconds; `None` if a peer is up.
    pub idle: Option<u64>,
}

/// Whether a new connection becomes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Admit,
    /// The session at this index ends first.
    Replace(usize),
    Refuse(BmpError),
}

/// The sources of sessions that have had a peer.
#[derive(Debug, Default)]
pub struct KnownRouters {
    /// The time at which the source was last seen with a peer.
    seen: HashMap<Source, u64>,
}

impl KnownRouters {
    pub fn mark_seen(&mut self, source: Source, now: u64) {
        if self.seen.len() >= MAX_KNOWN
            && !self.seen.contains_key(&source)
            && let Some((&oldest, _)) = self.seen.iter().min_by_key(|(_, seen)| **seen)
        {
            self.seen.remove(&oldest);
        }
        self.seen.insert(source, now);
    }

    fn has(&self, source: Source) -> bool {
        self.seen.contains_key(&source)
    }

    /// Decides on a connection from `source`, given the sessions `held`. A known router replaces a session
    /// of an unknown one that has no peer; otherwise only an idle session is replaced.
    pub fn decide(&self, source: Source, held: &[ActiveSession], max_sessions: usize) -> Admission {
        let share = (max_sessions / 2).max(LEAST_SHARE).min(max_sessions);
        let own = held.iter().filter(|held| held.source == source).count();
        let full = held.len() >= max_sessions;
        if own < share && !full {
            return Admission::Admit;
        }
        let error = if full {
            BmpError::SessionLimit
        } else {
            BmpError::AddressLimit
        };
        let own_only = own >= share;
        let known = self.has(source);
        let replaceable = |(index, held): (usize, &ActiveSession)| {
            let idle = held.idle?;
            let stranger = !self.has(held.source);
            let may_end = idle >= IDLE || known && stranger;
            let candidate = may_end && (!own_only || held.source == source);
            // unknown routers first, then the session that has been idle longest
            candidate.then_some((stranger, idle, Reverse(index)))
        };
        let best = held.iter().enumerate().filter_map(replaceable).max();
        best.map_or(Admission::Refuse(error), |(_, _, Reverse(index))| {
            Admission::Replace(index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn held(sessions: &[(&str, Option<u64>)]) -> Vec<ActiveSession> {
        let held = sessions.iter().map(|&(address, idle)| ActiveSession {
            source: source(address),
            idle,
        });
        held.collect()
    }

    #[test]
    fn a_source_has_a_share_of_the_sessions() {
        let known = KnownRouters::default();
        for (max, share) in [(16, 8), (9, 4), (4, 4), (2, 2), (1, 1)] {
            let own = held(&vec![("192.0.2.1", None); share]);
            let decide = |address| known.decide(source(address), &own, max);
            let error = match max > share {
                true => BmpError::AddressLimit,
                false => BmpError::SessionLimit,
            };
            let refused = Admission::Refuse(error);
            assert_eq!(decide("192.0.2.1"), refused, "{max}");
            assert_eq!(decide("::ffff:192.0.2.1"), refused, "{max}");
            let less = known.decide(source("192.0.2.1"), &own[1..], max);
            assert_eq!(less, Admission::Admit, "{max}");
            if max > share {
                assert_eq!(decide("192.0.2.2"), Admission::Admit, "{max}");
            }
        }
        let own = held(&[("2001:db8::1", None); 8]);
        let decide = |address| known.decide(source(address), &own, 16);
        assert_eq!(
            decide("2001:db8::2:3"),
            Admission::Refuse(BmpError::AddressLimit)
        );
        assert_eq!(decide("2001:db8:0:1::1"), Admission::Admit);
    }

    #[test]
    fn the_longest_idle_session_makes_room() {
        let known = KnownRouters::default();
        let all = held(&[
            ("192.0.2.1", None),
            ("192.0.2.2", Some(IDLE)),
            ("192.0.2.3", Some(IDLE + 1)),
            ("192.0.2.4", Some(0)),
        ]);
        let newcomer = source("192.0.2.9");
        assert_eq!(known.decide(newcomer, &all, 4), Admission::Replace(2));
        let busy = held(&[("192.0.2.1", None), ("192.0.2.2", Some(IDLE - 1))]);
        let refused = Admission::Refuse(BmpError::SessionLimit);
        assert_eq!(known.decide(newcomer, &busy, 2), refused);
        // a source at its limit replaces one of its own
        let own = held(&[("192.0.2.1", Some(IDLE + 5)), ("192.0.2.9", Some(IDLE))]);
        let own = [own, held(&[("192.0.2.9", None); 3])].concat();
        assert_eq!(known.decide(newcomer, &own, 8), Admission::Replace(1));
    }

    #[test]
    fn a_known_router_need_not_wait() {
        let mut known = KnownRouters::default();
        known.mark_seen(source("192.0.2.9"), 1);
        known.mark_seen(source("192.0.2.1"), 1);
        let all = held(&[
            ("192.0.2.1", Some(IDLE - 1)),
            ("192.0.2.2", None),
            ("192.0.2.3", Some(0)),
        ]);
        assert_eq!(
            known.decide(source("192.0.2.9"), &all, 3),
            Admission::Replace(2)
        );
        assert_eq!(
            known.decide(source("192.0.2.8"), &all, 3),
            Admission::Refuse(BmpError::SessionLimit)
        );
    }

    #[test]
    fn the_router_seen_longest_ago_is_forgotten() {
        let mut known = KnownRouters::default();
        for n in 0..2 * MAX_KNOWN as u32 {
            known.mark_seen(source("192.0.2.9"), n.into());
            known.mark_seen(IpAddr::V4(n.into()).into(), n.into());
        }
        assert_eq!(known.seen.len(), MAX_KNOWN);
        assert!(known.has(source("192.0.2.9")));
    }
}
