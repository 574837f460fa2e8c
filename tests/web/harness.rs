// SPDX-License-Identifier: AGPL-3.0-only
//! A server with a web configuration file, and a client with TLS.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rfm::http::gate::AccessStatus;
use rfm::http::{HttpLimits, Server};
use rfm::sys::error_counters::ErrorCounters;
use rfm::sys::threads::Threads;
use rfm::web::gate::WebGate;
use rfm::web::load::{Attempt, load};
use rfm::web::thread;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::http::{Running, text};

/// "secret" by bcrypt, at the lowest cost.
pub const SECRET: &str = "$2b$04$SYdBpGn1W25u9SqdsfmSfOIaP9PZAPL0bz/e24fIJ4rdPkxNo3WMS";

/// A folder of its own, removed with the value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "web-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that answers every request with its path, behind the file `web.yml` of a folder.
pub struct Secured {
    pub server: Running,
    pub gate: Arc<WebGate>,
    pub status: Arc<AccessStatus>,
    threads: Threads,
}

impl Secured {
    pub fn start(folder: &Folder, web: &str) -> Self {
        let path = folder.write("web.yml", web);
        let (status, errors) = (
            Arc::<AccessStatus>::default(),
            Arc::new(ErrorCounters::default()),
        );
        let gate = Arc::new(WebGate::new(status.clone(), errors.clone()).unwrap());
        let Attempt { result, files } = load(&path);
        gate.replace(Some(result.unwrap_or_else(|reason| panic!("{reason}"))));
        let threads = Threads::new();
        let theirs = gate.clone();
        threads
            .spawn("web", move |heartbeat| {
                thread::run(&theirs, path, files, &heartbeat);
            })
            .unwrap();
        let server = Server::bind("127.0.0.1", 0, errors.clone())
            .unwrap()
            .limits(HttpLimits::default())
            .gate(gate.clone());
        let server = Running::new(server, errors, |request, _| text(request.uri().to_string()));
        Self {
            server,
            gate,
            status,
            threads,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.threads.stop("web");
    }
}

/// The settings of a client.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts the authority with this certificate, and has a certificate of its own if `identity` names one.
    pub fn new(folder: impl AsRef<Path>, authority: &str, identity: Option<&str>) -> Self {
        let folder = folder.as_ref();
        let mut roots = RootCertStore::empty();
        for certificate in certificates(folder, authority) {
            roots.add(certificate).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some(name) => {
                let key = fs::read(folder.join(format!("{name}.key"))).unwrap();
                let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
                builder
                    .with_client_auth_cert(certificates(folder, &format!("{name}.crt")), key)
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        Self(Arc::new(config))
    }

    pub fn connect(&self, address: SocketAddr) -> io::Result<TlsClient> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(self.0.clone(), name).map_err(io::Error::other)?;
        Ok(TlsClient(StreamOwned::new(session, stream)))
    }

    /// One request on a connection of its own: the status.
    pub fn status(&self, address: SocketAddr, path: &str, fields: &str) -> io::Result<u16> {
        self.connect(address)?
            .get(path, fields)
            .map(|(status, _)| status)
    }
}

pub fn certificates(folder: impl AsRef<Path>, name: &str) -> Vec<CertificateDer<'static>> {
    let text = fs::read(folder.as_ref().join(name)).unwrap();
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .unwrap()
}

pub struct TlsClient(StreamOwned<ClientConnection, TcpStream>);

impl TlsClient {
    /// Sends a request, and returns the status and the body of the response.
    pub fn get(&mut self, path: &str, fields: &str) -> io::Result<(u16, String)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        self.0.write_all(request.as_bytes())?;
        self.0.flush()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(n, _)| *n == name).map(|(_, value)| value)
        };
        let length = field("content-length").map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok((status, format!("{head}{}", String::from_utf8_lossy(&body))))
    }

    /// The certificate that the server sent.
    pub fn peer(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

/// The field that names a user.
pub fn login(name: &str, password: &str) -> String {
    use base64::Engine;
    let text = base64::prelude::BASE64_STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {text}\r\n")
}
