// SPDX-License-Identifier: AGPL-3.0-only
//! nfacctd or goflow2 → Kafka → ClickHouse. The broker is the one that librdkafka brings for tests, which chooses its port; it speaks
//! Kafka's protocol to all of them, groups and offsets included.

use std::fs;
use std::process::Command;

use super::common::lab::{Lab, Namespace, can_run, run, try_run, wait_for};
use super::flows::{ANSWER_TIMEOUT, Flows, assert_same, example, export, parsed, replaced};
use super::nfacctd::Nfacctd;

const TOOLS: [&str; 6] = [
    "ip",
    "ss",
    "sysctl",
    "kcat",
    "clickhouse-server",
    "clickhouse-client",
];

const BROKER: &str = "127.0.0.1:9092";

const SERVER: &str = "<yandex>
<logger><level>information</level><console>1</console></logger>
<listen_host>127.0.0.1</listen_host><tcp_port>9000</tcp_port>
<path>FOLDER/</path><tmp_path>FOLDER/tmp/</tmp_path><format_schema_path>FOLDER/</format_schema_path>
<mark_cache_size>8388608</mark_cache_size><users_config>USERS</users_config>
</yandex>";

const USERS: &str = "<yandex>
<profiles><default><stream_flush_interval_ms>500</stream_flush_interval_ms></default></profiles>
<quotas><default></default></quotas>
<users><default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users>
</yandex>";

/// Runs until the lab ends; its address.
fn start_broker(lab: &Lab, namespace: &Namespace, topic: &str) -> String {
    let topic = ["-t", topic, "-X", "test.mock.num.brokers=1"];
    lab.spawn(
        namespace,
        "kcat.log",
        "kcat",
        &[&["-C", "-b", BROKER], &topic[..]].concat(),
    );
    let mut address = None;
    let told = wait_for(ANSWER_TIMEOUT, || {
        let log = fs::read_to_string(lab.path("kcat.log")).unwrap_or_default();
        let rest = log.split_once("replaced with ");
        address = rest
            .and_then(|(_, rest)| rest.split_once('\n'))
            .map(|(a, _)| a.to_owned());
        address.is_some()
    });
    assert!(told, "kcat tells no address");
    address.unwrap()
}

fn start_server(lab: &Lab, namespace: &Namespace) {
    let folder = lab.path("clickhouse").display().to_string();
    fs::create_dir_all(&folder).expect("a folder");
    let users = lab.file("users.xml", USERS);
    let config = SERVER.replace("FOLDER", &folder);
    let config = lab.file(
        "config.xml",
        &config.replace("USERS", &users.display().to_string()),
    );
    let option = format!("--config-file={}", config.display());
    lab.spawn(namespace, "clickhouse.log", "clickhouse-server", &[&option]);
    let answers = || try_run(&mut namespace.command("clickhouse-client", &["-q", "SELECT 1"]));
    let log = || fs::read_to_string(lab.path("clickhouse.log")).unwrap_or_default();
    assert!(
        wait_for(ANSWER_TIMEOUT, || answers().status.success()),
        "{}",
        log()
    );
}

fn ask(namespace: &Namespace, query: &str) -> String {
    run(&mut namespace.command("clickhouse-client", &["--multiquery", "-q", query]))
}

/// Broker and store for what one collector brings, with the tables of the example; the broker's address.
fn start_store(lab: &Lab, namespace: &Namespace, collector: &str, topic: &str) -> String {
    let broker = start_broker(lab, namespace, topic);
    start_server(lab, namespace);
    ask(namespace, &example("clickhouse.sql"));
    let tables = example(&format!("clickhouse-{collector}.sql"));
    ask(namespace, &replaced(&tables, BROKER, &broker));
    broker
}

/// All of `expected` is in the store in the end, and nothing else, with router, interface and time.
fn assert_stored(lab: &Lab, namespace: &Namespace, expected: &Flows, said: impl Fn() -> String) {
    let address = |column: &str| format!("replaceOne(IPv6NumToString({column}), '::ffff:', '')");
    let query = format!(
        "SELECT {}, {}, src_port, dst_port, proto, sum(packets), sum(bytes) FROM rfm.flows \
         GROUP BY src, dst, src_port, dst_port, proto",
        address("src"),
        address("dst")
    );
    let mut found = Flows::new();
    wait_for(ANSWER_TIMEOUT, || {
        found = parsed(&ask(namespace, &query).replace('\t', " "));
        found == *expected
    });
    let log = fs::read_to_string(lab.path("clickhouse.log")).unwrap_or_default();
    let errors: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("<Error>") || line.contains("Kafka"))
        .collect();
    assert_same(&found, expected, &format!("{}\n{errors:#?}", said()));
    let told = ask(
        namespace,
        &format!(
            "SELECT DISTINCT {}, in_if, out_if, abs(now() - time) < 100 FROM rfm.flows",
            address("router")
        ),
    );
    let out = namespace.ifindex("v0");
    assert_eq!(told, format!("127.0.0.1\t0\t{out}\t1\n"));
}

#[test]
fn nfacctd_and_kafka_bring_every_flow_to_clickhouse() {
    if !can_run(&[&TOOLS[..], &["nfacctd"]].concat()) {
        return;
    }
    let lab = Lab::among_others();
    let namespace = lab.wire();
    let broker = start_store(&lab, &namespace, "nfacctd", "rfm-flows");
    let port = broker.rsplit(':').next().expect("a port");
    let nfacctd = Nfacctd::start(&lab, &namespace, "nfacctd-kafka.conf", |text| {
        replaced(
            &text,
            "kafka_broker_port: 9092",
            &format!("kafka_broker_port: {port}"),
        )
    });
    let expected = export(&lab, &namespace);
    // nfacctd is running: a clean stop would write what it still buffers
    assert_stored(&lab, &namespace, &expected, || nfacctd.said());
}

/// Words of the command of a unit.
fn command_of(unit: &str) -> Vec<String> {
    let joined = unit.replace("\\\n", " ");
    let command = joined
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    command
        .expect("ExecStart")
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

#[test]
fn goflow2_and_kafka_bring_every_flow_to_clickhouse() {
    // no Debian package has it
    let installed = run(Command::new("sh").args(["-c", "command -v goflow2 || true"]));
    if installed.is_empty() {
        println!("skipped: goflow2 is not installed");
        return;
    }
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::among_others();
    let namespace = lab.wire();
    let broker = start_store(&lab, &namespace, "goflow2", "rfm-goflow2");
    let mapping = lab.file("goflow2.yaml", &example("goflow2.yaml"));
    let unit = replaced(&example("goflow2.service"), BROKER, &broker);
    let unit = replaced(&unit, "/etc/goflow2.yaml", &mapping.display().to_string());
    // the broker at hand closes the connection of a client that begins with a newer version of the protocol
    let old = "-transport kafka -transport.kafka.version 0.11.0.0 ";
    let unit = replaced(&unit, "-transport kafka ", old);
    let words = command_of(&unit);
    assert_eq!(words[0], "/usr/local/bin/goflow2");
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    lab.spawn(&namespace, "goflow2.log", installed.trim(), &arguments);
    assert!(wait_for(ANSWER_TIMEOUT, || namespace
        .run("ss", "-Hlun")
        .contains(":4739")));
    let expected = export(&lab, &namespace);
    let said = || fs::read_to_string(lab.path("goflow2.log")).unwrap_or_default();
    assert_stored(&lab, &namespace, &expected, said);
}
