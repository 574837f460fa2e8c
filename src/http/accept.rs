// SPDX-License-Identifier: AGPL-3.0-only
//! Selects the version of the Prometheus text format by the field Accept (RFC 9110, section 12.5.1).

use hyper::HeaderMap;
use hyper::header::ACCEPT;

use super::encoding::quality;

/// A version of the text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextVersion {
    V0,
    /// As 0.0.4, except that names may be quoted, which names in this format need not be.
    V1,
}

impl TextVersion {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V0 => "text/plain; version=0.0.4; charset=utf-8",
            Self::V1 => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        }
    }

    /// Returns whether the format has this value of a parameter.
    fn has(self, name: &str, value: &str) -> bool {
        let value = value.trim().trim_matches('"');
        let value_of = |v0, v1| match self {
            Self::V0 => value.eq_ignore_ascii_case(v0),
            Self::V1 => value.eq_ignore_ascii_case(v1),
        };
        match name {
            "version" => value_of("0.0.4", "1.0.0"),
            "escaping" => self == Self::V1 && value_of("", "allow-utf-8"),
            "charset" => value_of("utf-8", "utf-8"),
            _ => false,
        }
    }
}

/// Returns the version that `headers` prefer: 0.0.4 if both are equal, or neither is acceptable.
pub fn text_version(headers: &HeaderMap) -> TextVersion {
    let of = |version| quality_of(version, headers);
    match of(TextVersion::V1) > of(TextVersion::V0) {
        true => TextVersion::V1,
        false => TextVersion::V0,
    }
}

/// Returns the quality of a format: that of the most specific range that includes it.
fn quality_of(version: TextVersion, headers: &HeaderMap) -> f32 {
    let lists = headers.get_all(ACCEPT).iter();
    let ranges = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','));
    let mut best = (0, 0.0);
    for (rank, weight) in ranges.filter_map(|range| included(version, range)) {
        if rank > best.0 {
            best = (rank, weight);
        }
    }
    best.1
}

/// Returns how specific a range is, and its quality, if it includes the format.
fn included(version: TextVersion, range: &str) -> Option<(usize, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let mut rank = match parts.next()?.to_ascii_lowercase().as_str() {
        "*/*" => 1,
        "text/*" => 2,
        "text/plain" => 3,
        _ => return None,
    };
    let mut weight = 1.0;
    for part in parts.filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => weight = quality(part),
            name if version.has(name, value) => rank += 1,
            _ => return None,
        }
    }
    Some((rank, weight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn version(accept: &'static str) -> TextVersion {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        text_version(&headers)
    }

    #[test]
    fn version_1_is_for_those_who_prefer_it() {
        for accept in [
            // the default of Prometheus 3
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            "text/plain; version=\"1.0.0\"",
            "Text/Plain ; Version=1.0.0 ; Q=0.2, */*;q=0.1",
            "text/*;q=0.9, text/plain;version=0.0.4;q=0",
        ] {
            assert_eq!(version(accept), TextVersion::V1, "{accept}");
        }
    }

    #[test]
    fn version_0_is_for_all_others() {
        assert_eq!(text_version(&HeaderMap::new()), TextVersion::V0);
        for accept in [
            "",
            "*/*",
            "text/plain",
            "application/json",
            "text/plain;version=1.0.0;q=0",
            "text/plain;version=1.0.0;escaping=underscores",
            "text/plain;version=1.0.0;q=0.2, text/plain;version=0.0.4;q=0.3",
            "text/plain;version=1.0.0, */*;q=nonsense, text/plain;version=0.0.4",
            "text/plain;version=2.0.0",
            // the default of Prometheus 2
            "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        ] {
            assert_eq!(version(accept), TextVersion::V0, "{accept}");
        }
    }
}
