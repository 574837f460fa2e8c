// SPDX-License-Identifier: AGPL-3.0-only
//! The file format of captured packets (pure): draft-ietf-opsawg-pcapng, in the byte order of this machine.

/// The kinds of frames (LINKTYPE_ETHERNET and LINKTYPE_RAW).
const ETHERNET: u16 = 1;
const RAW_IP: u16 = 101;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const COMMENT: u16 = 1;
const INTERFACE_NAME: u16 = 2;
const RESOLUTION: u16 = 9;
/// Times are in nanoseconds.
const NANOSECONDS: u8 = 9;

/// Returns the beginning of a file.
pub fn header(comment: &str) -> Vec<u8> {
    let mut body = BYTE_ORDER.to_ne_bytes().to_vec();
    body.extend(1_u16.to_ne_bytes());
    body.extend(0_u16.to_ne_bytes());
    // the length of the section is unknown
    body.extend(u64::MAX.to_ne_bytes());
    add_option(&mut body, COMMENT, comment.as_bytes());
    add_option(&mut body, 0, &[]);
    block(SECTION_HEADER, &body)
}

/// Describes an interface; its number is the number of those before it.
pub fn interface(name: &str, is_ip: bool, snap_length: u32) -> Vec<u8> {
    let link_type = if is_ip { RAW_IP } else { ETHERNET };
    let mut body = link_type.to_ne_bytes().to_vec();
    body.extend(0_u16.to_ne_bytes());
    body.extend(snap_length.to_ne_bytes());
    add_option(&mut body, INTERFACE_NAME, name.as_bytes());
    add_option(&mut body, RESOLUTION, &[NANOSECONDS]);
    add_option(&mut body, 0, &[]);
    block(INTERFACE_DESCRIPTION, &body)
}

/// A packet of an interface, at a time in nanoseconds since the epoch.
pub fn packet(interface: u32, time: u64, frame_bytes: u32, data: &[u8], comment: &str) -> Vec<u8> {
    let mut body = interface.to_ne_bytes().to_vec();
    body.extend(((time >> 32) as u32).to_ne_bytes());
    body.extend((time as u32).to_ne_bytes());
    body.extend((data.len() as u32).to_ne_bytes());
    body.extend(frame_bytes.to_ne_bytes());
    body.extend(data);
    pad(&mut body);
    if !comment.is_empty() {
        add_option(&mut body, COMMENT, comment.as_bytes());
        add_option(&mut body, 0, &[]);
    }
    block(ENHANCED_PACKET, &body)
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 12).to_ne_bytes();
    [&kind.to_ne_bytes()[..], &length, body, &length].concat()
}

fn add_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // texts are short: a name of an interface, a signature
    let value = &value[..value.len().min(usize::from(u16::MAX - 3))];
    body.extend(code.to_ne_bytes());
    body.extend((value.len() as u16).to_ne_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_length_at_both_ends_and_are_padded() {
        for bytes in [
            header("attack 7"),
            interface("wan0", false, 256),
            packet(0, 1 << 40, 60, &[7; 13], "dropped"),
            packet(0, 1 << 40, 60, &[7; 13], ""),
        ] {
            let length = u32::from_ne_bytes(bytes[4..8].try_into().unwrap());
            assert_eq!(length as usize, bytes.len());
            assert_eq!(bytes.len() % 4, 0);
            assert_eq!(bytes[4..8], bytes[bytes.len() - 4..]);
        }
    }
}
