//! Writes down what devices and viewers do: listens to the events of the node and gives them to the store.
//!
//! One task, which lets events gather a moment: to wake it for each costs more than to take it. Events that come faster
//! than it takes them are lost, the oldest first, and counted in the log; it only moves them to a queue, so that needs a
//! node that does nothing else.
//!
//! Bounds: [`limits::EVENTS_WAITING_MAX`].

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use crate::gb28181::notice::alarm_name;
use crate::id::DeviceId;
use crate::limits;
use crate::session::{AlarmView, Command, DeviceView, Event, PlacedPosition, Reply, SessionView};
use crate::store::history::{
    AlarmRow, Chronicle, DialogRow, Entry, NoticeRow, PositionRow, PresenceRow,
};
use crate::store::rows::{Snapshot, UpgradeRow};
use crate::store::table::{Filter, Value};

use super::ApiState;
use super::auth::unix_s;
use super::event::{alarm_type, channel_of, told_at};

/// Runs until the node ends.
pub async fn run(state: ApiState) {
    const GATHER: Duration = Duration::from_millis(limits::EVENTS_GATHER_MS);
    let mut events = state.session.events();
    loop {
        match events.recv().await {
            Ok(event) => take(&state, event).await,
            Err(RecvError::Lagged(events)) => {
                tracing::error!(events, "events came too fast to be written down");
            }
            Err(RecvError::Closed) => return,
        }
        if events.is_empty() {
            tokio::time::sleep(GATHER).await;
        }
    }
}

async fn take(state: &ApiState, event: Event) {
    let chronicle = state.store.chronicle();
    match event {
        Event::DeviceOnline { device } => {
            if let Some(row) = came(chronicle, &device) {
                chronicle.note(Entry::Came(row));
            }
        }
        Event::DeviceOffline { device } => {
            if let Some(id) = device.device {
                chronicle.note(Entry::Went {
                    kind: "PU",
                    name: id.pu_id(),
                    token_id: String::new(),
                    time: now(),
                });
            }
        }
        // It is written, and may have been handled since.
        Event::Alarm(view) if view.again => {}
        Event::Alarm(view) => chronicle.note(Entry::Alarm(Box::new(alarm(state, *view)))),
        Event::Positions { device, positions } => {
            for told in positions {
                chronicle.note(Entry::Position(position(state, device, &told)));
            }
        }
        Event::PtzPosition {
            device,
            index,
            position,
        } => {
            let payload = serde_json::to_string(&position);
            notice(chronicle, device, index, PTZ_POSITION, payload);
        }
        Event::VideoUploaded {
            device,
            index,
            upload,
        } => {
            let payload = serde_json::to_string(&upload);
            notice(chronicle, device, index, VIDEO_UPLOAD, payload);
        }
        // Written when it begins too, so that a node that is killed has not forgotten it.
        Event::SessionOpened { session } | Event::SessionClosed { session } => {
            let asked = state.session.call(Command::Session { session }).await;
            if let Ok(Reply::Session(view)) = asked {
                chronicle.note(Entry::Dialog(Box::new(dialog(&view))));
            }
        }
        Event::SnapShots { device, shots } => {
            let filter = Filter::all()
                .equal("id", shots.session_id)
                .equal("device", device.pu_id());
            told_pictures(state, shots.files, filter).await;
        }
        Event::Upgraded { device, result } => {
            let done = result.result.eq_ignore_ascii_case("OK");
            let filter = Filter::all()
                .equal("device", device.to_string())
                .equal("session", result.session_id);
            let detail = result.failed_reason.unwrap_or_default();
            finish::<UpgradeRow>(state, if done { "done" } else { "failed" }, detail, filter).await;
        }
        Event::DeviceChanged { .. } | Event::DirectoryChanged { .. } => {}
    }
}

/// What a notice is called in the log and on the WebSocket.
pub(super) const PTZ_POSITION: &str = "ptzPosition";
pub(super) const VIDEO_UPLOAD: &str = "videoUpload";
/// On the WebSocket alone.
pub(super) const DIRECTORY: &str = "directory";

fn notice(
    chronicle: &Chronicle,
    device: DeviceId,
    index: Option<u32>,
    kind: &str,
    payload: serde_json::Result<String>,
) {
    chronicle.note(Entry::Notice(Box::new(NoticeRow {
        id: chronicle.next_id(),
        time: now(),
        device: device.pu_id(),
        place: index.map(i64::from),
        kind: kind.to_owned(),
        payload: payload.unwrap_or_default(),
    })));
}

/// Notes that a device has uploaded what it was told to. What is missing may be on its way.
async fn told_pictures(state: &ApiState, files: Vec<String>, filter: Filter) {
    let set = "state = 'done', files = ?, finished_s = ?, detail = CASE WHEN received < wanted THEN ? ELSE '' END";
    let early = "the device had finished before all pictures were here";
    let values = vec![files.join(",").into(), Value::Number(now()), early.into()];
    if let Err(error) = state.store.change::<Snapshot>(set, values, filter).await {
        tracing::error!(%error, "the end of an order for pictures could not be written");
    }
}

/// Notes the end of an order.
async fn finish<T: crate::store::table::Table>(
    state: &ApiState,
    how: &'static str,
    detail: String,
    filter: Filter,
) {
    let values = vec![how.into(), detail.into(), Value::Number(now())];
    let set = "state = ?, detail = ?, finished_s = ?";
    if let Err(error) = state.store.change::<T>(set, values, filter).await {
        tracing::error!(%error, "the end of an order could not be written");
    }
}

fn now() -> i64 {
    i64::try_from(unix_s()).unwrap_or(0)
}

fn came(chronicle: &Chronicle, device: &DeviceView) -> Option<PresenceRow> {
    Some(PresenceRow {
        id: chronicle.next_id(),
        time: now(),
        kind: "PU".into(),
        name: device.device?.pu_id(),
        address: device
            .peer
            .map_or_else(String::new, |peer| peer.to_string()),
        ..PresenceRow::default()
    })
}

fn alarm(state: &ApiState, view: AlarmView) -> AlarmRow {
    let alarm = &view.alarm;
    let name = alarm_name(alarm.method, alarm.alarm_type()).unwrap_or("alarm");
    let told = alarm.description.clone().filter(|told| !told.is_empty());
    AlarmRow {
        id: view.id,
        time: told_at(state.utc_offset_s(), Some(&alarm.time), view.unix_s),
        device: view.device.pu_id(),
        name: view.name,
        place: view.index.map(i64::from),
        alarm_type: i64::from(alarm_type(alarm)),
        priority: i64::from(alarm.priority),
        status: 1,
        description: told.unwrap_or_else(|| name.to_owned()),
        longitude: alarm.longitude,
        latitude: alarm.latitude,
        payload: serde_json::to_string(alarm).unwrap_or_default(),
        ..AlarmRow::default()
    }
}

pub(super) fn position(state: &ApiState, device: DeviceId, told: &PlacedPosition) -> PositionRow {
    let position = &told.position;
    PositionRow {
        id: state.store.chronicle().next_id(),
        time: told_at(state.utc_offset_s(), position.time.as_deref(), now()),
        device: device.pu_id(),
        channel: channel_of(device, told).unwrap_or_default(),
        place: told.index.map(i64::from),
        lng: Some(position.longitude),
        lat: Some(position.latitude),
        height: position.altitude.or(position.height),
        speed: position.speed,
        angle: position.direction,
    }
}

fn dialog(view: &SessionView) -> DialogRow {
    let (device, place) = match view.key.place() {
        Some((device, _)) => (device.pu_id(), view.index),
        None => (view.key.to_string(), 0),
    };
    let close_time = view.closed_unix_s;
    DialogRow {
        id: i64::try_from(view.session.0).unwrap_or(i64::MAX),
        time: view.created_unix_s,
        device,
        place: i64::from(place),
        user_id: view.owner.user.clone(),
        address: view
            .owner
            .peer
            .map_or_else(String::new, |peer| peer.to_string()),
        kind: view.kind.name().to_owned(),
        close_time,
        duration: close_time.map_or(0, |closed| (closed - view.created_unix_s).max(0)),
        sent_bytes: i64::try_from(view.sent_bytes).unwrap_or(i64::MAX),
        failure: view
            .failure
            .as_ref()
            .map_or("", |failure| failure.stage())
            .to_owned(),
    }
}
