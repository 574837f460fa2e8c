// SPDX-License-Identifier: AGPL-3.0-only
//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use argh::FromArgs;

use crate::config::DEFAULT_PATH;

/// Counts packets, flows and the networks they go to on the interfaces of this router, and serves
/// the figures to Prometheus. Without switches it runs until SIGINT or SIGTERM.
#[derive(FromArgs)]
#[argh(
    name = "rfm",
    note = "The level of the log is read from RFM_LOG or RUST_LOG: error, warn, info, debug, trace.",
    error_code(0, "a clean end"),
    error_code(1, "a failure at run time"),
    error_code(2, "a mistake on the command line or in the configuration")
)]
struct Args {
    /// configuration file (/etc/rfm/rfm.toml)
    #[argh(option, arg_name = "file", default = "PathBuf::from(DEFAULT_PATH)")]
    config: PathBuf,

    /// check the configuration and the files it names, print what is in effect, and end; needs no
    /// privilege and no interface
    #[argh(switch)]
    check: bool,

    /// remove what a killed agent left on the interfaces, and end
    #[argh(switch)]
    detach: bool,

    /// print the version, and end
    #[argh(switch)]
    version: bool,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Run {
        config: PathBuf,
    },
    Check {
        config: PathBuf,
    },
    Detach,
    Version,
    /// Print the help.
    Help(String),
}

/// Reads the arguments, the program's name first. An error is a text for the user.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let args = args
        .into_iter()
        .skip(1)
        .map(OsString::into_string)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|arg| format!("expected UTF-8 arguments, got {arg:?}"))?;
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let args = match Args::from_args(&["rfm"], &args) {
        Ok(args) => args,
        Err(exit) if exit.status.is_ok() => return Ok(Command::Help(exit.output)),
        Err(exit) => return Err(exit.output.trim_end().to_owned()),
    };
    match (args.check, args.detach, args.version) {
        (false, false, false) => Ok(Command::Run {
            config: args.config,
        }),
        (true, false, false) => Ok(Command::Check {
            config: args.config,
        }),
        (false, true, false) => Ok(Command::Detach),
        (false, false, true) => Ok(Command::Version),
        _ => Err("expected only one of --check, --detach and --version".into()),
    }
}

/// What `--version` prints.
pub fn version() -> String {
    let (version, revision) = (env!("RFM_VERSION"), env!("RFM_REVISION"));
    if revision.is_empty() {
        format!("rfm {version}")
    } else {
        format!("rfm {version} ({revision})")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn parse_words(words: &str) -> Result<Command, String> {
        let args = ["/usr/bin/rfm"].into_iter().chain(words.split_whitespace());
        parse(args.map(OsString::from))
    }

    #[test]
    fn each_switch_is_its_command() {
        let config = || PathBuf::from("a.toml");
        for (words, expected) in [
            (
                "",
                Command::Run {
                    config: DEFAULT_PATH.into(),
                },
            ),
            ("--config a.toml", Command::Run { config: config() }),
            (
                "--config a.toml --check",
                Command::Check { config: config() },
            ),
            ("--detach", Command::Detach),
            ("--version", Command::Version),
        ] {
            assert_eq!(parse_words(words), Ok(expected), "{words}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (words, expected) in [
            ("--chekc", "Unrecognized argument: --chekc"),
            ("--config", "No value provided for option '--config'."),
            ("extra", "Unrecognized argument: extra"),
            (
                "--check --detach",
                "expected only one of --check, --detach and --version",
            ),
        ] {
            let error = parse_words(words).unwrap_err();
            assert!(error.starts_with(expected), "{words}: {error}");
        }
        let bytes = OsString::from_vec(vec![b'-', 0xff]);
        assert_eq!(
            parse([OsString::from("rfm"), bytes]),
            Err("expected UTF-8 arguments, got \"-\\xFF\"".into())
        );
    }

    #[test]
    fn help_tells_the_exit_codes() {
        let Ok(Command::Help(help)) = parse_words("--help") else {
            panic!("--help asks for the help");
        };
        for part in ["--config", "--check", "--detach", "--version", "RFM_LOG"] {
            assert!(help.contains(part), "{part} in {help}");
        }
        for code in ["0 a clean end", "1 a failure", "2 a mistake"] {
            assert!(help.contains(code), "{code} in {help}");
        }
    }
}
