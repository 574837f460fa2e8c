// SPDX-License-Identifier: AGPL-3.0-only
//! A number of bytes, written as "96M": with a suffix of 1,024, its square, its cube or its fourth power.

use std::fmt;
use std::str::FromStr;

use super::named::serialize_as_text;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SUFFIXES: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a number and K, M, G or T";
        let with = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(*suffix));
        let (digits, shift) = match with {
            Some((suffix, shift)) => (text.strip_suffix(*suffix).unwrap_or(text), *shift),
            None => (text, 0),
        };
        // parse would accept a sign
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(EXPECTED);
        }
        let number: u64 = digits.parse().map_err(|_| EXPECTED)?;
        let bytes = number.checked_mul(1 << shift);
        bytes.map(Self).ok_or("the number is too large")
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, shift): &&(char, u32)| self.0 > 0 && self.0.trailing_zeros() >= *shift;
        match SUFFIXES.iter().find(whole) {
            Some((suffix, shift)) => write!(f, "{}{suffix}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

serialize_as_text!(ByteSize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [
            ("96M", 96 << 20),
            ("1T", 1 << 40),
            ("1000", 1000),
            ("3K", 3072),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!("1024M".parse(), Ok(ByteSize(1 << 30)));
        assert_eq!(ByteSize(1 << 30).to_string(), "1G");
        for text in ["", "M", "-1M", "+1M", "1.5M", "96 M", "96MB", "20000000T"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
