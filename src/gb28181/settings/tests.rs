use super::*;
use crate::gb28181::manscdp::fields::Flaw;
use crate::gb28181::manscdp::tree::tree;

/// Every type with every field set.
pub(crate) fn examples() -> Vec<Settings> {
    let day = |week_day_num| DaySchedule {
        week_day_num,
        segments: vec![TimeSegment {
            start_hour: 8,
            start_min: 30,
            stop_hour: 11,
            stop_sec: 59,
            ..TimeSegment::default()
        }],
    };
    vec![
        Settings::Basic(BasicParam {
            name: Some("东门 <1>".into()),
            expiration: Some(3600),
            heart_beat_interval: Some(60),
            heart_beat_count: Some(3),
        }),
        Settings::VideoOptions(VideoParamOpt {
            download_speed: Some("1/2/4".into()),
            resolution: Some("4/5/6".into()),
        }),
        Settings::SvacEncode(SvacEncode {
            regions: Some(RegionsOfInterest {
                flag: Some(1),
                items: vec![RegionOfInterest {
                    seq: Some(1),
                    top_left: Some(0),
                    bottom_right: Some(9),
                    quality: Some(3),
                }],
            }),
            layers: Some(EncodeLayers {
                ratio_value: Some("4:3".into()),
                ..EncodeLayers::default()
            }),
            surveillance: Some(Surveillance {
                time_flag: Some(1),
                ..Surveillance::default()
            }),
            audio: Some(AudioParam {
                recognition_flag: 1,
            }),
        }),
        Settings::SvacDecode(SvacDecode {
            layers: Some(DecodeLayers {
                mode: Some(2),
                ..DecodeLayers::default()
            }),
            surveillance: None,
        }),
        Settings::VideoAttributes(VideoParamAttribute {
            streams: vec![StreamParam {
                video_format: "2".into(),
                resolution: "6".into(),
                frame_rate: "25".into(),
                bit_rate_type: "1".into(),
                video_bit_rate: Some("4096".into()),
                ..StreamParam::default()
            }],
        }),
        Settings::RecordPlan(VideoRecordPlan {
            record_enable: 1,
            days: vec![day(1), day(7)],
            stream_number: 0,
        }),
        Settings::AlarmRecord(VideoAlarmRecord {
            record_enable: 1,
            record_time: Some(30),
            pre_record_time: Some(5),
            stream_number: 1,
        }),
        Settings::PictureMask(PictureMask {
            on: 1,
            regions: vec![Region {
                seq: 1,
                point: "20,30,50,60".into(),
            }],
        }),
        Settings::FrameMirror(Mirror { mode: 3 }),
        Settings::AlarmReport(AlarmReport {
            motion_detection: 1,
            field_detection: 0,
        }),
        Settings::Osd(OsdConfig {
            length: 1920,
            width: 1080,
            time_x: 10,
            time_y: 20,
            time_enable: Some(1),
            time_type: Some(0),
            text_enable: Some(1),
            texts: vec![OsdText {
                text: "门".into(),
                x: 1,
                y: 2,
            }],
        }),
        Settings::SnapShot(SnapShotConfig {
            snap_num: 2,
            interval: Some(1),
            upload_url: "http://192.0.2.1/snapshot?a=1&b=2".into(),
            session_id: "s".repeat(32),
        }),
    ]
}

#[test]
fn every_type_is_read_as_it_was_written() {
    let all = examples();
    let kinds: Vec<ConfigType> = all.iter().map(Settings::kind).collect();
    assert_eq!(kinds, ConfigType::ALL);
    for settings in all {
        assert_eq!(settings.check(), Ok(()));
        let mut body = String::from("<R>");
        settings.write(&mut body);
        body.push_str("</R>");
        let read = Settings::read_all(&tree(body.as_bytes()).expect("our writing")).expect("whole");
        assert_eq!(read, std::slice::from_ref(&settings), "{body}");
        let kind = settings.kind();
        assert_eq!(ConfigType::from_name(kind.name()), Some(kind));
    }
}

#[test]
fn ranges_hold_from_both_sides() {
    let bad = |settings: Settings| settings.check().expect_err("outside").to_string();
    let snap = |snap_num, session: usize| {
        Settings::SnapShot(SnapShotConfig {
            snap_num,
            upload_url: "http://h/".into(),
            session_id: "x".repeat(session),
            ..SnapShotConfig::default()
        })
    };
    assert_eq!(snap(10, 128).check(), Ok(()));
    assert_eq!(bad(snap(11, 128)), "snapNum must be 1 to 10");
    assert_eq!(bad(snap(0, 128)), "snapNum must be 1 to 10");
    assert_eq!(
        bad(snap(1, 31)),
        "sessionId must have 32 to 128 bytes or items"
    );
    assert_eq!(
        bad(Settings::FrameMirror(Mirror { mode: 4 })),
        "mode must be 0 to 3"
    );
    let plan = |days| {
        Settings::RecordPlan(VideoRecordPlan {
            days: vec![
                DaySchedule {
                    week_day_num: 1,
                    ..DaySchedule::default()
                };
                days
            ],
            ..VideoRecordPlan::default()
        })
    };
    assert_eq!(plan(7).check(), Ok(()));
    assert!(plan(8).check().is_err());
}

#[test]
fn what_must_be_there_is_named() {
    let read = |body: &str| {
        Settings::read_all(&tree(body.as_bytes()).expect("an element")).expect_err("incomplete")
    };
    let bad = read("<R><AlarmReport><MotionDetection>1</MotionDetection></AlarmReport></R>");
    assert_eq!((bad.field, bad.flaw), ("field_detection", Flaw::Missing));
    let bad = read("<R><FrameMirror>x</FrameMirror></R>");
    assert_eq!(bad.flaw, Flaw::Unreadable);
}

#[test]
fn numbers_of_a_stream_are_those_of_annex_g() {
    let usual = StreamParam {
        stream_number: 0,
        video_format: "5".into(),
        resolution: "3840x2160".into(),
        frame_rate: "99".into(),
        bit_rate_type: "2".into(),
        video_bit_rate: Some("100000".into()),
    };
    let check = |change: fn(&mut StreamParam)| {
        let mut stream = usual.clone();
        change(&mut stream);
        Settings::VideoAttributes(VideoParamAttribute {
            streams: vec![usual.clone(), stream],
        })
        .check()
    };
    assert_eq!(check(|_| {}), Ok(()));
    assert_eq!(check(|s| s.video_bit_rate = None), Ok(()));
    assert_eq!(check(|s| s.resolution = "1".into()), Ok(()));
    type Change = (&'static str, fn(&mut StreamParam));
    let table: [Change; 13] = [
        ("videoFormat must be 1 to 5", |s| {
            s.video_format = "99".into()
        }),
        ("videoFormat must be 1 to 5", |s| {
            s.video_format = "0".into()
        }),
        ("videoFormat must be 1 to 5", |s| s.video_format = "".into()),
        ("videoFormat must be 1 to 5", |s| {
            s.video_format = "H264".into()
        }),
        ("videoFormat must be 1 to 5", |s| {
            s.video_format = "+2".into()
        }),
        ("resolution must be 1 to 6", |s| s.resolution = "7".into()),
        ("resolution must be 1 to 6", |s| {
            s.resolution = "0x1080".into()
        }),
        ("resolution must be 1 to 6", |s| {
            s.resolution = "1920x".into()
        }),
        ("frameRate must be 0 to 99", |s| s.frame_rate = "100".into()),
        ("bitRateType must be 1 to 2", |s| {
            s.bit_rate_type = "3".into()
        }),
        ("bitRateType must be 1 to 2", |s| {
            s.bit_rate_type = "0".into()
        }),
        ("videoBitRate must be 0 to 100000", |s| {
            s.video_bit_rate = Some("100001".into())
        }),
        ("videoBitRate must be 0 to 100000", |s| {
            s.video_bit_rate = Some("".into())
        }),
    ];
    for (wanted, change) in table {
        assert_eq!(check(change).expect_err(wanted).to_string(), wanted);
    }
}
