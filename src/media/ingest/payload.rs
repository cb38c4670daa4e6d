//! What an RTP payload is: as an rtpmap declares it, as a static payload type says, and as its bytes look.
//!
//! RFC 3551, 6 (static types); RFC 4566, 6 (rtpmap, fmtp); GB/T 28181-2016, annex C.2 (PS, H.264, SVAC, G.711 and their
//! types); RFC 6184, 7798, 3640, 6416, 2250.
//!
//! Bytes weigh more than words: a *sure* look (a pack header, a run of sync bytes, a readable sequence parameter set) decides
//! against any declaration; a *likely* one has to come time after time.

use crate::limits;
use crate::media::codec::aac::Adts;
use crate::media::codec::g726::{G726, Packing};
use crate::media::codec::{h264, h265};
use crate::media::frame::Codec;
use crate::media::ts;

/// What a payload can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program stream. `private`: each packet begins with a byte of the sender's own (0x0D), as the platforms of one
    /// vendor's own protocol send it.
    Ps { private: bool },
    /// A transport stream (RFC 2250, 2).
    Ts,
    /// H.264 or H.265 with start codes, cut anywhere.
    AnnexB,
    /// RFC 6184.
    H264,
    /// RFC 7798.
    H265,
    /// AAC frames with their headers.
    Adts,
    /// AAC by RFC 3640, or by RFC 6416 with its configuration out of band.
    Aac(AacFormat),
    /// G.711, G.722, G.726: bytes of a fixed rate.
    Samples(Codec),
    /// By its number in a program stream map.
    Unsupported(u8),
}

/// How AAC lies in RTP packets, and its AudioSpecificConfig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacFormat {
    /// Bits of an access unit's size and of its index in the headers; no headers at all = `None` (RFC 6416).
    pub header_bits: Option<(u8, u8)>,
    config: [u8; AAC_CONFIG_BYTES_MAX],
    config_len: u8,
}

/// AudioSpecificConfig of LC has two bytes, with explicit SBR five to seven.
const AAC_CONFIG_BYTES_MAX: usize = 8;

impl AacFormat {
    pub fn config(&self) -> &[u8] {
        &self.config[..usize::from(self.config_len)]
    }
}

/// What one payload type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap {
    pub payload_type: u8,
    pub kind: Kind,
    /// RTP clock.
    pub clock_hz: u32,
}

/// The declarations of a source.
pub type RtpMaps = [Option<RtpMap>; limits::PAYLOAD_TYPES_MAX];

impl RtpMap {
    /// Reads the value of an rtpmap (`H264/90000`, `MPEG4-GENERIC/16000/1`) with the fmtp parameters beside it.
    ///
    /// `None`: an encoding that is not known at all, no clock, or AAC without a usable configuration.
    pub fn parse(payload_type: u8, rtpmap: &str, fmtp: &str) -> Option<RtpMap> {
        let mut parts = rtpmap.trim().split('/');
        let name = parts.next()?.to_ascii_uppercase();
        let clock_hz: u32 = match parts.next() {
            Some(clock) => clock.trim().parse().ok().filter(|hz| *hz > 0)?,
            None => return None,
        };
        let kind = match name.as_str() {
            "PS" | "MP2P" => Kind::Ps { private: false },
            "MP2T" => Kind::Ts,
            "H264" => Kind::H264,
            "H265" | "HEVC" => Kind::H265,
            "PCMA" => Kind::Samples(Codec::G711A),
            "PCMU" => Kind::Samples(Codec::G711U),
            "G722" => Kind::Samples(Codec::G722),
            "MPEG4-GENERIC" => Kind::Aac(aac_generic(fmtp)?),
            "MP4A-LATM" => Kind::Aac(aac_latm(fmtp)?),
            "MPEG4" | "MP4V-ES" => Kind::Unsupported(0x10),
            "MPA" => Kind::Unsupported(0x03),
            "SVAC" | "SVACV" => Kind::Unsupported(0x80),
            "SVACA" => Kind::Unsupported(0x9b),
            "G7221" => Kind::Unsupported(0x92),
            "G723" | "G7231" => Kind::Unsupported(0x93),
            "G728" => Kind::Unsupported(0x98),
            "G729" => Kind::Unsupported(0x99),
            "L16" => Kind::Unsupported(0x9c),
            other => Kind::Samples(Codec::G726(g726(other)?)),
        };
        Some(RtpMap {
            payload_type,
            kind,
            clock_hz,
        })
    }

    /// What a static payload type says (RFC 3551, table 4), and those that GB/T 28181 gives out beside them.
    pub fn of_type(payload_type: u8) -> Option<RtpMap> {
        let (kind, clock_hz) = match payload_type {
            0 => (Kind::Samples(Codec::G711U), 8_000),
            2 => (Kind::Samples(Codec::G726(G726::USUAL)), 8_000),
            4 => (Kind::Unsupported(0x93), 8_000),
            8 => (Kind::Samples(Codec::G711A), 8_000),
            9 => (Kind::Samples(Codec::G722), 8_000),
            14 => (Kind::Unsupported(0x03), 90_000),
            18 => (Kind::Unsupported(0x99), 8_000),
            20 => (Kind::Unsupported(0x9b), 8_000),
            _ => return None,
        };
        Some(RtpMap {
            payload_type,
            kind,
            clock_hz,
        })
    }
}

fn g726(name: &str) -> Option<G726> {
    let (rate, packing) = match name.strip_prefix("AAL2-G726-") {
        Some(rate) => (rate, Packing::Aal2),
        None => (name.strip_prefix("G726-")?, Packing::Rfc3551),
    };
    G726::new(rate.parse().ok()?, packing)
}

fn parameter<'a>(fmtp: &'a str, wanted: &str) -> Option<&'a str> {
    fmtp.split([';', ' ']).find_map(|one| {
        let (name, value) = one.trim().split_once('=')?;
        name.eq_ignore_ascii_case(wanted).then_some(value.trim())
    })
}

fn hex(text: &str) -> Option<([u8; AAC_CONFIG_BYTES_MAX], u8)> {
    let mut bytes = [0; AAC_CONFIG_BYTES_MAX];
    let count = text.len() / 2;
    let fits =
        text.is_ascii() && text.len().is_multiple_of(2) && (2..=bytes.len()).contains(&count);
    if !fits {
        return None;
    }
    for (n, byte) in bytes[..count].iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).ok()?;
    }
    Some((bytes, count as u8))
}

fn aac_generic(fmtp: &str) -> Option<AacFormat> {
    let bits = |name, usual| {
        parameter(fmtp, name).map_or(Some(usual), |v| v.parse().ok().filter(|n| *n <= 16))
    };
    let (config, config_len) = hex(parameter(fmtp, "config")?)?;
    Some(AacFormat {
        header_bits: Some((bits("sizelength", 13)?, bits("indexlength", 3)?)),
        config,
        config_len,
    })
}

/// StreamMuxConfig (ISO/IEC 14496-3, 1.7.3.1) of one program with one layer: 15 bits stand before the
/// AudioSpecificConfig.
fn aac_latm(fmtp: &str) -> Option<AacFormat> {
    if parameter(fmtp, "cpresent") != Some("0") {
        return None;
    }
    let (mux, len) = hex(parameter(fmtp, "config")?)?;
    // Version 0, all streams with the same framing, no sub-frames, program 0, layer 0.
    if mux[0] != 0x40 || mux[1] & 0xfe != 0 {
        return None;
    }
    let mut config = [0; AAC_CONFIG_BYTES_MAX];
    config[0] = mux[1] << 7 | mux[2] >> 1;
    config[1] = mux[2] << 7 | mux[3] >> 1;
    // Object type 2 in the short form: what follows are the frame length fields of the mux.
    (len >= 4 && config[0] >> 3 == 2).then_some(AacFormat {
        header_bits: None,
        config,
        config_len: 2,
    })
}

/// How a payload looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Nothing,
    /// Nearly any bytes can look so now and then.
    Likely(Kind),
    /// Chance does not make bytes like these.
    Sure(Kind),
}

/// First byte behind the RTP header in the private protocol of one vendor's platforms.
const PRIVATE_BYTE: u8 = 0x0d;

/// Looks at one payload.
#[inline]
pub fn look(payload: &[u8]) -> Look {
    match payload {
        [0, 0, 1, 0xba, ..] => Look::Sure(Kind::Ps { private: false }),
        [PRIVATE_BYTE, 0, 0, 1, 0xba, ..] => Look::Sure(Kind::Ps { private: true }),
        [0, 0, 1, 0xbb..=0xef, ..] => Look::Likely(Kind::Ps { private: false }),
        [0, 0, 1, nal @ ..] | [0, 0, 0, 1, nal @ ..] => look_annexb(nal),
        [ts::SYNC, ..] if payload.len() >= ts::PACKET_BYTES => look_ts(payload),
        [0xff, second, ..] if second & 0xf6 == 0xf0 => look_adts(payload),
        // Of H.265 the second byte is 1 in the base layer. A fragment of H.264 can have it there too, but then its first is
        // of no type of H.265; a picture timing SEI of H.264 is taken for what it is.
        [first, 1, ..] if first & 0x81 == 0 && *first != 0x06 => match look_h265(payload) {
            Look::Nothing => look_h264(payload),
            look => look,
        },
        [_, _, ..] => look_h264(payload),
        _ => Look::Nothing,
    }
}

fn look_annexb(nal: &[u8]) -> Look {
    match nal {
        [head, ..] if head & 0x80 != 0 => Look::Nothing,
        [_, _, ..] if is_set_264(nal) || is_set_265(nal) => Look::Sure(Kind::AnnexB),
        [_, _, ..] => Look::Likely(Kind::AnnexB),
        _ => Look::Nothing,
    }
}

/// Each packet of a transport stream begins with the sync byte; three in a row are no chance.
fn look_ts(payload: &[u8]) -> Look {
    let whole = payload.len().is_multiple_of(ts::PACKET_BYTES);
    let all = payload
        .iter()
        .step_by(ts::PACKET_BYTES)
        .all(|b| *b == ts::SYNC);
    match payload.len() / ts::PACKET_BYTES {
        3.. if all && whole => Look::Sure(Kind::Ts),
        1.. if all && whole => Look::Likely(Kind::Ts),
        _ => look_h264(payload),
    }
}

/// Frames that fill the payload to its end.
fn look_adts(payload: &[u8]) -> Look {
    let mut rest = payload;
    let mut frames = 0;
    while let Some(adts) = Adts::parse(rest) {
        frames += 1;
        match rest.get(adts.frame_bytes..) {
            Some([]) if frames > 1 => return Look::Sure(Kind::Adts),
            Some([]) => return Look::Likely(Kind::Adts),
            Some(after) => rest = after,
            None => return Look::Nothing,
        }
    }
    Look::Nothing
}

fn look_h265(payload: &[u8]) -> Look {
    const AP: u8 = 48;
    const FU: u8 = 49;
    match payload[0] >> 1 & 0x3f {
        0..=9 | 16..=21 | 35..=40 => Look::Likely(Kind::H265),
        32..=34 if is_set_265(payload) => Look::Sure(Kind::H265),
        32..=34 => Look::Likely(Kind::H265),
        AP => match aggregated(&payload[2..], is_set_265) {
            Some(true) => Look::Sure(Kind::H265),
            Some(false) => Look::Likely(Kind::H265),
            None => Look::Nothing,
        },
        FU => match payload.get(2) {
            Some(head) if head >> 6 != 3 && head & 0x3f <= 40 => Look::Likely(Kind::H265),
            Some(_) | None => Look::Nothing,
        },
        _ => Look::Nothing,
    }
}

fn look_h264(payload: &[u8]) -> Look {
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let head = payload[0];
    if head & 0x80 != 0 {
        return Look::Nothing;
    }
    let reference = head & 0x60 != 0;
    match head & 0x1f {
        1 => Look::Likely(Kind::H264),
        5 | 8 if reference => Look::Likely(Kind::H264),
        6 | 9 if !reference => Look::Likely(Kind::H264),
        7 if is_set_264(payload) => Look::Sure(Kind::H264),
        STAP_A => match aggregated(&payload[1..], is_set_264) {
            Some(true) => Look::Sure(Kind::H264),
            Some(false) => Look::Likely(Kind::H264),
            None => Look::Nothing,
        },
        FU_A if payload[1] & 0x20 == 0 && payload[1] >> 6 != 3 => match payload[1] & 0x1f {
            1 | 5..=8 => Look::Likely(Kind::H264),
            _ => Look::Nothing,
        },
        _ => Look::Nothing,
    }
}

/// Whether an aggregation packet is whole, and one of its units is a set by which a codec is known.
fn aggregated(mut units: &[u8], is_set: fn(&[u8]) -> bool) -> Option<bool> {
    let mut set = false;
    let mut count = 0;
    while let [high, low, rest @ ..] = units {
        let (nal, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        set |= is_set(nal);
        units = after;
        count += 1;
    }
    (units.is_empty() && count > 0).then_some(set)
}

/// A sequence parameter set of a profile and level that exist.
fn is_set_264(nal: &[u8]) -> bool {
    h264::is_sps(nal)
        && h264::Sps::parse(nal).is_some_and(|sps| {
            matches!(sps.profile, 66 | 77 | 88 | 100 | 110 | 122 | 244)
                && matches!(sps.level, 9..=13 | 20..=22 | 30..=32 | 40..=42 | 50..=52 | 60..=62)
        })
}

/// A video parameter set as all encoders begin it, or a readable sequence parameter set.
fn is_set_265(nal: &[u8]) -> bool {
    nal.starts_with(&[0x40, 1, 0x0c, 1])
        || (nal.starts_with(&[0x42, 1]) && h265::Sps::parse(nal).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: [u8; 25] = [
        0x67, 0x64, 0x00, 0x20, 0xac, 0xd9, 0x40, 0xc0, 0x29, 0xb0, 0x11, 0x00, 0x00, 0x03, 0x00,
        0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x18, 0x31, 0x96,
    ];

    #[test]
    fn an_rtpmap_names_its_kind() {
        let kind = |rtpmap, fmtp| RtpMap::parse(97, rtpmap, fmtp).map(|m| (m.kind, m.clock_hz));
        assert_eq!(kind("H264/90000", ""), Some((Kind::H264, 90_000)));
        assert_eq!(
            kind("ps/90000", ""),
            Some((Kind::Ps { private: false }, 90_000))
        );
        assert_eq!(
            kind("SVAC/90000", ""),
            Some((Kind::Unsupported(0x80), 90_000))
        );
        assert_eq!(
            kind("G7221/16000", ""),
            Some((Kind::Unsupported(0x92), 16_000))
        );
        let g726 = |kbit, packing| {
            G726::new(kbit, packing).map(|g| (Kind::Samples(Codec::G726(g)), 8_000))
        };
        assert_eq!(kind("G726-32/8000/1", ""), g726(32, Packing::Rfc3551));
        assert_eq!(kind("AAL2-G726-16/8000", ""), g726(16, Packing::Aal2));
        for wrong in [
            "H264",
            "H264/0",
            "G726-33/8000",
            "VP8/90000",
            "MPEG4-GENERIC/16000",
            "",
        ] {
            assert_eq!(kind(wrong, ""), None, "{wrong}");
        }
    }

    #[test]
    fn aac_brings_its_configuration() {
        let aac = |rtpmap, fmtp| match RtpMap::parse(97, rtpmap, fmtp)?.kind {
            Kind::Aac(format) => Some((format.header_bits, format.config().to_vec())),
            _ => None,
        };
        // As ffmpeg writes it.
        let generic = "profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=121056E500";
        assert_eq!(
            aac("MPEG4-GENERIC/44100/2", generic),
            Some((Some((13, 3)), vec![0x12, 0x10, 0x56, 0xe5, 0]))
        );
        assert_eq!(aac("MPEG4-GENERIC/44100/2", "config=1"), None);
        assert_eq!(aac("MPEG4-GENERIC/44100/2", "config=12zz"), None);
        // LC, 16 kHz, mono.
        let latm = "profile-level-id=1;cpresent=0;config=400028103FC0";
        assert_eq!(
            aac("MP4A-LATM/16000/1", latm),
            Some((None, vec![0x14, 0x08]))
        );
        assert_eq!(aac("MP4A-LATM/16000/1", "cpresent=1"), None);
    }

    #[test]
    fn payloads_look_like_what_they_are() {
        let ps = Kind::Ps { private: false };
        assert_eq!(look(&[0, 0, 1, 0xba, 0x44]), Look::Sure(ps));
        assert_eq!(look(&[0, 0, 1, 0xe0, 1]), Look::Likely(ps));
        assert_eq!(
            look(&[0x0d, 0, 0, 1, 0xba, 0x44]),
            Look::Sure(Kind::Ps { private: true })
        );
        let mut packets = vec![0u8; 3 * 188];
        packets.iter_mut().step_by(188).for_each(|b| *b = 0x47);
        assert_eq!(look(&packets), Look::Sure(Kind::Ts));
        assert_eq!(look(&packets[..188]), Look::Likely(Kind::Ts));
        assert_eq!(look(&SPS), Look::Sure(Kind::H264));
        assert_eq!(look(&[0x65, 0x88, 1]), Look::Likely(Kind::H264));
        assert_eq!(look(&[0x7c, 0x85, 1]), Look::Likely(Kind::H264));
        assert_eq!(look(&[0x7c, 0x01, 1]), Look::Likely(Kind::H264));
        assert_eq!(look(&[0x06, 0x01, 4]), Look::Likely(Kind::H264));
        assert_eq!(look(&[0x40, 1, 0x0c, 1, 0xff]), Look::Sure(Kind::H265));
        assert_eq!(look(&[0x62, 1, 0x93, 1]), Look::Likely(Kind::H265));
        let mut annexb = vec![0, 0, 0, 1];
        annexb.extend(SPS);
        assert_eq!(look(&annexb), Look::Sure(Kind::AnnexB));
        let mut stap = vec![0x78, 0, 25];
        stap.extend(SPS);
        stap.extend([0, 4, 0x68, 0xeb, 0xe3, 0xcb]);
        assert_eq!(look(&stap), Look::Sure(Kind::H264));
        stap.pop();
        assert_eq!(look(&stap), Look::Nothing);
        let adts = [0xff, 0xf1, 0x50, 0x80, 1, 0x1f, 0xfc, 1];
        assert_eq!(look(&adts), Look::Likely(Kind::Adts));
        assert_eq!(look(&[adts, adts].concat()), Look::Sure(Kind::Adts));
        for nothing in [
            &[][..],
            &[0x67],
            &[0xd5; 160],
            &[0x80, 1, 2],
            &[0, 0],
            &[0, 0, 1],
        ] {
            assert_eq!(look(nothing), Look::Nothing, "{nothing:?}");
        }
    }
}
