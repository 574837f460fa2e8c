// SPDX-License-Identifier: AGPL-3.0-only
//! Compiles the BPF programs and writes their Rust skeletons and constants; joins the files of the page into one
//! document; finds the version of the build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use sha2::{Digest, Sha256};

#[path = "build/constants.rs"]
mod constants;
#[path = "build/objects.rs"]
mod objects;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    objects::build("src/bpf", "rfm", &out);
    objects::build("src/bpf/xdp", "firewall", &out);
    objects::build("src/bpf/capture", "capture", &out);
    write_constants();
    println!("cargo:rerun-if-changed=src/bpf");
    build_page();
    println!("cargo:rerun-if-changed=src/page");
    let (version, revision) = version();
    println!("cargo:rustc-env=RFM_VERSION={version}");
    println!("cargo:rustc-env=RFM_REVISION={revision}");
}

/// The parts of the page's script, in this order. They share one closure: the page defines no globals.
const SCRIPT: [&str; 25] = [
    "dom",
    "copy",
    "filters",
    "selection",
    "format",
    "axis",
    "period",
    "names",
    "merge",
    "past",
    "request",
    "draw",
    "status",
    "databases",
    "interfaces",
    "talkers",
    "chart",
    "events",
    "table",
    "plain_table",
    "paths",
    "source_check",
    "health",
    "theme",
    "start",
];

/// Builds OUT_DIR/page.html and page.html.gz from page.html, page.css and script/ in src/page, and
/// OUT_DIR/page.rs with both and the policy that lets a browser run only this script and apply only this style.
fn build_page() {
    let read = |name: &str| {
        let path = format!("src/page/{name}");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let style = without_spaces(&read("page.css"));
    let parts = SCRIPT.map(|part| without_comments(&read(&format!("script/{part}.js"))));
    let parts = parts.map(|part| without_spaces_in_code(&part));
    let script = format!("\"use strict\";\n(() => {{\n{}}})();\n", parts.join("\n"));
    let page = without_space_between_tags(&read("page.html"))
        .replace("<style></style>", &format!("<style>{style}</style>"))
        .replace("<script></script>", &format!("<script>{script}</script>"));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        base64(&Sha256::digest(&script)),
        base64(&Sha256::digest(&style)),
    );
    let tag = base64(&Sha256::digest(&page)[..12]);
    let mut packed = Vec::new();
    let options = zopfli::Options::default();
    zopfli::compress(options, zopfli::Format::Gzip, page.as_bytes(), &mut packed)
        .expect("to memory");
    let code = format!(
        "const DOCUMENT: &[u8] = include_bytes!(\"page.html\");\n\
         const DOCUMENT_PACKED: &[u8] = include_bytes!(\"page.html.gz\");\n\
         const DOCUMENT_POLICY: &str = {policy:?};\n\
         const DOCUMENT_TAG: &str = {:?};\n",
        format!("\"{tag}\""),
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    for (name, content) in [
        ("page.html", page.as_bytes()),
        ("page.html.gz", &packed),
        ("page.rs", code.as_bytes()),
    ] {
        fs::write(out.join(name), content).expect("OUT_DIR can be written");
    }
}

/// Removes the lines that are comments, and the indentation: a third of the document.
fn without_comments(script: &str) -> String {
    let lines = script.lines().map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    code.map(|line| format!("{line}\n")).collect()
}

/// Joins the lines that end and begin with a tag.
fn without_space_between_tags(page: &str) -> String {
    let lines: Vec<_> = page.lines().map(str::trim).collect();
    lines.join("\n").replace(">\n<", "><")
}

/// Removes the spaces and line ends of a style sheet that separate nothing.
fn without_spaces(style: &str) -> String {
    let lines: String = style.lines().map(str::trim).collect();
    let pairs = [
        (" {", "{"),
        ("{ ", "{"),
        ("; ", ";"),
        (": ", ":"),
        (", ", ","),
        (";}", "}"),
        (" }", "}"),
    ];
    let remove = |text: String, (from, to): (&str, &str)| text.replace(from, to);
    pairs.into_iter().fold(lines, remove)
}

/// Removes the spaces around the operators of a script; strings, templates and line ends stay.
fn without_spaces_in_code(script: &str) -> String {
    const ALONE: &str = "{}();:,=<>?&|+*";
    let (mut out, mut quotes, mut is_escaped) = (String::new(), Vec::new(), false);
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        match quotes.last() {
            Some('"' | '\'' | '`') if is_escaped => is_escaped = false,
            Some('"' | '\'' | '`') if c == '\\' => is_escaped = true,
            Some(quote) if *quote == c && c != '{' => drop(quotes.pop()),
            // a template has code between ${ and }
            Some('`') if c == '{' && out.ends_with('$') => quotes.push('{'),
            Some('"' | '\'' | '`') => {}
            _ if matches!(c, '"' | '\'' | '`') => quotes.push(c),
            Some('{') if c == '{' => quotes.push('{'),
            Some('{') if c == '}' => drop(quotes.pop()),
            None if c == ' ' => {
                let after = chars.peek().is_some_and(|next| ALONE.contains(*next));
                let before = out.ends_with(|last| ALONE.contains(last));
                let is_sum = out.ends_with('+') || chars.peek() == Some(&'+');
                if (after || before) && !is_sum {
                    continue;
                }
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Encodes bytes as base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, i| {
            word << 8 | u32::from(chunk.get(i).copied().unwrap_or(0))
        });
        for i in 0..4 {
            text.push(match i <= chunk.len() {
                true => ALPHABET[(word >> (18 - 6 * i) & 63) as usize] as char,
                false => '=',
            });
        }
    }
    text
}

/// Translates the headers that C and Rust share into OUT_DIR/constants.rs.
fn write_constants() {
    let read = |path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let headers = [
        "src/bpf/rfm.h",
        "src/bpf/xdp/firewall.h",
        "src/bpf/capture/capture.h",
    ]
    .map(read);
    let code: String = headers
        .iter()
        .map(|text| constants::translate(text))
        .collect();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    fs::write(out.join("constants.rs"), code).expect("OUT_DIR can be written");
}

/// Returns the version and the commit that scripts/version.sh prints; if it fails, Cargo's version and no
/// commit.
fn version() -> (String, String) {
    println!("cargo:rerun-if-env-changed=RFM_VERSION");
    println!("cargo:rerun-if-env-changed=RFM_REVISION");
    println!("cargo:rerun-if-changed=scripts/version.sh");
    // logs/HEAD changes with every commit; a missing path would cause a rebuild each time
    for name in ["logs/HEAD", "refs/tags", "packed-refs"] {
        let file = output_of("git", &["rev-parse", "--git-path", name]);
        let file = file.trim_end();
        if !file.is_empty() && Path::new(file).exists() {
            println!("cargo:rerun-if-changed={file}");
        }
    }
    let told = output_of("scripts/version.sh", &[]);
    let mut words = told.split_whitespace().map(str::to_owned);
    let version = words.next();
    (
        version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        words.next().unwrap_or_default(),
    )
}

/// Returns the output of a command; empty if it fails.
fn output_of(command: &str, args: &[&str]) -> String {
    Command::new(command)
        .args(args)
        .output()
        .ok()
        .filter(|out| out.status.success())
        .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        .unwrap_or_default()
}
