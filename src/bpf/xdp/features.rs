// SPDX-License-Identifier: AGPL-3.0-only
//! Queries the XDP mode that an interface supports, without attaching a program.

use super::hook::Mode;

/// `NETDEV_XDP_ACT_BASIC` of linux/netdev.h: the driver runs XDP programs.
const BASIC: u64 = 1;

/// Returns the mode in which a program would be attached; `None` if the interface cannot be queried. Kernels before
/// Linux 6.3 report no features of any driver.
pub fn mode(ifindex: u32) -> Option<Mode> {
    let flags = feature_flags(ifindex)?;
    Some(match flags & BASIC {
        0 => Mode::Generic,
        _ => Mode::Native,
    })
}

fn feature_flags(ifindex: u32) -> Option<u64> {
    let mut opts = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    let ifindex = i32::try_from(ifindex).ok()?;
    // SAFETY: bpf_xdp_query reads and writes the options it is given, whose size is set.
    let result = unsafe { libbpf_sys::bpf_xdp_query(ifindex, 0, &mut opts) };
    (result == 0).then_some(opts.feature_flags)
}
