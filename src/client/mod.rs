// SPDX-License-Identifier: AGPL-3.0-only
//! The client commands: they ask a running agent over its control socket and show what it says.
//!
//! - `socket`: which socket is meant,
//! - [`http`]: one request and its reply,
//! - `show`: a reply as text for people; [`table`] and [`units`] serve it,
//! - [`change`]: `set` and `reload`; [`firewall`]: what stands behind `firewall`.
//!
//! Nothing here runs in the agent.

mod change;
mod firewall;
pub mod http;
pub mod show;
mod socket;
pub mod table;
mod top;
pub mod units;

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::args::{Client, ClientCommand, Selection};
use crate::control::{api, params};
pub use change::KEYS;
use http::Error;

/// Between two readings of the counters, where the agent has none that is recent.
const MOMENT: Duration = Duration::from_secs(1);

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for makes no sense.
    Usage(String),
    Failed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs a command; what it has to say.
pub fn run(client: Client) -> Result<String, Failure> {
    let agent = Agent {
        socket: socket::find(client.socket, &client.config),
        json: client.json,
    };
    match client.command {
        ClientCommand::Status => agent.status(),
        ClientCommand::Flows { selection, sort } => agent.flows(&selection, sort),
        ClientCommand::Top { live: true, .. } if agent.is_for_people() => {
            crate::client::top::run(&agent.socket.path).map_err(Failure::Failed)?;
            Ok(String::new())
        }
        ClientCommand::Top {
            selection,
            sort,
            by,
            ..
        } => agent.top(&selection, sort, by),
        ClientCommand::Rib { address, vrf } => agent.rib(&address, vrf),
        ClientCommand::Lookup { address, vrf } => agent.lookup(&address, vrf),
        ClientCommand::Set { key, value } => change::set(&agent, &key, &value),
        ClientCommand::Reload => change::reload(&agent),
        ClientCommand::Firewall(command) => firewall::run(&agent, command),
    }
}

struct Agent {
    socket: socket::Found,
    json: bool,
}

impl Agent {
    fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<u8>, Failure> {
        let mut target = format!("{}/{path}", api::VERSION);
        for (n, (name, value)) in query.iter().enumerate() {
            let separator = if n == 0 { '?' } else { '&' };
            target += &format!("{separator}{name}={}", params::encode(value));
        }
        http::get(&self.socket.path, &target).map_err(|error| self.explain(error))
    }

    fn post(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let target = format!("{}/{path}", api::VERSION);
        http::post(&self.socket.path, &target, body).map_err(|error| self.explain(error))
    }

    fn explain(&self, error: Error) -> Failure {
        match (&error, &self.socket.doubt) {
            (Error::NobodyThere(_) | Error::Forbidden(_), Some(doubt)) => {
                Failure::Failed(format!("{error}\n{doubt}"))
            }
            _ => error.into(),
        }
    }

    /// Whether somebody sits in front of a terminal and wants no JSON.
    fn is_for_people(&self) -> bool {
        use std::io::IsTerminal;
        !self.json && std::io::stdout().is_terminal()
    }

    /// The reply as it came, or as text.
    fn tell<T: DeserializeOwned>(
        &self,
        reply: &[u8],
        show: impl FnOnce(&T) -> String,
    ) -> Result<String, Failure> {
        if !self.json {
            return Ok(show(&read(reply)?));
        }
        let value: serde_json::Value = read(reply)?;
        let text = serde_json::to_string_pretty(&value);
        text.map(|text| text + "\n")
            .map_err(|error| Failure::Failed(error.to_string()))
    }

    fn status(&self) -> Result<String, Failure> {
        let mut reply = self.get("status", &[])?;
        let status: api::Status = read(&reply)?;
        // the agent takes rates between two requests; the first in a while has none
        if status.interfaces.iter().any(|i| i.rates.is_none()) {
            std::thread::sleep(MOMENT);
            reply = self.get("status", &[])?;
        }
        self.tell(&reply, show::status)
    }

    fn flows(&self, selection: &Selection, sort: Option<String>) -> Result<String, Failure> {
        let mut query = query(selection);
        query.extend(sort.map(|sort| ("sort", sort)));
        self.tell(&self.get("flows", &query)?, show::flows)
    }

    fn top(
        &self,
        selection: &Selection,
        sort: Option<String>,
        by: Option<String>,
    ) -> Result<String, Failure> {
        let mut query = query(selection);
        query.extend(sort.map(|sort| ("sort", sort)));
        query.extend(by.map(|by| ("by", by)));
        self.tell(&self.get("top", &query)?, show::top)
    }

    fn rib(&self, address: &str, vrf: Option<String>) -> Result<String, Failure> {
        let mut query = vec![("address", address.to_owned())];
        query.extend(vrf.map(|vrf| ("vrf", vrf)));
        self.tell(&self.get("rib", &query)?, show::rib)
    }

    fn lookup(&self, address: &str, vrf: Option<String>) -> Result<String, Failure> {
        let mut query = vec![("address", address.to_owned())];
        query.extend(vrf.map(|vrf| ("vrf", vrf)));
        self.tell(&self.get("lookup", &query)?, show::lookup)
    }
}

fn read<T: DeserializeOwned>(reply: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(reply).map_err(|error| {
        Failure::Failed(format!(
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
    let given = parts.into_iter();
    given
        .filter_map(|(name, value)| Some((name, value.clone()?)))
        .collect()
}
