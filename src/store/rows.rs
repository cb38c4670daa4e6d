//! The platform's own data as rows: what people say of devices, and what they may do.
//!
//! Each is the JSON of the API as well. Bounds: those of the calls that write them; names and texts
//! [`crate::limits::TEXT_BYTES_MAX`].

use super::table::table;

table! {
    /// A group of devices.
    pub struct DeviceGroup in "device_groups" by ["id"] {
        #[schema(example = "g-5f3a9c1e")]
        pub id: String,
        /// The group above; `""` = the root.
        pub parent: String,
        #[schema(example = "North gate")]
        pub name: String,
        pub abbreviation: String,
        pub description: String,
    }
}

table! {
    /// A category of devices.
    pub struct DeviceClass in "device_classes" by ["id"] {
        #[schema(example = "c-5f3a9c1e")]
        pub id: String,
        #[schema(example = "Dome")]
        pub name: String,
        pub description: String,
    }
}

table! {
    /// What people say of a device.
    pub struct DeviceFacts in "device_facts" by ["device"] {
        pub device: String,
        pub kind: String,
        pub name: String,
        pub group_id: String,
        pub class_id: String,
        pub description: String,
        /// Words with `,` between.
        pub tags: String,
        pub made_s: i64,
    }
}

table! {
    /// What people say of a channel.
    pub struct ChannelFacts in "channel_facts" by ["device", "channel"] {
        pub device: String,
        pub channel: String,
        pub name: String,
        /// Whether it can be turned; none = as the device says.
        pub ptz: Option<i64>,
        pub longitude: Option<f64>,
        pub latitude: Option<f64>,
    }
}

table! {
    /// A setting of a channel that this node itself follows, as JSON.
    pub struct OwnSetting in "own_settings" by ["device", "place", "kind"] {
        pub device: String,
        pub place: i64,
        pub kind: String,
        pub value: String,
    }
}

table! {
    /// Settings that many devices shall have.
    pub struct ConfigPlanRow in "config_plans" by ["id"] {
        pub id: String,
        pub name: String,
        pub description: String,
        pub settings: String,
        pub made_s: i64,
    }
}

table! {
    /// A device of a plan.
    pub struct ConfigPlanDevice in "config_plan_devices" by ["device"] {
        #[schema(example = "PU_34020000001110000001")]
        pub device: String,
        #[schema(example = "p-5f3a9c1e")]
        pub plan: String,
        /// `waiting`, `done` or `failed`.
        pub state: String,
        /// Why it failed.
        pub detail: String,
        /// Unix seconds.
        pub changed_s: i64,
    }
}

table! {
    /// An entry of the black or white list.
    pub struct AccessEntry in "access_list" by ["black", "obj_type", "obj_id"] {
        /// true = black list, false = white list.
        pub black: bool,
        /// 1 device, 2 user.
        #[schema(example = 1)]
        pub obj_type: i64,
        /// `PU_` and the code of a device, or the name of a user.
        #[schema(example = "PU_34020000001110000001")]
        pub obj_id: String,
        /// Unix seconds.
        pub made_s: i64,
    }
}

table! {
    /// What a device is subscribed to for, beyond what the config says.
    pub struct SubscriptionRow in "channel_subscriptions" by ["device", "topic", "channel"] {
        pub device: String,
        pub topic: String,
        /// Code of the channel; `""` = the device itself.
        pub channel: String,
        pub expires_s: i64,
        pub interval_s: i64,
    }
}

table! {
    /// A node of a device's directory: a civil code, a business group (215), a virtual organisation (216), a system.
    pub struct NodeRow in "directory" by ["device", "id"] {
        #[serde(skip)]
        pub device: String,
        #[schema(example = "34020000002160000001")]
        pub id: String,
        /// Code of the node above, if that is in the directory too; else `""`.
        pub parent: String,
        pub name: String,
        pub civil_code: String,
        /// In the order of the directory.
        pub place: i64,
    }
}

table! {
    /// A channel as the directory has it; written by the writer of devices.
    pub struct ChannelRow in "channels" by ["device", "place"] {
        pub device: String,
        pub place: i64,
        pub id: String,
        pub name: String,
        pub civil_code: String,
        /// Code of the node that it hangs on, or `""`.
        pub node: String,
        pub flags: i64,
    }
}

table! {
    /// A dialog of media that has begun and is not over: what a crash leaves behind.
    pub struct OpenDialog in "open_dialogs" by ["call_id"] {
        pub call_id: String,
        pub device: String,
        pub dialog: String,
    }
}

table! {
    /// New software for a device: the last order and how it went.
    pub struct UpgradeRow in "upgrades" by ["device"] {
        pub device: String,
        pub session: String,
        pub firmware: String,
        pub state: String,
        pub detail: String,
        pub begun_s: i64,
        pub finished_s: Option<i64>,
    }
}

table! {
    /// Pictures that a device was told to take and upload.
    pub struct Snapshot in "snapshots" by ["id"] {
        /// Names the order; 32 hex digits.
        #[schema(example = "7d5f0a1b2c3d4e5f60718293a4b5c6d7")]
        pub id: String,
        #[schema(example = "PU_34020000001110000001")]
        pub device: String,
        /// Index of the channel.
        #[schema(example = 0)]
        pub place: i64,
        /// Pictures ordered.
        #[schema(example = 3)]
        pub wanted: i64,
        /// Pictures that came: `/gantry/v1/snapshots/{id}/1` and so on.
        #[schema(example = 3)]
        pub received: i64,
        /// `running`, `done` (the device says so) or `failed`.
        #[schema(example = "done")]
        pub state: String,
        pub detail: String,
        /// Unix seconds.
        pub made_s: i64,
        /// Unix seconds.
        pub finished_s: Option<i64>,
        /// Of all pictures.
        #[schema(example = 184320)]
        pub bytes: i64,
        /// What the device calls them, with `,` between.
        #[schema(example = "340200000013200000010220261122120000001")]
        pub files: String,
    }
}
