// SPDX-License-Identifier: AGPL-3.0-only
//! TLS and users of the HTTP port, by the web configuration file of Prometheus' exporter-toolkit.
//!
//! - `yaml`: a document as a tree with line numbers (pure),
//! - [`file`]: the keys of the file (pure), with the names of Go in `names`,
//! - `tls`: the configuration of rustls,
//! - [`load`]: the file and its certificates, and whether they have changed,
//! - [`passwords`]: verifies passwords, each once,
//! - [`gate`]: the access control, as the server of `http` calls it,
//! - [`thread`]: verifies passwords and reads the files again.

pub mod file;
pub mod gate;
pub mod load;
mod names;
pub mod passwords;
pub mod thread;
mod tls;
mod yaml;

#[cfg(test)]
mod tests;
