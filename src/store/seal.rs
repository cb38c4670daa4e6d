//! Passwords at rest: AES-256-GCM under a random key in the data folder.
//!
//! Sealed text: base64 of nonce (12 bytes), cipher text, tag (16 bytes). The name of the record is authenticated with it,
//! so that a sealed text cannot be moved to another record.
//!
//! Not done: changing the key; a key from outside. Who can read the data folder can open what it holds.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

const KEY_BYTES: usize = 32;

pub struct Sealer {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Sealer {
    /// Reads the key of a data folder, or makes one that only this user can read.
    pub fn open(path: &Path) -> std::io::Result<Sealer> {
        let random = SystemRandom::new();
        let bytes = match read_key(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let mut bytes = [0; KEY_BYTES];
                fill(&random, &mut bytes);
                write_key(path, &bytes)?;
                bytes
            }
            result => result?,
        };
        let key = UnboundKey::new(&AES_256_GCM, &bytes).expect("the key has 32 bytes");
        Ok(Sealer {
            key: LessSafeKey::new(key),
            random,
        })
    }

    /// `record` names what the text belongs to.
    pub fn seal(&self, record: &str, plain: &[u8]) -> String {
        let mut nonce = [0; NONCE_LEN];
        fill(&self.random, &mut nonce);
        let mut body = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(record),
                &mut body,
            )
            .expect("a password is far below the limit of GCM");
        let mut out = nonce.to_vec();
        out.append(&mut body);
        STANDARD.encode(out)
    }

    /// `None` if the text was not sealed with this key for this record.
    pub fn unseal(&self, record: &str, sealed: &str) -> Option<Vec<u8>> {
        let mut bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, body) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let plain = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(record),
                body,
            )
            .ok()?;
        Some(plain.to_vec())
    }

    /// Unpredictable bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        fill(&self.random, &mut bytes);
        bytes
    }
}

fn fill(random: &SystemRandom, bytes: &mut [u8]) {
    random
        .fill(bytes)
        .expect("the system's random generator does not fail once it runs");
}

fn read_key(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(KEY_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    bytes
        .try_into()
        .map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "the key file has not 32 bytes"))
}

/// Written beside and renamed, so that a crash leaves no half key.
fn write_key(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let half = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&half)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&half, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_record_and_key_alone() {
        let folder = crate::store::tests::folder();
        let path = folder.path().join("gantry.key");
        let sealer = Sealer::open(&path).expect("a key is made");
        let sealed = sealer.seal("device 1", b"secret");
        assert!(!sealed.contains("secret"));
        assert_eq!(sealer.unseal("device 1", &sealed), Some(b"secret".to_vec()));
        assert_eq!(sealer.unseal("device 2", &sealed), None);
        assert_ne!(sealer.seal("device 1", b"secret"), sealed, "nonces differ");

        let again = Sealer::open(&path).expect("the key is read");
        assert_eq!(again.unseal("device 1", &sealed), Some(b"secret".to_vec()));
        std::fs::remove_file(&path).expect("the key file is there");
        let other = Sealer::open(&path).expect("another key is made");
        assert_eq!(other.unseal("device 1", &sealed), None);
        for broken in ["", "x", "AAAA", &sealed[..8]] {
            assert_eq!(again.unseal("device 1", broken), None);
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_this_user_can_read_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = crate::store::tests::folder();
        let path = folder.path().join("gantry.key");
        Sealer::open(&path).expect("a key is made");
        let mode = std::fs::metadata(&path)
            .expect("the file is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_file_is_an_error_not_a_new_key() {
        let folder = crate::store::tests::folder();
        let path = folder.path().join("gantry.key");
        std::fs::write(&path, b"short").expect("written");
        assert!(Sealer::open(&path).is_err());
    }
}
