// SPDX-License-Identifier: AGPL-3.0-only
//! nfacctd with an example's configuration, in the foreground.

use std::fs::{self, File};
use std::process::{Child, Stdio};

use super::common::lab::{Lab, Namespace, end, wait_for};
use super::flows::{ANSWER_TIMEOUT, example};

/// What makes it a service of Debian's.
const SERVICE: [&str; 3] = ["daemonize: true", "pidfile: ", "syslog: daemon"];

pub struct Nfacctd {
    child: Child,
    log: std::path::PathBuf,
}

impl Nfacctd {
    /// Of docs/examples/`name`, after `edit`; listens when this returns.
    pub fn start(
        lab: &Lab,
        namespace: &Namespace,
        name: &str,
        edit: impl Fn(String) -> String,
    ) -> Self {
        let text = edit(example(name));
        let lines = text
            .lines()
            .filter(|line| !SERVICE.iter().any(|s| line.starts_with(s)));
        let kept: Vec<&str> = lines.collect();
        assert_eq!(kept.len() + SERVICE.len(), text.lines().count(), "{text}");
        let config = lab.file(name, &(kept.join("\n") + "\n"));
        let log = lab.path("nfacctd.log");
        let output = File::create(&log).expect("a log file");
        let child = namespace
            .command("nfacctd", &["-f", config.to_str().expect("UTF-8")])
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("ip netns exec");
        let mut nfacctd = Self { child, log };
        let listens = wait_for(ANSWER_TIMEOUT, || {
            assert!(nfacctd.runs(), "{}", nfacctd.said());
            namespace.run("ss", "-Hlun").contains(":4739")
        });
        assert!(listens, "{}", nfacctd.said());
        nfacctd
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Nfacctd {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
