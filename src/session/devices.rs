//! Platform events, and when a device is asked for its directory.
//!
//! A device is asked when it comes online and when somebody wants it, at most [`limits::CATALOG_QUERIES_MAX`] at once:
//! after a power cut thousands register in one second, and each answer can be hundreds of messages.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::gb28181::{
    CatalogItem, Command, DeviceInfo, EndedBy, Event as Gb, Persist as GbPersist,
};
use crate::id::DeviceId;
use crate::limits;

use super::core::{Core, Output, Persist};
use super::counters::Ended;
use super::timers::Timer;
use super::types::{Error, Event, Reply};

/// Who is asked and who waits for a turn.
#[derive(Debug, Default)]
pub(super) struct Queries {
    asking: HashSet<DeviceId>,
    waiting: VecDeque<DeviceId>,
    /// What is in `waiting`: each device once, so its bound is that of the devices.
    queued: HashSet<DeviceId>,
}

impl Queries {
    fn next(&mut self) -> Option<DeviceId> {
        if self.asking.len() >= limits::CATALOG_QUERIES_MAX {
            return None;
        }
        let device = self.waiting.pop_front()?;
        self.queued.remove(&device);
        self.asking.insert(device);
        Some(device)
    }

    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.asking.is_empty() && self.waiting.is_empty() && self.queued.is_empty()
    }
}

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
                if came || first || bare {
                    self.ask(now, device);
                }
            }
            Gb::Offline { device, .. } => self.device_gone(now, device),
            Gb::DeviceInfo { device, info } => self.device_info(device, info),
            // Nobody waits for it: whether a device is there is known by its registration.
            Gb::DeviceStatus { .. } => {}
            Gb::CatalogProgress { device, .. } => {
                if self.queries.asking.contains(&device) {
                    self.hold_turn(now, device);
                }
            }
            Gb::Catalog {
                device,
                channels,
                partial,
            } => self.catalog(now, device, &channels, partial),
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

    /// `RefreshCatalog`.
    pub(super) fn refresh_catalog(
        &mut self,
        now: Instant,
        device: DeviceId,
    ) -> Result<Reply, Error> {
        match self.registry.get(device) {
            None => Err(Error::NotFound { what: "device" }),
            Some(known) if !known.online => Err(Error::DeviceOffline),
            Some(_) => {
                self.ask(now, device);
                Ok(Reply::Done)
            }
        }
    }

    /// A query came to its end, or nothing was heard of it for too long.
    pub(super) fn query_over(&mut self, now: Instant, device: DeviceId) {
        if self.queries.asking.remove(&device) {
            self.timers.clear(Timer::Query(device));
            self.ask_next(now);
        }
    }

    fn ask(&mut self, now: Instant, device: DeviceId) {
        let queries = &mut self.queries;
        if !queries.asking.contains(&device) && queries.queued.insert(device) {
            queries.waiting.push_back(device);
            self.ask_next(now);
        }
    }

    fn ask_next(&mut self, now: Instant) {
        while let Some(device) = self.queries.next() {
            if self.registry.get(device).is_some_and(|d| d.online) {
                self.push(Output::Platform(Command::QueryDeviceInfo { device }));
                self.push(Output::Platform(Command::QueryCatalog { device }));
                self.hold_turn(now, device);
            } else {
                self.queries.asking.remove(&device);
            }
        }
    }

    fn hold_turn(&mut self, now: Instant, device: DeviceId) {
        let until = now + Duration::from_secs(limits::CATALOG_QUERY_S_MAX);
        self.timers.set(Timer::Query(device), until);
    }

    fn device_gone(&mut self, now: Instant, device: DeviceId) {
        let Some(known) = self.registry.get_mut(device) else {
            return;
        };
        if std::mem::replace(&mut known.online, false) {
            let device = known.view(device);
            self.push(Output::Event(Event::DeviceOffline { device }));
        }
        self.query_over(now, device);
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

    fn catalog(&mut self, now: Instant, device: DeviceId, items: &[CatalogItem], partial: bool) {
        if let Some(known) = self.registry.get_mut(device) {
            let merged = known.merge(device, items, partial);
            let channels = known.stored_channels();
            let partial = known.partial;
            self.counters.items_not_channels += merged.not_channels;
            self.counters.channels_refused += merged.refused;
            self.push(Output::Persist(Persist::Channels {
                device,
                channels,
                partial,
            }));
            self.push(Output::Event(Event::DeviceChanged { device }));
        }
        self.query_over(now, device);
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
            GbPersist::Offline { .. } => {}
        }
    }
}

/// What the end of a dialog that we did not ask for means for its stream.
pub(super) fn ended_by(by: EndedBy) -> Ended {
    match by {
        EndedBy::Device => Ended::ByDevice,
        EndedBy::Us | EndedBy::Lost => Ended::DeviceLost,
    }
}
