// SPDX-License-Identifier: AGPL-3.0-only
//! The ASes of the router itself, and the removal of those that FRR prepends.

use crate::enrich::rib::{AsPath, SegmentKind};

/// Maximum number of ASes stored. A router has one, one for each `local-as`, and the two of a
/// confederation.
const MAX_ASES: usize = 64;

/// The ASes of a router, as far as its messages and the configuration show them.
#[derive(Debug)]
pub struct LocalAses {
    /// `local_asn`; 0 if it is not configured.
    configured: u32,
    /// The AS in a Loc-RIB header or of an internal peer.
    main: u32,
    /// Each AS of an OPEN that the router sent, and in how many peer-ups.
    sent: Vec<(u32, u32)>,
}

impl LocalAses {
    pub fn new(configured: u32) -> Self {
        Self {
            configured,
            main: 0,
            sent: Vec::new(),
        }
    }

    /// Returns the configured AS, 0 if there is none.
    pub fn configured(&self) -> u32 {
        self.configured
    }

    /// Removes the ASes that were learned from messages.
    pub fn clear(&mut self) {
        *self = Self::new(self.configured);
    }

    /// Adds the AS of an OPEN that the router sent.
    pub fn add_sent(&mut self, asn: u32) {
        if asn == 0 {
            return;
        }
        if let Some((_, times)) = self.sent.iter_mut().find(|(sent, _)| *sent == asn) {
            *times += 1;
        } else if self.sent.len() < MAX_ASES {
            self.sent.push((asn, 1));
        }
    }

    /// Sets the AS that the router reports as its own.
    pub fn add_main(&mut self, asn: u32) {
        if asn != 0 {
            self.main = asn;
        }
    }

    /// Returns the AS of routes that the router originates; 0 if unknown. With `local-as`, some OPENs
    /// contain another AS than most.
    pub fn asn(&self) -> u32 {
        let most = self.sent.iter().rev().max_by_key(|(_, times)| *times);
        let most = most.map_or(0, |(asn, _)| *asn);
        let known = [self.configured, self.main, most];
        known.into_iter().find(|asn| *asn != 0).unwrap_or(0)
    }

    pub fn has(&self, asn: u32) -> bool {
        asn != 0
            && (asn == self.configured
                || asn == self.main
                || self.sent.iter().any(|(sent, _)| *sent == asn))
    }

    /// Removes the ASes that FRR before a change of May 2026 writes before the path of an external peer
    /// (`bgp_packet_attribute`): its own AS; the identifier of its confederation; or the peer's `local-as`
    /// and, unless that has `replace-as`, the own AS after it. Before the path of a member of the
    /// confederation, FRR writes its own member AS. ASes that import has prepended (`local-as` without
    /// `no-prepend`) stay: `show bgp` also shows them. `peer` is the peer's AS, 0 in a Loc-RIB.
    pub fn remove_prepended(&mut self, path: &mut AsPath, peer: u32) {
        let Some(first) = first(path).filter(|first| self.has(*first) && *first != peer) else {
            return;
        };
        let was_external = path.segments().next().map(|(kind, _)| kind);
        path.remove_first();
        if was_external != Some(SegmentKind::Sequence) {
            return;
        }
        let own = match path.segments().next() {
            Some((SegmentKind::Sequence, asns)) => self.own_after(first, asns, peer),
            _ => None,
        };
        if let Some(own) = own {
            self.add_main(own);
            path.remove_first();
        }
    }

    /// Returns the first of these ASes, if it is the own AS behind the `local-as` of a peer.
    fn own_after(&self, local_as: u32, asns: &[u32], peer: u32) -> Option<u32> {
        let next = *asns.first()?;
        if next == peer || next == local_as {
            return None;
        }
        // if nothing else shows the own AS: a received path begins with the peer
        let is_before_peer = match asns[1..] {
            [received, ..] if received == peer => true,
            [first, received, ..] => first == local_as && received == peer,
            _ => false,
        };
        let own = self.asn();
        let is_own = next == own || (own == local_as && peer != 0 && is_before_peer);
        is_own.then_some(next)
    }

    /// Returns the first AS of a path that is not the router's own, `own` if there is none.
    pub fn peer_asn(&self, path: &AsPath, own: u32) -> u32 {
        let external = path.segments().filter(|(kind, _)| !kind.is_confed());
        let mut asns = external.flat_map(|(_, asns)| asns);
        asns.find(|asn| !self.has(**asn)).copied().unwrap_or(own)
    }
}

/// Returns the first AS of a path that begins with a sequence.
fn first(path: &AsPath) -> Option<u32> {
    let (kind, asns) = path.segments().next()?;
    let is_sequence = matches!(kind, SegmentKind::Sequence | SegmentKind::ConfedSequence);
    asns.first().copied().filter(|_| is_sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 65000;
    const LOCAL: u32 = 65010;
    const PEER: u32 = 64501;

    fn local_ases(sent: &[u32]) -> LocalAses {
        let mut local_ases = LocalAses::new(0);
        sent.iter().for_each(|asn| local_ases.add_sent(*asn));
        local_ases
    }

    fn path(asns: &[u32]) -> AsPath {
        let mut path = AsPath::default();
        path.push(SegmentKind::Sequence, asns.iter().copied());
        path
    }

    #[test]
    fn what_frr_prepends_is_removed_and_no_more() {
        for (sent, peer, written, left) in [
            (&[OWN][..], PEER, &[OWN, PEER, 3][..], &[PEER, 3][..]),
            // allowas-in, or a path that begins at home
            (&[OWN], PEER, &[OWN, OWN, 3], &[OWN, 3]),
            (&[OWN], PEER, &[OWN], &[]),
            // local-as; with no-prepend; with replace-as
            (
                &[OWN, OWN, LOCAL],
                PEER,
                &[LOCAL, OWN, LOCAL, PEER],
                &[LOCAL, PEER],
            ),
            (&[OWN, OWN, LOCAL], PEER, &[LOCAL, OWN, PEER], &[PEER]),
            (&[OWN, OWN, LOCAL], PEER, &[LOCAL, PEER], &[PEER]),
            // the only peer has it
            (&[LOCAL], PEER, &[LOCAL, OWN, LOCAL, PEER], &[LOCAL, PEER]),
            (&[LOCAL], PEER, &[LOCAL, OWN, PEER, 3], &[PEER, 3]),
            (&[LOCAL], PEER, &[LOCAL, PEER, 3], &[PEER, 3]),
            // a neighbor in the AS that another peer knows as the router's
            (&[OWN, OWN, LOCAL], LOCAL, &[OWN, LOCAL, 3], &[LOCAL, 3]),
            // a router that no longer prepends
            (&[OWN], PEER, &[PEER, OWN, 3], &[PEER, OWN, 3]),
            // in a Loc-RIB: of an external peer, with local-as, of an internal one
            (&[OWN, OWN, LOCAL], 0, &[OWN, PEER, 3], &[PEER, 3]),
            (
                &[OWN, OWN, LOCAL],
                0,
                &[LOCAL, OWN, LOCAL, PEER],
                &[LOCAL, PEER],
            ),
            (&[OWN], 0, &[PEER, 3], &[PEER, 3]),
        ] {
            let mut local_ases = local_ases(sent);
            let mut written = path(written);
            local_ases.remove_prepended(&mut written, peer);
            assert_eq!(written, path(left), "{sent:?} {peer}");
        }
    }

    #[test]
    fn the_neighbor_is_none_of_the_own_ases() {
        let local_ases = local_ases(&[OWN, LOCAL]);
        assert_eq!(local_ases.peer_asn(&path(&[LOCAL, PEER, 3]), OWN), PEER);
        assert_eq!(local_ases.peer_asn(&path(&[LOCAL]), OWN), OWN);
    }

    #[test]
    fn the_own_as_is_the_most_certain_one() {
        let mut local_ases = local_ases(&[LOCAL, OWN, OWN]);
        assert_eq!(local_ases.asn(), OWN);
        local_ases.add_main(7);
        assert_eq!(local_ases.asn(), 7);
        local_ases.configured = 8;
        assert_eq!(local_ases.asn(), 8);
        assert!(
            [7, 8, OWN, LOCAL]
                .into_iter()
                .all(|asn| local_ases.has(asn))
                && !local_ases.has(0)
        );
    }
}
