//! G.711: A-law and µ-law to linear samples and back (ITU-T G.711, tables 1a to 2b).
//!
//! Linear samples are 16 bits: the law's 13 (A) or 14 (µ) bits at the top.

/// One byte of A-law.
pub fn from_alaw(byte: u8) -> i16 {
    ALAW[usize::from(byte)]
}

/// One byte of µ-law.
pub fn from_ulaw(byte: u8) -> i16 {
    ULAW[usize::from(byte)]
}

/// The byte of A-law whose interval holds `sample`.
pub fn to_alaw(sample: i16) -> u8 {
    const EVEN_BITS: u8 = 0x55;
    // Intervals of the negative half are a mirror, so that -1 falls in the first one.
    let (sign, size) = if sample >= 0 {
        (0x80, sample as u16 >> 4)
    } else {
        (0, !sample as u16 >> 4)
    };
    let code = if size < 16 {
        size as u8
    } else {
        let exponent = 16 - size.leading_zeros() as u16 - 4;
        ((exponent << 4) | (size >> (exponent - 1) & 0xf)) as u8
    };
    (sign | code) ^ EVEN_BITS
}

/// The byte of µ-law whose interval holds `sample`.
pub fn to_ulaw(sample: i16) -> u8 {
    const CLIP: u16 = 8158;
    const BIAS: u16 = 33;
    let (sign, size) = if sample >= 0 {
        (0x80, sample as u16 >> 2)
    } else {
        (0, !sample as u16 >> 2)
    };
    let size = size.min(CLIP) + BIAS;
    let exponent = 16 - size.leading_zeros() as u16 - 6;
    let code = (exponent << 4 | (size >> (exponent + 1) & 0xf)) as u8;
    sign | (!code & 0x7f)
}

static ALAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = expand_alaw(byte as u8);
        byte += 1;
    }
    table
};

static ULAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = expand_ulaw(byte as u8);
        byte += 1;
    }
    table
};

const fn expand_alaw(byte: u8) -> i16 {
    let code = byte ^ 0x55;
    let exponent = (code >> 4) & 7;
    let mantissa = (code & 0xf) as i16;
    let size = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if code & 0x80 != 0 { size } else { -size }
}

const fn expand_ulaw(byte: u8) -> i16 {
    let code = !byte;
    let exponent = (code >> 4) & 7;
    let mantissa = (code & 0xf) as i16;
    let size = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    if code & 0x80 != 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_and_the_middle_are_those_of_the_tables() {
        // Values of the recommendation's tables, scaled to 16 bits.
        assert_eq!((from_alaw(0xd5), from_alaw(0x55)), (8, -8));
        assert_eq!((from_alaw(0xaa), from_alaw(0x2a)), (32256, -32256));
        assert_eq!((from_ulaw(0xff), from_ulaw(0x7f)), (0, 0));
        assert_eq!((from_ulaw(0x80), from_ulaw(0x00)), (32124, -32124));
    }

    #[test]
    fn every_byte_comes_back_and_every_sample_goes_to_its_nearest() {
        for byte in 0..=255u8 {
            assert_eq!(to_alaw(from_alaw(byte)), byte);
            if byte != 0x7f {
                assert_eq!(to_ulaw(from_ulaw(byte)), byte);
            }
        }
        for sample in (i16::MIN..=i16::MAX).step_by(7) {
            let size = i32::from(sample).abs();
            let error_a = (i32::from(from_alaw(to_alaw(sample))) - i32::from(sample)).abs();
            let error_u = (i32::from(from_ulaw(to_ulaw(sample))) - i32::from(sample)).abs();
            assert!(error_a <= (size / 32).max(16), "{sample}: {error_a}");
            assert!(error_u <= (size / 32).max(16) + 16, "{sample}: {error_u}");
        }
    }
}
