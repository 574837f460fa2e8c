// SPDX-License-Identifier: AGPL-3.0-only
//! A RIB as one would write it without a care for speed, with a decoder of its own. It knows what the
//! captures hold and no more: prefixes are plain if that makes sense, else they have path identifiers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Peer type, distinguisher and address; 0 pre-policy, 1 post-policy, 2 Loc-RIB.
pub type Place = ([u8; 25], u8);
/// Address, length, path identifier.
pub type Name = (IpAddr, u8, Option<u32>);
/// A route of some prefix.
pub type Held = (Place, Option<u32>, Said);

#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub path: Vec<u32>,
    /// The path ends in a set.
    pub set: bool,
    pub length: u16,
    pub next_hop: Option<IpAddr>,
    pub med: u32,
    pub local_pref: u32,
    pub origin: u8,
}

#[derive(Default)]
pub struct Model {
    /// By address and length.
    pub routes: BTreeMap<(IpAddr, u8), Vec<Held>>,
    /// FRR writes its own AS before the paths of external peers; those of internal ones do not have it.
    pub prepended: Option<u32>,
    up: Vec<[u8; 25]>,
}

/// What the message was, and the prefixes it withdrew.
pub enum Step {
    PeerUp,
    PeerDown,
    Withdraw(Vec<Name>),
    Other,
}

impl Model {
    pub fn apply(&mut self, message: &[u8]) -> Step {
        let kind = message[5];
        if !matches!(kind, 0 | 2 | 3) {
            return Step::Other;
        }
        let header = &message[6..48];
        let mut peer = [0; 25];
        peer[0] = header[0];
        peer[1..].copy_from_slice(&header[2..26]);
        match kind {
            2 => {
                self.up.retain(|p| *p != peer);
                self.forget(&peer);
                Step::PeerDown
            }
            3 => {
                self.up.push(peer);
                self.forget(&peer);
                Step::PeerUp
            }
            _ => {
                let view = match header[0] {
                    3 => 2,
                    _ => u8::from(header[1] & 0x40 != 0),
                };
                assert!(view == 2 || self.up.contains(&peer));
                self.update((peer, view), &message[48..])
            }
        }
    }

    fn forget(&mut self, peer: &[u8; 25]) {
        for held in self.routes.values_mut() {
            held.retain(|((p, _), ..)| p != peer);
        }
        self.routes.retain(|_, held| !held.is_empty());
    }

    /// The routes of a prefix, in order.
    pub fn of(&self, prefix: (IpAddr, u8)) -> Vec<Held> {
        let mut held = self.routes.get(&prefix).cloned().unwrap_or_default();
        held.sort_by_key(|(place, id, _)| (*place, *id));
        held
    }

    pub fn len(&self) -> usize {
        self.routes.values().map(Vec::len).sum()
    }

    fn update(&mut self, place: Place, bgp: &[u8]) -> Step {
        let word = |at: usize| usize::from(u16::from_be_bytes([bgp[at], bgp[at + 1]]));
        let withdrawn = &bgp[21..21 + word(19)];
        let at = 21 + word(19);
        let mut attributes = &bgp[at + 2..at + 2 + word(at)];
        let announced = &bgp[at + 2 + word(at)..];
        let mut gone = names(32, withdrawn);
        let mut came = names(32, announced);
        let mut said = Said {
            path: Vec::new(),
            set: false,
            length: 0,
            next_hop: None,
            med: 0,
            local_pref: 100,
            origin: 0,
        };
        while !attributes.is_empty() {
            let (head, length) = match attributes[0] & 0x10 {
                0 => (3, usize::from(attributes[2])),
                _ => (
                    4,
                    usize::from(u16::from_be_bytes([attributes[2], attributes[3]])),
                ),
            };
            let value = &attributes[head..head + length];
            let number = || u32::from_be_bytes(value.try_into().unwrap());
            match attributes[1] {
                1 => said.origin = value[0],
                2 => said.read_path(value),
                3 => said.next_hop = Some(Ipv4Addr::from(number()).into()),
                4 => said.med = number(),
                5 => said.local_pref = number(),
                14 => {
                    assert_eq!(value[..3], [0, 2, 1]);
                    let hop: [u8; 16] = value[4..20].try_into().unwrap();
                    said.next_hop = Some(Ipv6Addr::from(hop).into());
                    came.extend(names(128, &value[5 + usize::from(value[3])..]));
                }
                15 => gone.extend(names(128, &value[3..])),
                _ => {}
            }
            attributes = &attributes[head + length..];
        }
        if self.prepended.is_some() && said.path.first() == self.prepended.as_ref() {
            said.path.remove(0);
            said.length -= 1;
        }
        for (address, length, id) in &gone {
            let held = self.routes.entry((*address, *length)).or_default();
            held.retain(|(p, held, _)| *p != place || (id.is_some() && held != id));
        }
        for (address, length, id) in came {
            let held = self.routes.entry((address, length)).or_default();
            held.retain(|(p, held, _)| (*p, *held) != (place, id));
            held.push((place, id, said.clone()));
        }
        for (address, length, _) in &gone {
            if self.of((*address, *length)).is_empty() {
                self.routes.remove(&(*address, *length));
            }
        }
        match gone.is_empty() {
            true => Step::Other,
            false => Step::Withdraw(gone),
        }
    }
}

impl Said {
    /// The captures have ASNs of 4 bytes and no confederations.
    fn read_path(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = usize::from(bytes[1]);
            let asns = bytes[2..2 + 4 * count].chunks(4);
            self.path
                .extend(asns.map(|a| u32::from_be_bytes(a.try_into().unwrap())));
            self.set = bytes[0] == 1;
            self.length += if self.set { 1 } else { count as u16 };
            bytes = &bytes[2 + 4 * count..];
        }
    }
}

fn names(max: u8, bytes: &[u8]) -> Vec<Name> {
    plain_names(max, bytes).unwrap_or_else(|| {
        let mut names = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let id = u32::from_be_bytes(rest[..4].try_into().unwrap());
            let size = 5 + usize::from(rest[4]).div_ceil(8);
            let (address, length, _) = plain_names(max, &rest[4..size]).unwrap()[0];
            names.push((address, length, Some(id)));
            rest = &rest[size..];
        }
        names
    })
}

fn plain_names(max: u8, mut bytes: &[u8]) -> Option<Vec<Name>> {
    let mut names = Vec::new();
    while !bytes.is_empty() {
        let length = bytes[0];
        let size = 1 + usize::from(length).div_ceil(8);
        if length > max || size > bytes.len() {
            return None;
        }
        let mut octets = [0; 16];
        octets[..size - 1].copy_from_slice(&bytes[1..size]);
        let [a, b, c, d, ..] = octets;
        let address = match max {
            32 => IpAddr::from([a, b, c, d]),
            _ => IpAddr::from(octets),
        };
        names.push((address, length, None));
        bytes = &bytes[size..];
    }
    Some(names)
}
