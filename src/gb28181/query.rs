//! Questions to devices, a few at a time (GB/T 28181-2016, 9.5).
//!
//! Every device that comes online is asked for its DeviceInfo and Catalog. When thousands register within seconds, the
//! questions wait here: at most so many are under way and at most so many start in a second. A question whose device is
//! silent gives up its place after [`QUERY_SLOT_S`], so that dead devices do not hold up the living, and is given up
//! after [`QUERY_ANSWER_S`].
//!
//! Not done here: sending, and what an answer means.
//!
//! Bounds: [`QUERIES_WAITING_MAX`]; a question of the same kind to the same device is never in here twice.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::manscdp::CmdType;
use super::registrar::Slot;
use crate::limits::{QUERIES_WAITING_MAX, QUERY_ANSWER_S, QUERY_SLOT_S};
use crate::time::earliest;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueryKind {
    DeviceInfo,
    Catalog,
    DeviceStatus,
}

impl QueryKind {
    pub fn cmd(self) -> CmdType {
        match self {
            QueryKind::DeviceInfo => CmdType::DeviceInfo,
            QueryKind::Catalog => CmdType::Catalog,
            QueryKind::DeviceStatus => CmdType::DeviceStatus,
        }
    }
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    pub slot: Slot,
    pub kind: QueryKind,
    pub sn: u32,
    /// 0 for the first time it is asked.
    pub attempt: u8,
}

#[derive(Clone, Copy)]
struct Active {
    sn: u32,
    attempt: u8,
    holds_place: bool,
    deadline: Instant,
}

pub struct Queries {
    at_once: usize,
    interval: Duration,
    waiting: VecDeque<(Slot, QueryKind, u8)>,
    waiting_set: HashSet<(Slot, QueryKind)>,
    active: HashMap<(Slot, QueryKind), Active>,
    deadlines: BTreeSet<(Instant, Slot, QueryKind)>,
    places_taken: usize,
    next_start: Instant,
    next_sn: u32,
}

/// Questions that may start together after a pause.
const BURST: u32 = 8;

impl Queries {
    /// `first_sn` should differ from run to run, so that answers to the last run's questions are told apart.
    pub fn new(at_once: usize, per_second: u32, first_sn: u32, now: Instant) -> Queries {
        Queries {
            at_once: at_once.max(1),
            interval: Duration::from_secs(1) / per_second.max(1),
            waiting: VecDeque::new(),
            waiting_set: HashSet::new(),
            active: HashMap::new(),
            deadlines: BTreeSet::new(),
            places_taken: 0,
            next_start: now,
            next_sn: first_sn.max(1),
        }
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn active(&self) -> usize {
        self.active.len()
    }

    /// Puts a question in the queue; `urgent` ones (somebody waits for them) in front. Answers false at the bound.
    pub fn ask(&mut self, slot: Slot, kind: QueryKind, attempt: u8, urgent: bool) -> bool {
        if self.active.contains_key(&(slot, kind)) || self.waiting_set.contains(&(slot, kind)) {
            return true;
        }
        if self.waiting.len() >= QUERIES_WAITING_MAX {
            return false;
        }
        self.waiting_set.insert((slot, kind));
        if urgent {
            self.waiting.push_front((slot, kind, attempt));
        } else {
            self.waiting.push_back((slot, kind, attempt));
        }
        true
    }

    /// A number (`SN`) for a message that is no question of this list.
    pub fn take_number(&mut self) -> u32 {
        let sn = self.next_sn;
        self.next_sn = self.next_sn.checked_add(1).unwrap_or(1);
        sn
    }

    /// The next question to send now. The caller sends it, or calls [`Queries::take`] if it cannot.
    pub fn poll_start(&mut self, now: Instant) -> Option<Query> {
        if self.places_taken >= self.at_once || now < self.next_start {
            return None;
        }
        let (slot, kind, attempt) = self.waiting.pop_front()?;
        self.waiting_set.remove(&(slot, kind));
        let credit = now
            .checked_sub(self.interval * BURST)
            .unwrap_or(self.next_start);
        self.next_start = self.next_start.max(credit) + self.interval;
        let sn = self.take_number();
        let deadline = now + Duration::from_secs(QUERY_SLOT_S);
        self.active.insert(
            (slot, kind),
            Active {
                sn,
                attempt,
                holds_place: true,
                deadline,
            },
        );
        self.deadlines.insert((deadline, slot, kind));
        self.places_taken += 1;
        Some(Query {
            slot,
            kind,
            sn,
            attempt,
        })
    }

    /// The question under way.
    pub fn get(&self, slot: Slot, kind: QueryKind) -> Option<Query> {
        self.active.get(&(slot, kind)).map(|active| Query {
            slot,
            kind,
            sn: active.sn,
            attempt: active.attempt,
        })
    }

    /// Ends a question: it was answered, refused, or could not be sent.
    pub fn take(&mut self, slot: Slot, kind: QueryKind) -> Option<Query> {
        let active = self.active.remove(&(slot, kind))?;
        self.deadlines.remove(&(active.deadline, slot, kind));
        self.places_taken -= usize::from(active.holds_place);
        Some(Query {
            slot,
            kind,
            sn: active.sn,
            attempt: active.attempt,
        })
    }

    /// The next question that nobody answered in time; it is ended.
    pub fn poll_expired(&mut self, now: Instant) -> Option<Query> {
        while let Some(&(at, slot, kind)) = self.deadlines.first() {
            if at > now {
                return None;
            }
            self.deadlines.pop_first();
            let active = self
                .active
                .get_mut(&(slot, kind))
                .expect("a deadline stands for an active question");
            if !active.holds_place {
                return self.take(slot, kind);
            }
            active.holds_place = false;
            active.deadline = at + Duration::from_secs(QUERY_ANSWER_S - QUERY_SLOT_S);
            self.deadlines.insert((active.deadline, slot, kind));
            self.places_taken -= 1;
        }
        None
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let start = (!self.waiting.is_empty() && self.places_taken < self.at_once)
            .then_some(self.next_start);
        earliest(start, self.deadlines.first().map(|(at, _, _)| *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gb28181::registrar::Registrar;
    use crate::gb28181::types::DeviceAuth;
    use crate::id::DeviceId;

    fn slots(n: u32, now: Instant) -> Vec<Slot> {
        let mut registrar = Registrar::new(Duration::from_secs(60));
        (0..n)
            .map(|i| {
                let id = DeviceId(format!("{i}").parse().expect("a code"));
                registrar
                    .set_auth(now, id, DeviceAuth::Default)
                    .expect("there is room")
            })
            .collect()
    }

    fn started(queries: &mut Queries, now: Instant) -> usize {
        std::iter::from_fn(|| queries.poll_start(now)).count()
    }

    #[test]
    fn questions_start_at_the_rate_and_within_the_places() {
        let now = Instant::now();
        let slots = slots(100, now);
        let mut queries = Queries::new(30, 100, 1, now);
        for slot in &slots {
            assert!(queries.ask(*slot, QueryKind::Catalog, 0, false));
            assert!(queries.ask(*slot, QueryKind::Catalog, 0, false));
        }
        assert_eq!(queries.waiting(), 100);
        assert_eq!(started(&mut queries, now), 1);
        assert_eq!(
            queries.next_deadline(),
            Some(now + Duration::from_millis(10))
        );
        // After a pause a burst, not all that was missed.
        let later = now + Duration::from_secs(1);
        assert_eq!(started(&mut queries, later), BURST as usize + 1);
        assert_eq!(
            started(&mut queries, later + Duration::from_secs(1)),
            BURST as usize + 1
        );
        assert_eq!(
            started(&mut queries, later + Duration::from_secs(2)),
            BURST as usize + 1
        );
        assert_eq!(started(&mut queries, later + Duration::from_secs(2)), 0);
        assert!(queries.active() <= 30);
    }

    #[test]
    fn a_silent_device_gives_up_its_place_first_and_its_question_later() {
        let now = Instant::now();
        let slots = slots(2, now);
        let mut queries = Queries::new(1, 1000, 1, now);
        queries.ask(slots[0], QueryKind::Catalog, 0, false);
        queries.ask(slots[1], QueryKind::DeviceInfo, 0, false);
        let first = queries.poll_start(now).expect("a place is free");
        let later = now + Duration::from_secs(QUERY_SLOT_S);
        assert_eq!(queries.poll_expired(later), None);
        assert_eq!(queries.poll_start(later).map(|q| q.slot), Some(slots[1]));
        assert_eq!(queries.get(slots[0], QueryKind::Catalog), Some(first));
        let end = now + Duration::from_secs(QUERY_ANSWER_S);
        assert_eq!(queries.poll_expired(end), Some(first));
        assert_eq!(queries.take(slots[0], QueryKind::Catalog), None);
        queries
            .take(slots[1], QueryKind::DeviceInfo)
            .expect("it is under way");
        assert_eq!(queries.next_deadline(), None);
    }

    #[test]
    fn the_urgent_go_first() {
        let now = Instant::now();
        let slots = slots(2, now);
        let mut queries = Queries::new(8, 1000, 1, now);
        queries.ask(slots[0], QueryKind::Catalog, 0, false);
        queries.ask(slots[1], QueryKind::Catalog, 0, true);
        assert_eq!(queries.poll_start(now).map(|q| q.slot), Some(slots[1]));
    }

    #[test]
    fn the_queue_has_an_end() {
        let now = Instant::now();
        let slots = slots((QUERIES_WAITING_MAX / 2) as u32, now);
        let mut queries = Queries::new(1, 1, 1, now);
        let mut room = true;
        for slot in &slots {
            room &= queries.ask(*slot, QueryKind::DeviceInfo, 0, false);
            room &= queries.ask(*slot, QueryKind::Catalog, 0, false);
        }
        assert!(room);
        assert_eq!(queries.waiting(), QUERIES_WAITING_MAX);
        assert!(!queries.ask(slots[0], QueryKind::DeviceStatus, 0, true));
        queries.poll_start(now).expect("a place is free");
        assert!(queries.ask(slots[0], QueryKind::DeviceStatus, 0, true));
    }
}
