//! Which traffic is an attack, and its signature.

use super::simulation::*;
use crate::guard::rules::decide;
use crate::guard::signature::Specificity;
use crate::types::guard::{GuardAction, Heading, Quantity};
use crate::types::rule::Action;

const HOST: &str = "192.0.2.7";

fn reflector(n: u64) -> String {
    format!("198.51.{}.{}", n / 250, n % 250 + 1)
}

fn rules(alarm: &crate::guard::report::AttackReport) -> Vec<String> {
    let decision = decide(alarm, GuardAction::Drop);
    decision.rules.iter().map(ToString::to_string).collect()
}

/// New connections and queries through the attacked host.
fn legitimate(simulation: &mut Simulation, until: u64) {
    for n in 0..20 {
        let mut web = Stream::udp(&format!("203.0.113.{}", n + 1), HOST, 20.0, (0, until));
        (web.protocol, web.flags, web.ports) = (TCP, SYN | ACK, (50_000 + n, 443));
        web.answered = true;
        simulation.stream(&web, u64::from(n) % 16);
    }
    let mut dns = Stream::udp("203.0.113.53", HOST, 5.0, (0, until));
    (dns.ports, dns.answered, dns.length) = ((53, 33_000), true, 120);
    simulation.stream(&dns, 3);
}

#[test]
fn a_reflection_is_its_source_port() {
    for factor in [1.25, 2.0, 20.0] {
        let mut simulation = Simulation::new("192.0.2.0/24");
        legitimate(&mut simulation, 12 * SECOND);
        let attack = (5 * SECOND + 123 * MS, 10 * SECOND);
        for n in 0..500 {
            let rate = 1_000.0 * factor / 500.0;
            let mut ntp = Stream::udp(&reflector(n), HOST, rate, attack);
            (ntp.ports, ntp.length) = ((123, 40_000 + n as u16), 468);
            simulation.stream(&ntp, n * 7 % 16);
        }
        simulation.run(20 * SECOND);
        let alarm = simulation.alarm(attack.0);
        assert_eq!(alarm.quantity(), Quantity::Packets);
        let signature = alarm.signature.as_ref().unwrap();
        assert_eq!(
            signature.to_string(),
            "dst 192.0.2.7/32, protocol udp, sport 123, length 468"
        );
        assert!(signature.share > 0.95, "{signature:?}");
        assert_eq!(
            rules(alarm),
            ["--action drop --dst 192.0.2.7/32 --proto udp --sport 123 --length 468"]
        );
        assert_eq!(simulation.calm, 1);
        assert_eq!(simulation.detector.watched(), 0);
    }
}

#[test]
fn an_answered_flow_with_the_signature_passes() {
    let mut simulation = Simulation::new("192.0.2.0/24");
    let attack = (5 * SECOND, 9 * SECOND);
    let mut time = Stream::udp("203.0.113.123", HOST, 3.0, (0, 9 * SECOND));
    (time.ports, time.answered, time.length) = ((123, 123), true, 76);
    simulation.stream(&time, 2);
    for n in 0..500 {
        let mut ntp = Stream::udp(&reflector(n), HOST, 8.0, attack);
        // several lengths in each flow: only the port is left
        (ntp.ports, ntp.length) = ((123, 123), 76 + n);
        simulation.stream(&ntp, n % 16);
    }
    simulation.run(9 * SECOND);
    let rules = rules(simulation.alarm(attack.0));
    assert_eq!(
        rules[0],
        "--action pass --src 203.0.113.123/32 --dst 192.0.2.7/32 --proto udp --sport 123"
    );
    assert!(rules[1].starts_with("--action drop"), "{rules:?}");
}

#[test]
fn a_syn_flood_of_short_packets_is_dropped_and_one_of_real_clients_limited() {
    for (length, action) in [(40, Action::Drop), (60, Action::Limit)] {
        let mut simulation = Simulation::new("192.0.2.0/24");
        legitimate(&mut simulation, 9 * SECOND);
        let attack = (4 * SECOND + 40 * MS, 8 * SECOND);
        simulation.flood(5_000, attack, |n| {
            let source = format!("{}.{}.{}.9", 11 + n % 80, n * 7 % 250, n * 31 % 250);
            let mut syn = Stream::udp(&source, HOST, 1.0, attack);
            (syn.protocol, syn.flags, syn.length) = (TCP, SYN, length);
            syn.ports = ((1_024 + n * 17 % 60_000) as u16, 443);
            // a server with SYN cookies answers all
            syn.answered = true;
            syn
        });
        simulation.run(9 * SECOND);
        let alarm = simulation.alarm(attack.0);
        let signature = alarm.signature.as_ref().unwrap();
        assert!(
            signature.only_syn && signature.dport == [443],
            "{signature}"
        );
        assert_eq!(signature.length, Some((length as u16, length as u16)));
        let decision = decide(alarm, GuardAction::Drop);
        let [rule] = &decision.rules[..] else {
            panic!("{decision:?}");
        };
        assert_eq!(rule.action, action);
        assert_eq!(rule.per.is_rule(), action == Action::Drop);
        assert!(rule.to_string().contains("syn/syn,ack"), "{rule}");
    }
}

#[test]
fn a_carpet_below_the_threshold_of_each_host_is_one_attack_on_the_prefix() {
    let mut simulation = Simulation::new("192.0.2.0/23");
    let attack = (4 * SECOND, 8 * SECOND);
    simulation.flood(10_000, attack, |n| {
        let source = format!("100.{}.{}.1", n % 200, n * 3 % 250);
        let target = format!("192.0.2.{}", n * 37 % 256);
        let mut udp = Stream::udp(&source, &target, 1.0, attack);
        (udp.length, udp.ports) = (256, ((n * 13) as u16, (n * 29) as u16));
        udp
    });
    simulation.run(8 * SECOND);
    let alarm = simulation.alarm(attack.0);
    assert_eq!(alarm.target.to_string(), "192.0.2.0/23");
    assert_eq!(
        rules(alarm),
        ["--action drop --dst 192.0.2.0/24 --proto udp --length 256"]
    );
}

#[test]
fn fragments_and_tunnels_have_signatures() {
    for (protocol, ports, quantity, expected) in [
        (UDP, (0, 0), Quantity::Fragments, "fragment later"),
        (47, (0, 0), Quantity::Packets, "protocol gre"),
    ] {
        let mut simulation = Simulation::new("192.0.2.0/24");
        let attack = (4 * SECOND, 8 * SECOND);
        simulation.flood(4_000, attack, |n| {
            let source = format!("100.64.{}.{}", n % 200, n * 3 % 250);
            let mut packet = Stream::udp(&source, HOST, 1.0, attack);
            (packet.protocol, packet.ports) = (protocol, ports);
            packet.length = 100 + n * 71 % 1_300;
            packet
        });
        simulation.run(8 * SECOND);
        let alarm = simulation.alarm(attack.0);
        let signature = alarm.signature.as_ref().unwrap();
        assert_eq!(
            signature.specificity(),
            Specificity::Specific,
            "{signature}"
        );
        assert!(signature.to_string().contains(expected), "{signature}");
        assert!(alarm.values[quantity as usize] > 1_000.0, "{alarm:?}");
    }
}

#[test]
fn random_packets_of_a_common_protocol_have_no_rule() {
    let mut simulation = Simulation::new("192.0.2.0/24");
    let attack = (4 * SECOND, 8 * SECOND);
    simulation.flood(4_000, attack, |n| {
        let source = format!("100.64.{}.{}", n % 200, n * 3 % 250);
        let mut packet = Stream::udp(&source, HOST, 1.0, attack);
        packet.ports = ((n * 13) as u16, (n * 29) as u16);
        packet.length = 60 + n * 71 % 1_400;
        packet
    });
    simulation.run(8 * SECOND);
    let decision = decide(simulation.alarm(attack.0), GuardAction::Drop);
    assert_eq!(
        (decision.action, decision.rules.len()),
        (GuardAction::Alert, 0)
    );
}

#[test]
fn the_signature_is_that_of_the_excess() {
    // steady unanswered traffic of 80 % of the threshold, and as much of the attack
    let mut simulation = Simulation::new("192.0.2.0/24");
    let attack = (9 * SECOND, 12 * SECOND);
    for n in 0..40 {
        let begin = n * 17 * MS;
        let mut video = Stream::udp(&reflector(n), HOST, 20.0, (begin, 12 * SECOND));
        (video.ports, video.length) = ((5_004, 5_004), 700);
        simulation.stream(&video, n % 16);
    }
    simulation.flood(900, attack, |n| {
        let source = format!("100.64.{}.{}", n % 200, n * 3 % 250);
        let mut packet = Stream::udp(&source, HOST, 1.0, attack);
        (packet.ports, packet.length) = ((11_211, 80), 1_400);
        packet
    });
    simulation.run(12 * SECOND);
    let alarm = simulation.alarm(attack.0);
    let signature = alarm.signature.as_ref().unwrap();
    assert_eq!(signature.sport, [11_211], "{signature}");
}

#[test]
fn what_is_no_attack_raises_no_alarm() {
    let mut simulation = Simulation::new("192.0.2.0/24");
    let all = (SECOND, 14 * SECOND);
    // one connection of TCP and one of UDP, each at five times the threshold
    for (host, protocol, flags) in [("192.0.2.10", TCP, ACK), ("192.0.2.11", UDP, 0)] {
        let mut transfer = Stream::udp("203.0.113.9", host, 5_000.0, all);
        (transfer.protocol, transfer.flags, transfer.length) = (protocol, flags, 1_500);
        transfer.answered = protocol == TCP;
        simulation.stream(&transfer, 5);
    }
    // a resolver: each query is another flow, and has an answer
    simulation.flood(3_000, all, |n| {
        let source = format!("100.64.{}.{}", n % 200, n * 3 % 250);
        let mut query = Stream::udp(&source, "192.0.2.53", 1.0, all);
        query.ports = ((1_024 + n * 17 % 60_000) as u16, 53);
        query.answered = true;
        query
    });
    // a crowd: 2,000 clients in a second, each with a SYN of its own and then a connection
    for n in 0..2_000u64 {
        let from = 6 * SECOND + n * MS / 2;
        let mut client = Stream::udp(&reflector(n), "192.0.2.80", 10.0, (from, from + 2 * SECOND));
        (client.protocol, client.flags, client.answered) = (TCP, SYN | ACK, true);
        client.ports = (20_000 + n as u16, 443);
        simulation.stream(&client, n % 16);
    }
    // a burst of 300 ms at a hundred times the threshold
    let burst = (9 * SECOND + 17 * MS, 9 * SECOND + 317 * MS);
    simulation.flood(100_000, burst, |n| {
        let source = format!("100.64.{}.{}", n % 200, n * 3 % 250);
        Stream::udp(&source, "192.0.2.66", 1.0, burst)
    });
    simulation.run(14 * SECOND);
    assert!(simulation.alarms.is_empty(), "{:?}", simulation.alarms);
}

#[test]
fn a_client_that_acknowledges_late_was_no_part_of_a_syn_flood() {
    // each SYN is a record of its own, and the ACK follows in another, as during an eviction
    let mut simulation = Simulation::new("192.0.2.0/24");
    let all = (SECOND, 8 * SECOND);
    for flags in [SYN, ACK] {
        let delay = if flags == SYN { 0 } else { 200 * MS };
        simulation.flood(400, (all.0 + delay, all.1 + delay), |n| {
            let mut client = Stream::udp(&reflector(n % 60_000), "192.0.2.80", 1.0, all);
            (client.protocol, client.flags, client.answered) = (TCP, flags, true);
            client.ports = (1_024 + n as u16, 443);
            client
        });
    }
    simulation.run(9 * SECOND);
    assert!(simulation.alarms.is_empty(), "{:?}", simulation.alarms);
}

#[test]
fn a_restart_during_traffic_raises_no_alarm() {
    let mut simulation = Simulation::new("192.0.2.0/24");
    for n in 0..2_000 {
        let mut flow = Stream::udp(&reflector(n), HOST, 1.0, (0, 10 * SECOND));
        (flow.ports, flow.answered) = ((10_000 + n as u16, 8_000), true);
        simulation.stream(&flow, n % 16);
    }
    simulation.run(10 * SECOND);
    assert!(simulation.alarms.is_empty(), "{:?}", simulation.alarms);
}

#[test]
fn what_a_protected_host_sends_is_reported_and_not_stopped() {
    let mut simulation = Simulation::new("203.0.113.0/24");
    let attack = (4 * SECOND, 8 * SECOND);
    // the answered packets leave through the same interface
    for n in 0..400 {
        let mut flow = Stream::udp("203.0.113.5", "100.64.0.1", 10.0, attack);
        flow.ports = (10_000 + n, 53);
        let mut reversed = flow;
        (reversed.src, reversed.dst) = (flow.dst, flow.src);
        reversed.ports = (flow.ports.1, flow.ports.0);
        simulation.egress(&reversed, u64::from(n) % 16);
    }
    simulation.run(8 * SECOND);
    let alarm = simulation.alarm(attack.0);
    assert_eq!(alarm.heading, Heading::Out);
    assert_eq!(decide(alarm, GuardAction::Drop).action, GuardAction::Alert);
}

#[test]
fn origins_that_the_sources_share_are_reported_and_give_no_rule() {
    for (of_country, expected) in [(9, &["XA"][..]), (7, &[])] {
        let mut simulation = Simulation::new("192.0.2.0/24");
        let attack = (4 * SECOND, 8 * SECOND);
        simulation.flood(4_000, attack, |n| {
            let net = if n % 10 < of_country {
                "198.18"
            } else {
                "100.64"
            };
            let source = format!("{net}.{}.{}", n % 200, n * 3 % 250);
            let mut packet = Stream::udp(&source, HOST, 1.0, attack);
            packet.ports = ((n * 13) as u16, (n * 29) as u16);
            packet.length = 60 + n * 71 % 1_400;
            packet
        });
        simulation.run(8 * SECOND);
        let alarm = simulation.alarm(attack.0);
        let countries: Vec<_> = alarm.origins.countries.iter().map(|one| &**one).collect();
        assert_eq!(countries, expected);
        assert_eq!(alarm.origins.peer_asns, [64_500]);
        assert_eq!(alarm.interface.as_deref(), Some("wan0"));
        // nothing else is shared
        let decision = decide(alarm, GuardAction::Drop);
        assert_eq!(
            (decision.action, decision.rules.len()),
            (GuardAction::Alert, 0)
        );
    }
}
