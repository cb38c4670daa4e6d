//! Reads bits of a NAL unit: fixed width and Exp-Golomb, stepping over emulation prevention bytes.
//!
//! ITU-T H.264, 7.2, 7.4.1.1 and 9.1; ITU-T H.265, 9.2. Every read says `None` past the end; nothing is allocated.

/// A place in the bits of a NAL unit. Emulation prevention (00 00 03) is undone on the way.
#[derive(Clone, Debug)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits of `bytes[at]` already read.
    used: u32,
    zeros: u32,
}

impl<'a> Bits<'a> {
    /// `bytes`: the NAL unit from after its header.
    pub fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits {
            bytes,
            at: 0,
            used: 0,
            zeros: 0,
        }
    }

    pub fn bit(&mut self) -> Option<bool> {
        if self.used == 0 && self.zeros >= 2 && self.bytes.get(self.at) == Some(&3) {
            self.at += 1;
            self.zeros = 0;
        }
        let byte = *self.bytes.get(self.at)?;
        let bit = byte >> (7 - self.used) & 1 == 1;
        self.used += 1;
        if self.used == 8 {
            self.used = 0;
            self.at += 1;
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
        }
        Some(bit)
    }

    /// u(n), n up to 32.
    pub fn u(&mut self, n: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..n {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    pub fn skip(&mut self, n: u32) -> Option<()> {
        for _ in 0..n {
            self.bit()?;
        }
        Some(())
    }

    /// ue(v), up to 2^32 - 2.
    pub fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        ((1u32 << zeros) - 1).checked_add(self.u(zeros)?)
    }

    /// se(v).
    pub fn se(&mut self) -> Option<i32> {
        let k = self.ue()?;
        let half = k.div_ceil(2) as i32;
        Some(if k % 2 == 1 { half } else { -half })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_of_table_9_2() {
        // 1 | 010 | 011 | 00100 | 00101 then fill
        let mut b = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let got: Vec<_> = (0..5).map(|_| b.ue()).collect();
        assert_eq!(got, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        let mut b = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let got: Vec<_> = (0..5).map(|_| b.se()).collect();
        assert_eq!(got, [Some(0), Some(1), Some(-1), Some(2), Some(-2)]);
    }

    #[test]
    fn emulation_prevention_is_undone() {
        let mut b = Bits::new(&[0, 0, 3, 1, 0, 0, 3]);
        assert_eq!(b.u(24), Some(1));
        assert_eq!(b.u(16), Some(0));
        assert_eq!(b.bit(), None);
    }

    #[test]
    fn the_end_and_endless_zeros_are_none() {
        assert_eq!(Bits::new(&[]).u(1), None);
        assert_eq!(Bits::new(&[0xff; 2]).u(17), None);
        assert_eq!(Bits::new(&[0; 16]).ue(), None);
        assert_eq!(
            Bits::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]).ue(),
            Some(u32::MAX - 1)
        );
    }
}
