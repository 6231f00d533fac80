//! What operations are put together from: references, parameters, bodies, answers.

use crate::http::problem::PROBLEM_JSON;
use serde_json::{Map, Value, json};

/// The media type of almost everything.
pub const JSON: &str = "application/json";

/// A schema of the components.
pub fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A list of such.
pub fn list(name: &str) -> Value {
    json!({ "type": "array", "items": schema(name) })
}

/// An object with members that are there always, and others.
pub fn object(required: Value, optional: Value) -> Value {
    let mut members = Map::new();
    let mut names = Vec::new();
    if let Value::Object(all) = required {
        names.extend(all.keys().cloned());
        members.extend(all);
    }
    if let Value::Object(all) = optional {
        members.extend(all);
    }
    let mut object = json!({ "type": "object", "properties": members });
    if let (Some(object), false) = (object.as_object_mut(), names.is_empty()) {
        object.insert("required".into(), json!(names));
    }
    object
}

/// The same for what is sent: a member that is not known is an error.
pub fn closed(required: Value, optional: Value) -> Value {
    let mut object = object(required, optional);
    if let Some(object) = object.as_object_mut() {
        object.insert("additionalProperties".into(), json!(false));
    }
    object
}

/// A parameter of a path.
pub fn segment(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

/// A parameter of a query.
pub fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

/// A header of a request.
pub fn header(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": schema })
}

/// A header of an answer, there always or sometimes.
pub struct Header {
    name: &'static str,
    description: &'static str,
    required: bool,
    schema: fn() -> Value,
}

impl Header {
    const fn text(name: &'static str, required: bool, description: &'static str) -> Self {
        Self { name, description, required, schema: || json!({ "type": "string" }) }
    }

    fn write(&self) -> Value {
        json!({ "description": self.description, "required": self.required, "schema": (self.schema)() })
    }
}

/// How long the answer may be kept.
pub const CACHING: Header = Header::text("Cache-Control", true, "Whether and how long the answer may be used again.");
/// Its entity tag.
pub const TAG: Header =
    Header::text("ETag", true, "Names this content: `If-None-Match` asks for a 304 while it is the same.");
/// Its entity tag, when the store can tell it.
pub const MAYBE_TAG: Header = Header { required: false, ..TAG };
/// The links of the body.
pub const LINKS: Header =
    Header::text("Link", false, "The `links` of the body (RFC 8288), unless they are too long for a header.");
/// Where the new resource is.
pub const LOCATION: Header = Header {
    name: "Location",
    description: "The new registration.",
    required: true,
    schema: || json!({ "type": "string", "format": "uri" }),
};
/// What was waited for.
pub const APPLIED: Header = Header::text("Preference-Applied", false, "The `wait` that was heeded.");
/// When to come back.
const RETRY: Header = Header {
    name: "Retry-After",
    description: "Seconds after which to try again.",
    required: true,
    schema: || json!({ "type": "integer", "minimum": 1 }),
};

/// How to say who one is.
const CHALLENGE: Header = Header::text("WWW-Authenticate", true, "`Bearer`.");
/// Where a token stands.
const RATE: Header = Header::text("RateLimit", true, "What is left to the token, and when it is whole again.");
/// What it may do.
const RATE_POLICY: Header = Header::text("RateLimit-Policy", true, "How often the token may be used.");
/// The cookie of a page that signs in or out; a hub without tokens sets none.
pub const COOKIE: Header = Header::text("Set-Cookie", false, "The cookie.");
/// Names the request in the log.
const REQUEST: Header = Header::text(
    "X-Request-Id",
    true,
    "The request's id, in the hub's log as well: the one it came with, or a new one.",
);

/// These, and what every answer has.
fn headers(headers: &[Header]) -> Value {
    headers
        .iter()
        .chain([&REQUEST])
        .map(|header| (header.name.to_owned(), header.write()))
        .collect::<Map<_, _>>()
        .into()
}

/// The answer with a problem of that status; its name among the components.
pub fn problem(status: u16, description: &str, schema: Value) -> (String, Value) {
    let with = match status {
        401 => headers(&[CHALLENGE]),
        429 => headers(&[RETRY, RATE, RATE_POLICY]),
        503 => headers(&[RETRY]),
        _ => headers(&[]),
    };
    let content = json!({ PROBLEM_JSON: { "schema": schema } });
    (format!("Problem{status}"), json!({ "description": description, "headers": with, "content": content }))
}

/// A method of a path, as it is put together.
pub struct Operation {
    members: Map<String, Value>,
    answers: Map<String, Value>,
}

impl Operation {
    /// Any: its name for programs, what it belongs to, what it does. Every request may be malformed.
    pub fn new(id: &str, tag: &str, summary: &str) -> Self {
        let mut members = Map::new();
        members.insert("operationId".into(), json!(id));
        members.insert("tags".into(), json!([tag]));
        members.insert("summary".into(), json!(summary));
        Self { members, answers: Map::new() }.problems(&[400])
    }

    /// One of the API, which may be overloaded, or its store away.
    pub fn api(id: &str, tag: &str, summary: &str) -> Self {
        Self::new(id, tag, summary).problems(&[500, 503])
    }

    /// Says more; Markdown.
    pub fn describe(mut self, text: &str) -> Self {
        self.members.insert("description".into(), json!(text));
        self
    }

    /// Takes parameters.
    pub fn takes(mut self, parameters: &[Value]) -> Self {
        self.members.insert("parameters".into(), json!(parameters));
        self
    }

    /// Takes a body, and refuses what is none of these.
    pub fn body(mut self, required: bool, schema: Value, examples: Value) -> Self {
        let content = json!({ JSON: { "schema": schema, "examples": examples } });
        self.members.insert("requestBody".into(), json!({ "required": required, "content": content }));
        self.problems(&[408, 413, 415, 422])
    }

    /// Answers with JSON.
    pub fn answers(self, status: u16, description: &str, schema: Value, with: &[Header]) -> Self {
        self.answers_as(status, description, &[(JSON, schema)], with)
    }

    /// Answers with any of these media types; with none there is no body.
    pub fn answers_as(mut self, status: u16, description: &str, content: &[(&str, Value)], with: &[Header]) -> Self {
        let mut answer = Map::new();
        answer.insert("description".into(), json!(description));
        answer.insert("headers".into(), headers(with));
        if !content.is_empty() {
            let kinds = content.iter().map(|(kind, schema)| ((*kind).to_owned(), json!({ "schema": schema })));
            answer.insert("content".into(), kinds.collect::<Map<_, _>>().into());
        }
        self.answers.insert(status.to_string(), answer.into());
        self
    }

    /// Answers with problems of these statuses.
    pub fn problems(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            let name = format!("#/components/responses/Problem{status}");
            self.answers.insert(status.to_string(), json!({ "$ref": name }));
        }
        self
    }

    /// As it stands in the document.
    pub fn finish(mut self) -> Value {
        self.members.insert("responses".into(), self.answers.into());
        self.members.into()
    }
}

/// A path: its parameters, and its methods in lower case.
pub fn path<const N: usize>(parameters: &[Value], methods: [(&str, Operation); N]) -> Value {
    let mut members: Map<String, Value> =
        methods.into_iter().map(|(method, operation)| (method.to_owned(), operation.finish())).collect();
    if !parameters.is_empty() {
        members.insert("parameters".into(), json!(parameters));
    }
    members.into()
}
