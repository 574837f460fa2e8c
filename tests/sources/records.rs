// SPDX-License-Identifier: AGPL-3.0-only
//! The result of the check in IPFIX records.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use crate::common::lab::{Namespace, wait_for};
use crate::common::metrics::Metrics;
use crate::decode::{Decoder, OF_ENTERPRISE};

/// The values of invalid sources, by docs/ipfix.md.
const REASONS: [(u64, &str); 4] = [
    (3, "bogon"),
    (4, "local"),
    (5, "unrouted"),
    (6, "infeasible"),
];
/// Flows end two seconds after their last packet.
const COMPLETE: Duration = Duration::from_secs(30);
/// Information elements: layer2OctetDeltaCount, flowDirection.
const BYTES: u16 = 352;
const DIRECTION: u16 = 61;

/// A collector on the router.
pub struct Collector {
    socket: UdpSocket,
    decoder: Decoder,
    /// Bytes of frames by result.
    bytes: BTreeMap<u64, u64>,
}

impl Collector {
    pub fn start(router: &Namespace) -> Self {
        let socket = router.inside(|| UdpSocket::bind("127.0.0.1:4739").expect("a socket"));
        let timeout = Some(Duration::from_millis(200));
        socket.set_read_timeout(timeout).expect("a timeout");
        Self {
            socket,
            decoder: Decoder::default(),
            bytes: BTreeMap::new(),
        }
    }

    /// Reads the messages that have arrived.
    fn read(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let message = self.decoder.message(&buffer[..length]);
            for flow in message.flows() {
                let result = flow.number(OF_ENTERPRISE | 1);
                assert!(
                    result == 0 || flow.number(DIRECTION) == 0,
                    "only received packets have a source to check: {flow:?}"
                );
                *self.bytes.entry(result).or_default() += flow.number(BYTES);
            }
        }
    }

    /// The sums of invalid sources are those of /metrics. Other flows, such as BGP, do not end.
    pub fn check(&mut self, metrics: &Metrics) {
        const NAME: &str = "rfm_source_invalid_bytes_total";
        let expected = REASONS.map(|(_, reason)| metrics.sum(NAME, &[("reason", reason)]));
        let complete = wait_for(COMPLETE, || {
            self.read();
            let found = REASONS.map(|(value, _)| self.bytes.get(&value).copied().unwrap_or(0));
            found == expected
        });
        assert!(complete, "{expected:?}: {:?}", self.bytes);
        assert!(
            self.bytes.contains_key(&1),
            "valid sources: {:?}",
            self.bytes
        );
        assert!(
            self.bytes.contains_key(&2),
            "unknown ones: {:?}",
            self.bytes
        );
        assert!(self.bytes.keys().all(|value| *value <= 6));
    }
}
