//! What comes in for WebRTC viewers: datagrams on the shared port, those that another thread passed on, and connections.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::path::{self, Arrival, Flushed, Reading};
use super::{Peers, guarded};
use crate::egress::webrtc::demux::Route;
use crate::egress::webrtc::{Address, Kind, kind};
use crate::limits;
use crate::net::counters::ShardCounters;
use crate::net::shard::{ShardLink, ShardMessage};
use crate::net::udp::RecvBatch;
use crate::time::earliest;

impl Peers {
    // ---- datagrams in ----

    pub fn take_datagrams(&mut self, now: Instant, links: &[ShardLink], counters: &ShardCounters) {
        let mut batch = std::mem::replace(&mut self.batch, RecvBatch::new(0));
        loop {
            let n = match batch.recv(&self.socket) {
                Ok(n) => n,
                Err(e) => {
                    tracing::warn!(shard = self.shard, error = %e, "cannot receive on the WebRTC port");
                    break;
                }
            };
            for i in 0..n {
                if let Some((from, datagram)) = batch.get_mut(i) {
                    self.take_datagram(now, from, datagram, None, links, counters);
                }
            }
            if n < limits::UDP_BATCH_PACKETS {
                break;
            }
        }
        self.batch = batch;
    }

    /// `via`: the shard whose socket it came in on, if it was not ours.
    pub fn take_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
        via: Option<u8>,
        links: &[ShardLink],
        counters: &ShardCounters,
    ) {
        let address = Address::Udp(from);
        match self.router.route(address, datagram) {
            Route::Viewer(slot) => self.give(now, slot, address, datagram, via, links, counters),
            // Passed on once: two shards that disagree must not play with it for ever.
            Route::Shard(shard) if via.is_none() => {
                if kind(datagram) == Kind::Stun {
                    self.router.expect(address, shard);
                }
                let data = Bytes::copy_from_slice(datagram);
                self.tell(
                    links,
                    shard,
                    ShardMessage::Datagram {
                        from,
                        data,
                        via: self.shard,
                    },
                );
            }
            Route::Shard(_) | Route::Unknown => counters.stray_datagrams.inc(),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are one datagram and its way"
    )]
    fn give(
        &mut self,
        now: Instant,
        slot: u32,
        from: Address,
        datagram: &mut [u8],
        via: Option<u8>,
        links: &[ShardLink],
        counters: &ShardCounters,
    ) {
        let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        let out = &mut self.out;
        let handled = guarded(counters, || {
            peer.viewer
                .handle_datagram(now, from, datagram, &mut |to, data: &[u8]| {
                    out.send(to, data)
                })
        });
        let Some(handled) = handled else {
            peer.broken = true;
            self.attention.push(slot);
            return;
        };
        self.next_timeout = earliest(self.next_timeout, peer.viewer.next_deadline());
        if !self.attention.contains(&slot) {
            self.attention.push(slot);
        }
        if let Some(address) = handled.learned {
            self.bind(now, address, slot);
            if let (Some(via), Address::Udp(address)) = (via, address) {
                let message = ShardMessage::Bound {
                    address,
                    shard: self.shard,
                    bound: true,
                };
                self.tell(links, via, message);
            }
        }
        match handled.forgotten {
            Some(Address::Udp(address)) => {
                self.router.unbind(Address::Udp(address), slot);
                for shard in (0..links.len() as u8).filter(|s| *s != self.shard) {
                    let message = ShardMessage::Bound {
                        address,
                        shard: self.shard,
                        bound: false,
                    };
                    self.tell(links, shard, message);
                }
            }
            Some(Address::Tcp(address)) => {
                self.router.unbind(Address::Tcp(address), slot);
                self.out.paths.close_address(address);
            }
            None => {}
        }
    }

    /// An address is verified as a viewer's. Another one that had it, a page that was reloaded, is closed.
    fn bind(&mut self, now: Instant, address: Address, slot: u32) {
        if let Some(old) = self.router.bind(address, slot)
            && old != slot
            && let Some(peer) = self.peers.get_mut(old as usize).and_then(Option::as_mut)
        {
            let out = &mut self.out;
            peer.viewer.close(now, &mut |to, data| out.send(to, data));
            self.attention.push(old);
        }
    }

    // ---- connections ----

    pub fn accept(&mut self, now: Instant, counters: &ShardCounters) {
        self.out.paths.accept(now, counters);
    }

    /// A connection whose first check names a viewer here.
    pub fn adopt(
        &mut self,
        now: Instant,
        arrival: Arrival,
        links: &[ShardLink],
        counters: &ShardCounters,
    ) {
        if let Some(key) = self.out.paths.adopt(now, arrival, counters) {
            self.read_path(now, key, false, links, counters);
        }
    }

    pub fn on_path(
        &mut self,
        now: Instant,
        key: usize,
        readable: bool,
        writable: bool,
        links: &[ShardLink],
        counters: &ShardCounters,
    ) {
        if writable
            && let Flushed::Clear(address) = self.out.paths.flush(key)
            && let Some(slot) = self.router.owner(Address::Tcp(address))
        {
            if !self.behind.contains(&slot) {
                self.behind.push(slot);
            }
            self.pace_at = Some(now);
        }
        if readable {
            self.read_path(now, key, true, links, counters);
        }
    }

    /// `may_pass`: a check of a viewer elsewhere takes the connection there; once.
    fn read_path(
        &mut self,
        now: Instant,
        key: usize,
        may_pass: bool,
        links: &[ShardLink],
        counters: &ShardCounters,
    ) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some((from, filled, reading)) = self.out.paths.read(key, &mut buffer) {
            let mut at = 0;
            let mut over = reading == Reading::Over;
            while let Some(frame) = path::frame(&mut buffer[at..filled]) {
                let Ok(frame) = frame else {
                    over = true;
                    break;
                };
                let len = frame.len() + 2;
                let address = Address::Tcp(from);
                let is_bound = self.out.paths.is_bound(key);
                match self.router.route(address, frame) {
                    Route::Viewer(slot) => {
                        self.give(now, slot, address, frame, None, links, counters);
                        if self.router.owner(address) == Some(slot) {
                            self.out.paths.bind(key);
                        } else {
                            over |= !is_bound;
                        }
                    }
                    Route::Shard(shard) if may_pass && !is_bound => {
                        self.out.paths.hold(key, &buffer[at..filled]);
                        self.buffer = buffer;
                        return self.pass_on(key, shard, links);
                    }
                    Route::Shard(_) | Route::Unknown => {
                        counters.stray_datagrams.inc();
                        over |= !is_bound;
                    }
                }
                at += len;
            }
            if over {
                self.close_path(key);
                break;
            }
            self.out.paths.hold(key, &buffer[at..filled]);
            if reading == Reading::Waiting {
                break;
            }
        }
        self.buffer = buffer;
    }

    fn pass_on(&mut self, key: usize, shard: u8, links: &[ShardLink]) {
        if let Some(arrival) = self.out.paths.give_away(key) {
            self.tell(links, shard, ShardMessage::Path(arrival));
        }
    }

    /// A connection is over. Its viewer may have another path.
    fn close_path(&mut self, key: usize) {
        let Some(address) = self.out.paths.close(key).map(Address::Tcp) else {
            return;
        };
        if let Some(slot) = self.router.owner(address) {
            self.router.unbind(address, slot);
            if let Some(peer) = self.peers.get_mut(slot as usize).and_then(Option::as_mut) {
                peer.viewer.forget(address);
            }
        }
    }
}
