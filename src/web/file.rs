// SPDX-License-Identifier: AGPL-3.0-only
//! The web configuration file: its keys, with the names and the meaning that exporter-toolkit of Prometheus gives them.
//! Pure.
//!
//! A setting that rfm does not support is an error that names it. If rfm ignored it, the port could be more open than
//! the operator expects.

use std::path::{Path, PathBuf};

use bcrypt::HashParts;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;

use super::names::{self, Meaning, Version};
use super::yaml::{self, YamlEntry, YamlNode, YamlValue};
use crate::types::did_you_mean::nearest;

/// The highest cost of a password hash. Each step doubles the time; at 15 it is some seconds.
const MAX_COST: u32 = 15;

const MAX_USERS: usize = 1_000;

/// The settings of a file.
#[derive(Default)]
pub struct WebFile {
    /// `None`: without TLS.
    pub tls: Option<TlsSettings>,
    pub headers: HeaderMap,
    pub users: Vec<User>,
    /// Settings that rfm applies only in part; none of them opens the port.
    pub warnings: Vec<String>,
}

/// A user that may read the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// The bcrypt hash of the password.
    pub hash: String,
}

/// `tls_server_config`.
pub struct TlsSettings {
    pub certificates: Pem,
    pub key: Pem,
    pub client_ca: Option<Pem>,
    pub client_auth: ClientAuth,
    pub versions: std::ops::RangeInclusive<Version>,
    /// In the order of the file; empty: all.
    pub cipher_suites: Vec<SupportedCipherSuite>,
    /// In the order of the file; empty: all.
    pub curves: Vec<&'static dyn SupportedKxGroup>,
    /// Whether the order of `cipher_suites` decides, and not that of the client.
    pub own_order: bool,
}

/// The place of certificates or of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    File {
        /// The key of the web configuration file, for errors.
        key: &'static str,
        path: PathBuf,
    },
    Text {
        key: &'static str,
        text: String,
    },
}

/// `client_auth_type`: the client certificates that TLS requires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    #[default]
    None,
    Request,
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

impl ClientAuth {
    fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "" | "NoClientCert" => Self::None,
            "RequestClientCert" => Self::Request,
            "RequireAnyClientCert" | "RequireClientCert" => Self::RequireAny,
            "VerifyClientCertIfGiven" => Self::VerifyIfGiven,
            "RequireAndVerifyClientCert" => Self::RequireAndVerify,
            _ => return None,
        })
    }
}

/// Reads a file. Relative paths begin at `folder`, which is the folder of the file.
pub fn parse(text: &str, folder: &Path) -> Result<WebFile, Vec<String>> {
    let document = yaml::read(text).map_err(|error| vec![error])?;
    let mut reader = WebFileReader {
        folder,
        errors: Vec::new(),
        file: WebFile::default(),
    };
    if let Some(document) = document {
        reader.document(&document);
    }
    match reader.errors.is_empty() {
        true => Ok(reader.file),
        false => Err(reader.errors),
    }
}

/// Collects settings and errors.
struct WebFileReader<'f> {
    folder: &'f Path,
    errors: Vec<String>,
    file: WebFile,
}

impl WebFileReader<'_> {
    #[cold]
    fn error(&mut self, line: usize, key: &str, text: &str) {
        self.errors
            .push(format!("line {line}: {}: {text}", key.escape_debug()));
    }

    #[cold]
    fn warn(&mut self, line: usize, key: &str, text: &str) {
        self.file
            .warnings
            .push(format!("line {line}: {key}: {text}"));
    }

    fn unknown(&mut self, entry: &YamlEntry, section: &str, known: &[&str]) {
        let key = join(section, &entry.key);
        let known: Vec<_> = known.iter().map(|name| join(section, name)).collect();
        match nearest(&key, known.iter().map(String::as_str)) {
            Some(near) => self.error(
                entry.line,
                &key,
                &format!("unknown key; did you mean {near}?"),
            ),
            None => self.error(entry.line, &key, "unknown key"),
        }
    }

    /// Returns the entries of a map; none if the value is absent.
    fn map<'n>(&mut self, node: &'n YamlNode, key: &str) -> &'n [YamlEntry] {
        match &node.value {
            YamlValue::Map(entries) => entries,
            _ if node.is_null() => &[],
            _ => {
                self.error(node.line, key, "expected keys and values");
                &[]
            }
        }
    }

    /// Returns a text; empty if the value is absent.
    fn text<'n>(&mut self, node: &'n YamlNode, key: &str) -> &'n str {
        match &node.value {
            _ if node.is_null() => "",
            YamlValue::Scalar { text, .. } => text,
            _ => {
                self.error(node.line, key, "expected a text");
                ""
            }
        }
    }

    /// Returns true or false, in the words of YAML 1.1; `None` if the value is absent.
    fn boolean(&mut self, node: &YamlNode, key: &str) -> Option<bool> {
        if node.is_null() {
            return None;
        }
        if let YamlValue::Scalar { text, plain: true } = &node.value {
            match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "y" => return Some(true),
                "false" | "no" | "off" | "n" => return Some(false),
                _ => {}
            }
        }
        self.error(node.line, key, "expected true or false");
        None
    }

    fn list<'n>(&mut self, node: &'n YamlNode, key: &str) -> &'n [YamlNode] {
        match &node.value {
            YamlValue::List(items) => items,
            _ if node.is_null() => &[],
            _ => {
                self.error(node.line, key, "expected a list");
                &[]
            }
        }
    }

    fn document(&mut self, document: &YamlNode) {
        const KNOWN: [&str; 3] = [
            "tls_server_config",
            "http_server_config",
            "basic_auth_users",
        ];
        for entry in self.map(document, "the file") {
            let (key, node) = (entry.key.as_str(), &entry.value);
            match key {
                "tls_server_config" => self.tls(node),
                "http_server_config" => self.http(node),
                "basic_auth_users" => self.users(node),
                "rate_limit" if node.is_null() => {}
                "rate_limit" => self.error(
                    entry.line,
                    key,
                    "rfm does not support it: remove it; rfm bounds connections and their times by itself",
                ),
                _ => self.unknown(entry, "", &KNOWN),
            }
        }
    }

    fn tls(&mut self, node: &YamlNode) {
        let section = "tls_server_config";
        let mut raw = RawTls::default();
        // As in the toolkit, the section without a value means no TLS. If it has a key, a certificate is required.
        let mut is_set = false;
        for entry in self.map(node, section) {
            is_set |= !entry.value.is_null();
            self.tls_key(entry, section, &mut raw);
        }
        if is_set && self.errors.is_empty() {
            self.complete_tls(node.line, section, raw);
        }
    }

    fn tls_key(&mut self, entry: &YamlEntry, section: &str, raw: &mut RawTls) {
        const KNOWN: [&str; 12] = [
            "cert",
            "cert_file",
            "cipher_suites",
            "client_auth_type",
            "client_ca",
            "client_ca_file",
            "curve_preferences",
            "key",
            "key_file",
            "max_version",
            "min_version",
            "prefer_server_cipher_suites",
        ];
        let key = join(section, &entry.key);
        let node = &entry.value;
        match entry.key.as_str() {
            "cert" => raw.cert = self.text(node, &key).to_owned(),
            "key" => raw.key = self.text(node, &key).to_owned(),
            "client_ca" => raw.client_ca = self.text(node, &key).to_owned(),
            "cert_file" => raw.cert_file = self.path(node, &key),
            "key_file" => raw.key_file = self.path(node, &key),
            "client_ca_file" => raw.client_ca_file = self.path(node, &key),
            "client_auth_type" => match ClientAuth::of_name(self.text(node, &key)) {
                Some(client_auth) => raw.client_auth = client_auth,
                None => self.error(
                    node.line,
                    &key,
                    "expected NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or \
                     RequireAndVerifyClientCert",
                ),
            },
            "min_version" => raw.min_version = self.version(node, &key),
            "max_version" => raw.max_version = self.version(node, &key),
            "cipher_suites" => raw.cipher_suites = self.names(node, &key, names::cipher_suite),
            "curve_preferences" => raw.curves = self.names(node, &key, names::curve),
            "prefer_server_cipher_suites" => raw.own_order = self.boolean(node, &key),
            "client_allowed_sans" if node.is_null() => {}
            "client_allowed_sans" => self.error(
                entry.line,
                &key,
                "rfm does not support it: remove it, and let client_ca_file name a CA that signs only the clients that \
                 may connect",
            ),
            _ => self.unknown(entry, section, &KNOWN),
        }
    }

    fn path(&mut self, node: &YamlNode, key: &str) -> Option<PathBuf> {
        let text = self.text(node, key);
        (!text.is_empty()).then(|| self.folder.join(text))
    }

    fn version(&mut self, node: &YamlNode, key: &str) -> Option<Version> {
        let text = self.text(node, key);
        if text.is_empty() {
            return None;
        }
        Version::of_name(text)
            .map_err(|expected| self.error(node.line, key, expected))
            .ok()
    }

    /// Reads a list of names of Go. Those that rfm lacks are left out with a warning, unless no other remains.
    fn names<T>(
        &mut self,
        node: &YamlNode,
        key: &str,
        meaning: fn(&str) -> Option<Meaning<T>>,
    ) -> Option<Vec<T>> {
        let items = self.list(node, key);
        let mut supported = Vec::new();
        let mut left_out = Vec::new();
        for item in items {
            let name = self.text(item, key);
            match meaning(name) {
                Some(Meaning::Supported(value)) => supported.push(value),
                Some(Meaning::LeftOut(reason)) => left_out.push((item.line, name, reason)),
                None => {
                    let name = name.escape_debug().to_string();
                    self.error(item.line, key, &format!("unknown name {name}"));
                }
            }
        }
        for (line, name, reason) in left_out {
            match supported.is_empty() {
                true => self.error(line, key, &format!("{name} is not supported: {reason}")),
                false => self.warn(line, key, &format!("{name} is left out: {reason}")),
            }
        }
        (!items.is_empty()).then_some(supported)
    }

    fn complete_tls(&mut self, line: usize, section: &str, raw: RawTls) {
        let certificates = self.one_of(
            line,
            section,
            ("cert_file", raw.cert_file),
            ("cert", raw.cert),
        );
        let key = self.one_of(line, section, ("key_file", raw.key_file), ("key", raw.key));
        let ca_is_set = raw.client_ca_file.is_some() || !raw.client_ca.is_empty();
        let client_ca = match ca_is_set {
            true => self.one_of(
                line,
                section,
                ("client_ca_file", raw.client_ca_file),
                ("client_ca", raw.client_ca),
            ),
            false => None,
        };
        let client_auth = raw.client_auth;
        let auth_key = join(section, "client_auth_type");
        match (client_auth, ca_is_set) {
            (ClientAuth::None, true) => {
                let text = "required with client_ca_file: RequireAndVerifyClientCert";
                self.error(line, &auth_key, text);
            }
            (ClientAuth::RequireAndVerify, false) => {
                let text = "RequireAndVerifyClientCert needs client_ca_file";
                self.error(line, &auth_key, text);
            }
            (ClientAuth::VerifyIfGiven, false) => {
                let text = "without client_ca_file, every client certificate is refused";
                self.warn(line, &auth_key, text);
            }
            _ => {}
        }
        let min = raw.min_version.unwrap_or(Version::Tls12);
        let max = raw.max_version.unwrap_or(Version::Tls13);
        if min > max {
            let key = join(section, "min_version");
            self.error(line, &key, "expected at most max_version");
        }
        let cipher_suites = raw.cipher_suites.unwrap_or_default();
        let has_tls12 = |suite: &SupportedCipherSuite| suite.tls13().is_none();
        let excludes_tls12 = !cipher_suites.is_empty() && !cipher_suites.iter().any(has_tls12);
        if max == Version::Tls12 && excludes_tls12 {
            let key = join(section, "cipher_suites");
            self.error(
                line,
                &key,
                "expected a suite of TLS 1.2, because max_version is TLS12",
            );
        }
        let (Some(certificates), Some(key)) = (certificates, key) else {
            return;
        };
        self.file.tls = Some(TlsSettings {
            certificates,
            key,
            client_ca,
            client_auth,
            // as in Go, a list without suites of TLS 1.2 leaves only TLS 1.3
            versions: if excludes_tls12 { max } else { min }..=max,
            cipher_suites,
            curves: raw.curves.unwrap_or_default(),
            own_order: raw.own_order.unwrap_or(true),
        });
    }

    /// Returns the place of a required text that may be in a file or in the web configuration file itself.
    fn one_of(
        &mut self,
        line: usize,
        section: &str,
        (file_key, path): (&'static str, Option<PathBuf>),
        (text_key, text): (&'static str, String),
    ) -> Option<Pem> {
        match (path, text) {
            (Some(path), text) if text.is_empty() => Some(Pem::File {
                key: file_key,
                path,
            }),
            (Some(_), _) => {
                let text = format!("expected either it or {text_key}, got both");
                self.error(line, &join(section, file_key), &text);
                None
            }
            (None, text) if text.is_empty() => {
                let text = format!("required in {section}: {file_key} or {text_key}");
                self.error(line, &join(section, file_key), &text);
                None
            }
            (None, text) => Some(Pem::Text {
                key: text_key,
                text,
            }),
        }
    }

    fn http(&mut self, node: &YamlNode) {
        let section = "http_server_config";
        for entry in self.map(node, section) {
            let key = join(section, &entry.key);
            match entry.key.as_str() {
                // rfm has no HTTP/2, which changes nothing in the protection of the port
                "http2" => drop(self.boolean(&entry.value, &key)),
                "headers" => self.headers(&entry.value, &key),
                _ => self.unknown(entry, section, &["http2", "headers"]),
            }
        }
    }

    fn headers(&mut self, node: &YamlNode, section: &str) {
        /// The fields that the toolkit permits, each with its valid values if they are a list.
        const FIELDS: [(&str, &[&str]); 5] = [
            ("Content-Security-Policy", &[]),
            ("Strict-Transport-Security", &[]),
            ("X-Content-Type-Options", &["nosniff"]),
            ("X-Frame-Options", &["deny", "sameorigin"]),
            ("X-XSS-Protection", &[]),
        ];
        for entry in self.map(node, section) {
            let key = join(section, &entry.key);
            let Some((name, values)) = FIELDS.iter().find(|(name, _)| *name == entry.key) else {
                self.unknown(entry, section, &FIELDS.map(|(name, _)| name));
                continue;
            };
            let text = self.text(&entry.value, &key);
            if !values.is_empty() && !values.contains(&text) {
                self.error(
                    entry.line,
                    &key,
                    &format!("expected {}", values.join(" or ")),
                );
                continue;
            }
            match HeaderValue::from_str(text) {
                Ok(_) if text.is_empty() => {}
                Ok(value) => {
                    let name = HeaderName::from_bytes(name.as_bytes());
                    let name = name.expect("the names above are valid");
                    self.file.headers.insert(name, value);
                }
                Err(_) => self.error(entry.line, &key, "expected one line of text"),
            }
        }
    }

    fn users(&mut self, node: &YamlNode) {
        let section = "basic_auth_users";
        let entries = self.map(node, section);
        if entries.len() > MAX_USERS {
            let text = format!("expected at most {MAX_USERS} users, got {}", entries.len());
            self.error(node.line, section, &text);
            return;
        }
        for entry in entries {
            let key = join(section, &entry.key);
            if entry.key.is_empty() || entry.key.contains(':') {
                let text = "expected a name without a colon: HTTP cannot send another one";
                self.error(entry.line, &key, text);
            }
            let hash = self.text(&entry.value, &key);
            match hash.parse::<HashParts>() {
                Ok(parts) if (4..=MAX_COST).contains(&parts.get_cost()) => {
                    self.file.users.push(User {
                        name: entry.key.clone(),
                        hash: hash.to_owned(),
                    });
                }
                Ok(parts) => {
                    let cost = parts.get_cost();
                    let text = format!("expected a cost from 4 to {MAX_COST}, got {cost}");
                    self.error(entry.line, &key, &text);
                }
                // the text of the file is a secret, or was meant to be one
                Err(_) => self.error(
                    entry.line,
                    &key,
                    "expected a bcrypt hash, such as from `htpasswd -nBC 10 NAME`",
                ),
            }
        }
    }
}

/// `tls_server_config` as read, before its keys are compared.
#[derive(Default)]
struct RawTls {
    cert: String,
    key: String,
    client_ca: String,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    client_auth: ClientAuth,
    min_version: Option<Version>,
    max_version: Option<Version>,
    cipher_suites: Option<Vec<SupportedCipherSuite>>,
    curves: Option<Vec<&'static dyn SupportedKxGroup>>,
    own_order: Option<bool>,
}

fn join(section: &str, key: &str) -> String {
    match section {
        "" => key.to_owned(),
        section => format!("{section}.{key}"),
    }
}
