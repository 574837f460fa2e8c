// SPDX-License-Identifier: AGPL-3.0-only
//! Certificates made by openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::lab::run;

/// A certificate authority with the files NAME.crt and NAME.key in its folder.
pub struct Authority {
    folder: PathBuf,
    name: &'static str,
}

/// The kind of a key, as openssl names it.
pub const P256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub const RSA: &[&str] = &["rsa:2048"];

impl Authority {
    pub fn new(folder: &Path, name: &'static str) -> Self {
        // no extension but those given
        let config = "[req]\ndistinguished_name = dn\n[dn]\n";
        fs::write(folder.join("openssl.cnf"), config).unwrap();
        let authority = Self {
            folder: folder.to_owned(),
            name,
        };
        let subject = format!("/CN={name}");
        authority.make(
            name,
            P256,
            &subject,
            &["basicConstraints=critical,CA:TRUE"],
            &[],
        );
        authority
    }

    /// Signs NAME.crt with the key NAME.key, for this machine or for a client.
    pub fn issue(&self, name: &str, key: &[&str]) {
        let of = |end: &str| format!("{}.{end}", self.name);
        let names = [
            "basicConstraints=CA:FALSE",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
        ];
        let (ca, ca_key) = (of("crt"), of("key"));
        let signer = ["-CA", &ca, "-CAkey", &ca_key];
        self.make(name, key, &format!("/CN={name}"), &names, &signer);
    }

    fn make(&self, name: &str, key: &[&str], subject: &str, extensions: &[&str], more: &[&str]) {
        let mut command = Command::new("openssl");
        command
            .current_dir(&self.folder)
            .args([
                "req",
                "-config",
                "openssl.cnf",
                "-x509",
                "-nodes",
                "-days",
                "30",
            ])
            .args(["-subj", subject, "-newkey"])
            .args(key)
            .args([
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.crt"),
            ])
            .args(more);
        for extension in extensions {
            command.args(["-addext", extension]);
        }
        run(&mut command);
    }
}
