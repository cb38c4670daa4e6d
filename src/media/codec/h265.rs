//! H.265: what NAL units are and what a sequence parameter set says.
//!
//! ITU-T H.265, 7.3.1.2 (NAL unit header), 7.3.2.2 (SPS), 7.3.3 (profile, tier, level), 7.4.2.4.4 (first NAL unit of an
//! access unit), E.2.1 (VUI).
//!
//! Not done: layers other than 0 (their units are dropped), SPS extensions.

use super::bits::Bits;
use super::h264::{rate, size};

/// Header and the byte that begins with `first_slice_segment_in_pic_flag`.
pub const LOOK_BYTES: usize = 3;

/// What a NAL unit is to an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nal {
    /// Coded picture. `key`: IDR, CRA or BLA. `first`: the picture's first slice segment.
    Slice {
        key: bool,
        first: bool,
    },
    Vps,
    Sps,
    Pps,
    /// Delimiter, prefix SEI and such: left out, but they end the access unit before them.
    Between,
    /// Suffix SEI, filler, other layers, reserved: left out.
    Extra,
}

/// What the unit with these first bytes is. Two bytes are enough but for slices, whose third tells `first`.
pub fn nal(head: &[u8]) -> Nal {
    let [a, b, rest @ ..] = head else {
        return Nal::Extra;
    };
    let layer = (a & 1) << 5 | b >> 3;
    if layer != 0 {
        return Nal::Extra;
    }
    let first = rest.first().is_none_or(|b| b & 0x80 != 0);
    match a >> 1 & 0x3f {
        0..=9 => Nal::Slice { key: false, first },
        16..=21 => Nal::Slice { key: true, first },
        32 => Nal::Vps,
        33 => Nal::Sps,
        34 => Nal::Pps,
        35 | 36 | 37 | 39 | 41..=44 | 48..=55 => Nal::Between,
        _ => Nal::Extra,
    }
}

/// Whether these first bytes are those of a VPS, SPS or PPS that a camera would send. As H.264 they would be types 0, 2
/// and 4, which cameras do not send.
pub fn is_parameter_set(head: &[u8]) -> bool {
    matches!(head, [0x40 | 0x42 | 0x44, 0x01, ..])
}

/// `pps_pic_parameter_set_id` of a PPS.
pub fn pps_id(pps: &[u8]) -> Option<u32> {
    Bits::new(pps.get(2..)?).ue()
}

/// What a sequence parameter set says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `general_profile_space`, tier and profile, as the byte that `hvcC` wants.
    pub profile_byte: u8,
    pub compatibility: u32,
    /// The 48 constraint bits.
    pub constraints: u64,
    /// Thirty times the level's number.
    pub level: u8,
    pub max_sub_layers: u8,
    pub temporal_id_nesting: bool,
    /// 1 = 4:2:0.
    pub chroma_format: u8,
    pub bit_depth_luma: u8,
    pub bit_depth_chroma: u8,
    pub id: u32,
    /// Luma samples after cropping.
    pub width: u32,
    pub height: u32,
    /// Frames per 1,000 seconds from the VUI, between 1 and 240 a second.
    pub fps_milli: Option<u32>,
}

impl Sps {
    /// Reads a whole SPS NAL unit, header first. `None`: cut, or sizes that no level allows. Trouble behind the sizes
    /// only costs the frame rate.
    pub fn parse(nal: &[u8]) -> Option<Sps> {
        if nal.first()? >> 1 & 0x3f != 33 {
            return None;
        }
        let mut b = Bits::new(nal.get(2..)?);
        b.skip(4)?; // sps_video_parameter_set_id
        let sub_layers_minus1 = b.u(3)?;
        let temporal_id_nesting = b.bit()?;
        let profile_byte = b.u(8)? as u8;
        let compatibility = b.u(32)?;
        let constraints = u64::from(b.u(24)?) << 24 | u64::from(b.u(24)?);
        let level = b.u(8)? as u8;
        skip_sub_layers(&mut b, sub_layers_minus1)?;
        let id = b.ue()?;
        let chroma_format = b.ue()?;
        if chroma_format > 3 {
            return None;
        }
        if chroma_format == 3 {
            b.bit()?; // separate_colour_plane_flag
        }
        let width = b.ue()?;
        let height = b.ue()?;
        let crop = if b.bit()? {
            [b.ue()?, b.ue()?, b.ue()?, b.ue()?]
        } else {
            [0; 4]
        };
        let (crop_x, crop_y) = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let bit_depth_luma = depth(b.ue()?)?;
        let bit_depth_chroma = depth(b.ue()?)?;
        Some(Sps {
            profile_byte,
            compatibility,
            constraints,
            level,
            max_sub_layers: sub_layers_minus1 as u8 + 1,
            temporal_id_nesting,
            chroma_format: chroma_format as u8,
            bit_depth_luma,
            bit_depth_chroma,
            id,
            width: size(width, 1, crop[0], crop[1], crop_x)?,
            height: size(height, 1, crop[2], crop[3], crop_y)?,
            fps_milli: read_rate(&mut b, sub_layers_minus1).flatten(),
        })
    }
}

fn depth(minus8: u32) -> Option<u8> {
    (minus8 <= 8).then(|| minus8 as u8 + 8)
}

fn skip_sub_layers(b: &mut Bits, sub_layers_minus1: u32) -> Option<()> {
    let mut present = [(false, false); 8];
    for flags in present.iter_mut().take(sub_layers_minus1 as usize) {
        *flags = (b.bit()?, b.bit()?);
    }
    if sub_layers_minus1 > 0 {
        b.skip(2 * (8 - sub_layers_minus1))?;
    }
    for (profile, level) in present {
        b.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Some(())
}

/// The frame rate of the VUI; outer `None` = the bits end early or cannot be.
fn read_rate(b: &mut Bits, sub_layers_minus1: u32) -> Option<Option<u32>> {
    let log2_max_poc = b.ue()?.checked_add(4)?;
    let first = if b.bit()? { 0 } else { sub_layers_minus1 };
    for _ in first..=sub_layers_minus1 {
        b.ue()?;
        b.ue()?;
        b.ue()?;
    }
    for _ in 0..6 {
        b.ue()?; // block and transform sizes and depths
    }
    if b.bit()? && b.bit()? {
        skip_scaling_lists(b)?;
    }
    b.skip(2)?; // asymmetric motion, sample adaptive offset
    if b.bit()? {
        b.skip(8)?; // PCM depths
        b.ue()?;
        b.ue()?;
        b.bit()?;
    }
    skip_reference_sets(b)?;
    if b.bit()? {
        let long_term = b.ue()?;
        if long_term > 32 || log2_max_poc > 16 {
            return None;
        }
        b.skip(long_term * (log2_max_poc + 1))?;
    }
    b.skip(2)?; // temporal motion vectors, strong intra smoothing
    if !b.bit()? {
        return Some(None);
    }
    read_vui_rate(b)
}

fn skip_scaling_lists(b: &mut Bits) -> Option<()> {
    for size_id in 0..4u32 {
        let step = if size_id == 3 { 3 } else { 1 };
        for _ in (0..6).step_by(step) {
            if !b.bit()? {
                b.ue()?;
            } else {
                if size_id > 1 {
                    b.se()?;
                }
                for _ in 0..64.min(1 << (4 + (size_id << 1))) {
                    b.se()?;
                }
            }
        }
    }
    Some(())
}

/// Short-term reference picture sets (7.3.7): only their number of pictures is kept, as the next may be told by it.
fn skip_reference_sets(b: &mut Bits) -> Option<()> {
    let sets = b.ue()?;
    if sets > 64 {
        return None;
    }
    let mut pictures = 0u32;
    for n in 0..sets {
        if n > 0 && b.bit()? {
            b.bit()?; // delta_rps_sign
            b.ue()?; // abs_delta_rps_minus1
            let mut kept = 0;
            for _ in 0..=pictures {
                let used = b.bit()?;
                let use_delta = used || b.bit()?;
                kept += u32::from(use_delta);
            }
            pictures = kept;
        } else {
            let before = b.ue()?;
            let after = b.ue()?;
            if before > 16 || after > 16 {
                return None;
            }
            pictures = before + after;
            for _ in 0..pictures {
                b.ue()?;
                b.bit()?;
            }
        }
        if pictures > 32 {
            return None;
        }
    }
    Some(())
}

fn read_vui_rate(b: &mut Bits) -> Option<Option<u32>> {
    if b.bit()? && b.u(8)? == 255 {
        b.skip(32)?; // sample aspect ratio
    }
    if b.bit()? {
        b.bit()?; // overscan_appropriate_flag
    }
    if b.bit()? {
        b.skip(4)?;
        if b.bit()? {
            b.skip(24)?;
        }
    }
    if b.bit()? {
        b.ue()?;
        b.ue()?;
    }
    b.skip(3)?; // neutral chroma, fields, frame and field info
    if b.bit()? {
        for _ in 0..4 {
            b.ue()?; // default display window
        }
    }
    if !b.bit()? {
        return Some(None);
    }
    let units = b.u(32)?;
    let time_scale = b.u(32)?;
    Some(rate(units, time_scale, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by x265 from a picture of 1918x1078, 4:4:4, 30 fps.
    const X265: [u8; 47] = [
        0x42, 0x01, 0x01, 0x04, 0x08, 0x00, 0x00, 0x03, 0x00, 0x9e, 0x08, 0x00, 0x00, 0x03, 0x00,
        0x00, 0x78, 0x90, 0x00, 0x78, 0x10, 0x02, 0x1c, 0xee, 0xf2, 0xca, 0xcd, 0x24, 0x99, 0x5e,
        0x02, 0xdc, 0x08, 0x08, 0x00, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x01,
        0xe0, 0x80,
    ];

    #[test]
    fn an_sps_of_x265_is_read() {
        let sps = Sps::parse(&X265).expect("an SPS");
        assert_eq!((sps.width, sps.height), (1918, 1078));
        assert_eq!(sps.fps_milli, Some(30_000));
        assert_eq!((sps.profile_byte, sps.level), (4, 120));
        assert_eq!(sps.compatibility, 0x0800_0000);
        assert_eq!(sps.constraints, 0x9e08_0000_0000);
        assert_eq!((sps.chroma_format, sps.bit_depth_luma), (3, 8));
        assert_eq!((sps.max_sub_layers, sps.temporal_id_nesting), (1, true));
    }

    #[test]
    fn a_cut_sps_is_none_or_has_no_rate() {
        for n in 0..X265.len() {
            if let Some(sps) = Sps::parse(&X265[..n]) {
                assert_eq!((sps.width, sps.height), (1918, 1078), "cut at {n}");
            }
        }
        assert_eq!(Sps::parse(&X265[..20]), None);
    }

    #[test]
    fn units_are_told_by_their_first_bytes() {
        assert_eq!(nal(&[0x40, 0x01]), Nal::Vps);
        assert_eq!(nal(&[0x42, 0x01]), Nal::Sps);
        assert_eq!(nal(&[0x44, 0x01]), Nal::Pps);
        assert_eq!(nal(&[0x46, 0x01]), Nal::Between);
        assert_eq!(nal(&[0x4e, 0x01]), Nal::Between);
        assert_eq!(nal(&[0x50, 0x01]), Nal::Extra);
        assert_eq!(
            nal(&[0x26, 0x01, 0xaf]),
            Nal::Slice {
                key: true,
                first: true
            }
        );
        assert_eq!(
            nal(&[0x02, 0x01, 0x40]),
            Nal::Slice {
                key: false,
                first: false
            }
        );
        assert_eq!(nal(&[0x02, 0x09, 0x40]), Nal::Extra);
        assert!(is_parameter_set(&[0x40, 0x01]) && !is_parameter_set(&[0x67, 0x64]));
    }
}
