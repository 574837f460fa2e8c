// SPDX-License-Identifier: AGPL-3.0-only
//! Runs a program for each event: one at a time, with a limit, on a thread of its own, so that the events are read
//! while a program runs.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::ClientError;
use crate::sys::os_error;

/// Events that wait for the program; further ones are counted as lost.
const MAX_WAITING: usize = 4096;
/// The time between two checks whether the program has ended.
const CHECK: Duration = Duration::from_millis(20);

struct WaitingEvent {
    line: String,
    variables: Vec<(String, String)>,
}

/// The thread that runs the program; it ends with the process.
pub struct EventProgram {
    events: SyncSender<WaitingEvent>,
    lost: u64,
}

impl EventProgram {
    pub fn start(path: PathBuf, limit: Duration) -> Result<Self, ClientError> {
        let (events, waiting) = sync_channel(MAX_WAITING);
        let thread = thread::Builder::new().name("program".to_owned());
        let started = thread.spawn(move || run_each(&path, limit, &waiting));
        started.map_err(|error| {
            ClientError::Failed(format!(
                "cannot start a thread: {}",
                os_error::reason(&error)
            ))
        })?;
        Ok(Self { events, lost: 0 })
    }

    /// Queues an event. Returns false if the thread has ended.
    pub fn hand_over(&mut self, line: String, event: Value) -> Result<bool, ClientError> {
        let variables = variables(&event);
        match self.events.try_send(WaitingEvent { line, variables }) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                eprintln!(
                    "{} events are lost: {MAX_WAITING} wait for the program; make it faster",
                    self.lost
                );
                Ok(true)
            }
            Err(TrySendError::Disconnected(_)) => Ok(false),
        }
    }
}

fn run_each(path: &Path, limit: Duration, waiting: &Receiver<WaitingEvent>) {
    while let Ok(event) = waiting.recv() {
        if let Err(why) = run(path, limit, &event) {
            eprintln!("{}: {why}", path.display());
        }
    }
}

/// Runs the program for one event.
fn run(path: &Path, limit: Duration, event: &WaitingEvent) -> Result<(), String> {
    let program = Command::new(path)
        .envs(event.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        // its children end with it
        .process_group(0)
        .spawn();
    let mut program = program.map_err(|error| {
        format!(
            "cannot run it: {}; is it executable?",
            os_error::reason(&error)
        )
    })?;
    let input = program.stdin.take();
    thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut input) = input {
                // a program may ignore its input
                let _ = writeln!(input, "{}", event.line);
            }
        });
        wait(&mut program, limit)
    })
}

fn wait(program: &mut Child, limit: Duration) -> Result<(), String> {
    let end = Instant::now() + limit;
    loop {
        match program.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("failed: {status}")),
            Ok(None) if Instant::now() < end => thread::sleep(CHECK),
            Ok(None) => {
                end_group(program);
                let _ = program.wait();
                return Err(format!(
                    "killed after {} s (see --timeout)",
                    limit.as_secs()
                ));
            }
            Err(error) => return Err(os_error::reason(&error).to_string()),
        }
    }
}

fn end_group(program: &Child) {
    if let Some(group) = Pid::from_raw(program.id() as i32) {
        // no process of it may be left
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Returns the values of an event as environment variables: `RFM_EVENT`, `RFM_EVENT_NUMBER`, `RFM_ATTACK_TARGET`, ...
fn variables(event: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    add_scalars("EVENT", event, &mut all);
    for (name, value) in event.as_object().into_iter().flatten() {
        if value.is_object() {
            add_scalars(name, value, &mut all);
        }
    }
    all
}

fn add_scalars(prefix: &str, object: &Value, all: &mut Vec<(String, String)>) {
    for (name, value) in object.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Null => String::new(),
            Value::Array(_) | Value::Object(_) => continue,
        };
        let name = match (prefix, name.as_str()) {
            ("EVENT", "event") => "RFM_EVENT".to_owned(),
            _ => format!("RFM_{prefix}_{name}").to_ascii_uppercase(),
        };
        all.push((name, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_a_variable() {
        let event = serde_json::json!({
            "number": 7, "event": "alarm",
            "attack": {"target": "192.0.2.7/32", "in_force": false, "signature": null, "flows": []},
        });
        let mut found = variables(&event);
        found.sort();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            found,
            [
                pair("RFM_ATTACK_IN_FORCE", "false"),
                pair("RFM_ATTACK_SIGNATURE", ""),
                pair("RFM_ATTACK_TARGET", "192.0.2.7/32"),
                pair("RFM_EVENT", "alarm"),
                pair("RFM_EVENT_NUMBER", "7"),
            ]
        );
    }
}
