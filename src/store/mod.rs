// SPDX-License-Identifier: AGPL-3.0-only
//! The history on disk.
//!
//! - [`types`]: the questions, the answers, and the messages to thread history;
//! - [`format`](mod@format): the content of the files as bytes;
//! - [`files`]: the files, and the writer;
//! - [`pending`]: the rows that are not yet on disk; [`shared`]: they and the counters, for readers;
//! - [`thread`]: THREAD history;
//! - [`sender`]: the channel to thread history; [`event_log`]: events of all threads;
//! - [`reader`], `answer`: answer questions; [`group_sums`] adds up rows of answers in bounded memory.
//!
//! Imports only types and sys, so that every other room may send rows to it.

mod answer;
pub mod event_log;
pub mod files;
pub mod format;
pub mod group_sums;
pub mod pending;
pub mod reader;
pub mod sender;
pub mod shared;
pub mod thread;
pub mod types;
