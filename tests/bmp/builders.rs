// SPDX-License-Identifier: AGPL-3.0-only
//! BMP messages as a test needs them, and a Rib to send them to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rfm::enrich::bmp::{BmpError, Session, SessionState, SessionStats};
use rfm::enrich::rib::{Rib, RibConfig, Route, TableId};
use rfm::types::static_prefix::StaticPrefix;

pub const PRE: u8 = 0;
pub const POST: u8 = 0x40;
pub const OUT: u8 = 0x10;
/// Of a Loc-RIB.
pub const FILTERED: u8 = 0x80;

pub const STALE: u64 = 300_000;

/// What the per-peer header says.
#[derive(Clone, Copy)]
pub struct Peer {
    pub kind: u8,
    pub flags: u8,
    pub distinguisher: [u8; 8],
    pub address: IpAddr,
    pub asn: u32,
    pub id: u32,
}

/// The AS of the routers and their BGP identifier, in the OPENs they send.
pub const HOME: u32 = 64500;
pub const HOME_ID: u32 = 0x0a00_0009;

pub fn peer(n: u8) -> Peer {
    Peer {
        kind: 0,
        flags: PRE,
        distinguisher: [0; 8],
        address: Ipv4Addr::new(10, 0, 0, n).into(),
        asn: 65000 + u32::from(n),
        id: u32::from(n),
    }
}

pub fn loc_rib() -> Peer {
    Peer {
        kind: 3,
        address: Ipv6Addr::UNSPECIFIED.into(),
        asn: HOME,
        ..peer(0)
    }
}

impl Peer {
    pub fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind, self.flags];
        bytes.extend(self.distinguisher);
        match self.address {
            IpAddr::V4(a) => {
                bytes.extend([0; 12]);
                bytes.extend(a.octets());
            }
            IpAddr::V6(a) => {
                bytes[1] |= if self.kind == 3 { 0 } else { 0x80 };
                bytes.extend(a.octets());
            }
        }
        bytes.extend(self.asn.to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend([0; 8]);
        bytes
    }

    pub fn up(&self) -> Vec<u8> {
        self.up_with(&[])
    }

    /// With optional parameters in both OPENs.
    pub fn up_with(&self, capabilities: &[u8]) -> Vec<u8> {
        self.up_with_opens(&open(HOME, capabilities), &open(self.asn, capabilities))
    }

    /// With these messages in the place of the OPENs.
    pub fn up_with_opens(&self, sent: &[u8], received: &[u8]) -> Vec<u8> {
        let mut body = self.header();
        body.extend([0; 20]);
        body.extend(sent);
        body.extend(received);
        message(3, &body)
    }

    /// From a router that has this BGP identifier.
    pub fn up_of(&self, router: u32) -> Vec<u8> {
        self.up_of_speaker(router, HOME)
    }

    /// From a router that has this BGP identifier and AS.
    pub fn up_of_speaker(&self, router: u32, asn: u32) -> Vec<u8> {
        let mut bytes = self.up();
        // behind common and per-peer header, addresses and ports, and up to the identifier in the OPEN;
        // then behind the length of the parameters and the heads of one and of the first capability
        for (at, value) in [(92, router), (101, asn)] {
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    pub fn down(&self) -> Vec<u8> {
        let mut body = self.header();
        body.push(4);
        message(2, &body)
    }

    pub fn end_of_rib(&self) -> Vec<u8> {
        self.update(&[], &[], &[])
    }

    pub fn end_of_rib_v6(&self) -> Vec<u8> {
        self.update(&[], &attribute(15, &[0, 2, 1]), &[])
    }

    pub fn announce(&self, prefix: &str, path: &[u32]) -> Vec<u8> {
        self.announce_with(&[(None, prefix)], &Said::new(path))
    }

    pub fn announce_with(&self, prefixes: &[(Option<u32>, &str)], said: &Said) -> Vec<u8> {
        let nlri: Vec<u8> = prefixes.iter().flat_map(|(id, p)| nlri(*id, p)).collect();
        let mut attributes = said.attributes();
        if prefixes[0].1.contains(':') {
            let mut reach = vec![0, 2, 1, 16];
            reach.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
            reach.push(0);
            reach.extend(nlri);
            attributes.extend(attribute(14, &reach));
            self.update(&[], &attributes, &[])
        } else {
            attributes.extend(attribute(3, &[192, 0, 2, 1]));
            self.update(&[], &attributes, &nlri)
        }
    }

    pub fn withdraw(&self, prefix: &str) -> Vec<u8> {
        self.withdraw_with(None, prefix)
    }

    pub fn withdraw_with(&self, id: Option<u32>, prefix: &str) -> Vec<u8> {
        let nlri = nlri(id, prefix);
        if prefix.contains(':') {
            let unreach = [&[0, 2, 1][..], &nlri].concat();
            self.update(&[], &attribute(15, &unreach), &[])
        } else {
            self.update(&nlri, &[], &[])
        }
    }

    pub fn update(&self, withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
        let mut body = self.header();
        let length = 23 + withdrawn.len() + attributes.len() + announced.len();
        body.extend([0xff; 16]);
        body.extend((length as u16).to_be_bytes());
        body.push(2);
        body.extend((withdrawn.len() as u16).to_be_bytes());
        body.extend(withdrawn);
        body.extend((attributes.len() as u16).to_be_bytes());
        body.extend(attributes);
        body.extend(announced);
        message(0, &body)
    }
}

/// The attributes of a route.
#[derive(Clone, Default)]
pub struct Said {
    /// Segment type and ASNs.
    pub segments: Vec<(u8, Vec<u32>)>,
    pub local_pref: Option<u32>,
    pub med: Option<u32>,
    pub origin: u8,
    pub communities: Vec<u32>,
    pub large_communities: Vec<[u32; 3]>,
    pub originator: Option<u32>,
    pub clusters: Vec<u32>,
}

impl Said {
    pub fn new(path: &[u32]) -> Self {
        let segments = match path {
            [] => Vec::new(),
            path => vec![(2, path.to_vec())],
        };
        Self {
            segments,
            ..Self::default()
        }
    }

    pub fn attributes(&self) -> Vec<u8> {
        let mut bytes = attribute(1, &[self.origin]);
        let mut path = Vec::new();
        for (kind, asns) in &self.segments {
            path.extend([*kind, asns.len() as u8]);
            asns.iter().for_each(|asn| path.extend(asn.to_be_bytes()));
        }
        bytes.extend(attribute(2, &path));
        if let Some(med) = self.med {
            bytes.extend(attribute(4, &med.to_be_bytes()));
        }
        if let Some(preference) = self.local_pref {
            bytes.extend(attribute(5, &preference.to_be_bytes()));
        }
        if let Some(originator) = self.originator {
            bytes.extend(attribute(9, &originator.to_be_bytes()));
        }
        let large = self.large_communities.concat();
        let words = [(8, &self.communities), (10, &self.clusters), (32, &large)];
        for (code, words) in words {
            let value: Vec<u8> = words.iter().flat_map(|c| c.to_be_bytes()).collect();
            if !value.is_empty() {
                bytes.extend(attribute(code, &value));
            }
        }
        bytes
    }
}

pub fn attribute(code: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x50, code];
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes
}

pub fn nlri(id: Option<u32>, prefix: &str) -> Vec<u8> {
    let (address, length) = prefix.split_once('/').unwrap();
    let length: u8 = length.parse().unwrap();
    let octets = match address.parse().unwrap() {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    let mut bytes = id.map_or(Vec::new(), |id| id.to_be_bytes().to_vec());
    bytes.push(length);
    bytes.extend(&octets[..usize::from(length.div_ceil(8))]);
    bytes
}

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.extend((body.len() as u32 + 6).to_be_bytes());
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

pub fn initiation(name: &str) -> Vec<u8> {
    let mut body = vec![0, 2, 0, name.len() as u8];
    body.extend(name.as_bytes());
    message(4, &body)
}

/// With a sysDescr, too.
pub fn initiation_of(name: &str, descr: &str) -> Vec<u8> {
    let mut body = vec![0, 1, 0, descr.len() as u8];
    body.extend(descr.as_bytes());
    let bytes = initiation(name);
    body.extend(&bytes[6..]);
    message(4, &body)
}

pub fn open(asn: u32, capabilities: &[u8]) -> Vec<u8> {
    let mut all = vec![65, 4];
    all.extend(asn.to_be_bytes());
    all.extend(capabilities);
    let length = 29 + 2 + all.len();
    let mut bytes = vec![0xff; 16];
    bytes.extend((length as u16).to_be_bytes());
    bytes.extend([1, 4, 0x5b, 0xa0, 0, 90]);
    bytes.extend(HOME_ID.to_be_bytes());
    bytes.extend([all.len() as u8 + 2, 2, all.len() as u8]);
    bytes.extend(all);
    bytes
}

/// A Rib, and sessions that write to it, without threads and sockets.
pub struct Lab {
    pub rib: Rib,
    pub sessions: Vec<Session>,
    pub stats: SessionStats,
    pub now: u64,
    local_asn: u32,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(RibConfig::default())
    }

    pub fn with(settings: RibConfig) -> Self {
        let settings = RibConfig {
            max_routes: match settings.max_routes {
                0 => 100_000,
                n => n,
            },
            stale_ms: STALE,
            ..settings
        };
        Self {
            rib: Rib::new(settings),
            sessions: Vec::new(),
            stats: SessionStats::default(),
            now: 0,
            local_asn: 0,
        }
    }

    pub fn local_asn(mut self, asn: u32) -> Self {
        self.local_asn = asn;
        self
    }

    /// A session from a router elsewhere; the result is its number.
    pub fn connect(&mut self, name: &str) -> usize {
        self.connect_from("192.0.2.9", false, name)
    }

    pub fn connect_from(&mut self, address: &str, local: bool, name: &str) -> usize {
        self.begin(address, local, &initiation(name))
    }

    /// A session that begins with this message.
    pub fn begin(&mut self, address: &str, local: bool, initiation: &[u8]) -> usize {
        let address = address.parse().unwrap();
        self.sessions
            .push(Session::new(address, local, self.local_asn));
        let session = self.sessions.len() - 1;
        self.send(session, initiation);
        session
    }

    pub fn send(&mut self, session: usize, bytes: &[u8]) {
        self.rib.set_now(self.now);
        let fed = self.sessions[session].feed(&mut self.rib, bytes, self.now, &mut self.stats);
        assert_eq!(fed, Ok((bytes.len(), SessionState::Open)));
        self.rib.apply_changes();
    }

    pub fn disconnect(&mut self, session: usize) {
        self.sessions[session].close(&mut self.rib, self.now);
        self.rib.apply_changes();
    }

    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.rib.set_now(self.now);
        while self.rib.expire(self.now) {}
        while self.rib.sweep() {}
        self.rib.compact();
        self.rib.apply_changes();
    }

    pub fn route(&self, address: &str) -> Option<Route> {
        self.rib.lookup(address.parse().unwrap(), TableId::GLOBAL)
    }

    /// The origin of an address, 0 if not known.
    pub fn origin(&self, address: &str) -> u32 {
        self.route(address).map_or(0, |route| route.origin_asn)
    }

    pub fn errors(&self) -> Vec<(&'static str, u64)> {
        let all = BmpError::ALL
            .into_iter()
            .map(|f| (f.name(), self.stats.error_count(f)));
        all.filter(|(_, n)| *n > 0).collect()
    }
}

pub fn static_prefix(prefix: &str, asn: u32, name: &str) -> StaticPrefix {
    StaticPrefix {
        prefix: prefix.parse().unwrap(),
        asn,
        name: name.into(),
        bill: false,
    }
}
