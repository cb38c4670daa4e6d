//! Which address a device is told to send its media to.
//!
//! In this order: the one that is forced for the device; the public one, for a device whose SIP comes from outside the
//! private networks (it cannot reach us by any other); the one of the config; the one by which the device reached us, which the
//! SIP side knows from its routes and which is right on every network card we have. An address of the other family than the
//! device's is none for it: a device on IPv6 need not have IPv4 at all.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address lies in it. IPv4 written as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => same_bits(
                u128::from(u32::from(network)) << 96,
                u128::from(u32::from(address)) << 96,
                self.prefix,
            ),
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                same_bits(u128::from(network), u128::from(address), self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// RFC 1918, RFC 3927, RFC 6598, loopback, RFC 4193 and RFC 4291: what no device behind another NAT has.
    pub fn private() -> Vec<Network> {
        let v4 = |a, b, prefix| Network {
            address: IpAddr::from([a, b, 0, 0]),
            prefix,
        };
        let v6 = |first: u16, prefix| Network {
            address: Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0).into(),
            prefix,
        };
        vec![
            v4(10, 0, 8),
            v4(172, 16, 12),
            v4(192, 168, 16),
            v4(169, 254, 16),
            v4(100, 64, 10),
            v4(127, 0, 8),
            Network {
                address: Ipv6Addr::LOCALHOST.into(),
                prefix: 128,
            },
            v6(0xfc00, 7),
            v6(0xfe80, 10),
        ]
    }
}

fn same_bits(a: u128, b: u128, prefix: u8) -> bool {
    let apart = (a ^ b).leading_zeros();
    apart >= u32::from(prefix)
}

/// Not an address with `/` and a number of bits that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANetwork;

impl fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a network such as 10.0.0.0/8 or fd00::/8")
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    /// `address/bits`; without bits the address alone.
    fn from_str(text: &str) -> Result<Network, NotANetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| NotANetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match bits {
            Some(bits) => bits.trim().parse().map_err(|_| NotANetwork)?,
            None => most,
        };
        if prefix > most {
            return Err(NotANetwork);
        }
        Ok(Network { address, prefix })
    }
}

/// What is known for the choice.
#[derive(Clone, Debug, Default)]
pub struct MediaAddress {
    /// Told to every device that nothing else is told to.
    pub configured: Option<IpAddr>,
    /// Told to devices outside `private`.
    pub public: Option<IpAddr>,
    pub private: Vec<Network>,
}

impl MediaAddress {
    /// `None`: the address by which the device reached us. `forced` is the device's own policy, `peer` where its SIP comes
    /// from. What is forced counts whatever its family: who forces it knows the device.
    pub fn choose(&self, forced: Option<IpAddr>, peer: Option<IpAddr>) -> Option<IpAddr> {
        let peer = peer.map(|peer| peer.to_canonical());
        let outside =
            peer.is_some_and(|peer| !self.private.iter().any(|network| network.contains(peer)));
        let of_its_family =
            |ip: &IpAddr| peer.is_none_or(|peer| peer.is_ipv4() == ip.to_canonical().is_ipv4());
        forced
            .or_else(|| self.public.filter(of_its_family).filter(|_| outside))
            .or_else(|| self.configured.filter(of_its_family))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn networks_are_read_and_refused() {
        let network: Network = "192.168.4.0/22".parse().expect("a network");
        for (address, inside) in [
            ("192.168.4.0", true),
            ("192.168.7.255", true),
            ("192.168.8.0", false),
            ("::ffff:192.168.5.1", true),
            ("::1", false),
        ] {
            assert_eq!(network.contains(ip(address)), inside, "{address}");
        }
        let everything: Network = "0.0.0.0/0".parse().expect("a network");
        assert!(everything.contains(ip("8.8.8.8")));
        let one: Network = "2001:db8::7".parse().expect("a network");
        assert!(one.contains(ip("2001:db8::7")) && !one.contains(ip("2001:db8::8")));
        for bad in [
            "",
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0/8",
            "10.0.0.0/x",
            "lan",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(NotANetwork), "{bad}");
        }
    }

    #[test]
    fn field_47_devices_inside_and_outside_are_told_different_addresses() {
        let address = MediaAddress {
            configured: None,
            public: Some(ip("203.0.113.9")),
            private: Network::private(),
        };
        let told = |peer: &str| address.choose(None, Some(ip(peer)));
        for inside in [
            "192.168.1.64",
            "10.1.2.3",
            "172.31.0.1",
            "127.0.0.1",
            "::1",
            "fd12::1",
        ] {
            assert_eq!(told(inside), None, "{inside}: the way it came");
        }
        for outside in ["8.8.4.4", "172.32.0.1", "::ffff:8.8.4.4"] {
            assert_eq!(told(outside), Some(ip("203.0.113.9")), "{outside}");
        }
        assert_eq!(told("2001:db8::1"), None, "it need not have IPv4");
    }

    #[test]
    fn field_47_an_address_of_the_other_family_is_told_to_nobody() {
        let [v4, v6] = ["203.0.113.9", "2001:db8::9"].map(ip);
        let peers = ["8.8.4.4", "10.1.2.3", "2001:db8::1", "fd12::1"];
        let told = |address: &MediaAddress| peers.map(|peer| address.choose(None, Some(ip(peer))));
        let mut address = MediaAddress {
            configured: None,
            public: Some(v6),
            private: Network::private(),
        };
        assert_eq!(told(&address), [None, None, Some(v6), None]);
        address.configured = Some(v4);
        assert_eq!(told(&address), [Some(v4), Some(v4), Some(v6), None]);
        (address.configured, address.public) = (Some(v6), Some(v4));
        assert_eq!(told(&address), [Some(v4), None, Some(v6), Some(v6)]);
        assert_eq!(address.choose(Some(v4), Some(ip("fd12::1"))), Some(v4));
    }

    #[test]
    fn field_46_what_is_forced_for_a_device_outranks_all() {
        let address = MediaAddress {
            configured: Some(ip("10.0.0.5")),
            public: Some(ip("203.0.113.9")),
            private: Network::private(),
        };
        let forced = Some(ip("10.9.9.9"));
        assert_eq!(address.choose(forced, Some(ip("8.8.8.8"))), forced);
        let outside = address.choose(None, Some(ip("8.8.8.8")));
        assert_eq!(outside, Some(ip("203.0.113.9")));
        let inside = address.choose(None, Some(ip("10.0.0.7")));
        assert_eq!(inside, Some(ip("10.0.0.5")));
        assert_eq!(MediaAddress::default().choose(None, None), None);
    }
}
