// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm firewall` and what stands behind it.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use crate::firewall::words::{OPTIONS, Words};

/// Shows and changes what the firewall drops.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "firewall")]
pub(super) struct Firewall {
    #[argh(subcommand)]
    action: Action,
}

#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand)]
enum Action {
    Add(Add),
    Del(Del),
    List(List),
    Flush(Flush),
    Stats(Stats),
    Load(Load),
}

command! {
    /// Adds a rule, before those of the configuration. What is not said matches everything.
    #[argh(subcommand, name = "add")]
    Add {
        /// from this address or prefix
        #[argh(option, arg_name = "prefix")]
        src: Option<String>,

        /// to this address or prefix
        #[argh(option, arg_name = "prefix")]
        dst: Option<String>,

        /// of this protocol: tcp, udp, icmp ... or a number
        #[argh(option, arg_name = "protocol")]
        proto: Option<String>,

        /// to this port, or these: 80, 6000-6063
        #[argh(option, arg_name = "ports")]
        dport: Option<String>,

        /// on this interface, or those that the pattern means
        #[argh(option, arg_name = "name")]
        interface: Option<String>,

        /// drop, pass, count or limit (drop)
        #[argh(option, arg_name = "action")]
        action: Option<String>,

        /// packets per second that a limit lets through
        #[argh(option, arg_name = "pps")]
        rate: Option<String>,

        /// whom the rate is for: rule, all it matches together, or source, each by itself (rule)
        #[argh(option, arg_name = "whom")]
        per: Option<String>,

        /// ends the rule after this time: 10m
        #[argh(option, arg_name = "time")]
        ttl: Option<String>,

        /// even if it stops everything, or your own SSH connection
        #[argh(switch)]
        force: bool,
    }
}

command! {
    /// Takes out rules that were added.
    #[argh(subcommand, name = "del")]
    Del {
        /// their numbers
        #[argh(positional)]
        id: Vec<u64>,

        /// even if it stops your own SSH connection
        #[argh(switch)]
        force: bool,
    }
}

command! {
    /// Lists all rules in the order in which they are asked, with what they counted.
    #[argh(subcommand, name = "list")]
    List {}
}

command! {
    /// Takes out all rules that were added.
    #[argh(subcommand, name = "flush")]
    Flush {
        /// even if it stops your own SSH connection
        #[argh(switch)]
        force: bool,
    }
}

command! {
    /// Shows where the firewall is, and what it drops.
    #[argh(subcommand, name = "stats")]
    Stats {}
}

command! {
    /// Adds the rules of a file, all of them or none: one a line in the words of add, or a prefix alone.
    #[argh(subcommand, name = "load")]
    Load {
        /// the file
        #[argh(positional)]
        file: PathBuf,

        /// in place of all rules that were added before
        #[argh(switch)]
        replace: bool,

        /// even if it stops everything, or your own SSH connection
        #[argh(switch)]
        force: bool,
    }
}

/// What the command line asks of the firewall.
#[derive(Debug, PartialEq, Eq)]
pub enum FirewallCommand {
    Add {
        rule: RuleWords,
        force: bool,
    },
    Del {
        ids: Vec<u64>,
        force: bool,
    },
    List,
    Flush {
        force: bool,
    },
    Stats,
    Load {
        file: PathBuf,
        replace: bool,
        force: bool,
    },
}

/// A rule as typed, by the order of [`crate::firewall::words::OPTIONS`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RuleWords(pub [Option<String>; OPTIONS.len()]);

impl RuleWords {
    pub fn words(&self) -> Words<'_> {
        Words(self.0.each_ref().map(|word| word.as_deref()))
    }
}

/// Command, JSON, socket and configuration.
type Parts = (FirewallCommand, bool, Option<PathBuf>, Option<PathBuf>);

impl Firewall {
    pub fn split(self) -> Parts {
        match self.action {
            Action::Add(c) => {
                let words = [
                    c.src,
                    c.dst,
                    c.proto,
                    c.dport,
                    c.interface,
                    c.action,
                    c.rate,
                    c.per,
                    c.ttl,
                ];
                let command = FirewallCommand::Add {
                    rule: RuleWords(words),
                    force: c.force,
                };
                (command, c.json, c.socket, c.config)
            }
            Action::Del(c) => {
                let (ids, force) = (c.id, c.force);
                let command = FirewallCommand::Del { ids, force };
                (command, c.json, c.socket, c.config)
            }
            Action::List(c) => (FirewallCommand::List, c.json, c.socket, c.config),
            Action::Flush(c) => {
                let command = FirewallCommand::Flush { force: c.force };
                (command, c.json, c.socket, c.config)
            }
            Action::Stats(c) => (FirewallCommand::Stats, c.json, c.socket, c.config),
            Action::Load(c) => {
                let command = FirewallCommand::Load {
                    file: c.file,
                    replace: c.replace,
                    force: c.force,
                };
                (command, c.json, c.socket, c.config)
            }
        }
    }
}
