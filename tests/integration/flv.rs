//! FLV as a player reads it, by the standard and not by the library: tags (Flash Video 10.1, annex E), and H.265 in them
//! (Enhanced RTMP, version 1).
#![cfg_attr(not(feature = "node"), allow(dead_code))]

pub struct Tag {
    /// 8 = sound, 9 = picture, 18 = metadata.
    pub kind: u8,
    pub time_ms: u32,
    pub body: Vec<u8>,
}

/// Reads FLV from pieces cut anywhere.
#[derive(Default)]
pub struct Flv {
    waiting: Vec<u8>,
    headed: bool,
    tags: Vec<Tag>,
}

impl Flv {
    /// For pieces that begin with a tag.
    pub fn headless() -> Flv {
        Flv {
            headed: true,
            ..Flv::default()
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        if !self.headed && self.waiting.len() >= 13 {
            assert_eq!(&self.waiting[..4], b"FLV\x01");
            assert_eq!(self.waiting[5..13], [0, 0, 0, 9, 0, 0, 0, 0]);
            self.waiting.drain(..13);
            self.headed = true;
        }
        while self.headed && self.waiting.len() >= 11 {
            let head = &self.waiting[..11];
            let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
            let whole = 11 + size + 4;
            if self.waiting.len() < whole {
                return;
            }
            let time_ms = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
            let kind = head[0];
            assert!(matches!(kind, 8 | 9 | 18), "tag type {kind}");
            assert_eq!(
                self.waiting[11 + size..whole],
                (11 + size as u32).to_be_bytes(),
                "PreviousTagSize"
            );
            let body = self.waiting[11..11 + size].to_vec();
            self.waiting.drain(..whole);
            self.tags.push(Tag {
                kind,
                time_ms,
                body,
            });
        }
    }

    /// The tags since the last time, in their order.
    pub fn take(&mut self) -> Vec<Tag> {
        std::mem::take(&mut self.tags)
    }

    /// Nothing of a tag waits for its end.
    pub fn is_at_tag(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The tags of a type so far.
    pub fn tags(&self, kind: u8) -> impl Iterator<Item = &Tag> {
        self.tags.iter().filter(move |tag| tag.kind == kind)
    }
}

/// The bare H.265 stream in the picture tags of Enhanced FLV: each configuration stands in front of what it is for.
pub fn hevc_of_flv(tags: &[&Tag]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut unit = |nal: &[u8]| {
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(nal);
    };
    for tag in tags {
        // Packet type 1 has a composition time of three bytes, type 3 has none.
        let mut rest = match tag.body[0] & 0x0f {
            0 => {
                sets_of(&tag.body[5..], &mut unit);
                continue;
            }
            1 => &tag.body[8..],
            3 => &tag.body[5..],
            other => panic!("packet type {other}"),
        };
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let (nal, next) = after.split_at(u32::from_be_bytes(*len) as usize);
            unit(nal);
            rest = next;
        }
    }
    out
}

/// HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1): 22 bytes, then arrays of units of one type.
fn sets_of(config: &[u8], unit: &mut impl FnMut(&[u8])) {
    let mut at = 23;
    for _ in 0..config[22] {
        let count = u16::from_be_bytes([config[at + 1], config[at + 2]]);
        at += 3;
        for _ in 0..count {
            let len = usize::from(u16::from_be_bytes([config[at], config[at + 1]]));
            unit(&config[at + 2..at + 2 + len]);
            at += 2 + len;
        }
    }
}
