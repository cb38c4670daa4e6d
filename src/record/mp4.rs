//! Puts the parts of a download together: fragmented MP4 as it was written, in one or more runs, to one plain MP4 file with
//! its index in front, which every player reads and can seek in.
//!
//! ISO/IEC 14496-12, 8.2 to 8.8. A part is what [`crate::egress::fmp4`] writes: `ftyp`, `moov`, then `moof` and `mdat` a
//! sample, and `moov` again where a track changed. A part may end anywhere: what is not whole is left out, so that a crash
//! costs the last sample.
//!
//! Each part says where in the record it begins. Samples of a part from the beginning of the next one on are left out, so
//! that a download that was taken up again a little before it had broken off shows nothing twice.
//!
//! Bounds: [`limits::DOWNLOAD_SAMPLES_MAX`]; boxes other than `mdat` [`limits::DOWNLOAD_BOX_BYTES_MAX`].

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use crate::limits;

/// One run of a download.
#[derive(Debug)]
pub struct Part {
    pub file: File,
    /// Where in the record its first picture lies, in milliseconds.
    pub begin_ms: u64,
}

/// Why parts make no file.
#[derive(Debug)]
pub enum Error {
    Io(io::Error),
    /// Nothing that could be played.
    Empty,
    TooManySamples,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Io(error) => error.fmt(f),
            Error::Empty => f.write_str("no picture came"),
            Error::TooManySamples => f.write_str("it has more pictures than a file may have"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

/// A sample where it lies in its part.
#[derive(Clone, Copy, Debug)]
struct Sample {
    offset: u64,
    /// In ticks of the track.
    decode: i64,
    size: u32,
    duration: u32,
    composition: u32,
    part: u16,
    /// Place of its description in the track.
    description: u16,
    key: bool,
}

#[derive(Debug)]
struct Track {
    /// `track_ID`.
    id: u32,
    timescale: u32,
    is_video: bool,
    tkhd: Vec<u8>,
    /// `hdlr`, and `vmhd` or `smhd`, and `dinf`.
    hdlr: Vec<u8>,
    header: Vec<u8>,
    dinf: Vec<u8>,
    descriptions: Vec<Vec<u8>>,
    /// That of the samples that come next.
    description: u16,
    samples: Vec<Sample>,
}

/// Writes the parts, in order of the record, as one file. Gives its length in milliseconds.
///
/// Errors: a part cannot be read or the file not written; nothing to be played is in them.
pub fn join(parts: &[Part], out: &File) -> Result<u64, Error> {
    let mut tracks = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        let before: Vec<usize> = tracks.iter().map(|t: &Track| t.samples.len()).collect();
        cut_from(&mut tracks, part.begin_ms);
        let before: Vec<usize> = before
            .iter()
            .zip(&tracks)
            .map(|(len, track)| *len.min(&track.samples.len()))
            .collect();
        scan(part, n as u16, &mut tracks)?;
        place(part, &mut tracks, &before);
    }
    tracks.retain(|track| !track.samples.is_empty());
    let Some(picture) = tracks.iter().find(|t| t.is_video) else {
        return Err(Error::Empty);
    };
    let first_ms = picture.ms(picture.samples[0].decode);
    for track in &mut tracks {
        let first = first_ms * i64::from(track.timescale) / 1_000;
        track.samples.retain(|s| s.decode >= first);
        for sample in &mut track.samples {
            sample.decode -= first;
        }
    }
    tracks.retain(|track| !track.samples.is_empty());
    let chunks = chunks(&tracks);
    let length_ms = tracks.iter().map(Track::length_ms).max().unwrap_or(0);
    write(parts, &tracks, &chunks, length_ms, out)?;
    Ok(length_ms as u64)
}

/// Leaves out what the next part brings again.
fn cut_from(tracks: &mut [Track], begin_ms: u64) {
    for track in tracks {
        let from = begin_ms as i64 * i64::from(track.timescale) / 1_000;
        let keep = track.samples.partition_point(|s| s.decode < from);
        track.samples.truncate(keep);
    }
}

/// Puts the samples of a part where it begins in the record.
fn place(part: &Part, tracks: &mut [Track], before: &[usize]) {
    let new = |n: usize| before.get(n).copied().unwrap_or(0);
    let first = tracks.iter().enumerate().find_map(|(n, track)| {
        let first = track.samples.get(new(n)).filter(|_| track.is_video)?;
        Some(track.ms(first.decode))
    });
    for (n, track) in tracks.iter_mut().enumerate() {
        let shift = part.begin_ms as i64 - first.unwrap_or(0);
        let shift = shift * i64::from(track.timescale) / 1_000;
        let last = new(n).checked_sub(1).map(|at| track.samples[at].decode);
        for sample in track.samples.iter_mut().skip(new(n)) {
            sample.decode += shift;
        }
        // Times of a track grow, whatever the device says of where it goes on.
        let mut least = last.map_or(i64::MIN, |decode| decode + 1);
        for sample in track.samples.iter_mut().skip(new(n)) {
            sample.decode = sample.decode.max(least);
            least = sample.decode + 1;
        }
    }
}

impl Track {
    fn ms(&self, ticks: i64) -> i64 {
        ticks * 1_000 / i64::from(self.timescale.max(1))
    }

    /// To the next sample; that of the last is its own.
    fn duration(&self, at: usize) -> u32 {
        let sample = &self.samples[at];
        match self.samples.get(at + 1) {
            Some(next) => u32::try_from(next.decode - sample.decode).unwrap_or(u32::MAX),
            None => sample.duration.max(1),
        }
    }

    fn length(&self) -> i64 {
        let last = self.samples.len() - 1;
        self.samples[last].decode + i64::from(self.duration(last))
    }

    fn length_ms(&self) -> i64 {
        self.ms(self.length())
    }
}

// ---- reading ----

/// A box: kind, where its content begins, and where it ends.
struct Found {
    kind: [u8; 4],
    content: u64,
    end: u64,
}

fn next_box(file: &File, at: u64, len: u64) -> io::Result<Option<Found>> {
    if at + 8 > len {
        return Ok(None);
    }
    let mut head = [0; 8];
    file.read_exact_at(&mut head, at)?;
    let size = u64::from(number(&head, 0));
    let end = at + size;
    if size < 8 || end > len {
        return Ok(None);
    }
    Ok(Some(Found {
        kind: [head[4], head[5], head[6], head[7]],
        content: at + 8,
        end,
    }))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

fn scan(part: &Part, n: u16, tracks: &mut Vec<Track>) -> Result<(), Error> {
    let file = &part.file;
    let len = file.metadata()?.len();
    let mut at = 0;
    let mut waiting: Option<(u32, Sample)> = None;
    while let Some(found) = next_box(file, at, len)? {
        let size = found.end - found.content;
        match &found.kind {
            b"moov" | b"moof" if size <= limits::DOWNLOAD_BOX_BYTES_MAX => {
                let mut bytes = vec![0; size as usize];
                file.read_exact_at(&mut bytes, found.content)?;
                if &found.kind == b"moov" {
                    read_moov(&bytes, tracks);
                    waiting = None;
                } else {
                    waiting = read_moof(&bytes, at, n);
                }
            }
            b"mdat" => {
                if let Some((id, sample)) = waiting.take()
                    && sample.offset + u64::from(sample.size) <= found.end
                    && let Some(track) = tracks.iter_mut().find(|t| t.id == id)
                {
                    if track.samples.len() >= limits::DOWNLOAD_SAMPLES_MAX {
                        return Err(Error::TooManySamples);
                    }
                    let description = track.description;
                    track.samples.push(Sample {
                        description,
                        ..sample
                    });
                }
            }
            _ => {}
        }
        at = found.end;
    }
    Ok(())
}

/// The boxes inside of a content, each with its kind and its own content.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8], &[u8])> {
    std::iter::from_fn(move || {
        let size = number(bytes, 0) as usize;
        let whole = bytes.get(..size).filter(|w| w.len() >= 8)?;
        bytes = &bytes[size..];
        Some(([whole[4], whole[5], whole[6], whole[7]], whole, &whole[8..]))
    })
}

fn inside<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<(&'a [u8], &'a [u8])> {
    boxes(bytes)
        .find(|(k, _, _)| k == kind)
        .map(|(_, whole, content)| (whole, content))
}

fn read_moov(moov: &[u8], tracks: &mut Vec<Track>) {
    for (kind, _, trak) in boxes(moov) {
        if &kind == b"trak" {
            // One that cannot be read is left out, with its samples.
            let _ = read_trak(trak, tracks);
        }
    }
}

fn read_trak(trak: &[u8], tracks: &mut Vec<Track>) -> Option<()> {
    let (tkhd, tkhd_content) = inside(trak, b"tkhd")?;
    let id = number(tkhd_content, 12);
    let (_, mdia) = inside(trak, b"mdia")?;
    let timescale = number(inside(mdia, b"mdhd")?.1, 12);
    let (hdlr, hdlr_content) = inside(mdia, b"hdlr")?;
    let is_video = hdlr_content.get(8..12)? == b"vide";
    let (_, minf) = inside(mdia, b"minf")?;
    let header = inside(minf, if is_video { b"vmhd" } else { b"smhd" })?.0;
    let dinf = inside(minf, b"dinf")?.0;
    let (_, stbl) = inside(minf, b"stbl")?;
    let description = inside(stbl, b"stsd")?.1.get(8..)?.to_vec();
    if timescale == 0 {
        return None;
    }
    let at = match tracks
        .iter()
        .position(|t| t.id == id && t.timescale == timescale)
    {
        Some(at) => at,
        // The same track with another clock (another sound): its samples cannot lie in one track with those before.
        None if tracks.iter().any(|t| t.id == id) => {
            tracks
                .iter_mut()
                .filter(|t| t.id == id)
                .for_each(|t| t.id |= 1 << 31);
            push_track(tracks, id, timescale, is_video, tkhd, hdlr, header, dinf)
        }
        None => push_track(tracks, id, timescale, is_video, tkhd, hdlr, header, dinf),
    };
    let track = &mut tracks[at];
    let known = track.descriptions.iter().position(|d| *d == description);
    let place = known.unwrap_or_else(|| {
        track.descriptions.push(description);
        track.descriptions.len() - 1
    });
    track.description = u16::try_from(place).unwrap_or(0);
    Some(())
}

#[expect(
    clippy::too_many_arguments,
    reason = "they are what a track is made of"
)]
fn push_track(
    tracks: &mut Vec<Track>,
    id: u32,
    timescale: u32,
    is_video: bool,
    tkhd: &[u8],
    hdlr: &[u8],
    header: &[u8],
    dinf: &[u8],
) -> usize {
    tracks.push(Track {
        id,
        timescale,
        is_video,
        tkhd: tkhd.to_vec(),
        hdlr: hdlr.to_vec(),
        header: header.to_vec(),
        dinf: dinf.to_vec(),
        descriptions: Vec::new(),
        description: 0,
        samples: Vec::new(),
    });
    tracks.len() - 1
}

/// A fragment of one sample; `at` is where its `moof` begins.
fn read_moof(moof: &[u8], at: u64, part: u16) -> Option<(u32, Sample)> {
    let (_, traf) = inside(moof, b"traf")?;
    let id = number(inside(traf, b"tfhd")?.1, 4);
    let tfdt = inside(traf, b"tfdt")?.1;
    let decode = u64::from(number(tfdt, 4)) << 32 | u64::from(number(tfdt, 8));
    let trun = inside(traf, b"trun")?.1;
    const ALL: u32 = 0x0f01;
    if number(trun, 0) & 0xff_ffff != ALL || number(trun, 4) != 1 {
        return None;
    }
    const NOT_SYNC: u32 = 0x0001_0000;
    let sample = Sample {
        offset: at + u64::from(number(trun, 8)),
        decode: i64::try_from(decode).ok()?,
        duration: number(trun, 12),
        size: number(trun, 16),
        key: number(trun, 20) & NOT_SYNC == 0,
        composition: number(trun, 24),
        part,
        description: 0,
    };
    Some((id, sample))
}

// ---- writing ----

/// Samples of one track that lie together.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    track: usize,
    first: usize,
    count: u32,
    description: u16,
}

/// A second of each track at a time, so that a player finds picture and sound of one time together.
fn chunks(tracks: &[Track]) -> Vec<Chunk> {
    let mut at = vec![0; tracks.len()];
    let mut chunks = Vec::new();
    let mut second = 0;
    while at.iter().zip(tracks).any(|(at, t)| *at < t.samples.len()) {
        second += 1;
        for (n, track) in tracks.iter().enumerate() {
            let until = second * i64::from(track.timescale);
            while let Some(first) = track.samples.get(at[n]).filter(|s| s.decode < until) {
                let run = track.samples[at[n]..]
                    .iter()
                    .take_while(|s| s.decode < until && s.description == first.description);
                let count = run.count();
                chunks.push(Chunk {
                    track: n,
                    first: at[n],
                    count: count as u32,
                    description: first.description,
                });
                at[n] += count;
            }
        }
    }
    chunks
}

fn write(
    parts: &[Part],
    tracks: &[Track],
    chunks: &[Chunk],
    length_ms: i64,
    out: &File,
) -> io::Result<()> {
    let mut head = Vec::new();
    put(&mut head, b"ftyp", |out| {
        out.extend_from_slice(b"isom\0\0\x02\0isomiso2mp41");
    });
    // The index is as long with offsets as without.
    let zeros = vec![0; chunks.len()];
    let moov_len = moov(tracks, chunks, &zeros, length_ms).len();
    const LARGE_HEADER: usize = 16;
    let begin = (head.len() + moov_len + LARGE_HEADER) as u64;
    let mut end = begin;
    let mut offsets = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        offsets.push(end);
        let samples = &tracks[chunk.track].samples[chunk.first..];
        let bytes = samples
            .iter()
            .take(chunk.count as usize)
            .map(|s| u64::from(s.size));
        end += bytes.sum::<u64>();
    }
    head.extend(moov(tracks, chunks, &offsets, length_ms));
    let mut out = BufWriter::with_capacity(1 << 20, out);
    out.write_all(&head)?;
    out.write_all(&1u32.to_be_bytes())?;
    out.write_all(b"mdat")?;
    out.write_all(&(end - begin + LARGE_HEADER as u64).to_be_bytes())?;
    let mut payload = Vec::new();
    for chunk in chunks {
        let samples = &tracks[chunk.track].samples[chunk.first..];
        for sample in samples.iter().take(chunk.count as usize) {
            payload.resize(sample.size as usize, 0);
            let file = &parts[usize::from(sample.part)].file;
            file.read_exact_at(&mut payload, sample.offset)?;
            out.write_all(&payload)?;
        }
    }
    out.flush()
}

fn put(out: &mut Vec<u8>, kind: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    content(out);
    let len = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn put_u32s(out: &mut Vec<u8>, values: &[u32]) {
    for value in values {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

fn moov(tracks: &[Track], chunks: &[Chunk], offsets: &[u64], length_ms: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let length_ms = u32::try_from(length_ms).unwrap_or(u32::MAX);
    put(&mut out, b"moov", |out| {
        put(out, b"mvhd", |out| {
            put_u32s(
                out,
                &[0, 0, 0, 1_000, length_ms, 0x1_0000, 0x100_0000, 0, 0],
            );
            put_u32s(out, &[0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000]);
            put_u32s(out, &[0; 6]);
            put_u32s(out, &[tracks.len() as u32 + 1]);
        });
        for (n, track) in tracks.iter().enumerate() {
            put(out, b"trak", |out| trak(out, n, track, chunks, offsets));
        }
    });
    out
}

fn trak(out: &mut Vec<u8>, n: usize, track: &Track, chunks: &[Chunk], offsets: &[u64]) {
    let mut tkhd = track.tkhd.clone();
    let mut set = |at: usize, value: u32| {
        if let Some(place) = tkhd.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    };
    set(20, n as u32 + 1);
    set(28, u32::try_from(track.length_ms()).unwrap_or(u32::MAX));
    out.extend_from_slice(&tkhd);
    put(out, b"mdia", |out| {
        put(out, b"mdhd", |out| {
            const UNDETERMINED: u32 = 0x55c4_0000;
            let length = track.length() as u64;
            put_u32s(out, &[0x100_0000, 0, 0, 0, 0, track.timescale]);
            out.extend_from_slice(&length.to_be_bytes());
            put_u32s(out, &[UNDETERMINED]);
        });
        out.extend_from_slice(&track.hdlr);
        put(out, b"minf", |out| {
            out.extend_from_slice(&track.header);
            out.extend_from_slice(&track.dinf);
            put(out, b"stbl", |out| stbl(out, n, track, chunks, offsets));
        });
    });
}

fn stbl(out: &mut Vec<u8>, n: usize, track: &Track, chunks: &[Chunk], offsets: &[u64]) {
    put(out, b"stsd", |out| {
        put_u32s(out, &[0, track.descriptions.len() as u32]);
        for description in &track.descriptions {
            out.extend_from_slice(description);
        }
    });
    let durations = (0..track.samples.len()).map(|at| track.duration(at));
    put(out, b"stts", |out| put_runs(out, durations));
    if track.samples.iter().any(|s| s.composition != 0) {
        let compositions = track.samples.iter().map(|s| s.composition);
        put(out, b"ctts", |out| put_runs(out, compositions));
    }
    if track.is_video {
        let keys = (1..).zip(&track.samples).filter(|(_, s)| s.key);
        let keys: Vec<u32> = keys.map(|(number, _)| number).collect();
        put(out, b"stss", |out| {
            put_u32s(out, &[0, keys.len() as u32]);
            put_u32s(out, &keys);
        });
    }
    let own = || chunks.iter().zip(offsets).filter(|(c, _)| c.track == n);
    put(out, b"stsc", |out| {
        let mut rows: Vec<[u32; 3]> = Vec::new();
        for (number, (chunk, _)) in (1..).zip(own()) {
            let row = [number, chunk.count, u32::from(chunk.description) + 1];
            if rows.last().is_none_or(|last| last[1..] != row[1..]) {
                rows.push(row);
            }
        }
        put_u32s(out, &[0, rows.len() as u32]);
        rows.iter().for_each(|row| put_u32s(out, row));
    });
    put(out, b"stsz", |out| {
        put_u32s(out, &[0, 0, track.samples.len() as u32]);
        track.samples.iter().for_each(|s| put_u32s(out, &[s.size]));
    });
    put(out, b"co64", |out| {
        put_u32s(out, &[0, own().count() as u32]);
        own().for_each(|(_, offset)| out.extend_from_slice(&offset.to_be_bytes()));
    });
}

/// Version and flags, the number of runs, and each run: how many, and of what.
fn put_runs(out: &mut Vec<u8>, values: impl Iterator<Item = u32>) {
    let mut runs: Vec<[u32; 2]> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some([count, of]) if *of == value => *count += 1,
            Some(_) | None => runs.push([1, value]),
        }
    }
    put_u32s(out, &[0, runs.len() as u32]);
    runs.iter().for_each(|run| put_u32s(out, run));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    /// A file that has no name any more.
    fn file(bytes: &[u8]) -> File {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Relaxed);
        let name = format!("gantry-mp4-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).expect("the folder can be written");
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .expect("it is there");
        std::fs::remove_file(&path).expect("it is there");
        file
    }

    /// `moov` of a picture with a description of its own.
    fn init(description: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, b"ftyp", |out| {
            out.extend_from_slice(b"iso5\0\0\0\0")
        });
        put(&mut out, b"moov", |out| {
            put(out, b"trak", |out| {
                put(out, b"tkhd", |out| {
                    put_u32s(out, &[3, 0, 0, 1, 0, 0]);
                    put_u32s(out, &[0; 15]);
                });
                put(out, b"mdia", |out| {
                    put(out, b"mdhd", |out| put_u32s(out, &[0, 0, 0, 90_000, 0, 0]));
                    put(out, b"hdlr", |out| {
                        out.extend_from_slice(b"\0\0\0\0\0\0\0\0vide")
                    });
                    put(out, b"minf", |out| {
                        put(out, b"vmhd", |out| put_u32s(out, &[1, 0, 0]));
                        put(out, b"dinf", |_| {});
                        put(out, b"stbl", |out| {
                            put(out, b"stsd", |out| {
                                put_u32s(out, &[0, 1]);
                                put(out, b"avc1", |out| out.extend_from_slice(description));
                            });
                        });
                    });
                });
            });
        });
        out
    }

    /// A picture of one byte; every 25th is a key frame.
    fn picture(n: u64, byte: u8) -> Vec<u8> {
        let mut out = Vec::new();
        let flags = if n.is_multiple_of(25) {
            0x0200_0000
        } else {
            0x0101_0000
        };
        put(&mut out, b"moof", |out| {
            put(out, b"traf", |out| {
                put(out, b"tfhd", |out| put_u32s(out, &[0x02_0000, 1]));
                put(out, b"tfdt", |out| {
                    put_u32s(out, &[0x100_0000, 0, (n * 3_600) as u32])
                });
                put(out, b"trun", |out| {
                    put_u32s(out, &[0x0f01, 1, 0, 3_600, 1, flags, 0])
                });
            });
        });
        // The place of the payload: behind this box and the header of the next.
        let data = (out.len() + 8) as u32;
        let at = out.len() - 20;
        out[at..at + 4].copy_from_slice(&data.to_be_bytes());
        put(&mut out, b"mdat", |out| out.push(byte));
        out
    }

    fn part(begin_ms: u64, description: &[u8], pictures: std::ops::Range<u64>, byte: u8) -> Part {
        let mut bytes = init(description);
        for n in pictures {
            bytes.extend(picture(n + 7, byte));
        }
        Part {
            file: file(&bytes),
            begin_ms,
        }
    }

    fn joined(parts: &[Part]) -> (u64, Vec<u8>) {
        let mut out = file(&[]);
        let length_ms = join(parts, &out).expect("they fit");
        let mut bytes = Vec::new();
        io::Seek::rewind(&mut out).expect("it is a file");
        out.read_to_end(&mut bytes).expect("it is a file");
        (length_ms, bytes)
    }

    /// What follows the header of `mdat`.
    fn payload(file: &[u8]) -> &[u8] {
        let found = boxes(file)
            .find(|(kind, _, _)| kind == b"moov")
            .expect("an index");
        let at = found.1.as_ptr() as usize - file.as_ptr() as usize + found.1.len();
        &file[at + 16..]
    }

    #[test]
    fn parts_follow_each_other_and_show_nothing_twice() {
        // Four seconds, and from the third on again.
        let parts = [part(0, b"one", 0..100, 1), part(2_000, b"two", 0..100, 2)];
        let (length_ms, bytes) = joined(&parts);
        assert_eq!(length_ms, 6_000);
        let payload = payload(&bytes);
        assert_eq!(payload.len(), 150);
        assert!(payload[..50].iter().all(|b| *b == 1));
        assert!(payload[50..].iter().all(|b| *b == 2));
        let stsd = memchr::memmem::find(&bytes, b"stsd").expect("descriptions");
        assert_eq!(number(&bytes, stsd + 8), 2, "each part has its own");
    }

    #[test]
    fn what_was_cut_off_costs_the_last_picture() {
        let whole = part(0, b"one", 0..50, 1);
        let len = whole.file.metadata().expect("a file").len();
        for cut in [1, 5, 9, 40] {
            whole.file.set_len(len - cut).expect("a file");
            let (length_ms, bytes) = joined(std::slice::from_ref(&whole));
            assert_eq!((length_ms, payload(&bytes).len()), (1_960, 49), "{cut}");
        }
    }

    #[test]
    fn nothing_makes_no_file() {
        let empty = Part {
            file: file(&[]),
            begin_ms: 0,
        };
        let rubbish = Part {
            file: file(&[0xff; 100]),
            begin_ms: 0,
        };
        let out = file(&[]);
        for part in [empty, rubbish, part(0, b"one", 0..0, 1)] {
            assert!(matches!(join(&[part], &out), Err(Error::Empty)));
        }
    }
}
