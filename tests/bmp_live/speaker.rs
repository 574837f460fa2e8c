// SPDX-License-Identifier: AGPL-3.0-only
//! A BGP speaker (RFC 4271) that announces what it is told to and hears nothing out.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::common::lab::{Namespace, wait_for};

const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;

const HEADER: usize = 19;
/// Longer than any test: no keepalive is due.
const HOLD_TIME: u16 = 240;
/// A router may be starting, or bear a grudge against a session that broke.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// One that dials and speaks for an AS of its own.
#[derive(Clone, Copy)]
pub struct Identity {
    pub local: Ipv4Addr,
    pub router: Ipv4Addr,
    pub asn: u32,
    /// Of the routes over IPv6; the session runs over IPv4.
    pub next_hop: Ipv6Addr,
}

/// An established session; it breaks without a word when this is dropped.
pub struct Speaker {
    stream: TcpStream,
    identity: Identity,
}

/// A path: members of a confederation, a sequence, and a set at its end; each may be empty.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    members: &'a [u32],
    sequence: &'a [u32],
    set: &'a [u32],
}

impl Speaker {
    /// Dials until the session is established.
    pub fn establish(namespace: &Namespace, identity: Identity) -> Self {
        let mut speaker = None;
        let established = wait_for(ANSWER_TIMEOUT, || {
            speaker = namespace.inside(|| Self::try_establish(identity)).ok();
            speaker.is_some()
        });
        assert!(established, "no BGP session of AS {}", identity.asn);
        speaker.expect("established")
    }

    /// Waits until the router has dialled and the session is established.
    pub fn accept(namespace: &Namespace, identity: Identity) -> Self {
        let mut speaker = None;
        let listener = namespace.inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 179)));
        let listener = listener.expect("port 179");
        listener.set_nonblocking(true).expect("a socket");
        let established = wait_for(ANSWER_TIMEOUT, || {
            let accepted = listener.accept().and_then(|(stream, _)| {
                stream.set_nonblocking(false)?;
                Self::negotiate(stream, identity)
            });
            speaker = accepted.ok();
            speaker.is_some()
        });
        assert!(established, "no BGP session of AS {}", identity.asn);
        speaker.expect("established")
    }

    fn try_establish(identity: Identity) -> io::Result<Self> {
        Self::negotiate(dial(identity)?, identity)
    }

    fn negotiate(mut stream: TcpStream, identity: Identity) -> io::Result<Self> {
        stream.write_all(&open(identity))?;
        let (tell, told) = channel();
        let reader = stream.try_clone()?;
        thread::spawn(move || listen(reader, &tell));
        wait(&told, OPEN)?;
        stream.write_all(&message(KEEPALIVE, &[]))?;
        wait(&told, KEEPALIVE)?;
        Ok(Self { stream, identity })
    }

    pub fn announce(&mut self, prefix: &str, path: Path<'_>) {
        self.announce_with(prefix, path, &[]);
    }

    /// With these communities (RFC 1997).
    pub fn announce_with(&mut self, prefix: &str, path: Path<'_>, communities: &[u32]) {
        let (address, nlri) = nlri(prefix);
        let mut attributes = attribute(0x40, 1, &[0]);
        attributes.extend(attribute(0x40, 2, &path.bytes()));
        if !path.members.is_empty() {
            // RFC 5065 section 5.3: members of a confederation send LOCAL_PREF
            attributes.extend(attribute(0x40, 5, &100_u32.to_be_bytes()));
        }
        let communities: Vec<u8> = communities.iter().flat_map(|c| c.to_be_bytes()).collect();
        if !communities.is_empty() {
            attributes.extend(attribute(0xc0, 8, &communities));
        }
        if address.is_ipv6() {
            let mut reach = vec![0, 2, 1, 16];
            reach.extend(self.identity.next_hop.octets());
            reach.push(0);
            reach.extend(nlri);
            attributes.extend(attribute(0x80, 14, &reach));
            self.update(&[], &attributes, &[]);
        } else {
            attributes.extend(attribute(0x40, 3, &self.identity.local.octets()));
            self.update(&[], &attributes, &nlri);
        }
    }

    pub fn withdraw(&mut self, prefix: &str) {
        let (address, nlri) = nlri(prefix);
        if address.is_ipv6() {
            let unreach = [&[0, 2, 1], &nlri[..]].concat();
            self.update(&[], &attribute(0x80, 15, &unreach), &[]);
        } else {
            self.update(&nlri, &[], &[]);
        }
    }

    /// RFC 4724 section 2, for both families.
    pub fn end_of_rib(&mut self) {
        self.update(&[], &[], &[]);
        self.update(&[], &attribute(0x80, 15, &[0, 2, 1]), &[]);
    }

    /// Breaks the session.
    pub fn end(&mut self) {
        // the router may have ended it; the thread that listens has a handle of its own
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    fn update(&mut self, withdrawn: &[u8], attributes: &[u8], announced: &[u8]) {
        let mut body = Vec::new();
        body.extend((withdrawn.len() as u16).to_be_bytes());
        body.extend(withdrawn);
        body.extend((attributes.len() as u16).to_be_bytes());
        body.extend(attributes);
        body.extend(announced);
        let sent = self.stream.write_all(&message(UPDATE, &body));
        sent.unwrap_or_else(|e| panic!("the session of AS {}: {e}", self.identity.asn));
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.end();
    }
}

impl<'a> Path<'a> {
    pub const fn new(sequence: &'a [u32], set: &'a [u32]) -> Self {
        Self {
            members: &[],
            sequence,
            set,
        }
    }

    /// Through members of the own confederation (RFC 5065).
    pub const fn through(members: &'a [u32], sequence: &'a [u32]) -> Self {
        Self {
            members,
            sequence,
            set: &[],
        }
    }

    fn bytes(self) -> Vec<u8> {
        let segments = [(3, self.members), (2, self.sequence), (1, self.set)];
        let segments = segments.into_iter().filter(|(_, asns)| !asns.is_empty());
        let bytes = segments.flat_map(|(kind, asns)| {
            let numbers = asns.iter().flat_map(|asn| asn.to_be_bytes());
            [kind, asns.len() as u8].into_iter().chain(numbers)
        });
        bytes.collect()
    }
}

fn dial(identity: Identity) -> io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddr::from((identity.local, 0)))?;
    connect(&socket, &SocketAddr::from((identity.router, 179)))?;
    Ok(TcpStream::from(socket))
}

/// Tells the kind of each message until the session ends.
fn listen(mut stream: TcpStream, tell: &Sender<u8>) {
    let mut header = [0; HEADER];
    while stream.read_exact(&mut header).is_ok() {
        let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
        let mut body = vec![0; length.saturating_sub(HEADER)];
        if stream.read_exact(&mut body).is_err() || header[18] == NOTIFICATION {
            break;
        }
        // nobody asks once the session is established
        let _ = tell.send(header[18]);
    }
}

fn wait(told: &Receiver<u8>, kind: u8) -> io::Result<()> {
    match told.recv_timeout(Duration::from_secs(5)) {
        Ok(came) if came == kind => Ok(()),
        other => Err(io::Error::other(format!("{other:?} instead of {kind}"))),
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(((HEADER + body.len()) as u16).to_be_bytes());
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

/// IPv4 and IPv6 unicast, AS numbers of four bytes, route refresh.
fn open(identity: Identity) -> Vec<u8> {
    let mut capabilities = vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 2, 0, 65, 4];
    capabilities.extend(identity.asn.to_be_bytes());
    let mut body = vec![4];
    let short = u16::try_from(identity.asn).unwrap_or(23456);
    body.extend(short.to_be_bytes());
    body.extend(HOLD_TIME.to_be_bytes());
    body.extend(identity.local.octets());
    let length = capabilities.len() as u8;
    body.extend([length + 2, 2, length]);
    body.extend(capabilities);
    message(OPEN, &body)
}

fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    [&[flags, code, value.len() as u8], value].concat()
}

fn nlri(prefix: &str) -> (IpAddr, Vec<u8>) {
    let (address, length) = prefix.split_once('/').expect("a prefix");
    let address: IpAddr = address.parse().expect("an address");
    let length: u8 = length.parse().expect("a length");
    let octets = match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    let used = &octets[..usize::from(length.div_ceil(8))];
    (address, [&[length], used].concat())
}
