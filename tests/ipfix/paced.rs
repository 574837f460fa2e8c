// SPDX-License-Identifier: AGPL-3.0-only
//! Many flows that end together: they reach a collector with a small receive buffer, in order and complete.

use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;
use std::time::Duration;

use rfm::flow::table::CompletedRecord;
use rustix::net::sockopt;

use super::common::lab::wait_for;
use super::decode::Decoder;
use super::fixture::{ANSWER_TIMEOUT, Fixture, part};

// whole batches
const RECORDS: usize = 118 * 256;
/// Messages of 1,400 bytes in a receive buffer of the default size, 212,992 bytes on all machines.
const BUFFER: usize = 92;

/// A message as it was received, and the time at which the kernel received it.
type Received = (Vec<u8>, Duration);

/// Returns the time at which the kernel received the last message that was read.
fn receive_time(socket: &UdpSocket) -> Duration {
    const SIOCGSTAMPNS: libc::c_ulong = 0x8907;
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel writes one timespec to `time`, which outlives the call; zeroed, it is a valid one.
    let time = unsafe {
        libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS as _, time.as_mut_ptr());
        time.assume_init()
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Starts a thread that reads messages until there is none for two seconds.
fn collect(socket: UdpSocket) -> JoinHandle<Vec<Received>> {
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    receive_time(&socket);
    std::thread::spawn(move || {
        let (mut received, mut buffer) = (Vec::new(), [0; 2048]);
        while let Ok(length) = socket.recv(&mut buffer) {
            received.push((buffer[..length].to_vec(), receive_time(&socket)));
        }
        received
    })
}

/// Exports as thread flow does: it waits for room in its queue.
fn export(fixture: &mut Fixture, parts: &[CompletedRecord]) {
    for batch in parts.chunks(256) {
        fixture.wait_for_room();
        fixture.export(batch);
    }
}

fn numbered(n: usize) -> CompletedRecord {
    let mut part = part(n as u16);
    part.record.key.src[..4].copy_from_slice(&(n as u32).to_be_bytes());
    part
}

#[test]
fn flows_that_end_together_fit_in_a_small_buffer() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let collector = collect(socket);
    let mut fixture = Fixture::udp(port);
    std::thread::sleep(Duration::from_millis(600));
    let parts: Vec<_> = (0..RECORDS).map(numbered).collect();
    export(&mut fixture, &parts);
    // they wait for their turn, where a scrape sees them
    let queued = || fixture.stats[0].queued();
    assert!(wait_for(ANSWER_TIMEOUT, || queued() > 1_000));
    assert_eq!(fixture.settle(RECORDS as u64), (RECORDS as u64, 0));
    assert!(wait_for(ANSWER_TIMEOUT, || queued() == 0));
    let received = collector.join().unwrap();
    let mut decoder = Decoder::default();
    let (mut flows, mut sequence) = (0, 0);
    for (bytes, _) in &received {
        let message = decoder.message(bytes);
        assert_eq!(message.sequence, sequence);
        sequence += message.records.len() as u32;
        flows += message.flows().count();
    }
    assert_eq!(flows, RECORDS);
    // a collector that reads nothing for 20 ms still loses nothing
    let times: Vec<_> = received.iter().map(|(_, time)| *time).collect();
    let within = |from: usize| {
        let end = times[from] + Duration::from_millis(20);
        times[from..].partition_point(|time| *time < end)
    };
    let most = (0..times.len()).map(within).max().unwrap();
    assert!(
        most <= BUFFER,
        "{most} of {} messages in 20 ms",
        times.len()
    );
}

#[test]
fn a_new_rate_keeps_its_place_among_waiting_records() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let collector = collect(socket);
    // options are sent again while records wait
    let mut fixture = Fixture::new(
        &[(rfm::types::transport::Transport::Udp, port)],
        Duration::from_secs(1),
    );
    std::thread::sleep(Duration::from_millis(600));
    let mut parts: Vec<_> = (0..RECORDS).map(numbered).collect();
    for (n, part) in parts.iter_mut().enumerate() {
        // 40 changes, in whole batches
        part.record.sample_rate = 1 + (n / 768) as u32;
        part.record.key.dst_port = part.record.sample_rate as u16;
    }
    export(&mut fixture, &parts);
    let settled = fixture.settle(RECORDS as u64);
    assert_eq!(settled, (RECORDS as u64, 0));
    fixture.stop();
    let (mut decoder, mut rate, mut flows) = (Decoder::default(), 0, 0);
    for (bytes, _) in collector.join().unwrap() {
        for record in &decoder.message(&bytes).records {
            if record.has(34) {
                rate = record.number(34);
            } else if record.is_flow() {
                assert_eq!(record.number(11), rate);
                flows += 1;
            }
        }
    }
    assert_eq!(flows, RECORDS);
}

#[test]
fn waiting_records_leave_before_the_thread_ends() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // at the end the messages are sent faster than a small buffer permits
    sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).unwrap();
    let port = socket.local_addr().unwrap().port();
    let collector = collect(socket);
    let mut fixture = Fixture::udp(port);
    let parts: Vec<_> = (0..RECORDS).map(numbered).collect();
    fixture.export(&parts[..1]);
    // fewer records wait for a connection
    assert_eq!(fixture.settle(1), (1, 0));
    export(&mut fixture, &parts[1..]);
    fixture.stop();
    let mut decoder = Decoder::default();
    let received = collector.join().unwrap();
    let flows = received
        .iter()
        .map(|(bytes, _)| decoder.message(bytes).flows().count());
    assert_eq!(flows.sum::<usize>(), RECORDS);
    assert_eq!(fixture.counts().1, 0);
}
