// SPDX-License-Identifier: AGPL-3.0-only
//! Derives the parameters of each part from the configuration and the machine.

use std::path::PathBuf;
use std::time::Duration;

use super::control::RESERVE;
use crate::bpf::cache;
use crate::bpf::load::{MAX_SLOTS, MonitorSettings};
use crate::config::{self, Agent, Bpf, Machine};
use crate::enrich::bmp::{BmpChange, BmpConfig, BmpLimits};
use crate::enrich::mmdb::{DatabaseFile, DatabasePlace, search};
use crate::enrich::rib::{BlackholePolicy, RibConfig};
use crate::flow::conversations::ConversationSettings;
use crate::flow::{rollup, table, thread};
use crate::http;
use crate::sys::descriptors;
use crate::types::address_detail::AddressDetail;
use crate::types::community_pattern::CommunityPattern;
use crate::types::conversation_detail::ConversationDetail;
use crate::types::database::{DatabaseChoice, DatabaseKind};
use crate::types::flow::Direction;
use crate::types::label::Label;

/// An environment variable with words, separated by commas, that make the agent behave as on another
/// kernel: `clsact` (no TCX), `rt` (PREEMPT_RT), `lockdown` (confidentiality),
/// `no-btf` (no types). For tests.
const FORCE: &str = "RFM_FORCE";

/// The limits of the programs for kernels that do not describe their types.
pub(super) const UNTYPED_LIMITS: &str = "GSO packets in tunnels count with their outer headers only; GRE, \
     vti and xfrm interfaces count with the headers that the kernel keeps in front; frames with more than 128 VLAN tags or MPLS labels count as other";

/// The time from the FIN or RST of a connection to the end of its flow: the kernel's caches report each
/// flow once a second.
const TCP_CLOSE_DELAY_MS: u64 = 2_000;

/// Returns the settings of the BPF programs and their maps, for `found` interfaces that are monitored at once.
pub(super) fn load(agent: &Agent, found: usize) -> MonitorSettings {
    const LEAST_SLOTS: u32 = 1024;
    let bpf = &agent.bpf;
    let cpus = libbpf_rs::num_possible_cpus().unwrap_or(1) as u32;
    let memory = Machine::here().memory;
    let slots = match bpf.iface_stats_size {
        0 => u32::try_from(found * 4)
            .unwrap_or(MAX_SLOTS)
            .clamp(LEAST_SLOTS, MAX_SLOTS),
        slots => slots.min(MAX_SLOTS),
    };
    let flow_cache = cache::fit(bpf.flow_cache, cpus.into(), memory);
    if flow_cache < bpf.flow_cache {
        log::info!(
            "agent.bpf.flow_cache: {flow_cache} records for each of {cpus} CPUs, to spare memory"
        );
    }
    let typed = has_kernel_types();
    if !typed {
        log::info!("no kernel types (/sys/kernel/btf/vmlinux): {UNTYPED_LIMITS}");
    }
    MonitorSettings {
        sample_rate: bpf.sample_rate,
        wakeup_batch: wakeup_batch_here(bpf),
        ring_bytes: bpf.ring_buf_size,
        slots,
        flow_cache,
        preemptible: is_preempt_rt(bpf.flow_cache > 0),
        // without types no program reads it
        read_kernel: typed && may_read_kernel(),
        typed,
    }
}

/// Raises the limit of file descriptors to the number that the limits of the configuration need.
pub(super) fn raise_descriptor_limit(agent: &Agent, slots: u32) {
    /// Maps, programs, files, and descriptors that libraries open for a moment.
    const OTHERS: u64 = 256;
    let hooks = Direction::ALL.len() as u64;
    let servers = 2 * http::HttpLimits::default().connections as u64;
    let sessions = u64::from(agent.enrich.rib.bmp.max_sessions);
    // a session's thread has a copy of its socket; an interface may have a link of the firewall too
    let needed = (hooks + u64::from(agent.firewall.enabled)) * u64::from(slots)
        + 2 * sessions
        + servers
        + RESERVE as u64
        + OTHERS;
    if let Err(limit) = descriptors::raise_limit(needed) {
        log::warn!(
            "the limit of {limit} file descriptors is less than the {needed} that {slots} interfaces need: raise LimitNOFILE"
        );
    }
}

/// Returns the wakeup batch for this machine.
pub(super) fn wakeup_batch_here(bpf: &Bpf) -> u32 {
    let cpus = libbpf_rs::num_possible_cpus().unwrap_or(1) as u32;
    wakeup_batch(bpf.wakeup_batch, bpf.ring_buf_size, cpus)
}

/// Returns whether this kernel describes its types.
pub(super) fn has_kernel_types() -> bool {
    !is_forced("no-btf") && crate::bpf::load::has_kernel_types()
}

/// Returns whether BPF programs may read kernel memory: strict kernel lockdown forbids it.
fn may_read_kernel() -> bool {
    let strict = is_forced("lockdown") || crate::bpf::load::is_locked_down();
    if strict {
        log::info!("kernel lockdown: GSO packets in tunnels count with their outer headers only");
    }
    !strict
}

/// Limits the wakeup batch. Each CPU counts its own records until the next wakeup: together they must not
/// fill more than a quarter of the ring before the first of them wakes the reader.
fn wakeup_batch(wanted: u32, ring_bytes: u32, cpus: u32) -> u32 {
    const RECORD: u32 = 120;
    let quarter = ring_bytes / RECORD / 4;
    wanted.min(quarter / cpus.max(1)).max(1)
}

fn is_preempt_rt(wants_cache: bool) -> bool {
    let preemptible = is_forced("rt") || crate::bpf::realtime::is_preemptible();
    if preemptible && wants_cache {
        log::info!("PREEMPT_RT kernel: no flow cache, one event per sampled packet");
    }
    preemptible
}

pub(super) fn is_forced(word: &str) -> bool {
    std::env::var(FORCE).is_ok_and(|words| words.split(',').any(|w| w.trim() == word))
}

/// Returns the databases to use, each with its place.
pub(super) fn databases(config: &config::Mmdb) -> Vec<DatabaseFile> {
    let file = |(kind, choice): (DatabaseKind, &DatabaseChoice)| {
        let place = match choice {
            DatabaseChoice::Auto => {
                DatabasePlace::Folders(search::FOLDERS.map(PathBuf::from).into())
            }
            DatabaseChoice::None => return None,
            DatabaseChoice::File(path) => DatabasePlace::File(path.clone()),
        };
        Some(DatabaseFile { kind, place })
    };
    config.choices().into_iter().filter_map(file).collect()
}

impl From<&config::Rib> for BmpConfig {
    fn from(config: &config::Rib) -> Self {
        Self {
            host: config.bmp.host.clone(),
            port: config.bmp.port,
            limits: (&config.bmp).into(),
            local_asn: config.local_asn,
        }
    }
}

impl From<&config::Bmp> for BmpLimits {
    fn from(config: &config::Bmp) -> Self {
        Self {
            allow: config.allow.clone(),
            max_sessions: config.max_sessions as usize,
        }
    }
}

impl From<&Agent> for BmpChange {
    fn from(config: &Agent) -> Self {
        Self {
            limits: (&config.enrich.rib.bmp).into(),
            rib: config.into(),
        }
    }
}

impl From<&Agent> for RibConfig {
    fn from(config: &Agent) -> Self {
        let blackhole = (&config.firewall).into();
        let config = &config.enrich.rib;
        let vrf = config.vrf.iter();
        Self {
            max_routes: config.bmp.max_routes as usize,
            stale_ms: millis(config.bmp.stale_time),
            vrf: vrf.map(|(device, rd)| (device.clone(), *rd)).collect(),
            blackhole,
        }
    }
}

impl From<&config::Firewall> for BlackholePolicy {
    fn from(config: &config::Firewall) -> Self {
        if !config.enabled {
            return Self::default();
        }
        let communities = config.blackhole_communities.iter();
        Self {
            communities: communities
                .map(|c| u32::from(c.0) << 16 | u32::from(c.1))
                .collect(),
            within: config.blackhole_within.clone(),
            peers: config.blackhole_peers.clone(),
            min_length: config.blackhole_min_length,
            max: config.blackhole_max as usize,
        }
    }
}

/// Returns the communities to look up: none if no label has them.
pub(super) fn communities(agent: &Agent) -> &[CommunityPattern] {
    let labels = &agent.prometheus.labels;
    let used = labels.contains(&Label::SrcCommunity) || labels.contains(&Label::DstCommunity);
    match used {
        true => &agent.enrich.rib.communities,
        false => &[],
    }
}

/// Returns the settings of thread flow.
pub(super) fn flow(agent: &Agent) -> thread::FlowSettings {
    let exports = !agent.ipfix.collectors().is_empty();
    thread::FlowSettings {
        table: table::TableLimits {
            max_flows: agent.collector.max_flows as usize,
            idle_timeout_ms: millis(agent.collector.eviction_timeout),
            active_timeout_ms: millis(agent.collector.active_timeout),
            // collectors need the end of a flow early; the gauges show the flow until its idle timeout
            tcp_close_delay_ms: exports.then_some(TCP_CLOSE_DELAY_MS),
            spread: exports,
        },
        rollup: rollup::RollupLimits {
            max_series: agent.prometheus.max_series as usize,
            series_ttl_ms: millis(agent.prometheus.series_ttl),
        },
        labels: agent.prometheus.labels.iter().copied().collect(),
        peer_series: agent.prometheus.peer_series,
        paths: agent.collector.paths,
        transit_series: agent.prometheus.transit_series as usize,
        source_check: agent.enrich.source_check.enabled(),
        history: agent.history.folder().map(|_| conversations(agent)),
    }
}

/// Returns what thread flow counts for the history on disk.
fn conversations(agent: &Agent) -> ConversationSettings {
    let billed = agent.enrich.prefix.iter().filter(|prefix| prefix.bill);
    ConversationSettings {
        addresses: match agent.history.conversations {
            ConversationDetail::Prefixes => AddressDetail::Prefix,
            ConversationDetail::Hosts => AddressDetail::Full,
            ConversationDetail::Off => AddressDetail::Absent,
        },
        billed: billed.cloned().collect(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wakeup_batch_leaves_room_in_the_ring() {
        assert_eq!(wakeup_batch(64, 262_144, 2), 64);
        assert_eq!(wakeup_batch(64, 262_144, 240), 2);
        assert_eq!(wakeup_batch(64, 4096, 2), 4);
        assert_eq!(wakeup_batch(64, 4096, 4096), 1);
    }
}
