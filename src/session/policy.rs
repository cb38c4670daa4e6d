//! The policies of one device: how its deviations are met and how its media comes. Each has `Auto`, which needs no setting.
//!
//! Those of signalling are [`Quirks`]; those of media stand here. As text each is a word, so that the API, the store and
//! people write the same: `transport=tcp-passive loss=show`.
//!
//! Bounds: fixed size.

use std::fmt;
use std::net::IpAddr;

use crate::gb28181::quirk::{self, Quirks, policies};
use crate::media::hold::LossPolicy;

policies! {
    /// How the device is asked to send.
    TransportPolicy {
        /// What worked for it, else what the config says, with the others after it.
        Auto = "auto",
        Udp = "udp",
        /// It connects to us.
        TcpPassive = "tcp-passive",
        /// We connect to it.
        TcpActive = "tcp-active",
    }
    /// What is done with packets of an SSRC that nobody agreed on, when none of the agreed one come.
    ForeignSsrcPolicy {
        /// Taken where they can only be this stream's.
        Auto = "auto",
        /// Taken unless another stream waits for them.
        Switch = "switch",
        /// Not taken; the view fails and says so.
        Refuse = "refuse",
    }
    /// What becomes of pictures with loss.
    LossChoice {
        /// What the config says.
        Auto = "auto",
        HoldBack = "hold-back",
        Show = "show",
    }
}

/// All policies of a device. The default leaves everything to the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DevicePolicy {
    pub quirks: Quirks,
    pub transport: TransportPolicy,
    pub foreign_ssrc: ForeignSsrcPolicy,
    pub loss: LossChoice,
    /// The address that the device is told to send media to; `None` = by its route.
    pub media_ip: Option<IpAddr>,
}

/// A key or a word that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPolicy {
    pub key: String,
    pub word: String,
}

impl fmt::Display for NotAPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no policy for {}", self.word, self.key)
    }
}

impl std::error::Error for NotAPolicy {}

impl DevicePolicy {
    /// Every key with its word.
    pub fn entries(&self) -> [(&'static str, String); 10] {
        let Quirks {
            charset,
            owner,
            missing_sdp,
            tcp_role,
            moved,
            teardown,
        } = self.quirks;
        let ip = self
            .media_ip
            .map_or_else(|| quirk::AUTO_WORD.to_owned(), |ip| ip.to_string());
        [
            ("transport", self.transport.word().into()),
            ("foreign_ssrc", self.foreign_ssrc.word().into()),
            ("loss", self.loss.word().into()),
            ("media_ip", ip),
            ("charset", charset.word().into()),
            ("owner", owner.word().into()),
            ("missing_sdp", missing_sdp.word().into()),
            ("tcp_role", tcp_role.word().into()),
            ("moved", moved.word().into()),
            ("teardown", teardown.word().into()),
        ]
    }

    /// Sets one policy. Errors: no such key or word; nothing is changed.
    pub fn set(&mut self, key: &str, word: &str) -> Result<(), NotAPolicy> {
        let none = || NotAPolicy {
            key: key.chars().take(64).collect(),
            word: word.chars().take(64).collect(),
        };
        fn read<T>(to: &mut T, value: Option<T>) -> Option<()> {
            *to = value?;
            Some(())
        }
        let quirks = &mut self.quirks;
        let ip = match word {
            quirk::AUTO_WORD => Some(None),
            ip => ip.parse().ok().map(Some),
        };
        match key {
            "transport" => read(&mut self.transport, TransportPolicy::from_word(word)),
            "foreign_ssrc" => read(&mut self.foreign_ssrc, ForeignSsrcPolicy::from_word(word)),
            "loss" => read(&mut self.loss, LossChoice::from_word(word)),
            "media_ip" => read(&mut self.media_ip, ip),
            "charset" => read(&mut quirks.charset, quirk::CharsetPolicy::from_word(word)),
            "owner" => read(&mut quirks.owner, quirk::OwnerPolicy::from_word(word)),
            "missing_sdp" => read(
                &mut quirks.missing_sdp,
                quirk::MissingSdpPolicy::from_word(word),
            ),
            "tcp_role" => read(&mut quirks.tcp_role, quirk::TcpRolePolicy::from_word(word)),
            "moved" => read(&mut quirks.moved, quirk::MovedPolicy::from_word(word)),
            "teardown" => read(&mut quirks.teardown, quirk::TeardownPolicy::from_word(word)),
            _ => None,
        }
        .ok_or_else(none)
    }

    /// As the store keeps it: what is not `auto`.
    pub fn to_text(&self) -> String {
        let entries = self.entries();
        let forced = entries.iter().filter(|(_, word)| word != quirk::AUTO_WORD);
        let words: Vec<String> = forced.map(|(key, word)| format!("{key}={word}")).collect();
        words.join(" ")
    }

    /// The other way. What this version does not know is left out.
    pub fn from_text(text: &str) -> DevicePolicy {
        let mut policy = DevicePolicy::default();
        for (key, word) in text.split(' ').filter_map(|entry| entry.split_once('=')) {
            // A policy of a newer version: this one does what it would do without.
            let _ = policy.set(key, word);
        }
        policy
    }
}

impl LossChoice {
    /// What becomes of pictures with loss, where `usual` is what the config says.
    pub(super) fn or(self, usual: LossPolicy) -> LossPolicy {
        match self {
            LossChoice::Auto => usual,
            LossChoice::HoldBack => LossPolicy::HoldBack,
            LossChoice::Show => LossPolicy::Show,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_takes_its_words_and_nothing_else() {
        let mut policy = DevicePolicy::default();
        for (key, word) in policy.entries() {
            assert_eq!(word, "auto", "{key}");
            assert!(policy.set(key, "no such word").is_err(), "{key}");
            assert!(policy.set(key, "auto").is_ok(), "{key}");
        }
        assert!(policy.set("no such key", "auto").is_err());
        assert_eq!(policy, DevicePolicy::default());
        for (key, word) in [
            ("transport", "tcp-active"),
            ("foreign_ssrc", "refuse"),
            ("loss", "show"),
            ("media_ip", "2001:db8::9"),
            ("charset", "utf8"),
            ("owner", "platform"),
            ("missing_sdp", "assume"),
            ("tcp_role", "refuse"),
            ("moved", "any-ip"),
        ] {
            policy.set(key, word).expect("a policy");
            let found = policy.entries().into_iter().find(|(k, _)| *k == key);
            assert_eq!(found.map(|(_, w)| w).as_deref(), Some(word));
        }
        assert_eq!(DevicePolicy::from_text(&policy.to_text()), policy);
    }

    #[test]
    fn text_of_another_version_is_read_as_far_as_it_is_known() {
        let policy = DevicePolicy::from_text("colour=blue loss=show transport=pigeon");
        assert_eq!(policy.to_text(), "loss=show");
        assert_eq!(DevicePolicy::from_text("").to_text(), "");
    }
}
