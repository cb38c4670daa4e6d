//! Transactions: who retransmits what, until when, and what is a repetition (RFC 3261, 17; RFC 6026).
//!
//! [`client`] and [`server`] hold the states; this file what they share. Nothing here reads or writes messages: the
//! [endpoint](super::endpoint) does.
//!
//! Timers lie in one heap per table with lazy deletion: arming costs O(log n), a transaction that moved its deadline
//! later is put back when the old one comes up. No operation walks a table but [`client::Clients::on`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub mod client;
pub mod server;

/// A connection of the shell, named by it; never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// What carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Udp,
    Tcp(ConnId),
    Tls(ConnId),
}

impl Transport {
    /// Nothing is retransmitted on a reliable transport, but 2xx to INVITE and its ACK.
    pub fn is_reliable(self) -> bool {
        match self {
            Transport::Udp => false,
            Transport::Tcp(_) | Transport::Tls(_) => true,
        }
    }

    /// The connection, if it is one.
    pub fn connection(self) -> Option<ConnId> {
        match self {
            Transport::Udp => None,
            Transport::Tcp(conn) | Transport::Tls(conn) => Some(conn),
        }
    }

    /// As URIs and the API name it.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp(_) => "tcp",
            Transport::Tls(_) => "tls",
        }
    }
}

/// The way a message came, or goes. Answers go back the way the request came (RFC 3581).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    pub peer: SocketAddr,
    /// Our address as the peer can reach it: it is written into Via and the default Contact.
    pub local: SocketAddr,
    pub transport: Transport,
}

/// The base timers (RFC 3261, 17.1.1.1, table 4). Timers A to M follow from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round trip; first interval of retransmission.
    pub t1: Duration,
    /// Longest interval of retransmission, but for INVITE requests.
    pub t2: Duration,
    /// How long a message stays in the network.
    pub t4: Duration,
    /// How long an INVITE may stand at a provisional answer, in either direction. RFC 3261 sets no end but for proxies
    /// (Timer C, over 3 minutes).
    pub proceeding: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            proceeding: Duration::from_secs(200),
        }
    }
}

impl Timers {
    /// 64*T1: Timers B, F, H, J, L and M.
    pub fn giving_up(&self) -> Duration {
        self.t1 * 64
    }
}

/// A request of ours. Never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub(super) u64);

impl TransactionId {
    const COOKIE: &str = "z9hG4bK";

    /// `random` gives the branch; its last bit is kept free to tell CANCEL from the INVITE of the same branch.
    pub(super) fn new(random: u64) -> Self {
        TransactionId(random & !1)
    }

    pub(super) fn of_cancel(self) -> Self {
        TransactionId(self.0 | 1)
    }

    pub(super) fn is_cancel(self) -> bool {
        self.0 & 1 == 1
    }

    pub(super) fn branch(self) -> String {
        format!("{}{:016x}", Self::COOKIE, self.0 & !1)
    }

    /// Reads a branch that [`TransactionId::branch`] wrote.
    pub(super) fn from_branch(branch: &str, cancel: bool) -> Option<Self> {
        let digits = branch.strip_prefix(Self::COOKIE)?;
        let plain = digits.len() == 16
            && digits
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
        let number = u64::from_str_radix(plain.then_some(digits)?, 16).ok()?;
        (number & 1 == 0).then_some(TransactionId(number | u64::from(cancel)))
    }
}

/// A request of a peer, to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    pub(super) key: u64,
    pub(super) kind: ServerKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ServerKind {
    Plain,
    Invite,
    /// ACK: there is nothing to answer.
    Ack,
}

/// Deadlines of the transactions of a table.
#[derive(Debug)]
struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K> Default for Deadlines<K>
where
    K: Ord,
{
    fn default() -> Self {
        Deadlines {
            heap: BinaryHeap::new(),
        }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    fn arm(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<K> {
        self.next().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse((_, key))| key)
    }
}

/// Keys of the tables are random or keyed hashes already: no peer can choose where they fall.
#[derive(Clone, Copy, Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*b);
        }
    }
    fn write_u64(&mut self, n: u64) {
        // Bit 0 of a transaction id is mostly 0, and the table takes its low bits.
        self.0 = n.rotate_right(1);
    }
}

type KeyMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<KeyHasher>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_reads_back_as_its_transaction_and_others_do_not() {
        let id = TransactionId::new(0x0123_4567_89ab_cdef);
        assert_eq!(TransactionId::from_branch(&id.branch(), false), Some(id));
        assert_eq!(
            TransactionId::from_branch(&id.branch(), true),
            Some(id.of_cancel())
        );
        for foreign in [
            "z9hG4bK",
            "z9hG4bK0123",
            "z9hG4bK+123456789abcdee",
            "SrsGbB43388735",
            "z9hG4bK0123456789abcdef",
        ] {
            assert_eq!(TransactionId::from_branch(foreign, false), None);
        }
    }
}
