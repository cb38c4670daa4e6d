//! Devices and their channels, as lists show them.
//!
//! A channel's place in its device's list is its `index` in the API and never changes: a new catalog adds at the end, a
//! channel that is no longer in it stays, offline, and one that the device deletes leaves its place empty. GB/T 28181-2016, annex D, says by digits 11 to 13 of a code what it
//! names; real directories mix cameras with districts, organisations and the recorder itself.
//!
//! Bounds: devices [`super::CoreConfig::devices_max`]; channels [`limits::CHANNELS_PER_DEVICE_MAX`].

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use crate::gb28181::notice::{CatalogChange, ChannelEvent};
use crate::gb28181::subscribe::{Subject, SubscriptionState};
use crate::gb28181::{CatalogItem, Condition, DeviceInfo, MediaTransport, StoredDevice};
use crate::id::{ChannelId, DeviceId, GbId};
use crate::limits;

use super::policy::DevicePolicy;
use super::types::{ChannelView, DeviceView};

/// All that the store knows of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoredDevice {
    pub stored: StoredDevice,
    pub info: DeviceInfo,
    /// See [`super::Persist::Transport`].
    pub transport: Option<MediaTransport>,
    /// By index: the place in the list.
    pub channels: Vec<CatalogItem>,
    pub partial: bool,
    pub policy: DevicePolicy,
}

/// A device.
#[derive(Debug, Default)]
pub(super) struct Device {
    pub online: bool,
    pub info: DeviceInfo,
    pub peer: Option<SocketAddr>,
    pub over_tcp: bool,
    pub last_seen_unix_s: i64,
    channels: Vec<Channel>,
    places: HashMap<ChannelId, usize>,
    pub partial: bool,
    /// The transport by which a picture came after another had brought none.
    pub transport: Option<MediaTransport>,
    pub policy: DevicePolicy,
    /// As the platform told last.
    pub subscriptions: BTreeMap<Subject, SubscriptionState>,
}

/// A channel as the device described it last. Its place in the list never changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Channel {
    pub id: ChannelId,
    pub item: CatalogItem,
}

/// What a notification changed in a directory.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Changed {
    /// The channel at this place is new, or otherwise.
    Channel { place: u32, item: CatalogItem },
    /// A node is new, or otherwise.
    Node(CatalogItem),
    /// A node is no more, by its code; there may have been none.
    NodeGone(String),
}

impl Changed {
    fn channel(place: usize, item: CatalogItem) -> Option<Changed> {
        let place = u32::try_from(place).ok()?;
        Some(Changed::Channel { place, item })
    }
}

fn condition_of(event: ChannelEvent) -> Condition {
    match event {
        ChannelEvent::VideoLost => Condition::VideoLost,
        ChannelEvent::Defect => Condition::Defect,
        ChannelEvent::Delete => Condition::Deleted,
        ChannelEvent::On | ChannelEvent::Off | ChannelEvent::Add | ChannelEvent::Update => {
            Condition::Described
        }
    }
}

/// What a catalog did to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// Items that are not channels.
    pub not_channels: u64,
    /// Channels left out at the bound.
    pub refused: u64,
}

impl Device {
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// `None`: there is none, or not any more.
    pub fn channel(&self, index: u32) -> Option<ChannelId> {
        let place = usize::try_from(index).ok()?;
        let channel = self.channels.get(place)?;
        (channel.item.condition != Condition::Deleted).then_some(channel.id)
    }

    /// Place of a channel.
    pub fn index(&self, id: ChannelId) -> Option<u32> {
        self.places
            .get(&id)
            .and_then(|place| u32::try_from(*place).ok())
    }

    pub fn view(&self, id: DeviceId) -> DeviceView {
        DeviceView {
            device: Some(id),
            online: self.online,
            info: self.info.clone(),
            peer: self.peer,
            over_tcp: self.over_tcp,
            last_seen_unix_s: self.last_seen_unix_s,
            channels: self.channels.iter().map(Channel::view).collect(),
            partial: self.partial,
        }
    }

    /// The list as the store keeps it: the place is the index.
    pub fn items(&self) -> Vec<CatalogItem> {
        self.channels.iter().map(|c| c.item.clone()).collect()
    }

    /// Takes what the device says it has. A device that names no channel is one itself.
    pub fn merge(&mut self, id: DeviceId, items: &[CatalogItem], partial: bool) -> Merged {
        let mut merged = Merged::default();
        let mut found = Vec::new();
        for item in items {
            match channel_of(id, item) {
                Some(channel) => found.push(channel),
                None => merged.not_channels += 1,
            }
        }
        let itself = ChannelId(id.0);
        if found.is_empty() {
            if self.channels.is_empty() {
                self.put(itself_as_channel(id, &self.info));
            }
        } else if let [only] = &self.channels[..]
            && only.id == itself
            && !found.iter().any(|c| c.id == itself)
        {
            // It stood in for a directory that had not come yet.
            self.channels.clear();
            self.places.clear();
        }
        if !partial && !found.is_empty() {
            for channel in &mut self.channels {
                channel.item.online = false;
            }
        }
        for channel in found {
            if !self.put(channel) {
                merged.refused += 1;
            }
        }
        self.partial = partial || merged.refused > 0;
        merged
    }

    /// Takes what happened to single items. Answers what is otherwise than before.
    pub fn change(&mut self, id: DeviceId, changes: &[CatalogChange]) -> Vec<Changed> {
        let mut changed = Vec::new();
        for CatalogChange { event, item } in changes {
            let known = item.id.parse().ok().map(ChannelId);
            let known = known.and_then(|id| self.places.get(&id).copied());
            match (known, event) {
                (Some(place), ChannelEvent::Add | ChannelEvent::Update) => {
                    let mut item = item.clone();
                    keep_described(&mut item, &self.channels[place].item);
                    changed.extend(self.replace(place, item));
                }
                (
                    Some(place),
                    ChannelEvent::On
                    | ChannelEvent::Off
                    | ChannelEvent::VideoLost
                    | ChannelEvent::Defect
                    | ChannelEvent::Delete,
                ) => {
                    let mut item = self.channels[place].item.clone();
                    if item.condition != Condition::Deleted {
                        item.condition = condition_of(*event);
                        item.online = *event == ChannelEvent::On;
                        changed.extend(self.replace(place, item));
                    }
                }
                (None, ChannelEvent::Add | ChannelEvent::Update) if is_node(id, item) => {
                    changed.push(Changed::Node(item.clone()));
                }
                (None, ChannelEvent::Add | ChannelEvent::Update) => {
                    let place = self.channels.len();
                    if channel_of(id, item).is_some_and(|channel| self.put(channel)) {
                        changed.extend(Changed::channel(place, item.clone()));
                    }
                }
                (None, ChannelEvent::Delete) => changed.push(Changed::NodeGone(item.id.clone())),
                // An item that nobody has described: its directory comes with the next question. A node is not on or off.
                (
                    None,
                    ChannelEvent::On
                    | ChannelEvent::Off
                    | ChannelEvent::VideoLost
                    | ChannelEvent::Defect,
                ) => {}
            }
        }
        changed
    }

    fn replace(&mut self, place: usize, item: CatalogItem) -> Option<Changed> {
        let kept = &mut self.channels[place].item;
        if *kept == item {
            return None;
        }
        kept.clone_from(&item);
        Changed::channel(place, item)
    }

    /// Restores the list. What stands behind an unreadable code would come to another place, so it is left out.
    fn restore_channels(&mut self, stored: Vec<CatalogItem>) {
        for item in stored {
            let Ok(id) = item.id.parse() else {
                self.partial = true;
                break;
            };
            let id = ChannelId(id);
            if self.places.contains_key(&id) || !self.put(Channel { id, item }) {
                self.partial = true;
                break;
            }
        }
    }

    /// Adds a channel at the end or renews it at its place; false at the bound.
    fn put(&mut self, channel: Channel) -> bool {
        match self.places.get(&channel.id) {
            Some(place) => self.channels[*place] = channel,
            None => {
                if self.channels.len() >= limits::CHANNELS_PER_DEVICE_MAX {
                    return false;
                }
                self.places.insert(channel.id, self.channels.len());
                self.channels.push(channel);
            }
        }
        true
    }
}

impl Channel {
    fn view(&self) -> ChannelView {
        ChannelView {
            channel: self.id,
            name: self.item.name.clone(),
            online: self.item.online,
            ptz: matches!(self.item.ptz_type, 1 | 4),
            longitude: self.item.longitude,
            latitude: self.item.latitude,
            parent_id: self.item.parent_id.clone(),
            condition: self.item.condition,
        }
    }
}

/// All devices.
#[derive(Debug, Default)]
pub(super) struct Registry {
    devices: BTreeMap<DeviceId, Device>,
}

impl Registry {
    pub fn get(&self, id: DeviceId) -> Option<&Device> {
        self.devices.get(&id)
    }

    pub fn get_mut(&mut self, id: DeviceId) -> Option<&mut Device> {
        self.devices.get_mut(&id)
    }

    /// The device, made if it is new; `None` at the bound.
    pub fn entry(&mut self, id: DeviceId, devices_max: usize) -> Option<&mut Device> {
        if self.devices.len() >= devices_max && !self.devices.contains_key(&id) {
            return None;
        }
        Some(self.devices.entry(id).or_default())
    }

    pub fn remove(&mut self, id: DeviceId) {
        self.devices.remove(&id);
    }

    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, &Device)> {
        self.devices.iter().map(|(id, device)| (*id, device))
    }

    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Takes a device from the store. False at the bound.
    pub fn restore(&mut self, restored: RestoredDevice, devices_max: usize) -> bool {
        let stored = restored.stored;
        let Some(device) = self.entry(stored.device, devices_max) else {
            return false;
        };
        device.online = stored.online;
        device.info = restored.info;
        device.peer = stored.peer;
        device.over_tcp = stored.over_tcp;
        device.last_seen_unix_s = stored.last_seen_unix_s;
        device.partial = restored.partial;
        device.transport = restored.transport;
        device.policy = restored.policy;
        device.restore_channels(restored.channels);
        true
    }
}

/// What a code of 20 digits names, as far as a list of channels cares.
fn is_directory(item: &CatalogItem, id: GbId, device: DeviceId) -> bool {
    /// Civil codes have 2, 4, 6 or 8 digits (GB/T 2260); devices with 18 digits exist.
    const CIVIL_DIGITS_MAX: usize = 8;
    match id.type_code() {
        None => id.as_str().len() <= CIVIL_DIGITS_MAX || item.parental,
        // Camera, network camera, alarm input: whatever else the item says.
        Some(131 | 132 | 134) => false,
        // Outputs: a display, an alarm output, a loudspeaker.
        Some(133 | 135 | 137) => true,
        // Platforms, business groups, virtual organisations; users.
        Some(200..=499) => true,
        // A recorder or encoder in its own directory.
        Some(_) => item.parental || id == device.0,
    }
}

/// Whether an item is something that channels hang on.
pub(super) fn is_node(device: DeviceId, item: &CatalogItem) -> bool {
    let id: Result<GbId, _> = item.id.parse();
    id.is_ok_and(|id| id != device.0 && is_directory(item, id, device))
        && !matches!(item.id.get(10..13), Some("133" | "135" | "137"))
}

fn channel_of(device: DeviceId, item: &CatalogItem) -> Option<Channel> {
    let id: GbId = item.id.parse().ok()?;
    if is_directory(item, id, device) {
        return None;
    }
    Some(Channel {
        id: ChannelId(id),
        item: item.clone(),
    })
}

/// A notification names what changed; the rest of a channel is as it was.
fn keep_described(item: &mut CatalogItem, before: &CatalogItem) {
    let kept = [
        (&mut item.name, &before.name),
        (&mut item.manufacturer, &before.manufacturer),
        (&mut item.model, &before.model),
        (&mut item.owner, &before.owner),
        (&mut item.civil_code, &before.civil_code),
        (&mut item.address, &before.address),
        (&mut item.parent_id, &before.parent_id),
        (&mut item.business_group_id, &before.business_group_id),
    ];
    for (now, before) in kept {
        if now.is_empty() {
            now.clone_from(before);
        }
    }
    item.longitude = item.longitude.or(before.longitude);
    item.latitude = item.latitude.or(before.latitude);
    if item.ptz_type == 0 {
        item.ptz_type = before.ptz_type;
    }
}

fn itself_as_channel(id: DeviceId, info: &DeviceInfo) -> Channel {
    Channel {
        id: ChannelId(id.0),
        item: CatalogItem {
            id: id.to_string(),
            name: info.name.clone(),
            manufacturer: info.manufacturer.clone(),
            model: info.model.clone(),
            online: true,
            ..CatalogItem::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NVR: &str = "34020000001180000001";

    fn nvr() -> DeviceId {
        DeviceId(NVR.parse().expect("a code"))
    }

    fn item(id: &str, parental: bool) -> CatalogItem {
        CatalogItem {
            id: id.into(),
            name: format!("n{id}"),
            parental,
            online: true,
            ..CatalogItem::default()
        }
    }

    fn camera(n: u32) -> CatalogItem {
        item(&format!("3402000000132{n:07}"), false)
    }

    fn ids(device: &Device) -> Vec<String> {
        let ids = device.channels().iter();
        ids.map(|c| c.id.to_string()).collect()
    }

    #[test]
    fn only_sources_are_channels() {
        for (id, parental, want) in [
            ("34020000001320000001", false, true),
            ("34020000001320000001", true, true),
            ("34020000001310000001", false, true),
            ("34020000001340000001", false, true),
            ("34020000001350000001", false, false),
            ("34020000002150000001", false, false),
            ("34020000002160000001", false, false),
            ("34020000002000000001", true, false),
            ("3402", true, false),
            ("340200", false, false),
            ("34020000", false, false),
            ("340200000013200001", false, true),
            (NVR, true, false),
            (NVR, false, false),
            ("34020000001180000002", false, true),
            ("34020000001180000002", true, false),
            ("Camera 1", false, false),
            ("", false, false),
        ] {
            let got = channel_of(nvr(), &item(id, parental)).is_some();
            assert_eq!(got, want, "{id} parental={parental}");
        }
    }

    #[test]
    fn an_index_stays_through_every_catalog() {
        let mut device = Device::default();
        device.merge(nvr(), &[camera(1), camera(2), camera(3)], false);
        let merged = device.merge(
            nvr(),
            &[camera(9), camera(3), item("3402", true), camera(1)],
            false,
        );
        assert_eq!(
            merged,
            Merged {
                not_channels: 1,
                refused: 0
            }
        );
        let want: Vec<String> = [1, 2, 3, 9].iter().map(|n| camera(*n).id).collect();
        assert_eq!(ids(&device), want);
        let online: Vec<bool> = device.channels().iter().map(|c| c.item.online).collect();
        assert_eq!(online, [true, false, true, true]);
        device.merge(nvr(), &[camera(2)], true);
        let online: Vec<bool> = device.channels().iter().map(|c| c.item.online).collect();
        assert_eq!(online, [true; 4], "a partial catalog puts nobody offline");
        assert!(device.partial);
    }

    #[test]
    fn single_channels_change_at_their_place() {
        let mut device = Device::default();
        let mut described = camera(2);
        described.ptz_type = 1;
        device.merge(nvr(), &[camera(1), described], false);
        let change = |event, item| CatalogChange { event, item };
        let place_of = |changed: Vec<Changed>| match &changed[..] {
            [] => None,
            [Changed::Channel { place, .. }] => Some(*place),
            other => panic!("{other:?}"),
        };
        for (event, condition, online, told) in [
            (ChannelEvent::On, Condition::Described, true, None),
            (
                ChannelEvent::VideoLost,
                Condition::VideoLost,
                false,
                Some(1),
            ),
            (ChannelEvent::VideoLost, Condition::VideoLost, false, None),
            (ChannelEvent::Defect, Condition::Defect, false, Some(1)),
            (ChannelEvent::Off, Condition::Described, false, Some(1)),
            (ChannelEvent::On, Condition::Described, true, Some(1)),
        ] {
            let changed = device.change(nvr(), &[change(event, camera(2))]);
            assert_eq!(place_of(changed), told, "{event:?}");
            let item = &device.channels()[1].item;
            assert_eq!(
                (item.condition, item.online),
                (condition, online),
                "{event:?}"
            );
        }
        assert_eq!(device.channels()[1].item.ptz_type, 1);
        let none = device.change(nvr(), &[change(ChannelEvent::Off, camera(9))]);
        assert_eq!(none, []);
        let added = device.change(nvr(), &[change(ChannelEvent::Add, camera(9))]);
        assert_eq!(place_of(added), Some(2));
        let mut renamed = camera(2);
        renamed.name = "new".into();
        let renamed = device.change(nvr(), &[change(ChannelEvent::Update, renamed)]);
        assert_eq!(place_of(renamed), Some(1));
        let item = &device.channels()[1].item;
        assert_eq!((item.name.as_str(), item.ptz_type), ("new", 1));
        assert_eq!(device.channels().len(), 3);
    }

    #[test]
    fn a_deleted_channel_leaves_its_place_and_comes_back_to_it() {
        let mut device = Device::default();
        device.merge(nvr(), &[camera(1), camera(2), camera(3)], false);
        let mut happened = |event, n| {
            let item = camera(n);
            device.change(nvr(), &[CatalogChange { event, item }])
        };
        assert_eq!(happened(ChannelEvent::Delete, 2).len(), 1);
        assert_eq!(happened(ChannelEvent::Delete, 2), []);
        assert_eq!(
            happened(ChannelEvent::On, 2),
            [],
            "what is no more is not on"
        );
        let id = |n: u32| channel_of(nvr(), &camera(n)).map(|c| c.id);
        assert_eq!((device.channel(1), device.channel(2)), (None, id(3)));
        device.merge(nvr(), &[camera(1), camera(3), camera(4)], false);
        assert_eq!((device.channel(1), device.channel(3)), (None, id(4)));
        let item = camera(2);
        let event = ChannelEvent::Add;
        let added = device.change(nvr(), &[CatalogChange { event, item }]);
        assert!(matches!(added[..], [Changed::Channel { place: 1, .. }]));
        assert_eq!(device.channel(1), id(2));
    }

    #[test]
    fn nodes_of_the_tree_are_told_apart_from_channels() {
        let mut device = Device::default();
        device.merge(nvr(), &[camera(1)], false);
        let organisation = item_of_a_tree();
        let mut happened = |event, item: &CatalogItem| {
            let item = item.clone();
            device.change(nvr(), &[CatalogChange { event, item }])
        };
        for event in [ChannelEvent::Add, ChannelEvent::Update] {
            let changed = happened(event, &organisation);
            assert_eq!(changed, [Changed::Node(organisation.clone())]);
        }
        for event in [ChannelEvent::On, ChannelEvent::VideoLost] {
            assert_eq!(happened(event, &organisation), []);
        }
        // Of a deleted item only its code is told, so nothing says that it is parental.
        let gone = item(&organisation.id, false);
        let changed = happened(ChannelEvent::Delete, &gone);
        assert_eq!(changed, [Changed::NodeGone(organisation.id.clone())]);
        assert_eq!(device.channels().len(), 1);
    }

    fn item_of_a_tree() -> CatalogItem {
        item("34020000002160000001", true)
    }

    #[test]
    fn a_device_without_a_directory_is_its_own_channel_until_one_comes() {
        let mut device = Device::default();
        device.merge(nvr(), &[], true);
        assert_eq!(ids(&device), [NVR]);
        device.merge(nvr(), &[], false);
        assert_eq!(ids(&device), [NVR]);
        device.merge(nvr(), &[camera(5)], false);
        assert_eq!(ids(&device), [camera(5).id]);
        assert_eq!(
            device.channel(0),
            channel_of(nvr(), &camera(5)).map(|c| c.id)
        );
        device.merge(nvr(), &[], false);
        assert_eq!(
            ids(&device),
            [camera(5).id],
            "an empty catalog takes nothing away"
        );
    }

    #[test]
    fn channels_have_a_bound() {
        let all: Vec<CatalogItem> = (0..limits::CHANNELS_PER_DEVICE_MAX as u32)
            .map(camera)
            .collect();
        let mut device = Device::default();
        assert_eq!(device.merge(nvr(), &all, false), Merged::default());
        assert!(!device.partial);
        let merged = device.merge(nvr(), &[camera(9_999_999), camera(0)], false);
        assert_eq!(merged.refused, 1);
        assert!(device.partial);
        assert_eq!(device.channels().len(), limits::CHANNELS_PER_DEVICE_MAX);
    }

    #[test]
    fn what_was_stored_comes_back_at_its_place() {
        let mut device = Device::default();
        device.merge(nvr(), &[camera(4), camera(2)], false);
        let mut channels = device.items();
        let restored = |channels| RestoredDevice {
            stored: StoredDevice {
                device: nvr(),
                auth: Default::default(),
                peer: None,
                over_tcp: true,
                online: true,
                expires_unix_s: 0,
                last_seen_unix_s: 7,
                gb_version: None,
            },
            info: DeviceInfo::default(),
            transport: Some(MediaTransport::TcpPassive),
            channels,
            partial: false,
            policy: Default::default(),
        };
        let mut registry = Registry::default();
        assert!(registry.restore(restored(channels.clone()), 1));
        let back = registry.get(nvr()).expect("restored");
        assert_eq!(ids(back), ids(&device));
        assert!(back.online && back.over_tcp && !back.partial);
        assert_eq!(back.transport, Some(MediaTransport::TcpPassive));
        channels[0].id = "unreadable".into();
        let mut registry = Registry::default();
        assert!(registry.restore(restored(channels), 1));
        let back = registry.get(nvr()).expect("restored");
        assert!(
            back.channels().is_empty() && back.partial,
            "nothing comes to another place"
        );
        let other = DeviceId("34020000001180000009".parse().expect("a code"));
        assert!(registry.entry(other, 1).is_none(), "at the bound");
        assert!(registry.entry(other, 2).is_some());
    }
}
