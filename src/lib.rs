// SPDX-License-Identifier: AGPL-3.0-only
//! rfm, the Router Flow Monitor: from a packet on an interface to a line on /metrics.
//!
//! ```text
//!  interface ─ tcx ─► BPF programs: count, sample, flow cache     bpf/*.bpf.h, bpf/rfm.bpf.c
//!                       │ ring buffer              │ counter maps
//!  ── kernel ───────────┼──────────────────────────┼─────────────
//!  thread ring          ▼                          │
//!    bytes → FlowRecord, in batches                │              bpf/ring.rs, bpf/record.rs
//!                       │ bounded channel          │
//!  thread flow          ▼                          │
//!    flow table → series and their counters        │              flow/
//!    enrichment: from databases, and from routes   │
//!    that threads bmp receive from routers         │              enrich/
//!                       │ flow records ────► thread ipfix ──► IPFIX collectors   ipfix/
//!                       ▲ request, answer          │
//!  thread http          │                          ▼
//!    collects values, serves them as text ─► Prometheus           metrics/, http/
//!  thread page          │                          ▼
//!    collects every 5 s, stores a day ────► the page at /         page/
//!                       │ rows of each minute      │
//!  thread history       ▼                          │
//!    appends them to a log, and derives longer points: files      store/
//!  thread firewall
//!    rules of the config, of commands
//!    and of BGP ──► XDP: drops before all of this                 firewall/, bpf/xdp/
//!  thread guard
//!    attacks in the flow records, and
//!    their rules in the firewall                                  guard/
//!  thread control
//!    answers on a Unix socket ──► rfm status, flows, top ...      control/, client/
//! ```
//!
//! The main thread ([`agent`]) wires this together: config, load ([`bpf`]), threads ([`sys::threads`]). Then it
//! handles signals and commands ([`config::current`] is the current configuration). At the end it drains the
//! stages in the order of the packets. Thread links ([`attach`]) attaches programs to interfaces that appear,
//! and detaches them ([`interfaces`]). The flow thread owns its tables, without a lock: other threads send it
//! requests. Only the RIB is shared; its writers hold its lock for short periods.
//!
//! Where to add what:
//! - a protocol header: one function in `bpf/parse.bpf.h`, and frames in `tests/common/cases/`;
//! - a kind of link: `netlink/link_type.rs`;
//! - a metric: `metrics/declarations.rs`, collected in `metrics/collect.rs`;
//! - a field of exported flows: `ipfix/flows.rs`;
//! - a value on the page: `page/view.rs` and `page/script/`; of the agent itself, `health.js` there;
//! - a label of the flow series: `flow/labels.rs`;
//! - a part of a firewall rule: `types/rule/parts.rs`, `Rule::to_match`, `bpf/xdp/`;
//! - a component or an action of BGP Flowspec: `flowspec/`;
//! - a property of an attack's signature: `guard/signature.rs` and `guard/rules.rs`;
//! - a config key: its section in `config/`, then `make generate`;
//! - a kind of curve on disk: `PartKind` in `store/types.rs`, its number in `store/format/series.rs`;
//! - a source of enrichment: a file in `enrich/` and a line in its `mod.rs`;
//! - a path of the control socket: `control/routes.rs`;
//! - a command or an option: `args.rs` and `client/`; `make generate` writes manual, completions and reference;
//! - an exporter: a separate folder like `ipfix/`, and a thread in `agent/mod.rs`.
//!
//! ARCHITECTURE.md describes all of this.

pub mod agent;
pub mod args;
pub mod attach;
pub mod bill;
pub mod bpf;
pub mod client;
pub mod config;
pub mod control;
pub mod enrich;
pub mod firewall;
pub mod flow;
pub mod flowspec;
pub mod guard;
pub mod history;
pub mod http;
pub mod interfaces;
pub mod ipfix;
pub mod metrics;
pub mod netlink;
pub mod page;
pub mod store;
pub mod sys;
pub mod types;
#[cfg(feature = "tls")]
pub mod web;
