//! One rendition given to many viewers: the ring of its last units, and where each viewer stands in it.
//!
//! The ring knows no viewer. A viewer is a [`Cursor`]: the next unit and how much of it is written. Writing asks the ring for
//! slices and tells the cursor how many bytes the socket took. A viewer that falls out of the ring goes on at the newest key
//! unit, after the rest of the unit it was in, so that framing is never broken.
//!
//! Bounds: the ring holds the newest group of pictures and [`limits::FAN_SLACK_MS`] before it, at most the bytes it was
//! given.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::Unit;
use crate::limits;
use crate::time::TICKS_PER_SECOND;

/// Which bytes of a unit a viewer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Plain bytes of a response body.
    Http,
    /// Each unit is a WebSocket binary message.
    WebSocket,
}

impl Framing {
    fn head(self, unit: &Unit) -> &[u8] {
        match self {
            Framing::Http => &unit.head[usize::from(unit.ws_header_len)..],
            Framing::WebSocket => &unit.head,
        }
    }

    /// Bytes of a unit under this framing.
    pub fn len(self, unit: &Unit) -> usize {
        match self {
            Framing::Http => unit.len_http(),
            Framing::WebSocket => unit.len_ws(),
        }
    }
}

/// The last units of a rendition, numbered without gaps.
#[derive(Debug)]
pub struct UnitRing {
    units: VecDeque<Unit>,
    /// Number of the oldest unit held.
    first: u64,
    newest_key: Option<u64>,
    bytes: usize,
    bytes_max: usize,
}

impl UnitRing {
    /// `bytes_max`: bytes of units the ring may hold.
    pub fn new(bytes_max: usize) -> Self {
        UnitRing {
            units: VecDeque::new(),
            first: 0,
            newest_key: None,
            bytes: 0,
            bytes_max,
        }
    }

    pub fn push(&mut self, unit: Unit) {
        if unit.key {
            self.newest_key = Some(self.end());
        }
        let newest_dts = unit.dts.0;
        self.bytes += unit.len_ws();
        self.units.push_back(unit);
        let slack = limits::FAN_SLACK_MS as i64 * TICKS_PER_SECOND / 1000;
        while let Some(oldest) = self.units.front() {
            let before_key = self.newest_key.is_none_or(|key| self.first < key);
            let old = before_key && oldest.dts.0 + slack < newest_dts;
            let over = self.units.len() > 1
                && (self.bytes > self.bytes_max || self.units.len() > limits::FAN_UNITS_MAX);
            if !old && !over {
                break;
            }
            self.bytes -= oldest.len_ws();
            self.units.pop_front();
            if self.newest_key == Some(self.first) {
                self.newest_key = None;
            }
            self.first += 1;
        }
    }

    /// Number of the unit that comes next.
    pub fn end(&self) -> u64 {
        self.first + self.units.len() as u64
    }

    /// Where a viewer can start.
    pub fn newest_key(&self) -> Option<u64> {
        self.newest_key
    }

    /// Units from a number on.
    pub fn from(&self, seq: u64) -> impl Iterator<Item = &Unit> {
        let skip = usize::try_from(seq.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.units.iter().skip(skip)
    }

    /// Slices of the units from `seq` on, appended to `out` up to `pieces_max` in all.
    pub fn slices_from<'a>(
        &'a self,
        seq: u64,
        framing: Framing,
        pieces_max: usize,
        out: &mut Vec<IoSlice<'a>>,
    ) {
        for unit in self.from(seq) {
            if out.len() + 3 > pieces_max {
                break;
            }
            for piece in [framing.head(unit), &unit.body, &unit.tail] {
                if !piece.is_empty() {
                    out.push(IoSlice::new(piece));
                }
            }
        }
    }

    /// Bytes of the units from `seq` on, appended to `out`: the first, and further ones while all fit into `bytes_max`.
    pub fn join_from(&self, seq: u64, framing: Framing, bytes_max: usize, out: &mut Vec<u8>) {
        for unit in self.from(seq) {
            if !out.is_empty() && out.len() + framing.len(unit) > bytes_max {
                break;
            }
            for piece in [framing.head(unit), &unit.body, &unit.tail] {
                out.extend_from_slice(piece);
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn get(&self, seq: u64) -> Option<&Unit> {
        self.units
            .get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }
}

/// Where a viewer stands.
#[derive(Debug, Default)]
pub struct Cursor {
    /// The next unit to start; `None` = waits for a key unit.
    next: Option<u64>,
    /// A unit whose first `written` bytes are out. Held so that it can be ended even when the ring has let it go.
    open: Option<Box<(Unit, usize)>>,
    /// Times it was moved forward.
    skipped: u32,
}

impl Cursor {
    /// All that there is was written.
    pub fn is_at_end(&self, ring: &UnitRing) -> bool {
        self.open.is_none() && self.next == Some(ring.end())
    }

    /// In the middle of a unit: nothing else may be written to the connection now.
    pub fn is_inside_unit(&self) -> bool {
        self.open.is_some()
    }

    pub fn skipped(&self) -> u32 {
        self.skipped
    }

    /// The number that decides which slices it gets, if it stands between two units: viewers at the same place get the
    /// same slices.
    pub fn place(&self) -> Option<u64> {
        if self.open.is_some() { None } else { self.next }
    }

    /// Finds its place: a start for a new viewer, a key unit for one that fell behind. `false` = nothing to write yet.
    pub fn settle(&mut self, ring: &UnitRing) -> bool {
        match self.next {
            Some(next) if next >= ring.first => {}
            Some(_) => {
                self.skipped += 1;
                self.next = ring.newest_key();
            }
            None => self.next = ring.newest_key(),
        }
        self.open.is_some() || self.next.is_some_and(|next| next < ring.end())
    }

    /// What to write next, appended to `out` up to its capacity of `pieces_max`. Call [`Cursor::settle`] first.
    pub fn slices<'a>(
        &'a self,
        ring: &'a UnitRing,
        framing: Framing,
        pieces_max: usize,
        out: &mut Vec<IoSlice<'a>>,
    ) {
        if let Some(open) = &self.open {
            let (unit, mut skip) = (&open.0, open.1);
            for piece in [framing.head(unit), &unit.body, &unit.tail] {
                if skip >= piece.len() {
                    skip -= piece.len();
                } else {
                    out.push(IoSlice::new(&piece[skip..]));
                    skip = 0;
                }
            }
        }
        if let Some(next) = self.next {
            ring.slices_from(next, framing, pieces_max, out);
        }
    }

    /// The socket took `n` bytes of what [`Cursor::slices`] gave.
    pub fn advance(&mut self, ring: &UnitRing, framing: Framing, mut n: usize) {
        if let Some(open) = &mut self.open {
            let rest = framing.len(&open.0) - open.1;
            if n < rest {
                open.1 += n;
                return;
            }
            n -= rest;
            self.open = None;
        }
        while n > 0 {
            let Some(unit) = self.next.and_then(|next| ring.get(next)) else {
                return;
            };
            let len = framing.len(unit);
            self.next = self.next.map(|next| next + 1);
            if n < len {
                self.open = Some(Box::new((unit.clone(), n)));
                return;
            }
            n -= len;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::time::MediaTime;

    /// A unit of 10 bytes plain, 12 as a message, whose bytes tell its number.
    fn unit(n: u8, key: bool) -> Unit {
        let body = Bytes::from(vec![n; 7]);
        let dts = MediaTime(i64::from(n) * TICKS_PER_SECOND / 10);
        Unit {
            ws_header_len: 2,
            head: Bytes::from(vec![0xee, 0xee, n]),
            body,
            tail: Bytes::from(vec![n; 2]),
            key,
            dts,
        }
    }

    /// Writes as a socket that takes `take` bytes a call, until there is nothing to write or `calls` are used up.
    fn write(
        cursor: &mut Cursor,
        ring: &UnitRing,
        framing: Framing,
        take: usize,
        calls: usize,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..calls {
            if !cursor.settle(ring) {
                break;
            }
            let mut pieces = Vec::new();
            cursor.slices(ring, framing, 64, &mut pieces);
            let mut bytes: Vec<u8> = pieces.iter().flat_map(|p| p.iter().copied()).collect();
            bytes.truncate(take);
            cursor.advance(ring, framing, bytes.len());
            out.extend(bytes);
        }
        out
    }

    fn plain(numbers: impl IntoIterator<Item = u8>) -> Vec<u8> {
        numbers.into_iter().flat_map(|n| [n; 10]).collect()
    }

    #[test]
    fn a_late_viewer_starts_at_the_newest_key_unit() {
        let mut ring = UnitRing::new(1 << 20);
        let mut cursor = Cursor::default();
        ring.push(unit(0, false));
        assert!(!cursor.settle(&ring));
        for n in 1..6 {
            ring.push(unit(n, n == 3));
        }
        assert_eq!(
            write(&mut cursor, &ring, Framing::Http, usize::MAX, 9),
            plain(3..6)
        );
        assert!(cursor.is_at_end(&ring));
    }

    #[test]
    fn any_cut_gives_the_same_bytes() {
        let mut ring = UnitRing::new(1 << 20);
        (0..5).for_each(|n| ring.push(unit(n, n == 0)));
        for framing in [Framing::Http, Framing::WebSocket] {
            let whole = write(&mut Cursor::default(), &ring, framing, usize::MAX, 1);
            assert_eq!(whole.len(), if framing == Framing::Http { 50 } else { 60 });
            for take in 1..25 {
                assert_eq!(
                    write(&mut Cursor::default(), &ring, framing, take, 100),
                    whole,
                    "{take} bytes a call"
                );
            }
        }
    }

    #[test]
    fn joined_bytes_are_those_of_the_slices_up_to_the_bound() {
        let mut ring = UnitRing::new(1 << 20);
        (0..5).for_each(|n| ring.push(unit(n, n == 0)));
        for (framing, len) in [(Framing::Http, 10), (Framing::WebSocket, 12)] {
            let joined = |from, bytes_max| {
                let mut out = Vec::new();
                ring.join_from(from, framing, bytes_max, &mut out);
                out
            };
            let mut slices = Vec::new();
            ring.slices_from(2, framing, 64, &mut slices);
            assert_eq!(
                joined(2, 1 << 20),
                slices.iter().flat_map(|s| s.to_vec()).collect::<Vec<u8>>()
            );
            assert_eq!(joined(2, 2 * len).len(), 2 * len);
            assert_eq!(joined(2, 2 * len - 1).len(), len);
            assert_eq!(joined(2, 0).len(), len, "one unit in any case");
            assert!(joined(5, 1 << 20).is_empty());
        }
    }

    #[test]
    fn a_viewer_that_fell_out_ends_its_unit_and_goes_on_at_a_key() {
        let mut ring = UnitRing::new(1 << 20);
        let mut cursor = Cursor::default();
        ring.push(unit(0, true));
        ring.push(unit(1, false));
        let mut got = write(&mut cursor, &ring, Framing::Http, 13, 1);
        for n in 2..40 {
            ring.push(unit(n, n % 10 == 0));
        }
        got.extend(write(&mut cursor, &ring, Framing::Http, usize::MAX, 9));
        assert_eq!(got, plain((0..2).chain(30..40)));
        assert_eq!(cursor.skipped(), 1);
    }

    #[test]
    fn the_ring_keeps_its_bounds() {
        let mut ring = UnitRing::new(120);
        ring.push(unit(0, true));
        (1..10).for_each(|n| ring.push(unit(n, false)));
        assert_eq!((ring.bytes(), ring.newest_key()), (120, Some(0)));
        ring.push(unit(10, false));
        assert_eq!((ring.bytes(), ring.newest_key()), (120, None));
        let mut ring = UnitRing::new(usize::MAX);
        (0..limits::FAN_UNITS_MAX + 5).for_each(|_| ring.push(unit(0, false)));
        assert_eq!(ring.units.len(), limits::FAN_UNITS_MAX);
    }

    #[test]
    fn what_is_older_than_the_slack_before_the_key_goes() {
        let mut ring = UnitRing::new(1 << 20);
        for n in 0..100 {
            ring.push(unit(n, n % 50 == 0));
        }
        assert_eq!(ring.newest_key(), Some(50));
        assert_eq!(
            ring.first, 50,
            "the key is older than the slack, so nothing before it is held"
        );
        for n in 100..103 {
            ring.push(unit(n, n == 100));
        }
        assert_eq!(ring.first, 102 - limits::FAN_SLACK_MS / 100);
    }
}
