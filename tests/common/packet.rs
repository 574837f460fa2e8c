// SPDX-License-Identifier: AGPL-3.0-only
//! Raw frames into and out of devices: packet sockets and tun descriptors. Nearly all `unsafe` of the
//! tests is here.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::netdevice::name_to_index;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sendto, socket_with,
};

/// Sends frames out of one device, through its qdisc and egress hook, from the network namespace of
/// the thread that made it.
pub struct Sender {
    socket: OwnedFd,
    ifindex: u32,
    /// Whether each frame has a virtio header before it.
    offload: bool,
}

/// `struct virtio_net_hdr` (virtio 1.2 section 5.1.6), little endian.
#[derive(Default)]
struct VirtioHeader {
    needs_checksum: bool,
    gso_type: u8,
    /// Linear bytes that the kernel is asked for.
    header_length: u16,
    gso_size: u16,
    checksum_start: u16,
    checksum_offset: u16,
}

/// What a GSO packet is, for [`Sender::send_segmented`].
#[derive(Clone, Copy)]
pub struct Super {
    pub gso_size: u16,
    /// Where the transport header begins and the payload after it.
    pub transport: u16,
    pub payload: u16,
    pub udp: bool,
    pub ipv6: bool,
}

impl Sender {
    pub fn new(device: &str) -> io::Result<Self> {
        // protocol 0: the socket receives nothing
        let socket = socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let ifindex = name_to_index(&socket, device)?;
        Ok(Self {
            socket,
            ifindex,
            offload: false,
        })
    }

    /// For GSO packets and frames that are not in one piece.
    pub fn with_offload(device: &str) -> io::Result<Self> {
        let sender = Self {
            offload: true,
            ..Self::new(device)?
        };
        let on: libc::c_int = 1;
        // SAFETY: the option value is an int that lives through the call, and its size is given.
        let result = unsafe {
            libc::setsockopt(
                sender.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_VNET_HDR,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        match result {
            0 => Ok(sender),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// `protocol` is the EtherType where no link layer header says it, else 0.
    pub fn send(&self, frame: &[u8], protocol: u16) -> io::Result<()> {
        match self.offload {
            true => self.send_virtio(frame, protocol, VirtioHeader::default()),
            false => self.send_bytes(frame, protocol),
        }
    }

    /// Only the first `linear` bytes are in one piece. The kernel does so for frames of more than a
    /// page (net/packet/af_packet.c, packet_alloc_skb).
    pub fn send_in_pieces(&self, frame: &[u8], linear: u16) -> io::Result<()> {
        assert!(frame.len() > 4096, "too short to be scattered");
        let header = VirtioHeader {
            header_length: linear,
            ..Default::default()
        };
        self.send_virtio(frame, 0, header)
    }

    /// One frame that the kernel or a device is to cut into segments.
    pub fn send_segmented(&self, frame: &[u8], what: Super) -> io::Result<()> {
        let header = VirtioHeader {
            needs_checksum: true,
            gso_type: match (what.udp, what.ipv6) {
                (true, _) => 5, // VIRTIO_NET_HDR_GSO_UDP_L4
                (false, true) => 4,
                (false, false) => 1,
            },
            header_length: what.payload,
            gso_size: what.gso_size,
            checksum_start: what.transport,
            checksum_offset: if what.udp { 6 } else { 16 },
        };
        self.send_virtio(frame, 0, header)
    }

    fn send_virtio(&self, frame: &[u8], protocol: u16, header: VirtioHeader) -> io::Result<()> {
        assert!(self.offload, "made by Sender::new");
        let mut bytes = vec![header.needs_checksum.into(), header.gso_type];
        for field in [
            header.header_length,
            header.gso_size,
            header.checksum_start,
            header.checksum_offset,
        ] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(frame);
        self.send_bytes(&bytes, protocol)
    }

    fn send_bytes(&self, bytes: &[u8], protocol: u16) -> io::Result<()> {
        loop {
            match self.try_send_bytes(bytes, protocol) {
                // the device queue is full for a moment
                Err(rustix::io::Errno::NOBUFS) => std::thread::yield_now(),
                other => return Ok(other?),
            }
        }
    }

    /// Once: fails where the device takes nothing.
    pub fn try_send(&self, frame: &[u8]) -> io::Result<()> {
        Ok(self.try_send_bytes(frame, 0)?)
    }

    fn try_send_bytes(&self, bytes: &[u8], protocol: u16) -> rustix::io::Result<()> {
        let to = LinkAddress::new(self.ifindex, protocol);
        let sent = sendto(&self.socket, bytes, SendFlags::empty(), &to)?;
        assert_eq!(sent, bytes.len(), "bytes sent");
        Ok(())
    }
}

/// Receives the frames of one device of the calling thread's network namespace, behind XDP.
pub struct Receiver(OwnedFd);

impl Receiver {
    pub fn new(device: &str) -> io::Result<Self> {
        // protocol 0 until it is bound: no frame of another device
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        let ifindex = name_to_index(&socket, device)?;
        let all = libc::ETH_P_ALL as u16;
        rustix::net::bind(&socket, &LinkAddress::new(ifindex, all))?;
        Ok(Self(socket))
    }

    /// Returns the next frame that has arrived.
    pub fn next(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = vec![0; 1 << 16];
        match rustix::net::recv(&self.0, frame.as_mut_slice(), RecvFlags::empty()) {
            Ok((length, _)) => {
                frame.truncate(length);
                Ok(Some(frame))
            }
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// packet(7): where to send.
struct LinkAddress(libc::sockaddr_ll);

impl LinkAddress {
    fn new(ifindex: u32, protocol: u16) -> Self {
        Self(libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol.to_be(),
            sll_ifindex: ifindex as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        })
    }
}

// SAFETY: the pointer is to a whole sockaddr_ll, readable for the length given, while `f` runs.
unsafe impl SocketAddrArg for LinkAddress {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        f(
            (&raw const self.0).cast(),
            size_of::<libc::sockaddr_ll>() as SocketAddrLen,
        )
    }
}

/// The user side of a tun device: the device receives what is written here.
pub struct Tun(File);

impl Tun {
    /// Makes the device, in the network namespace of the calling thread; it lives as long as this.
    pub fn new(name: &str) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")?;
        // SAFETY: ifreq is plain data, for which zeroes are a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        assert!(name.len() < request.ifr_name.len());
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        // with packet information: it carries the EtherType
        request.ifr_ifru.ifru_flags = libc::IFF_TUN as i16;
        // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        match result {
            0 => Ok(Self(file)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Gives the device, which must be down, another ARPHRD type.
    pub fn set_type(&self, arphrd: u32) -> io::Result<()> {
        // SAFETY: TUNSETLINK takes its argument by value.
        let result = unsafe {
            libc::ioctl(
                self.0.as_raw_fd(),
                libc::TUNSETLINK,
                libc::c_ulong::from(arphrd),
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Makes the device receive a packet of this EtherType.
    pub fn inject(&self, packet: &[u8], protocol: u16) -> io::Result<()> {
        let information = [[0, 0], protocol.to_be_bytes()].concat();
        let bytes = [&information, packet].concat();
        let written = rustix::io::write(&self.0, &bytes)?;
        assert_eq!(written, bytes.len());
        Ok(())
    }
}
