//! The eight bytes of a PTZCmd, both ways (GB/T 28181-2016 and 2022, annex A.3).
//!
//! ```text
//!  byte    1     2                    3          4        5      6      7                            8
//!        0xA5  version 0 | check    address    order   data 1  data 2  data 3 | address high    sum mod 256
//! ```
//!
//! The check of byte 2 is the sum of the four half bytes A, 5 and the version, mod 16: always 0xF. In a body the bytes
//! stand as 16 hexadecimal digits.
//!
//! | order (byte 4) | what | data |
//! |---|---|---|
//! | 0x00 to 0x3F | pan, tilt, zoom by bits; 0x00 stops | pan speed, tilt speed, zoom speed (4 bits) |
//! | 0x40 to 0x4F | focus and iris by bits; 0x40 stops | focus speed, iris speed |
//! | 0x81 to 0x83 | preset: set, go, delete | -, number 1 to 255 |
//! | 0x84 to 0x88 | cruise: add, remove, speed, dwell, start | cruise, preset or the low 8 of 12 bits, high 4 bits |
//! | 0x89, 0x8A | scan: start, left edge, right edge; speed | scan, what or low 8 of 12 bits, high 4 bits |
//! | 0x8C, 0x8D | auxiliary switch: on, off | number (1 is the wiper) |
//!
//! A cruise and a scan are stopped by the stop of pan and tilt. Not done: the order of vendors outside of the annex.

use std::fmt;

/// Largest value of the 12-bit numbers: speed and dwell of a cruise, speed of a scan.
pub const TWELVE_BITS_MAX: u16 = 0x0fff;
/// Fastest zoom.
pub const ZOOM_SPEED_MAX: u8 = 15;
/// The auxiliary switch that is the wiper (annex A.3.7).
pub const WIPER: u8 = 1;

/// One order to the head of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ptz {
    /// Turning and zooming until the next order. Nothing in it: stop.
    Move(Move),
    /// Focus and iris until the next order. Nothing in it: stop.
    Lens(Lens),
    Preset {
        order: PresetOrder,
        /// 1 to 255.
        number: u8,
    },
    Cruise {
        cruise: u8,
        order: CruiseOrder,
    },
    Scan {
        scan: u8,
        order: ScanOrder,
    },
    Auxiliary {
        number: u8,
        on: bool,
    },
}

/// Speeds of pan and tilt 0 to 255, of zoom 0 to [`ZOOM_SPEED_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Move {
    pub pan: Option<Pan>,
    pub tilt: Option<Tilt>,
    pub zoom: Option<Zoom>,
    pub pan_speed: u8,
    pub tilt_speed: u8,
    pub zoom_speed: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pan {
    Left,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tilt {
    Up,
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zoom {
    In,
    Out,
}

/// Speeds 0 to 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lens {
    pub focus: Option<Focus>,
    pub iris: Option<Iris>,
    pub focus_speed: u8,
    pub iris_speed: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    Near,
    Far,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iris {
    Open,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresetOrder {
    Set,
    Go,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CruiseOrder {
    Add {
        preset: u8,
    },
    /// 0 removes the whole cruise.
    Remove {
        preset: u8,
    },
    /// 0 to [`TWELVE_BITS_MAX`].
    Speed(u16),
    /// Seconds at each preset, 0 to [`TWELVE_BITS_MAX`].
    Dwell(u16),
    Start,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanOrder {
    Start,
    LeftEdge,
    RightEdge,
    /// 0 to [`TWELVE_BITS_MAX`].
    Speed(u16),
}

/// Why a PTZCmd is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PtzError {
    /// Not 16 hexadecimal digits.
    NotHex,
    /// Byte 1 or 2.
    BadHead,
    BadSum,
    /// Both ways at once, for example left and right.
    Contradiction,
    /// An order outside of annex A.3.
    Unknown(u8),
}

impl fmt::Display for PtzError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PtzError::NotHex => f.write_str("PTZCmd is not 16 hexadecimal digits"),
            PtzError::BadHead => f.write_str("PTZCmd does not begin with A50F"),
            PtzError::BadSum => f.write_str("the sum of PTZCmd is wrong"),
            PtzError::Contradiction => f.write_str("PTZCmd asks for both ways at once"),
            PtzError::Unknown(order) => write!(f, "PTZCmd has the unknown order {order:02X}"),
        }
    }
}

impl std::error::Error for PtzError {}

const HEAD: u8 = 0xA5;
const VERSION_AND_CHECK: u8 = 0x0F;
/// Low and high part of the address: every device takes 1 as itself.
const ADDRESS: u8 = 1;

impl Ptz {
    /// Ends turning, zooming, cruises and scans.
    pub const STOP: Ptz = Ptz::Move(Move {
        pan: None,
        tilt: None,
        zoom: None,
        pan_speed: 0,
        tilt_speed: 0,
        zoom_speed: 0,
    });

    /// The bytes on the wire. Numbers of 12 and 4 bits are cut to their width.
    pub fn bytes(self) -> [u8; 8] {
        let (order, data1, data2, data3) = self.data();
        let mut out = [
            HEAD,
            VERSION_AND_CHECK,
            ADDRESS,
            order,
            data1,
            data2,
            data3 << 4,
            0,
        ];
        out[7] = sum(&out);
        out
    }

    /// As it stands in a body: 16 digits in upper case.
    pub fn text(self) -> String {
        self.bytes().iter().map(|b| format!("{b:02X}")).collect()
    }

    /// Order, data 1, data 2, and the 4 bits of data 3.
    fn data(self) -> (u8, u8, u8, u8) {
        let wide = |value: u16| ((value & 0xff) as u8, ((value >> 8) & 0x0f) as u8);
        match self {
            Ptz::Move(m) => (
                m.bits(),
                m.pan_speed,
                m.tilt_speed,
                m.zoom_speed.min(ZOOM_SPEED_MAX),
            ),
            Ptz::Lens(l) => (l.bits(), l.focus_speed, l.iris_speed, 0),
            Ptz::Preset { order, number } => {
                let order = match order {
                    PresetOrder::Set => 0x81,
                    PresetOrder::Go => 0x82,
                    PresetOrder::Delete => 0x83,
                };
                (order, 0, number, 0)
            }
            Ptz::Cruise { cruise, order } => {
                let (order, (low, high)) = match order {
                    CruiseOrder::Add { preset } => (0x84, (preset, 0)),
                    CruiseOrder::Remove { preset } => (0x85, (preset, 0)),
                    CruiseOrder::Speed(speed) => (0x86, wide(speed)),
                    CruiseOrder::Dwell(seconds) => (0x87, wide(seconds)),
                    CruiseOrder::Start => (0x88, (0, 0)),
                };
                (order, cruise, low, high)
            }
            Ptz::Scan { scan, order } => {
                let (order, (low, high)) = match order {
                    ScanOrder::Start => (0x89, (0, 0)),
                    ScanOrder::LeftEdge => (0x89, (1, 0)),
                    ScanOrder::RightEdge => (0x89, (2, 0)),
                    ScanOrder::Speed(speed) => (0x8A, wide(speed)),
                };
                (order, scan, low, high)
            }
            Ptz::Auxiliary { number, on } => (if on { 0x8C } else { 0x8D }, number, 0, 0),
        }
    }

    /// Reads the text of a body, in upper or lower case. The address is not looked at: the body names the camera.
    pub fn parse(text: &str) -> Result<Ptz, PtzError> {
        let text = text.trim().as_bytes();
        if text.len() != 16 || !text.iter().all(u8::is_ascii_hexdigit) {
            return Err(PtzError::NotHex);
        }
        let digit = |b: u8| char::from(b).to_digit(16).map_or(0, |d| d as u8);
        let mut bytes = [0; 8];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0]) << 4 | digit(pair[1]);
        }
        Ptz::from_bytes(bytes)
    }

    pub fn from_bytes(bytes: [u8; 8]) -> Result<Ptz, PtzError> {
        let [head, version, _, order, data1, data2, data3, check] = bytes;
        let half_bytes = (HEAD >> 4) + (HEAD & 0x0f) + (version >> 4);
        if head != HEAD || version & 0x0f != half_bytes & 0x0f {
            return Err(PtzError::BadHead);
        }
        if check != sum(&bytes) {
            return Err(PtzError::BadSum);
        }
        let data3 = data3 >> 4;
        let wide = u16::from(data2) | u16::from(data3) << 8;
        Ok(match order {
            0x00..=0x3F => Ptz::Move(Move::from_bits(order, data1, data2, data3)?),
            0x40..=0x4F => Ptz::Lens(Lens::from_bits(order, data1, data2)?),
            0x81 => preset(PresetOrder::Set, data2),
            0x82 => preset(PresetOrder::Go, data2),
            0x83 => preset(PresetOrder::Delete, data2),
            0x84 => cruise(data1, CruiseOrder::Add { preset: data2 }),
            0x85 => cruise(data1, CruiseOrder::Remove { preset: data2 }),
            0x86 => cruise(data1, CruiseOrder::Speed(wide)),
            0x87 => cruise(data1, CruiseOrder::Dwell(wide)),
            0x88 => cruise(data1, CruiseOrder::Start),
            0x89 => {
                let order = match data2 {
                    0 => ScanOrder::Start,
                    1 => ScanOrder::LeftEdge,
                    2 => ScanOrder::RightEdge,
                    _ => return Err(PtzError::Unknown(order)),
                };
                Ptz::Scan { scan: data1, order }
            }
            0x8A => Ptz::Scan {
                scan: data1,
                order: ScanOrder::Speed(wide),
            },
            0x8C => Ptz::Auxiliary {
                number: data1,
                on: true,
            },
            0x8D => Ptz::Auxiliary {
                number: data1,
                on: false,
            },
            _ => return Err(PtzError::Unknown(order)),
        })
    }
}

fn preset(order: PresetOrder, number: u8) -> Ptz {
    Ptz::Preset { order, number }
}

fn cruise(cruise: u8, order: CruiseOrder) -> Ptz {
    Ptz::Cruise { cruise, order }
}

/// The sum of the first seven bytes.
fn sum(bytes: &[u8; 8]) -> u8 {
    bytes[..7].iter().fold(0u8, |sum, b| sum.wrapping_add(*b))
}

/// What two bits of which at most one may be set stand for.
fn either<T>(bits: u8, first: (u8, T), second: (u8, T)) -> Result<Option<T>, PtzError> {
    match (bits & first.0 != 0, bits & second.0 != 0) {
        (true, true) => Err(PtzError::Contradiction),
        (true, false) => Ok(Some(first.1)),
        (false, true) => Ok(Some(second.1)),
        (false, false) => Ok(None),
    }
}

impl Move {
    fn bits(self) -> u8 {
        let zoom = match self.zoom {
            Some(Zoom::Out) => 0x20,
            Some(Zoom::In) => 0x10,
            None => 0,
        };
        let tilt = match self.tilt {
            Some(Tilt::Up) => 0x08,
            Some(Tilt::Down) => 0x04,
            None => 0,
        };
        let pan = match self.pan {
            Some(Pan::Left) => 0x02,
            Some(Pan::Right) => 0x01,
            None => 0,
        };
        zoom | tilt | pan
    }

    fn from_bits(
        bits: u8,
        pan_speed: u8,
        tilt_speed: u8,
        zoom_speed: u8,
    ) -> Result<Move, PtzError> {
        Ok(Move {
            zoom: either(bits, (0x20, Zoom::Out), (0x10, Zoom::In))?,
            tilt: either(bits, (0x08, Tilt::Up), (0x04, Tilt::Down))?,
            pan: either(bits, (0x02, Pan::Left), (0x01, Pan::Right))?,
            pan_speed,
            tilt_speed,
            zoom_speed,
        })
    }
}

impl Lens {
    fn bits(self) -> u8 {
        let iris = match self.iris {
            Some(Iris::Close) => 0x08,
            Some(Iris::Open) => 0x04,
            None => 0,
        };
        let focus = match self.focus {
            Some(Focus::Near) => 0x02,
            Some(Focus::Far) => 0x01,
            None => 0,
        };
        0x40 | iris | focus
    }

    fn from_bits(bits: u8, focus_speed: u8, iris_speed: u8) -> Result<Lens, PtzError> {
        Ok(Lens {
            iris: either(bits, (0x08, Iris::Close), (0x04, Iris::Open))?,
            focus: either(bits, (0x02, Focus::Near), (0x01, Focus::Far))?,
            focus_speed,
            iris_speed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_orders_have_known_bytes() {
        let turn = |pan, tilt, zoom| {
            Ptz::Move(Move {
                pan,
                tilt,
                zoom,
                pan_speed: 0x1e,
                tilt_speed: 0x1e,
                zoom_speed: 1,
            })
        };
        for (order, text) in [
            // Written by other implementations: see the vectors and their sources.
            (Ptz::STOP, "A50F0100000000B5"),
            (preset(PresetOrder::Go, 1), "A50F018200010038"),
            (cruise(1, CruiseOrder::Start), "A50F01880100003E"),
            (turn(None, Some(Tilt::Up), None), "A50F01081E1E1009"),
            (
                turn(Some(Pan::Left), Some(Tilt::Down), Some(Zoom::In)),
                "A50F01161E1E1017",
            ),
            (cruise(2, CruiseOrder::Dwell(0x123)), "A50F018702231071"),
            (
                Ptz::Lens(Lens {
                    focus: Some(Focus::Far),
                    iris: Some(Iris::Close),
                    focus_speed: 2,
                    iris_speed: 3,
                }),
                "A50F014902030003",
            ),
            (
                Ptz::Auxiliary {
                    number: WIPER,
                    on: true,
                },
                "A50F018C01000042",
            ),
        ] {
            assert_eq!(order.text(), text, "{order:?}");
            assert_eq!(Ptz::parse(text), Ok(order));
            assert_eq!(Ptz::parse(&text.to_lowercase()), Ok(order));
        }
    }

    #[test]
    fn every_order_comes_back_as_it_was_and_every_byte_is_read_or_refused() {
        let mut read = 0;
        for order in 0..=255 {
            for data in [[0, 0, 0], [1, 1, 0x10], [7, 2, 0xf0], [255, 255, 0xf0]] {
                let mut bytes = [HEAD, 0x0f, 1, order, data[0], data[1], data[2], 0];
                bytes[7] = sum(&bytes);
                if let Ok(ptz) = Ptz::from_bytes(bytes) {
                    read += 1;
                    assert_eq!(Ptz::from_bytes(ptz.bytes()), Ok(ptz));
                }
            }
        }
        // 27 ways to move, 9 of the lens, 3 + 5 orders, three of four scans, its speed, 2 of a switch.
        assert_eq!(read, 4 * (27 + 9 + 3 + 5 + 1 + 2) + 3);
    }

    #[test]
    fn damage_is_named() {
        for (text, error) in [
            ("A50F0100000000B", PtzError::NotHex),
            ("A50F0100000000BG", PtzError::NotHex),
            ("", PtzError::NotHex),
            ("A60F0100000000B6", PtzError::BadHead),
            ("A50E0100000000B4", PtzError::BadHead),
            ("A50F0100000000B6", PtzError::BadSum),
            ("A50F0103000000B8", PtzError::Contradiction),
            ("A50F014C00000001", PtzError::Contradiction),
            ("A50F01900000 045", PtzError::NotHex),
            ("A50F019000000045", PtzError::Unknown(0x90)),
            ("A50F018900030041", PtzError::Unknown(0x89)),
        ] {
            assert_eq!(Ptz::parse(text), Err(error), "{text}");
        }
    }
}
