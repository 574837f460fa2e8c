// SPDX-License-Identifier: AGPL-3.0-only
//! The story of a new operator: the shipped configuration, no names, a database, names, and who it is.

use std::fs;

use crate::browser::{Browser, TOOLS, keep_picture};
use crate::common::agent::Agent;
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
    if !can_run(&[&TOOLS[..], &["unshare", "mount"]].concat()) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    a.ip("address add 10.1.1.254/24 dev a0");
    let folder = lab.path("var-lib");
    fs::create_dir_all(folder.join("GeoIP")).expect("a folder");
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
    let agent = Agent::start_under(&lab, &a, &config, &wrapper);
    let browser = Browser::start(&lab, &a);
    meanwhile(
        &[&|stop| b.inside(|| frames("b0", true, stop)), &|stop| {
            a.inside(|| frames("a0", false, stop))
        }],
        || {
            browser.open("http://127.0.0.1:9669/#if=a0");
            story(&browser, &folder);
        },
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
    drop(browser);
    agent.stop();
}

fn story(browser: &Browser, folder: &std::path::Path) {
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

    // a database is put in place, as the update script does
    let mut networks = Writer::new(4, 24, 1);
    networks.insert("61.0.0.0/8", &asn(64_501, "Example Hosting"));
    networks.insert("62.0.0.0/8", &asn(64_502, "Example Video"));
    let beside = folder.join("beside");
    fs::write(&beside, networks.finish()).expect("written");
    fs::rename(&beside, folder.join("GeoIP/asn.mmdb")).expect("renamed");
    browser.wait("return document.querySelector('#names-hint').hidden");
    names("Example Video");
    assert_eq!(browser.run(pressed), "Networks,Networks");

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

    browser.run("history.back()");
    browser.wait("return document.querySelectorAll('.chip').length === 1");
    browser.run("history.back()");
    browser.wait("return document.querySelector('#filters').hidden");
    names("Example Hosting");
}
