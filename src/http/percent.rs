// SPDX-License-Identifier: AGPL-3.0-only
//! Percent-encoding of query strings.

/// Decodes `%NN` and `+` of a query string.
pub fn decode(text: &str) -> Result<String, String> {
    let broken = || format!("\"{}\" is not percent-encoded", text.escape_debug());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                match (digit(), digit()) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Err(broken()),
                }
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| broken())
}
