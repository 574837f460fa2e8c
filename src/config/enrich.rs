// SPDX-License-Identifier: AGPL-3.0-only
//! `[agent.enrich]`: the sources that turn addresses into networks and locations.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ipfix::complete_service;
use super::machine::Machine;
use super::reference::ReloadClass::{Applied, Restart};
use super::section::section;
use super::values::{
    MAX_LIST, Parsed, SECOND, Value, ValueError, address_or_name, boolean, canonical_prefix,
    duration, list, named, number, optional, path, text, word,
};
use crate::types::community_pattern::CommunityPattern;
use crate::types::database::{DatabaseChoice, DatabaseKind};
use crate::types::distinguisher::Distinguisher;
use crate::types::mac::MacAddress;
use crate::types::prefix::Prefix;
use crate::types::rtr_server::RtrServer;
use crate::types::source::{SourceCheckMode, bogons};
use crate::types::static_peer::StaticPeer;
use crate::types::static_prefix::StaticPrefix;

/// The default port if only the host is set.
const DEFAULT_PORT: u16 = 11_019;

const MAX_MAX_SESSIONS: u32 = 1024;
const MAX_MAX_ROUTES: u32 = 1_000_000_000;
const MAX_STATIC_PREFIXES: usize = 10_000;
/// Maximum number of prefixes with bill = true.
pub(super) const MAX_BILLED: usize = 8;
const MAX_STATIC_PEERS: usize = 2_500;
const MAX_NAME: usize = 256;
/// PATH_MAX of linux/limits.h, less the final zero.
const MAX_PATH: usize = 4095;

/// IFNAMSIZ of linux/if.h, less the final zero.
const MAX_IFNAME: usize = 15;

const DATABASE: &str = "an absolute path of at most 4095 bytes, \"auto\" or \"\"";
const FOUND: &str = "\"auto\" searches /var/lib/rfm, /var/lib/GeoIP, /usr/share/GeoIP and /usr/local/share/GeoIP for the names \
                     that GeoLite2, DB-IP Lite, IPinfo Lite and ip-location-db give their files, also while rfm runs. A file \
                     that was found and cannot be used is a problem in rfm status, not an error.";

section! {
    pub struct Enrich(machine: &Machine) {
        mmdb: Mmdb = section {
            of: Mmdb,
            with: (),
            text: "Databases (MMDB) that map addresses to networks and places. The agent notices within 5 s that a file was \
                   replaced, and reads it again.",
            details: "A database that is missing or broken at the start is an error.",
        }
        rib: Rib = section {
            of: Rib,
            with: (machine),
            text: "Routes from BGP routers, which send them by BMP.",
        }
        rpki: Rpki = section {
            of: Rpki,
            with: (),
            text: "RPKI: the validation state of routes (RFC 6811), for the labels src_rpki and dst_rpki.",
            details: "Add these labels to agent.prometheus.labels.",
        }
        source_check: SourceCheck = section {
            of: SourceCheck,
            with: (),
            text: "Check of source addresses: whether the neighbor that sends a packet announces a route to its source.",
            details: "It needs the routes of the neighbors before import policy (BMP pre-policy Adj-RIB-In).",
        }
        #[serde(skip_serializing_if = "Vec::is_empty")]
        prefix: Vec<StaticPrefix> = tables {
            reload: Applied,
            of: StaticPrefix,
            max: MAX_STATIC_PREFIXES,
            with: (),
            text: "Networks that are in no database, one table each: local, connected, customers.",
            details: "They are for networks that BGP does not announce either.",
        }
        #[serde(skip_serializing_if = "Vec::is_empty")]
        peer: Vec<StaticPeer> = tables {
            reload: Applied,
            of: StaticPeer,
            max: MAX_STATIC_PEERS,
            with: (),
            text: "Neighbors on the segments of interfaces, one table each; they override the AS that BGP reports.",
            details: "A table with a MAC or an address stands for one router, one without both for all neighbors of the \
                      interface.",
        }
    }
}

section! {
    pub struct Mmdb() {
        asn_db: DatabaseChoice = key {
            reload: Applied,
            type: word::<DatabaseChoice>(DATABASE),
            default: DatabaseChoice::Auto,
            text: "Path of an ASN database, such as GeoLite2-ASN.mmdb; \"auto\" = the first one found, \"\" = none.",
            details: FOUND,
        }
        city_db: DatabaseChoice = key {
            reload: Applied,
            type: word::<DatabaseChoice>(DATABASE),
            default: DatabaseChoice::Auto,
            text: "Path of a city or country database; \"auto\" = the first one found, \"\" = none.",
            details: FOUND,
        }
    }
}

section! {
    pub struct Rpki() {
        /// "" = none.
        vrps: PathBuf = key {
            reload: Applied,
            type: path(MAX_PATH),
            default: PathBuf::new(),
            text: "Path of the VRPs as JSON of rpki-client (/var/lib/rpki-client/json), Routinator or FORT; \"\" = none.",
            details: "The agent notices within 5 s that the file was replaced, and reads it again. If it is missing or broken, \
                      the previous VRPs stay in use, and rfm status reports a problem.",
        }
        #[serde(serialize_with = "crate::types::static_peer::or_empty")]
        rtr: Option<RtrServer> = key {
            reload: Applied,
            type: optional::<RtrServer>("a host with or without a port, such as \"192.0.2.1:323\" or \"[2001:db8::1]:323\""),
            default: None,
            text: "An RPKI cache that serves the VRPs by RTR (RFC 8210), in place of the file.",
            details: "rfm connects over TCP without encryption: use a cache on the same machine or in the management \
                      network. VRPs that the cache does not confirm within its expire interval are dropped.",
        }
    }
}

section! {
    pub struct SourceCheck() {
        mode: SourceCheckMode = key {
            reload: Restart,
            type: named::<SourceCheckMode>(),
            default: SourceCheckMode::Off,
            text: "\"count\" counts the bytes of invalid sources by reason and neighbor; \"enforce\" also drops bogons and \
                   local prefixes.",
            details: "\"enforce\" needs the firewall (agent.firewall.enabled): its rules drop the bogons, and connected networks on \
                      other interfaces. Sources without a route and infeasible sources are only counted.",
        }
        bogons: Vec<Prefix> = key {
            reload: Applied,
            type: list(MAX_LIST, canonical_prefix()),
            default: bogons(),
            text: "Prefixes that are never valid sources.",
            details: "The default is the list of RFC 6890 with multicast and reserved addresses. Interfaces with the role \
                      internal are not checked, and addresses in the network of the interface are valid.",
        }
    }
}

section! {
    pub struct Rib(machine: &Machine) {
        /// Overrides the own AS; 0 = the AS that the sessions report.
        local_asn: u32 = key {
            reload: Restart,
            type: number(0..=u32::MAX),
            default: 0,
            text: "The local AS, if it is not the one that the sessions report (confederations); 0 = as they report.",
        }
        communities: Vec<CommunityPattern> = key {
            reload: Restart,
            type: list(MAX_LIST, word("a community with numbers or \"*\", such as \"64500:*\"")),
            default: Vec::new(),
            text: "Communities of routes, such as [\"64500:*\", \"64500:1:*\"], for the labels src_community and dst_community.",
            details: "Add these labels to agent.prometheus.labels.",
        }
        bmp: Bmp = section {
            of: Bmp,
            with: (machine),
            text: "",
        }
        /// Route distinguishers by the name of the VRF device.
        vrf: BTreeMap<String, Distinguisher> = free_keys {
            reload: Restart,
            type: word::<Distinguisher>("a distinguisher such as \"65000:1\""),
            key_type: check_device,
            example: "vrf-red" = "\"0:0\"",
            text: "The routes for the traffic of a VRF device: its name = a distinguisher.",
            key_text: "\"0:0\" is the global table.",
        }
    }
}

section! {
    pub struct Bmp(machine: &Machine) {
        /// "" together with port 0: no listener.
        host: String = key {
            reload: Restart,
            type: address_or_name(),
            default: String::new(),
            example: "\"::1\"",
            text: "Where to listen for BMP; host or port turns it on, the other has the value shown. Without IPv6 the host \
                   is \"127.0.0.1\".",
        }
        port: u16 = key {
            reload: Restart,
            type: number(0..=u16::MAX),
            default: 0,
            example: "11019",
            text: "Its TCP port.",
        }
        /// Clients that may connect; empty = any.
        allow: Vec<Prefix> = key {
            reload: Applied,
            type: list(MAX_LIST, canonical_prefix()),
            default: Vec::new(),
            text: "Prefixes of routers that may connect; empty = any.",
            details: "A reload ends the sessions of routers that are no longer in the list.",
        }
        max_sessions: u32 = key {
            reload: Applied,
            type: number(1..=MAX_MAX_SESSIONS),
            unit: "sessions",
            default: 16,
            text: "Sessions at a time; one address has at most half of them, or 4.",
            details: "Of IPv6, a /64 counts as one address. If all sessions are in use, a new one replaces one that has had \
                      no peer up for 60 s; a router that has had a peer before need not wait. A reload with a lower number \
                      ends the newest sessions.",
        }
        max_routes: u32 = key {
            reload: Applied,
            type: number(1..=MAX_MAX_ROUTES),
            unit: "routes",
            default: 4_000_000,
            text: "Routes kept.",
        }
        #[serde(with = "humantime_serde")]
        stale_time: Duration = key {
            reload: Applied,
            type: duration(SECOND),
            default: Duration::from_secs(300),
            text: "Routes of a lost session are used for this long.",
        }
    }
    complete(bmp) {
        complete_service(&mut bmp.host, &mut bmp.port, DEFAULT_PORT, machine);
    }
}

section! {
    impl StaticPrefix() {
        // the default is never used: a file without this key is refused
        prefix: Prefix = key {
            reload: Applied,
            type: canonical_prefix(),
            required: "prefix = \"10.0.0.0/8\"",
            default: Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            example: "\"10.0.0.0/8\"",
            text: "The network; required.",
        }
        asn: u32 = key {
            reload: Applied,
            type: number(0..=u32::MAX),
            default: 0,
            text: "Its AS; 0 = as the databases and BGP report.",
        }
        name: String = key {
            reload: Applied,
            type: text(MAX_NAME),
            default: String::new(),
            text: "Its name, in the labels src_net and dst_net.",
        }
        bill: bool = key {
            reload: Applied,
            type: boolean(),
            default: false,
            text: "Store its bytes and packets every 5 minutes for 13 months, for rfm bill.",
            details: "At most 8 prefixes. Needs agent.history.path, and a name. A packet counts once: traffic from the prefix at \
                      egress, traffic to the prefix at ingress.",
        }
    }
}

section! {
    impl StaticPeer() {
        interface: String = key {
            reload: Applied,
            type: text(MAX_IFNAME),
            default: String::new(),
            example: "\"eth0\"",
            text: "Name of the interface; \"\" = any.",
        }
        mac: Option<MacAddress> = key {
            reload: Applied,
            type: optional("a MAC address such as \"02:00:5e:00:53:01\""),
            default: None,
            example: "\"02:00:5e:00:53:01\"",
            text: "MAC address of the neighbor; \"\" = any.",
        }
        address: Option<IpAddr> = key {
            reload: Applied,
            type: optional("an IP address"),
            default: None,
            text: "IP address of the neighbor, whose MAC address the neighbor table has; \"\" = any.",
        }
        asn: u32 = key {
            reload: Applied,
            type: number(0..=u32::MAX),
            default: 0,
            example: "64500",
            text: "Its AS, in the label peer_asn; 0 = as BGP reports.",
        }
        name: String = key {
            reload: Applied,
            type: text(MAX_NAME),
            default: String::new(),
            text: "Its name, in the label peer_name.",
        }
    }
}

impl Mmdb {
    /// Returns the configured databases.
    pub fn choices(&self) -> [(DatabaseKind, &DatabaseChoice); DatabaseKind::ALL.len()] {
        [
            (DatabaseKind::Asn, &self.asn_db),
            (DatabaseKind::City, &self.city_db),
        ]
    }
}

impl Rpki {
    /// Returns the file with the VRPs.
    pub fn file(&self) -> Option<&Path> {
        Some(&*self.vrps).filter(|path| !path.as_os_str().is_empty())
    }

    pub fn enabled(&self) -> bool {
        self.file().is_some() || self.rtr.is_some()
    }
}

impl SourceCheck {
    pub fn enabled(&self) -> bool {
        self.mode != SourceCheckMode::Off
    }
}

impl Bmp {
    pub fn enabled(&self) -> bool {
        self.port != 0
    }
}

/// Checks the name of a VRF device.
fn check_device(device: &str, value: &Value<'_>) -> Parsed<()> {
    if (1..=MAX_IFNAME).contains(&device.len()) {
        return Ok(());
    }
    Err(vec![ValueError {
        span: value.span(),
        expected: format!("the name of a device, of 1 to {MAX_IFNAME} bytes"),
        reason: None,
    }])
}
