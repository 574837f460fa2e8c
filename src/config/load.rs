// SPDX-License-Identifier: AGPL-3.0-only
//! From a file to the effective configuration.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::document::{Document, Error, Section};
use super::values::{
    Parsed, Value, boolean, duration, host, list, named, number, power_of_two, word,
};
use super::*;
use crate::types::hook::MIN_RECORDS;
use crate::types::interface_pattern::Patterns;
use crate::types::prefix::Prefix;

/// Bytes; a larger file is refused.
pub const MAX_FILE_SIZE: u64 = 1 << 20;

/// Items in a list of patterns, prefixes or the like.
pub(super) const MAX_LIST: usize = 1024;

/// Above this, the 32-bit indices of the flow table would not do.
pub(super) const MAX_MAX_FLOWS: u32 = 1 << 30;

/// libbpf counts a ring's bytes in 32 bits, and its pages are mapped twice.
const MAX_RING_BUF_SIZE: u32 = 1 << 30;

/// One slot is one index of a per-CPU array that the kernel allocates at once.
const MAX_IFACE_STATS_SIZE: u32 = 65_535;

const MAX_FLOW_CACHE: u32 = 1 << 20;
const MAX_MAX_SERIES: u32 = 10_000_000;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Reads, checks and completes the configuration in the file at `path`.
pub fn load(path: &Path, machine: &Machine) -> Result<Config, Error> {
    let file = path.display().to_string();
    let text = read(path).map_err(|text| Error::of_file(&file, text))?;
    parse(&file, &text, machine)
}

/// Like [`load`] for text that has been read; `file` is the name that errors carry.
pub fn parse(file: &str, text: &str, machine: &Machine) -> Result<Config, Error> {
    let document = Document::parse(file, text)?;
    let config = read_document(&document, machine);
    document.result().map(|()| config)
}

/// Reads every section; what is wrong is noted in the document.
pub(super) fn read_document(document: &Document<'_>, machine: &Machine) -> Config {
    let config = Config {
        agent: agent(&document.root().section("agent"), machine),
    };
    // Keys are held against each other only when each is right: a default in place of a wrong value
    // would bring up problems that are none.
    if document.result().is_ok() {
        validate::check(&config, document);
    }
    document.reject_unknown();
    config
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    // Asked before it is opened: to open a FIFO waits for a writer.
    let metadata = fs::metadata(path).map_err(|e| format!("cannot read: {e}"))?;
    if !metadata.is_file() {
        return Err("expected a regular file".into());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|f| f.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes))
        .map_err(|e| format!("cannot read: {e}"))?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(format!(
            "expected at most {MAX_FILE_SIZE} bytes, got {}",
            metadata.len().max(bytes.len() as u64)
        ));
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        format!("expected UTF-8, got another byte at offset {valid}")
    })
}

fn agent(section: &Section<'_>, machine: &Machine) -> Agent {
    let interfaces = section
        .required(
            "interfaces",
            list(MAX_LIST, word("a regular expression or \"*\"")),
            "interfaces = [\"eth0\"], or [\"*\"] for all but loopback",
        )
        .unwrap_or_default();
    let exclude_interfaces = section.read(
        "exclude_interfaces",
        list(MAX_LIST, word("a regular expression or \"*\"")),
        Vec::new(),
    );
    let directions = directions(section, "directions", &DEFAULT_DIRECTIONS);
    let patterns = Patterns::new(interfaces.clone(), exclude_interfaces.clone());
    Agent {
        require_interface: section.read("require_interface", boolean, DEFAULT_REQUIRE_INTERFACE),
        bpf: bpf(&section.section("bpf"), machine),
        collector: collector(&section.section("collector"), machine),
        prometheus: prometheus(&section.section("prometheus"), machine),
        ipfix: Ipfix::read(&section.section("ipfix"), machine, &directions, &patterns),
        enrich: Enrich::read(&section.section("enrich"), machine),
        control: Control::read(&section.section("control")),
        firewall: Firewall::read(&section.section("firewall")),
        interfaces,
        exclude_interfaces,
        directions,
    }
}

/// A list of directions, in the order in which the program knows them.
pub(super) fn directions(
    section: &Section<'_>,
    key: &str,
    default: &[Direction],
) -> Vec<Direction> {
    let mut directions = section.read(key, list(2, named), default.to_vec());
    directions.sort();
    directions
}

fn bpf(section: &Section<'_>, machine: &Machine) -> Bpf {
    let ring = power_of_two(machine.page_size..=MAX_RING_BUF_SIZE, false);
    Bpf {
        sample_rate: section.read("sample_rate", number(1..=u32::MAX), DEFAULT_SAMPLE_RATE),
        ring_buf_size: section.read("ring_buf_size", ring, DEFAULT_RING_BUF_SIZE),
        wakeup_batch: section.read("wakeup_batch", number(1..=u32::MAX), DEFAULT_WAKEUP_BATCH),
        iface_stats_size: section.read(
            "iface_stats_size",
            number(0..=MAX_IFACE_STATS_SIZE),
            DEFAULT_IFACE_STATS_SIZE,
        ),
        position: section.read("position", named, DEFAULT_POSITION),
        flow_cache: section.read(
            "flow_cache",
            power_of_two(MIN_RECORDS..=MAX_FLOW_CACHE, true),
            DEFAULT_FLOW_CACHE,
        ),
    }
}

fn collector(section: &Section<'_>, machine: &Machine) -> Collector {
    let max_flows = section.read("max_flows", number(0..=MAX_MAX_FLOWS), DEFAULT_MAX_FLOWS);
    Collector {
        max_flows: match max_flows {
            0 => machine.flow_limit(),
            n => n,
        },
        eviction_timeout: section.read(
            "eviction_timeout",
            duration(SECOND),
            DEFAULT_EVICTION_TIMEOUT,
        ),
        active_timeout: section.read("active_timeout", duration(SECOND), DEFAULT_ACTIVE_TIMEOUT),
    }
}

fn prometheus(section: &Section<'_>, machine: &Machine) -> Prometheus {
    let mut labels = section.read("labels", list(MAX_LIST, named), DEFAULT_LABELS.to_vec());
    labels.sort();
    let host = match section.optional("host", host) {
        None => machine.default_host().into(),
        // As it has always been read: every address.
        Some(host) if host.is_empty() => "::".into(),
        Some(host) => host,
    };
    Prometheus {
        host,
        port: section.read("port", number(1..=u16::MAX), DEFAULT_PROMETHEUS_PORT),
        allow: prefixes(section, "allow"),
        flow_gauges: section.read("flow_gauges", boolean, DEFAULT_FLOW_GAUGES),
        labels,
        max_series: section.read("max_series", number(1..=MAX_MAX_SERIES), DEFAULT_MAX_SERIES),
        series_ttl: section.read("series_ttl", duration(SECOND), DEFAULT_SERIES_TTL),
        page: section.read("page", boolean, DEFAULT_PAGE),
    }
}

/// A list of prefixes, empty if not set; IPv4-mapped ones are the IPv4 prefixes for which they stand.
pub(super) fn prefixes(section: &Section<'_>, key: &str) -> Vec<Prefix> {
    section.read(key, list(MAX_LIST, canonical_prefix), Vec::new())
}

pub(super) fn canonical_prefix(value: &Value<'_>) -> Parsed<Prefix> {
    word("a prefix such as \"10.0.0.0/8\"")(value).map(Prefix::to_canonical)
}
