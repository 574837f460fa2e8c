// SPDX-License-Identifier: AGPL-3.0-only
//! The programs on their hooks: beside those of others, after SIGKILL, and as on other kernels.

mod common;

use std::fs;
use std::process::Child;
use std::thread;
use std::time::Duration;

use common::accounting::{Count, SETTLED, of_hooks, settle};
use common::agent::{Agent, EXACT, config, http_get};
use common::flood::pin_to;
use common::lab::{Lab, Namespace, can_run, end, run, wait_for};
use common::observer::{ChainPosition, Observer, detach_tcx_links, tcx_programs};
use common::packet::Sender;
use common::traffic::{EXCHANGE_TOOLS, exchange, iperf3_server, send_burst, small_frame};
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions, ProgramInfo};
use rfm::types::flow::Direction::{self, Egress, Ingress};
use rustix::process::{Pid, Signal, kill_process};

const BOTH: &str = r#"["v0", "v1"]"#;

fn crossed(agent: &Agent, way: &str, device: &str) -> u64 {
    let name = format!("rfm_interface_{way}_packets_total");
    agent.scrape().sum(&name, &[("ifname", device)])
}

// TCX

#[test]
fn other_tcx_programs_before_and_after_see_every_packet() {
    if !can_run(&["ip", "sysctl", "clang"]) {
        return;
    }
    for position in ["head", "tail"] {
        let lab = Lab::new();
        let namespace = lab.wire();
        let (v0, v1) = (namespace.ifindex("v0"), namespace.ifindex("v1"));
        let sender = namespace.inside(|| Sender::new("v0").expect("a packet socket"));
        let more = format!("{EXACT}position = {position:?}\n");
        namespace.inside(|| {
            let observer = |place| {
                [(v0, Egress), (v1, Ingress)].map(|(i, d)| Observer::tcx(&lab, i, d, place))
            };
            let earlier = observer(ChainPosition::Last);
            let agent = Agent::start(&lab, &namespace, &config(BOTH, &more));
            send_burst(&sender, 100);
            let later: Vec<Observer> = [ChainPosition::First, ChainPosition::Last]
                .into_iter()
                .flat_map(observer)
                .collect();
            send_burst(&sender, 200);
            let complete =
                || earlier.iter().all(|w| w.seen() == 300) && later.iter().all(|w| w.seen() == 200);
            wait_for(SETTLED, complete);
            let seen = |observers: &[Observer]| observers.iter().map(Observer::seen).collect();
            let (earlier_saw, later_saw): (Vec<_>, Vec<_>) = (seen(&earlier), seen(&later));
            assert_eq!(earlier_saw, [300, 300], "{position}");
            assert_eq!(later_saw, [200, 200, 200, 200], "{position}");
            assert_eq!(crossed(&agent, "tx", "v0"), 300, "{position}");
            assert_eq!(crossed(&agent, "rx", "v1"), 300, "{position}");
            // a clean end leaves theirs, and takes ours away
            agent.stop();
            assert_eq!(tcx_programs(v0, Egress).len(), 3, "{position}");
            assert_eq!(tcx_programs(v0, Ingress).len(), 0, "{position}");
        });
    }
}

#[test]
fn nothing_is_attached_after_sigkill() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let devices = ["v0", "v1"].map(|name| namespace.ifindex(name));
    let attached = || {
        let count = |device| {
            let programs = Direction::ALL.map(|d| tcx_programs(device, d));
            programs.concat().len()
        };
        devices.map(count)
    };
    namespace.inside(|| {
        let agent = Agent::start(&lab, &namespace, &config(BOTH, EXACT));
        assert_eq!(attached(), [2, 2]);
        agent.kill();
        // links are freed by a kernel worker
        wait_for(SETTLED, || attached() == [0, 0]);
        assert_eq!(attached(), [0, 0]);
    });
}

// clsact

const CLSACT: [(&str, &str); 1] = [("RFM_FORCE", "clsact")];

/// The handle of the agent's own filters: alone it makes no filter ours.
const OUR_HANDLE: u32 = 0x0072_666d;

/// Both hooks of a wire under clsact, with filters of others on one of them.
struct Clsact<'a> {
    lab: &'a Lab,
    namespace: &'a Namespace,
    sender: Sender,
    /// Far from ours, and where ours would be had it not come first.
    theirs: [Observer; 2],
}

impl<'a> Clsact<'a> {
    /// In this thread's network namespace.
    fn new(lab: &'a Lab, namespace: &'a Namespace) -> Self {
        let v0 = namespace.ifindex("v0");
        let places = [(100, 1), (2, OUR_HANDLE)];
        Self {
            lab,
            namespace,
            sender: Sender::new("v0").expect("a packet socket"),
            theirs: places.map(|place| Observer::clsact(lab, v0, Egress, place)),
        }
    }

    fn start(&self) -> Agent {
        let config = config(BOTH, EXACT);
        Agent::start_with(self.lab, self.namespace, &config, &CLSACT)
    }

    /// How many filters of programs named so are on each of the four hooks.
    fn filters(&self, name: &str) -> Vec<usize> {
        let hooks = ["v0 ingress", "v0 egress", "v1 ingress", "v1 egress"];
        let on = |hook: &&str| {
            let text = self.namespace.run("tc", &format!("filter show dev {hook}"));
            text.lines().filter(|line| line.contains(name)).count()
        };
        hooks.iter().map(on).collect()
    }

    /// A burst is seen by the filters of others, and counted by the agent.
    fn all_count(&self, agent: &Agent) {
        let saw = || self.theirs.each_ref().map(Observer::seen);
        let before = (
            saw(),
            crossed(agent, "tx", "v0"),
            crossed(agent, "rx", "v1"),
        );
        send_burst(&self.sender, 100);
        wait_for(SETTLED, || crossed(agent, "rx", "v1") == before.2 + 100);
        assert_eq!(saw(), before.0.map(|seen| seen + 100));
        assert_eq!(crossed(agent, "tx", "v0"), before.1 + 100);
        assert_eq!(crossed(agent, "rx", "v1"), before.2 + 100);
    }
}

/// A filter outlives its process: what a killed run left is replaced at the next start, or removed by
/// `rfm --detach`; and those of others work all the time.
#[test]
fn a_clsact_filter_that_was_left_is_replaced_and_others_are_not_touched() {
    if !can_run(&["ip", "tc", "sysctl", "clang"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    namespace.inside(|| {
        let wire = Clsact::new(&lab, &namespace);
        let one_each = vec![1, 1, 1, 1];
        let none = vec![0, 0, 0, 0];
        let theirs = || assert_eq!(wire.filters("observer"), [0, 2, 0, 0]);

        let agent = wire.start();
        let info = [("ifname", "v0"), ("attach", "clsact")];
        assert_eq!(agent.scrape().get("rfm_interface_info", &info), Some(1.0));
        for (device, direction) in [("v0", Egress), ("v1", Ingress)] {
            let ifindex = namespace.ifindex(device);
            assert!(tcx_programs(ifindex, direction).is_empty(), "not forced");
        }
        assert_eq!(wire.filters("rfm_"), one_each);
        wire.all_count(&agent);
        agent.kill();
        assert_eq!(wire.filters("rfm_"), one_each, "they outlive SIGKILL");
        theirs();

        let agent = wire.start();
        assert_eq!(wire.filters("rfm_"), one_each, "replaced, not added to");
        wire.all_count(&agent);
        agent.kill();

        run(&mut namespace.command(env!("CARGO_BIN_EXE_rfm"), &["--detach"]));
        assert_eq!(wire.filters("rfm_"), none);
        theirs();

        let agent = wire.start();
        wire.all_count(&agent);
        agent.stop();
        assert_eq!(wire.filters("rfm_"), none, "after a clean end");
        theirs();
    });
}

/// Neither `rfm --detach` nor a second agent, at its start or its end, touches the filters of an agent that
/// runs, not even of one that is stopped; and what a killed one left is still removed.
#[test]
fn the_clsact_filters_of_a_running_agent_stay() {
    if !can_run(&["ip", "tc", "sysctl", "clang"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    namespace.inside(|| {
        let wire = Clsact::new(&lab, &namespace);
        let detach = || {
            run(&mut namespace.command(env!("CARGO_BIN_EXE_rfm"), &["--detach"]));
        };
        let first = wire.start();
        detach();
        detach();
        wire.all_count(&first);
        first.signal(Signal::STOP);
        detach();
        first.signal(Signal::CONT);
        wire.all_count(&first);

        let mut second = second(&lab, &namespace);
        assert_eq!(wire.filters("rfm_"), [2, 2, 2, 2]);
        wire.all_count(&first);
        detach();
        assert_eq!(wire.filters("rfm_"), [2, 2, 2, 2]);
        kill_process(Pid::from_child(&second), Signal::TERM).expect("the second agent runs");
        let status = second.wait().expect("our own child");
        assert!(status.success(), "{status}");
        assert_eq!(wire.filters("rfm_"), [1, 1, 1, 1]);
        wire.all_count(&first);

        // a killed second one leaves its own, which go
        let mut second = self::second(&lab, &namespace);
        end(&mut second);
        assert_eq!(wire.filters("rfm_"), [2, 2, 2, 2]);
        detach();
        assert_eq!(wire.filters("rfm_"), [1, 1, 1, 1]);
        wire.all_count(&first);
        first.kill();
        detach();
        assert_eq!(wire.filters("rfm_"), [0, 0, 0, 0]);
    });
}

/// Another agent on the same wire, with a port of its own; returns when it has attached.
fn second(lab: &Lab, namespace: &Namespace) -> Child {
    const PORT: u16 = 9670;
    let text = config(BOTH, EXACT).replace("port = 9669", &format!("port = {PORT}"));
    let file = lab.file("second.toml", &text);
    let path = file.to_str().expect("a path in UTF-8");
    let mut command = namespace.command(env!("CARGO_BIN_EXE_rfm"), &["--config", path]);
    let log = fs::File::create(lab.path("second.log")).expect("a log file");
    let child = command.envs(CLSACT).stderr(log).spawn().expect("a process");
    let is_healthy =
        || http_get(namespace, PORT, "/healthz").is_ok_and(|reply| reply.status == 200);
    let healthy = wait_for(SETTLED, is_healthy);
    let log = fs::read_to_string(lab.path("second.log")).unwrap_or_default();
    assert!(healthy, "{log}");
    assert!(log.contains("its agent runs"), "{log}");
    child
}

// Removed by others

/// The agent finds a removed hook within this time, and has it attached again.
const FOUND: Duration = Duration::from_secs(15);

fn removals(agent: &Agent, device: &str) -> [u64; 2] {
    Direction::ALL.map(|direction| {
        let labels = [("ifname", device), ("direction", direction.name())];
        let scrape = agent.scrape();
        scrape.sum("rfm_interface_hook_removals_total", &labels)
    })
}

/// Bursts are counted exactly again once `device` has lost what `expected` says.
fn recovers(agent: &Agent, sender: &Sender, (device, way): (&str, &str), expected: [u64; 2]) {
    let found = wait_for(FOUND, || removals(agent, device) == expected);
    assert!(found, "{device}: {:?}", removals(agent, device));
    let before = crossed(agent, way, device);
    // counted, and attached a moment later
    let counts = wait_for(SETTLED, || {
        send_burst(sender, 1);
        crossed(agent, way, device) > before
    });
    assert!(counts, "{device} is attached again");
    let before = crossed(agent, way, device);
    send_burst(sender, 100);
    assert_eq!(crossed(agent, way, device), before + 100);
}

/// What `rfm status` lists as problems.
fn problems(lab: &Lab, namespace: &Namespace) -> Vec<String> {
    let socket = lab.path("rfm.sock");
    let socket = socket.to_str().expect("a path in UTF-8");
    let arguments = ["status", "--socket", socket];
    let text = run(&mut namespace.command(env!("CARGO_BIN_EXE_rfm"), &arguments));
    let lines = text.lines().filter_map(|l| l.strip_prefix("problem"));
    lines.map(|line| line.trim().to_owned()).collect()
}

fn with_socket(lab: &Lab) -> String {
    let socket = format!("socket = {:?}", lab.path("rfm.sock"));
    config(BOTH, EXACT).replace("socket = \"\"", &socket)
}

#[test]
fn a_tcx_link_that_another_program_detached_is_attached_again() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        let agent = Agent::start(&lab, &namespace, &with_socket(&lab));
        assert_eq!(problems(&lab, &namespace), Vec::<String>::new());
        let v1 = namespace.ifindex("v1");
        assert_eq!(detach_tcx_links(v1, Ingress), 1);
        recovers(&agent, &sender, ("v1", "rx"), [1, 0]);
        assert_eq!(removals(&agent, "v0"), [0, 0]);
        let problems = problems(&lab, &namespace);
        let [problem] = &problems[..] else {
            panic!("{problems:?}");
        };
        let expected = "v1: another program removed hooks of rfm (ingress 1 times, egress 0 times";
        assert!(problem.starts_with(expected), "{problem}");
        agent.stop();
        assert!(tcx_programs(v1, Ingress).is_empty());
    });
}

#[test]
fn a_clsact_qdisc_that_another_program_deleted_is_made_again() {
    if !can_run(&["ip", "tc", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        let agent = Agent::start_with(&lab, &namespace, &config(BOTH, EXACT), &CLSACT);
        namespace.run("tc", "qdisc del dev v0 clsact");
        recovers(&agent, &sender, ("v0", "tx"), [1, 1]);
        // a single filter
        namespace.run("tc", "filter del dev v1 ingress");
        recovers(&agent, &sender, ("v1", "rx"), [1, 0]);
        agent.stop();
        for device in ["v0", "v1"] {
            let left = namespace.run("tc", &format!("qdisc show dev {device}"));
            assert!(!left.contains("clsact"), "{left}");
            namespace.run("tc", &format!("qdisc add dev {device} ingress"));
        }
    });
}

#[test]
fn beside_an_ingress_qdisc_ingress_is_counted_and_egress_is_reported() {
    if !can_run(&["ip", "tc", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    namespace.inside(|| {
        let [out, back] = ["v0", "v1"].map(|name| Sender::new(name).expect("a packet socket"));
        namespace.run("tc", "qdisc add dev v0 ingress");
        let agent = Agent::start_with(&lab, &namespace, &with_socket(&lab), &CLSACT);
        send_burst(&out, 30);
        send_burst(&back, 100);
        assert_eq!(crossed(&agent, "rx", "v0"), 100);
        let tx = [("ifname", "v0")];
        let scrape = agent.scrape();
        assert_eq!(scrape.get("rfm_interface_tx_packets_total", &tx), None);
        assert_eq!(crossed(&agent, "rx", "v1"), 30);
        assert_eq!(crossed(&agent, "tx", "v1"), 100);
        let problems = problems(&lab, &namespace);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("v0: egress is not counted"));

        namespace.run("tc", "qdisc del dev v0 ingress");
        recovers(&agent, &out, ("v0", "tx"), [1, 0]);
        agent.stop();
    });
}

#[test]
fn an_empty_clsact_qdisc_is_removed_only_by_who_made_it() {
    if !can_run(&["ip", "tc", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let has = |device: &str| {
        let text = namespace.run("tc", &format!("qdisc show dev {device}"));
        text.contains("clsact")
    };
    namespace.inside(|| {
        namespace.run("tc", "qdisc add dev v1 clsact");
        let start = || Agent::start_with(&lab, &namespace, &config(BOTH, EXACT), &CLSACT);
        start().stop();
        assert_eq!([has("v0"), has("v1")], [false, true], "after a clean end");
        start().kill();
        assert_eq!([has("v0"), has("v1")], [true, true], "after SIGKILL");
        run(&mut namespace.command(env!("CARGO_BIN_EXE_rfm"), &["--detach"]));
        assert_eq!([has("v0"), has("v1")], [false, true], "after --detach");
    });
}

/// An ifb gives what it received back to the interface of the packet: no ingress hook of its own ever runs.
#[test]
fn an_ifb_has_no_series_for_ingress() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let added = ["link", "add", "i0", "type", "ifb"];
    if !namespace
        .command("ip", &added)
        .output()
        .expect("ip")
        .status
        .success()
    {
        println!("skipped: this kernel has no ifb");
        return;
    }
    namespace.ip("link set i0 up");
    let agent = Agent::start(&lab, &namespace, &config(r#"["v0", "i0"]"#, EXACT));
    let scrape = agent.scrape();
    let has = |name: &str, device| scrape.get(name, &[("ifname", device)]).is_some();
    for (device, rx) in [("v0", true), ("i0", false)] {
        assert_eq!(
            has("rfm_interface_rx_packets_total", device),
            rx,
            "{device}"
        );
        assert!(has("rfm_interface_tx_packets_total", device), "{device}");
    }
    agent.stop();
}

// As on other kernels

/// The programs of ours on a TCX hook of this thread's network namespace.
fn our_program(ifindex: u32, direction: Direction) -> ProgramInfo {
    let ids = tcx_programs(ifindex, direction);
    assert_eq!(ids.len(), 1, "{ids:?}");
    let options = ProgInfoQueryOptions::default().include_xlated_prog_insns(true);
    ProgInfoIter::with_query_opts(options)
        .find(|program| program.id == ids[0])
        .expect("an attached program has an id")
}

/// How many instructions are atomic additions (BPF_STX | BPF_ATOMIC with BPF_ADD as immediate,
/// Documentation/bpf).
fn atomic_additions(program: &ProgramInfo) -> usize {
    let instructions = program.xlated_prog_insns.chunks_exact(8);
    let is_addition = |i: &&[u8]| i[0] & !0x18 == 0xc3 && i[4..] == [0; 4];
    instructions.filter(is_addition).count()
}

/// `count` packets from each CPU at once.
fn send_from_both_cpus(count: u16) {
    thread::scope(|scope| {
        for cpu in [0, 1] {
            scope.spawn(move || {
                pin_to(cpu);
                let sender = Sender::new("v0").expect("a packet socket");
                let frame = small_frame(9);
                for _ in 0..count {
                    sender.send(&frame, 0).expect("sent");
                }
            });
        }
    });
}

#[test]
fn the_pair_for_preempt_rt_counts_exactly_on_both_cpus() {
    if !can_run(&["ip", "sysctl"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let v0 = namespace.ifindex("v0");
    let more = format!("{EXACT}ring_buf_size = 16777216\n");
    for (force, name, atomic) in [("", "rfm_egress", false), ("rt", "rfm_egress_ev", true)] {
        let environment = [("RFM_FORCE", force)];
        let agent = Agent::start_with(&lab, &namespace, &config(BOTH, &more), &environment);
        namespace.inside(|| {
            let program = our_program(v0, Egress);
            assert_eq!(program.name.to_str(), Some(name));
            assert_eq!(atomic_additions(&program) > 0, atomic, "{name}");
            send_from_both_cpus(20_000);
        });
        let (metrics, lost) = settle(&agent, &["v0", "v1"]);
        assert_eq!(lost, Count::default(), "the ring is large enough for this");
        assert_eq!(of_hooks(&metrics, "v0").tx_packets, 40_000);
        assert_eq!(of_hooks(&metrics, "v1").rx_packets, 40_000);
        agent.stop();
    }
}

#[test]
fn under_lockdown_it_loads_and_counts() {
    if !can_run(&EXCHANGE_TOOLS) || !can_run(&["ethtool"]) {
        return;
    }
    let lab = Lab::new();
    let (a, b) = lab.pair();
    a.offloads_off("a0");
    b.offloads_off("b0");
    iperf3_server(&lab, &b);
    let forced = [("RFM_FORCE", "lockdown")];
    let agent = Agent::start_with(&lab, &a, &config(r#"["a0"]"#, EXACT), &forced);
    assert!(agent.log().contains("kernel lockdown"), "not forced");
    let device_before = a.device_counters("a0");
    exchange(&a);
    let (metrics, _) = settle(&agent, &["a0"]);
    let device = a.device_counters("a0") - device_before;
    assert_eq!(of_hooks(&metrics, "a0"), device);
    assert!(device.tx_packets > 10_000, "{device:?}");
    agent.stop();
}
