//! H.264: what NAL units are and what a sequence parameter set says.
//!
//! ITU-T H.264, 7.3.1 (NAL unit), 7.3.2.1.1 (SPS), 7.4.1.2.3 (first NAL unit of an access unit), E.1.1 (VUI).
//!
//! Not done: slice headers beyond `first_mb_in_slice`, scalable and multiview extensions (their units are dropped).

use super::bits::Bits;

/// Header and the byte that begins `first_mb_in_slice`.
pub const LOOK_BYTES: usize = 2;

/// What a NAL unit is to an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nal {
    /// Coded picture. `first`: its first macroblock is the picture's first.
    Slice {
        key: bool,
        first: bool,
    },
    Sps,
    Pps,
    /// Delimiter, SEI, end of sequence and such: left out, but they end the access unit before them.
    Between,
    /// Filler, extensions, reserved: left out.
    Extra,
}

/// What the unit with these first bytes is. One byte is enough but for slices, whose second byte tells `first`.
pub fn nal(head: &[u8]) -> Nal {
    let kind = head.first().map_or(0, |b| b & 0x1f);
    // ue(v) 0 is a single one bit.
    let first = head.get(1).is_none_or(|b| b & 0x80 != 0);
    match kind {
        1 | 2 => Nal::Slice { key: false, first },
        5 => Nal::Slice { key: true, first },
        // Data partitions B and C belong to the partition A before them.
        3 | 4 => Nal::Slice {
            key: false,
            first: false,
        },
        7 => Nal::Sps,
        8 => Nal::Pps,
        6 | 9 | 10 | 11 => Nal::Between,
        _ => Nal::Extra,
    }
}

/// Whether these first bytes are those of an SPS that a camera would send. As H.265 it would be of another layer or of an
/// unspecified type.
pub fn is_sps(head: &[u8]) -> bool {
    matches!(head, [0x67 | 0x47 | 0x27, ..])
}

/// `pic_parameter_set_id` of a PPS.
pub fn pps_id(pps: &[u8]) -> Option<u32> {
    Bits::new(pps.get(1..)?).ue()
}

/// What a sequence parameter set says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    pub profile: u8,
    /// `constraint_set` flags, most significant first.
    pub constraints: u8,
    /// Ten times the level's number.
    pub level: u8,
    pub id: u32,
    /// Luma samples after cropping.
    pub width: u32,
    pub height: u32,
    /// No fields: every picture is a frame.
    pub frames_only: bool,
    /// Frames per 1,000 seconds from the VUI, between 1 and 240 a second.
    pub fps_milli: Option<u32>,
}

impl Sps {
    /// Reads a whole SPS NAL unit, header first. `None`: cut, or sizes that no level allows. A broken VUI only costs the
    /// frame rate.
    pub fn parse(nal: &[u8]) -> Option<Sps> {
        if nal.first()? & 0x1f != 7 {
            return None;
        }
        let mut b = Bits::new(&nal[1..]);
        let profile = b.u(8)? as u8;
        let constraints = b.u(8)? as u8;
        let level = b.u(8)? as u8;
        let id = b.ue()?;
        let mut chroma = 1;
        let mut separate_planes = false;
        if matches!(
            profile,
            100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
        ) {
            chroma = b.ue()?;
            if chroma == 3 {
                separate_planes = b.bit()?;
            }
            b.ue()?; // bit_depth_luma_minus8
            b.ue()?; // bit_depth_chroma_minus8
            b.bit()?; // qpprime_y_zero_transform_bypass_flag
            if b.bit()? {
                let lists = if chroma == 3 { 12 } else { 8 };
                for n in 0..lists {
                    if b.bit()? {
                        skip_scaling_list(&mut b, if n < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        b.ue()?; // log2_max_frame_num_minus4
        skip_picture_order_count(&mut b)?;
        b.ue()?; // max_num_ref_frames
        b.bit()?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = b.ue()?.checked_add(1)?;
        let height_units = b.ue()?.checked_add(1)?;
        let frames_only = b.bit()?;
        if !frames_only {
            b.bit()?; // mb_adaptive_frame_field_flag
        }
        b.bit()?; // direct_8x8_inference_flag
        let fields = if frames_only { 1 } else { 2 };
        let crop = if b.bit()? {
            [b.ue()?, b.ue()?, b.ue()?, b.ue()?]
        } else {
            [0; 4]
        };
        let (crop_x, crop_y) = match (chroma, separate_planes) {
            (1, _) => (2, 2 * fields),
            (2, _) => (2, fields),
            (_, _) => (1, fields),
        };
        let width = size(width_mbs, 16, crop[0], crop[1], crop_x)?;
        let height = size(height_units, 16 * fields, crop[2], crop[3], crop_y)?;
        let fps_milli = read_vui_rate(&mut b).flatten();
        Some(Sps {
            profile,
            constraints,
            level,
            id,
            width,
            height,
            frames_only,
            fps_milli,
        })
    }
}

/// Size after cropping; `None` when nothing is left or it passes 16,384 (more than level 6.2 allows).
pub(super) fn size(units: u32, unit: u32, crop_a: u32, crop_b: u32, crop_unit: u32) -> Option<u32> {
    let full = units.checked_mul(unit)?;
    let crop = crop_a.checked_add(crop_b)?.checked_mul(crop_unit)?;
    let size = full.checked_sub(crop)?;
    (1..=16_384).contains(&size).then_some(size)
}

/// Frames per 1,000 s of `time_scale / (units * ticks_per_frame)`, if it is between 1 and 240 a second.
pub(super) fn rate(units: u32, time_scale: u32, ticks_per_frame: u64) -> Option<u32> {
    let divisor = u64::from(units) * ticks_per_frame;
    let milli = (u64::from(time_scale) * 1000).checked_div(divisor)?;
    (1_000..=240_000).contains(&milli).then_some(milli as u32)
}

fn skip_scaling_list(b: &mut Bits, size: u32) -> Option<()> {
    let mut last = 8i32;
    let mut next = 8i32;
    for _ in 0..size {
        if next != 0 {
            next = (last + b.se()? % 256 + 256) % 256;
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn skip_picture_order_count(b: &mut Bits) -> Option<()> {
    match b.ue()? {
        0 => {
            b.ue()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            b.bit()?;
            b.se()?;
            b.se()?;
            let cycle = b.ue()?;
            if cycle > 255 {
                return None;
            }
            for _ in 0..cycle {
                b.se()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// The frame rate of the VUI; outer `None` = the bits end early.
fn read_vui_rate(b: &mut Bits) -> Option<Option<u32>> {
    if !b.bit()? {
        return Some(None);
    }
    if b.bit()? && b.u(8)? == 255 {
        b.skip(32)?; // sample aspect ratio
    }
    if b.bit()? {
        b.bit()?; // overscan_appropriate_flag
    }
    if b.bit()? {
        b.skip(4)?; // video_format, full range
        if b.bit()? {
            b.skip(24)?; // colour description
        }
    }
    if b.bit()? {
        b.ue()?;
        b.ue()?;
    }
    if !b.bit()? {
        return Some(None);
    }
    let units = b.u(32)?;
    let time_scale = b.u(32)?;
    // Two ticks a frame (E.2.1): a tick is a field's time.
    Some(rate(units, time_scale, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SPS of GStreamer's program stream in the vectors: High 3.2, 768x320 at 25 fps.
    const GST: [u8; 26] = [
        0x67, 0x64, 0x00, 0x20, 0xac, 0xd9, 0x40, 0xc0, 0x29, 0xb0, 0x11, 0x00, 0x00, 0x03, 0x00,
        0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x18, 0x31, 0x96, 0x00,
    ];

    #[test]
    fn an_sps_of_x264_is_read() {
        let sps = Sps::parse(&GST).expect("an SPS");
        assert_eq!((sps.profile, sps.level), (100, 32));
        assert_eq!((sps.width, sps.height), (768, 320));
        assert_eq!(sps.fps_milli, Some(25_000));
        assert!(sps.frames_only);
    }

    #[test]
    fn cropping_is_taken_off() {
        // x264, 1918x1078 at 30 fps.
        let sps = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xa9, 0xb0, 0x11, 0x00,
            0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x18, 0x31, 0x96,
        ];
        let sps = Sps::parse(&sps).expect("an SPS");
        assert_eq!((sps.width, sps.height), (1918, 1078));
        assert_eq!(sps.fps_milli, Some(30_000));
    }

    #[test]
    fn a_cut_sps_is_none_or_has_no_rate() {
        for n in 0..GST.len() {
            if let Some(sps) = Sps::parse(&GST[..n]) {
                assert_eq!((sps.width, sps.height), (768, 320), "cut at {n}");
            }
        }
        assert_eq!(Sps::parse(&GST[..8]), None);
    }

    #[test]
    fn units_are_told_by_their_first_bytes() {
        assert_eq!(
            nal(&[0x65, 0x88]),
            Nal::Slice {
                key: true,
                first: true
            }
        );
        assert_eq!(
            nal(&[0x41, 0x40]),
            Nal::Slice {
                key: false,
                first: false
            }
        );
        assert_eq!(nal(&[0x67]), Nal::Sps);
        assert_eq!(nal(&[0x68]), Nal::Pps);
        assert_eq!(nal(&[0x09, 0xf0]), Nal::Between);
        assert_eq!(nal(&[0x0c]), Nal::Extra);
        assert!(is_sps(&[0x67]) && is_sps(&[0x27]));
        assert!(!is_sps(&[0x07]) && !is_sps(&[0xe7]));
    }

    #[test]
    fn sizes_beyond_any_level_are_refused() {
        assert_eq!(size(1024, 16, 0, 0, 2), Some(16_384));
        assert_eq!(size(1025, 16, 0, 0, 2), None);
        assert_eq!(size(1, 16, 4, 4, 2), None);
        assert_eq!(rate(1, 480, 2), Some(240_000));
        assert_eq!(rate(1, 482, 2), None);
        assert_eq!(rate(0, 50, 2), None);
    }
}
