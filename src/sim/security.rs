//! The keys of simulated devices for GB 35114: one file a device in a folder, made when it is not there.
//!
//! `CODE.key` holds the SM2 key in hex, `CODE.csr` the request for its certificate, to be given to the platform. With a file
//! `platform.crt` there, devices check that the platform is the one that it names.

use std::io;
use std::path::Path;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::gb28181::device::Security;
use crate::gb28181::gb35114::{Camera, Certificate, CertificateRequest, Key};
use crate::id::{DeviceId, GbId};
use crate::time::WallClock;

/// How a device proves itself.
pub(super) fn of(
    folder: &Path,
    device: DeviceId,
    server: GbId,
    wall: WallClock,
    seed: [u8; 32],
) -> io::Result<Security> {
    std::fs::create_dir_all(folder)?;
    let id = device.to_string();
    let file = folder.join(format!("{id}.key"));
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let key = match std::fs::read_to_string(&file) {
        Ok(text) => unhex(text.trim())
            .and_then(|bytes| Key::from_bytes(&bytes))
            .ok_or_else(|| wrong("a key file does not hold an SM2 key in hex"))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // Not the seed of the device's numbers, which go over the wire.
            let mut own = seed;
            own.iter_mut().for_each(|b| *b ^= 0x5c);
            let key = Key::new(&mut ChaCha12Rng::from_seed(own));
            let text: String = key.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
            std::fs::write(&file, text)?;
            key
        }
        Err(e) => return Err(e),
    };
    let request = folder.join(format!("{id}.csr"));
    if !request.exists() {
        // Whole at once: somebody may be waiting for it.
        let half = folder.join(format!("{id}.new"));
        std::fs::write(&half, CertificateRequest::make(&key, &id).pem())?;
        std::fs::rename(&half, &request)?;
    }
    let platform = match std::fs::read(folder.join("platform.crt")) {
        Ok(pem) => {
            let read = Certificate::read(&pem).map_err(|e| wrong(&format!("platform.crt: {e}")))?;
            Some(read.public)
        }
        Err(_) => None,
    };
    Ok(Security {
        camera: Camera::new(key, platform, &id, server.as_str()),
        wall,
        utc_offset_s: 8 * 3600,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok())
        .collect()
}
