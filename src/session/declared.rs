//! What a device's answer says of its payload types, as far as it helps.
//!
//! Devices write what they like there: our own offer back, `PS` above an elementary stream, names of cameras that they are
//! not. So pictures are known by their bytes alone ([`crate::media::ingest`]), and what is said of a sound is a hint, which its bytes
//! can speak against: for AAC by RFC 3640 and for sound under a dynamic type they do not tell enough. An answer is refused
//! only if nothing in it is ours or could be played; then by the name of what it offers.
//!
//! Bounds: [`crate::limits::PAYLOAD_TYPES_MAX`] hints; the rest is left out.

use super::types::ViewFailure;
use crate::gb28181::AnsweredPayload;
use crate::gb28181::offer::{NO_PAYLOAD_OF_OURS, is_offered_name, is_offered_number};
use crate::media::ingest::{Kind, RtpMap, RtpMaps};
use crate::media::ps;

/// The hints of an answer.
///
/// Errors: [`ViewFailure::UnsupportedCodec`] where all that is offered is known and cannot be played,
/// [`ViewFailure::BadAnswer`] where none of it is known.
pub(super) fn hints(payloads: &[AnsweredPayload]) -> Result<RtpMaps, ViewFailure> {
    let mut maps = RtpMaps::default();
    let mut free = maps.iter_mut();
    let (mut playable, mut unsupported) = (payloads.is_empty(), None);
    for payload in payloads {
        let by_type = RtpMap::of_type(payload.payload_type);
        let map = RtpMap::parse(payload.payload_type, &payload.rtpmap, &payload.fmtp);
        let kind = map.or(by_type).map(|map| map.kind);
        playable |= match kind {
            Some(Kind::Unsupported(stream_type)) => {
                unsupported.get_or_insert(stream_type);
                false
            }
            Some(_) => true,
            None => payload.rtpmap.is_empty() && is_offered_number(payload.payload_type),
        };
        playable |= is_offered_name(&payload.rtpmap);
        let hint =
            map.filter(|map| is_sound(map.kind) && by_type.map(|t| t.kind) != Some(map.kind));
        if let Some(hint) = hint
            && let Some(place) = free.next()
        {
            *place = Some(hint);
        }
    }
    match unsupported {
        _ if playable => Ok(maps),
        Some(stream_type) => Err(ViewFailure::UnsupportedCodec { stream_type }),
        None => Err(ViewFailure::BadAnswer {
            what: NO_PAYLOAD_OF_OURS,
        }),
    }
}

fn is_sound(kind: Kind) -> bool {
    match kind {
        Kind::Aac(_) | Kind::Samples(_) | Kind::Adts => true,
        Kind::Unsupported(stream_type) => !ps::is_video_type(stream_type),
        Kind::Ps { .. } | Kind::Ts | Kind::AnnexB | Kind::H264 | Kind::H265 => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    fn payload(payload_type: u8, rtpmap: &str) -> AnsweredPayload {
        AnsweredPayload {
            payload_type,
            rtpmap: rtpmap.to_owned(),
            fmtp: "sizelength=13;indexlength=3;indexdeltalength=3;config=1408".to_owned(),
        }
    }

    fn read(payloads: &[(u8, &str)]) -> Result<Vec<u8>, ViewFailure> {
        let payloads: Vec<_> = payloads.iter().map(|(pt, map)| payload(*pt, map)).collect();
        let maps = hints(&payloads)?;
        Ok(maps.into_iter().flatten().map(|m| m.payload_type).collect())
    }

    #[test]
    fn sound_that_bytes_do_not_tell_is_hinted_at_and_pictures_are_not() {
        for (answer, hinted) in [
            (&[][..], &[][..]),
            (&[(96, "PS/90000")], &[]),
            (&[(96, ""), (8, "")], &[]),
            (&[(96, "PS/90000"), (97, "MPEG4-GENERIC/16000/1")], &[97]),
            (
                &[(96, "PS/90000"), (104, "G726-32/8000"), (105, "G722/8000")],
                &[104, 105],
            ),
            // What the number says by itself needs no word.
            (&[(96, "PS/90000"), (8, "PCMA/8000"), (9, "G722/8000")], &[]),
            (&[(0, "PCMA/8000")], &[0]),
            // Our offer, copied; MPEG-4 among it.
            (
                &[(96, "PS/90000"), (97, "MPEG4/90000"), (98, "H264/90000")],
                &[],
            ),
            (&[(97, "MPEG4/90000")], &[]),
            (&[(96, "MP2T/90000")], &[]),
            (&[(96, "PS/90000"), (100, "SVAC/90000")], &[]),
            (
                &[(96, "PS/90000"), (102, "G7221/16000"), (103, "TELEPATHY/1")],
                &[102],
            ),
        ] {
            assert_eq!(read(answer), Ok(hinted.to_vec()), "{answer:?}");
        }
        let many: Vec<_> = (100..120).map(|pt| (pt, "PCMU/8000")).collect();
        assert_eq!(read(&many).map(|h| h.len()), Ok(limits::PAYLOAD_TYPES_MAX));
    }

    #[test]
    fn an_answer_with_nothing_that_can_be_played_fails_by_its_name() {
        let codec = |stream_type| Err(ViewFailure::UnsupportedCodec { stream_type });
        assert_eq!(read(&[(99, "SVAC/90000")]), codec(0x80));
        assert_eq!(read(&[(99, "svac/90000"), (20, "SVACA/8000")]), codec(0x80));
        let unknown = Err(ViewFailure::BadAnswer {
            what: NO_PAYLOAD_OF_OURS,
        });
        assert_eq!(read(&[(26, "JPEG/90000")]), unknown);
        assert_eq!(read(&[(96, "VP8/90000")]), unknown);
    }
}
