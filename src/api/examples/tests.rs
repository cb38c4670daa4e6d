//! The document is walked whole: what has no type, no example, or one that its own schema refuses, is named.

use super::*;

/// One version of a document, and what it lacks.
struct Walk {
    document: Value,
    lacks: Vec<String>,
}

impl Walk {
    fn of(text: &str) -> Vec<String> {
        let document: Value = serde_json::from_str(text).expect("the document is JSON");
        let mut walk = Walk {
            document: document.clone(),
            lacks: Vec::new(),
        };
        let paths = document["paths"].as_object().expect("there are paths");
        for (path, operations) in paths {
            for (method, operation) in operations.as_object().expect("calls of a path") {
                walk.operation(&format!("{method} {path}"), operation);
            }
        }
        walk.lacks
    }

    fn lack(&mut self, what: String) {
        self.lacks.push(what);
    }

    fn operation(&mut self, call: &str, operation: &Value) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let place = format!("{call}: parameter {}", parameter["name"]);
            let schema = &parameter["schema"];
            match parameter.get("example").or(schema.get("example")) {
                Some(example) => self.check(&place, schema, example),
                None => self.lack(format!("{place}: no example")),
            }
        }
        if let Some(body) = operation.get("requestBody") {
            let content = body["content"].as_object().expect("a body has a type");
            for (media_type, content) in content {
                let place = format!("{call}: body {media_type}");
                self.examples(&place, content);
            }
        }
        let responses = operation["responses"].as_object().expect("answers");
        for (status, response) in responses.iter().filter(|(name, _)| name.starts_with('2')) {
            let content = response["content"].as_object().into_iter().flatten();
            let is_alone = content.clone().count() == 1;
            for (media_type, content) in content {
                let place = format!("{call}: {status} {media_type}");
                let examples = self.examples(&place, content);
                let never = response["description"] == "always code 8";
                let is_shown = |example: &Value| match code(example) {
                    None | Some(0) => !never,
                    Some(8) => never,
                    Some(_) => !is_alone,
                };
                if !examples.iter().any(is_shown) {
                    self.lack(format!("{place}: no example of success"));
                }
            }
        }
    }

    fn examples(&mut self, place: &str, content: &Value) -> Vec<Value> {
        let Some(schema) = content.get("schema").filter(|schema| **schema != json!({})) else {
            self.lack(format!("{place}: no type"));
            return Vec::new();
        };
        let named = content["examples"].as_object().into_iter().flatten();
        let examples: Vec<Value> = named
            .map(|(_, named)| named["value"].clone())
            .chain(content.get("example").cloned())
            .collect();
        if examples.is_empty() {
            self.lack(format!("{place}: no example"));
        }
        for example in &examples {
            self.check(place, schema, example);
        }
        examples
    }

    fn check(&mut self, place: &str, schema: &Value, example: &Value) {
        if let Err(problem) = self.fits(schema, example) {
            self.lack(format!("{place}: {problem}"));
        }
        self.known(place, schema, example);
    }

    /// What an example points to by `$ref`, or the schema itself.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let Some(reference) = schema["$ref"].as_str() else {
            return schema;
        };
        let pointer = reference.trim_start_matches('#');
        let target = self.document.pointer(pointer);
        self.resolve(target.unwrap_or_else(|| panic!("{reference} leads nowhere")))
    }

    /// JSON Schema, as far as this document uses it.
    fn fits(&self, schema: &Value, example: &Value) -> Result<(), String> {
        let schema = self.resolve(schema);
        let all = schema["allOf"].as_array().into_iter().flatten();
        for part in all {
            self.fits(part, example)?;
        }
        for key in ["oneOf", "anyOf"] {
            let Some(forms) = schema[key].as_array() else {
                continue;
            };
            let results: Vec<_> = forms.iter().map(|form| self.fits(form, example)).collect();
            let fitting = results.iter().filter(|result| result.is_ok()).count();
            if fitting == 0 || (fitting > 1 && key == "oneOf") {
                return Err(format!(
                    "{example}: {fitting} of its forms fit: {results:?}"
                ));
            }
        }
        if let Some(kinds) = kinds(schema)
            && !kinds.iter().any(|kind| is_kind(kind, example))
        {
            return Err(format!("{example} is no {}", kinds.join(" or ")));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(example)
        {
            return Err(format!("{example} is none of {}", schema["enum"]));
        }
        self.in_bounds(schema, example)?;
        for item in example.as_array().into_iter().flatten() {
            self.fits(&schema["items"], item)?;
        }
        let fields = example.as_object().into_iter().flatten();
        for (name, value) in fields {
            let inner = schema["properties"].get(name);
            let inner = inner.or(schema.get("additionalProperties"));
            if let Some(inner) = inner.filter(|inner| !inner.is_boolean()) {
                let result = self.fits(inner, value);
                result.map_err(|problem| format!("{name}: {problem}"))?;
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        let missing = required
            .filter_map(Value::as_str)
            .find(|name| example.is_object() && example.get(*name).is_none());
        missing.map_or(Ok(()), |name| Err(format!("there is no {name}")))
    }

    fn in_bounds(&self, schema: &Value, example: &Value) -> Result<(), String> {
        let measure = |value: &Value, kind: &str| match kind {
            "minimum" | "maximum" => value.as_f64(),
            "minLength" | "maxLength" => value.as_str().map(|text| text.chars().count() as f64),
            _ => value.as_array().map(|items| items.len() as f64),
        };
        for (least, most) in [
            ("minimum", "maximum"),
            ("minLength", "maxLength"),
            ("minItems", "maxItems"),
        ] {
            let Some(measured) = measure(example, least) else {
                continue;
            };
            let least = schema[least].as_f64().unwrap_or(f64::MIN);
            let most = schema[most].as_f64().unwrap_or(f64::MAX);
            if !(least..=most).contains(&measured) {
                return Err(format!("{example} is not in {least}..={most}"));
            }
        }
        Ok(())
    }

    /// Fields that the schema does not have: what is left of a field that was renamed.
    fn known(&mut self, place: &str, schema: &Value, example: &Value) {
        for item in example.as_array().into_iter().flatten() {
            let items = self.resolve(schema)["items"].clone();
            self.known(place, &items, item);
        }
        let mut fields = Map::new();
        let is_open = self.fields(schema, &mut fields);
        for (name, value) in example.as_object().into_iter().flatten() {
            match fields.get(name) {
                Some(inner) => self.known(place, &inner.clone(), value),
                None if is_open => {}
                None => self.lack(format!("{place}: there is no field {name}")),
            }
        }
    }

    /// Adds the fields of all forms and parts, and says whether there may be others.
    fn fields(&self, schema: &Value, into: &mut Map<String, Value>) -> bool {
        let schema = self.resolve(schema);
        let mut is_open = schema.get("additionalProperties").is_some();
        let parts = ["allOf", "oneOf", "anyOf"]
            .iter()
            .filter_map(|key| schema[*key].as_array())
            .flatten();
        for part in parts {
            is_open |= self.fields(part, into);
        }
        let properties = schema["properties"].as_object();
        for (name, inner) in properties.into_iter().flatten() {
            into.insert(name.clone(), inner.clone());
        }
        let has_parts = ["allOf", "oneOf", "anyOf", "properties"]
            .iter()
            .any(|key| schema.get(*key).is_some());
        let may_have_fields = kinds(schema).is_none_or(|kinds| kinds.contains(&"object"));
        is_open || (!has_parts && may_have_fields)
    }
}

#[test]
fn every_call_is_typed_and_shows_what_success_looks_like() {
    let text = super::super::openapi::document();
    let lacks = Walk::of(text);
    assert!(
        lacks.is_empty(),
        "{} things lack in /openapi.json (words for fields: src/api/examples.json):\n{}",
        lacks.len(),
        lacks.join("\n")
    );
    assert!(text.len() < 1_500_000, "{} bytes", text.len());
}

#[test]
fn what_lacks_is_named() {
    let call = |answer: Value, parameter: Value| {
        let document = json!({
            "components": {"schemas": {"Camera": {"type": "object", "required": ["id"], "properties": {
                "id": {"type": "string"}, "port": {"type": "integer", "minimum": 1},
                "kind": {"oneOf": [{"type": "null"}, {"type": "string", "enum": ["dome"]}]}}}}},
            "paths": {"/c": {"get": {"parameters": [parameter], "responses": {"200": {"content": {
                "application/json": answer}}}}}}
        });
        Walk::of(&document.to_string())
    };
    let camera = json!({"$ref": "#/components/schemas/Camera"});
    let fine = json!({"name": "n", "schema": {"type": "integer"}, "example": 1});
    let shown = |example: Value| call(json!({"schema": camera, "example": example}), fine.clone());
    assert_eq!(
        shown(json!({"id": "a", "port": 5060, "kind": null})),
        [""; 0]
    );
    for (example, problem) in [
        (json!({"port": 5060}), "there is no id"),
        (json!({"id": 5}), "5 is no string"),
        (json!({"id": "a", "port": 0}), "0 is not in"),
        (json!({"id": "a", "kind": "box"}), "0 of its forms fit"),
        (json!({"id": "a", "prot": 1}), "there is no field prot"),
        (json!({"id": "a", "code": 5}), "there is no field code"),
    ] {
        let lacks = shown(example).join("\n");
        assert!(lacks.contains(problem), "{problem} in {lacks}");
    }
    let failed = call(
        json!({"schema": {"type": "object"}, "example": {"code": 5}}),
        fine.clone(),
    );
    assert_eq!(
        failed,
        ["get /c: 200 application/json: no example of success"]
    );
    let bare = json!({"name": "n", "schema": {"type": "string"}});
    let lacks = call(json!({"schema": {}}), bare);
    assert_eq!(lacks.len(), 3, "{lacks:?}");
    assert!(lacks[0].ends_with("no example") && lacks[1].ends_with("no type"));
}

/// A word for a field that its schema does not have, or has in another type, is what is left of one. What stands under `*` is
/// the vocabulary of the whole API, and not every schema is in every document.
#[test]
fn every_word_of_a_schema_has_its_field() {
    let document: Value =
        serde_json::from_str(super::super::openapi::document()).expect("the document is JSON");
    let schemas = &document["components"]["schemas"];
    let mut idle = Vec::new();
    for (name, words) in WORDS.iter().filter(|(name, _)| *name != "*") {
        for (field, word) in words {
            let schema = schemas.get(name);
            if schema.is_some_and(|schema| !has(schema, field, word)) {
                idle.push(format!("{name}.{field}"));
            }
        }
    }
    assert_eq!(idle, [""; 0], "in src/api/examples.json");
}

fn has(part: &Value, field: &str, word: &Value) -> bool {
    let takes = |schema: &Value| {
        word.is_null()
            || kinds(schema).is_none_or(|kinds| kinds.iter().any(|kind| is_kind(kind, word)))
    };
    match part {
        Value::Object(fields) => {
            field.is_empty()
                || part["properties"].get(field).is_some_and(takes)
                || fields.values().any(|part| has(part, field, word))
        }
        Value::Array(items) => items.iter().any(|part| has(part, field, word)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
