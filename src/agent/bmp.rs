// SPDX-License-Identifier: AGPL-3.0-only
//! The RIB and thread bmp, which fills it.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::{Error, Running};
use crate::config;
use crate::control::bgp::RibAndSessions;
use crate::enrich::bmp::{BmpChange, Collector};
use crate::enrich::rib::SharedRib;
use crate::enrich::rpki::SharedVrps;
use crate::interfaces::InterfaceRegistry;
use crate::metrics::collect::BmpReader;
use crate::netlink::{self, Link};
use crate::sys::error_counters::ErrorCounters;

/// The RIB, and the BMP collector that fills it, if BMP is enabled.
pub(super) struct Bmp {
    rib: SharedRib,
    collector: Option<Collector>,
}

impl Bmp {
    /// Listens for BMP if the configuration enables it.
    pub fn bind(agent: &config::Agent, errors: &Arc<ErrorCounters>) -> Result<Self, Error> {
        let rib = SharedRib::new(agent.into());
        let config = &agent.enrich.rib;
        let collector = config
            .bmp
            .enabled()
            .then(|| Collector::bind(config.into(), rib.clone(), errors.clone()))
            .transpose()
            .map_err(Error::Bmp)?;
        for address in collector.iter().flat_map(Collector::addresses) {
            log::info!("listening for BMP on {address}");
        }
        Ok(Self { rib, collector })
    }

    pub fn rib(&self) -> SharedRib {
        self.rib.clone()
    }

    /// Returns the source of BMP metrics for a scrape; none if BMP is disabled.
    pub fn reader(&self) -> Option<BmpReader> {
        self.collector.as_ref().map(|collector| BmpReader {
            router_stats: collector.router_stats(),
            rib: self.rib.clone(),
        })
    }

    /// Returns the channel for configuration changes to thread bmp; none without that thread.
    pub fn changes(&self) -> Option<Sender<BmpChange>> {
        self.collector.as_ref().map(Collector::changes)
    }

    /// Returns the source of BGP replies for the control socket; none if BMP is disabled.
    pub fn sessions(&self, vrps: Arc<SharedVrps>) -> Option<RibAndSessions> {
        self.collector.as_ref().map(|collector| RibAndSessions {
            rib: self.rib.clone(),
            router_stats: collector.router_stats(),
            vrps,
        })
    }

    /// Starts thread bmp if BMP is enabled.
    pub fn start(self, running: &Running) -> Result<(), Error> {
        let Some(collector) = self.collector else {
            return Ok(());
        };
        running.spawn("bmp", move |heartbeat| collector.run(&heartbeat))
    }
}

/// Sets which interfaces belong to a VRF at the start; thread links keeps this current afterwards.
pub(super) fn assign_vrfs(interfaces: &InterfaceRegistry, links: &[Link]) {
    let vrf = |link| netlink::vrf(links, link).map(|vrf| vrf.name.as_str());
    let vrfs: Vec<_> = links.iter().map(|link| (link.ifindex, vrf(link))).collect();
    interfaces.set_vrfs(&vrfs);
}
