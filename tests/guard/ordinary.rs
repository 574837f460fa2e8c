// SPDX-License-Identifier: AGPL-3.0-only
//! Ordinary load is no attack.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::Duration;

use serde_json::Value;

use crate::common::lab::can_run;
use crate::common::traffic::{self, Other, meanwhile};
use crate::floods::{ethernet, flood, spoofed};
use crate::legitimate::Legitimate;
use crate::network::{HOST, Network, TOOLS};

#[test]
fn ordinary_load_raises_no_alarm() {
    if !can_run(&TOOLS) {
        return;
    }
    let network = Network::new();
    traffic::iperf3_server(&network.lab, &network.host);
    let legitimate = Legitimate {
        network: &network,
        answers: AtomicU64::new(0),
    };
    legitimate.serve();
    let agent = network.agent("drop");
    let resolver = network
        .host
        .inside(|| UdpSocket::bind(SocketAddr::from((HOST, 53))).expect("a socket"));
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((_, from)) = resolver.recv_from(&mut query) {
            let _ = resolver.send_to(&[0; 90], from);
        }
    });
    sleep(Duration::from_secs(4));
    let sent = AtomicU64::new(0);
    // a busy resolver, a speed test and a backup
    let query = |n: u64| {
        let frame = ethernet().ipv4(spoofed(n), HOST).udp();
        frame.ports((n % 60_000) as u16 + 1, 53).payload(40).build()
    };
    let queries: Other<'_> = &|stop| flood(&network.outside, 1_500, &query, &sent, stop);
    meanwhile(&[queries], || {
        for how in ["-b 150M -t 5", "-R -b 150M -t 5"] {
            network.outside.run("iperf3", &format!("-c {HOST} {how}"));
        }
        // a crowd of 2,000 clients within about a second
        network.outside.inside(|| {
            let (sender, clients) = mpsc::channel();
            thread::scope(|scope| {
                for _ in 0..8 {
                    let sender = sender.clone();
                    let legitimate = &legitimate;
                    let outside = &network.outside;
                    scope.spawn(move || {
                        outside.inside(|| {
                            for _ in 0..250 {
                                let mut client = legitimate.connect();
                                legitimate.exchange(&mut client);
                                sender.send(client).expect("kept");
                            }
                        });
                    });
                }
            });
            drop(sender);
            assert_eq!(clients.iter().count(), 2_000);
        });
        sleep(Duration::from_secs(2));
        assert_eq!(network.events(), Vec::<Value>::new());
        // a restart during the queries
        agent.stop();
        let agent = network.agent("drop");
        sleep(Duration::from_secs(6));
        assert_eq!(network.events(), Vec::<Value>::new(), "{}", agent.log());
        agent.stop();
    });
}
