//! When a device records: by the clock (2022, A.2.1.15) and on alarms (A.2.1.16).

use crate::gb28181::manscdp::fields::record;

record! {
    /// Recording by the clock.
    pub struct VideoRecordPlan {
        /// 0 off, 1 on.
        pub record_enable: u32 = leaf "RecordEnable" [0..=1];
        /// Days without an entry have no recording.
        pub days: Vec<DaySchedule> = many "RecordSchedule" [7, "RecordScheduleSumNum"];
        /// 0 the main stream, 1 the first sub-stream, and so on.
        pub stream_number: u32 = leaf "StreamNumber" [0..=255];
    }
}

record! {
    pub struct DaySchedule {
        /// 1 Monday to 7 Sunday.
        pub week_day_num: u32 = leaf "WeekDayNum" [1..=7];
        pub segments: Vec<TimeSegment> = many "TimeSegment" [8, "TimeSegmentSumNum"];
    }
}

record! {
    pub struct TimeSegment {
        pub start_hour: u32 = leaf "StartHour" [0..=23];
        pub start_min: u32 = leaf "StartMin" [0..=59];
        pub start_sec: u32 = leaf "StartSec" [0..=59];
        pub stop_hour: u32 = leaf "StopHour" [0..=23];
        pub stop_min: u32 = leaf "StopMin" [0..=59];
        pub stop_sec: u32 = leaf "StopSec" [0..=59];
    }
}

record! {
    /// Recording on alarms.
    pub struct VideoAlarmRecord {
        pub record_enable: u32 = leaf "RecordEnable" [0..=1];
        /// Seconds after the alarm.
        pub record_time: Option<u32> = leaf "RecordTime" [0..=86_400];
        /// Seconds before the alarm.
        pub pre_record_time: Option<u32> = leaf "PreRecordTime" [0..=3600];
        pub stream_number: u32 = leaf "StreamNumber" [0..=255];
    }
}
