// SPDX-License-Identifier: AGPL-3.0-only
//! /v1/lookup: the labels that rfm gives an address, each with its source.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::{api, bgp};
use crate::enrich::mmdb::Databases;
use crate::enrich::rib::{SHORTEST_NETWORK, SharedRib, TableId};
use crate::enrich::rpki::SharedVrps;
use crate::enrich::{AsnSource, Enricher, Trace};
use crate::flow::thread::Enrich;
use crate::types::database::DatabaseKind;

const UNLABELLED: &str = "none: loopback, link-local and multicast addresses have no labels";

/// Returns the labels of an address; `name` is the name of the table.
pub fn lookup(
    enricher: &Enricher,
    rib: &SharedRib,
    (databases, vrps): (&Databases, &SharedVrps),
    address: IpAddr,
    (table, name): (TableId, &str),
) -> api::LookupReply {
    let trace = enricher.trace(address, table);
    let sources = LabelSources {
        peer_name: enricher.asn_name(trace.known.peer_asn),
        trace,
        route: rib.read(|rib| {
            let best = rib.explain(address, table, 1).into_iter().next();
            best.filter(|best| best.best)
                .map(|best| bgp::describe(&best))
        }),
        databases: DatabaseKind::ALL.map(|kind| databases.path(kind)),
        vrps: vrps.get().map(|used| used.source),
    };
    let known = &sources.trace.known;
    let number = |n: u32| (n > 0).then(|| n.to_string());
    let text = |text: &Option<std::sync::Arc<str>>| text.as_ref().map(|text| text.to_string());
    let label = |label: &str, value, source| api::LookupLabel {
        label: label.to_owned(),
        value,
        source: match sources.trace.unlabelled {
            true => UNLABELLED.to_owned(),
            false => source,
        },
    };
    api::LookupReply {
        address: address.to_string(),
        table: name.to_owned(),
        labels: vec![
            label("asn", number(known.asn), sources.asn()),
            label(
                "asn_name",
                text(&known.asn_name),
                sources.name(&known.asn_name, known.asn),
            ),
            label("peer_asn", number(known.peer_asn), sources.peer_asn()),
            label(
                "peer_asn_name",
                text(&sources.peer_name),
                sources.name(&sources.peer_name, known.peer_asn),
            ),
            label(
                "rpki",
                known.rpki.map(|validity| validity.name().to_owned()),
                sources.rpki(),
            ),
            label("net", text(&known.net), sources.net()),
            label("city", text(&known.city), sources.location()),
            label("country", text(&known.country), sources.location()),
        ],
    }
}

/// All sources of the labels of one address.
struct LabelSources {
    trace: Trace,
    /// The name of the neighbor AS.
    peer_name: Option<Arc<str>>,
    /// The matching route, in words.
    route: Option<String>,
    /// The files of the databases in use, by [`DatabaseKind`].
    databases: [Option<Arc<Path>>; DatabaseKind::ALL.len()],
    /// The origin of the VRPs in use.
    vrps: Option<Arc<str>>,
}

impl LabelSources {
    fn asn(&self) -> String {
        match self.trace.asn {
            AsnSource::StaticPrefix => self.network(),
            AsnSource::Route => self.route(),
            AsnSource::Database => self.database(DatabaseKind::Asn),
            AsnSource::None => match self.trace.route {
                Some(route) if route.prefix_len < SHORTEST_NETWORK => {
                    format!("none: a default route, {}", self.route())
                }
                Some(_) => format!("none: an AS set at the end of {}", self.route()),
                None => format!("none: no route, and {}", self.absent(DatabaseKind::Asn)),
            },
        }
    }

    /// Returns the origin of the name of an AS.
    fn name(&self, name: &Option<Arc<str>>, asn: u32) -> String {
        match (name, asn) {
            (Some(_), _) => self.database(DatabaseKind::Asn),
            (None, 0) => "none: no ASN".to_owned(),
            (None, asn) => format!(
                "none: {}",
                match self.databases[DatabaseKind::Asn as usize] {
                    None => self.absent(DatabaseKind::Asn),
                    Some(_) => format!("the database has no name for AS{asn}"),
                }
            ),
        }
    }

    fn peer_asn(&self) -> String {
        match (self.trace.route, self.trace.asn) {
            (_, AsnSource::StaticPrefix) => {
                format!("none: the {} replaces the route", self.network())
            }
            (None, _) => "none: no route".to_owned(),
            (Some(_), _) => self.route(),
        }
    }

    fn rpki(&self) -> String {
        match (&self.vrps, self.trace.known.rpki) {
            (Some(source), Some(_)) => format!("{source}, for the {}", self.route()),
            (None, _) => "none: no VRPs are in use (agent.enrich.rpki)".to_owned(),
            (Some(_), None) => match self.trace.route {
                Some(_) => format!("none: the {} replaces the route", self.network()),
                None => "none: no route".to_owned(),
            },
        }
    }

    fn net(&self) -> String {
        match (&self.trace.known.net, self.trace.network) {
            (Some(_), _) => self.network(),
            (None, Some(_)) => format!("none: the {} has no name", self.network()),
            (None, None) => "none: no static prefix".to_owned(),
        }
    }

    fn location(&self) -> String {
        let known = &self.trace.known;
        match known.city.is_some() || known.country.is_some() {
            true => self.database(DatabaseKind::City),
            false => format!("none: {}", self.absent(DatabaseKind::City)),
        }
    }

    fn network(&self) -> String {
        let network = self.trace.network.map(|network| network.to_string());
        format!("static prefix {}", network.unwrap_or_default())
    }

    fn route(&self) -> String {
        // it may have been withdrawn since
        let route = self.route.as_deref();
        route.unwrap_or("route that has been withdrawn").to_owned()
    }

    /// Returns the reason why a database has no value.
    fn absent(&self, kind: DatabaseKind) -> String {
        match &self.databases[kind as usize] {
            None => format!("no database is in use ({})", kind.key()),
            Some(file) => format!("not in {}", file.display()),
        }
    }

    fn database(&self, kind: DatabaseKind) -> String {
        let file = self.databases[kind as usize].as_deref();
        format!("database {}", file.unwrap_or(Path::new("")).display())
    }
}
