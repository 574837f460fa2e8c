// SPDX-License-Identifier: AGPL-3.0-only
//! The text and the CSV of `history` and `bill`.

use serde_json::Value;

use super::value;
use crate::bill::file::quoted;
use crate::client::format;
use crate::client::table::{Align, TextTable, clean};
use crate::client::time_range::Zone;
use crate::control::api::{BillReply, HistoryReply, HistoryRow};

pub fn history(reply: &HistoryReply, zone: &Zone) -> String {
    let fields = reply
        .by
        .iter()
        .map(|field| (field.to_uppercase(), Align::Left));
    let named = reply.by.iter().any(|field| field.ends_with("asn"));
    let fixed = |name: &str, align| (name.to_owned(), align);
    let columns: Vec<_> = [
        fixed("INTERFACE", Align::Left),
        fixed("DIRECTION", Align::Left),
    ]
    .into_iter()
    .chain(fields)
    .chain([
        fixed("NAME", Align::Left),
        fixed("BYTES", Align::Right),
        fixed("SHARE", Align::Right),
        fixed("MEAN", Align::Right),
        fixed("MAX", Align::Right),
        fixed("PACKETS", Align::Right),
    ])
    .collect();
    let mut table = TextTable::new(&columns);
    for row in &reply.rows {
        let name = match named && !row.rest {
            true => name_of(reply, row),
            false => String::new(),
        };
        let rate = |rate: Option<f64>| rate.map(format::bits).unwrap_or_default();
        let mean = (row.covered_seconds > 0.0).then(|| row.bytes as f64 / row.covered_seconds);
        table.row(
            [row.interface.clone(), row.direction.clone()]
                .into_iter()
                .chain(reply.by.iter().map(|field| cell(row, field)))
                .chain([
                    name,
                    format::bytes(row.bytes),
                    match reply.by.is_empty() {
                        true => String::new(),
                        false => super::share(row.bytes, total(reply, row)),
                    },
                    rate(mean),
                    rate(row.max_bytes_per_second),
                    row.packets.map(|n| n.to_string()).unwrap_or_default(),
                ]),
        );
    }
    let mut text = period(reply.from, reply.to, zone);
    text += &match reply.rows.is_empty() {
        true => "no data of this period\n".to_owned(),
        false => table.render(),
    };
    for event in &reply.events {
        let (kind, what) = (clean(&event.kind), clean(&event.text));
        text += format!("{}  {kind} {what}", zone.clock(event.time)).trim_end();
        text.push('\n');
    }
    if reply.max_missing_bytes > 0 {
        let missing = format::bytes(reply.max_missing_bytes);
        text += &format!(
            "more different rows than rfm adds up: a row may lack up to {missing}, which rest has\n"
        );
    }
    text + &damaged(reply.damaged_blocks)
}

/// Returns the bytes of an interface and direction.
fn total(reply: &HistoryReply, row: &HistoryRow) -> u64 {
    let same =
        |other: &&HistoryRow| other.interface == row.interface && other.direction == row.direction;
    let bytes = reply.rows.iter().filter(same).map(|row| row.bytes);
    bytes.fold(0, u64::saturating_add)
}

fn cell(row: &HistoryRow, field: &str) -> String {
    match (row.rest, row.values.get(field)) {
        (true, _) => "rest".to_owned(),
        (false, Some(found)) => value(field, found),
        (false, None) => String::new(),
    }
}

fn name_of(reply: &HistoryReply, row: &HistoryRow) -> String {
    let asn = row.values.values().find_map(Value::as_u64);
    let asn = asn.and_then(|asn| u32::try_from(asn).ok());
    let name = asn.and_then(|asn| reply.asn_names.get(&asn));
    name.cloned().unwrap_or_default()
}

pub fn history_csv(reply: &HistoryReply) -> String {
    let mut header = vec!["interface".to_owned(), "direction".to_owned()];
    header.extend(reply.by.iter().cloned());
    header.extend(["bytes", "packets", "rest"].map(str::to_owned));
    let mut text = header.join(",") + "\r\n";
    for row in &reply.rows {
        let mut values = vec![quoted(&row.interface), row.direction.clone()];
        values.extend(reply.by.iter().map(|field| match row.values.get(field) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => quoted(text),
            Some(other) => other.to_string(),
        }));
        values.push(row.bytes.to_string());
        values.push(row.packets.map(|n| n.to_string()).unwrap_or_default());
        values.push(row.rest.to_string());
        text += &(values.join(",") + "\r\n");
    }
    text
}

pub fn bill(reply: &BillReply, zone: &Zone) -> String {
    let columns = [
        ("METHOD", Align::Left),
        ("95TH PERCENTILE", Align::Right),
        ("INTERPOLATED", Align::Right),
        ("PEAK", Align::Right),
        ("AT", Align::Left),
    ];
    let mut text = period(reply.from, reply.to, zone);
    if reply.overhead > 0 {
        text += &format!("with {} bytes added to each packet\n", reply.overhead);
    }
    if !reply.exact {
        text += "from samples rounded to 0.1 %, of sampled packets if the sample rate is above 1\n";
    }
    if reply.bills.is_empty() {
        text += "no data of this period\n";
    }
    for bill in &reply.bills {
        let sources: Vec<_> = bill.sources.iter().map(|source| clean(source)).collect();
        text += &format!("\n{}\n", sources.join(" + "));
        let mut table = TextTable::new(&columns);
        // bits per second
        let rate = |rate: Option<f64>| rate.map(|r| format::bits(r / 8.0)).unwrap_or_default();
        for method in &bill.rates {
            table.row([
                method.method.name().to_owned(),
                rate(method.p95),
                rate(method.p95_interpolated),
                rate(method.peak),
                method
                    .peak_time
                    .map(|time| zone.clock(time))
                    .unwrap_or_default(),
            ]);
        }
        text += &table.render();
        let [received, sent] = bill.bytes.map(format::bytes);
        text += &format!("sum: {received} in, {sent} out\n");
        let (samples, intervals) = (bill.samples, bill.intervals);
        text += &format!(
            "samples: {samples} of {intervals}, {} missing",
            bill.missing
        );
        text += &match bill.partial {
            0 => "\n".to_owned(),
            partial => format!(", {partial} of only some of the sources\n"),
        };
    }
    text + &damaged(reply.damaged_blocks)
}

/// One line for each bill and method; rates in bits per second.
pub fn bill_csv(reply: &BillReply, zone: &Zone) -> String {
    let mut text = "from,to,sources,method,p95_bits_per_second,p95_interpolated_bits_per_second,\
                    peak_bits_per_second,peak_time,in_bytes,out_bytes,in_packets,out_packets,overhead_bytes,\
                    intervals,samples,missing,partial\r\n"
        .to_owned();
    let period = [reply.from, reply.to].map(|time| zone.rfc3339(time));
    for bill in &reply.bills {
        let sources = quoted(&bill.sources.join("+"));
        for method in &bill.rates {
            let rate = |rate: Option<f64>| rate.map(|r| format!("{r:.3}")).unwrap_or_default();
            let peak = method.peak_time.map(|time| zone.rfc3339(time));
            let values = [
                period[0].clone(),
                period[1].clone(),
                sources.clone(),
                method.method.name().to_owned(),
                rate(method.p95),
                rate(method.p95_interpolated),
                rate(method.peak),
                peak.unwrap_or_default(),
            ];
            let [received, sent] = bill.bytes;
            let counts = [
                received,
                sent,
                bill.packets[0],
                bill.packets[1],
                reply.overhead.into(),
                bill.intervals,
                bill.samples,
                bill.missing,
                bill.partial,
            ];
            let counts = counts.map(|count| count.to_string());
            text += &format!("{},{}\r\n", values.join(","), counts.join(","));
        }
    }
    text
}

fn period(from: u64, to: u64, zone: &Zone) -> String {
    format!("{} to {} ({zone})\n", zone.clock(from), zone.clock(to))
}

fn damaged(blocks: u64) -> String {
    match blocks {
        0 => String::new(),
        blocks => format!(
            "{} of the history on disk cannot be read; their data are missing here\n",
            format::plural(blocks, "damaged block")
        ),
    }
}
