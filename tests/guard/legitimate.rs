// SPDX-License-Identifier: AGPL-3.0-only
//! Programs that use the protected host during an attack.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, sleep};
use std::time::Duration;

use crate::network::{HOST, Network, OUTSIDE, outside6};

/// Real programs: web (new connections), ssh (one connection since before), DNS of the host (queries to the outside).
/// Each panics if an answer is missing.
pub struct Legitimate<'a> {
    pub network: &'a Network,
    pub answers: AtomicU64,
}

impl Legitimate<'_> {
    /// Servers that end with the namespaces: on threads that are not joined.
    pub fn serve(&self) {
        let listener = self
            .network
            .host
            .inside(|| TcpListener::bind("0.0.0.0:443").expect("a listener"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || echo(stream));
            }
        });
        for address in [
            SocketAddr::from((OUTSIDE, 53)),
            SocketAddr::from((outside6(), 53)),
        ] {
            let dns = self
                .network
                .outside
                .inside(|| UdpSocket::bind(address).expect("a socket"));
            thread::spawn(move || {
                let mut query = [0; 512];
                while let Ok((_, from)) = dns.recv_from(&mut query) {
                    let _ = dns.send_to(&[0; 90], from);
                }
            });
        }
    }

    pub fn connect(&self) -> TcpStream {
        let to = SocketAddr::from((HOST, 443));
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(2));
        let stream = stream.expect("a new connection through the attack");
        let limit = Some(Duration::from_secs(2));
        stream.set_read_timeout(limit).expect("a limit");
        stream
    }

    pub fn exchange(&self, stream: &mut TcpStream) {
        stream.write_all(&[7; 100]).expect("sent");
        let mut answer = [0; 100];
        stream
            .read_exact(&mut answer)
            .expect("an answer of the web server");
        self.answers.fetch_add(1, SeqCst);
    }

    pub fn web(&self, stop: &AtomicBool) {
        self.network.outside.inside(|| {
            while !stop.load(SeqCst) {
                self.exchange(&mut self.connect());
                sleep(Duration::from_millis(20));
            }
        });
    }

    pub fn ssh(&self, stop: &AtomicBool) {
        self.network.outside.inside(|| {
            let mut stream = self.connect();
            while !stop.load(SeqCst) {
                self.exchange(&mut stream);
                sleep(Duration::from_millis(10));
            }
        });
    }

    pub fn dns(&self, stop: &AtomicBool) {
        self.network.host.inside(|| {
            while !stop.load(SeqCst) {
                for (own, to) in [
                    ("0.0.0.0:0", SocketAddr::from((OUTSIDE, 53))),
                    ("[::]:0", SocketAddr::from((outside6(), 53))),
                ] {
                    let socket = UdpSocket::bind(own).expect("a socket");
                    let limit = Some(Duration::from_secs(2));
                    socket.set_read_timeout(limit).expect("a limit");
                    socket.send_to(&[1; 40], to).expect("sent");
                    let length = socket.recv(&mut [0; 512]).expect("an answer to a query");
                    assert_eq!(length, 90);
                    self.answers.fetch_add(1, SeqCst);
                }
                sleep(Duration::from_millis(20));
            }
        });
    }
}

fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 100];
    while stream.read_exact(&mut bytes).is_ok() {
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}
