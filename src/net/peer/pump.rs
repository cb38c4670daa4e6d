//! What one WebRTC viewer is sent: where it stands in the stream's payloads, and the runs of datagrams that bring it on.
//!
//! A picture and the sound that waited for it leave in one system call: the kernel cuts equal datagrams and one shorter at
//! the end, and the packetiser has made a picture's datagrams equal.
//!
//! Bounds: [`limits::PACE_PACKETS`] of a track at a time, [`RUN_BYTES_MAX`] of a run.

use std::net::SocketAddr;
use std::time::Instant;

use super::super::stream::{PayloadRing, RtpFan};
use super::super::udp::Sender;
use super::path::Outlet;
use crate::egress::rtp::RtpPayload;
use crate::egress::webrtc::viewer::{Packet, Resend};
use crate::egress::webrtc::{Address, Viewer};
use crate::id::{SessionId, StreamId};
use crate::limits;
use crate::media::frame::TrackId;
use crate::session::port::ViewerStats;

/// Bytes of one run of datagrams: below the kernel's bound for one send.
pub(super) const RUN_BYTES_MAX: usize = 60_000;

/// A viewer of this thread.
pub(super) struct Peer {
    pub viewer: Viewer,
    pub stream: StreamId,
    pub session: SessionId,
    pub video: Place,
    pub audio: Place,
    pub sent_bytes: u64,
    pub first_byte: Option<Instant>,
    pub skipped: u32,
    pub congested: u32,
    /// Its connection takes nothing more for now.
    pub blocked: bool,
    /// Its path could not take the stream: it gets no picture before that time.
    pub paused_until: Option<Instant>,
    /// A defect of ours showed in its core, which is not asked for anything any more.
    pub broken: bool,
}

/// Where a peer stands in a track's ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Starts at the newest key frame, or with the newest sound.
    New,
    Next(u64),
    /// Waits for a key frame from this index on.
    KeyFrom(u64),
}

impl Peer {
    /// It cannot decode any more: nothing is sent until the next key frame that it has not been given.
    pub fn want_key(&mut self, fan: &RtpFan) {
        if let Place::Next(next) = self.video {
            self.skipped += 1;
            self.video = match fan.video.newest_key() {
                Some(key) if key >= next => Place::Next(key),
                Some(_) | None => Place::KeyFrom(next),
            };
        }
    }

    pub fn stats(&self) -> ViewerStats {
        ViewerStats {
            sent_bytes: self.sent_bytes,
            skipped: self.skipped,
            first_byte: self.first_byte,
            congested: self.congested,
            is_congested: self.paused_until.is_some(),
        }
    }

    fn place_mut(&mut self, track: TrackId) -> &mut Place {
        match track {
            TrackId::Video => &mut self.video,
            TrackId::Audio => &mut self.audio,
        }
    }

    /// No picture until `until`, then from the next key frame on.
    pub fn pause(&mut self, until: Instant) {
        if self.paused_until.replace(until).is_none() {
            self.skipped += 1;
            self.congested += 1;
        }
    }

    /// Whether pictures are held back. At the end of the pause the viewer waits for a key frame that is still to come: one
    /// from the ring would bring all behind it at once, to a path that takes less.
    fn is_paused(&mut self, now: Instant, fan: &RtpFan) -> bool {
        match self.paused_until {
            Some(until) if now < until => true,
            Some(_) => {
                self.paused_until = None;
                self.video = Place::KeyFrom(fan.video.end());
                false
            }
            None => false,
        }
    }

    /// Gives `put` what the viewer has not had, at most one pace of each track, and moves its places on. `true` = there is
    /// more.
    fn advance(
        &mut self,
        now: Instant,
        fan: &RtpFan,
        mut put: impl FnMut(&mut Viewer, u64, &RtpPayload),
    ) -> bool {
        let mut more = false;
        for track in self.order(fan) {
            if track == TrackId::Video && self.is_paused(now, fan) {
                continue;
            }
            let Some(mut index) = self.next_of(track, fan) else {
                continue;
            };
            let ring = fan.ring(track);
            for payload in ring.from(index).take(limits::PACE_PACKETS) {
                put(&mut self.viewer, index, payload);
                index += 1;
            }
            more |= index < ring.end();
            *self.place_mut(track) = Place::Next(index);
        }
        self.viewer.sent(now);
        more
    }

    /// Goes on at the newest key frame, if the viewer has not been given it yet, and at the sound beside it.
    fn catch_up(&mut self, fan: &RtpFan) {
        if let (Place::Next(next), Some(key)) = (self.video, fan.video.newest_key())
            && key > next
        {
            self.skipped += 1;
            self.video = Place::Next(key);
            self.audio = Place::New;
        }
    }

    /// The tracks in the order in which their packets fit into one run: the shorter one last, which is the sound beside all
    /// but the smallest pictures.
    fn order(&self, fan: &RtpFan) -> [TrackId; 2] {
        let next = |place, ring: &PayloadRing, newest: bool| match place {
            Place::Next(next) => {
                let at = if newest {
                    ring.end().checked_sub(1)?
                } else {
                    next
                };
                ring.get(at).filter(|_| at >= next).map(RtpPayload::len)
            }
            Place::New | Place::KeyFrom(_) => None,
        };
        match (
            next(self.video, &fan.video, true),
            next(self.audio, &fan.audio, false),
        ) {
            (Some(picture), Some(sound)) if sound > picture => [TrackId::Audio, TrackId::Video],
            _ => [TrackId::Video, TrackId::Audio],
        }
    }

    /// The index to send a track from. `None`: the viewer does not take it, or has to wait for a key frame.
    fn next_of(&mut self, track: TrackId, fan: &RtpFan) -> Option<u64> {
        if !self.viewer.wants(track) {
            return None;
        }
        self.settle(track, fan.ring(track))
    }

    /// The index to send from; `None` = nothing yet.
    fn settle(&mut self, track: TrackId, ring: &PayloadRing) -> Option<u64> {
        let start = match track {
            TrackId::Video => ring.newest_key(),
            TrackId::Audio => Some(ring.end()),
        };
        let place = match track {
            TrackId::Video => self.video,
            TrackId::Audio => self.audio,
        };
        let next = match place {
            Place::New => start,
            Place::Next(next) if next >= ring.first() => Some(next),
            Place::Next(_) => {
                self.skipped += 1;
                start
            }
            Place::KeyFrom(from) => start.filter(|key| *key >= from),
        };
        if let Some(next) = next {
            *self.place_mut(track) = Place::Next(next);
        }
        next
    }
}

/// Sends a peer what it has not had, at most one pace of each track. `true` = there is more.
pub(super) fn pump(now: Instant, peer: &mut Peer, fan: &RtpFan, out: &mut Outlet) -> bool {
    let more = match peer.viewer.remote() {
        Some(Address::Udp(to)) => pump_datagrams(now, peer, fan, to, out),
        Some(Address::Tcp(to)) => pump_frames(now, peer, fan, to, out),
        None => false,
    };
    if peer.first_byte.is_none() && peer.sent_bytes > 0 {
        peer.first_byte = Some(now);
    }
    more
}

fn pump_datagrams(
    now: Instant,
    peer: &mut Peer,
    fan: &RtpFan,
    to: SocketAddr,
    out: &mut Outlet,
) -> bool {
    let sender = &mut out.sender;
    let mut run = Run::new(&mut out.run, to);
    let more = peer.advance(now, fan, |viewer, index, payload| {
        let len = viewer.seal_rtp(index, &packet(payload), run.buffer);
        run.add(len, sender);
    });
    peer.sent_bytes += run.finish(sender);
    more
}

/// Over TCP nothing is put behind what still waits. Once it has gone, the viewer goes on at a key frame that came meanwhile.
fn pump_frames(
    now: Instant,
    peer: &mut Peer,
    fan: &RtpFan,
    to: SocketAddr,
    out: &mut Outlet,
) -> bool {
    if !out.paths.is_clear(to) {
        peer.blocked = true;
        return false;
    }
    if std::mem::take(&mut peer.blocked) {
        peer.catch_up(fan);
    }
    let run = &mut out.run;
    run.clear();
    let more = peer.advance(now, fan, |viewer, index, payload| {
        let at = run.len();
        run.extend_from_slice(&[0, 0]);
        match viewer.seal_rtp(index, &packet(payload), run) {
            0 => run.truncate(at),
            len => run[at..at + 2].copy_from_slice(&(len as u16).to_be_bytes()),
        }
    });
    peer.sent_bytes += run.len() as u64;
    out.paths.write(to, run);
    if more && !out.paths.is_clear(to) {
        // It goes on when the socket says that it can.
        peer.blocked = true;
        return false;
    }
    more
}

pub(super) fn resend_one(peer: &mut Peer, ring: &PayloadRing, resend: Resend, out: &mut Outlet) {
    let (Some(payload), Some(to)) = (ring.get(resend.index), peer.viewer.remote()) else {
        return;
    };
    let mut run = std::mem::take(&mut out.run);
    run.clear();
    let len = peer.viewer.seal_resend(resend, &packet(payload), &mut run);
    if len > 0 {
        peer.sent_bytes += len as u64;
        out.send(to, &run);
    }
    out.run = run;
}

fn packet(payload: &RtpPayload) -> Packet<'_> {
    Packet {
        track: payload.track,
        prefix: &payload.prefix,
        body: &payload.body,
        padding: payload.padding,
        marker: payload.marker,
        timestamp: payload.timestamp,
    }
}

/// Datagrams for one peer that leave in as few system calls as they can: runs of equal length, the last one shorter.
struct Run<'a> {
    buffer: &'a mut Vec<u8>,
    to: SocketAddr,
    /// Where the current run starts in the buffer.
    start: usize,
    segment: usize,
    count: usize,
    sent_bytes: u64,
}

impl<'a> Run<'a> {
    fn new(buffer: &'a mut Vec<u8>, to: SocketAddr) -> Self {
        buffer.clear();
        Run {
            buffer,
            to,
            start: 0,
            segment: 0,
            count: 0,
            sent_bytes: 0,
        }
    }

    /// A datagram of `len` bytes was appended to the buffer.
    fn add(&mut self, len: usize, sender: &mut Sender) {
        if len == 0 {
            return;
        }
        let fits = self.count < limits::GSO_SEGMENTS_MAX
            && self.buffer.len() - self.start <= RUN_BYTES_MAX;
        if self.count > 0 && (len > self.segment || !fits) {
            self.send(self.buffer.len() - len, sender);
        }
        if self.count == 0 {
            self.segment = len;
        }
        self.count += 1;
        if len < self.segment {
            self.send(self.buffer.len(), sender);
        }
    }

    fn send(&mut self, end: usize, sender: &mut Sender) {
        if end > self.start {
            self.sent_bytes += (end - self.start) as u64;
            // What the kernel does not take is lost like on the way; the viewer asks for it again.
            let _ = sender.send_segments(self.to, &self.buffer[self.start..end], self.segment);
        }
        self.start = end;
        self.count = 0;
    }

    fn finish(mut self, sender: &mut Sender) -> u64 {
        self.send(self.buffer.len(), sender);
        self.sent_bytes
    }
}
