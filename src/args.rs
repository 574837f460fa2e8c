// SPDX-License-Identifier: AGPL-3.0-only
//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use argh::{ArgsInfo, CommandInfoWithArgs, FromArgs};

use crate::config::DEFAULT_PATH;
pub use firewall::FirewallCommand;
pub use guard::{GuardCommand, WatchOptions};
pub use history::{BillOptions, HistoryOptions};

/// Counts packets, flows and their networks on the interfaces of this router, and serves the values
/// to Prometheus. Without a command it runs until SIGINT or SIGTERM; with a command it queries the
/// running agent.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    name = "rfm",
    note = "RFM_LOG or RUST_LOG sets the level of the agent's log: error, warn, info, debug, trace.
A variable such as RFM_AGENT__BPF__SAMPLE_RATE sets a key of the configuration.",
    error_code(0, "success"),
    error_code(
        1,
        "a failure at run time; for a command, also if no agent answers or if it refuses"
    ),
    error_code(2, "a mistake on the command line or in the configuration"),
    error_code(
        3,
        "this kernel cannot run rfm: it is too old, it is built without BPF, or its verifier rejects a program; \
         another start fails as well"
    )
)]
struct Args {
    /// configuration file (default: /etc/rfm/rfm.toml)
    #[argh(option, arg_name = "file")]
    config: Option<PathBuf>,

    /// set a key, such as agent.bpf.sample_rate=1, in place of the configuration file and of
    /// environment variables; may be given several times
    #[argh(option, arg_name = "key=value")]
    set: Vec<String>,

    /// check the configuration and the files it names; print the configuration in effect, and exit;
    /// needs no privilege and no interface
    #[argh(switch)]
    check: bool,

    /// load every BPF program without attaching it, print what this kernel supports (hook, flow cache,
    /// XDP mode of each interface), and exit
    #[argh(switch)]
    check_kernel: bool,

    /// read this MMDB database as the agent does, print its type, age, size and a sample, and exit
    #[argh(option, arg_name = "file")]
    check_database: Option<PathBuf>,

    /// remove what a killed agent left on the interfaces, and exit; hooks of a running agent stay
    #[argh(switch)]
    detach: bool,

    /// print the version, and exit
    #[argh(switch)]
    version: bool,

    #[argh(subcommand)]
    command: Option<Subcommand>,
}

#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand)]
enum Subcommand {
    Status(Status),
    Flows(Flows),
    Top(Top),
    Paths(Paths),
    History(history::History),
    Bill(history::Bill),
    Rib(Rib),
    Lookup(Lookup),
    Set(Set),
    Reload(Reload),
    Firewall(firewall::FirewallArgs),
    Guard(guard::GuardArgs),
}

/// A command with the options that all commands have.
macro_rules! command {
    ($(#[$attribute:meta])* $name:ident { $($fields:tt)* }) => {
        #[derive(ArgsInfo, FromArgs)]
        $(#[$attribute])*
        pub(super) struct $name {
            $($fields)*

            /// print the reply as JSON (bytes, seconds, times as in RFC 3339)
            #[argh(switch)]
            json: bool,

            /// socket of the agent (default: agent.control.socket of the configuration, or
            /// /run/rfm/rfm.sock if that cannot be read)
            #[argh(option, arg_name = "path")]
            socket: Option<PathBuf>,

            /// configuration file that names the socket (default: /etc/rfm/rfm.toml)
            #[argh(option, arg_name = "file")]
            config: Option<PathBuf>,
        }
    };
}

/// A command about flows, with the options that choose them.
macro_rules! flow_command {
    ($(#[$attribute:meta])* $name:ident { $($fields:tt)* }) => {
        command! {
            $(#[$attribute])*
            $name {
                $($fields)*

                /// number of lines, from 1 to 1000 (default: 20)
                #[argh(option, arg_name = "n")]
                limit: Option<String>,

                /// only flows on this interface
                #[argh(option, arg_name = "name")]
                interface: Option<String>,

                /// only this direction: ingress or egress
                #[argh(option, arg_name = "direction")]
                direction: Option<String>,

                /// only this protocol: a name such as tcp or icmpv6, or a number
                #[argh(option, arg_name = "protocol")]
                protocol: Option<String>,

                /// only flows from or to this address or prefix
                #[argh(option, arg_name = "prefix")]
                address: Option<String>,

                /// only flows from this address or prefix
                #[argh(option, arg_name = "prefix")]
                src: Option<String>,

                /// only flows to this address or prefix
                #[argh(option, arg_name = "prefix")]
                dst: Option<String>,

                /// only flows from or to this port
                #[argh(option, arg_name = "port")]
                port: Option<String>,

                /// only flows from this port
                #[argh(option, arg_name = "port")]
                src_port: Option<String>,

                /// only flows to this port
                #[argh(option, arg_name = "port")]
                dst_port: Option<String>,

                /// only flows from or to an address that this AS originates
                #[argh(option, arg_name = "asn")]
                asn: Option<String>,

                /// only flows from an address that this AS originates
                #[argh(option, arg_name = "asn")]
                src_asn: Option<String>,

                /// only flows to an address that this AS originates
                #[argh(option, arg_name = "asn")]
                dst_asn: Option<String>,
            }
        }

        impl $name {
            fn selection(&mut self) -> Selection {
                Selection {
                    limit: self.limit.take(),
                    interface: self.interface.take(),
                    direction: self.direction.take(),
                    protocol: self.protocol.take(),
                    address: self.address.take(),
                    src: self.src.take(),
                    dst: self.dst.take(),
                    port: self.port.take(),
                    src_port: self.src_port.take(),
                    dst_port: self.dst_port.take(),
                    asn: self.asn.take(),
                    src_asn: self.src_asn.take(),
                    dst_asn: self.dst_asn.take(),
                }
            }
        }
    };
}

command! {
    /// Shows the state of the agent (health, sampling, flows, drops, memory, threads, errors, exporters,
    /// BMP sessions), and each interface with its hook, rates and counters.
    #[argh(subcommand, name = "status")]
    Status {}
}

flow_command! {
    /// Lists the live flows, the largest first.
    #[argh(
        subcommand,
        name = "flows",
        note = "A flow is listed if it matches all options that are given.
Its bytes and packets are those of the current flow record, which is at most
`agent.collector.active_timeout` long.",
        example = "The ten largest flows to a network, as JSON:
rfm flows --dst 192.0.2.0/24 --limit 10 --json"
    )]
    Flows {
        /// sort key: bytes, packets, rate, last or duration (default: bytes)
        #[argh(option, arg_name = "order")]
        sort: Option<String>,
    }
}

flow_command! {
    /// Shows a live view of interfaces, conversations, networks, hosts, ports and protocols, with the
    /// options as its presets. With --once or --json, or if the output is no terminal: prints once the
    /// sums over the fields that live flows have in common.
    #[argh(
        subcommand,
        name = "top",
        note = "In the live view, h shows the keys, and q ends it. NO_COLOR turns colors off.
Its conversations have both directions; a forwarded packet counts once.
A flow is counted if it matches all options that are given.
Without --interface, interfaces whose packets also cross a monitored one below
them (a bond and its members, a VLAN and its parent, a bridge and its ports) are
left out, so that no packet is added twice.
In the sums of --once, a forwarded packet is counted twice, at ingress and at
egress, unless a direction is given.",
        example = "The networks that send most:
rfm top --by src_asn --direction ingress",
        example = "The live view over SSH:
ssh -t router rfm top"
    )]
    Top {
        /// fields to group by, up to four with commas: src, dst, src_port, dst_port, or any label of the
        /// flow series such as src_asn (default: src,dst)
        #[argh(option, arg_name = "fields")]
        by: Option<String>,

        /// sort key: bytes, packets or rate (default: bytes)
        #[argh(option, arg_name = "order")]
        sort: Option<String>,

        /// print once and exit, also in a terminal
        #[argh(switch)]
        once: bool,
    }
}

command! {
    /// Shows bytes by AS path since the start of the agent, at most for a day: at egress by the path to
    /// the destination, at ingress by the path back to the source.
    #[argh(
        subcommand,
        name = "paths",
        note = "It needs `agent.collector.paths`, and routes by BMP.
A path is listed if it matches all options that are given.
Internal interfaces, and interfaces stacked on another monitored one (a VLAN on
its parent), are left out, so that no packet is added twice.",
        example = "The traffic that crosses AS64500, by path and by 5-minute interval:
rfm paths --via 64500 --history",
        example = "The traffic that a session with AS64510 would move, at most:
rfm paths --what-if 64510"
    )]
    Paths {
        /// only paths with this AS on them, at any place
        #[argh(option, arg_name = "asn")]
        via: Option<String>,

        /// only paths that end at this AS
        #[argh(option, arg_name = "asn")]
        origin: Option<String>,

        /// only paths that begin with this AS, the neighbor
        #[argh(option, arg_name = "asn")]
        peer: Option<String>,

        /// also list the intervals of 5 minutes
        #[argh(switch)]
        history: bool,

        /// show the traffic of paths with this AS behind the current neighbor, by neighbor: peak hour and
        /// 95th percentile, with and without the ASes behind it
        #[argh(option, arg_name = "asn")]
        what_if: Option<String>,

        /// number of paths, from 1 to 1000 (default: 20)
        #[argh(option, arg_name = "n")]
        limit: Option<String>,
    }
}

command! {
    /// Shows every BGP route for an address or a prefix, and the step of the decision process that
    /// chose or rejected it.
    #[argh(
        subcommand,
        name = "rib",
        note = "Steps for which BMP carries no data are shown as unknown."
    )]
    Rib {
        /// address or prefix
        #[argh(positional)]
        address: String,

        /// use the table of this VRF device
        #[argh(option, arg_name = "device")]
        vrf: Option<String>,
    }
}

command! {
    /// Shows the labels that flows of an address get, and the source of each: a static prefix, a BGP
    /// route, a database.
    #[argh(subcommand, name = "lookup")]
    Lookup {
        /// address
        #[argh(positional)]
        address: String,

        /// use the table of this VRF device
        #[argh(option, arg_name = "device")]
        vrf: Option<String>,
    }
}

command! {
    /// Changes a setting until the next start or reload of the agent.
    #[argh(subcommand, name = "set")]
    Set {
        /// setting: `bpf.sample_rate` (1 in N) or `log_level`
        #[argh(positional)]
        key: String,

        /// new value; of `log_level`: off, error, warn, info, debug or trace
        #[argh(positional)]
        value: String,
    }
}

command! {
    /// Makes the agent read its configuration again, and prints the keys that changed and those that
    /// need a restart.
    #[argh(subcommand, name = "reload")]
    Reload {}
}

mod firewall;
mod guard;
mod history;
#[cfg(test)]
mod tests;
mod words;

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Run {
        config: PathBuf,
        /// Keys with their values, `KEY=VALUE`.
        set: Vec<String>,
    },
    Check {
        config: PathBuf,
        set: Vec<String>,
    },
    CheckKernel {
        config: PathBuf,
        set: Vec<String>,
    },
    CheckDatabase {
        file: PathBuf,
    },
    Detach,
    Version,
    /// Print the help.
    Help(String),
    Client(Box<Client>),
}

/// A query to the running agent.
#[derive(Debug, PartialEq, Eq)]
pub struct Client {
    pub command: ClientCommand,
    pub json: bool,
    pub socket: Option<PathBuf>,
    pub config: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
pub enum ClientCommand {
    Status,
    Flows {
        selection: Selection,
        sort: Option<String>,
    },
    Top {
        selection: Selection,
        sort: Option<String>,
        by: Option<String>,
        /// The live view was not refused.
        live: bool,
    },
    Paths(PathOptions),
    WhatIf {
        asn: String,
        options: PathOptions,
    },
    History(HistoryOptions),
    Bill(BillOptions),
    Rib {
        address: String,
        vrf: Option<String>,
    },
    Lookup {
        address: String,
        vrf: Option<String>,
    },
    Set {
        key: String,
        value: String,
    },
    Reload,
    Firewall(FirewallCommand),
    Guard(GuardCommand),
}

/// Selects flows, in the words of the command line: the agent parses them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub limit: Option<String>,
    pub interface: Option<String>,
    pub direction: Option<String>,
    pub protocol: Option<String>,
    pub address: Option<String>,
    pub src: Option<String>,
    pub dst: Option<String>,
    pub port: Option<String>,
    pub src_port: Option<String>,
    pub dst_port: Option<String>,
    pub asn: Option<String>,
    pub src_asn: Option<String>,
    pub dst_asn: Option<String>,
}

/// Selects AS paths, in the words of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PathOptions {
    pub via: Option<String>,
    pub origin: Option<String>,
    pub peer: Option<String>,
    pub history: bool,
    pub limit: Option<String>,
}

/// Reads the arguments, the program's name first. An error is a text for the user.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let args = args
        .into_iter()
        .skip(1)
        .map(OsString::into_string)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|arg| format!("expected UTF-8 arguments, got {arg:?}"))?;
    let args = words::prepare(args, &info())?;
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let args = match Args::from_args(&["rfm"], &args) {
        Ok(args) => args,
        Err(exit) if exit.status.is_ok() => return Ok(Command::Help(exit.output)),
        Err(exit) => return Err(words::reworded(exit.output.trim_end())),
    };
    let config = || args.config.clone().unwrap_or_else(|| DEFAULT_PATH.into());
    let set = || args.set.clone();
    let mut switches = [
        args.check.then(|| Command::Check {
            config: config(),
            set: set(),
        }),
        args.check_kernel.then(|| Command::CheckKernel {
            config: config(),
            set: set(),
        }),
        args.check_database
            .map(|file| Command::CheckDatabase { file }),
        args.detach.then_some(Command::Detach),
        args.version.then_some(Command::Version),
    ]
    .into_iter()
    .flatten();
    match (switches.next(), switches.next(), args.command) {
        (None, _, None) => Ok(Command::Run {
            config: config(),
            set: set(),
        }),
        (_, _, Some(_)) if !args.set.is_empty() => {
            Err("--set is an option of the agent: expected no command".into())
        }
        (Some(one), None, None) => Ok(one),
        (None, _, Some(subcommand)) => Ok(Command::Client(Box::new(
            subcommand.client(args.config.clone()),
        ))),
        (Some(_), _, Some(_)) => Err(format!("expected a command without {SWITCHES}")),
        (Some(_), Some(_), None) => Err(format!("expected only one of {SWITCHES}")),
    }
}

/// Options that take the place of a command.
const SWITCHES: &str = "--check, --check-kernel, --check-database, --detach and --version";

impl Subcommand {
    /// `config` stood before the command.
    fn client(self, config: Option<PathBuf>) -> Client {
        let client = |command, json, socket, own: Option<PathBuf>| Client {
            command,
            json,
            socket,
            config: own.or(config).unwrap_or_else(|| DEFAULT_PATH.into()),
        };
        match self {
            Self::Status(c) => client(ClientCommand::Status, c.json, c.socket, c.config),
            Self::Flows(mut c) => {
                let (selection, sort) = (c.selection(), c.sort);
                let command = ClientCommand::Flows { selection, sort };
                client(command, c.json, c.socket, c.config)
            }
            Self::Top(mut c) => {
                let (selection, sort, by) = (c.selection(), c.sort, c.by);
                let live = !c.once;
                let command = ClientCommand::Top {
                    selection,
                    sort,
                    by,
                    live,
                };
                client(command, c.json, c.socket, c.config)
            }
            Self::Paths(c) => {
                let options = PathOptions {
                    via: c.via,
                    origin: c.origin,
                    peer: c.peer,
                    history: c.history,
                    limit: c.limit,
                };
                let command = match c.what_if {
                    Some(asn) => ClientCommand::WhatIf { asn, options },
                    None => ClientCommand::Paths(options),
                };
                client(command, c.json, c.socket, c.config)
            }
            Self::History(c) => {
                let (options, json, socket, config) = c.split();
                client(ClientCommand::History(options), json, socket, config)
            }
            Self::Bill(c) => {
                let (options, json, socket, config) = c.split();
                client(ClientCommand::Bill(options), json, socket, config)
            }
            Self::Rib(c) => {
                let (address, vrf) = (c.address, c.vrf);
                let command = ClientCommand::Rib { address, vrf };
                client(command, c.json, c.socket, c.config)
            }
            Self::Lookup(c) => {
                let (address, vrf) = (c.address, c.vrf);
                let command = ClientCommand::Lookup { address, vrf };
                client(command, c.json, c.socket, c.config)
            }
            Self::Set(c) => {
                let (key, value) = (c.key, c.value);
                let command = ClientCommand::Set { key, value };
                client(command, c.json, c.socket, c.config)
            }
            Self::Reload(c) => client(ClientCommand::Reload, c.json, c.socket, c.config),
            Self::Firewall(c) => {
                let (command, json, socket, config) = c.split();
                client(ClientCommand::Firewall(command), json, socket, config)
            }
            Self::Guard(c) => {
                let (command, json, socket, config) = c.split();
                client(ClientCommand::Guard(command), json, socket, config)
            }
        }
    }
}

/// Returns every command and option with its description: the manual, the completions and the reference are made of it.
pub fn info() -> CommandInfoWithArgs {
    Args::get_args_info()
}

/// The text of `--version`.
pub fn version() -> String {
    let (version, revision) = (env!("RFM_VERSION"), env!("RFM_REVISION"));
    if revision.is_empty() {
        format!("rfm {version}")
    } else {
        format!("rfm {version} ({revision})")
    }
}
