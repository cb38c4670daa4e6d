//! Platform events: devices come and go and say what they have. The platform asks a device for its directory when it
//! registers, and keeps the queries of thousands apart; here it is asked only where that has brought nothing.

use std::time::Instant;

use crate::gb28181::notice::{FILE_ENDED, Position};
use crate::gb28181::subscribe::{Subject, SubscriptionState, Wanted};
use crate::gb28181::{
    CatalogItem, Command, Condition, DeviceAuth, DeviceInfo, EndedBy, Event as Gb, Notice,
    Persist as GbPersist,
};
use crate::id::{ChannelId, DeviceId, GbId};
use crate::limits::{CHANNEL_SUBSCRIPTIONS_MAX, EVENT_CHANNELS_MAX};

use super::alarms::AlarmMark;
use super::core::{Core, Output, Persist};
use super::counters::Ended;
use super::policy::DevicePolicy;
use super::registry::{Changed, is_node};
use super::types::{AlarmView, DirectoryChange, Error, Event, PlacedPosition, Reply};

impl Core {
    /// Something the platform reports.
    pub fn handle_platform(&mut self, now: Instant, event: Gb) {
        match event {
            Gb::Online {
                device,
                peer,
                over_tcp,
                first,
            } => {
                let Some(known) = self.registry.entry(device, self.config.devices_max) else {
                    self.counters.devices_refused += 1;
                    return;
                };
                let came = !std::mem::replace(&mut known.online, true);
                known.peer = Some(peer);
                known.over_tcp = over_tcp;
                known.last_seen_unix_s = self.wall.unix_ms(now).div_euclid(1000);
                let bare = known.channels().is_empty();
                if came {
                    let device = known.view(device);
                    self.push(Output::Event(Event::DeviceOnline { device }));
                }
                // Registered long ago, as the store says, and never heard of its channels since.
                if !first && bare {
                    self.push(Output::Platform(Command::QueryCatalog { device }));
                }
            }
            Gb::Offline { device, .. } => self.device_gone(now, device),
            Gb::DeviceInfo { device, info } => self.device_info(device, info),
            // Nobody waits for it: whether a device is there is known by its registration.
            Gb::DeviceStatus { .. } => {}
            Gb::CatalogProgress { .. } => {}
            Gb::Catalog {
                device,
                channels,
                partial,
            } => self.catalog(device, &channels, partial),
            Gb::AskEnded { id, outcome } => self.ask_ended(id, *outcome),
            Gb::Notified {
                device,
                about,
                notice,
            } => self.notified(now, device, about, *notice),
            Gb::FileEnded {
                device,
                invite,
                about,
            } => self.file_ended(now, device, invite, about),
            Gb::Subscription {
                device,
                subject,
                state,
            } => {
                if let Some(known) = self.registry.get_mut(device) {
                    known.subscriptions.insert(subject, state);
                }
            }
            Gb::InviteProgress { .. } => {}
            Gb::InviteAnswered { id, answer } => self.invite_answered(now, id, answer),
            Gb::InviteFailed { id, failure } => self.invite_failed(now, id, failure),
            Gb::InviteEnded { id, by } => self.invite_ended(now, id, by),
            Gb::Persist(fact) => {
                self.note(&fact);
                self.push(Output::Persist(Persist::Platform(fact)));
            }
            Gb::Drained => self.drained(),
        }
    }

    /// What a device tells of its own accord. Its directory changes here; the rest is for those who listen.
    fn notified(&mut self, now: Instant, device: DeviceId, about: Option<GbId>, notice: Notice) {
        match notice {
            Notice::Catalog(changes) => {
                let Some(known) = self.registry.get_mut(device) else {
                    return;
                };
                let changed = known.change(device, &changes);
                if changed.is_empty() {
                    return;
                }
                let few = known.channels().len() <= EVENT_CHANNELS_MAX;
                let view = few.then(|| Box::new(known.view(device)));
                let changes = changed.iter().map(told).collect();
                for one in changed {
                    self.push(Output::Persist(kept(device, one)));
                }
                self.push(Output::Event(Event::DirectoryChanged {
                    device,
                    changes,
                    view,
                }));
            }
            Notice::Alarm(alarm) => {
                let Some(known) = self.registry.get(device) else {
                    return;
                };
                // Milliseconds and twelve bits, so that two of one moment differ.
                let number = (self.wall.unix_ms(now) << 12).max(self.last_alarm + 1);
                let index = about.and_then(|id| known.index(ChannelId(id)));
                let mark = || AlarmMark::of(index, &alarm);
                let before = self.retold.known(now, device, mark, number);
                let view = AlarmView {
                    id: before.unwrap_or(number),
                    again: before.is_some(),
                    device,
                    name: known.info.name.clone(),
                    index,
                    unix_s: self.wall.unix_ms(now).div_euclid(1000),
                    alarm: *alarm,
                };
                if before.is_none() {
                    self.last_alarm = number;
                }
                self.push(Output::Event(Event::Alarm(Box::new(view))));
            }
            Notice::Positions(positions) if positions.is_empty() => {}
            Notice::Positions(positions) => {
                let placed = |position: Position| {
                    // An item of a list names its own; the message as a whole is about the device or one channel.
                    let own = position.device_id.as_deref();
                    let own = own.and_then(|id| id.trim().parse().ok());
                    let about = own.or(about).unwrap_or(device.0);
                    PlacedPosition {
                        about,
                        index: self.index_of(device, Some(about)),
                        position,
                    }
                };
                let positions = positions.into_iter().map(placed).collect();
                self.push(Output::Event(Event::Positions { device, positions }));
            }
            Notice::MediaStatus {
                notify_type: FILE_ENDED,
            } => self.file_ended(now, device, None, about),
            // Of a file that is neither played back nor uploaded here: nobody waits for it.
            Notice::MediaStatus { .. } => {}
            Notice::PtzPosition(position) => {
                let index = self.index_of(device, about);
                self.push(Output::Event(Event::PtzPosition {
                    device,
                    index,
                    position,
                }));
            }
            Notice::VideoUpload(upload) => {
                let index = self.index_of(device, about);
                let upload = Box::new(upload);
                self.push(Output::Event(Event::VideoUploaded {
                    device,
                    index,
                    upload,
                }));
            }
            Notice::SnapShots(shots) => {
                self.push(Output::Event(Event::SnapShots { device, shots }));
            }
            Notice::Upgraded(result) => {
                let result = Box::new(result);
                self.push(Output::Event(Event::Upgraded { device, result }));
            }
        }
    }

    /// Place of the channel that a device speaks of.
    fn index_of(&self, device: DeviceId, about: Option<GbId>) -> Option<u32> {
        self.registry.get(device)?.index(ChannelId(about?))
    }

    /// `RefreshCatalog`.
    pub(super) fn refresh_catalog(&mut self, device: DeviceId) -> Result<Reply, Error> {
        match self.registry.get(device) {
            None => Err(Error::NotFound { what: "device" }),
            Some(known) if !known.online => Err(Error::DeviceOffline),
            Some(_) => {
                self.push(Output::Platform(Command::QueryDeviceInfo { device }));
                self.push(Output::Platform(Command::QueryCatalog { device }));
                Ok(Reply::Done)
            }
        }
    }

    /// `Adopt`.
    pub(super) fn adopt_device(
        &mut self,
        device: DeviceId,
        auth: DeviceAuth,
    ) -> Result<Reply, Error> {
        if self.registry.get(device).is_some() {
            return Err(Error::Exists { what: "device" });
        }
        if self
            .registry
            .entry(device, self.config.devices_max)
            .is_none()
        {
            return Err(Error::Busy { limit: "devices" });
        }
        self.push(Output::Platform(Command::SetAuth { device, auth }));
        Ok(Reply::Done)
    }

    /// `Kick`. Its streams end when the platform says that it is gone.
    pub(super) fn kick(&mut self, device: DeviceId) -> Result<Reply, Error> {
        match self.registry.get(device) {
            None => Err(Error::NotFound { what: "device" }),
            Some(known) if !known.online => Err(Error::DeviceOffline),
            Some(_) => {
                self.push(Output::Platform(Command::Kick { device }));
                Ok(Reply::Done)
            }
        }
    }

    /// `Forget`.
    pub(super) fn forget(&mut self, now: Instant, device: DeviceId) -> Result<Reply, Error> {
        if self.registry.get(device).is_none() {
            return Err(Error::NotFound { what: "device" });
        }
        self.device_gone(now, device);
        self.registry.remove(device);
        self.push(Output::Platform(Command::Forget { device }));
        Ok(Reply::Done)
    }

    /// `Subscribe`.
    pub(super) fn subscribe(&mut self, device: DeviceId, wanted: Wanted) -> Result<Reply, Error> {
        let known = self.registry.get_mut(device);
        let known = known.ok_or(Error::NotFound { what: "device" })?;
        let is_new = !known.subscriptions.contains_key(&wanted.subject());
        let of_channels = known.subscriptions.keys().filter(|s| s.channel.is_some());
        if is_new && wanted.channel.is_some() && of_channels.count() >= CHANNEL_SUBSCRIPTIONS_MAX {
            return Err(Error::Busy {
                limit: "CHANNEL_SUBSCRIPTIONS_MAX",
            });
        }
        let state = known.subscriptions.entry(wanted.subject());
        state.or_insert(SubscriptionState::Asking);
        self.push(Output::Platform(Command::Subscribe { device, wanted }));
        Ok(Reply::Done)
    }

    /// `Unsubscribe`.
    pub(super) fn unsubscribe(
        &mut self,
        device: DeviceId,
        subject: Subject,
    ) -> Result<Reply, Error> {
        let known = self.registry.get_mut(device);
        let known = known.ok_or(Error::NotFound { what: "device" })?;
        known.subscriptions.remove(&subject);
        self.push(Output::Platform(Command::Unsubscribe { device, subject }));
        Ok(Reply::Done)
    }

    /// `SetDevicePolicy`.
    pub(super) fn set_policy(
        &mut self,
        device: DeviceId,
        policy: DevicePolicy,
    ) -> Result<Reply, Error> {
        let known = self
            .registry
            .get_mut(device)
            .ok_or(Error::NotFound { what: "device" })?;
        known.policy = policy;
        // What worked for it before may be what the user wants changed.
        known.transport = None;
        let quirks = policy.quirks;
        self.push(Output::Platform(Command::ForceQuirks { device, quirks }));
        Ok(Reply::Done)
    }

    fn device_gone(&mut self, now: Instant, device: DeviceId) {
        let Some(known) = self.registry.get_mut(device) else {
            return;
        };
        if std::mem::replace(&mut known.online, false) {
            let device = known.view(device);
            self.push(Output::Event(Event::DeviceOffline { device }));
        }
        for key in self.streams_of(device) {
            self.end_stream(now, &key, Ended::DeviceLost);
        }
    }

    fn device_info(&mut self, device: DeviceId, info: DeviceInfo) {
        let Some(known) = self.registry.get_mut(device) else {
            return;
        };
        if known.info != info {
            known.info = info.clone();
            self.push(Output::Persist(Persist::Info { device, info }));
            self.push(Output::Event(Event::DeviceChanged { device }));
        }
    }

    fn catalog(&mut self, device: DeviceId, items: &[CatalogItem], partial: bool) {
        if let Some(known) = self.registry.get_mut(device) {
            let merged = known.merge(device, items, partial);
            let channels = known.items();
            let partial = known.partial;
            self.counters.items_not_channels += merged.not_channels;
            self.counters.channels_refused += merged.refused;
            self.push(Output::Persist(Persist::Channels {
                device,
                channels,
                partial,
            }));
            if !partial && merged.not_channels > 0 {
                let nodes = items.iter().filter(|item| is_node(device, item));
                let nodes = nodes.cloned().collect();
                self.push(Output::Persist(Persist::Directory { device, nodes }));
            }
            self.push(Output::Event(Event::DeviceChanged { device }));
        }
    }

    /// Keeps what lists show of the facts that the platform stores.
    fn note(&mut self, fact: &GbPersist) {
        match fact {
            GbPersist::Device(stored) => {
                if let Some(known) = self.registry.get_mut(stored.device) {
                    known.peer = stored.peer;
                    known.over_tcp = stored.over_tcp;
                    known.last_seen_unix_s = stored.last_seen_unix_s;
                }
            }
            GbPersist::Seen { device, unix_s } => {
                if let Some(known) = self.registry.get_mut(*device) {
                    known.last_seen_unix_s = *unix_s;
                }
            }
            // The event says it too.
            GbPersist::Offline { .. }
            | GbPersist::DialogBegun { .. }
            | GbPersist::DialogOver { .. }
            | GbPersist::Key { .. } => {}
        }
    }
}

/// What listeners are told of a change.
fn told(changed: &Changed) -> DirectoryChange {
    let of = |item: &CatalogItem, index| DirectoryChange {
        id: item.id.clone(),
        name: item.name.clone(),
        index,
        online: item.online,
        condition: item.condition,
        gone: item.condition == Condition::Deleted,
    };
    match changed {
        Changed::Channel { place, item } => of(item, Some(*place)),
        Changed::Node(item) => of(item, None),
        Changed::NodeGone(id) => DirectoryChange {
            id: id.clone(),
            name: String::new(),
            index: None,
            online: false,
            condition: Condition::Deleted,
            gone: true,
        },
    }
}

/// What the store is told of a change: the one row, whatever the length of the directory.
fn kept(device: DeviceId, changed: Changed) -> Persist {
    match changed {
        Changed::Channel { place, item } => Persist::Channel {
            device,
            place,
            item: Box::new(item),
        },
        Changed::Node(item) => Persist::Node {
            device,
            id: item.id.clone(),
            item: Some(Box::new(item)),
        },
        Changed::NodeGone(id) => Persist::Node {
            device,
            id,
            item: None,
        },
    }
}

/// What the end of a dialog that we did not ask for means for its stream.
pub(super) fn ended_by(by: EndedBy) -> Ended {
    match by {
        EndedBy::Device => Ended::ByDevice,
        EndedBy::Us | EndedBy::Lost => Ended::DeviceLost,
        EndedBy::Revoked => Ended::Revoked,
    }
}
