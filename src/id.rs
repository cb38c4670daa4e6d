//! Identifiers. Each is a type, parsed once at the border.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits;

/// A GB/T 28181 code: 1 to 20 decimal digits (GB/T 28181-2016, annex D). Real devices send 18 digits too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GbId {
    len: u8,
    digits: [u8; 20],
}

/// What a text must be to be a [`GbId`]: 1 to 20 ASCII digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAGbId;

impl fmt::Display for NotAGbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a GB/T 28181 code: 1 to 20 digits are needed")
    }
}

impl std::error::Error for NotAGbId {}

impl GbId {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..usize::from(self.len)])
            .expect("only ASCII digits are stored")
    }

    /// Digits 11 to 13: the kind of thing (132 camera, 131 IPC by old coding, 118 NVR, 200 centre, 215 virtual
    /// organisation, 216 business group). `None` for codes that are not 20 digits long.
    pub fn type_code(&self) -> Option<u16> {
        (self.len == 20).then(|| {
            self.digits[10..13]
                .iter()
                .fold(0, |n, d| n * 10 + u16::from(d - b'0'))
        })
    }
}

impl FromStr for GbId {
    type Err = NotAGbId;
    fn from_str(s: &str) -> Result<Self, NotAGbId> {
        let b = s.as_bytes();
        if b.is_empty() || b.len() > 20 || !b.iter().all(u8::is_ascii_digit) {
            return Err(NotAGbId);
        }
        let mut digits = [0; 20];
        digits[..b.len()].copy_from_slice(b);
        Ok(GbId {
            len: b.len() as u8,
            digits,
        })
    }
}

impl fmt::Display for GbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for GbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What registers with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub GbId);

/// One camera or alarm input of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub GbId);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl DeviceId {
    /// The id the bvcsp API shows: `PU_` and the code.
    pub fn pu_id(&self) -> String {
        format!("PU_{}", self.0)
    }

    /// Reads `PU_340200…` or the bare code.
    pub fn from_pu_id(s: &str) -> Result<Self, NotAGbId> {
        s.strip_prefix("PU_").unwrap_or(s).parse().map(DeviceId)
    }
}

/// A name a user gave to a source of their own: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a text must be to be a [`StreamName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAStreamName;

impl fmt::Display for NotAStreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a stream name: 1 to 64 of letters, digits, '.', '_' and '-' are needed")
    }
}

impl std::error::Error for NotAStreamName {}

impl FromStr for StreamName {
    type Err = NotAStreamName;
    fn from_str(s: &str) -> Result<Self, NotAStreamName> {
        let ok = !s.is_empty()
            && s.len() <= limits::STREAM_NAME_BYTES_MAX
            && s.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if ok {
            Ok(StreamName(s.into()))
        } else {
            Err(NotAStreamName)
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names the media of one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamKey {
    /// The live picture of a channel.
    Live {
        device: DeviceId,
        channel: ChannelId,
    },
    /// A source opened without SIP (`POST /gantry/v1/ingest`).
    Named(StreamName),
    /// What a channel recorded, played back or downloaded. `play` is the session that opened it.
    Record {
        device: DeviceId,
        channel: ChannelId,
        play: SessionId,
    },
}

impl StreamKey {
    /// Which channel of which device; `None` for named sources.
    pub fn place(&self) -> Option<(DeviceId, ChannelId)> {
        match self {
            StreamKey::Live { device, channel }
            | StreamKey::Record {
                device, channel, ..
            } => Some((*device, *channel)),
            StreamKey::Named(_) => None,
        }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamKey::Live { device, channel } => write!(f, "{device}/{channel}"),
            StreamKey::Named(name) => name.fmt(f),
            StreamKey::Record {
                device,
                channel,
                play,
            } => write!(f, "{device}/{channel}/{play}"),
        }
    }
}

/// A running stream: index of its shard and a number that is never used twice in one run of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub shard: u8,
    pub number: u32,
}

/// One thing a client asked for; the API calls it a dialog. Never used twice in one run of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "D{:x}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = std::num::ParseIntError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(s.strip_prefix('D').unwrap_or(s), 16).map(SessionId)
    }
}

/// One viewer's connection. Never used twice in one run of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerId(pub u64);

/// Synchronisation source of RTP (RFC 3550, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    /// Ten digits, as `y=` wants it (GB/T 28181-2016, annex F).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_to_twenty_digits() {
        assert_eq!(
            "34020000001320000001"
                .parse::<GbId>()
                .map(|id| id.type_code()),
            Ok(Some(132))
        );
        assert_eq!(
            "340200000013200000"
                .parse::<GbId>()
                .map(|id| id.type_code()),
            Ok(None)
        );
        assert!("".parse::<GbId>().is_err());
        assert!("340200000013200000012".parse::<GbId>().is_err());
        assert!("3402000000132000000x".parse::<GbId>().is_err());
    }

    #[test]
    fn a_device_is_shown_as_pu() {
        let id = DeviceId::from_pu_id("PU_34020000001320000001").expect("a code");
        assert_eq!(id.pu_id(), "PU_34020000001320000001");
        assert_eq!(DeviceId::from_pu_id("34020000001320000001"), Ok(id));
    }

    #[test]
    fn a_stream_name_has_no_slash_and_an_end() {
        assert!("cam-1.a_b".parse::<StreamName>().is_ok());
        assert!("a/b".parse::<StreamName>().is_err());
        assert!(
            "x".repeat(limits::STREAM_NAME_BYTES_MAX)
                .parse::<StreamName>()
                .is_ok()
        );
        assert!(
            "x".repeat(limits::STREAM_NAME_BYTES_MAX + 1)
                .parse::<StreamName>()
                .is_err()
        );
    }
}
