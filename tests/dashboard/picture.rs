// SPDX-License-Identifier: AGPL-3.0-only
//! Pictures of the panels, drawn from what Prometheus answers: `RFM_PICTURES=FOLDER cargo test --test dashboard`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::common::lab::{Namespace, run};
use crate::common::prometheus::ask;
use crate::queries::targets;

const PAGE: &str = include_str!("panels.html");
const SECONDS: u64 = 240;

/// Where pictures are wanted, if they are.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("RFM_PICTURES").map(PathBuf::from)
}

/// `work` is for what only the drawing needs.
pub fn draw(a: &Namespace, folder: &Path, work: &Path) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let range = format!(
        "&start={}&end={}&step=2",
        now.as_secs() - SECONDS,
        now.as_secs()
    );
    let panels: Vec<_> = targets()
        .into_iter()
        .map(|target| {
            let results = ask(a, "query_range", &target.expression, &range);
            json!({"panel": target.panel, "reference": target.reference, "legend": target.legend, "results": results})
        })
        .collect();
    // the data stand in a script: nothing of them may end it
    let data = json!(panels).to_string().replace('<', "\\u003c");
    let file = work.join("dashboard.html");
    std::fs::write(&file, PAGE.replace("\"DATA\"", &data)).expect("the folder is there");
    let picture = folder.join("dashboard.png");
    run(Command::new("chromium").args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-background-networking",
        "--window-size=1280,1750",
        &format!("--user-data-dir={}", work.join("chromium").display()),
        &format!("--screenshot={}", picture.display()),
        &format!("file://{}", file.display()),
    ]));
}
