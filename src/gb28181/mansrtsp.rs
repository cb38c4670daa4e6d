//! Orders to a device that plays back: RTSP in miniature, carried by INFO (GB/T 28181-2016, 9.8 and annex B). Both ways.
//!
//! ```text
//! PLAY RTSP/1.0        PAUSE RTSP/1.0       TEARDOWN RTSP/1.0       RTSP/1.0 200 OK
//! CSeq: 3              CSeq: 4              CSeq: 5                 CSeq: 3
//! Scale: 2.0           PauseTime: now
//! Range: npt=120-
//! ```
//!
//! 2011 writes `MANSRTSP/1.0`, later editions and the field `RTSP/1.0`; both are read. Places are written as whole seconds:
//! devices read `npt=12.5` as 0 or not at all, and one platform's `1.23E7` sent every seek to the beginning (field report
//! 28). Bounds: [`MANSRTSP_BYTES_MAX`].

use std::fmt;

use super::edition::Edition;
use crate::limits::MANSRTSP_BYTES_MAX;

/// Content-Type of the bodies.
pub const CONTENT_TYPE: &str = "Application/MANSRTSP";

/// How fast a record is played: 1 as it was recorded, negative backwards. In thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scale(i32);

impl Scale {
    pub const NORMAL: Scale = Scale(1_000);
    /// Slowest and fastest, in thousandths, of either direction.
    pub const RANGE: std::ops::RangeInclusive<i32> = 250..=8_000;

    /// `None`: outside of [`Scale::RANGE`], or no number.
    pub fn new(times: f64) -> Option<Scale> {
        let milli = (times * 1_000.0).round();
        // NaN is in no range.
        (milli.abs() >= f64::from(*Scale::RANGE.start())
            && milli.abs() <= f64::from(*Scale::RANGE.end()))
        .then_some(Scale(milli as i32))
    }

    pub fn milli(self) -> i32 {
        self.0
    }

    pub fn times(self) -> f64 {
        f64::from(self.0) / 1_000.0
    }
}

impl Default for Scale {
    fn default() -> Self {
        Scale::NORMAL
    }
}

impl fmt::Display for Scale {
    /// With one decimal at least and no exponent: `2.0`, `0.25`, `-4.0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let milli = self.0.unsigned_abs();
        let decimals = format!("{:03}", milli % 1_000);
        let decimals = decimals.trim_end_matches('0');
        let decimals = if decimals.is_empty() { "0" } else { decimals };
        write!(f, "{sign}{}.{decimals}", milli / 1_000)
    }
}

/// Where to play from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Now,
    /// Seconds from the beginning of the record.
    At(u32),
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Goes on, goes elsewhere or changes the speed; without a scale that stays.
    Play {
        scale: Option<Scale>,
        from: Option<From>,
    },
    Pause,
    Teardown,
}

/// Why a body is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    TooLong,
    /// The first line is not a known method.
    Method,
    /// A scale outside of [`Scale::RANGE`], or no number.
    Scale,
    Range,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::TooLong => "longer than an order is",
            Error::Method => "not PLAY, PAUSE or TEARDOWN",
            Error::Scale => "a scale that is none",
            Error::Range => "a range that is none",
        })
    }
}

impl std::error::Error for Error {}

impl Order {
    /// What is sent, for people.
    pub fn name(self) -> &'static str {
        match self {
            Order::Play { .. } => "INFO PLAY",
            Order::Pause => "INFO PAUSE",
            Order::Teardown => "INFO TEARDOWN",
        }
    }

    pub fn write(self, cseq: u32, edition: Option<Edition>) -> Vec<u8> {
        let protocol = match edition {
            Some(Edition::Y2011) => "MANSRTSP/1.0",
            Some(Edition::Y2016 | Edition::Y2022) | None => "RTSP/1.0",
        };
        let method = match self {
            Order::Play { .. } => "PLAY",
            Order::Pause => "PAUSE",
            Order::Teardown => "TEARDOWN",
        };
        let mut out = format!("{method} {protocol}\r\nCSeq: {cseq}\r\n");
        match self {
            Order::Play { scale, from } => {
                if let Some(scale) = scale {
                    out.push_str(&format!("Scale: {scale}\r\n"));
                }
                match from {
                    Some(From::Now) => out.push_str("Range: npt=now-\r\n"),
                    Some(From::At(second)) => out.push_str(&format!("Range: npt={second}-\r\n")),
                    None => {}
                }
            }
            Order::Pause => out.push_str("PauseTime: now\r\n"),
            Order::Teardown => {}
        }
        out.push_str("\r\n");
        out.into_bytes()
    }

    pub fn read(body: &[u8]) -> Result<Order, Error> {
        if body.len() > MANSRTSP_BYTES_MAX {
            return Err(Error::TooLong);
        }
        let text = String::from_utf8_lossy(body);
        let mut lines = text.trim_start().lines();
        let first = lines.next().unwrap_or_default();
        let method = first.split_whitespace().next().unwrap_or_default();
        match method {
            "PLAY" => {}
            "PAUSE" => return Ok(Order::Pause),
            "TEARDOWN" => return Ok(Order::Teardown),
            _ => return Err(Error::Method),
        }
        let (mut scale, mut from) = (None, None);
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match name.trim() {
                name if name.eq_ignore_ascii_case("scale") => {
                    let times = value.parse().map_err(|_| Error::Scale)?;
                    scale = Some(Scale::new(times).ok_or(Error::Scale)?);
                }
                name if name.eq_ignore_ascii_case("range") => from = Some(read_range(value)?),
                _ => {}
            }
        }
        Ok(Order::Play { scale, from })
    }
}

/// `npt=now-`, `npt=120-`, `npt=12.5-60`: where it begins; the end of a record is known.
fn read_range(value: &str) -> Result<From, Error> {
    let npt = value.strip_prefix("npt=").ok_or(Error::Range)?;
    let begin = npt.split('-').next().unwrap_or_default().trim();
    if begin.is_empty() || begin.eq_ignore_ascii_case("now") {
        return Ok(From::Now);
    }
    let seconds: f64 = begin.parse().map_err(|_| Error::Range)?;
    if seconds.is_finite() && (0.0..=f64::from(u32::MAX)).contains(&seconds) {
        Ok(From::At(seconds as u32))
    } else {
        Err(Error::Range)
    }
}

/// The status that a device wrote into the body of its answer: its SIP may say 200 where it did not obey. `None`: it wrote
/// none.
pub fn status(body: &[u8]) -> Option<u16> {
    let line = body.get(..body.len().min(64))?;
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_whitespace();
    let protocol = words.next()?;
    if !protocol.contains("RTSP/") {
        return None;
    }
    let status = words.next()?.parse().ok()?;
    (100..700).contains(&status).then_some(status)
}

/// The answer to an order.
pub fn write_answer(cseq: u32) -> Vec<u8> {
    format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_written_as_annex_b_has_them() {
        let text = |order: Order, edition| {
            String::from_utf8(order.write(7, edition)).expect("it is ASCII")
        };
        let play = Order::Play {
            scale: Scale::new(2.0),
            from: Some(From::At(120)),
        };
        assert_eq!(
            text(play, None),
            "PLAY RTSP/1.0\r\nCSeq: 7\r\nScale: 2.0\r\nRange: npt=120-\r\n\r\n"
        );
        let resume = Order::Play {
            scale: None,
            from: Some(From::Now),
        };
        assert_eq!(
            text(resume, Some(Edition::Y2011)),
            "PLAY MANSRTSP/1.0\r\nCSeq: 7\r\nRange: npt=now-\r\n\r\n"
        );
        assert_eq!(
            text(Order::Pause, Some(Edition::Y2022)),
            "PAUSE RTSP/1.0\r\nCSeq: 7\r\nPauseTime: now\r\n\r\n"
        );
        assert_eq!(
            text(Order::Teardown, None),
            "TEARDOWN RTSP/1.0\r\nCSeq: 7\r\n\r\n"
        );
    }

    /// A place far into a record, where a floating number is printed with an exponent by many languages.
    #[test]
    fn field_28_a_place_is_written_in_plain_digits() {
        for second in [0, 59, 12_300_000, u32::MAX] {
            let order = Order::Play {
                scale: None,
                from: Some(From::At(second)),
            };
            let text = String::from_utf8(order.write(1, None)).expect("ASCII");
            assert!(
                text.contains(&format!("Range: npt={second}-\r\n")),
                "{text}"
            );
            assert_eq!(Order::read(text.as_bytes()), Ok(order));
        }
        // And a device would still be understood that is asked by such a platform.
        let body = b"PLAY RTSP/1.0\r\nCSeq: 1\r\nRange: npt=1.23E7-\r\n\r\n";
        let from = Some(From::At(12_300_000));
        assert_eq!(Order::read(body), Ok(Order::Play { scale: None, from }));
    }

    #[test]
    fn what_others_write_is_read() {
        let play = |scale: Option<f64>, from| Order::Play {
            scale: scale.map(|s| Scale::new(s).expect("in range")),
            from,
        };
        for (body, order) in [
            (
                "PLAY MANSRTSP/1.0\nCSeq:1\nScale:0.500000\nRange:npt=now-\n",
                play(Some(0.5), Some(From::Now)),
            ),
            (
                "PLAY RTSP/1.0\r\nCSeq: 2\r\nRange: npt=120-\r\nScale: 2.0\r\n",
                play(Some(2.0), Some(From::At(120))),
            ),
            // From here up to second 5.
            (
                "PLAY RTSP/1.0\r\nRange: npt=-5\r\n",
                play(None, Some(From::Now)),
            ),
            ("\r\nPLAY RTSP/1.0\r\nscale: -4\r\n", play(Some(-4.0), None)),
            (
                "PLAY RTSP/1.0\r\nRange: npt=3.9-10\r\n",
                play(None, Some(From::At(3))),
            ),
            (
                "PAUSE RTSP/1.0\r\nCSeq: 1\r\nPauseTime: now\r\n",
                Order::Pause,
            ),
            ("TEARDOWN MANSRTSP/1.0\r\n", Order::Teardown),
        ] {
            assert_eq!(Order::read(body.as_bytes()), Ok(order), "{body}");
        }
        for (body, error) in [
            ("", Error::Method),
            ("RECORD RTSP/1.0\r\n", Error::Method),
            ("PLAY RTSP/1.0\r\nScale: fast\r\n", Error::Scale),
            ("PLAY RTSP/1.0\r\nScale: 64\r\n", Error::Scale),
            ("PLAY RTSP/1.0\r\nScale: NaN\r\n", Error::Scale),
            ("PLAY RTSP/1.0\r\nRange: clock=1-\r\n", Error::Range),
        ] {
            assert_eq!(Order::read(body.as_bytes()), Err(error), "{body}");
        }
    }

    #[test]
    fn an_order_has_a_bound() {
        let mut body = b"PAUSE RTSP/1.0\r\n".to_vec();
        body.resize(MANSRTSP_BYTES_MAX, b' ');
        assert_eq!(Order::read(&body), Ok(Order::Pause));
        body.push(b' ');
        assert_eq!(Order::read(&body), Err(Error::TooLong));
    }

    #[test]
    fn a_refusal_in_the_body_is_seen() {
        assert_eq!(status(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n"), Some(200));
        assert_eq!(status(b"MANSRTSP/1.0 451 Invalid Parameter"), Some(451));
        for none in [
            "",
            "OK",
            "RTSP/1.0",
            "RTSP/1.0 abc",
            "RTSP/1.0 9999 x",
            "<?xml 404",
        ] {
            assert_eq!(status(none.as_bytes()), None, "{none}");
        }
        assert_eq!(status(&write_answer(4)), Some(200));
    }

    #[test]
    fn scales_have_bounds_and_a_form() {
        for (times, text) in [
            (1.0, "1.0"),
            (0.25, "0.25"),
            (8.0, "8.0"),
            (-2.0, "-2.0"),
            (1.125, "1.125"),
        ] {
            assert_eq!(Scale::new(times).expect("in range").to_string(), text);
        }
        for times in [0.0, 0.24, -0.1, 8.1, -9.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Scale::new(times), None, "{times}");
        }
    }
}
