// SPDX-License-Identifier: AGPL-3.0-only
//! Reads and writes numbers of the blocks (pure). A reader never panics: `None` means that the
//! bytes are not those of a writer.

/// Appends a number in groups of seven bits, lowest first.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Returns the longest start of a text that has at most `max` bytes.
pub fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The unread rest of a payload.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        match self.0 {
            [byte @ ..0x80, rest @ ..] => {
                self.0 = rest;
                Some(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Reads a number of at most `limit`.
    pub fn count(&mut self, limit: usize) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= limit).then_some(count)
    }

    /// Reads a text of at most `limit` bytes.
    pub fn text(&mut self, limit: usize) -> Option<&'a str> {
        let length = self.count(limit)?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

/// Appends the `width` low bits of each value.
fn put_bits(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    let (mut pending, mut filled) = (0u128, 0);
    for value in values {
        pending |= u128::from(value) << filled;
        filled += width;
        while filled >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(pending as u8);
    }
}

/// The largest value of a column.
pub const MAX_VALUE: u64 = (1 << 62) - 1;

/// Appends the values without the zeros at both ends, as offsets from their minimum in as few bits
/// as the largest needs. None exceeds [`MAX_VALUE`].
pub fn put_column(out: &mut Vec<u8>, values: &[u64]) {
    let is_used = |value: &u64| *value != 0;
    let Some(first) = values.iter().position(is_used) else {
        out.push(EMPTY);
        return;
    };
    let last = values.iter().rposition(is_used).unwrap_or(first);
    let used = &values[first..=last];
    let least = used.iter().copied().filter(is_used).min().unwrap_or(1);
    let most = used.iter().copied().max().unwrap_or(least);
    let has_gaps = used.contains(&0);
    // with gaps, 0 stands for a gap and the minimum is 1
    let base = if has_gaps { least - 1 } else { least };
    let width = u64::BITS - (most - base).leading_zeros();
    let is_full = used.len() == values.len();
    out.push(width as u8 | if has_gaps { GAPS } else { 0 } | if is_full { FULL } else { 0 });
    if !is_full {
        put_varint(out, first as u64);
        put_varint(out, used.len() as u64);
    }
    put_varint(out, base);
    let offsets = used.iter().map(|value| value.saturating_sub(base));
    put_bits(out, offsets, width);
}

/// The only byte of a column without values. The first byte of others has a width of at most 62
/// bits, and these marks.
const EMPTY: u8 = 0xff;
/// The column has a value for each slot.
const FULL: u8 = 0x80;
/// The offset 0 stands for the value 0.
const GAPS: u8 = 0x40;

/// The place of a column of `slots` values in a payload.
#[derive(Clone, Copy, Debug)]
pub struct NumberColumn<'a> {
    first: usize,
    count: usize,
    base: u64,
    width: u32,
    has_gaps: bool,
    /// The values, and what follows them: a reader reads whole words.
    bits: &'a [u8],
}

impl<'a> NumberColumn<'a> {
    /// Reads the place and skips the values.
    pub fn read(bytes: &mut Bytes<'a>, slots: usize) -> Option<Self> {
        let form = bytes.byte()?;
        if form == EMPTY {
            return Some(Self {
                first: 0,
                count: 0,
                base: 0,
                width: 0,
                has_gaps: false,
                bits: &[],
            });
        }
        let width = u32::from(form & 0x3f);
        let (first, count) = match form & FULL {
            0 => (bytes.count(slots)?, bytes.count(slots)?),
            _ => (0, slots),
        };
        if first + count > slots {
            return None;
        }
        let base = bytes.varint()?;
        let bits = bytes.0;
        bytes.take((count * width as usize).div_ceil(8))?;
        Some(Self {
            first,
            count,
            base,
            width,
            has_gaps: form & GAPS != 0,
            bits,
        })
    }

    /// Calls `each` with the slot and the value of each value that is not 0.
    pub fn for_each(&self, mut each: impl FnMut(usize, u64)) {
        let mask = (1u64 << self.width) - 1;
        for n in 0..self.count {
            let offset = word_at(self.bits, n * self.width as usize) & mask;
            if self.has_gaps && offset == 0 {
                continue;
            }
            let value = self.base.saturating_add(offset);
            if value != 0 {
                each(self.first + n, value);
            }
        }
    }
}

/// Returns the 64 bits that begin at a bit; beyond the end are zeros.
fn word_at(bytes: &[u8], bit: usize) -> u64 {
    let rest = bytes.get(bit / 8..).unwrap_or_default();
    let low = match rest.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => rest
            .iter()
            .rfold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let shift = bit % 8;
    let high = rest.get(8).copied().map_or(0, u64::from);
    // in two steps: a shift by 64 would overflow
    low >> shift | high << (56 - shift) << 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(values: &[u64]) -> (Vec<u64>, usize) {
        let mut out = Vec::new();
        put_column(&mut out, values);
        let mut bytes = Bytes(&out);
        let column = NumberColumn::read(&mut bytes, values.len()).unwrap();
        assert!(bytes.0.is_empty());
        let mut read = vec![0; values.len()];
        column.for_each(|slot, value| read[slot] = value);
        (read, out.len())
    }

    #[test]
    fn a_steady_column_takes_few_bytes() {
        assert_eq!(back(&[60_000; 72]).1, 4);
        assert_eq!(back(&[0; 72]).1, 1);
        let near: Vec<u64> = (0..64).map(|n| 1_000_000 + n % 8).collect();
        assert_eq!(back(&near), (near, 1 + 3 + 24));
    }

    proptest! {
        #[test]
        fn a_column_is_read_as_written(
            values in prop::collection::vec(prop_oneof![Just(0), any::<u64>(), 0..1000u64], 0..80),
            shift in 2..60u32,
        ) {
            let values: Vec<u64> = values.iter().map(|value| value >> shift).collect();
            prop_assert!(values.iter().all(|value| *value <= MAX_VALUE));
            prop_assert_eq!(back(&values).0, values);
        }

        #[test]
        fn numbers_are_read_as_written(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut bytes = Bytes(&out);
            prop_assert_eq!(bytes.varint(), Some(value));
            prop_assert!(bytes.0.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(text: Vec<u8>, slots in 0..400usize) {
            let mut bytes = Bytes(&text);
            while let Some(column) = NumberColumn::read(&mut bytes, slots) {
                column.for_each(|slot, value| assert!(slot < slots && value != 0));
                if bytes.0.is_empty() {
                    break;
                }
            }
            Bytes(&text).text(10);
        }
    }
}
