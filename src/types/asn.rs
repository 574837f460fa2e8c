// SPDX-License-Identifier: AGPL-3.0-only
//! Parses AS numbers, in all commands and in the configuration.

/// Describes a valid number in errors.
pub const EXPECTED: &str = "an AS number from 1 to 4294967295, such as 64500 or AS64500";

/// Parses "64500" or "AS64500"; case does not matter. 0 is reserved (RFC 7607) and no AS number.
pub fn parse(text: &str) -> Option<u32> {
    digits(text)
        .unwrap_or(text)
        .parse()
        .ok()
        .filter(|asn| *asn > 0)
}

/// Parses "AS64500": a number without these letters may be something else.
pub fn parse_prefixed(text: &str) -> Option<u32> {
    digits(text).and_then(parse)
}

/// Returns the text behind "AS".
fn digits(text: &str) -> Option<&str> {
    let (letters, digits) = text.split_at_checked(2)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && letters.eq_ignore_ascii_case("as")).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_and_without_letters() {
        for (text, number, prefixed) in [
            ("64500", Some(64500), None),
            ("AS64500", Some(64500), Some(64500)),
            ("as4294967295", Some(u32::MAX), Some(u32::MAX)),
            ("AS0", None, None),
            ("0", None, None),
            ("AS", None, None),
            ("ASAS1", None, None),
            ("AS4294967296", None, None),
            ("ash", None, None),
            ("é1", None, None),
            ("", None, None),
        ] {
            assert_eq!(
                (parse(text), parse_prefixed(text)),
                (number, prefixed),
                "{text}"
            );
        }
    }
}
