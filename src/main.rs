// SPDX-License-Identifier: AGPL-3.0-only
//! Parses the arguments, runs the command, and returns the exit code.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use rfm::args::{self, Command};
use rfm::config::{self, ConfigSource, Machine};
use rfm::firewall::kept_links::KeptLinks;
use rfm::sys::os_error;
use rfm::sys::startup_steps::StartupSteps;
use rfm::sys::{logging, malloc, resolver, signals};
use rfm::{agent, client};

fn main() -> ExitCode {
    malloc::return_large_blocks();
    resolver::use_own_sources();
    let parsed = args::parse(std::env::args_os()).map_err(ExitError::Usage);
    let code = match parsed.and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            logging::tell(log::Level::Error, &failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    };
    logging::finish();
    code
}

fn run(command: Command) -> Result<(), ExitError> {
    match command {
        Command::Run { config, set } => {
            // a reload that is requested this early waits until the agent can do it
            signals::block(&[signals::RELOAD]);
            logging::start();
            let steps = StartupSteps::new()
                .map_err(|error| ExitError::Agent(agent::Error::Start(error)))?;
            steps.begin("reading the configuration");
            // received first: if the start fails, they are detached
            let kept = KeptLinks::receive();
            let (source, config) = load(config, &set)?;
            for line in source.describe() {
                log::info!("{line}");
            }
            for warning in config.warnings() {
                log::warn!("{warning}");
            }
            agent::run(&source, &config, kept, steps).map_err(ExitError::Agent)
        }
        Command::Check { config, set } => {
            let (source, config) = load(config, &set)?;
            let databases = agent::open_files(&source, &config).map_err(ExitError::Config)?;
            let web = agent::check_web(&source, &config).map_err(ExitError::Config)?;
            print(&config)?;
            for line in source.describe().chain(databases) {
                logging::tell(log::Level::Info, &line);
            }
            for warning in config.warnings().into_iter().chain(web) {
                logging::tell(log::Level::Warn, &format!("warning: {warning}"));
            }
            Ok(())
        }
        Command::CheckKernel { config, set } => {
            let (_, config) = load(config, &set)?;
            logging::start();
            let report = agent::check_kernel(&config).map_err(ExitError::Agent)?;
            print(&report)
        }
        Command::CheckDatabase { file } => {
            let report = agent::inspect_database(&file).map_err(ExitError::Agent)?;
            print(&report)
        }
        Command::Detach => {
            logging::start();
            agent::detach().map_err(ExitError::Agent)
        }
        Command::Version => print(&format_args!("{}\n", args::version())),
        Command::Help(text) => print(&text),
        Command::Client(asked) => {
            let source = source(asked.config.clone(), &[])?;
            match client::run(*asked, &source)
                .map_err(ExitError::Client)?
                .as_str()
            {
                // the live view returns no text; its terminal may already be closed
                "" => Ok(()),
                text => print(&text),
            }
        }
    }
}

fn source(file: PathBuf, set: &[String]) -> Result<ConfigSource, ExitError> {
    ConfigSource::new(file, set, std::env::vars_os()).map_err(ExitError::Config)
}

fn load(file: PathBuf, set: &[String]) -> Result<(ConfigSource, config::Config), ExitError> {
    let source = source(file, set)?;
    let config = source.load(&Machine::here()).map_err(ExitError::Config)?;
    Ok((source, config))
}

fn print(text: &dyn fmt::Display) -> Result<(), ExitError> {
    let mut out = io::stdout();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        // the reader has closed the pipe, as in `rfm flows | head`
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(ExitError::Output),
    }
}

/// The exit code if each further start on this kernel fails as well; the unit does not restart rfm then.
const KERNEL: u8 = 3;

/// The reason why the program ends with an error.
enum ExitError {
    Usage(String),
    Config(config::ConfigError),
    Agent(agent::Error),
    Client(client::ClientError),
    Output(io::Error),
}

impl ExitError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Agent(error) if error.is_permanent() => KERNEL,
            Self::Agent(_) | Self::Output(_) | Self::Client(client::ClientError::Failed(_)) => 1,
            Self::Usage(_) | Self::Config(_) | Self::Client(client::ClientError::Usage(_)) => 2,
        }
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => write!(f, "{text}\nsee rfm --help"),
            Self::Config(error) => error.fmt(f),
            Self::Agent(error) => error.fmt(f),
            Self::Client(failure) => failure.fmt(f),
            Self::Output(error) => write!(
                f,
                "cannot write to standard output: {}",
                os_error::reason(error)
            ),
        }
    }
}
