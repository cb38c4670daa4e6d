//! Datagrams in batches: `recvmmsg` in, `UDP_SEGMENT` (GSO) out.
//!
//! One system call takes up to [`limits::UDP_BATCH_PACKETS`] datagrams into a slab that is allocated once. Sending hands
//! the kernel one buffer of equal segments for one peer; where the kernel or the device refuses segmentation, the segments
//! are sent one by one from then on.
//!
//! The only unsafe code of the media path: each block says what the kernel is given and why it stays valid.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::limits;

/// Room for the control messages of one datagram: the kernel's drop counter.
const CONTROL_BYTES: usize = 64;

/// How a UDP socket is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Several sockets share the port; the kernel spreads senders over them.
    pub reuse_port: bool,
    /// Bytes asked for; the kernel may give less (or twice as much, its own bookkeeping included).
    pub receive_buffer_bytes: usize,
    pub send_buffer_bytes: usize,
}

/// Opens a non-blocking socket. The second value is the receive buffer that the kernel really gave, in bytes.
pub fn bind(addr: SocketAddr, options: Options) -> io::Result<(std::net::UdpSocket, usize)> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    force_buffer(&socket, libc::SO_RCVBUFFORCE, options.receive_buffer_bytes)
        .or_else(|_| socket.set_recv_buffer_size(options.receive_buffer_bytes))?;
    force_buffer(&socket, libc::SO_SNDBUFFORCE, options.send_buffer_bytes)
        .or_else(|_| socket.set_send_buffer_size(options.send_buffer_bytes))?;
    set_int(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    let got = socket.recv_buffer_size()?;
    Ok((socket.into(), got))
}

fn force_buffer(socket: &Socket, option: libc::c_int, bytes: usize) -> io::Result<()> {
    set_int(
        socket,
        libc::SOL_SOCKET,
        option,
        i32::try_from(bytes).unwrap_or(i32::MAX),
    )
}

fn set_int(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads one c_int from a live local.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A slab that takes one batch of datagrams after another.
pub struct RecvBatch {
    slab: Box<[u8]>,
    datagram_bytes_max: usize,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[[u64; CONTROL_BYTES / 8]]>,
    lengths: Box<[usize]>,
    name_lengths: Box<[libc::socklen_t]>,
    count: usize,
    /// Datagrams the kernel dropped on this socket because the buffer was full, as it last said (it counts in 32 bits).
    dropped: u32,
    /// The same, if it said so in the last batch.
    dropped_now: Option<u32>,
}

impl RecvBatch {
    /// `datagram_bytes_max`: longer datagrams are cut, which their parser then sees.
    pub fn new(datagram_bytes_max: usize) -> Self {
        let n = limits::UDP_BATCH_PACKETS;
        // SAFETY: sockaddr_storage is plain data for which all zeros is a valid value.
        let zero_name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        RecvBatch {
            slab: vec![0; n * datagram_bytes_max].into_boxed_slice(),
            datagram_bytes_max,
            names: vec![zero_name; n].into_boxed_slice(),
            controls: vec![[0; CONTROL_BYTES / 8]; n].into_boxed_slice(),
            lengths: vec![0; n].into_boxed_slice(),
            name_lengths: vec![0; n].into_boxed_slice(),
            count: 0,
            dropped: 0,
            dropped_now: None,
        }
    }

    /// Takes what waits on the socket, at most one batch. 0 = nothing waits.
    pub fn recv(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        let n = limits::UDP_BATCH_PACKETS;
        // SAFETY: mmsghdr and iovec are plain data for which all zeros is a valid value.
        let mut headers: [libc::mmsghdr; limits::UDP_BATCH_PACKETS] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut pieces: [libc::iovec; limits::UDP_BATCH_PACKETS] = unsafe { mem::zeroed() };
        for (i, buffer) in self
            .slab
            .chunks_exact_mut(self.datagram_bytes_max)
            .enumerate()
            .take(n)
        {
            pieces[i].iov_base = buffer.as_mut_ptr().cast();
            pieces[i].iov_len = buffer.len();
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut pieces[i];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[i].as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES;
        }
        self.count = 0;
        self.dropped_now = None;
        // SAFETY: every header points into buffers of `self` and `pieces`, which outlive the call.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                n as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if got < 0 {
            let e = io::Error::last_os_error();
            return match e.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                // An ICMP error for something sent earlier: nothing was received, nothing is wrong here.
                io::ErrorKind::ConnectionRefused => Ok(0),
                _ => Err(e),
            };
        }
        self.count = got as usize;
        for (i, header) in headers.iter().enumerate().take(self.count) {
            self.lengths[i] = (header.msg_len as usize).min(self.datagram_bytes_max);
            self.name_lengths[i] = header.msg_hdr.msg_namelen;
        }
        if let Some(last) = self.count.checked_sub(1)
            && let Some(dropped) = dropped_count(&headers[last].msg_hdr)
        {
            self.dropped = dropped;
            self.dropped_now = Some(dropped);
        }
        Ok(self.count)
    }

    /// Datagram `i` of the last batch with its sender. `None` past the end or from a family that is not IP.
    pub fn get(&self, i: usize) -> Option<(SocketAddr, &[u8])> {
        if i >= self.count {
            return None;
        }
        let at = i * self.datagram_bytes_max;
        Some((
            from_sockaddr(&self.names[i])?,
            &self.slab[at..at + self.lengths[i]],
        ))
    }

    /// The same, writable: decryption happens in place.
    pub fn get_mut(&mut self, i: usize) -> Option<(SocketAddr, &mut [u8])> {
        if i >= self.count {
            return None;
        }
        let at = i * self.datagram_bytes_max;
        Some((
            from_sockaddr(&self.names[i])?,
            &mut self.slab[at..at + self.lengths[i]],
        ))
    }

    /// The kernel's count of datagrams dropped on the socket of the last batch, if it told: for a slab that serves several.
    pub fn kernel_dropped_now(&self) -> Option<u32> {
        self.dropped_now
    }

    /// The kernel's count of datagrams dropped on this socket, modulo 2³².
    pub fn kernel_dropped(&self) -> u32 {
        self.dropped
    }
}

/// Reads the SO_RXQ_OVFL control message.
fn dropped_count(header: &libc::msghdr) -> Option<u32> {
    // SAFETY: the header was filled by recvmmsg and its control buffer is still alive; the macros walk within its length.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            if (*control).cmsg_level == libc::SOL_SOCKET
                && (*control).cmsg_type == libc::SO_RXQ_OVFL
            {
                return Some(std::ptr::read_unaligned(
                    libc::CMSG_DATA(control).cast::<u32>(),
                ));
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

fn from_sockaddr(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that a sockaddr_in was written.
            let v4: &libc::sockaddr_in =
                unsafe { &*(name as *const libc::sockaddr_storage).cast() };
            Some(SocketAddr::V4(SocketAddrV4::new(
                Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)),
                u16::from_be(v4.sin_port),
            )))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that a sockaddr_in6 was written.
            let v6: &libc::sockaddr_in6 =
                unsafe { &*(name as *const libc::sockaddr_storage).cast() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
                None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id)),
            })
        }
        _ => None,
    }
}

pub(super) fn to_sockaddr(
    addr: SocketAddr,
    socket_is_v6: bool,
) -> (libc::sockaddr_storage, libc::socklen_t) {
    let addr = match addr {
        SocketAddr::V4(v4) if socket_is_v6 => {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        other => other,
    };
    // SAFETY: sockaddr_storage is plain data for which all zeros is a valid value; it is large enough for both families.
    unsafe {
        let mut name: libc::sockaddr_storage = mem::zeroed();
        match addr {
            SocketAddr::V4(v4) => {
                let out: &mut libc::sockaddr_in = &mut *(&raw mut name).cast();
                out.sin_family = libc::AF_INET as libc::sa_family_t;
                out.sin_port = v4.port().to_be();
                out.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                (name, mem::size_of::<libc::sockaddr_in>() as libc::socklen_t)
            }
            SocketAddr::V6(v6) => {
                let out: &mut libc::sockaddr_in6 = &mut *(&raw mut name).cast();
                out.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                out.sin6_port = v6.port().to_be();
                out.sin6_addr.s6_addr = v6.ip().octets();
                out.sin6_scope_id = v6.scope_id();
                (
                    name,
                    mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t,
                )
            }
        }
    }
}

/// Sends runs of equal segments.
#[derive(Debug)]
pub struct Sender {
    socket: std::net::UdpSocket,
    is_v6: bool,
    /// Turned off for good when the kernel refuses it.
    gso: bool,
}

impl Sender {
    /// A sender on a socket that someone else reads.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let is_v6 = socket.local_addr()?.is_ipv6();
        Ok(Sender {
            socket,
            is_v6,
            gso: true,
        })
    }

    /// Sends one datagram.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.send_message(to, datagram, None)
    }

    /// Sends `data` as datagrams of `segment` bytes each, the last one shorter or equal. At most
    /// [`limits::GSO_SEGMENTS_MAX`] segments and 65,000 bytes. `WouldBlock` = the socket's buffer is full and the rest was
    /// not sent.
    pub fn send_segments(&mut self, to: SocketAddr, data: &[u8], segment: usize) -> io::Result<()> {
        if data.len() <= segment {
            return self.send_message(to, data, None);
        }
        if self.gso {
            match self.send_message(to, data, Some(segment as u16)) {
                Err(e)
                    if matches!(
                        e.raw_os_error(),
                        Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP)
                    ) =>
                {
                    tracing::warn!(error = %e, "UDP segmentation refused: datagrams are sent one by one");
                    self.gso = false;
                }
                other => return other,
            }
        }
        for datagram in data.chunks(segment) {
            self.send_message(to, datagram, None)?;
        }
        Ok(())
    }

    fn send_message(&self, to: SocketAddr, data: &[u8], segment: Option<u16>) -> io::Result<()> {
        let (mut name, name_len) = to_sockaddr(to, self.is_v6);
        let mut piece = libc::iovec {
            iov_base: data.as_ptr().cast_mut().cast(),
            iov_len: data.len(),
        };
        let mut control = [0u64; CONTROL_BYTES / 8];
        // SAFETY: msghdr is plain data; all pointers put into it are to locals and to `data`, which outlive the call. The
        // control buffer is aligned and larger than CMSG_SPACE(2).
        let sent = unsafe {
            let mut header: libc::msghdr = mem::zeroed();
            header.msg_name = (&raw mut name).cast();
            header.msg_namelen = name_len;
            header.msg_iov = &raw mut piece;
            header.msg_iovlen = 1;
            if let Some(segment) = segment {
                header.msg_control = control.as_mut_ptr().cast();
                header.msg_controllen = libc::CMSG_SPACE(2) as usize;
                let c = libc::CMSG_FIRSTHDR(&raw const header);
                (*c).cmsg_level = libc::SOL_UDP;
                (*c).cmsg_type = libc::UDP_SEGMENT;
                (*c).cmsg_len = libc::CMSG_LEN(2) as usize;
                std::ptr::write_unaligned(libc::CMSG_DATA(c).cast::<u16>(), segment);
            }
            libc::sendmsg(
                self.socket.as_raw_fd(),
                &raw const header,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

impl AsRawFd for Sender {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sender, std::net::UdpSocket, SocketAddr) {
        let options = Options {
            reuse_port: false,
            receive_buffer_bytes: 1 << 20,
            send_buffer_bytes: 1 << 20,
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (receiver, _) = bind(any, options).expect("loopback");
        let (sender, _) = bind(any, options).expect("loopback");
        let to = receiver.local_addr().expect("bound");
        (Sender::new(sender).expect("bound"), receiver, to)
    }

    #[test]
    fn segments_arrive_as_datagrams_in_order() {
        let (mut sender, receiver, to) = pair();
        let data: Vec<u8> = (0..2_500u32).map(|i| i as u8).collect();
        sender
            .send_segments(to, &data, 1_000)
            .expect("loopback takes it");
        let mut batch = RecvBatch::new(limits::UDP_DATAGRAM_BYTES_MAX);
        let mut got = Vec::new();
        while got.len() < 3 {
            let n = batch.recv(&receiver).expect("readable");
            got.extend((0..n).filter_map(|i| batch.get(i)).map(|(_, d)| d.to_vec()));
        }
        assert_eq!(
            got.iter().map(Vec::len).collect::<Vec<_>>(),
            [1_000, 1_000, 500]
        );
        assert_eq!(got.concat(), data);
    }

    /// The kernel's count comes with the datagrams that were queued after the drops.
    #[test]
    fn what_the_kernel_drops_is_counted() {
        let (sender, _, _) = pair();
        let small = Options {
            reuse_port: false,
            receive_buffer_bytes: 16 << 10,
            send_buffer_bytes: 1 << 20,
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (receiver, got) = bind(any, small).expect("loopback");
        assert!((16 << 10..=64 << 10).contains(&got), "as asked for: {got}");
        let to = receiver.local_addr().expect("bound");
        const SENT: usize = 200;
        for _ in 0..SENT {
            sender.send(to, &[7; 1_000]).expect("loopback takes it");
        }
        let mut batch = RecvBatch::new(limits::UDP_DATAGRAM_BYTES_MAX);
        let mut taken = 0;
        loop {
            match batch.recv(&receiver).expect("readable") {
                0 => break,
                n => taken += n,
            }
        }
        assert!((1..SENT).contains(&taken), "{taken}");
        assert_eq!(batch.kernel_dropped(), 0, "nothing was queued since");
        sender.send(to, &[7]).expect("loopback takes it");
        while batch.recv(&receiver).expect("readable") == 0 {}
        assert_eq!(batch.kernel_dropped() as usize, SENT - taken);
        assert_eq!(batch.kernel_dropped_now(), Some(batch.kernel_dropped()));
    }

    #[test]
    fn an_empty_socket_gives_nothing_and_a_long_datagram_is_cut() {
        let (sender, receiver, to) = pair();
        let mut batch = RecvBatch::new(limits::UDP_DATAGRAM_BYTES_MAX);
        assert_eq!(batch.recv(&receiver).expect("no error"), 0);
        sender
            .send(to, &vec![7; limits::UDP_DATAGRAM_BYTES_MAX + 100])
            .expect("loopback takes it");
        while batch.recv(&receiver).expect("readable") == 0 {}
        assert_eq!(
            batch.get(0).map(|(_, d)| d.len()),
            Some(limits::UDP_DATAGRAM_BYTES_MAX)
        );
        assert!(batch.get(1).is_none());
    }
}
