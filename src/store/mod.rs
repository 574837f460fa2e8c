// SPDX-License-Identifier: AGPL-3.0-only
//! The history on disk.
//!
//! - [`types`]: the questions, the answers, and the messages to thread history;
//! - [`block`], `bytes`, [`level`]: blocks with checksums, their numbers, and rounded numbers;
//! - [`frame`], [`series`]: the curves of a period, and their bytes;
//! - [`pending`]: the rows that are not yet on disk; [`shared`]: they and the counters, for readers;
//! - [`folder`], `calendar`, [`sources`]: the files, and which of them include which;
//! - [`conversations`], `events`: their bytes;
//! - [`log`], [`derive`], [`retention`], [`writer`]: write, derive and delete files;
//! - [`thread`]: THREAD history;
//! - [`sender`]: the channel to thread history; [`event_log`]: events of all threads;
//! - [`reader`], `answer`: answer questions.
//!
//! Imports only types and sys, so that every other room may send rows to it.

mod answer;
pub mod block;
mod bytes;
mod calendar;
pub mod conversations;
pub mod derive;
pub mod event_log;
mod events;
pub mod folder;
pub mod frame;
pub mod level;
pub mod log;
pub mod pending;
pub mod reader;
pub mod retention;
pub mod sender;
pub mod series;
pub mod shared;
pub mod sources;
pub mod thread;
pub mod types;
pub mod writer;
