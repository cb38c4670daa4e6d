//! The one table of device deviations, and the only place that knows a vendor's name.
//!
//! Each deviation is a policy with `Auto`. A policy is taken from the config of the device if it is set there, else from
//! the first row of `TABLE` whose mark stands in the device's `User-Agent`, else it is what suits most devices. So a
//! new deviation is a row here and a test with the input that shows it, and nothing else changes.

use super::manscdp::Charset;

/// In which charset the device is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CharsetPolicy {
    /// GB2312.
    #[default]
    Auto,
    Gb2312,
    Utf8,
}

/// Whose code stands in `o=` of our offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnerPolicy {
    /// The channel's: a decoder refuses any other, and no device is known to mind.
    #[default]
    Auto,
    Channel,
    Platform,
}

/// What a 200 OK to INVITE without SDP means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingSdpPolicy {
    /// A failure: the device has not agreed to anything (RFC 3264, 5).
    #[default]
    Auto,
    /// The offer is taken as it stands where the device has all it needs to send (UDP, TCP passive).
    Assume,
    Refuse,
}

/// What an answer means in which both sides want to listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpRolePolicy {
    /// The device copied our line and will connect all the same.
    #[default]
    Auto,
    Tolerate,
    Refuse,
}

/// Which address may speak for a registered device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MovedPolicy {
    /// The address it registered from, with any port: NAT changes ports.
    #[default]
    Auto,
    SameIp,
    /// Any: for cameras behind carrier NAT whose address changes between packets. Whoever knows the code can then take
    /// the device's place.
    AnyIp,
}

/// The policies of one device, as configured or found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    pub charset: CharsetPolicy,
    pub owner: OwnerPolicy,
    pub missing_sdp: MissingSdpPolicy,
    pub tcp_role: TcpRolePolicy,
    pub moved: MovedPolicy,
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
        fn pick<T: Default + PartialEq>(configured: T, found: T) -> T {
            if configured == T::default() {
                found
            } else {
                configured
            }
        }
        Quirks {
            charset: pick(self.charset, row.charset),
            owner: pick(self.owner, row.owner),
            missing_sdp: pick(self.missing_sdp, row.missing_sdp),
            tcp_role: pick(self.tcp_role, row.tcp_role),
            moved: pick(self.moved, row.moved),
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
