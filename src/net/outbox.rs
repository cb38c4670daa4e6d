//! Datagrams out in batches: one `sendmmsg` for up to [`SIP_SEND_BATCH`] of them, each to its own peer.
//!
//! For small answers to many peers; what goes to one peer in equal pieces is [`udp::Sender`](super::udp::Sender)'s part.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use bytes::Bytes;

use super::udp::to_sockaddr;
use crate::limits::SIP_SEND_BATCH;

/// Datagrams that wait for the next call.
#[derive(Debug)]
pub struct Outbox {
    waiting: Vec<(SocketAddr, Bytes)>,
    socket_is_v6: bool,
}

impl Outbox {
    /// `local`: what the socket is bound to.
    pub fn new(local: SocketAddr) -> Outbox {
        Outbox {
            waiting: Vec::with_capacity(SIP_SEND_BATCH),
            socket_is_v6: local.is_ipv6(),
        }
    }

    /// Adds a datagram. Answers whether the batch is full and wants [`Outbox::flush`].
    pub fn push(&mut self, to: SocketAddr, datagram: Bytes) -> bool {
        self.waiting.push((to, datagram));
        self.waiting.len() >= SIP_SEND_BATCH
    }

    /// Sends what waits. A datagram that the kernel refuses is lost, the others are sent; answers how many were lost, and
    /// the last reason.
    pub fn flush(&mut self, socket: &impl AsRawFd) -> (usize, Option<io::Error>) {
        let (mut lost, mut why) = (0, None);
        for batch in self.waiting.chunks(SIP_SEND_BATCH) {
            let mut rest = batch;
            while !rest.is_empty() {
                match send(socket, rest, self.socket_is_v6) {
                    Ok(0) => break,
                    Ok(sent) => rest = &rest[sent.min(rest.len())..],
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        lost += 1;
                        why = Some(e);
                        rest = &rest[1..];
                    }
                }
            }
        }
        self.waiting.clear();
        (lost, why)
    }
}

/// One call. Answers how many datagrams the kernel took; the error is that of the first.
fn send(socket: &impl AsRawFd, batch: &[(SocketAddr, Bytes)], v6: bool) -> io::Result<usize> {
    let n = batch.len().min(SIP_SEND_BATCH);
    // SAFETY: mmsghdr, iovec and sockaddr_storage are plain data for which all zeros is a valid value.
    let (mut headers, mut pieces, mut names): (
        [libc::mmsghdr; SIP_SEND_BATCH],
        [libc::iovec; SIP_SEND_BATCH],
        [libc::sockaddr_storage; SIP_SEND_BATCH],
    ) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
    for (i, (to, datagram)) in batch.iter().take(n).enumerate() {
        let (name, name_len) = to_sockaddr(*to, v6);
        names[i] = name;
        pieces[i].iov_base = datagram.as_ptr().cast_mut().cast();
        pieces[i].iov_len = datagram.len();
        let header = &mut headers[i].msg_hdr;
        header.msg_name = (&raw mut names[i]).cast();
        header.msg_namelen = name_len;
        header.msg_iov = &raw mut pieces[i];
        header.msg_iovlen = 1;
    }
    // SAFETY: the first `n` headers point into the arrays above and into `batch`, which outlive the call.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            n as libc::c_uint,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(sent as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn each_datagram_reaches_its_peer_and_a_refused_one_holds_nobody_up() {
        let bind = || UdpSocket::bind(("127.0.0.1", 0)).expect("loopback");
        let (sender, a, b) = (bind(), bind(), bind());
        let to = |s: &UdpSocket| s.local_addr().expect("bound");
        let mut outbox = Outbox::new(to(&sender));
        outbox.push(to(&a), Bytes::from_static(b"one"));
        // Longer than UDP can carry.
        outbox.push(to(&a), Bytes::from(vec![0; 70_000]));
        outbox.push(to(&b), Bytes::from_static(b"two"));
        let (lost, why) = outbox.flush(&sender);
        assert_eq!((lost, why.is_some()), (1, true));
        let mut buffer = [0; 16];
        for (socket, text) in [(&a, b"one"), (&b, b"two")] {
            let (n, from) = socket.recv_from(&mut buffer).expect("it was sent");
            assert_eq!((&buffer[..n], from), (&text[..], to(&sender)));
        }
        assert_eq!(outbox.flush(&sender).0, 0);
    }

    #[test]
    fn a_batch_is_full_at_its_bound() {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("loopback");
        let to = socket.local_addr().expect("bound");
        let mut outbox = Outbox::new(to);
        for n in 1..=3 * SIP_SEND_BATCH {
            assert_eq!(
                outbox.push(to, Bytes::from_static(b"x")),
                n >= SIP_SEND_BATCH
            );
        }
        assert_eq!(outbox.flush(&socket).0, 0);
        let mut buffer = [0; 4];
        for _ in 0..3 * SIP_SEND_BATCH {
            assert_eq!(socket.recv(&mut buffer).expect("it was sent"), 1);
        }
    }
}
