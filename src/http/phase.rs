// SPDX-License-Identifier: AGPL-3.0-only
//! What a connection is doing, until when it may, and who goes first when there are too many.

use std::time::Instant;

use super::HttpLimits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Accepted, and no byte has come: browsers open connections in advance.
    Fresh { since: Instant },
    /// A request is expected or under way.
    Receiving { since: Instant },
    /// The response is being written; `progress` is when the client last took some of it.
    Responding { since: Instant, progress: Instant },
    /// Nothing is under way; the connection is kept for the next request.
    Idle { since: Instant },
    /// Done; waiting for the client to close.
    Lingering { since: Instant },
}

impl Phase {
    /// Bytes came in.
    pub fn received(self, now: Instant) -> Self {
        match self {
            Self::Idle { .. } => Self::Receiving { since: now },
            Self::Fresh { since } => Self::Receiving { since },
            // The limit counts from the first byte: dripping does not extend it.
            other => other,
        }
    }

    /// The client took some bytes.
    pub fn sent(self, now: Instant) -> Self {
        match self {
            Self::Responding { since, .. } => Self::Responding {
                since,
                progress: now,
            },
            other => other,
        }
    }

    /// A header is complete. A pipelined request gets here without a byte coming in.
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

    /// Nothing is left to be written.
    pub fn flushed(self, now: Instant) -> Self {
        match self {
            Self::Responding { .. } => Self::Idle { since: now },
            other => other,
        }
    }

    pub fn deadline(self, limits: &HttpLimits) -> Instant {
        match self {
            Self::Fresh { since } | Self::Receiving { since } => since + limits.request,
            Self::Responding { since, progress } => {
                (since + limits.response).min(progress + limits.stalled_write)
            }
            Self::Idle { since } => since + limits.idle,
            Self::Lingering { since } => since + limits.linger,
        }
    }

    /// What a connection that reached its deadline did wrong, if anything.
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::Receiving { .. } => Some("request not complete in time"),
            Self::Responding { .. } => Some("response not taken in time"),
            Self::Fresh { .. } | Self::Idle { .. } | Self::Lingering { .. } => None,
        }
    }

    /// Whether the client may be sent away: it waits for nothing.
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Idle { .. } | Self::Lingering { .. })
    }

    /// The lowest makes room: first who is done, then who has sent nothing for longest (dripping
    /// does not count), last who is taking a response.
    pub fn rank(self) -> (u8, Instant) {
        match self {
            Self::Lingering { since } => (0, since),
            Self::Fresh { since } | Self::Idle { since } | Self::Receiving { since } => (1, since),
            Self::Responding { progress, .. } => (2, progress),
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
        phases.sort_by_key(|p| p.rank());
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
