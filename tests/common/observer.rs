// SPDX-License-Identifier: AGPL-3.0-only
//! Another program on the same hook, which counts what it is shown: somebody else's TCX program or
//! clsact filter.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::ptr::NonNull;

use libbpf_rs::query::{LinkInfo, LinkInfoIter, LinkTypeInfo};
use libbpf_rs::{
    AsRawLibbpf, Link, MapCore, MapFlags, Object, ObjectBuilder, TC_EGRESS, TC_INGRESS, TcHook,
    TcHookBuilder,
};
use rfm::types::flow::Direction;

use super::lab::{Lab, run};

/// Returns TCX_NEXT, which clsact reads as TC_ACT_UNSPEC.
const SOURCE: &str = r#"
unsigned long long seen = 0;

__attribute__((section("tcx/DIRECTION"), used)) int observer(void *skb)
{
	__sync_fetch_and_add(&seen, 1);
	return -1;
}

char LICENSE[] __attribute__((section("license"), used)) = "GPL";
"#;

/// Where in the chain of the hook.
#[derive(Clone, Copy, Debug)]
pub enum ChainPosition {
    First,
    Last,
}

/// Detached when dropped: the hook before the object that holds its program.
pub struct Observer {
    _hook: Attached,
    object: Object,
}

enum Attached {
    Tcx(#[expect(dead_code, reason = "held for its drop")] Link),
    Clsact(TcHook),
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Self::Clsact(hook) = self {
            // the device may be gone
            let _ = hook.detach();
        }
    }
}

impl Observer {
    /// On a hook of a device in this thread's network namespace.
    pub fn tcx(lab: &Lab, ifindex: u32, direction: Direction, place: ChainPosition) -> Self {
        let object = load(lab, direction);
        let opts = libbpf_sys::bpf_tcx_opts {
            sz: size_of::<libbpf_sys::bpf_tcx_opts>() as libbpf_sys::size_t,
            flags: match place {
                ChainPosition::First => libbpf_sys::BPF_F_BEFORE,
                ChainPosition::Last => libbpf_sys::BPF_F_AFTER,
            },
            ..Default::default()
        };
        let program = object.progs_mut().next().expect("one program");
        let program = program.as_libbpf_object().as_ptr();
        // SAFETY: the program belongs to the loaded object, which lives on; opts carries its size.
        let link = unsafe { libbpf_sys::bpf_program__attach_tcx(program, ifindex as i32, &opts) };
        let link = NonNull::new(link).expect("attached by TCX");
        // SAFETY: libbpf made this link for us, and nobody else holds it.
        let link = unsafe { Link::from_ptr(link) };
        Self {
            _hook: Attached::Tcx(link),
            object,
        }
    }

    /// As a filter of this priority and handle; makes the clsact qdisc if it is not there.
    pub fn clsact(
        lab: &Lab,
        ifindex: u32,
        direction: Direction,
        (priority, handle): (u32, u32),
    ) -> Self {
        let object = load(lab, direction);
        let hook = {
            let program = object.progs_mut().next().expect("one program");
            let point = match direction {
                Direction::Ingress => TC_INGRESS,
                Direction::Egress => TC_EGRESS,
            };
            let mut qdisc = TcHook::new(program.as_fd());
            qdisc.ifindex(ifindex as i32).attach_point(point);
            qdisc.create().expect("a clsact qdisc");
            let mut filter = TcHookBuilder::new(program.as_fd())
                .ifindex(ifindex as i32)
                .priority(priority)
                .handle(handle)
                .hook(point);
            filter.attach().expect("attached as a filter")
        };
        Self {
            _hook: Attached::Clsact(hook),
            object,
        }
    }

    /// How many packets it was shown.
    pub fn seen(&self) -> u64 {
        let is_bss = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".bss");
        let map = self.object.maps().find(|map| is_bss(map.name()));
        let value = map
            .expect("a variable")
            .lookup(&0_u32.to_ne_bytes(), MapFlags::ANY)
            .expect("a variable that can be read")
            .expect("a variable with a value");
        u64::from_ne_bytes(value[..8].try_into().expect("eight bytes"))
    }
}

fn load(lab: &Lab, direction: Direction) -> Object {
    let source = SOURCE.replace("DIRECTION", direction.name());
    let source = lab.file(&format!("observer-{}.c", direction.name()), &source);
    let object = source.with_extension("o");
    run(Command::new("clang")
        .args(["-target", "bpf", "-O2", "-g", "-c"])
        .arg(&source)
        .arg("-o")
        .arg(&object));
    let open = ObjectBuilder::default().open_file(&object);
    let open = open.expect("an object");
    open.load().expect("it loads")
}

/// The ids of the programs on a TCX hook of a device in this thread's network namespace.
pub fn tcx_programs(ifindex: u32, direction: Direction) -> Vec<u32> {
    let hook = match direction {
        Direction::Ingress => libbpf_sys::BPF_TCX_INGRESS,
        Direction::Egress => libbpf_sys::BPF_TCX_EGRESS,
    };
    let mut ids = vec![0; 16];
    let mut opts = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as libbpf_sys::size_t,
        prog_ids: ids.as_mut_ptr(),
        ..Default::default()
    };
    opts.__bindgen_anon_1.count = ids.len() as u32;
    // SAFETY: opts carries its size, and an array with its length, which outlives the call.
    let result = unsafe { libbpf_sys::bpf_prog_query_opts(ifindex as i32, hook, &mut opts) };
    assert_eq!(result, 0, "bpf_prog_query_opts");
    // SAFETY: both members of the union are the same integer.
    ids.truncate(unsafe { opts.__bindgen_anon_1.count } as usize);
    ids
}

/// Detaches the TCX programs of one hook in this thread's network namespace, as `bpftool link detach` does.
pub fn detach_tcx_links(ifindex: u32, direction: Direction) -> usize {
    // links are listed for all namespaces, in which an index is not unique
    let programs = tcx_programs(ifindex, direction);
    let is_there = |link: &LinkInfo| match &link.info {
        LinkTypeInfo::Tcx(tcx) => tcx.ifindex == ifindex && programs.contains(&link.prog_id),
        _ => false,
    };
    let links: Vec<u32> = LinkInfoIter::default()
        .filter(is_there)
        .map(|link| link.id)
        .collect();
    for id in &links {
        // SAFETY: a plain number goes in.
        let fd = unsafe { libbpf_sys::bpf_link_get_fd_by_id(*id) };
        assert!(fd >= 0, "link {id}: {fd}");
        // SAFETY: the kernel made this descriptor for us, and nobody else holds it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: an open descriptor of a link.
        let result = unsafe { libbpf_sys::bpf_link_detach(fd.as_raw_fd()) };
        assert_eq!(result, 0, "link {id}");
    }
    links.len()
}
