// SPDX-License-Identifier: AGPL-3.0-only
//! Configuration files: a valid one is read back from what `--check` prints.

use rfm::config::{Machine, parse};

const MACHINE: Machine = Machine {
    page_size: 4096,
    memory: 1 << 32,
    has_ipv6: true,
};

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match parse("fuzz", text, &MACHINE) {
        Ok(config) => {
            config.warnings();
            let table = config.to_table().expect("a configuration can be written");
            let again = parse("fuzz", &table.to_string(), &MACHINE);
            let again = again.expect("what is written can be read");
            assert_eq!(again.to_table().ok(), Some(table));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
