// SPDX-License-Identifier: AGPL-3.0-only
//! A rule as the options of the command line: `--src 192.0.2.0/24 --proto udp --action drop`.

use std::borrow::Cow;

use crate::types::did_you_mean::nearest;
use crate::types::rule::{PARTS, RuleArgs};

/// Values of options that are not part of a rule.
pub type OtherArgs<'a, const N: usize> = [Option<Cow<'a, str>>; N];

/// Parses one line; `more` are additional options, which are returned with their values.
pub fn parse<'a, const N: usize>(
    line: &'a str,
    more: [&str; N],
) -> Result<(RuleArgs<'a>, OtherArgs<'a, N>), String> {
    let mut args = RuleArgs::default();
    let mut others = [const { None }; N];
    let mut rest = line.split_whitespace();
    while let Some(word) = rest.next() {
        let Some(option) = word.strip_prefix("--") else {
            return Err(format!(
                "expected an option such as --src, got \"{}\"",
                word.escape_debug()
            ));
        };
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, rest.next()),
        };
        let slot = match args.get_mut(name) {
            Some(slot) => slot,
            None => {
                let at = more.iter().position(|known| *known == name);
                &mut others[at.ok_or_else(|| unknown(name))?]
            }
        };
        if slot.is_some() {
            return Err(format!("--{name} is given twice"));
        }
        let value = value.ok_or_else(|| format!("--{name} has no value"))?;
        *slot = Some(value.into());
    }
    Ok((args, others))
}

fn unknown(name: &str) -> String {
    let shown = name.escape_debug();
    let names = || PARTS.iter().map(|part| part.option);
    match nearest(name, names()) {
        Some(near) => format!("unknown option --{shown}, did you mean --{near}?"),
        None => format!(
            "unknown option --{shown}, expected one of --{}",
            names().collect::<Vec<_>>().join(", --")
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::types::rule::{Action, PatternCache, Rule};

    fn rule(line: &str) -> Result<Rule, String> {
        parse(line, [])?.0.rule(&mut PatternCache::default())
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for line in [
            "--action drop",
            "--action drop --src 192.0.2.0/24",
            "--action pass --dst 2001:db8::/32 --interface eth.*",
            "--action limit --src 192.0.2.1/32 --dst 198.51.100.0/24 --proto udp --dport 6000-6063 --rate 1000 --per source",
            "--action count --proto ospf",
            "--action drop --proto tcp,udp --sport 53,123 --dport 1000-2000,3000 --port 7",
            "--action drop --tcp_flags syn/syn,ack --length 40-60 --fragment none --dscp ef",
            "--action limit --icmp_type 8 --icmp_code 0 --flow_label 0 --rate 10mbit --burst 5000",
        ] {
            assert_eq!(rule(line).unwrap().to_string(), line);
        }
        let rule = rule("--src=::1 --ttl 10m").unwrap();
        assert_eq!(rule.ttl, Some(Duration::from_secs(600)));
        assert_eq!(rule.action, Action::Drop);
        let dashed = self::rule("--tcp-flags rst --icmp-type 8 --flow-label 5");
        let dashed = dashed.unwrap().to_string();
        assert_eq!(
            dashed,
            "--action drop --tcp_flags rst --icmp_type 8 --flow_label 5"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (line, expected) in [
            (
                "192.0.2.1",
                "expected an option such as --src, got \"192.0.2.1\"",
            ),
            (
                "--scr 192.0.2.1",
                "unknown option --scr, did you mean --src?",
            ),
            ("--src", "--src has no value"),
            ("--src ::1 --src ::2", "--src is given twice"),
            (
                "--src 192.0.2.1/24",
                "src: expected a prefix such as 10.0.0.0/8, got \"192.0.2.1/24\" \
                 (has bits beyond its length, the prefix would be 192.0.2.0/24)",
            ),
            (
                "--protocol icmp --dport 80",
                "dport: needs a proto with ports, such as \"tcp\", or none",
            ),
            ("--action limit", "rate: required with action \"limit\""),
            ("--rate 5", "rate: needs action \"limit\""),
            ("--per source", "per: needs action \"limit\""),
            (
                "--action limit --rate 5 --per packet",
                "per: expected rule or source, got \"packet\"",
            ),
            (
                "--action limit --rate 0",
                "rate: expected packets per second such as 1000, or bits per second such as 10mbit, got \"0\" \
                 (packets are a number from 1 to 1000000000)",
            ),
            (
                "--tcp_flags syn/ack",
                "tcp_flags: expected flags such as syn/syn,ack or rst, got \"syn/ack\" \
                 (a flag before the slash is not among those after it)",
            ),
            (
                "--fragment middle",
                "fragment: expected first, later, last, any, none or dont-fragment, or a list, got \"middle\" \
                 (\"middle\" is none of them)",
            ),
            (
                "--ttl 1ms",
                "ttl: expected a duration from 1s to 365days, such as 30s or 5m, got \"1ms\"",
            ),
            (
                "--action deny",
                "action: expected drop, pass, count or limit, got \"deny\"",
            ),
            (
                "--src ::/0 --dst 0.0.0.0/0",
                "dst: expected the family of src (::/0), got 0.0.0.0/0",
            ),
        ] {
            assert_eq!(rule(line), Err(expected.into()), "{line}");
        }
        let bad = rule("--interface (").unwrap_err();
        assert!(
            bad.starts_with("interface: expected a regular expression"),
            "{bad}"
        );
    }
}
