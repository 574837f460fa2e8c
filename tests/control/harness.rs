// SPDX-License-Identifier: AGPL-3.0-only
//! An agent with a control socket, and its clients.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, io};

use serde_json::Value;

use crate::common::agent::{Agent, PORT};
use crate::common::lab::{Lab, Namespace, try_run};

/// A folder that other users may enter, with a short path: a socket's may have 107 bytes.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rfm-control-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder of our own");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self(path)
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("rfm.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `[agent]` for `interfaces`, with the socket; `more` is TOML that begins inside `[agent.control]`.
pub fn config(folder: &Folder, interfaces: &str, sample_rate: u32, more: &str) -> String {
    let socket = folder.socket();
    format!(
        "[agent]\ninterfaces = {interfaces}\n\
         [agent.bpf]\nsample_rate = {sample_rate}\n\
         [agent.prometheus]\nhost = \"127.0.0.1\"\nport = {PORT}\n\
         [agent.control]\nsocket = \"{}\"\n{more}\n",
        socket.display()
    )
}

/// An agent that watches `v1` of a silent wire, and takes every packet.
pub struct Fixture {
    pub agent: Agent,
    pub namespace: Namespace,
    pub folder: Folder,
    pub lab: Lab,
}

impl Fixture {
    pub fn new(more: &str) -> Self {
        let lab = Lab::new();
        let namespace = lab.wire();
        let folder = Folder::new();
        let config = config(&folder, "[\"v1\"]", 1, more);
        let agent = Agent::start(&lab, &namespace, &config);
        Self {
            agent,
            namespace,
            folder,
            lab,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.socket()
    }

    /// A client command that must succeed; what it prints.
    pub fn rfm(&self, words: &str) -> String {
        let (code, out, err) = self.try_rfm(words);
        assert_eq!((code, err.as_str()), (0, ""), "rfm {words}");
        out
    }

    pub fn try_rfm(&self, words: &str) -> (i32, String, String) {
        parts(rfm(&self.socket(), words))
    }

    pub fn json(&self, words: &str) -> Value {
        let text = self.rfm(&format!("{words} --json"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{words}: {e}: {text}"))
    }

    /// A request by hand; status and body.
    pub fn ask(&self, request: &str) -> (u16, Value) {
        ask(&self.socket(), request).expect("the agent answers")
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ))
    }

    pub fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    }
}

/// A client command for this socket.
pub fn rfm(socket: &Path, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rfm"));
    let socket = socket.to_str().expect("a path in UTF-8");
    let words = words.split_whitespace().chain(["--socket", socket]);
    try_run(command.args(words))
}

/// Exit code, standard output, standard error.
pub fn parts(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("no signal");
    (code, text(output.stdout), text(output.stderr))
}

/// Sends this, and reads until the agent closes. The body is null where it is no JSON.
pub fn ask(socket: &Path, request: &str) -> io::Result<(u16, Value)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request.as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    let status = head.get(9..12).and_then(|code| code.parse().ok());
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    Ok((status.unwrap_or(0), body))
}
