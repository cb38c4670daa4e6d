//! Charsets of MANSCDP bodies: bytes of a device in, text out; text in, bytes for a device out.
//!
//! GB/T 28181-2016, 6.10 wants GB 2312; the 2022 edition wants GB 18030. Real devices send GB 2312, GBK, GB 18030 or
//! UTF-8, declare any of them rightly, wrongly or not at all, mix two in one body, and cut a name in the middle of a
//! character. So the bytes decide, not the declaration: text that is valid UTF-8 is UTF-8, all else is GB 18030, which
//! contains the other two. A body that is neither as a whole is decoded value by value, so that one bad value spoils
//! itself alone. This is safe because no byte of a multi-byte character of either charset equals `<`.
//!
//! The declaration is asked in one case: valid UTF-8 whose multi-byte characters are all two bytes long. Such text is
//! not Chinese, while two GBK characters often look like it.
//!
//! Not done: UTF-16, Big5.

use std::borrow::Cow;

use encoding_rs::GB18030;

/// The charset a device is written to in, and the one declared in the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Charset {
    /// Declared as GB2312, as the 2011 and 2016 editions want; characters outside it go as GB 18030.
    #[default]
    Gb2312,
    Utf8,
}

/// A body as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub text: Cow<'a, str>,
    /// Some bytes were no character of any charset, or were NUL: they were replaced or left out.
    pub damaged: bool,
}

/// Reads a body in the charset that its bytes are really in. Never fails; NUL bytes are left out.
pub fn decode(body: &[u8]) -> Decoded<'_> {
    let has_nul = memchr::memchr(0, body).is_some();
    if has_nul {
        let clean: Vec<u8> = body.iter().copied().filter(|b| *b != 0).collect();
        return Decoded {
            text: Cow::Owned(decode_clean(&clean).text.into_owned()),
            damaged: true,
        };
    }
    decode_clean(body)
}

/// Writes a text in `charset`.
pub fn encode(text: &str, charset: Charset) -> Cow<'_, [u8]> {
    match charset {
        Charset::Utf8 => Cow::Borrowed(text.as_bytes()),
        Charset::Gb2312 => GB18030.encode(text).0,
    }
}

fn decode_clean(body: &[u8]) -> Decoded<'_> {
    match std::str::from_utf8(body) {
        Ok(text) if text.is_ascii() || has_long_characters(text) || declares_utf8(body) => {
            Decoded {
                text: Cow::Borrowed(text),
                damaged: false,
            }
        }
        Ok(text) => match GB18030.decode_without_bom_handling_and_without_replacement(body) {
            Some(gb) => Decoded {
                text: gb,
                damaged: false,
            },
            None => Decoded {
                text: Cow::Borrowed(text),
                damaged: false,
            },
        },
        Err(_) => decode_by_value(body),
    }
}

/// Whether some character takes three bytes or more in UTF-8, as every Chinese one does.
fn has_long_characters(text: &str) -> bool {
    text.bytes().any(|b| b >= 0xe0)
}

fn declares_utf8(body: &[u8]) -> bool {
    let head = &body[..body.len().min(128)];
    let Some(end) = memchr::memmem::find(head, b"?>") else {
        return false;
    };
    head[..end]
        .windows(5)
        .any(|w| w.eq_ignore_ascii_case(b"utf-8"))
        || head[..end]
            .windows(4)
            .any(|w| w.eq_ignore_ascii_case(b"utf8"))
}

/// Decodes each stretch up to the next `<` on its own.
fn decode_by_value(body: &[u8]) -> Decoded<'static> {
    let mostly_utf8 = is_mostly_utf8(body);
    let mut text = String::with_capacity(body.len() + body.len() / 2);
    let mut damaged = false;
    let mut rest = body;
    while !rest.is_empty() {
        let end = memchr::memchr(b'<', &rest[1..]).map_or(rest.len(), |at| at + 1);
        let (value, after) = rest.split_at(end);
        damaged |= decode_value(value, mostly_utf8, &mut text);
        rest = after;
    }
    Decoded {
        text: Cow::Owned(text),
        damaged,
    }
}

/// Whether three-byte UTF-8 characters outnumber what is no UTF-8. In GBK text they appear by accident only.
fn is_mostly_utf8(body: &[u8]) -> bool {
    let (mut long, mut invalid) = (0usize, 0usize);
    for chunk in body.utf8_chunks() {
        long += chunk.valid().bytes().filter(|b| *b >= 0xe0).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    long >= invalid
}

/// Appends one value. Returns whether something of it was lost.
fn decode_value(value: &[u8], mostly_utf8: bool, text: &mut String) -> bool {
    match std::str::from_utf8(value) {
        Ok(utf8) if mostly_utf8 || utf8.chars().all(|c| c.is_ascii() || u32::from(c) >= 0x800) => {
            text.push_str(utf8);
            false
        }
        // A name cut inside its last character, in a body that is otherwise UTF-8. The cut lies before the next `<`.
        Err(e) if mostly_utf8 && e.error_len().is_none() => {
            text.push_str(&String::from_utf8_lossy(value));
            true
        }
        Ok(_) | Err(_) => {
            let (gb, lost) = GB18030.decode_without_bom_handling(value);
            text.push_str(&gb);
            lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gb(text: &str) -> Vec<u8> {
        encode(text, Charset::Gb2312).into_owned()
    }

    #[test]
    fn text_is_read_in_the_charset_of_its_bytes_whatever_is_declared() {
        for declared in [
            "GB2312", "gb2312", "GBK", "GB18030", "UTF-8", "utf-8", "nonsense",
        ] {
            let text = format!(
                "<?xml version=\"1.0\" encoding=\"{declared}\"?><Name>北京东路摄像机</Name>"
            );
            assert_eq!(
                decode(text.as_bytes()).text,
                text,
                "UTF-8 declared {declared}"
            );
            assert_eq!(decode(&gb(&text)).text, text, "GB declared {declared}");
        }
        assert_eq!(decode(&gb("<Name>大门</Name>")).text, "<Name>大门</Name>");
    }

    #[test]
    fn known_bytes_of_gb2312_are_read() {
        // "摄像头" as GB 2312-80 codes it.
        let decoded = decode(b"<Name>\xc9\xe3\xcf\xf1\xcd\xb7</Name>");
        assert_eq!(decoded.text, "<Name>摄像头</Name>");
        assert!(!decoded.damaged);
    }

    #[test]
    fn gbk_that_looks_like_two_byte_utf8_is_gbk() {
        // D6B7 DFAF: both pairs are also valid UTF-8 (U+05B7, U+07EF).
        let body = b"<?xml version=\"1.0\" encoding=\"GB2312\"?><Name>\xd6\xb7\xdf\xaf</Name>";
        assert!(std::str::from_utf8(body).is_ok());
        assert!(decode(body).text.ends_with("<Name>址忒</Name>"));
        // Declared as UTF-8 it is believed.
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Name>é</Name>";
        assert_eq!(decode(body.as_bytes()).text, body);
    }

    #[test]
    fn one_value_in_another_charset_spoils_nothing() {
        let mut body = "<Name>东门摄像机一号</Name><Address>".as_bytes().to_vec();
        body.extend(gb("西湖路"));
        body.extend("</Address><Name>南门</Name>".as_bytes());
        assert_eq!(
            decode(&body).text,
            "<Name>东门摄像机一号</Name><Address>西湖路</Address><Name>南门</Name>"
        );
    }

    #[test]
    fn a_name_cut_inside_a_character_spoils_only_itself() {
        let mut body = "<Name>东门摄".as_bytes().to_vec();
        body.pop();
        body.extend("</Name><Name>南门</Name>".as_bytes());
        let decoded = decode(&body);
        assert!(decoded.damaged);
        assert_eq!(decoded.text, "<Name>东门\u{fffd}</Name><Name>南门</Name>");

        let mut body = gb("<Name>东门摄");
        body.pop();
        body.extend(gb("</Name><Name>南门</Name>"));
        let decoded = decode(&body);
        assert!(decoded.damaged);
        assert_eq!(decoded.text, "<Name>东门\u{fffd}</Name><Name>南门</Name>");
    }

    #[test]
    fn nul_bytes_are_left_out() {
        let decoded = decode(b"<Name>a\0b</Name>\0\0");
        assert_eq!(decoded.text, "<Name>ab</Name>");
        assert!(decoded.damaged);
    }

    #[test]
    fn any_bytes_are_text_in_the_end() {
        let body: Vec<u8> = (0..=255u8).rev().collect();
        assert!(decode(&body).damaged);
        assert_eq!(decode(b"").text, "");
    }
}
