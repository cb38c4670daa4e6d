//! The exchange itself: what each side signs, checks and keeps. Both sides, so that they are tested against each other.
//!
//! ```text
//!  device                                            platform
//!    REGISTER  Capability                      ─►
//!                                              ◄─    401 Bidirection random1
//!    REGISTER  Bidirection random1 random2 sign1 ─►  certificate current, not revoked; sign1 right; random1 ours, once
//!                                              ◄─    200 SecurityInfo cryptkey sign2
//!    MESSAGE   Date, Note                      ─►    Date in the window, hash right, not seen before
//! ```
//!
//! Bounds: one open challenge a device, for [`GM_CHALLENGE_S_MAX`] seconds; [`GM_NOTES_KEPT_MAX`] notes a device, at which what
//! is older than the oldest of them is refused.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;
use sm3::{Digest, Sm3};

use super::header::{self, ALGORITHM, Scheme, Value};
use super::key::{Key, seal, verify};
use super::x509::Certificate;
use crate::limits::{GM_CHALLENGE_S_MAX, GM_DATE_WINDOW_S, GM_NOTES_KEPT_MAX};

/// Who the platform is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub key: Key,
    pub certificate: Certificate,
}

/// Why a REGISTER or a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It came without what GB 35114 wants, or that cannot be read.
    Missing,
    /// This node has no key of its own yet.
    NoServerKey,
    /// The device's certificate cannot be used.
    NoCertificate,
    Revoked,
    /// The certificate is not valid yet, or no more.
    OutOfTime,
    /// An answer to a challenge that was answered before, or a message that came before.
    Replayed,
    /// The challenge is too old, or the Date is outside the window.
    Late,
    /// It was meant for another platform, or made by another device.
    ForAnother,
    WrongSignature,
    /// A message of a device with which no key is agreed.
    NoSession,
}

impl Refusal {
    pub const ALL: [Refusal; 10] = [
        Refusal::Missing,
        Refusal::NoServerKey,
        Refusal::NoCertificate,
        Refusal::Revoked,
        Refusal::OutOfTime,
        Refusal::Replayed,
        Refusal::Late,
        Refusal::ForAnother,
        Refusal::WrongSignature,
        Refusal::NoSession,
    ];

    /// Place in [`Refusal::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// A stable name, for metrics, the reason phrase and the API.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Missing => "not signed",
            Refusal::NoServerKey => "no server key",
            Refusal::NoCertificate => "no certificate",
            Refusal::Revoked => "certificate revoked",
            Refusal::OutOfTime => "certificate out of time",
            Refusal::Replayed => "replayed",
            Refusal::Late => "late",
            Refusal::ForAnother => "for another",
            Refusal::WrongSignature => "wrong signature",
            Refusal::NoSession => "no key agreed",
        }
    }

    /// What is wrong and what to try, in English and Chinese.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Refusal::Missing => (
                "The device must use GB 35114 and its message carried no signature of it. Switch GB 35114 on in the device, or off for it here.",
                "该设备须按 GB 35114 接入，但消息未带签名。请在设备上启用 GB 35114，或在此为其关闭。",
            ),
            Refusal::NoServerKey => (
                "This node has no server certificate yet. Make one.",
                "本节点尚无服务器证书，请先生成。",
            ),
            Refusal::NoCertificate => (
                "The certificate kept for this device cannot be used. Issue one again.",
                "为该设备保存的证书不可用，请重新签发。",
            ),
            Refusal::Revoked => (
                "The device's certificate was revoked. Issue a new one.",
                "设备证书已被吊销，请签发新证书。",
            ),
            Refusal::OutOfTime => (
                "The device's certificate is not valid now. Issue a new one, or set the clocks.",
                "设备证书不在有效期内，请重新签发或校准时钟。",
            ),
            Refusal::Replayed => (
                "The message was sent before: somebody repeats what was recorded, or the device repeats itself.",
                "消息重复：有人重放录制的消息，或设备重复发送。",
            ),
            Refusal::Late => (
                "The message is too old or from the future. Set the device's clock.",
                "消息时间超出允许范围，请校准设备时钟。",
            ),
            Refusal::ForAnother => (
                "The message was signed for another platform or device. Compare the codes.",
                "消息是为其他平台或设备签名的，请核对编码。",
            ),
            Refusal::WrongSignature => (
                "The signature is wrong: the device uses another key than its certificate has, or the message was changed on the way.",
                "签名错误：设备密钥与证书不符，或消息在途中被改动。",
            ),
            Refusal::NoSession => (
                "No key is agreed with the device; it registers again by itself.",
                "尚未与设备协商密钥，设备会重新注册。",
            ),
        }
    }
}

/// What is hashed into a Note.
#[derive(Clone, Copy, Debug)]
pub struct Noted<'a> {
    pub method: &'a [u8],
    /// Whole header values.
    pub from: &'a [u8],
    pub to: &'a [u8],
    pub call_id: &'a [u8],
    pub date: &'a [u8],
    pub body: &'a [u8],
}

impl Noted<'_> {
    /// The nonce of the Note: base64 of SM3 over all of it, with the agreed key before the body.
    pub fn nonce(&self, vkek: &[u8]) -> String {
        let mut hash = Sm3::new();
        for part in [
            self.method,
            self.from,
            self.to,
            self.call_id,
            self.date,
            vkek,
            self.body,
        ] {
            hash.update(part);
        }
        Base64::encode_string(&hash.finalize())
    }
}

/// The key that was agreed with a device, as it is kept over a restart. What prints it shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SharedKey(pub [u8; 16]);

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedKey(…)")
    }
}

/// What the platform keeps of one device.
#[derive(Debug, Default)]
pub struct Session {
    challenge: Option<(String, Instant)>,
    /// The last challenge that was answered.
    answered: Option<String>,
    vkek: Option<[u8; 16]>,
    /// Notes of the window, oldest first: Date in Unix ms, and what tells one from another.
    seen: VecDeque<(i64, u64)>,
    /// Dates before this are refused: what was seen then is forgotten.
    floor_ms: i64,
}

/// A REGISTER that proves who sent it, as the platform checks it.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub value: &'a Value,
    pub device: &'a str,
    pub server: &'a str,
    pub certificate: &'a Certificate,
    pub revoked: bool,
    pub unix_ms: i64,
}

impl Session {
    /// The key that was agreed on.
    pub fn vkek(&self) -> Option<&[u8; 16]> {
        self.vkek.as_ref()
    }

    /// Takes up a key of an earlier run. Dates before `now_unix_ms` are refused: which of them were seen is not known any more.
    pub fn restore(&mut self, key: SharedKey, now_unix_ms: i64) {
        self.vkek = Some(key.0);
        self.seen.clear();
        self.floor_ms = now_unix_ms;
    }

    /// A challenge: the value of WWW-Authenticate. A key that was agreed stays until it is answered. For half its life the
    /// same one is given again, because over UDP the device may have repeated what asks for it.
    pub fn challenge(&mut self, now: Instant, rng: &mut ChaCha12Rng) -> String {
        let half = Duration::from_secs(GM_CHALLENGE_S_MAX / 2);
        if let Some((random1, at)) = &self.challenge
            && now.duration_since(*at) < half
        {
            return challenge_of(random1);
        }
        let random1 = random(rng);
        let text = challenge_of(&random1);
        self.challenge = Some((random1, now));
        text
    }

    /// Checks the answer to the challenge. With `Ok`, a key is agreed, and the value of SecurityInfo is given.
    pub fn accept(
        &mut self,
        now: Instant,
        claim: &Claim<'_>,
        us: &Identity,
        rng: &mut ChaCha12Rng,
    ) -> Result<String, Refusal> {
        let value = claim.value;
        let get = |name| value.get(name).ok_or(Refusal::Missing);
        let (random1, random2) = (get("random1")?, get("random2")?);
        let (server, sign1) = (get("serverid")?, get("sign1")?);
        if claim.revoked {
            return Err(Refusal::Revoked);
        }
        if !claim.certificate.is_current(claim.unix_ms.div_euclid(1000)) {
            return Err(Refusal::OutOfTime);
        }
        if self.answered.as_deref() == Some(random1) {
            return Err(Refusal::Replayed);
        }
        match &self.challenge {
            Some((ours, at)) if ours == random1 => {
                if now.duration_since(*at) > Duration::from_secs(GM_CHALLENGE_S_MAX) {
                    return Err(Refusal::Late);
                }
            }
            // Not of this challenge: recorded earlier.
            Some(_) | None => return Err(Refusal::Replayed),
        }
        let of_device = value.get("deviceid").is_none_or(|id| id == claim.device);
        if server != claim.server || !of_device {
            return Err(Refusal::ForAnother);
        }
        let signature = Base64::decode_vec(sign1).map_err(|_| Refusal::WrongSignature)?;
        let signed = format!("{random2}{random1}{server}");
        if !verify(&claim.certificate.public, signed.as_bytes(), &signature) {
            return Err(Refusal::WrongSignature);
        }
        let vkek = new_vkek(rng);
        let sealed = seal(&claim.certificate.public, &vkek, rng).ok_or(Refusal::NoCertificate)?;
        let cryptkey = Base64::encode_string(&sealed);
        let info = match value.scheme {
            Scheme::Bidirection => {
                let signed = format!("{random1}{random2}{}{cryptkey}", claim.device);
                let sign2 = Base64::encode_string(&us.key.sign(signed.as_bytes()));
                let parameters = [
                    ("random1", random1),
                    ("random2", random2),
                    ("deviceid", claim.device),
                    ("serverid", claim.server),
                    ("cryptkey", &cryptkey),
                    ("sign2", &sign2),
                    ("algorithm", ALGORITHM),
                ];
                header::write(Scheme::Bidirection, &parameters)
            }
            Scheme::Unidirection => header::write(
                Scheme::Unidirection,
                &[("cryptkey", &cryptkey), ("algorithm", ALGORITHM)],
            ),
            Scheme::Capability => return Err(Refusal::Missing),
        };
        self.answered = self.challenge.take().map(|(random1, _)| random1);
        self.vkek = Some(vkek);
        // Notes are of a key: with a new one, old ones are wrong anyway.
        self.seen.clear();
        self.floor_ms = i64::MIN;
        Ok(info)
    }

    /// Checks a message. `note`: the value of its header; `date_unix_ms`: its Date as an instant.
    pub fn check(
        &mut self,
        note: Option<&[u8]>,
        noted: &Noted<'_>,
        date_unix_ms: Option<i64>,
        unix_ms: i64,
    ) -> Result<(), Refusal> {
        let vkek = self.vkek.ok_or(Refusal::NoSession)?;
        let nonce = note.and_then(header::read_note).ok_or(Refusal::Missing)?;
        let date = date_unix_ms.ok_or(Refusal::Missing)?;
        if noted.nonce(&vkek) != nonce {
            return Err(Refusal::WrongSignature);
        }
        let window = GM_DATE_WINDOW_S * 1000;
        if date < unix_ms - window || date > unix_ms + window || date < self.floor_ms {
            return Err(Refusal::Late);
        }
        let mark = mark_of(&nonce);
        if self.seen.iter().any(|(_, m)| *m == mark) {
            return Err(Refusal::Replayed);
        }
        while self
            .seen
            .front()
            .is_some_and(|(at, _)| *at < unix_ms - window)
        {
            self.seen.pop_front();
        }
        if self.seen.len() >= GM_NOTES_KEPT_MAX
            && let Some((at, _)) = self.seen.pop_front()
        {
            // What came at the same time as the forgotten one could be a repetition of it.
            self.floor_ms = self.floor_ms.max(at + 1);
        }
        let place = self.seen.partition_point(|(at, _)| *at <= date);
        self.seen.insert(place, (date, mark));
        Ok(())
    }
}

/// A device's side: its key, the platform's certificate, and what was agreed.
#[derive(Clone, Debug)]
pub struct Camera {
    key: Key,
    /// The platform's public key. `None`: it does not check who answers.
    platform: Option<Vec<u8>>,
    id: String,
    server: String,
    randoms: Option<(String, String)>,
    vkek: Option<Vec<u8>>,
}

impl Camera {
    pub fn new(key: Key, platform: Option<Vec<u8>>, id: &str, server: &str) -> Camera {
        Camera {
            key,
            platform,
            id: id.to_owned(),
            server: server.to_owned(),
            randoms: None,
            vkek: None,
        }
    }

    pub fn vkek(&self) -> Option<&[u8]> {
        self.vkek.as_deref()
    }

    /// The Authorization of the first REGISTER.
    pub fn capability(&self, date: &str) -> String {
        let parameters = [("algorithm", ALGORITHM), ("keyversion", date)];
        header::write(Scheme::Capability, &parameters)
    }

    /// The Authorization that answers a challenge. `None`: it is none of GB 35114.
    pub fn answer(&mut self, challenge: &[u8], rng: &mut ChaCha12Rng) -> Option<String> {
        let value = Value::read(challenge)?;
        let random1 = value.get("random1")?.to_owned();
        let random2 = random(rng);
        let signed = format!("{random2}{random1}{}", self.server);
        let sign1 = Base64::encode_string(&self.key.sign(signed.as_bytes()));
        let parameters = [
            ("random1", random1.as_str()),
            ("random2", &random2),
            ("serverid", &self.server),
            ("deviceid", &self.id),
            ("sign1", &sign1),
            ("algorithm", ALGORITHM),
        ];
        let text = header::write(value.scheme, &parameters);
        self.randoms = Some((random1, random2));
        Some(text)
    }

    /// Reads the SecurityInfo of the 200. False: it is not the platform's, and no key is agreed.
    pub fn finish(&mut self, info: &[u8]) -> bool {
        self.vkek = Value::read(info).and_then(|value| self.key_of(&value));
        self.vkek.is_some()
    }

    fn key_of(&self, value: &Value) -> Option<Vec<u8>> {
        let (random1, random2) = self.randoms.as_ref()?;
        let cryptkey = value.get("cryptkey")?;
        if let Some(platform) = &self.platform {
            let sign2 = Base64::decode_vec(value.get("sign2")?).ok()?;
            let signed = format!("{random1}{random2}{}{cryptkey}", self.id);
            if !verify(platform, signed.as_bytes(), &sign2) {
                return None;
            }
        }
        self.key.open(&Base64::decode_vec(cryptkey).ok()?)
    }
}

fn challenge_of(random1: &str) -> String {
    let parameters = [("random1", random1), ("algorithm", ALGORITHM)];
    header::write(Scheme::Bidirection, &parameters)
}

fn random(rng: &mut ChaCha12Rng) -> String {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    Base64::encode_string(&bytes)
}

/// 96 bits of a hash, folded: a Note that was verified is never taken for another one by chance.
fn mark_of(nonce: &str) -> u64 {
    let bytes = nonce.as_bytes().chunks(8).take(2);
    bytes.fold(0, |mark, chunk| {
        let part = chunk.iter().fold(0u64, |n, b| (n << 8) | u64::from(*b));
        mark.rotate_left(29) ^ part
    })
}

/// 16 random bytes, none of them zero: there are devices that handle the key as text.
fn new_vkek(rng: &mut ChaCha12Rng) -> [u8; 16] {
    let mut key = [0; 16];
    for byte in &mut key {
        while *byte == 0 {
            let mut one = [0];
            rng.fill_bytes(&mut one);
            *byte = one[0];
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::super::x509::{Terms, issue};
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    const SERVER: &str = "34020000002000000001";
    const DEVICE: &str = "34020000001320000001";
    const NOW_MS: i64 = 1_790_000_000_000;

    struct Two {
        rng: ChaCha12Rng,
        us: Identity,
        certificate: Certificate,
        session: Session,
        camera: Camera,
        now: Instant,
    }

    fn certificate(subject: &str, key: &Key, by: &Key) -> Certificate {
        let terms = Terms {
            serial: &[9],
            subject,
            issuer: SERVER,
            from_unix_s: NOW_MS / 1000 - 10,
            until_unix_s: NOW_MS / 1000 + 86_400,
            authority: subject == SERVER,
        };
        issue(&terms, &key.public(), by).expect("a certificate")
    }

    fn two() -> Two {
        let mut rng = ChaCha12Rng::from_seed([5; 32]);
        let (ours, theirs) = (Key::new(&mut rng), Key::new(&mut rng));
        Two {
            us: Identity {
                certificate: certificate(SERVER, &ours, &ours),
                key: ours.clone(),
            },
            certificate: certificate(DEVICE, &theirs, &ours),
            session: Session::default(),
            camera: Camera::new(theirs, Some(ours.public()), DEVICE, SERVER),
            now: Instant::now(),
            rng,
        }
    }

    impl Two {
        fn answer(&mut self) -> Value {
            let challenge = self.session.challenge(self.now, &mut self.rng);
            let answer = self.camera.answer(challenge.as_bytes(), &mut self.rng);
            Value::read(answer.expect("an answer").as_bytes()).expect("readable")
        }

        fn accept(
            &mut self,
            value: &Value,
            revoked: bool,
            unix_ms: i64,
        ) -> Result<String, Refusal> {
            let claim = Claim {
                value,
                device: DEVICE,
                server: SERVER,
                certificate: &self.certificate,
                revoked,
                unix_ms,
            };
            self.session
                .accept(self.now, &claim, &self.us, &mut self.rng)
        }
    }

    #[test]
    fn both_sides_agree_on_a_key() {
        let mut two = two();
        let answer = two.answer();
        let info = two.accept(&answer, false, NOW_MS).expect("accepted");
        assert!(two.camera.finish(info.as_bytes()));
        assert_eq!(two.camera.vkek(), two.session.vkek().map(|k| &k[..]));
        // Somebody else in the platform's place is found out.
        let mut strict = two.camera.clone();
        strict.platform = Some(two.certificate.public.clone());
        assert!(!strict.finish(info.as_bytes()) && strict.vkek().is_none());
    }

    #[test]
    fn a_replayed_late_wrongly_signed_or_revoked_register_is_refused_with_its_reason() {
        let mut two = two();
        let answer = two.answer();
        assert_eq!(two.accept(&answer, true, NOW_MS), Err(Refusal::Revoked));
        assert_eq!(
            two.accept(&answer, false, NOW_MS + 90_000_000),
            Err(Refusal::OutOfTime)
        );
        let other = Key::new(&mut two.rng);
        let right = std::mem::replace(&mut two.camera.key, other);
        let forged = two.answer();
        assert_eq!(
            two.accept(&forged, false, NOW_MS),
            Err(Refusal::WrongSignature)
        );
        two.camera.key = right;
        two.now += Duration::from_secs(GM_CHALLENGE_S_MAX / 2);
        two.answer();
        // The one recorded before the last challenge.
        assert_eq!(two.accept(&answer, false, NOW_MS), Err(Refusal::Replayed));
        let answer = two.answer();
        two.now += Duration::from_secs(GM_CHALLENGE_S_MAX + 1);
        assert_eq!(two.accept(&answer, false, NOW_MS), Err(Refusal::Late));
        two.now -= Duration::from_secs(1);
        assert!(two.accept(&answer, false, NOW_MS).is_ok());
        assert_eq!(two.accept(&answer, false, NOW_MS), Err(Refusal::Replayed));
        two.camera.server = "34020000002000000009".into();
        let elsewhere = two.answer();
        assert_eq!(
            two.accept(&elsewhere, false, NOW_MS),
            Err(Refusal::ForAnother)
        );
        let nothing = Value::read(b"Bidirection random1=\"a\"").expect("readable");
        assert_eq!(two.accept(&nothing, false, NOW_MS), Err(Refusal::Missing));
    }

    fn noted<'a>(call_id: &'a str) -> Noted<'a> {
        Noted {
            method: b"MESSAGE",
            from: b"<sip:34020000001320000001@3402000000>;tag=1465468922",
            to: b"<sip:34020000002000000001@3402000000>",
            call_id: call_id.as_bytes(),
            date: b"2024-01-31T14:40:49.583",
            body: b"<?xml version=\"1.0\"?>\r\n<Notify>\r\n<CmdType>Keepalive</CmdType>\r\n<SN>1</SN>\r\n<DeviceID>34020000001320000001</DeviceID>\r\n<Status>OK</Status>\r\n</Notify>\r\n",
        }
    }

    #[test]
    fn messages_are_believed_once_in_their_time_and_unchanged() {
        let mut two = two();
        let note = |vkek: &[u8], noted: &Noted<'_>| header::write_note(&noted.nonce(vkek));
        let first = noted("1");
        let early = two.session.check(None, &first, Some(NOW_MS), NOW_MS);
        assert_eq!(early, Err(Refusal::NoSession));
        let answer = two.answer();
        two.accept(&answer, false, NOW_MS).expect("accepted");
        let vkek = *two.session.vkek().expect("agreed");
        let good = note(&vkek, &first);
        let mut check = |noted: &Noted<'_>, note: &str, date| {
            two.session
                .check(Some(note.as_bytes()), noted, date, NOW_MS)
        };
        let window = GM_DATE_WINDOW_S * 1000;
        assert_eq!(check(&first, &good, None), Err(Refusal::Missing));
        assert_eq!(check(&first, "Digest", Some(NOW_MS)), Err(Refusal::Missing));
        assert_eq!(
            check(&first, &good, Some(NOW_MS - window - 1)),
            Err(Refusal::Late)
        );
        assert_eq!(
            check(&first, &good, Some(NOW_MS + window + 1)),
            Err(Refusal::Late)
        );
        assert_eq!(
            check(&noted("2"), &good, Some(NOW_MS)),
            Err(Refusal::WrongSignature)
        );
        assert_eq!(check(&first, &good, Some(NOW_MS - window)), Ok(()));
        assert_eq!(
            check(&first, &good, Some(NOW_MS - window)),
            Err(Refusal::Replayed)
        );
        for n in 0..GM_NOTES_KEPT_MAX {
            let call_id = format!("more {n}");
            let next = noted(&call_id);
            assert_eq!(check(&next, &note(&vkek, &next), Some(NOW_MS)), Ok(()));
        }
        // It is forgotten, and so its time is over.
        assert_eq!(
            check(&first, &good, Some(NOW_MS - window)),
            Err(Refusal::Late)
        );
    }
}
