//! AAC in ADTS: headers read and written, and the AudioSpecificConfig that they stand for.
//!
//! ISO/IEC 14496-3, 1.6.2.1 (AudioSpecificConfig), 1.6.3.4 (rates), 1.A.2.2 (ADTS). Not done: LATM, program config
//! elements (channel configuration 0), several raw blocks in one ADTS frame, which no camera sends.

use bytes::Bytes;

/// Samples of a raw access unit.
pub const SAMPLES_PER_FRAME: i64 = 1024;
/// Bytes of a header without CRC: as much as is needed to read one.
pub const ADTS_HEADER_BYTES: usize = 7;

const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// A fixed and variable ADTS header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adts {
    /// Audio object type (2 = LC).
    pub object_type: u8,
    pub rate_index: u8,
    /// Channel configuration, 1 to 7.
    pub channels: u8,
    /// 7, or 9 with a CRC.
    pub header_bytes: usize,
    /// Header and raw access unit.
    pub frame_bytes: usize,
}

impl Adts {
    /// Reads the header at the start of `b`. `None`: fewer than [`ADTS_HEADER_BYTES`], no sync word, or a field that
    /// cannot be (layer, rate, channels, length).
    pub fn parse(b: &[u8]) -> Option<Adts> {
        let b = b.first_chunk::<ADTS_HEADER_BYTES>()?;
        // Sync word of twelve ones, then layer 0.
        if b[0] != 0xff || b[1] & 0xf6 != 0xf0 {
            return None;
        }
        let adts = Adts {
            object_type: (b[2] >> 6) + 1,
            rate_index: b[2] >> 2 & 0x0f,
            channels: (b[2] & 1) << 2 | b[3] >> 6,
            header_bytes: if b[1] & 1 == 1 { 7 } else { 9 },
            frame_bytes: usize::from(b[3] & 3) << 11
                | usize::from(b[4]) << 3
                | usize::from(b[5] >> 5),
        };
        let sane = usize::from(adts.rate_index) < RATES.len()
            && adts.channels > 0
            && adts.frame_bytes > adts.header_bytes;
        sane.then_some(adts)
    }

    /// Samples per second.
    pub fn sample_rate(&self) -> u32 {
        RATES[usize::from(self.rate_index).min(RATES.len() - 1)]
    }

    /// Whether the other header describes the same stream.
    pub fn same_stream(&self, other: &Adts) -> bool {
        (self.object_type, self.rate_index, self.channels)
            == (other.object_type, other.rate_index, other.channels)
    }

    /// Number of loudspeakers: configuration 7 means eight.
    pub fn channel_count(&self) -> u8 {
        if self.channels == 7 { 8 } else { self.channels }
    }

    /// AudioSpecificConfig, two bytes.
    pub fn config(&self) -> Bytes {
        Bytes::copy_from_slice(&[
            self.object_type << 3 | self.rate_index >> 1,
            (self.rate_index & 1) << 7 | self.channels << 3,
        ])
    }
}

/// Sample rate and loudspeakers of an AudioSpecificConfig. `None`: cut, a rate or channel configuration that is not of the
/// tables. Of SBR the rate is that of the core.
pub fn config_format(config: &[u8]) -> Option<(u32, u8)> {
    let [first, second, ..] = *config else {
        return None;
    };
    // Object type 31 and rate index 15 are escapes, which no camera needs.
    let rate = RATES.get(usize::from((first & 7) << 1 | second >> 7))?;
    let channels = match second >> 3 & 0x0f {
        configuration @ 1..=6 => configuration,
        7 => 8,
        _ => return None,
    };
    (first >> 3 != 31).then_some((*rate, channels))
}

/// Writes the ADTS header for a raw access unit of `raw_bytes` bytes under an AudioSpecificConfig. `None`: the config is
/// not of the short form (object type up to 4, rate by index), or the unit is longer than 8,184 bytes.
pub fn adts_header(config: &[u8], raw_bytes: usize) -> Option<[u8; ADTS_HEADER_BYTES]> {
    let [first, second, ..] = *config else {
        return None;
    };
    let object_type = first >> 3;
    let rate_index = (first & 7) << 1 | second >> 7;
    let channels = second >> 3 & 0x0f;
    let len = raw_bytes + ADTS_HEADER_BYTES;
    let fits = (1..=4).contains(&object_type)
        && usize::from(rate_index) < RATES.len()
        && channels <= 7
        && len < 1 << 13;
    fits.then(|| {
        [
            0xff,
            0xf1,
            (object_type - 1) << 6 | rate_index << 2 | channels >> 2,
            (channels & 3) << 6 | (len >> 11) as u8,
            (len >> 3) as u8,
            (len as u8) << 5 | 0x1f,
            0xfc,
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The first header of a real camera's sound (SSRC 0x0BEBD135 in the packet vectors).
    const CAMERA: [u8; 7] = [0xff, 0xf9, 0x50, 0x40, 0x0c, 0x9f, 0xfc];

    #[test]
    fn a_cameras_header_is_read() {
        let adts = Adts::parse(&CAMERA).expect("a header");
        assert_eq!(adts.object_type, 2);
        assert_eq!(adts.sample_rate(), 44_100);
        assert_eq!(adts.channels, 1);
        assert_eq!(adts.frame_bytes, 100);
        assert_eq!(adts.header_bytes, 7);
        assert_eq!(&adts.config()[..], [0x12, 0x08]);
    }

    #[test]
    fn a_written_header_is_read_again() {
        for len in [1, 372, 8184] {
            let header = adts_header(&[0x12, 0x10], len).expect("fits");
            let adts = Adts::parse(&header).expect("a header");
            assert_eq!(adts.frame_bytes, len + 7);
            assert_eq!(&adts.config()[..], [0x12, 0x10]);
        }
        assert_eq!(adts_header(&[0x12, 0x10], 8185), None);
        assert_eq!(adts_header(&[0xf8, 0x10], 1), None);
        assert_eq!(adts_header(&[0x12], 1), None);
    }

    #[test]
    fn a_configuration_tells_rate_and_channels() {
        assert_eq!(config_format(&[0x12, 0x10]), Some((44_100, 2)));
        assert_eq!(config_format(&[0x14, 0x08]), Some((16_000, 1)));
        for wrong in [&[0x14][..], &[0x17, 0x88], &[0x12, 0x00], &[0xfa, 0x10]] {
            assert_eq!(config_format(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_none() {
        assert_eq!(Adts::parse(&CAMERA[..6]), None);
        for (at, value) in [(0, 0xfe), (1, 0xfd), (2, 0x7c), (3, 0x00)] {
            let mut b = CAMERA;
            b[at] = value;
            // Layer 2, rate index 15, channel configuration 0.
            assert_eq!(Adts::parse(&b), None, "byte {at}");
        }
        let mut b = CAMERA;
        b[4] = 0;
        b[5] = 0xff; // seven bytes: a header alone
        assert_eq!(Adts::parse(&b), None);
    }
}
