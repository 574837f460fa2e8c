// SPDX-License-Identifier: AGPL-3.0-only
//! The script rfm-update-databases against an HTTPS server of this machine with the paths of each source.

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::database_site::{SCRIPT, Site, TOOLS, month};
use common::lab::{Lab, can_run, run};
use common::mmdb::{Value, Writer, asn};

fn asn_database(built: u32) -> Vec<u8> {
    let mut writer = Writer::new(6, 28, built).with_type("DBIP-ASN-Lite (compat=GeoLite2-ASN)");
    for n in 0..6000u32 {
        let network = format!("20.{}.{}.0/24", n >> 8, n & 255);
        writer.insert(&network, &asn(64_512 + n, &format!("Example {n}")));
    }
    writer.finish()
}

fn country_database(built: u32) -> Vec<u8> {
    let mut writer = Writer::new(6, 24, built).with_type("DBIP-Country-Lite");
    let country = Value::Map(vec![("iso_code", "DE".into())]);
    writer.insert("192.0.2.0/24", &Value::Map(vec![("country", country)]));
    writer.finish()
}

#[test]
fn databases_of_each_source_are_put_into_place() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("n");
    let site = Site::new(&lab, &namespace, lab.path("found"));
    let (asn, country) = (asn_database(1_790_000_000), country_database(1_790_000_000));

    // the month's file of one, the previous month's of the other
    site.publish_packed(&format!("free/dbip-asn-lite-{}.mmdb.gz", month(0)), &asn);
    let previous = format!("free/dbip-country-lite-{}.mmdb.gz", month(1));
    site.publish_packed(&previous, &country);
    let (code, log) = site.result("");
    assert_eq!(code, 0, "{log}");
    let names = ["dbip-asn-lite.mmdb", "dbip-country-lite.mmdb"];
    assert_eq!(site.found(), names);
    assert_eq!(site.content(names[0]), asn);
    assert_eq!(site.content(names[1]), country);
    let attribution = "required attribution: IP Geolocation by DB-IP, https://db-ip.com\n";
    assert_eq!(log.matches(attribution).count(), 2, "{log}");
    assert!(log.contains("6000 networks"), "{log}");
    let mode = fs::metadata(site.lab.path("found").join(names[0])).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o644);

    // not downloaded again, unless the file is damaged
    let (code, log) = site.result("");
    assert_eq!((code, log.matches("up to date").count()), (0, 2), "{log}");
    let access = fs::read_to_string(site.lab.path("access.log")).unwrap();
    assert_eq!(access.matches("\" 304 0 ").count(), 2, "{access}");
    fs::write(site.lab.path("found").join(names[0]), "damaged").unwrap();
    assert_eq!(site.result("").0, 0);
    assert_eq!(site.content(names[0]), asn);

    // the others
    site.publish("latest/origin-asn.mmdb", &asn);
    site.publish("latest/user-country.mmdb", &country);
    site.publish("data/ipinfo_lite.mmdb", &asn);
    let member = "GeoLite2-ASN_20261101/GeoLite2-ASN.mmdb";
    site.publish(&format!("geoip/databases/{member}"), &asn);
    let databases = site.lab.path("tree/geoip/databases");
    let pack = ["-czf", "GeoLite2-ASN.tar.gz", member];
    run(Command::new("tar").current_dir(databases).args(pack));
    let maxmind = "SOURCE=geolite2 PLACES=none\nMAXMIND_ACCOUNT_ID=1234\nMAXMIND_LICENSE_KEY=key";
    for (settings, names) in [
        (
            "SOURCE=ip-location-db",
            &["origin-asn.mmdb", "user-country.mmdb"][..],
        ),
        ("SOURCE=ipinfo\nIPINFO_TOKEN=secret", &["ipinfo_lite.mmdb"]),
        (maxmind, &["GeoLite2-ASN.mmdb"]),
    ] {
        let (code, log) = site.result(settings);
        assert_eq!(code, 0, "{log}");
        for name in names {
            assert!(site.found().iter().any(|found| found == name), "{name}");
        }
    }
    for (settings, words) in [
        (
            "SOURCE=ipinfo\nIPINFO_TOKEN=no",
            "the server refused the key (status 403)",
        ),
        (
            &*maxmind.replace("=key", "=no"),
            "the server refused the key (status 401)",
        ),
    ] {
        let (code, log) = site.result(settings);
        assert_eq!(code, 1, "{log}");
        assert!(log.contains(words) && !log.contains("=no"), "{log}");
    }
}

#[test]
fn failures_leave_the_old_file() {
    if !can_run(&TOOLS) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.namespace("n");
    let site = Site::new(&lab, &namespace, lab.path("found"));
    let (old, new) = (asn_database(1_790_000_000), asn_database(1_795_000_000));
    let path = format!("free/dbip-asn-lite-{}.mmdb.gz", month(0));
    site.publish_packed(&path, &old);
    assert_eq!(site.result("PLACES=none").0, 0);

    site.publish_packed(&path, &new);
    let packed = fs::read(site.lab.path("tree").join(&path)).unwrap();
    let gz = |content: &[u8]| {
        let file = site.lab.path("other");
        fs::write(&file, content).unwrap();
        let output = Command::new("gzip").arg("-c").arg(file).output().unwrap();
        output.stdout
    };
    let cut = new[..new.len() / 2].to_vec();
    let mut damaged = new.clone();
    // in the middle of the records
    let at = damaged.len() - 40_000;
    damaged[at..at + 4000].fill(0xff);
    for (content, words) in [
        (
            packed[..packed.len() / 2].to_vec(),
            "the download is damaged or the disk is full: gzip: ",
        ),
        (b"<html>not found</html>".to_vec(), "not in gzip format"),
        (
            gz(b"<html>not found</html>"),
            "it is incomplete, or no MMDB database: download it again",
        ),
        (
            gz(&cut),
            "it is incomplete, or no MMDB database: download it again",
        ),
        (gz(&damaged), "it is damaged: download it again"),
        (
            gz(&country_database(1_795_000_000)),
            "the download has no data for asn_db",
        ),
        (Vec::new(), "cannot download"),
    ] {
        site.publish(&path, &content);
        let (code, log) = site.result("PLACES=none");
        assert_eq!(code, 1, "{words}: {log}");
        assert!(log.contains(words), "{words}: {log}");
        assert!(log.contains("the previous files are unchanged"), "{log}");
        assert_eq!(site.found(), ["dbip-asn-lite.mmdb"], "{words}");
        assert_eq!(site.content("dbip-asn-lite.mmdb"), old, "{words}");
    }

    // no such file, no connection, another certificate, a redirection to HTTP
    site.clear();
    for (settings, words) in [
        ("", "the server has no such file"),
        (
            "DBIP_URL=https://127.0.0.1:9",
            "cannot download https://127.0.0.1:9/free/",
        ),
        ("DBIP_URL=http://127.0.0.1:8443", "cannot download http://"),
        ("CURL_CA_BUNDLE=/dev/null", "certificate"),
        ("DBIP_URL=https://127.0.0.1:8443/moved", "cannot download"),
    ] {
        let (code, log) = site.result(&format!("PLACES=none\n{settings}"));
        assert_eq!(code, 1, "{settings}: {log}");
        assert!(log.contains(words), "{settings}: {log}");
        assert_eq!(site.content("dbip-asn-lite.mmdb"), old, "{settings}");
    }

    // mistakes in the settings
    for settings in [
        "SOURCE=other",
        "PLACES=street",
        "SOURCE=geolite2",
        "SOURCE=ipinfo",
    ] {
        let (code, log) = site.result(settings);
        assert_eq!(code, 2, "{log}");
    }
    full_disk(&site, &path, &new);
}

/// A folder whose file system has room for the old file only.
fn full_disk(site: &Site, path: &str, new: &[u8]) {
    site.publish_packed(path, new);
    let folder = site.path("found");
    let small = site.lab.file("small.mmdb", "");
    let mut writer = Writer::new(4, 24, 1_700_000_000);
    writer.insert("192.0.2.0/24", &asn(64_500, "Old"));
    fs::write(&small, writer.finish()).unwrap();
    let settings = site.settings("PLACES=none");
    let script = format!(
        "mount -t tmpfs -o size=100k none {folder} && cp {0} {folder}/dbip-asn-lite.mmdb && \
         touch -d 2020-01-01 {folder}/dbip-asn-lite.mmdb && ! sh {SCRIPT} --settings {1} && \
         cmp {0} {folder}/dbip-asn-lite.mmdb && ls -A {folder}",
        small.display(),
        settings.display()
    );
    let arguments = ["--mount", "sh", "-c", &script];
    let mut command = site.namespace.command("unshare", &arguments);
    let output = command.env("CURL_CA_BUNDLE", site.path("ca.pem")).output();
    let output = output.unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert_eq!(output.stdout, b"dbip-asn-lite.mmdb\n", "{log}");
    assert!(
        log.contains("disk is full") || log.contains("cannot download"),
        "{log}"
    );
}

/// The units are valid, and the service has no way to write elsewhere.
#[test]
fn the_units_verify() {
    if !can_run(&["systemd-analyze"]) {
        return;
    }
    let lab = Lab::new();
    let folder = Path::new(SCRIPT).parent().unwrap();
    for unit in ["rfm-update-databases.service", "rfm-update-databases.timer"] {
        let text = fs::read_to_string(folder.join(unit)).unwrap();
        lab.file(unit, &text.replace("/usr/bin/rfm-update-databases", SCRIPT));
    }
    let timer = lab.path("rfm-update-databases.timer");
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&timer)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.is_empty(), "{text}");
    let service = lab.path("rfm-update-databases.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=30"])
        .arg(&service)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}
