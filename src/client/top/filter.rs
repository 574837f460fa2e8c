// SPDX-License-Identifier: AGPL-3.0-only
//! Converts the typed filter to parameters of a query (pure). The agent reports the parts that are not
//! valid.

use std::net::IpAddr;

use crate::control::params::{self, encode};

/// Names that may stand before "=".
const NAMES: [&str; 12] = [
    "interface",
    "direction",
    "protocol",
    "address",
    "src",
    "dst",
    "port",
    "src_port",
    "dst_port",
    "asn",
    "src_asn",
    "dst_asn",
];

/// Returns "&name=value" for each word, and adds `direction` unless a word sets it.
pub fn query(filter: &str, direction: Option<&str>) -> String {
    let mut pairs: Vec<(&str, &str)> = filter.split_whitespace().map(pair).collect();
    if let Some(direction) = direction
        && !pairs.iter().any(|(name, _)| *name == "direction")
    {
        pairs.push(("direction", direction));
    }
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, value)| format!("&{}={}", encode(name), encode(value)))
        .collect()
}

/// Returns the name and the value of a word. A word without a name receives it from its form.
fn pair(word: &str) -> (&str, &str) {
    if let Some((name, value)) = word.split_once('=') {
        return (name, value);
    }
    let address = word.split('/').next().unwrap_or(word);
    let is_asn = |word: &str| {
        let digits = word
            .get(..2)
            .filter(|start| start.eq_ignore_ascii_case("as"));
        digits.is_some() && word.len() > 2 && word[2..].bytes().all(|b| b.is_ascii_digit())
    };
    match word {
        "in" | "ingress" => ("direction", "ingress"),
        "out" | "egress" => ("direction", "egress"),
        _ if address.parse::<IpAddr>().is_ok() => ("address", word),
        _ if word.bytes().all(|b| b.is_ascii_digit()) => ("port", word),
        _ if is_asn(word) => ("asn", word),
        _ if params::protocol(word).is_some() => ("protocol", word),
        _ if NAMES.contains(&word) => (word, ""),
        _ => ("interface", word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_word_gives_its_name() {
        for (filter, expected) in [
            ("", ""),
            ("53", "&port=53"),
            ("10.0.0.0/8 tcp", "&address=10.0.0.0/8&protocol=tcp"),
            ("fe80::1", "&address=fe80::1"),
            ("AS64500", "&asn=AS64500"),
            ("eth0.100 in", "&interface=eth0.100&direction=ingress"),
            ("src_port=53", "&src_port=53"),
            ("a&b=c d", "&a%26b=c&interface=d"),
            ("ash", "&interface=ash"),
            ("as", "&interface=as"),
        ] {
            assert_eq!(query(filter, None), expected, "{filter}");
        }
    }

    #[test]
    fn a_direction_that_was_typed_wins() {
        assert_eq!(query("", Some("egress")), "&direction=egress");
        assert_eq!(query("in", Some("egress")), "&direction=ingress");
    }
}
