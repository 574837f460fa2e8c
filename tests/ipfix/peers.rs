// SPDX-License-Identifier: AGPL-3.0-only
//! The collectors that operators run, in a namespace of the lab: started with no option that says
//! anything of sampling, stopped, and what they have understood.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::common::lab::{Lab, Namespace, end, run, wait_for};

pub const TOOLS: [&str; 7] = [
    "ip", "ss", "sysctl", "nfcapd", "nfdump", "nfacctd", "tshark",
];

const NFCAPD_PORT: u16 = 9995;
const NFACCTD_PORT: u16 = 9996;
const CONNECTED: Duration = Duration::from_secs(20);

/// What a collector has understood of one flow: name of a field → value.
pub type Row = BTreeMap<String, String>;

/// nfcapd, nfacctd and tshark, one beside the other.
pub struct Peers {
    nfcapd: Running,
    nfacctd: Running,
    tshark: Running,
    flows: PathBuf,
    rows: PathBuf,
    capture: PathBuf,
}

struct Running(Child);

impl Running {
    fn start(lab: &Lab, namespace: &Namespace, log: &str, program: &str, args: &[&str]) -> Self {
        let log = fs::File::create(lab.path(log)).expect("a log file");
        let mut command = namespace.command(program, args);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        Self(command.spawn().expect("ip netns exec"))
    }

    /// SIGINT, as all of them expect it.
    fn stop(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::INT).expect("our own child");
        let ended = wait_for(CONNECTED, || self.0.try_wait().is_ok_and(|s| s.is_some()));
        assert!(ended, "a collector does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

impl Peers {
    /// Started, and listening on the loopback of `namespace`.
    pub fn start(lab: &Lab, namespace: &Namespace) -> Self {
        let flows = lab.path("nfcapd");
        fs::create_dir_all(&flows).expect("a folder");
        let (rows, capture) = (lab.path("nfacctd.json"), lab.path("ipfix.pcap"));
        let config = lab.file("nfacctd.conf", &nfacctd_config(&rows));
        let text = |path: &PathBuf| path.to_str().expect("UTF-8").to_owned();
        let port = NFCAPD_PORT.to_string();
        let folder = text(&flows);
        let peers = Self {
            nfcapd: Running::start(
                lab,
                namespace,
                "nfcapd.log",
                "nfcapd",
                &["-w", &folder, "-p", &port, "-t", "3600"],
            ),
            nfacctd: Running::start(
                lab,
                namespace,
                "nfacctd.log",
                "nfacctd",
                &["-f", &text(&config)],
            ),
            tshark: Running::start(
                lab,
                namespace,
                "tshark.log",
                "tshark",
                &[
                    "-q",
                    "-i",
                    "lo",
                    "-f",
                    "udp port 9995",
                    "-w",
                    &text(&capture),
                ],
            ),
            flows,
            rows,
            capture,
        };
        let ready = wait_for(CONNECTED, || {
            let ports = namespace.run("ss", "-Hlun");
            let log = |name| fs::read_to_string(lab.path(name)).unwrap_or_default();
            ports.contains(":9995")
                && ports.contains(":9996")
                && log("tshark.log").contains("Capturing on")
                && peers.capture.exists()
        });
        assert!(ready, "not all collectors are up");
        peers
    }

    /// TOML of an agent that exports to both.
    pub fn config(more: &str) -> String {
        format!(
            "[agent.ipfix]\nhost = \"127.0.0.1\"\nport = {NFCAPD_PORT}\n{more}\n\
             [[agent.ipfix.collector]]\nhost = \"127.0.0.1\"\nport = {NFACCTD_PORT}\n"
        )
    }

    pub fn ports() -> [u16; 2] {
        [NFCAPD_PORT, NFACCTD_PORT]
    }

    /// Ends all three, a moment after the last message. nfacctd writes what it has when it ends.
    pub fn stop(&mut self) {
        std::thread::sleep(Duration::from_secs(1));
        for peer in [&mut self.nfcapd, &mut self.nfacctd, &mut self.tshark] {
            peer.stop();
        }
    }

    /// What nfdump shows, scaled as nfcapd scaled it.
    pub fn nfdump(&self) -> Vec<Row> {
        let mut command = Command::new("nfdump");
        command.args(["-o", "json", "-R"]).arg(&self.flows);
        let text = run(&mut command);
        let json: serde_json::Value = serde_json::from_str(&text).expect("nfdump speaks JSON");
        let rows = json.as_array().expect("a list").iter();
        rows.map(row).collect()
    }

    pub fn nfacctd(&self) -> Vec<Row> {
        let text = fs::read_to_string(&self.rows).unwrap_or_default();
        let line = |line| row(&serde_json::from_str(line).expect("nfacctd speaks JSON"));
        text.lines().map(line).collect()
    }

    /// Every flow record, in tshark's words; none of them, nor any message, may be malformed.
    pub fn tshark(&self) -> Vec<Row> {
        assert_eq!(self.run_tshark(&["-Y", "_ws.malformed || _ws.expert"]), "");
        let text = self.run_tshark(&["-T", "json", "--no-duplicate-keys", "-J", "cflow"]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("tshark speaks JSON");
        let mut rows = Vec::new();
        collect_flows(&json, &mut rows);
        rows
    }

    fn run_tshark(&self, args: &[&str]) -> String {
        let mut command = Command::new("tshark");
        command.args(["-n", "-d", "udp.port==9995,cflow", "-r"]);
        command.arg(&self.capture).args(args);
        run(&mut command)
    }
}

fn nfacctd_config(rows: &std::path::Path) -> String {
    format!(
        "daemonize: false\nnfacctd_ip: 127.0.0.1\nnfacctd_port: {NFACCTD_PORT}\n\
         nfacctd_renormalize: true\nplugins: print[a]\n\
         aggregate[a]: src_host,dst_host,src_port,dst_port,proto,tos,tcpflags,src_as,dst_as,\
         in_iface,out_iface,src_mac,dst_mac,vlan,timestamp_start,timestamp_end\n\
         print_refresh_time: 3600\nprint_output: json\nprint_output_file_append: true\n\
         print_output_file[a]: {}\n",
        rows.display()
    )
}

/// The objects with an octet count, wherever they stand.
fn collect_flows(value: &serde_json::Value, rows: &mut Vec<Row>) {
    match value {
        serde_json::Value::Object(object) if object.contains_key("cflow.octets") => {
            let times = object.get("cflow.timedelta_tree").map(row);
            rows.push(
                row(value)
                    .into_iter()
                    .chain(times.into_iter().flatten())
                    .collect(),
            );
        }
        serde_json::Value::Object(object) => object.values().for_each(|v| collect_flows(v, rows)),
        serde_json::Value::Array(values) => values.iter().for_each(|v| collect_flows(v, rows)),
        _ => {}
    }
}

fn row(value: &serde_json::Value) -> Row {
    let object = value.as_object().expect("an object");
    let plain = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    object.iter().map(|(k, v)| (k.clone(), plain(v))).collect()
}

/// A number of a row; 0 where it is not there.
pub fn number(row: &Row, field: &str) -> u64 {
    row.get(field)
        .map_or(0, |text| text.parse().expect("a number"))
}
