// SPDX-License-Identifier: AGPL-3.0-only
//! libFuzzer with the target that the environment names: see scripts/fuzz.sh.

#![no_main]

mod targets;

use std::sync::OnceLock;

static TARGET: OnceLock<targets::Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("RFM_FUZZ_TARGET").unwrap_or_default();
        let found = targets::ALL.iter().find(|(known, _)| *known == name);
        found.expect("RFM_FUZZ_TARGET names a target").1
    });
    target(input);
});
