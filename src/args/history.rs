// SPDX-License-Identifier: AGPL-3.0-only
//! `rfm history` and `rfm bill`.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

command! {
    /// Shows the traffic of a period, by interface and direction, from the history on disk.
    #[argh(
        subcommand,
        name = "history",
        note = "It needs `agent.history.path`.
A range is a period before now (1h, 7d, PT2H), today, yesterday, a weekday, this or
last week, month or year, a date (2026-11-02), a month (2026-11), a year, two clock
times (03:00-03:10), or two of these with / between them
(2026-11-02T03:00/PT2H, 2026-11-01/2026-11-03); a day may stand before clock times,
and a time zone at the end. Clock times without a day are the last ones.
The rows of an interface and direction add up to its counters: `rest` is the
traffic that no other row has.",
        example = "The conversations of ten minutes last Tuesday:
rfm history last tuesday 03:00-03:10 --by src,dst,port",
        example = "The conversations of one host yesterday:
rfm history yesterday --address 192.0.2.7",
        example = "The networks of October, as JSON:
rfm history 2026-10 --by asn --json"
    )]
    History {
        /// range of times (default: 1h)
        #[argh(positional)]
        range: Vec<String>,

        /// what to divide the traffic by: asn, peer_asn, country, net, service, or some of src, dst, proto,
        /// port with commas between them
        #[argh(option, arg_name = "field")]
        by: Option<String>,

        /// only this interface
        #[argh(option, arg_name = "name")]
        interface: Option<String>,

        /// only this direction: ingress or egress
        #[argh(option, arg_name = "direction")]
        direction: Option<String>,

        /// only conversations from or to this address or prefix
        #[argh(option, arg_name = "prefix")]
        address: Option<String>,

        /// only conversations from this address or prefix
        #[argh(option, arg_name = "prefix")]
        src: Option<String>,

        /// only conversations to this address or prefix
        #[argh(option, arg_name = "prefix")]
        dst: Option<String>,

        /// number of rows for each interface and direction, from 1 to 1000 (default: 20)
        #[argh(option, arg_name = "n")]
        limit: Option<String>,

        /// time zone of the range and the output (default: local time)
        #[argh(option, arg_name = "zone")]
        tz: Option<String>,

        /// print the rows as CSV
        #[argh(switch)]
        csv: bool,
    }
}

command! {
    /// Calculates the 95th percentile of a month, from the exact samples of 5 minutes in the history on disk.
    #[argh(
        subcommand,
        name = "bill",
        note = "Without a selection it prints a bill for each interface and each prefix with bill = true.
Several interfaces or prefixes make one bill: their samples are added before the
percentile is taken.
Methods: in, out, max (the larger one of in and out), max_by_sample and
sum_by_sample (the larger direction, or the sum of both, of each sample).
95TH PERCENTILE is the value at the nearest rank, INTERPOLATED the one that
spreadsheets calculate. Missing samples are left out.",
        example = "Two ports of one carrier, as it counts bytes:
rfm bill --month 2026-10 --interface eth0 --interface eth1 --overhead 4",
        example = "The same bill on another machine:
rfm bill --month 2026-10 --export > samples.csv
rfm bill --month 2026-10 --samples samples.csv"
    )]
    Bill {
        /// month, such as 2026-10, or another range as of rfm history (default: this month)
        #[argh(option, arg_name = "month")]
        month: Option<String>,

        /// time zone in which the month begins (default: UTC)
        #[argh(option, arg_name = "zone")]
        tz: Option<String>,

        /// interface; may be repeated
        #[argh(option, arg_name = "name")]
        interface: Vec<String>,

        /// name of a prefix with bill = true; may be repeated
        #[argh(option, arg_name = "name")]
        prefix: Vec<String>,

        /// the traffic from and to this AS, over all interfaces; rounded, of the last 5 weeks
        #[argh(option, arg_name = "asn")]
        asn: Option<String>,

        /// the traffic from and to this neighbor AS, over all interfaces; rounded, of the last 5 weeks
        #[argh(option, arg_name = "asn")]
        peer_asn: Option<String>,

        /// bytes to add to each packet: 4 for the FCS, 24 with preamble and gap (default: 0)
        #[argh(option, arg_name = "bytes")]
        overhead: Option<String>,

        /// calculate from this file of samples (CSV) instead of the history; - is standard input
        #[argh(option, arg_name = "file")]
        samples: Option<PathBuf>,

        /// print the samples as CSV, as --samples reads them
        #[argh(switch)]
        export: bool,

        /// print the bills as CSV, rates in bits per second
        #[argh(switch)]
        csv: bool,
    }
}

/// Selects the traffic of a period, in the words of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HistoryOptions {
    pub range: Vec<String>,
    pub by: Option<String>,
    pub interface: Option<String>,
    pub direction: Option<String>,
    pub address: Option<String>,
    pub src: Option<String>,
    pub dst: Option<String>,
    pub limit: Option<String>,
    pub tz: Option<String>,
    pub csv: bool,
}

/// Selects a bill, in the words of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BillOptions {
    pub month: Option<String>,
    pub tz: Option<String>,
    pub interface: Vec<String>,
    pub prefix: Vec<String>,
    pub asn: Option<String>,
    pub peer_asn: Option<String>,
    pub overhead: Option<String>,
    pub samples: Option<PathBuf>,
    pub export: bool,
    pub csv: bool,
}

/// Options, JSON, socket and configuration.
type Parts<T> = (T, bool, Option<PathBuf>, Option<PathBuf>);

impl History {
    pub fn split(self) -> Parts<HistoryOptions> {
        let options = HistoryOptions {
            range: self.range,
            by: self.by,
            interface: self.interface,
            direction: self.direction,
            address: self.address,
            src: self.src,
            dst: self.dst,
            limit: self.limit,
            tz: self.tz,
            csv: self.csv,
        };
        (options, self.json, self.socket, self.config)
    }
}

impl Bill {
    pub fn split(self) -> Parts<BillOptions> {
        let options = BillOptions {
            month: self.month,
            tz: self.tz,
            interface: self.interface,
            prefix: self.prefix,
            asn: self.asn,
            peer_asn: self.peer_asn,
            overhead: self.overhead,
            samples: self.samples,
            export: self.export,
            csv: self.csv,
        };
        (options, self.json, self.socket, self.config)
    }
}
