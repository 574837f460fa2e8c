// SPDX-License-Identifier: AGPL-3.0-only
//! Measures a fleet: 50 agents, each in a namespace of its own, and one Prometheus that scrapes all of them and evaluates
//! the shipped rules and alerts.
//!
//! `make bench PART=fleet`. The scrapes themselves are the traffic that the agents count.

mod common;

use std::error::Error;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::daemon::{Daemon, PORT, RFM};
use common::lab::{Lab, Namespace, can_run, wait_for};
use common::report::{Cell, Report, Table, measuring};
use common::stats::Figure;

const AGENTS: usize = 50;
/// Each agent is scraped, and each rule evaluated, once in this time.
const INTERVAL: Duration = Duration::from_secs(1);
const DURATION: Duration = Duration::from_secs(120);
const TEST_DURATION: Duration = Duration::from_secs(15);

/// Design target: milliseconds of a scrape.
const SCRAPE_MS: f64 = 2.0;

fn address(agent: usize) -> String {
    format!("10.98.0.{}", agent + 10)
}

/// Starts an agent that monitors its link to the hub.
fn start_agent(lab: &Lab, hub: &Namespace, n: usize) -> Daemon {
    let namespace = lab.namespace(&format!("a{n}"));
    // the names give the addresses of the links, which must differ
    let (link, port) = (format!("m{n}"), format!("p{n}"));
    lab.veth((&namespace, &link), (hub, &port));
    hub.ip(&format!("link set {port} master br0"));
    namespace.ip(&format!("address add {}/24 dev {link}", address(n)));
    let config = format!(
        "[agent]\ninterfaces = [\"{link}\"]\n[agent.prometheus]\nhost = \"{}\"\nport = {PORT}\n\
         allow = [\"10.98.0.0/24\"]\n[agent.control]\nsocket = \"\"\n",
        address(n)
    );
    let file = lab.file(&format!("rfm-{n}.toml"), &config);
    let path = file.to_str().expect("a path in UTF-8");
    Daemon::start(lab, &namespace, RFM, &["--config", path])
}

fn start_prometheus(lab: &Lab, hub: &Namespace) -> Daemon {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
    let targets: Vec<_> = (0..AGENTS)
        .map(|n| format!("'{}:{PORT}'", address(n)))
        .collect();
    let config = format!(
        "global: {{scrape_interval: {0}s, scrape_timeout: {0}s, evaluation_interval: {0}s}}\n\
         rule_files: ['{1}/rules.yml', '{1}/alerts.yml']\n\
         scrape_configs:\n- job_name: rfm\n  static_configs: [{{targets: [{2}]}}]\n",
        INTERVAL.as_secs(),
        rules.display(),
        targets.join(", ")
    );
    let config = lab.file("prometheus.yml", &config);
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", lab.path("tsdb").display()),
        format!("--web.listen-address=127.0.0.1:{PORT}"),
    ];
    Daemon::start(
        lab,
        hub,
        "prometheus",
        &arguments.each_ref().map(String::as_str),
    )
}

/// Returns the value of an instant query; 0 if it has no result.
fn query(prometheus: &Daemon, expression: &str) -> Result<f64, Box<dyn Error>> {
    let escaped: String = expression.bytes().map(|b| format!("%{b:02x}")).collect();
    let reply = prometheus.get(&format!("/api/v1/query?query={escaped}"), false)?;
    let json: serde_json::Value = serde_json::from_slice(&reply.body)?;
    if json["status"] != "success" {
        return Err(format!("{expression}: {json}").into());
    }
    let value = json["data"]["result"][0]["value"][1].as_str();
    Ok(value.map_or(Ok(0.0), str::parse)?)
}

fn measure() -> Result<Table, Box<dyn Error>> {
    let lab = Lab::new();
    let hub = lab.namespace("hub");
    hub.ip("link add br0 type bridge mcast_snooping 0");
    hub.ip("link set br0 up");
    hub.ip("address add 10.98.0.1/24 dev br0");
    let agents: Vec<_> = (0..AGENTS).map(|n| start_agent(&lab, &hub, n)).collect();
    let prometheus = start_prometheus(&lab, &hub);
    let all_up = || query(&prometheus, "sum(up)").is_ok_and(|up| up == AGENTS as f64);
    if !wait_for(Duration::from_secs(60), all_up) {
        return Err(format!("not all agents are scraped\n{}", prometheus.log()).into());
    }
    // the first rates need two scrapes
    sleep(5 * INTERVAL);
    let (start, cpu) = (Instant::now(), agents.iter().map(Daemon::cpu_time));
    let cpu: Duration = cpu.sum();
    sleep(if measuring() { DURATION } else { TEST_DURATION });
    let cpu_after: Duration = agents.iter().map(Daemon::cpu_time).sum();
    let elapsed = start.elapsed();
    let range = elapsed.as_secs();
    let ask = |expression: String| query(&prometheus, &expression);
    let missed = ask(format!(
        "sum(count_over_time(up[{range}s])) - sum(sum_over_time(up[{range}s]))"
    ))?;
    let alerts = ask(format!("count(count_over_time(ALERTS[{range}s]))"))?;
    let scrape = |quantile: f64| -> Result<f64, Box<dyn Error>> {
        let over_time =
            format!("quantile_over_time({quantile}, scrape_duration_seconds[{range}s])");
        Ok(1e3 * ask(format!("quantile({quantile}, {over_time})"))?)
    };
    let series = ask("avg(scrape_samples_scraped)".into())?;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let memory = megabytes(agents.iter().map(Daemon::proportional_memory).sum());
    let anonymous = megabytes(agents.iter().map(|agent| agent.memory().anonymous).sum());
    let cpu_percent = 100.0 * (cpu_after - cpu).as_secs_f64() / elapsed.as_secs_f64();
    let text = format!(
        "{AGENTS} agents in a namespace each, behind one bridge, and one Prometheus that scrapes each of them and \
         evaluates the shipped rules and alerts in each second, for {range} s. Alerts: those that were pending or firing at \
         any time. Memory: the proportional set size, in which the agents share the pages of their program; it includes the ring \
         buffer of each agent, which the kernel allocates."
    );
    let mut table = Table::new("Fleet", &text, &["", "figure", "target"]);
    let mut row = |name: &str, value: f64, decimals, target| {
        let figure = Cell::figure(Figure::of(&[value]), decimals);
        table.row(name, [figure, target]);
    };
    let median = scrape(0.5)?;
    row(
        "a scrape, median, ms",
        median,
        1,
        Cell::at_most(median, SCRAPE_MS, "ms"),
    );
    row(
        "a scrape, 99th percentile, ms",
        scrape(0.99)?,
        1,
        Cell::Nothing,
    );
    row(
        "scrapes that failed",
        missed,
        0,
        Cell::at_most(missed, 0.0, "scrapes"),
    );
    row("alerts", alerts, 0, Cell::at_most(alerts, 0.0, "alerts"));
    row("samples of a scrape", series, 0, Cell::Nothing);
    row("memory of all agents, MB", memory, 0, Cell::Nothing);
    row("of it anonymous, MB", anonymous, 0, Cell::Nothing);
    row(
        "CPU of all agents, % of a core",
        cpu_percent,
        1,
        Cell::Nothing,
    );
    row(
        "memory of Prometheus, MB",
        megabytes(prometheus.memory().resident),
        0,
        Cell::Nothing,
    );
    Ok(table)
}

fn main() -> Result<(), Box<dyn Error>> {
    if !can_run(&["ip", "sysctl", "prometheus"]) {
        return Ok(());
    }
    let mut report = Report::new("fleet");
    report.add(measure()?);
    report.write()
}
