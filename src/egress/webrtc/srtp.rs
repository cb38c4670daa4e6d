//! SRTP: keys from DTLS, sealing of RTP and RTCP, opening of the viewer's RTCP.
//!
//! RFC 3711 (4.1.1 AES-CM, 4.2 HMAC-SHA1-80, 4.3 key derivation, 3.3.2 replay), RFC 7714 (AES-GCM), RFC 5764, 4.2 (keys).
//! GCM by ring (0.3 µs a packet); AES-CM and HMAC-SHA1 by RustCrypto, which uses the processor's AES and SHA instructions
//! (ring has no AES-CTR and its HMAC-SHA1 costs twice as much).
//!
//! Sealing is in place in the caller's buffer; the caller counts the extended sequence number, of which the roll-over
//! counter is the upper part (it starts at 0, RFC 3711, 3.3.1). A sequence number must never be sealed twice with another
//! header or payload: under GCM that gives the authentication key away.
//! Bounds: [`SRTCP_SOURCES_MAX`].
//! Not done: incoming RTP (viewers send none), MKI, unencrypted SRTCP (refused), 2^48 packets on one key.

use aes::Aes128;
use aes::cipher::{InnerIvInit, KeyInit, KeyIvInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::Ctr128BE;
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;
use smallvec::SmallVec;

use crate::limits::SRTCP_SOURCES_MAX;

/// Protection profile (RFC 5764, 4.1.2; RFC 7714, 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    Gcm128,
    Cm80,
}

impl Profile {
    /// GCM costs a quarter of AES-CM with its HMAC.
    pub const BEST_FIRST: [Profile; 2] = [Profile::Gcm128, Profile::Cm80];

    /// Number in use_srtp.
    pub fn code(self) -> u16 {
        match self {
            Profile::Cm80 => 0x0001,
            Profile::Gcm128 => 0x0007,
        }
    }

    pub fn salt_len(self) -> usize {
        match self {
            Profile::Cm80 => 14,
            Profile::Gcm128 => 12,
        }
    }

    /// Bytes that sealing adds to an RTP packet.
    pub fn rtp_tag_len(self) -> usize {
        match self {
            Profile::Cm80 => CM_TAG_LEN,
            Profile::Gcm128 => GCM_TAG_LEN,
        }
    }

    /// Length of the keying material for both directions (RFC 5764, 4.2).
    pub fn material_len(self) -> usize {
        2 * (KEY_LEN + self.salt_len())
    }
}

const KEY_LEN: usize = 16;
const GCM_TAG_LEN: usize = 16;
const CM_TAG_LEN: usize = 10;
/// E bit and index behind every SRTCP packet.
const SRTCP_INDEX_LEN: usize = 4;
const SRTCP_ENCRYPTED: u32 = 1 << 31;
/// Fixed header of the first RTCP packet, which stays readable.
const RTCP_CLEAR_LEN: usize = 8;

const LABEL_RTP: u8 = 0;
const LABEL_RTCP: u8 = 3;

/// Master key and salt of one direction.
#[derive(Clone, Copy)]
pub struct Master {
    key: [u8; KEY_LEN],
    /// Padded with zeros at the end where the profile has 12 bytes.
    salt: [u8; 14],
}

/// Master keys of both directions.
#[derive(Clone, Copy)]
pub struct Masters {
    pub client: Master,
    pub server: Master,
}

impl Masters {
    /// Cuts what DTLS exported: client key, server key, client salt, server salt. `None` = wrong length.
    pub fn new(profile: Profile, material: &[u8]) -> Option<Self> {
        if material.len() != profile.material_len() {
            return None;
        }
        let salt_len = profile.salt_len();
        let cut = |side: usize| {
            let mut m = Master {
                key: [0; KEY_LEN],
                salt: [0; 14],
            };
            m.key
                .copy_from_slice(&material[side * KEY_LEN..][..KEY_LEN]);
            m.salt[..salt_len]
                .copy_from_slice(&material[2 * KEY_LEN + side * salt_len..][..salt_len]);
            m
        };
        Some(Masters {
            client: cut(0),
            server: cut(1),
        })
    }
}

impl Master {
    /// Key derivation of RFC 3711, 4.3 with a derivation rate of 0.
    fn derive(&self, label: u8, out: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        iv[7] ^= label;
        out.fill(0);
        Ctr128BE::<Aes128>::new(&self.key.into(), &iv.into()).apply_keystream(out);
    }
}

/// Session keys for one kind of packet in one direction.
enum Keys {
    Gcm {
        key: LessSafeKey,
        salt: [u8; 12],
    },
    Cm {
        cipher: Aes128,
        salt: [u8; 14],
        mac: Hmac<Sha1>,
    },
}

impl Keys {
    /// `label` = that of the encryption key; authentication key and salt have the next two.
    fn derive(profile: Profile, master: &Master, label: u8) -> Self {
        let mut key = [0; KEY_LEN];
        master.derive(label, &mut key);
        match profile {
            Profile::Gcm128 => {
                let mut salt = [0; 12];
                master.derive(label + 2, &mut salt);
                let key = UnboundKey::new(&AES_128_GCM, &key).expect("AES-128 takes 16 bytes");
                Keys::Gcm {
                    key: LessSafeKey::new(key),
                    salt,
                }
            }
            Profile::Cm80 => {
                let mut salt = [0; 14];
                master.derive(label + 2, &mut salt);
                let mut auth = [0; 20];
                master.derive(label + 1, &mut auth);
                Keys::Cm {
                    cipher: Aes128::new(&key.into()),
                    salt,
                    mac: Hmac::<Sha1>::new_from_slice(&auth)
                        .expect("HMAC takes a key of any length"),
                }
            }
        }
    }
}

/// IV of RFC 3711, 4.1.1: salt, SSRC and packet index, each at its place.
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &ssrc.to_be_bytes());
    xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
    iv
}

/// IV of RFC 7714, 8.1 and 9.1; for SRTCP the index is 31 bits, which the same layout holds.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut iv = *salt;
    xor(&mut iv[2..6], &ssrc.to_be_bytes());
    xor(&mut iv[6..12], &index.to_be_bytes()[2..]);
    Nonce::assume_unique_for_key(iv)
}

fn xor(to: &mut [u8], with: &[u8]) {
    to.iter_mut().zip(with).for_each(|(t, w)| *t ^= w);
}

fn cm_apply(cipher: &Aes128, iv: [u8; 16], data: &mut [u8]) {
    // The counter is the low 16 bits of the IV; a packet has fewer than 2^16 blocks, so a 128-bit counter is the same.
    let core = ctr::CtrCore::<_, ctr::flavors::Ctr128BE>::inner_iv_init(cipher, &iv.into());
    StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
}

/// Our direction.
pub struct Sealer {
    profile: Profile,
    rtp: Keys,
    rtcp: Keys,
    rtcp_index: u32,
}

impl Sealer {
    pub fn new(profile: Profile, master: &Master) -> Self {
        Sealer {
            profile,
            rtp: Keys::derive(profile, master, LABEL_RTP),
            rtcp: Keys::derive(profile, master, LABEL_RTCP),
            rtcp_index: 0,
        }
    }

    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Seals the RTP packet that stands in `out` from `start` to the end; its header has `header_len` bytes. The tag is
    /// appended. `index` = roll-over counter and sequence number (48 bits).
    pub fn seal_rtp(
        &self,
        out: &mut Vec<u8>,
        start: usize,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) {
        let (header, payload) = out[start..].split_at_mut(header_len);
        match &self.rtp {
            Keys::Gcm { key, salt } => {
                let tag = key
                    .seal_in_place_separate_tag(
                        gcm_nonce(salt, ssrc, index),
                        Aad::from(&*header),
                        payload,
                    )
                    .expect("a packet is far shorter than what GCM can seal");
                out.extend_from_slice(tag.as_ref());
            }
            Keys::Cm { cipher, salt, mac } => {
                cm_apply(cipher, cm_iv(salt, ssrc, index), payload);
                let mut mac = mac.clone();
                mac.update(&out[start..]);
                mac.update(&((index >> 16) as u32).to_be_bytes());
                out.extend_from_slice(&mac.finalize().into_bytes()[..CM_TAG_LEN]);
            }
        }
    }

    /// Seals the compound RTCP packet that stands in `out` from `start` to the end (8 bytes or more).
    pub fn seal_rtcp(&mut self, out: &mut Vec<u8>, start: usize, ssrc: u32) {
        let index = self.rtcp_index;
        self.rtcp_index = (index + 1) & !SRTCP_ENCRYPTED;
        let trailer = (index | SRTCP_ENCRYPTED).to_be_bytes();
        let (header, payload) = out[start..].split_at_mut(RTCP_CLEAR_LEN);
        match &self.rtcp {
            Keys::Gcm { key, salt } => {
                let mut aad = [0; RTCP_CLEAR_LEN + SRTCP_INDEX_LEN];
                aad[..RTCP_CLEAR_LEN].copy_from_slice(header);
                aad[RTCP_CLEAR_LEN..].copy_from_slice(&trailer);
                let nonce = gcm_nonce(salt, ssrc, u64::from(index));
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(aad), payload)
                    .expect("a packet is far shorter than what GCM can seal");
                out.extend_from_slice(tag.as_ref());
                out.extend_from_slice(&trailer);
            }
            Keys::Cm { cipher, salt, mac } => {
                cm_apply(cipher, cm_iv(salt, ssrc, u64::from(index)), payload);
                out.extend_from_slice(&trailer);
                let mut mac = mac.clone();
                mac.update(&out[start..]);
                out.extend_from_slice(&mac.finalize().into_bytes()[..CM_TAG_LEN]);
            }
        }
    }
}

/// Why an SRTCP packet was not opened. The state is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    Short,
    /// The E bit is not set; DTLS-SRTP always negotiates encryption.
    Clear,
    /// Seen before, or too old to know.
    Replayed,
    Forged,
    /// As many sources as may speak have spoken.
    TooManySources,
}

/// The viewer's direction, RTCP only.
pub struct Opener {
    rtcp: Keys,
    /// Each source counts its packets for itself (RFC 3711, 3.2.3): a browser has one per media line.
    replay: SmallVec<[(u32, Replay); 2]>,
}

impl Opener {
    pub fn new(profile: Profile, master: &Master) -> Self {
        Opener {
            rtcp: Keys::derive(profile, master, LABEL_RTCP),
            replay: SmallVec::new(),
        }
    }

    /// Opens an SRTCP packet in place and gives the compound packet in it. On an error the bytes are spoilt.
    pub fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], OpenError> {
        let (tag_len, index_last) = match &self.rtcp {
            Keys::Gcm { .. } => (GCM_TAG_LEN, true),
            Keys::Cm { .. } => (CM_TAG_LEN, false),
        };
        let body_len = packet
            .len()
            .checked_sub(tag_len + SRTCP_INDEX_LEN)
            .filter(|n| *n >= RTCP_CLEAR_LEN)
            .ok_or(OpenError::Short)?;
        let index_at = if index_last {
            packet.len() - SRTCP_INDEX_LEN
        } else {
            body_len
        };
        let word = be32(packet, index_at);
        if word & SRTCP_ENCRYPTED == 0 {
            return Err(OpenError::Clear);
        }
        let index = word & !SRTCP_ENCRYPTED;
        let ssrc = be32(packet, 4);
        let known = self.replay.iter().position(|(s, _)| *s == ssrc);
        match known {
            Some(at) if !self.replay[at].1.is_new(index) => return Err(OpenError::Replayed),
            None if self.replay.len() >= SRTCP_SOURCES_MAX => {
                return Err(OpenError::TooManySources);
            }
            Some(_) | None => {}
        }
        match &self.rtcp {
            Keys::Gcm { key, salt } => {
                let mut aad = [0; RTCP_CLEAR_LEN + SRTCP_INDEX_LEN];
                aad[..RTCP_CLEAR_LEN].copy_from_slice(&packet[..RTCP_CLEAR_LEN]);
                aad[RTCP_CLEAR_LEN..].copy_from_slice(&packet[index_at..]);
                let nonce = gcm_nonce(salt, ssrc, u64::from(index));
                let sealed = &mut packet[RTCP_CLEAR_LEN..index_at];
                key.open_in_place(nonce, Aad::from(aad), sealed)
                    .map_err(|_| OpenError::Forged)?;
            }
            Keys::Cm { cipher, salt, mac } => {
                let (signed, tag) = packet.split_at_mut(body_len + SRTCP_INDEX_LEN);
                let mut mac = mac.clone();
                mac.update(signed);
                mac.verify_truncated_left(tag)
                    .map_err(|_| OpenError::Forged)?;
                let iv = cm_iv(salt, ssrc, u64::from(index));
                cm_apply(cipher, iv, &mut signed[RTCP_CLEAR_LEN..body_len]);
            }
        }
        let at = known.unwrap_or_else(|| {
            self.replay.push((ssrc, Replay::default()));
            self.replay.len() - 1
        });
        self.replay[at].1.accept(index);
        Ok(&packet[..body_len])
    }
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Sliding window over the last 64 indexes (RFC 3711, 3.3.2).
#[derive(Default)]
struct Replay {
    /// One more than the highest index that was accepted; 0 = none yet.
    next: u32,
    /// Bit n: index `next - 1 - n` was accepted.
    seen: u64,
}

impl Replay {
    fn is_new(&self, index: u32) -> bool {
        match self.next.checked_sub(index + 1) {
            None => true,
            Some(age) => age < 64 && self.seen & (1 << age) == 0,
        }
    }

    fn accept(&mut self, index: u32) {
        match (index + 1).checked_sub(self.next) {
            Some(ahead) => {
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.next = index + 1;
            }
            None => self.seen |= 1 << (self.next - index - 1),
        }
    }
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

    /// RFC 3711, B.3.
    #[test]
    fn keys_are_derived_as_in_rfc_3711() {
        let mut m = Master {
            key: [0; 16],
            salt: [0; 14],
        };
        m.key
            .copy_from_slice(&hex("E1F97A0D3E018BE0D64FA32C06DE4139"));
        m.salt.copy_from_slice(&hex("0EC675AD498AFEEBB6960B3AABE6"));
        let derive = |label, len| {
            let mut out = vec![0; len];
            m.derive(label, &mut out);
            out
        };
        assert_eq!(derive(0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derive(2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            derive(1, 20),
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    /// RFC 3711, B.2: key stream for SSRC and index of zero.
    #[test]
    fn the_counter_mode_key_stream_is_that_of_rfc_3711() {
        let key: [u8; 16] = hex("2B7E151628AED2A6ABF7158809CF4F3C")
            .try_into()
            .expect("16");
        let salt: [u8; 14] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().expect("14");
        let mut stream = [0; 48];
        cm_apply(&Aes128::new(&key.into()), cm_iv(&salt, 0, 0), &mut stream);
        assert_eq!(
            stream.to_vec(),
            hex(
                "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0"
            )
        );
    }

    /// RFC 7714, 16.1.1 (the session key and salt are given, there is no derivation).
    #[test]
    fn the_gcm_packet_of_rfc_7714_is_sealed_alike() {
        let key = UnboundKey::new(&AES_128_GCM, &hex("000102030405060708090a0b0c0d0e0f"));
        let keys = || Keys::Gcm {
            key: LessSafeKey::new(key.expect("16 bytes")),
            salt: hex("517569642070726f2071756f").try_into().expect("12"),
        };
        let sealer = Sealer {
            profile: Profile::Gcm128,
            rtp: keys(),
            rtcp: Keys::derive(
                Profile::Gcm128,
                &Master {
                    key: [0; 16],
                    salt: [0; 14],
                },
                LABEL_RTCP,
            ),
            rtcp_index: 0,
        };
        let mut out = hex(
            "8040f17b8041f8d35501a0b2 47616c6c696120657374206f6d6e6973 20646976697361206 96e2070617274 6573207472 6573",
        );
        sealer.seal_rtp(&mut out, 0, 12, 0x5501_a0b2, 0xf17b);
        assert_eq!(
            out,
            hex(
                "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bca be633bd50d294e6f42a5f47a51c7d19b 36de3adf8833899d7f27beb16a9152cf 765ee4390cce"
            )
        );
    }

    /// The RTCP packet that libsrtp's test driver seals with AES-CM, HMAC-SHA1-80 and E, index 1.
    #[test]
    fn the_rtcp_packet_of_libsrtp_is_opened_and_sealed() {
        let mut m = Master {
            key: [0; 16],
            salt: [0; 14],
        };
        m.key
            .copy_from_slice(&hex("e1f97a0d3e018be0d64fa32c06de4139"));
        m.salt.copy_from_slice(&hex("0ec675ad498afeebb6960b3aabe6"));
        let clear = hex("81c8000bcafebabe abababababababababababababababab");
        let sealed =
            hex("81c8000bcafebabe7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798");
        let mut sealer = Sealer::new(Profile::Cm80, &m);
        sealer.rtcp_index = 1;
        let mut out = clear.clone();
        sealer.seal_rtcp(&mut out, 0, 0xcafe_babe);
        assert_eq!(out, sealed);
        let mut opener = Opener::new(Profile::Cm80, &m);
        assert_eq!(opener.open_rtcp(&mut sealed.clone()), Ok(&clear[..]));

        // And its RTP packet, sequence number 0x1234.
        let mut rtp = hex("800f1234decafbadcafebabe abababababababababababababababab");
        sealer.seal_rtp(&mut rtp, 0, 12, 0xcafe_babe, 0x1234);
        assert_eq!(
            rtp,
            hex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb")
        );
    }

    fn pair(profile: Profile) -> (Sealer, Opener) {
        let material: Vec<u8> = (0..profile.material_len() as u8).collect();
        let m = Masters::new(profile, &material).expect("the right length");
        (
            Sealer::new(profile, &m.client),
            Opener::new(profile, &m.client),
        )
    }

    #[test]
    fn a_replayed_forged_or_short_packet_is_not_opened() {
        for profile in [Profile::Gcm128, Profile::Cm80] {
            let (mut sealer, mut opener) = pair(profile);
            let mut packets = Vec::new();
            for n in 0..70u8 {
                let mut p = vec![0x80, 201, 0, 2, 1, 2, 3, 4, n, n, n, n];
                sealer.seal_rtcp(&mut p, 0, 0x0102_0304);
                packets.push(p);
            }
            for bit in 0..packets[3].len() * 8 {
                let mut p = packets[3].clone();
                p[bit / 8] ^= 1 << (bit % 8);
                assert!(opener.open_rtcp(&mut p).is_err(), "{profile:?} bit {bit}");
            }
            for len in 0..packets[3].len() {
                assert!(opener.open_rtcp(&mut packets[3].clone()[..len]).is_err());
            }
            // Out of order is fine inside the window; twice is not.
            for n in [3, 1, 2, 64] {
                let mut p = packets[n].clone();
                assert_eq!(opener.open_rtcp(&mut p).map(|o| o[8]), Ok(n as u8));
                assert_eq!(
                    opener.open_rtcp(&mut packets[n].clone()),
                    Err(OpenError::Replayed)
                );
            }
            // 64 is the newest: 1 is the oldest that the window holds, 0 is before it.
            assert_eq!(opener.open_rtcp(&mut packets[0]), Err(OpenError::Replayed));
            assert!(opener.open_rtcp(&mut packets[4]).is_ok());
        }
    }

    #[test]
    fn each_source_counts_for_itself_and_sources_have_a_bound() {
        let (_, mut opener) = pair(Profile::Gcm128);
        let sealed = |ssrc: u8| {
            let mut p = vec![0x80, 201, 0, 1, 0, 0, 0, ssrc];
            pair(Profile::Gcm128)
                .0
                .seal_rtcp(&mut p, 0, u32::from(ssrc));
            p
        };
        // All have index 0.
        for ssrc in 0..SRTCP_SOURCES_MAX as u8 {
            assert!(opener.open_rtcp(&mut sealed(ssrc)).is_ok());
            assert_eq!(
                opener.open_rtcp(&mut sealed(ssrc)),
                Err(OpenError::Replayed)
            );
        }
        assert_eq!(
            opener.open_rtcp(&mut sealed(99)),
            Err(OpenError::TooManySources)
        );
    }

    #[test]
    fn material_of_the_wrong_length_gives_no_keys() {
        for profile in [Profile::Gcm128, Profile::Cm80] {
            let n = profile.material_len();
            assert!(Masters::new(profile, &vec![0; n]).is_some());
            assert!(Masters::new(profile, &vec![0; n - 1]).is_none());
            assert!(Masters::new(profile, &vec![0; n + 1]).is_none());
        }
    }

    #[test]
    fn the_replay_window_slides_to_the_last_index() {
        let mut r = Replay::default();
        for index in [0, 0x7fff_fffe, 0x7fff_ffff] {
            assert!(r.is_new(index));
            r.accept(index);
            assert!(!r.is_new(index));
        }
        assert!(!r.is_new(0));
    }
}
