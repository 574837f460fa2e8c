// SPDX-License-Identifier: AGPL-3.0-only
//! The files of the history, and the writer.
//!
//! - [`folder`], [`calendar`], [`sources`]: the files, and which of them include which;
//! - [`log`], [`derive`], [`retention`], [`writer`]: write, derive and delete files.

pub mod calendar;
pub mod derive;
pub mod folder;
pub mod log;
pub mod retention;
pub mod sources;
pub mod writer;
