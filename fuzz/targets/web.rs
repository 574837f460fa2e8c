// SPDX-License-Identifier: AGPL-3.0-only
//! Web configuration files: every text is read or refused with a reason.

use std::path::Path;

use rfm::web::file::parse;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match parse(text, Path::new("/etc/rfm")) {
        Ok(file) => {
            assert!(file.users.iter().all(|user| user.hash.len() == 60));
            assert!(file.headers.len() <= 5);
            if let Some(tls) = file.tls {
                assert!(!tls.versions.is_empty());
            }
        }
        Err(errors) => assert!(errors.iter().all(|error| error.contains("line "))),
    }
}
