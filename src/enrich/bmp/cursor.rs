// SPDX-License-Identifier: AGPL-3.0-only
//! A cursor over bytes from outside. All numbers are in network byte order.

/// The bytes end before the requested length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruncatedError {
    pub wanted: usize,
    pub left: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub fn take(&mut self, wanted: usize) -> Result<&'a [u8], TruncatedError> {
        let left = self.0.len();
        let (taken, rest) = self
            .0
            .split_at_checked(wanted)
            .ok_or(TruncatedError { wanted, left })?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], TruncatedError> {
        let left = self.0.len();
        let (taken, rest) = self
            .0
            .split_first_chunk()
            .ok_or(TruncatedError { wanted: N, left })?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, TruncatedError> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, TruncatedError> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, TruncatedError> {
        self.array().map(u32::from_be_bytes)
    }
}
