// SPDX-License-Identifier: AGPL-3.0-only
//! The connections of the session in which a command runs, so that no rule stops them.
//!
//! sudo and su remove `SSH_CONNECTION` from the environment. The process that serves the session still holds
//! its TCP socket: it is an ancestor of this process or, if a terminal multiplexer lies between, a login
//! server of the same audit session.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::sockopt;

use crate::control::firewall::MAX_CONNECTIONS;

/// Ancestors that are searched.
const MAX_ANCESTORS: usize = 64;
/// Beginnings of the names of processes that serve remote logins.
const LOGIN_SERVERS: [&str; 4] = ["sshd", "dropbear", "telnetd", "in.telnetd"];
/// proc(5): processes that belong to no audit session.
const NO_SESSION: &str = "4294967295";
/// TCP_ESTABLISHED (include/net/tcp_states.h).
const ESTABLISHED: &str = "01";

/// Returns the connections of this session, each in the words of `SSH_CONNECTION`. `socket` is the agent's:
/// its firewall stops no connection of another network namespace.
pub fn connections(socket: &Path) -> Vec<String> {
    let mut all: Vec<String> = std::env::var("SSH_CONNECTION")
        .ok()
        .filter(|text| !text.is_empty())
        .into_iter()
        .collect();
    let mut here = Proc {
        root: PathBuf::from("/proc"),
        network: None,
    };
    here.network = agent(socket).and_then(|pid| here.network_of(pid));
    for found in here.connections(std::process::id()) {
        if !all.contains(&found) {
            all.push(found);
        }
    }
    all.truncate(MAX_CONNECTIONS);
    all
}

/// A proc file system. A file that cannot be read is skipped: an unprivileged user reads only own processes.
struct Proc {
    root: PathBuf,
    /// The only network namespace that matters, if it is known.
    network: Option<PathBuf>,
}

/// The process at the other end of a control socket, if there is one.
fn agent(socket: &Path) -> Option<u32> {
    let stream = UnixStream::connect(socket).ok()?;
    let peer = sockopt::socket_peercred(&stream).ok()?;
    u32::try_from(peer.pid.as_raw_pid()).ok()
}

impl Proc {
    fn connections(&self, pid: u32) -> Vec<String> {
        let mut found = Vec::new();
        let ancestors = self.ancestors(pid);
        let session = self.login_servers(pid);
        let more = session.iter().filter(|pid| !ancestors.contains(pid));
        for &process in ancestors.iter().chain(more) {
            let network = self.network_of(process);
            if self.network.is_some() && network.is_some() && network != self.network {
                continue;
            }
            let sockets = self.sockets(process);
            if sockets.is_empty() {
                continue;
            }
            for table in ["tcp", "tcp6"] {
                self.established(process, table, &sockets, &mut found);
            }
        }
        found
    }

    fn network_of(&self, pid: u32) -> Option<PathBuf> {
        fs::read_link(self.root.join(format!("{pid}/ns/net"))).ok()
    }

    /// Without process 1, which serves no session.
    fn ancestors(&self, pid: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut last = pid;
        while let Some(parent) = self.parent(last)
            && parent > 1
            && found.len() < MAX_ANCESTORS
        {
            found.push(parent);
            last = parent;
        }
        found
    }

    /// proc_pid_stat(5): the name, in parentheses, may contain any character.
    fn parent(&self, pid: u32) -> Option<u32> {
        let stat = self.read(pid, "stat")?;
        let (_, fields) = stat.rsplit_once(')')?;
        fields.split_whitespace().nth(1)?.parse().ok()
    }

    /// Those of the audit session of a process (pam_loginuid sets it at each login).
    fn login_servers(&self, pid: u32) -> Vec<u32> {
        let session = self.read(pid, "sessionid").unwrap_or_default();
        if session.is_empty() || session == NO_SESSION {
            return Vec::new();
        }
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let numbers = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers
            .filter(|&pid| {
                self.read(pid, "comm")
                    .is_some_and(|name| LOGIN_SERVERS.iter().any(|server| name.starts_with(server)))
                    && self.read(pid, "sessionid").as_ref() == Some(&session)
            })
            .collect()
    }

    /// The inodes of the sockets that a process holds.
    fn sockets(&self, pid: u32) -> HashSet<String> {
        let Ok(entries) = fs::read_dir(self.root.join(format!("{pid}/fd"))) else {
            return HashSet::new();
        };
        entries
            .flatten()
            .filter_map(|entry| {
                let target = fs::read_link(entry.path()).ok()?;
                let inode = target
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?;
                Some(inode.to_owned())
            })
            .collect()
    }

    /// Reads a table of the network namespace of a process, line by line: it may be long.
    fn established(
        &self,
        pid: u32,
        table: &str,
        sockets: &HashSet<String>,
        found: &mut Vec<String>,
    ) {
        let Ok(file) = fs::File::open(self.root.join(format!("{pid}/net/{table}"))) else {
            return;
        };
        for line in BufReader::new(file).lines().map_while(Result::ok) {
            if let Some(text) = connection(&line, sockets)
                && !found.contains(&text)
            {
                found.push(text);
            }
        }
    }

    fn read(&self, pid: u32, file: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(format!("{pid}/{file}"))).ok()?;
        Some(text.trim_end().to_owned())
    }
}

/// A line of proc_pid_net(5), if it is an established connection of one of the sockets with another host.
fn connection(line: &str, sockets: &HashSet<String>) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, state, _, _, _, _, _, inode, ..] = words[..] else {
        return None;
    };
    if state != ESTABLISHED || !sockets.contains(inode) {
        return None;
    }
    let (server, server_port) = end(local)?;
    let (client, client_port) = end(remote)?;
    (!client.is_loopback()).then(|| format!("{client} {client_port} {server} {server_port}"))
}

/// An address and a port in hexadecimal, the address as words in the byte order of the machine.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some((address.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A line of /proc/PID/net/tcp with addresses of this machine's byte order.
    fn line(local: &str, remote: &str, state: &str, inode: u32) -> String {
        format!(
            "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1\n"
        )
    }

    fn v4(address: [u8; 4], port: u16) -> String {
        format!("{:08X}:{port:04X}", u32::from_ne_bytes(address))
    }

    struct Process {
        pid: u32,
        parent: u32,
        name: &'static str,
        session: &'static str,
        socket: Option<u32>,
    }

    fn write(root: &Path, process: &Process, tcp: &str) {
        let dir = root.join(process.pid.to_string());
        fs::create_dir_all(dir.join("fd")).unwrap();
        fs::create_dir_all(dir.join("net")).unwrap();
        let stat = format!(
            "{} ({}) S {} 1 1 0",
            process.pid, process.name, process.parent
        );
        for (file, text) in [
            ("stat", &*stat),
            ("comm", process.name),
            ("sessionid", process.session),
            ("net/tcp", tcp),
            ("net/tcp6", ""),
        ] {
            fs::write(dir.join(file), text).unwrap();
        }
        symlink("/dev/null", dir.join("fd/0")).unwrap();
        fs::create_dir_all(dir.join("ns")).unwrap();
        let network = if process.name == "elsewhere" { 2 } else { 1 };
        symlink(format!("net:[{network}]"), dir.join("ns/net")).unwrap();
        if let Some(inode) = process.socket {
            symlink(format!("socket:[{inode}]"), dir.join("fd/3")).unwrap();
        }
    }

    /// Process 90 is the command; the table is that of a router with several connections.
    fn found(processes: &[Process]) -> Vec<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rfm-session-{}-{count}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let server = v4([198, 51, 100, 1], 22);
        let tcp = [
            "  sl  local_address rem_address   st tx_queue\n".to_owned(),
            line(&server, &v4([0, 0, 0, 0], 0), "0A", 70),
            line(&server, &v4([192, 0, 2, 7], 51234), "01", 71),
            line(&server, &v4([192, 0, 2, 8], 51235), "08", 72),
            line(&v4([127, 0, 0, 1], 22), &v4([127, 0, 0, 1], 9), "01", 73),
            line(&server, &v4([192, 0, 2, 9], 9), "01", 74),
        ]
        .concat();
        for process in processes {
            write(&root, process, &tcp);
        }
        let proc = Proc {
            root: root.clone(),
            network: Some("net:[1]".into()),
        };
        let found = proc.connections(90);
        fs::remove_dir_all(root).unwrap();
        found
    }

    fn process(pid: u32, parent: u32, name: &'static str, socket: Option<u32>) -> Process {
        Process {
            pid,
            parent,
            name,
            session: NO_SESSION,
            socket,
        }
    }

    const OURS: [&str; 1] = ["192.0.2.7 51234 198.51.100.1 22"];

    #[test]
    fn an_ancestor_holds_the_connection() {
        let chain = |socket| {
            found(&[
                process(1, 0, "systemd", Some(74)),
                process(10, 1, "sshd", Some(70)),
                process(11, 10, "a ) b) S 7", Some(socket)),
                process(12, 11, "bash", None),
                process(13, 12, "elsewhere", Some(74)),
                process(90, 13, "rfm", None),
                process(50, 1, "sshd", Some(74)),
            ])
        };
        assert_eq!(chain(71), OURS);
        for (socket, why) in [(72, "is closed"), (73, "of this machine"), (99, "no TCP")] {
            assert_eq!(chain(socket), [""; 0], "{why}");
        }
    }

    #[test]
    fn a_login_server_of_the_same_session_holds_it() {
        let with = |session, name| {
            let mut command = process(90, 1, "rfm", None);
            command.session = "5";
            let mut server = process(40, 1, name, Some(71));
            server.session = session;
            found(&[command, server])
        };
        assert_eq!(with("5", "sshd-session"), OURS);
        assert_eq!(with("6", "sshd-session"), [""; 0]);
        assert_eq!(with("5", "nginx"), [""; 0]);
        let no_session = [
            process(90, 1, "rfm", None),
            process(40, 1, "sshd", Some(71)),
        ];
        assert_eq!(found(&no_session), [""; 0]);
    }

    #[test]
    fn addresses_are_read_in_the_byte_order_of_the_machine() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let mapped = [[0; 4], [0; 4], [0, 0, 0xff, 0xff], [192, 0, 2, 7]];
        let mapped: String = mapped.map(word).concat();
        let expected = Some((IpAddr::from([192, 0, 2, 7]), 443));
        assert_eq!(end(&format!("{mapped}:01BB")), expected);
        for text in ["", "0:0", "C0000207", "C0000207:1FFFF", &"F".repeat(40)] {
            assert_eq!(end(text), None, "{text}");
        }
    }
}
