// SPDX-License-Identifier: AGPL-3.0-only
//! Selects a format by the field Accept (RFC 9110, section 12.5.1).

use std::cmp::Reverse;

use hyper::HeaderMap;
use hyper::header::ACCEPT;

use super::encoding::quality;

/// A media type that the server can send.
#[derive(Clone, Copy, Debug)]
pub struct MediaType {
    /// Type and subtype, in lower case.
    pub name: &'static str,
    /// The parameters that a range may have, and the values with which it includes this media type.
    pub parameters: &'static [(&'static str, &'static [&'static str])],
}

/// A range that includes a media type.
#[derive(Clone, Copy, Debug)]
struct RangeMatch {
    /// How specific its name is, and the number of its parameters: a more specific range has
    /// precedence.
    rank: (usize, usize),
    weight: f32,
    /// The position of the range in the field.
    at: usize,
}

/// Returns the position of the media type that `headers` prefer. Of equal ones it is that whose range
/// is first in the field, then the first of `offers`; 0 if none is acceptable.
pub fn preferred(headers: &HeaderMap, offers: &[MediaType]) -> usize {
    let lists = headers.get_all(ACCEPT).iter();
    let lists = lists.filter_map(|list| list.to_str().ok());
    let ranges: Vec<&str> = lists.flat_map(|list| split(list, ',')).collect();
    let found = offers.iter().enumerate().filter_map(|(offer, media_type)| {
        let range = most_specific(media_type, &ranges).filter(|range| range.weight > 0.0)?;
        Some((offer, range))
    });
    let best = found.max_by(|(a, x), (b, y)| {
        let first = |offer, range: RangeMatch| (Reverse(range.at), Reverse(offer));
        let by_weight = x.weight.total_cmp(&y.weight);
        by_weight.then_with(|| first(*a, *x).cmp(&first(*b, *y)))
    });
    best.map_or(0, |(offer, _)| offer)
}

/// Returns the most specific range that includes the media type, the first of equal ones.
fn most_specific(media_type: &MediaType, ranges: &[&str]) -> Option<RangeMatch> {
    let ranges = ranges.iter().enumerate();
    let matching = ranges.filter_map(|(at, range)| included(media_type, range, at));
    matching.min_by_key(|range| (Reverse(range.rank), range.at))
}

/// Returns how a range includes the media type; `None` if it does not.
fn included(media_type: &MediaType, range: &str, at: usize) -> Option<RangeMatch> {
    let mut parts = split(range, ';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let (own_kind, own_subtype) = media_type.name.split_once('/')?;
    let name = match (kind, subtype) {
        ("*", "*") => 1,
        (kind, "*") if kind.eq_ignore_ascii_case(own_kind) => 2,
        (kind, subtype)
            if kind.eq_ignore_ascii_case(own_kind) && subtype.eq_ignore_ascii_case(own_subtype) =>
        {
            3
        }
        _ => return None,
    };
    let (mut parameters, mut weight) = (0, 1.0);
    for part in parts.filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        if name.eq_ignore_ascii_case("q") {
            weight = quality(part);
            continue;
        }
        let mut known = media_type.parameters.iter();
        let (_, values) = known.find(|(known, _)| name.eq_ignore_ascii_case(known))?;
        if !values.iter().any(|known| value.eq_ignore_ascii_case(known)) {
            return None;
        }
        parameters += 1;
    }
    let rank = (name, parameters);
    Some(RangeMatch { rank, weight, at })
}

/// Splits a list at a separator that is not between quotes.
fn split(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    list.split(move |c| {
        let is_literal = is_escaped;
        is_escaped = is_quoted && !is_literal && c == '\\';
        if c == '"' && !is_literal {
            is_quoted = !is_quoted;
        }
        c == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    const OFFERS: [MediaType; 3] = [
        MediaType {
            name: "text/plain",
            parameters: &[("version", &["0"]), ("charset", &["utf-8"])],
        },
        MediaType {
            name: "text/plain",
            parameters: &[("version", &["1"]), ("charset", &["utf-8"])],
        },
        MediaType {
            name: "application/x",
            parameters: &[("version", &["1", "2"])],
        },
    ];

    fn select(fields: &[&'static str]) -> usize {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(ACCEPT, HeaderValue::from_static(field));
        }
        preferred(&headers, &OFFERS)
    }

    #[test]
    fn the_highest_quality_is_preferred() {
        for (expected, accept) in [
            (
                2,
                "application/x;q=0.6,text/plain;version=1;q=0.5,*/*;q=0.1",
            ),
            (
                1,
                "application/x;q=0.4,text/plain;version=1;q=0.5,*/*;q=0.1",
            ),
            (
                0,
                "application/x;q=0.4,text/plain;version=1;q=0.5,*/*;q=0.9",
            ),
            (1, "Text/Plain ; Version=\"1\" ; Q=0.2, */*;q=0.1"),
            (2, "application/*"),
            (2, "application/x;version=2"),
            (0, "text/*, application/x;q=0.999"),
        ] {
            assert_eq!(select(&[accept]), expected, "{accept}");
        }
        assert_eq!(select(&["text/plain;q=0.1", "application/x;q=0.2"]), 2);
    }

    #[test]
    fn the_most_specific_range_has_the_quality() {
        for (expected, accept) in [
            (1, "text/*;q=0.9, text/plain;version=0;q=0"),
            (2, "*/*, text/*;q=0"),
            (2, "text/*;q=0, */*"),
            (0, "*/*;q=0.5, application/x;q=0, text/plain;version=1;q=0"),
            (1, "text/plain, text/plain;version=0;charset=utf-8;q=0.3"),
        ] {
            assert_eq!(select(&[accept]), expected, "{accept}");
        }
    }

    #[test]
    fn of_equal_qualities_the_first_range_is_preferred() {
        for (expected, accept) in [
            (2, "application/x, text/plain"),
            (0, "text/plain, application/x"),
            (1, "text/plain;version=1, text/plain;version=0"),
            (0, "*/*"),
            (0, "text/plain"),
        ] {
            assert_eq!(select(&[accept]), expected, "{accept}");
        }
    }

    #[test]
    fn the_first_offer_is_for_all_others() {
        assert_eq!(select(&[]), 0);
        for accept in [
            "",
            "application/json",
            "*/*;q=0",
            "application/x;q=0",
            "application/x;version=3",
            "application/x;other=1",
            "application/x;version",
            "application/x;q=nonsense",
            "application/x;q=2",
            "application/x;q=nan",
            "application",
            "*/x",
            "application/y;a=\",application/x,\"",
            "application/y;a=\"\\\",application/x,\"",
        ] {
            assert_eq!(select(&[accept]), 0, "{accept}");
        }
    }

    /// Names with the offers that they include, and how specific they are.
    const NAMES: [(&str, &[usize], usize); 6] = [
        ("*/*", &[0, 1, 2], 10),
        ("text/*", &[0, 1], 20),
        ("Application/*", &[2], 20),
        ("text/plain", &[0, 1], 30),
        ("application/X", &[2], 30),
        ("application/y", &[], 30),
    ];
    const VERSIONS: [(&str, &[usize], usize); 5] = [
        ("", &[0, 1, 2], 0),
        (";version=0", &[0], 1),
        ("; Version=\"1\"", &[1, 2], 1),
        (" ;version=2", &[2], 1),
        (";version=3", &[], 1),
    ];

    proptest! {
        #[test]
        fn no_acceptable_offer_is_better_than_the_preferred_one(
            ranges in proptest::collection::vec((0..NAMES.len(), 0..VERSIONS.len(), 0..=10_u8), 0..6),
        ) {
            let mut field = String::new();
            let mut best = [None; OFFERS.len()];
            for (name, version, tenths) in ranges {
                let (name, version) = (NAMES[name], VERSIONS[version]);
                field += &format!("{}{};q={}.{},", name.0, version.0, tenths / 10, tenths % 10);
                let rank = name.2 + version.2;
                for offer in name.1.iter().filter(|offer| version.1.contains(offer)) {
                    if best[*offer].is_none_or(|(known, _)| rank > known) {
                        best[*offer] = Some((rank, tenths));
                    }
                }
            }
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(&field).unwrap());
            let preferred = preferred(&headers, &OFFERS);
            let qualities = best.map(|best| best.map_or(0, |(_, tenths)| tenths));
            let highest = qualities.into_iter().max().unwrap();
            prop_assert_eq!(qualities[preferred], highest, "{}: {:?}", field, qualities);
            prop_assert!(highest > 0 || preferred == 0);
        }

        #[test]
        fn any_field_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert(ACCEPT, value);
                prop_assert!(preferred(&headers, &OFFERS) < OFFERS.len());
            }
        }
    }
}
