//! Bodies of the fuzz targets that drive whole machines through sequences of operations, and of the parsers that have no
//! folder of their own. Those of a parser lie beside it, in `sip::fuzzing`, `media::fuzzing`, `gb28181::fuzzing` and
//! `diagnosis::fuzzing`.
//!
//! They are here so that a normal build checks their types and a normal test runs the seeds in `fuzz/seeds`: a crash that
//! was fixed stays fixed. Not for other use. A sequence is read from the bytes by `Script`, so any input is one.

#![doc(hidden)]

mod agent;
mod demux;
mod framer;
mod jitter;
mod parsers;
mod platform;
mod session;
mod timeline;

pub use agent::sip_agent;
pub use demux::ps_loss;
pub use framer::rfc4571;
pub use jitter::jitter;
pub use parsers::{aac, answer, ids, websocket};
pub use platform::gb_platform;
pub use session::session;
pub use timeline::timeline;

use crate::{diagnosis, gb28181, media, sip};

/// The body of a target.
pub type Body = fn(&[u8]);

/// Every target by its name in `fuzz/fuzz_targets` that has a seed or may get one.
pub const TARGETS: [(&str, Body); 25] = [
    ("sip_message", sip::fuzzing::sip_message),
    ("sip_stream", sip::fuzzing::sip_stream),
    ("sdp", sip::fuzzing::sdp),
    ("rtp", media::fuzzing::rtp),
    ("rtcp", media::fuzzing::rtcp),
    ("ps_demux", media::fuzzing::ps_demux),
    ("h264", media::fuzzing::h264),
    ("h265", media::fuzzing::h265),
    ("manscdp", gb28181::fuzzing::manscdp),
    ("mansrtsp", gb28181::fuzzing::mansrtsp),
    ("sip_split", gb28181::fuzzing::sip_split),
    ("gb35114", gb28181::fuzzing::gb35114),
    ("sip_agent", sip_agent),
    ("gb_platform", gb_platform),
    ("jitter", jitter),
    ("ps_loss", ps_loss),
    ("session", session),
    ("aac", aac),
    ("answer", answer),
    ("ids", ids),
    ("websocket", websocket),
    ("rfc4571", rfc4571),
    ("timeline", timeline),
    ("capture", diagnosis::fuzzing::capture),
    ("rtpdump", diagnosis::fuzzing::dump),
];

/// Bytes read as decisions. At the end every decision is 0, and [`Script::is_over`] says so.
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(data: &'a [u8]) -> Script<'a> {
        Script(data)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }

    pub fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let n = self.below(all.len());
        all.get(n).copied()
    }

    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng as _, SeedableRng};
    use std::path::Path;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn every_target_is_built_and_its_seeds_hold() {
        let manifest =
            std::fs::read_to_string(root().join("fuzz/Cargo.toml")).expect("the fuzz package");
        let mut seeds = 0;
        for (name, body) in TARGETS {
            assert!(
                manifest.contains(&format!("name = \"{name}\"")),
                "{name} is not in fuzz/Cargo.toml"
            );
            let target = root().join(format!("fuzz/fuzz_targets/{name}.rs"));
            assert!(target.exists(), "{} is missing", target.display());
            let Ok(folder) = std::fs::read_dir(root().join("fuzz/seeds").join(name)) else {
                continue;
            };
            for seed in folder {
                let file = seed.expect("a readable folder").path();
                body(&std::fs::read(file).expect("a seed"));
                seeds += 1;
            }
        }
        println!("{seeds} seeds");
    }

    /// A thousand short scripts each: enough to see that a body works at all.
    #[test]
    fn machines_hold_under_random_scripts() {
        let mut dice = ChaCha8Rng::seed_from_u64(4);
        for (name, body) in TARGETS {
            let rounds = if name == "gb_platform" { 100 } else { 400 };
            for _ in 0..rounds {
                let mut data = vec![0; 1 + dice.next_u32() as usize % 300];
                dice.fill_bytes(&mut data);
                body(&data);
            }
        }
    }
}
