// SPDX-License-Identifier: AGPL-3.0-only
//! The state of the router's side of RTR (pure): what to send, and the VRPs after each End of Data.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::pdu::{self, Intervals, Pdu, PduError, PrefixPdu};
use crate::enrich::rpki::{VrpError, VrpList, VrpTable};

/// The defaults and limits of RFC 8210 section 6.
const DEFAULTS: Intervals = Intervals {
    refresh: 3600,
    retry: 600,
    expire: 7200,
};
const LEAST: Intervals = Intervals {
    refresh: 1,
    retry: 1,
    expire: 600,
};
const MOST: Intervals = Intervals {
    refresh: 86_400,
    retry: 7200,
    expire: 172_800,
};

/// Why the connection must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RtrError {
    Pdu(PduError),
    Vrp(VrpError),
    /// The cache reports an error.
    Reported {
        code: u16,
        text: String,
    },
    /// A PDU that this state does not permit.
    Unexpected(&'static str),
    /// The cache continues another session.
    SessionChanged,
    Duplicate(String),
    UnknownWithdrawal(String),
}

impl RtrError {
    /// Returns the code of the Error Report for the cache; none is sent in reply to one.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Pdu(error) => Some(error.code()),
            Self::Vrp(_) | Self::Unexpected(_) | Self::SessionChanged => Some(pdu::ERROR_CORRUPT),
            Self::Duplicate(_) => Some(pdu::ERROR_DUPLICATE),
            Self::UnknownWithdrawal(_) => Some(pdu::ERROR_UNKNOWN_WITHDRAWAL),
            Self::Reported { .. } => None,
        }
    }
}

impl fmt::Display for RtrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pdu(error) => error.fmt(f),
            Self::Vrp(error) => error.fmt(f),
            Self::Reported { code, text } => write!(f, "the cache reports error {code}: {text}"),
            Self::Unexpected(pdu) => write!(f, "unexpected PDU {pdu}"),
            Self::SessionChanged => f.write_str("the session of the cache changed"),
            Self::Duplicate(vrp) => write!(f, "the cache announced {vrp} twice"),
            Self::UnknownWithdrawal(vrp) => write!(f, "the cache withdrew the unknown {vrp}"),
        }
    }
}

/// The result of received bytes.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes to remove from the buffer.
    pub used: usize,
    /// Bytes to send.
    pub reply: Vec<u8>,
    /// The VRPs are complete up to now.
    pub complete: bool,
}

/// A VRP in the form of the protocol.
type VrpKey = (IpAddr, u8, u8, u32);

/// The data that arrive between Cache Response and End of Data.
#[derive(Debug)]
enum Response {
    /// All data.
    Full(VrpList),
    /// Changes: true for an announcement.
    Changes(HashMap<VrpKey, bool>),
}

/// The state that outlives connections.
#[derive(Debug)]
pub struct RtrSession {
    version: u8,
    /// The session of the data that are held, and their serial number.
    held: Option<(u16, u32)>,
    table: Arc<VrpTable>,
    intervals: Intervals,
    /// A query is open: whether it is a Reset Query.
    asked: Option<bool>,
    response: Option<Response>,
    /// A reply has arrived on this connection.
    answered: bool,
}

impl Default for RtrSession {
    fn default() -> Self {
        Self {
            version: pdu::VERSION,
            held: None,
            table: Arc::default(),
            intervals: DEFAULTS,
            asked: None,
            response: None,
            answered: false,
        }
    }
}

impl RtrSession {
    pub fn table(&self) -> &Arc<VrpTable> {
        &self.table
    }

    pub fn refresh(&self) -> Duration {
        Duration::from_secs(self.intervals.refresh.into())
    }

    pub fn retry(&self) -> Duration {
        Duration::from_secs(self.intervals.retry.into())
    }

    pub fn expire(&self) -> Duration {
        Duration::from_secs(self.intervals.expire.into())
    }

    /// Returns whether the cache owes the end of a reply.
    pub fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// Returns whether the next query requests only changes.
    pub fn has_data(&self) -> bool {
        self.held.is_some()
    }

    /// Begins a connection. Returns the first query.
    pub fn connect(&mut self) -> Vec<u8> {
        self.answered = false;
        self.response = None;
        self.asked = None;
        self.query()
    }

    /// Returns a query for the changes, or for all data if none are held.
    pub fn query(&mut self) -> Vec<u8> {
        self.asked = Some(self.held.is_none());
        match self.held {
            Some((session, serial)) => pdu::serial_query(self.version, session, serial),
            None => pdu::reset_query(self.version),
        }
    }

    /// Handles the end of a connection. A cache that closes it without any reply may not know the session: the next
    /// query requests all data. If it does not reply to that either, it may not support the version.
    pub fn disconnected(&mut self) {
        match self.asked {
            _ if self.answered => {}
            Some(false) => self.held = None,
            _ => self.version = pdu::VERSION - self.version,
        }
        self.response = None;
        self.asked = None;
    }

    /// Forgets the data: the next query requests all of them.
    pub fn forget(&mut self) {
        self.held = None;
        self.table = Arc::default();
    }

    /// Handles bytes. After an error, the connection must end; the bytes in `reply` are sent before.
    pub fn receive(&mut self, bytes: &[u8]) -> (Received, Result<(), RtrError>) {
        let mut received = Received::default();
        loop {
            let rest = &bytes[received.used..];
            let (pdu, version, length) = match pdu::decode(rest) {
                Ok(Some(decoded)) => decoded,
                Ok(None) => return (received, Ok(())),
                Err(error) => return self.failed(received, rest, RtrError::Pdu(error)),
            };
            // a cache of version 0 replies in its version, and the session continues in it (RFC 8210 section 7)
            if version < self.version && !self.answered {
                self.version = version;
            }
            let is_error = matches!(pdu, Pdu::ErrorReport { .. });
            if version != self.version && !is_error {
                let error = RtrError::Pdu(PduError::Version(version));
                return self.failed(received, rest, error);
            }
            received.used += length;
            if let Err(error) = self.handle(pdu, &mut received) {
                return self.failed(received, rest, error);
            }
            self.answered = true;
        }
    }

    fn failed(
        &mut self,
        mut received: Received,
        bytes: &[u8],
        error: RtrError,
    ) -> (Received, Result<(), RtrError>) {
        if let Some(code) = error.code() {
            let report = pdu::error_report(self.version, code, bytes, &error.to_string());
            received.reply.extend(report);
        }
        match &error {
            RtrError::Reported { code, .. } if *code == pdu::ERROR_VERSION && self.version > 0 => {
                self.version = 0;
                self.answered = true;
            }
            // the cache has no data yet; those that are held stay until they expire
            RtrError::Reported { code, .. } if *code == pdu::ERROR_NO_DATA => self.answered = true,
            // the next query requests all data
            _ => {
                self.held = None;
                self.answered = true;
            }
        }
        (received, Err(error))
    }

    fn handle(&mut self, pdu: Pdu, received: &mut Received) -> Result<(), RtrError> {
        match pdu {
            Pdu::SerialNotify { session, serial } => {
                let is_new = self.held.is_some_and(|held| held != (session, serial));
                // before the first reply, a notification is ignored (RFC 8210 section 5.2)
                if is_new && !self.is_waiting() {
                    received.reply.extend(self.query());
                }
                Ok(())
            }
            Pdu::CacheResponse { session } => self.begin(session),
            Pdu::Prefix(prefix) => self.change(prefix),
            Pdu::EndOfData {
                session,
                serial,
                intervals,
            } => {
                self.end(session, serial, intervals)?;
                received.complete = true;
                Ok(())
            }
            Pdu::CacheReset if self.asked == Some(false) && self.response.is_none() => {
                self.held = None;
                received.reply.extend(self.query());
                Ok(())
            }
            Pdu::CacheReset => Err(RtrError::Unexpected("Cache Reset")),
            Pdu::RouterKey => Ok(()),
            Pdu::ErrorReport { code, text } => Err(RtrError::Reported { code, text }),
        }
    }

    fn begin(&mut self, session: u16) -> Result<(), RtrError> {
        let is_reset = match self.asked {
            Some(is_reset) if self.response.is_none() => is_reset,
            _ => return Err(RtrError::Unexpected("Cache Response")),
        };
        if !is_reset && self.held.is_some_and(|(held, _)| held != session) {
            return Err(RtrError::SessionChanged);
        }
        self.response = Some(match is_reset {
            true => Response::Full(VrpList::default()),
            false => Response::Changes(HashMap::new()),
        });
        Ok(())
    }

    fn change(&mut self, prefix: PrefixPdu) -> Result<(), RtrError> {
        let PrefixPdu {
            announce,
            address,
            length,
            max_length,
            asn,
        } = prefix;
        let key = (address, length, max_length, asn);
        match &mut self.response {
            None => Err(RtrError::Unexpected("Prefix")),
            Some(Response::Full(_)) if !announce => Err(RtrError::UnknownWithdrawal(text(key))),
            Some(Response::Full(list)) => list
                .push(address, length, max_length.into(), asn)
                .map_err(RtrError::Vrp),
            Some(Response::Changes(changes)) => {
                // checks the VRP and the limit
                let mut list = VrpList::default();
                list.push(address, length, max_length.into(), asn)
                    .map_err(RtrError::Vrp)?;
                if changes.len() >= crate::enrich::rpki::MAX_VRPS {
                    return Err(RtrError::Vrp(VrpError::TooMany));
                }
                let exists = || self.table.contains(address, length, max_length, asn);
                let exists = changes.get(&key).copied().unwrap_or_else(exists);
                if exists == announce {
                    return Err(match announce {
                        true => RtrError::Duplicate(text(key)),
                        false => RtrError::UnknownWithdrawal(text(key)),
                    });
                }
                changes.insert(key, announce);
                Ok(())
            }
        }
    }

    fn end(
        &mut self,
        session: u16,
        serial: u32,
        intervals: Option<Intervals>,
    ) -> Result<(), RtrError> {
        let Some(response) = self.response.take() else {
            return Err(RtrError::Unexpected("End of Data"));
        };
        let table = match response {
            Response::Full(list) => Some(list),
            Response::Changes(changes) if changes.is_empty() => None,
            Response::Changes(changes) => {
                Some(self.table.changed(&changes).map_err(RtrError::Vrp)?)
            }
        };
        if let Some(list) = table {
            self.table = Arc::new(VrpTable::build(list).map_err(RtrError::Vrp)?);
        }
        self.asked = None;
        self.held = Some((session, serial));
        if let Some(new) = intervals {
            self.intervals = Intervals {
                refresh: new.refresh.clamp(LEAST.refresh, MOST.refresh),
                retry: new.retry.clamp(LEAST.retry, MOST.retry),
                expire: new.expire.clamp(LEAST.expire, MOST.expire),
            };
        }
        Ok(())
    }
}

fn text((address, length, max_length, asn): VrpKey) -> String {
    format!("VRP {address}/{length}-{max_length} AS{asn}")
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::types::validity::RouteValidity::{self, Invalid, NotFound, Valid};

    fn header(version: u8, kind: u8, session: u16, length: u32) -> Vec<u8> {
        let mut bytes = vec![version, kind];
        bytes.extend(session.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes
    }

    fn response(session: u16) -> Vec<u8> {
        header(1, 3, session, 8)
    }

    /// A VRP for 10.N.0.0/16.
    fn vrp(announce: bool, n: u8, asn: u32) -> Vec<u8> {
        let mut bytes = header(1, 4, 0, 20);
        bytes.extend([u8::from(announce), 16, 16, 0, 10, n, 0, 0]);
        bytes.extend(asn.to_be_bytes());
        bytes
    }

    fn end(session: u16, serial: u32) -> Vec<u8> {
        let mut bytes = header(1, 7, session, 24);
        for word in [serial, 30, 0, 1_000_000] {
            bytes.extend(word.to_be_bytes());
        }
        bytes
    }

    fn state(session: &RtrSession, n: u8, asn: u32) -> RouteValidity {
        session.table().validate([10, n, 0, 1].into(), 16, asn)
    }

    /// A session with the VRPs 1 and 2 of AS 1 and serial number 9.
    fn synchronized() -> RtrSession {
        let mut session = RtrSession::default();
        assert_eq!(session.connect(), pdu::reset_query(1));
        let all = [response(7), vrp(true, 1, 1), vrp(true, 2, 1), end(7, 9)].concat();
        // in two parts, of which the first ends within a PDU
        let (received, result) = session.receive(&all[..20]);
        assert_eq!(
            (received.used, received.complete, result),
            (8, false, Ok(()))
        );
        let (received, result) = session.receive(&all[8..]);
        assert_eq!((received.used, result), (all.len() - 8, Ok(())));
        assert!(received.complete && received.reply.is_empty() && !session.is_waiting());
        session
    }

    fn error_of(session: &mut RtrSession, bytes: &[u8]) -> (String, Option<u16>) {
        let (received, result) = session.receive(bytes);
        let code = match pdu::decode(&received.reply) {
            Ok(Some((Pdu::ErrorReport { code, .. }, ..))) => Some(code),
            _ => None,
        };
        (result.unwrap_err().to_string(), code)
    }

    #[test]
    fn all_data_and_then_changes_are_received() {
        let mut session = synchronized();
        assert_eq!(session.refresh(), Duration::from_secs(30));
        assert_eq!(session.retry(), Duration::from_secs(1), "the least");
        assert_eq!(session.expire(), Duration::from_secs(172_800), "the most");
        assert_eq!(
            (state(&session, 1, 1), state(&session, 3, 1)),
            (Valid, NotFound)
        );
        let mut notify = header(1, 0, 7, 12);
        notify.extend(9_u32.to_be_bytes());
        assert!(
            session.receive(&notify).0.reply.is_empty(),
            "nothing is new"
        );
        notify[11] = 10;
        let reply = session.receive(&notify).0.reply;
        assert_eq!(reply, pdu::serial_query(1, 7, 9));
        assert!(
            session.receive(&notify).0.reply.is_empty(),
            "a query is open"
        );
        let changes = [
            response(7),
            vrp(false, 1, 1),
            vrp(true, 1, 2),
            vrp(true, 3, 1),
        ]
        .concat();
        assert!(session.receive(&changes).1.is_ok());
        assert_eq!(state(&session, 3, 1), NotFound, "not before End of Data");
        assert!(session.receive(&end(7, 10)).0.complete);
        let states = [(1, 1), (1, 2), (2, 1), (3, 1)].map(|(n, asn)| state(&session, n, asn));
        assert_eq!(states, [Invalid, Valid, Valid, Valid]);
        // a new connection continues
        session.disconnected();
        assert_eq!(session.connect(), pdu::serial_query(1, 7, 10));
        // the cache has no changes since then
        let (received, result) = session.receive(&header(1, 8, 0, 8));
        assert_eq!((received.reply, result), (pdu::reset_query(1), Ok(())));
        assert_eq!(state(&session, 1, 2), Valid, "the data stay");
        let all = [response(8), vrp(true, 4, 1), end(8, 1)].concat();
        assert!(session.receive(&all).0.complete);
        assert_eq!(
            (state(&session, 1, 2), state(&session, 4, 1)),
            (NotFound, Valid)
        );
    }

    #[test]
    fn errors_end_the_connection_and_the_next_query_requests_all() {
        for (bytes, expected, code) in [
            (
                [response(8)].concat(),
                "the session of the cache changed",
                0,
            ),
            (
                [response(7), vrp(true, 1, 1)].concat(),
                "the cache announced VRP 10.1.0.0/16-16 AS1 twice",
                7,
            ),
            (
                [response(7), vrp(false, 1, 9)].concat(),
                "the cache withdrew the unknown VRP 10.1.0.0/16-16 AS9",
                6,
            ),
            ([end(7, 10)].concat(), "unexpected PDU End of Data", 0),
            ([vrp(true, 1, 1)].concat(), "unexpected PDU Prefix", 0),
            ([header(1, 5, 0, 8)].concat(), "unknown PDU type 5", 5),
            ([header(0, 3, 7, 8)].concat(), "protocol version 0", 4),
            ([header(2, 3, 7, 8)].concat(), "protocol version 2", 4),
        ] {
            let mut session = synchronized();
            session.query();
            session.answered = true;
            let (error, sent) = error_of(&mut session, &bytes);
            assert_eq!((&*error, sent), (expected, Some(code)));
            assert_eq!(state(&session, 1, 1), Valid, "the data stay: {expected}");
            session.disconnected();
            assert_eq!(session.connect(), pdu::reset_query(1), "{expected}");
        }
    }

    #[test]
    fn a_cache_without_version_1_is_asked_in_version_0() {
        let report = |version, code| pdu::error_report(version, code, &[], "no");
        // by an Error Report
        let mut session = RtrSession::default();
        session.connect();
        let (error, sent) = error_of(&mut session, &report(0, 4));
        assert_eq!((&*error, sent), ("the cache reports error 4: no", None));
        session.disconnected();
        assert_eq!(session.connect(), pdu::reset_query(0));
        // by a reply in version 0
        let mut session = RtrSession::default();
        session.connect();
        let mut end = header(0, 7, 7, 12);
        end.extend(9_u32.to_be_bytes());
        let (received, result) = session.receive(&[header(0, 3, 7, 8), end].concat());
        assert!(received.complete && result.is_ok());
        assert_eq!(session.query(), pdu::serial_query(0, 7, 9));
        // by a closed connection
        let mut session = RtrSession::default();
        session.connect();
        session.disconnected();
        assert_eq!(session.connect(), pdu::reset_query(0));
        // a cache that has no data yet does not make rfm forget its own
        let mut session = synchronized();
        session.query();
        error_of(&mut session, &report(1, 2));
        session.disconnected();
        assert_eq!(session.connect(), pdu::serial_query(1, 7, 9));
    }

    #[test]
    fn a_cache_that_closes_without_a_reply_is_asked_for_all_data() {
        let mut session = synchronized();
        session.disconnected();
        assert_eq!(session.connect(), pdu::serial_query(1, 7, 9));
        session.disconnected();
        assert_eq!(session.connect(), pdu::reset_query(1));
        // the VRPs stay in use
        assert_eq!(state(&session, 1, 1), Valid);
        session.disconnected();
        assert_eq!(session.connect(), pdu::reset_query(0));
    }

    #[test]
    fn forgotten_data_are_requested_again() {
        let mut session = synchronized();
        session.forget();
        assert_eq!(state(&session, 1, 1), NotFound);
        assert_eq!(session.connect(), pdu::reset_query(1));
    }
}
