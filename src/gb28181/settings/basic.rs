//! Basic parameters (2022, A.2.1.19), which alarms are reported (A.2.1.18), snapshots (A.2.1.24).

use crate::gb28181::manscdp::fields::record;

record! {
    /// What a device is called and how it stays registered. Missing values are left as they are.
    pub struct BasicParam {
        pub name: Option<String> = leaf "Name" [len 0..=256];
        /// Seconds.
        pub expiration: Option<u32> = leaf "Expiration" [60..=604_800];
        /// Seconds.
        pub heart_beat_interval: Option<u32> = leaf "HeartBeatInterval" [5..=3600];
        pub heart_beat_count: Option<u32> = leaf "HeartBeatCount" [1..=255];
    }
}

record! {
    /// 0 off, 1 on.
    pub struct AlarmReport {
        pub motion_detection: u32 = leaf "MotionDetection" [0..=1];
        pub field_detection: u32 = leaf "FieldDetection" [0..=1];
    }
}

record! {
    /// Takes pictures and uploads each by HTTP; `UploadSnapShotFinished` follows.
    pub struct SnapShotConfig {
        pub snap_num: u32 = leaf "SnapNum" [1..=10];
        /// Seconds between two pictures.
        pub interval: Option<u32> = leaf "Interval" [1..=86_400];
        pub upload_url: String = leaf "UploadURL" [len 1..=1024];
        /// Letters, digits and dashes; it ties the pictures to the order.
        pub session_id: String = leaf "SessionID" [len 32..=128];
    }
}
