//! Demultiplexer of one UDP port with many viewers, and the user fragments that make it cheap.
//!
//! RFC 7983 (what a datagram is), RFC 8839, 5.4 (ice-ufrag). A STUN check names its viewer in the local user fragment, into
//! which shard and slot are written; everything else is told apart by its source address, which a verified check has bound.
//! Shards own a socket each on the same port, and the kernel spreads clients by address; so a shard is also told which
//! other shard an address or a fragment belongs to.
//! What nobody knows costs one look-up: only the owner of a viewer, who has verified a check, binds. A browser's first DTLS
//! datagram follows the answer to its check within microseconds, before the owner's word is here: where a check was passed
//! on to, its address leads as long as nobody has bound it ([`Router::expect`]); it never replaces what was verified.
//! Not done: forwarding itself.
//!
//! Bounds: [`ROUTER_VIEWERS_MAX`], [`ROUTER_ADDRESSES_MAX`], [`ROUTER_EXPECTED_MAX`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use smallvec::SmallVec;

use super::{Address, Kind, kind, stun};
use crate::limits::{ROUTER_ADDRESSES_MAX, ROUTER_EXPECTED_MAX, ROUTER_VIEWERS_MAX};

/// The characters of user fragments and passwords (RFC 8839, 5.4), one per 6 bits.
pub const ICE_CHARS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a user fragment says: 2 characters of shard, 4 of slot, 4 of a random mark that tells apart who has the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub shard: u8,
    /// 24 bits.
    pub slot: u32,
    /// 24 bits.
    pub mark: u32,
}

const FRAGMENT_LEN: usize = 10;

impl Fragment {
    pub fn encode(self) -> String {
        let bits = [(u32::from(self.shard), 2), (self.slot, 4), (self.mark, 4)];
        bits.iter()
            .flat_map(|(value, chars)| (0..*chars).rev().map(move |n| value >> (6 * n) & 63))
            .map(|sextet| char::from(ICE_CHARS[sextet as usize]))
            .collect()
    }

    /// Reads one of ours; `None` for all others.
    pub fn decode(text: &[u8]) -> Option<Self> {
        let text: &[u8; FRAGMENT_LEN] = text.try_into().ok()?;
        let read = |part: &[u8]| {
            part.iter()
                .try_fold(0u32, |value, c| Some(value << 6 | sextet(*c)?))
        };
        Some(Fragment {
            shard: read(&text[..2])?.try_into().ok()?,
            slot: read(&text[2..6])?,
            mark: read(&text[6..])?,
        })
    }
}

fn sextet(c: u8) -> Option<u32> {
    Some(u32::from(match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Whose datagram it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The viewer in this slot.
    Viewer(u32),
    /// A viewer of another shard.
    Shard(u8),
    Unknown,
}

/// Why a viewer cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// One shard's table. Slots are small numbers that are used again, for a slab of viewers beside it.
#[derive(Debug)]
pub struct Router {
    shard: u8,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    addresses: HashMap<Address, Owner>,
    /// Where checks from addresses were passed on to that nobody has bound yet.
    expected: HashMap<Address, u8>,
}

/// A viewer's place: its mark, and the addresses that are bound to it.
#[derive(Debug)]
struct Slot {
    mark: u32,
    addresses: SmallVec<[Address; 1]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Slot(u32),
    Shard(u8),
}

impl Router {
    pub fn new(shard: u8) -> Self {
        Router {
            shard,
            slots: Vec::new(),
            free: Vec::new(),
            addresses: HashMap::new(),
            expected: HashMap::new(),
        }
    }

    /// Gives a slot and the user fragment for a new viewer; `random` makes it unlike the last one there.
    pub fn reserve(&mut self, random: u32) -> Result<(u32, String), Full> {
        let mark = random & 0xff_ffff;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < ROUTER_VIEWERS_MAX => {
                self.slots.push(None);
                self.slots.len() as u32 - 1
            }
            None => return Err(Full),
        };
        self.slots[slot as usize] = Some(Slot {
            mark,
            addresses: SmallVec::new(),
        });
        let shard = self.shard;
        Ok((slot, Fragment { shard, slot, mark }.encode()))
    }

    /// Frees a slot with all its addresses. Call it once per viewer, after it has closed.
    pub fn release(&mut self, slot: u32) {
        if let Some(gone) = self.slots.get_mut(slot as usize).and_then(Option::take) {
            self.free.push(slot);
            for address in gone.addresses {
                self.remove(address, Owner::Slot(slot));
            }
        }
    }

    /// Says whose a datagram is.
    pub fn route(&self, from: Address, datagram: &[u8]) -> Route {
        if kind(datagram) == Kind::Stun {
            return self.route_check(datagram);
        }
        match self.addresses.get(&from) {
            Some(Owner::Slot(slot)) => Route::Viewer(*slot),
            Some(Owner::Shard(shard)) => Route::Shard(*shard),
            None => match self.expected.get(&from) {
                Some(shard) => Route::Shard(*shard),
                None => Route::Unknown,
            },
        }
    }

    /// Notes that a check from an address was passed on to another shard, which may bind it in a moment. At the limit all
    /// such notes are forgotten: a viewer whose note is lost repeats its datagram.
    pub fn expect(&mut self, from: Address, shard: u8) {
        if self.addresses.contains_key(&from) {
            return;
        }
        if self.expected.len() >= ROUTER_EXPECTED_MAX && !self.expected.contains_key(&from) {
            self.expected.clear();
        }
        self.expected.insert(from, shard);
    }

    fn route_check(&self, datagram: &[u8]) -> Route {
        let fragment = stun::username(datagram)
            .and_then(|u| u.split(|c| *c == b':').next())
            .and_then(Fragment::decode);
        match fragment {
            Some(f) if f.shard != self.shard => Route::Shard(f.shard),
            Some(f) if self.slot(f.slot).is_some_and(|s| s.mark == f.mark) => Route::Viewer(f.slot),
            Some(_) | None => Route::Unknown,
        }
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Binds an address that a verified check has shown ([`super::viewer::Handled::learned`]). Gives the slot of another
    /// viewer that had it: a browser that was reloaded, whose old viewer must be closed at once, or two sets of keys would
    /// go to one address. At the limit the address stays unbound, and [`Router::is_full`] says so.
    pub fn bind(&mut self, address: Address, slot: u32) -> Option<u32> {
        let taken = self.slots.get_mut(slot as usize)?.as_mut()?;
        if !taken.addresses.contains(&address) {
            taken.addresses.push(address);
        }
        match self.put(address, Owner::Slot(slot)) {
            Some(Owner::Slot(old)) if old != slot => Some(old),
            Some(Owner::Slot(_) | Owner::Shard(_)) | None => None,
        }
    }

    /// Notes that another shard has verified a check from the address. Gives the slot of a viewer of ours that had it.
    pub fn bind_foreign(&mut self, address: Address, shard: u8) -> Option<u32> {
        match self.put(address, Owner::Shard(shard)) {
            Some(Owner::Slot(old)) => Some(old),
            Some(Owner::Shard(_)) | None => None,
        }
    }

    /// Takes an address from a viewer of ours.
    pub fn unbind(&mut self, address: Address, slot: u32) {
        if let Some(Some(s)) = self.slots.get_mut(slot as usize) {
            s.addresses.retain(|a| *a != address);
        }
        self.remove(address, Owner::Slot(slot));
    }

    /// Takes an address from a viewer of another shard.
    pub fn unbind_foreign(&mut self, address: Address, shard: u8) {
        self.remove(address, Owner::Shard(shard));
    }

    /// The viewer of ours that an address is bound to.
    pub fn owner(&self, address: Address) -> Option<u32> {
        match self.addresses.get(&address) {
            Some(Owner::Slot(slot)) => Some(*slot),
            Some(Owner::Shard(_)) | None => None,
        }
    }

    /// The addresses that are bound to a viewer.
    pub fn addresses(&self, slot: u32) -> &[Address] {
        self.slot(slot).map_or(&[], |s| &s.addresses)
    }

    /// Whether no further address can be bound.
    pub fn is_full(&self) -> bool {
        self.addresses.len() >= ROUTER_ADDRESSES_MAX
    }

    /// Viewers that have a slot.
    pub fn viewers(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn put(&mut self, address: Address, owner: Owner) -> Option<Owner> {
        self.expected.remove(&address);
        let full = self.is_full();
        match self.addresses.entry(address) {
            Entry::Occupied(mut e) => Some(e.insert(owner)),
            Entry::Vacant(e) => {
                if !full {
                    e.insert(owner);
                }
                None
            }
        }
    }

    fn remove(&mut self, address: Address, owner: Owner) {
        if self.addresses.get(&address) == Some(&owner) {
            self.addresses.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stun::{Class, Writer};
    use super::*;

    fn at(n: u32) -> Address {
        let [a, b, c, d] = (0x0a00_0000 + n).to_be_bytes();
        Address::Udp(([a, b, c, d], 5000).into())
    }

    fn check(ufrag: &str) -> Vec<u8> {
        Writer::new(Class::Request, &[0; 12])
            .check(&format!("{ufrag}:them"), 1, true, true)
            .finish(b"whatever")
            .to_vec()
    }

    #[test]
    fn a_fragment_survives_the_wire() {
        for f in [
            Fragment {
                shard: 0,
                slot: 0,
                mark: 0,
            },
            Fragment {
                shard: 255,
                slot: 0xff_ffff,
                mark: 0xff_ffff,
            },
            Fragment {
                shard: 3,
                slot: 70_000,
                mark: 0x12_3456,
            },
        ] {
            let text = f.encode();
            assert!(text.len() == FRAGMENT_LEN && text.bytes().all(|c| ICE_CHARS.contains(&c)));
            assert_eq!(Fragment::decode(text.as_bytes()), Some(f));
        }
        for bad in ["", "AAAAAAAAA", "AAAAAAAAAAA", "AAAA-AAAAA", "//AAAAAAAA"] {
            assert_eq!(Fragment::decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn checks_go_by_fragment_and_the_rest_by_address() {
        let mut r = Router::new(2);
        let (slot, ufrag) = r.reserve(0xabcdef).expect("room");
        assert_eq!(r.route(at(1), &check(&ufrag)), Route::Viewer(slot));
        let dtls = [22, 0xfe, 0xfd];
        assert_eq!(r.route(at(1), &dtls), Route::Unknown);
        assert_eq!(r.bind(at(1), slot), None);
        assert_eq!(r.bind(at(1), slot), None);
        assert_eq!(r.route(at(1), &dtls), Route::Viewer(slot));
        assert_eq!(
            r.route(Address::Tcp(at(1).socket_addr()), &dtls),
            Route::Unknown
        );
        // Another shard's viewer, by fragment and, once that shard has verified it, by address.
        let foreign = Fragment {
            shard: 5,
            slot: 1,
            mark: 1,
        }
        .encode();
        assert_eq!(r.route(at(2), &check(&foreign)), Route::Shard(5));
        assert_eq!(r.route(at(2), &dtls), Route::Unknown);
        assert_eq!(r.bind_foreign(at(2), 5), None);
        assert_eq!(r.route(at(2), &dtls), Route::Shard(5));
        r.unbind_foreign(at(2), 4);
        assert_eq!(r.route(at(2), &dtls), Route::Shard(5));
        r.unbind_foreign(at(2), 5);
        assert_eq!(r.route(at(2), &dtls), Route::Unknown);
        // Noise.
        for noise in [&b""[..], &[0; 3], &[0; 40], b"GET / HTTP/1.1"] {
            assert_eq!(r.route(at(9), noise), Route::Unknown);
        }
    }

    #[test]
    fn where_a_check_went_the_handshake_follows_until_somebody_has_verified() {
        let mut r = Router::new(0);
        let dtls = [22, 0xfe, 0xfd];
        r.expect(at(1), 3);
        assert_eq!(r.route(at(1), &dtls), Route::Shard(3));
        assert_eq!(r.bind_foreign(at(1), 4), None);
        assert_eq!(r.route(at(1), &dtls), Route::Shard(4));
        // A forged check from a verified address changes nothing, and a note does not outlive a binding.
        r.expect(at(1), 5);
        assert_eq!(r.route(at(1), &dtls), Route::Shard(4));
        r.unbind_foreign(at(1), 4);
        assert_eq!(r.route(at(1), &dtls), Route::Unknown);
        for n in 0..ROUTER_EXPECTED_MAX as u32 {
            r.expect(at(n), 1);
        }
        assert_eq!(r.route(at(0), &dtls), Route::Shard(1));
        r.expect(at(0), 2);
        assert_eq!(r.route(at(1), &dtls), Route::Shard(1));
        r.expect(at(ROUTER_EXPECTED_MAX as u32), 1);
        assert_eq!(r.route(at(0), &dtls), Route::Unknown);
        assert_eq!(
            r.route(at(ROUTER_EXPECTED_MAX as u32), &dtls),
            Route::Shard(1)
        );
    }

    #[test]
    fn a_slot_that_was_freed_forgets_its_viewer() {
        let mut r = Router::new(0);
        let (slot, old) = r.reserve(1).expect("room");
        r.bind(at(1), slot);
        r.bind(at(2), slot);
        r.release(slot);
        r.release(slot);
        assert_eq!(r.viewers(), 0);
        assert_eq!(r.route(at(1), &[22]), Route::Unknown);
        let (again, new) = r.reserve(2).expect("room");
        assert_eq!(again, slot);
        assert_eq!(r.route(at(1), &check(&old)), Route::Unknown);
        assert_eq!(r.route(at(1), &check(&new)), Route::Viewer(slot));
        assert_ne!(r.reserve(3).expect("room").0, slot);
    }

    #[test]
    fn a_reloaded_page_takes_its_address_from_its_old_viewer() {
        let mut r = Router::new(0);
        let (old, _) = r.reserve(1).expect("room");
        let (new, _) = r.reserve(2).expect("room");
        r.bind(at(1), old);
        assert_eq!(r.bind(at(1), new), Some(old));
        assert_eq!(r.route(at(1), &[22]), Route::Viewer(new));
        // The old one's end does not take it away again.
        r.unbind(at(1), old);
        r.release(old);
        assert_eq!(r.route(at(1), &[22]), Route::Viewer(new));
        assert_eq!(r.bind_foreign(at(1), 7), Some(new));
    }

    #[test]
    fn viewers_and_addresses_have_bounds() {
        let mut r = Router::new(0);
        for n in 0..ROUTER_VIEWERS_MAX as u32 {
            assert!(r.reserve(n).is_ok());
        }
        assert_eq!(r.reserve(0), Err(Full));
        r.release(7);
        assert!(r.reserve(0).is_ok());
        for n in 0..ROUTER_ADDRESSES_MAX as u32 {
            assert!(!r.is_full());
            r.bind(at(n), 1);
        }
        assert!(r.is_full());
        let beyond = at(ROUTER_ADDRESSES_MAX as u32);
        r.bind(beyond, 1);
        assert_eq!(r.route(beyond, &[22]), Route::Unknown);
        // One that is known may still change hands.
        assert_eq!(r.bind(at(3), 2), Some(1));
    }
}
