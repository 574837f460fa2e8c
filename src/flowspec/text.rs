// SPDX-License-Identifier: AGPL-3.0-only
//! Shows a rule: `dst 192.0.2.0/24 proto udp sport 53 length 512-1500`.

use std::fmt;

use super::nlri::{AddressPattern, ComponentKind, FlowComponent, FlowRule};
use super::operators::{OperatorTest, Operators};
use crate::types::rule::Protocol;

const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
const FRAGMENTS: [&str; 4] = ["dont-fragment", "later", "first", "last"];

impl fmt::Display for FlowRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, component) in self.components().iter().enumerate() {
            f.write_str(if n == 0 { "" } else { " " })?;
            write!(f, "{} ", component.kind().word())?;
            match component {
                FlowComponent::Address(_, pattern) => write!(f, "{pattern}")?,
                FlowComponent::Tests(ComponentKind::TcpFlags, tests) => {
                    write_bits(tests, &FLAGS, f)?
                }
                FlowComponent::Tests(ComponentKind::Fragment, tests) => {
                    write_bits(tests, &FRAGMENTS, f)?
                }
                FlowComponent::Tests(kind, tests) => write_numbers(*kind, tests, f)?,
            }
        }
        Ok(())
    }
}

impl ComponentKind {
    /// Returns the word that a rule of the firewall has for it.
    fn word(self) -> &'static str {
        match self {
            Self::Destination => "dst",
            Self::Source => "src",
            Self::Protocol => "proto",
            Self::Port => "port",
            Self::DestinationPort => "dport",
            Self::SourcePort => "sport",
            Self::IcmpType => "icmp_type",
            Self::IcmpCode => "icmp_code",
            Self::TcpFlags => "tcp_flags",
            Self::Length => "length",
            Self::Dscp => "dscp",
            Self::Fragment => "fragment",
            Self::FlowLabel => "flow_label",
        }
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prefix)?;
        match self.offset {
            0 => Ok(()),
            offset => write!(f, " offset {offset}"),
        }
    }
}

fn write_numbers(
    kind: ComponentKind,
    tests: &Operators,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let numbers = kind.numbers(tests);
    if numbers.as_slice().is_empty() {
        return f.write_str("none");
    }
    for (n, &(first, last)) in numbers.as_slice().iter().enumerate() {
        f.write_str(if n == 0 { "" } else { "," })?;
        match u8::try_from(first) {
            Ok(number) if first == last && kind == ComponentKind::Protocol => {
                write!(f, "{}", Protocol(number))?
            }
            _ if first == last => write!(f, "{first}")?,
            _ => write!(f, "{first}-{last}")?,
        }
    }
    Ok(())
}

/// Writes `|` for "or", `&` for "and", `!` for "not", and `=` if all bits must be set.
fn write_bits(tests: &Operators, names: &[&str], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (n, tests) in tests.alternatives().iter().enumerate() {
        f.write_str(if n == 0 { "" } else { "|" })?;
        for (n, test) in tests.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "&" })?;
            write_bit_test(*test, names, f)?;
        }
    }
    Ok(())
}

fn write_bit_test(test: OperatorTest, names: &[&str], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(if test.is_negated() { "!" } else { "" })?;
    // one bit: "all" and "any" are the same
    let is_one = test.value.count_ones() == 1;
    f.write_str(if test.is_for_all_bits() && !is_one {
        "="
    } else {
        ""
    })?;
    let known = |bit: &usize| test.value >> bit & 1 != 0;
    let mut words: Vec<String> = (0..names.len())
        .filter(known)
        .map(|bit| names[bit].to_owned())
        .collect();
    let others = test.value >> names.len() << names.len();
    if others != 0 || test.value == 0 {
        words.push(format!("{others:#x}"));
    }
    f.write_str(&words.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::nlri::FlowFamily::{self, Ipv4, Ipv6};
    use super::*;

    #[test]
    fn rules_are_shown_in_the_usual_notation() {
        let show =
            |family: FlowFamily, nlri: &[u8]| FlowRule::decode(family, nlri).unwrap().to_string();
        let dns = [
            1, 24, 192, 0, 2, 3, 0x81, 17, 6, 0x81, 53, 10, 0x13, 2, 0, 0xd5, 5, 0xdc,
        ];
        assert_eq!(
            show(Ipv4, &dns),
            "dst 192.0.2.0/24 proto udp sport 53 length 512-1500"
        );
        let flags = [9, 0x01, 0x02, 0xc2, 0x10, 12, 0x01, 0x06, 0x80, 0x08];
        assert_eq!(
            show(Ipv4, &flags),
            "tcp_flags syn&!ack fragment =later,first|last"
        );
        assert_eq!(show(Ipv4, &[9, 0x91, 0x01, 0x02]), "tcp_flags =syn,0x100");
        let label = [1, 32, 8, 0x01, 0x0d, 0xb8, 13, 0x01, 1, 0x82, 7];
        assert_eq!(
            show(Ipv6, &label),
            "dst 1:db8::/32 offset 8 flow_label 1,8-1048575"
        );
        assert_eq!(show(Ipv4, &[4, 0x80, 1]), "port none");
    }
}
