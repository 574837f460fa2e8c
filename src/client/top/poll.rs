// SPDX-License-Identifier: AGPL-3.0-only
//! Asks the agent once a second, on a thread of its own: a slow answer does not stop the keys.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::model::{List, Sample, Wanted};
use super::tab::Tab;
use crate::client::http::{self, HttpError};

const INTERVAL: Duration = Duration::from_secs(1);

pub struct Poller {
    pub samples: Receiver<Result<Sample, String>>,
    wanted: Sender<Wanted>,
}

impl Poller {
    pub fn start(socket: PathBuf, first: Wanted) -> std::io::Result<Self> {
        let (wanted, wishes) = bounded(16);
        let (answers, samples) = bounded(1);
        thread::Builder::new()
            .name("poll".into())
            .spawn(move || poll(&socket, first, &wishes, &answers))?;
        Ok(Self { samples, wanted })
    }

    /// From the next time on; soon.
    pub fn want(&self, wanted: Wanted) {
        // full: it will be asked for with the next change
        let _ = self.wanted.try_send(wanted);
    }
}

/// Until nobody listens any more.
fn poll(
    socket: &std::path::Path,
    mut wanted: Wanted,
    wishes: &Receiver<Wanted>,
    answers: &Sender<Result<Sample, String>>,
) {
    loop {
        if answers.send(ask(socket, &wanted)).is_err() {
            return;
        }
        match wishes.recv_timeout(INTERVAL) {
            Ok(newer) => wanted = wishes.try_iter().last().unwrap_or(newer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn ask(socket: &std::path::Path, wanted: &Wanted) -> Result<Sample, String> {
    let status = http::get(socket, "/v1/status").map_err(|e| e.to_string())?;
    let at = Instant::now();
    let status = serde_json::from_slice(&status).map_err(|e| e.to_string())?;
    let list = match &wanted.list {
        None => None,
        Some(target) => match http::get(socket, target) {
            Ok(reply) => Some(read(&reply, wanted.tab)),
            // the filter makes no sense to it
            Err(HttpError::Rejected(_, error)) => Some(Err(error)),
            Err(error) => return Err(error.to_string()),
        },
    };
    let tab = wanted.tab;
    Ok(Sample {
        at,
        status,
        tab,
        list,
    })
}

fn read(reply: &[u8], tab: Tab) -> Result<List, String> {
    let list = match tab {
        Tab::Flows => serde_json::from_slice(reply).map(List::Flows),
        _ => serde_json::from_slice(reply).map(List::Top),
    };
    list.map_err(|error| error.to_string())
}
