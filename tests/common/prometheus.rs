// SPDX-License-Identifier: AGPL-3.0-only
//! A real Prometheus that scrapes the agent, and the query interface that it shares with other databases.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::agent::{self, http_get};
use super::lab::{Lab, Namespace, wait_for};

pub const PORT: u16 = 19090;
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts Prometheus in the namespace and waits until it scrapes.
pub fn start(lab: &Lab, namespace: &Namespace) {
    start_jobs(lab, namespace, "", "", "up");
}

/// As [`start`], with more settings of its scrape job, more jobs, and the series that must be 1.
pub fn start_jobs(lab: &Lab, namespace: &Namespace, job: &str, jobs: &str, up: &str) {
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n\
         - job_name: rfm\n{job}  static_configs: [{{targets: ['127.0.0.1:{}']}}]\n{jobs}",
        agent::PORT
    );
    let log = start_with(lab, namespace, &config, &lab.path("tsdb"));
    // it looks for its targets some seconds after it says that it is ready
    let scraping = || query(namespace, up) == Some(1.0);
    assert!(wait_for(START_TIMEOUT, scraping), "{}", log());
}

/// Starts Prometheus with this configuration and these data, and waits until it is ready; returns a way to read its log.
pub fn start_with<'a>(
    lab: &'a Lab,
    namespace: &Namespace,
    config: &str,
    data: &Path,
) -> impl Fn() -> String + 'a {
    let name = data.file_name().and_then(|n| n.to_str()).expect("a name");
    let file = lab.file(&format!("{name}.yml"), config);
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", data.display()),
        format!("--web.listen-address=127.0.0.1:{PORT}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let log = format!("{name}.log");
    lab.spawn(namespace, &log, "prometheus", &arguments);
    let log = move || std::fs::read_to_string(lab.path(&log)).unwrap_or_default();
    let ready = || http_get(namespace, PORT, "/-/ready").is_ok_and(|reply| reply.status == 200);
    assert!(wait_for(START_TIMEOUT, ready), "{}", log());
    log
}

/// The value of an instant query that has one; `None` where it has no result yet.
pub fn query(namespace: &Namespace, expression: &str) -> Option<f64> {
    Api::new(namespace, PORT).query(expression)
}

/// The results of `query` or `query_range`, which must succeed.
pub fn ask(namespace: &Namespace, how: &str, expression: &str, more: &str) -> Vec<Value> {
    Api::new(namespace, PORT).ask(how, expression, more)
}

/// The query interface of Prometheus, which other databases have, too.
#[derive(Clone)]
pub struct Api {
    namespace: Namespace,
    port: u16,
}

impl Api {
    pub fn new(namespace: &Namespace, port: u16) -> Self {
        Self {
            namespace: namespace.clone(),
            port,
        }
    }

    /// Returns the value of an instant query that has one; `None` if it has no result yet.
    pub fn query(&self, expression: &str) -> Option<f64> {
        let result = self.ask("query", expression, "");
        assert!(result.len() < 2, "{expression}: {result:?}");
        result.first()?["value"][1].as_str()?.parse().ok()
    }

    /// Returns the results of `query` or `query_range`, which must succeed.
    pub fn ask(&self, how: &str, expression: &str, more: &str) -> Vec<Value> {
        let escaped: String = expression.bytes().map(|b| format!("%{b:02x}")).collect();
        let path = format!("/api/v1/{how}?query={escaped}{more}");
        let reply = http_get(&self.namespace, self.port, &path).expect("the database answers");
        let mut json: Value = serde_json::from_str(&reply.body).expect("JSON");
        assert_eq!(json["status"], "success", "{expression}: {}", reply.body);
        match json["data"]["result"].take() {
            Value::Array(result) => result,
            other => panic!("{expression}: {other}"),
        }
    }
}
