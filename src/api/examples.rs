//! Examples of `/openapi.json`, composed out of the schemas, so that each value stands once and follows its field.
//!
//! The example of a field stands at the field (`#[schema(example = ...)]`) or else in `examples.json`: under the name of its
//! schema, or under `*` where a word means the same everywhere, as `puid` does; `""` there is the schema whole. A word is
//! taken only by a field of its type. Parameters have theirs from `*`.
//!
//! A body or answer without an example gets one of these: all fields that have an example, one item in each list, the first
//! of several forms; `null` leaves a field out. An example that stands at its call is kept, with the required fields that it
//! lacks. What a call gives as its only example and is a failure stays, beside an answer that went well.
//!
//! Not done: examples of bodies with several forms, which say more when a person chooses them; those stand at their calls.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder};
use utoipa::openapi::schema::{ArrayItems, Schema};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr};

use super::envelope::Code;
use super::openapi::operations;

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// By name of a schema, or `*`: field and example.
static WORDS: LazyLock<BTreeMap<String, Map<String, Value>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("examples.json"))
        .expect("the file is a table of tables, which a test reads")
});

/// What is no JSON, by its media type.
const TEXTS: &[(&str, &str)] = &[
    ("application/sdp", "v=0\r\n…"),
    (
        "application/trickle-ice-sdpfrag",
        "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
    ),
    (
        "application/openmetrics-text",
        "# TYPE gantry_viewers gauge\ngantry_viewers{shard=\"0\",protocol=\"webrtc\"} 4\n# EOF\n",
    ),
    (
        "application/x-pem-file",
        "-----BEGIN X509 CRL-----\nMIHtMIGU…\n-----END X509 CRL-----\n",
    ),
    (
        "application/vnd.tcpdump.pcap",
        "(the bytes of a capture file)",
    ),
    ("image/jpeg", "(the bytes of a JPEG picture)"),
    ("video/mp4", "(the bytes of an MP4 file)"),
    ("video/x-flv", "(the bytes of an FLV stream)"),
];

/// How many schemas may stand in one another. Deeper ones are left out of examples.
const DEPTH_MAX: usize = 16;

/// Gives every field, parameter, body and answer of success an example, as far as there are words for it.
pub fn fill(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    share(&mut components.schemas);
    for (name, schema) in &mut components.schemas {
        if let RefOr::T(schema) = schema {
            speak(name, schema);
        }
    }
    let composer = Composer::new(&components.schemas);
    for operation in operations(document) {
        composer.operation(operation);
    }
}

/// Puts names in the place of copies: schemas with a type parameter hold what they are made of whole.
fn share(schemas: &mut Schemas) {
    let known: Vec<(String, Schema)> = schemas
        .iter()
        .filter_map(|(name, schema)| match schema {
            RefOr::T(Schema::Object(object)) if !object.properties.is_empty() => {
                Some((name.clone(), Schema::Object(object.clone())))
            }
            _ => None,
        })
        .collect();
    for schema in schemas.values_mut() {
        if let RefOr::T(schema) = schema {
            share_in(schema, &known);
        }
    }
}

fn share_in(schema: &mut Schema, known: &[(String, Schema)]) {
    for child in children(schema) {
        let RefOr::T(inner) = child else { continue };
        let mut same = known.iter().filter(|(_, other)| other == inner);
        // Two of the same shape: which of them is meant cannot be told.
        if let (Some((name, _)), None) = (same.next(), same.next()) {
            *child = RefOr::Ref(Ref::from_schema_name(name));
        } else {
            share_in(inner, known);
        }
    }
}

fn children(schema: &mut Schema) -> Vec<&mut RefOr<Schema>> {
    match schema {
        Schema::Array(array) => match &mut array.items {
            ArrayItems::RefOrSchema(item) => vec![item.as_mut()],
            ArrayItems::False => Vec::new(),
        },
        Schema::Object(object) => object.properties.values_mut().collect(),
        Schema::OneOf(of) => of.items.iter_mut().collect(),
        Schema::AllOf(of) => of.items.iter_mut().collect(),
        Schema::AnyOf(of) => of.items.iter_mut().collect(),
        _ => Vec::new(),
    }
}

/// Gives the fields of a schema their words.
fn speak(name: &str, schema: &mut Schema) {
    if let Schema::Object(object) = schema {
        let whole = WORDS.get(name).and_then(|words| words.get(""));
        if let (Some(whole), None) = (whole, &object.example) {
            object.example = Some(whole.clone());
        }
        for (field, inner) in &mut object.properties {
            if let RefOr::T(inner) = inner
                && let Some(word) = word(&[name, "*"], field, &value(inner))
            {
                match inner {
                    Schema::Object(inner) => inner.example.get_or_insert(word),
                    Schema::Array(inner) => inner.example.get_or_insert(word),
                    Schema::OneOf(inner) if word.is_null() => inner.example.get_or_insert(word),
                    _ => continue,
                };
            }
        }
    }
    for child in children(schema) {
        if let RefOr::T(inner) = child {
            speak(name, inner);
        }
    }
}

/// The first word for a field that is of its type.
fn word(tables: &[&str], field: &str, schema: &Value) -> Option<Value> {
    let mut words = tables
        .iter()
        .filter_map(|table| WORDS.get(*table)?.get(field));
    let allowed = |word: &&Value| match schema["enum"].as_array() {
        Some(allowed) => allowed.contains(word),
        None => kinds(schema).is_none_or(|kinds| kinds.iter().any(|kind| is_kind(kind, word))),
    };
    words.find(allowed).cloned()
}

fn value(schema: &impl serde::Serialize) -> Value {
    serde_json::to_value(schema).expect("a schema of plain strings and maps can be written")
}

/// The types that a schema allows; none = any.
fn kinds(schema: &Value) -> Option<Vec<&str>> {
    match &schema["type"] {
        Value::String(kind) => Some(vec![kind]),
        Value::Array(kinds) => Some(kinds.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn is_kind(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn allows(schema: &Value, kind: &str) -> bool {
    kinds(schema).is_some_and(|kinds| kinds.contains(&kind))
}

/// The `code` of an answer, if it has one.
fn code(answer: &Value) -> Option<u64> {
    answer["code"].as_u64()
}

struct Composer {
    schemas: Map<String, Value>,
}

impl Composer {
    fn new(schemas: &Schemas) -> Composer {
        let named = |(name, schema): (&String, _)| (name.clone(), value(schema));
        Composer {
            schemas: schemas.iter().map(named).collect(),
        }
    }

    fn operation(&self, operation: &mut Operation) {
        let mut asked = None;
        let mut is_paged = false;
        for parameter in operation.parameters.iter_mut().flatten() {
            if let RefOr::T(parameter) = parameter {
                Composer::parameter(parameter);
                is_paged |= parameter.name == "page";
            }
        }
        if let Some(RefOr::T(body)) = &mut operation.request_body {
            for (media_type, content) in &mut body.content {
                let RefOr::T(content) = content else { continue };
                self.body(media_type, content);
                asked = content.example.clone();
            }
        }
        let asked = asked.filter(|asked| asked.get("page").is_some());
        let of_success = |(status, _): &(&String, _)| status.starts_with('2');
        for (_, response) in operation.responses.responses.iter_mut().filter(of_success) {
            let RefOr::T(response) = response else {
                continue;
            };
            let is_alone = response.content.len() == 1;
            for (media_type, content) in &mut response.content {
                let RefOr::T(content) = content else { continue };
                self.answer(media_type, content, is_alone, (is_paged, asked.as_ref()));
            }
        }
    }

    fn parameter(parameter: &mut Parameter) {
        let whole = value(parameter);
        let schema = &whole["schema"];
        if whole.get("example").is_some() || schema.get("example").is_some() {
            return;
        }
        // In a path, a number may be typed as the text that it is.
        let as_text = || {
            let number = word(&["*"], &parameter.name, &json!({"type": "integer"}))?;
            allows(schema, "string").then(|| number.to_string().into())
        };
        if let Some(word) = word(&["*"], &parameter.name, schema).or_else(as_text) {
            let named = ParameterBuilder::from(std::mem::take(parameter));
            *parameter = named.example(Some(word)).build();
        }
    }

    fn body(&self, media_type: &str, content: &mut Content) {
        if !content.examples.is_empty() {
            return;
        }
        match (&mut content.example, &content.schema) {
            (None, _) => content.example = self.shown(media_type, content),
            (Some(example), Some(schema)) => self.complete(&value(schema), example, 0),
            (Some(_), None) => {}
        }
    }

    fn shown(&self, media_type: &str, content: &Content) -> Option<Value> {
        let text = TEXTS.iter().find(|(name, _)| *name == media_type);
        match text {
            Some((_, text)) => Some((*text).into()),
            None => self.compose(&value(content.schema.as_ref()?), 0),
        }
    }

    /// `page` says whether the call is asked for pages, and how.
    fn answer(
        &self,
        media_type: &str,
        content: &mut Content,
        is_alone: bool,
        page: (bool, Option<&Value>),
    ) {
        if !content.examples.is_empty() {
            return;
        }
        // JSON beside a file is what comes in its place.
        if !is_alone && is_done(content) {
            let failure = json!({"code": Code::NotFound as u8, "msg": "not found"});
            content.example.get_or_insert(failure);
            return;
        }
        if let (Some(example), Some(schema)) = (&mut content.example, &content.schema)
            && says_all(example)
        {
            self.complete(&value(schema), example, 0);
            return;
        }
        let Some(mut answer) = self.shown(media_type, content) else {
            return;
        };
        show_page(&mut answer, page);
        match content.example.take() {
            Some(failure) if code(&failure) != Some(0) => {
                for (name, value) in [("answer", answer), ("failure", failure)] {
                    let example = ExampleBuilder::new().value(Some(value)).build();
                    content.examples.insert(name.to_owned(), example.into());
                }
            }
            _ => content.example = Some(answer),
        }
    }

    fn compose(&self, schema: &Value, depth: usize) -> Option<Value> {
        if depth == DEPTH_MAX {
            return None;
        }
        let part = |schema: &Value| self.compose(schema, depth + 1);
        let list = |key: &str| schema[key].as_array();
        if let Some(example) = schema.get("example") {
            return Some(example.clone());
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next()?;
            return part(self.schemas.get(name)?);
        }
        if let Some(first) = list("enum").and_then(|allowed| allowed.first()) {
            return Some(first.clone());
        }
        if let Some(forms) = list("oneOf").or(list("anyOf")) {
            return forms.iter().find_map(part);
        }
        if let Some(parts) = list("allOf") {
            let mut whole = Map::new();
            for part in parts.iter().filter_map(part) {
                if let Value::Object(part) = part {
                    whole.extend(part);
                }
            }
            return Some(whole.into());
        }
        if allows(schema, "array") {
            return Some(part(&schema["items"]).into_iter().collect());
        }
        if schema["type"] == "null" {
            return Some(Value::Null);
        }
        allows(schema, "object").then(|| self.object(schema, depth))
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let mut whole = Map::new();
        for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
            match self.compose(inner, depth + 1) {
                Some(Value::Null) | None if !is_required(schema, field) => {}
                Some(value) => drop(whole.insert(field.clone(), value)),
                None if allows(inner, "null") => drop(whole.insert(field.clone(), Value::Null)),
                None => {}
            }
        }
        whole.into()
    }

    /// Adds what a schema requires and an example does not have.
    fn complete(&self, schema: &Value, example: &mut Value, depth: usize) {
        if depth == DEPTH_MAX {
            return;
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
            if let Some(schema) = self.schemas.get(name) {
                self.complete(schema, example, depth + 1);
            }
            return;
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.complete(part, example, depth + 1);
        }
        // A value or null; of several forms, it cannot be told which one is meant.
        let forms = schema["oneOf"].as_array().into_iter().flatten();
        let mut forms = forms.filter(|form| !allows(form, "null"));
        if let (Some(form), None) = (forms.next(), forms.next()) {
            self.complete(form, example, depth + 1);
        }
        match example {
            Value::Array(items) => {
                for item in items {
                    self.complete(&schema["items"], item, depth + 1);
                }
            }
            Value::Object(fields) => {
                let properties = schema["properties"].as_object();
                for (field, inner) in properties.into_iter().flatten() {
                    if let Some(value) = fields.get_mut(field) {
                        self.complete(inner, value, depth + 1);
                    } else if is_required(schema, field)
                        && let Some(value) = self.compose(inner, depth + 1)
                    {
                        fields.insert(field.clone(), value);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn is_required(schema: &Value, field: &str) -> bool {
    let required = schema["required"].as_array();
    required.is_some_and(|names| names.iter().any(|name| name == field))
}

fn is_done(content: &Content) -> bool {
    matches!(&content.schema, Some(RefOr::Ref(schema)) if schema.ref_location.ends_with("/Done"))
}

/// Whether an example needs no other beside it: it shows success with something in it, or code 8, which is for good.
fn says_all(example: &Value) -> bool {
    match code(example) {
        None => true,
        Some(0) => example["data"] != json!([]),
        Some(code) => code == Code::Unsupported as u64,
    }
}

/// Lists tell the page that was asked for; other answers have none.
fn show_page(answer: &mut Value, (is_paged, asked): (bool, Option<&Value>)) {
    let Some(answer) = answer
        .as_object_mut()
        .filter(|answer| answer.contains_key("code"))
    else {
        return;
    };
    let count = answer.get("data").and_then(Value::as_array).map(Vec::len);
    let (Some(count), true) = (count, is_paged || asked.is_some()) else {
        answer.remove("pageInfo");
        return;
    };
    if let Some(page) = answer.get_mut("pageInfo") {
        for name in ["page", "pageSize"] {
            if let Some(asked) = asked.and_then(|asked| asked.get(name)) {
                page[name] = asked.clone();
            }
        }
        page["totalCount"] = count.into();
    }
}

#[cfg(test)]
mod tests;
