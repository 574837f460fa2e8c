// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm guard watch`: prints the events of the guard as they occur, or runs a program for each.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;

use super::event_program::EventProgram;
use super::http::{self, EventFeed, HttpError};
use super::{AgentClient, ClientError, output, read};
use crate::args::WatchOptions;
use crate::sys::os_error;

/// The time between two attempts to connect again.
const PAUSE: Duration = Duration::from_secs(1);

pub fn run(agent: &AgentClient, options: WatchOptions) -> Result<String, ClientError> {
    let mut sink = match options.exec {
        Some(path) => EventSink::Program(EventProgram::start(path, options.timeout)?),
        None => EventSink::Output { json: agent.json },
    };
    let socket = &agent.socket.path;
    let mut feed = http::follow(socket, options.after).map_err(|error| agent.explain(error))?;
    let mut after = feed.after;
    loop {
        match follow(&mut feed, &mut sink, &mut after)? {
            FeedEnd::Agent(why) => eprintln!("{why}; connecting again"),
            FeedEnd::Reader => return Ok(String::new()),
        }
        let mut reported = None;
        feed = loop {
            std::thread::sleep(PAUSE);
            match http::follow(socket, Some(after)) {
                Ok(feed) => break feed,
                // the agent may have another group now, which only a new process has
                Err(error @ HttpError::Forbidden(_)) => return Err(agent.explain(error)),
                Err(error) => {
                    let error = error.to_string();
                    if reported.as_ref() != Some(&error) {
                        eprintln!("{error}; trying again");
                    }
                    reported = Some(error);
                }
            }
        };
        eprintln!("connected again");
    }
}

/// Why the events end.
enum FeedEnd {
    Agent(String),
    /// No one reads the output any longer.
    Reader,
}

/// Hands over events until the agent ends or the output is closed.
fn follow(
    feed: &mut EventFeed,
    sink: &mut EventSink,
    after: &mut u64,
) -> Result<FeedEnd, ClientError> {
    loop {
        let line = match feed.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(FeedEnd::Agent("the agent has ended the stream".to_owned())),
            Err(error) => {
                let why = os_error::reason(&error);
                return Ok(FeedEnd::Agent(format!("no event can be read: {why}")));
            }
        };
        let event: Value = read(line.as_bytes())?;
        if let Some(missed) = event["missed"].as_u64() {
            eprintln!("{missed} events are missing: they were too many to keep");
            continue;
        }
        *after = event["number"].as_u64().unwrap_or(*after);
        if !sink.take(line, event)? {
            return Ok(FeedEnd::Reader);
        }
    }
}

enum EventSink {
    Output { json: bool },
    Program(EventProgram),
}

impl EventSink {
    /// Returns false if the output is closed.
    fn take(&mut self, line: String, event: Value) -> Result<bool, ClientError> {
        match self {
            Self::Program(program) => program.hand_over(line, event),
            Self::Output { json: true } => Ok(print(&line)),
            Self::Output { json: false } => Ok(print(&output::event(&read(line.as_bytes())?))),
        }
    }
}

fn print(line: &str) -> bool {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}
