//! Addresses of this machine's interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that others on the network may reach us by: of interfaces that are up, without loopback and link-local ones.
/// Empty when the system does not tell.
pub(super) fn addresses() -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs writes one pointer into a live local.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return found;
    }
    let mut next = list;
    while !next.is_null() {
        // SAFETY: `next` is an element of the list that getifaddrs made and freeifaddrs has not yet freed; its address, if
        // there is one, is a sockaddr of the family that it names.
        let (up, address) = unsafe {
            let entry = &*next;
            next = entry.ifa_next;
            let up = entry.ifa_flags & libc::IFF_UP as libc::c_uint != 0;
            (up, entry.ifa_addr.as_ref().and_then(|a| read(a)))
        };
        if let Some(ip) = address
            && up
            && !found.contains(&ip)
            && !ip.is_loopback()
            && !is_link_local(ip)
        {
            found.push(ip);
        }
    }
    // SAFETY: the list is the one that getifaddrs made, freed once.
    unsafe { libc::freeifaddrs(list) };
    found
}

/// # Safety
/// `address` must be the start of a sockaddr of the family that it names.
unsafe fn read(address: &libc::sockaddr) -> Option<IpAddr> {
    let at: *const libc::sockaddr = address;
    match libc::c_int::from(address.sa_family) {
        // SAFETY: the family says which type it is.
        libc::AF_INET => {
            let v4 = unsafe { std::ptr::read_unaligned(at.cast::<libc::sockaddr_in>()) };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        // SAFETY: the family says which type it is.
        libc::AF_INET6 => {
            let v6 = unsafe { std::ptr::read_unaligned(at.cast::<libc::sockaddr_in6>()) };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
