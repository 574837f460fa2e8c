// SPDX-License-Identifier: AGPL-3.0-only
//! The kernel side: programs, maps, and what they say.

pub mod attach;
pub mod cache;
pub mod counters;
pub mod load;
mod pace;
pub mod record;
pub mod ring;

/// Written by libbpf-cargo from the BPF object: maps, programs, and the types of rfm.h.
#[allow(clippy::all, clippy::pedantic, dead_code, non_camel_case_types)]
mod skel {
    include!(concat!(env!("OUT_DIR"), "/rfm.skel.rs"));
}

use skel::types;

// SAFETY: repr(C), integers and arrays of integers only, explicit padding: any bytes are a value.
unsafe impl plain::Plain for types::rfm_flow_record {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_counters {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_config {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_reader {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_cache_entry {}
// SAFETY: as above.
unsafe impl plain::Plain for types::rfm_cpu {}

// What DESIGN promises of sizes; a change in rfm.h that breaks them does not compile.
const _: () = {
    assert!(size_of::<types::rfm_flow_key>() == 48);
    assert!(size_of::<types::rfm_flow_record>() <= 120);
    assert!(size_of::<types::rfm_cache_entry>() == 128);
    assert!(size_of::<types::rfm_counters>() == 128);
};
