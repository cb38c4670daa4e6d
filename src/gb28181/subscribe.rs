//! Which devices are subscribed to for what, and until when (GB/T 28181-2016, 9.11; RFC 6665).
//!
//! ```text
//!   want ─► Asking ──2xx──► Active ──ahead of its end──► Asking (refresh, same dialog)
//!             │ │              │ NOTIFY terminated, 481, timeout of a refresh ─► Asking (new dialog)
//!             │ └ timeout, 5xx ─► Waiting ──after a pause──► Asking
//!             └─ 4xx, 6xx ─► Refused (until the device registers anew)
//! ```
//!
//! What is wanted of every device stands in the config of the platform, so that a subscription is made again when a
//! device comes back and after a restart of ours; a command can want more for one device. Sending is the
//! [platform's](super::platform) part.
//!
//! Bounds: [`SUBSCRIPTIONS_MAX`]; one of each kind for a device, and for each of its channels.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::manscdp::CmdType;
use super::registrar::Slot;
use crate::id::GbId;
use crate::limits::{SUBSCRIBE_AHEAD_S, SUBSCRIBE_RETRY_S, SUBSCRIPTIONS_MAX};
use crate::sip::Dialog;

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    Catalog,
    Alarm,
    MobilePosition,
    /// 2022.
    PtzPosition,
}

impl Topic {
    pub const ALL: [Topic; 4] = [
        Topic::Catalog,
        Topic::Alarm,
        Topic::MobilePosition,
        Topic::PtzPosition,
    ];

    pub fn cmd(self) -> CmdType {
        match self {
            Topic::Catalog => CmdType::Catalog,
            Topic::Alarm => CmdType::Alarm,
            Topic::MobilePosition => CmdType::MobilePosition,
            Topic::PtzPosition => CmdType::PtzPosition,
        }
    }

    pub fn of(cmd: CmdType) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.cmd() == cmd)
    }

    /// As the config, the API and the store call it.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Catalog => "catalog",
            Topic::Alarm => "alarm",
            Topic::MobilePosition => "position",
            Topic::PtzPosition => "ptz",
        }
    }

    pub fn from_name(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The event package: Catalog has its own (2016, 9.11.4), the others are events of presence.
    pub fn event(self) -> &'static str {
        match self {
            Topic::Catalog => "Catalog",
            Topic::Alarm | Topic::MobilePosition | Topic::PtzPosition => "presence",
        }
    }
}

/// What a subscription is about: a topic, of the device itself or of one of its channels. A lower platform is asked for a
/// channel by the channel's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    pub topic: Topic,
    /// `None`: the device itself, and with it all that it has.
    pub channel: Option<GbId>,
}

impl From<Topic> for Subject {
    fn from(topic: Topic) -> Subject {
        Subject {
            topic,
            channel: None,
        }
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub topic: Topic,
    /// `None`: of the device itself.
    pub channel: Option<GbId>,
    pub expires: Duration,
    /// Of positions: how often, whole seconds.
    pub interval: Duration,
}

impl Wanted {
    /// An hour; positions every five seconds, which is what 2016 has for who says nothing.
    pub fn new(topic: Topic) -> Wanted {
        Wanted {
            topic,
            channel: None,
            expires: Duration::from_secs(3600),
            interval: Duration::from_secs(5),
        }
    }

    pub fn subject(&self) -> Subject {
        Subject {
            topic: self.topic,
            channel: self.channel,
        }
    }
}

/// How a subscription is, for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Asked for, or about to be.
    Asking,
    Active,
    /// The device did not answer; it is tried again.
    Waiting,
    Refused {
        status: u16,
    },
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub wanted: Wanted,
    pub state: SubscriptionState,
    /// Of the subscription that the device holds.
    pub dialog: Option<Box<Dialog>>,
    /// Call-ID while it is asked for the first time, so that a NOTIFY that overtakes the 200 OK is known.
    pub call_id: String,
    /// `id` of the Event header.
    pub event_id: u32,
    pub sn: u32,
    deadline: Option<Instant>,
}

/// All subscriptions.
#[derive(Debug)]
pub(super) struct Subscriptions {
    /// Between the first requests of two, so that thousands that come online at once are not asked at once.
    interval: Duration,
    next_start: Option<Instant>,
    all: BTreeMap<(Slot, Subject), Subscription>,
    deadlines: BTreeSet<(Instant, Slot, Subject)>,
}

impl Subscriptions {
    pub fn new(per_second: u32) -> Subscriptions {
        Subscriptions {
            interval: Duration::from_secs(1) / per_second.max(1),
            next_start: None,
            all: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn active(&self) -> usize {
        self.all
            .values()
            .filter(|s| s.state == SubscriptionState::Active)
            .count()
    }

    /// Wants to be told of something by a device, as soon as its turn comes. False at the bound.
    pub fn want(&mut self, now: Instant, slot: Slot, wanted: Wanted, sn: u32) -> bool {
        let key = (slot, wanted.subject());
        if !self.all.contains_key(&key) && self.all.len() >= SUBSCRIPTIONS_MAX {
            return false;
        }
        self.drop_deadline(slot, wanted.subject());
        let (dialog, event_id) = match self.all.remove(&key) {
            Some(kept) => (kept.dialog, kept.event_id),
            None => (None, sn),
        };
        self.all.insert(
            key,
            Subscription {
                wanted,
                state: SubscriptionState::Asking,
                dialog,
                call_id: String::new(),
                event_id,
                sn,
                deadline: None,
            },
        );
        let start = self.next_start.map_or(now, |at| at.max(now));
        self.next_start = Some(start + self.interval);
        self.set_deadline(slot, wanted.subject(), Some(start));
        true
    }

    pub fn get_mut(&mut self, slot: Slot, subject: Subject) -> Option<&mut Subscription> {
        self.all.get_mut(&(slot, subject))
    }

    pub fn get(&self, slot: Slot, subject: Subject) -> Option<&Subscription> {
        self.all.get(&(slot, subject))
    }

    pub fn remove(&mut self, slot: Slot, subject: Subject) -> Option<Subscription> {
        self.drop_deadline(slot, subject);
        self.all.remove(&(slot, subject))
    }

    /// What a device is subscribed to for.
    pub fn of(&self, slot: Slot) -> Vec<Subject> {
        let first = Subject {
            topic: Topic::ALL[0],
            channel: None,
        };
        self.all
            .range((slot, first)..)
            .take_while(|((of, _), _)| *of == slot)
            .map(|((_, subject), _)| *subject)
            .collect()
    }

    /// The device granted so much from now on.
    pub fn granted(&mut self, now: Instant, slot: Slot, subject: Subject, life: Duration) {
        let ahead = Duration::from_secs(SUBSCRIBE_AHEAD_S).min(life / 3);
        if let Some(subscription) = self.all.get_mut(&(slot, subject)) {
            subscription.state = SubscriptionState::Active;
        }
        self.set_deadline(slot, subject, Some(now + life - ahead));
    }

    /// Asks again after a pause, or at once, in a new dialog.
    pub fn again(&mut self, now: Instant, slot: Slot, subject: Subject, at_once: bool) {
        if let Some(subscription) = self.all.get_mut(&(slot, subject)) {
            subscription.dialog = None;
            subscription.state = if at_once {
                SubscriptionState::Asking
            } else {
                SubscriptionState::Waiting
            };
        }
        let pause = if at_once { 0 } else { SUBSCRIBE_RETRY_S };
        self.set_deadline(slot, subject, Some(now + Duration::from_secs(pause)));
    }

    pub fn refused(&mut self, slot: Slot, subject: Subject, status: u16) {
        if let Some(subscription) = self.all.get_mut(&(slot, subject)) {
            subscription.dialog = None;
            subscription.state = SubscriptionState::Refused { status };
        }
        self.drop_deadline(slot, subject);
    }

    /// The device is gone: its dialogs are forgotten, what is wanted stays.
    pub fn lost(&mut self, slot: Slot) {
        for subject in self.of(slot) {
            if let Some(subscription) = self.all.get_mut(&(slot, subject)) {
                subscription.dialog = None;
                subscription.state = SubscriptionState::Waiting;
            }
            self.drop_deadline(slot, subject);
        }
    }

    /// The next one to be asked for or refreshed.
    pub fn poll_due(&mut self, now: Instant) -> Option<(Slot, Subject)> {
        let &(at, slot, subject) = self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.drop_deadline(slot, subject);
        Some((slot, subject))
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _, _)| *at)
    }

    fn set_deadline(&mut self, slot: Slot, subject: Subject, at: Option<Instant>) {
        self.drop_deadline(slot, subject);
        if let (Some(subscription), Some(at)) = (self.all.get_mut(&(slot, subject)), at) {
            subscription.deadline = Some(at);
            self.deadlines.insert((at, slot, subject));
        }
    }

    fn drop_deadline(&mut self, slot: Slot, subject: Subject) {
        if let Some(subscription) = self.all.get_mut(&(slot, subject))
            && let Some(at) = subscription.deadline.take()
        {
            self.deadlines.remove(&(at, slot, subject));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gb28181::registrar::Registrar;
    use crate::gb28181::types::DeviceAuth;
    use crate::id::DeviceId;

    #[test]
    fn subscriptions_have_a_bound_and_start_one_after_the_other() {
        let now = Instant::now();
        let mut registrar = Registrar::new(Duration::from_secs(60));
        let mut slot = |n: usize| {
            let id = DeviceId(n.to_string().parse().expect("a code"));
            registrar
                .set_auth(now, id, DeviceAuth::Default)
                .expect("there is room")
        };
        let mut all = Subscriptions::new(100);
        let wanted = Wanted::new(Topic::Alarm);
        for n in 0..SUBSCRIPTIONS_MAX {
            assert!(all.want(now, slot(n), wanted, 1));
        }
        assert!(!all.want(now, slot(SUBSCRIPTIONS_MAX), wanted, 1));
        assert!(
            all.want(now, slot(0), wanted, 2),
            "one that is there may change"
        );
        let due = |all: &mut Subscriptions, at| std::iter::from_fn(|| all.poll_due(at)).count();
        assert_eq!(due(&mut all, now + Duration::from_millis(95)), 9);
        assert_eq!(due(&mut all, now + Duration::from_secs(1)), 91);
        assert_eq!(all.len(), SUBSCRIPTIONS_MAX);
    }
}
