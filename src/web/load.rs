// SPDX-License-Identifier: AGPL-3.0-only
//! Reads a web configuration file with the certificates that it names, and notices when one of them changes.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::HeaderMap;
use rustls::ServerConfig;

use super::file::{self, ClientAuth, Pem, TlsSettings, User};
use super::tls::{self, Texts};

use crate::sys::os_error;

/// Bytes; a larger file is refused. A chain of certificates has some kilobytes.
const MAX_FILE_SIZE: u64 = 1 << 20;

/// The result of reading a file, in effect until the next one.
#[derive(Default)]
pub struct Loaded {
    pub tls: Option<Arc<ServerConfig>>,
    /// Differs if another client certificate is required, or TLS is.
    pub client_policy: u64,
    /// Whether TLS admits only clients with a certificate of the CA.
    pub verifies_clients: bool,
    pub headers: HeaderMap,
    pub users: Vec<User>,
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Returns whether only known clients get an answer.
    pub fn is_protected(&self) -> bool {
        self.verifies_clients || !self.users.is_empty()
    }
}

/// An attempt to read a file, successful or not.
pub struct Attempt {
    pub result: Result<Loaded, String>,
    pub files: WebFiles,
}

/// The files that an attempt has read, as they were before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebFiles(Vec<(PathBuf, Option<FileState>)>);

impl WebFiles {
    /// Returns whether a file has changed.
    pub fn have_changed(&self) -> bool {
        self.0
            .iter()
            .any(|(path, state)| FileState::of(path) != *state)
    }

    fn add(&mut self, path: &Path) {
        self.0.push((path.to_owned(), FileState::of(path)));
    }
}

/// The identity and the times of a file; a symbolic link counts as the file behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Also the time of the last change of owner or mode.
    changed: (i64, i64),
}

impl FileState {
    /// `None` if there is no file, or it cannot be found.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Reads the file at `path`, and those that it names. An error has the path, the key and the reason.
pub fn load(path: &Path) -> Attempt {
    let mut files = WebFiles::default();
    files.add(path);
    let result = read(path, &mut files).map_err(|reason| format!("{}: {reason}", path.display()));
    Attempt { result, files }
}

fn read(path: &Path, files: &mut WebFiles) -> Result<Loaded, String> {
    let text = String::from_utf8(read_file(path)?).map_err(|_| "expected UTF-8".to_owned())?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let file = file::parse(&text, folder).map_err(|errors| errors.join("; "))?;
    let mut loaded = Loaded {
        headers: file.headers,
        users: file.users,
        warnings: file.warnings,
        ..Loaded::default()
    };
    if let Some(settings) = &file.tls {
        let texts = texts(settings, files)?;
        let config = tls::configure(settings, &texts)?;
        let mut hasher = DefaultHasher::new();
        (settings.client_auth, &texts.client_ca).hash(&mut hasher);
        loaded.client_policy = hasher.finish();
        loaded.verifies_clients = settings.client_auth == ClientAuth::RequireAndVerify;
        loaded.tls = Some(Arc::new(config));
    }
    Ok(loaded)
}

fn texts(settings: &TlsSettings, files: &mut WebFiles) -> Result<Texts, String> {
    // first all of them, so that each is watched if one cannot be read
    let pems = [
        Some(&settings.certificates),
        Some(&settings.key),
        settings.client_ca.as_ref(),
    ];
    for pem in pems.into_iter().flatten() {
        if let Pem::File { path, .. } = pem {
            files.add(path);
        }
    }
    Ok(Texts {
        certificates: read_pem(&settings.certificates)?,
        key: read_pem(&settings.key)?,
        client_ca: settings.client_ca.as_ref().map(read_pem).transpose()?,
    })
}

/// Returns the name of a key with its path, and the text.
fn read_pem(pem: &Pem) -> Result<(String, Vec<u8>), String> {
    match pem {
        Pem::File { key, path } => {
            let name = format!("tls_server_config.{key} ({})", path.display());
            match read_file(path) {
                Ok(text) => Ok((name, text)),
                Err(reason) => Err(format!("{name}: {reason}")),
            }
        }
        Pem::Text { key, text } => Ok((format!("tls_server_config.{key}"), text.clone().into())),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot read: {}", os_error::of_file(&error));
    // This precedes the open, because opening a FIFO waits for a writer.
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("expected a regular file".into());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|f| f.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes))
        .map_err(cannot)?;
    match bytes.len() as u64 > MAX_FILE_SIZE {
        true => Err(format!("expected at most {MAX_FILE_SIZE} bytes")),
        false => Ok(bytes),
    }
}
