// SPDX-License-Identifier: AGPL-3.0-only
//! BMP sessions that come and go, and what the RIB holds of them. Nothing may be left at the end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rfm::config::{Machine, parse};
use rfm::enrich::bmp::{Session, SessionState, SessionStats};
use rfm::enrich::rib::{Rib, RibConfig, TableId};

use super::Input;

const SESSIONS: usize = 3;
const STALE_MS: u64 = 10_000;

struct Router {
    session: Session,
    buffer: Vec<u8>,
}

impl Router {
    fn new(n: usize) -> Self {
        // the first runs on this machine
        let address = Ipv4Addr::new(10, 0, 0, n as u8);
        Self {
            session: Session::new(address.into(), n == 0, 0),
            buffer: Vec::new(),
        }
    }
}

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let mut rib = Rib::new(settings(1 + usize::from(input.u8()) * 16));
    let mut routers = [0, 1, 2].map(Router::new);
    let mut now = 0;
    let mut stats = SessionStats::default();
    while !input.is_empty() {
        let op = input.u8();
        let n = usize::from(op >> 4) % SESSIONS;
        match op & 15 {
            0..8 => {
                let length = input.u16().into();
                let router = &mut routers[n];
                router.buffer.extend_from_slice(input.take(length));
                let fed = router
                    .session
                    .feed(&mut rib, &router.buffer, now, &mut stats);
                match fed {
                    Ok((used, SessionState::Open)) => drop(router.buffer.drain(..used)),
                    Ok((_, SessionState::Ended)) | Err(_) => {
                        reconnect(&mut routers[n], n, &mut rib, now)
                    }
                }
            }
            8 => reconnect(&mut routers[n], n, &mut rib, now),
            9 => {
                routers[n].session.flush(&mut rib, now);
                routers[n] = Router::new(n);
            }
            10 => now += u64::from(input.u16()),
            11 => drop(rib.expire(now)),
            12 => drop(rib.sweep()),
            13 => rib.set_limits(&settings(usize::from(input.u8()))),
            14 => rib.compact(),
            _ => {
                rib.apply_changes();
                look_up(&rib, &mut input);
            }
        }
    }
    for (n, router) in routers.iter_mut().enumerate() {
        reconnect(router, n, &mut rib, now);
    }
    while rib.expire(now + 3 * STALE_MS) {}
    while rib.sweep() {}
    rib.apply_changes();
    rib.compact();
    assert_eq!(rib.held(), 0, "routes are left");
    assert_eq!(rib.attribute_sets(), 0, "attributes are left");
    assert_eq!(rib.counts().prefixes, [0, 0], "prefixes are left");
}

fn settings(max_routes: usize) -> RibConfig {
    const TEXT: &str = r#"
[agent]
interfaces = ["*"]
[agent.enrich.rib.bmp]
port = 11019
allow = ["10.0.0.0/24"]
[agent.firewall]
enabled = true
interfaces = ["*"]
blackhole_communities = ["65535:666"]
blackhole_within = ["0.0.0.0/0", "::/0"]
blackhole_peers = ["AS65001"]
"#;
    let config = parse("fuzz", TEXT, &Machine::here()).expect("a valid configuration");
    RibConfig {
        max_routes: max_routes.max(1),
        stale_ms: STALE_MS,
        ..RibConfig::from(&config.agent)
    }
}

fn reconnect(router: &mut Router, n: usize, rib: &mut Rib, now: u64) {
    router.session.close(rib, now);
    *router = Router::new(n);
}

fn look_up(rib: &Rib, input: &mut Input<'_>) {
    let v4 = Ipv4Addr::from([input.u8(), input.u8(), input.u8(), input.u8()]);
    let mut v6 = [0; 16];
    let bytes = input.take(16);
    v6[..bytes.len()].copy_from_slice(bytes);
    let addresses = [IpAddr::from(v4), Ipv6Addr::from(v6).into()];
    let [a, b] = rib.lookup_all(addresses, TableId::GLOBAL);
    assert_eq!(a, rib.lookup(addresses[0], TableId::GLOBAL));
    assert_eq!(b, rib.lookup(addresses[1], TableId::GLOBAL));
}
