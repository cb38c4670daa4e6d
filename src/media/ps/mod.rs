//! Program stream: read ([`demux`]) and made ([`mux`]).
//!
//! ISO/IEC 13818-1 (H.222.0), 2.5; stream types by its table 2-34 and by GB/T 28181-2016, annex C.

use smallvec::SmallVec;

use crate::limits;
use crate::media::codec::g726::G726;
use crate::media::frame::Codec;

pub mod demux;
pub mod mux;

pub(crate) const PACK_HEADER: u8 = 0xba;
pub(crate) const SYSTEM_HEADER: u8 = 0xbb;
pub(crate) const STREAM_MAP: u8 = 0xbc;
pub(crate) const PRIVATE_1: u8 = 0xbd;
pub(crate) const END: u8 = 0xb9;

/// Whether a stream id stands for picture (13818-1, table 2-22).
#[inline]
pub fn is_video(stream_id: u8) -> bool {
    stream_id & 0xf0 == 0xe0
}

/// Whether a stream id stands for sound.
#[inline]
pub fn is_audio(stream_id: u8) -> bool {
    stream_id & 0xe0 == 0xc0
}

/// What a stream type of a program stream map means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Supported(Codec),
    /// See [`name`].
    Unsupported(u8),
}

/// What a coding is called that is not supported; `None`: not known at all. 0x92 is G.722.1 by GB/T 28181 and G.722 by some
/// devices, whom their bit rate gives away.
pub fn name(stream_type: u8) -> Option<&'static str> {
    Some(match stream_type {
        0x01 => "MPEG-1 video",
        0x02 => "MPEG-2 video",
        0x03 | 0x04 => "MPEG audio",
        0x10 => "MPEG-4 video",
        0x11 => "AAC in LATM",
        0x33 => "H.266",
        0x42 => "AVS",
        0x80 => "SVAC video",
        0x81 => "AC-3",
        0x92 => "G.722.1",
        0x93 => "G.723.1",
        0x94 => "AAC-LD",
        0x98 => "G.728",
        0x99 => "G.729",
        0x9a => "AMR",
        0x9b => "SVAC audio",
        0x9c => "linear PCM",
        0xd2 => "AVS2",
        _ => return None,
    })
}

/// Whether a stream type stands for a picture, as far as it is known.
pub fn is_video_type(stream_type: u8) -> bool {
    matches!(
        stream_type,
        0x01 | 0x02 | 0x10 | 0x1b | 0x24 | 0x33 | 0x42 | 0x80 | 0xd2
    )
}

/// Whether a stream type stands for sound, as far as it is known.
pub fn is_audio_type(stream_type: u8) -> bool {
    matches!(stream_type, 0x03 | 0x04 | 0x0f | 0x11 | 0x81 | 0x90..=0x9c)
}

/// Looks a stream type up.
pub fn coding(stream_type: u8) -> Coding {
    match stream_type {
        0x1b => Coding::Supported(Codec::H264),
        0x24 => Coding::Supported(Codec::H265),
        0x0f => Coding::Supported(Codec::Aac),
        0x90 => Coding::Supported(Codec::G711A),
        0x91 => Coding::Supported(Codec::G711U),
        0x96 => Coding::Supported(Codec::G726(G726::USUAL)),
        other => Coding::Unsupported(other),
    }
}

/// The stream type that a map gives to a codec. Opus has none.
pub fn stream_type(codec: Codec) -> Option<u8> {
    match codec {
        Codec::H264 => Some(0x1b),
        Codec::H265 => Some(0x24),
        Codec::Aac => Some(0x0f),
        Codec::G711A => Some(0x90),
        Codec::G711U => Some(0x91),
        Codec::G722 => Some(0x92),
        Codec::G726(_) => Some(0x96),
        Codec::Opus => None,
    }
}

/// One stream of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    pub stream_type: u8,
    pub stream_id: u8,
}

/// A program stream map: which stream id is coded how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamMap {
    pub entries: SmallVec<[MapEntry; 4]>,
}

impl StreamMap {
    /// Reads a whole map from its start code on. Lengths that run past the end are cut there, the checksum is not
    /// looked at, and the walk ends at an entry that is no elementary stream: several devices write these fields wrong.
    ///
    /// Source: 13818-1, 2.5.4.
    pub fn parse(unit: &[u8]) -> StreamMap {
        let mut map = StreamMap::default();
        let field = |at: usize| {
            unit.get(at..at + 2)
                .map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))
        };
        let Some(info) = field(8) else {
            return map;
        };
        // A descriptor length that cannot be is taken for zero.
        let at = if 10 + info + 2 > unit.len() {
            10
        } else {
            10 + info
        };
        let Some(len) = field(at) else {
            return map;
        };
        let from = at + 2;
        let to = (from + len).min(unit.len());
        let mut entries = &unit[from..to];
        while let [stream_type, stream_id, high, low, rest @ ..] = entries {
            let stream = is_video(*stream_id) || is_audio(*stream_id) || *stream_id == PRIVATE_1;
            if !stream || map.entries.len() == limits::PSM_STREAMS_MAX {
                break;
            }
            map.entries.push(MapEntry {
                stream_type: *stream_type,
                stream_id: *stream_id,
            });
            let info = usize::from(u16::from_be_bytes([*high, *low]));
            entries = rest.get(info..).unwrap_or(rest);
        }
        map
    }

    /// The stream type given to the first stream that `wanted` picks.
    pub fn find(&self, wanted: impl Fn(u8) -> bool) -> Option<MapEntry> {
        self.entries.iter().copied().find(|e| wanted(e.stream_id))
    }
}

/// Reads a 33-bit time from five bytes (13818-1, 2.4.3.6); marker bits are not looked at.
pub(crate) fn read_time(b: &[u8; 5]) -> u64 {
    u64::from(b[0] >> 1 & 7) << 30
        | u64::from(b[1]) << 22
        | u64::from(b[2] >> 1) << 15
        | u64::from(b[3]) << 7
        | u64::from(b[4] >> 1)
}

/// Writes a 33-bit time with its four-bit prefix and marker bits.
pub(crate) fn write_time(prefix: u8, time: u64) -> [u8; 5] {
    [
        prefix << 4 | (time >> 29) as u8 & 0x0e | 1,
        (time >> 22) as u8,
        (time >> 14) as u8 | 1,
        (time >> 7) as u8,
        (time << 1) as u8 | 1,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_it_is_read() {
        for time in [0, 1, 0x7fff, 0x8000, 0x1_2345_6789, (1 << 33) - 1] {
            assert_eq!(read_time(&write_time(2, time)), time);
        }
        // The first PES of srs-bench: 0x31 00 01 11 95.
        assert_eq!(read_time(&[0x31, 0x00, 0x01, 0x11, 0x95]), 2250);
    }

    #[test]
    fn a_map_with_descriptors_is_read() {
        // GStreamer's: one HDMV registration descriptor in the entry.
        let unit = [
            0, 0, 1, 0xbc, 0, 0x18, 0xe1, 0xff, 0, 0, 0, 0x0e, 0x1b, 0xe0, 0, 0x0a, 5, 8, 0x48,
            0x44, 0x4d, 0x56, 0xff, 0x1b, 0x44, 0x3f, 0x9d, 0x70, 0x5e, 0xbf,
        ];
        let map = StreamMap::parse(&unit);
        assert_eq!(
            map.entries[..],
            [MapEntry {
                stream_type: 0x1b,
                stream_id: 0xe0
            }]
        );
    }

    #[test]
    fn lengths_that_lie_do_not_hide_the_streams() {
        // The entry's descriptor length runs past the end, and so does the map's.
        let unit = [
            0, 0, 1, 0xbc, 0, 18, 0xe0, 0xff, 0, 0, 0, 200, 0x24, 0xe0, 0, 99, 0x90, 0xc0, 0, 0, 1,
            2, 3, 4,
        ];
        let ids: Vec<_> = StreamMap::parse(&unit)
            .entries
            .iter()
            .map(|e| (e.stream_type, e.stream_id))
            .collect();
        assert_eq!(ids, [(0x24, 0xe0), (0x90, 0xc0)]);
        for n in 0..unit.len() {
            StreamMap::parse(&unit[..n]);
        }
    }

    #[test]
    fn a_map_ends_at_its_bound() {
        let mut unit = vec![0, 0, 1, 0xbc, 0, 0, 0xe0, 0xff, 0, 0, 3, 0];
        for _ in 0..limits::PSM_STREAMS_MAX + 1 {
            unit.extend([0x90, 0xc0, 0, 0]);
        }
        assert_eq!(
            StreamMap::parse(&unit).entries.len(),
            limits::PSM_STREAMS_MAX
        );
    }

    #[test]
    fn stream_types_go_both_ways() {
        for codec in [
            Codec::H264,
            Codec::H265,
            Codec::Aac,
            Codec::G711A,
            Codec::G711U,
            Codec::G726(G726::USUAL),
        ] {
            let number = stream_type(codec).expect("has one");
            assert_eq!(coding(number), Coding::Supported(codec));
        }
        for number in [0x80, 0x92, 0x93, 0x99, 0x9b, 0x02, 0x10] {
            assert_eq!(coding(number), Coding::Unsupported(number));
            assert!(name(number).is_some());
            assert!(is_video_type(number) != is_audio_type(number));
        }
        assert_eq!(name(0x80), Some("SVAC video"));
        assert_eq!(name(0x9b), Some("SVAC audio"));
        assert_eq!(name(0x7f), None);
    }
}
