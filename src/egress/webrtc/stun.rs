//! STUN messages: parse with verification, write.
//!
//! RFC 8489, 5 (header), 14 (attributes), 9.1 (short-term credentials); RFC 8445, 7.1 (ICE attributes). Own rather than
//! `rtc-stun`: that crate copies every attribute into a vector before anything is verified, and ICE-lite needs one request,
//! two responses and nothing else.
//!
//! The parser borrows, walks each message once and keeps what ICE reads. FINGERPRINT must be there and right (RFC 8445,
//! 7.1.1), so that a foreign datagram on the port is dropped before any HMAC is computed.
//! Not done: long-term credentials, MESSAGE-INTEGRITY-SHA256 (no browser sends it), TURN.
//!
//! Bounds: [`STUN_BYTES_MAX`], [`STUN_ATTRIBUTES_MAX`].

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::limits::{STUN_ATTRIBUTES_MAX, STUN_BYTES_MAX};

const MAGIC: u32 = 0x2112_a442;
const HEADER_BYTES: usize = 20;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const ATTR_MAPPED_ADDRESS: u16 = 0x0001;
const ATTR_USERNAME: u16 = 0x0006;
const ATTR_MESSAGE_INTEGRITY: u16 = 0x0008;
const ATTR_ERROR_CODE: u16 = 0x0009;
const ATTR_UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const ATTR_REALM: u16 = 0x0014;
const ATTR_NONCE: u16 = 0x0015;
const ATTR_MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const ATTR_XOR_MAPPED_ADDRESS: u16 = 0x0020;
const ATTR_PRIORITY: u16 = 0x0024;
const ATTR_USE_CANDIDATE: u16 = 0x0025;
/// Attributes below this must be understood (RFC 8489, 14).
const ATTR_OPTIONAL_FROM: u16 = 0x8000;
const ATTR_FINGERPRINT: u16 = 0x8028;
const ATTR_ICE_CONTROLLED: u16 = 0x8029;
const ATTR_ICE_CONTROLLING: u16 = 0x802a;

pub type TransactionId = [u8; 12];

/// Class of a Binding message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A parsed Binding message. Nothing in it is proven until [`Message::verify`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    raw: &'a [u8],
    pub class: Class,
    pub transaction: TransactionId,
    pub username: Option<&'a [u8]>,
    pub priority: Option<u32>,
    pub use_candidate: bool,
    /// Tie-breaker of a peer that believes itself controlled.
    pub controlled: Option<u64>,
    pub controlling: Option<u64>,
    pub mapped: Option<SocketAddr>,
    pub error_code: Option<u16>,
    /// The first attribute that must be understood and is not.
    pub unknown: Option<u16>,
    /// Offset of the MESSAGE-INTEGRITY attribute.
    integrity_at: Option<usize>,
}

/// Why a datagram is not a Binding message for us, with the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunError {
    /// Not STUN at all: too short, wrong cookie, length not a multiple of 4 or not that of the datagram.
    NotStun,
    /// STUN, but not the Binding method.
    NotBinding,
    TooLong,
    Attribute {
        at: usize,
    },
    TooManyAttributes,
    /// No FINGERPRINT, not at the end, or wrong.
    Fingerprint,
}

/// Reads the USERNAME of a datagram and nothing else, for demultiplexing. Nothing is verified.
pub fn username(datagram: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    walk(datagram, |_, kind, value| {
        if kind == ATTR_USERNAME && found.is_none() {
            found = Some(value);
        }
        Ok(())
    })
    .ok()?;
    found
}

impl<'a> Message<'a> {
    /// Parses one datagram. Attributes behind MESSAGE-INTEGRITY other than FINGERPRINT are ignored (RFC 8489, 14.5).
    ///
    /// Errors: [`StunError`]; nothing is kept.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, StunError> {
        if datagram.len() > STUN_BYTES_MAX {
            return Err(StunError::TooLong);
        }
        let mut transaction = [0; 12];
        transaction.copy_from_slice(datagram.get(8..HEADER_BYTES).ok_or(StunError::NotStun)?);
        let class = match u16::from_be_bytes([datagram[0], datagram[1]]) {
            BINDING_REQUEST => Class::Request,
            BINDING_INDICATION => Class::Indication,
            BINDING_SUCCESS => Class::Success,
            BINDING_ERROR => Class::Error,
            other if other & 0xc000 != 0 => return Err(StunError::NotStun),
            _ => return Err(StunError::NotBinding),
        };
        let mut message = Message {
            raw: datagram,
            class,
            transaction,
            username: None,
            priority: None,
            use_candidate: false,
            controlled: None,
            controlling: None,
            mapped: None,
            error_code: None,
            unknown: None,
            integrity_at: None,
        };
        let mut fingerprint = None;
        walk(datagram, |at, kind, value| {
            if fingerprint.is_some() {
                return Err(StunError::Fingerprint);
            }
            if kind == ATTR_FINGERPRINT {
                let value: [u8; 4] = value.try_into().map_err(|_| StunError::Fingerprint)?;
                fingerprint = Some((at, u32::from_be_bytes(value)));
                return Ok(());
            }
            if message.integrity_at.is_some() {
                return Ok(());
            }
            message
                .take(at, kind, value)
                .ok_or(StunError::Attribute { at })
        })?;
        match fingerprint {
            Some((at, value)) if crc32(&datagram[..at]) ^ FINGERPRINT_XOR == value => Ok(message),
            Some(_) | None => Err(StunError::Fingerprint),
        }
    }

    /// Takes one attribute; `None` = its value has the wrong shape.
    fn take(&mut self, at: usize, kind: u16, value: &'a [u8]) -> Option<()> {
        match kind {
            ATTR_USERNAME => self.username = self.username.or(Some(value)),
            ATTR_MESSAGE_INTEGRITY => {
                (value.len() == 20).then_some(())?;
                self.integrity_at = Some(at);
            }
            ATTR_PRIORITY => self.priority = Some(u32::from_be_bytes(value.try_into().ok()?)),
            ATTR_USE_CANDIDATE => self.use_candidate = true,
            ATTR_ICE_CONTROLLED => {
                self.controlled = Some(u64::from_be_bytes(value.try_into().ok()?));
            }
            ATTR_ICE_CONTROLLING => {
                self.controlling = Some(u64::from_be_bytes(value.try_into().ok()?));
            }
            ATTR_XOR_MAPPED_ADDRESS => {
                self.mapped = Some(xor_address(value, &self.transaction)?);
            }
            ATTR_ERROR_CODE => {
                let v = value.get(..4)?;
                self.error_code = Some(u16::from(v[2] & 7) * 100 + u16::from(v[3]));
            }
            ATTR_MAPPED_ADDRESS
            | ATTR_UNKNOWN_ATTRIBUTES
            | ATTR_REALM
            | ATTR_NONCE
            | ATTR_MESSAGE_INTEGRITY_SHA256 => {}
            other if other < ATTR_OPTIONAL_FROM => {
                self.unknown = self.unknown.or(Some(other));
            }
            _ => {}
        }
        Some(())
    }

    /// Whether MESSAGE-INTEGRITY is there and made with `password` (RFC 8489, 14.5). Constant time in the tag.
    pub fn verify(&self, password: &[u8]) -> bool {
        let Some(at) = self.integrity_at else {
            return false;
        };
        let mut mac = hmac(password);
        // The length field counts up to and including MESSAGE-INTEGRITY, whatever follows it.
        let len = (at + 24 - HEADER_BYTES) as u16;
        mac.update(&self.raw[..2]);
        mac.update(&len.to_be_bytes());
        mac.update(&self.raw[4..at]);
        mac.verify_slice(&self.raw[at + 4..at + 24]).is_ok()
    }
}

/// Calls `each(offset of the attribute, type, value)` for every attribute.
fn walk<'a>(
    datagram: &'a [u8],
    mut each: impl FnMut(usize, u16, &'a [u8]) -> Result<(), StunError>,
) -> Result<(), StunError> {
    let header: &[u8; HEADER_BYTES] = datagram.first_chunk().ok_or(StunError::NotStun)?;
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let cookie = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    if cookie != MAGIC || len % 4 != 0 || len + HEADER_BYTES != datagram.len() {
        return Err(StunError::NotStun);
    }
    let mut at = HEADER_BYTES;
    let mut count = 0;
    while let Some(&[k0, k1, l0, l1]) = datagram[at..].first_chunk::<4>() {
        count += 1;
        if count > STUN_ATTRIBUTES_MAX {
            return Err(StunError::TooManyAttributes);
        }
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let value = datagram
            .get(at + 4..at + 4 + len)
            .ok_or(StunError::Attribute { at })?;
        each(at, u16::from_be_bytes([k0, k1]), value)?;
        // The datagram is a multiple of 4 long, so the padding of its last attribute is inside it.
        at += 4 + len.next_multiple_of(4);
    }
    Ok(())
}

/// XOR-MAPPED-ADDRESS (RFC 8489, 14.2); the XOR is its own inverse.
fn xor_address(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], ip) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([p0, p1]) ^ (MAGIC >> 16) as u16;
    let ip: IpAddr = match family {
        1 => (u32::from_be_bytes(ip.try_into().ok()?) ^ MAGIC)
            .to_be_bytes()
            .into(),
        2 => (u128::from_be_bytes(ip.try_into().ok()?) ^ xor_pad(transaction))
            .to_be_bytes()
            .into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn xor_pad(transaction: &TransactionId) -> u128 {
    let mut pad = [0; 16];
    pad[..4].copy_from_slice(&MAGIC.to_be_bytes());
    pad[4..].copy_from_slice(transaction);
    u128::from_be_bytes(pad)
}

/// Longest message that [`Writer`] makes: header, IPv6 address, error with unknown attribute, integrity, fingerprint.
const WRITE_BYTES_MAX: usize = 192;

/// Writes one message into a buffer on the stack.
#[derive(Debug)]
pub struct Writer {
    buf: [u8; WRITE_BYTES_MAX],
    len: usize,
}

impl Writer {
    pub fn new(class: Class, transaction: &TransactionId) -> Self {
        let kind = match class {
            Class::Request => BINDING_REQUEST,
            Class::Indication => BINDING_INDICATION,
            Class::Success => BINDING_SUCCESS,
            Class::Error => BINDING_ERROR,
        };
        let mut w = Writer {
            buf: [0; WRITE_BYTES_MAX],
            len: HEADER_BYTES,
        };
        w.buf[..2].copy_from_slice(&kind.to_be_bytes());
        w.buf[4..8].copy_from_slice(&MAGIC.to_be_bytes());
        w.buf[8..HEADER_BYTES].copy_from_slice(transaction);
        w
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn mapped(mut self, addr: SocketAddr) -> Self {
        let mut transaction = [0; 12];
        transaction.copy_from_slice(&self.buf[8..HEADER_BYTES]);
        let port = (addr.port() ^ (MAGIC >> 16) as u16).to_be_bytes();
        let mut value = [0; 20];
        value[2..4].copy_from_slice(&port);
        // An IPv4 client of a dual-stack socket must see its IPv4 address.
        let len = match addr.ip().to_canonical() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&(u32::from(ip) ^ MAGIC).to_be_bytes());
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..20]
                    .copy_from_slice(&(u128::from(ip) ^ xor_pad(&transaction)).to_be_bytes());
                20
            }
        };
        self.attribute(ATTR_XOR_MAPPED_ADDRESS, &value[..len]);
        self
    }

    /// ERROR-CODE with its reason phrase of at most 32 bytes, and UNKNOWN-ATTRIBUTES for 420.
    pub fn error(mut self, code: u16, reason: &str, unknown: Option<u16>) -> Self {
        let reason = &reason.as_bytes()[..reason.len().min(32)];
        let mut value = [0; 36];
        value[2] = (code / 100) as u8;
        value[3] = (code % 100) as u8;
        value[4..4 + reason.len()].copy_from_slice(reason);
        self.attribute(ATTR_ERROR_CODE, &value[..4 + reason.len()]);
        if let Some(unknown) = unknown {
            self.attribute(ATTR_UNKNOWN_ATTRIBUTES, &unknown.to_be_bytes());
        }
        self
    }

    /// Attributes of a client's check, for tests from inside and outside; a server never sends them. `username` of at most 64
    /// bytes.
    pub fn check(
        mut self,
        username: &str,
        priority: u32,
        controlling: bool,
        nominate: bool,
    ) -> Self {
        self.attribute(ATTR_USERNAME, username.as_bytes());
        self.attribute(ATTR_PRIORITY, &priority.to_be_bytes());
        let role = if controlling {
            ATTR_ICE_CONTROLLING
        } else {
            ATTR_ICE_CONTROLLED
        };
        self.attribute(role, &7u64.to_be_bytes());
        if nominate {
            self.attribute(ATTR_USE_CANDIDATE, &[]);
        }
        self
    }

    /// Any attribute, for tests of what we do not know.
    #[cfg(test)]
    pub fn raw(mut self, kind: u16, value: &[u8]) -> Self {
        self.attribute(kind, value);
        self
    }

    /// Adds MESSAGE-INTEGRITY and FINGERPRINT and gives the message.
    pub fn finish(&mut self, password: &[u8]) -> &[u8] {
        // Both lengths count the attribute that is being computed.
        self.put_len(24);
        let mut mac = hmac(password);
        mac.update(&self.buf[..self.len]);
        let tag: [u8; 20] = mac.finalize().into_bytes().into();
        self.attribute(ATTR_MESSAGE_INTEGRITY, &tag);
        self.put_len(8);
        let crc = crc32(&self.buf[..self.len]) ^ FINGERPRINT_XOR;
        self.attribute(ATTR_FINGERPRINT, &crc.to_be_bytes());
        self.put_len(0);
        &self.buf[..self.len]
    }

    fn put_len(&mut self, ahead: usize) {
        let len = (self.len + ahead - HEADER_BYTES) as u16;
        self.buf[2..4].copy_from_slice(&len.to_be_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let at = self.len;
        self.buf[at..at + 2].copy_from_slice(&kind.to_be_bytes());
        self.buf[at + 2..at + 4].copy_from_slice(&(value.len() as u16).to_be_bytes());
        self.buf[at + 4..at + 4 + value.len()].copy_from_slice(value);
        self.len += 4 + value.len().next_multiple_of(4);
    }
}

fn hmac(password: &[u8]) -> Hmac<Sha1> {
    Hmac::<Sha1>::new_from_slice(password).expect("HMAC takes a key of any length")
}

/// CRC-32 of ITU-T V.42, as FINGERPRINT wants it (RFC 8489, 14.7).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut c = i as u32;
            let mut bit = 0;
            while bit < 8 {
                c = if c & 1 == 1 {
                    0xedb8_8320 ^ (c >> 1)
                } else {
                    c >> 1
                };
                bit += 1;
            }
            table[i] = c;
            i += 1;
        }
        table
    };
    !bytes
        .iter()
        .fold(!0, |c, b| TABLE[usize::from((c as u8) ^ b)] ^ (c >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .bytes()
            .filter(u8::is_ascii_hexdigit)
            .map(|c| (c as char).to_digit(16).expect("a digit") as u8)
            .collect();
        digits.chunks(2).map(|p| p[0] << 4 | p[1]).collect()
    }

    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

    /// RFC 5769, 2.1.
    fn request() -> Vec<u8> {
        hex(
            "000100582112a442b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74
             00240004 6e0001ff 80290008 932ff9b151263b36 00060009 6576746a3a68367659202020
             00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004 e57a3bcf",
        )
    }

    #[test]
    fn the_request_of_rfc_5769_verifies() {
        let raw = request();
        let m = Message::parse(&raw).expect("a request");
        assert_eq!(m.class, Class::Request);
        assert_eq!(m.username, Some(&b"evtj:h6vY"[..]));
        assert_eq!(m.priority, Some(0x6e00_01ff));
        assert_eq!(m.controlled, Some(0x932f_f9b1_5126_3b36));
        assert_eq!(m.unknown, None);
        assert!(m.verify(PASSWORD));
        assert!(!m.verify(b"VOkJxbRl1RmTxUk/WvJxBu"));
        assert_eq!(username(&raw), Some(&b"evtj:h6vY"[..]));
    }

    #[test]
    fn the_responses_of_rfc_5769_verify_and_are_written_alike() {
        let v4 = hex(
            "0101003c2112a442b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220
             00200008 0001a147e112a643 00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96",
        );
        let v6 = hex(
            "010100482112a442b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220
             00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
             00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c",
        );
        for (raw, addr) in [
            (v4, "192.0.2.1:32853"),
            (v6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            let m = Message::parse(&raw).expect("a response");
            let addr: SocketAddr = addr.parse().expect("an address");
            assert_eq!((m.class, m.mapped), (Class::Success, Some(addr)));
            assert!(m.verify(PASSWORD));
            // The same attributes, written by us, are byte for byte those of the RFC's attribute.
            let mut w = Writer::new(Class::Success, &m.transaction).mapped(addr);
            let ours = w.finish(PASSWORD);
            let attribute = if addr.is_ipv4() { 12 } else { 24 };
            assert_eq!(ours[20..20 + attribute], raw[36..36 + attribute]);
            assert!(Message::parse(ours).expect("our response").verify(PASSWORD));
        }
    }

    #[test]
    fn one_changed_bit_anywhere_is_noticed() {
        let good = request();
        for bit in 0..good.len() * 8 {
            let mut raw = good.clone();
            raw[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !Message::parse(&raw).is_ok_and(|m| m.verify(PASSWORD)),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn attributes_behind_the_integrity_are_not_believed() {
        // USE-CANDIDATE put behind MESSAGE-INTEGRITY by somebody on the path, with a new FINGERPRINT.
        let mut raw = request();
        raw.truncate(raw.len() - 8);
        raw.extend_from_slice(&[0x00, 0x25, 0, 0]);
        raw[3] += 4;
        let crc = crc32(&raw) ^ FINGERPRINT_XOR;
        raw.extend_from_slice(&[0x80, 0x28, 0, 4]);
        raw.extend_from_slice(&crc.to_be_bytes());
        let m = Message::parse(&raw).expect("well formed");
        assert!(!m.use_candidate);
        assert!(m.verify(PASSWORD));
    }

    #[test]
    fn the_number_of_attributes_has_a_limit() {
        let make = |n: usize| {
            let mut raw = Writer::new(Class::Request, &[1; 12]).buf[..20].to_vec();
            for _ in 0..n - 1 {
                raw.extend_from_slice(&[0x80, 0x99, 0, 0]);
            }
            let len = (raw.len() - 20 + 8) as u16;
            raw[2..4].copy_from_slice(&len.to_be_bytes());
            let crc = crc32(&raw) ^ FINGERPRINT_XOR;
            raw.extend_from_slice(&[0x80, 0x28, 0, 4]);
            raw.extend_from_slice(&crc.to_be_bytes());
            raw
        };
        assert!(Message::parse(&make(STUN_ATTRIBUTES_MAX)).is_ok());
        assert_eq!(
            Message::parse(&make(STUN_ATTRIBUTES_MAX + 1)),
            Err(StunError::TooManyAttributes)
        );
    }

    #[test]
    fn a_long_message_is_refused_before_it_is_read() {
        let make = |len: usize| {
            let mut raw = Writer::new(Class::Request, &[1; 12]).buf[..20].to_vec();
            raw.extend_from_slice(&[0x80, 0x99]);
            raw.extend_from_slice(&((len - 20 - 4 - 8) as u16).to_be_bytes());
            raw.resize(len - 8, 0);
            raw[2..4].copy_from_slice(&((len - 20) as u16).to_be_bytes());
            let crc = crc32(&raw) ^ FINGERPRINT_XOR;
            raw.extend_from_slice(&[0x80, 0x28, 0, 4]);
            raw.extend_from_slice(&crc.to_be_bytes());
            raw
        };
        assert!(Message::parse(&make(STUN_BYTES_MAX)).is_ok());
        assert_eq!(
            Message::parse(&make(STUN_BYTES_MAX + 4)),
            Err(StunError::TooLong)
        );
    }

    #[test]
    fn seeds_of_another_stack_and_their_mutants_are_survived() {
        let mut seeds = vec![request()];
        let folder = std::env::var_os("GANTRY_VECTORS").map_or_else(
            || concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors").into(),
            std::path::PathBuf::from,
        );
        match std::fs::read_dir(folder.join("fuzz/pjproject-stun")) {
            Ok(dir) => seeds.extend(
                dir.flatten()
                    .filter_map(|e| std::fs::read(e.path()).ok())
                    .flat_map(
                        // Each seed has an operation code of four bytes before the message.
                        |seed| [seed.get(4..).unwrap_or(&[]).to_vec(), seed],
                    ),
            ),
            Err(_) => println!("skipped: the vectors folder is not there"),
        }
        let mut state = 1u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize
        };
        for seed in &seeds {
            for _ in 0..2_000 {
                let mut raw = seed.clone();
                for _ in 0..=random() % 4 {
                    match random() % 3 {
                        0 if !raw.is_empty() => {
                            let at = random() % raw.len();
                            raw[at] = random() as u8;
                        }
                        1 => raw.truncate(random() % (raw.len() + 1)),
                        _ => raw.push(random() as u8),
                    }
                }
                let _ = username(&raw);
                if let Ok(m) = Message::parse(&raw) {
                    // Whatever parses has a proven fingerprint, so it is the seed itself.
                    assert_eq!(m.verify(PASSWORD), &raw == seed);
                }
            }
        }
    }
}
