// SPDX-License-Identifier: AGPL-3.0-only
//! One router's session: from its messages to the Rib (pure).

use std::collections::HashMap;
use std::net::IpAddr;

use crate::enrich::rib::{
    Attributes, Family, Identity, PeerId, PeerInfo, PeerKind, Prefix, Refused, Rib, RouterId,
    Speaker, View,
};

use super::message::{self, FrameError, Kind, LOCAL_SYSTEM_CLOSED, Message, PeerHeader, PeerUp};
use super::nlri::{self, Form, History};
use super::open::Open;
use super::path::Width;
use super::reader::Reader;
use super::sender::Sender;
use super::tally::{Fault, Tally};
use super::update::{Context, Update};

/// Peers of one session.
const MAX_PEERS: usize = 4096;

#[derive(Debug)]
pub struct Session {
    address: IpAddr,
    local: bool,
    /// Overrides the own AS; 0 does not.
    local_asn: u32,
    router: Option<RouterId>,
    /// What the router calls itself.
    sys_name: String,
    sender: Sender,
    /// It is known which ended session this one continues.
    recognized: bool,
    peers: HashMap<PeerId, Peer>,
}

/// What is to be known of a peer to read its messages.
#[derive(Debug)]
struct Peer {
    own_asn: u32,
    /// The router's own BGP identifier, as it sent it to the peer.
    bgp_id: u32,
    internal: bool,
    /// What the router writes before the paths of this peer.
    prepended: Option<u32>,
    /// It has one route of a prefix, whatever its path identifier.
    single: bool,
    /// By view and family.
    history: [[History; 2]; 3],
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Continue,
    /// The router said goodbye.
    End,
}

impl Session {
    pub fn new(address: IpAddr, local: bool, local_asn: u32) -> Self {
        Self {
            address: address.to_canonical(),
            local,
            local_asn,
            router: None,
            sys_name: String::new(),
            sender: Sender::Other,
            recognized: false,
            peers: HashMap::new(),
        }
    }

    /// Whether a message has come.
    pub fn has_begun(&self) -> bool {
        self.router.is_some()
    }

    /// Whether a peer is up.
    pub fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    pub fn sys_name(&self) -> &str {
        &self.sys_name
    }

    /// Applies the whole messages at the start of `buffer` and tells how many bytes they are.
    pub fn feed(
        &mut self,
        rib: &mut Rib,
        buffer: &[u8],
        now: u64,
        tally: &mut Tally,
    ) -> Result<(usize, Next), FrameError> {
        let mut done = 0;
        while let Some((message, length)) = message::next(&buffer[done..])? {
            done += length;
            if self.apply(rib, message, now, tally) == Next::End {
                return Ok((done, Next::End));
            }
        }
        Ok((done, Next::Continue))
    }

    /// The connection is gone: routes are stale from now on.
    pub fn close(&mut self, rib: &mut Rib, now: u64) {
        if let Some(router) = self.router.take() {
            rib.disconnect(router, now);
        }
        self.peers.clear();
    }

    /// As [`Session::close`], but nothing of it is kept.
    pub fn flush(&mut self, rib: &mut Rib, now: u64) {
        let router = self.router;
        self.close(rib, now);
        if let Some(router) = router {
            rib.forget_router(router);
        }
    }

    fn apply(&mut self, rib: &mut Rib, message: Message<'_>, now: u64, tally: &mut Tally) -> Next {
        tally.messages += 1;
        let mut reader = Reader::new(message.body);
        let router = match self.router {
            Some(router) => router,
            None => self.begin(rib, message),
        };
        match message.kind {
            Kind::Termination => return Next::End,
            Kind::RouteMonitoring | Kind::PeerUp | Kind::PeerDown => {}
            Kind::Initiation | Kind::Statistics | Kind::Mirroring | Kind::Unknown(_) => {
                return Next::Continue;
            }
        }
        let header = match PeerHeader::read(&mut reader) {
            Ok(header) => header,
            Err(error) => {
                tally.fault(Fault::Peer, || error.to_string());
                return Next::Continue;
            }
        };
        if message.kind == Kind::PeerUp {
            self.peer_up(rib, router, &header, &mut reader, now, tally);
            return Next::Continue;
        }
        if !self.recognized {
            self.recognized = true;
            rib.take_over(router, now);
        }
        match message.kind {
            Kind::PeerDown => self.peer_down(rib, router, &header, &mut reader),
            _ => self.route_monitoring(rib, router, &header, reader.rest(), now, tally),
        }
        Next::Continue
    }

    /// The first message tells who it is. It should be an initiation.
    fn begin(&mut self, rib: &mut Rib, message: Message<'_>) -> RouterId {
        let (sys_name, sys_descr) = match message.kind {
            Kind::Initiation => message::initiation(message.body),
            _ => Default::default(),
        };
        self.sys_name.clone_from(&sys_name);
        self.sender = Sender::of(&sys_name, &sys_descr);
        let router = rib.connect(Identity::new(self.address, sys_name), self.local);
        self.router = Some(router);
        router
    }

    fn peer_up(
        &mut self,
        rib: &mut Rib,
        router: RouterId,
        header: &PeerHeader,
        reader: &mut Reader<'_>,
        now: u64,
        tally: &mut Tally,
    ) {
        let opens = PeerUp::read(reader)
            .and_then(|up| Ok((Open::read(up.sent)?, Open::read(up.received)?)));
        let (sent, received) = opens.unwrap_or_else(|error| {
            // routes will tell what the OPENs would have
            tally.fault(Fault::Peer, || format!("OPENs in a peer-up: {error}"));
            Default::default()
        });
        let Open { bgp_id, asn, .. } = sent;
        self.recognize(rib, router, Speaker { bgp_id, asn }, now);
        self.add_peer(rib, router, header, &sent, &received, tally);
    }

    /// The router presents itself with these values.
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
        reader: &mut Reader<'_>,
    ) {
        // FRR has no address of a neighbor on an interface that has not answered yet
        if header.key.kind == PeerKind::Originated && reader.u8() != Ok(LOCAL_SYSTEM_CLOSED) {
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
        sent: &Open,
        received: &Open,
        tally: &mut Tally,
    ) -> Option<PeerId> {
        let known = rib.peer(router, &header.key);
        let known = known.is_some_and(|id| self.peers.contains_key(&id));
        if !known && self.peers.len() >= MAX_PEERS {
            let text = || format!("{} has more than {MAX_PEERS} peers", self.address);
            tally.fault(Fault::PeerLimit, text);
            return None;
        }
        let is_loc_rib = header.key.kind == PeerKind::LocRib;
        let internal = !header.is_of_router() && header.asn != 0 && header.asn == sent.asn;
        let info = PeerInfo {
            asn: header.asn,
            bgp_id: header.bgp_id,
            internal,
        };
        let peer = match rib.peer_up(router, header.key, info) {
            Ok(peer) => peer,
            Err(_) => {
                tally.fault(Fault::PeerLimit, || {
                    "all routers have too many peers".into()
                });
                return None;
            }
        };
        if is_loc_rib {
            rib.set_filtered(peer, header.filtered);
        }
        let mut state = Peer::new(header, sent, received, internal, self.local_asn);
        state.prepended = match self.sender {
            Sender::Frr if is_loc_rib => Some(header.asn),
            Sender::Frr if !internal => Some(sent.asn),
            _ => None,
        };
        state.single = self.sender == Sender::Gobgp && is_loc_rib;
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
        tally: &mut Tally,
    ) {
        let Some(view) = header.view else { return };
        let mut peer = rib.peer(router, &header.key);
        if peer.is_none() && header.is_of_router() {
            // GoBGP before 4.8 sends no peer-up for its Loc-RIB, and FRR none for its own routes
            let open = Open::default();
            let PeerHeader { bgp_id, asn, .. } = *header;
            self.recognize(rib, router, Speaker { bgp_id, asn }, now);
            peer = self.add_peer(rib, router, header, &open, &open, tally);
            if peer.is_none() {
                return;
            }
        }
        let known = peer.and_then(|id| Some((id, self.peers.get_mut(&id)?)));
        let Some((id, peer)) = known else {
            let text = || format!("routes of peer {}, which is not up", header.key.address);
            tally.fault(Fault::UnknownPeer, text);
            return;
        };
        if view == View::LocRib {
            rib.set_filtered(id, header.filtered);
        }
        match Update::read(bytes) {
            Ok(update) => {
                let width = if header.as_path_2 {
                    Width::Two
                } else {
                    Width::Four
                };
                let mut target = Target {
                    rib,
                    id,
                    view,
                    peer,
                    tally,
                };
                target.apply(&update, width);
            }
            Err(error) => tally.fault(Fault::Update, || error.to_string()),
        }
    }
}

impl Peer {
    fn new(
        header: &PeerHeader,
        sent: &Open,
        received: &Open,
        internal: bool,
        local_asn: u32,
    ) -> Self {
        let own_asn = match (local_asn, header.asn) {
            (0, 0) => sent.asn,
            (0, theirs) if header.is_of_router() || internal => theirs,
            (0, _) => sent.asn,
            (overriding, _) => overriding,
        };
        let history = Family::ALL.map(|family| {
            History::new(if received.sends_paths_to(sent, family) {
                Form::AddPath
            } else {
                Form::Plain
            })
        });
        Self {
            own_asn,
            bgp_id: sent.bgp_id,
            internal,
            prepended: None,
            single: false,
            history: [history; 3],
        }
    }
}

/// Where the routes of one UPDATE go.
struct Target<'a> {
    rib: &'a mut Rib,
    id: PeerId,
    view: View,
    peer: &'a mut Peer,
    tally: &'a mut Tally,
}

impl Target<'_> {
    fn apply(&mut self, update: &Update<'_>, width: Width) {
        if let Some(family) = update.is_end_of_rib() {
            self.rib.end_of_rib(self.id, self.view, family);
            return;
        }
        self.withdraw(Family::Ipv4, update.withdrawn);
        if let Some((Some(family), prefixes)) = update.unreach {
            self.withdraw(family, prefixes);
        }
        let reach = update.reach.filter(|reach| reach.family.is_some());
        if update.announced.is_empty() && reach.is_none() {
            if update.malformed {
                let text = || "malformed attributes without routes".to_owned();
                self.tally.fault(Fault::Attributes, text);
            }
            return;
        }
        let context = Context {
            width,
            own_asn: self.peer.own_asn,
            bgp_id: self.peer.bgp_id,
            internal: self.peer.internal,
            prepended: self.peer.prepended,
            discard: self.rib.blackhole_policy().communities(),
        };
        let attributes = update.attributes_of(&context);
        if attributes.is_none() {
            let text = || "malformed attributes, routes withdrawn".to_owned();
            self.tally.fault(Fault::Attributes, text);
        }
        self.announce(Family::Ipv4, update.announced, attributes.as_ref());
        if let Some(reach) = reach
            && let Some(family) = reach.family
        {
            let attributes = attributes.map(|attributes| Attributes {
                next_hop: reach.next_hop,
                ..attributes
            });
            self.announce(family, reach.prefixes, attributes.as_ref());
        }
    }

    /// Without attributes the routes count as withdrawn (RFC 7606 section 2).
    fn announce(&mut self, family: Family, bytes: &[u8], attributes: Option<&Attributes>) {
        let Some(attributes) = attributes else {
            self.withdraw(family, bytes);
            return;
        };
        let Some(form) = self.form(family, bytes) else {
            return;
        };
        let (held, is_whole) = self.rib.acquire(attributes);
        if !is_whole {
            let text = || "AS paths and communities take all memory they may; left out".into();
            self.tally.fault(Fault::DetailLimit, text);
        }
        for (path_id, prefix) in nlri::read(family, form, bytes) {
            self.tally.updates += 1;
            let path_id = path_id.filter(|_| !self.peer.single);
            let entered = self.rib.announce(self.id, self.view, prefix, path_id, held);
            if let Err(refused) = entered {
                self.refuse(refused, prefix);
            }
        }
        self.rib.release(held);
    }

    fn withdraw(&mut self, family: Family, bytes: &[u8]) {
        let Some(form) = self.form(family, bytes) else {
            return;
        };
        for (path_id, prefix) in nlri::read(family, form, bytes) {
            self.tally.withdraws += 1;
            let path_id = path_id.filter(|_| !self.peer.single);
            self.rib.withdraw(self.id, self.view, prefix, path_id);
        }
    }

    fn form(&mut self, family: Family, bytes: &[u8]) -> Option<Form> {
        if bytes.is_empty() {
            return None;
        }
        let history = &mut self.peer.history[self.view as usize][family as usize];
        let form = history.decide(family, bytes);
        if form.is_none() {
            let text = || format!("{} bytes of {} prefixes", bytes.len(), family.name());
            self.tally.fault(Fault::Nlri, text);
        }
        form
    }

    fn refuse(&mut self, refused: Refused, prefix: Prefix) {
        let (fault, what) = match refused {
            Refused::Routes => (Fault::RouteLimit, "max_routes are held"),
            Refused::Paths => (Fault::PathLimit, "too many paths"),
            Refused::Peers => (Fault::PeerLimit, "too many peers"),
        };
        self.tally.fault(fault, || {
            format!(
                "{}/{} is left out: {what}",
                prefix.address(),
                prefix.length()
            )
        });
    }
}
