// SPDX-License-Identifier: AGPL-3.0-only
//! Checks whether the process has the capabilities that it needs.

use rustix::thread::CapabilitySet;

use super::Error;

/// Checks the capabilities. Before Linux 5.8 CAP_SYS_ADMIN included CAP_BPF and CAP_PERFMON, and it still does.
pub(super) fn check() -> Result<(), Error> {
    let bpf = have(CapabilitySet::BPF | CapabilitySet::PERFMON)? || have(CapabilitySet::SYS_ADMIN)?;
    if bpf && have(CapabilitySet::NET_ADMIN)? {
        return Ok(());
    }
    Err(Error::Privilege("CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"))
}

pub(super) fn have(capabilities: CapabilitySet) -> Result<bool, Error> {
    let sets = rustix::thread::capabilities(None).map_err(|e| Error::Start(e.into()))?;
    Ok(sets.effective.contains(capabilities))
}
