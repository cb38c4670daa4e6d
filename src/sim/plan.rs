//! Which devices a simulation has, and what each of them is called, shows and does wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::gb28181::answer::FileRecord;
use crate::gb28181::manscdp::Charset;
use crate::gb28181::{CatalogItem, DeviceInfo, device};
use crate::id::{ChannelId, DeviceId, GbId};
use crate::limits;
use crate::sip::Path;
use crate::time::local_text;

use super::Quirk;
use super::reel::{Picture, Sound};
use super::wire::{Carrier, TlsFiles};

/// `PTZType` of a camera that cannot be turned (GB/T 28181-2016, A.2.1.9).
const FIXED_CAMERA: u8 = 3;

/// Files of one hour that every device has.
const RECORDED_HOURS: i64 = 24;

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
    /// The devices stand at places, one drives, one has no PTZ, and one raises an alarm every so often.
    pub lively: bool,
    /// Every device drives, as the fourth of a lively simulation does.
    pub driving: bool,
    /// Every device raises alarms, as the second of a lively simulation does.
    pub alarming: bool,
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
            lively: false,
            driving: false,
            alarming: false,
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
            ("Van", Yard, Sound::None),
        ];
        let mut config = Config::new(server, server_id, password);
        config.lively = true;
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
        if self.is_platform() {
            return self.directory();
        }
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

    /// A lower platform: its code says so.
    fn is_platform(&self) -> bool {
        self.id.0.type_code() == Some(200)
    }

    /// The directory of a platform: districts, under each a business group, under that organisations with 250 cameras.
    fn directory(&self) -> Vec<CatalogItem> {
        const CAMERAS: u32 = 250;
        const ORGANISATIONS: u32 = 40;
        let domain = self.id.0.as_str().get(..10).unwrap_or_default().to_owned();
        let code = |kind: u32, n: u32| format!("{domain}{kind:03}{n:07}");
        let node = |id: String, name: String, parent_id: &str| CatalogItem {
            id,
            name,
            parent_id: parent_id.to_owned(),
            parental: true,
            online: true,
            ..CatalogItem::default()
        };
        let mut items = Vec::new();
        let (mut district, mut group, mut organisation) =
            (String::new(), String::new(), String::new());
        for n in 0..self.channels {
            let (of_district, of_organisation) = (n / (CAMERAS * ORGANISATIONS), n / CAMERAS);
            if n % (CAMERAS * ORGANISATIONS) == 0 {
                district = format!("{}{of_district:02}", &domain[..6]);
                group = code(215, of_district + 1);
                items.push(node(
                    district.clone(),
                    format!("District {of_district}"),
                    &self.id.to_string(),
                ));
                items.push(node(
                    group.clone(),
                    format!("Group {of_district}"),
                    &district,
                ));
            }
            if n % CAMERAS == 0 {
                organisation = code(216, of_organisation + 1);
                let name = format!("Organisation {of_organisation}");
                items.push(CatalogItem {
                    business_group_id: group.clone(),
                    ..node(organisation.clone(), name, &group)
                });
            }
            let id = code(132, n + 1).parse().expect("20 digits");
            // Lower platforms name what a camera hangs on with or without what is above it.
            let parent = match n % 2 {
                0 => organisation.clone(),
                _ => format!("{}/{organisation}", self.id),
            };
            items.push(CatalogItem {
                civil_code: district.clone(),
                business_group_id: group.clone(),
                ..self.camera(id, &format!("Camera {n}"), &parent)
            });
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
            items_per_message: if self.is_platform() { 40 } else { 2 },
            charset: Charset::Gb2312,
            info: Arc::new(self.info()),
            channels: self.placed_catalog(config).into(),
            abilities: Arc::new(device::Abilities {
                records: records(&self.name),
                reverse: self.quirk == Quirk::Reverse,
                hangs_up: self.quirk == Quirk::HangsUp,
                start: self.drives(config).then(|| self.place()),
                security,
                ..device::Abilities::default()
            }),
        }
    }

    /// The last digit tells the devices of a lively simulation apart.
    fn is_lively(&self, config: &Config, digit: &str) -> bool {
        config.lively && self.id.0.as_str().ends_with(digit)
    }

    fn drives(&self, config: &Config) -> bool {
        config.driving || self.is_lively(config, "4")
    }

    pub(super) fn raises_alarms(&self, config: &Config) -> bool {
        config.alarming || self.is_lively(config, "2")
    }

    /// Longitude and latitude: devices stand a few hundred metres from each other.
    fn place(&self) -> (f64, f64) {
        let serial = self.id.0.as_str().get(13..).and_then(|s| s.parse().ok());
        let n: u32 = serial.unwrap_or(0);
        (
            121.4737 + 0.0035 * f64::from(n % 3),
            31.2304 - 0.0021 * f64::from(n % 5),
        )
    }

    fn placed_catalog(&self, config: &Config) -> Vec<CatalogItem> {
        let mut items = self.catalog();
        if config.lively {
            let (longitude, latitude) = self.place();
            for item in &mut items {
                item.longitude = Some(longitude);
                item.latitude = Some(latitude);
                if self.is_lively(config, "3") {
                    item.ptz_type = FIXED_CAMERA;
                }
            }
        }
        items
    }
}

/// What every camera recorded: a file an hour, the last day up to the hour that runs.
fn records(name: &str) -> Vec<FileRecord> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |d| d.as_secs() as i64);
    let hour = now - now.rem_euclid(3_600);
    let text = |at| Some(local_text(at, device::LOCAL_OFFSET_S));
    (1..=RECORDED_HOURS)
        .rev()
        .map(|ago| FileRecord {
            start_time: text(hour - ago * 3_600),
            end_time: text(hour - (ago - 1) * 3_600),
            name: Some(format!("{name} {}", RECORDED_HOURS - ago)),
            file_path: Some(format!("/record/{}.mp4", hour - ago * 3_600)),
            secrecy: Some(0),
            kind: Some("time".into()),
            file_size: Some("540000000".into()),
            ..FileRecord::default()
        })
        .collect()
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
    fn a_platform_has_districts_groups_and_organisations() {
        let items = plan("34020000002000000002", 10_251).catalog();
        let of = |kind| {
            items
                .iter()
                .filter(|item| item.id.get(10..13) == Some(kind))
                .count()
        };
        assert_eq!((of("132"), of("216"), of("215")), (10_251, 42, 2));
        let ids: HashSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
        assert_eq!(ids.len(), items.len());
        // Some name what is above their parent too.
        let parent = |item: &CatalogItem| item.parent_id.rsplit('/').next().map(str::to_owned);
        let hangs = |item: &CatalogItem| parent(item).is_some_and(|id| ids.contains(id.as_str()));
        let top = items.iter().filter(|item| !hangs(item));
        assert_eq!(
            top.count(),
            2,
            "everything but the districts hangs on something"
        );
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
