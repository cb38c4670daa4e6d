//! One running view of a simulated device: which frame is next, and how its bytes leave.
//!
//! RFC 3550, 5.1 (RTP header); RFC 4571 (a length before each packet on TCP); GB/T 28181-2016, annex C (PS in RTP: 90 kHz,
//! the marker on the last packet of a frame).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};

use crate::gb28181::Footage;
use crate::gb28181::device::{MediaId, MediaOffer};
use crate::gb28181::mansrtsp::Order;
use crate::id::Ssrc;
use crate::limits;
use crate::media::rtp::HEADER_BYTES;
use crate::net::udp;
use crate::time::TICKS_PER_SECOND;

use super::Quirk;
use super::reel::{Loop, Piece, Reel};
use super::tape::Tape;

/// Bytes of program stream in one packet: with all headers less than 1,500 on Ethernet, PPPoE and VPN included.
const PAYLOAD_BYTES_MAX: usize = 1_388;
/// Bytes before each packet on TCP (RFC 4571, section 2).
const FRAMING_BYTES: usize = 2;
/// What [`Quirk::SameSsrc`] sends.
const SAME_SSRC: Ssrc = Ssrc(0x5a5a_5a5a);
/// Pictures of a view after which [`Quirk::NewSsrc`] starts anew.
const RESTART_AFTER_PICTURES: u64 = 50;
const TIME_MASK: u64 = (1 << 33) - 1;

/// How the packets leave.
#[derive(Debug)]
pub(super) enum Link {
    Udp {
        sender: udp::Sender,
        to: SocketAddr,
    },
    /// We connect when the platform has acknowledged.
    ToConnect(SocketAddr),
    /// The platform connects.
    Listening(TcpListener),
    Tcp {
        stream: TcpStream,
        /// What the socket has not taken.
        backlog: VecDeque<u8>,
    },
    /// Nothing leaves: the platform is to wonder.
    Mute,
}

/// A view that was accepted.
#[derive(Debug)]
pub(super) struct Stream {
    /// Place of its device in the thread.
    pub device: usize,
    pub id: MediaId,
    pub link: Link,
    /// The platform has acknowledged.
    pub started: bool,
    reel: Arc<Reel>,
    quirk: Quirk,
    rtp: Rtp,
    footage: Footage,
    /// Begun when the first frame was sent.
    clock: Option<Clock>,
    /// The same of a record.
    tape: Option<Tape>,
    ended: bool,
    /// Frames are left out up to the next key frame.
    skipping: bool,
}

/// Where a stream is in time.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Instant,
    /// Where in a frame's time this stream sends, so that streams that began together do not send together.
    phase: Duration,
    /// Place of the first picture in the clip.
    first: u64,
    pictures: u64,
    sounds: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rtp {
    ssrc: Ssrc,
    payload_type: u8,
    sequence: u16,
    /// PTS of the first frame.
    base: u64,
}

/// How a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// MediaStatus 121, inside or outside of the dialog.
    Told { inside: bool },
    /// BYE.
    HungUp,
}

/// What sending did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub frames: u64,
    pub packets: u64,
    pub bytes: u64,
    /// Frames that the socket did not take.
    pub dropped: u64,
}

impl Stream {
    pub fn new(
        device: usize,
        offer: &MediaOffer,
        reel: Arc<Reel>,
        quirk: Quirk,
        link: Link,
        seed: u64,
    ) -> Stream {
        let ssrc = match quirk {
            Quirk::WrongSsrc => Ssrc(!offer.ssrc.0),
            Quirk::SameSsrc => SAME_SSRC,
            Quirk::None
            | Quirk::Silent
            | Quirk::NewSsrc
            | Quirk::UdpLost
            | Quirk::TcpOnly
            | Quirk::NoKeyFrame
            | Quirk::StopsEarly
            | Quirk::SilentEnd
            | Quirk::EndOutside
            | Quirk::Reverse
            | Quirk::HangsUp => offer.ssrc,
        };
        Stream {
            device,
            id: offer.id,
            link,
            started: false,
            reel,
            quirk,
            rtp: Rtp {
                ssrc,
                payload_type: offer.payload_type,
                sequence: seed as u16,
                base: (seed >> 16) & TIME_MASK,
            },
            footage: offer.footage,
            clock: None,
            tape: None,
            ended: false,
            skipping: false,
        }
    }

    /// Whether frames can be sent: acknowledged, and there is a way.
    pub fn is_ready(&self) -> bool {
        self.started
            && match self.link {
                Link::Udp { .. } | Link::Tcp { .. } => true,
                Link::ToConnect(_) | Link::Listening(_) | Link::Mute => false,
            }
    }

    /// Whether the first frame is still to be sent.
    pub fn is_new(&self) -> bool {
        self.clock.is_none() && self.tape.is_none()
    }

    /// Begins with a key frame at once. `turn` spreads streams over the clip and over the time of a frame.
    pub fn begin(&mut self, now: Instant, turn: u64) {
        let keys = self.reel.picture.pieces.iter().filter(|p| p.key).count() as u64;
        let gop = self.reel.picture.pieces.len() as u64 / keys.max(1);
        if let Some(span) = self.footage.span() {
            let (milli, whole) = match self.footage {
                Footage::Live | Footage::Playback(_) => (1_000, false),
                Footage::Download { speed, .. } => (i32::from(speed) * 1_000, true),
            };
            let (seconds, step) = (span.seconds(), self.reel.picture.step);
            self.tape = Some(Tape::new(now, seconds, step, gop as i64, milli, whole));
            return;
        }
        self.clock = Some(Clock {
            start: now,
            phase: Duration::from_millis(turn * 7 % 40),
            first: turn % keys.max(1) * gop,
            pictures: 0,
            sounds: 0,
        });
    }

    /// Sends what is due and says when the next frame is. An error means that the connection is gone.
    pub fn send_due(
        &mut self,
        now: Instant,
        buffer: &mut Vec<u8>,
        sent: &mut Sent,
    ) -> io::Result<Option<Instant>> {
        if let Some(tape) = self.tape {
            return self.send_record(now, tape, buffer, sent);
        }
        let Some(mut clock) = self.clock else {
            return Ok(None);
        };
        let reel = Arc::clone(&self.reel);
        loop {
            let picture = clock.due(clock.pictures, &reel.picture);
            let sound = reel.sound.as_ref().map(|s| clock.due(clock.sounds, s));
            let due = sound.map_or(picture, |s| s.min(picture));
            if due > now {
                self.clock = Some(clock);
                return Ok(Some(due));
            }
            if picture <= due {
                let piece = reel.picture.piece(clock.first + clock.pictures);
                let time = clock.pictures as i64 * reel.picture.step;
                clock.pictures += 1;
                if self.quirk == Quirk::NewSsrc && clock.pictures == RESTART_AFTER_PICTURES {
                    self.rtp.restart();
                }
                self.send_picture(piece, time, buffer, sent)?;
            } else if let Some(sounds) = &reel.sound {
                let piece = sounds.piece(clock.sounds);
                let time = clock.sounds as i64 * sounds.step;
                clock.sounds += 1;
                self.send(piece, time, buffer, sent)?;
            }
        }
    }

    /// Sends what is due of a record. Sound goes with the picture that it belongs to.
    fn send_record(
        &mut self,
        now: Instant,
        mut tape: Tape,
        buffer: &mut Vec<u8>,
        sent: &mut Sent,
    ) -> io::Result<Option<Instant>> {
        let reel = Arc::clone(&self.reel);
        while let Some(due) = tape.due() {
            let early = self.quirk == Quirk::StopsEarly && tape.sent_milli() >= 500;
            if due > now || early {
                self.tape = Some(tape);
                return Ok((!early).then_some(due));
            }
            let time = tape.time(tape.next);
            self.send_picture(reel.picture.piece(tape.next as u64), time, buffer, sent)?;
            if let Some(sounds) = reel.sound.as_ref().filter(|_| tape.is_forwards()) {
                let until = time + reel.picture.step;
                let mut n = (time + sounds.step - 1) / sounds.step;
                while n * sounds.step < until {
                    self.send(sounds.piece(n as u64), n * sounds.step, buffer, sent)?;
                    n += 1;
                }
            }
            tape.advance();
        }
        self.tape = Some(tape);
        Ok(None)
    }

    pub fn obey(&mut self, now: Instant, order: Order) {
        if let Some(tape) = &mut self.tape {
            tape.obey(now, order);
            // Who is told to stop has nothing to tell of it.
            self.ended = order == Order::Teardown;
        }
    }

    /// How a record ended, once.
    pub fn take_end(&mut self) -> Option<End> {
        let tape = self.tape.as_ref()?;
        let early = self.quirk == Quirk::StopsEarly && tape.sent_milli() >= 500;
        if !(tape.is_over() || early) || std::mem::replace(&mut self.ended, true) {
            return None;
        }
        Some(match self.quirk {
            Quirk::StopsEarly | Quirk::SilentEnd => End::HungUp,
            Quirk::EndOutside => End::Told { inside: false },
            Quirk::None
            | Quirk::Silent
            | Quirk::WrongSsrc
            | Quirk::SameSsrc
            | Quirk::NewSsrc
            | Quirk::UdpLost
            | Quirk::TcpOnly
            | Quirk::NoKeyFrame
            | Quirk::Reverse
            | Quirk::HangsUp => End::Told { inside: true },
        })
    }

    fn send_picture(
        &mut self,
        piece: &Piece,
        time: i64,
        buffer: &mut Vec<u8>,
        sent: &mut Sent,
    ) -> io::Result<()> {
        if piece.key {
            self.skipping = false;
        }
        if self.skipping {
            sent.dropped += 1;
            return Ok(());
        }
        if piece.key && self.quirk == Quirk::NoKeyFrame {
            return self.send(&piece.without_frame(), time, buffer, sent);
        }
        self.send(piece, time, buffer, sent)
    }

    fn send(
        &mut self,
        piece: &Piece,
        time: i64,
        buffer: &mut Vec<u8>,
        sent: &mut Sent,
    ) -> io::Result<()> {
        let time = self.rtp.base.wrapping_add(time as u64) & TIME_MASK;
        match &mut self.link {
            Link::Udp { sender, to } => {
                let packets = self.rtp.write(piece, time, 0, buffer);
                let segment = HEADER_BYTES + PAYLOAD_BYTES_MAX;
                let batch = limits::GSO_SEGMENTS_MAX.min(65_000 / segment) * segment;
                for run in buffer.chunks(batch) {
                    // A full buffer or a port that nobody has open loses packets; so does the network.
                    if sender.send_segments(*to, run, segment).is_err() {
                        sent.dropped += 1;
                        return Ok(());
                    }
                }
                sent.count(packets, buffer.len());
            }
            Link::Tcp { stream, backlog } => {
                flush(stream, backlog)?;
                if backlog.len() + piece.bytes.len() > limits::SIM_TCP_BACKLOG_BYTES_MAX {
                    self.skipping = true;
                    sent.dropped += 1;
                    return Ok(());
                }
                let packets = self.rtp.write(piece, time, FRAMING_BYTES, buffer);
                let taken = if backlog.is_empty() {
                    write_some(stream, buffer)?
                } else {
                    0
                };
                backlog.extend(&buffer[taken..]);
                sent.count(packets, buffer.len());
            }
            Link::ToConnect(_) | Link::Listening(_) | Link::Mute => {}
        }
        Ok(())
    }

    /// The socket takes more, or brings something: reports from the platform are read and forgotten. An error means that
    /// the connection is over.
    pub fn service(&mut self) -> io::Result<()> {
        let Link::Tcp { stream, backlog } = &mut self.link else {
            return Ok(());
        };
        flush(stream, backlog)?;
        let mut scratch = [0; 2048];
        loop {
            match stream.read(&mut scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Sent {
    fn count(&mut self, packets: u64, bytes: usize) {
        self.frames += 1;
        self.packets += packets;
        self.bytes += bytes as u64;
    }
}

impl Clock {
    /// When frame `n` leaves: the first at once, the others in their phase.
    fn due(&self, n: u64, frames: &Loop) -> Instant {
        if n == 0 {
            return self.start;
        }
        let ticks = n * frames.step as u64;
        self.start + self.phase + Duration::from_micros(ticks * 1_000_000 / TICKS_PER_SECOND as u64)
    }
}

impl Rtp {
    /// As a device that was switched off and on, and goes on sending.
    fn restart(&mut self) {
        self.ssrc = Ssrc(!self.ssrc.0);
        self.sequence = self.sequence.wrapping_add(20_000);
        self.base = self.base.wrapping_add(1 << 31) & TIME_MASK;
    }

    /// Fills `out` with the packets of one piece, each with `framing` bytes of length before it, and says how many.
    fn write(&mut self, piece: &Piece, time: u64, framing: usize, out: &mut Vec<u8>) -> u64 {
        out.clear();
        let mut packets = piece.bytes.chunks(PAYLOAD_BYTES_MAX).peekable();
        let mut count = 0;
        while let Some(payload) = packets.next() {
            if framing == FRAMING_BYTES {
                let length = (HEADER_BYTES + payload.len()) as u16;
                out.extend_from_slice(&length.to_be_bytes());
            }
            let marker = u8::from(packets.peek().is_none()) << 7;
            out.extend_from_slice(&[0x80, marker | self.payload_type]);
            out.extend_from_slice(&self.sequence.to_be_bytes());
            out.extend_from_slice(&(time as u32).to_be_bytes());
            out.extend_from_slice(&self.ssrc.0.to_be_bytes());
            out.extend_from_slice(payload);
            self.sequence = self.sequence.wrapping_add(1);
            count += 1;
        }
        let head = framing + HEADER_BYTES;
        let place = |at: usize| {
            let packet = at / PAYLOAD_BYTES_MAX;
            packet * (head + PAYLOAD_BYTES_MAX) + head + at % PAYLOAD_BYTES_MAX
        };
        piece.set_clocks(time, out, place);
        count
    }
}

/// Writes as much as the socket takes now.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => written += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // A connection that is still being made takes nothing yet.
            Err(e) if e.kind() == io::ErrorKind::NotConnected => break,
            Err(e) => return Err(e),
        }
    }
    Ok(written)
}

fn flush(stream: &mut TcpStream, backlog: &mut VecDeque<u8>) -> io::Result<()> {
    while !backlog.is_empty() {
        let (front, _) = backlog.as_slices();
        let written = write_some(stream, front)?;
        if written == 0 {
            break;
        }
        backlog.drain(..written);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::ingest::{self, Fact, Ingest, Output};
    use crate::media::rtp::Packet;
    use crate::sim::reel::{Picture, Sound};

    fn rtp() -> Rtp {
        Rtp {
            ssrc: Ssrc(5),
            payload_type: 96,
            sequence: 65_530,
            // The 33 bits run over within the first second.
            base: TIME_MASK - 45_000,
        }
    }

    #[test]
    fn packets_are_whole_numbered_and_marked_at_the_end() {
        let reel = Reel::new(Picture::Yard, Sound::None);
        let piece = reel.picture.piece(0);
        let (mut plain, mut framed) = (Vec::new(), Vec::new());
        let count = rtp().write(piece, 9, 0, &mut plain);
        assert_eq!(count, piece.bytes.len().div_ceil(PAYLOAD_BYTES_MAX) as u64);
        assert_eq!(rtp().write(piece, 9, FRAMING_BYTES, &mut framed), count);
        let mut payload = Vec::new();
        let mut rest = &framed[..];
        for (n, packet) in plain.chunks(HEADER_BYTES + PAYLOAD_BYTES_MAX).enumerate() {
            let parsed = Packet::parse(packet).expect("RTP");
            assert_eq!(parsed.sequence(), 65_530u16.wrapping_add(n as u16));
            assert_eq!((parsed.timestamp(), parsed.ssrc()), (9, Ssrc(5)));
            assert_eq!(parsed.marker(), n as u64 == count - 1);
            payload.extend_from_slice(parsed.payload());
            let (length, after) = rest.split_at(2);
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            assert_eq!(&after[..length], packet);
            rest = &after[length..];
        }
        let mut want = piece.bytes.clone();
        piece.set_clocks(9, &mut want, |at| at);
        assert_eq!(payload, want);
    }

    /// Twelve seconds of picture and sound through the ingest of the node: nothing is lost or damaged, and time goes on
    /// where the clip begins again and where the 33 bits run over.
    #[test]
    fn the_node_takes_what_is_sent() {
        for (picture, sound) in [(Picture::Yard, Sound::G711a), (Picture::Hall, Sound::Aac)] {
            let reel = Reel::new(picture, sound);
            let mut rtp = rtp();
            let now = Instant::now();
            let mut ingest = Ingest::new(ingest::Config {
                ssrc: Some(Ssrc(5)),
                any_ssrc: false,
                reliable: true,
                ..Default::default()
            });
            let (mut frames, mut facts) = (Vec::new(), Vec::new());
            let mut tracks = Vec::new();
            let mut sink = |output: Output| match output {
                Output::Frame(frame) => frames.push(frame),
                Output::Fact(fact) => facts.push(fact),
                Output::Track(track) => tracks.push(track),
            };
            let mut out = Vec::new();
            for n in 0..300u64 {
                let time = rtp.base.wrapping_add(n * 3_600) & TIME_MASK;
                rtp.write(reel.picture.piece(n), time, 0, &mut out);
                for packet in out.chunks(HEADER_BYTES + PAYLOAD_BYTES_MAX) {
                    ingest.push(now, packet, &mut sink);
                }
                // As many frames of sound as fit, one after the other.
                let sounds = reel.sound.as_ref().expect("both have sound");
                if n * 3_600 % sounds.step as u64 == 0 {
                    let place = n * 3_600 / sounds.step as u64;
                    let time = rtp.base.wrapping_add(place * sounds.step as u64) & TIME_MASK;
                    rtp.write(sounds.piece(place), time, 0, &mut out);
                    ingest.push(now, &out, &mut sink);
                }
            }
            ingest.finish(&mut sink);
            let pictures: Vec<_> = frames
                .iter()
                .filter(|f| f.track == crate::media::frame::TrackId::Video)
                .collect();
            assert_eq!(pictures.len(), 300);
            assert!(frames.iter().all(|f| !f.damaged));
            let steps = pictures.windows(2).map(|w| w[1].pts.0 - w[0].pts.0);
            assert!(steps.into_iter().all(|s| s == 3_600));
            assert!(
                pictures
                    .iter()
                    .map(|f| f.key)
                    .eq((0..300).map(|n| n % 25 == 0))
            );
            assert!(tracks.iter().any(|t| t.codec == picture.codec()));
            assert_eq!(tracks.len(), 2, "picture and sound: {tracks:?}");
            assert!(
                facts
                    .iter()
                    .all(|f| matches!(f, Fact::FirstRtp { .. } | Fact::FirstPs))
            );
        }
    }
}
