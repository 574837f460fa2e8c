// SPDX-License-Identifier: AGPL-3.0-only
//! Reads the kind of the qdisc that carries the ingress and egress filters of an interface, and whether it has
//! filters. Needed before Linux 6.6, whose TC hooks exist only with such a qdisc.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
};

use super::dump::{BUFFER_SIZE, NLMSG_ALIGN, Received, invalid, open, receive};

// include/uapi/linux/rtnetlink.h, pkt_sched.h
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
/// The parent of a clsact or ingress qdisc.
const TC_H_INGRESS: u32 = 0xffff_fff1;
/// Parents of the filters of a clsact qdisc. An `ingress` qdisc accepts filters for either of them and runs all
/// of them at ingress (net/sched/sch_ingress.c).
const PARENTS: [u32; 2] = [0xffff_fff2, 0xffff_fff3];

const NLMSG_HEADER: usize = 16;
const TCMSG: usize = 20;

/// The kind of an interface's qdisc for filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QdiscKind {
    /// Filters at ingress and egress.
    Clsact,
    /// Filters at ingress only.
    Ingress,
    Other,
}

/// Returns the kind of the interface's qdisc for filters; `None` if it has none. Uses the network namespace of
/// the caller.
pub fn kind(ifindex: u32) -> io::Result<Option<QdiscKind>> {
    let mut found = None;
    let place = (ifindex, TC_H_INGRESS);
    // without ECHO only listeners receive the reply (rtnetlink_send in net/core/rtnetlink.c), and there may be
    // no reply if there is no qdisc
    let asked = ask(
        RTM_GETQDISC,
        NLM_F_ECHO | NLM_F_ACK,
        place,
        |kind, payload| {
            if kind == RTM_NEWQDISC {
                found = Some(kind_in(payload));
            }
        },
    );
    match asked {
        Ok(()) => Ok(found),
        // the kernel's errors if there is no qdisc (tc_get_qdisc in net/sched/sch_api.c)
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether the interface's clsact qdisc has no filter, of any program.
pub fn is_empty(ifindex: u32) -> io::Result<bool> {
    let mut filters = 0;
    for parent in PARENTS {
        ask(RTM_GETTFILTER, NLM_F_DUMP, (ifindex, parent), |kind, _| {
            filters += usize::from(kind == RTM_NEWTFILTER);
        })?;
    }
    Ok(filters == 0)
}

/// Sends one request and passes on the messages of the reply, up to its end or its acknowledgement.
fn ask(
    kind: u16,
    flags: u16,
    (ifindex, parent): (u32, u32),
    mut take: impl FnMut(u16, &[u8]),
) -> io::Result<()> {
    let socket = open()?;
    socket.send(&request(kind, flags, ifindex, parent), 0)?;
    let mut buffer = Vec::with_capacity(BUFFER_SIZE);
    loop {
        match receive(&socket, &mut buffer)? {
            Received::Datagram => {}
            Received::Nothing => return Err(io::ErrorKind::TimedOut.into()),
            Received::TooLong { .. } => return Err(invalid("a reply that is too long".into())),
        }
        if read(&buffer, &mut take)? {
            return Ok(());
        }
    }
}

/// Reads one datagram; returns true at the end of the reply.
fn read(datagram: &[u8], take: &mut impl FnMut(u16, &[u8])) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(|e| invalid(e.to_string()))?;
        let length = message.length() as usize;
        rest = &rest[length.next_multiple_of(NLMSG_ALIGN).min(rest.len())..];
        match message.message_type() {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = message
                    .payload()
                    .first_chunk()
                    .map(|b| i32::from_ne_bytes(*b));
                return match code {
                    Some(0) => Ok(true),
                    Some(errno) => Err(io::Error::from_raw_os_error(errno.wrapping_neg())),
                    None => Err(invalid("an error that is cut short".into())),
                };
            }
            kind => take(kind, message.payload()),
        }
    }
    Ok(false)
}

fn request(kind: u16, flags: u16, ifindex: u32, parent: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(NLMSG_HEADER + TCMSG);
    bytes.extend(((NLMSG_HEADER + TCMSG) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]); // sequence, port
    bytes.extend([0; 4]); // family
    bytes.extend(ifindex.to_ne_bytes());
    bytes.extend([0; 4]); // handle
    bytes.extend(parent.to_ne_bytes());
    bytes.extend([0; 4]); // info
    bytes
}

/// Returns the kind that a qdisc message names.
fn kind_in(payload: &[u8]) -> QdiscKind {
    let mut rest = payload.get(TCMSG..).unwrap_or_default();
    while let Some((header, _)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let Some(value) = rest.get(4..length) else {
            break;
        };
        if u16::from_ne_bytes([header[2], header[3]]) == TCA_KIND {
            return match value {
                b"clsact\0" => QdiscKind::Clsact,
                b"ingress\0" => QdiscKind::Ingress,
                _ => QdiscKind::Other,
            };
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    QdiscKind::Other
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::dump::tests::message;

    fn qdisc(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut payload = vec![0; TCMSG];
        for (kind, value) in attributes {
            payload.extend((4 + value.len() as u16).to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
            payload.extend(*value);
            payload.resize(payload.len().next_multiple_of(4), 0);
        }
        payload
    }

    #[test]
    fn the_kind_is_read_wherever_it_stands() {
        assert_eq!(kind_in(&qdisc(&[(1, b"clsact\0")])), QdiscKind::Clsact);
        assert_eq!(
            kind_in(&qdisc(&[(7, b"x"), (1, b"ingress\0")])),
            QdiscKind::Ingress
        );
        assert_eq!(kind_in(&qdisc(&[(1, b"ingressive\0")])), QdiscKind::Other);
        assert_eq!(kind_in(&qdisc(&[])), QdiscKind::Other);
    }

    #[test]
    fn a_reply_ends_with_an_acknowledgement_or_an_error() {
        let mut kinds = Vec::new();
        let mut take = |kind, _: &[u8]| kinds.push(kind);
        let reply = message(RTM_NEWQDISC, 0, 0, &qdisc(&[]));
        let done = message(NLMSG_ERROR, 0, 0, &[0; 4]);
        assert!(!read(&reply, &mut take).expect("the first part"));
        assert!(read(&[reply, done].concat(), &mut take).expect("all"));
        let refused = message(NLMSG_ERROR, 0, 0, &(-libc::ENOENT).to_ne_bytes());
        let error = read(&refused, &mut take).expect_err("an error");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert_eq!(kinds, [RTM_NEWQDISC; 2]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, &mut |_, payload: &[u8]| {
                kind_in(payload);
            });
            kind_in(&bytes);
        }
    }
}
