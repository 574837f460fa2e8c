// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm guard` and its commands.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

/// Shows attacks, and removes the rules that the guard has added.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "guard", note = "It needs `agent.guard.enabled`.")]
pub(super) struct GuardArgs {
    #[argh(subcommand)]
    action: GuardSubcommand,
}

#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand)]
enum GuardSubcommand {
    List(List),
    Show(Show),
    Stop(Stop),
    Allow(Allow),
}

command! {
    /// Lists the attacks in progress and the latest that have ended.
    #[argh(subcommand, name = "list")]
    List {}
}

command! {
    /// Shows an attack: values, signature, rules, and the largest flows.
    #[argh(subcommand, name = "show")]
    Show {
        /// number of the attack
        #[argh(positional)]
        id: u64,
    }
}

command! {
    /// Removes the rules of an attack, and adds no others for it.
    #[argh(subcommand, name = "stop")]
    Stop {
        /// number of the attack
        #[argh(positional)]
        id: u64,
    }
}

command! {
    /// Removes the rules for a prefix, and adds none for its hosts until the agent ends.
    #[argh(
        subcommand,
        name = "allow",
        note = "Attacks on its hosts are still reported. `agent.firewall.allow` is the permanent way."
    )]
    Allow {
        /// address or prefix
        #[argh(positional)]
        prefix: String,
    }
}

/// A command to the guard.
#[derive(Debug, PartialEq, Eq)]
pub enum GuardCommand {
    List,
    Show { id: u64 },
    Stop { id: u64 },
    Allow { prefix: String },
}

/// Command, JSON, socket and configuration.
type Parts = (GuardCommand, bool, Option<PathBuf>, Option<PathBuf>);

impl GuardArgs {
    pub fn split(self) -> Parts {
        match self.action {
            GuardSubcommand::List(c) => (GuardCommand::List, c.json, c.socket, c.config),
            GuardSubcommand::Show(c) => {
                (GuardCommand::Show { id: c.id }, c.json, c.socket, c.config)
            }
            GuardSubcommand::Stop(c) => {
                (GuardCommand::Stop { id: c.id }, c.json, c.socket, c.config)
            }
            GuardSubcommand::Allow(c) => {
                let command = GuardCommand::Allow { prefix: c.prefix };
                (command, c.json, c.socket, c.config)
            }
        }
    }
}
