// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm guard` and its commands.

use std::path::PathBuf;
use std::time::Duration;

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
    Watch(Watch),
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

command! {
    /// Prints the events of the guard as they occur, or runs a program for each.
    #[argh(
        subcommand,
        name = "watch",
        note = "It connects again when the agent restarts, and continues after the last event.
The program gets the event as JSON on its standard input, and each value in an
environment variable: RFM_EVENT, RFM_EVENT_NUMBER, RFM_EVENT_TIME, RFM_ATTACK_ID,
RFM_ATTACK_TARGET, RFM_ATTACK_KIND, and so on. One program runs at a time; a
failure is reported on standard error, and the next event follows.",
        example = "As JSON, one event in each line:
rfm guard watch --json",
        example = "Runs a script for each event:
rfm guard watch --exec /etc/rfm/guard-event"
    )]
    Watch {
        /// also print the events after this number that the agent still has; 0 = all
        #[argh(option, arg_name = "number")]
        after: Option<u64>,

        /// program to run for each event
        #[argh(option, arg_name = "file")]
        exec: Option<PathBuf>,

        /// seconds after which a program that still runs is killed (default: 30)
        #[argh(option, arg_name = "seconds", default = "30")]
        timeout: u32,
    }
}

/// A command to the guard.
#[derive(Debug, PartialEq, Eq)]
pub enum GuardCommand {
    List,
    Show { id: u64 },
    Stop { id: u64 },
    Allow { prefix: String },
    Watch(WatchOptions),
}

/// The options of `rfm guard watch`.
#[derive(Debug, PartialEq, Eq)]
pub struct WatchOptions {
    pub after: Option<u64>,
    pub exec: Option<PathBuf>,
    pub timeout: Duration,
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
            GuardSubcommand::Watch(c) => {
                let command = GuardCommand::Watch(WatchOptions {
                    after: c.after,
                    exec: c.exec,
                    timeout: Duration::from_secs(c.timeout.into()),
                });
                (command, c.json, c.socket, c.config)
            }
        }
    }
}
