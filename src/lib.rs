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
//!    flow table → label sets and their counters    │              flow/
//!    whose an address is: databases, and routes    │
//!    that threads bmp take in from routers         │              enrich/
//!                       ▲ request, answer          │
//!  thread http          │                          ▼
//!    gathers, writes the text, serves it ──► Prometheus           export/
//! ```
//!
//! The main thread ([`agent`]) wires this together: config, interfaces ([`links`]), load and attach
//! ([`bpf`]), threads ([`threads`]); then it waits for a signal, detaches, and drains in the order of the
//! packets. The flow thread owns its tables, without a lock: the others ask it by message. The RIB alone is
//! shared, under a lock that its writers take in short turns.
//!
//! Where to add what:
//! - a protocol header: one function in `bpf/parse.bpf.h`, and frames in `tests/common/cases/`;
//! - a kind of link: `links/layer.rs`;
//! - a figure on /metrics: `export/metrics/`, gathered in `export/scrape.rs`;
//! - a label of the flow series: `flow/labels.rs`;
//! - a config key: its struct and reader in `config/`, and `config/rfm.toml`;
//! - a source that knows addresses: a file in `enrich/` and a line in its `mod.rs`;
//! - an exporter: `export/x.rs`, and a thread in `agent/mod.rs`.
//!
//! ARCHITECTURE.md goes into all of this.

pub mod agent;
pub mod args;
pub mod bpf;
pub mod clock;
pub mod config;
pub mod enrich;
pub mod errors;
pub mod export;
pub mod flow;
pub mod interfaces;
pub mod links;
pub mod logging;
pub mod memory;
pub mod process;
pub mod threads;
