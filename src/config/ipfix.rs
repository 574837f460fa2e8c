// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.ipfix]`: where flows are exported to.

use std::time::Duration;

use serde::Serialize;

use super::document::Section;
use super::load::{SECOND, directions};
use super::machine::Machine;
use super::values::{boolean, duration, host, named, number};
use crate::types::flow::Direction;
use crate::types::interface_pattern::Patterns;
use crate::types::transport::Transport;

/// If only the host is set.
pub const DEFAULT_PORT: u16 = 4739;
pub const DEFAULT_TRANSPORT: Transport = Transport::Udp;
pub const DEFAULT_TEMPLATE_REFRESH: Duration = Duration::from_secs(60);
pub const DEFAULT_OBSERVATION_DOMAIN_ID: u32 = 1;
pub const DEFAULT_PREV_ADJACENT: bool = true;

const MAX_COLLECTORS: usize = 16;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ipfix {
    /// "" together with port 0: no collector by these two keys.
    pub host: String,
    pub port: u16,
    pub bind: Bind,
    #[serde(with = "humantime_serde")]
    pub template_refresh: Duration,
    pub observation_domain_id: u32,
    /// A part of `agent.directions`.
    pub directions: Vec<Direction>,
    pub prev_adjacent: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub collector: Vec<Collector>,
}

/// The exporter's own address: "" and 0 leave it to the kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bind {
    pub host: String,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Collector {
    pub host: String,
    pub port: u16,
    pub transport: Transport,
}

impl Ipfix {
    pub(super) fn read(
        section: &Section<'_>,
        machine: &Machine,
        attached: &[Direction],
        patterns: &Patterns,
    ) -> Self {
        let (host, port) = either(section, machine, DEFAULT_PORT);
        let bind = section.section("bind");
        // Watched everywhere, a forwarded packet is seen twice; at egress both interfaces are known.
        let once = patterns.watch_all() && attached.contains(&Direction::Egress);
        let default = if once { &[Direction::Egress] } else { attached };
        Self {
            host,
            port,
            bind: Bind {
                host: bind.read("host", super::values::host, String::new()),
                port: bind.read("port", number(0..=u16::MAX), 0),
            },
            template_refresh: section.read(
                "template_refresh",
                duration(SECOND),
                DEFAULT_TEMPLATE_REFRESH,
            ),
            observation_domain_id: section.read(
                "observation_domain_id",
                number(1..=u32::MAX),
                DEFAULT_OBSERVATION_DOMAIN_ID,
            ),
            directions: directions(section, "directions", default),
            prev_adjacent: section.read("prev_adjacent", boolean, DEFAULT_PREV_ADJACENT),
            collector: section
                .sections("collector", MAX_COLLECTORS)
                .iter()
                .map(|section| Collector::read(section, machine))
                .collect(),
        }
    }

    /// All collectors, each once, the one of `host` and `port` first.
    pub fn collectors(&self) -> Vec<Collector> {
        let first = (self.port != 0).then(|| Collector {
            host: self.host.clone(),
            port: self.port,
            transport: DEFAULT_TRANSPORT,
        });
        let mut all: Vec<_> = first.into_iter().collect();
        for collector in &self.collector {
            if !all.contains(collector) {
                all.push(collector.clone());
            }
        }
        all
    }
}

impl Collector {
    fn read(section: &Section<'_>, machine: &Machine) -> Self {
        Self {
            host: section.read("host", host, machine.default_host().into()),
            port: section.read("port", number(1..=u16::MAX), DEFAULT_PORT),
            transport: section.read("transport", named, DEFAULT_TRANSPORT),
        }
    }

    /// How metrics and the log call it: unlike any other that is configured.
    pub fn label(&self) -> String {
        let Self { host, port, .. } = self;
        let address = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        match self.transport {
            Transport::Udp => address,
            Transport::Tcp => format!("{address}/tcp"),
        }
    }
}

/// `host` and `port` of a service that is off ("" and 0) unless one of them is set. The default of the host is
/// the loopback address.
pub(super) fn either(section: &Section<'_>, machine: &Machine, port: u16) -> (String, u16) {
    let set_host = section.read("host", super::values::host, String::new());
    let set_port = section.read("port", number(0..=u16::MAX), 0);
    match (set_host.is_empty(), set_port) {
        (true, 0) => (String::new(), 0),
        (true, port) => (machine.default_host().to_owned(), port),
        (false, 0) => (set_host, port),
        (false, port) => (set_host, port),
    }
}
