// SPDX-License-Identifier: AGPL-3.0-only
//! Queries the agent once a second, on a separate thread: a slow answer does not block the keys.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::model::{ListReply, PollReply, PollRequest};
use super::tab::Tab;
use crate::client::http::{self, HttpError};

const INTERVAL: Duration = Duration::from_secs(1);

pub struct Poller {
    pub samples: Receiver<Result<PollReply, String>>,
    request: Sender<PollRequest>,
}

impl Poller {
    pub fn start(socket: PathBuf, first: PollRequest) -> std::io::Result<Self> {
        let (request, requests) = bounded(16);
        let (replies, samples) = bounded(1);
        thread::Builder::new()
            .name("poll".into())
            .spawn(move || poll(&socket, first, &requests, &replies))?;
        Ok(Self { samples, request })
    }

    /// Sets the request for the following polls; the next poll is soon.
    pub fn request(&self, request: PollRequest) {
        // if the channel is full, the next change sends the request
        let _ = self.request.try_send(request);
    }
}

/// Polls until the receiver of the replies is dropped.
fn poll(
    socket: &std::path::Path,
    mut request: PollRequest,
    requests: &Receiver<PollRequest>,
    replies: &Sender<Result<PollReply, String>>,
) {
    loop {
        if replies.send(ask(socket, &request)).is_err() {
            return;
        }
        match requests.recv_timeout(INTERVAL) {
            Ok(newer) => request = requests.try_iter().last().unwrap_or(newer),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn ask(socket: &std::path::Path, request: &PollRequest) -> Result<PollReply, String> {
    let status = http::get(socket, "/v1/status").map_err(|e| e.to_string())?;
    let at = Instant::now();
    let status = serde_json::from_slice(&status).map_err(|e| e.to_string())?;
    let list = match &request.list {
        None => None,
        Some(target) => match http::get(socket, target) {
            Ok(reply) => Some(read(&reply, request.tab)),
            // the agent rejects the filter
            Err(HttpError::Rejected(_, error)) => Some(Err(error)),
            Err(error) => return Err(error.to_string()),
        },
    };
    let tab = request.tab;
    Ok(PollReply {
        at,
        status,
        tab,
        list,
    })
}

fn read(reply: &[u8], tab: Tab) -> Result<ListReply, String> {
    let list = match tab {
        Tab::Flows => serde_json::from_slice(reply).map(ListReply::Flows),
        _ => serde_json::from_slice(reply).map(ListReply::Top),
    };
    list.map_err(|error| error.to_string())
}
