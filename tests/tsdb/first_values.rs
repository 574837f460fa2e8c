// SPDX-License-Identifier: AGPL-3.0-only
//! `increase()` contains the first values of series, in every database, without any flag.

use std::ops::Range;
use std::time::Duration;

use crate::common::agent::{Agent, EXACT, config};
use crate::common::lab::Lab;
use crate::engine::{Engine, Kind, Spec, can_run_all, with_collector};
use crate::traffic::{INTERFACES, SERIES_PER_PROTOCOL, namespace, send_for, send_while};
use crate::truth::{check, seconds, settled};

const VICTORIA: u16 = 18428;

/// All scrape from one address. Three have one user agent, and two of them one interval.
const SPECS: [Spec; 7] = [
    Spec::new("prometheus2", Kind::Prometheus2, 19090),
    Spec::new("prometheus3", Kind::Prometheus3, 19091),
    Spec::new("replica", Kind::Prometheus3, 19092),
    Spec {
        interval: 3,
        ..Spec::new("slow", Kind::Prometheus3, 19093)
    },
    Spec::new("victoria", Kind::VictoriaMetrics, VICTORIA),
    Spec {
        interval: 2,
        store: Some(VICTORIA),
        ..Spec::new("vmagent", Kind::Vmagent, 18429)
    },
    Spec {
        store: Some(VICTORIA),
        ..Spec::new("collector", Kind::Collector, 0)
    },
];

/// 50 protocols each.
const FIRST: Range<u8> = 61..111;
const SECOND: Range<u8> = 111..161;
const THIRD: Range<u8> = 161..211;

/// Series appear between scrapes, while each scraper restarts, and after a restart of the agent.
#[test]
fn every_database_counts_the_first_values() {
    let of_collector = |spec: &Spec| spec.kind == Kind::Collector;
    let specs = SPECS
        .iter()
        .filter(|spec| with_collector() || !of_collector(spec));
    if !can_run_all(specs.clone().map(|spec| spec.kind)) {
        return;
    }
    let (lab, start) = (Lab::new(), seconds());
    let namespace = namespace(&lab);
    let agent = Agent::start(&lab, &namespace, &config(INTERFACES, EXACT));
    let start_one = |spec: &Spec| Engine::start(&lab, &namespace, *spec);
    let mut engines: Vec<Engine> = specs.map(start_one).collect();
    println!("after {:.0} s: series appear", seconds() - start);
    send_for(&namespace, FIRST.collect(), Duration::from_secs(15));
    let truth = settled(&agent, &engines);
    assert_eq!(truth.series(), FIRST.len() * SERIES_PER_PROTOCOL);
    check(&truth, &engines, start, 0);

    println!("after {:.0} s: each scraper restarts", seconds() - start);
    send_while(
        &namespace,
        SECOND.collect(),
        Duration::from_millis(800),
        || {
            for engine in &mut engines {
                engine.restart(Duration::from_secs(2));
            }
        },
    );
    let mut truth = settled(&agent, &engines);
    assert!(truth.series() > FIRST.len() * SERIES_PER_PROTOCOL + 100);
    check(&truth, &engines, start, 0);

    println!("after {:.0} s: the agent restarts", seconds() - start);
    agent.stop();
    let agent = Agent::start(&lab, &namespace, &config(INTERFACES, EXACT));
    // all series go on: Prometheus extrapolates one that has ended
    let all: Vec<u8> = FIRST.chain(SECOND).chain(THIRD).collect();
    let series = all.len() * SERIES_PER_PROTOCOL;
    send_for(&namespace, all, Duration::from_secs(15));
    let after = settled(&agent, &engines);
    assert_eq!(after.series(), series);
    truth.add(&after);
    check(&truth, &engines, start, 1);
    println!("after {:.0} s: done", seconds() - start);
    agent.stop();
}
