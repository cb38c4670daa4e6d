//! The door by which devices bring pictures (SnapShotConfig of GB/T 28181-2022), and what becomes of these.
//!
//! A device has no login: each order has a token of its own, which is looked at before a byte of the body is read, and is
//! good for [`limits::SNAPSHOT_ORDER_S`] and for as many pictures as were ordered. An order for which fewer come in that time
//! has failed.
//!
//! Bounds: [`limits::SNAPSHOT_BYTES_MAX`] a picture, [`limits::SNAPSHOT_ORDERS_MAX`] orders and
//! [`limits::SNAPSHOT_DISK_BYTES_MAX`] in all: the oldest go.

use std::path::PathBuf;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;

use crate::limits;
use crate::store::rows::Snapshot;
use crate::store::table::{Filter, Page, Value};

use super::ApiState;
use super::auth::unix_s;
use super::envelope::Failure;
use super::problem::{HttpPath, Problem};

/// Where the pictures of an order lie.
pub(super) fn folder(state: &ApiState, id: &str) -> PathBuf {
    state.config.node.data_dir.join("snapshots").join(id)
}

fn oldest_open() -> i64 {
    i64::try_from(unix_s()).unwrap_or(i64::MAX) - limits::SNAPSHOT_ORDER_S
}

/// Ends the orders whose time is over.
pub(super) async fn settle_old(state: &ApiState) -> Result<(), Failure> {
    let old = || {
        Filter::all()
            .equal("state", "running")
            .less("made_s", oldest_open())
    };
    let ends = "finished_s = made_s + ?";
    let whole = old().sql("received >= wanted", []);
    let after = Value::Number(limits::SNAPSHOT_ORDER_S);
    state
        .store
        .change::<Snapshot>(
            &format!("state = 'done', {ends}"),
            vec![after.clone()],
            whole,
        )
        .await?;
    let set = format!("state = 'failed', detail = ?, {ends}");
    let why = "the device was silent: not all pictures came in time";
    let values = vec![why.into(), after];
    state.store.change::<Snapshot>(&set, values, old()).await?;
    Ok(())
}

/// Removes the oldest orders with their pictures when there are too many, or too many bytes of them.
pub(super) async fn make_room(state: &ApiState) -> Result<(), Failure> {
    loop {
        let there = state.store.count::<Snapshot>(Filter::all()).await?;
        let sum = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM snapshots";
        let bytes = state.store.number(sum, Filter::all()).await?;
        if there < limits::SNAPSHOT_ORDERS_MAX && bytes < limits::SNAPSHOT_DISK_BYTES_MAX {
            return Ok(());
        }
        let oldest = Page {
            skip: 0,
            take: 100,
            order: "made_s".into(),
        };
        let (old, _) = state.store.list::<Snapshot>(Filter::all(), &oldest).await?;
        if old.is_empty() {
            return Ok(());
        }
        for row in old {
            // What is gone already need not be removed.
            let _ = tokio::fs::remove_dir_all(folder(state, &row.id)).await;
            state
                .store
                .remove::<Snapshot>(Filter::all().equal("id", row.id))
                .await?;
        }
    }
}

/// What kind of picture bytes are; `None`: none that is taken.
pub(super) fn image_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'B', b'M', ..] => Some("image/bmp"),
        _ => None,
    }
}

/// The picture in a request: the body itself, or the first part of a form that is one.
fn picture_in(body: &Bytes) -> Option<Bytes> {
    if image_type(body).is_some() {
        return Some(body.clone());
    }
    // A form: `--boundary`, head, empty line, bytes, `\r\n--boundary`, and so on for each part.
    let line_end = memchr::memmem::find(body, b"\r\n")?;
    let boundary = body
        .get(..line_end)
        .filter(|line| line.starts_with(b"--"))?;
    let mut end_mark = b"\r\n".to_vec();
    end_mark.extend_from_slice(boundary);
    let end_mark = memchr::memmem::Finder::new(&end_mark);
    let mut part = line_end;
    loop {
        let head = memchr::memmem::find(body.get(part..)?, b"\r\n\r\n")?;
        let start = part + head + 4;
        let length = end_mark.find(body.get(start..)?)?;
        let bytes = body.slice(start..start + length);
        if image_type(&bytes).is_some() {
            return Some(bytes);
        }
        part = start + length + end_mark.needle().len();
    }
}

/// Takes a picture from a device. The token is of this order alone.
#[utoipa::path(post, path = "/gantry/v1/snapshots/{id}/upload/{token}", operation_id = "uploadSnapshot", tag = "device",
    params(("id" = String, Path, example = "7d5f0a1b2c3d4e5f60718293a4b5c6d7"), ("token" = String, Path, example = "00112233445566778899aabbccddeeff")),
    request_body(content = Vec<u8>, content_type = "image/jpeg", description = "JPEG, PNG or BMP, as it is or in a form"),
    responses((status = 200, description = "taken"), (status = 400, body = Problem, description = "no picture"),
        (status = 403, body = Problem, description = "not the token of this order, or its time is over"), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "all pictures are there"), (status = 413, body = Problem), (status = 503, body = Problem)))]
pub async fn upload(
    State(state): State<ApiState>,
    HttpPath((id, token)): HttpPath<(String, String)>,
    request: Request,
) -> Result<StatusCode, Problem> {
    if !state.auth.has_capability(&format!("snapshot {id}"), &token) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "not the token of this order",
        ));
    }
    let refused = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, order = id, "a picture could not be kept");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the picture could not be kept; see the log",
        )
    };
    let order = || Filter::all().equal("id", id.clone());
    let row: Option<Snapshot> = state.store.find(order()).await.map_err(|e| refused(&e))?;
    let Some(row) = row else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "there is no such order",
        ));
    };
    if row.made_s < oldest_open() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the time of this order is over",
        ));
    }
    let body = Bytes::from_request(request, &state).await;
    let body = body.map_err(|e| Problem::new(e.status(), e.body_text()))?;
    let picture = picture_in(&body)
        .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "the body is no JPEG, PNG or BMP"))?;
    let length = i64::try_from(picture.len()).unwrap_or(i64::MAX);
    // One statement counts and holds the bound, so that two uploads at once are two.
    let set = "received = received + 1, bytes = bytes + ?";
    let room = order().sql("received < wanted", []);
    let counted = state
        .store
        .change::<Snapshot>(set, vec![Value::Number(length)], room);
    let all_there = || Problem::new(StatusCode::CONFLICT, "all pictures of this order are there");
    if counted.await.map_err(|e| refused(&e))? == 0 {
        return Err(all_there());
    }
    match keep(&state, &row, &picture).await {
        Ok(true) => {
            make_room(&state).await?;
            Ok(StatusCode::OK)
        }
        Ok(false) => Err(all_there()),
        Err(error) => {
            let set = "received = received - 1, bytes = bytes - ?";
            let back = state
                .store
                .change::<Snapshot>(set, vec![Value::Number(length)], order());
            if let Err(error) = back.await {
                tracing::error!(%error, order = id, "a picture that is not there counts");
            }
            Err(refused(&error))
        }
    }
}

/// Writes a picture under the first number that is free; `false`: there is none. A file that could not be written whole does
/// not stay.
async fn keep(state: &ApiState, row: &Snapshot, picture: &[u8]) -> std::io::Result<bool> {
    let folder = folder(state, &row.id);
    tokio::fs::create_dir_all(&folder).await?;
    for number in 1..=row.wanted {
        let path = folder.join(number.to_string());
        let mut new = tokio::fs::OpenOptions::new();
        let mut file = match new.write(true).create_new(true).open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        let mut written = tokio::io::AsyncWriteExt::write_all(&mut file, picture).await;
        if written.is_ok() {
            written = tokio::io::AsyncWriteExt::flush(&mut file).await;
        }
        if written.is_err() {
            tokio::fs::remove_file(&path).await?;
        }
        return written.map(|()| true);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_found_in_a_body_and_in_a_form() {
        let jpeg = Bytes::from_static(b"\xff\xd8\xff\xe0 a picture");
        assert_eq!(picture_in(&jpeg), Some(jpeg.clone()));
        let text = b"--x\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n7\r\n".as_slice();
        let part = [
            b"--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n".as_slice(),
            &jpeg,
            b"\r\n--x--\r\n",
        ]
        .concat();
        let form = [text, &part].concat();
        assert_eq!(picture_in(&Bytes::from(part.clone())), Some(jpeg.clone()));
        assert_eq!(picture_in(&Bytes::from(form.clone())), Some(jpeg));
        for length in 0..form.len() - 7 {
            let cut = Bytes::copy_from_slice(&form[..length]);
            assert_eq!(picture_in(&cut), None, "{length}");
        }
        assert_eq!(
            picture_in(&Bytes::from([text, b"--x--\r\n"].concat())),
            None
        );
        assert_eq!(picture_in(&Bytes::from_static(b"<html>")), None);
    }
}
