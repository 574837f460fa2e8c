// SPDX-License-Identifier: AGPL-3.0-only
//! The script rfm-update-databases, and an HTTPS server of this machine with the paths of its sources.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, UNIX_EPOCH};

use super::lab::{Lab, Namespace, run, wait_for};

pub const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/packaging/databases/rfm-update-databases"
);
pub const TOOLS: [&str; 6] = ["ip", "nginx", "openssl", "curl", "gzip", "tar"];

/// An HTTPS server with a tree of files, and the folder to which the script downloads.
pub struct Site<'a> {
    pub lab: &'a Lab,
    pub namespace: &'a Namespace,
    /// The folder to which the script downloads.
    folder: PathBuf,
    /// How many files were published: each is a minute newer than the one before, as HTTP compares times in seconds.
    published: Cell<u64>,
}

impl<'a> Site<'a> {
    pub fn new(lab: &'a Lab, namespace: &'a Namespace, folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir(lab.path("tree")).unwrap();
        let site = Self {
            lab,
            namespace,
            folder,
            published: Cell::new(0),
        };
        site.serve();
        site
    }

    pub fn path(&self, name: &str) -> String {
        self.lab.path(name).display().to_string()
    }

    fn serve(&self) {
        let subject = [
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-days",
            "2",
        ];
        run(Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-newkey", "rsa:2048"])
            .args(subject)
            .args([
                "-keyout",
                &self.path("key.pem"),
                "-out",
                &self.path("ca.pem"),
            ]));
        let hash = run(Command::new("openssl").args(["passwd", "-apr1", "key"]));
        self.lab.file("htpasswd", &format!("1234:{hash}"));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};\n", self.path(kind)))
            .concat();
        let configuration = format!(
            "user root;\ndaemon off;\nmaster_process off;\npid {0}/nginx.pid;\nerror_log {0}/error.log;\nevents {{}}\n\
             http {{\n{temporary}access_log {0}/access.log;\nserver {{\nlisten 127.0.0.1:8443 ssl;\n\
             ssl_certificate {0}/ca.pem;\nssl_certificate_key {0}/key.pem;\nroot {0}/tree;\n\
             location /geoip/ {{ auth_basic x; auth_basic_user_file {0}/htpasswd; rewrite (.*)/download $1.tar.gz break; }}\n\
             location /data/ {{ if ($arg_token != secret) {{ return 403; }} }}\n\
             location /moved/ {{ return 302 http://127.0.0.1:8080/asn.mmdb; }}\n}}\n}}\n",
            self.path("")
        );
        let file = self.lab.file("nginx.conf", &configuration);
        let file = file.to_str().unwrap();
        self.lab
            .spawn(self.namespace, "nginx.log", "nginx", &["-c", file]);
        let answers = || {
            let arguments = ["-sk", "https://127.0.0.1:8443/"];
            let output = self.namespace.command("curl", &arguments).output().unwrap();
            output.status.success()
        };
        assert!(wait_for(Duration::from_secs(20), answers));
    }

    pub fn publish(&self, path: &str, content: &[u8]) {
        let file = self.lab.path("tree").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        self.published.set(self.published.get() + 1);
        let time = UNIX_EPOCH + Duration::from_secs(1_780_000_000 + 60 * self.published.get());
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_modified(time).unwrap();
    }

    pub fn publish_packed(&self, path: &str, content: &[u8]) {
        let plain = path.strip_suffix(".gz").unwrap();
        self.publish(plain, content);
        let file = self.lab.path("tree").join(plain);
        run(Command::new("gzip").arg("-f").arg(file));
    }

    /// Removes what was published.
    pub fn clear(&self) {
        fs::remove_dir_all(self.lab.path("tree")).unwrap();
        fs::create_dir(self.lab.path("tree")).unwrap();
    }

    pub fn settings(&self, own: &str) -> PathBuf {
        let base = "https://127.0.0.1:8443";
        let text = format!(
            "FOLDER={}\nRFM={}\nDBIP_URL={base}\nIP_LOCATION_DB_URL={base}/latest\nMAXMIND_URL={base}\nIPINFO_URL={base}\n{own}\n",
            self.folder.display(),
            env!("CARGO_BIN_EXE_rfm")
        );
        self.lab.file("settings", &text)
    }

    fn update(&self, own: &str) -> Output {
        let settings = self.settings(own);
        let settings = settings.to_str().unwrap();
        let mut command = self
            .namespace
            .command("sh", &[SCRIPT, "--settings", settings]);
        command.env("CURL_CA_BUNDLE", self.path("ca.pem"));
        command.output().unwrap()
    }

    /// Exit code and what it wrote.
    pub fn result(&self, own: &str) -> (i32, String) {
        let output = self.update(own);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), text)
    }

    pub fn found(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn content(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap()
    }
}

/// The month that was so many months ago.
pub fn month(back: u32) -> String {
    let text = run(Command::new("date").args(["-u", "+%Y %m"]));
    let (year, month) = text.trim().split_once(' ').unwrap();
    let months = year.parse::<u32>().unwrap() * 12 + month.parse::<u32>().unwrap() - 1 - back;
    format!("{}-{:02}", months / 12, months % 12 + 1)
}
