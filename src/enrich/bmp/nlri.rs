// SPDX-License-Identifier: AGPL-3.0-only
//! Prefixes of an UPDATE (RFC 4271 section 4.3), with or without Add-Path identifiers (RFC 7911
//! section 3).
//!
//! Nothing in the bytes says which of the two forms they have. The OPENs should, but senders of BMP
//! do not keep to them, and some mix the forms. Mostly the bytes make sense in one form only; where
//! they do in both, the one that reads more like routing wins, with some weight on what the sender did
//! before and little on the OPENs.

use crate::enrich::rib::{Family, Prefix};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Plain,
    AddPath,
}

/// A prefix and its path identifier.
pub type Nlri = (Option<u32>, Prefix);

/// Which form the prefixes of one view of one peer in one family have had.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// What the OPENs say.
    hint: Form,
    /// Forms in which bytes came that make no sense in the other.
    proven: [bool; 2],
    last: Form,
}

/// Doubts about a form, in points: where both forms parse, the one with fewer is taken.
mod doubt {
    /// A bit is set beyond the length of the prefix, or a prefix comes twice: nobody sends that.
    pub const NEVER_SENT: u32 = 8;
    /// The sender has never been seen to use this form, but the other.
    pub const NOT_ITS_WAY: u32 = 7;
    /// A prefix shorter than any network but not a default route.
    pub const TOO_SHORT: u32 = 6;
    /// An address that is not used for unicast on any network.
    pub const NO_UNICAST: u32 = 4;
    /// The sender uses both forms, and lately the other one.
    pub const NOT_LAST: u32 = 3;
    /// Path identifiers are counted up from 1, as a rule.
    pub const LARGE_ID: u32 = 3;
    pub const DEFAULT_ROUTE: u32 = 2;
    pub const AGAINST_HINT: u32 = 1;
    /// Enough to decide.
    pub const LIMIT: u32 = 1000;
}

/// Identifiers up to here raise no doubt.
const SMALL_ID: u32 = 0xffff;

impl History {
    pub fn new(hint: Form) -> Self {
        Self {
            hint,
            proven: [false; 2],
            last: hint,
        }
    }

    /// Decides on the form of these bytes; `None` if they make no sense in either.
    pub fn decide(&mut self, family: Family, bytes: &[u8]) -> Option<Form> {
        let plain = is_valid(family, Form::Plain, bytes);
        let add_path = is_valid(family, Form::AddPath, bytes);
        let form = match (plain, add_path) {
            (false, false) => return None,
            (true, true) if bytes.is_empty() => return Some(self.last),
            (true, true) => self.weigh(family, bytes),
            (true, false) => Form::Plain,
            (false, true) => Form::AddPath,
        };
        if plain != add_path {
            self.proven[form as usize] = true;
            self.last = form;
        }
        Some(form)
    }

    fn weigh(&self, family: Family, bytes: &[u8]) -> Form {
        let doubts = |form| self.prejudice(form) + doubts(family, form, bytes);
        let (plain, add_path) = (doubts(Form::Plain), doubts(Form::AddPath));
        if plain == add_path {
            self.last
        } else if plain < add_path {
            Form::Plain
        } else {
            Form::AddPath
        }
    }

    fn prejudice(&self, form: Form) -> u32 {
        match self.proven {
            [false, false] if form != self.hint => doubt::AGAINST_HINT,
            [true, true] if form != self.last => doubt::NOT_LAST,
            [false, false] | [true, true] => 0,
            proven if proven[form as usize] => 0,
            _ => doubt::NOT_ITS_WAY,
        }
    }
}

/// Reads prefixes, which [`History::decide`] has found to make sense in this form.
pub fn read(family: Family, form: Form, bytes: &[u8]) -> impl Iterator<Item = Nlri> + '_ {
    raw(family, form, bytes).map_while(move |item| {
        let (id, length, bits) = item?;
        Some((id, Prefix::new(family, bits, length)))
    })
}

/// Identifier, length, and bits with what is beyond the length; `None` where the bytes make no sense.
fn raw(
    family: Family,
    form: Form,
    mut bytes: &[u8],
) -> impl Iterator<Item = Option<(Option<u32>, u8, u128)>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let item = one(family, form, &mut bytes);
        if item.is_none() {
            bytes = &[];
        }
        Some(item)
    })
}

fn one(family: Family, form: Form, bytes: &mut &[u8]) -> Option<(Option<u32>, u8, u128)> {
    let mut rest = *bytes;
    let id = match form {
        Form::Plain => None,
        Form::AddPath => {
            let (id, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u32::from_be_bytes(*id))
        }
    };
    let (&length, after) = rest.split_first()?;
    if length > family.bits() {
        return None;
    }
    let (address, after) = after.split_at_checked(usize::from(length.div_ceil(8)))?;
    let mut octets = [0; 16];
    octets[..address.len()].copy_from_slice(address);
    *bytes = after;
    Some((id, length, u128::from_be_bytes(octets)))
}

fn is_valid(family: Family, form: Form, mut bytes: &[u8]) -> bool {
    let id = match form {
        Form::Plain => 0,
        Form::AddPath => 4,
    };
    while !bytes.is_empty() {
        let Some(&length) = bytes.get(id) else {
            return false;
        };
        let size = id + 1 + usize::from(length.div_ceil(8));
        if length > family.bits() || size > bytes.len() {
            return false;
        }
        bytes = &bytes[size..];
    }
    true
}

fn doubts(family: Family, form: Form, bytes: &[u8]) -> u32 {
    let mut sum = 0;
    let mut previous = None;
    for (id, length, bits) in raw(family, form, bytes).flatten() {
        let prefix = Prefix::new(family, bits, length);
        // those that come twice in wrongly read bytes are short, and mostly follow each other
        if prefix.bits() != bits || previous == Some((id, prefix)) {
            sum += doubt::NEVER_SENT;
        }
        previous = Some((id, prefix));
        sum += of_prefix(prefix);
        if id.is_some_and(|id| id > SMALL_ID) {
            sum += doubt::LARGE_ID;
        }
        if sum > doubt::LIMIT {
            break;
        }
    }
    sum
}

fn of_prefix(prefix: Prefix) -> u32 {
    let first = (prefix.bits() >> 120) as u8;
    let (shortest, unicast) = match prefix.family() {
        Family::Ipv4 => (8, (1..224).contains(&first)),
        // 2000::/3, and fc00::/7 (RFC 4193)
        Family::Ipv6 => (16, first & 0xe0 == 0x20 || first & 0xfe == 0xfc),
    };
    match prefix.length() {
        0 => doubt::DEFAULT_ROUTE,
        l if l < shortest => doubt::TOO_SHORT,
        _ if !unicast => doubt::NO_UNICAST,
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

    fn show(family: Family, form: Form, bytes: &[u8]) -> Vec<String> {
        read(family, form, bytes)
            .map(|(id, p)| {
                let id = id.map_or(String::new(), |id| format!("{id} "));
                format!("{id}{}/{}", p.address(), p.length())
            })
            .collect()
    }

    fn check(history: &mut History, family: Family, hex: &str, expected: &[&str]) {
        let bytes = bytes(hex);
        let form = history.decide(family, &bytes).unwrap();
        assert_eq!(show(family, form, &bytes), expected, "{hex}");
    }

    use Family::{Ipv4, Ipv6};

    #[test]
    fn a_default_route_before_others_is_no_path_identifier() {
        for hint in [Form::Plain, Form::AddPath] {
            let history = &mut History::new(hint);
            let expected = ["0.0.0.0/0", "10.0.0.0/24", "10.0.1.0/24"];
            check(history, Ipv4, "00 180a0000 180a0001", &expected);
        }
    }

    #[test]
    fn identifiers_above_16_million_are_read() {
        let history = &mut History::new(Form::AddPath);
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
        let history = &mut History::new(Form::AddPath);
        check(history, Ipv6, "20 2a000000", &["2a00::/32"]);
        check(history, Ipv6, "30 2a00010f0000", &["2a00:10f::/48"]);
        check(history, Ipv6, "30 2a0000100000", &["2a00:10::/48"]);
    }

    #[test]
    fn opens_that_say_nothing_do_not_hide_identifiers() {
        let history = &mut History::new(Form::Plain);
        check(history, Ipv4, "00000001 18c63364", &["1 198.51.100.0/24"]);
        check(
            history,
            Ipv6,
            "00000001 30 20010db80005",
            &["1 2001:db8:5::/48"],
        );
        // also valid as four default routes and halves of the address space
        let history = &mut History::new(Form::Plain);
        check(history, Ipv4, "00000001 00", &["1 0.0.0.0/0"]);
        check(history, Ipv6, "00000001 00", &["1 ::/0"]);
    }

    #[test]
    fn a_sender_may_change_its_form() {
        let history = &mut History::new(Form::AddPath);
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
            let history = &mut History::new(Form::Plain);
            assert_eq!(history.decide(Ipv4, &bytes(hex)), None, "{hex}");
        }
    }

    #[test]
    fn bits_beyond_the_length_mean_nothing() {
        let shown = show(Ipv4, Form::Plain, &bytes("09 0aff"));
        assert_eq!(shown, ["10.128.0.0/9"]);
    }
}
