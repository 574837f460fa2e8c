// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.ipfix]`: the collectors of exported flows.

use std::time::Duration;

use super::machine::Machine;
use super::reference::ReloadClass::Applied;
use super::section::section;
use super::values::{SECOND, address_or_name, boolean, duration, named, number, words};
use crate::types::flow::Direction;
use crate::types::interface_pattern::{Pattern, Patterns};
use crate::types::transport::Transport;

/// The default port if only the host is set.
const DEFAULT_PORT: u16 = 4739;
const DEFAULT_TRANSPORT: Transport = Transport::Udp;

const MAX_COLLECTORS: usize = 16;

section! {
    pub struct Ipfix(
        machine: &Machine,
        interfaces: &[Pattern],
        excluded: &[Pattern],
        attached: &[Direction]
    ) {
        /// "" together with port 0: no collector by these two keys.
        host: String = key {
            reload: Applied,
            type: address_or_name(),
            default: String::new(),
            example: "\"::1\"",
            text: "Collector; host or port turns it on, the other has the value shown. Without IPv6 the host is \
                   \"127.0.0.1\".",
        }
        port: u16 = key {
            reload: Applied,
            type: number(0..=u16::MAX),
            default: 0,
            example: "4739",
            text: "Its UDP port.",
        }
        bind: IpfixBind = section {
            of: IpfixBind,
            with: (),
            text: "",
        }
        #[serde(with = "humantime_serde")]
        template_refresh: Duration = key {
            reload: Applied,
            type: duration(SECOND),
            default: Duration::from_secs(60),
            text: "How often templates and options are sent again.",
        }
        observation_domain_id: u32 = key {
            reload: Applied,
            type: number(1..=u32::MAX),
            default: 1,
            text: "Number by which a collector distinguishes several agents behind one address.",
        }
        /// A part of `agent.directions`.
        directions: Vec<Direction> = key {
            reload: Applied,
            type: words(2),
            default: usual_directions(interfaces, excluded, attached),
            example: "[\"egress\"]",
            text: "Directions to export; default those of agent, or only egress if all interfaces are monitored.",
            details: "[\"egress\"] reports each forwarded packet once.",
        }
        prev_adjacent: bool = key {
            reload: Applied,
            type: boolean(),
            default: true,
            text: "Whether to export the neighbor AS of the return path to the source.",
            details: "The field is bgpPrevAdjacentAsNumber.",
        }
        enterprise_number: u32 = key {
            reload: Applied,
            type: number(0..=u32::MAX),
            default: 0,
            text: "Your private enterprise number (IANA), for fields that IANA does not define; 0 = no such fields.",
            details: "With agent.enrich.source_check, records then have the result of the check: element 1 of this number.",
        }
        #[serde(skip_serializing_if = "Vec::is_empty")]
        collector: Vec<IpfixCollector> = tables {
            reload: Applied,
            of: IpfixCollector,
            max: MAX_COLLECTORS,
            with: (machine),
            text: "More collectors, one table each.",
        }
    }
    complete(ipfix) {
        complete_service(&mut ipfix.host, &mut ipfix.port, DEFAULT_PORT, machine);
    }
}

section! {
    /// The exporter's own address: "" and 0 leave it to the kernel.
    pub struct IpfixBind() {
        host: String = key {
            reload: Applied,
            type: address_or_name(),
            default: String::new(),
            text: "Source address of the export; \"\" = the kernel chooses.",
        }
        port: u16 = key {
            reload: Applied,
            type: number(0..=u16::MAX),
            default: 0,
            text: "Source port of the export; 0 = the kernel chooses.",
        }
    }
}

section! {
    pub struct IpfixCollector(machine: &Machine) {
        host: String = key {
            reload: Applied,
            type: address_or_name(),
            default: machine.default_host().into(),
            text: "Address or name. Without IPv6 the default is \"127.0.0.1\".",
        }
        port: u16 = key {
            reload: Applied,
            type: number(1..=u16::MAX),
            default: DEFAULT_PORT,
            text: "Its port.",
        }
        transport: Transport = key {
            reload: Applied,
            type: named(),
            default: DEFAULT_TRANSPORT,
            text: "\"udp\" or \"tcp\".",
            details: "The collector of agent.ipfix.host is sent UDP.",
        }
    }
}

/// Returns the default directions. If all interfaces are monitored, a forwarded packet is observed twice, so only
/// egress is exported: there both interfaces are known.
fn usual_directions(
    interfaces: &[Pattern],
    excluded: &[Pattern],
    attached: &[Direction],
) -> Vec<Direction> {
    let patterns = Patterns::new(interfaces.to_vec(), excluded.to_vec());
    match patterns.watch_all() && attached.contains(&Direction::Egress) {
        true => vec![Direction::Egress],
        false => attached.to_vec(),
    }
}

impl Ipfix {
    /// Returns all collectors, each once; the one of `host` and `port` is the first.
    pub fn collectors(&self) -> Vec<IpfixCollector> {
        let first = (self.port != 0).then(|| IpfixCollector {
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

impl IpfixCollector {
    /// Returns the name in metrics and in the log, which is unique among the configured collectors.
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

/// Completes host and port of a service that is off ("" and 0) unless the file sets one of them. The other one is
/// then the loopback address or `usual_port`.
pub(super) fn complete_service(
    host: &mut String,
    port: &mut u16,
    usual_port: u16,
    machine: &Machine,
) {
    match (host.is_empty(), *port) {
        (true, 0) => {}
        (true, _) => machine.default_host().clone_into(host),
        (false, 0) => *port = usual_port,
        (false, _) => {}
    }
}
