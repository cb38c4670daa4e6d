//! The one table of device deviations, and the only place that knows a vendor's name.
//!
//! Each deviation is a policy with `Auto`. A policy is what was forced for the device by the API, else what the config says, else
//! from the first row of `TABLE` whose mark stands in the device's `User-Agent`, else it is what suits most devices. So a
//! new deviation is a row here and a test with the input that shows it, and nothing else changes.

use super::manscdp::Charset;

/// The word for leaving it to the node.
pub const AUTO_WORD: &str = "auto";

/// Policies: an enum each whose first variant is `Auto`, with the words that the API and the store write them by.
macro_rules! policies {
    ($(
        $(#[doc = $doc:literal])+
        $Policy:ident {
            $(#[doc = $auto_doc:literal])*
            Auto = $auto:literal,
            $($(#[doc = $variant_doc:literal])* $Variant:ident = $word:literal,)+
        }
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $Policy {
            $(#[doc = $auto_doc])*
            #[default]
            Auto,
            $($(#[doc = $variant_doc])* $Variant,)+
        }

        impl $Policy {
            /// As the API and the store write it.
            pub fn word(self) -> &'static str {
                match self {
                    $Policy::Auto => $auto,
                    $($Policy::$Variant => $word,)+
                }
            }

            /// The other way.
            pub fn from_word(word: &str) -> Option<$Policy> {
                match word {
                    $auto => Some($Policy::Auto),
                    $($word => Some($Policy::$Variant),)+
                    _ => None,
                }
            }
        }
    )+};
}
pub(crate) use policies;

policies! {
    /// In which charset the device is asked.
    CharsetPolicy {
        /// GB2312.
        Auto = "auto",
        Gb2312 = "gb2312",
        Utf8 = "utf8",
    }
    /// Whose code stands in `o=` of our offers.
    OwnerPolicy {
        /// The channel's: a decoder refuses any other, and no device is known to mind.
        Auto = "auto",
        Channel = "channel",
        Platform = "platform",
    }
    /// What a 200 OK to INVITE without SDP means.
    MissingSdpPolicy {
        /// A failure: the device has not agreed to anything (RFC 3264, 5).
        Auto = "auto",
        /// The offer is taken as it stands where the device has all it needs to send (UDP, TCP passive).
        Assume = "assume",
        Refuse = "refuse",
    }
    /// What an answer means in which both sides want to listen.
    TcpRolePolicy {
        /// The device copied our line and will connect all the same.
        Auto = "auto",
        Tolerate = "tolerate",
        Refuse = "refuse",
    }
    /// Which address may speak for a registered device.
    MovedPolicy {
        /// The address it registered from, with any port: NAT changes ports.
        Auto = "auto",
        SameIp = "same-ip",
        /// Any: for cameras behind carrier NAT whose address changes between packets. Whoever knows the code can then take
        /// the device's place.
        AnyIp = "any-ip",
    }
    /// Whether a playback that a viewer ends is stopped by TEARDOWN before BYE.
    TeardownPolicy {
        /// It is: annex B has it so, and who does not know it answers with an error that changes nothing.
        Auto = "auto",
        Send = "send",
        /// BYE alone: for devices that take TEARDOWN for the end of the dialog and then leave BYE unanswered, or that take it
        /// for an order to all of their playbacks.
        Skip = "skip",
    }
}

/// The policies of one device, as configured or found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    pub charset: CharsetPolicy,
    pub owner: OwnerPolicy,
    pub missing_sdp: MissingSdpPolicy,
    pub tcp_role: TcpRolePolicy,
    pub moved: MovedPolicy,
    pub teardown: TeardownPolicy,
}

/// A device that is known to deviate.
struct Row {
    /// Stands in `User-Agent`, in any case.
    mark: &'static str,
    quirks: Quirks,
}

const AUTO: Quirks = Quirks {
    charset: CharsetPolicy::Auto,
    owner: OwnerPolicy::Auto,
    missing_sdp: MissingSdpPolicy::Auto,
    tcp_role: TcpRolePolicy::Auto,
    moved: MovedPolicy::Auto,
    teardown: TeardownPolicy::Auto,
};

/// Known deviations, the most special first.
const TABLE: &[Row] = &[
    // Its 200 OK to INVITE has no body, and it sends to the address of the offer (GoSIP, on which srs-bench stands).
    Row {
        mark: "gosip",
        quirks: Quirks {
            missing_sdp: MissingSdpPolicy::Assume,
            ..AUTO
        },
    },
];

impl Quirks {
    /// The policies for a device that names itself `user_agent`: `self` where it says something, else the table.
    pub fn for_agent(self, user_agent: &[u8]) -> Quirks {
        let row = TABLE
            .iter()
            .find(|row| contains_ignoring_case(user_agent, row.mark.as_bytes()))
            .map_or(AUTO, |row| row.quirks);
        self.over(row)
    }

    /// `self` where it says something, else `other`.
    pub fn over(self, other: Quirks) -> Quirks {
        fn pick<T: Default + PartialEq>(first: T, second: T) -> T {
            if first == T::default() { second } else { first }
        }
        Quirks {
            charset: pick(self.charset, other.charset),
            owner: pick(self.owner, other.owner),
            missing_sdp: pick(self.missing_sdp, other.missing_sdp),
            tcp_role: pick(self.tcp_role, other.tcp_role),
            moved: pick(self.moved, other.moved),
            teardown: pick(self.teardown, other.teardown),
        }
    }

    pub fn charset(self) -> Charset {
        match self.charset {
            CharsetPolicy::Auto | CharsetPolicy::Gb2312 => Charset::Gb2312,
            CharsetPolicy::Utf8 => Charset::Utf8,
        }
    }

    pub fn owner_is_channel(self) -> bool {
        match self.owner {
            OwnerPolicy::Auto | OwnerPolicy::Channel => true,
            OwnerPolicy::Platform => false,
        }
    }

    pub fn missing_sdp_is_assent(self) -> bool {
        match self.missing_sdp {
            MissingSdpPolicy::Assume => true,
            MissingSdpPolicy::Auto | MissingSdpPolicy::Refuse => false,
        }
    }

    pub fn both_may_listen(self) -> bool {
        match self.tcp_role {
            TcpRolePolicy::Auto | TcpRolePolicy::Tolerate => true,
            TcpRolePolicy::Refuse => false,
        }
    }

    pub fn any_ip(self) -> bool {
        match self.moved {
            MovedPolicy::Auto | MovedPolicy::SameIp => false,
            MovedPolicy::AnyIp => true,
        }
    }

    pub fn tears_down(self) -> bool {
        match self.teardown {
            TeardownPolicy::Auto | TeardownPolicy::Send => true,
            TeardownPolicy::Skip => false,
        }
    }
}

fn contains_ignoring_case(text: &[u8], mark: &[u8]) -> bool {
    text.windows(mark.len())
        .any(|w| w.eq_ignore_ascii_case(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_outranks_the_table_and_the_table_outranks_auto() {
        let found = AUTO.for_agent(b"GoSIP");
        assert_eq!(found.missing_sdp, MissingSdpPolicy::Assume);
        let configured = Quirks {
            missing_sdp: MissingSdpPolicy::Refuse,
            ..AUTO
        };
        assert!(!configured.for_agent(b"gosip/2").missing_sdp_is_assent());
        assert_eq!(AUTO.for_agent(b""), AUTO);
    }

    #[test]
    fn marks_are_written_in_lower_case_and_once() {
        for (n, row) in TABLE.iter().enumerate() {
            assert_eq!(row.mark, row.mark.to_ascii_lowercase());
            assert!(!row.mark.is_empty());
            assert!(
                TABLE[..n]
                    .iter()
                    .all(|other| !row.mark.contains(other.mark))
            );
        }
    }
}
