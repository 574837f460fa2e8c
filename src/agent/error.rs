// SPDX-License-Identifier: AGPL-3.0-only
//! The errors that prevent a start or end the agent.

use std::{fmt, io};

use crate::bpf::load_error::{LoadError, USER_NAMESPACE, is_in_user_namespace};
use crate::control::socket;
use crate::sys::listen::BindError;
use crate::sys::os_error;

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

impl Error {
    /// Returns whether the agent can never start on this kernel.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Load(error) if error.is_permanent())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Privilege(missing) => {
                let names = missing.join(", ");
                let remedy = match is_in_user_namespace() {
                    true => USER_NAMESPACE,
                    false => "run it as root, or give it these capabilities",
                };
                write!(f, "not permitted: {names} missing; {remedy}")
            }
            Self::Links(error) => {
                write!(f, "cannot list the interfaces: {}", os_error::reason(error))
            }
            Self::NoInterface { present } => write!(
                f,
                "agent.interfaces matches none of the interfaces present ({present}): \
                 a pattern is for the whole name; to start without one, set agent.require_interface = false"
            ),
            Self::Database(problem) => f.write_str(problem),
            Self::Load(error) => error.fmt(f),
            Self::Maps(error) => write!(f, "cannot open the BPF maps: {}", os_error::reason(error)),
            Self::Bind(error) => write!(f, "agent.prometheus: {error}"),
            Self::Web(reason) => write!(f, "agent.prometheus.web_config: {reason}"),
            Self::Control(error) => write!(f, "agent.control.socket: {error}"),
            Self::Bmp(error) => write!(f, "agent.enrich.rib.bmp: {error}"),
            Self::Firewall(problem) => write!(f, "agent.firewall: {problem}"),
            Self::Start(error) => write!(f, "cannot start: {}", os_error::reason(error)),
            Self::ThreadEnded(name) => {
                write!(
                    f,
                    "thread {name} ended unexpectedly: rfm stops, so that the service manager starts it again; please \
                     report the lines above"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_in_words() {
        let error = || io::Error::from_raw_os_error(libc::EMFILE);
        let bind = |errno| BindError {
            address: "192.0.2.1:9669".into(),
            reason: io::Error::from_raw_os_error(errno),
        };
        for (error, expected) in [
            (
                Error::Links(error()),
                "cannot list the interfaces: too many open files: raise LimitNOFILE of the service",
            ),
            (
                Error::Maps(error()),
                "cannot open the BPF maps: too many open files: raise LimitNOFILE of the service",
            ),
            (
                Error::Start(error()),
                "cannot start: too many open files: raise LimitNOFILE of the service",
            ),
            (
                Error::Bind(bind(libc::EADDRNOTAVAIL)),
                "agent.prometheus: cannot listen on 192.0.2.1:9669: this machine has no such address (see: ip \
                 address)",
            ),
            (
                Error::Bmp(bind(libc::EADDRINUSE)),
                "agent.enrich.rib.bmp: port 9669 is taken, perhaps by another rfm (see: ss -ltnp 'sport = :9669')",
            ),
            (
                Error::Bmp(bind(libc::ENOBUFS)),
                "agent.enrich.rib.bmp: cannot listen on 192.0.2.1:9669: no buffer space available",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
