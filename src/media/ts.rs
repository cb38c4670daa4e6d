//! Transport stream demultiplexer: packets of 188 bytes in, PES payloads out, into the sink of [`super::ps::demux`].
//!
//! ISO/IEC 13818-1 (H.222.0), 2.4.3.2 (packet), 2.4.3.4 (adaptation field), 2.4.4.3 (program association), 2.4.4.8 (program
//! map), 2.4.3.6 (PES).
//!
//! One picture and one sound of the first program come out, under stream ids 0xE0 and 0xC0; the program map is given on as
//! the map of a program stream would be. Payload is given on as slices of the input: copied are packets and headers that
//! were cut, and the sections.
//!
//! Input may be cut anywhere. A packet begins with 0x47, and so does the next; after damage such a place is searched.
//! Packets missing by their counter are told to the sink as a hole. Field deviations handled here: no tables at all (a PES
//! that begins is followed by its stream id); a section's checksum is not looked at; a PES longer than its length field.
//!
//! Not done: scrambling, several programs, packets of 192 or 204 bytes, descriptors but that of registration.
//!
//! Bounds: one packet and, per stream, one PES header are held; streams [`crate::limits::TS_STREAMS_MAX`]; sections
//! [`crate::limits::TS_SECTION_BYTES_MAX`].

use smallvec::SmallVec;

use super::ps::demux::{Error, PesHead, Sink, read_pes_head};
use super::ps::{MapEntry, StreamMap, is_audio, is_audio_type, is_video, is_video_type};
use crate::limits;

/// Bytes of a packet.
pub const PACKET_BYTES: usize = 188;
/// First byte of a packet.
pub const SYNC: u8 = 0x47;

const VIDEO_ID: u8 = 0xe0;
const AUDIO_ID: u8 = 0xc0;
/// Registration descriptor (13818-1, 2.6.8).
const REGISTRATION: u8 = 0x05;

/// A transport stream on its way.
#[derive(Debug)]
pub struct Demux {
    /// A packet that was cut.
    stash: [u8; PACKET_BYTES],
    stash_len: usize,
    /// The last packet was followed by another, as far as was to be seen.
    synced: bool,
    packets: u64,
    association: Section,
    map: Section,
    map_pid: Option<u16>,
    streams: SmallVec<[Stream; 4]>,
}

/// A table that comes in, and as it came last.
#[derive(Debug, Default)]
struct Section {
    bytes: Vec<u8>,
    open: bool,
    counter: Option<u8>,
}

/// An elementary stream.
#[derive(Debug)]
struct Stream {
    pid: u16,
    /// The id under which it is given on; `None`: not followed.
    id: Option<u8>,
    counter: Option<u8>,
    state: State,
    /// A PES header that was cut.
    head: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The start of a PES is waited for.
    Idle,
    Head,
    /// In a PES; `left`: up to where its length says, `None` = to the next.
    Payload {
        left: Option<u32>,
    },
    /// In a PES whose length has passed: what still comes is given on, but its end was told.
    Beyond,
}

/// What a packet says before its payload.
struct Header<'a> {
    pid: u16,
    starts: bool,
    counter: u8,
    /// The sender says that counters begin anew.
    broken: bool,
    payload: &'a [u8],
}

impl Default for Demux {
    fn default() -> Self {
        Demux::new()
    }
}

impl Demux {
    pub fn new() -> Demux {
        Demux {
            stash: [0; PACKET_BYTES],
            stash_len: 0,
            synced: false,
            packets: 0,
            association: Section::default(),
            map: Section::default(),
            map_pid: None,
            streams: SmallVec::new(),
        }
    }

    /// Packets that were read.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes are missing before the next push. A PES that is open goes on after the hole; counters begin anew.
    pub fn lose(&mut self) {
        self.stash_len = 0;
        self.association.lose();
        self.map.lose();
        for stream in &mut self.streams {
            stream.counter = None;
            if stream.state == State::Head {
                stream.head.clear();
                stream.state = State::Idle;
            }
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, mut data: &[u8], sink: &mut impl Sink) {
        if self.stash_len > 0 {
            let take = data.len().min(PACKET_BYTES - self.stash_len);
            self.stash[self.stash_len..self.stash_len + take].copy_from_slice(&data[..take]);
            self.stash_len += take;
            data = &data[take..];
            if self.stash_len < PACKET_BYTES {
                return;
            }
            self.stash_len = 0;
            let packet = self.stash;
            self.packet(&packet, sink);
        }
        while let Some(first) = data.first() {
            if *first != SYNC || !self.fits(data) {
                data = self.search(data, sink);
                continue;
            }
            let Some((packet, rest)) = data.split_at_checked(PACKET_BYTES) else {
                self.stash[..data.len()].copy_from_slice(data);
                self.stash_len = data.len();
                return;
            };
            self.synced = true;
            self.packet(packet, sink);
            data = rest;
        }
    }

    /// Whether the packet at the start of `data` is followed by another, or by nothing. In step one wrong byte behind a
    /// packet is that byte's fault.
    fn fits(&self, data: &[u8]) -> bool {
        self.synced || data.get(PACKET_BYTES).is_none_or(|next| *next == SYNC)
    }

    /// Steps to the next place where a packet may begin.
    fn search<'a>(&mut self, data: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        if std::mem::take(&mut self.synced) {
            sink.error(Error::Sync);
        }
        let rest = &data[1..];
        let at = memchr::memchr(SYNC, rest).unwrap_or(rest.len());
        &rest[at..]
    }

    fn packet(&mut self, packet: &[u8], sink: &mut impl Sink) {
        let Some(header) = Header::parse(packet) else {
            return;
        };
        self.packets += 1;
        if header.pid == 0 {
            if let Some(section) = self.association.push(&header)
                && let Some(pid) = first_program(section)
                && self.map_pid != Some(pid)
            {
                self.map_pid = Some(pid);
                self.map = Section::default();
            }
        } else if self.map_pid == Some(header.pid) {
            if self.map.push(&header).is_some() {
                let section = std::mem::take(&mut self.map.bytes);
                self.take_map(&section, sink);
                self.map.bytes = section;
            }
        } else if let Some(at) = self.stream(&header) {
            self.streams[at].push(&header, sink);
        }
    }

    /// The place of a packet's stream. Where no map tells, a PES that begins makes one.
    #[inline]
    fn stream(&mut self, header: &Header<'_>) -> Option<usize> {
        let known = self.streams.iter().position(|s| s.pid == header.pid);
        if known.is_some() || self.map_pid.is_some() {
            return known;
        }
        self.sniff(header)
    }

    #[cold]
    fn sniff(&mut self, header: &Header<'_>) -> Option<usize> {
        let id = match header.payload {
            [0, 0, 1, id, ..] if header.starts && is_video(*id) => VIDEO_ID,
            [0, 0, 1, id, ..] if header.starts && is_audio(*id) => AUDIO_ID,
            _ => return None,
        };
        let taken = self.streams.iter().any(|s| s.id == Some(id));
        if taken || self.streams.len() == limits::TS_STREAMS_MAX {
            return None;
        }
        self.streams.push(Stream::new(header.pid, Some(id)));
        Some(self.streams.len() - 1)
    }

    /// Takes a program map: streams that stay keep what they have.
    fn take_map(&mut self, section: &[u8], sink: &mut impl Sink) {
        let mut map = StreamMap::default();
        let mut pids: SmallVec<[(u16, Option<u8>); 4]> = SmallVec::new();
        for (stream_type, pid) in map_entries(section) {
            let wanted = if is_video_type(stream_type) {
                Some(VIDEO_ID)
            } else if is_audio_type(stream_type) {
                Some(AUDIO_ID)
            } else {
                None
            };
            // The first of each kind is followed.
            let id = wanted.filter(|id| map.find(|of| of == *id).is_none());
            if let Some(stream_id) = id {
                map.entries.push(MapEntry {
                    stream_type,
                    stream_id,
                });
            }
            if pids.len() < limits::TS_STREAMS_MAX {
                pids.push((pid, id));
            }
        }
        let same = self.streams.len() == pids.len()
            && self
                .streams
                .iter()
                .zip(&pids)
                .all(|(s, p)| (s.pid, s.id) == *p);
        if !same {
            let mut old = std::mem::take(&mut self.streams);
            for (pid, id) in pids {
                let kept = old.iter().position(|s| s.pid == pid && s.id == id);
                self.streams.push(match kept {
                    Some(at) => old.remove(at),
                    None => Stream::new(pid, id),
                });
            }
        }
        sink.map(&map);
    }
}

impl<'a> Header<'a> {
    /// `None`: damaged by its own word, scrambled, without payload, or not to be used.
    #[inline]
    fn parse(packet: &'a [u8]) -> Option<Header<'a>> {
        let [_, high, low, flags, body @ ..] = packet else {
            return None;
        };
        let pid = u16::from(high & 0x1f) << 8 | u16::from(*low);
        if high & 0x80 != 0 || flags & 0xc0 != 0 || flags & 0x10 == 0 || pid == 0x1fff {
            return None;
        }
        let (payload, broken) = if flags & 0x20 != 0 {
            let (len, rest) = body.split_first()?;
            let broken = *len > 0 && rest.first().is_some_and(|f| f & 0x80 != 0);
            (rest.get(usize::from(*len)..)?, broken)
        } else {
            (body, false)
        };
        Some(Header {
            pid,
            starts: high & 0x40 != 0,
            counter: flags & 0x0f,
            broken,
            payload,
        })
    }
}

/// What a counter says of a packet.
enum Follows {
    Yes,
    /// It was sent twice, as 2.4.3.3 allows.
    Again,
    /// Others are missing before it.
    Hole,
}

fn follows(last: &mut Option<u8>, header: &Header<'_>) -> Follows {
    match last.replace(header.counter) {
        Some(last) if last == header.counter && !header.broken => Follows::Again,
        Some(last) if (last + 1) & 0x0f != header.counter && !header.broken => Follows::Hole,
        Some(_) | None => Follows::Yes,
    }
}

impl Section {
    fn lose(&mut self) {
        self.open = false;
        self.counter = None;
    }

    /// Takes a packet; gives the section when it is whole.
    fn push(&mut self, header: &Header<'_>) -> Option<&[u8]> {
        match follows(&mut self.counter, header) {
            Follows::Yes => {}
            Follows::Again => return None,
            Follows::Hole => self.open = false,
        }
        let mut payload = header.payload;
        if header.starts {
            let (pointer, rest) = payload.split_first()?;
            payload = rest.get(usize::from(*pointer)..)?;
            self.bytes.clear();
            self.open = true;
        }
        if !self.open {
            return None;
        }
        let room = limits::TS_SECTION_BYTES_MAX - self.bytes.len();
        self.bytes
            .extend_from_slice(&payload[..payload.len().min(room)]);
        let length = self.bytes.get(1..3)?;
        let length = 3 + usize::from(u16::from_be_bytes([length[0] & 0x0f, length[1]]));
        if length > limits::TS_SECTION_BYTES_MAX {
            self.open = false;
            return None;
        }
        if self.bytes.len() < length {
            return None;
        }
        self.open = false;
        self.bytes.truncate(length);
        Some(&self.bytes)
    }
}

/// The map's PID of the first program in a program association section.
fn first_program(section: &[u8]) -> Option<u16> {
    if *section.first()? != 0 {
        return None;
    }
    let programs = section.get(8..section.len().checked_sub(4)?)?;
    programs.chunks_exact(4).find_map(|p| {
        let number = u16::from_be_bytes([p[0], p[1]]);
        (number != 0).then(|| u16::from_be_bytes([p[2] & 0x1f, p[3]]))
    })
}

/// Stream type and PID of each stream in a program map section. A private type is given the one that its registration
/// names.
fn map_entries(section: &[u8]) -> impl Iterator<Item = (u8, u16)> {
    let info = match section {
        [2, _, _, _, _, _, _, _, _, _, high, low, ..] => {
            Some(usize::from(u16::from_be_bytes([high & 0x0f, *low])))
        }
        _ => None,
    };
    let end = section.len().saturating_sub(4);
    let mut rest = info
        .and_then(|info| section.get(12 + info..end))
        .unwrap_or_default();
    std::iter::from_fn(move || {
        let [stream_type, pid_high, pid_low, high, low, after @ ..] = rest else {
            return None;
        };
        let info = usize::from(u16::from_be_bytes([high & 0x0f, *low]));
        let (descriptors, after) = after.split_at_checked(info).unwrap_or((after, &[]));
        rest = after;
        let stream_type = match stream_type {
            0x05 | 0x06 => registered(descriptors).unwrap_or(*stream_type),
            of => *of,
        };
        Some((stream_type, u16::from_be_bytes([pid_high & 0x1f, *pid_low])))
    })
}

fn registered(mut descriptors: &[u8]) -> Option<u8> {
    while let [tag, len, rest @ ..] = descriptors {
        let (body, after) = rest.split_at_checked(usize::from(*len))?;
        if *tag == REGISTRATION {
            return match body.first_chunk::<4>()? {
                b"HEVC" => Some(0x24),
                b"AVC1" | b"H264" => Some(0x1b),
                b"AC-3" => Some(0x81),
                _ => None,
            };
        }
        descriptors = after;
    }
    None
}

impl Stream {
    fn new(pid: u16, id: Option<u8>) -> Stream {
        Stream {
            pid,
            id,
            counter: None,
            state: State::Idle,
            head: Vec::new(),
        }
    }

    fn push(&mut self, header: &Header<'_>, sink: &mut impl Sink) {
        let Some(id) = self.id else {
            return;
        };
        match follows(&mut self.counter, header) {
            Follows::Yes => {}
            Follows::Again => return,
            Follows::Hole => {
                sink.error(Error::Continuity);
                if self.state == State::Head {
                    self.state = State::Idle;
                }
                sink.hole(id);
            }
        }
        if header.starts {
            if matches!(self.state, State::Payload { .. }) {
                sink.pes_end(id);
            }
            self.head.clear();
            self.state = State::Head;
        }
        match self.state {
            State::Idle => {}
            State::Head => self.begin(id, header.payload, sink),
            State::Payload { left } => self.payload(id, left, header.payload, sink),
            State::Beyond => give(id, header.payload, sink),
        }
    }

    fn begin(&mut self, id: u8, payload: &[u8], sink: &mut impl Sink) {
        // Usually the header lies whole in one packet; a cut one is put together first.
        let held = self.head.len();
        let head = if held == 0 {
            payload
        } else {
            let room = limits::TS_PES_HEAD_BYTES_MAX - held;
            self.head
                .extend_from_slice(&payload[..payload.len().min(room)]);
            &self.head
        };
        let known = head.get(..4).is_none_or(|code| code[..3] == [0, 0, 1]);
        let read = match head.get(4..6) {
            Some(l) if known => read_pes_head(head, usize::from(u16::from_be_bytes([l[0], l[1]]))),
            None if known => PesHead::Need(6),
            Some(_) | None => PesHead::Bad,
        };
        match read {
            PesHead::Need(_) => {
                if held == 0 {
                    self.head.extend_from_slice(payload);
                }
            }
            PesHead::Bad => {
                sink.error(Error::PesHeader);
                self.state = State::Idle;
            }
            PesHead::Whole { mut pes, bytes } => {
                pes.stream_id = id;
                let left = pes.payload_bytes;
                sink.pes(pes);
                self.state = State::Payload { left };
                // The stash begins with this packet's or an earlier one's bytes: what is behind the header is this one's.
                let used = bytes.saturating_sub(held);
                self.payload(id, left, payload.get(used..).unwrap_or_default(), sink);
            }
        }
    }

    fn payload(&mut self, id: u8, left: Option<u32>, bytes: &[u8], sink: &mut impl Sink) {
        let Some(left) = left else {
            give(id, bytes, sink);
            return;
        };
        let inside = bytes.len().min(left as usize);
        give(id, &bytes[..inside], sink);
        let left = left - inside as u32;
        self.state = State::Payload { left: Some(left) };
        if left == 0 {
            sink.pes_end(id);
            self.state = State::Beyond;
            if is_video(id) && inside < bytes.len() {
                sink.error(Error::Overlong);
            }
            // Behind the end of a sound's PES nothing is its own.
            if is_video(id) {
                give(id, &bytes[inside..], sink);
            } else {
                self.state = State::Idle;
            }
        }
    }
}

fn give(id: u8, bytes: &[u8], sink: &mut impl Sink) {
    if !bytes.is_empty() {
        sink.payload(id, bytes);
    }
}

#[cfg(test)]
mod tests;
