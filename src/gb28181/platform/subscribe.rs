//! SUBSCRIBE to devices and NOTIFY from them (GB/T 28181-2016, 9.11; 2022, 9.11; RFC 6665).
//!
//! A NOTIFY is taken whether or not its dialog is known: devices send them unasked, and go on after our restart. One
//! whose dialog is not ours, while a newer subscription for the same is active, gets 481, which ends the old one at the
//! device (RFC 6665, 4.1.3).

use std::time::{Duration, Instant};

use super::message::MANSCDP;
use super::{Platform, Purpose, uri_at};
use crate::gb28181::manscdp::fields::Leaf;
use crate::gb28181::manscdp::tree::tree;
use crate::gb28181::manscdp::{self, CmdType, Root, encode};
use crate::gb28181::notice::Notice;
use crate::gb28181::registrar::Slot;
use crate::gb28181::subscribe::{Subject, SubscriptionState, Topic, Wanted};
use crate::gb28181::types::Event;
use crate::id::DeviceId;
use crate::sip::{Dialog, HeaderName, Incoming, Message, Method, Request, Response};

impl Platform {
    /// Wants what the config wants of every device that comes online.
    pub(super) fn subscribe_all(&mut self, now: Instant, slot: Slot) {
        let standing: Vec<Wanted> = self.config.subscriptions.clone();
        for wanted in standing {
            self.want(now, slot, wanted);
        }
        // What a command wanted for this device outlives its absence.
        for subject in self.subscriptions.of(slot) {
            let idle = self
                .subscriptions
                .get(slot, subject)
                .filter(|s| s.dialog.is_none())
                .map(|s| s.wanted);
            if let Some(wanted) = idle {
                self.want(now, slot, wanted);
            }
        }
    }

    fn want(&mut self, now: Instant, slot: Slot, wanted: Wanted) {
        let sn = self.next_sn();
        if !self.subscriptions.want(now, slot, wanted, sn) {
            self.counters.subscriptions_refused += 1;
        }
    }

    pub(super) fn subscribe(&mut self, now: Instant, device: DeviceId, wanted: Wanted) {
        match self.registrar.find(device) {
            Some(slot) => self.want(now, slot, wanted),
            None => self.counters.subscriptions_refused += 1,
        }
    }

    /// Ends a subscription; the device is told if it holds one.
    pub(super) fn unsubscribe(&mut self, now: Instant, device: DeviceId, subject: Subject) {
        let Some(slot) = self.registrar.find(device) else {
            return;
        };
        let Some(mut gone) = self.subscriptions.remove(slot, subject) else {
            return;
        };
        let path = self.registrar.get(slot).path;
        if let (Some(dialog), Some(path)) = (&mut gone.dialog, path) {
            let request = dialog.request(Method::Subscribe);
            let request = self.fill(slot, request, &gone.wanted, gone.event_id, gone.sn, 0);
            self.send(now, path, request, Purpose::Unsubscribe);
        }
    }

    /// Asks for what is due, first times and refreshes.
    pub(super) fn pump_subscriptions(&mut self, now: Instant) {
        while let Some((slot, subject)) = self.subscriptions.poll_due(now) {
            self.send_subscribe(now, slot, subject);
        }
    }

    fn send_subscribe(&mut self, now: Instant, slot: Slot, subject: Subject) {
        let device = self.registrar.get(slot);
        let Some(path) = device.path.filter(|_| device.is_online()) else {
            return;
        };
        let id = subject.channel.unwrap_or(device.id.0);
        let sn = self.next_sn();
        let call_id = self.endpoint.new_call_id();
        let (local, contact) = (self.own_address(), uri_at(self.config.id, path.local));
        let Some(subscription) = self.subscriptions.get_mut(slot, subject) else {
            return;
        };
        subscription.sn = sn;
        subscription.state = match subscription.state {
            SubscriptionState::Active => SubscriptionState::Active,
            SubscriptionState::Asking
            | SubscriptionState::Waiting
            | SubscriptionState::Refused { .. } => SubscriptionState::Asking,
        };
        let (wanted, event_id) = (subscription.wanted, subscription.event_id);
        let request = match &mut subscription.dialog {
            Some(dialog) => dialog.request(Method::Subscribe),
            None => {
                subscription.call_id = call_id;
                let uri = uri_at(id, path.peer);
                Request::new(Method::Subscribe, uri.as_str())
                    .from(local)
                    .to(format!("<{uri}>"))
                    .call_id(subscription.call_id.as_str())
            }
        };
        let request = request.contact(format!("<{contact}>"));
        let expires = wanted.expires.as_secs();
        let request = self.fill(slot, request, &wanted, event_id, sn, expires);
        let purpose = Purpose::Subscribe(slot, subject);
        if self.send(now, path, request, purpose).is_some() {
            self.counters.subscribes_sent += 1;
        } else {
            self.subscriptions.again(now, slot, subject, false);
        }
    }

    /// Event, Expires and the body.
    fn fill(
        &self,
        slot: Slot,
        request: Request,
        wanted: &Wanted,
        event_id: u32,
        sn: u32,
        expires_s: u64,
    ) -> Request {
        let device = self.registrar.get(slot);
        let topic = wanted.topic;
        let charset = device.quirks.charset();
        let about = wanted.channel.unwrap_or(device.id.0);
        let body = encode::document(Root::Query, topic.cmd(), sn, about, charset, |out| {
            if topic == Topic::MobilePosition {
                let seconds = wanted.interval.as_secs().clamp(1, u64::from(u32::MAX));
                (seconds as u32).write("Interval", out);
            }
        });
        request
            .header(
                HeaderName::Event,
                format!("{};id={event_id}", topic.event()),
            )
            .header(HeaderName::Expires, expires_s.to_string())
            .body(MANSCDP, body)
    }

    pub(super) fn subscribe_answered(
        &mut self,
        now: Instant,
        slot: Slot,
        subject: Subject,
        status: u16,
        message: &Message,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(slot, subject) else {
            return;
        };
        let refresh = subscription.dialog.is_some();
        match status {
            ..200 => {}
            200..300 => {
                if !refresh {
                    // Without a dialog it cannot be refreshed; a new one is made in its time.
                    subscription.dialog = Dialog::from_answer(message).ok().map(Box::new);
                }
                let wanted = subscription.wanted.expires;
                let life = message
                    .expires()
                    .map_or(wanted, |s| Duration::from_secs(u64::from(s)))
                    .clamp(Duration::from_secs(1), wanted);
                self.subscriptions.granted(now, slot, subject, life);
                if !refresh {
                    self.counters.subscriptions_made += 1;
                }
                self.subscription_changed(slot, subject);
            }
            // The device has forgotten it (481), or wants no part of this dialog any more.
            300.. if refresh => self.subscriptions.again(now, slot, subject, true),
            408 | 480 | 500..600 => self.subscribe_unanswered(now, slot, subject),
            300.. => {
                self.counters.subscriptions_refused += 1;
                self.subscriptions.refused(slot, subject, status);
                self.subscription_changed(slot, subject);
            }
        }
    }

    pub(super) fn subscribe_unanswered(&mut self, now: Instant, slot: Slot, subject: Subject) {
        self.counters.subscribes_unanswered += 1;
        self.subscriptions.again(now, slot, subject, false);
        self.subscription_changed(slot, subject);
    }

    fn subscription_changed(&mut self, slot: Slot, subject: Subject) {
        if let Some(state) = self.subscriptions.get(slot, subject).map(|s| s.state) {
            let device = self.registrar.get(slot).id;
            self.event(Event::Subscription {
                device,
                subject,
                state,
            });
        }
    }

    pub(super) fn on_notify(&mut self, now: Instant, incoming: &Incoming) {
        let Some(slot) = self.admit_request(now, incoming) else {
            return;
        };
        let message = &incoming.message;
        let head = manscdp::parse(message.body());
        let topic = head.as_ref().ok().and_then(|head| Topic::of(head.cmd));
        let known = self.subject_of(slot, message);
        let topic = topic.or(known.map(|known| known.topic));
        let stale =
            known.is_none() && topic.is_some_and(|topic| self.is_stale(slot, topic, message));
        if stale {
            self.counters.no_dialog += 1;
            return self.respond(now, incoming, Response::new(481));
        }
        self.counters.notifies += 1;
        self.respond(now, incoming, Response::new(200));
        if let Some(subject) = known {
            self.subscription_told(now, slot, subject, message);
        }
        // Without a body it only tells the state; another body is not of this standard.
        let Ok(head) = head else { return };
        self.count_flaws(head.flaws);
        let Some(body) = tree(message.body()).ok() else {
            return;
        };
        match Notice::read(head.cmd, &body) {
            Ok(Some(notice)) => self.notified(slot, head.device, notice),
            Ok(None) if head.cmd == CmdType::Unknown => self.counters.unknown_cmd_type += 1,
            Ok(None) => self.counters.unhandled_cmd_type += 1,
            Err(_) => self.counters.malformed_notices += 1,
        }
    }

    /// Which of our subscriptions a NOTIFY belongs to, by its dialog.
    fn subject_of(&self, slot: Slot, message: &Message) -> Option<Subject> {
        self.subscriptions.of(slot).into_iter().find(|subject| {
            self.subscriptions
                .get(slot, *subject)
                .and_then(|s| s.dialog.as_ref())
                .is_some_and(|dialog| dialog.id().call_id == message.call_id())
        })
    }

    /// Of a subscription that a newer one has taken the place of: it is in none of our dialogs, and every subscription of
    /// its topic has one.
    fn is_stale(&self, slot: Slot, topic: Topic, message: &Message) -> bool {
        let of_a_dialog = message.to_tag().is_some_and(|tag| !tag.is_empty());
        let mut held = false;
        for subject in self.subscriptions.of(slot) {
            if subject.topic == topic {
                let subscription = self.subscriptions.get(slot, subject);
                if subscription.is_none_or(|s| s.dialog.is_none()) {
                    return false;
                }
                held = true;
            }
        }
        held && of_a_dialog
    }

    /// What a NOTIFY says of its subscription.
    fn subscription_told(&mut self, now: Instant, slot: Slot, subject: Subject, message: &Message) {
        let state = message.header_str(HeaderName::SubscriptionState);
        if state.is_some_and(|state| state.trim_start().starts_with("terminated")) {
            // Whoever ends it at once again and again is asked at the pace of retries.
            self.subscriptions.again(now, slot, subject, false);
            self.subscription_changed(slot, subject);
        }
    }
}
