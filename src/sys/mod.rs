// SPDX-License-Identifier: AGPL-3.0-only
//! The operating system: clocks, threads, signals, logs, sockets, limits. Imports no other room.

pub mod clock;
pub mod descriptors;
pub mod error_counters;
pub mod fd_store;
pub mod files;
pub mod kernel;
pub mod listen;
pub mod logging;
pub mod malloc;
pub mod os_error;
pub mod process;
pub mod resolver;
pub mod sandbox;
pub mod signals;
pub mod startup_steps;
pub mod systemd;
pub mod threads;
pub mod wake_up;
