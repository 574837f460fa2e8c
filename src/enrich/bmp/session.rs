// SPDX-License-Identifier: AGPL-3.0-only
//! A session with one router: applies its messages to the Rib (pure).

use std::collections::HashMap;
use std::net::IpAddr;

use crate::enrich::rib::{
    Attributes, PathKey, PeerId, PeerInfo, PeerKind, Rib, RibLimitError, RoutePrefix, RouterId,
    RouterIdentity, Speaker, View,
};

use super::cursor::Cursor;
use super::error::{BmpError, SessionStats};
use super::families::{AfiSafi, UnicastFamily};
use super::local_ases::LocalAses;
use super::message::{
    self, BmpMessage, FrameError, LOCAL_SYSTEM_CLOSED, MessageKind, PeerHeader, PeerUp,
};
use super::nlri::{self, PathIdDetector, PathIdMode};
use super::open::{Open, Opens};
use super::path::AsnWidth;
use super::quirks::Implementation;
use super::update::{Reach, Update, UpdateContext};

/// Maximum number of peers per session.
const MAX_PEERS: usize = 4096;

#[derive(Debug)]
pub struct Session {
    address: IpAddr,
    local: bool,
    /// The router's own ASes.
    local_ases: LocalAses,
    router: Option<RouterId>,
    /// The name that the router sent (sysName).
    sys_name: String,
    implementation: Implementation,
    /// Whether it has been determined which ended session this one continues.
    recognized: bool,
    /// Whether bytes that belong to no UPDATE followed one.
    trailing: bool,
    peers: HashMap<PeerId, SessionPeer>,
}

/// The state needed to decode the messages of a peer.
#[derive(Debug)]
struct SessionPeer {
    /// The AS of routes with an empty path; 0 if unknown.
    local_asn: u32,
    /// The router's own BGP identifier, as it sent it to the peer.
    bgp_id: u32,
    internal: bool,
    /// The peer is the router itself.
    of_router: bool,
    /// The router prepends its own ASes to the paths of this peer: see [`UpdateContext::prepends`].
    prepends: Option<u32>,
    /// The peer has one route per prefix, regardless of the path identifier.
    single: bool,
    opens: Opens,
    /// OPENs that announce path identifiers are not trusted.
    omits_path_ids: bool,
    /// By view, family and whether labelled.
    path_id_detectors: [[[Option<PathIdDetector>; 2]; 2]; 3],
}

/// Whether the session continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    Open,
    /// The router sent a termination message.
    Ended,
}

impl Session {
    pub fn new(address: IpAddr, local: bool, local_asn: u32) -> Self {
        Self {
            address: address.to_canonical(),
            local,
            local_ases: LocalAses::new(local_asn),
            router: None,
            sys_name: String::new(),
            implementation: Implementation::Other,
            recognized: false,
            trailing: false,
            peers: HashMap::new(),
        }
    }

    /// Returns whether a message has arrived.
    pub fn has_begun(&self) -> bool {
        self.router.is_some()
    }

    /// Returns whether a peer is up.
    pub fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    pub fn sys_name(&self) -> &str {
        &self.sys_name
    }

    /// Applies the complete messages at the start of `buffer` and returns their length in bytes.
    pub fn feed(
        &mut self,
        rib: &mut Rib,
        buffer: &[u8],
        now: u64,
        stats: &mut SessionStats,
    ) -> Result<(usize, SessionState), FrameError> {
        let mut done = 0;
        while let Some((message, length)) = message::next(&buffer[done..])? {
            done += length;
            if self.apply(rib, message, now, stats) == SessionState::Ended {
                return Ok((done, SessionState::Ended));
            }
        }
        Ok((done, SessionState::Open))
    }

    /// Handles the end of the connection: the routes are stale from now on.
    pub fn close(&mut self, rib: &mut Rib, now: u64) {
        if let Some(router) = self.router.take() {
            rib.disconnect(router, now);
        }
        self.peers.clear();
        self.local_ases.clear();
    }

    /// Like [`Session::close`], but keeps no routes.
    pub fn flush(&mut self, rib: &mut Rib, now: u64) {
        let router = self.router;
        self.close(rib, now);
        if let Some(router) = router {
            rib.remove_router(router);
        }
    }

    fn apply(
        &mut self,
        rib: &mut Rib,
        message: BmpMessage<'_>,
        now: u64,
        stats: &mut SessionStats,
    ) -> SessionState {
        stats.messages += 1;
        let mut cursor = Cursor::new(message.body);
        let router = match self.router {
            Some(router) => router,
            None => self.begin(rib, message),
        };
        match message.kind {
            MessageKind::Termination => return SessionState::Ended,
            MessageKind::RouteMonitoring | MessageKind::PeerUp | MessageKind::PeerDown => {}
            MessageKind::Initiation
            | MessageKind::Statistics
            | MessageKind::Mirroring
            | MessageKind::Unknown(_) => {
                return SessionState::Open;
            }
        }
        let header = match PeerHeader::read(&mut cursor) {
            Ok(header) => header,
            Err(error) => {
                stats.count_error(BmpError::Peer, || error.to_string());
                return SessionState::Open;
            }
        };
        if message.kind == MessageKind::PeerUp {
            self.peer_up(rib, router, &header, &mut cursor, now, stats);
            return SessionState::Open;
        }
        if !self.recognized {
            self.recognized = true;
            rib.take_over(router, now);
        }
        match message.kind {
            MessageKind::PeerDown => self.peer_down(rib, router, &header, &mut cursor),
            _ => self.route_monitoring(rib, router, &header, cursor.rest(), now, stats),
        }
        SessionState::Open
    }

    /// Identifies the router from the first message, which should be an initiation.
    fn begin(&mut self, rib: &mut Rib, message: BmpMessage<'_>) -> RouterId {
        let (sys_name, sys_descr) = match message.kind {
            MessageKind::Initiation => message::initiation(message.body),
            _ => Default::default(),
        };
        self.sys_name.clone_from(&sys_name);
        self.implementation = Implementation::of(&sys_name, &sys_descr);
        let router = rib.connect(RouterIdentity::new(self.address, sys_name), self.local);
        self.router = Some(router);
        router
    }

    fn peer_up(
        &mut self,
        rib: &mut Rib,
        router: RouterId,
        header: &PeerHeader,
        cursor: &mut Cursor<'_>,
        now: u64,
        stats: &mut SessionStats,
    ) {
        let opens = read_opens(cursor, stats);
        let sent = opens.sent.as_ref();
        let (bgp_id, asn) = sent.map_or((0, 0), |open| (open.bgp_id, open.asn));
        self.recognize(rib, router, Speaker { bgp_id, asn }, now);
        self.local_ases.add_sent(asn);
        if header.is_of_router() {
            self.local_ases.add_main(header.asn);
        }
        self.add_peer(rib, router, header, opens, stats);
        self.set_local_asn(rib);
    }

    /// Sets the router's own AS in routes that arrived before it was known.
    fn set_local_asn(&mut self, rib: &mut Rib) {
        let local_asn = self.local_ases.asn();
        if local_asn == 0 {
            return;
        }
        for (id, peer) in &mut self.peers {
            if peer.local_asn == 0 {
                peer.local_asn = local_asn;
                rib.set_local_asn(*id, local_asn);
            }
        }
    }

    /// Identifies the router by the BGP identifier and AS that it sent.
    fn recognize(&mut self, rib: &mut Rib, router: RouterId, speaker: Speaker, now: u64) {
        if speaker.bgp_id != 0 {
            rib.add_speaker(router, speaker, now);
        } else if !self.recognized {
            rib.take_over(router, now);
        }
        self.recognized = true;
    }

    fn peer_down(
        &mut self,
        rib: &mut Rib,
        router: RouterId,
        header: &PeerHeader,
        cursor: &mut Cursor<'_>,
    ) {
        // FRR has no address of a neighbor on an interface that has not answered yet
        if header.key.kind == PeerKind::Originated && cursor.u8() != Ok(LOCAL_SYSTEM_CLOSED) {
            return;
        }
        if let Some(peer) = rib.peer_down(router, &header.key) {
            self.peers.remove(&peer);
        }
    }

    fn add_peer(
        &mut self,
        rib: &mut Rib,
        router: RouterId,
        header: &PeerHeader,
        opens: Opens,
        stats: &mut SessionStats,
    ) -> Option<PeerId> {
        if self.peers.len() >= MAX_PEERS && !rib.is_up(router, &header.key) {
            let text = || format!("{} has more than {MAX_PEERS} peers", self.address);
            stats.count_error(BmpError::PeerLimit, text);
            return None;
        }
        let is_loc_rib = header.key.kind == PeerKind::LocRib;
        let own = opens
            .sent
            .as_ref()
            .map_or(self.local_ases.asn(), |open| open.asn);
        let internal = !header.is_of_router() && header.asn != 0 && header.asn == own;
        let info = PeerInfo {
            asn: header.asn,
            bgp_id: header.bgp_id,
            internal,
        };
        let peer = match rib.peer_up(router, header.key, info) {
            Ok(peer) => peer,
            Err(_) => {
                stats.count_error(BmpError::PeerLimit, || {
                    "all routers have too many peers".into()
                });
                return None;
            }
        };
        if is_loc_rib {
            rib.set_filtered(peer, header.filtered);
        }
        let received = opens.received.as_ref();
        rib.set_peer_name(peer, received.and_then(|open| open.hostname.as_deref()));
        let state = SessionPeer::new(
            header,
            opens,
            internal,
            self.implementation,
            &self.local_ases,
        );
        self.peers.insert(peer, state);
        Some(peer)
    }

    fn route_monitoring(
        &mut self,
        rib: &mut Rib,
        router: RouterId,
        header: &PeerHeader,
        bytes: &[u8],
        now: u64,
        stats: &mut SessionStats,
    ) {
        let Some(view) = header.view else { return };
        let mut peer = rib.peer(router, &header.key);
        if peer.is_none() && header.is_of_router() {
            // GoBGP before 4.8 sends no peer-up for its Loc-RIB, and FRR none for its own routes
            let PeerHeader { bgp_id, asn, .. } = *header;
            self.recognize(rib, router, Speaker { bgp_id, asn }, now);
            self.local_ases.add_main(asn);
            peer = self.add_peer(rib, router, header, Opens::default(), stats);
            if peer.is_none() {
                return;
            }
        }
        let known = peer.and_then(|id| Some((id, self.peers.get_mut(&id)?)));
        let Some((id, peer)) = known else {
            let text = || format!("routes of peer {}, which is not up", header.key.address);
            stats.count_error(BmpError::UnknownPeer, text);
            return;
        };
        if view == View::LocRib {
            rib.set_filtered(id, header.filtered);
        }
        match Update::read(bytes) {
            Ok(update) => {
                let width = if header.as_path_2 {
                    AsnWidth::Two
                } else {
                    AsnWidth::Four
                };
                stats.trailing |= update.trailing && !self.trailing;
                self.trailing |= update.trailing;
                let mut target = UpdateTarget {
                    rib,
                    id,
                    view,
                    peer,
                    local_ases: &mut self.local_ases,
                    stats,
                };
                target.apply(&update, width);
            }
            Err(error) => stats.count_error(BmpError::Update, || error.to_string()),
        }
    }
}

/// Reads the OPENs of a peer-up. If one cannot be decoded, the other one is still used.
fn read_opens(cursor: &mut Cursor<'_>, stats: &mut SessionStats) -> Opens {
    let read = match PeerUp::read(cursor) {
        Ok(up) => [Open::read(up.sent), Open::read(up.received)],
        Err(error) => [Err(error), Err(error)],
    };
    if let Some(error) = read.iter().find_map(|open| open.as_ref().err()) {
        stats.count_error(BmpError::Peer, || format!("an OPEN in a peer-up: {error}"));
    }
    let [sent, received] = read.map(|open| open.ok().flatten());
    Opens { sent, received }
}

impl SessionPeer {
    fn new(
        header: &PeerHeader,
        opens: Opens,
        internal: bool,
        implementation: Implementation,
        local_ases: &LocalAses,
    ) -> Self {
        let of_router = header.is_of_router();
        let is_loc_rib = header.key.kind == PeerKind::LocRib;
        let sent = opens.sent.as_ref().map_or(0, |open| open.asn);
        let named = match of_router || internal {
            true => [header.asn, sent],
            false => [sent, 0],
        };
        let known = [
            local_ases.configured(),
            named[0],
            named[1],
            local_ases.asn(),
        ];
        let prepends = match implementation {
            Implementation::Frr if is_loc_rib => Some(0),
            Implementation::Frr if !internal && !of_router => Some(header.asn),
            _ => None,
        };
        Self {
            local_asn: known.into_iter().find(|asn| *asn != 0).unwrap_or(0),
            bgp_id: opens.sent.as_ref().map_or(0, |open| open.bgp_id),
            internal,
            of_router,
            prepends,
            single: implementation == Implementation::Gobgp && is_loc_rib,
            opens,
            omits_path_ids: matches!(implementation, Implementation::Frr | Implementation::Gobgp),
            path_id_detectors: Default::default(),
        }
    }

    /// Returns the detector of the prefix form of a view and family. A new detector starts with the form
    /// that the OPENs announce.
    fn path_id_detector(&mut self, view: View, kind: UnicastFamily) -> &mut PathIdDetector {
        let UnicastFamily { family, labelled } = kind;
        let detector =
            &mut self.path_id_detectors[view as usize][family as usize][usize::from(labelled)];
        detector.get_or_insert_with(|| {
            let add_path = match self.of_router {
                true => self.opens.add_path_of_router(kind.into()),
                false => self.opens.add_path(kind.into()),
            };
            let path_id_mode = match add_path {
                Some(true) => PathIdMode::AddPath,
                Some(false) | None => PathIdMode::Plain,
            };
            let decides = add_path.is_some_and(|ids| !(ids && self.omits_path_ids));
            PathIdDetector::new(decides.then_some(path_id_mode), path_id_mode)
        })
    }
}

/// The destination of the routes of one UPDATE.
struct UpdateTarget<'a> {
    rib: &'a mut Rib,
    id: PeerId,
    view: View,
    peer: &'a mut SessionPeer,
    local_ases: &'a mut LocalAses,
    stats: &'a mut SessionStats,
}

impl UpdateTarget<'_> {
    fn apply(&mut self, update: &Update<'_>, width: AsnWidth) {
        if let Some(kind) = update.is_end_of_rib() {
            self.rib
                .end_of_rib(self.id, self.view, kind.family, kind.labelled);
            return;
        }
        let ipv4 = AfiSafi::IPV4_UNICAST;
        self.withdraw(ipv4, update.withdrawn);
        if let Some((family, prefixes)) = update.unreach {
            self.withdraw(family, prefixes);
        }
        if update.announced.is_empty() && update.reach.is_none() {
            if update.malformed {
                let text = || "malformed attributes without routes".to_owned();
                self.stats.count_error(BmpError::Attributes, text);
            }
            return;
        }
        let is_read = |reach: &Reach<'_>| reach.family.unicast().is_some();
        let ignored_family = update.reach.filter(|reach| !is_read(reach));
        if let Some(Reach {
            family, prefixes, ..
        }) = ignored_family
        {
            let add_path = self.peer.opens.add_path(family) == Some(true);
            self.stats.ignored[family.ignored_family() as usize] +=
                family.count(prefixes, add_path);
        }
        let reach = update.reach.filter(is_read);
        if update.announced.is_empty() && reach.is_none() {
            return;
        }
        let context = UpdateContext {
            width,
            local_asn: self.peer.local_asn,
            bgp_id: self.peer.bgp_id,
            internal: self.peer.internal,
            of_router: self.peer.of_router,
            prepends: self.peer.prepends,
            blackhole_communities: &self.rib.blackhole_policy().communities,
        };
        let attributes = update.attributes_of(&context, self.local_ases);
        if attributes.is_none() {
            let text = || "malformed attributes, routes withdrawn".to_owned();
            self.stats.count_error(BmpError::Attributes, text);
        }
        self.announce(ipv4, update.announced, attributes.as_ref());
        if let Some(reach) = reach {
            let attributes = attributes.map(|attributes| Attributes {
                next_hop: reach.next_hop,
                ..attributes
            });
            self.announce(reach.family, reach.prefixes, attributes.as_ref());
        }
    }

    /// Announces routes. Without attributes the routes count as withdrawn (RFC 7606 section 2).
    fn announce(&mut self, family: AfiSafi, bytes: &[u8], attributes: Option<&Attributes>) {
        let Some(attributes) = attributes else {
            self.withdraw(family, bytes);
            return;
        };
        let Some((kind, path_id_mode)) = self.path_id_mode(family, bytes) else {
            return;
        };
        let (held, is_whole) = self.rib.acquire(attributes);
        if !is_whole {
            let text = || "AS paths and communities take all memory they may; left out".into();
            self.stats.count_error(BmpError::DetailLimit, text);
        }
        for (path_id, prefix) in nlri::read(kind, path_id_mode, bytes) {
            self.stats.updates += 1;
            let key = self.key(path_id, kind);
            let entered = self.rib.announce(self.id, self.view, prefix, key, held);
            if let Err(limit) = entered {
                self.count_limit_error(limit, prefix);
            }
        }
        self.rib.release(held);
    }

    fn withdraw(&mut self, family: AfiSafi, bytes: &[u8]) {
        let Some((kind, path_id_mode)) = self.path_id_mode(family, bytes) else {
            return;
        };
        for (path_id, prefix) in nlri::read(kind, path_id_mode, bytes) {
            self.stats.withdraws += 1;
            let key = self.key(path_id, kind);
            self.rib.withdraw(self.id, self.view, prefix, key);
        }
    }

    fn key(&self, id: Option<u32>, kind: UnicastFamily) -> PathKey {
        PathKey {
            id: id.filter(|_| !self.peer.single),
            labelled: kind.labelled,
        }
    }

    /// Returns how to decode prefixes, or `None` if there are none to decode.
    fn path_id_mode(
        &mut self,
        family: AfiSafi,
        bytes: &[u8],
    ) -> Option<(UnicastFamily, PathIdMode)> {
        let kind = family.unicast()?;
        if bytes.is_empty() {
            return None;
        }
        let path_id_mode = self
            .peer
            .path_id_detector(self.view, kind)
            .decide(kind, bytes);
        if path_id_mode.is_none() {
            let name = kind.family.name();
            let text = || format!("{} bytes of {name} prefixes", bytes.len());
            self.stats.count_error(BmpError::Nlri, text);
        }
        Some((kind, path_id_mode?))
    }

    fn count_limit_error(&mut self, limit: RibLimitError, prefix: RoutePrefix) {
        let (error, what) = match limit {
            RibLimitError::Routes => (BmpError::RouteLimit, "max_routes are held"),
            RibLimitError::Paths => (BmpError::PathLimit, "too many paths"),
            RibLimitError::Peers => (BmpError::PeerLimit, "too many peers"),
        };
        self.stats.count_error(error, || {
            format!(
                "{}/{} is left out: {what}",
                prefix.address(),
                prefix.length()
            )
        });
    }
}
