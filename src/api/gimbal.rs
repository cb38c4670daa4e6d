//! `/pu/ptz`: turning a camera, its presets and its cruises (bvcsp 1.2, 2.7).
//!
//! | call | what goes to the device |
//! |---|---|
//! | `POST camera` | PTZCmd; `stop` ends what the same `operate` began |
//! | `GET preset/list` | PresetQuery |
//! | `POST preset`, `PUT preset/{id}` | PTZCmd 81H: the preset is where the camera looks now |
//! | `PUT preset/go/{id}`, `DELETE preset/{id}` | PTZCmd 82H, 83H |
//! | `GET cruise/list` | CruiseTrackListQuery, then CruiseTrackQuery for each |
//! | `POST cruise` | PTZCmd 84H for each point, then 86H and 87H |
//! | `PUT cruise/start/{id}` | PTZCmd 88H |
//! | `PUT cruise/stop/{id}` | PTZCmd 00H: the standard stops whatever turns |
//! | `DELETE cruise/{id}` | PTZCmd 85H with preset 0 |
//!
//! The standard has one speed and one stay for a whole cruise: those of the first point are taken, and points that differ
//! are refused. A device of 2016 keeps no names and lists no cruises; the failure says so.
//!
//! Bounds: points of a cruise [`CRUISE_POINTS_MAX`]; cruises whose points are asked for [`CRUISES_ASKED_MAX`].

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::answer::{CruiseDetail, Preset};
use crate::gb28181::ptz::{
    CruiseOrder, Focus, Iris, Lens, Move, Pan, PresetOrder, Ptz, TWELVE_BITS_MAX, Tilt,
    ZOOM_SPEED_MAX, Zoom,
};
use crate::gb28181::{Answer as DeviceAnswer, Ask, Control, Question};
use crate::session::{Command, Reply};

use super::ApiState;
use super::caller::Caller;
use super::device::read_puid;
use super::envelope::{Answer, Body, Code, Done, Failure, Path, wrong_reply};

/// Points of one cruise (bvcsp 1.4).
const CRUISE_POINTS_MAX: usize = 32;
/// Cruises whose points are asked for in one list (bvcsp 1.4); of others only the name is told.
const CRUISES_ASKED_MAX: usize = 32;
const SPEED_MAX: u32 = 100;
const SPEED_DEFAULT: u32 = 50;
const PRESET_MIN: u32 = 1;
const NUMBER_MAX: u32 = 255;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CameraRequest {
    /// `up`, `down`, `left`, `right`, `lefttop`, `righttop`, `leftdown`, `rightdown`, `zoominc`, `zoomdec`, `focusinc`
    /// (far), `focusdec` (near), `apertureinc`, `aperturedec`.
    #[schema(example = "left")]
    operate: String,
    /// true = the end of what was begun.
    #[serde(default)]
    stop: bool,
    /// 0 to 100; 50 if missing. Also of zoom, focus and aperture.
    h_speed: Option<u32>,
    /// 0 to 100; 50 if missing.
    v_speed: Option<u32>,
}

/// A preset that is to be set where the camera looks now.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PresetRequest {
    /// 1 to 255; the first free one if missing, which needs a device that lists its presets.
    id: Option<u32>,
    /// Kept by devices of GB/T 28181-2022; at most 32 bytes.
    name: Option<String>,
}

/// A preset's new name; it moves to where the camera looks now.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PresetChange {
    name: Option<String>,
}

/// By which number a preset or cruise is known.
#[derive(Debug, Serialize, ToSchema)]
pub struct Numbered {
    pub id: u32,
}

/// A round of presets.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CruiseRequest {
    /// 0 to 255.
    pub id: u32,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub points: Vec<CruiseStop>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CruiseStop {
    /// 1 to 255.
    pub preset: u32,
    /// 1 to 4095, as the device counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<u32>,
    /// Seconds, 1 to 4095.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<u32>,
}

/// A place in the world of callers.
type Place = (String, u32);

/// Asks a device and waits for what it answers.
pub async fn ask(
    state: &ApiState,
    puid: &str,
    channel: Option<u32>,
    ask: Ask,
) -> Result<DeviceAnswer, Failure> {
    let device = read_puid(puid)?;
    let ask = Box::new(ask);
    let command = Command::Ask {
        device,
        channel,
        ask,
    };
    let Reply::Answer(answer) = state.session.call(command).await? else {
        return Err(wrong_reply());
    };
    Ok(*answer)
}

async fn steer(state: &ApiState, (puid, index): &Place, order: Ptz) -> Result<Done, Failure> {
    steer_named(state, (puid, *index), order, None, None).await
}

async fn steer_named(
    state: &ApiState,
    (puid, index): (&str, u32),
    order: Ptz,
    preset_name: Option<String>,
    cruise_name: Option<String>,
) -> Result<Done, Failure> {
    let control = Control::Ptz {
        order,
        preset_name,
        cruise_name,
    };
    ask(state, puid, Some(index), Ask::Control(control)).await?;
    Ok(Done::new())
}

fn bad(field: &str, min: u32, max: u32) -> Failure {
    Failure::new(
        Code::ErrorParam,
        format!("bad parameter: {field} must be {min} to {max}"),
    )
}

fn within(field: &str, value: u32, min: u32, max: u32) -> Result<u32, Failure> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(bad(field, min, max))
    }
}

fn preset_number(value: u32) -> Result<u8, Failure> {
    within("id", value, PRESET_MIN, NUMBER_MAX).map(|n| n as u8)
}

fn cruise_number(value: u32) -> Result<u8, Failure> {
    within("id", value, 0, NUMBER_MAX).map(|n| n as u8)
}

/// What an operation of the API is on the wire.
///
/// Errors: the operation or a speed is none.
fn order_of(request: &CameraRequest) -> Result<Ptz, Failure> {
    let speed =
        |field, value: Option<u32>| within(field, value.unwrap_or(SPEED_DEFAULT), 0, SPEED_MAX);
    let horizontal = speed("hSpeed", request.h_speed)?;
    let vertical = speed("vSpeed", request.v_speed)?;
    let wide = |speed: u32| (speed * 255 / SPEED_MAX) as u8;
    let turn = |pan, tilt| {
        Ptz::Move(Move {
            pan,
            tilt,
            pan_speed: if pan.is_some() { wide(horizontal) } else { 0 },
            tilt_speed: if tilt.is_some() { wide(vertical) } else { 0 },
            ..Move::default()
        })
    };
    let zoom = |zoom| {
        Ptz::Move(Move {
            zoom: Some(zoom),
            zoom_speed: (horizontal * u32::from(ZOOM_SPEED_MAX)).div_ceil(SPEED_MAX) as u8,
            ..Move::default()
        })
    };
    let lens = |focus, iris| {
        Ptz::Lens(Lens {
            focus,
            iris,
            focus_speed: wide(horizontal),
            iris_speed: wide(horizontal),
        })
    };
    let order = match request.operate.as_str() {
        "up" => turn(None, Some(Tilt::Up)),
        "down" => turn(None, Some(Tilt::Down)),
        "left" => turn(Some(Pan::Left), None),
        "right" => turn(Some(Pan::Right), None),
        "lefttop" => turn(Some(Pan::Left), Some(Tilt::Up)),
        "righttop" => turn(Some(Pan::Right), Some(Tilt::Up)),
        "leftdown" => turn(Some(Pan::Left), Some(Tilt::Down)),
        "rightdown" => turn(Some(Pan::Right), Some(Tilt::Down)),
        "zoominc" => zoom(Zoom::In),
        "zoomdec" => zoom(Zoom::Out),
        "focusinc" => lens(Some(Focus::Far), None),
        "focusdec" => lens(Some(Focus::Near), None),
        "apertureinc" => lens(None, Some(Iris::Open)),
        "aperturedec" => lens(None, Some(Iris::Close)),
        _ => {
            return Err(Failure::new(
                Code::ErrorParam,
                "bad parameter: operate is not one of those known",
            ));
        }
    };
    let of_lens = matches!(order, Ptz::Lens(_));
    Ok(match (request.stop, of_lens) {
        (false, _) => order,
        (true, true) => Ptz::Lens(Lens::default()),
        (true, false) => Ptz::STOP,
    })
}

/// Turns a camera until the same operation comes with `stop`.
#[utoipa::path(post, path = "/bvcsp/v1/pu/ptz/camera/{puid}/{index}", operation_id = "ptzCamera", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    request_body(content = CameraRequest, example = json!({"operate": "left", "hSpeed": 50, "vSpeed": 50})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn camera(
    State(state): State<ApiState>,
    _: Caller,
    Path(place): Path<Place>,
    Body(request): Body<CameraRequest>,
) -> Result<Done, Failure> {
    steer(&state, &place, order_of(&request)?).await
}

async fn presets(state: &ApiState, (puid, index): &Place) -> Result<Vec<Preset>, Failure> {
    let question = Ask::Query(Question::Presets);
    let DeviceAnswer::Presets(presets) = ask(state, puid, Some(*index), question).await? else {
        return Err(wrong_reply());
    };
    Ok(presets)
}

/// Presets of a camera, as it lists them.
#[utoipa::path(get, path = "/bvcsp/v1/pu/ptz/preset/list/{puid}/{index}", operation_id = "listPresets", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    responses((status = 200, body = Answer<Vec<Preset>>, example = json!({"code": 0, "msg": "success",
        "data": [{"id": 1, "name": "Gate"}]}))))]
pub async fn list_presets(
    State(state): State<ApiState>,
    _: Caller,
    Path(place): Path<Place>,
) -> Result<Answer<Vec<Preset>>, Failure> {
    Ok(Answer::data(presets(&state, &place).await?))
}

/// Sets a preset where the camera looks now.
#[utoipa::path(post, path = "/bvcsp/v1/pu/ptz/preset/{puid}/{index}", operation_id = "addPreset", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    request_body(content = PresetRequest, example = json!({"id": 1, "name": "Gate"})),
    responses((status = 200, body = Answer<Numbered>, example = json!({"code": 0, "msg": "success", "data": {"id": 1}}))))]
pub async fn add_preset(
    State(state): State<ApiState>,
    _: Caller,
    Path(place): Path<Place>,
    Body(request): Body<PresetRequest>,
) -> Result<Answer<Numbered>, Failure> {
    let number = match request.id {
        Some(id) => preset_number(id)?,
        None => {
            let taken = presets(&state, &place).await?;
            let free = (1..=u8::MAX)
                .find(|n| taken.iter().all(|preset| preset.preset_id != u32::from(*n)));
            free.ok_or_else(|| Failure::new(Code::Busy, "every preset is in use"))?
        }
    };
    set_preset(&state, &place, number, request.name).await?;
    Ok(Answer::data(Numbered {
        id: u32::from(number),
    }))
}

async fn set_preset(
    state: &ApiState,
    (puid, index): &Place,
    number: u8,
    name: Option<String>,
) -> Result<Done, Failure> {
    let order = Ptz::Preset {
        order: PresetOrder::Set,
        number,
    };
    let name = name.filter(|name| !name.is_empty());
    steer_named(state, (puid, *index), order, name, None).await
}

/// Moves a preset to where the camera looks now, with another name.
#[utoipa::path(put, path = "/bvcsp/v1/pu/ptz/preset/{puid}/{index}/{id}", operation_id = "changePreset", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0), ("id" = u32, Path, example = 1)),
    request_body(content = PresetChange, example = json!({"name": "Yard"})),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn change_preset(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index, id)): Path<(String, u32, u32)>,
    Body(change): Body<PresetChange>,
) -> Result<Done, Failure> {
    set_preset(&state, &(puid, index), preset_number(id)?, change.name).await
}

/// Deletes a preset.
#[utoipa::path(delete, path = "/bvcsp/v1/pu/ptz/preset/{puid}/{index}/{id}", operation_id = "deletePreset", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0), ("id" = u32, Path, example = 1)),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn delete_preset(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index, id)): Path<(String, u32, u32)>,
) -> Result<Done, Failure> {
    let number = preset_number(id)?;
    let order = PresetOrder::Delete;
    steer(&state, &(puid, index), Ptz::Preset { order, number }).await
}

/// Turns a camera to a preset. Speeds are the device's own.
#[utoipa::path(put, path = "/bvcsp/v1/pu/ptz/preset/go/{puid}/{index}/{id}", operation_id = "goToPreset", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0), ("id" = u32, Path, example = 1)),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn go_to_preset(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index, id)): Path<(String, u32, u32)>,
) -> Result<Done, Failure> {
    let number = preset_number(id)?;
    let order = PresetOrder::Go;
    steer(&state, &(puid, index), Ptz::Preset { order, number }).await
}

/// Cruises of a camera with their points.
#[utoipa::path(get, path = "/bvcsp/v1/pu/ptz/cruise/list/{puid}/{index}", operation_id = "listCruises", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    responses((status = 200, body = Answer<Vec<CruiseRequest>>, example = json!({"code": 0, "msg": "success",
        "data": [{"id": 1, "name": "Night", "points": [{"preset": 1, "speed": 300, "duration": 10}]}]}))))]
pub async fn list_cruises(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index)): Path<Place>,
) -> Result<Answer<Vec<CruiseRequest>>, Failure> {
    let query = |question| ask(&state, &puid, Some(index), Ask::Query(question));
    let DeviceAnswer::CruiseTracks(tracks) = query(Question::CruiseTracks).await? else {
        return Err(wrong_reply());
    };
    let mut cruises = Vec::new();
    for (place, track) in tracks.into_iter().enumerate() {
        let mut detail = CruiseDetail {
            number: track.number,
            name: track.name,
            points: Vec::new(),
        };
        if place < CRUISES_ASKED_MAX {
            let number = track.number;
            let answer = query(Question::CruiseTrack { number }).await?;
            if let DeviceAnswer::CruiseTrack(whole) = answer {
                detail.points = whole.points;
            }
        }
        cruises.push(show_cruise(detail));
    }
    Ok(Answer::data(cruises))
}

fn show_cruise(detail: CruiseDetail) -> CruiseRequest {
    let points = detail.points.into_iter().map(|point| CruiseStop {
        preset: point.preset_index,
        speed: point.speed,
        duration: point.stay_time,
    });
    CruiseRequest {
        id: detail.number,
        name: detail.name,
        points: points.collect(),
    }
}

/// The orders that make a cruise.
fn cruise_orders(request: &CruiseRequest) -> Result<Vec<CruiseOrder>, Failure> {
    let points = &request.points;
    if points.is_empty() || points.len() > CRUISE_POINTS_MAX {
        return Err(Failure::new(
            Code::ErrorParam,
            format!("bad parameter: points must have 1 to {CRUISE_POINTS_MAX} items"),
        ));
    }
    let mut orders = Vec::new();
    for point in points {
        let preset = within("preset", point.preset, PRESET_MIN, NUMBER_MAX)? as u8;
        orders.push(CruiseOrder::Add { preset });
    }
    let same = |field: &'static str, of: fn(&CruiseStop) -> Option<u32>| {
        let first = of(&points[0]);
        if points.iter().any(|point| of(point) != first) {
            let msg = format!("bad parameter: {field} must be the same for all points of a cruise");
            return Err(Failure::new(Code::ErrorParam, msg));
        }
        let checked = first.map(|value| within(field, value, 1, u32::from(TWELVE_BITS_MAX)));
        Ok(checked.transpose()?.map(|value| value as u16))
    };
    orders.extend(same("speed", |point| point.speed)?.map(CruiseOrder::Speed));
    orders.extend(same("duration", |point| point.duration)?.map(CruiseOrder::Dwell));
    Ok(orders)
}

/// Makes a cruise of presets that are there. One of the same number is replaced.
#[utoipa::path(post, path = "/bvcsp/v1/pu/ptz/cruise/{puid}/{index}", operation_id = "addCruise", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0)),
    request_body(content = CruiseRequest, example = json!({"id": 1, "name": "Night",
        "points": [{"preset": 1, "speed": 300, "duration": 10}, {"preset": 2, "speed": 300, "duration": 10}]})),
    responses((status = 200, body = Answer<Numbered>, example = json!({"code": 0, "msg": "success", "data": {"id": 1}}))))]
pub async fn add_cruise(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index)): Path<Place>,
    Body(request): Body<CruiseRequest>,
) -> Result<Answer<Numbered>, Failure> {
    let cruise = cruise_number(request.id)?;
    let orders = cruise_orders(&request)?;
    let name = request.name.filter(|name| !name.is_empty());
    let removed = CruiseOrder::Remove { preset: 0 };
    for order in std::iter::once(removed).chain(orders) {
        let order = Ptz::Cruise { cruise, order };
        steer_named(&state, (&puid, index), order, None, name.clone()).await?;
    }
    Ok(Answer::data(Numbered { id: request.id }))
}

/// Starts a cruise; it goes on until it is stopped or the camera is turned.
#[utoipa::path(put, path = "/bvcsp/v1/pu/ptz/cruise/start/{puid}/{index}/{id}", operation_id = "startCruise", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0), ("id" = u32, Path, example = 1)),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn start_cruise(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index, id)): Path<(String, u32, u32)>,
) -> Result<Done, Failure> {
    let cruise = cruise_number(id)?;
    let order = CruiseOrder::Start;
    steer(&state, &(puid, index), Ptz::Cruise { cruise, order }).await
}

/// Stops a cruise.
#[utoipa::path(put, path = "/bvcsp/v1/pu/ptz/cruise/stop/{puid}/{index}/{id}", operation_id = "stopCruise", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0), ("id" = u32, Path, example = 1)),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn stop_cruise(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index, id)): Path<(String, u32, u32)>,
) -> Result<Done, Failure> {
    cruise_number(id)?;
    steer(&state, &(puid, index), Ptz::STOP).await
}

/// Deletes a cruise.
#[utoipa::path(delete, path = "/bvcsp/v1/pu/ptz/cruise/{puid}/{index}/{id}", operation_id = "deleteCruise", tag = "gimbal", security(("token" = [])),
    params(("puid" = String, Path, example = "PU_34020000001110000001"), ("index" = u32, Path, example = 0), ("id" = u32, Path, example = 1)),
    responses((status = 200, body = Done, example = json!({"code": 0, "msg": "success"}))))]
pub async fn delete_cruise(
    State(state): State<ApiState>,
    _: Caller,
    Path((puid, index, id)): Path<(String, u32, u32)>,
) -> Result<Done, Failure> {
    let cruise = cruise_number(id)?;
    let order = CruiseOrder::Remove { preset: 0 };
    steer(&state, &(puid, index), Ptz::Cruise { cruise, order }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(operate: &str, stop: bool, speed: Option<u32>) -> CameraRequest {
        CameraRequest {
            operate: operate.into(),
            stop,
            h_speed: speed,
            v_speed: speed,
        }
    }

    #[test]
    fn every_operation_moves_and_stops() {
        for operate in [
            "up",
            "down",
            "left",
            "right",
            "lefttop",
            "righttop",
            "leftdown",
            "rightdown",
            "zoominc",
            "zoomdec",
            "focusinc",
            "focusdec",
            "apertureinc",
            "aperturedec",
        ] {
            let start = order_of(&request(operate, false, None)).expect("an order");
            let stop = order_of(&request(operate, true, None)).expect("an order");
            assert_ne!(start, stop, "{operate}");
            assert!(stop == Ptz::STOP || stop == Ptz::Lens(Lens::default()));
        }
        let fast = order_of(&request("lefttop", false, Some(100))).expect("an order");
        assert_eq!(fast.text(), "A50F010AFFFF00BD");
        let zoom = order_of(&request("zoominc", false, Some(1))).expect("an order");
        assert_eq!(zoom.bytes()[6] >> 4, 1, "never stands still");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let msg = |operate, speed| {
            let failure = order_of(&request(operate, false, speed)).expect_err("wrong");
            assert_eq!(failure.code, Code::ErrorParam);
            failure.msg
        };
        assert!(msg("sideways", None).contains("operate"));
        assert!(msg("up", Some(101)).contains("hSpeed must be 0 to 100"));
        assert!(preset_number(0).is_err() && preset_number(256).is_err());
        assert_eq!(preset_number(255), Ok(255));
        let cruise = |points: &[(u32, Option<u32>)]| {
            let stop = |(preset, duration): &(u32, Option<u32>)| CruiseStop {
                preset: *preset,
                speed: None,
                duration: *duration,
            };
            cruise_orders(&CruiseRequest {
                id: 1,
                name: None,
                points: points.iter().map(stop).collect(),
            })
        };
        assert_eq!(
            cruise(&[(1, Some(5)), (2, Some(5))]).map(|o| o.len()),
            Ok(3)
        );
        assert!(cruise(&[]).is_err());
        assert!(cruise(&[(0, None)]).is_err());
        assert!(cruise(&[(1, Some(5)), (2, Some(6))]).is_err());
        assert!(cruise(&[(1, Some(4096))]).is_err());
        assert!(cruise(&[(1, None); CRUISE_POINTS_MAX]).is_ok());
        assert!(cruise(&[(1, None); CRUISE_POINTS_MAX + 1]).is_err());
    }
}
