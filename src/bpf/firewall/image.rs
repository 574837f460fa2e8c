// SPDX-License-Identifier: AGPL-3.0-only
//! Rules → the bytes of a rule set, as firewall.h lays it out (pure).

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bounds::{self, Bound, Entry, MAX_CHAIN, TooLong};
use super::tree::{self, Place};
use super::{filter, types};
use crate::config::{Action, PortRange, Prefix};
use crate::firewall::rule::{Compilable, Match, RuleId};

pub const BLOCK: usize = 64;
/// What the counters of all CPUs may take; beyond that CPUs share them.
const MAX_COUNTER_BYTES: u64 = 64 << 20;
/// A set is far smaller unless thousands of rules name each other interfaces.
const MAX_BLOCKS: usize = 4 << 20;

/// Of firewall.h.
const PREFIX_TABLES: usize = 4;
const INTERFACES: usize = 4;
const HAS_COUNT: u32 = 1;
const HAS_INTERFACES: u32 = 2;
const SHARED: u32 = 4;
const COARSE: u32 = 8;
const RULE_PROTOCOL: u8 = 1;
const RULE_PORTS: u8 = 2;
const TIME_SHIFT: u32 = 6;
const ANY_FAMILY: u8 = 2;
const DECIDED: u32 = 1 << 31;
const LINK_ACTION_SHIFT: u32 = 28;
/// struct rfm_fw_count to a block.
const COUNTS_PER_BLOCK: usize = BLOCK / size_of::<types::rfm_fw_count>();

/// Why rules cannot be brought into the kernel.
#[derive(Debug, PartialEq, Eq)]
pub enum CompileError {
    TooMany {
        rules: usize,
        most: u32,
    },
    /// Under one prefix.
    TooDeep {
        prefix: Prefix,
        rules: u32,
    },
    /// Rules without a prefix.
    TooWide {
        rules: usize,
    },
    NoRate(RuleId),
    TooLarge {
        blocks: usize,
    },
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { rules, most } => write!(f, "{rules} rules, at most {most}"),
            Self::TooDeep { prefix, rules } => write!(
                f,
                "{rules} rules for {prefix} and what it lies in, at most {MAX_CHAIN}"
            ),
            Self::TooWide { rules } => {
                write!(f, "{rules} rules without a prefix, at most {MAX_CHAIN}")
            }
            Self::NoRate(id) => write!(f, "rule {} is to limit, without a rate", id.0),
            Self::TooLarge { blocks } => {
                write!(f, "a set of {blocks} blocks, at most {MAX_BLOCKS}")
            }
        }
    }
}

impl std::error::Error for CompileError {}

/// The machine that a set is for.
#[derive(Clone, Copy, Debug)]
pub struct Cpus {
    pub possible: u32,
    /// PREEMPT_RT: programs may preempt each other.
    pub preemptible: bool,
}

/// A set, not yet in the kernel.
pub struct Image {
    pub bytes: Vec<u8>,
    pub counts: CountsAt,
    pub limits: Vec<LimitAt>,
}

/// Where the counters lie: `shares` times one for each rule.
#[derive(Clone, Debug, Default)]
pub struct CountsAt {
    pub ids: Vec<RuleId>,
    pub block: usize,
    /// In blocks.
    pub share: usize,
    pub shares: usize,
}

/// Where the state of a limit lies.
#[derive(Clone, Copy, Debug)]
pub struct LimitAt {
    pub id: RuleId,
    /// The limits of a set are in this order.
    pub number: usize,
    pub rate: u32,
    pub block: usize,
}

/// A set in the making.
#[derive(Default)]
struct Builder {
    bytes: Vec<u8>,
    head: types::rfm_fw_head,
    /// By the number of the rule.
    next: Vec<u32>,
    limits: Vec<LimitAt>,
}

pub fn compile(rules: &[Compilable], most: u32, cpus: Cpus) -> Result<Image, CompileError> {
    if rules.len() > most as usize {
        return Err(CompileError::TooMany {
            rules: rules.len(),
            most,
        });
    }
    let mut builder = Builder {
        next: vec![0; rules.len()],
        ..Default::default()
    };
    builder.reserve(1)?;
    builder.place_prefixes(rules)?;
    let interfaces = builder.place_interfaces(rules)?;
    builder.place_rules(rules, &interfaces)?;
    let counts = builder.place_counts(rules, cpus)?;
    let head = builder.head;
    builder.put(0, &head);
    Ok(Image {
        bytes: builder.bytes,
        counts,
        limits: builder.limits,
    })
}

impl Place for Builder {
    type Error = CompileError;

    fn place<T: plain::Plain>(&mut self, values: &[T]) -> Result<u32, CompileError> {
        let first = self.reserve(size_of_val(values).div_ceil(BLOCK))?;
        self.put(first, values);
        Ok(first as u32)
    }
}

impl Builder {
    /// So many blocks of zeroes; the number of the first.
    fn reserve(&mut self, blocks: usize) -> Result<usize, CompileError> {
        let first = self.bytes.len() / BLOCK;
        if first + blocks > MAX_BLOCKS {
            return Err(CompileError::TooLarge {
                blocks: first + blocks,
            });
        }
        self.bytes.resize((first + blocks) * BLOCK, 0);
        Ok(first)
    }

    /// From the beginning of a block on.
    fn put<T: plain::Plain + ?Sized>(&mut self, block: usize, value: &T) {
        // SAFETY: what is Plain here consists of integers without padding between them.
        let bytes = unsafe { plain::as_bytes(value) };
        self.bytes[block * BLOCK..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Filters, boundaries and chains, and the chain of rules without a prefix.
    fn place_prefixes(&mut self, rules: &[Compilable]) -> Result<(), CompileError> {
        let sorted = Sorted::new(rules);
        if sorted.wide.len() > MAX_CHAIN as usize {
            return Err(CompileError::TooWide {
                rules: sorted.wide.len(),
            });
        }
        if let Some(first) = sorted.wide.first() {
            self.head.wide = link(rules, *first + 1, ends(&rules[*first as usize]));
        }
        for pair in sorted.wide.windows(2) {
            self.next[pair[0] as usize] = pair[1] + 1;
        }
        for (table, mut entries) in sorted.tables.into_iter().enumerate() {
            if entries.is_empty() {
                continue;
            }
            let ipv6 = table >= 2;
            let prefixes = entries.iter().map(|e| (e.start, e.length));
            let filter = filter::build(prefixes, ipv6);
            self.head.filter[table] = self.place(&filter.words)?;
            self.head.shift[table] = filter.shift;
            self.head.flags |= u32::from(filter.coarse) * (COARSE << table);
            let width = if ipv6 { 128 } else { 32 };
            let bounds = bounds::build(&mut entries, width, &mut self.next);
            let bounds = bounds.map_err(|error| too_deep(&error, ipv6))?;
            let link = |bound: &Bound| link(rules, bound.link, bound.decided);
            self.head.tree[table] = match ipv6 {
                true => tree::place6(self, &bounds, link)?,
                false => tree::place4(self, &bounds, link)?,
            };
        }
        Ok(())
    }

    /// Numbers the interfaces that are named, and places one set of bits for each list of them. Returns
    /// where, by list.
    fn place_interfaces<'a>(
        &mut self,
        rules: &'a [Compilable],
    ) -> Result<HashMap<&'a [u32], u32>, CompileError> {
        let lists = rules.iter().filter_map(|r| r.what.interfaces.as_deref());
        let mut named: Vec<u32> = lists.clone().flatten().copied().collect();
        named.sort_unstable();
        named.dedup();
        let mut placed = HashMap::new();
        for list in lists {
            if placed.contains_key(list) {
                continue;
            }
            let mut bits = vec![0_u64; named.len().div_ceil(512).max(1) * 8];
            for number in list.iter().filter_map(|i| named.binary_search(i).ok()) {
                bits[number / 64] |= 1 << (number % 64);
            }
            placed.insert(list, self.place(&bits)?);
        }
        if placed.is_empty() {
            return Ok(placed);
        }
        self.head.flags |= HAS_INTERFACES;
        let bounds = bounds::of_numbers(&named);
        self.head.tree[INTERFACES] = tree::place4(self, &bounds, |bound| bound.link)?;
        Ok(placed)
    }

    fn place_rules(
        &mut self,
        rules: &[Compilable],
        interfaces: &HashMap<&[u32], u32>,
    ) -> Result<(), CompileError> {
        let mut all = Vec::with_capacity(rules.len());
        let next = std::mem::take(&mut self.next);
        for (number, (rule, next)) in rules.iter().zip(next).enumerate() {
            let mut raw = raw_rule(&rule.what, rule.action);
            raw.next = next;
            if let Some(list) = &rule.what.interfaces {
                raw.interfaces = interfaces.get(list.as_slice()).copied().unwrap_or(0);
            }
            if rule.action == Action::Count {
                self.head.flags |= HAS_COUNT;
            }
            if rule.action == Action::Limit {
                raw.limit = self.place_limit(number, rule)? as u32;
            }
            all.push(raw);
        }
        self.head.rules = self.place(&all)?;
        Ok(())
    }

    fn place_limit(&mut self, number: usize, rule: &Compilable) -> Result<usize, CompileError> {
        let rate = rule.rate.filter(|rate| *rate > 0);
        let rate = rate.ok_or(CompileError::NoRate(rule.id))?;
        let block = self.reserve(1)?;
        self.put(block, &raw_limit(rate));
        self.limits.push(LimitAt {
            id: rule.id,
            number,
            rate,
            block,
        });
        Ok(block)
    }

    fn place_counts(&mut self, rules: &[Compilable], cpus: Cpus) -> Result<CountsAt, CompileError> {
        let share = rules.len().div_ceil(COUNTS_PER_BLOCK);
        let mut shares = cpus.possible.max(1).next_power_of_two() as usize;
        while shares > 1 && (share * shares * BLOCK) as u64 > MAX_COUNTER_BYTES {
            shares /= 2;
        }
        if shares < cpus.possible as usize || cpus.preemptible {
            self.head.flags |= SHARED;
        }
        let block = self.reserve(share * shares)?;
        self.head.counts = block as u32;
        self.head.share = share as u32;
        self.head.cpu_mask = shares as u32 - 1;
        Ok(CountsAt {
            ids: rules.iter().map(|rule| rule.id).collect(),
            block,
            share,
            shares,
        })
    }
}

/// The rules by the table in which each is found.
struct Sorted {
    tables: [Vec<Entry>; PREFIX_TABLES],
    wide: Vec<u32>,
}

impl Sorted {
    fn new(rules: &[Compilable]) -> Self {
        let mut sorted = Self {
            tables: Default::default(),
            wide: Vec::new(),
        };
        // how many such rules a prefix has: of two as long as each other, that with fewer is taken
        let mut crowd: HashMap<(usize, Prefix), u32> = HashMap::new();
        for (number, rule) in (0..).zip(rules) {
            let (prefix, side) = match (rule.what.src, rule.what.dst) {
                (None, None) => {
                    sorted.wide.push(number);
                    continue;
                }
                (Some(src), None) => (src, 0),
                (None, Some(dst)) => (dst, 1),
                // such a packet cannot be
                (Some(src), Some(dst)) if src.is_ipv4() != dst.is_ipv4() => continue,
                (Some(src), Some(dst)) => {
                    let mut rank = |prefix: Prefix, side| {
                        let others = *crowd.entry((side, prefix)).or_default();
                        (u8::MAX - prefix.length(), others)
                    };
                    let (prefix, side) = match rank(src, 0) <= rank(dst, 1) {
                        true => (src, 0),
                        false => (dst, 1),
                    };
                    *crowd.entry((side, prefix)).or_default() += 1;
                    (prefix, side)
                }
            };
            let table = usize::from(!prefix.is_ipv4()) * 2 + side;
            sorted.tables[table].push(Entry {
                start: number_of(prefix.address()),
                length: prefix.length(),
                number,
                ends: ends(rule),
            });
        }
        sorted
    }
}

/// Whether every packet that is found by the prefix matches, and no later rule is asked.
fn ends(rule: &Compilable) -> bool {
    let what = &rule.what;
    rule.action != Action::Count
        && (what.src.is_none() || what.dst.is_none())
        && what.proto.is_none()
        && what.sport.is_none()
        && what.dport.is_none()
        && what.interfaces.is_none()
}

/// As firewall.h has it.
fn link(rules: &[Compilable], link: u32, decided: bool) -> u32 {
    match decided {
        true => DECIDED | raw_action(rules[link as usize - 1].action) << LINK_ACTION_SHIFT | link,
        false => link,
    }
}

fn raw_action(action: Action) -> u32 {
    match action {
        Action::Drop => 0,
        Action::Pass => 1,
        Action::Count => 2,
        Action::Limit => 3,
    }
}

fn raw_rule(what: &Match, action: Action) -> types::rfm_fw_rule {
    let address = |prefix: Option<Prefix>| prefix.map_or([0; 2], |p| words(p.address()));
    let length = |prefix: Option<Prefix>| prefix.map_or(0, |p| p.length());
    let ports = |ports: Option<PortRange>| ports.map_or([0, u16::MAX], |p| [p.0, p.1]);
    let family = match what.src.or(what.dst) {
        Some(prefix) => u8::from(!prefix.is_ipv4()),
        None => ANY_FAMILY,
    };
    let mut flags = 0;
    if what.proto.is_some() {
        flags |= RULE_PROTOCOL;
    }
    if what.sport.is_some() || what.dport.is_some() {
        flags |= RULE_PORTS;
    }
    types::rfm_fw_rule {
        src: address(what.src),
        dst: address(what.dst),
        sport: ports(what.sport),
        dport: ports(what.dport),
        src_len: length(what.src),
        dst_len: length(what.dst),
        family,
        protocol: what.proto.map_or(0, |p| p.0),
        action: raw_action(action) as u8,
        flags,
        ..Default::default()
    }
}

/// A tenth of a second of packets may come at once.
fn raw_limit(rate: u32) -> types::rfm_fw_limit {
    let second = 1_000_000_000_u64 << TIME_SHIFT;
    let interval = (second + u64::from(rate) / 2) / u64::from(rate);
    let burst = u64::from(rate / 10).max(1);
    types::rfm_fw_limit {
        interval,
        tolerance: (burst - 1) * interval,
        ..Default::default()
    }
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => a.to_bits().into(),
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// As in a rule.
fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(a) => [u64::from(a.to_bits()) << 32, 0],
        IpAddr::V6(a) => halves(a.to_bits()),
    }
}

fn halves(number: u128) -> [u64; 2] {
    [(number >> 64) as u64, number as u64]
}

fn too_deep(error: &TooLong, ipv6: bool) -> CompileError {
    let address = match ipv6 {
        true => Ipv6Addr::from_bits(error.start).into(),
        false => Ipv4Addr::from_bits(error.start as u32).into(),
    };
    CompileError::TooDeep {
        prefix: Prefix::new(address, error.length),
        rules: error.rules,
    }
}
