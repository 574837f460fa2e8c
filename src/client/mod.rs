// SPDX-License-Identifier: AGPL-3.0-only
//! The client commands: they query a running agent over its control socket and print the reply.
//!
//! - `socket`: the path of the agent's socket,
//! - [`http`]: one request and its reply,
//! - [`output`]: a reply as text for people; [`table`] and [`format`] serve it,
//! - [`time_range`]: times as people write them;
//! - [`change`]: `set` and `reload`; [`firewall`]: the commands of `firewall`,
//! - `guard`: the commands of `guard`; `watch`: the events as they occur; `event_program`: the program that
//!   runs for each.
//!
//! Nothing here runs in the agent.

mod change;
mod event_program;
mod firewall;
pub mod format;
mod guard;
mod history;
pub mod http;
pub mod output;
mod socket;
pub mod table;
pub mod time_range;
mod top;
mod watch;

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::args::{Client, ClientCommand, PathOptions, Selection};
use crate::config::ConfigSource;
use crate::control::{api, params};
pub use change::KEYS;
use http::HttpError;

/// The time between two readings of the counters if the agent has no recent reading.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// The HTTP status of a request whose parameters are not valid: those of the command line.
const BAD_REQUEST: u16 = 400;

/// The error of a command.
#[derive(Debug)]
pub enum ClientError {
    /// The command line is wrong.
    Usage(String),
    Failed(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

impl From<HttpError> for ClientError {
    fn from(error: HttpError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs a command; returns the text to print. `source` names the socket.
pub fn run(client: Client, source: &ConfigSource) -> Result<String, ClientError> {
    let agent = AgentClient {
        socket: socket::find(client.socket, source),
        json: client.json,
    };
    match client.command {
        ClientCommand::Status => agent.status(),
        ClientCommand::Flows { selection, sort } => agent.flows(&selection, sort),
        ClientCommand::Top {
            mut selection,
            sort,
            by,
            live: true,
        } if agent.is_interactive() => {
            let presets = top::TopPresets {
                limit: selection.limit.take(),
                selection: query(&selection),
                sort,
                by,
            };
            top::run(&agent.socket.path, presets)?;
            Ok(String::new())
        }
        ClientCommand::Top {
            selection,
            sort,
            by,
            ..
        } => agent.top(&selection, sort, by),
        ClientCommand::Paths(options) => agent.paths(&options),
        ClientCommand::WhatIf { asn, options } => agent.what_if(&asn, &options),
        ClientCommand::History(options) => history::history(&agent, &options),
        ClientCommand::Bill(options) => history::bill(&agent, &options),
        ClientCommand::Rib { address, vrf } => agent.rib(&address, vrf),
        ClientCommand::Lookup { address, vrf } => agent.lookup(&address, vrf),
        ClientCommand::Set { key, value } => change::set(&agent, &key, &value),
        ClientCommand::Reload => change::reload(&agent),
        ClientCommand::Firewall(command) => firewall::run(&agent, command),
        ClientCommand::Guard(command) => guard::run(&agent, command),
    }
}

struct AgentClient {
    socket: socket::AgentSocket,
    json: bool,
}

impl AgentClient {
    fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, ClientError> {
        let mut target = format!("{}/{path}", api::VERSION);
        for (n, (name, value)) in query.iter().enumerate() {
            let separator = if n == 0 { '?' } else { '&' };
            target += &format!("{separator}{name}={}", params::encode(value));
        }
        http::get(&self.socket.path, &target).map_err(|error| match error {
            HttpError::Rejected(BAD_REQUEST, reason) => {
                ClientError::Usage(name_option(path, query, reason))
            }
            error => self.explain(error),
        })
    }

    fn post(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, ClientError> {
        let target = format!("{}/{path}", api::VERSION);
        http::post(&self.socket.path, &target, body).map_err(|error| self.explain(error))
    }

    fn explain(&self, error: HttpError) -> ClientError {
        match (&error, &self.socket.hint) {
            (HttpError::NoAgent(_) | HttpError::Forbidden(_), Some(hint)) => {
                ClientError::Failed(format!("{error}\n{hint}"))
            }
            _ => error.into(),
        }
    }

    /// Whether the output is a terminal, and not JSON.
    fn is_interactive(&self) -> bool {
        use std::io::IsTerminal;
        !self.json && std::io::stdout().is_terminal()
    }

    /// Returns the reply as JSON, or as the text that `format` makes.
    fn print<T: DeserializeOwned>(
        &self,
        reply: &[u8],
        format: impl FnOnce(&T) -> String,
    ) -> Result<String, ClientError> {
        if !self.json {
            return Ok(format(&read(reply)?));
        }
        let value: serde_json::Value = read(reply)?;
        let text = serde_json::to_string_pretty(&value);
        text.map(|text| text + "\n")
            .map_err(|error| ClientError::Failed(error.to_string()))
    }

    fn status(&self) -> Result<String, ClientError> {
        let mut reply = self.get("status", &[])?;
        let status: api::Status = read(&reply)?;
        // the agent calculates rates between two requests; the first after a long pause has none
        if status.interfaces.iter().any(|i| i.rates.is_none()) {
            std::thread::sleep(RATE_INTERVAL);
            reply = self.get("status", &[])?;
        }
        self.print(&reply, output::status)
    }

    fn flows(&self, selection: &Selection, sort: Option<String>) -> Result<String, ClientError> {
        let mut query = query(selection);
        query.extend(sort.map(|sort| ("sort", sort)));
        self.print(&self.get("flows", &query)?, output::flows)
    }

    fn top(
        &self,
        selection: &Selection,
        sort: Option<String>,
        by: Option<String>,
    ) -> Result<String, ClientError> {
        let one_direction = selection.direction.is_some();
        let mut query = query(selection);
        query.extend(sort.map(|sort| ("sort", sort)));
        query.extend(by.map(|by| ("by", by)));
        self.print(&self.get("top", &query)?, |top| {
            output::top(top, one_direction)
        })
    }

    fn paths(&self, options: &PathOptions) -> Result<String, ClientError> {
        let parts = [
            ("via", &options.via),
            ("origin", &options.origin),
            ("peer", &options.peer),
            ("limit", &options.limit),
        ];
        let mut query = given(parts);
        if options.history {
            query.push(("history", "true".to_owned()));
        }
        self.print(&self.get("paths", &query)?, |reply| {
            output::paths(reply, options)
        })
    }

    fn what_if(&self, asn: &str, options: &PathOptions) -> Result<String, ClientError> {
        if *options != PathOptions::default() {
            let text = "expected --what-if without --via, --origin, --peer, --history and --limit";
            return Err(ClientError::Usage(text.to_owned()));
        }
        let query = [("asn", asn.to_owned())];
        self.print(&self.get("paths/what_if", &query)?, output::what_if)
    }

    fn rib(&self, address: &str, vrf: Option<String>) -> Result<String, ClientError> {
        let mut query = vec![("address", address.to_owned())];
        query.extend(vrf.map(|vrf| ("vrf", vrf)));
        self.print(&self.get("rib", &query)?, output::rib)
    }

    fn lookup(&self, address: &str, vrf: Option<String>) -> Result<String, ClientError> {
        let mut query = vec![("address", address.to_owned())];
        query.extend(vrf.map(|vrf| ("vrf", vrf)));
        self.print(&self.get("lookup", &query)?, output::lookup)
    }
}

/// Names the option of a parameter that the agent rejected: "src_port: expected ..." is about "--src-port".
fn name_option(path: &str, query: &[(&str, String)], reason: String) -> String {
    let is_about = |name: &str| reason.starts_with(&format!("{name}:"));
    let named = query.iter().find(|(name, _)| is_about(name));
    match named {
        Some(("address", _)) if ["rib", "lookup"].contains(&path) => reason,
        Some((name, _)) => {
            let option = match path {
                "paths/what_if" => "what-if".to_owned(),
                _ => name.replace('_', "-"),
            };
            format!("--{option}{}", &reason[name.len()..])
        }
        None => reason,
    }
}

fn read<T: DeserializeOwned>(reply: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(reply).map_err(|error| {
        ClientError::Failed(format!(
            "the agent's answer cannot be read: {error} (is it of another version?)"
        ))
    })
}

fn query(selection: &Selection) -> Vec<(&'static str, String)> {
    let Selection {
        limit,
        interface,
        direction,
        protocol,
        address,
        src,
        dst,
        port,
        src_port,
        dst_port,
        asn,
        src_asn,
        dst_asn,
    } = selection;
    let parts = [
        ("limit", limit),
        ("interface", interface),
        ("direction", direction),
        ("protocol", protocol),
        ("address", address),
        ("src", src),
        ("dst", dst),
        ("port", port),
        ("src_port", src_port),
        ("dst_port", dst_port),
        ("asn", asn),
        ("src_asn", src_asn),
        ("dst_asn", dst_asn),
    ];
    given(parts)
}

/// Returns the parameters that have a value.
fn given<const N: usize>(
    parts: [(&'static str, &Option<String>); N],
) -> Vec<(&'static str, String)> {
    let given = parts.into_iter();
    given
        .filter_map(|(name, value)| Some((name, value.clone()?)))
        .collect()
}
