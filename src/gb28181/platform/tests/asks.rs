//! Orders, questions and subscriptions against a simulated device that does what it is told.

use super::*;
use crate::gb28181::answer::{Answer, AskFailure, CruisePoint, FileRecord};
use crate::gb28181::control::{Area, Control, HomePosition, PtzPrecise, Tracking, Upgrade};
use crate::gb28181::device::{Abilities, TRAVEL};
use crate::gb28181::edition::Edition;
use crate::gb28181::notice::{Alarm, AlarmInfo, ChannelEvent, FILE_ENDED, Notice, VideoUpload};
use crate::gb28181::ptz::{
    CruiseOrder, Focus, Iris, Lens, Move, Pan, PresetOrder, Ptz, ScanOrder, Tilt, WIPER, Zoom,
};
use crate::gb28181::question::{AlarmFilter, Ask, Question, RecordFilter};
use crate::gb28181::settings::{ConfigType, Mirror, Settings, SnapShotConfig};
use crate::gb28181::subscribe::{SubscriptionState, Topic, Wanted};
use crate::gb28181::types::AskId;
use crate::limits::{ASK_ANSWER_S, ASKS_PER_DEVICE_MAX};

type Outcome = Result<Answer, AskFailure>;

impl Net {
    fn with_abilities(config: Config, abilities: Abilities) -> Net {
        let mut net = Net::new(config);
        let device = device::Config {
            abilities: Arc::new(abilities),
            ..device_config(1, 2)
        };
        net.add(device);
        net.run(5 * S);
        net.take_events();
        net
    }

    /// Sends an order or question without waiting.
    fn send_ask(&mut self, id: u64, target: crate::id::GbId, ask: Ask) {
        let id = AskId(id);
        let device = device_id(1);
        let ask = Box::new(ask);
        self.command(Command::Ask {
            id,
            device,
            target,
            ask,
        });
    }

    /// The outcomes so far, each with its number.
    fn outcomes(&mut self) -> Vec<(u64, Outcome)> {
        let events = self.take_events().into_iter();
        events
            .filter_map(|event| match event {
                Event::AskEnded { id, outcome } => Some((id.0, *outcome)),
                _ => None,
            })
            .collect()
    }

    /// Asks the first channel and waits for the one outcome.
    fn ask_one(&mut self, ask: Ask) -> Outcome {
        self.send_ask(900, channel_id(1, 1).0, ask);
        self.run(2 * ASK_ANSWER_S as u32 * S);
        let mut all = self.outcomes();
        assert_eq!(all.len(), 1, "one outcome");
        all.remove(0).1
    }

    fn order(&mut self, control: Control) -> Outcome {
        self.ask_one(Ask::Control(control))
    }

    fn query(&mut self, question: Question) -> Outcome {
        self.ask_one(Ask::Query(question))
    }

    /// As `order`, but only as long as the answer takes.
    fn order_quickly(&mut self, control: Control) {
        self.send_ask(901, channel_id(1, 1).0, Ask::Control(control));
        self.run(Duration::from_millis(40));
        assert_eq!(self.outcomes(), [(901, Ok(Answer::Done))]);
    }

    fn look(&mut self) -> (f64, f64, f64) {
        let now = self.now;
        let place = self.device(1).camera(now, channel_id(1, 1).0).look(now);
        (place.pan, place.tilt, place.zoom)
    }

    fn notices(&mut self) -> Vec<Notice> {
        let events = self.take_events().into_iter();
        events
            .filter_map(|event| match event {
                Event::Notified { notice, .. } => Some(*notice),
                _ => None,
            })
            .collect()
    }
}

fn ptz(order: Ptz) -> Control {
    Control::Ptz {
        order,
        preset_name: None,
        cruise_name: None,
    }
}

fn preset(order: PresetOrder, number: u8) -> Ptz {
    Ptz::Preset { order, number }
}

fn capable() -> Net {
    Net::with_abilities(config(), Abilities::default())
}

#[test]
fn a_head_turns_while_it_is_told_to_and_then_stands() {
    let mut net = capable();
    let turn = Move {
        pan: Some(Pan::Right),
        tilt: Some(Tilt::Up),
        zoom: Some(Zoom::In),
        pan_speed: 128,
        tilt_speed: 64,
        zoom_speed: 4,
    };
    net.order_quickly(ptz(Ptz::Move(turn)));
    net.run(S);
    let moving = net.look();
    assert!(
        moving.0 > 10.0 && moving.1 > 5.0 && moving.2 > 1.5,
        "{moving:?}"
    );
    net.order_quickly(ptz(Ptz::STOP));
    let stood = net.look();
    net.run(30 * S);
    assert_eq!(net.look(), stood);
    let lens = Lens {
        focus: Some(Focus::Far),
        iris: Some(Iris::Close),
        focus_speed: 255,
        iris_speed: 128,
    };
    net.order_quickly(ptz(Ptz::Lens(lens)));
    net.run(S);
    let now = net.now;
    let (focus, iris) = net.device(1).camera(now, channel_id(1, 1).0).lens(now);
    assert!(focus > 0.9 && iris < 0.3, "{focus} {iris}");
    let wiper = Ptz::Auxiliary {
        number: WIPER,
        on: true,
    };
    net.order_quickly(ptz(wiper));
    let camera = net.device(1).camera(now, channel_id(1, 1).0);
    assert!(camera.switches.contains(&WIPER));
}

#[test]
fn presets_are_set_listed_gone_to_and_deleted() {
    let mut net = capable();
    let go = |pan| {
        Control::PtzPrecise(PtzPrecise {
            pan: Some(pan),
            ..PtzPrecise::default()
        })
    };
    for (number, pan, name) in [(1, 90.0, Some("东门")), (7, 180.0, None)] {
        net.order_quickly(go(pan));
        net.run(TRAVEL);
        net.order_quickly(Control::Ptz {
            order: preset(PresetOrder::Set, number),
            preset_name: name.map(str::to_owned),
            cruise_name: None,
        });
    }
    net.order_quickly(ptz(preset(PresetOrder::Go, 1)));
    net.run(TRAVEL);
    assert_eq!(net.look().0, 90.0);
    let Ok(Answer::Presets(presets)) = net.query(Question::Presets) else {
        panic!("presets");
    };
    let told: Vec<_> = presets
        .iter()
        .map(|p| (p.preset_id, p.preset_name.as_deref()))
        .collect();
    assert_eq!(told, [(1, Some("东门")), (7, None)]);
    net.order_quickly(ptz(preset(PresetOrder::Delete, 1)));
    let Ok(Answer::Presets(presets)) = net.query(Question::Presets) else {
        panic!("presets");
    };
    assert_eq!(presets.len(), 1);
}

#[test]
fn cruises_are_made_listed_run_and_removed() {
    let mut net = capable();
    let go = |pan| {
        Control::PtzPrecise(PtzPrecise {
            pan: Some(pan),
            ..PtzPrecise::default()
        })
    };
    let cruise = |order| ptz(Ptz::Cruise { cruise: 3, order });
    for (number, pan) in [(1, 10.0), (2, 100.0)] {
        net.order_quickly(go(pan));
        net.run(TRAVEL);
        net.order_quickly(ptz(preset(PresetOrder::Set, number)));
        net.order_quickly(Control::Ptz {
            order: Ptz::Cruise {
                cruise: 3,
                order: CruiseOrder::Add { preset: number },
            },
            preset_name: None,
            cruise_name: Some("夜".into()),
        });
    }
    net.order_quickly(cruise(CruiseOrder::Speed(300)));
    net.order_quickly(cruise(CruiseOrder::Dwell(8)));
    let Ok(Answer::CruiseTracks(tracks)) = net.query(Question::CruiseTracks) else {
        panic!("cruises");
    };
    assert_eq!(
        (tracks[0].number, tracks[0].name.as_deref()),
        (3, Some("夜"))
    );
    let Ok(Answer::CruiseTrack(detail)) = net.query(Question::CruiseTrack { number: 3 }) else {
        panic!("a cruise");
    };
    let point = |preset_index| CruisePoint {
        preset_index,
        stay_time: Some(8),
        speed: Some(300),
    };
    assert_eq!(detail.points, [point(1), point(2)]);
    let unknown = net.query(Question::CruiseTrack { number: 4 });
    assert!(
        matches!(unknown, Err(AskFailure::Failed { .. })),
        "{unknown:?}"
    );
    net.order_quickly(cruise(CruiseOrder::Start));
    net.run(TRAVEL + S);
    assert_eq!(net.look().0, 10.0);
    net.run(TRAVEL + 8 * S);
    assert_eq!(net.look().0, 100.0);
    net.order_quickly(ptz(Ptz::STOP));
    net.run(20 * S);
    assert_eq!(net.look().0, 100.0);
    net.order_quickly(cruise(CruiseOrder::Remove { preset: 0 }));
    let answer = net.query(Question::CruiseTracks);
    assert_eq!(answer, Ok(Answer::CruiseTracks(Vec::new())));
    let scan = |order| ptz(Ptz::Scan { scan: 1, order });
    for (edge, pan) in [(ScanOrder::LeftEdge, 10.0), (ScanOrder::RightEdge, 50.0)] {
        net.order_quickly(go(pan));
        net.run(TRAVEL);
        net.order_quickly(scan(edge));
    }
    net.order_quickly(scan(ScanOrder::Speed(2000)));
    net.order_quickly(scan(ScanOrder::Start));
    let first = net.look().0;
    net.run(S / 2);
    assert!(net.look().0 != first && (10.0..=50.0).contains(&net.look().0));
}

#[test]
fn a_camera_returns_home_and_says_where_it_looks() {
    let mut net = capable();
    net.order_quickly(ptz(preset(PresetOrder::Set, 1)));
    let home = HomePosition {
        enabled: 1,
        reset_time: Some(30),
        preset_index: Some(1),
    };
    assert_eq!(
        net.order(Control::HomePosition(home.clone())),
        Ok(Answer::Done)
    );
    assert_eq!(
        net.query(Question::HomePosition),
        Ok(Answer::HomePosition(home))
    );
    let precise = PtzPrecise {
        pan: Some(200.25),
        tilt: Some(-12.5),
        zoom: Some(4.0),
    };
    net.order_quickly(Control::PtzPrecise(precise));
    net.run(TRAVEL);
    let Ok(Answer::PtzPosition(position)) = net.query(Question::PtzPosition) else {
        panic!("a position");
    };
    assert_eq!(
        (position.pan, position.tilt, position.zoom),
        (Some(200.25), Some(-12.5), Some(4.0))
    );
    let area = Area {
        length: 1000,
        width: 500,
        mid_point_x: 500,
        mid_point_y: 250,
        length_x: 500,
        length_y: 250,
    };
    net.order_quickly(Control::DragZoom { closer: true, area });
    net.run(TRAVEL);
    assert_eq!(net.look().2, 8.0);
    net.run(40 * S);
    assert_eq!(net.look(), (0.0, 0.0, 1.0));
}

#[test]
fn the_other_orders_do_what_they_say() {
    let mut net = capable();
    let target = channel_id(1, 1).0;
    let record = |start| Control::Record {
        start,
        stream: None,
    };
    assert_eq!(net.order(record(true)), Ok(Answer::Done));
    let Ok(Answer::DeviceStatus(status)) = net.query(Question::DeviceStatus) else {
        panic!("a status");
    };
    assert_eq!(status.record.as_deref(), Some("ON"));
    assert_eq!(net.order(record(false)), Ok(Answer::Done));
    assert_eq!(net.order(Control::Guard { set: true }), Ok(Answer::Done));
    assert!(net.device(1).is_guarded());
    assert_eq!(net.order(Control::Guard { set: false }), Ok(Answer::Done));
    assert!(!net.device(1).is_guarded());
    assert_eq!(net.order(Control::KeyFrame), Ok(Answer::Done));
    let track = Control::TargetTrack {
        mode: Tracking::Auto,
        panorama: None,
        area: None,
    };
    assert_eq!(net.order(track), Ok(Answer::Done));
    let now = net.now;
    let camera = net.device(1).camera(now, target);
    assert!(camera.tracking && camera.key_frames == 1 && !camera.recording);
    net.order_quickly(Control::FormatSdCard { card: 1 });
    net.send_ask(1, target, Ask::Query(Question::SdCards));
    net.run(S);
    let outcomes = net.outcomes();
    let [(1, Ok(Answer::SdCards(cards)))] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(cards[0].status.as_deref(), Some("formatting"));
    net.run(20 * S);
    let Ok(Answer::SdCards(cards)) = net.query(Question::SdCards) else {
        panic!("cards");
    };
    assert_eq!(cards[0].free_space, cards[0].capacity);
    assert_eq!(
        net.query(Question::Alarms(AlarmFilter::default())),
        Ok(Answer::Done)
    );
    net.order_quickly(Control::TeleBoot);
    net.run(5 * S);
    assert_eq!(net.device(1).boots(), 1);
    assert!(net.device(1).is_registered());
}

#[test]
fn what_takes_long_is_told_when_it_is_done() {
    let mut net = capable();
    let session = "u".repeat(32);
    let upgrade = Control::Upgrade(Upgrade {
        firmware: "V2".into(),
        file_url: "http://192.0.2.1/v2.bin".into(),
        manufacturer: "M".into(),
        session_id: session.clone(),
    });
    net.send_ask(1, device_id(1).0, Ask::Control(upgrade));
    net.run(S);
    assert_eq!(net.outcomes(), [(1, Ok(Answer::Done))]);
    net.run(30 * S);
    let notices = net.notices();
    let [Notice::Upgraded(result)] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert_eq!(
        (&result.session_id, result.result.as_str()),
        (&session, "OK")
    );
    assert_eq!(net.device(1).firmware(), Some("V2"));
    let shots = Settings::SnapShot(SnapShotConfig {
        snap_num: 3,
        interval: Some(2),
        upload_url: "http://192.0.2.1/".into(),
        session_id: session.clone(),
    });
    net.send_ask(2, channel_id(1, 1).0, Ask::Set(shots));
    net.run(S);
    assert_eq!(net.outcomes(), [(2, Ok(Answer::Done))]);
    net.run(10 * S);
    let notices = net.notices();
    let [Notice::SnapShots(shots)] = &notices[..] else {
        panic!("{notices:?}");
    };
    assert_eq!((&shots.session_id, shots.files.len()), (&session, 3));
    let now = net.now;
    let device = net.device(1);
    let about = device_id(1).0;
    device.tell(
        now,
        about,
        &Notice::MediaStatus {
            notify_type: FILE_ENDED,
        },
    );
    device.tell(
        now,
        about,
        &Notice::VideoUpload(VideoUpload {
            time: "2026-06-14T12:00:00".into(),
            ..VideoUpload::default()
        }),
    );
    net.run(S);
    let events = net.take_events();
    assert!(events.iter().any(|event| matches!(
        event,
        Event::FileEnded { invite: None, about: Some(id), .. } if *id == about
    )));
    let told = events.iter().filter_map(|event| match event {
        Event::Notified { notice, .. } => Some(notice.cmd()),
        _ => None,
    });
    use crate::gb28181::manscdp::CmdType;
    assert_eq!(told.collect::<Vec<_>>(), [CmdType::VideoUploadNotify]);
}

#[test]
fn every_setting_can_be_set_and_asked_for() {
    let mut net = capable();
    let all = crate::gb28181::settings::examples();
    for settings in &all {
        assert_eq!(net.ask_one(Ask::Set(settings.clone())), Ok(Answer::Done));
        let kind = settings.kind();
        let answer = net.query(Question::Config(vec![kind]));
        assert_eq!(
            answer,
            Ok(Answer::Config(vec![settings.clone()])),
            "{kind:?}"
        );
    }
    let answer = net.query(Question::Config(ConfigType::ALL.to_vec()));
    assert_eq!(answer, Ok(Answer::Config(all)));
    let refused = net.ask_one(Ask::Set(Settings::FrameMirror(Mirror { mode: 9 })));
    assert!(
        matches!(refused, Err(AskFailure::Failed { .. })),
        "{refused:?}"
    );
}

fn recorded(hours: u32) -> Abilities {
    let record = |hour: u32| FileRecord {
        start_time: Some(format!("2026-06-14T{hour:02}:00:00")),
        end_time: Some(format!("2026-06-14T{hour:02}:59:59")),
        name: Some(format!("录像{hour}")),
        kind: Some(
            if hour.is_multiple_of(4) {
                "alarm"
            } else {
                "time"
            }
            .into(),
        ),
        secrecy: Some(0),
        ..FileRecord::default()
    };
    Abilities {
        records: (0..hours).map(record).collect(),
        ..Abilities::default()
    }
}

fn filter(from: &str, to: &str, kind: &str) -> Question {
    Question::Records(RecordFilter {
        start_time: format!("2026-06-14T{from}"),
        end_time: format!("2026-06-14T{to}"),
        kind: Some(kind.into()),
        secrecy: Some(0),
        ..RecordFilter::default()
    })
}

#[test]
fn records_come_over_many_messages_and_through_loss() {
    let mut net = Net::with_abilities(config(), recorded(24));
    net.loss = 200;
    for (question, count) in [
        (filter("00:00:00", "23:59:59", "all"), 24),
        (filter("10:00:00", "12:00:00", "all"), 2),
        (filter("00:00:00", "23:59:59", "alarm"), 6),
        (filter("00:00:00", "00:00:00", "all"), 0),
    ] {
        let outcome = net.query(question);
        let Ok(Answer::Records { records, partial }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!((records.len(), partial), (count, false));
        assert!(records.is_sorted_by_key(|r| r.start_time.clone()));
    }
}

#[test]
fn silence_is_named_with_what_was_sent_and_how_long_was_waited() {
    let silent = Abilities {
        silent: true,
        ..Abilities::default()
    };
    let mut net = Net::with_abilities(config(), silent);
    let outcome = net.query(Question::Presets);
    let text = outcome.expect_err("silence").to_string();
    assert_eq!(
        text,
        "the device took PresetQuery but did not answer within 10.0 s"
    );
    // An order without an answer is done when it is taken.
    assert_eq!(net.order(ptz(Ptz::STOP)), Ok(Answer::Done));
    net.loss = 1000;
    let outcome = net.order(ptz(Ptz::STOP));
    assert_eq!(
        outcome.expect_err("silence").to_string(),
        "no answer to PTZCmd within 10.0 s"
    );
    assert_eq!(net.platform.gauges().asks, 0);
}

#[test]
fn a_command_newer_than_the_device_is_sent_and_its_failure_named() {
    let older = Abilities {
        edition: Edition::Y2016,
        ..Abilities::default()
    };
    let mut net = Net::with_abilities(config(), older);
    let text = net
        .query(Question::PtzPosition)
        .expect_err("too new")
        .to_string();
    assert!(
        text.ends_with("it is of GB/T 28181-2016, which does not have this command"),
        "{text}"
    );
    let mirror = Ask::Set(Settings::FrameMirror(Mirror { mode: 1 }));
    let failure = net.ask_one(mirror).expect_err("too new");
    assert!(
        matches!(
            failure,
            AskFailure::Failed {
                too_new: Some(Edition::Y2016),
                ..
            }
        ),
        "{failure:?}"
    );
    assert!(net.query(Question::Presets).is_ok());
}

#[test]
fn refusal_absence_and_ignorance_are_told_apart() {
    let mut net = capable();
    net.send_ask(1, channel_id(1, 9).0, Ask::Query(Question::Presets));
    net.run(S);
    let outcomes = net.outcomes();
    let [(1, Err(AskFailure::Refused { status: 404, .. }))] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    let ask = || Box::new(Ask::Query(Question::Presets));
    net.command(Command::Ask {
        id: AskId(2),
        device: device_id(5),
        target: device_id(5).0,
        ask: ask(),
    });
    assert_eq!(net.outcomes(), [(2, Err(AskFailure::DeviceUnknown))]);
    net.send_ask(3, device_id(1).0, *ask());
    let now = net.now;
    net.device(1).stop(now);
    net.drain();
    net.run(Duration::from_millis(25));
    // The answer was on its way before the device left.
    let outcomes = net.outcomes();
    assert_eq!(outcomes.len(), 1);
    net.run(S);
    net.send_ask(4, device_id(1).0, *ask());
    assert_eq!(net.outcomes(), [(4, Err(AskFailure::DeviceOffline))]);
}

#[test]
fn each_question_ends_once_through_heavy_loss() {
    let mut net = Net::with_abilities(config(), recorded(24));
    net.loss = 400;
    let target = channel_id(1, 1).0;
    let count = ASKS_PER_DEVICE_MAX as u64;
    for id in 0..count {
        let ask = match id % 4 {
            0 => Ask::Query(Question::Presets),
            1 => Ask::Query(filter("00:00:00", "23:59:59", "all")),
            2 => Ask::Control(ptz(Ptz::STOP)),
            _ => Ask::Query(Question::Config(ConfigType::ALL.to_vec())),
        };
        net.send_ask(id, target, ask);
    }
    net.send_ask(count, target, Ask::Query(Question::Presets));
    let bound = net.outcomes();
    assert!(
        matches!(&bound[..], [(id, Err(AskFailure::TooMany { .. }))] if *id == count),
        "{bound:?}"
    );
    net.run(120 * S);
    let mut ids: Vec<u64> = net.outcomes().into_iter().map(|(id, _)| id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..count).collect::<Vec<_>>());
    assert_eq!(net.platform.gauges().asks, 0);
}

fn subscribing() -> Config {
    Config {
        subscriptions: Topic::ALL.into_iter().map(Wanted::new).collect(),
        ..config()
    }
}

fn driving() -> Abilities {
    Abilities {
        start: Some((117.28, 31.86)),
        ..Abilities::default()
    }
}

#[test]
fn a_device_that_comes_online_is_subscribed_to_and_tells() {
    let mut net = Net::with_abilities(subscribing(), driving());
    assert_eq!(net.platform.gauges().subscriptions_active, 4);
    assert_eq!(net.device(1).subscriptions(), 4);
    net.run(20 * S);
    let positions: Vec<_> = net
        .notices()
        .into_iter()
        .map(|notice| match notice {
            Notice::Positions(positions) => positions[0].longitude,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(positions.len(), 4, "every five seconds");
    assert!(positions.is_sorted() && positions[0] > 117.28);
    let now = net.now;
    for event in ChannelEvent::ALL {
        let item = CatalogItem {
            id: channel_id(1, 2).to_string(),
            name: "n".into(),
            online: true,
            ..CatalogItem::default()
        };
        assert!(net.device(1).channel_changed(now, event, item));
    }
    net.drain();
    net.run(S);
    let told: Vec<ChannelEvent> = net
        .notices()
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::Catalog(changes) => Some(changes[0].event),
            _ => None,
        })
        .collect();
    assert_eq!(told, ChannelEvent::ALL);
    net.order_quickly(ptz(preset(PresetOrder::Set, 1)));
    net.run(S);
    // The order was the first thing that made the head known.
    net.order_quickly(ptz(preset(PresetOrder::Go, 1)));
    net.run(Duration::from_millis(100));
    assert!(net.platform.counters().notifies > 10);
    let Ok(Answer::Positions(positions)) = net.query(Question::Position) else {
        panic!("a position");
    };
    assert_eq!(positions[0].latitude, 31.86);
}

#[test]
fn subscriptions_are_refreshed_for_a_day_and_remade_when_forgotten() {
    let mut net = Net::with_abilities(subscribing(), Abilities::default());
    net.run(86_400 * S);
    assert_eq!(net.platform.gauges().subscriptions_active, 4);
    assert_eq!(net.device(1).subscriptions(), 4);
    assert_eq!(
        net.platform.counters().subscriptions_made,
        4,
        "refreshed, not remade"
    );
    net.device(1).forget_subscriptions();
    net.run(3600 * S);
    assert_eq!(net.device(1).subscriptions(), 4);
    assert_eq!(net.platform.counters().subscriptions_made, 8);
}

#[test]
fn a_subscription_can_be_wanted_and_given_up_for_one_device() {
    let mut net = capable();
    let device = device_id(1);
    net.command(Command::Subscribe {
        device,
        wanted: Wanted::new(Topic::Alarm),
    });
    net.run(S);
    assert_eq!(net.device(1).subscriptions(), 1);
    let topic = Topic::Alarm;
    net.command(Command::Unsubscribe {
        device,
        subject: topic.into(),
    });
    net.run(S);
    assert_eq!(net.device(1).subscriptions(), 0);
    assert_eq!(net.platform.gauges().subscriptions, 0);
}

#[test]
fn a_channel_is_subscribed_to_by_its_own_code_beside_its_device() {
    let mut net = capable();
    let device = device_id(1);
    let channel = channel_id(1, 2).0;
    let of_channel = Wanted {
        channel: Some(channel),
        ..Wanted::new(Topic::PtzPosition)
    };
    net.command(Command::Subscribe {
        device,
        wanted: of_channel,
    });
    net.run(S);
    assert_eq!(net.device(1).subscriptions(), 1);
    let wanted = Wanted::new(Topic::PtzPosition);
    net.command(Command::Subscribe { device, wanted });
    net.run(S);
    assert_eq!(net.device(1).subscriptions(), 2);
    assert_eq!(net.platform.gauges().subscriptions_active, 2);
    net.take_events();
    net.order_quickly(ptz(Ptz::Move(Move {
        pan: Some(Pan::Left),
        pan_speed: 10,
        ..Move::default()
    })));
    net.run(S);
    // Both subscriptions are told, each in its dialog, and none is taken for a stale one.
    assert_eq!(net.platform.counters().no_dialog, 0);
    assert!(net.platform.counters().notifies >= 1);
    // They last, and are given up one by one.
    net.run(7_300 * S);
    assert_eq!(net.device(1).subscriptions(), 2);
    let subject = of_channel.subject();
    net.command(Command::Unsubscribe { device, subject });
    net.run(S);
    assert_eq!(net.device(1).subscriptions(), 1);
    let subject = Topic::PtzPosition.into();
    net.command(Command::Unsubscribe { device, subject });
    net.run(S);
    assert_eq!(net.platform.gauges().subscriptions, 0);
}

#[test]
fn after_our_restart_subscriptions_are_remade_and_old_ones_end() {
    let mut net = Net::with_abilities(subscribing(), driving());
    let wall = WallClock {
        at: net.now,
        unix_ms: UNIX_MS,
    };
    let stored = stored(1, &net, true, 3600);
    net.platform = Platform::new(subscribing(), [8; 32], net.now, wall);
    net.command(Command::Restore(stored));
    // The next message of the device revives it; its positions of old dialogs then end.
    net.run(70 * S);
    assert_eq!(net.platform.gauges().subscriptions_active, 4);
    net.run(10 * S);
    let position_dialogs = net.device(1).subscriptions();
    assert!((4..=7).contains(&position_dialogs), "{position_dialogs}");
    assert!(
        net.platform.counters().no_dialog > 0,
        "the old one was told 481"
    );
}

#[test]
fn a_device_that_knows_no_such_event_is_left_alone() {
    let mut net = by_hand("");
    let device = device_id(1);
    net.command(Command::Subscribe {
        device,
        wanted: Wanted::new(Topic::PtzPosition),
    });
    let subscribe = net.sent(Method::Subscribe);
    assert!(
        subscribe
            .header_str(HeaderName::Event)
            .is_some_and(|e| e.starts_with("presence;id=")),
        "{}",
        subscribe.head_lossy()
    );
    net.answer(&subscribe, "489 Bad Event", "t", "");
    net.run(7200 * S);
    let refused = net.take_events().into_iter().any(|event| {
        matches!(
            event,
            Event::Subscription {
                state: SubscriptionState::Refused { status: 489 },
                ..
            }
        )
    });
    assert!(refused);
    assert_eq!(net.platform.counters().subscribes_sent, 1);
}

fn alarm(method: u32, alarm_type: u32) -> Alarm {
    Alarm {
        priority: 1,
        method,
        time: "2026-06-14T12:01:02".into(),
        description: Some("门 <开>".into()),
        longitude: Some(117.28),
        latitude: Some(31.86),
        info: Some(AlarmInfo {
            alarm_type: Some(alarm_type),
            param: None,
        }),
    }
}

#[test]
fn an_alarm_is_answered_and_comes_again_when_it_is_reset() {
    let mut net = capable();
    let (now, about) = (net.now, channel_id(1, 2).0);
    assert!(net.device(1).raise_alarm(now, about, alarm(2, 1)));
    assert!(!net.device(1).raise_alarm(now, about, alarm(2, 1)));
    net.drain();
    net.run(S);
    assert_eq!(net.notices(), [Notice::Alarm(Box::new(alarm(2, 1)))]);
    assert_eq!(net.device(1).alarms_acknowledged(), 1);
    let reset = Control::ResetAlarm {
        method: Some("2".into()),
        kind: None,
    };
    assert_eq!(net.order(reset), Ok(Answer::Done));
    let now = net.now;
    assert!(net.device(1).raise_alarm(now, about, alarm(2, 1)));
    // Every method and type, as NOTIFY to who subscribed.
    net.command(Command::Subscribe {
        device: device_id(1),
        wanted: Wanted::new(Topic::Alarm),
    });
    net.run(S);
    net.take_events();
    let now = net.now;
    let kinds: Vec<(u32, u32)> = [(1, 0), (3, 0), (4, 0), (6, 1), (6, 2), (7, 0)]
        .into_iter()
        .chain((1..=13).map(|kind| (5, kind)))
        .collect();
    for (method, kind) in &kinds {
        assert!(net.device(1).raise_alarm(now, about, alarm(*method, *kind)));
        assert!(crate::gb28181::notice::alarm_name(*method, Some(*kind)).is_some());
    }
    net.drain();
    net.run(S);
    let told: Vec<(u32, u32)> = net
        .notices()
        .into_iter()
        .filter_map(|notice| match notice {
            Notice::Alarm(alarm) => Some((alarm.method, alarm.alarm_type()?)),
            _ => None,
        })
        .collect();
    assert_eq!(told, kinds);
    assert!(crate::gb28181::notice::alarm_name(5, Some(14)).is_none());
}

#[test]
fn alarms_that_were_raised_are_told_again_to_who_asks() {
    let mut net = capable();
    let (now, about) = (net.now, channel_id(1, 1).0);
    for (method, kind) in [(5, 2), (5, 6), (6, 1)] {
        assert!(net.device(1).raise_alarm(now, about, alarm(method, kind)));
    }
    net.drain();
    net.run(S);
    net.take_events();
    let mut ask = |filter| {
        net.send_ask(7, about, Ask::Query(Question::Alarms(filter)));
        net.run(S);
        let mut told = Vec::new();
        let mut outcome = None;
        for event in net.take_events() {
            match event {
                Event::Notified { notice, .. } => match *notice {
                    Notice::Alarm(alarm) => told.push((alarm.method, alarm.alarm_type())),
                    other => panic!("{other:?}"),
                },
                Event::AskEnded { outcome: ended, .. } => outcome = Some(*ended),
                _ => {}
            }
        }
        assert_eq!(outcome, Some(Ok(Answer::Done)));
        told
    };
    let all = [(5, Some(2)), (5, Some(6)), (6, Some(1))];
    assert_eq!(ask(AlarmFilter::default()), all);
    let intrusions = AlarmFilter {
        alarm_method: Some("1/5".into()),
        alarm_type: Some("6".into()),
        ..AlarmFilter::default()
    };
    assert_eq!(ask(intrusions), all[1..2]);
    let later = AlarmFilter {
        start_alarm_time: Some("2026-06-14T12:01:03".into()),
        ..AlarmFilter::default()
    };
    assert_eq!(ask(later), []);
}
