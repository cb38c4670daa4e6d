//! What the bench needs of the kernel beyond the standard library: processor time, batches of datagrams, discarding reads.

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// Processor time, user and system, that the calling thread has used.
pub fn thread_cpu() -> Duration {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec into a live local.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut t) };
    assert_eq!(done, 0, "every Linux has this clock");
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// Lifts the limit of open files as far as it may go; children inherit it.
pub fn raise_open_files() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls take a pointer to a live rlimit.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Throws away what waits on a TCP socket without copying it. The bytes thrown away; 0 = the peer has closed.
pub fn discard(fd: RawFd, len_max: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC on TCP the kernel discards and never writes to the buffer (tcp(7)).
    let n = unsafe { libc::recv(fd, std::ptr::null_mut(), len_max, flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Two pieces that leave as one datagram: a header and a payload that other datagrams share.
pub struct Datagram<'a> {
    pub head: &'a [u8],
    pub body: &'a [u8],
}

/// Most datagrams in one call of [`send_batch`].
pub const SEND_BATCH: usize = 8;

/// Sends datagrams on a connected socket in one call. How many the kernel took.
pub fn send_batch(socket: &UdpSocket, datagrams: &[Datagram<'_>]) -> io::Result<usize> {
    assert!(datagrams.len() <= SEND_BATCH);
    // SAFETY: iovec and mmsghdr are plain data for which all zeros is a valid value.
    let mut pieces: [[libc::iovec; 2]; SEND_BATCH] = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; SEND_BATCH] = unsafe { mem::zeroed() };
    for (i, datagram) in datagrams.iter().enumerate() {
        for (piece, bytes) in pieces[i].iter_mut().zip([datagram.head, datagram.body]) {
            piece.iov_base = bytes.as_ptr().cast_mut().cast();
            piece.iov_len = bytes.len();
        }
        headers[i].msg_hdr.msg_iov = pieces[i].as_mut_ptr();
        headers[i].msg_hdr.msg_iovlen = 2;
    }
    // SAFETY: every header points to pieces, and every piece to bytes, that outlive the call; sending writes to neither.
    let n = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            datagrams.len() as libc::c_uint,
            0,
        )
    };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Datagrams taken in one call of [`Batch::recv`].
const RECV_BATCH: usize = 64;
const DATAGRAM_BYTES: usize = 2048;

/// Buffers for one batch of datagrams, with the headers of the call set up once.
pub struct Batch {
    /// Owns what `pieces` points to.
    _slab: Box<[u8]>,
    pieces: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    count: usize,
}

impl Batch {
    pub fn new() -> Batch {
        let mut slab = vec![0u8; RECV_BATCH * DATAGRAM_BYTES].into_boxed_slice();
        let mut pieces: Box<[libc::iovec]> = slab
            .chunks_exact_mut(DATAGRAM_BYTES)
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            })
            .collect();
        let headers = pieces.iter_mut().map(|piece| {
            // SAFETY: mmsghdr is plain data for which all zeros is a valid value.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        Batch {
            headers: headers.collect(),
            _slab: slab,
            pieces,
            count: 0,
        }
    }

    /// Takes a batch. `wait`: for the first datagram, as long as the socket's timeout. 0 = nothing came.
    pub fn recv(&mut self, fd: RawFd, wait: bool) -> usize {
        let flags = if wait {
            libc::MSG_WAITFORONE
        } else {
            libc::MSG_DONTWAIT
        };
        // SAFETY: the headers point to `pieces` and those to the slab, which live as long as `self`.
        let n = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                RECV_BATCH as libc::c_uint,
                flags,
                std::ptr::null_mut(),
            )
        };
        self.count = usize::try_from(n).unwrap_or(0);
        self.count
    }

    /// The last call filled the batch: more may wait.
    pub fn is_full(&self) -> bool {
        self.count == RECV_BATCH
    }

    /// The datagrams of the last call.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let headers = self.headers.iter().zip(&self.pieces).take(self.count);
        headers.map(|(header, piece)| {
            let len = (header.msg_len as usize).min(DATAGRAM_BYTES);
            // SAFETY: the piece points to DATAGRAM_BYTES bytes of the slab, and nothing is received while `self` is lent.
            unsafe { std::slice::from_raw_parts(piece.iov_base.cast::<u8>(), len) }
        })
    }
}
