//! Media time and wall time. No clock is read here: cores are told the time.

use std::time::{Duration, Instant};

/// Ticks per second of every track in a hub: the clock of PS and of RTP video (ISO/IEC 13818-1, 2.4.2.1; RFC 3551).
pub const TICKS_PER_SECOND: i64 = 90_000;

/// A point on a stream's own time line, in ticks of 1/90,000 s. It starts near zero and never wraps (64 bits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(pub i64);

impl MediaTime {
    /// Whole milliseconds, rounded down.
    pub fn as_ms(self) -> i64 {
        self.0.div_euclid(TICKS_PER_SECOND / 1000)
    }
}

/// Ties the monotonic clock to the wall clock once, so that a core can write a date without reading a clock.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    pub at: Instant,
    /// Milliseconds since the Unix epoch at `at`.
    pub unix_ms: i64,
}

impl WallClock {
    /// Milliseconds since the Unix epoch at `now`.
    pub fn unix_ms(&self, now: Instant) -> i64 {
        match now.checked_duration_since(self.at) {
            Some(d) => self.unix_ms + d.as_millis() as i64,
            None => self.unix_ms - (self.at - now).as_millis() as i64,
        }
    }
}

/// The earlier of two optional deadlines.
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Ticks of a duration, rounded down.
pub fn ticks(d: Duration) -> i64 {
    (d.as_micros() as i64) * TICKS_PER_SECOND / 1_000_000
}

/// Days since 1970-01-01 to a date of the Gregorian calendar, in eras of 400 years that begin on 1 March.
pub fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar; the other way of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `yyyy-MM-ddTHH:mm:ss` as clocks `offset_s` east of UTC show it: the times of records (GB/T 28181-2016, A.2.6.7).
pub fn local_text(unix_s: i64, offset_s: i32) -> String {
    let local = unix_s + i64::from(offset_s);
    let (year, month, day) = civil(local.div_euclid(86_400));
    let of_day = local.rem_euclid(86_400);
    let (h, m, s) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}")
}

/// Reads what [`local_text`] writes, also with a space for the T and with a fraction behind it. `None`: no such time.
pub fn parse_local(text: &str, offset_s: i32) -> Option<i64> {
    let text = text.trim();
    let (date, clock) = text.split_once(['T', ' '])?;
    let clock = clock.split(['.', 'Z', '+']).next()?;
    let three = |text: &str, separator| {
        let mut parts = text.split(separator).map(|p: &str| p.parse::<u32>().ok());
        let found = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(found)
    };
    let (year, month, day) = three(date, '-')?;
    let (h, m, s) = three(clock, ':')?;
    let sane = (1..=9_999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && h < 24
        && m < 60
        && s <= 60;
    let days = days(year.into(), month.into(), day.into());
    sane.then(|| days * 86_400 + i64::from(h * 3_600 + m * 60 + s) - i64::from(offset_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times_go_both_ways() {
        for (unix_s, offset_s, text) in [
            (0, 0, "1970-01-01T00:00:00"),
            (1_781_402_400, 8 * 3_600, "2026-06-14T10:00:00"),
            (1_709_164_800, 0, "2024-02-29T00:00:00"),
            (951_782_399, 0, "2000-02-28T23:59:59"),
        ] {
            assert_eq!(local_text(unix_s, offset_s), text);
            assert_eq!(parse_local(text, offset_s), Some(unix_s));
        }
        let hour = parse_local("2026-06-14 10:00:00.250", 8 * 3_600);
        assert_eq!(hour, Some(1_781_402_400));
        for bad in [
            "",
            "2026-06-14",
            "2026-13-01T00:00:00",
            "2026-06-14T25:00:00",
            "x-y-zTa:b:c",
        ] {
            assert_eq!(parse_local(bad, 0), None, "{bad}");
        }
    }
}
