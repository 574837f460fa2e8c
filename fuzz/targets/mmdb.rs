// SPDX-License-Identifier: AGPL-3.0-only
//! MMDB databases: whatever is in the file, a lookup returns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rfm::enrich::mmdb::Database;
use rfm::types::database::DatabaseKind;

pub fn run(input: &[u8]) {
    let path = super::file("db.mmdb", input);
    for kind in DatabaseKind::ALL {
        let Ok(database) = Database::open(&path, kind, &|| {}) else {
            continue;
        };
        database.build_time();
        for n in 0..=255_u8 {
            let v6 = Ipv6Addr::from([n.wrapping_mul(37); 16]);
            for address in [IpAddr::from(Ipv4Addr::from([n, n, 1, n])), v6.into()] {
                let _ = database.asn(address);
                let _ = database.location(address);
            }
        }
    }
}
