//! By which of our addresses a peer reaches us: the one that is set, if it is of the peer's family, else the one that the
//! socket is bound to, else the one that the kernel's routes name, so that it is right on every network card we have.
//!
//! Bounds: [`limits::ROUTES_KNOWN_MAX`] peers, each for [`limits::ROUTE_KNOWN_S_MAX`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::limits;

pub(super) struct Routes {
    announced: Option<IpAddr>,
    known: HashMap<IpAddr, Known>,
}

/// Our address towards a peer, and when the kernel said so.
#[derive(Clone, Copy)]
struct Known {
    own: IpAddr,
    since: Instant,
}

impl Routes {
    /// `announced`: told instead of our own addresses, to peers of its family.
    pub fn new(announced: Option<IpAddr>) -> Self {
        Routes {
            announced,
            known: HashMap::new(),
        }
    }

    /// Where a peer whose datagram came to a socket that is bound to `bound` reaches us.
    pub fn local_for(&mut self, now: Instant, peer: IpAddr, bound: SocketAddr) -> SocketAddr {
        self.local(now, peer, bound, route_to)
    }

    fn local(
        &mut self,
        now: Instant,
        peer: IpAddr,
        bound: SocketAddr,
        route_to: impl FnOnce(IpAddr) -> Option<IpAddr>,
    ) -> SocketAddr {
        let peer = peer.to_canonical();
        if let Some(ip) = self.announced_to(peer) {
            return SocketAddr::new(ip, bound.port());
        }
        if !bound.ip().is_unspecified() {
            return bound;
        }
        let lifetime = Duration::from_secs(limits::ROUTE_KNOWN_S_MAX);
        let fresh = |known: &&Known| now.saturating_duration_since(known.since) < lifetime;
        let own = match self.known.get(&peer).filter(fresh) {
            Some(known) => known.own,
            None => {
                if self.known.len() >= limits::ROUTES_KNOWN_MAX {
                    self.known.clear();
                }
                let own = route_to(peer).unwrap_or(bound.ip());
                self.known.insert(peer, Known { own, since: now });
                own
            }
        };
        SocketAddr::new(own, bound.port())
    }

    /// Where the other end of a connection, whose end here is `local`, reaches us.
    pub fn reached_at(&self, local: SocketAddr) -> SocketAddr {
        let ip = local.ip().to_canonical();
        SocketAddr::new(self.announced_to(ip).unwrap_or(ip), local.port())
    }

    fn announced_to(&self, peer: IpAddr) -> Option<IpAddr> {
        self.announced.filter(|ip| ip.is_ipv4() == peer.is_ipv4())
    }
}

/// Asks the kernel which of our addresses it would send from. Nothing is sent.
pub(crate) fn route_to(peer: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if peer.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        [0u16; 8].into()
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((peer, 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(limits::ROUTE_KNOWN_S_MAX);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn any() -> SocketAddr {
        "[::]:5060".parse().expect("an address")
    }

    /// The kernel's word for addresses that every machine has, and for those of another card.
    #[test]
    fn field_46_each_peer_is_told_the_address_by_which_it_reaches_us() {
        let mut routes = Routes::new(None);
        let now = Instant::now();
        let mut told = |peer: &str| routes.local_for(now, ip(peer), any());
        for (peer, own) in [
            ("127.0.0.1", "127.0.0.1:5060"),
            ("::ffff:127.0.0.1", "127.0.0.1:5060"),
            ("127.0.0.2", "127.0.0.1:5060"),
            ("::1", "[::1]:5060"),
        ] {
            assert_eq!(told(peer).to_string(), own, "{peer}");
        }
        let bound = "127.0.0.2:5060".parse().expect("an address");
        let told = routes.local_for(now, ip("127.0.0.1"), bound);
        assert_eq!(told, bound, "the only one that listens");
    }

    #[test]
    fn an_address_that_is_set_is_told_to_its_family() {
        let mut routes = Routes::new(Some(ip("203.0.113.9")));
        let now = Instant::now();
        let told = routes.local_for(now, ip("127.0.0.1"), any());
        assert_eq!(told.to_string(), "203.0.113.9:5060");
        let told = routes.local_for(now, ip("::1"), any());
        assert_eq!(told.to_string(), "[::1]:5060");
        for (local, told) in [
            ("10.0.0.1:5060", "203.0.113.9:5060"),
            ("[::ffff:10.0.0.1]:5060", "203.0.113.9:5060"),
            ("[2001:db8::1]:5060", "[2001:db8::1]:5060"),
        ] {
            let local = local.parse().expect("an address");
            assert_eq!(routes.reached_at(local).to_string(), told);
        }
    }

    #[test]
    fn a_route_that_changed_is_noticed() {
        let mut routes = Routes::new(None);
        let start = Instant::now();
        let peer = ip("198.51.100.7");
        let mut told = |at, own: &str| routes.local(at, peer, any(), |_| Some(ip(own))).ip();
        assert_eq!(told(start, "192.0.2.1"), ip("192.0.2.1"));
        let almost = start + LIFETIME - Duration::from_millis(1);
        assert_eq!(told(almost, "192.0.2.2"), ip("192.0.2.1"));
        assert_eq!(told(start + LIFETIME, "192.0.2.2"), ip("192.0.2.2"));
        assert_eq!(told(start + LIFETIME, "192.0.2.3"), ip("192.0.2.2"));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut routes = Routes::new(None);
        let now = Instant::now();
        for n in 0..limits::ROUTES_KNOWN_MAX as u32 + 1 {
            let peer = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            routes.local(now, peer, any(), |_| Some(ip("192.0.2.1")));
            assert!(routes.known.len() <= limits::ROUTES_KNOWN_MAX);
        }
        assert_eq!(routes.known.len(), 1, "begun anew");
    }
}
