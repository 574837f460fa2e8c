// SPDX-License-Identifier: AGPL-3.0-only
//! nfacctd → PostgreSQL: a cluster of its own, the tables and the configuration of docs/examples.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::common::lab::{Lab, Namespace, can_run, run, try_run, wait_for};
use super::flows::{ANSWER_TIMEOUT, assert_same, example, export, parsed, replaced};
use super::nfacctd::Nfacctd;

const TOOLS: [&str; 7] = [
    "ip",
    "ss",
    "sysctl",
    "nfacctd",
    "psql",
    "pg_ctlcluster",
    "setpriv",
];
const PASSWORD: &str = "CHANGE-ME";
/// sql_refresh_time of the example.
const REFRESH: Duration = Duration::from_secs(60);

/// The newest installed server's programs, which Debian keeps off the PATH.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("pg_ctlcluster has servers");
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions
        .map(|entry| entry.expect("a folder").path())
        .max_by_key(|path| number(path))
        .expect("a server")
        .join("bin")
}

/// Runs until the lab ends, on its loopback, as the user that the package made.
fn start_server(lab: &Lab, namespace: &Namespace) {
    let data = lab.path("postgresql");
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&data)
        .expect("a folder");
    let id = |option: &str| {
        let text = run(Command::new("id").args([option, "postgres"]));
        text.trim().parse::<u32>().expect("a number")
    };
    chown(&data, Some(id("-u")), Some(id("-g"))).expect("root");
    let password = lab.file("password", PASSWORD);
    let (data, password) = (data.display().to_string(), password.display().to_string());
    let user = [
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
        "--",
    ];
    let program = |name: &str| programs().join(name).display().to_string();

    run(Command::new("setpriv")
        .args(user)
        .arg(program("initdb"))
        .args([
            "-D",
            &data,
            "-U",
            "postgres",
            "-A",
            "scram-sha-256",
            "--pwfile",
            &password,
            "--no-sync",
            "-E",
            "UTF8",
        ]));
    let server = program("postgres");
    let options = [
        "-D",
        &data,
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "unix_socket_directories=",
        "-c",
        "fsync=off",
    ];
    let arguments = [&user[..], &[server.as_str()], &options[..]].concat();
    lab.spawn(namespace, "postgresql.log", "setpriv", &arguments);
    let answers = || {
        try_run(&mut psql(
            namespace,
            "postgres",
            "postgres",
            &["-c", "SELECT 1"],
        ))
    };
    let log = || fs::read_to_string(lab.path("postgresql.log")).unwrap_or_default();
    assert!(
        wait_for(ANSWER_TIMEOUT, || answers().status.success()),
        "{}",
        log()
    );
}

fn psql(namespace: &Namespace, user: &str, database: &str, more: &[&str]) -> Command {
    let common = [
        "-h",
        "127.0.0.1",
        "-U",
        user,
        "-d",
        database,
        "-qAtXF",
        " ",
        "-v",
        "ON_ERROR_STOP=1",
    ];
    let mut command = namespace.command("psql", &[&common[..], more].concat());
    command.env("PGPASSWORD", PASSWORD);
    command
}

#[test]
fn nfacctd_brings_every_flow_to_postgresql() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::among_others();
    let namespace = lab.wire();
    start_server(&lab, &namespace);
    for statement in [
        format!("CREATE ROLE rfm LOGIN PASSWORD '{PASSWORD}'"),
        "CREATE DATABASE rfm OWNER rfm".to_owned(),
    ] {
        run(&mut psql(
            &namespace,
            "postgres",
            "postgres",
            &["-c", &statement],
        ));
    }
    let tables = lab.file("postgresql.sql", &example("postgresql.sql"));
    run(&mut psql(
        &namespace,
        "rfm",
        "rfm",
        &["-f", tables.to_str().expect("UTF-8")],
    ));

    let day = lab.file("postgresql-day.sql", &example("postgresql-day.sql"));
    let day = day.display().to_string();
    let nfacctd = Nfacctd::start(&lab, &namespace, "nfacctd-postgresql.conf", |text| {
        replaced(&text, "/etc/pmacct/postgresql-day.sql", &day)
    });
    let expected = export(&lab, &namespace);

    let ask = |query: &str| run(&mut psql(&namespace, "rfm", "rfm", &["-c", query]));
    let mut found = Default::default();
    // nfacctd is running: a clean stop would write what it still buffers
    wait_for(REFRESH + ANSWER_TIMEOUT, || {
        found = parsed(&ask(
            "SELECT host(ip_src), host(ip_dst), port_src, port_dst, ip_proto, sum(packets), sum(bytes) \
             FROM flows GROUP BY 1, 2, 3, 4, 5",
        ));
        found == expected
    });
    assert_same(&found, &expected, &nfacctd.said());
    assert!(!nfacctd.said().contains("ERROR"), "{}", nfacctd.said());
    // the router, the interface and the day are told, and the query that the file shows answers
    let out = namespace.ifindex("v0");
    assert_eq!(
        ask("SELECT DISTINCT peer_ip_src, iface_in, iface_out FROM flows"),
        format!("127.0.0.1 0 {out}\n")
    );
    assert_eq!(ask("SELECT count(*) FROM ONLY flows"), "0\n");
    let file = example("postgresql.sql");
    let lines = file
        .lines()
        .skip_while(|line| !line.starts_with("--   SELECT"));
    let shown: Vec<&str> = lines.map_while(|line| line.strip_prefix("--   ")).collect();
    let bytes: u64 = expected.values().map(|flow| flow.1).sum();
    let bits = ask(&shown.join(" "));
    let bits: f64 = bits
        .trim()
        .rsplit(' ')
        .next()
        .expect("bits")
        .parse()
        .expect("a number");
    assert!((bits - 8.0 * bytes as f64 / 3600.0).abs() < 1.0, "{bits}");
}
