//! Views: INVITE, its answer, the orders of a playback, and how it ends (GB/T 28181-2016, 9.2, 9.8, 9.9; RFC 3261, 13 to 15
//! and 9; RFC 6086).
//!
//! ```text
//!            1xx ┐                  2xx fits: ACK
//!  Calling ──────┴──────────────────────────────────► Running ──BYE from the device: 200──► over (Device)
//!     │ EndInvite, time-out: CANCEL     │ 2xx does not fit: ACK, BYE      │ EndInvite: BYE
//!     ▼                                 ▼                                 ▼
//!  Cancelling ──487, silence──► over   failed, over (Us)               Ending ──answer──► over (Us), silence──► (Lost)
//!     └── 2xx all the same: ACK, BYE
//! ```
//!
//! A playback that is ended here before its file is gets TEARDOWN and then BYE (2016, B.2.5), one right after the other: the view
//! ends by its BYE whatever becomes of TEARDOWN, and a device that hangs up at TEARDOWN has ended it as well.
//!
//! Every view reports `InviteAnswered` or `InviteFailed` once, and `InviteEnded` last and once. A 2xx that nobody waits
//! for (it crossed a CANCEL, or comes from a second branch) is acknowledged and ended at once, so that no device keeps
//! sending to nobody. Dialogs are found by Call-ID, never by SSRC.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Platform, Purpose, uri_at};
use crate::gb28181::answer::AskFailure;
use crate::gb28181::edition::Edition;
use crate::gb28181::mansrtsp::{self, Order};
use crate::gb28181::offer::Offer;
use crate::gb28181::registrar::Slot;
use crate::gb28181::types::{
    AskId, EndedBy, Event, Footage, Invite, InviteFailure, InviteId, OfflineReason, Persist,
};
use crate::id::DeviceId;
use crate::limits::{INVITE_END_S, INVITES_MAX};
use crate::sip::{
    Dialog, HeaderName, Incoming, Message, Method, Path, Request, Response, TransactionId,
};

/// One view.
struct View {
    device: Slot,
    path: Path,
    offer: Offer,
    call_id: String,
    state: State,
    /// Of the last order to play.
    order_cseq: u32,
    /// The device has sent all of its record.
    file_ended: bool,
    /// When to stop waiting for what the state waits for.
    deadline: Option<Instant>,
}

enum State {
    Calling {
        transaction: TransactionId,
    },
    /// The failure is reported; the transaction still runs.
    Cancelling,
    Running {
        dialog: Box<Dialog>,
    },
    Ending {
        dialog: Box<Dialog>,
    },
}

/// All views.
#[derive(Default)]
pub(super) struct Invites {
    views: HashMap<InviteId, View>,
    by_call_id: HashMap<String, InviteId>,
    by_device: HashMap<Slot, Vec<InviteId>>,
    deadlines: BTreeSet<(Instant, InviteId)>,
    /// Dialogs of an earlier run, of devices that cannot be reached yet.
    left_over: HashMap<Slot, Vec<Dialog>>,
    /// All of them; at most [`INVITES_MAX`], beyond which they are given up.
    left_over_count: usize,
}

impl Invites {
    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    /// In the order of their numbers, so that a run can be repeated.
    pub(super) fn ids(&self) -> Vec<InviteId> {
        let mut ids: Vec<InviteId> = self.views.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Whose view has this Call-ID.
    pub(super) fn device_of(&self, call_id: &str) -> Option<Slot> {
        let id = self.by_call_id.get(call_id)?;
        self.views.get(id).map(|view| view.device)
    }

    fn insert(&mut self, id: InviteId, view: View) {
        self.by_call_id.insert(view.call_id.clone(), id);
        self.by_device.entry(view.device).or_default().push(id);
        if let Some(at) = view.deadline {
            self.deadlines.insert((at, id));
        }
        self.views.insert(id, view);
    }

    fn remove(&mut self, id: InviteId) -> Option<View> {
        let view = self.views.remove(&id)?;
        self.by_call_id.remove(&view.call_id);
        if let Some(ids) = self.by_device.get_mut(&view.device) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_device.remove(&view.device);
            }
        }
        if let Some(at) = view.deadline {
            self.deadlines.remove(&(at, id));
        }
        Some(view)
    }

    fn change(&mut self, id: InviteId, change: impl FnOnce(State) -> State) {
        if let Some(view) = self.views.get_mut(&id) {
            let state = std::mem::replace(&mut view.state, State::Cancelling);
            view.state = change(state);
        }
    }

    fn set_deadline(&mut self, id: InviteId, deadline: Option<Instant>) {
        let Some(view) = self.views.get_mut(&id) else {
            return;
        };
        if let Some(at) = std::mem::replace(&mut view.deadline, deadline) {
            self.deadlines.remove(&(at, id));
        }
        if let Some(at) = deadline {
            self.deadlines.insert((at, id));
        }
    }
}

impl Platform {
    pub(super) fn invite(&mut self, now: Instant, invite: Invite) {
        let id = invite.id;
        if let Err(failure) = self.try_invite(now, invite) {
            self.counters.invites_not_sent += 1;
            self.event(Event::InviteFailed { id, failure });
            self.event(Event::InviteEnded {
                id,
                by: EndedBy::Us,
            });
        }
    }

    fn try_invite(&mut self, now: Instant, invite: Invite) -> Result<(), InviteFailure> {
        if self.is_draining() {
            return Err(InviteFailure::Cancelled);
        }
        let slot = self
            .registrar
            .find(invite.device)
            .ok_or(InviteFailure::DeviceUnknown)?;
        let device = self.registrar.get(slot);
        let path = device
            .path
            .filter(|_| device.is_online())
            .ok_or(InviteFailure::DeviceOffline)?;
        if self.invites.len() >= INVITES_MAX || self.invites.views.contains_key(&invite.id) {
            return Err(InviteFailure::TooMany);
        }
        let ip = invite.media_ip.unwrap_or(path.local.ip());
        let offer = Offer {
            platform: self.config.id,
            channel: invite.channel,
            footage: invite.footage,
            ssrc: invite.ssrc,
            transport: invite.transport,
            media: SocketAddr::new(ip, invite.media_port),
        };
        let body = offer.write(device.quirks);
        let call_id = self.endpoint.new_call_id();
        let uri = uri_at(invite.channel.0, path.peer);
        let request = Request::new(Method::Invite, uri.as_str())
            .from(self.own_address())
            .to(format!("<{uri}>"))
            .call_id(call_id.as_str())
            .contact(format!("<{}>", uri_at(self.config.id, path.local)))
            .header(HeaderName::Subject, offer.subject())
            .body("APPLICATION/SDP", body);
        let transaction = self
            .send(now, path, request, Purpose::Invite(invite.id))
            .ok_or(InviteFailure::TooMany)?;
        self.counters.invites_sent += 1;
        self.invites.insert(
            invite.id,
            View {
                device: slot,
                path,
                offer,
                call_id,
                state: State::Calling { transaction },
                order_cseq: 0,
                file_ended: false,
                deadline: Some(now + self.config.invite_timeout),
            },
        );
        Ok(())
    }

    /// INFO with an order to play. Errors: nothing was sent.
    pub(super) fn order_view(
        &mut self,
        now: Instant,
        ask: AskId,
        id: InviteId,
        order: Order,
    ) -> Result<(), AskFailure> {
        let gone = AskFailure::NoDialog { sent: order.name() };
        let Some(view) = self.invites.views.get_mut(&id) else {
            return Err(gone);
        };
        let device = self.registrar.get(view.device);
        let path = device.path.unwrap_or(view.path);
        let edition = device.gb_version.as_deref().and_then(Edition::from_version);
        let State::Running { dialog } = &mut view.state else {
            return Err(gone);
        };
        view.order_cseq += 1;
        let request = dialog.request(Method::Info).body(
            mansrtsp::CONTENT_TYPE,
            order.write(view.order_cseq, edition),
        );
        let slot = view.device;
        self.send_order(now, ask, slot, path, request, order.name())
    }

    /// The view inside of whose dialog a device speaks.
    pub(super) fn view_of(&self, message: &Message) -> Option<InviteId> {
        self.invites.by_call_id.get(message.call_id()).copied()
    }

    /// BYE or CANCEL, as far as the view has come. A view that is not there has ended.
    pub(super) fn end_invite(&mut self, now: Instant, id: InviteId) {
        let Some(view) = self.invites.views.get(&id) else {
            return self.event(Event::InviteEnded {
                id,
                by: EndedBy::Us,
            });
        };
        match view.state {
            State::Calling { .. } => {
                self.counters.invites_cancelled += 1;
                self.cancel(now, id, InviteFailure::Cancelled);
            }
            State::Cancelling | State::Ending { .. } => {}
            State::Running { .. } => {
                self.tear_down(now, id);
                self.bye(now, id);
            }
        }
    }

    /// The record of a view has come to its end at the device.
    pub(super) fn file_of_view_ended(&mut self, id: InviteId) {
        if let Some(view) = self.invites.views.get_mut(&id) {
            view.file_ended = true;
        }
    }

    /// INFO with TEARDOWN, to a playback that still runs and a device that may be told so.
    fn tear_down(&mut self, now: Instant, id: InviteId) {
        let Some(view) = self.invites.views.get_mut(&id) else {
            return;
        };
        let device = self.registrar.get(view.device);
        let plays = matches!(view.offer.footage, Footage::Playback(_)) && !view.file_ended;
        let State::Running { dialog } = &mut view.state else {
            return;
        };
        if !plays || !device.quirks.tears_down() {
            return;
        }
        let edition = device.gb_version.as_deref().and_then(Edition::from_version);
        view.order_cseq += 1;
        let body = Order::Teardown.write(view.order_cseq, edition);
        let request = dialog
            .request(Method::Info)
            .body(mansrtsp::CONTENT_TYPE, body);
        let (slot, path) = (view.device, device.path.unwrap_or(view.path));
        if self
            .send_to(now, Some(slot), path, request, Purpose::Teardown)
            .is_some()
        {
            self.counters.teardowns_sent += 1;
        }
    }

    /// Gives up an INVITE that is not answered.
    fn cancel(&mut self, now: Instant, id: InviteId, failure: InviteFailure) {
        let Some(view) = self.invites.views.get_mut(&id) else {
            return;
        };
        if let State::Calling { transaction } = view.state {
            // An INVITE that has its final answer is no longer to be cancelled; its answer is dealt with when it comes.
            _ = self.endpoint.cancel(now, transaction);
        }
        view.state = State::Cancelling;
        let deadline = now + Duration::from_secs(INVITE_END_S);
        self.invites.set_deadline(id, Some(deadline));
        self.event(Event::InviteFailed { id, failure });
    }

    fn bye(&mut self, now: Instant, id: InviteId) {
        let Some(view) = self.invites.views.get_mut(&id) else {
            return;
        };
        let slot = view.device;
        let path = self.registrar.get(slot).path.unwrap_or(view.path);
        let request = match &mut view.state {
            State::Running { dialog } => dialog.request(Method::Bye),
            State::Calling { .. } | State::Cancelling | State::Ending { .. } => return,
        };
        let sent = self.send_to(now, Some(slot), path, request, Purpose::Bye(id));
        if sent.is_none() {
            return self.invite_over(id, EndedBy::Lost);
        }
        let deadline = now + Duration::from_secs(INVITE_END_S);
        self.invites.set_deadline(id, Some(deadline));
        self.invites.change(id, |state| match state {
            State::Running { dialog } => State::Ending { dialog },
            State::Calling { .. } | State::Cancelling | State::Ending { .. } => state,
        });
    }

    pub(super) fn invite_response(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        id: InviteId,
        path: Path,
        status: u16,
        message: &Message,
    ) {
        let Some(view) = self.invites.views.get(&id) else {
            return self.unclaimed_response(now, transaction, path, status, message);
        };
        let device = view.device;
        let calling = matches!(view.state, State::Calling { .. });
        self.heard_unsigned(now, device, path);
        match (status, calling) {
            (..200, true) => self.event(Event::InviteProgress { id, status }),
            (..200, false) => {}
            (200..300, true) => self.answered(now, transaction, id, message),
            (200..300, false) => {
                self.unclaimed_response(now, transaction, path, status, message);
                self.invite_over(id, EndedBy::Us);
            }
            (300.., true) => {
                self.counters.invites_rejected += 1;
                let reason = String::from_utf8_lossy(message.reason()).into_owned();
                let failure = InviteFailure::Rejected { status, reason };
                self.event(Event::InviteFailed { id, failure });
                self.invite_over(id, EndedBy::Device);
            }
            (300.., false) => self.invite_over(id, EndedBy::Us),
        }
    }

    /// A 2xx to an INVITE that is still wanted.
    fn answered(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        id: InviteId,
        message: &Message,
    ) {
        let Some(view) = self.invites.views.get_mut(&id) else {
            return;
        };
        let path = view.path;
        let quirks = self.registrar.get(view.device).quirks;
        let Ok(mut dialog) = Dialog::from_answer(message) else {
            self.counters.invites_bad_answer += 1;
            let what = "200 OK that makes no dialog";
            return self.bad_answer(id, what);
        };
        // Acknowledged whatever it says: without ACK the device repeats it for 32 s.
        _ = self.endpoint.send_ack(now, path, transaction, dialog.ack());
        let checked = view
            .offer
            .check(message.body(), quirks, path.peer.ip(), &mut self.counters);
        match checked {
            Ok(answer) => {
                let device = self.registrar.get(view.device).id;
                let call_id = dialog.id().call_id.clone();
                let kept = Persist::DialogBegun {
                    device,
                    call_id: call_id.clone(),
                    dialog: dialog.to_text(),
                };
                view.state = State::Running {
                    dialog: Box::new(dialog),
                };
                self.invites.set_deadline(id, None);
                self.counters.invites_answered += 1;
                self.kept_dialogs.insert(id, call_id);
                self.event(Event::Persist(kept));
                self.event(Event::InviteAnswered { id, answer });
            }
            Err(what) => {
                self.counters.invites_bad_answer += 1;
                self.counters.malformed_sdp += 1;
                self.send(now, path, dialog.request(Method::Bye), Purpose::StrayBye);
                self.bad_answer(id, what);
            }
        }
    }

    fn bad_answer(&mut self, id: InviteId, what: &'static str) {
        let failure = InviteFailure::BadAnswer { what };
        self.event(Event::InviteFailed { id, failure });
        self.invite_over(id, EndedBy::Us);
    }

    /// A final answer that nobody waits for: a dialog it makes is acknowledged and ended.
    pub(super) fn unclaimed_response(
        &mut self,
        now: Instant,
        transaction: TransactionId,
        path: Path,
        status: u16,
        message: &Message,
    ) {
        let is_invite = message
            .cseq()
            .is_some_and(|cseq| cseq.method == Method::Invite.as_str().as_bytes());
        if !is_invite || !(200..300).contains(&status) {
            return;
        }
        if let Ok(mut dialog) = Dialog::from_answer(message) {
            self.counters.answers_unclaimed += 1;
            _ = self.endpoint.send_ack(now, path, transaction, dialog.ack());
            self.send(now, path, dialog.request(Method::Bye), Purpose::StrayBye);
        }
    }

    /// Timer B: nothing final came at all.
    pub(super) fn invite_timed_out(&mut self, id: InviteId) {
        let Some(view) = self.invites.views.get(&id) else {
            return;
        };
        if matches!(view.state, State::Calling { .. }) {
            self.counters.invites_no_answer += 1;
            let failure = InviteFailure::NoAnswer;
            self.event(Event::InviteFailed { id, failure });
        }
        self.invite_over(id, EndedBy::Lost);
    }

    pub(super) fn bye_answered(&mut self, now: Instant, id: InviteId, path: Path) {
        if let Some(view) = self.invites.views.get(&id) {
            self.heard_unsigned(now, view.device, path);
            self.invite_over(id, EndedBy::Us);
        }
    }

    pub(super) fn bye_timed_out(&mut self, id: InviteId) {
        if self.invites.views.contains_key(&id) {
            self.counters.byes_unanswered += 1;
            self.invite_over(id, EndedBy::Lost);
        }
    }

    pub(super) fn expire_invites(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.invites.deadlines.first() {
            if at > now {
                return;
            }
            self.invites.set_deadline(id, None);
            let Some(view) = self.invites.views.get(&id) else {
                continue;
            };
            match view.state {
                State::Calling { .. } => {
                    self.counters.invites_no_answer += 1;
                    self.cancel(now, id, InviteFailure::NoAnswer);
                }
                State::Cancelling => self.invite_over(id, EndedBy::Lost),
                State::Ending { .. } => self.bye_timed_out(id),
                State::Running { .. } => {}
            }
        }
    }

    /// The device is offline: its views are over. It is told, in case that it hears us.
    pub(super) fn lose_invites(&mut self, now: Instant, slot: Slot, why: OfflineReason) {
        let by = match why {
            OfflineReason::Revoked => EndedBy::Revoked,
            OfflineReason::Unregistered
            | OfflineReason::Kicked
            | OfflineReason::RegistrationExpired
            | OfflineReason::KeepaliveMissed => EndedBy::Lost,
        };
        let ids = self.invites.by_device.get(&slot).cloned();
        for id in ids.unwrap_or_default() {
            let Some(view) = self.invites.views.get(&id) else {
                continue;
            };
            match view.state {
                State::Calling { .. } => {
                    self.counters.invites_no_answer += 1;
                    self.cancel(now, id, InviteFailure::DeviceOffline);
                }
                State::Running { .. } => self.bye(now, id),
                State::Cancelling | State::Ending { .. } => {}
            }
            self.invite_over(id, by);
        }
    }

    /// A dialog that a run before this one left behind: the device still sends, to nobody. One that cannot be reached, as its
    /// connection ended with that run, is told when it is there again.
    pub(super) fn end_left_over(&mut self, now: Instant, device: DeviceId, dialog: &str) {
        let Some(dialog) = Dialog::from_text(dialog) else {
            return;
        };
        let known = self.registrar.find(device);
        let path = known.and_then(|slot| self.registrar.get(slot).path);
        match (known, path) {
            (Some(slot), Some(path)) => self.hang_up(now, slot, path, dialog),
            (Some(slot), None) if self.invites.left_over_count < INVITES_MAX => {
                self.invites.left_over_count += 1;
                let waiting = self.invites.left_over.entry(slot).or_default();
                waiting.push(dialog);
            }
            (Some(_), None) | (None, _) => self.dialog_is_over(&dialog),
        }
    }

    /// A device is there again: what an earlier run left behind at it ends now.
    pub(super) fn hang_up_left_over(&mut self, now: Instant, slot: Slot, path: Path) {
        let waiting = self.invites.left_over.remove(&slot).unwrap_or_default();
        self.invites.left_over_count -= waiting.len();
        for dialog in waiting {
            self.hang_up(now, slot, path, dialog);
        }
    }

    fn hang_up(&mut self, now: Instant, slot: Slot, path: Path, mut dialog: Dialog) {
        let request = dialog.request(Method::Bye);
        self.send_to(now, Some(slot), path, request, Purpose::StrayBye);
        self.dialog_is_over(&dialog);
    }

    fn dialog_is_over(&mut self, dialog: &Dialog) {
        let call_id = dialog.id().call_id.clone();
        self.event(Event::Persist(Persist::DialogOver { call_id }));
    }

    /// The last event of a view. Answers to what is still under way find no view and are dealt with as unclaimed.
    fn invite_over(&mut self, id: InviteId, by: EndedBy) {
        if let Some(call_id) = self.kept_dialogs.remove(&id) {
            self.event(Event::Persist(Persist::DialogOver { call_id }));
        }
        if self.invites.remove(id).is_some() {
            self.event(Event::InviteEnded { id, by });
        }
    }

    pub(super) fn on_bye(&mut self, now: Instant, incoming: &Incoming) {
        let Some(id) = self.dialog_of(&incoming.message) else {
            self.counters.no_dialog += 1;
            return self.respond(now, incoming, Response::new(481));
        };
        if !self.is_proven(now, id, incoming) {
            return;
        }
        self.respond(now, incoming, Response::new(200));
        self.counters.byes_from_device += 1;
        if let Some(view) = self.invites.views.get(&id) {
            let by = match view.state {
                // It crossed our own.
                State::Ending { .. } => EndedBy::Us,
                State::Calling { .. } | State::Cancelling | State::Running { .. } => {
                    EndedBy::Device
                }
            };
            self.heard_from(now, view.device, incoming.path);
            self.invite_over(id, by);
        }
    }

    pub(super) fn on_info(&mut self, now: Instant, incoming: &Incoming) {
        let Some(id) = self.dialog_of(&incoming.message) else {
            self.counters.no_dialog += 1;
            return self.respond(now, incoming, Response::new(481));
        };
        if self.is_proven(now, id, incoming) {
            self.respond(now, incoming, Response::new(200));
        }
    }

    /// Whether what came in the dialog of a view may be believed; if not, it is answered.
    fn is_proven(&mut self, now: Instant, id: InviteId, incoming: &Incoming) -> bool {
        let Some(slot) = self.invites.views.get(&id).map(|view| view.device) else {
            return true;
        };
        match self.check_note(now, slot, &incoming.message) {
            Ok(()) => true,
            Err(why) => {
                let device = self.registrar.get(slot).id;
                self.not_proven(now, device, incoming, why);
                false
            }
        }
    }

    /// The view whose dialog a request belongs to: by Call-ID, then by both tags.
    fn dialog_of(&self, message: &Message) -> Option<InviteId> {
        let id = *self.invites.by_call_id.get(message.call_id())?;
        match &self.invites.views.get(&id)?.state {
            State::Running { dialog } | State::Ending { dialog } => {
                dialog.matches(message).then_some(id)
            }
            State::Calling { .. } | State::Cancelling => None,
        }
    }
}
