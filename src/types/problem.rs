// SPDX-License-Identifier: AGPL-3.0-only
//! A problem of the agent: its kind, a text for the operator, and the remedy.

/// One problem, as the status, the page and `/healthz?verbose` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: ProblemKind,
    pub text: String,
}

impl Problem {
    pub fn new(kind: ProblemKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }
}

/// Defines the kinds, each with its word in `rfm_problems` and its remedy.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal $remedy:literal)*) => {
        /// The kind of a problem: the label of `rfm_problems`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemKind {
            $($(#[$doc])* $kind,)*
        }

        impl ProblemKind {
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Returns the value of the label `kind`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// Returns the advice for an operator.
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Self::$kind => $remedy,)*
                }
            }
        }
    };
}

kinds! {
    /// A thread has ended, or does not report.
    Thread "thread" "read the log of rfm, then restart it"
    /// Interfaces found at the start are not attached yet.
    Starting "starting" "wait: attaching takes about 13 ms for each hook; the log names an interface that fails"
    /// Sampled packets did not reach the flow table within the last minute.
    PacketsLost "packets_lost" "raise agent.bpf.ring_buf_size or agent.bpf.sample_rate; interface counters are not affected"
    /// Adaptive sampling was in force within the last minute.
    Overload "overload" "no action for an attack that ends: flows and networks are unbiased estimates, interface counters are exact; otherwise raise agent.bpf.ring_buf_size or agent.bpf.sample_rate"
    FlowTableFull "flow_table_full" "raise agent.collector.max_flows, or lower agent.collector.eviction_timeout"
    SeriesFull "series_full" "raise agent.prometheus.max_series, or remove labels from agent.prometheus.labels"
    /// The table of sources of rate limits evicts entries.
    FirewallSourcesFull "firewall_sources_full" "narrow the rules with per = \"source\": a source that was evicted begins with a full bucket"
    InterfaceNotAttached "interface_not_attached" "see the reason; rfm tries again by itself"
    HookRemoved "hook_removed" "find the other program with bpftool link or tc monitor; rfm has attached its hook again"
    BmpSessionLost "bmp_session_lost" "check the BMP station in the configuration of the router, and agent.enrich.rib.bmp.allow"
    IpfixFailing "ipfix_failing" "check that the collector runs, is reachable, and reads as fast as rfm sends"
    DatabaseOld "database_old" "update the database: rfm reads a replaced file by itself"
    DatabaseBroken "database_broken" "download the file again, or set the key to another file or to \"\""
    DatabaseMissing "database_missing" "restore the file: rfm uses its private copy until it restarts"
    RpkiFailing "rpki_failing" "see the reason; the previous VRPs stay in use, without them the labels are empty"
    RpkiOld "rpki_old" "check that the relying party (rpki-client, Routinator, FORT) runs and writes its file, or that the cache answers"
    FirewallNotAttached "firewall_not_attached" "see the reason, and agent.firewall.interfaces; packets on this interface are not filtered"
    /// The guard has raised an alarm, and the attack continues.
    Attack "attack" "rfm guard show has the values and the rules; if the link itself is full, ask the provider to drop the traffic"
    FirewallRuleInterface "firewall_rule_interface" "correct the interface of the rule, or delete the rule (rfm firewall list)"
    FirewallStateFile "firewall_state_file" "free space or correct the permissions; rfm tries again every 2 s"
    HistoryFailing "history_failing" "free space or correct the permissions of agent.history.path; rfm tries again in each interval, and nothing else is affected"
    ConfigBroken "config_broken" "run rfm --check, correct the file, then rfm reload; the previous configuration stays in use"
    WebConfigBroken "web_config_broken" "correct the file that the text names, or its permissions: rfm reads it again within 2 s, and rfm --check tests it"
    /// Any client may read the metrics and the page.
    OpenPort "open_port" "set agent.prometheus.allow to the prefixes of your clients, agent.prometheus.web_config to a file with users, or agent.prometheus.host to a loopback address"
    ClockJumped "clock_jumped" "start rfm after time synchronization; flow times before the step use the old clock"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_a_remedy() {
        let mut names: Vec<_> = ProblemKind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ProblemKind::ALL.len());
        assert!(
            ProblemKind::ALL
                .iter()
                .all(|kind| !kind.remedy().is_empty())
        );
    }
}
