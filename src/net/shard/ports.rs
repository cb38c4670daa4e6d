//! Ports of single streams on a media thread: RTP, RTCP on the next one, and RTP over TCP.
//!
//! Whatever comes to such a port is for its stream, so an SSRC need not be unique, and one that was not agreed is taken when
//! nothing of the agreed one comes. Ports are opened and closed with their stream; which number, the session core says.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Instant;

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use slab::Slab;

use super::ingest::touch;
use super::{PORTS, PORTS_KIND_BITS, Shard, guarded};
use crate::gb28181::MediaTransport;
use crate::id::StreamId;
use crate::limits;
use crate::media::rtp;
use crate::net::buffer::{self, Buffered};
use crate::net::conn::Conn;
use crate::net::udp::{self, Sender};

/// Which socket of a port, in the low bits of its token.
const RTP: usize = 0;
const RTCP: usize = 1;
const TCP: usize = 2;

/// The sockets of one stream.
pub(in crate::net) struct OwnPort {
    stream: StreamId,
    rtp: Sender,
    rtcp: Sender,
    tcp: Option<TcpListener>,
    /// Datagrams that the kernel dropped on the RTP socket, as it last said, and on the RTCP socket.
    pub(super) kernel_dropped: u32,
    rtcp_kernel_dropped: u32,
}

impl OwnPort {
    fn bind(stream: StreamId, addr: SocketAddr, transport: MediaTransport) -> io::Result<OwnPort> {
        let options = |receive_buffer_bytes| udp::Options {
            reuse_port: false,
            receive_buffer_bytes,
            send_buffer_bytes: 1 << 16,
        };
        let (rtp, got) = udp::bind(addr, options(limits::OWN_PORT_RECEIVE_BUFFER_BYTES))?;
        let asked = limits::OWN_PORT_RECEIVE_BUFFER_BYTES;
        buffer::note(Buffered::SessionRtp, asked, got);
        let beside = SocketAddr::new(addr.ip(), addr.port() | 1);
        let asked = limits::OWN_RTCP_PORT_RECEIVE_BUFFER_BYTES;
        let (rtcp, got) = udp::bind(beside, options(asked))?;
        buffer::note(Buffered::SessionRtcp, asked, got);
        let tcp = match transport {
            MediaTransport::TcpPassive => Some(TcpListener::bind(addr)?),
            MediaTransport::Udp | MediaTransport::TcpActive => None,
        };
        Ok(OwnPort {
            stream,
            rtp: Sender::new(rtp)?,
            rtcp: Sender::new(rtcp)?,
            tcp,
            kernel_dropped: 0,
            rtcp_kernel_dropped: 0,
        })
    }
}

impl OwnPort {
    fn all_kernel_dropped(&self) -> u64 {
        u64::from(self.kernel_dropped) + u64::from(self.rtcp_kernel_dropped)
    }
}

/// The socket by which reports of a stream leave: that of its own RTCP port, else the one where its RTP arrives.
pub(super) fn report_socket<'a>(
    shared: &'a Sender,
    ports: &'a Slab<OwnPort>,
    own: Option<usize>,
) -> &'a Sender {
    own.and_then(|key| ports.get(key))
        .map_or(shared, |port| &port.rtcp)
}

impl Shard {
    /// Opens the port of a stream. An error means that another program has it.
    pub(super) fn open_port(
        &mut self,
        stream: StreamId,
        port: u16,
        transport: MediaTransport,
    ) -> io::Result<usize> {
        let mut own = OwnPort::bind(stream, SocketAddr::new(self.ip, port), transport)?;
        let entry = self.own_ports.vacant_entry();
        let token = |kind| Token(PORTS | entry.key() << PORTS_KIND_BITS | kind);
        let registry = self.poll.registry();
        for (socket, kind) in [(&own.rtp, RTP), (&own.rtcp, RTCP)] {
            let fd = socket.as_raw_fd();
            registry.register(&mut SourceFd(&fd), token(kind), Interest::READABLE)?;
        }
        if let Some(tcp) = &mut own.tcp {
            registry.register(tcp, token(TCP), Interest::READABLE)?;
        }
        let key = entry.key();
        entry.insert(own);
        Ok(key)
    }

    pub(super) fn close_port(&mut self, key: usize) {
        // The sockets are closed on drop, which ends their registrations as well.
        if let Some(own) = self.own_ports.try_remove(key) {
            self.own_dropped_gone += own.all_kernel_dropped();
        }
    }

    /// Datagrams that the kernel dropped on ports of single streams.
    pub(super) fn own_kernel_dropped(&self) -> u64 {
        let open: u64 = self
            .own_ports
            .iter()
            .map(|(_, own)| own.all_kernel_dropped())
            .sum();
        self.own_dropped_gone + open
    }

    pub(super) fn on_own_port(&mut self, now: Instant, token: usize) {
        let key = (token & !PORTS) >> PORTS_KIND_BITS;
        match token & ((1 << PORTS_KIND_BITS) - 1) {
            TCP => self.accept_own(now, key),
            kind => self.take_own_datagrams(now, key, kind == RTCP),
        }
    }

    fn accept_own(&mut self, now: Instant, key: usize) {
        while let Some(own) = self.own_ports.get(key)
            && let Some(tcp) = &own.tcp
            && let Ok((socket, from)) = tcp.accept()
        {
            let stream = own.stream;
            if self.has_room_for(from.ip()) {
                self.add_conn(Conn::accepted(socket, from, Some(stream), now));
            }
        }
    }

    fn take_own_datagrams(&mut self, now: Instant, key: usize, only_rtcp: bool) {
        loop {
            let Some(own) = self.own_ports.get_mut(key) else {
                return;
            };
            let socket = if only_rtcp { &own.rtcp } else { &own.rtp };
            let Ok(n) = self.batch.recv(socket) else {
                return;
            };
            if let Some(dropped) = self.batch.kernel_dropped_now() {
                let counter = if only_rtcp {
                    &mut own.rtcp_kernel_dropped
                } else {
                    &mut own.kernel_dropped
                };
                *counter = dropped;
            }
            let Some(&stream_key) = self.by_id.get(&own.stream) else {
                return;
            };
            let Some(stream) = self.streams.get_mut(stream_key) else {
                return;
            };
            for i in 0..n {
                let Some((from, packet)) = self.batch.get(i) else {
                    continue;
                };
                self.received_bytes += packet.len() as u64;
                if rtp::peek_ssrc(packet).is_none() || only_rtcp && !rtp::is_rtcp(packet) {
                    self.counters.malformed.inc();
                    continue;
                }
                let taken = guarded(&self.counters, || stream.push_datagram(now, from, packet));
                if taken.is_none() {
                    self.broken.push(stream.id);
                    return;
                }
            }
            touch(&mut self.touched, stream_key, stream, &mut self.reordering);
            if n < limits::UDP_BATCH_PACKETS {
                return;
            }
        }
    }
}
