//! SDP fragments: what a WHEP client sends to restart ICE, and what it is answered.
//!
//! RFC 8840, 4.4 and 9 (`application/trickle-ice-sdpfrag`), RFC 9725, 4.3.3 (restart).
//!
//! Of a fragment only the credentials and the first media line with its identification are read: candidates are not needed,
//! since checks from any address are taken.
//! Not done: `a=end-of-candidates` and candidates (nothing follows from them).
//!
//! Bounds: [`SDP_OFFER_BYTES_MAX`].

use super::Address;
use super::demux::ICE_CHARS;
use super::ice::Credentials;
use super::sdp::candidates;
use crate::limits::SDP_OFFER_BYTES_MAX;

/// What a fragment says of a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The viewer's new user fragment. Its password is for checks of ours, which there are none of.
    pub ufrag: String,
    /// The first media line and its `a=mid`, to be said in the answer again.
    media: Option<String>,
    mid: Option<String>,
}

impl Restart {
    /// `None`: the fragment has no new credentials (RFC 8839, 5.4: 4 to 256 and 22 to 256 characters), so it asks for no
    /// restart.
    pub fn parse(fragment: &str) -> Option<Self> {
        if fragment.len() > SDP_OFFER_BYTES_MAX {
            return None;
        }
        let value = |name: &str| {
            let mut lines = fragment.lines().map(str::trim_end);
            lines.find_map(|line| line.strip_prefix(name).map(str::to_owned))
        };
        let of = |name, least| {
            value(name).filter(|v| {
                (least..=256).contains(&v.len()) && v.bytes().all(|c| ICE_CHARS.contains(&c))
            })
        };
        of("a=ice-pwd:", 22)?;
        let is_plain = |v: &String| v.len() <= 256 && v.bytes().all(|c| (0x20..0x7f).contains(&c));
        Some(Restart {
            ufrag: of("a=ice-ufrag:", 4)?,
            media: value("m=").filter(is_plain),
            mid: value("a=mid:").filter(is_plain),
        })
    }

    /// The fragment that answers: our new credentials and all candidates.
    pub fn answer(&self, credentials: &Credentials, at: &[Address]) -> String {
        let mut out = String::from("a=ice-lite\r\n");
        let mut put = |name: &str, value: &str| {
            out.push_str(name);
            out.push_str(value);
            out.push_str("\r\n");
        };
        if let Some(media) = &self.media {
            put("m=", media);
        }
        if let Some(mid) = &self.mid {
            put("a=mid:", mid);
        }
        put("a=ice-ufrag:", &credentials.ufrag);
        put("a=ice-pwd:", &credentials.password);
        out.push_str(&candidates(at));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 9725, figure 8, in short.
    const ASKED: &str = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                         a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=end-of-candidates\r\n";

    #[test]
    fn a_restart_is_answered_with_new_credentials_and_all_candidates() {
        let restart = Restart::parse(ASKED).expect("a restart");
        assert_eq!(restart.ufrag, "EsAw");
        let credentials = Credentials {
            ufrag: "ours".into(),
            password: "0123456789012345678901".into(),
        };
        let at = [Address::Udp(([192, 0, 2, 1], 8189).into())];
        assert_eq!(
            restart.answer(&credentials, &at),
            "a=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:ours\r\n\
             a=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\n\
             a=end-of-candidates\r\n"
        );
    }

    #[test]
    fn what_has_no_new_credentials_is_no_restart() {
        for fragment in [
            String::new(),
            "a=end-of-candidates\r\n".to_owned(),
            ASKED.replace("a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", "a=ice-pwd:short"),
            ASKED.replace("EsAw", "E-Aw"),
            ASKED.replace("EsAw", &"E".repeat(257)),
            format!("{ASKED}{}", " ".repeat(SDP_OFFER_BYTES_MAX)),
        ] {
            assert_eq!(Restart::parse(&fragment), None, "{fragment:.80}");
        }
        assert!(Restart::parse(&ASKED.replace("EsAw", &"E".repeat(256))).is_some());
        assert!(Restart::parse(&ASKED.replace('\r', "")).is_some());
    }
}
