//! NAL units behind start codes: where they begin, and a whole buffer split into them.
//!
//! ITU-T H.264, annex B; ITU-T H.265, annex B. A start code is 00 00 01, zeros before it belong to no unit.

use std::sync::LazyLock;

use memchr::memmem::Finder;

static START_CODE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(&[0, 0, 1]));

/// Where the first 00 00 01 begins.
#[inline]
pub fn find_start_code(bytes: &[u8]) -> Option<usize> {
    START_CODE.find(bytes)
}

/// `bytes` without the zeros at its end.
#[inline]
pub fn trim_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().rev().take_while(|b| **b == 0).count();
    &bytes[..bytes.len() - zeros]
}

/// The NAL units of a whole buffer, without start codes. Bytes before the first start code are left out.
pub fn nals(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = find_start_code(bytes).map(|at| &bytes[at + 3..]);
    std::iter::from_fn(move || {
        loop {
            let here = rest?;
            let next = find_start_code(here);
            rest = next.map(|at| &here[at + 3..]);
            let nal = trim_zeros(&here[..next.unwrap_or(here.len())]);
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_start_codes_are_split() {
        let b = [
            9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0x65, 0, 3,
        ];
        let got: Vec<_> = nals(&b).collect();
        assert_eq!(got, [&[0x67, 1][..], &[0x68, 2], &[0x65, 0, 3]]);
        assert_eq!(nals(&[1, 2, 3]).count(), 0);
    }
}
