//! Orders and questions to devices, each with exactly one end (GB/T 28181-2016, 9.3, 9.5, 9.7).
//!
//! An answer belongs to a question by device, `CmdType` and `SN`. One without a readable `SN` belongs to the only open
//! question of its command. What is not answered ends at its deadline; the answer of records may come in pages, and the
//! wait begins anew with each.
//!
//! Bounds: [`ASKS_MAX`], [`ASKS_PER_DEVICE_MAX`], [`RECORDS_HELD_MAX`].

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::message::MANSCDP;
use super::{Platform, Purpose, uri_at};
use crate::gb28181::answer::{Answer, AskFailure, is_error};
use crate::gb28181::edition::Edition;
use crate::gb28181::manscdp::{CmdType, tree::Element};
use crate::gb28181::mansrtsp;
use crate::gb28181::question::Ask;
use crate::gb28181::records::{RecordPage, Records};
use crate::gb28181::registrar::Slot;
use crate::gb28181::types::{AskId, Event, InviteId};
use crate::id::{DeviceId, GbId};
use crate::limits::{ASK_ANSWER_S, ASKS_MAX, ASKS_PER_DEVICE_MAX, RECORDS_HELD_MAX};
use crate::sip::{Message, Method, Path, Request};

/// Something under way.
struct Open {
    slot: Slot,
    cmd: CmdType,
    sn: u32,
    sent: &'static str,
    /// The edition of the device, if the command is of a later one.
    too_new: Option<Edition>,
    is_answered: bool,
    /// The device answered 200 to the message.
    taken: bool,
    since: Instant,
    deadline: Instant,
    records: Records,
}

#[derive(Default)]
pub(super) struct Asks {
    open: HashMap<AskId, Open>,
    by_sn: HashMap<(Slot, u32), AskId>,
    of_device: HashMap<Slot, Vec<AskId>>,
    deadlines: BTreeSet<(Instant, AskId)>,
    records_held: usize,
}

impl Asks {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn insert(&mut self, id: AskId, open: Open) {
        self.by_sn.insert((open.slot, open.sn), id);
        self.of_device.entry(open.slot).or_default().push(id);
        self.deadlines.insert((open.deadline, id));
        self.open.insert(id, open);
    }

    fn remove(&mut self, id: AskId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        self.by_sn.remove(&(open.slot, open.sn));
        self.deadlines.remove(&(open.deadline, id));
        if let Some(ids) = self.of_device.get_mut(&open.slot) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.of_device.remove(&open.slot);
            }
        }
        self.records_held -= open.records.held();
        Some(open)
    }

    fn delay(&mut self, id: AskId, until: Instant) {
        if let Some(open) = self.open.get_mut(&id) {
            self.deadlines.remove(&(open.deadline, id));
            open.deadline = until;
            self.deadlines.insert((until, id));
        }
    }

    /// The question that an answer belongs to.
    fn find(&self, slot: Slot, cmd: CmdType, sn: Option<u32>) -> Option<AskId> {
        let waits = |id: &AskId| {
            self.open
                .get(id)
                .is_some_and(|open| open.cmd == cmd && open.is_answered)
        };
        match sn {
            Some(sn) => self.by_sn.get(&(slot, sn)).copied().filter(waits),
            None => {
                let mut fitting = self.of_device.get(&slot)?.iter().filter(|id| waits(id));
                let only = fitting.next().copied();
                only.filter(|_| fitting.next().is_none())
            }
        }
    }

    /// The first open question of a command, whatever its number.
    fn any(&self, slot: Slot, cmd: CmdType) -> Option<AskId> {
        let ids = self.of_device.get(&slot)?;
        let fits = |id: &&AskId| self.open.get(id).is_some_and(|open| open.cmd == cmd);
        ids.iter().find(fits).copied()
    }
}

impl Platform {
    pub(super) fn ask_device(
        &mut self,
        now: Instant,
        id: AskId,
        device: DeviceId,
        target: GbId,
        ask: &Ask,
    ) {
        if let Err(failure) = self.try_ask(now, id, device, target, ask) {
            self.counters.asks_not_sent += 1;
            let outcome = Box::new(Err(failure));
            self.event(Event::AskEnded { id, outcome });
        }
    }

    fn try_ask(
        &mut self,
        now: Instant,
        id: AskId,
        device: DeviceId,
        target: GbId,
        ask: &Ask,
    ) -> Result<(), AskFailure> {
        let slot = self
            .registrar
            .find(device)
            .ok_or(AskFailure::DeviceUnknown)?;
        let known = self.registrar.get(slot);
        let path = known
            .path
            .filter(|_| known.is_online())
            .ok_or(AskFailure::DeviceOffline)?;
        let busy = |limit| Err(AskFailure::TooMany { limit });
        if self.asks.len() >= ASKS_MAX || self.asks.open.contains_key(&id) {
            return busy("questions under way");
        }
        let of_device = self.asks.of_device.get(&slot).map_or(0, Vec::len);
        if of_device >= ASKS_PER_DEVICE_MAX {
            return busy("questions under way to one device");
        }
        let edition = known.gb_version.as_deref().and_then(Edition::from_version);
        let sn = self.next_sn();
        let known = self.registrar.get(slot);
        let uri = uri_at(target, path.peer);
        let request = Request::new(Method::Message, uri.as_str())
            .from(self.own_address())
            .to(format!("<{uri}>"))
            .body(
                MANSCDP,
                ask.body(sn, target, edition, known.quirks.charset()),
            );
        if self.send(now, path, request, Purpose::Ask(id)).is_none() {
            return busy("SIP transactions");
        }
        self.counters.asks_sent += 1;
        let deadline = now + Duration::from_secs(ASK_ANSWER_S);
        self.asks.insert(
            id,
            Open {
                slot,
                cmd: ask.cmd(),
                sn,
                sent: ask.name(edition),
                too_new: edition.filter(|edition| *edition < ask.since()),
                is_answered: ask.is_answered(),
                taken: false,
                since: now,
                deadline,
                records: Records::default(),
            },
        );
        Ok(())
    }

    /// INFO inside of a dialog, which is answered by SIP alone.
    pub(super) fn send_order(
        &mut self,
        now: Instant,
        id: AskId,
        slot: Slot,
        path: Path,
        request: Request,
        sent: &'static str,
    ) -> Result<(), AskFailure> {
        let busy = |limit| Err(AskFailure::TooMany { limit });
        if self.asks.len() >= ASKS_MAX || self.asks.open.contains_key(&id) {
            return busy("questions under way");
        }
        if self.asks.of_device.get(&slot).map_or(0, Vec::len) >= ASKS_PER_DEVICE_MAX {
            return busy("questions under way to one device");
        }
        if self.send(now, path, request, Purpose::Ask(id)).is_none() {
            return busy("SIP transactions");
        }
        self.counters.asks_sent += 1;
        let sn = self.next_sn();
        self.asks.insert(
            id,
            Open {
                slot,
                cmd: CmdType::Unknown,
                sn,
                sent,
                too_new: None,
                is_answered: false,
                taken: false,
                since: now,
                deadline: now + Duration::from_secs(ASK_ANSWER_S),
                records: Records::default(),
            },
        );
        Ok(())
    }

    pub(super) fn order_playback(
        &mut self,
        now: Instant,
        ask: AskId,
        invite: InviteId,
        order: mansrtsp::Order,
    ) {
        if let Err(failure) = self.order_view(now, ask, invite, order) {
            self.counters.asks_not_sent += 1;
            let outcome = Box::new(Err(failure));
            self.event(Event::AskEnded { id: ask, outcome });
        }
    }

    /// Numbers of questions and subscriptions; those of the [queue](crate::gb28181::query) lie below.
    pub(super) fn next_sn(&mut self) -> u32 {
        const FIRST: u32 = 1_000_000_000;
        const LAST: u32 = 2_000_000_000;
        self.sn = if (FIRST..LAST).contains(&self.sn) {
            self.sn + 1
        } else {
            FIRST
        };
        self.sn
    }

    /// The SIP answer to a question or order.
    pub(super) fn ask_taken(&mut self, id: AskId, status: u16, message: &Message) {
        let Some(open) = self.asks.open.get_mut(&id) else {
            return;
        };
        match status {
            ..200 => {}
            200..300 if open.is_answered => open.taken = true,
            200..300 => {
                // Of a playback order the SIP may say 200 and the body otherwise.
                let outcome = match mansrtsp::status(message.body()) {
                    Some(status @ 300..) => Err(AskFailure::Refused {
                        sent: open.sent,
                        status,
                        reason: "in the answer to the order".into(),
                        too_new: None,
                    }),
                    Some(_) | None => Ok(Answer::Done),
                };
                self.end_ask(id, outcome);
            }
            300.. => {
                let failure = AskFailure::Refused {
                    sent: open.sent,
                    status,
                    reason: String::from_utf8_lossy(message.reason()).into_owned(),
                    too_new: open.too_new,
                };
                self.end_ask(id, Err(failure));
            }
        }
    }

    /// A message with an answer. False: nobody asked.
    pub(super) fn answered_ask(
        &mut self,
        now: Instant,
        slot: Slot,
        cmd: CmdType,
        sn: Option<u32>,
        body: &Element,
    ) -> bool {
        let Some(id) = self.asks.find(slot, cmd, sn) else {
            return false;
        };
        self.answer(now, id, body);
        true
    }

    /// A position that came as a notification may be what a question waits for.
    pub(super) fn position_told(&mut self, now: Instant, slot: Slot, body: &Element) {
        if let Some(id) = self.asks.any(slot, CmdType::MobilePosition) {
            self.answer(now, id, body);
        }
    }

    fn answer(&mut self, now: Instant, id: AskId, body: &Element) {
        let Some(open) = self.asks.open.get_mut(&id) else {
            return;
        };
        let (cmd, sent) = (open.cmd, open.sent);
        if is_error(body) {
            let too_new = open.too_new;
            return self.end_ask(id, Err(AskFailure::Failed { sent, too_new }));
        }
        if cmd == CmdType::RecordInfo {
            return self.record_page(now, id, RecordPage::read(body));
        }
        let unusable = |what: String| Err(AskFailure::BadAnswer { sent, what });
        let outcome = match Answer::read(cmd, body) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => unusable("it is none".into()),
            Err(bad) => unusable(bad.to_string()),
        };
        self.end_ask(id, outcome);
    }

    fn record_page(&mut self, now: Instant, id: AskId, page: RecordPage) {
        let room = RECORDS_HELD_MAX - self.asks.records_held;
        let Some(open) = self.asks.open.get_mut(&id) else {
            return;
        };
        let held = open.records.held();
        let whole = open.records.push(page, room);
        self.asks.records_held += open.records.held() - held;
        if whole {
            self.end_records(id);
        } else {
            self.asks.delay(id, now + Duration::from_secs(ASK_ANSWER_S));
        }
    }

    fn end_records(&mut self, id: AskId) {
        let records = self.asks.open.get_mut(&id).map(|open| {
            let records = std::mem::take(&mut open.records);
            self.asks.records_held -= records.held();
            records
        });
        if let Some(records) = records {
            self.end_ask(id, Ok(records.finish()));
        }
    }

    /// Nothing came in time: of records what is here is told, of anything else how long was waited.
    pub(super) fn expire_asks(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.asks.deadlines.first() {
            if at > now {
                return;
            }
            self.ask_unanswered(now, id);
        }
    }

    pub(super) fn ask_unanswered(&mut self, now: Instant, id: AskId) {
        let Some(open) = self.asks.open.get(&id) else {
            return;
        };
        if open.records.held() > 0 {
            return self.end_records(id);
        }
        let failure = AskFailure::NoAnswer {
            sent: open.sent,
            waited_ms: (now - open.since).as_millis() as u64,
            taken: open.taken,
            too_new: open.too_new,
        };
        self.end_ask(id, Err(failure));
    }

    pub(super) fn lose_asks(&mut self, slot: Slot) {
        for id in self.asks.of_device.get(&slot).cloned().unwrap_or_default() {
            self.end_ask(id, Err(AskFailure::DeviceLost));
        }
    }

    fn end_ask(&mut self, id: AskId, outcome: Result<Answer, AskFailure>) {
        if self.asks.remove(id).is_none() {
            return;
        }
        match &outcome {
            Ok(_) => self.counters.asks_answered += 1,
            Err(_) => self.counters.asks_failed += 1,
        }
        let outcome = Box::new(outcome);
        self.event(Event::AskEnded { id, outcome });
    }
}
