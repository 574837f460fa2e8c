// SPDX-License-Identifier: AGPL-3.0-only
//! Queries the agent at an interval, on a separate thread: a slow answer does not block the keys.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::model::{AgentRequest, ListReply, PollReply, PollRequest};
use super::tab::Tab;
use crate::client::http::{self, HttpError};
use crate::flow::query::MAX_LIMIT;

/// A reply of the thread.
pub enum PollEvent {
    Sample(Result<Box<PollReply>, String>),
    /// The answer to a request that a key caused.
    Answer(AgentRequest, Result<Vec<u8>, String>),
}

enum PollCommand {
    Poll(PollRequest),
    Send(AgentRequest),
}

pub struct Poller {
    pub events: Receiver<PollEvent>,
    commands: Sender<PollCommand>,
}

impl Poller {
    pub fn start(socket: PathBuf, first: PollRequest) -> std::io::Result<Self> {
        let (commands, waiting) = bounded(16);
        let (replies, events) = bounded(1);
        thread::Builder::new()
            .name("poll".into())
            .spawn(move || poll(&socket, first, &waiting, &replies))?;
        Ok(Self { events, commands })
    }

    /// Sets the request for the following polls; the next poll is soon.
    pub fn request(&self, request: PollRequest) {
        // if the channel is full, the next change sends the request
        let _ = self.commands.try_send(PollCommand::Poll(request));
    }

    /// Sends a request once; returns false if too many wait.
    pub fn send(&self, request: AgentRequest) -> bool {
        self.commands.try_send(PollCommand::Send(request)).is_ok()
    }
}

/// Polls until the receiver of the replies is dropped.
fn poll(
    socket: &Path,
    mut request: PollRequest,
    commands: &Receiver<PollCommand>,
    replies: &Sender<PollEvent>,
) {
    loop {
        let sample = ask(socket, &request).map(Box::new);
        if replies.send(PollEvent::Sample(sample)).is_err() {
            return;
        }
        let mut next = match commands.recv_timeout(request.interval) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Some(command) = next {
            match command {
                PollCommand::Poll(newer) => request = newer,
                PollCommand::Send(once) => {
                    let answer = send(socket, &once);
                    if replies.send(PollEvent::Answer(once, answer)).is_err() {
                        return;
                    }
                }
            }
            next = commands.try_recv().ok();
        }
    }
}

fn send(socket: &Path, request: &AgentRequest) -> Result<Vec<u8>, String> {
    let reply = match request {
        AgentRequest::CheckFirewall => http::get(socket, "/v1/firewall"),
        AgentRequest::FlowsOf { asn } => http::get(
            socket,
            &format!("/v1/flows?asn={asn}&sort=rate&limit={MAX_LIMIT}"),
        ),
        AgentRequest::AddRule(rule) => {
            let body = serde_json::to_vec(rule).map_err(|error| error.to_string())?;
            http::post(socket, crate::control::api::FIREWALL_ADD, &body)
        }
    };
    reply.map_err(|error| error.to_string())
}

fn ask(socket: &Path, request: &PollRequest) -> Result<PollReply, String> {
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
    let request = request.clone();
    Ok(PollReply {
        at,
        status,
        request,
        list,
    })
}

fn read(reply: &[u8], tab: Tab) -> Result<ListReply, String> {
    let list = match tab {
        Tab::Conversations => serde_json::from_slice(reply).map(ListReply::Flows),
        _ => serde_json::from_slice(reply).map(ListReply::Top),
    };
    list.map_err(|error| error.to_string())
}
