// SPDX-License-Identifier: AGPL-3.0-only
//! The state of a connection, its deadline, and its rank when there are too many connections.
#![cfg_attr(not(feature = "tls"), allow(dead_code, reason = "the states of TLS"))]

use std::time::Instant;

use super::HttpLimits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Accepted with TLS; `begun` if a byte was received.
    Handshaking { since: Instant, begun: bool },
    /// Accepted, without any received byte: browsers open connections in advance.
    Fresh { since: Instant },
    /// A request is expected or being received.
    Receiving { since: Instant },
    /// The request is complete, and another thread makes the response.
    Waiting { since: Instant },
    /// The response is being written; `progress` is the time at which the client last received
    /// bytes.
    Responding { since: Instant, progress: Instant },
    /// A response without an end is being written; `blocked` is the time since which the client has received no
    /// byte of those that are ready.
    Streaming { blocked: Option<Instant> },
    /// No request is active; the connection is kept for the next request.
    Idle { since: Instant },
    /// Done; waiting for the client to close.
    Lingering { since: Instant },
}

impl Phase {
    /// Returns the state while TLS is negotiated.
    pub fn handshaking(self, begun: bool) -> Self {
        match self {
            Self::Fresh { since } | Self::Handshaking { since, .. } => {
                Self::Handshaking { since, begun }
            }
            other => other,
        }
    }

    /// Returns the state after TLS was negotiated. The time of the handshake counts as part of the first request.
    pub fn secured(self) -> Self {
        match self {
            Self::Handshaking { since, .. } => Self::Fresh { since },
            other => other,
        }
    }

    /// Returns the state after bytes were received.
    pub fn received(self, now: Instant) -> Self {
        match self {
            Self::Idle { .. } => Self::Receiving { since: now },
            Self::Fresh { since } => Self::Receiving { since },
            // The limit counts from the first byte: slow sending does not extend it.
            other => other,
        }
    }

    /// Returns the state after the client received some bytes.
    pub fn sent(self, now: Instant) -> Self {
        match self {
            Self::Responding { since, .. } => Self::Responding {
                since,
                progress: now,
            },
            Self::Streaming { .. } => Self::Streaming { blocked: None },
            other => other,
        }
    }

    /// Returns the state after the socket had no room for more bytes.
    pub fn blocked(self, now: Instant) -> Self {
        match self {
            Self::Streaming { blocked: None } => Self::Streaming { blocked: Some(now) },
            other => other,
        }
    }

    /// Returns whether a stream can be continued.
    pub fn is_streaming(self) -> bool {
        matches!(self, Self::Streaming { blocked: None })
    }

    /// Returns the state after a header was completed. A pipelined request reaches this state
    /// without a new byte.
    pub fn requested(self, now: Instant) -> Self {
        match self {
            Self::Idle { .. } | Self::Responding { .. } => Self::Receiving { since: now },
            other => other,
        }
    }

    pub fn responding(now: Instant) -> Self {
        Self::Responding {
            since: now,
            progress: now,
        }
    }

    /// Returns the state after everything was written.
    pub fn flushed(self, now: Instant) -> Self {
        match self {
            Self::Responding { .. } => Self::Idle { since: now },
            other => other,
        }
    }

    pub fn deadline(self, limits: &HttpLimits) -> Instant {
        match self {
            Self::Handshaking { since, .. } | Self::Fresh { since } | Self::Receiving { since } => {
                since + limits.request
            }
            Self::Responding { since, progress } => {
                (since + limits.response).min(progress + limits.stalled_write)
            }
            Self::Waiting { since } => since + limits.response,
            Self::Streaming {
                blocked: Some(since),
            } => since + limits.stalled_write,
            Self::Streaming { blocked: None } => Instant::now() + limits.stalled_write,
            Self::Idle { since } => since + limits.idle,
            Self::Lingering { since } => since + limits.linger,
        }
    }

    /// Returns the fault of a connection that reached its deadline, if there is one.
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::Handshaking { begun: true, .. } => Some("TLS handshake not complete in time"),
            Self::Receiving { .. } => Some("request not complete in time"),
            Self::Waiting { .. } => Some("response not made in time"),
            Self::Responding { .. } | Self::Streaming { .. } => Some("response not taken in time"),
            Self::Handshaking { begun: false, .. }
            | Self::Fresh { .. }
            | Self::Idle { .. }
            | Self::Lingering { .. } => None,
        }
    }

    /// Returns whether the connection may be closed, because the client waits for nothing.
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Idle { .. } | Self::Lingering { .. })
    }

    /// Returns the rank; the connection with the lowest rank is closed first: completed ones, then
    /// those without a complete TLS handshake, then those that have sent nothing for longest (slow
    /// sending does not count; those of users are closed later), and last those that wait for
    /// a response or receive it.
    pub fn rank(self, is_user: bool) -> (u8, Instant) {
        match self {
            Self::Lingering { since } => (0, since),
            Self::Handshaking { since, .. } => (1, since),
            Self::Fresh { since } | Self::Idle { since } | Self::Receiving { since } => {
                (2 + u8::from(is_user), since)
            }
            Self::Waiting { since } => (4, since),
            Self::Responding { progress, .. } => (4, progress),
            Self::Streaming { blocked } => (4, blocked.unwrap_or_else(Instant::now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn dripping_does_not_extend_the_time_for_a_request() {
        let (limits, start) = (HttpLimits::default(), Instant::now());
        let mut phase = Phase::Idle { since: start };
        assert_eq!(phase.deadline(&limits), start + limits.idle);
        for second in 1..=9 {
            phase = phase.received(start + second * SECOND);
        }
        assert_eq!(phase.deadline(&limits), start + SECOND + limits.request);
    }

    #[test]
    fn progress_extends_a_response_up_to_its_whole_time() {
        let (limits, start) = (HttpLimits::default(), Instant::now());
        let mut phase = Phase::responding(start);
        assert_eq!(phase.deadline(&limits), start + limits.stalled_write);
        phase = phase.sent(start + 5 * SECOND);
        assert_eq!(
            phase.deadline(&limits),
            start + 5 * SECOND + limits.stalled_write
        );
        phase = phase.sent(start + 59 * SECOND);
        assert_eq!(phase.deadline(&limits), start + limits.response);
    }

    #[test]
    fn a_stream_ends_only_while_its_client_takes_nothing() {
        let (limits, start) = (HttpLimits::default(), Instant::now());
        let stream = Phase::Streaming { blocked: None };
        let blocked = stream.blocked(start).blocked(start + 5 * SECOND);
        assert_eq!(blocked.deadline(&limits), start + limits.stalled_write);
        assert_eq!(blocked.sent(start + 6 * SECOND), stream);
        assert!(stream.deadline(&limits) > Instant::now() + 5 * SECOND);
        assert!(stream.is_streaming() && !blocked.is_streaming());
    }

    #[test]
    fn only_the_end_of_a_response_makes_idle() {
        let now = Instant::now();
        let receiving = Phase::Receiving { since: now };
        assert_eq!(receiving.flushed(now + SECOND), receiving);
        let idle = Phase::Idle {
            since: now + SECOND,
        };
        assert_eq!(Phase::responding(now).flushed(now + SECOND), idle);
    }

    #[test]
    fn the_idle_longest_goes_first_and_a_response_under_way_last() {
        let now = Instant::now();
        let mut phases = [
            Phase::responding(now),
            Phase::Receiving {
                since: now + 2 * SECOND,
            },
            Phase::Idle {
                since: now + SECOND,
            },
            Phase::Lingering {
                since: now + 3 * SECOND,
            },
        ];
        phases.sort_by_key(|p| p.rank(false));
        assert!(matches!(
            phases,
            [
                Phase::Lingering { .. },
                Phase::Idle { .. },
                Phase::Receiving { .. },
                Phase::Responding { .. }
            ]
        ));
    }
}
