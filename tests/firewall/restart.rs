// SPDX-License-Identifier: AGPL-3.0-only
//! A restart of the service: the service manager keeps the XDP link, so that the interface never loses its program. The test
//! takes the place of systemd.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libbpf_rs::ObjectBuilder;
use rfm::types::flow::Direction;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::common::agent::{Agent, refused_prepared};
use crate::common::lab::{Lab, Namespace, can_run, run, wait_for};
use crate::common::observer::{ChainPosition, Observer};
use crate::common::packet::Sender;
use crate::ends::has_program;
use crate::harness::{Folder, config};
use crate::wire::{LIMIT, TOOLS, attached, file, packet};

const CONFIG: &str = "[[agent.firewall.rule]]\nsrc = \"192.0.2.0/24\"\n";

/// Passes the descriptor 3 as systemd does: LISTEN_PID is the number of the program itself.
const PASS: &str = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"";

type Kept = Arc<Mutex<BTreeMap<String, OwnedFd>>>;

/// The descriptor store of a service manager; a thread reads its messages.
struct Store {
    path: PathBuf,
    kept: Kept,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Store {
    fn new(lab: &Lab) -> Self {
        let path = lab.path("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let timeout = Some(Duration::from_millis(100));
        socket.set_read_timeout(timeout).expect("a timeout");
        let (kept, stop) = (Kept::default(), Arc::new(AtomicBool::new(false)));
        let reader = thread::spawn({
            let (kept, stop) = (kept.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    read(&socket, &kept);
                }
            }
        });
        Self {
            path,
            kept,
            stop,
            reader: Some(reader),
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, OwnedFd>> {
        self.kept.lock().expect("the reader has not panicked")
    }

    /// A copy of a descriptor.
    fn link(&self, name: &str) -> OwnedFd {
        let has_it = || self.kept().contains_key(name);
        assert!(wait_for(LIMIT, has_it), "no {name} in {:?}", self.kept());
        self.kept()[name].try_clone().expect("a copy")
    }

    fn wait_until_empty(&self) {
        assert!(
            wait_for(LIMIT, || self.kept().is_empty()),
            "{:?}",
            self.kept()
        );
    }

    /// Prepares an agent of this manager, which receives the descriptor of this name.
    fn prepare<'a>(&self, name: Option<&str>) -> impl FnOnce(&mut Command) + use<'a> {
        let link = name.map(|name| (name.to_owned(), self.link(name)));
        let path = self.path.clone();
        move |command| {
            command.env("NOTIFY_SOCKET", path);
            if let Some((name, link)) = link {
                command.env("LISTEN_FDNAMES", name);
                // SAFETY: between fork and exec only one system call is made, without an allocation.
                unsafe {
                    command.pre_exec(move || match libc::dup2(link.as_raw_fd(), 3) {
                        3 => Ok(()),
                        _ => Err(std::io::Error::last_os_error()),
                    })
                };
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.reader.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|end| end.is_ok()) || thread::panicking());
    }
}

/// Reads one message, if there is one.
fn read(socket: &UnixDatagram, kept: &Kept) {
    let mut data = [0; 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut data)];
    let received = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
    let length = match received.map_err(std::io::Error::from) {
        Ok(message) => message.bytes,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            return;
        }
        Err(error) => panic!("recvmsg: {error}"),
    };
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let text = String::from_utf8_lossy(&data[..length]).into_owned();
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
    let name = name.unwrap_or_default().to_owned();
    let mut kept = kept.lock().expect("no other thread has panicked");
    if text.starts_with("FDSTOREREMOVE=1\n") {
        kept.remove(&name);
    } else if text.starts_with("FDSTORE=1\n") {
        kept.insert(name, fd.expect("a descriptor"));
    }
}

/// The number of a link and of its program, from /proc.
fn numbers(link: BorrowedFd<'_>) -> (u64, u64) {
    let text =
        fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd())).expect("fdinfo");
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .trim()
            .parse()
            .expect("a number")
    };
    (number("link_id:"), number("prog_id:"))
}

/// Sends packets that the rule drops, until the flag is set.
fn keep_sending(namespace: &Namespace, stop: &AtomicBool, sent: &AtomicU64) {
    namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        let frame = packet("192.0.2.1");
        // not for ever, if the test fails
        let end = Instant::now() + 10 * LIMIT;
        while !stop.load(Ordering::Relaxed) && Instant::now() < end {
            sender.send(&frame, 0).expect("sent");
            sent.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_micros(200));
        }
    });
}

/// Sends some packets that no rule drops, and waits until they have passed.
fn pass_some(namespace: &Namespace, observer: &Observer) {
    let before = observer.seen();
    namespace.inside(|| {
        let sender = Sender::new("v0").expect("a packet socket");
        for _ in 0..3 {
            sender.send(&packet("192.0.3.1"), 0).expect("sent");
        }
    });
    assert!(
        wait_for(LIMIT, || observer.seen() == before + 3),
        "{}",
        observer.seen()
    );
}

fn start(lab: &Lab, namespace: &Namespace, text: &str, store: &Store, name: Option<&str>) -> Agent {
    let wrapper = ["sh", "-c", PASS];
    let wrapper = if name.is_some() { &wrapper[..] } else { &[] };
    Agent::start_prepared(lab, namespace, text, wrapper, store.prepare(name))
}

#[test]
fn the_program_stays_attached_while_the_service_restarts() {
    if !can_run(&[TOOLS[0], TOOLS[1], "clang"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let v1 = namespace.ifindex("v1");
    let name = format!("xdp-{v1}");
    namespace.inside(|| {
        let observer = Observer::tcx(&lab, v1, Direction::Ingress, ChainPosition::First);
        let store = Store::new(&lab);
        let folder = Folder::new();
        let text = file(&folder, CONFIG);

        let agent = start(&lab, &namespace, &text, &store, None);
        attached(&agent);
        let (link, program) = numbers(store.link(&name).as_fd());
        pass_some(&namespace, &observer);

        let before = observer.seen();
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let agent = thread::scope(|scope| {
            scope.spawn(|| keep_sending(&namespace, &stop, &sent));
            let sent_some = || {
                let more = sent.load(Ordering::Relaxed) + 100;
                assert!(wait_for(LIMIT, || sent.load(Ordering::Relaxed) > more));
            };
            sent_some();
            agent.stop();
            assert!(has_program(&namespace), "it outlives the agent");
            sent_some();
            let agent = start(&lab, &namespace, &text, &store, Some(&name));
            attached(&agent);
            sent_some();
            stop.store(true, Ordering::Relaxed);
            agent
        });
        assert_eq!(
            observer.seen(),
            before,
            "of {sent:?} packets that a rule drops"
        );
        let (same, next) = numbers(store.link(&name).as_fd());
        assert_eq!(same, link, "the link is the same");
        assert_ne!(next, program, "the program is that of the next agent");
        pass_some(&namespace, &observer);
        agent.stop();

        // what the next agent does not want, it detaches
        let off = config(&folder, "[\"v1\"]", 1, "");
        let agent = start(&lab, &namespace, &off, &store, Some(&name));
        store.wait_until_empty();
        assert!(
            wait_for(LIMIT, || !has_program(&namespace)),
            "{}",
            agent.log()
        );
    });
}

#[test]
fn an_agent_that_cannot_start_detaches_what_it_receives() {
    if !can_run(&[TOOLS[0], TOOLS[1], "clang"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let store = Store::new(&lab);
    let name = foreign_link(&lab, &namespace, &store);
    assert!(has_program(&namespace));
    let wrapper = ["sh", "-c", PASS];
    let (code, said) = refused_prepared(
        &lab,
        &namespace,
        "[agent]\n",
        &wrapper,
        store.prepare(Some(&name)),
    );
    assert_eq!(code, Some(2), "{said}");
    store.wait_until_empty();
    assert!(wait_for(LIMIT, || !has_program(&namespace)), "{said}");
}

/// As after an upgrade from a version with other programs and maps.
#[test]
fn a_link_with_another_program_is_updated() {
    if !can_run(&[TOOLS[0], TOOLS[1], "clang"]) {
        return;
    }
    let lab = Lab::new();
    let namespace = lab.wire();
    let v1 = namespace.ifindex("v1");
    namespace.inside(|| {
        let observer = Observer::tcx(&lab, v1, Direction::Ingress, ChainPosition::First);
        let store = Store::new(&lab);
        let name = foreign_link(&lab, &namespace, &store);
        let (link, program) = numbers(store.link(&name).as_fd());
        let folder = Folder::new();
        let agent = start(
            &lab,
            &namespace,
            &file(&folder, CONFIG),
            &store,
            Some(&name),
        );
        attached(&agent);
        let (same, next) = numbers(store.link(&name).as_fd());
        assert_eq!(same, link);
        assert_ne!(next, program);
        pass_some(&namespace, &observer);
        // a clean end leaves the link to the service manager
        agent.stop();
        assert!(has_program(&namespace));
        store.kept().clear();
        assert!(wait_for(LIMIT, || !has_program(&namespace)));
    });
}

/// Attaches a program without maps that drops everything to `v1`; the store keeps its link. Returns its name.
fn foreign_link(lab: &Lab, namespace: &Namespace, store: &Store) -> String {
    let source = lab.file(
        "foreign.c",
        "__attribute__((section(\"xdp.frags\"), used)) int foreign(void *c) { return 1; }\n\
         char LICENSE[] __attribute__((section(\"license\"), used)) = \"GPL\";\n",
    );
    let object = source.with_extension("o");
    run(Command::new("clang")
        .args(["-target", "bpf", "-O2", "-g", "-c"])
        .arg(&source)
        .arg("-o")
        .arg(&object));
    let v1 = namespace.ifindex("v1");
    let link = namespace.inside(|| {
        let open = ObjectBuilder::default()
            .open_file(&object)
            .expect("an object");
        let object = open.load().expect("it loads");
        let program = object.progs_mut().next().expect("one program");
        let link = program.attach_xdp(v1 as i32).expect("attached");
        link.as_fd().try_clone_to_owned().expect("a copy")
    });
    let name = format!("xdp-{v1}");
    store.kept().insert(name.clone(), link);
    name
}
