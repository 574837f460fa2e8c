// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm --check-kernel`: loads every program and attaches none.

use std::fmt::Write;
use std::sync::Arc;

use super::derive::{self, is_forced};
use super::firewall::xdp_settings;
use super::{Error, privilege};
use crate::bpf::load::LoadedPrograms;
use crate::bpf::xdp::{XdpFirewall, features};
use crate::config::Config;
use crate::netlink::LinkSocket;
use crate::sys::kernel;
use crate::types::hook::HookKind;

/// The first kernel that reports the XDP features of drivers.
const XDP_FEATURES: (u32, u32) = (6, 3);

/// Returns a description of what this kernel supports. An error if the agent cannot run on it, or if the firewall is
/// enabled and cannot be loaded.
pub fn check_kernel(config: &Config) -> Result<String, Error> {
    let agent = &config.agent;
    privilege::check()?;
    let patterns = agent.patterns();
    let links = LinkSocket::new(Arc::default()).dump();
    let mut links = links.map_err(Error::Links)?;
    links.retain(|link| patterns.matches(&link.name, link.loopback));
    let mut text = format!("kernel: Linux {}\n", kernel::release());
    let settings = derive::load(agent, links.len());
    let loaded = LoadedPrograms::load(&settings).map_err(Error::Load)?;
    let has_cache = loaded.has_flow_cache();
    drop(loaded);
    if has_cache {
        // the other pair, which a kernel without timers gets
        let mut without = settings.clone();
        without.flow_cache = 0;
        drop(LoadedPrograms::load(&without).map_err(Error::Load)?);
    }
    let hook = match is_forced("clsact") {
        true => HookKind::Clsact,
        false => HookKind::detect(),
    };
    let types = match settings.typed {
        true => "yes".to_owned(),
        false => format!("no: {}", derive::UNTYPED_LIMITS),
    };
    let _ = writeln!(text, "kernel types: {types}");
    let _ = writeln!(text, "hook: {}", hook.name());
    let _ = writeln!(
        text,
        "flow cache: {}",
        match (has_cache, settings.flow_cache) {
            (true, records) => format!("{records} records per CPU"),
            (false, 0) => "off (agent.bpf.flow_cache)".to_owned(),
            (false, _) => "not supported: one event for each sampled packet".to_owned(),
        }
    );
    let firewall = XdpFirewall::load(&xdp_settings(agent));
    let has_firewall = firewall.is_ok();
    match firewall {
        Ok(_) => text += "firewall: supported\n",
        Err(error) if agent.firewall.enabled => return Err(Error::Load(error)),
        Err(error) => {
            let _ = writeln!(text, "firewall: not supported: {error}");
        }
    }
    let reports = kernel::version().is_some_and(|version| version >= XDP_FEATURES);
    for link in &links {
        let xdp = match (has_firewall, reports, features::mode(link.ifindex)) {
            (false, _, _) => "none",
            (true, true, Some(mode)) => mode.name(),
            // a driver without XDP gets the generic mode when the program is attached
            (true, _, _) => "native or generic",
        };
        let _ = writeln!(text, "interface {}: XDP {xdp}", link.name);
    }
    Ok(text)
}
