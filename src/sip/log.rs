//! The last SIP messages of each device, kept as they went over the wire, for whoever asks why something does not work.
//!
//! A message costs one `Bytes` clone and a place in its device's ring; nothing is read, decoded or masked until somebody
//! looks ([`crate::diagnosis::message`]). The order of a device's messages is the order in which they came and went.
//!
//! What repeats is kept once: of the exchanges of REGISTER and of Keepalive with the same final status the newest stays,
//! with the number of those before it. A retransmission within an exchange stays: that it was needed says something.
//!
//! Not done: pings of a few bytes; answers to nobody. Who a message belongs to is the caller's knowledge.
//!
//! Bounds: [`SIP_LOG_MESSAGES_MAX`] and [`SIP_LOG_DEVICE_BYTES_MAX`] of a device, [`SIP_LOG_MESSAGE_BYTES_MAX`] of one
//! message (the rest is cut off), and the bytes of all devices together, given by the caller. Each [`Kind`] has its share
//! of those ([`Kind::share`]), so that 20,000 devices which only register cannot push out the one whose INVITE failed,
//! nor strangers the devices. At a bound the oldest go.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use memchr::{memchr, memmem};

use super::transaction::{Path, Transport};
use crate::id::DeviceId;
use crate::limits::{SIP_LOG_DEVICE_BYTES_MAX, SIP_LOG_MESSAGE_BYTES_MAX, SIP_LOG_MESSAGES_MAX};

/// Memory of a message beside its bytes: its place in the ring and in the order of its kind, and the allocation.
const ENTRY_BYTES: usize = size_of::<Entry>() + 2 * size_of::<(u64, DeviceId)>() + 64;
/// Memory of a device in the table.
const RING_BYTES: usize = size_of::<Ring>() + 2 * size_of::<DeviceId>();

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// By which share of the memory a message is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keepalive and its answer.
    Keepalive,
    /// REGISTER, queries and their answers.
    Plain,
    /// What belongs to a view or a subscription, and every refusal.
    Dialog,
    /// Of somebody who is no device of ours.
    Stranger,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Keepalive, Kind::Plain, Kind::Dialog, Kind::Stranger];

    /// Its part of the whole memory, in 32nds. What idle devices cause is under a fifth.
    pub const fn share(self) -> usize {
        match self {
            Kind::Keepalive => 1,
            Kind::Plain => 4,
            Kind::Dialog => 25,
            Kind::Stranger => 2,
        }
    }
}

/// Exchanges that repeat for ever and say nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Routine {
    Register,
    Keepalive,
}

/// What is found in a message without parsing it: enough to say whose it is and whether it repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance<'a> {
    /// Method of a request, or of the CSeq of an answer.
    pub method: &'a [u8],
    /// 0 = a request.
    pub status: u16,
    /// User parts of From and To.
    pub from: &'a [u8],
    pub to: &'a [u8],
    pub call_id: &'a [u8],
    keepalive: bool,
}

impl<'a> Glance<'a> {
    /// Reads what is there; what is missing or malformed stays empty.
    pub fn at(raw: &'a [u8]) -> Glance<'a> {
        let mut glance = Glance::default();
        let mut rest = raw;
        let mut first = true;
        while let Some(end) = memchr(b'\n', rest) {
            let line = rest[..end].trim_ascii_end();
            rest = &rest[end + 1..];
            if std::mem::take(&mut first) {
                if line.is_empty() {
                    // Empty lines before the start line.
                    first = true;
                    continue;
                }
                glance.start(line);
                continue;
            }
            if line.is_empty() {
                break;
            }
            glance.header(line);
        }
        glance.keepalive = glance.method == b"MESSAGE"
            && glance.status == 0
            && memmem::find(rest, b">Keepalive<").is_some();
        glance
    }

    fn start(&mut self, line: &'a [u8]) {
        let word = &line[..memchr(b' ', line).unwrap_or(line.len())];
        if word.len() > 4 && word[..4].eq_ignore_ascii_case(b"SIP/") {
            let digits = line.get(word.len() + 1..word.len() + 4).unwrap_or_default();
            let status = std::str::from_utf8(digits).ok();
            self.status = status.and_then(|s| s.parse().ok()).unwrap_or(0);
        } else {
            self.method = word;
        }
    }

    fn header(&mut self, line: &'a [u8]) {
        let Some(colon) = memchr(b':', line) else {
            return;
        };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        let is = |long: &[u8], short: &[u8]| {
            name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
        };
        match name.first().map(u8::to_ascii_lowercase) {
            Some(b'f') if is(b"from", b"f") => self.from = user(value),
            Some(b't') if is(b"to", b"t") => self.to = user(value),
            Some(b'c' | b'i') if is(b"call-id", b"i") => self.call_id = value,
            Some(b'c') if self.status != 0 && is(b"cseq", b"cseq") => {
                let at = memchr::memrchr(b' ', value).map_or(0, |at| at + 1);
                self.method = &value[at..];
            }
            _ => {}
        }
    }

    fn routine(&self) -> Option<Routine> {
        match self.method {
            b"REGISTER" => Some(Routine::Register),
            b"MESSAGE" if self.keepalive => Some(Routine::Keepalive),
            _ => None,
        }
    }
}

/// The user part of the URI in an address.
fn user(value: &[u8]) -> &[u8] {
    let at = memmem::find(value, b"sip").map_or(0, |at| at + 3);
    let rest = &value[at..];
    let Some(colon) = memchr(b':', rest) else {
        return b"";
    };
    let rest = &rest[colon + 1..];
    memchr(b'@', rest).map_or(b"", |end| &rest[..end])
}

/// A message on its way past.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    pub direction: Direction,
    pub path: Path,
    pub raw: &'a Bytes,
    pub glance: Glance<'a>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Instant,
    /// How many times this exchange took place, and when first.
    pub count: u32,
    pub since: Instant,
    pub path: Path,
    pub direction: Direction,
    /// At most [`SIP_LOG_MESSAGE_BYTES_MAX`].
    pub raw: Bytes,
    /// On the wire.
    pub bytes: u32,
    /// 0 = a request.
    pub status: u16,
    seq: u64,
    kind: Kind,
    routine: Option<Routine>,
}

impl Entry {
    fn cost(&self) -> usize {
        self.raw.len() + ENTRY_BYTES
    }
}

/// The messages of one device.
#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// Messages of one kind, of all devices.
#[derive(Debug, Default)]
struct Share {
    /// Oldest first; with some that are gone.
    order: VecDeque<(u64, DeviceId)>,
    bytes: usize,
    live: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Log {
    bytes_max: usize,
    rings: HashMap<DeviceId, Ring>,
    shares: [Share; Kind::ALL.len()],
    next: u64,
}

impl Log {
    /// `bytes_max` for all messages of all devices; 0 keeps none.
    pub fn new(bytes_max: usize) -> Log {
        Log {
            bytes_max,
            rings: HashMap::new(),
            shares: Default::default(),
            next: 0,
        }
    }

    pub fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// Memory in use, as counted against the bound.
    pub fn bytes(&self) -> usize {
        self.shares.iter().map(|share| share.bytes).sum::<usize>() + self.rings.len() * RING_BYTES
    }

    /// Keeps a message of `device`. `known` = it is a device of ours, and no stranger in its name.
    pub fn push(&mut self, now: Instant, device: DeviceId, known: bool, passing: &Passing<'_>) {
        if !self.is_on() {
            return;
        }
        let Passing {
            direction,
            path,
            raw,
            glance,
        } = passing;
        let (direction, path) = (*direction, *path);
        let routine = self.routine(device, direction, glance);
        let seq = self.next;
        self.next += 1;
        let entry = Entry {
            at: now,
            count: 1,
            since: now,
            path,
            direction,
            raw: keep(raw, path.transport, direction),
            bytes: raw.len() as u32,
            status: glance.status,
            seq,
            kind: if known {
                kind(glance, routine)
            } else {
                Kind::Stranger
            },
            routine,
        };
        let (kind, ends) = (entry.kind, routine.is_some() && entry.status >= 200);
        let share = &mut self.shares[kind as usize];
        share.bytes += entry.cost();
        share.live += 1;
        share.order.push_back((seq, device));
        let ring = self.rings.entry(device).or_default();
        ring.bytes += entry.cost();
        if ring.entries.len() == ring.entries.capacity() {
            // Most rings stay short: doubling would waste half of all memory.
            ring.entries.reserve_exact(1 + ring.entries.len() / 4);
        }
        ring.entries.push_back(entry);
        if ends && let Some(routine) = routine {
            self.collapse(device, routine);
        }
        self.bound_device(device);
        self.bound_kind(kind);
    }

    /// Messages of a device, oldest first.
    pub fn of(&self, device: DeviceId) -> impl Iterator<Item = &Entry> {
        self.rings
            .get(&device)
            .into_iter()
            .flat_map(|ring| &ring.entries)
    }

    /// An answer belongs to the keepalive whose Call-ID it has.
    fn routine(
        &self,
        device: DeviceId,
        direction: Direction,
        glance: &Glance<'_>,
    ) -> Option<Routine> {
        if glance.status == 0 || glance.method != b"MESSAGE" {
            return glance.routine();
        }
        let of = self.rings.get(&device)?;
        let asked = of.entries.iter().rev().find(|entry| entry.status == 0)?;
        let same = asked.routine == Some(Routine::Keepalive)
            && asked.direction != direction
            && Glance::at(&asked.raw).call_id == glance.call_id;
        same.then_some(Routine::Keepalive)
    }

    /// The newest exchange of a routine stays, with the count of those of the same final status, which go.
    fn collapse(&mut self, device: DeviceId, routine: Routine) {
        let Some(ring) = self.rings.get(&device) else {
            return;
        };
        // Exchanges: requests up to the last of their answers.
        let mut exchanges: Vec<(u16, Vec<usize>)> = Vec::new();
        let mine = |entry: &&Entry| entry.routine == Some(routine);
        for (at, entry) in ring.entries.iter().enumerate().filter(|(_, e)| mine(e)) {
            let begins = entry.status == 0 && exchanges.last().is_none_or(|(end, _)| *end >= 200);
            if begins || exchanges.is_empty() {
                exchanges.push((0, Vec::new()));
            }
            let exchange = exchanges
                .last_mut()
                .expect("one was pushed above if none was there");
            exchange.1.push(at);
            if entry.status > 0 {
                exchange.0 = entry.status;
            }
        }
        let Some((status, newest)) = exchanges.pop() else {
            return;
        };
        let Some((_, before)) = exchanges.iter().rev().find(|(end, _)| *end == status) else {
            return;
        };
        let old = &ring.entries[before[0]];
        let (count, since) = (old.count.saturating_add(1), old.since);
        let gone: Vec<u64> = before.iter().map(|at| ring.entries[*at].seq).collect();
        if let Some(ring) = self.rings.get_mut(&device) {
            for at in newest {
                ring.entries[at].count = count;
                ring.entries[at].since = since;
            }
        }
        for seq in gone {
            self.remove(device, seq);
        }
    }

    fn bound_device(&mut self, device: DeviceId) {
        while let Some(ring) = self.rings.get(&device)
            && (ring.entries.len() > SIP_LOG_MESSAGES_MAX || ring.bytes > SIP_LOG_DEVICE_BYTES_MAX)
            && let Some(oldest) = ring.entries.front().map(|entry| entry.seq)
        {
            self.remove(device, oldest);
        }
    }

    fn bound_kind(&mut self, kind: Kind) {
        let max = self.bytes_max / 32 * kind.share();
        loop {
            let share = &mut self.shares[kind as usize];
            if share.bytes <= max {
                break;
            }
            let Some((seq, device)) = share.order.pop_front() else {
                break;
            };
            self.remove(device, seq);
        }
        let share = &mut self.shares[kind as usize];
        // Those that are gone are let go once they are the most.
        if share.order.len() > 2 * share.live + 64 {
            let rings = &self.rings;
            share.order.retain(|(seq, device)| {
                rings
                    .get(device)
                    .is_some_and(|ring| ring.place(*seq).is_some())
            });
        }
    }

    fn remove(&mut self, device: DeviceId, seq: u64) {
        let Some(ring) = self.rings.get_mut(&device) else {
            return;
        };
        let Some(entry) = ring.place(seq).and_then(|at| ring.entries.remove(at)) else {
            return;
        };
        ring.bytes -= entry.cost();
        if ring.entries.is_empty() {
            self.rings.remove(&device);
        }
        let share = &mut self.shares[entry.kind as usize];
        share.bytes -= entry.cost();
        share.live -= 1;
    }
}

impl Ring {
    fn place(&self, seq: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&seq, |e| e.seq).ok()
    }
}

fn kind(glance: &Glance<'_>, routine: Option<Routine>) -> Kind {
    if glance.status >= 400 && !matches!(glance.status, 401 | 407) {
        return Kind::Dialog;
    }
    match routine {
        Some(Routine::Keepalive) => Kind::Keepalive,
        Some(Routine::Register) => Kind::Plain,
        None if glance.method == b"MESSAGE" || glance.method == b"OPTIONS" => Kind::Plain,
        None => Kind::Dialog,
    }
}

/// What is kept of a message: its bytes, shared where they have a buffer of their own. One that came over TCP shares its
/// buffer with its neighbours, which it would hold.
fn keep(raw: &Bytes, transport: Transport, direction: Direction) -> Bytes {
    let cut = raw.len().min(SIP_LOG_MESSAGE_BYTES_MAX);
    match (transport, direction) {
        (Transport::Udp, _) | (Transport::Tcp(_) | Transport::Tls(_), Direction::Out)
            if cut == raw.len() =>
        {
            raw.clone()
        }
        (
            Transport::Udp | Transport::Tcp(_) | Transport::Tls(_),
            Direction::In | Direction::Out,
        ) => Bytes::copy_from_slice(&raw[..cut]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: u32) -> DeviceId {
        DeviceId(format!("3402000000132{n:07}").parse().expect("a code"))
    }

    fn path() -> Path {
        Path {
            peer: "192.0.2.9:5060".parse().expect("an address"),
            local: "192.0.2.1:5060".parse().expect("an address"),
            transport: Transport::Udp,
        }
    }

    fn request(method: &str, call: u32, body: &str) -> String {
        format!(
            "{method} sip:34020000002000000001@3402000000 SIP/2.0\r\nf: <sip:34020000001320000001@3402000000>;tag=1\r\n\
             To: <sip:34020000001320000002@3402000000>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\r\n{body}"
        )
    }

    fn answer(status: u16, method: &str, call: u32) -> String {
        format!("SIP/2.0 {status} Said\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\r\n")
    }

    fn passing(raw: &Bytes, direction: Direction) -> Passing<'_> {
        Passing {
            direction,
            path: path(),
            raw,
            glance: Glance::at(raw),
        }
    }

    struct Bench {
        log: Log,
        now: Instant,
    }

    impl Bench {
        fn new(bytes_max: usize) -> Bench {
            let log = Log::new(bytes_max);
            let now = Instant::now();
            Bench { log, now }
        }

        fn push(&mut self, n: u32, direction: Direction, text: &str) {
            let raw = Bytes::copy_from_slice(text.as_bytes());
            self.now += std::time::Duration::from_millis(1);
            self.log
                .push(self.now, device(n), true, &passing(&raw, direction));
            self.check();
        }

        fn keepalive(&mut self, n: u32, call: u32, status: u16) {
            self.push(
                n,
                Direction::In,
                &request("MESSAGE", call, "<CmdType>Keepalive</CmdType>"),
            );
            self.push(n, Direction::Out, &answer(status, "MESSAGE", call));
        }

        fn register(&mut self, n: u32, call: u32, status: u16) {
            self.push(n, Direction::In, &request("REGISTER", call, ""));
            self.push(n, Direction::Out, &answer(status, "REGISTER", call));
        }

        fn shown(&self, n: u32) -> Vec<(u16, u32)> {
            self.log
                .of(device(n))
                .map(|e| (e.status, e.count))
                .collect()
        }

        /// The sums are those of what is there.
        fn check(&self) {
            for kind in Kind::ALL {
                let share = &self.log.shares[kind as usize];
                let entries = self.log.rings.values().flat_map(|ring| &ring.entries);
                let mine: Vec<&Entry> = entries.filter(|e| e.kind == kind).collect();
                assert_eq!(share.live, mine.len());
                assert_eq!(share.bytes, mine.iter().map(|e| e.cost()).sum::<usize>());
                assert!(share.bytes <= self.log.bytes_max / 32 * kind.share());
                assert!(share.order.len() <= 2 * share.live + 64);
            }
            for ring in self.log.rings.values() {
                assert_eq!(
                    ring.bytes,
                    ring.entries.iter().map(Entry::cost).sum::<usize>()
                );
                assert!(!ring.entries.is_empty());
            }
        }
    }

    #[test]
    fn a_glance_finds_who_and_what() {
        let text = request("INVITE", 7, "body");
        let glance = Glance::at(text.as_bytes());
        assert_eq!(glance.method, b"INVITE");
        assert_eq!(glance.from, b"34020000001320000001");
        assert_eq!(glance.to, b"34020000001320000002");
        assert_eq!((glance.call_id, glance.status), (&b"7"[..], 0));
        let text = answer(486, "INVITE", 8);
        let glance = Glance::at(text.as_bytes());
        assert_eq!((glance.method, glance.status), (&b"INVITE"[..], 486));
        for odd in [
            "",
            "\r\n",
            "x",
            "SIP/2.0",
            "SIP/2.0 9",
            "A\r\nFrom:\r\nTo: x@\r\n",
            ":\n:\n\n",
        ] {
            let glance = Glance::at(odd.as_bytes());
            assert_eq!((glance.from, glance.status), (&b""[..], 0), "{odd:?}");
        }
    }

    #[test]
    fn routine_is_kept_once_and_counted() {
        let mut bench = Bench::new(1 << 20);
        for call in 0..5 {
            bench.register(1, 2 * call, 401);
            bench.register(1, 2 * call + 1, 200);
            bench.keepalive(1, 100 + call, 200);
        }
        let shown = bench.shown(1);
        assert_eq!(
            shown,
            [(0, 5), (401, 5), (0, 5), (200, 5), (0, 5), (200, 5)]
        );
        let first = bench.log.of(device(1)).next().expect("six are there");
        assert!(first.since < first.at);
        // A refusal is another outcome and stays beside it.
        bench.keepalive(1, 200, 403);
        bench.keepalive(1, 201, 200);
        let shown = bench.shown(1);
        assert_eq!(shown[4..], [(0, 1), (403, 1), (0, 6), (200, 6)]);
    }

    #[test]
    fn repetitions_within_an_exchange_stay() {
        let mut bench = Bench::new(1 << 20);
        bench.push(1, Direction::In, &request("REGISTER", 1, ""));
        bench.push(1, Direction::In, &request("REGISTER", 1, ""));
        bench.push(1, Direction::Out, &answer(200, "REGISTER", 1));
        bench.push(1, Direction::Out, &answer(200, "REGISTER", 1));
        assert_eq!(bench.shown(1), [(0, 1), (0, 1), (200, 1), (200, 1)]);
        bench.register(1, 2, 200);
        assert_eq!(bench.shown(1), [(0, 2), (200, 2)]);
    }

    #[test]
    fn a_device_keeps_its_last_two_hundred() {
        let mut bench = Bench::new(64 << 20);
        for call in 0..SIP_LOG_MESSAGES_MAX as u32 {
            bench.push(1, Direction::Out, &request("INVITE", call, ""));
        }
        assert_eq!(bench.shown(1).len(), SIP_LOG_MESSAGES_MAX);
        bench.push(1, Direction::Out, &request("BYE", 1, ""));
        assert_eq!(bench.shown(1).len(), SIP_LOG_MESSAGES_MAX);
        let last = bench.log.of(device(1)).last().expect("many");
        assert!(last.raw.starts_with(b"BYE"));
    }

    #[test]
    fn a_device_keeps_only_so_many_bytes_and_a_message_is_cut() {
        let mut bench = Bench::new(64 << 20);
        let long = "x".repeat(2 * SIP_LOG_MESSAGE_BYTES_MAX);
        for call in 0..40 {
            bench.push(1, Direction::In, &request("NOTIFY", call, &long));
        }
        let ring = &bench.log.rings[&device(1)];
        assert!(ring.bytes <= SIP_LOG_DEVICE_BYTES_MAX);
        assert!(ring.bytes + 2 * SIP_LOG_MESSAGE_BYTES_MAX > SIP_LOG_DEVICE_BYTES_MAX);
        let entry = ring.entries.back().expect("the last");
        assert_eq!(entry.raw.len(), SIP_LOG_MESSAGE_BYTES_MAX);
        assert!(entry.bytes as usize > long.len());
    }

    #[test]
    fn idle_devices_do_not_push_out_a_failed_view() {
        let mut bench = Bench::new(1 << 20);
        bench.push(1, Direction::Out, &request("INVITE", 1, ""));
        bench.push(1, Direction::In, &answer(488, "INVITE", 1));
        for n in 2..3_000 {
            bench.register(n, 1, 200);
            bench.keepalive(n, 2, 200);
        }
        assert_eq!(bench.shown(1), [(0, 1), (488, 1)]);
        // The bound of the idle: five parts in 32, and the table.
        let dialogs = bench.log.shares[Kind::Dialog as usize].bytes;
        let idle = bench.log.bytes() - dialogs - bench.log.rings.len() * RING_BYTES;
        assert!(idle <= (1 << 20) / 32 * 5, "{idle}");
        assert!(!bench.shown(2_999).is_empty(), "the newest are there");
        assert!(bench.shown(2).is_empty(), "the oldest went");
    }

    #[test]
    fn strangers_have_their_own_share() {
        let mut bench = Bench::new(1 << 20);
        bench.register(1, 1, 200);
        let raw = Bytes::from(request("REGISTER", 1, ""));
        for n in 2..5_000 {
            let now = bench.now;
            bench
                .log
                .push(now, device(n), false, &passing(&raw, Direction::In));
        }
        bench.check();
        assert_eq!(bench.shown(1).len(), 2);
        assert!(bench.shown(4_999).len() == 1 && bench.shown(2).is_empty());
    }

    #[test]
    fn nothing_is_kept_when_it_is_off() {
        let mut bench = Bench::new(0);
        bench.register(1, 1, 200);
        assert!(bench.shown(1).is_empty() && bench.log.bytes() == 0);
    }
}
