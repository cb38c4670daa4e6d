//! What the cameras show: the package's clips, and one of a few bytes for runs of a day.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use gantry::media::codec::{annexb, h264, h265};
use gantry::media::frame::{Codec, Params, Track, TrackId, VideoParams};

/// Pictures of a loop, each in canonical form.
pub struct Clip {
    pub track: Track,
    pub pictures: Vec<Picture>,
    pub per_second: u64,
    /// From a picture's bytes to its place in the loop.
    places: HashMap<Bytes, usize>,
}

pub struct Picture {
    pub key: bool,
    pub payload: Bytes,
}

enum Unit {
    Slice { key: bool, first: bool },
    Set(usize),
    Other,
}

fn unit(codec: Codec, nal: &[u8]) -> Unit {
    if codec == Codec::H265 {
        return match h265::nal(nal) {
            h265::Nal::Slice { key, first } => Unit::Slice { key, first },
            h265::Nal::Vps => Unit::Set(0),
            h265::Nal::Sps => Unit::Set(1),
            h265::Nal::Pps => Unit::Set(2),
            h265::Nal::Between | h265::Nal::Extra => Unit::Other,
        };
    }
    match h264::nal(nal) {
        h264::Nal::Slice { key, first } => Unit::Slice { key, first },
        h264::Nal::Sps => Unit::Set(1),
        h264::Nal::Pps => Unit::Set(2),
        h264::Nal::Between | h264::Nal::Extra => Unit::Other,
    }
}

impl Clip {
    /// A clip of the package: 25 pictures and one key frame a second, five seconds.
    pub fn of(codec: Codec) -> Arc<Clip> {
        let name = match codec {
            Codec::H265 => "hall.h265",
            _ => "gate.h264",
        };
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim/clips");
        let stream = std::fs::read(file.join(name)).expect("a clip of the package");
        let mut sets: [Bytes; 3] = Default::default();
        let mut pictures: Vec<(bool, Vec<u8>)> = Vec::new();
        for nal in annexb::nals(&stream) {
            match unit(codec, nal) {
                Unit::Set(n) => sets[n] = Bytes::copy_from_slice(nal),
                Unit::Other => {}
                Unit::Slice { key, first } => {
                    if first {
                        pictures.push((key, Vec::new()));
                    }
                    let (_, payload) = pictures.last_mut().expect("a picture has a first slice");
                    payload.extend((nal.len() as u32).to_be_bytes());
                    payload.extend(nal);
                }
            }
        }
        let pictures = pictures.into_iter().map(|(key, payload)| Picture {
            key,
            payload: payload.into(),
        });
        Clip::new(codec, sets, pictures.collect(), 25)
    }

    /// Five pictures and one key frame a second, of bytes that no decoder would like, with the parameter sets of a real
    /// clip: enough for everything up to the hub, and little to carry.
    pub fn tiny() -> Arc<Clip> {
        let gate = Clip::of(Codec::H264);
        let Params::Video(video) = &*gate.track.params else {
            panic!("a picture");
        };
        let sets = [Bytes::new(), video.sps.clone(), video.pps.clone()];
        let pictures = (0..10).map(|n: u8| {
            let key = n.is_multiple_of(5);
            let nal = [
                vec![if key { 0x65 } else { 0x41 }, 0x88],
                vec![0x80 | n; if key { 900 } else { 100 }],
            ]
            .concat();
            let mut payload = (nal.len() as u32).to_be_bytes().to_vec();
            payload.extend(nal);
            Picture {
                key,
                payload: payload.into(),
            }
        });
        Clip::new(Codec::H264, sets, pictures.collect(), 5)
    }

    fn new(codec: Codec, sets: [Bytes; 3], pictures: Vec<Picture>, per_second: u64) -> Arc<Clip> {
        let [vps, sps, pps] = sets;
        let params = VideoParams {
            vps: (!vps.is_empty()).then_some(vps),
            sps,
            pps,
            ..VideoParams::default()
        };
        let numbered = pictures.iter().enumerate();
        let places = numbered.map(|(n, p)| (p.payload.clone(), n)).collect();
        Arc::new(Clip {
            track: Track {
                id: TrackId::Video,
                codec,
                params: Arc::new(Params::Video(params)),
            },
            pictures,
            per_second,
            places,
        })
    }

    /// Picture `n`, counted through all rounds.
    pub fn picture(&self, n: u64) -> &Picture {
        &self.pictures[(n % self.pictures.len() as u64) as usize]
    }

    /// Which picture of the loop these bytes are; `None`: it was changed on the way.
    pub fn place(&self, payload: &Bytes) -> Option<usize> {
        self.places.get(payload).copied()
    }

    /// Ticks of 1/90,000 s from one picture to the next.
    pub fn step(&self) -> i64 {
        90_000 / self.per_second as i64
    }
}
