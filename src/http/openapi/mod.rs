//! `GET /openapi.json`: the API as OpenAPI 3.1, and `GET /docs`, the same for people.
//!
//! Put together from the tables of the code where there is one (problems, limits, names of files); for the rest
//! `tests/api/openapi.rs` holds routes, methods and real answers against it.
//!
//! | file | what |
//! | --- | --- |
//! | `parts` | what operations are put together from |
//! | `schemas`, `running` | bodies |
//! | `events`, `operations` | paths |
//! | `access` | who may do what |
//! | `docs` | the page and its files |

mod access;
mod asset;
mod docs;
mod events;
mod operations;
mod parts;
mod running;
mod schemas;
#[cfg(test)]
mod tests;

pub use docs::{file, page};

use super::{AppState, HttpSettings, Problem};
use crate::error::{ApiError, Code};
use actix_web::{HttpRequest, HttpResponse, web};
use asset::Asset;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// The document as a worker serves it, made when it is first asked for: it depends on settings alone.
#[derive(Default)]
pub struct Served(OnceLock<Option<Asset>>);

/// The handler.
pub async fn get(
    req: HttpRequest,
    state: web::Data<AppState>,
    served: web::Data<Served>,
) -> Result<HttpResponse, Problem> {
    let asset = served.0.get_or_init(|| Asset::compress("application/json", document(&state.http).to_string().into()));
    let failed = || ApiError::new(Code::Internal, "the document could not be made");
    Ok(asset.as_ref().ok_or_else(failed)?.answer(&req).await)
}

/// The document.
fn document(http: &HttpSettings) -> Value {
    let mut paths = Map::new();
    for part in [events::paths(http), operations::paths()] {
        if let Value::Object(part) = part {
            paths.extend(part);
        }
    }
    access::guard(&mut paths);
    let tags: Vec<_> = events::TAGS.iter().chain(operations::TAGS).collect();
    let tags: Vec<_> = tags.iter().map(|(name, text)| json!({ "name": name, "description": text })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Event Source API",
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT or Apache 2.0", "identifier": env!("CARGO_PKG_LICENSE") },
        },
        // A relative one is resolved by where the document is.
        "servers": [{ "url": http.public_url.as_deref().unwrap_or("/") }],
        "tags": tags,
        "paths": paths,
        "webhooks": { "event": webhook() },
        "components": {
            "schemas": schemas::all(http),
            "responses": problems(),
            "securitySchemes": access::schemes(),
        },
    })
}

const ABOUT: &str = "Services send events over HTTP; the hub stores them for as long as their type says, delivers them \
to RabbitMQ and webhooks, pushes them live to WebSockets, and serves them as feeds cut by time, in which each client \
marks what it has processed.\n\nAll times are RFC 3339 in UTC with milliseconds. A slash at the end of a path changes \
nothing. What can be read with `GET` answers `HEAD`, too; `OPTIONS` names the methods of a resource, and a method it does \
not have is a 405. A request may name itself by `X-Request-Id`. Parameters that are not known are left alone. Every error is a problem document (RFC 9457).";

/// One answer a status of the table of problems.
fn problems() -> Value {
    let statuses: BTreeSet<_> = Code::ALL.iter().map(|code| code.status()).collect();
    let answer = |status: u16| {
        let codes = Code::ALL.iter().filter(|code| code.status() == status);
        let lines: Vec<_> = codes.map(|code| format!("`{}`: {}.", code.code(), code.title())).collect();
        parts::problem(status, &lines.join(" "), schemas::problem(Some(status)))
    };
    statuses.into_iter().map(answer).collect::<Map<_, _>>().into()
}

/// What a webhook's receiver is sent.
fn webhook() -> Value {
    let text = |name: &str, description: &str| {
        let mut header = parts::header(name, description, json!({ "type": "string" }));
        if let Some(header) = header.as_object_mut() {
            header.insert("required".into(), json!(true));
        }
        header
    };
    json!({ "post": {
        "operationId": "deliver",
        "summary": "An event, as a webhook gets it",
        "description": "Signed by Standard Webhooks. Delivery is at least once: the event's id tells a repetition.",
        "parameters": [
            text("webhook-id", "The event's id."),
            text("webhook-timestamp", "Seconds since the Unix epoch."),
            text("webhook-signature", "`v1,` and the signature in base64; several, separated by spaces, while secrets rotate."),
        ],
        "requestBody": { "required": true, "content": { parts::JSON: { "schema": parts::schema("Event") } } },
        "responses": {
            "2XX": { "description": "Delivered." },
            "410": { "description": "Not wanted any more: pauses the stream." },
            "default": { "description": "Failed; tried again by the stream's `retry`. `Retry-After` of a 429 or 503 is heeded." },
        },
    }})
}
