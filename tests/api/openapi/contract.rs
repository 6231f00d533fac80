//! The hub's own OpenAPI document, against which answers are held.

use crate::support::http::Response;
use crate::support::hub::Hub;
use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// A document, and what has been seen of it.
pub struct Contract {
    /// As it was served.
    pub document: Value,
    /// With every object closed: a member that is not described is an error.
    closed: Value,
    seen: Mutex<BTreeSet<String>>,
}

impl Contract {
    /// That of a running hub.
    pub async fn of(hub: &Hub) -> Self {
        let document = hub.get("/openapi.json").await.expect(200).json();
        let mut closed = document.clone();
        close(&mut closed);
        Self { document, closed, seen: Mutex::default() }
    }

    /// Each method (in capitals) of each path, with its operation.
    pub fn operations(&self) -> Vec<(String, String, &Value)> {
        let paths = self.document["paths"].as_object().expect("paths");
        let methods = |(path, item): (&String, &'_ Value)| {
            let path = path.clone();
            let methods = item.as_object().into_iter().flatten().filter(|(name, _)| *name != "parameters");
            methods.map(|(name, _)| (path.clone(), name.to_uppercase())).collect::<Vec<_>>()
        };
        let all = paths.iter().flat_map(methods);
        all.map(|(path, method)| {
            let operation = &self.document["paths"][&path][method.to_lowercase()];
            (path, method, operation)
        })
        .collect()
    }

    /// A request to a path of the document, whose answer must be described there.
    pub async fn call(&self, hub: &Hub, method: &str, template: &str, path: &str, body: Option<&str>) -> Response {
        let json = [("Content-Type", "application/json")];
        let headers: &[(&str, &str)] = if body.is_some() { &json } else { &[] };
        let response = hub.call(method, path, headers, body.map(str::as_bytes)).await;
        self.check(method, template, &response);
        response
    }

    /// Asserts that an answer is described.
    #[track_caller]
    pub fn check(&self, method: &str, template: &str, response: &Response) {
        let what = format!("{method} {template} {}", response.status);
        let answer = &self.closed["paths"][template][method.to_lowercase()]["responses"][response.status.to_string()];
        assert!(answer.is_object(), "{what} is not described: {}", response.text());
        self.check_answer(&what, answer, response);
        self.seen.lock().expect("no test has failed").insert(what);
    }

    /// Asserts that an answer is the problem of its status, whatever was asked.
    #[track_caller]
    pub fn check_problem(&self, response: &Response, code: &str) {
        let answer = &self.closed["components"]["responses"][format!("Problem{}", response.status)];
        assert!(answer.is_object(), "no problem has the status {}: {}", response.status, response.text());
        self.check_answer(code, answer, response);
        assert_eq!(response.json()["type"], format!("/problems/{code}"), "{}", response.text());
        self.seen.lock().expect("no test has failed").insert(code.to_owned());
    }

    #[track_caller]
    fn check_answer(&self, what: &str, answer: &Value, response: &Response) {
        assert!(response.header("x-request-id").is_some(), "{what}: no X-Request-Id");
        let answer = match answer["$ref"].as_str() {
            Some(to) => self.closed.pointer(to.trim_start_matches('#')).expect("a reference leads somewhere"),
            None => answer,
        };
        for (name, header) in answer["headers"].as_object().into_iter().flatten() {
            let value = response.header(&name.to_lowercase());
            assert!(value.is_some() || header["required"] != true, "{what}: no {name}");
            if let Some(value) = value {
                let value = if header["schema"]["type"] == "integer" { value.parse().ok() } else { Some(json!(value)) };
                let value: Value = value.unwrap_or_else(|| panic!("{what}: {name} is no number"));
                self.validate(&format!("{what}: {name}"), &header["schema"], &value);
            }
        }
        let media_type = response.header("content-type").map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let Some(content) = answer["content"].as_object() else {
            let nothing = response.status == 101 || media_type.is_none(); // Frames have a type here, which says nothing.
            assert!(response.body.is_empty() && nothing, "{what}: an answer without a body has one");
            return;
        };
        let media_type = media_type.unwrap_or_else(|| panic!("{what}: no media type"));
        let described = content.get(media_type).unwrap_or_else(|| panic!("{what}: {media_type} is not described"));
        let body = if media_type.ends_with("json") { response.json() } else { json!(response.text()) };
        self.validate(what, &described["schema"], &body);
    }

    #[track_caller]
    fn validate(&self, what: &str, schema: &Value, value: &Value) {
        let errors: Vec<_> =
            self.validator(schema).iter_errors(value).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{what}: {errors:#?} in {value}");
    }

    fn validator(&self, schema: &Value) -> Validator {
        let whole = json!({ "components": self.closed["components"], "allOf": [schema] });
        jsonschema::draft202012::options().should_validate_formats(true).build(&whole).expect("a schema is valid")
    }

    /// Whether an answer (`GET /path 200`) or a problem's code has been seen.
    pub fn has_seen(&self, what: &str) -> bool {
        self.seen.lock().expect("no test has failed").contains(what)
    }
}

fn close(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("properties").is_some_and(Value::is_object) && !members.contains_key("additionalProperties")
            {
                members.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
