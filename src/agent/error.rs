// SPDX-License-Identifier: AGPL-3.0-only
//! The errors that prevent a start or end the agent.

use std::{fmt, io};

use crate::bpf::load::LoadError;
use crate::control::socket;
use crate::sys::listen::BindError;

/// An error that prevents a start or ends the agent.
#[derive(Debug)]
pub enum Error {
    /// The capabilities that are missing.
    Privilege(Vec<&'static str>),
    Links(io::Error),
    /// No interface matches, and `require_interface` is set.
    NoInterface {
        present: String,
    },
    /// Key, file and reason.
    Database(String),
    Load(LoadError),
    Maps(io::Error),
    Bind(BindError),
    /// Path, key and reason.
    Web(String),
    Control(socket::SocketError),
    Bmp(BindError),
    Firewall(String),
    Start(io::Error),
    ThreadEnded(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Privilege(missing) => {
                let names = missing.join(", ");
                write!(
                    f,
                    "not permitted: {names} missing; run it as root, or give it these capabilities"
                )
            }
            Self::Links(error) => write!(f, "cannot list the interfaces: {error}"),
            Self::NoInterface { present } => write!(
                f,
                "agent.interfaces matches none of the interfaces present ({present}): \
                 a pattern is for the whole name; to start without one, set agent.require_interface = false"
            ),
            Self::Database(problem) => f.write_str(problem),
            Self::Load(error) => error.fmt(f),
            Self::Maps(error) => write!(f, "cannot open the BPF maps: {error}"),
            Self::Bind(error) => write!(f, "agent.prometheus: {error}"),
            Self::Web(reason) => write!(f, "agent.prometheus.web_config: {reason}"),
            Self::Control(error) => write!(f, "agent.control.socket: {error}"),
            Self::Bmp(error) => write!(f, "agent.enrich.rib.bmp: {error}"),
            Self::Firewall(problem) => write!(f, "agent.firewall: {problem}"),
            Self::Start(error) => write!(f, "cannot start: {error}"),
            Self::ThreadEnded(name) => {
                write!(
                    f,
                    "thread {name} ended by itself: stopping, to be started again"
                )
            }
        }
    }
}

impl std::error::Error for Error {}
