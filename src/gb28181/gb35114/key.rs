//! SM2 keys: signatures with SM3 (GB/T 32918.2) and the sealing of short secrets (GB/T 32918.4, C1‖C3‖C2 in DER as GB/T
//! 35276 has it). The signer's identity is the usual `1234567812345678`, as in certificates (GM/T 0015).
//!
//! Signatures are deterministic (RFC 6979 with SM3), so they need no randomness; keys and sealing take it as an argument.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;
use sm2::dsa::signature::{Signer, Verifier};
use sm2::dsa::{Signature, SigningKey, VerifyingKey};
use sm2::elliptic_curve::sec1::ToSec1Point;
use sm2::pke::{DecryptingKey, EncryptingKey, Mode};
use sm2::{PublicKey, SecretKey};

const IDENTITY: &str = "1234567812345678";

/// A private key with its public one.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    secret: SecretKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    pub fn new(rng: &mut ChaCha12Rng) -> Key {
        loop {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            // All but one in four billion random numbers are below the order of the curve.
            if let Some(key) = Key::from_bytes(&bytes) {
                return key;
            }
        }
    }

    /// `None` for what is no scalar of the curve: not 32 bytes, zero, or too large.
    pub fn from_bytes(bytes: &[u8]) -> Option<Key> {
        let secret = SecretKey::from_slice(bytes).ok()?;
        Some(Key { secret })
    }

    /// 32 bytes, to be kept secret.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.secret.to_bytes().to_vec()
    }

    /// The public key: 04, X, Y.
    pub fn public(&self) -> Vec<u8> {
        self.secret
            .public_key()
            .to_sec1_point(false)
            .as_bytes()
            .to_vec()
    }

    /// A signature in DER.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let key = SigningKey::new(IDENTITY, &self.secret).expect("the identity has 16 bytes");
        let signature: Signature = key.sign(message);
        signature.to_der().as_bytes().to_vec()
    }

    /// Opens what [`seal`] closed with our public key. `None`: not for us, or damaged.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let key = DecryptingKey::new_with_mode(self.secret.to_nonzero_scalar(), Mode::C1C3C2);
        key.decrypt_der(sealed).ok()
    }
}

/// Whether a signature in DER, or of 64 bytes r‖s as some devices write it, is that of a public key.
pub fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let read = match Signature::from_der(signature) {
        Ok(signature) => Ok(signature),
        Err(_) => Signature::from_slice(signature),
    };
    match (VerifyingKey::from_sec1_bytes(IDENTITY, public), read) {
        (Ok(key), Ok(signature)) => key.verify(message, &signature).is_ok(),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Closes a short secret for the owner of a public key. `None`: that is none.
pub fn seal(public: &[u8], secret: &[u8], rng: &mut ChaCha12Rng) -> Option<Vec<u8>> {
    let public = PublicKey::from_sec1_bytes(public).ok()?;
    let key = EncryptingKey::new_with_mode(public, Mode::C1C3C2);
    key.encrypt_der(rng, secret).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn what_one_key_signs_and_seals_no_other_verifies_or_opens() {
        let mut rng = ChaCha12Rng::from_seed([7; 32]);
        let (one, two) = (Key::new(&mut rng), Key::new(&mut rng));
        let signature = one.sign(b"message");
        assert!(verify(&one.public(), b"message", &signature));
        assert!(!verify(&one.public(), b"massage", &signature));
        assert!(!verify(&two.public(), b"message", &signature));
        let sealed = seal(&one.public(), b"0123456789abcdef", &mut rng).expect("a public key");
        assert_eq!(sealed[0], 0x30);
        assert_eq!(one.open(&sealed).as_deref(), Some(&b"0123456789abcdef"[..]));
        assert_eq!(two.open(&sealed), None);
        for damaged in [&[][..], &sealed[1..], &sealed[..sealed.len() - 1]] {
            assert_eq!(one.open(damaged), None);
            assert!(!verify(&one.public(), b"message", damaged));
        }
        assert_eq!(seal(b"no key", b"x", &mut rng), None);
        assert_eq!(Key::from_bytes(&one.to_bytes()), Some(one));
        assert_eq!(Key::from_bytes(&[0; 32]), None);
    }
}
