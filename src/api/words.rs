//! Fields that have two names, and names that GB/T 28181 has nothing for.
//!
//! Where bvcsp (1.3, 1.4, 2.27, 2.28) and the standard call the same thing differently, answers have both words and requests
//! take either. What bvcsp has and the standard has not is `null` in answers; in a request it is code 8 by its name, so that
//! nobody takes it for set.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::envelope::{Code, Failure};
use super::list::bad;

/// The value of a field that may stand under two names.
///
/// Errors: both are there and differ (4); names both.
pub fn either<T: PartialEq>(
    (name, value): (&str, Option<T>),
    (other_name, other): (&str, Option<T>),
) -> Result<Option<T>, Failure> {
    match (value, other) {
        (Some(value), Some(other)) if value != other => Err(differ(name, other_name)),
        (value, other) => Ok(value.or(other)),
    }
}

/// The same where the second name holds the value in another form: `read` makes the first form's value of the text, `write`
/// the text of such a value. A text that is given is kept as it is.
pub fn either_form<T: PartialEq + Copy>(
    (name, value): (&str, Option<T>),
    (other_name, text): (&str, Option<String>),
    read: impl Fn(&str) -> Option<T>,
    write: impl Fn(T) -> String,
) -> Result<Option<String>, Failure> {
    match (value, text) {
        (Some(value), Some(text)) if read(&text) != Some(value) => Err(differ(name, other_name)),
        (_, Some(text)) => Ok(Some(text)),
        (value, None) => Ok(value.map(write)),
    }
}

fn differ(name: &str, other: &str) -> Failure {
    bad(format_args!("{name} and {other} differ"))
}

/// A field that the standard has nothing for: `null` in answers. Of a request it keeps whether anything was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lack {
    given: bool,
}

impl Serialize for Lack {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_none()
    }
}

impl<'de> Deserialize<'de> for Lack {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Lack, D::Error> {
        let given = Option::<IgnoredAny>::deserialize(from)?.is_some();
        Ok(Lack { given })
    }
}

impl PartialSchema for Lack {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Null)
            .description(Some("GB/T 28181 has no such value: always null"))
            .into()
    }
}

impl ToSchema for Lack {}

/// Refuses fields that the standard has nothing for.
///
/// Errors: the first that was given (8).
pub fn lacking<'a>(fields: impl IntoIterator<Item = (&'a str, Lack)>) -> Result<(), Failure> {
    match fields.into_iter().find(|(_, field)| field.given) {
        Some((name, _)) => Err(unsupported(name)),
        None => Ok(()),
    }
}

fn unsupported(name: &str) -> Failure {
    let msg = format!("{name}: GB/T 28181 has no command that sets it");
    Failure::new(Code::Unsupported, msg)
}

/// A value that a device has and that cannot be set: given, it must be what it is.
///
/// Errors: it is another (8).
pub fn fixed<T: PartialEq>(name: &str, given: Option<&T>, is: &T) -> Result<(), Failure> {
    match given {
        Some(given) if given != is => Err(unsupported(name)),
        Some(_) | None => Ok(()),
    }
}

/// 0 or 1, `false` or `true`.
pub fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Word(bool),
        Number(u8),
    }
    match Option::<Flag>::deserialize(from) {
        Ok(None) => Ok(None),
        Ok(Some(Flag::Word(word))) => Ok(Some(word)),
        Ok(Some(Flag::Number(number @ (0 | 1)))) => Ok(Some(number == 1)),
        Ok(Some(Flag::Number(_))) | Err(_) => {
            Err(serde::de::Error::custom("expected 0, 1, true or false"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_word_is_taken_and_two_that_differ_are_refused() {
        assert_eq!(either(("a", Some(1)), ("b", None)), Ok(Some(1)));
        assert_eq!(either(("a", None), ("b", Some(1))), Ok(Some(1)));
        assert_eq!(either(("a", Some(1)), ("b", Some(1))), Ok(Some(1)));
        assert_eq!(either::<u8>(("a", None), ("b", None)), Ok(None));
        let failure = either(("fps", Some(1)), ("frameRate", Some(2))).expect_err("differ");
        assert_eq!(failure.code, Code::ErrorParam);
        assert!(failure.msg.contains("fps and frameRate"), "{}", failure.msg);

        let form = |value: Option<u32>, text: Option<&str>| {
            let text = ("text", text.map(str::to_owned));
            either_form(("n", value), text, |t| t.parse().ok(), |n| n.to_string())
        };
        assert_eq!(form(Some(7), None), Ok(Some("7".into())));
        assert_eq!(form(Some(7), Some("07")), Ok(Some("07".into())));
        assert_eq!(form(None, Some("x")), Ok(Some("x".into())));
        assert!(form(Some(7), Some("8")).is_err());
        assert!(form(Some(7), Some("x")).is_err());
    }

    #[test]
    fn what_the_standard_lacks_is_refused_by_name() {
        let lack = |json: &str| serde_json::from_str::<Lack>(json).expect(json);
        let none = lack("null");
        assert_eq!(serde_json::to_string(&none).expect("written"), "null");
        assert_eq!(lacking([("gop", none), ("quality", none)]), Ok(()));
        for given in ["1", "\"x\"", "{\"a\":[1]}", "false"] {
            assert!(lacking([("gop", lack(given))]).is_err(), "{given}");
        }
        let failure = lacking([("gop", none), ("quality", lack("3"))]).expect_err("given");
        assert_eq!(failure.code, Code::Unsupported);
        assert!(failure.msg.starts_with("quality:"), "{}", failure.msg);
        assert_eq!(fixed("port", None, &5060), Ok(()));
        assert_eq!(fixed("port", Some(&5060), &5060), Ok(()));
        assert_eq!(
            fixed("port", Some(&5061), &5060).expect_err("other").code,
            Code::Unsupported
        );
    }

    #[test]
    fn a_flag_is_a_number_or_a_word() {
        #[derive(Deserialize)]
        struct Has {
            #[serde(default, deserialize_with = "flag")]
            black: Option<bool>,
        }
        for (text, wanted) in [
            ("{}", None),
            (r#"{"black":null}"#, None),
            (r#"{"black":1}"#, Some(true)),
            (r#"{"black":0}"#, Some(false)),
            (r#"{"black":true}"#, Some(true)),
        ] {
            let has: Has = serde_json::from_str(text).expect(text);
            assert_eq!(has.black, wanted, "{text}");
        }
        for wrong in [r#"{"black":2}"#, r#"{"black":"1"}"#, r#"{"black":-1}"#] {
            let error = serde_json::from_str::<Has>(wrong).err().expect(wrong);
            assert!(error.to_string().contains("expected 0, 1"), "{error}");
        }
    }
}
