//! One message cut over several datagrams, of which only the first begins like SIP.
//!
//! RFC 3261, 18.1.1 wants TCP for what does not fit into a datagram. Some recorders cut the bytes of a long directory into
//! datagrams instead (field reports 33 and t06). The first then has a head that declares more than came, and a body that ends
//! in the middle of its XML; what follows it from the same address, and does not begin like SIP, is the rest.
//!
//! A body that is shorter than declared and has its end all the same is whole: lengths that lie are common. When the rest
//! does not come in time, or something else comes, what is there is given on with its real length, and read as far as it goes.
//!
//! Not done: heads that are cut; datagrams that change their order on the way.
//!
//! Bounds: [`SIP_SPLIT_MESSAGES_MAX`] messages and [`SIP_SPLIT_BYTES_MAX`] bytes that wait, the oldest given on as it is at
//! either; [`SIP_SPLIT_WAIT_MS`] for the whole of one.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memmem, memrchr};
use smallvec::SmallVec;

use super::gate::Kind;
use crate::limits::{
    SIP_MESSAGE_BYTES_MAX, SIP_SPLIT_BYTES_MAX, SIP_SPLIT_MESSAGES_MAX, SIP_SPLIT_WAIT_MS,
};
use crate::sip::Path;

/// A message that has begun.
struct Begun {
    number: u64,
    path: Path,
    raw: BytesMut,
    missing: usize,
}

/// What is to be read now, in order: mostly nothing, or the one that came.
pub type Ready = SmallVec<[(Path, Bytes); 2]>;

/// Puts messages together again.
#[derive(Default)]
pub struct Splits {
    by_peer: HashMap<SocketAddr, Begun>,
    /// In order of age; those that are done are passed over.
    order: VecDeque<(Instant, SocketAddr, u64)>,
    bytes: usize,
    next: u64,
    joined: u64,
}

impl Splits {
    /// Messages that were put together.
    pub fn joined(&self) -> u64 {
        self.joined
    }

    /// Takes a datagram of a known device.
    pub fn take(&mut self, now: Instant, path: Path, raw: Bytes) -> Ready {
        let mut ready = Ready::new();
        let Some(begun) = self.by_peer.get_mut(&path.peer) else {
            self.begin_or_give(now, path, raw, &mut ready);
            return ready;
        };
        if begins_like_sip(&raw) {
            // Another message, or the same once more, as its sender has heard nothing.
            ready.extend(self.remove(path.peer));
            self.begin_or_give(now, path, raw, &mut ready);
            return ready;
        }
        // Signs of life of four bytes come at any time.
        if raw.len() <= 4 && begun.missing != raw.len() {
            ready.push((path, raw));
            return ready;
        }
        begun.raw.extend_from_slice(&raw);
        begun.missing = begun.missing.saturating_sub(raw.len());
        self.bytes += raw.len();
        if begun.missing == 0 {
            self.joined += 1;
            ready.extend(self.remove(path.peer));
        }
        self.make_room(&mut ready);
        ready
    }

    /// What waited too long, as far as it came.
    pub fn poll_expired(&mut self, now: Instant) -> Option<(Path, Bytes)> {
        while let Some(&(at, peer, number)) = self.order.front() {
            let waits = self.by_peer.get(&peer).is_some_and(|b| b.number == number);
            if waits && at > now {
                return None;
            }
            self.order.pop_front();
            if waits {
                return self.remove(peer);
            }
        }
        None
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        // One that is done may stand first: then there is nothing to do at that time.
        self.order.front().map(|(at, _, _)| *at)
    }

    fn begin_or_give(&mut self, now: Instant, path: Path, raw: Bytes, ready: &mut Ready) {
        let Some(missing) = missing_of(&raw) else {
            return ready.push((path, raw));
        };
        let number = self.next;
        self.next += 1;
        let until = now + Duration::from_millis(SIP_SPLIT_WAIT_MS);
        self.order.push_back((until, path.peer, number));
        self.bytes += raw.len();
        let begun = Begun {
            number,
            path,
            raw: raw[..].into(),
            missing,
        };
        self.by_peer.insert(path.peer, begun);
        self.make_room(ready);
    }

    /// Gives on the oldest as they are until the bounds hold.
    fn make_room(&mut self, ready: &mut Ready) {
        while self.by_peer.len() > SIP_SPLIT_MESSAGES_MAX || self.bytes > SIP_SPLIT_BYTES_MAX {
            let Some((_, peer, number)) = self.order.pop_front() else {
                return;
            };
            if self.by_peer.get(&peer).is_some_and(|b| b.number == number) {
                ready.extend(self.remove(peer));
            }
        }
    }

    fn remove(&mut self, peer: SocketAddr) -> Option<(Path, Bytes)> {
        let begun = self.by_peer.remove(&peer)?;
        self.bytes -= begun.raw.len();
        if self.by_peer.is_empty() {
            self.order.clear();
        }
        let mut raw = begun.raw;
        if begun.missing > 0 {
            declare_what_came(&mut raw);
        }
        Some((begun.path, raw.freeze()))
    }
}

/// Writes the real length of its body into a message that stays incomplete, so that what came of it can be read.
fn declare_what_came(raw: &mut [u8]) {
    let Some(head) = memmem::find(raw, b"\r\n\r\n") else {
        return;
    };
    let came = raw.len() - (head + 4);
    if let Some(value) = length_value(&raw[..head]) {
        // It is less than was declared, so that its digits have room.
        let (place, width) = (value.start, value.len());
        raw[place..place + width].copy_from_slice(format!("{came:>width$}").as_bytes());
    }
}

/// How many bytes a datagram's message lacks, if it is a MESSAGE or NOTIFY that was cut: it declares them, and its XML has not
/// ended.
fn missing_of(raw: &[u8]) -> Option<usize> {
    if Kind::of(raw) != Kind::Message {
        return None;
    }
    let head = memmem::find(raw, b"\r\n\r\n")?;
    let body = &raw[head + 4..];
    let declared = declared(&raw[..head])?;
    let missing = declared.checked_sub(body.len()).filter(|n| *n > 0)?;
    (head + declared <= SIP_MESSAGE_BYTES_MAX && !has_ended(body)?).then_some(missing)
}

/// The value of Content-Length.
fn declared(head: &[u8]) -> Option<usize> {
    std::str::from_utf8(&head[length_value(head)?])
        .ok()?
        .parse()
        .ok()
}

/// Where the digits of Content-Length stand.
fn length_value(head: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    head.split_inclusive(|b| *b == b'\n').find_map(|line| {
        let begin = at;
        at += line.len();
        let colon = memchr(b':', line)?;
        let name = line[..colon].trim_ascii();
        let is_it = name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l");
        let value = line[colon + 1..].trim_ascii_start();
        let digits = value.trim_ascii_end().len();
        let from = begin + line.len() - value.len();
        is_it.then_some(from..from + digits)
    })
}

/// Whether the root element of a body is closed. `None`: it is no XML.
fn has_ended(body: &[u8]) -> Option<bool> {
    let (mut rest, mut begun) = (body, false);
    let root = loop {
        let Some(at) = memchr(b'<', rest) else {
            // Cut behind the declaration: nothing has ended.
            return begun.then_some(false);
        };
        rest = &rest[at + 1..];
        begun = true;
        match rest.first() {
            // Declaration and comments stand before the root.
            Some(b'?' | b'!') => {}
            Some(c) if c.is_ascii_alphabetic() => {
                let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':');
                let end = rest.iter().position(|b| !is_name(b)).unwrap_or(rest.len());
                break &rest[..end];
            }
            None => return Some(false),
            Some(_) => return None,
        }
    };
    let Some(last) = memrchr(b'<', body) else {
        return Some(false);
    };
    let close = body[last + 1..].strip_prefix(b"/");
    Some(close.is_some_and(|tag| {
        let end = memchr(b'>', tag).map(|end| tag[..end].trim_ascii());
        end.is_some_and(|name| name == root)
    }))
}

/// Whether the first line names the protocol, as that of every request and response does.
fn begins_like_sip(raw: &[u8]) -> bool {
    /// A start line is a method and an address.
    const LINE_BYTES_MAX: usize = 512;
    let start = raw.iter().position(|b| !matches!(b, b'\r' | b'\n'));
    let line = &raw[start.unwrap_or(0)..];
    let line = &line[..line.len().min(LINE_BYTES_MAX)];
    let end = memchr(b'\n', line).unwrap_or(line.len());
    let line = line[..end].trim_ascii();
    line.starts_with(b"SIP/2.0 ") || line.ends_with(b" SIP/2.0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Transport;

    fn path(n: u16) -> Path {
        Path {
            peer: SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 5060)),
            local: SocketAddr::from(([10, 9, 0, 1], 5060)),
            transport: Transport::Udp,
        }
    }

    fn message(body: &str, declared: usize) -> Vec<u8> {
        format!(
            "MESSAGE sip:34020000002000000001@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1\r\n\
             content-length :  {declared}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    fn list(items: usize) -> String {
        let items: String = (0..items)
            .map(|n| format!("<Item><DeviceID>{n:020}</DeviceID></Item>\n"))
            .collect();
        format!("<?xml version=\"1.0\"?>\n<Response><DeviceList>{items}</DeviceList></Response>\n")
    }

    /// Everything that is given for these datagrams, and what is left at the end.
    fn run(datagrams: &[&[u8]]) -> (Vec<Bytes>, Vec<Bytes>) {
        let now = Instant::now();
        let mut splits = Splits::default();
        let mut given = Vec::new();
        for datagram in datagrams {
            let ready = splits.take(now, path(1), Bytes::copy_from_slice(datagram));
            given.extend(ready.into_iter().map(|(_, raw)| raw));
        }
        let later = now + Duration::from_millis(SIP_SPLIT_WAIT_MS);
        assert!(splits.poll_expired(now).is_none());
        let rest = std::iter::from_fn(|| splits.poll_expired(later).map(|(_, raw)| raw)).collect();
        assert_eq!((splits.bytes, splits.by_peer.len()), (0, 0));
        assert_eq!(splits.next_deadline(), None);
        (given, rest)
    }

    #[test]
    fn a_message_is_whole_again_wherever_its_body_was_cut() {
        let body = list(30);
        let whole = message(&body, body.len());
        let head = whole.len() - body.len();
        for cut in head + 1..whole.len() {
            let (given, rest) = run(&[&whole[..cut], &whole[cut..]]);
            // Behind the end of the root nothing is missing but white space, which nobody waits for.
            let ended = cut >= whole.len() - 1;
            assert_eq!(given.len(), 1 + usize::from(ended), "cut at {cut}");
            assert!(ended || given[0] == whole, "cut at {cut}");
            assert!(rest.is_empty());
        }
        let pieces: Vec<&[u8]> = whole.chunks(head + 100).collect();
        assert!(pieces.len() > 4);
        assert_eq!(run(&pieces), (vec![Bytes::from(whole.clone())], vec![]));
        // A sign of life in between is one.
        let (given, _) = run(&[pieces[0], b"jaK\0", pieces[1]]);
        assert_eq!(given, [&b"jaK\0"[..]]);
    }

    #[test]
    fn lengths_that_lie_are_waited_for_only_if_the_body_has_no_end() {
        let body = list(2);
        for more in [1, 2, 500] {
            let raw = message(&body, body.len() + more);
            assert_eq!(run(&[&raw]), (vec![Bytes::from(raw.clone())], vec![]));
        }
        for other in ["v=0\r\n", "", "<", "no xml at all"] {
            let raw = message(other, 900);
            let (given, rest) = run(&[&raw]);
            assert_eq!(given.len() + rest.len(), 1, "{other:?}");
        }
        let huge = message("<Response>", SIP_MESSAGE_BYTES_MAX + 1);
        assert_eq!(run(&[&huge]).0.len(), 1, "not waited for");
    }

    #[test]
    fn what_is_not_completed_is_given_on_with_its_real_length() {
        let body = list(30);
        let whole = message(&body, body.len());
        let first = &whole[..700];
        let text = std::str::from_utf8(first).expect("ASCII");
        let came = first.len() - text.find("\r\n\r\n").expect("a head") - 4;
        let cut = text.replace(&body.len().to_string(), &format!("{came:>4}"));
        assert_eq!(run(&[first]), (vec![], vec![Bytes::from(cut.clone())]));
        let next = message(&list(1), list(1).len());
        let (given, rest) = run(&[first, &next, &whole[700..]]);
        assert_eq!(given[..2], [cut.as_bytes(), &next[..]]);
        // Its rest comes too late and is nobody's.
        assert_eq!((given.len(), rest.len()), (3, 0));
        // Its sender begins anew.
        let (given, rest) = run(&[first, first, &whole[700..]]);
        assert_eq!(given, [cut.as_bytes(), &whole[..]]);
        assert!(rest.is_empty());
    }

    #[test]
    fn what_waits_has_a_bound_and_the_oldest_goes_first() {
        let now = Instant::now();
        let mut splits = Splits::default();
        let raw = Bytes::from(message("<Response>", 10_000));
        for n in 0..SIP_SPLIT_MESSAGES_MAX as u16 {
            let ready = splits.take(now, path(n), raw.clone());
            assert!(ready.is_empty());
        }
        let ready = splits.take(now, path(u16::MAX), raw.clone());
        let out: Vec<Path> = ready.into_iter().map(|(path, _)| path).collect();
        assert_eq!(out, [path(0)]);
        assert_eq!(splits.by_peer.len(), SIP_SPLIT_MESSAGES_MAX);

        let mut splits = Splits::default();
        let piece = Bytes::from(vec![b'x'; 60_000]);
        let long = Bytes::from(message("<Response>", SIP_MESSAGE_BYTES_MAX - 1_000));
        let mut given = 0;
        for n in 0..20 {
            for part in std::iter::once(&long).chain(std::iter::repeat_n(&piece, 16)) {
                let ready = splits.take(now, path(n), part.clone());
                given += ready.len();
                assert!(splits.bytes <= SIP_SPLIT_BYTES_MAX);
            }
        }
        assert!(given > 0 && splits.by_peer.len() + given == 20);
    }
}
