// SPDX-License-Identifier: AGPL-3.0-only
//! Finds databases in the folders of packages and updaters.

use std::fs;
use std::path::{Path, PathBuf};

use crate::types::database::DatabaseKind;

/// The folders, in the order of the search.
pub const FOLDERS: [&str; 4] = [
    "/var/lib/rfm",
    "/var/lib/GeoIP",
    "/usr/share/GeoIP",
    "/usr/local/share/GeoIP",
];

/// Maximum number of files that are examined in one folder.
const MAX_FILES: usize = 4096;

/// The names of files without `.mmdb`, in lower case and in the order of preference. `*` stands for the end, such as
/// the month of DB-IP; of several such files the last one in the order of the alphabet is the newest.
const ASN: &[&str] = &[
    "geolite2-asn",
    "geoip2-isp",
    "dbip-asn-lite*",
    "dbip-asn*",
    "asn",
    "ipinfo_lite",
    "geolite2-asn*",
    "iptoasn-asn*",
    "origin-asn*",
    "asn-ipv*",
];
const CITY: &[&str] = &[
    "geolite2-city",
    "geoip2-city",
    "dbip-city-lite*",
    "dbip-city*",
    "geolite2-city*",
    "city",
    "geolite2-country",
    "geoip2-country",
    "dbip-country-lite*",
    "dbip-country*",
    "geolite2-country*",
    "geo-whois-asn-country*",
    "iptoasn-country*",
    "user-country*",
    "server-country*",
    "country",
    "ipinfo_lite",
];

/// Returns the preferred database of the first folder that has one.
pub fn find(kind: DatabaseKind, folders: &[PathBuf]) -> Option<PathBuf> {
    folders.iter().find_map(|folder| find_in(kind, folder))
}

fn find_in(kind: DatabaseKind, folder: &Path) -> Option<PathBuf> {
    let preferred = match kind {
        DatabaseKind::Asn => ASN,
        DatabaseKind::City => CITY,
    };
    let entries = fs::read_dir(folder).ok()?.take(MAX_FILES).flatten();
    let candidates = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let lower = name.to_ascii_lowercase();
        let stem = lower.strip_suffix(".mmdb")?;
        let rank = preferred
            .iter()
            .position(|pattern| is_match(pattern, stem))?;
        // a link counts as what it points to
        let is_file = fs::metadata(entry.path()).is_ok_and(|found| found.is_file());
        is_file.then_some((rank, name))
    });
    let best = candidates.min_by(|(rank, name), (other_rank, other)| {
        rank.cmp(other_rank).then_with(|| other.cmp(name))
    });
    best.map(|(_, name)| folder.join(name))
}

fn is_match(pattern: &str, stem: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => stem.starts_with(start),
        None => stem == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[&str]) -> Self {
            let path = std::env::temp_dir().join(format!("rfm-search-{name}-{}", process::id()));
            fs::create_dir_all(&path).unwrap();
            for file in files {
                fs::write(path.join(file), "").unwrap();
            }
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn found(kind: DatabaseKind, folders: &[&Folder]) -> Option<String> {
        let folders: Vec<_> = folders.iter().map(|folder| folder.0.clone()).collect();
        let path = find(kind, &folders)?;
        Some(path.file_name()?.to_str()?.to_owned())
    }

    #[test]
    fn the_newest_preferred_file_of_the_first_folder_is_found() {
        use DatabaseKind::{Asn, City};
        let months = Folder::new(
            "months",
            &[
                "dbip-asn-lite-2026-09.mmdb",
                "dbip-asn-lite-2026-11.mmdb",
                "dbip-asn-lite-2026-10.mmdb",
                "dbip-country-lite-2026-11.mmdb",
                "README.txt",
                "dbip-asn-lite-2027-01.mmdb.gz",
            ],
        );
        let lite = Folder::new("lite", &["ipinfo_lite.mmdb", "geolite2-asn-ipv4.mmdb"]);
        let maxmind = Folder::new(
            "maxmind",
            &["GeoLite2-ASN.mmdb", "GeoLite2-City.mmdb", "asn.mmdb"],
        );
        let empty = Folder::new("empty", &["notes.mmdb"]);
        fs::create_dir_all(empty.0.join("asn.mmdb")).unwrap();
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(found(Asn, &[&empty]), None);
        assert_eq!(
            found(Asn, &[&empty, &months, &maxmind]),
            name("dbip-asn-lite-2026-11.mmdb")
        );
        assert_eq!(
            found(City, &[&months]),
            name("dbip-country-lite-2026-11.mmdb")
        );
        assert_eq!(found(Asn, &[&lite]), name("ipinfo_lite.mmdb"));
        assert_eq!(found(City, &[&lite]), name("ipinfo_lite.mmdb"));
        assert_eq!(found(Asn, &[&maxmind, &months]), name("GeoLite2-ASN.mmdb"));
        assert_eq!(found(City, &[&maxmind]), name("GeoLite2-City.mmdb"));
    }
}
