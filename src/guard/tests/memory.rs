//! The limits of the detector.

use super::simulation::*;
use crate::guard::host_table::MAX_HOSTS;

#[test]
fn a_scan_makes_no_table_grow() {
    for (protect, target) in [
        (
            "10.0.0.0/8",
            (|n| format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255)) as fn(u64) -> String,
        ),
        ("2001:db8::/32", |n| {
            format!("2001:db8:{:x}:{:x}::1", n >> 12, n & 0xfff)
        }),
    ] {
        let mut simulation = Simulation::new(protect);
        let before = simulation.detector.hosts().memory();
        let is_ipv6 = protect.contains(':');
        let all = (4 * SECOND, 5 * SECOND);
        simulation.flood(120_000, all, |n| {
            let source = if is_ipv6 {
                "2001:db8:ffff::9"
            } else {
                "192.0.2.9"
            };
            let mut probe = Stream::udp(source, &target(n * 61), 1.0, all);
            (probe.protocol, probe.flags, probe.length) = (TCP, SYN, 40);
            probe
        });
        simulation.run(6 * SECOND);
        let hosts = simulation.detector.hosts();
        assert_eq!(hosts.memory(), before);
        assert!(before <= 6 << 20, "{before} bytes");
        assert!(hosts.len() > MAX_HOSTS / 2 && hosts.len() <= MAX_HOSTS);
        assert!(hosts.evictions() > 0);
        assert_eq!(simulation.detector.watched(), 0);
    }
}

#[test]
fn a_scan_hides_no_attack() {
    let mut simulation = Simulation::new("10.0.0.0/8");
    let attack = (5 * SECOND, 8 * SECOND);
    simulation.flood(100_000, (4 * SECOND, 8 * SECOND), |n| {
        let n = n * 61;
        let target = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
        let mut probe = Stream::udp("192.0.2.9", &target, 1.0, attack);
        (probe.protocol, probe.flags) = (TCP, SYN | ACK);
        probe.ports = (n as u16, (n >> 16) as u16);
        probe
    });
    for n in 0..500 {
        let source = format!("198.51.{}.{}", n / 250, n % 250);
        let mut ntp = Stream::udp(&source, "10.1.2.3", 4.0, attack);
        ntp.ports = (123, 123);
        simulation.stream(&ntp, n % 16);
    }
    simulation.run(8 * SECOND);
    let on_host =
        |alarm: &&crate::guard::report::AttackReport| alarm.target.to_string().ends_with("/32");
    let alarm = simulation.alarms.iter().find(on_host).expect("an alarm");
    assert_eq!(alarm.target.to_string(), "10.1.2.3/32");
    assert!(alarm.now_ns - START - attack.0 <= 1_500 * MS);
}
