// SPDX-License-Identifier: AGPL-3.0-only
//! Writes the log to standard error: for a person with time and level; for the journal with a priority that it
//! understands (sd-daemon(3)), since the journal has its own clock. No thread waits for the reader of the log
//! ([`queue`]).

mod queue;

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use std::{env, fs, io, panic, thread};

use env_logger::{Builder, Logger, Target};
use humantime_serde::re::humantime::format_rfc3339_millis;
use log::{Level, LevelFilter, Log, Metadata, Record};

use super::logging::queue::Queue;
use super::{clock, sandbox, signals};

use crate::sys::os_error;

/// The queue of thread log; set once, when the log starts.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The longest time that the program waits for the reader of the log before it ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The current logger; replaced when the level changes.
static CURRENT: OnceLock<RwLock<Logger>> = OnceLock::new();

/// Starts the log. The level is in RFM_LOG, otherwise in RUST_LOG, otherwise `info`.
pub fn start() {
    match Queue::start(io::stderr(), dropped_line, || {
        signals::block(&signals::HANDLED);
        sandbox::drop_capabilities();
    }) {
        // only a second call finds it set
        Ok(queue) => drop(QUEUE.set(queue)),
        Err(error) => tell(
            Level::Warn,
            &format!(
                "cannot start thread log: {}; threads wait for the reader of the log",
                os_error::reason(&error)
            ),
        ),
    }
    log_panics();
    let mut builder = builder();
    if let Ok(filters) = env::var("RFM_LOG").or_else(|_| env::var("RUST_LOG")) {
        builder.parse_filters(&filters);
    }
    let logger = builder.build();
    let level = logger.filter();
    // only a second call can fail, and then the log is running already
    if CURRENT.set(RwLock::new(logger)).is_ok() && log::set_logger(&Front).is_ok() {
        log::set_max_level(level);
    }
}

/// Writes the queued lines before the program ends; takes at most [`FLUSH_TIMEOUT`].
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FLUSH_TIMEOUT);
    }
}

/// Returns the number of lines that were dropped because nobody read the log.
pub fn dropped() -> u64 {
    QUEUE.get().map_or(0, Queue::dropped)
}

/// Logs panics through the queue: the default hook waits for the reader of standard error.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("without a name").to_owned();
        log::error!("thread {name}: {info}");
    }));
}

fn dropped_line(dropped: u64) -> String {
    let now = (!stderr_is_journal()).then(SystemTime::now);
    let message = format!("{dropped} log lines dropped: nobody read the log");
    line(Level::Warn, &message, now)
}

/// Sets the level of all parts of the program.
pub fn set_level(level: LevelFilter) {
    if let Some(current) = CURRENT.get() {
        let logger = builder().filter_level(level).build();
        *current.write().unwrap_or_else(PoisonError::into_inner) = logger;
        log::set_max_level(level);
    }
}

fn builder() -> Builder {
    let journal = stderr_is_journal();
    let mut builder = Builder::new();
    if let Some(queue) = QUEUE.get() {
        builder.target(Target::Pipe(Box::new(queue.clone())));
    }
    builder.filter_level(LevelFilter::Info);
    builder.format(move |out, record| {
        let now = (!journal).then(SystemTime::now);
        out.write_all(line(record.level(), &record.args().to_string(), now).as_bytes())
    });
    builder
}

/// Forwards records to the current logger.
struct Front;

impl Front {
    fn with<T: Default>(&self, act: impl FnOnce(&Logger) -> T) -> T {
        CURRENT.get().map_or_else(T::default, |current| {
            act(&current.read().unwrap_or_else(PoisonError::into_inner))
        })
    }
}

impl Log for Front {
    fn enabled(&self, metadata: &Metadata) -> bool {
        self.with(|log| log.enabled(metadata))
    }

    fn log(&self, record: &Record) {
        self.with(|log| log.log(record));
    }

    fn flush(&self) {
        self.with(|log| log.flush());
    }
}

/// Writes a message for the user who started the program, even if the log is not running.
pub fn tell(level: Level, message: &str) {
    let text = if stderr_is_journal() {
        line(level, message, None)
    } else {
        message.lines().fold(String::new(), |mut text, line| {
            // To write to a string cannot fail.
            let _ = writeln!(text, "rfm: {line}");
            text
        })
    };
    match QUEUE.get() {
        Some(queue) => queue.push(text.as_bytes()),
        // without standard error nobody can read it
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Formats a message: with the time `now`, or for the journal without a time.
fn line(level: Level, message: &str, now: Option<SystemTime>) -> String {
    let start = match now {
        Some(now) => format!(
            "{} {level:5} ",
            format_rfc3339_millis(clock::printable(now))
        ),
        None => format!("<{}>", priority(level)),
    };
    // The journal reads each line as a message: each needs its priority.
    message.lines().fold(String::new(), |mut text, line| {
        // To write to a string cannot fail.
        let _ = writeln!(text, "{start}{line}");
        text
    })
}

/// syslog(3)
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Returns whether standard error is the journal: the service manager stores in JOURNAL_STREAM which file it
/// passed (systemd.exec(5)). A child process whose standard error was redirected also inherits the variable, so
/// the file is compared.
fn stderr_is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    fs::metadata("/proc/self/fd/2").is_ok_and(|m| stream == format!("{}:{}", m.dev(), m.ino()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_person_reads_time_and_level() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!(
            line(Level::Warn, "ring is full", Some(now)),
            "2023-11-14T22:13:20.123Z WARN  ring is full\n"
        );
    }

    #[test]
    fn the_journal_reads_a_priority_on_every_line() {
        for (level, expected) in [
            (Level::Error, "<3>a\n<3>b\n"),
            (Level::Warn, "<4>a\n<4>b\n"),
            (Level::Info, "<6>a\n<6>b\n"),
            (Level::Debug, "<7>a\n<7>b\n"),
            (Level::Trace, "<7>a\n<7>b\n"),
        ] {
            assert_eq!(line(level, "a\nb", None), expected);
        }
    }
}
