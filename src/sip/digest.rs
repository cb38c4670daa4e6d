//! Digest authentication, both sides.
//!
//! RFC 2617 and RFC 7616 as RFC 3261, 22 and RFC 8760 use them: MD5 and SHA-256, `qop=auth` and none. Every challenge
//! names its algorithm, because some devices ignore one that does not. Not done: `auth-int`, `-sess`, user hashing, SM3.
//!
//! A nonce is stateless: time, a serial number, and a keyed hash of both and the client's address. Only a nonce that was
//! used with the right password takes memory, so nobody without a password can fill the table. With `qop` the nonce count
//! must grow; without, a nonce serves once. A nonce of ours that is too old, or of an earlier run of this node, or that is
//! used up, is answered with `stale=true`: the device logs in again without asking anybody.
//!
//! Bound: [`SIP_NONCES_MAX`]; when the oldest are forgotten, every nonce as old becomes stale.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

use super::header::{split_list, trim};
use super::message::Message;
use super::name::{HeaderName, Method};
use crate::limits::SIP_NONCES_MAX;

/// A hash of RFC 7616, 3.3 / RFC 8760.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// No name means MD5 (RFC 2617, 3.2.1). `None`: one we do not know.
    pub fn from_bytes(text: Option<&[u8]>) -> Option<Algorithm> {
        match text {
            None => Some(Algorithm::Md5),
            Some(t) if t.eq_ignore_ascii_case(b"MD5") => Some(Algorithm::Md5),
            Some(t) if t.eq_ignore_ascii_case(b"SHA-256") => Some(Algorithm::Sha256),
            Some(_) => None,
        }
    }

    fn hash(self, parts: &[&[u8]]) -> Hex {
        fn run<D: Digest>(parts: &[&[u8]]) -> Hex {
            let mut digest = D::new();
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    digest.update(b":");
                }
                digest.update(part);
            }
            Hex::new(&digest.finalize())
        }
        match self {
            Algorithm::Md5 => run::<Md5>(parts),
            Algorithm::Sha256 => run::<Sha256>(parts),
        }
    }
}

/// A hash as lower-case hexadecimal, without allocation.
#[derive(Clone, Copy)]
struct Hex {
    text: [u8; 64],
    len: usize,
}

impl Hex {
    fn new(bytes: &[u8]) -> Hex {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (i, b) in bytes.iter().take(32).enumerate() {
            text[2 * i] = DIGITS[usize::from(b >> 4)];
            text[2 * i + 1] = DIGITS[usize::from(b & 15)];
        }
        Hex {
            text,
            len: 2 * bytes.len().min(32),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes()).expect("only hexadecimal digits are stored")
    }
}

/// What a response is computed from, beside name, realm and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    pub method: &'a [u8],
    pub uri: &'a [u8],
    pub nonce: &'a [u8],
    /// `qop`, `nc`, `cnonce` as sent; `None` = the form of RFC 2069.
    pub qop: Option<(&'a [u8], &'a [u8], &'a [u8])>,
}

/// The `response` of RFC 7616, 3.4.1 as lower-case hexadecimal.
pub fn response(
    algorithm: Algorithm,
    username: &[u8],
    realm: &[u8],
    password: &[u8],
    asked: &Asked<'_>,
) -> String {
    respond(algorithm, username, realm, password, asked)
        .as_str()
        .to_owned()
}

fn respond(
    algorithm: Algorithm,
    username: &[u8],
    realm: &[u8],
    password: &[u8],
    asked: &Asked<'_>,
) -> Hex {
    let a1 = algorithm.hash(&[username, realm, password]);
    let a2 = algorithm.hash(&[asked.method, asked.uri]);
    match asked.qop {
        Some((qop, nc, cnonce)) => {
            algorithm.hash(&[a1.bytes(), asked.nonce, nc, cnonce, qop, a2.bytes()])
        }
        None => algorithm.hash(&[a1.bytes(), asked.nonce, a2.bytes()]),
    }
}

/// The parameters of an Authorization or WWW-Authenticate value, borrowed, without quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials<'a> {
    pub username: &'a [u8],
    pub realm: &'a [u8],
    pub nonce: &'a [u8],
    pub uri: &'a [u8],
    pub response: &'a [u8],
    pub algorithm: Option<&'a [u8]>,
    pub qop: Option<&'a [u8]>,
    pub nc: Option<&'a [u8]>,
    pub cnonce: Option<&'a [u8]>,
    pub opaque: Option<&'a [u8]>,
    pub stale: bool,
}

impl<'a> Credentials<'a> {
    /// Parses one header line. `None`: another scheme than Digest.
    pub fn parse(value: &'a [u8]) -> Option<Credentials<'a>> {
        let value = trim(value);
        let rest = match value.get(..6) {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"Digest") => &value[6..],
            Some(_) | None => return None,
        };
        if !matches!(rest.first(), Some(b' ' | b'\t')) {
            return None;
        }
        let mut found = Credentials::default();
        for pair in split_list(trim(rest)) {
            let Some(at) = memchr::memchr(b'=', pair) else {
                continue;
            };
            let (name, text) = (trim(&pair[..at]), trim(&pair[at + 1..]));
            let text = match text {
                [b'"', inner @ .., b'"'] => inner,
                other => other,
            };
            found.set(name, text);
        }
        Some(found)
    }

    /// The first Digest line of Authorization, else of Proxy-Authorization.
    pub fn of(message: &'a Message) -> Option<Credentials<'a>> {
        let lines = |wanted| {
            message
                .headers()
                .filter(move |(name, _, _)| *name == wanted)
                .find_map(|(_, _, value)| Credentials::parse(value))
        };
        lines(HeaderName::Authorization).or_else(|| lines(HeaderName::ProxyAuthorization))
    }

    fn set(&mut self, name: &[u8], text: &'a [u8]) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        if is("username") {
            self.username = text;
        } else if is("realm") {
            self.realm = text;
        } else if is("nonce") {
            self.nonce = text;
        } else if is("uri") {
            self.uri = text;
        } else if is("response") {
            self.response = text;
        } else if is("algorithm") {
            self.algorithm = Some(text);
        } else if is("qop") {
            self.qop = Some(text);
        } else if is("nc") {
            self.nc = Some(text);
        } else if is("cnonce") {
            self.cnonce = Some(text);
        } else if is("opaque") {
            self.opaque = Some(text);
        } else if is("stale") {
            self.stale = text.eq_ignore_ascii_case(b"true");
        }
    }

    pub fn username_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.username).ok()
    }
}

/// What an [`Authenticator`] asks for.
#[derive(Clone, Debug)]
pub struct Config {
    pub realm: String,
    /// One challenge each, in this order. Old devices read the first alone and know MD5 alone.
    pub algorithms: Vec<Algorithm>,
    pub nonce_lifetime: Duration,
    /// Offer `qop="auth"`; answers without it are taken all the same.
    pub qop: bool,
}

impl Config {
    pub fn new(realm: impl Into<String>) -> Config {
        Config {
            realm: realm.into().replace(['"', '\\', '\r', '\n'], ""),
            algorithms: vec![Algorithm::Md5, Algorithm::Sha256],
            nonce_lifetime: Duration::from_secs(300),
            qop: true,
        }
    }
}

/// What an [`Authenticator`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// Right password, but the nonce is too old or not of this run: challenge again with `stale=true`.
    Stale,
    /// Right password, but nonce or nonce count were used before: challenge again with `stale=true`.
    Replayed,
    /// Not to be let in; names what is wrong.
    Wrong(&'static str),
}

/// The server's side.
#[derive(Debug)]
pub struct Authenticator {
    config: Config,
    secret: [u8; 32],
    epoch: Instant,
    serial: u32,
    /// Highest nonce count of each nonce in use; `u32::MAX` once it serves no more.
    used: HashMap<u64, u32>,
    order: VecDeque<u64>,
    /// Nonces up to this one and not in `used` may have been forgotten.
    forgotten: u64,
}

const NONCE_LEN: usize = 40;

impl Authenticator {
    /// `secret` must be unpredictable and differ from start to start.
    pub fn new(config: Config, secret: [u8; 32], now: Instant) -> Authenticator {
        Authenticator {
            config,
            secret,
            epoch: now,
            serial: 0,
            used: HashMap::new(),
            order: VecDeque::new(),
            forgotten: 0,
        }
    }

    pub fn realm(&self) -> &str {
        &self.config.realm
    }

    /// Values for WWW-Authenticate, one a header line. All share one nonce, which only `source` can use.
    pub fn challenge(&mut self, now: Instant, source: IpAddr, stale: bool) -> Vec<String> {
        self.serial = (self.serial + 1) & 0xff_ffff;
        let ms = now.saturating_duration_since(self.epoch).as_millis() as u64;
        let stamp = (ms << 24) | u64::from(self.serial);
        let nonce = self.nonce(stamp, source);
        let qop = if self.config.qop {
            ", qop=\"auth\""
        } else {
            ""
        };
        let stale = if stale { ", stale=true" } else { "" };
        self.config
            .algorithms
            .iter()
            .map(|algorithm| {
                format!(
                    "Digest realm=\"{}\", nonce=\"{}\", algorithm={}{qop}{stale}",
                    self.config.realm,
                    nonce.as_str(),
                    algorithm.as_str(),
                )
            })
            .collect()
    }

    fn nonce(&self, stamp: u64, source: IpAddr) -> Hex {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of every length");
        mac.update(&stamp.to_be_bytes());
        match source.to_canonical() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        let mut bytes = [0; NONCE_LEN / 2];
        bytes[..8].copy_from_slice(&stamp.to_be_bytes());
        bytes[8..].copy_from_slice(&mac.finalize().into_bytes()[..NONCE_LEN / 2 - 8]);
        Hex::new(&bytes)
    }

    /// Checks the credentials of a request. `method` is [`Message::method_text`].
    ///
    /// The Request-URI is not compared with `uri`: devices put domain, address or id there as they like, and the hash
    /// covers what they put.
    pub fn verify(
        &mut self,
        now: Instant,
        source: IpAddr,
        method: &[u8],
        credentials: &Credentials<'_>,
        password: &str,
    ) -> Verdict {
        let c = credentials;
        let Some(algorithm) = Algorithm::from_bytes(c.algorithm) else {
            return Verdict::Wrong("algorithm");
        };
        if !self.config.algorithms.contains(&algorithm) {
            return Verdict::Wrong("algorithm");
        }
        if c.realm != self.config.realm.as_bytes() {
            return Verdict::Wrong("realm");
        }
        let qop = match (c.qop, c.nc, c.cnonce) {
            (None, _, _) => None,
            (Some(qop), Some(nc), Some(cnonce)) if qop.eq_ignore_ascii_case(b"auth") => {
                Some((qop, nc, cnonce))
            }
            (Some(_), _, _) => return Verdict::Wrong("qop"),
        };
        let asked = Asked {
            method,
            uri: c.uri,
            nonce: c.nonce,
            qop,
        };
        let expected = respond(algorithm, c.username, c.realm, password.as_bytes(), &asked);
        if !same(expected.bytes(), c.response) {
            return Verdict::Wrong("password");
        }
        let Some(stamp) = self.stamp_of(c.nonce, source) else {
            return Verdict::Stale;
        };
        let made = self.epoch + Duration::from_millis(stamp >> 24);
        if now.saturating_duration_since(made) > self.config.nonce_lifetime {
            return Verdict::Stale;
        }
        let count = match qop {
            Some((_, nc, _)) => match count(nc) {
                Some(n) => n,
                None => return Verdict::Wrong("nc"),
            },
            None => u32::MAX,
        };
        self.spend(stamp, count)
    }

    /// The stamp of a nonce that was made here for this source.
    fn stamp_of(&self, nonce: &[u8], source: IpAddr) -> Option<u64> {
        if nonce.len() != NONCE_LEN {
            return None;
        }
        let stamp = std::str::from_utf8(&nonce[..16]).ok()?;
        let stamp = u64::from_str_radix(stamp, 16).ok()?;
        same(self.nonce(stamp, source).bytes(), nonce).then_some(stamp)
    }

    fn spend(&mut self, stamp: u64, count: u32) -> Verdict {
        if let Some(last) = self.used.get_mut(&stamp) {
            if count <= *last {
                return Verdict::Replayed;
            }
            *last = count;
            return Verdict::Accepted;
        }
        if stamp <= self.forgotten {
            return Verdict::Stale;
        }
        while self.order.len() >= SIP_NONCES_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.used.remove(&oldest);
                self.forgotten = self.forgotten.max(oldest);
            }
        }
        self.order.push_back(stamp);
        self.used.insert(stamp, count);
        Verdict::Accepted
    }
}

/// `nc`: up to eight hexadecimal digits, not zero. The highest value is taken for nonces without count.
fn count(nc: &[u8]) -> Option<u32> {
    let digits = !nc.is_empty() && nc.len() <= 8 && nc.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits.then_some(nc)?).ok()?;
    let n = u32::from_str_radix(text, 16).ok()?;
    (n > 0 && n < u32::MAX).then_some(n)
}

/// Compares in a time that does not tell where the difference lies; letter case aside.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |d, (x, y)| d | (x ^ y.to_ascii_lowercase()))
            == 0
}

/// The client's side: one login at one server.
#[derive(Clone, Debug)]
pub struct Client {
    username: String,
    password: String,
    challenge: Option<Challenge>,
}

#[derive(Clone, Debug)]
struct Challenge {
    header: HeaderName,
    algorithm: Algorithm,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    qop: bool,
    count: u32,
}

impl Client {
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Client {
        Client {
            username: username.into(),
            password: password.into(),
            challenge: None,
        }
    }

    /// Answers a 401 or 407: the header to add to the request when it is sent again. `None`: no challenge in it that can
    /// be answered. The first challenge of an algorithm we know is taken, as the server prefers (RFC 8760, 2.4).
    pub fn answer(
        &mut self,
        challenge: &Message,
        method: Method,
        uri: &str,
        cnonce: u64,
    ) -> Option<(HeaderName, String)> {
        self.challenge = challenge
            .headers()
            .filter_map(|(name, _, value)| {
                let header = if name == HeaderName::WwwAuthenticate {
                    HeaderName::Authorization
                } else if name == HeaderName::ProxyAuthenticate {
                    HeaderName::ProxyAuthorization
                } else {
                    return None;
                };
                Challenge::new(header, &Credentials::parse(value)?)
            })
            .next();
        self.again(method, uri, cnonce)
    }

    /// Answers the last challenge once more, for a request that the server has not challenged.
    pub fn again(
        &mut self,
        method: Method,
        uri: &str,
        cnonce: u64,
    ) -> Option<(HeaderName, String)> {
        let c = self.challenge.as_mut()?;
        c.count += 1;
        let nc = format!("{:08x}", c.count);
        let cnonce = format!("{cnonce:016x}");
        let asked = Asked {
            method: method.as_str().as_bytes(),
            uri: uri.as_bytes(),
            nonce: &c.nonce,
            qop: c
                .qop
                .then_some((&b"auth"[..], nc.as_bytes(), cnonce.as_bytes())),
        };
        let (name, pass) = (self.username.as_bytes(), self.password.as_bytes());
        let hash = respond(c.algorithm, name, &c.realm, pass, &asked);
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"{}\", algorithm={}",
            self.username,
            String::from_utf8_lossy(&c.realm),
            String::from_utf8_lossy(&c.nonce),
            hash.as_str(),
            c.algorithm.as_str(),
        );
        if c.qop {
            value.push_str(&format!(", qop=auth, nc={nc}, cnonce=\"{cnonce}\""));
        }
        if let Some(opaque) = &c.opaque {
            value.push_str(&format!(", opaque=\"{}\"", String::from_utf8_lossy(opaque)));
        }
        Some((c.header, value))
    }
}

impl Challenge {
    fn new(header: HeaderName, c: &Credentials<'_>) -> Option<Challenge> {
        let qop = match c.qop {
            None => false,
            Some(list) => split_list(list)
                .any(|q| q.eq_ignore_ascii_case(b"auth"))
                .then_some(true)?,
        };
        Some(Challenge {
            header,
            algorithm: Algorithm::from_bytes(c.algorithm)?,
            realm: c.realm.to_vec(),
            nonce: c.nonce.to_vec(),
            opaque: c.opaque.map(<[u8]>::to_vec),
            qop,
            count: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::Bytes;

    use super::*;
    use crate::sip::message::Carrier;

    #[test]
    fn the_example_of_rfc_2617_3_5() {
        let asked = Asked {
            method: b"GET",
            uri: b"/dir/index.html",
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            qop: Some((b"auth", b"00000001", b"0a4f113b")),
        };
        assert_eq!(
            response(
                Algorithm::Md5,
                b"Mufasa",
                b"testrealm@host.com",
                b"Circle Of Life",
                &asked
            ),
            "6629fae49393a05397450978507c4ef1"
        );
    }

    #[test]
    fn the_examples_of_rfc_7616_3_9_1() {
        let asked = Asked {
            method: b"GET",
            uri: b"/dir/index.html",
            nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            qop: Some((
                b"auth",
                b"00000001",
                b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            )),
        };
        for (algorithm, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                Algorithm::Sha256,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let realm = b"http-auth@example.org";
            assert_eq!(
                response(algorithm, b"Mufasa", realm, b"Circle of Life", &asked),
                expected
            );
        }
    }

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 64));
    const URI: &str = "sip:34020000002000000001@3402000000";

    struct Desk {
        server: Authenticator,
        client: Client,
        now: Instant,
    }

    impl Desk {
        fn new(config: Config) -> Desk {
            let now = Instant::now();
            Desk {
                server: Authenticator::new(config, [7; 32], now),
                client: Client::new("34020000001320000001", "12345678"),
                now,
            }
        }

        /// Challenges; the Authorization value that the client answers with.
        fn login(&mut self) -> String {
            let lines: String = self
                .server
                .challenge(self.now, IP, false)
                .iter()
                .map(|c| format!("WWW-Authenticate: {c}\r\n"))
                .collect();
            let text = format!(
                "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                 To: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{lines}\r\n"
            );
            let message =
                Message::parse(Bytes::from(text), Carrier::Datagram).expect("well-formed");
            let (header, value) = self
                .client
                .answer(&message, Method::Register, URI, 99)
                .expect("a challenge we know");
            assert_eq!(header, HeaderName::Authorization);
            value
        }

        fn verify(&mut self, value: &str) -> Verdict {
            self.verify_from(IP, value, "12345678")
        }

        fn verify_from(&mut self, ip: IpAddr, value: &str, password: &str) -> Verdict {
            let credentials = Credentials::parse(value.as_bytes()).expect("Digest");
            self.server
                .verify(self.now, ip, b"REGISTER", &credentials, password)
        }
    }

    #[test]
    fn both_sides_agree_with_each_algorithm_with_and_without_qop() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            for qop in [true, false] {
                let mut config = Config::new("3402000000");
                config.algorithms = vec![algorithm];
                config.qop = qop;
                let mut desk = Desk::new(config);
                let value = desk.login();
                assert!(value.contains(algorithm.as_str()));
                assert_eq!(desk.verify(&value), Verdict::Accepted);
                assert_eq!(desk.verify(&value), Verdict::Replayed);
                assert_eq!(
                    desk.verify_from(IP, &value, "x"),
                    Verdict::Wrong("password")
                );
            }
        }
    }

    #[test]
    fn a_nonce_count_must_grow() {
        let mut desk = Desk::new(Config::new("r"));
        let first = desk.login();
        let mut next = || {
            let again = desk.client.again(Method::Register, URI, 5);
            again.expect("a challenge was answered").1
        };
        let (second, third) = (next(), next());
        assert_eq!(desk.verify(&first), Verdict::Accepted);
        assert_eq!(desk.verify(&third), Verdict::Accepted);
        assert_eq!(desk.verify(&second), Verdict::Replayed);
    }

    #[test]
    fn a_nonce_ages_and_belongs_to_its_source_and_run() {
        let mut desk = Desk::new(Config::new("r"));
        let value = desk.login();
        let other = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 65));
        assert_eq!(desk.verify_from(other, &value, "12345678"), Verdict::Stale);
        desk.now += Duration::from_secs(300);
        assert_eq!(desk.verify(&value), Verdict::Accepted);
        let value = desk.login();
        desk.now += Duration::from_millis(300_001);
        assert_eq!(desk.verify(&value), Verdict::Stale);
        let value = desk.login();
        desk.server = Authenticator::new(Config::new("r"), [8; 32], desk.now);
        assert_eq!(desk.verify(&value), Verdict::Stale);
        let stale = desk.server.challenge(desk.now, IP, true);
        assert!(stale.iter().all(|c| c.contains("stale=true")));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut desk = Desk::new(Config::new("r"));
        let value = desk.login();
        for (from, to, wrong) in [
            ("MD5", "MD4", "algorithm"),
            ("realm=\"r\"", "realm=\"s\"", "realm"),
            ("qop=auth", "qop=auth-int", "qop"),
            ("sip:3402", "sip:3403", "password"),
            ("nonce=\"0", "nonce=\"1", "password"),
        ] {
            let changed = value.replace(from, to);
            assert_ne!(changed, value);
            assert_eq!(desk.verify(&changed), Verdict::Wrong(wrong), "{changed}");
        }
        assert_eq!(
            Credentials::parse(b"NoOneKnowsThisScheme opaque-data=here"),
            None
        );
        assert_eq!(Credentials::parse(b"Digest"), None);
    }

    #[test]
    fn the_memory_of_nonces_is_bounded_and_forgets_safely() {
        let mut desk = Desk::new(Config::new("r"));
        let first = desk.login();
        assert_eq!(desk.verify(&first), Verdict::Accepted);
        let stamp = desk.server.order[0];
        for n in 1..SIP_NONCES_MAX as u64 {
            assert_eq!(desk.server.spend(stamp + n, 1), Verdict::Accepted);
        }
        assert_eq!(desk.verify(&first), Verdict::Replayed);
        let one_more = stamp + SIP_NONCES_MAX as u64;
        assert_eq!(desk.server.spend(one_more, 1), Verdict::Accepted);
        assert_eq!(desk.server.used.len(), SIP_NONCES_MAX);
        assert_eq!(desk.verify(&first), Verdict::Stale);
    }

    #[test]
    fn a_device_may_sort_and_quote_its_parameters_as_it_likes() {
        let c = Credentials::parse(
            b"digest  uri=\"sip:a,b@c\" ,nc=00000001,qop=\"auth\",algorithm=\"MD5\",username=\"\xce\xd2\",Response=\"x\"",
        )
        .expect("Digest");
        assert_eq!(c.uri, b"sip:a,b@c");
        assert_eq!((c.qop, c.nc), (Some(&b"auth"[..]), Some(&b"00000001"[..])));
        assert_eq!((c.username, c.response), (&b"\xce\xd2"[..], &b"x"[..]));
        assert_eq!(Algorithm::from_bytes(c.algorithm), Some(Algorithm::Md5));
    }
}
