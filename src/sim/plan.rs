//! Which devices a simulation has, and what each of them is called, shows and does wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::gb28181::manscdp::Charset;
use crate::gb28181::{CatalogItem, DeviceInfo, device};
use crate::id::{ChannelId, DeviceId, GbId};
use crate::limits;
use crate::sip::Path;

use super::Quirk;
use super::reel::{Picture, Sound};
use super::wire::{Carrier, TlsFiles};

/// A whole simulation.
#[derive(Clone, Debug)]
pub struct Config {
    /// SIP address of the platform.
    pub server: SocketAddr,
    pub carrier: Carrier,
    pub tls: TlsFiles,
    /// Folder of SM2 keys with which devices prove themselves by GB 35114.
    pub gb35114: Option<PathBuf>,
    /// Code of the platform.
    pub server_id: GbId,
    /// SIP domain of the platform.
    pub realm: String,
    pub password: String,
    pub devices: Vec<Plan>,
    /// Threads that share the devices.
    pub threads: usize,
    /// Registrations a second at the start.
    pub registrations_per_s: u32,
    pub expires: Duration,
    pub keepalive: Duration,
}

/// One device.
#[derive(Clone, Debug)]
pub struct Plan {
    pub id: DeviceId,
    pub name: String,
    /// Items of its directory; from two on, the first is a directory node above the others.
    pub channels: u32,
    /// Shown by its channels in turn; not empty.
    pub pictures: Vec<Picture>,
    pub sound: Sound,
    pub quirk: Quirk,
}

/// What a simulation cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Codes of devices have 20 digits.
    NotTwentyDigits,
    TooManyDevices,
    Channels,
}

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PlanError::NotTwentyDigits => f.write_str("the code of a device has 20 digits"),
            PlanError::TooManyDevices => {
                write!(f, "at most {} devices", limits::SIM_DEVICES_MAX)
            }
            PlanError::Channels => write!(f, "1 to {} channels", limits::SIM_CHANNELS_MAX),
        }
    }
}

impl std::error::Error for PlanError {}

impl Config {
    /// No devices yet; times and rates as real devices have them.
    pub fn new(server: SocketAddr, server_id: GbId, password: String) -> Config {
        let domain = server_id.as_str();
        Config {
            server,
            carrier: Carrier::Udp,
            tls: TlsFiles::default(),
            gb35114: None,
            server_id,
            realm: domain.get(..10).unwrap_or(domain).to_owned(),
            password,
            devices: Vec::new(),
            threads: 1,
            registrations_per_s: 500,
            expires: Duration::from_secs(3_600),
            keepalive: Duration::from_secs(60),
        }
    }

    /// Four cameras that differ in codec and sound.
    pub fn demo(server: SocketAddr, server_id: GbId, password: String) -> Config {
        use Picture::{Gate, Hall, Yard};
        let base = DeviceId("34020000001320000001".parse().expect("20 digits"));
        let rows = [
            ("Yard", Yard, Sound::G711a),
            ("Gate", Gate, Sound::Aac),
            ("Hall", Hall, Sound::G711a),
            ("Dock", Yard, Sound::None),
        ];
        let mut config = Config::new(server, server_id, password);
        config.devices = (0..)
            .zip(rows)
            .map(|(n, (name, picture, sound))| Plan {
                id: nth(base, n).expect("four codes follow"),
                name: name.to_owned(),
                channels: 1,
                pictures: vec![picture],
                sound,
                quirk: Quirk::None,
            })
            .collect();
        config
    }
}

/// The code `n` places after a 20-digit one, in its last seven digits.
pub(super) fn nth(base: DeviceId, n: u32) -> Result<DeviceId, PlanError> {
    if base.0.as_str().len() != 20 {
        return Err(PlanError::NotTwentyDigits);
    }
    if n >= limits::SIM_DEVICES_MAX {
        return Err(PlanError::TooManyDevices);
    }
    let (prefix, serial) = base.0.as_str().split_at(13);
    let serial: u32 = serial.parse().expect("seven digits");
    let id = format!("{prefix}{:07}", (serial + n) % 10_000_000);
    Ok(DeviceId(id.parse().expect("20 digits")))
}

impl Plan {
    pub(super) fn info(&self) -> DeviceInfo {
        DeviceInfo {
            name: self.name.clone(),
            manufacturer: "Gantry".to_owned(),
            model: "simulated".to_owned(),
            firmware: env!("CARGO_PKG_VERSION").to_owned(),
            channels: Some(self.channels),
        }
    }

    /// The directory as the device sends it.
    pub(super) fn catalog(&self) -> Vec<CatalogItem> {
        if self.channels == 1 && self.id.0.type_code() == Some(132) {
            // A camera is its own channel.
            return vec![self.camera(self.id.0, &self.name, &self.id.to_string())];
        }
        let mut items = Vec::new();
        let mut parent = self.id.to_string();
        if self.channels > 1 {
            let node = self.code(216, 0);
            items.push(CatalogItem {
                id: node.to_string(),
                name: format!("{} 区域", self.name),
                parent_id: parent,
                parental: true,
                online: true,
                ..CatalogItem::default()
            });
            parent = node.to_string();
        }
        let cameras = self.channels - items.len() as u32;
        for n in 1..=cameras {
            let name = format!("{} {n} 号", self.name);
            items.push(self.camera(self.code(132, n), &name, &parent));
        }
        items
    }

    fn camera(&self, id: GbId, name: &str, parent: &str) -> CatalogItem {
        CatalogItem {
            id: id.to_string(),
            name: name.to_owned(),
            manufacturer: "Gantry".to_owned(),
            model: "simulated".to_owned(),
            owner: "Owner".to_owned(),
            civil_code: self.id.0.as_str().get(..6).unwrap_or_default().to_owned(),
            address: "Address".to_owned(),
            parent_id: parent.to_owned(),
            online: true,
            ptz_type: 1,
            ..CatalogItem::default()
        }
    }

    /// The code of one of its items: the type, five digits of the device, two of the item.
    fn code(&self, kind: u32, item: u32) -> GbId {
        let (prefix, serial) = self.id.0.as_str().split_at(13);
        let serial: u32 = serial.parse().expect("seven digits");
        let code = format!(
            "{}{kind:03}{:07}",
            &prefix[..10],
            serial % 100_000 * 100 + item
        );
        code.parse().expect("20 digits")
    }

    /// What a channel shows: the pictures in turn, in the order of the directory.
    pub(super) fn picture(&self, channel: ChannelId) -> Picture {
        let serial = channel.0.as_str().get(18..).and_then(|s| s.parse().ok());
        let n: usize = serial.unwrap_or(0);
        let of_itself = channel.0 == self.id.0;
        let turn = if of_itself { 0 } else { n.saturating_sub(1) };
        self.pictures[turn % self.pictures.len()]
    }

    /// `security`: how it proves itself by GB 35114.
    pub(super) fn device(
        &self,
        config: &Config,
        path: Path,
        security: Option<device::Security>,
    ) -> device::Config {
        device::Config {
            id: self.id,
            password: config.password.clone(),
            server: config.server_id,
            realm: config.realm.clone(),
            path,
            expires: config.expires,
            keepalive: config.keepalive,
            items_per_message: 2,
            charset: Charset::Gb2312,
            info: Arc::new(self.info()),
            channels: self.catalog().into(),
            abilities: match security {
                None => Arc::default(),
                Some(_) => Arc::new(device::Abilities {
                    security,
                    ..device::Abilities::default()
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn plan(id: &str, channels: u32) -> Plan {
        Plan {
            id: DeviceId(id.parse().expect("a code")),
            name: "n".to_owned(),
            channels,
            pictures: vec![Picture::Yard, Picture::Gate],
            sound: Sound::None,
            quirk: Quirk::None,
        }
    }

    #[test]
    fn codes_of_all_items_of_all_devices_differ() {
        let base = plan("34020000001180000001", 4).id;
        let mut all = HashSet::new();
        for n in 0..limits::SIM_DEVICES_MAX {
            let id = nth(base, n).expect("in range");
            assert!(all.insert(id.0));
            if n % 997 == 0 || n > limits::SIM_DEVICES_MAX - 3 {
                for item in plan(&id.to_string(), limits::SIM_CHANNELS_MAX).catalog() {
                    assert!(all.insert(item.id.parse().expect("a code")), "{}", item.id);
                }
            }
        }
        assert_eq!(
            nth(base, limits::SIM_DEVICES_MAX),
            Err(PlanError::TooManyDevices)
        );
        let short = DeviceId("3402".parse().expect("a code"));
        assert_eq!(nth(short, 0), Err(PlanError::NotTwentyDigits));
    }

    #[test]
    fn a_directory_node_stands_above_the_cameras() {
        let items = plan("34020000001180000001", 4).catalog();
        assert_eq!(items.len(), 4);
        assert!(items[0].parental && items[1..].iter().all(|i| i.parent_id == items[0].id));
        let camera = plan("34020000001320000001", 1).catalog();
        assert_eq!(camera[0].id, "34020000001320000001");
    }

    #[test]
    fn channels_show_the_pictures_in_turn() {
        let plan = plan("34020000001180000001", 4);
        let shown: Vec<Picture> = plan.catalog()[1..]
            .iter()
            .map(|item| plan.picture(ChannelId(item.id.parse().expect("a code"))))
            .collect();
        assert_eq!(shown, [Picture::Yard, Picture::Gate, Picture::Yard]);
    }
}
