//! What a simulated device answers to questions, and what orders do to it (GB/T 28181-2016, 9.3 and 9.5; 2022 likewise).
//!
//! It says what is so: positions move while it is ordered to move, presets and settings are those that were set, a card
//! that is formatted says how far it is. A device of an older edition takes a command it does not know and is silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::camera::Camera;
use super::{Abilities, Device, Output, Purpose};
use crate::gb28181::answer::{self, Answer, DeviceStatus, FileRecord, SdCard};
use crate::gb28181::control::Control;
use crate::gb28181::manscdp::{self, CmdType, Message, Root, encode, tree::Element, tree::tree};
use crate::gb28181::notice::{Notice, SnapShots, UpgradeResult};
use crate::gb28181::question::{Question, RecordFilter};
use crate::gb28181::settings::{Settings, SnapShotConfig};
use crate::gb28181::types::Span;
use crate::id::GbId;
use crate::limits::SIM_JOBS_MAX;
use crate::sip::{Incoming, Response};
use crate::time::local_text;

/// Clocks of simulated devices, east of UTC.
pub const LOCAL_OFFSET_S: i32 = 8 * 3_600;

/// How long a card is formatted, and how long an upgrade takes.
const FORMAT: Duration = Duration::from_secs(10);
const UPGRADE: Duration = Duration::from_secs(20);

/// What a device is about to finish.
pub(super) struct Job {
    pub at: Instant,
    pub about: GbId,
    pub done: Notice,
}

/// What a device has beside its cameras.
pub(super) struct Recorder {
    pub guard: bool,
    /// An alarm of the device itself, until it is reset.
    pub alarm: bool,
    pub firmware: Option<String>,
    pub boots: u32,
    formatting: Option<Instant>,
}

impl Recorder {
    pub fn new() -> Recorder {
        Recorder {
            guard: false,
            alarm: false,
            firmware: None,
            boots: 0,
            formatting: None,
        }
    }
}

impl Device {
    pub(super) fn asked(&mut self, now: Instant, incoming: &Incoming) {
        let parsed = manscdp::parse(incoming.message.body());
        let (Ok(message), Ok(body)) = (parsed, tree(incoming.message.body())) else {
            _ = self.endpoint.respond(now, incoming, Response::new(400));
            return;
        };
        let about = message.device.unwrap_or(self.config.id.0);
        let here = if self.has(about) { 200 } else { 404 };
        let status = self.refuses.unwrap_or(here);
        _ = self.endpoint.respond(now, incoming, Response::new(status));
        if status != 200 || self.silent {
            return;
        }
        match message.root {
            Root::Query => self.query(now, &message, about, &body),
            Root::Control => self.ordered(now, &message, about, &body),
            Root::Response if message.cmd == CmdType::Alarm => self.alarms_acknowledged += 1,
            Root::Response | Root::Notify | Root::Other => {}
        }
    }

    /// Whether a code is its own or one of its channels'.
    fn has(&self, id: GbId) -> bool {
        let channels = &self.config.channels;
        id == self.config.id.0 || channels.iter().any(|item| item.id == id.as_str())
    }

    /// The camera of that code; every code that the device has is one.
    pub fn camera(&mut self, now: Instant, id: GbId) -> &mut Camera {
        self.cameras.entry(id).or_insert_with(|| Camera::new(now))
    }

    fn query(&mut self, now: Instant, message: &Message, about: GbId, body: &Element) {
        let config = &self.config;
        let (id, charset, sn) = (config.id.0, config.charset, message.sn.unwrap_or(0));
        match message.cmd {
            CmdType::Catalog => {
                if config.channels.is_empty() {
                    let body = encode::catalog(sn, id, 0, &[], charset);
                    return self.send_message(now, body, Purpose::Answer);
                }
                if self.directories.len() < SIM_JOBS_MAX {
                    self.directories.push_back((sn, 0));
                }
                self.send_pages(now);
            }
            CmdType::DeviceInfo => {
                let body = encode::device_info(sn, id, &config.info, charset);
                self.send_message(now, body, Purpose::Answer);
            }
            cmd => {
                let Ok(Some(question)) = Question::read(cmd, body) else {
                    return;
                };
                if question.since() <= config.abilities.edition {
                    self.question(now, about, sn, question);
                }
            }
        }
    }

    /// Sends pages of the directory, so many at a time: a platform's would fill every buffer on the way.
    pub(super) fn send_pages(&mut self, now: Instant) {
        const AT_ONCE: usize = 32;
        let mut under_way = self
            .requests
            .iter()
            .filter(|(_, p)| *p == Purpose::Page)
            .count();
        while under_way < AT_ONCE
            && let Some((sn, from)) = self.directories.pop_front()
        {
            let channels = Arc::clone(&self.config.channels);
            let (id, charset) = (self.config.id.0, self.config.charset);
            let to = (from + self.config.items_per_message.max(1)).min(channels.len());
            if to < channels.len() {
                self.directories.push_front((sn, to));
            }
            let total = channels.len() as u32;
            let body = encode::catalog(sn, id, total, &channels[from..to], charset);
            self.send_message(now, body, Purpose::Page);
            under_way += 1;
        }
    }

    fn question(&mut self, now: Instant, about: GbId, sn: u32, question: Question) {
        let answer = match &question {
            Question::Records(filter) => return self.send_records(now, about, sn, filter),
            Question::DeviceStatus => Answer::DeviceStatus(self.status(now, about)),
            Question::Alarms(_) => Answer::Done,
            Question::Presets => Answer::Presets(self.camera(now, about).presets()),
            Question::Position => match self.position(now) {
                Some(position) => Answer::Positions(vec![position]),
                None => return,
            },
            Question::HomePosition => Answer::HomePosition(self.camera(now, about).home().clone()),
            Question::CruiseTracks => Answer::CruiseTracks(self.camera(now, about).cruises()),
            Question::CruiseTrack { number } => match self.camera(now, about).cruise(*number) {
                Some(cruise) => Answer::CruiseTrack(cruise),
                None => return self.send_result(now, question.cmd(), about, sn, false),
            },
            Question::PtzPosition => Answer::PtzPosition(self.camera(now, about).look(now).into()),
            Question::SdCards => Answer::SdCards(self.cards(now)),
            Question::Config(kinds) => Answer::Config(self.camera(now, about).settings(kinds)),
        };
        let charset = self.config.charset;
        let cmd = question.cmd();
        let body = encode::document(answer.root(), cmd, sn, about, charset, |out| {
            answer.write(out);
        });
        self.send_message(now, body, Purpose::Answer);
        // The answer only says that it was understood; the alarms come as they came before (A.2.5 b).
        if let Question::Alarms(filter) = &question {
            self.tell_alarms(now, about, filter);
        }
    }

    fn status(&mut self, now: Instant, about: GbId) -> DeviceStatus {
        let word = |on: bool| Some(if on { "ON" } else { "OFF" }.to_owned());
        let recording = self.camera(now, about).recording;
        DeviceStatus {
            online: Some("ONLINE".into()),
            status: Some("OK".into()),
            encode: word(!self.media.is_empty()),
            record: word(recording),
            ..DeviceStatus::default()
        }
    }

    fn send_records(&mut self, now: Instant, about: GbId, sn: u32, filter: &RecordFilter) {
        let abilities = Arc::clone(&self.config.abilities);
        let fits = |record: &&FileRecord| fits(record, about, filter);
        let found: Vec<FileRecord> = abilities.records.iter().filter(fits).cloned().collect();
        let charset = self.config.charset;
        let page = |records: &[FileRecord]| {
            encode::document(
                Root::Response,
                CmdType::RecordInfo,
                sn,
                about,
                charset,
                |out| answer::write_records(records, found.len(), out),
            )
        };
        let size = self.config.items_per_message.max(1);
        let bodies: Vec<Vec<u8>> = if found.is_empty() {
            vec![page(&[])]
        } else {
            found.chunks(size).map(page).collect()
        };
        for body in bodies {
            self.send_message(now, body, Purpose::Answer);
        }
    }

    /// Whether a camera recorded anything in a span; their times are local, eight hours east of UTC.
    pub(super) fn has_recorded(&self, channel: GbId, span: Span) -> bool {
        let text = |unix_s: u32| local_text(unix_s.into(), LOCAL_OFFSET_S);
        let filter = RecordFilter {
            start_time: text(span.begin_unix_s),
            end_time: text(span.end_unix_s),
            ..RecordFilter::default()
        };
        let mut records = self.config.abilities.records.iter();
        records.any(|record| fits(record, channel, &filter))
    }

    fn cards(&self, now: Instant) -> Vec<SdCard> {
        let progress = self.recorder.formatting.and_then(|since| {
            let done = (now - since).as_secs_f64() / FORMAT.as_secs_f64();
            (done < 1.0).then_some((done * 100.0) as u32)
        });
        let formatted = self.recorder.formatting.is_some();
        let cards = self.config.abilities.cards.iter();
        cards
            .map(|card| SdCard {
                status: Some(
                    if progress.is_some() {
                        "formatting"
                    } else {
                        "ok"
                    }
                    .into(),
                ),
                format_progress: progress,
                free_space: if formatted {
                    card.capacity
                } else {
                    card.free_space
                },
                ..card.clone()
            })
            .collect()
    }

    fn ordered(&mut self, now: Instant, message: &Message, about: GbId, body: &Element) {
        let (cmd, sn) = (message.cmd, message.sn.unwrap_or(0));
        let edition = self.config.abilities.edition;
        if cmd == CmdType::DeviceControl {
            let control = Control::read(body);
            let known = control.as_ref().is_ok_and(|c| c.since() <= edition);
            let answered = control.as_ref().is_ok_and(Control::is_answered);
            let done =
                control.is_ok_and(|c| known && c.check().is_ok() && self.obey(now, about, &c));
            if answered && known {
                self.send_result(now, cmd, about, sn, done);
            }
        } else if cmd == CmdType::DeviceConfig {
            let all = Settings::read_all(body).unwrap_or_default();
            let known = all
                .iter()
                .all(|s| s.kind().since() <= edition && s.check().is_ok());
            let done = known && !all.is_empty();
            self.send_result(now, cmd, about, sn, done);
            for settings in all.into_iter().filter(|_| done) {
                if let Settings::SnapShot(config) = &settings {
                    self.take_pictures(now, about, config);
                }
                self.camera(now, about).set(settings);
            }
        }
    }

    /// Does an order. False: it cannot.
    fn obey(&mut self, now: Instant, about: GbId, control: &Control) -> bool {
        match control {
            Control::TeleBoot => {
                self.recorder.boots += 1;
                self.subscriptions.clear();
                self.register(now);
                true
            }
            Control::Guard { set } => {
                self.recorder.guard = *set;
                true
            }
            Control::ResetAlarm { .. } => {
                self.recorder.alarm = false;
                true
            }
            Control::FormatSdCard { card } => {
                let cards = self.config.abilities.cards.iter();
                let has = *card == 0 || cards.into_iter().any(|c| c.id == *card);
                if has {
                    self.recorder.formatting = Some(now);
                }
                has
            }
            Control::Upgrade(upgrade) => {
                self.recorder.firmware = Some(upgrade.firmware.clone());
                let result = UpgradeResult {
                    session_id: upgrade.session_id.clone(),
                    result: "OK".into(),
                    firmware: upgrade.firmware.clone(),
                    failed_reason: None,
                };
                self.finish_later(now + UPGRADE, about, Notice::Upgraded(result))
            }
            Control::Ptz { .. }
            | Control::Record { .. }
            | Control::KeyFrame
            | Control::DragZoom { .. }
            | Control::HomePosition(_)
            | Control::PtzPrecise(_)
            | Control::TargetTrack { .. } => {
                let obeyed = self.camera(now, about).obey(now, control);
                self.looks_elsewhere(now);
                obeyed
            }
        }
    }

    /// The upload itself is a matter of sockets; here the pictures are ordered and, in their time, reported.
    fn take_pictures(&mut self, now: Instant, about: GbId, config: &SnapShotConfig) {
        let files = (1..=config.snap_num).map(|n| format!("{about}{n:03}.jpg"));
        let shots = SnapShots {
            session_id: config.session_id.clone(),
            files: files.collect(),
        };
        self.output.push_back(Output::Upload {
            url: config.upload_url.clone(),
            pictures: config.snap_num,
        });
        let interval = u64::from(config.interval.unwrap_or(1));
        let took = Duration::from_secs(interval * u64::from(config.snap_num));
        self.finish_later(now + took, about, Notice::SnapShots(shots));
    }

    fn finish_later(&mut self, at: Instant, about: GbId, done: Notice) -> bool {
        if self.jobs.len() >= SIM_JOBS_MAX {
            return false;
        }
        self.jobs.push(Job { at, about, done });
        true
    }

    /// What is finished is told.
    pub(super) fn finish_jobs(&mut self, now: Instant) {
        while let Some(at) = self.jobs.iter().position(|job| job.at <= now) {
            let job = self.jobs.swap_remove(at);
            self.tell(now, job.about, &job.done);
        }
    }

    fn send_result(&mut self, now: Instant, cmd: CmdType, about: GbId, sn: u32, done: bool) {
        let charset = self.config.charset;
        let word = if done { "OK" } else { "ERROR" };
        let body = encode::document(Root::Response, cmd, sn, about, charset, |out| {
            encode::element(out, "Result", word);
        });
        self.send_message(now, body, Purpose::Answer);
    }
}

/// Times are compared as text: they have one form.
fn fits(record: &FileRecord, about: GbId, filter: &RecordFilter) -> bool {
    let of_channel = record
        .device_id
        .as_deref()
        .is_none_or(|id| id == about.as_str());
    let begins = record.start_time.as_deref().unwrap_or("");
    let ends = record.end_time.as_deref().unwrap_or("");
    let of_kind = filter
        .kind
        .as_deref()
        .is_none_or(|kind| kind == "all" || record.kind.as_deref() == Some(kind));
    let secret = filter
        .secrecy
        .is_none_or(|wanted| record.secrecy.unwrap_or(0) == wanted);
    of_channel
        && of_kind
        && secret
        && begins < filter.end_time.as_str()
        && ends > filter.start_time.as_str()
}

impl Default for Abilities {
    fn default() -> Abilities {
        Abilities {
            edition: crate::gb28181::edition::Edition::Y2022,
            silent: false,
            reverse: false,
            hangs_up: false,
            records: Vec::new(),
            cards: vec![SdCard {
                id: 1,
                hdd_name: Some("SD1".into()),
                capacity: Some(32_768),
                free_space: Some(1_024),
                ..SdCard::default()
            }],
            security: None,
            start: None,
        }
    }
}
