// SPDX-License-Identifier: AGPL-3.0-only
//! Converts the typed filter to parameters of a query, and to words that rows must contain (pure). The agent reports
//! the parameters that are not valid.

use std::net::IpAddr;

use crate::control::params::{self, encode};
use crate::types::asn;
use crate::types::flow::Direction;
use crate::types::named::Named;
use crate::types::prefix::Prefix;

/// A filter: the agent applies the pairs, the view the words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypedFilter {
    pub pairs: Vec<(String, String)>,
    /// Lower case: parts of names, addresses and other cells.
    pub words: Vec<String>,
}

impl TypedFilter {
    /// Reads a filter. While it is typed, its last word may be incomplete: rows must contain it.
    pub fn parse(text: &str, interfaces: &[&str], typing: bool) -> Self {
        let mut filter = Self::default();
        let mut words = text.split_whitespace().peekable();
        while let Some(word) = words.next() {
            let last = typing && words.peek().is_none() && !text.ends_with(char::is_whitespace);
            let complete = word.contains('/') && word.parse::<Prefix>().is_ok();
            match pair(word, interfaces) {
                Some((name, value)) if !last || complete => {
                    filter.pairs.push((name.to_owned(), value.to_owned()));
                }
                Some((_, value)) => filter.words.push(value.to_lowercase()),
                None => filter.words.push(word.to_lowercase()),
            }
        }
        filter
    }

    /// Returns "&name=value" for each pair, and adds `direction` unless a word sets it.
    pub fn query(&self, direction: Option<&str>) -> String {
        let mut pairs: Vec<_> = self.pairs.iter().map(|(n, v)| (&**n, &**v)).collect();
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

    /// Returns whether a text in lower case contains all words.
    pub fn admits(&self, text: &str) -> bool {
        self.words.iter().all(|word| text.contains(&**word))
    }
}

/// Returns a filter with further parameters, which replace those of the same name.
pub fn narrow(filter: &str, more: &[(String, String)], interfaces: &[&str]) -> String {
    let replaced = |word: &&str| {
        let name = pair(word, interfaces).map(|(name, _)| name);
        name.is_some_and(|name| more.iter().any(|(other, _)| *other == name))
    };
    let kept = filter.split_whitespace().filter(|word| !replaced(word));
    let kept = kept.map(str::to_owned);
    let more = more.iter().map(|(name, value)| format!("{name}={value}"));
    kept.chain(more).collect::<Vec<_>>().join(" ")
}

/// Returns the name and the value of a word. A word without a name receives it from its form.
fn pair<'a>(word: &'a str, interfaces: &[&str]) -> Option<(&'a str, &'a str)> {
    if let Some((name, value)) = word.split_once('=') {
        return Some((name, value));
    }
    let address = word.split('/').next().unwrap_or(word);
    if let Some(direction) = Direction::parse(word) {
        return Some(("direction", direction.name()));
    }
    match word {
        _ if address.parse::<IpAddr>().is_ok() => Some(("address", word)),
        _ if word.bytes().all(|b| b.is_ascii_digit()) => Some(("port", word)),
        _ if asn::parse_prefixed(word).is_some() => Some(("asn", word)),
        _ if params::protocol(word).is_some() => Some(("protocol", word)),
        _ if interfaces.contains(&word) => Some(("interface", word)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERFACES: [&str; 1] = ["eth0.100"];

    fn query(filter: &str, direction: Option<&str>) -> String {
        TypedFilter::parse(filter, &INTERFACES, false).query(direction)
    }

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
            ("a&b=c google", "&a%26b=c"),
            ("interface=eth9", "&interface=eth9"),
            ("ash", ""),
            ("as", ""),
        ] {
            assert_eq!(query(filter, None), expected, "{filter}");
        }
    }

    #[test]
    fn a_direction_that_was_typed_wins() {
        assert_eq!(query("", Some("egress")), "&direction=egress");
        assert_eq!(query("in", Some("egress")), "&direction=ingress");
    }

    #[test]
    fn other_words_are_looked_for_in_the_rows() {
        let filter = TypedFilter::parse("tcp Google", &INTERFACES, false);
        assert_eq!(filter.words, ["google"]);
        assert!(filter.admits("tcp 10.0.0.1 as15169 google llc") && !filter.admits("tcp"));
        // an incomplete word is no port yet
        let typing = TypedFilter::parse("tcp 44", &INTERFACES, true);
        assert_eq!(
            (typing.pairs.len(), &*typing.words),
            (1, &["44".into()][..])
        );
        let typing = TypedFilter::parse("tcp 44 ", &INTERFACES, true);
        assert_eq!((typing.pairs.len(), typing.words.len()), (2, 0));
        let prefix = TypedFilter::parse("10.0.0.0/8", &INTERFACES, true);
        assert_eq!(prefix.query(None), "&address=10.0.0.0/8");
    }

    #[test]
    fn a_narrower_filter_has_each_name_once() {
        let more = [("asn".to_owned(), "64501".to_owned())];
        assert_eq!(
            narrow("tcp AS64500 google", &more, &INTERFACES),
            "tcp google asn=64501"
        );
    }
}
