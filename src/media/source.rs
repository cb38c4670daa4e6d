//! From where the packets of a stream may come: one address at a time.
//!
//! RFC 3550, 8.2 (collisions and loops), for one sender behind a NAT. The SSRC alone does not say who sends: a former sender
//! may go on with it (field report 7), and whoever knows it could mix in. So the address that brought the last packet is
//! held on to, and another one takes its place only
//! - when its packets go on where the others stopped, which only the same sender can do by more than luck (a NAT
//!   that gave it another port, a router that was restarted), at most once a [`REBIND_PAUSE`]; or
//! - when the held address has been silent for [`SILENCE`]: a device that was restarted.
//!
//! Not done: telling devices apart that share an address; that is by SSRC, before this.
//!
//! Bounds: one address and one number per stream.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::rtp::{self, sequence_distance};
use crate::id::Ssrc;

/// How long the held address must be silent before any other can take its place.
pub const SILENCE: Duration = Duration::from_secs(2);
/// How often the address may change while packets still come: a NAT changes a binding once in minutes.
pub const REBIND_PAUSE: Duration = Duration::from_secs(2);
/// How far the first packet from a new address may be from the last one of the old, in packets: what can be on its way or
/// lost while a NAT changes its mind.
const CONTINUES_PACKETS: i32 = 64;

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// It is from the held address.
    Same,
    /// Taken, and its address is held from now on.
    Moved { from: SocketAddr },
    /// Not taken.
    Refused,
}

/// Holds on to one sender's address.
#[derive(Debug, Default)]
pub struct SourceGuard {
    held: Option<Held>,
    moves: u64,
    refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    address: SocketAddr,
    last: Instant,
    sequence: u16,
    moved: Option<Instant>,
}

impl SourceGuard {
    /// Where the packets come from now.
    pub fn address(&self) -> Option<SocketAddr> {
        self.held.map(|held| held.address)
    }

    /// Times that the address changed.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Packets refused because of their address.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Counts from 0 again.
    pub fn reset_counts(&mut self) {
        self.moves = 0;
        self.refused = 0;
    }

    /// Judges a packet. One of another SSRC than the stream `follows` is not judged here.
    #[inline]
    pub fn admit_packet(
        &mut self,
        now: Instant,
        from: SocketAddr,
        follows: Option<Ssrc>,
        packet: &[u8],
    ) -> Admit {
        match packet.get(2..4) {
            Some(number) if follows.is_some() && rtp::peek_ssrc(packet) == follows => {
                self.admit(now, from, u16::from_be_bytes([number[0], number[1]]))
            }
            Some(_) | None => Admit::Same,
        }
    }

    /// Judges an RTP packet of the right SSRC.
    #[inline]
    pub fn admit(&mut self, now: Instant, from: SocketAddr, sequence: u16) -> Admit {
        match &mut self.held {
            Some(held) if held.address == from => {
                held.last = now;
                held.sequence = sequence;
                Admit::Same
            }
            Some(_) => self.admit_other(now, from, sequence),
            None => {
                self.held = Some(Held {
                    address: from,
                    last: now,
                    sequence,
                    moved: None,
                });
                Admit::Same
            }
        }
    }

    #[cold]
    fn admit_other(&mut self, now: Instant, from: SocketAddr, sequence: u16) -> Admit {
        let Some(held) = &mut self.held else {
            return Admit::Refused;
        };
        let ago = |at: Instant| now.saturating_duration_since(at);
        let silent = ago(held.last) >= SILENCE;
        let rested = held.moved.is_none_or(|at| ago(at) >= REBIND_PAUSE);
        let distance = sequence_distance(held.sequence, sequence);
        // Not behind: a copy of an old packet from elsewhere says nothing about where the sender is now.
        let continues = (1..=CONTINUES_PACKETS).contains(&distance);
        if !(silent || continues && rested) {
            self.refused += 1;
            return Admit::Refused;
        }
        let before = held.address;
        *held = Held {
            address: from,
            last: now,
            sequence,
            moved: Some(now),
        };
        self.moves += 1;
        Admit::Moved { from: before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn field_45_a_sender_whose_nat_gave_it_another_port_is_followed() {
        let t0 = Instant::now();
        let mut guard = SourceGuard::default();
        for n in 0..10 {
            assert_eq!(guard.admit(t0, at(1000), n), Admit::Same);
        }
        let from = at(1000);
        assert_eq!(guard.admit(t0, at(2000), 10), Admit::Moved { from });
        assert_eq!(guard.admit(t0, at(2000), 11), Admit::Same);
        assert_eq!((guard.moves(), guard.address()), (1, Some(at(2000))));
    }

    #[test]
    fn field_07_an_old_sender_with_the_same_ssrc_is_not_mixed_in() {
        let t0 = Instant::now();
        let mut guard = SourceGuard::default();
        for n in 0..500u16 {
            assert_eq!(guard.admit(t0, at(1000), n), Admit::Same);
            assert_eq!(
                guard.admit(t0, at(2000), 30_000 + n),
                Admit::Refused,
                "packet {n}"
            );
        }
        assert_eq!((guard.moves(), guard.refused()), (0, 500));
    }

    #[test]
    fn a_stranger_cannot_make_the_address_flap() {
        let t0 = Instant::now();
        let mut guard = SourceGuard::default();
        let mut moves = 0;
        // One who sees every packet and answers it with the next number gets in once a pause, not at every packet.
        for n in 0..250u16 {
            let now = t0 + Duration::from_millis(u64::from(n) * 40);
            guard.admit(now, at(1000), n);
            let stranger = guard.admit(now, at(2000), n.wrapping_add(1));
            moves += u64::from(matches!(stranger, Admit::Moved { .. }));
        }
        assert!(moves <= 6, "{moves} moves in ten seconds");
        // Numbers that do not follow never get in.
        let mut guard = SourceGuard::default();
        guard.admit(t0, at(1000), 100);
        for n in [100, 99, 0, 165, 40_000] {
            assert_eq!(guard.admit(t0, at(2000), n), Admit::Refused);
        }
        let from = at(1000);
        assert_eq!(guard.admit(t0, at(2000), 164), Admit::Moved { from });
    }

    #[test]
    fn a_silent_sender_can_come_back_from_anywhere() {
        let t0 = Instant::now();
        let mut guard = SourceGuard::default();
        guard.admit(t0, at(1000), 100);
        let soon = t0 + SILENCE - Duration::from_millis(1);
        assert_eq!(guard.admit(soon, at(2000), 9), Admit::Refused);
        let from = at(1000);
        assert_eq!(
            guard.admit(t0 + SILENCE, at(2000), 9),
            Admit::Moved { from }
        );
    }
}
