// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm firewall` and what stands behind it.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use crate::firewall::words::{OPTIONS, Words};

/// Shows and changes the rules of the firewall.
#[derive(ArgsInfo, FromArgs)]
#[argh(
    subcommand,
    name = "firewall",
    note = "If `agent.firewall.enabled` is set, rules can be added while the agent runs.
They are evaluated before those of the configuration, in the order in which they
were added; packets that match the allow list pass before all rules.
A change is in force when the command ends, completely or not at all.",
    example = "Drop a network for ten minutes:
rfm firewall add --src 192.0.2.0/24 --ttl 10m"
)]
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
    /// Adds a rule, before those of the configuration, and prints its number.
    #[argh(
        subcommand,
        name = "add",
        note = "A packet matches the rule if it matches all options that are given.
A rule that exists already keeps its number, and its time to live starts again."
    )]
    Add {
        /// source address or prefix
        #[argh(option, arg_name = "prefix")]
        src: Option<String>,

        /// destination address or prefix
        #[argh(option, arg_name = "prefix")]
        dst: Option<String>,

        /// protocol: tcp, udp, icmp, icmpv6, sctp, gre, esp, or a number
        #[argh(option, arg_name = "protocol")]
        proto: Option<String>,

        /// destination port or range of ports: 80, 6000-6063
        #[argh(option, arg_name = "ports")]
        dport: Option<String>,

        /// interface, or a pattern of interfaces
        #[argh(option, arg_name = "name")]
        interface: Option<String>,

        /// action: drop, pass, count (then the next rule is evaluated) or limit (default: drop)
        #[argh(option, arg_name = "action")]
        action: Option<String>,

        /// packets per second that limit passes
        #[argh(option, arg_name = "pps")]
        rate: Option<String>,

        /// scope of the rate: rule, or source, which is an IPv4 address or the /64 of an IPv6 address
        /// (default: rule)
        #[argh(option, arg_name = "scope")]
        per: Option<String>,

        /// time after which the rule expires: 10m
        #[argh(option, arg_name = "time")]
        ttl: Option<String>,

        /// apply even if the rule matches every packet or stops the SSH connection of the caller
        #[argh(switch)]
        force: bool,
    }
}

command! {
    /// Removes runtime rules.
    #[argh(subcommand, name = "del")]
    Del {
        /// numbers of the rules
        #[argh(positional)]
        id: Vec<u64>,

        /// apply even if that stops the SSH connection of the caller
        #[argh(switch)]
        force: bool,
    }
}

command! {
    /// Lists all rules in the order of evaluation, with their counters.
    #[argh(subcommand, name = "list")]
    List {}
}

command! {
    /// Removes all runtime rules.
    #[argh(subcommand, name = "flush")]
    Flush {
        /// apply even if that stops the SSH connection of the caller
        #[argh(switch)]
        force: bool,
    }
}

command! {
    /// Shows the interfaces of the firewall and its drops, with the largest flows dropped in the last
    /// seconds (estimated from samples).
    #[argh(subcommand, name = "stats")]
    Stats {}
}

command! {
    /// Adds the rules of a file, all or none.
    #[argh(
        subcommand,
        name = "load",
        note = "Each line is a rule in the options of `add`, or only a prefix, from which every packet
is dropped; `#` begins a comment.
If a line is no rule, the error names it, and nothing changes."
    )]
    Load {
        /// file with the rules
        #[argh(positional)]
        file: PathBuf,

        /// replace all runtime rules
        #[argh(switch)]
        replace: bool,

        /// apply even if a rule matches every packet or stops the SSH connection of the caller
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
