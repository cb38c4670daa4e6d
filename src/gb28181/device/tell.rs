//! What a simulated device tells: by NOTIFY to who subscribed, else by MESSAGE (GB/T 28181-2016, 9.4 and 9.11).
//!
//! Bounds: [`SIM_SUBSCRIPTIONS_MAX`], at which a SUBSCRIBE gets 503; [`SIM_ALARMS_KEPT_MAX`].

use std::time::{Duration, Instant};

use super::{Device, Edition, Purpose};
use crate::gb28181::manscdp::{self, Root, encode, tree::tree};
use crate::gb28181::notice::{Alarm, CatalogChange, ChannelEvent, Notice, Position};
use crate::gb28181::question::AlarmFilter;
use crate::gb28181::subscribe::Topic;
use crate::gb28181::types::CatalogItem;
use crate::id::GbId;
use crate::limits::{SIM_ALARMS_KEPT_MAX, SIM_POSITIONS_MAX, SIM_SUBSCRIPTIONS_MAX};
use crate::sip::{Dialog, HeaderName, Incoming, Method, Response};

/// What a platform subscribed to.
pub(super) struct Subscribed {
    topic: Topic,
    /// The code in the body: its own, or that of a channel.
    about: Option<GbId>,
    dialog: Box<Dialog>,
    /// The Event header, sent back as it came.
    event: String,
    ends: Instant,
    /// Of positions.
    interval: Duration,
    next: Option<Instant>,
}

impl Device {
    pub(super) fn subscribed(&mut self, now: Instant, incoming: &Incoming) {
        let message = &incoming.message;
        let life = Duration::from_secs(u64::from(message.expires().unwrap_or(3600)));
        let known = self
            .subscriptions
            .iter()
            .position(|s| s.dialog.matches(message));
        if message.to_tag().is_some_and(|tag| !tag.is_empty()) && known.is_none() {
            _ = self.endpoint.respond(now, incoming, Response::new(481));
            return;
        }
        let head = manscdp::parse(message.body());
        let about = head.as_ref().ok().and_then(|head| head.device);
        let Some(topic) = head.as_ref().ok().and_then(|head| Topic::of(head.cmd)) else {
            _ = self.endpoint.respond(now, incoming, Response::new(489));
            return;
        };
        if known.is_none() && self.subscriptions.len() >= SIM_SUBSCRIPTIONS_MAX {
            _ = self.endpoint.respond(now, incoming, Response::new(503));
            return;
        }
        let tag = self.endpoint.local_tag(incoming);
        let contact = format!("<sip:{}@{}>", self.config.id, self.config.path.local);
        let response = Response::new(200)
            .contact(contact)
            .header(HeaderName::Expires, life.as_secs().to_string());
        if self.endpoint.respond(now, incoming, response).is_err() {
            return;
        }
        let interval = tree(message.body())
            .ok()
            .and_then(|body| body.value("Interval")?.parse::<u64>().ok())
            .unwrap_or(5)
            .max(1);
        let interval = Duration::from_secs(interval);
        let periodic = topic == Topic::MobilePosition;
        let next = periodic.then_some(now + interval);
        match known {
            Some(at) => {
                let subscription = &mut self.subscriptions[at];
                subscription.ends = now + life;
                subscription.interval = interval;
                subscription.next = next;
            }
            None => {
                let Ok(dialog) = Dialog::from_request(message, &tag) else {
                    return;
                };
                let event = message.header_str(HeaderName::Event).unwrap_or("presence");
                self.subscriptions.push(Subscribed {
                    topic,
                    about,
                    dialog: Box::new(dialog),
                    event: event.to_owned(),
                    ends: now + life,
                    interval,
                    next,
                });
            }
        }
        self.drop_ended(now);
    }

    /// Ends what has run out, telling so.
    pub(super) fn drop_ended(&mut self, now: Instant) {
        while let Some(at) = self.subscriptions.iter().position(|s| s.ends <= now) {
            let mut ended = self.subscriptions.swap_remove(at);
            let request = ended
                .dialog
                .request(Method::Notify)
                .header(HeaderName::Event, ended.event.as_str())
                .header(HeaderName::SubscriptionState, "terminated;reason=timeout");
            self.send(now, request, Purpose::Notify);
        }
    }

    /// Sends positions whose time has come.
    pub(super) fn tell_positions(&mut self, now: Instant) {
        let Some(position) = self.position(now) else {
            for subscription in &mut self.subscriptions {
                subscription.next = None;
            }
            return;
        };
        let own = self.config.id.0;
        let mut due = Vec::new();
        for subscription in &mut self.subscriptions {
            if subscription.next.is_some_and(|at| at <= now) {
                subscription.next = Some(now + subscription.interval);
                let about = subscription.about.unwrap_or(own);
                if !due.contains(&about) {
                    due.push(about);
                }
            }
        }
        // A channel moves with its device.
        for about in due {
            let positions = if about == own {
                self.positions(position.clone())
            } else {
                vec![position.clone()]
            };
            let notice = Notice::Positions(positions);
            self.notify(now, Topic::MobilePosition, about, &notice);
        }
    }

    /// The device's own position, and as a list of 2022 those of its cameras if it has several: each a little north of the
    /// one before.
    fn positions(&self, own: Position) -> Vec<Position> {
        let channels = &self.config.channels;
        if self.config.abilities.edition < Edition::Y2022 || channels.len() < 2 {
            return vec![own];
        }
        let mut all = vec![Position {
            device_id: Some(self.config.id.to_string()),
            ..own.clone()
        }];
        let is_camera = |id: &str| matches!(id.get(10..13), Some("131" | "132"));
        let cameras = channels.iter().filter(|channel| is_camera(&channel.id));
        for channel in cameras.take(SIM_POSITIONS_MAX - 1) {
            all.push(Position {
                device_id: Some(channel.id.clone()),
                latitude: own.latitude + 0.001 * all.len() as f64,
                ..own.clone()
            });
        }
        all
    }

    pub(super) fn next_telling(&self) -> Option<Instant> {
        let subscriptions = self.subscriptions.iter();
        let subscribed = subscriptions.flat_map(|s| s.next.into_iter().chain([s.ends]));
        subscribed.chain(self.jobs.iter().map(|job| job.at)).min()
    }

    /// Where the device is: it drives east at 36 km/h from where it started.
    pub(super) fn position(&self, now: Instant) -> Option<Position> {
        let (longitude, latitude) = self.config.abilities.start?;
        let began = self.began?;
        let metres = 10.0 * now.saturating_duration_since(began).as_secs_f64();
        let east = metres / (111_320.0 * f64::to_radians(latitude).cos().max(0.01));
        Some(Position {
            time: Some("2026-06-14T12:00:00".into()),
            longitude: longitude + east,
            latitude,
            speed: Some(36.0),
            direction: Some(90.0),
            ..Position::default()
        })
    }

    /// Raises an alarm. False: an alarm of the device itself (method 2) is not reset yet (A.2.5 b), or there is no guard
    /// for it.
    pub fn raise_alarm(&mut self, now: Instant, about: GbId, alarm: Alarm) -> bool {
        if alarm.method == 2 {
            if self.recorder.alarm {
                return false;
            }
            self.recorder.alarm = true;
        }
        if self.raised.len() >= SIM_ALARMS_KEPT_MAX {
            self.raised.pop_front();
        }
        self.raised.push_back((about, alarm.clone()));
        let notice = Notice::Alarm(Box::new(alarm));
        if !self.notify(now, Topic::Alarm, about, &notice) {
            self.tell(now, about, &notice);
        }
        self.pump(now);
        true
    }

    /// Tells the alarms that it raised before and that are asked for, each as when it was raised.
    pub(super) fn tell_alarms(&mut self, now: Instant, about: GbId, filter: &AlarmFilter) {
        let own = self.config.id.0;
        let raised = self.raised.iter();
        let asked =
            raised.filter(|(of, alarm)| (about == own || about == *of) && fits(alarm, filter));
        for (of, alarm) in asked.cloned().collect::<Vec<_>>() {
            self.tell(now, of, &Notice::Alarm(Box::new(alarm)));
        }
    }

    /// Tells who subscribed to the directory what happened to a channel. False: nobody did.
    pub fn channel_changed(
        &mut self,
        now: Instant,
        event: ChannelEvent,
        item: CatalogItem,
    ) -> bool {
        self.directory_changed(now, vec![CatalogChange { event, item }])
    }

    /// Changes its directory, and tells who subscribed to it in one message. False: nobody did.
    pub fn directory_changed(&mut self, now: Instant, changes: Vec<CatalogChange>) -> bool {
        let mut items = self.config.channels.to_vec();
        for change in &changes {
            apply(&mut items, change);
        }
        self.config.channels = items.into();
        let notice = Notice::Catalog(changes);
        let about = self.config.id.0;
        let told = self.notify(now, Topic::Catalog, about, &notice);
        self.pump(now);
        told
    }

    /// Tells something by MESSAGE.
    pub fn tell(&mut self, now: Instant, about: GbId, notice: &Notice) {
        let body = self.notice_body(about, notice);
        self.send_message(now, body, Purpose::Notify);
        self.pump(now);
    }

    /// A head has been ordered to move: who subscribed learns where it looks.
    pub(super) fn looks_elsewhere(&mut self, now: Instant) {
        let ids: Vec<GbId> = self.cameras.keys().copied().collect();
        for id in ids {
            let position = self.camera(now, id).look(now).into();
            self.notify(now, Topic::PtzPosition, id, &Notice::PtzPosition(position));
        }
    }

    fn notice_body(&mut self, about: GbId, notice: &Notice) -> Vec<u8> {
        self.sn += 1;
        let charset = self.config.charset;
        encode::document(Root::Notify, notice.cmd(), self.sn, about, charset, |out| {
            notice.write(out);
        })
    }

    /// Sends a NOTIFY to every subscription of a topic that is for this channel, or for the device itself. False: there is
    /// none.
    fn notify(&mut self, now: Instant, topic: Topic, about: GbId, notice: &Notice) -> bool {
        let body = self.notice_body(about, notice);
        let mut requests = Vec::new();
        let own = self.config.id.0;
        let wants = |s: &&mut Subscribed| {
            s.topic == topic
                && s.about
                    .is_none_or(|wanted| wanted == own || wanted == about)
        };
        for subscription in self.subscriptions.iter_mut().filter(wants) {
            let left = subscription.ends.saturating_duration_since(now).as_secs();
            requests.push(
                subscription
                    .dialog
                    .request(Method::Notify)
                    .header(HeaderName::Event, subscription.event.as_str())
                    .header(
                        HeaderName::SubscriptionState,
                        format!("active;expires={left}"),
                    )
                    .body("Application/MANSCDP+xml", body.clone()),
            );
        }
        let told = !requests.is_empty();
        for request in requests {
            self.send(now, request, Purpose::Notify);
        }
        told
    }

    /// A NOTIFY was answered 481: the platform wants no part of that subscription.
    pub(super) fn notify_refused(&mut self, call_id: &str) {
        self.subscriptions
            .retain(|s| s.dialog.id().call_id != call_id);
    }
}

/// What a change makes of a directory.
fn apply(items: &mut Vec<CatalogItem>, change: &CatalogChange) {
    let CatalogChange { event, item } = change;
    let place = items.iter().position(|known| known.id == item.id);
    match (event, place) {
        (ChannelEvent::Add | ChannelEvent::Update, Some(place)) => items[place] = item.clone(),
        (ChannelEvent::Add | ChannelEvent::Update, None) => items.push(item.clone()),
        (ChannelEvent::Delete, Some(place)) => _ = items.remove(place),
        (
            ChannelEvent::On | ChannelEvent::Off | ChannelEvent::VideoLost | ChannelEvent::Defect,
            Some(place),
        ) => items[place].online = *event == ChannelEvent::On,
        (
            ChannelEvent::On
            | ChannelEvent::Off
            | ChannelEvent::VideoLost
            | ChannelEvent::Defect
            | ChannelEvent::Delete,
            None,
        ) => {}
    }
}

/// Whether an alarm is one of those that are asked for. Times have one form, so that they compare as texts.
fn fits(alarm: &Alarm, filter: &AlarmFilter) -> bool {
    let one_of = |list: &Option<String>, value: Option<u32>| match list.as_deref() {
        None | Some("" | "0") => true,
        Some(list) => list.split('/').any(|one| one.parse().ok() == value),
    };
    let first = filter.start_alarm_priority.unwrap_or(0);
    let last = filter.end_alarm_priority.filter(|last| *last > 0);
    let since = filter.start_alarm_time.as_deref().unwrap_or_default();
    let until = filter.end_alarm_time.as_deref().filter(|t| !t.is_empty());
    alarm.priority >= first
        && last.is_none_or(|last| alarm.priority <= last)
        && one_of(&filter.alarm_method, Some(alarm.method))
        && one_of(&filter.alarm_type, alarm.alarm_type())
        && alarm.time.as_str() >= since
        && until.is_none_or(|until| alarm.time.as_str() <= until)
}
