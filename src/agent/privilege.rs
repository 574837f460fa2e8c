// SPDX-License-Identifier: AGPL-3.0-only
//! Checks whether the process has the capabilities that it needs.

use rustix::thread::CapabilitySet;

use super::Error;

const BPF: (CapabilitySet, &str) = (CapabilitySet::BPF, "CAP_BPF");
const PERFMON: (CapabilitySet, &str) = (CapabilitySet::PERFMON, "CAP_PERFMON");
const NET_ADMIN: (CapabilitySet, &str) = (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN");
const SYS_ADMIN: (CapabilitySet, &str) = (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN");

/// Checks the capabilities of the agent. Before Linux 5.8 CAP_SYS_ADMIN included CAP_BPF and CAP_PERFMON, and it still
/// does.
pub(super) fn check() -> Result<(), Error> {
    match have(CapabilitySet::SYS_ADMIN)? {
        true => need(&[NET_ADMIN]),
        false => need(&[BPF, PERFMON, NET_ADMIN]),
    }
}

/// Checks the capabilities that remove what another process attached.
pub(super) fn check_detach() -> Result<(), Error> {
    need(&[NET_ADMIN, SYS_ADMIN])
}

fn need(wanted: &[(CapabilitySet, &'static str)]) -> Result<(), Error> {
    let mut missing = Vec::new();
    for &(capability, name) in wanted {
        if !have(capability)? {
            missing.push(name);
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::Privilege(missing)),
    }
}

pub(super) fn have(capabilities: CapabilitySet) -> Result<bool, Error> {
    let sets = rustix::thread::capabilities(None).map_err(|e| Error::Start(e.into()))?;
    Ok(sets.effective.contains(capabilities))
}
