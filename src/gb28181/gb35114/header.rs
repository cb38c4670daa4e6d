//! The header fields of GB 35114: Authorization, WWW-Authenticate, SecurityInfo and Note, read and written.
//!
//! ```text
//!  Authorization:    Capability algorithm="…", keyversion="…"
//!  WWW-Authenticate: Bidirection random1="…", algorithm="…"
//!  Authorization:    Bidirection random1="…", random2="…", serverid="…", deviceid="…", sign1="…", algorithm="…"
//!  SecurityInfo:     Bidirection random1="…", random2="…", deviceid="…", serverid="…", cryptkey="…", sign2="…", algorithm="…"
//!  Note:             Digest nonce="…",algorithm=SM3
//! ```
//!
//! Read as devices write them: quotes or none, a space after the comma or none, parameters in any order, names in any case.
//!
//! Bounds: [`GM_HEADER_BYTES_MAX`] of a value, [`GM_HEADER_PARAMETERS_MAX`] parameters; what is longer is not read.

use crate::limits::{GM_HEADER_BYTES_MAX, GM_HEADER_PARAMETERS_MAX};

/// What we and most devices can do: SM2 for identity, SM3, SM4 for media keys (not used at A level).
pub const ALGORITHM: &str = "A:SM2;H:SM3;S:SM4/OFB/PKCS5;SI:SM3-SM2";

/// How far the two prove themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The device says what it can do.
    Capability,
    /// The device proves itself.
    Unidirection,
    /// Both do.
    Bidirection,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Capability => "Capability",
            Scheme::Unidirection => "Unidirection",
            Scheme::Bidirection => "Bidirection",
        }
    }
}

/// A header value of GB 35114 that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub scheme: Scheme,
    parameters: Vec<(String, String)>,
}

impl Value {
    /// `None`: another scheme (Digest), or nothing of this form.
    pub fn read(value: &[u8]) -> Option<Value> {
        let text = text_of(value)?;
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let scheme = [
            Scheme::Capability,
            Scheme::Unidirection,
            Scheme::Bidirection,
        ]
        .into_iter()
        .find(|scheme| scheme.name().eq_ignore_ascii_case(word))?;
        let parameters = parameters(rest)?;
        Some(Value { scheme, parameters })
    }

    /// A parameter that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(n, _)| n == name)?;
        Some(found.1.as_str()).filter(|v| !v.is_empty())
    }
}

/// The nonce of a Note. `None`: no Note of GB 35114.
pub fn read_note(value: &[u8]) -> Option<String> {
    let text = text_of(value)?;
    let (word, rest) = text.split_once(' ')?;
    let parameters = parameters(rest)?;
    let get = |name: &str| parameters.iter().find(|(n, _)| n == name);
    let sm3 = get("algorithm")?.1.eq_ignore_ascii_case("SM3");
    let digest = word.eq_ignore_ascii_case("Digest");
    get("nonce")
        .filter(|_| digest && sm3)
        .map(|(_, v)| v.clone())
}

/// Writes a header value.
pub fn write(scheme: Scheme, parameters: &[(&str, &str)]) -> String {
    let mut out = scheme.name().to_owned();
    for (n, (name, value)) in parameters.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        out.push_str(&format!("{comma} {name}=\"{value}\""));
    }
    out
}

pub fn write_note(nonce: &str) -> String {
    format!("Digest nonce=\"{nonce}\",algorithm=SM3")
}

fn text_of(value: &[u8]) -> Option<&str> {
    if value.len() > GM_HEADER_BYTES_MAX {
        return None;
    }
    std::str::from_utf8(value).ok().map(str::trim)
}

fn parameters(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut out = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            return Some(out);
        }
        if out.len() >= GM_HEADER_PARAMETERS_MAX {
            return None;
        }
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let end = after.find([',', ' ', '\t']).unwrap_or(after.len());
                after.split_at(end)
            }
        };
        out.push((name.trim().to_ascii_lowercase(), value.to_owned()));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As real devices and other implementations write them.
    #[test]
    fn values_are_read_as_devices_write_them() {
        let value = Value::read(
            b"Bidirection random1=\"PRAIIbutDbd5x/NKsbwwYw==\",random2=\"F4InuQewuMMqYPy1ItBdhQ==\",serverid=\"34020000002000000001\",\
              sign1=\"MEUCIQD/9gP8olHM0TeLj0MxBRw3C8tQKFMMRgUupnyD4xXTTwIhAJvXxvTEDXj8Yk5qjHwujzUjpYpxxCGq7Zz0tKzhhJUU\", algorithm=A:SM2;H:SM3",
        )
        .expect("a value");
        assert_eq!(value.scheme, Scheme::Bidirection);
        assert_eq!(value.get("random2"), Some("F4InuQewuMMqYPy1ItBdhQ=="));
        assert_eq!(value.get("algorithm"), Some("A:SM2;H:SM3"));
        assert_eq!(value.get("deviceid"), None);
        let nonce = read_note(
            b"Digest nonce=\"lbm0wf9pAPtbeYEESrSmsBex2RcQi021l2Ljqcqtqqq=\",algorithm=SM3",
        );
        assert_eq!(nonce.map(|n| n.len()), Some(44));
        assert_eq!(read_note(b"Digest nonce=\"x\""), None);
        assert_eq!(read_note(b"Basic nonce=\"x\",algorithm=SM3"), None);
        assert_eq!(Value::read(b"Digest username=\"3402\", realm=\"x\""), None);
    }

    #[test]
    fn what_is_written_is_read_and_bounds_hold() {
        let text = write(
            Scheme::Unidirection,
            &[("random1", "a=="), ("algorithm", ALGORITHM)],
        );
        assert_eq!(
            text,
            format!("Unidirection random1=\"a==\", algorithm=\"{ALGORITHM}\"")
        );
        let read = Value::read(text.as_bytes()).expect("ours");
        assert_eq!(
            (read.scheme, read.get("random1")),
            (Scheme::Unidirection, Some("a=="))
        );
        assert_eq!(read_note(write_note("n").as_bytes()).as_deref(), Some("n"));
        let many = |n: usize| format!("Capability {}", vec!["a=b"; n].join(","));
        assert!(Value::read(many(GM_HEADER_PARAMETERS_MAX).as_bytes()).is_some());
        assert!(Value::read(many(GM_HEADER_PARAMETERS_MAX + 1).as_bytes()).is_none());
        let long = |n: usize| format!("Capability a=\"{}\"", "x".repeat(n - 15));
        assert!(Value::read(long(GM_HEADER_BYTES_MAX).as_bytes()).is_some());
        assert!(Value::read(long(GM_HEADER_BYTES_MAX + 1).as_bytes()).is_none());
        for broken in ["Capability a", "Capability a=\"b", "", "Capability =,=,"] {
            // No panic; an unreadable one is none.
            let _ = Value::read(broken.as_bytes());
        }
    }
}
