// SPDX-License-Identifier: AGPL-3.0-only
//! The operations of the kernel that the thread needs. A trait, so that tests need no kernel.

use std::io;

use libbpf_rs::MapHandle;

use super::kept_links::KeptLinks;
use super::pins::Pins;
use crate::bpf::capture::TracedProgram;
use crate::bpf::load_error::LoadError;
pub use crate::bpf::xdp::{Counts, Mode, XdpStats};
use crate::bpf::xdp::{XdpFirewall, XdpSettings};
use crate::types::hook::FrameStart;
use crate::types::rule::{KernelRule, RuleId};

pub trait Backend: Send {
    /// Replaces all rules in one step; an error changes nothing. Rules that keep their number keep their counters.
    fn replace(&mut self, rules: &[KernelRule]) -> Result<(), String>;
    /// Attaches the program; an error names the cause.
    fn attach(&mut self, ifindex: u32, start: FrameStart) -> Result<Mode, String>;
    fn detach(&mut self, ifindex: u32);
    /// Detaches from all interfaces on which it is not pinned. Calls `beat` before each.
    fn close(&mut self, _beat: &mut dyn FnMut()) {}
    /// Returns whether the program that [`Backend::attach`] attached is still attached.
    fn is_attached(&self, ifindex: u32) -> bool;
    fn counts(&self) -> io::Result<Vec<(RuleId, Counts)>>;
    /// Returns the ring with the samples of dropped packets, if there is one.
    fn ring(&self) -> io::Result<Option<MapHandle>>;
    fn stats(&self) -> io::Result<XdpStats>;
}

/// The programs in the kernel.
pub struct Programs {
    firewall: XdpFirewall,
    /// The pins, if the links are to outlive this process.
    pins: Option<Pins>,
    kept: KeptLinks,
}

impl Programs {
    pub fn load(
        settings: &XdpSettings,
        pins: Option<Pins>,
        kept: KeptLinks,
    ) -> Result<Self, LoadError> {
        let firewall = XdpFirewall::load(settings)?;
        Ok(Self {
            firewall,
            pins,
            kept,
        })
    }

    /// Returns the programs, for programs that trace them.
    pub fn traced(&self) -> io::Result<Vec<TracedProgram>> {
        self.firewall.traced()
    }
}

impl Backend for Programs {
    fn replace(&mut self, rules: &[KernelRule]) -> Result<(), String> {
        let replaced = self.firewall.replace(rules);
        replaced.map_err(|error| error.to_string())
    }

    fn attach(&mut self, ifindex: u32, start: FrameStart) -> Result<Mode, String> {
        let pin = self.pins.as_mut().map(|pins| pins.take(ifindex));
        let previous = self.kept.take(ifindex);
        if previous.is_some() {
            // if the link cannot be reused, it detaches when no process has it open
            self.kept.remove(ifindex);
        }
        let attached = self
            .firewall
            .attach(ifindex, start, pin.as_ref(), previous)
            .map_err(|error| error.to_string())?;
        if let Some(link) = self.firewall.link(ifindex) {
            self.kept.keep(ifindex, link);
        }
        Ok(attached)
    }

    fn detach(&mut self, ifindex: u32) {
        self.kept.remove(ifindex);
        self.firewall.detach(ifindex);
    }

    fn close(&mut self, beat: &mut dyn FnMut()) {
        self.firewall.close(beat);
    }

    fn is_attached(&self, ifindex: u32) -> bool {
        self.firewall.is_attached(ifindex)
    }

    fn counts(&self) -> io::Result<Vec<(RuleId, Counts)>> {
        self.firewall.counts()
    }

    fn ring(&self) -> io::Result<Option<MapHandle>> {
        self.firewall.ring().map(Some)
    }

    fn stats(&self) -> io::Result<XdpStats> {
        self.firewall.stats()
    }
}
