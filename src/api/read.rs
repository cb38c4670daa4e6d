//! Reading what callers send, so that what is wrong is said with the name of the field that is wrong.
//!
//! serde alone tells what it found and what it wanted, by line and column. What it does not tell stands in the path of the
//! value; where a type is put together of others there is no path, and the field is the one without which the body would
//! read otherwise.
//!
//! Bounds: [`limits::API_FIELDS_TRIED_MAX`] fields are tried.

use axum::extract::MatchedPath;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::limits;

/// JSON as a type.
///
/// Errors: what is wrong, with the field in front.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize(&mut reader) {
        Ok(value) => reader.end().map(|()| value).map_err(|e| e.to_string()),
        Err(error) => Err(told(
            error,
            || serde_json::from_slice(bytes).ok(),
            of_value::<T>,
        )),
    }
}

/// An object as a type; as [`json`].
pub fn object<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, String> {
    let read = serde_path_to_error::deserialize(Value::Object(object.clone()));
    read.map_err(|error| told(error, || Some(object), of_value::<T>))
}

fn of_value<T: DeserializeOwned>(object: Map<String, Value>) -> Result<(), String> {
    let read: Result<T, _> = serde_json::from_value(Value::Object(object));
    read.map(|_| ()).map_err(|error| error.to_string())
}

fn told(
    error: serde_path_to_error::Error<serde_json::Error>,
    object: impl FnOnce() -> Option<Map<String, Value>>,
    read: impl Fn(Map<String, Value>) -> Result<(), String>,
) -> String {
    let path = error.path().to_string();
    let what = error.into_inner();
    // What is missing is named by the parser.
    let is_named = what.to_string().starts_with("missing field");
    let field = match path.as_str() {
        _ if is_named => None,
        "." | "?" => object().and_then(|object| culprit(&object, read)),
        _ => Some(path),
    };
    match field {
        Some(field) => format!("{field:.64}: {what}"),
        None => what.to_string(),
    }
}

/// The field without which an object reads, or fails for another reason.
fn culprit(
    object: &Map<String, Value>,
    read: impl Fn(Map<String, Value>) -> Result<(), String>,
) -> Option<String> {
    let told = read(object.clone()).err()?;
    let mut fields = object.keys().take(limits::API_FIELDS_TRIED_MAX);
    let found = fields.find(|field| {
        let mut less = object.clone();
        less.remove(*field);
        read(less).err().is_none_or(|other| other != told)
    });
    found.cloned()
}

/// What is wrong with what stands in a path, by the name that its place has.
pub fn path_error(parts: &Parts, error: PathRejection) -> String {
    let PathRejection::FailedToDeserializePathParams(failed) = error else {
        return error.body_text();
    };
    let (place, value, wanted) = match failed.into_kind() {
        ErrorKind::ParseErrorAtIndex {
            index,
            value,
            expected_type,
        } => (index, value, expected_type),
        ErrorKind::ParseError {
            value,
            expected_type,
        } => (0, value, expected_type),
        ErrorKind::ParseErrorAtKey {
            key,
            value,
            expected_type,
        } => return format!("{key}: {value:.64} is no {expected_type}"),
        other => return other.to_string(),
    };
    let matched = parts.extensions.get::<MatchedPath>();
    let names = matched.map_or("", MatchedPath::as_str).split(['{', '}']);
    let name = names.skip(1).step_by(2).nth(place).unwrap_or("a place");
    format!("{name}: {value:.64} is no {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[serde(default)]
        _count: u32,
    }

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[serde(flatten)]
        _inner: Inner,
        #[serde(default)]
        _filter: Option<Plain>,
        #[serde(default)]
        _name: String,
    }

    #[derive(Debug, Deserialize)]
    struct Plain {
        begin: u32,
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(json::<Plain>(br#"{"begin": 7}"#).expect("right").begin, 7);
        for (body, name) in [
            (r#"{"_count": "x"}"#, "_count: "),
            (r#"{"_name": 7, "_count": 1}"#, "_name: "),
            (r#"{"_filter": {"begin": -1}}"#, "_filter.begin: "),
            (r#"{"_filter": {}}"#, "missing field `begin`"),
            ("[]", "invalid type"),
            ("{", "EOF"),
            (r#"{"_count": 1} 2"#, "trailing"),
        ] {
            let told = json::<Outer>(body.as_bytes()).expect_err(body);
            assert!(told.starts_with(name), "{body}: {told}");
            if let Ok(Value::Object(given)) = serde_json::from_str(body) {
                let told = object::<Outer>(given).expect_err(body);
                assert!(told.starts_with(name), "{body}: {told}");
            }
        }
    }

    #[test]
    fn so_many_fields_are_tried_and_no_more() {
        let told = |before: usize| {
            let mut given: Map<String, Value> = (0..before)
                .map(|n| (format!("A{n:04}"), Value::Null))
                .collect();
            given.insert("_count".into(), "x".into());
            // The order of the map may be its own.
            let at = given.keys().position(|key| key == "_count").expect("there");
            (at, object::<Outer>(given).expect_err("wrong"))
        };
        let most = limits::API_FIELDS_TRIED_MAX;
        for before in [most - 1, most, 3 * most] {
            let (at, told) = told(before);
            assert_eq!(told.starts_with("_count: "), at < most, "{before}: {told}");
        }
    }
}
