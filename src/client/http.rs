// SPDX-License-Identifier: AGPL-3.0-only
//! Sends one request to the agent and reads its reply, or the lines of a stream. The server is known, so a small part of HTTP/1.1 suffices.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::control::api;
use crate::control::event_stream::{AFTER, KEEP_ALIVE};
use crate::sys::os_error;

/// The timeout of the connection and of each read.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes; every reply is shorter.
const MAX_REPLY: u64 = 64 << 20;
/// Bytes of a line of events.
const MAX_LINE: u64 = 1 << 20;
const MAX_HEAD: usize = 16 << 10;
/// The agent sends an empty line after each [`KEEP_ALIVE`] without an event.
const SILENCE: Duration = Duration::from_secs(3 * KEEP_ALIVE.as_secs());

#[derive(Debug)]
pub enum HttpError {
    /// There is no socket, or no agent listens.
    NoAgent(PathBuf),
    /// No permission to open the socket.
    Forbidden(PathBuf),
    /// Status and error of the agent's reply.
    Rejected(u16, String),
    Io(PathBuf, io::Error),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAgent(path) => write!(
                f,
                "no agent answers on {}: is rfm running? (systemctl status rfm)",
                path.display()
            ),
            Self::Forbidden(path) => {
                write!(f, "cannot open {}: permission denied", path.display())?;
                match fs::metadata(path) {
                    Ok(meta) => write!(
                        f,
                        " (user {}, group {}, mode {:04o}); join that group, or run the command as root",
                        meta.uid(),
                        meta.gid(),
                        meta.permissions().mode() & 0o7777
                    ),
                    Err(_) => write!(f, ", also for its folder; run the command as root"),
                }
            }
            Self::Rejected(_, error) => f.write_str(error),
            Self::Io(path, error) => write!(
                f,
                "no answer from {}: {}; see the log of rfm (journalctl -u rfm), and try again",
                path.display(),
                os_error::reason(error)
            ),
        }
    }
}

pub fn get(socket: &Path, target: &str) -> Result<Vec<u8>, HttpError> {
    ask(socket, &format!("GET {target} HTTP/1.1\r\n"), &[])
}

pub fn post(socket: &Path, target: &str, body: &[u8]) -> Result<Vec<u8>, HttpError> {
    let length = body.len();
    let start = format!(
        "POST {target} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    );
    ask(socket, &start, body)
}

/// A reply without an end.
pub struct EventFeed {
    reader: BufReader<UnixStream>,
    /// The lines have the events after this number.
    pub after: u64,
}

impl EventFeed {
    /// Returns the next line that is not empty; `None` at the end.
    pub fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let mut line = String::new();
            let length = (&mut self.reader).take(MAX_LINE).read_line(&mut line)?;
            match (length, line.trim()) {
                (0, _) => return Ok(None),
                (_, "") => {}
                (_, text) => return Ok(Some(text.to_owned())),
            }
        }
    }
}

/// Requests the events after a number, by default those after now.
pub fn follow(socket: &Path, after: Option<u64>) -> Result<EventFeed, HttpError> {
    let broken = |error| HttpError::Io(socket.to_owned(), error);
    let mut stream = connect(socket)?;
    let after = after.map_or_else(String::new, |after| format!("&after={after}"));
    let path = format!("{}/events?follow=true{after}", api::VERSION);
    // HTTP/1.0: the body is not divided into chunks
    let request = format!("GET {path} HTTP/1.0\r\nHost: rfm\r\n\r\n");
    let opened = (|| {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.write_all(request.as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if (&mut reader).take(MAX_LINE).read_line(&mut head)? == 0 || head.len() > MAX_HEAD {
                let what = format!("{} bytes that are no reply", head.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        Ok((head, reader))
    })();
    let (head, mut reader) = opened.map_err(broken)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let after = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.eq_ignore_ascii_case(AFTER)).then(|| value.trim().parse().ok())?
    });
    match (status, after) {
        (Some(200), Some(after)) => Ok(EventFeed { reader, after }),
        (Some(status), _) => {
            let mut body = Vec::new();
            let read = reader.by_ref().take(MAX_LINE).read_to_end(&mut body);
            read.map_err(broken)?;
            Err(rejected(status, &body))
        }
        (None, _) => Err(broken(io::ErrorKind::InvalidData.into())),
    }
}

fn rejected(status: u16, body: &[u8]) -> HttpError {
    let fault = serde_json::from_slice::<api::ErrorReply>(body);
    let error = fault.map_or_else(|_| format!("HTTP status {status}"), |fault| fault.error);
    HttpError::Rejected(status, error)
}

fn connect(socket: &Path) -> Result<UnixStream, HttpError> {
    UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            HttpError::NoAgent(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => HttpError::Forbidden(socket.to_owned()),
        _ => HttpError::Io(socket.to_owned(), error),
    })
}

fn ask(socket: &Path, start: &str, body: &[u8]) -> Result<Vec<u8>, HttpError> {
    let broken = |error| HttpError::Io(socket.to_owned(), error);
    let mut stream = connect(socket)?;
    let reply = (|| {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        write!(stream, "{start}Host: rfm\r\nConnection: close\r\n\r\n")?;
        stream.write_all(body)?;
        let mut reply = Vec::new();
        stream.take(MAX_REPLY).read_to_end(&mut reply)?;
        Ok(reply)
    })();
    let reply = reply.map_err(broken)?;
    let (status, body) = parse(&reply).ok_or_else(|| {
        let what = format!("{} bytes that are no reply", reply.len());
        broken(io::Error::new(io::ErrorKind::InvalidData, what))
    })?;
    if (200..300).contains(&status) {
        return Ok(body.to_owned());
    }
    Err(rejected(status, body))
}

/// Returns status and body. With `Connection: close` the end of the connection ends the body; a length
/// shows whether the body is complete.
fn parse(reply: &[u8]) -> Option<(u16, &[u8])> {
    const END: &[u8] = b"\r\n\r\n";
    let end = reply.windows(END.len()).position(|w| w == END)?;
    let head = std::str::from_utf8(&reply[..end]).ok()?;
    let body = &reply[end + END.len()..];
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut lengths = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = lengths.next().is_none_or(|length| length == body.len());
    whole.then_some((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_and_broken_ones_are_not() {
        let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(ok), Some((200, &b"{}"[..])));
        for broken in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}",
            b"HTTP/1.1 x\r\n\r\n",
            b"SSH-2.0\r\n\r\n",
        ] {
            assert_eq!(parse(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn nobody_is_told_from_forbidden() {
        let error = get(Path::new("/nonexistent/rfm.sock"), "/").unwrap_err();
        assert!(matches!(error, HttpError::NoAgent(_)));
        assert!(error.to_string().contains("is rfm running?"), "{error}");
    }
}
