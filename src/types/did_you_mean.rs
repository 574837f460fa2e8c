// SPDX-License-Identifier: AGPL-3.0-only
//! Finds the known key that is most similar to an unknown one ("did you mean").

/// Keys longer than this are not compared: nobody mistypes them, and the work stays bounded.
const MAX_LENGTH: usize = 64;

/// Returns the known path whose last part is most similar to that of `path`; a path in the same section is
/// preferred. `None` if none is similar enough: more than a third of the letters differ.
pub fn nearest<'k>(path: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let (section, name) = split(path);
    if name.len() > MAX_LENGTH {
        return None;
    }
    known
        .filter_map(|candidate| {
            let (its_section, its_name) = split(candidate);
            let edits = distance(name, its_name);
            let near = edits * 3 <= name.len().max(its_name.len());
            near.then_some(((edits, its_section != section), candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// Returns the number of letters to insert, delete, replace, or exchange with the next letter, in order to turn
/// `a` into `b` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 6] = [
        "agent.bpf",
        "agent.bpf.sample_rate",
        "agent.interfaces",
        "agent.ipfix.host",
        "agent.ipfix.port",
        "agent.prometheus.port",
    ];

    #[test]
    fn the_nearest_key_is_named() {
        for (path, expected) in [
            ("agent.bpf.sample_rat", Some("agent.bpf.sample_rate")),
            ("agent.bpf.samplerate", Some("agent.bpf.sample_rate")),
            ("agent.sample_rate", Some("agent.bpf.sample_rate")),
            ("interfaces", Some("agent.interfaces")),
            ("agent.bpff", Some("agent.bpf")),
            ("agent.bfp", Some("agent.bpf")),
            ("agent.ipfix.hots", Some("agent.ipfix.host")),
            ("agent.prometheus.prt", Some("agent.prometheus.port")),
            ("agent.ipfix.prt", Some("agent.ipfix.port")),
            ("agent.colour", None),
            ("agent.x", None),
            ("", None),
        ] {
            assert_eq!(nearest(path, KNOWN.into_iter()), expected, "{path}");
        }
        assert_eq!(nearest(&"a".repeat(1 << 20), KNOWN.into_iter()), None);
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("port", "prot", 1),
            ("ab", "ba", 1),
            ("abcd", "badc", 2),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
