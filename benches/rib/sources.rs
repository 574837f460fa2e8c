// SPDX-License-Identifier: AGPL-3.0-only
//! Measures the lookups of the source check and of route origin validation, compared with a lookup of the best route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rfm::enrich::rib::{SourceRoutes, TableId};
use rfm::enrich::rpki::{VrpList, VrpTable};
use rfm::types::validity::RouteValidity;

use super::common::report::{Cell, Table};
use super::common::stats::Figure;
use super::lookups::{rib, time};
use super::table::{self, Load};

const LOOKUPS: usize = 1_000_000;
const LOADS: [Load; 2] = [Load::Traffic, Load::Any];
/// An AS that no path of the table has.
const NO_NEIGHBOR: u32 = 4_200_000_000;
const ORIGIN: u32 = 64500;

/// Returns one VRP for each prefix of the table.
fn vrps() -> VrpTable {
    let mut list = VrpList::default();
    for is_ipv6 in [false, true] {
        for (bits, length) in table::prefixes(is_ipv6) {
            let address: IpAddr = match is_ipv6 {
                false => Ipv4Addr::from_bits((bits >> 96) as u32).into(),
                true => Ipv6Addr::from_bits(bits).into(),
            };
            let pushed = list.push(address, length, length.into(), ORIGIN);
            pushed.expect("a prefix of the table");
        }
    }
    VrpTable::build(list).expect("less VRPs than the limit")
}

pub fn measure(rounds: usize) -> Table {
    let (rib, vrps) = (rib(2), vrps());
    let names = [
        "best route",
        "routes of a neighbor to a source",
        "route origin validation",
    ];
    let mut rows: [[Vec<f64>; 2]; 3] = Default::default();
    for (load, kind) in LOADS.into_iter().enumerate() {
        let addresses = table::addresses(LOOKUPS, kind);
        for _ in 0..rounds {
            let figures = [
                time(&addresses, |address| {
                    rib.lookup(address, TableId::GLOBAL).is_some()
                }),
                time(&addresses, |address| {
                    let routes = rib.read(|rib| {
                        rib.source_routes(address, TableId::GLOBAL, NO_NEIGHBOR, |_| &[])
                    });
                    routes == SourceRoutes::NoView
                }),
                time(&addresses, |address| {
                    let length = if address.is_ipv4() { 32 } else { 128 };
                    vrps.validate(address, length, ORIGIN) == RouteValidity::Invalid
                }),
            ];
            for (row, figure) in rows.iter_mut().zip(figures) {
                row[load].push(figure);
            }
        }
    }
    let text = format!(
        "CPU ns, two peers, four of five IPv4, {LOOKUPS} in a row. The routes to a source are those of all sessions, of which \
         none is the neighbor's: no lookup reads more. There are as many VRPs as prefixes. The agent stores the results \
         of the source check: it looks up only new pairs of source and neighbor."
    );
    let mut table = Table::new(
        "Lookups of the source check and of RPKI",
        &text,
        &["", "as traffic is", "any prefix alike", "×"],
    );
    let base = Figure::of(&rows[0][1]).median;
    for (name, values) in names.into_iter().zip(rows) {
        let [traffic, any] = values.map(|values| Figure::of(&values));
        table.row(
            name,
            [
                Cell::figure(traffic, 0),
                Cell::figure(any, 0),
                Cell::ratio(any.median, base),
            ],
        );
    }
    table
}
