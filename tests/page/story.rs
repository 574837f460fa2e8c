// SPDX-License-Identifier: AGPL-3.0-only
//! The first minutes of a new operator: the shipped configuration, no names, a database that is fetched, names, a network,
//! its hosts and ports, and an address that is copied.

use crate::browser::{Browser, TOOLS, keep_picture};
use crate::common::agent::Agent;
use crate::common::database_site::{self, Site, month};
use crate::common::lab::{Lab, can_run};
use crate::common::mmdb::{Writer, asn};
use crate::common::traffic::meanwhile;
use crate::live::frames;

/// Runs the agent with a folder of the test as /var/lib, and without the other folders of databases.
const WRAPPER: &str = "mount --bind \"$0\" /var/lib\n\
    for folder in /usr/share/GeoIP /usr/local/share/GeoIP; do [ ! -d $folder ] || mount -t tmpfs none $folder; done\n\
    exec \"$@\"";

#[test]
fn from_no_names_to_hosts_and_ports() {
    let tools = [&TOOLS[..], &database_site::TOOLS, &["unshare", "mount"]].concat();
    if !can_run(&tools) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    a.ip("address add 10.1.1.254/24 dev a0");
    let folder = lab.path("var-lib");
    // as shipped, but for the addresses on which it listens
    let shipped = include_str!("../../config/rfm.toml");
    let config = shipped
        .replace(
            "#host = \"::1\"\n#port = 9669",
            "host = \"127.0.0.1\"\n#port = 9669",
        )
        .replace("# Its TCP port.\n#port = 9669", "port = 9669")
        .replace("#socket = \"/run/rfm/rfm.sock\"", "socket = \"\"")
        .replacen("#host = \"::1\"", "host = \"127.0.0.1\"", 1);
    let folder_name = folder.display().to_string();
    let wrapper = ["unshare", "--mount", "sh", "-ec", WRAPPER, &folder_name];
    let site = Site::new(&lab, &a, folder.join("GeoIP"));
    let agent = Agent::start_under(&lab, &a, &config, &wrapper);
    let browser = Browser::start(&lab, &a);
    meanwhile(
        &[&|stop| b.inside(|| frames("b0", true, stop)), &|stop| {
            a.inside(|| frames("a0", false, stop))
        }],
        || {
            browser.open("http://127.0.0.1:9669/#if=a0");
            story(&browser, &site);
        },
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
    drop(browser);
    agent.stop();
}

fn story(browser: &Browser, site: &Site) {
    let names = |expected: &str| {
        browser.wait(&format!(
            "return [...document.querySelectorAll('#table tbody bdi')].some(b => b.textContent === '{expected}')"
        ));
    };
    let open = |name: &str| {
        browser.run(&format!(
            "[...document.querySelectorAll('#table tbody .drill')].find(b => b.textContent === '{name}').click()"
        ));
    };
    // without names: a hint, and prefixes
    browser.wait("return !document.querySelector('#names-hint').hidden");
    names("62.0.0.0/24");
    let pressed = "return [...document.querySelectorAll('#tab [aria-pressed=true], #stack [aria-pressed=true]')].map(b => b.textContent).join()";
    assert_eq!(browser.run(pressed), "IP version,Prefixes");
    assert_eq!(browser.run("return location.hash"), "#if=a0");
    // the local network is known by its interface
    browser.run("document.querySelector('#side [data-value=near]').click()");
    names("10.1.1.0/24");
    browser.wait(
        "return document.querySelector('#table tbody').textContent.includes('network of a0')",
    );
    browser.run("document.querySelector('#side [data-value=far]').click()");
    names("62.0.0.0/24");
    keep_picture(browser, "story-bare", (1280, 1200));

    // the update script fetches a database
    let mut networks = Writer::new(4, 24, 1_790_000_000).with_type("DBIP-ASN-Lite");
    networks.insert("61.0.0.0/8", &asn(64_501, "Example Hosting"));
    networks.insert("62.0.0.0/8", &asn(64_502, "Example Video"));
    let path = format!("free/dbip-asn-lite-{}.mmdb.gz", month(0));
    site.publish_packed(&path, &networks.finish());
    let (code, log) = site.result("PLACES=none");
    assert_eq!(code, 0, "{log}");
    assert_eq!(site.found(), ["dbip-asn-lite.mmdb"]);
    browser.wait("return document.querySelector('#names-hint').hidden");
    names("Example Video");
    assert_eq!(browser.run(pressed), "Networks,Networks");
    let attribution = "return document.querySelector('#attributions').textContent";
    assert_eq!(browser.run(attribution), "IP Geolocation by DB-IP");
    // addresses of the local side have no AS
    browser.run("document.querySelector('#side [data-value=near]').click()");
    names("Local networks");
    browser.run("document.querySelector('#side [data-value=far]').click()");
    names("Example Video");

    // who it is, and what
    open("Example Video");
    names("62.0.0.1");
    let chips = "return [...document.querySelectorAll('.chip bdi')].map(b => b.textContent).join()";
    assert_eq!(browser.run(chips), "Example Video AS64502");
    open("62.0.0.1");
    names("UDP 9");
    assert_eq!(browser.run(chips), "Example Video AS64502,62.0.0.1");
    let rows = "return document.querySelectorAll('#table tbody tr').length";
    assert_eq!(browser.run(rows), 1);
    let links = "return [...document.querySelectorAll('#links a')].map(a => a.textContent).join()";
    let links = browser.run(links);
    assert!(
        links.as_str().unwrap().contains("62.0.0.1 on RIPEstat"),
        "{links}"
    );
    keep_picture(browser, "story-host", (1280, 1200));

    browser.click("#links button");
    browser.wait("return document.querySelector('#links button').textContent === 'Copied'");
    assert_eq!(browser.clipboard(), "62.0.0.1");

    browser.run("history.back()");
    browser.wait("return document.querySelectorAll('.chip').length === 1");
    browser.run("history.back()");
    browser.wait("return document.querySelector('#filters').hidden");
    names("Example Hosting");
}
