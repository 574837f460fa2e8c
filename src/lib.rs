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
//!    whose an address is: databases, and routes    │
//!    that threads bmp take in from routers         │              enrich/
//!                       │ completed parts ─► thread ipfix ──► IPFIX collectors   ipfix/
//!                       ▲ request, answer          │
//!  thread http          │                          ▼
//!    gathers, writes the text, serves it ──► Prometheus           metrics/, http/
//!  thread page          │                          ▼
//!    gathers every 5 s, remembers a day ──► the page at /         page/
//!  thread firewall
//!    rules of the config, of commands
//!    and of BGP ──► XDP: drops before all of this                 firewall/, bpf/xdp/
//!  thread control
//!    answers on a Unix socket ──► rfm status, flows, top ...      control/, client/
//! ```
//!
//! The main thread ([`agent`]) wires this together: config, load ([`bpf`]), threads ([`sys::threads`]); then it
//! takes signals and commands ([`config::current`] is what is in force), and in the end drains in the order of the
//! packets. Thread links ([`attach`]) attaches and lets go as interfaces come and go ([`interfaces`]). The
//! flow thread owns its tables, without a lock: the others ask it by message. The RIB alone is shared,
//! under a lock that its writers take in short turns.
//!
//! Where to add what:
//! - a protocol header: one function in `bpf/parse.bpf.h`, and frames in `tests/common/cases/`;
//! - a kind of link: `netlink/link_type.rs`;
//! - a metric: `metrics/declarations.rs`, gathered in `metrics/collect.rs`;
//! - a field of exported flows: `ipfix/flows.rs`;
//! - a figure on the page: `page/view.rs` and `page.js`; of the agent itself, `health.js`;
//! - a label of the flow series: `flow/labels.rs`;
//! - a part of a firewall rule: `types/rule/parts.rs`, `Rule::to_match`, `bpf/xdp/`;
//! - a config key: its section in `config/`, then `make generate`;
//! - a source that knows addresses: a file in `enrich/` and a line in its `mod.rs`;
//! - a path of the control socket: `control/routes.rs`;
//! - a command or an option: `args.rs` and `client/`; `make generate` writes manual, completions and reference;
//! - an exporter: a folder of its own like `ipfix/`, and a thread in `agent/mod.rs`.
//!
//! ARCHITECTURE.md goes into all of this.

pub mod agent;
pub mod args;
pub mod attach;
pub mod bpf;
pub mod client;
pub mod config;
pub mod control;
pub mod enrich;
pub mod firewall;
pub mod flow;
pub mod history;
pub mod http;
pub mod interfaces;
pub mod ipfix;
pub mod metrics;
pub mod netlink;
pub mod page;
pub mod sys;
pub mod types;
