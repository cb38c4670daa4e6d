//! What a decoder must be told before the first frame: `avcC`, `hvcC`, and the codec's name in a MIME type.
//!
//! ISO/IEC 14496-15, 5.3.3.1 (AVCDecoderConfigurationRecord) and 8.3.3.1 (HEVCDecoderConfigurationRecord); RFC 6381 and
//! ISO/IEC 14496-15, annex E (names). FLV and fMP4 both carry these records.
//!
//! Only the few fields of a sequence parameter set that the records repeat are read here; whether the set is sound was
//! decided when the track was made. A set too short to hold them gives `None`, and the track is left out of a rendition.

use std::fmt::Write;

use crate::media::frame::{Codec, Track, VideoParams};

/// Bytes of a sequence parameter set that the records look at. The fields stand within the first 110 bits of H.264, and
/// of H.265 within 16 bytes and the profiles of up to six sub-layers.
const SPS_PREFIX_BYTES: usize = 128;

/// The record for a picture track: `avcC` or `hvcC` without box header. `None`: not a picture, or its sets are cut short.
pub(crate) fn record(track: &Track) -> Option<Vec<u8>> {
    let params = track.video()?;
    match track.codec {
        Codec::H264 => avcc(params),
        Codec::H265 => hvcc(params),
        Codec::Aac | Codec::G711A | Codec::G711U | Codec::G722 | Codec::G726(_) | Codec::Opus => {
            None
        }
    }
}

/// The name in `codecs=`: `avc1.640028`, `hvc1.1.6.L93.B0`, `mp4a.40.2`. `None`: fMP4 has no name that browsers know.
pub(crate) fn name(track: &Track) -> Option<String> {
    match track.codec {
        Codec::H264 => {
            let sps = &track.video()?.sps;
            let [profile, compatibility, level] = *sps.get(1..)?.first_chunk::<3>()?;
            Some(format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"))
        }
        Codec::H265 => hevc_name(&unescape(&track.video()?.sps)),
        Codec::Aac => {
            // AudioSpecificConfig begins with five bits of audio object type (ISO/IEC 14496-3, 1.6.2.1).
            let object_type = track.audio()?.config.first()? >> 3;
            Some(format!("mp4a.40.{object_type}"))
        }
        Codec::G711A | Codec::G711U | Codec::G722 | Codec::G726(_) | Codec::Opus => None,
    }
}

fn avcc(params: &VideoParams) -> Option<Vec<u8>> {
    let sps = &params.sps;
    let profile = *sps.get(1)?;
    let mut out = vec![1, profile, *sps.get(2)?, *sps.get(3)?, 0xff];
    out.push(0xe1);
    put_nal(&mut out, sps)?;
    out.push(1);
    put_nal(&mut out, &params.pps)?;
    // The high profiles repeat the sample format (5.3.3.1.2).
    if matches!(profile, 100 | 110 | 122 | 144) {
        let plain = unescape(sps);
        let mut bits = Bits::new(plain.get(4..)?);
        bits.exp_golomb()?;
        let chroma_format = bits.exp_golomb()?;
        if chroma_format == 3 {
            bits.take(1)?;
        }
        let depth_luma = bits.exp_golomb()?;
        let depth_chroma = bits.exp_golomb()?;
        out.extend_from_slice(&[
            0xfc | (chroma_format as u8 & 3),
            0xf8 | (depth_luma as u8 & 7),
            0xf8 | (depth_chroma as u8 & 7),
            0,
        ]);
    }
    Some(out)
}

fn hvcc(params: &VideoParams) -> Option<Vec<u8>> {
    const VPS: u8 = 32;
    const SPS: u8 = 33;
    const PPS: u8 = 34;
    let plain = unescape(&params.sps);
    let profile_tier_level = plain.get(3..15)?;
    let first = *plain.get(2)?;
    let sub_layers = (first >> 1) & 7;
    let nested = first & 1;
    let mut bits = Bits::new(plain.get(15..)?);
    skip_sub_layers(&mut bits, sub_layers)?;
    bits.exp_golomb()?;
    let chroma_format = bits.exp_golomb()?;
    if chroma_format == 3 {
        bits.take(1)?;
    }
    bits.exp_golomb()?;
    bits.exp_golomb()?;
    if bits.take(1)? == 1 {
        for _ in 0..4 {
            bits.exp_golomb()?;
        }
    }
    let depth_luma = bits.exp_golomb()?;
    let depth_chroma = bits.exp_golomb()?;

    let mut out = vec![1];
    out.extend_from_slice(profile_tier_level);
    out.extend_from_slice(&[0xf0, 0x00, 0xfc]);
    out.push(0xfc | (chroma_format as u8 & 3));
    out.push(0xf8 | (depth_luma as u8 & 7));
    out.push(0xf8 | (depth_chroma as u8 & 7));
    out.extend_from_slice(&[0, 0]);
    out.push(((sub_layers + 1) << 3) | (nested << 2) | 3);
    let sets = [
        (VPS, params.vps.as_ref()),
        (SPS, Some(&params.sps)),
        (PPS, Some(&params.pps)),
    ];
    out.push(sets.iter().filter(|(_, set)| set.is_some()).count() as u8);
    for (kind, set) in sets {
        if let Some(set) = set {
            // All sets stand in the record, none in the samples: that is what `hvc1` promises.
            out.extend_from_slice(&[0x80 | kind, 0, 1]);
            put_nal(&mut out, set)?;
        }
    }
    Some(out)
}

/// `hvc1`, profile, compatibility (bits reversed), tier and level, constraint bytes without trailing zeros (annex E.3).
fn hevc_name(sps: &[u8]) -> Option<String> {
    let ptl = sps.get(3..15)?;
    let space = ["", "A", "B", "C"][usize::from(ptl[0] >> 6)];
    let tier = if ptl[0] & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes(*ptl[1..].first_chunk()?).reverse_bits();
    let mut name = format!(
        "hvc1.{space}{}.{compatibility:X}.{tier}{}",
        ptl[0] & 0x1f,
        ptl[11]
    );
    let constraints = &ptl[5..11];
    let used = constraints
        .iter()
        .rposition(|b| *b != 0)
        .map_or(0, |i| i + 1);
    for byte in &constraints[..used] {
        write!(name, ".{byte:X}").expect("a String takes all that is written to it");
    }
    Some(name)
}

/// Walks over sub-layer profiles and levels (ITU-T H.265, 7.3.3).
fn skip_sub_layers(bits: &mut Bits<'_>, sub_layers: u8) -> Option<()> {
    if sub_layers == 0 {
        return Some(());
    }
    let mut skip = 0;
    for layer in 0..8 {
        let profile = bits.take(1)?;
        let level = bits.take(1)?;
        if layer < sub_layers {
            skip += profile * 88 + level * 8;
        }
    }
    for _ in 0..skip {
        bits.take(1)?;
    }
    Some(())
}

fn put_nal(out: &mut Vec<u8>, nal: &[u8]) -> Option<()> {
    out.extend_from_slice(&u16::try_from(nal.len()).ok()?.to_be_bytes());
    out.extend_from_slice(nal);
    Some(())
}

/// The beginning of a NAL unit without emulation prevention bytes (ITU-T H.264, 7.3.1; H.265, 7.3.1.1).
fn unescape(nal: &[u8]) -> Vec<u8> {
    let nal = &nal[..nal.len().min(SPS_PREFIX_BYTES)];
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros == 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, at: 0 }
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// `ue(v)` (ITU-T H.264, 9.1). Values of over 31 bits are refused.
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 30 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{Params, TrackId};
    use bytes::Bytes;

    fn video(codec: Codec, vps: Option<&[u8]>, sps: &[u8], pps: &[u8]) -> Track {
        Track {
            id: TrackId::Video,
            codec,
            params: std::sync::Arc::new(Params::Video(VideoParams {
                vps: vps.map(Bytes::copy_from_slice),
                sps: Bytes::copy_from_slice(sps),
                pps: Bytes::copy_from_slice(pps),
                ..VideoParams::default()
            })),
        }
    }

    #[test]
    fn an_h265_record_skips_emulation_prevention_in_the_level() {
        // Main profile, level 3.1, as x265 writes it: the profile holds two escaped runs of zeros.
        let sps = [
            0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00,
            0x00, 0x03, 0x00, 0x5d, 0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93,
        ];
        let track = video(Codec::H265, Some(&[0x40, 1]), &sps, &[0x44, 1]);
        assert_eq!(name(&track).as_deref(), Some("hvc1.1.6.L93.90"));
        let record = record(&track).expect("a whole set");
        assert_eq!(record[1], 0x01);
        assert_eq!(record[12], 0x5d);
        assert_eq!(&record[16..19], &[0xfd, 0xf8, 0xf8]);
        assert_eq!(record[22], 3);
    }

    #[test]
    fn a_set_cut_short_gives_no_record() {
        let sps = [0x42, 0x01, 0x01, 0x01, 0x60];
        let track = video(Codec::H265, None, &sps, &[0x44, 1]);
        assert_eq!(record(&track), None);
        assert_eq!(name(&track), None);
        let track = video(Codec::H264, None, &[0x67, 100, 0], &[0x68]);
        assert_eq!(record(&track), None);
    }

    #[test]
    fn an_h264_high_record_repeats_the_sample_format() {
        // High 4.0, 4:2:0, 8 bits: seq_parameter_set_id 0, chroma_format_idc 1, both depths 0.
        let sps = [0x67, 0x64, 0x00, 0x28, 0b1010_1100, 0x80];
        let track = video(Codec::H264, None, &sps, &[0x68, 0xee]);
        assert_eq!(name(&track).as_deref(), Some("avc1.640028"));
        let record = record(&track).expect("a whole set");
        assert_eq!(record[..8], [1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 6]);
        assert_eq!(record[record.len() - 4..], [0xfd, 0xf8, 0xf8, 0]);
    }
}
