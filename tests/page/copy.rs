// SPDX-License-Identifier: AGPL-3.0-only
//! Copies of tables are tab-separated text.

use crate::browser::TOOLS;
use crate::common::lab::can_run;
use crate::looks::visit;

#[test]
fn a_copied_table_is_tab_separated() {
    if !can_run(&TOOLS) {
        return;
    }
    visit(60, 1, |browser, _, _| {
        browser.wait("return document.querySelectorAll('#table tbody tr').length === 25");
        browser.click("#copy");
        browser.wait("return document.querySelector('#copy').textContent === 'Copied'");
        let text = browser.clipboard();
        let lines: Vec<Vec<_>> = text
            .lines()
            .map(|line| line.split('\t').collect())
            .collect();
        assert_eq!(lines.len(), 26, "{text}");
        assert!(
            lines.iter().all(|cells| cells.len() == lines[0].len()),
            "{text}"
        );
        assert_eq!(
            lines[0][..4],
            ["Name", "Now", "Mean ↓", "Maximum"].map(|name| name.trim_end_matches(" ↓"))
        );
        assert_eq!(lines[1][0], "Example Video Delivery AS64500");
        assert!(lines[1][1].ends_with("bit/s"), "{text}");

        // a selection in a table
        browser.run(
            "const rows = document.querySelectorAll('#table tbody tr'); \
             getSelection().setBaseAndExtent(rows[1].cells[1], 0, rows[3].cells[2], 1)",
        );
        browser.press_with_control('c');
        assert_eq!(
            browser.clipboard(),
            text.lines().skip(2).take(3).collect::<Vec<_>>().join("\n")
        );

        // within one cell: the selection itself
        browser.run("getSelection().selectAllChildren(document.querySelector('#h-shown bdi'))");
        browser.press_with_control('c');
        assert_eq!(browser.clipboard(), "wan0");
    });
}
