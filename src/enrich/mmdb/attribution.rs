// SPDX-License-Identifier: AGPL-3.0-only
//! The attribution that the licence of a database requires.

/// A text with a link, for each page that shows data of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribution {
    pub text: &'static str,
    pub url: &'static str,
}

const DB_IP: Attribution = Attribution {
    text: "IP Geolocation by DB-IP",
    url: "https://db-ip.com",
};
const IPINFO: Attribution = Attribution {
    text: "IP address data powered by IPinfo",
    url: "https://ipinfo.io",
};
const MAXMIND: Attribution = Attribution {
    text: "This product includes GeoLite Data created by MaxMind",
    url: "https://www.maxmind.com",
};

impl Attribution {
    /// Returns the attribution for the type in the metadata of a database: DB-IP Lite has CC BY 4.0, IPinfo Lite CC
    /// BY-SA 4.0, GeoLite2 the GeoLite End User License Agreement. The databases that their vendors sell require none.
    pub fn of(database_type: &str) -> Option<Self> {
        let lower = database_type.to_ascii_lowercase();
        let is_lite = |vendor: &str| lower.starts_with(vendor) && lower.contains("lite");
        if is_lite("dbip") || is_lite("db-ip") {
            Some(DB_IP)
        } else if lower.starts_with("ipinfo") {
            Some(IPINFO)
        } else if lower.starts_with("geolite") {
            Some(MAXMIND)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_databases_require_their_attribution() {
        for (database_type, expected) in [
            ("DBIP-ASN-Lite (compat=GeoLite2-ASN)", Some(DB_IP)),
            ("DBIP-Country-Lite", Some(DB_IP)),
            ("DBIP-Location-ISP (compat=Enterprise)", None),
            ("GeoLite2-ASN", Some(MAXMIND)),
            ("GeoIP2-City", None),
            ("ipinfo generic_lite.mmdb", Some(IPINFO)),
            ("country ipvAll", None),
            ("Test", None),
        ] {
            assert_eq!(Attribution::of(database_type), expected, "{database_type}");
        }
    }
}
