//! DTLS as a viewer needs it: the trait behind which a crate does the handshake, and the look into the ClientHello that
//! lets the server's preference of SRTP profile win.
//!
//! RFC 6347 (DTLS 1.2), RFC 5764 (use_srtp), RFC 8122 (fingerprints). The crates at hand take the client's first profile,
//! and Chromium puts the slow one first; so the first datagrams are held until the ClientHello is whole, its use_srtp
//! extension is read, and only then a server with the one best profile is started and fed what was held.
//! Not done: DTLS 1.3, the client's role, session tickets.
//!
//! Bounds: [`DTLS_HELLO_BYTES_MAX`], [`DTLS_HELLO_DATAGRAMS_MAX`].

use std::fmt;
use std::time::Instant;

use sha2::{Digest, Sha256, Sha384, Sha512};
use smallvec::SmallVec;

use super::srtp::{Masters, Profile};
use crate::limits::{DTLS_HELLO_BYTES_MAX, DTLS_HELLO_DATAGRAMS_MAX};

/// Our certificate, shared by all viewers.
pub trait Identify: Send + Sync {
    /// Value of `a=fingerprint`: hash name, space, upper-case hex with colons.
    fn fingerprint(&self) -> &str;

    /// A server for one viewer, whose certificate must have one of `fingerprints`.
    fn accept(&self, fingerprints: Fingerprints, now: Instant) -> Box<dyn Associate>;
}

/// One viewer's DTLS association, in the server's role. Datagrams leave through `out`, in order.
pub trait Associate: Send {
    /// Feeds one datagram from an address whose STUN check verified. `Ok(None)`: nothing to tell.
    ///
    /// Errors are final; the association must be dropped.
    fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Event>, DtlsError>;

    /// Retransmits what is due. Errors as above.
    fn handle_timeout(&mut self, now: Instant, out: &mut dyn FnMut(&[u8]))
    -> Result<(), DtlsError>;

    fn next_deadline(&self) -> Option<Instant>;

    /// The peer has shown that it has the keys: nothing of the handshake will be asked for again.
    fn confirmed(&mut self);

    /// Says close_notify, if there are keys to say it with.
    fn close(&mut self, now: Instant, out: &mut dyn FnMut(&[u8]));
}

/// What an association tells.
pub enum Event {
    /// The handshake is done and the peer's certificate is the one of the offer.
    Keys { profile: Profile, masters: Masters },
    /// The peer said close_notify.
    PeerClosed,
}

/// Why an association ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DtlsError {
    /// The client offers no use_srtp, or none of our profiles.
    NoProfile,
    /// The certificate has none of the fingerprints of the offer.
    Fingerprint,
    HelloTooLong,
    /// More bytes than a handshake can need.
    TooMuch,
    Timeout,
    /// A fatal alert of the peer.
    PeerAlert(u8),
    Handshake(String),
}

impl fmt::Display for DtlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DtlsError::NoProfile => f.write_str("no SRTP profile in common"),
            DtlsError::Fingerprint => {
                f.write_str("the certificate has not the fingerprint of the offer")
            }
            DtlsError::HelloTooLong => f.write_str("ClientHello too long"),
            DtlsError::TooMuch => f.write_str("too many bytes in an unfinished handshake"),
            DtlsError::Timeout => f.write_str("handshake not finished in time"),
            DtlsError::PeerAlert(n) => write!(f, "fatal alert {n} from the peer"),
            DtlsError::Handshake(why) => write!(f, "handshake failed: {why}"),
        }
    }
}

impl std::error::Error for DtlsError {}

/// A certificate's fingerprint as the offer gives it (RFC 8122, 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    hash: Hash,
    digest: SmallVec<[u8; 32]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// Those of one offer. Any one may match (RFC 8122, 5: several certificates or hashes).
pub type Fingerprints = SmallVec<[Fingerprint; 1]>;

impl Fingerprint {
    /// Reads `sha-256 AB:CD:…`. `None`: SHA-1, MD5 and unknown hashes, and what is no fingerprint.
    pub fn parse(value: &str) -> Option<Self> {
        let (name, hex) = value.trim().split_once(' ')?;
        let hash = match name.to_ascii_lowercase().as_str() {
            "sha-256" => Hash::Sha256,
            "sha-384" => Hash::Sha384,
            "sha-512" => Hash::Sha512,
            _ => return None,
        };
        let mut digest = SmallVec::new();
        for byte in hex.trim().split(':') {
            if byte.len() != 2 || digest.len() == 64 {
                return None;
            }
            digest.push(u8::from_str_radix(byte, 16).ok()?);
        }
        let len = match hash {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        };
        (digest.len() == len).then_some(Fingerprint { hash, digest })
    }

    /// Whether a certificate (DER) has it.
    pub fn matches(&self, certificate: &[u8]) -> bool {
        match self.hash {
            Hash::Sha256 => self.digest[..] == Sha256::digest(certificate)[..],
            Hash::Sha384 => self.digest[..] == Sha384::digest(certificate)[..],
            Hash::Sha512 => self.digest[..] == Sha512::digest(certificate)[..],
        }
    }
}

/// The value of `a=fingerprint` for a certificate (DER), with SHA-256.
pub fn fingerprint(certificate: &[u8]) -> String {
    let mut text = String::from("sha-256 ");
    for (i, byte) in Sha256::digest(certificate).iter().enumerate() {
        if i > 0 {
            text.push(':');
        }
        text.push_str(&format!("{byte:02X}"));
    }
    text
}

pub const CONTENT_CHANGE_CIPHER_SPEC: u8 = 20;
pub const CONTENT_ALERT: u8 = 21;
pub const CONTENT_HANDSHAKE: u8 = 22;
pub const CONTENT_APPLICATION_DATA: u8 = 23;

/// One record of a datagram (RFC 6347, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub content: u8,
    pub epoch: u16,
    pub body: &'a [u8],
}

/// Splits a datagram. `None` unless it is made of whole records of DTLS 1.x and nothing else.
pub fn records(datagram: &[u8]) -> Option<SmallVec<[Record<'_>; 4]>> {
    let mut found = SmallVec::new();
    let mut rest = datagram;
    while let Some((&[content, 0xfe, _, e0, e1, _, _, _, _, _, _, l0, l1], after)) =
        rest.split_first_chunk::<13>()
    {
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let body = after.get(..len)?;
        rest = &after[len..];
        found.push(Record {
            content,
            epoch: u16::from_be_bytes([e0, e1]),
            body,
        });
    }
    (rest.is_empty() && !found.is_empty()).then_some(found)
}

/// Holds the first datagrams of a client until its ClientHello can be read.
#[derive(Debug, Default)]
pub struct Hello {
    held: Vec<Box<[u8]>>,
}

impl Hello {
    /// Adds a datagram. `Ok(Some(profile))`: the hello is whole, and this is the first of `ours` that the client has;
    /// [`Hello::into_held`] gives what to replay.
    ///
    /// Errors: [`DtlsError::NoProfile`], [`DtlsError::HelloTooLong`].
    pub fn push(
        &mut self,
        datagram: &[u8],
        ours: &[Profile],
    ) -> Result<Option<Profile>, DtlsError> {
        if datagram.len() > DTLS_HELLO_BYTES_MAX {
            return Err(DtlsError::HelloTooLong);
        }
        // What has no record of a handshake in it cannot help, and must not push out what can.
        let useful = records(datagram).is_some_and(|r| {
            r.iter()
                .any(|r| r.content == CONTENT_HANDSHAKE && r.epoch == 0)
        });
        if !useful {
            return Ok(None);
        }
        if self.held.len() >= DTLS_HELLO_DATAGRAMS_MAX {
            self.held.remove(0);
        }
        self.held.push(datagram.into());
        match self.assemble()? {
            Some(hello) => first_common(&hello, ours).map(Some),
            None => Ok(None),
        }
    }

    pub fn into_held(self) -> Vec<Box<[u8]>> {
        self.held
    }

    /// The body of the ClientHello, if all its fragments are held (RFC 6347, 4.2.3).
    fn assemble(&self) -> Result<Option<Vec<u8>>, DtlsError> {
        let mut hello: Vec<u8> = Vec::new();
        let mut total = None;
        // Fragments may come in any order: go on as long as a pass adds something.
        loop {
            let before = hello.len();
            for record in self.held.iter().filter_map(|d| records(d)).flatten() {
                let Some(f) = Fragment::parse(&record) else {
                    continue;
                };
                if f.total > DTLS_HELLO_BYTES_MAX {
                    return Err(DtlsError::HelloTooLong);
                }
                let total = *total.get_or_insert(f.total);
                if f.total == total
                    && f.offset <= hello.len()
                    && f.offset + f.body.len() > hello.len()
                {
                    hello.extend_from_slice(&f.body[hello.len() - f.offset..]);
                }
            }
            if total.is_some_and(|t| hello.len() >= t) {
                hello.truncate(total.unwrap_or(0));
                return Ok(Some(hello));
            }
            if hello.len() == before {
                return Ok(None);
            }
        }
    }
}

/// A fragment of a ClientHello.
struct Fragment<'a> {
    total: usize,
    offset: usize,
    body: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn parse(record: &Record<'a>) -> Option<Self> {
        const CLIENT_HELLO: u8 = 1;
        if record.content != CONTENT_HANDSHAKE || record.epoch != 0 {
            return None;
        }
        let (&[kind, t0, t1, t2, _, _, o0, o1, o2, l0, l1, l2], body) =
            record.body.split_first_chunk::<12>()?;
        let be24 = |a, b, c| u32::from_be_bytes([0, a, b, c]) as usize;
        (kind == CLIENT_HELLO).then_some(())?;
        Some(Fragment {
            total: be24(t0, t1, t2),
            offset: be24(o0, o1, o2),
            body: body.get(..be24(l0, l1, l2))?,
        })
    }
}

/// The first of our profiles that the client offers.
fn first_common(hello: &[u8], ours: &[Profile]) -> Result<Profile, DtlsError> {
    let offered = |profile: Profile| {
        use_srtp(hello).is_some_and(|list| {
            list.chunks_exact(2)
                .any(|c| c == profile.code().to_be_bytes())
        })
    };
    ours.iter()
        .copied()
        .find(|p| offered(*p))
        .ok_or(DtlsError::NoProfile)
}

/// The profile list of extension 14 (RFC 5764, 4.1.1) in the body of a ClientHello (RFC 6347, 4.2.1).
fn use_srtp(hello: &[u8]) -> Option<&[u8]> {
    const USE_SRTP: u16 = 14;
    // Version and random, then session id, cookie, cipher suites, compression methods.
    let mut rest = hello.get(34..)?;
    rest = take8(rest)?.1;
    rest = take8(rest)?.1;
    rest = take16(rest)?.1;
    rest = take8(rest)?.1;
    let mut extensions = take16(rest)?.0;
    while let Some((&[t0, t1], after)) = extensions.split_first_chunk::<2>() {
        let (body, after) = take16(after)?;
        if u16::from_be_bytes([t0, t1]) == USE_SRTP {
            return Some(take16(body)?.0);
        }
        extensions = after;
    }
    None
}

/// A vector with a length of one byte, and what follows it.
fn take8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(len))
}

/// A vector with a length of two bytes, and what follows it.
fn take16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello body with the given profiles and `pad` bytes of another extension before them.
    fn hello(profiles: &[u16], pad: usize) -> Vec<u8> {
        let mut h = vec![0xfe, 0xfd];
        h.extend_from_slice(&[7; 32]);
        h.extend_from_slice(&[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
        let mut ext = vec![0, 21];
        ext.extend_from_slice(&(pad as u16).to_be_bytes());
        ext.resize(4 + pad, 0);
        ext.extend_from_slice(&[0, 14]);
        ext.extend_from_slice(&(profiles.len() as u16 * 2 + 3).to_be_bytes());
        ext.extend_from_slice(&(profiles.len() as u16 * 2).to_be_bytes());
        profiles
            .iter()
            .for_each(|p| ext.extend_from_slice(&p.to_be_bytes()));
        ext.push(0);
        h.extend_from_slice(&(ext.len() as u16).to_be_bytes());
        h.extend_from_slice(&ext);
        h
    }

    /// Cuts a hello into datagrams of at most `size` bytes of body each.
    fn datagrams(hello: &[u8], size: usize) -> Vec<Vec<u8>> {
        let be24 = |n: usize| (n as u32).to_be_bytes()[1..].to_vec();
        hello
            .chunks(size)
            .enumerate()
            .map(|(i, chunk)| {
                let mut d = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, i as u8];
                d.extend_from_slice(&(chunk.len() as u16 + 12).to_be_bytes());
                d.push(1);
                d.extend(be24(hello.len()));
                d.extend([0, 0]);
                d.extend(be24(i * size));
                d.extend(be24(chunk.len()));
                d.extend_from_slice(chunk);
                d
            })
            .collect()
    }

    fn feed(order: impl IntoIterator<Item = Vec<u8>>) -> Result<Option<Profile>, DtlsError> {
        let mut h = Hello::default();
        let mut last = Ok(None);
        for d in order {
            last = h.push(&d, &Profile::BEST_FIRST);
        }
        last
    }

    #[test]
    fn gcm_wins_wherever_the_client_lists_it() {
        // Chromium's list: CM80, GCM256, GCM128.
        assert_eq!(
            feed(datagrams(&hello(&[1, 8, 7], 0), 2000)),
            Ok(Some(Profile::Gcm128))
        );
        assert_eq!(
            feed(datagrams(&hello(&[2, 1], 0), 2000)),
            Ok(Some(Profile::Cm80))
        );
        assert_eq!(
            feed(datagrams(&hello(&[2, 8], 0), 2000)),
            Err(DtlsError::NoProfile)
        );
        assert_eq!(
            feed(datagrams(&hello(&[], 0), 2000)),
            Err(DtlsError::NoProfile)
        );
    }

    #[test]
    fn a_hello_in_pieces_is_read_in_any_order() {
        let pieces = datagrams(&hello(&[1, 8, 7], 1300), 400);
        assert_eq!(pieces.len(), 4);
        assert_eq!(feed(pieces[..3].to_vec()), Ok(None));
        assert_eq!(feed(pieces.clone()), Ok(Some(Profile::Gcm128)));
        assert_eq!(
            feed(pieces.iter().rev().cloned()),
            Ok(Some(Profile::Gcm128))
        );
        let doubled = pieces.iter().flat_map(|p| [p.clone(), p.clone()]);
        assert_eq!(feed(doubled), Ok(Some(Profile::Gcm128)));
    }

    #[test]
    fn what_is_held_has_a_bound() {
        let pieces = datagrams(&hello(&[7], 1300), 700);
        let mut hello_of = Hello::default();
        let h = &mut |d: &[u8]| hello_of.push(d, &Profile::BEST_FIRST);
        for _ in 0..3 * DTLS_HELLO_DATAGRAMS_MAX {
            assert_eq!(h(&pieces[0]), Ok(None));
            assert_eq!(h(b"\x17\xfe\xfdnoise"), Ok(None));
        }
        assert_eq!(h(&pieces[1]), Ok(Some(Profile::Gcm128)));
        assert_eq!(hello_of.held.len(), DTLS_HELLO_DATAGRAMS_MAX);
        let fit = DTLS_HELLO_BYTES_MAX - hello(&[7], 0).len();
        assert_eq!(
            feed(datagrams(&hello(&[7], fit), 1200)),
            Ok(Some(Profile::Gcm128))
        );
        assert_eq!(
            feed(datagrams(&hello(&[7], fit + 1), 1200)),
            Err(DtlsError::HelloTooLong)
        );
    }

    #[test]
    fn no_cut_or_changed_hello_is_read_past_its_end() {
        let good = hello(&[1, 8, 7], 3);
        for len in 0..good.len() {
            let _ = first_common(&good[..len], &Profile::BEST_FIRST);
            for byte in [0, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[len] = byte;
                let _ = first_common(&bad, &Profile::BEST_FIRST);
                let _ = feed(datagrams(&bad, 20).into_iter().map(|mut d| {
                    let at = len % d.len();
                    d[at] ^= byte;
                    d
                }));
            }
        }
        assert_eq!(use_srtp(&good), Some(&[0, 1, 0, 8, 0, 7][..]));
        assert_eq!(use_srtp(&good[..good.len() - 1]), None);
    }

    #[test]
    fn a_fingerprint_is_compared_by_its_own_hash() {
        let der = b"any certificate";
        let f = Fingerprint::parse(&fingerprint(der)).expect("ours");
        assert!(f.matches(der) && !f.matches(b"another certificate"));
        assert!(
            Fingerprint::parse(&fingerprint(der).to_lowercase()).is_some_and(|f| f.matches(der))
        );
        for bad in [
            "sha-256",
            "sha-256 AA:BB",
            "sha-1 AA",
            "md5 AA:BB",
            "",
            "sha-256 zz:",
        ] {
            assert_eq!(Fingerprint::parse(bad), None, "{bad}");
        }
        let long = format!("sha-384 {}", vec!["00"; 48].join(":"));
        assert!(Fingerprint::parse(&long).is_some_and(|f| !f.matches(der)));
    }
}
