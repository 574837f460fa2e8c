// SPDX-License-Identifier: AGPL-3.0-only
//! Chromium without a screen, driven over WebDriver (W3C), in a namespace from which no other host is in
//! reach.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::lab::{Lab, Namespace, wait_for};

pub const TOOLS: [&str; 3] = ["ip", "chromium", "chromedriver"];

const PORT: u16 = 9515;
const START: Duration = Duration::from_secs(30);
/// For one command: axe-core takes long on a loaded machine.
const REPLY: Duration = Duration::from_secs(120);
/// For what the page shows after a click or a reading.
pub const SHOWN: Duration = Duration::from_secs(12);

pub struct Browser<'a> {
    namespace: &'a Namespace,
    session: String,
}

impl<'a> Browser<'a> {
    pub fn start(lab: &Lab, namespace: &'a Namespace) -> Self {
        lab.spawn(
            namespace,
            "chromedriver.log",
            "chromedriver",
            &[&format!("--port={PORT}")],
        );
        let mut browser = Self {
            namespace,
            session: String::new(),
        };
        let ready = || browser.try_request("GET", "/status", None).is_some();
        assert!(wait_for(START, ready), "chromedriver does not answer");
        let profile = lab.path("chromium");
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--force-device-scale-factor=1",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let session = browser.request("POST", "/session", Some(wanted));
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    pub fn open(&self, url: &str) {
        self.ask("POST", "url", json!({"url": url}));
    }

    /// The result of a function body.
    pub fn run(&self, script: &str) -> Value {
        self.ask(
            "POST",
            "execute/sync",
            json!({"script": script, "args": []}),
        )
    }

    /// Runs the script until its result is true.
    pub fn wait(&self, script: &str) {
        let yes = wait_for(SHOWN, || self.run(script) == true);
        assert!(
            yes,
            "never true: {script}\n{}",
            self.run("return document.body.innerText")
        );
    }

    /// Presses keys one after the other; special ones are those of WebDriver, from U+E000 on.
    pub fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})))
            .collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.ask("POST", "actions", json!({"actions": [keyboard]}));
    }

    /// Presses keys while another one is held.
    pub fn press_with(&self, held: char, keys: &str) {
        let pressed = keys
            .chars()
            .flat_map(|key| [("keyDown", key), ("keyUp", key)]);
        let steps = [("keyDown", held)].into_iter().chain(pressed);
        let steps = steps.chain([("keyUp", held)]);
        let actions: Vec<_> = steps
            .map(|(kind, value)| json!({"type": kind, "value": value}))
            .collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.ask("POST", "actions", json!({"actions": [keyboard]}));
    }

    /// Drags the mouse from one place of the window to another.
    pub fn drag(&self, from: (f64, f64), to: (f64, f64)) {
        let mid = ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0);
        let at = |(x, y): (f64, f64)| json!({"type": "pointerMove", "x": x as i64, "y": y as i64});
        let actions = json!([
            at(from), {"type": "pointerDown", "button": 0}, at(mid), at(to), {"type": "pointerUp", "button": 0},
        ]);
        let mouse = json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions});
        self.ask("POST", "actions", json!({"actions": [mouse]}));
    }

    /// Clicks as a user does: scripts may then use the clipboard.
    pub fn click(&self, selector: &str) {
        let found = self.ask(
            "POST",
            "element",
            json!({"using": "css selector", "value": selector}),
        );
        let id = found
            .as_object()
            .and_then(|element| element.values().next()?.as_str().map(str::to_owned));
        let id = id.expect("an element");
        self.ask("POST", &format!("element/{id}/click"), json!({}));
    }

    /// Presses a key together with Ctrl.
    pub fn press_with_control(&self, key: char) {
        const CONTROL: char = '\u{e009}';
        self.press_with(CONTROL, &key.to_string());
    }

    /// Returns the text of the clipboard, by pasting it.
    pub fn clipboard(&self) -> String {
        self.run("const area = document.createElement('textarea'); area.id = 'pasted'; document.body.append(area); area.focus()");
        self.press_with_control('v');
        let text = self.run("const area = document.querySelector('#pasted'), text = area.value; area.remove(); return text");
        text.as_str().expect("text").to_owned()
    }

    /// Makes the page itself so large, whatever the window is.
    pub fn resize(&self, width: u32, height: u32, dark: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", feature);
    }

    /// The upper part of the page as PNG, in base64.
    pub fn picture(&self, width: u32, height: u32) -> String {
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let whole = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = self.devtools("Page.captureScreenshot", whole);
        picture["data"].as_str().expect("a picture").to_owned()
    }

    /// What the browser complained of since this was last asked.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.log("browser");
        let grave = entries.iter().filter(|entry| entry["level"] != "INFO");
        grave.map(Value::to_string).collect()
    }

    /// Addresses of all requests since this was last asked, but for the browser's own pages.
    pub fn requests(&self) -> Vec<String> {
        let entries = self.log("performance");
        let messages = entries.iter().filter_map(|entry| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            let url = message["params"]["request"]["url"].as_str()?;
            let is_page =
                message["method"] == "Network.requestWillBeSent" && !url.starts_with("chrome");
            is_page.then(|| url.to_owned())
        });
        messages.collect()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.ask("POST", "se/log", json!({"type": kind}));
        log.as_array().expect("a list").clone()
    }

    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.ask("POST", "goog/cdp/execute", body)
    }

    fn ask(&self, method: &str, command: &str, body: Value) -> Value {
        let path = format!("/session/{}/{command}", self.session);
        self.request(method, &path, Some(body))
    }

    fn request(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.try_request(method, path, body)
            .expect("chromedriver answers")
    }

    fn try_request(&self, method: &str, path: &str, body: Option<Value>) -> Option<Value> {
        let body = body.map_or(String::new(), |body| body.to_string());
        let (status, body) = self.namespace.inside(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", PORT)).ok()?;
            let length = body.len();
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\n\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .ok()?;
            stream.set_read_timeout(Some(REPLY)).ok()?;
            read_reply(stream).ok()
        })?;
        let mut json: Value = serde_json::from_slice(&body).expect("JSON");
        assert!(status.contains(" 200 "), "{method} {path}: {json}");
        Some(json["value"].take())
    }
}

/// Status line and body. The driver writes fields without a space after the colon, and does not close.
fn read_reply(stream: TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((status, body))
}

/// Ends Chromium; the driver alone is ended with the lab, and would leave it behind.
impl Drop for Browser<'_> {
    fn drop(&mut self) {
        let path = format!("/session/{}", self.session);
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
            || self.try_request("DELETE", &path, None),
        )));
    }
}

/// Writes a picture where RFM_PICTURES names a folder. Its router has the name of an example.
pub fn keep_picture(browser: &Browser, name: &str, (width, height): (u32, u32)) {
    if let Some(folder) = std::env::var_os("RFM_PICTURES") {
        browser.run("document.querySelector('#host').textContent = 'edge1.example.net:9669'");
        let file = Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(file, from_base64(&browser.picture(width, height)))
            .expect("the folder is there");
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::new();
    for chunk in text.chunks(4) {
        let word = chunk
            .iter()
            .fold(0u32, |word, &c| word << 6 | u32::from(digit(c)));
        let bytes = (word << (6 * (4 - chunk.len()))).to_be_bytes();
        out.extend(&bytes[1..chunk.len()]);
    }
    out
}
