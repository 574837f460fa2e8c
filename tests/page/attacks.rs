// SPDX-License-Identifier: AGPL-3.0-only
//! The list of attacks.

use serde_json::json;

use crate::browser::{TOOLS, keep_picture};
use crate::common::lab::can_run;
use crate::looks::visit;
use crate::states::is_sound;
use rfm::page::attacks::{AttackRow, AttackTable};

const HIDDEN: &str = "return document.querySelector('#attacks-section').hidden";

fn row(id: u64, target: &str, began: f64) -> AttackRow {
    AttackRow {
        id,
        target: target.into(),
        direction: "in",
        kind: "packets",
        value: 48_000.0,
        threshold: 2_000.0,
        signature: Some("protocol udp, sport 123, length 468".into()),
        action: "drop",
        reason: "the signature is specific",
        began,
        ..AttackRow::default()
    }
}

#[test]
fn attacks_are_listed_with_their_signature_and_rule() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(30, 1, |browser, _, router| {
        assert_eq!(browser.run(HIDDEN), true, "there is no guard");
        router.attacks = Some(AttackTable::default());
        router.tick();
        let note = "document.querySelector('#attacks-note').textContent";
        browser.wait(&format!("return {note} === 'No alarm since the start.'"));
        for (name, dark) in [("attacks-rest-light", false), ("attacks-rest-dark", true)] {
            browser.resize(1280, 1400, dark);
            keep_picture(browser, name, (1280, 1400));
        }
        let began = 1_790_000_000.0;
        let first = AttackRow {
            in_force: true,
            matched: 12_345,
            link_full: true,
            ..row(7, "192.0.2.7/32", began + 9_000.0)
        };
        let second = AttackRow {
            kind: "bits",
            value: 8e7,
            threshold: 4e7,
            signature: None,
            action: "alert",
            reason: "no signature <b>",
            ended: Some(began + 65.0),
            ..row(6, "2001:db8:1::7/128", began)
        };
        let third = AttackRow {
            ended: Some(began),
            ..row(5, "", began - 30.0)
        };
        router.attacks = Some(AttackTable {
            rows: vec![first, second, third],
            total: 40,
        });
        router.problems = json!([{"kind": "attack", "text": "attack 7 on 192.0.2.7/32", "remedy": "rfm guard show"}]);
        router.tick();
        browser.wait("return document.querySelectorAll('#attacks tbody tr').length === 3");
        browser.wait(&format!(
            "return {note}.startsWith('The first 3 of 40 lines.')"
        ));
        let cells = browser.run(
            "return [...document.querySelectorAll('#attacks tbody tr')].map(row => [...row.cells].map(cell => [...cell.childNodes].map(part => part.textContent)))",
        );
        assert_eq!(
            cells[0][1],
            json!(["packets in", "48\u{202f}000/s, threshold 2\u{202f}000/s"])
        );
        assert_eq!(
            cells[0][2],
            json!(["protocol udp, sport 123, length 468", "The link is full"])
        );
        assert_eq!(
            cells[0][3],
            json!([
                "drop, in force",
                "the signature is specific; 12\u{202f}345 packets matched"
            ])
        );
        assert_eq!(
            cells[1][1],
            json!(["bits in", "80.0 Mbit/s, threshold 40.0 Mbit/s"])
        );
        assert_eq!(cells[1][2], json!(["–"]), "the link is not full");
        assert_eq!(cells[1][3], json!(["alert", "no signature <b>"]));
        assert_eq!(cells[2][0][0], "Attack 5");
        assert_eq!(cells[2][3][0], "drop, proposed");
        is_sound(browser);
        for (name, width, dark) in [
            ("attacks-light", 1280, false),
            ("attacks-dark", 1280, true),
            ("attacks-narrow", 360, false),
        ] {
            browser.resize(width, 1400, dark);
            browser.wait(&format!(
                "return innerWidth === {width} && document.documentElement.scrollWidth <= {width}"
            ));
            keep_picture(browser, name, (width, 1400));
        }
    });
}
