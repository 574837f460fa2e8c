// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm firewall` and its commands.

use std::borrow::Cow;
use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use crate::types::rule::{RuleArgs, rule_parts};

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
pub(super) struct FirewallArgs {
    #[argh(subcommand)]
    action: FirewallSubcommand,
}

#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
enum FirewallSubcommand {
    Add(Add),
    Del(Del),
    List(List),
    Flush(Flush),
    Stats(Stats),
    Load(Load),
}

macro_rules! add_command {
    ($($name:ident: $field:ty = $kind:ty, $role:ident {
        option: $option:tt,
        expected: $expected:literal,
        json: $json:ident,
        argument: $argument:tt,
        help: $help:tt,
        text: $text:literal,
        example: $example:literal,
    })*) => {
        command! {
            /// Adds a rule, before those of the configuration, and prints its number.
            #[argh(
                subcommand,
                name = "add",
                note = "A packet matches the rule if it matches all options that are given.
A rule that exists already keeps its number, and its time to live starts again."
            )]
            Add {
                $(
                    #[doc = $help]
                    #[argh(option, long = $option, arg_name = $argument)]
                    $name: Option<String>,
                )*

                /// apply even if the rule matches every packet or stops the SSH connection of the caller
                #[argh(switch)]
                force: bool,
            }
        }

        impl Add {
            fn rule(&mut self) -> RuleArgs<'static> {
                RuleArgs::new([$(self.$name.take().map(Cow::Owned)),*])
            }
        }
    };
}
rule_parts!(add_command);

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
    /// Lists the rules in the order of evaluation, with their counters.
    #[argh(subcommand, name = "list")]
    List {
        /// also list the allow list, whose packets pass before all rules
        #[argh(switch)]
        all: bool,
    }
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
is dropped; `#` begins a comment, and so does a semicolon. The file `-` is standard input.
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

/// A command to the firewall.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum FirewallCommand {
    Add {
        rule: RuleArgs<'static>,
        force: bool,
    },
    Del {
        ids: Vec<u64>,
        force: bool,
    },
    List {
        all: bool,
    },
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

/// Command, JSON, socket and configuration.
type Parts = (FirewallCommand, bool, Option<PathBuf>, Option<PathBuf>);

impl FirewallArgs {
    pub fn split(self) -> Parts {
        match self.action {
            FirewallSubcommand::Add(mut c) => {
                let (rule, force) = (c.rule(), c.force);
                let command = FirewallCommand::Add { rule, force };
                (command, c.json, c.socket, c.config)
            }
            FirewallSubcommand::Del(c) => {
                let (ids, force) = (c.id, c.force);
                let command = FirewallCommand::Del { ids, force };
                (command, c.json, c.socket, c.config)
            }
            FirewallSubcommand::List(c) => {
                let command = FirewallCommand::List { all: c.all };
                (command, c.json, c.socket, c.config)
            }
            FirewallSubcommand::Flush(c) => {
                let command = FirewallCommand::Flush { force: c.force };
                (command, c.json, c.socket, c.config)
            }
            FirewallSubcommand::Stats(c) => (FirewallCommand::Stats, c.json, c.socket, c.config),
            FirewallSubcommand::Load(c) => {
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
