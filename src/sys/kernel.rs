// SPDX-License-Identifier: AGPL-3.0-only
//! The version of the running kernel.

/// Returns the first two numbers of the version, or `None` if it has another form.
pub fn version() -> Option<(u32, u32)> {
    parse(&release())
}

/// Returns the release, such as "6.12.9-amd64".
pub fn release() -> String {
    let uname = rustix::system::uname();
    uname.release().to_string_lossy().into_owned()
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_a_version() {
        for (release, expected) in [
            ("6.12.9-amd64", Some((6, 12))),
            ("5.10.0", Some((5, 10))),
            ("6.1-rc3", Some((6, 1))),
            ("unknown", None),
        ] {
            assert_eq!(parse(release), expected, "{release}");
        }
    }
}
