//! Program stream demultiplexer: bytes of a PS in, PES payloads out.
//!
//! ISO/IEC 13818-1 (H.222.0), 2.5.3 (pack and system header), 2.5.4 (program stream map), 2.4.3.6 (PES).
//!
//! Input may be cut anywhere. Lengths are followed; start codes are searched only to resync after damage and in a PES
//! without length. Payload is given on as slices of the input: nothing is copied here but a header that was cut.
//! Not done: scrambling, trick mode, MPEG-1 PES headers, program stream directory.
//!
//! Field deviations handled here, each by policy: zero-length picture PES (ends at the next start code of the system
//! layer); picture PES whose length field is too small (over 65,535 bytes: what follows and is no start code belongs to
//! it); a pack start code without its header; private data (0xBD) that contains start codes (stepped over by its
//! length); no map, wrong lengths in the map; zeros between units.
//!
//! Bounds: header stash [`crate::limits::PS_STASH_BYTES_MAX`]; streams per map [`crate::limits::PSM_STREAMS_MAX`];
//! system header [`crate::limits::PS_SYSTEM_HEADER_BYTES_MAX`].

use super::{
    END, PACK_HEADER, STREAM_MAP, SYSTEM_HEADER, StreamMap, is_audio, is_video, read_time,
};
use crate::limits;
use crate::media::codec::annexb::find_start_code;

/// Fixed part of a PES header, up to and with `PES_header_data_length`.
const PES_FIXED_BYTES: usize = 9;
const PACK_HEADER_BYTES: usize = 14;
/// Longest program stream map by the standard, behind its length field.
const STREAM_MAP_BYTES_MAX: usize = 1018;

/// The start of a PES packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pes {
    pub stream_id: u8,
    /// 33 bits, ticks of 1/90,000 s.
    pub pts: Option<u64>,
    pub dts: Option<u64>,
    /// Payload bytes; `None`: up to the next start code.
    pub payload_bytes: Option<u32>,
}

/// What is wrong with a program or transport stream. The demultiplexer goes on after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Neither a start code nor the rest of a picture stands where a unit must begin.
    NoStartCode,
    /// A pack start code without a pack header behind it.
    PackHeader,
    /// A system header or map longer than it can be.
    Length,
    /// The fixed bits of a PES header are wrong, or it is longer than its packet.
    PesHeader,
    /// A picture went on behind the end of its PES.
    Overlong,
    /// No sync byte stands where a transport stream packet must begin.
    Sync,
    /// Transport stream packets are missing by their counter.
    Continuity,
}

impl Error {
    pub const ALL: [Error; 7] = [
        Error::NoStartCode,
        Error::PackHeader,
        Error::Length,
        Error::PesHeader,
        Error::Overlong,
        Error::Sync,
        Error::Continuity,
    ];

    /// Short stable name, for counters.
    pub fn name(self) -> &'static str {
        match self {
            Error::NoStartCode => "no start code",
            Error::PackHeader => "pack header",
            Error::Length => "length",
            Error::PesHeader => "PES header",
            Error::Overlong => "overlong",
            Error::Sync => "sync",
            Error::Continuity => "continuity",
        }
    }
}

/// Takes what the demultiplexer finds.
pub trait Sink {
    fn map(&mut self, map: &StreamMap);
    fn pes(&mut self, pes: Pes);
    /// A piece of the payload of the last [`Pes`]; never empty.
    fn payload(&mut self, stream_id: u8, bytes: &[u8]);
    /// The last [`Pes`] is whole. Not called for one that is cut off by loss or damage.
    fn pes_end(&mut self, stream_id: u8);
    /// Bytes of this stream are missing here; what comes belongs to the PES that is open, if any.
    fn hole(&mut self, stream_id: u8);
    fn error(&mut self, error: Error);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A unit must begin here. `after`: the picture stream that has just ended.
    Start { after: Option<u8> },
    /// In a PES of known length.
    Payload { stream_id: u8, left: u32 },
    /// In a PES that ends at the next start code.
    Open { stream_id: u8 },
    /// In a unit that is not wanted.
    Skip { left: u32 },
    /// Lost; the next start code is searched.
    Search,
}

enum Step {
    /// So many bytes of the unit are needed.
    Need(usize),
    /// A header of so many bytes is done with.
    Header { bytes: usize, next: State },
    /// No start code of the system layer stands here.
    NoStartCode,
    /// A start code stands here but what is behind it cannot be.
    Bad { bytes: usize, error: Error },
}

/// A program stream on its way.
#[derive(Debug)]
pub struct Demux {
    state: State,
    /// The start of a unit that was cut.
    stash: Vec<u8>,
    units: u64,
}

impl Default for Demux {
    fn default() -> Self {
        Demux::new()
    }
}

impl Demux {
    pub fn new() -> Demux {
        Demux {
            state: State::Search,
            stash: Vec::new(),
            units: 0,
        }
    }

    /// Units (packs, headers, maps, PES) whose headers were read.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Whether what was pushed may end a frame: a unit must begin next, or the PES has no known end.
    pub fn at_end_of_unit(&self) -> bool {
        match self.state {
            State::Start { .. } => self.stash.is_empty(),
            State::Open { .. } => true,
            State::Payload { .. } | State::Skip { .. } | State::Search => false,
        }
    }

    /// Whether the rest of a PES of known length has not come yet.
    pub fn is_inside_pes(&self) -> bool {
        matches!(self.state, State::Payload { .. })
    }

    /// Bytes are missing before the next push. `same_picture`: what comes belongs to the same picture as what came last,
    /// so that the payload goes on after a hole; otherwise the next start code is waited for.
    pub fn lose(&mut self, same_picture: bool) {
        self.stash.clear();
        self.state = match self.state {
            State::Payload { stream_id, .. } | State::Open { stream_id }
                if same_picture && is_video(stream_id) =>
            {
                State::Open { stream_id }
            }
            State::Payload { .. }
            | State::Open { .. }
            | State::Start { .. }
            | State::Skip { .. }
            | State::Search => State::Search,
        };
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, mut data: &[u8], sink: &mut impl Sink) {
        while !data.is_empty() {
            let used = match self.state {
                State::Payload { stream_id, left } => {
                    let take = data.len().min(left as usize);
                    sink.payload(stream_id, &data[..take]);
                    self.payload_taken(stream_id, left - take as u32, sink);
                    take
                }
                State::Skip { left } => {
                    let take = data.len().min(left as usize);
                    self.state = if take == left as usize {
                        State::Start { after: None }
                    } else {
                        State::Skip {
                            left: left - take as u32,
                        }
                    };
                    take
                }
                State::Start { after } => self.start(after, data, sink),
                State::Open { stream_id } => self.scan(data, Some(stream_id), sink),
                State::Search => self.scan(data, None, sink),
            };
            data = &data[used..];
        }
    }

    fn payload_taken(&mut self, stream_id: u8, left: u32, sink: &mut impl Sink) {
        self.state = if left > 0 {
            State::Payload { stream_id, left }
        } else {
            sink.pes_end(stream_id);
            State::Start {
                after: is_video(stream_id).then_some(stream_id),
            }
        };
    }

    /// Reads a unit's header from the stash and `data`; returns how much of `data` is used.
    fn start(&mut self, after: Option<u8>, data: &[u8], sink: &mut impl Sink) -> usize {
        if self.stash.is_empty() {
            return match read_unit(data, sink) {
                Step::Need(_) => {
                    self.stash.extend_from_slice(data);
                    data.len()
                }
                step => self.apply(step, after, sink),
            };
        }
        let mut used = 0;
        loop {
            match read_unit(&self.stash, sink) {
                Step::Need(bytes) => {
                    let take = (bytes - self.stash.len()).min(data.len() - used);
                    if take == 0 {
                        return used;
                    }
                    self.stash.extend_from_slice(&data[used..used + take]);
                    used += take;
                }
                step => {
                    let done = self.apply(step, after, sink);
                    self.stash.drain(..done);
                    self.push_rest_of_stash(sink);
                    return used;
                }
            }
        }
    }

    /// What the stash holds behind a header that is done with, or behind junk, is input like any other: it may hold whole
    /// units, or payload.
    fn push_rest_of_stash(&mut self, sink: &mut impl Sink) {
        if !self.stash.is_empty() {
            let rest = std::mem::take(&mut self.stash);
            self.push(&rest, sink);
        }
    }

    /// Goes to the state that a step leads to; returns how many bytes of the unit are done with.
    fn apply(&mut self, step: Step, after: Option<u8>, sink: &mut impl Sink) -> usize {
        match step {
            Step::Need(_) => 0,
            Step::Header { bytes, next } => {
                self.units += 1;
                self.state = match next {
                    // Nothing in it: it ends where it starts.
                    State::Payload { stream_id, left: 0 } => {
                        sink.pes_end(stream_id);
                        State::Start {
                            after: is_video(stream_id).then_some(stream_id),
                        }
                    }
                    State::Skip { left: 0 } => State::Start { after: None },
                    next => next,
                };
                bytes
            }
            Step::NoStartCode => {
                self.state = match after {
                    Some(stream_id) => {
                        sink.error(Error::Overlong);
                        State::Open { stream_id }
                    }
                    None => {
                        sink.error(Error::NoStartCode);
                        State::Search
                    }
                };
                0
            }
            Step::Bad { bytes, error } => {
                sink.error(error);
                self.state = State::Search;
                bytes
            }
        }
    }

    /// Looks for the next start code of the system layer. What is before it is payload of `open`, if any. A code that may
    /// go on behind the end of `data` is kept in the stash. Returns how much of `data` is used.
    fn scan(&mut self, data: &[u8], open: Option<u8>, sink: &mut impl Sink) -> usize {
        let give = |bytes: &[u8], sink: &mut _| {
            if let (Some(stream_id), false) = (open, bytes.is_empty()) {
                Sink::payload(sink, stream_id, bytes);
            }
        };
        if self.stash.is_empty() {
            let (at, found) = find_system_code(data);
            give(&data[..at], sink);
            if found {
                self.found_code(open, sink);
                return at;
            }
            self.stash.extend_from_slice(&data[at..]);
            return data.len();
        }
        // A code may begin in the stash and end in the first three bytes of the data.
        let old = self.stash.len();
        let take = data.len().min(3);
        self.stash.extend_from_slice(&data[..take]);
        let (at, found) = find_system_code(&self.stash);
        give(&self.stash[..at.min(old)], sink);
        if at >= old {
            // Nothing of it began in the stash; the data is looked at on its own.
            self.stash.clear();
            give(&data[..at - old], sink);
            if found {
                self.found_code(open, sink);
            }
            return at - old;
        }
        self.stash.drain(..at);
        if found {
            self.found_code(open, sink);
            self.push_rest_of_stash(sink);
        }
        take
    }

    fn found_code(&mut self, open: Option<u8>, sink: &mut impl Sink) {
        if let Some(stream_id) = open {
            sink.pes_end(stream_id);
        }
        self.state = State::Start { after: None };
    }
}

/// Where the first start code of the system layer begins (true), or from where on one could still begin (false).
fn find_system_code(b: &[u8]) -> (usize, bool) {
    let mut from = 0;
    while let Some(at) = find_start_code(&b[from..]) {
        let at = from + at;
        match b.get(at + 3) {
            Some(code) if *code >= END => return (at, true),
            Some(_) => from = at + 3,
            None => return (at, false),
        }
    }
    let zeros = b[from..].iter().rev().take(2).take_while(|b| **b == 0);
    (b.len() - zeros.count(), false)
}

fn read_unit(b: &[u8], sink: &mut impl Sink) -> Step {
    let Some(code) = b.first_chunk::<4>() else {
        let so_far = [0, 0, 1].starts_with(&b[..b.len().min(3)]);
        return if so_far {
            Step::Need(4)
        } else {
            Step::NoStartCode
        };
    };
    let stream_id = code[3];
    if code[..3] != [0, 0, 1] || stream_id < END {
        return Step::NoStartCode;
    }
    match stream_id {
        END => Step::Header {
            bytes: 4,
            next: State::Start { after: None },
        },
        PACK_HEADER => read_pack_header(b),
        _ => {
            let Some(length) = b.get(4..6) else {
                return Step::Need(6);
            };
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            match stream_id {
                STREAM_MAP => read_map(b, length, sink),
                SYSTEM_HEADER if length > limits::PS_SYSTEM_HEADER_BYTES_MAX => Step::Bad {
                    bytes: 4,
                    error: Error::Length,
                },
                id if is_video(id) || is_audio(id) => read_pes(b, length, sink),
                _ => Step::Header {
                    bytes: 6,
                    next: State::Skip {
                        left: length as u32,
                    },
                },
            }
        }
    }
}

fn read_pack_header(b: &[u8]) -> Step {
    // Some devices write the start code alone; the next unit stands where the clock should.
    let Some(clock) = b.get(4..7) else {
        return Step::Need(7);
    };
    if clock == [0, 0, 1] {
        return Step::Header {
            bytes: 4,
            next: State::Start { after: None },
        };
    }
    let bytes = match clock[0] >> 4 {
        // MPEG-2: 01, then the clock.
        0b0100..=0b0111 => match b.get(PACK_HEADER_BYTES - 1) {
            Some(stuffing) => PACK_HEADER_BYTES + usize::from(stuffing & 7),
            None => return Step::Need(PACK_HEADER_BYTES),
        },
        // MPEG-1: 0010, then the clock.
        0b0010 => 12,
        _ => {
            return Step::Bad {
                bytes: 4,
                error: Error::PackHeader,
            };
        }
    };
    if b.len() < bytes {
        return Step::Need(bytes);
    }
    Step::Header {
        bytes,
        next: State::Start { after: None },
    }
}

fn read_map(b: &[u8], length: usize, sink: &mut impl Sink) -> Step {
    if length > STREAM_MAP_BYTES_MAX {
        return Step::Bad {
            bytes: 4,
            error: Error::Length,
        };
    }
    let Some(unit) = b.get(..6 + length) else {
        return Step::Need(6 + length);
    };
    sink.map(&StreamMap::parse(unit));
    Step::Header {
        bytes: 6 + length,
        next: State::Start { after: None },
    }
}

fn read_pes(b: &[u8], length: usize, sink: &mut impl Sink) -> Step {
    match read_pes_head(b, length) {
        PesHead::Need(bytes) => Step::Need(bytes),
        PesHead::Bad => Step::Bad {
            bytes: 4,
            error: Error::PesHeader,
        },
        PesHead::Whole { pes, bytes } => {
            let stream_id = pes.stream_id;
            let next = match pes.payload_bytes {
                Some(left) => State::Payload { stream_id, left },
                None => State::Open { stream_id },
            };
            sink.pes(pes);
            Step::Header { bytes, next }
        }
    }
}

/// What the start of a PES packet says.
pub(crate) enum PesHead {
    /// So many bytes of it are needed.
    Need(usize),
    /// Its fixed bits are wrong, or it is longer than its packet.
    Bad,
    Whole {
        pes: Pes,
        bytes: usize,
    },
}

/// Reads the header of a PES packet from its start code on (13818-1, 2.4.3.6). `length`: its length field, at least four
/// bytes of `b` were seen to be a start code.
pub(crate) fn read_pes_head(b: &[u8], length: usize) -> PesHead {
    let Some(fixed) = b.first_chunk::<PES_FIXED_BYTES>() else {
        return PesHead::Need(PES_FIXED_BYTES);
    };
    let fields = usize::from(fixed[8]);
    let header = PES_FIXED_BYTES - 6 + fields;
    if fixed[6] >> 6 != 0b10 || (length != 0 && header > length) {
        return PesHead::Bad;
    }
    let bytes = PES_FIXED_BYTES + fields;
    if b.len() < bytes {
        return PesHead::Need(bytes);
    }
    let time = |at: usize| {
        b[..bytes]
            .get(at..)
            .and_then(|t| t.first_chunk::<5>())
            .map(read_time)
    };
    PesHead::Whole {
        pes: Pes {
            stream_id: fixed[3],
            pts: (fixed[7] & 0x80 != 0).then(|| time(9)).flatten(),
            dts: (fixed[7] & 0xc0 == 0xc0).then(|| time(14)).flatten(),
            payload_bytes: (length != 0).then(|| (length - header) as u32),
        },
        bytes,
    }
}

#[cfg(test)]
mod tests;
