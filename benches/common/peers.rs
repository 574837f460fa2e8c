// SPDX-License-Identifier: AGPL-3.0-only
//! Flow monitors of distributions, under the same load.

use std::path::PathBuf;
use std::process::Command;

use super::daemon::Daemon;
use super::lab::{Lab, Namespace};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Peer {
    Softflowd,
    Pmacctd,
}

pub const ALL: [Peer; 2] = [Peer::Softflowd, Peer::Pmacctd];

impl Peer {
    pub fn program(self) -> &'static str {
        match self {
            Self::Softflowd => "softflowd",
            Self::Pmacctd => "pmacctd",
        }
    }

    /// Returns the path of the program; `None` if it is not installed.
    fn path(self) -> Option<PathBuf> {
        let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin"];
        let mut paths = folders
            .iter()
            .map(|f| PathBuf::from(f).join(self.program()));
        paths.find(|path| path.is_file())
    }

    /// Returns the installed programs; prints a line for each missing one.
    pub fn installed() -> Vec<Self> {
        let (there, missing): (Vec<_>, Vec<_>) = ALL.into_iter().partition(|p| p.path().is_some());
        for peer in missing {
            println!("skipped: {} is not installed", peer.program());
        }
        there
    }

    /// Starts the program with room for 65,536 flows, one record for each pair of addresses and ports, not sampled.
    pub fn start(self, lab: &Lab, namespace: &Namespace, device: &str) -> Daemon {
        let path = self.path().unwrap_or_else(|| self.program().into());
        let program = path.to_string_lossy();
        let file = |name: &str| lab.path(name).to_string_lossy().into_owned();
        match self {
            // exports to a port without a listener
            Self::Softflowd => {
                let (pid, control) = (file("softflowd.pid"), file("softflowd.ctl"));
                let options = "-d -n 127.0.0.1:9995 -v 10 -m 65536 -i";
                let mut args: Vec<&str> = options.split(' ').collect();
                args.extend([device, "-p", &pid, "-c", &control]);
                Daemon::start(lab, namespace, &program, &args)
            }
            Self::Pmacctd => {
                let config = format!(
                    "daemonize: false\n\
                     pcap_interface: {device}\n\
                     aggregate: src_host, dst_host, src_port, dst_port, proto\n\
                     plugins: memory\n\
                     imt_path: {}\n\
                     imt_mem_pools_number: 0\n\
                     plugin_pipe_size: 67108864\n\
                     plugin_buffer_size: 65536\n",
                    file("pmacctd.pipe")
                );
                lab.file("pmacctd.conf", &config);
                Daemon::start(lab, namespace, &program, &["-f", &file("pmacctd.conf")])
            }
        }
    }

    /// Returns the number of packets in its flows so far; `None` if it does not report this.
    pub fn packets(self, lab: &Lab) -> Option<u64> {
        let file = |name: &str| lab.path(name).to_string_lossy().into_owned();
        let mut command = match self {
            Self::Softflowd => {
                let mut command = Command::new("softflowctl");
                command.args(["-c", &file("softflowd.ctl"), "statistics"]);
                command
            }
            Self::Pmacctd => {
                let mut command = Command::new("pmacct");
                command.args(["-s", "-O", "csv", "-p", &file("pmacctd.pipe")]);
                command
            }
        };
        let text = String::from_utf8(command.output().ok()?.stdout).ok()?;
        match self {
            Self::Softflowd => {
                let line = text
                    .lines()
                    .find_map(|l| l.strip_prefix("Packets processed:"));
                line?.trim().parse().ok()
            }
            // SRC_IP,DST_IP,SRC_PORT,DST_PORT,PROTOCOL,PACKETS,BYTES
            Self::Pmacctd => {
                let packets = |line: &str| line.split(',').nth(5)?.parse::<u64>().ok();
                Some(text.lines().filter_map(packets).sum())
            }
        }
    }
}
