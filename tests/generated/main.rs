// SPDX-License-Identifier: AGPL-3.0-only
//! Files that are made from the code. The tests compare them; with RFM_GENERATE=1 (`make generate`) they write them.
//! Each module makes the text of one kind of fact. Needs no privilege.

mod commands;
mod config;
mod constants;
mod metrics;
mod output;

use output::{between, generated};
