//! Values of configuration keys: each reads itself from TOML and from plain text (environment, arguments).
//!
//! Not done: nested tables. A list is an array in TOML and comma-separated in text.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use crate::gb28181::MediaTransport;
use crate::gb28181::subscribe::Topic;
use crate::id::GbId;
use crate::media::hold::LossPolicy;

/// A type that a key may have.
pub trait Value: Sized {
    /// From plain text. Errors: what would be right, for people.
    fn from_text(text: &str) -> Result<Self, String>;

    /// As TOML writes it.
    fn to_toml(&self) -> String;

    /// From TOML: a string, unless the type has a form of its own.
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value.as_str() {
            Some(text) => Self::from_text(text),
            None => Err(format!("a string is needed, not {}", value.type_str())),
        }
    }

    /// For keys with a range.
    fn number(&self) -> Option<u64> {
        None
    }
}

/// Whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u64);

impl Seconds {
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

/// Whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// A text that no log shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "***" })
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn integer(value: &DeValue<'_>) -> Result<u64, String> {
    let number = value
        .as_integer()
        .ok_or_else(|| format!("a whole number is needed, not {}", value.type_str()))?;
    let digits: String = number.as_str().chars().filter(|c| *c != '_').collect();
    u64::from_str_radix(&digits, number.radix())
        .map_err(|_| format!("{digits} is not a whole number from 0 up"))
}

fn integer_text(text: &str) -> Result<u64, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("{text:?} is not a whole number from 0 up"))
}

macro_rules! number {
    ($($kind:ty, $make:expr, $get:expr;)*) => {$(
        impl Value for $kind {
            fn from_text(text: &str) -> Result<Self, String> {
                $make(integer_text(text)?)
            }
            fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
                $make(integer(value)?)
            }
            fn to_toml(&self) -> String {
                $get(self).to_string()
            }
            fn number(&self) -> Option<u64> {
                Some($get(self))
            }
        }
    )*};
}

number! {
    u32, |n| u32::try_from(n).map_err(|_| format!("{n} is more than {}", u32::MAX)), |n: &u32| u64::from(*n);
    u16, |n| u16::try_from(n).map_err(|_| format!("{n} is more than {}", u16::MAX)), |n: &u16| u64::from(*n);
    Seconds, |n| Ok(Seconds(n)), |n: &Seconds| n.0;
    Millis, |n| Ok(Millis(n)), |n: &Millis| n.0;
}

impl Value for u64 {
    fn from_text(text: &str) -> Result<Self, String> {
        integer_text(text)
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        integer(value)
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }

    fn number(&self) -> Option<u64> {
        Some(*self)
    }
}

impl Value for i32 {
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim()
            .parse()
            .map_err(|_| format!("{text:?} is not a whole number"))
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value.as_integer() {
            Some(number) => Self::from_text(number.as_str()),
            None => Err(format!(
                "a whole number is needed, not {}",
                value.type_str()
            )),
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        value
            .as_bool()
            .ok_or_else(|| format!("true or false is needed, not {}", value.type_str()))
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Value for Secret {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Secret(text.to_owned()))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

impl Value for PathBuf {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Value for SocketAddr {
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| {
            format!(
                "{text:?} is not an address with a port, such as \"0.0.0.0:5060\" or \"[::]:5060\""
            )
        })
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for IpAddr {
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim()
            .parse()
            .map_err(|_| format!("{text:?} is not an IP address"))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for GbId {
    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|e| format!("{text:?} is {e}"))
    }

    fn to_toml(&self) -> String {
        quoted(self.as_str())
    }
}

/// The empty text is `None`.
impl<T: Value> Value for Option<T> {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        T::from_text(text).map(Some)
    }

    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| quoted(""), Value::to_toml)
    }
}

impl<T: Value> Value for Vec<T> {
    fn from_text(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(T::from_text)
            .collect()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        value
            .as_array()
            .ok_or_else(|| format!("an array is needed, not {}", value.type_str()))?
            .iter()
            .map(|item| T::from_toml(item.get_ref()))
            .collect()
    }

    fn to_toml(&self) -> String {
        let items: Vec<String> = self.iter().map(Value::to_toml).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Value for LogFormat {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("{text:?} is neither \"text\" nor \"json\"")),
        }
    }

    fn to_toml(&self) -> String {
        quoted(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

impl Value for Topic {
    fn from_text(text: &str) -> Result<Self, String> {
        Topic::from_name(text).ok_or_else(|| {
            format!("{text:?} is none of \"catalog\", \"alarm\", \"position\" and \"ptz\"")
        })
    }

    fn to_toml(&self) -> String {
        quoted(self.name())
    }
}

impl Value for MediaTransport {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "udp" => Ok(MediaTransport::Udp),
            "tcp-passive" => Ok(MediaTransport::TcpPassive),
            "tcp-active" => Ok(MediaTransport::TcpActive),
            _ => Err(format!(
                "{text:?} is none of \"udp\", \"tcp-passive\" and \"tcp-active\""
            )),
        }
    }

    fn to_toml(&self) -> String {
        quoted(match self {
            MediaTransport::Udp => "udp",
            MediaTransport::TcpPassive => "tcp-passive",
            MediaTransport::TcpActive => "tcp-active",
        })
    }
}

impl Value for LossPolicy {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "hold-back" => Ok(LossPolicy::HoldBack),
            "show" => Ok(LossPolicy::Show),
            _ => Err(format!("{text:?} is neither \"hold-back\" nor \"show\"")),
        }
    }

    fn to_toml(&self) -> String {
        quoted(match self {
            LossPolicy::HoldBack => "hold-back",
            LossPolicy::Show => "show",
        })
    }
}
