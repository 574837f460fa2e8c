// SPDX-License-Identifier: AGPL-3.0-only
//! Prefixes of an UPDATE (RFC 4271 section 4.3), with or without Add-Path identifiers (RFC 7911
//! section 3) and labels (RFC 8277 section 2).
//!
//! Nothing in the bytes shows which of the two forms they have. The OPENs of both sides decide: prefixes
//! that are valid in the agreed form are decoded in that form. Some BMP senders do not follow the OPENs,
//! and some mix the forms. If the OPENs do not decide, the bytes are mostly valid in only one form; if they
//! are valid in both, the form that looks more like routing wins, with some weight on the previous forms of
//! the sender and little weight on the OPENs.

use crate::enrich::rib::{Family, RoutePrefix};

use super::families::UnicastFamily;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathIdMode {
    Plain,
    AddPath,
}

/// A prefix and its path identifier.
pub type Nlri = (Option<u32>, RoutePrefix);

/// Detects the form of the prefixes of one view of one peer in one family.
#[derive(Clone, Copy, Debug)]
pub struct PathIdDetector {
    /// The form on which the OPENs decide.
    agreed: Option<PathIdMode>,
    /// The form that the OPENs suggest.
    hint: PathIdMode,
    /// Forms in which bytes arrived that are invalid in the other form.
    proven: [bool; 2],
    last: PathIdMode,
}

/// Penalty points of a form: if both forms parse, the one with fewer points is used.
mod penalty {
    /// A bit is set beyond the length of the prefix, or a prefix is repeated: no sender does that.
    pub const NEVER_SENT: u32 = 8;
    /// The sender has used the other form, but never this one.
    pub const UNUSED_MODE: u32 = 7;
    /// A prefix shorter than any network but not a default route.
    pub const TOO_SHORT: u32 = 6;
    /// An address that is not used for unicast on any network.
    pub const NO_UNICAST: u32 = 4;
    /// The sender uses both forms, and used the other one last.
    pub const NOT_LAST: u32 = 3;
    /// Path identifiers usually count up from 1.
    pub const LARGE_ID: u32 = 3;
    pub const DEFAULT_ROUTE: u32 = 2;
    pub const AGAINST_HINT: u32 = 1;
    /// These points are enough to decide.
    pub const LIMIT: u32 = 1000;
}

/// Identifiers up to this value add no penalty.
const SMALL_ID: u32 = 0xffff;

impl PathIdDetector {
    /// Returns a detector. The OPENs decide on a form (`agreed`), or only suggest one (`hint`).
    pub fn new(agreed: Option<PathIdMode>, hint: PathIdMode) -> Self {
        let hint = agreed.unwrap_or(hint);
        Self {
            agreed,
            hint,
            proven: [false; 2],
            last: hint,
        }
    }

    /// Decides on the form of these bytes; returns `None` if they are invalid in both.
    pub fn decide(&mut self, kind: UnicastFamily, bytes: &[u8]) -> Option<PathIdMode> {
        let plain = is_valid(kind, PathIdMode::Plain, bytes);
        let add_path = is_valid(kind, PathIdMode::AddPath, bytes);
        let mode = match (plain, add_path) {
            (false, false) => return None,
            (true, true) if bytes.is_empty() => return Some(self.last),
            (true, true) => match self.agreed() {
                Some(mode) => mode,
                None => self.compare_penalties(kind, bytes),
            },
            (true, false) => PathIdMode::Plain,
            (false, true) => PathIdMode::AddPath,
        };
        if plain != add_path {
            self.proven[mode as usize] = true;
            self.last = mode;
        }
        Some(mode)
    }

    /// Returns the form on which the OPENs decide, unless the sender has left out the identifiers that they
    /// announce and never sent one.
    fn agreed(&self) -> Option<PathIdMode> {
        let omits_ids = self.proven == [true, false];
        self.agreed
            .filter(|mode| *mode == PathIdMode::Plain || !omits_ids)
    }

    fn compare_penalties(&self, kind: UnicastFamily, bytes: &[u8]) -> PathIdMode {
        let penalties = |mode| self.prior_penalty(mode) + penalties(kind, mode, bytes);
        let (plain, add_path) = (penalties(PathIdMode::Plain), penalties(PathIdMode::AddPath));
        if plain == add_path {
            self.last
        } else if plain < add_path {
            PathIdMode::Plain
        } else {
            PathIdMode::AddPath
        }
    }

    fn prior_penalty(&self, mode: PathIdMode) -> u32 {
        match self.proven {
            [false, false] if mode != self.hint => penalty::AGAINST_HINT,
            [true, true] if mode != self.last => penalty::NOT_LAST,
            [false, false] | [true, true] => 0,
            proven if proven[mode as usize] => 0,
            _ => penalty::UNUSED_MODE,
        }
    }
}

/// Reads prefixes that [`PathIdDetector::decide`] has found to be valid in this form.
pub fn read(
    kind: UnicastFamily,
    mode: PathIdMode,
    bytes: &[u8],
) -> impl Iterator<Item = Nlri> + '_ {
    raw(kind, mode, bytes).map_while(move |item| {
        let (id, length, bits) = item?;
        Some((id, RoutePrefix::new(kind.family, bits, length)))
    })
}

/// Returns identifier, length, and bits, including the bits beyond the length; `None` if the bytes are
/// malformed.
fn raw(
    kind: UnicastFamily,
    mode: PathIdMode,
    mut bytes: &[u8],
) -> impl Iterator<Item = Option<(Option<u32>, u8, u128)>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let item = one(kind, mode, &mut bytes);
        if item.is_none() {
            bytes = &[];
        }
        Some(item)
    })
}

fn one(
    kind: UnicastFamily,
    mode: PathIdMode,
    bytes: &mut &[u8],
) -> Option<(Option<u32>, u8, u128)> {
    let mut rest = *bytes;
    let id = match mode {
        PathIdMode::Plain => None,
        PathIdMode::AddPath => {
            let (id, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u32::from_be_bytes(*id))
        }
    };
    let (&length, after) = rest.split_first()?;
    let (value, after) = after.split_at_checked(usize::from(length.div_ceil(8)))?;
    let labels = match kind.labelled {
        true => labels(value, length, kind.family)?,
        false => 0,
    };
    let length = length - 8 * labels;
    if length > kind.family.bits() {
        return None;
    }
    let address = &value[labels.into()..];
    let mut octets = [0; 16];
    octets[..address.len()].copy_from_slice(address);
    *bytes = after;
    Some((id, length, u128::from_be_bytes(octets)))
}

/// Returns the size of the labels before a prefix, in bytes; `length` is the length of labels and prefix,
/// in bits. The last label has the bottom-of-stack bit, or is the value that stands for no label in a
/// withdraw (RFC 8277 section 2.4, RFC 3107 section 3). A sender with one label may leave the bit out (RFC
/// 8277 section 2.2).
fn labels(value: &[u8], length: u8, family: Family) -> Option<u8> {
    const LABEL: u8 = 3;
    let fits = |labels: &u8| {
        let prefix = length.checked_sub(8 * labels);
        prefix.is_some_and(|length| length <= family.bits())
    };
    let is_last = |label: &[u8; 3]| label[2] & 1 != 0 || matches!(label, [0x80 | 0, 0, 0]);
    let last = value.as_chunks().0.iter().position(is_last);
    let stack = last.and_then(|last| u8::try_from(last + 1).ok()?.checked_mul(LABEL));
    stack.filter(fits).or(Some(LABEL).filter(fits))
}

fn is_valid(kind: UnicastFamily, mode: PathIdMode, mut bytes: &[u8]) -> bool {
    if kind.labelled {
        return raw(kind, mode, bytes).all(|item| item.is_some());
    }
    let id = match mode {
        PathIdMode::Plain => 0,
        PathIdMode::AddPath => 4,
    };
    while !bytes.is_empty() {
        let Some(&length) = bytes.get(id) else {
            return false;
        };
        let size = id + 1 + usize::from(length.div_ceil(8));
        if length > kind.family.bits() || size > bytes.len() {
            return false;
        }
        bytes = &bytes[size..];
    }
    true
}

fn penalties(kind: UnicastFamily, mode: PathIdMode, bytes: &[u8]) -> u32 {
    let mut sum = 0;
    let mut previous = None;
    for (id, length, bits) in raw(kind, mode, bytes).flatten() {
        let prefix = RoutePrefix::new(kind.family, bits, length);
        // in wrongly decoded bytes, repeated prefixes are short and mostly adjacent
        if prefix.bits() != bits || previous == Some((id, prefix)) {
            sum += penalty::NEVER_SENT;
        }
        previous = Some((id, prefix));
        sum += prefix_penalty(prefix);
        if id.is_some_and(|id| id > SMALL_ID) {
            sum += penalty::LARGE_ID;
        }
        if sum > penalty::LIMIT {
            break;
        }
    }
    sum
}

fn prefix_penalty(prefix: RoutePrefix) -> u32 {
    let first = (prefix.bits() >> 120) as u8;
    let (shortest, unicast) = match prefix.family() {
        Family::Ipv4 => (8, (1..224).contains(&first)),
        // 2000::/3, and fc00::/7 (RFC 4193)
        Family::Ipv6 => (16, first & 0xe0 == 0x20 || first & 0xfe == 0xfc),
    };
    match prefix.length() {
        0 => penalty::DEFAULT_ROUTE,
        l if l < shortest => penalty::TOO_SHORT,
        _ if !unicast => penalty::NO_UNICAST,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect()
    }

    fn unlabelled(family: Family) -> UnicastFamily {
        UnicastFamily {
            family,
            labelled: false,
        }
    }

    fn undecided(hint: PathIdMode) -> PathIdDetector {
        PathIdDetector::new(None, hint)
    }

    fn show(kind: UnicastFamily, mode: PathIdMode, bytes: &[u8]) -> Vec<String> {
        read(kind, mode, bytes)
            .map(|(id, p)| {
                let id = id.map_or(String::new(), |id| format!("{id} "));
                format!("{id}{}/{}", p.address(), p.length())
            })
            .collect()
    }

    fn check(history: &mut PathIdDetector, family: Family, hex: &str, expected: &[&str]) {
        let bytes = bytes(hex);
        let kind = unlabelled(family);
        let mode = history.decide(kind, &bytes).unwrap();
        assert_eq!(show(kind, mode, &bytes), expected, "{hex}");
    }

    use Family::{Ipv4, Ipv6};

    #[test]
    fn a_default_route_before_others_is_no_path_identifier() {
        for hint in [PathIdMode::Plain, PathIdMode::AddPath] {
            let history = &mut undecided(hint);
            let expected = ["0.0.0.0/0", "10.0.0.0/24", "10.0.1.0/24"];
            check(history, Ipv4, "00 180a0000 180a0001", &expected);
        }
    }

    #[test]
    fn identifiers_above_16_million_are_read() {
        let history = &mut undecided(PathIdMode::AddPath);
        check(
            history,
            Ipv4,
            "ffffffff 18c63364",
            &["4294967295 198.51.100.0/24"],
        );
        check(
            history,
            Ipv6,
            "12345678 20 20010db8",
            &["305419896 2001:db8::/32"],
        );
    }

    #[test]
    fn opens_that_say_add_path_do_not_make_plain_prefixes_odd() {
        // all of these also parse with identifiers
        let history = &mut undecided(PathIdMode::AddPath);
        check(history, Ipv6, "20 2a000000", &["2a00::/32"]);
        check(history, Ipv6, "30 2a00010f0000", &["2a00:10f::/48"]);
        check(history, Ipv6, "30 2a0000100000", &["2a00:10::/48"]);
    }

    #[test]
    fn opens_that_say_nothing_do_not_hide_identifiers() {
        let history = &mut undecided(PathIdMode::Plain);
        check(history, Ipv4, "00000001 18c63364", &["1 198.51.100.0/24"]);
        check(
            history,
            Ipv6,
            "00000001 30 20010db80005",
            &["1 2001:db8:5::/48"],
        );
        // also valid as four default routes and halves of the address space
        let history = &mut undecided(PathIdMode::Plain);
        check(history, Ipv4, "00000001 00", &["1 0.0.0.0/0"]);
        check(history, Ipv6, "00000001 00", &["1 ::/0"]);
    }

    #[test]
    fn a_sender_may_change_its_form() {
        let history = &mut undecided(PathIdMode::AddPath);
        check(
            history,
            Ipv4,
            "18142af0 18141310",
            &["20.42.240.0/24", "20.19.16.0/24"],
        );
        check(history, Ipv4, "00000001 18c63364", &["1 198.51.100.0/24"]);
        check(history, Ipv4, "18142af0", &["20.42.240.0/24"]);
    }

    #[test]
    fn what_makes_no_sense_in_either_form_is_nothing() {
        for hex in ["21 0a000000 00", "18 0a00", "ff", "18 0a0000 21"] {
            let history = &mut undecided(PathIdMode::Plain);
            assert_eq!(history.decide(unlabelled(Ipv4), &bytes(hex)), None, "{hex}");
        }
    }

    #[test]
    fn bits_beyond_the_length_mean_nothing() {
        let shown = show(unlabelled(Ipv4), PathIdMode::Plain, &bytes("09 0aff"));
        assert_eq!(shown, ["10.128.0.0/9"]);
    }

    #[test]
    fn prefixes_that_are_valid_under_the_opens_are_read_so() {
        let halves = "01 00 01 80 00";
        let history = &mut PathIdDetector::new(Some(PathIdMode::Plain), PathIdMode::Plain);
        let plain = ["0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0"];
        check(history, Ipv4, halves, &plain);
        // one that is not valid does not change that
        check(history, Ipv4, "00000001 18c63364", &["1 198.51.100.0/24"]);
        check(history, Ipv4, halves, &plain);
        let history = &mut PathIdDetector::new(Some(PathIdMode::AddPath), PathIdMode::Plain);
        check(history, Ipv6, "20 2a000000", &["539623424 ::/0"]);
        check(history, Ipv4, halves, &["16777600 0.0.0.0/0"]);
    }

    #[test]
    fn a_sender_that_leaves_out_promised_identifiers_is_believed() {
        let history = &mut PathIdDetector::new(Some(PathIdMode::AddPath), PathIdMode::Plain);
        check(history, Ipv6, "30 20010db80001", &["2001:db8:1::/48"]);
        check(history, Ipv6, "20 2a000000", &["2a00::/32"]);
        // until it sends one
        check(history, Ipv4, "00000001 18c63364", &["1 198.51.100.0/24"]);
        check(history, Ipv6, "20 2a000000", &["539623424 ::/0"]);
    }

    #[test]
    fn labels_before_a_prefix_are_skipped() {
        for (family, mode, hex, shown) in [
            (
                Ipv4,
                PathIdMode::Plain,
                "30 000641 c63364",
                "198.51.100.0/24",
            ),
            (
                Ipv4,
                PathIdMode::AddPath,
                "00000007 30 000641 c63364",
                "7 198.51.100.0/24",
            ),
            // two labels, and three
            (
                Ipv4,
                PathIdMode::Plain,
                "48 000640 000651 c63364",
                "198.51.100.0/24",
            ),
            (
                Ipv4,
                PathIdMode::Plain,
                "58 000640 000650 000661 0a00",
                "10.0.0.0/16",
            ),
            // no label, as in withdraws
            (
                Ipv4,
                PathIdMode::Plain,
                "30 800000 c63364",
                "198.51.100.0/24",
            ),
            (
                Ipv4,
                PathIdMode::Plain,
                "30 000000 c63364",
                "198.51.100.0/24",
            ),
            // a label without the bottom-of-stack bit, which no later label has either
            (
                Ipv4,
                PathIdMode::Plain,
                "30 000640 c63364",
                "198.51.100.0/24",
            ),
            (
                Ipv6,
                PathIdMode::Plain,
                "48 000021 20010db80001",
                "2001:db8:1::/48",
            ),
            (Ipv4, PathIdMode::Plain, "18 000031", "0.0.0.0/0"),
        ] {
            let kind = UnicastFamily {
                family,
                labelled: true,
            };
            let bytes = bytes(hex);
            assert_eq!(undecided(mode).decide(kind, &bytes), Some(mode), "{hex}");
            assert_eq!(show(kind, mode, &bytes), [shown], "{hex}");
        }
        let kind = UnicastFamily {
            family: Ipv4,
            labelled: true,
        };
        // without room for a label, and with more than an address after it
        for hex in ["10 0006", "40 000641 c633640101"] {
            assert_eq!(
                undecided(PathIdMode::Plain).decide(kind, &bytes(hex)),
                None,
                "{hex}"
            );
        }
    }
}
