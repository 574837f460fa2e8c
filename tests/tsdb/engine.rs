// SPDX-License-Identifier: AGPL-3.0-only
//! The programs that scrape: Prometheus 2 and 3, VictoriaMetrics, vmagent, and the OpenTelemetry collector.

use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::agent::{PORT, http_get};
use crate::common::lab::{Lab, Namespace, can_run, end, wait_for};
use crate::common::prometheus::Api;
use crate::truth::seconds;

/// Limit for a program to start or to end, on a machine that does other things, too.
const START_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Debian's own.
    Prometheus2,
    Prometheus3,
    VictoriaMetrics,
    /// Writes to VictoriaMetrics.
    Vmagent,
    /// Writes to VictoriaMetrics.
    Collector,
}

impl Kind {
    fn program(self) -> String {
        let unpacked = |path: &str| format!("{}/.cache/{path}", env!("CARGO_MANIFEST_DIR"));
        match self {
            Self::Prometheus2 => "prometheus".to_owned(),
            Self::Prometheus3 => unpacked("unstable/bin/prometheus"),
            Self::VictoriaMetrics => unpacked("unstable/bin/victoria-metrics"),
            Self::Vmagent => unpacked("unstable/bin/vmagent"),
            Self::Collector => unpacked("bin/otel-collector"),
        }
    }

    fn health_path(self) -> &'static str {
        match self {
            Self::Prometheus2 | Self::Prometheus3 => "/-/ready",
            Self::VictoriaMetrics | Self::Vmagent => "/health",
            Self::Collector => "/",
        }
    }
}

/// Whether the OpenTelemetry collector takes part: it is built from source, which takes some minutes.
pub fn with_collector() -> bool {
    std::env::var_os("RFM_COLLECTOR").is_some_and(|value| !value.is_empty())
}

/// Whether these programs are installed.
pub fn can_run_all(kinds: impl IntoIterator<Item = Kind>) -> bool {
    let programs: Vec<String> = kinds.into_iter().map(Kind::program).collect();
    let programs = programs.iter().map(String::as_str);
    can_run(&programs.chain(["ip", "sysctl"]).collect::<Vec<_>>())
}

#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Also the name of its files, and a label of all that it scrapes.
    pub name: &'static str,
    pub kind: Kind,
    pub port: u16,
    /// Seconds between two scrapes.
    pub interval: u16,
    pub flags: &'static [&'static str],
    /// The port of the agent, or of a proxy before it.
    pub target: u16,
    /// The port of the database that stores what this program scrapes, if it is another one.
    pub store: Option<u16>,
}

impl Spec {
    pub const fn new(name: &'static str, kind: Kind, port: u16) -> Self {
        Self {
            name,
            kind,
            port,
            interval: 1,
            flags: &[],
            target: PORT,
            store: None,
        }
    }

    fn scrape_configs(&self) -> String {
        format!(
            "scrape_configs:\n\
             - job_name: {}\n  scrape_interval: {}s\n  scrape_timeout: {}s\n  \
             static_configs: [{{targets: ['127.0.0.1:{}'], labels: {{scraper: {}}}}}]\n",
            self.name, self.interval, self.interval, self.target, self.name
        )
    }

    fn config(&self) -> String {
        let scrapes = self.scrape_configs();
        match self.kind {
            Kind::Collector => {
                let indented = scrapes.replace('\n', "\n      ");
                // one consumer: the samples arrive in their order
                format!(
                    "receivers:\n  prometheus:\n    config:\n      {indented}\n\
                     exporters:\n  otlp_http:\n    \
                     metrics_endpoint: http://127.0.0.1:{}/opentelemetry/v1/metrics\n    \
                     sending_queue: {{num_consumers: 1}}\n    \
                     retry_on_failure: {{initial_interval: 1s, max_interval: 2s}}\n\
                     service:\n  pipelines:\n    \
                     metrics: {{receivers: [prometheus], exporters: [otlp_http]}}\n",
                    self.store()
                )
            }
            _ => scrapes,
        }
    }

    fn arguments(&self, lab: &Lab) -> Vec<String> {
        let config = lab.file(&format!("{}.yml", self.name), &self.config());
        let (config, data) = (config.display(), lab.path(self.name));
        let (data, address) = (data.display(), format!("127.0.0.1:{}", self.port));
        let mut arguments = match self.kind {
            Kind::Prometheus2 | Kind::Prometheus3 => vec![
                format!("--config.file={config}"),
                format!("--storage.tsdb.path={data}"),
                format!("--web.listen-address={address}"),
            ],
            Kind::VictoriaMetrics => vec![
                format!("-promscrape.config={config}"),
                format!("-storageDataPath={data}"),
                format!("-httpListenAddr={address}"),
                "-memory.allowedBytes=256MB".to_owned(),
                // queries see the newest samples
                "-search.latencyOffset=0s".to_owned(),
            ],
            Kind::Vmagent => vec![
                format!("-promscrape.config={config}"),
                format!("-remoteWrite.tmpDataPath={data}"),
                format!(
                    "-remoteWrite.url=http://127.0.0.1:{}/api/v1/write",
                    self.store()
                ),
                format!("-httpListenAddr={address}"),
            ],
            Kind::Collector => vec![format!("--config=file:{config}")],
        };
        arguments.extend(self.flags.iter().map(|flag| (*flag).to_owned()));
        arguments
    }

    /// The port that answers queries.
    fn store(&self) -> u16 {
        self.store.unwrap_or(self.port)
    }
}

/// The samples of one series: seconds and values.
pub type Samples = Vec<(f64, f64)>;

/// A program at work; ended when dropped.
pub struct Engine<'lab> {
    pub spec: Spec,
    pub api: Api,
    lab: &'lab Lab,
    namespace: Namespace,
    child: Child,
}

impl<'lab> Engine<'lab> {
    pub fn launch(lab: &'lab Lab, namespace: &Namespace, spec: Spec) -> Self {
        Self {
            api: Api::new(namespace, spec.store()),
            child: launch(lab, namespace, &spec),
            spec,
            lab,
            namespace: namespace.clone(),
        }
    }

    /// Starts it, and waits until it has scraped the agent.
    pub fn start(lab: &'lab Lab, namespace: &Namespace, spec: Spec) -> Self {
        let engine = Self::launch(lab, namespace, spec);
        engine.wait_until_it_scrapes(seconds());
        engine
    }

    /// Ends the program by SIGTERM and starts it again after a pause.
    pub fn restart(&mut self, pause: Duration) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        let ended = || self.child.try_wait().expect("our own child").is_some();
        assert!(
            wait_for(START_TIMEOUT, ended),
            "{} does not end",
            self.spec.name
        );
        std::thread::sleep(pause);
        let start = seconds();
        self.child = launch(self.lab, &self.namespace, &self.spec);
        // until then its connection is missing, and another one of its user agent would continue for it
        self.wait_until_it_scrapes(start);
    }

    fn wait_until_it_scrapes(&self, since: f64) {
        let name = self.spec.name;
        if self.spec.kind != Kind::Collector {
            let path = self.spec.kind.health_path();
            let ready =
                || http_get(&self.namespace, self.spec.port, path).is_ok_and(|r| r.status == 200);
            assert!(wait_for(START_TIMEOUT, ready), "{name}: {}", self.log());
        }
        let scraping = || self.scrapes().last().is_some_and(|time| *time > since);
        assert!(wait_for(START_TIMEOUT, scraping), "{name}: {}", self.log());
    }

    /// The times of its scrapes that succeeded.
    pub fn scrapes(&self) -> Vec<f64> {
        let up = self.raw("up");
        let samples = up.into_iter().flat_map(|(_, samples)| samples);
        samples
            .filter(|(_, value)| *value == 1.0)
            .map(|(time, _)| time)
            .collect()
    }

    /// All samples that it stored of the series of `name`, with their labels.
    pub fn raw(&self, name: &str) -> Vec<(Value, Samples)> {
        let selector = format!("{name}{{scraper='{}'}}[30m]", self.spec.name);
        let mut result = self.api.ask("query", &selector, "&nocache=1");
        let each = result.iter_mut();
        each.map(|series| (series["metric"].take(), samples(&series["values"])))
            .collect()
    }

    /// The results of an instant query: labels and values.
    pub fn at(&self, time: f64, expression: &str) -> Vec<(Value, f64)> {
        let more = format!("&time={time:.3}&nocache=1");
        let mut result = self.api.ask("query", expression, &more);
        let each = result.iter_mut();
        each.map(|series| {
            let value = number(&series["value"][1]);
            (series["metric"].take(), value)
        })
        .collect()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.lab.path(&log_name(&self.spec))).unwrap_or_default()
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn log_name(spec: &Spec) -> String {
    format!("{}.log", spec.name)
}

fn launch(lab: &Lab, namespace: &Namespace, spec: &Spec) -> Child {
    let arguments = spec.arguments(lab);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let program = spec.kind.program();
    lab.child(namespace, &log_name(spec), &program, &arguments)
}

fn samples(values: &Value) -> Samples {
    let values = values.as_array().expect("a range");
    let samples = values
        .iter()
        .map(|pair| (pair[0].as_f64().expect("a time"), number(&pair[1])));
    // a marker of VictoriaMetrics that a series has ended
    samples.filter(|(_, value)| !value.is_nan()).collect()
}

fn number(value: &Value) -> f64 {
    value.as_str().expect("a value").parse().expect("a number")
}
