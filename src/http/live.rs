//! `GET /api/events`: a live session when it is asked for, else the API's entry document.

use super::links::{API, Base, Link, write_links};
use super::{AppState, Problem, accept, opening, session, sse};
use crate::access::{Caller, Pass};
use crate::live::Door;
use crate::registry::Look;
use crate::store::StoreError;
use actix_web::http::{Method, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Where the entry document leads: relation and path.
const LINKS: &[(&str, &str)] = &[
    ("self", ""),
    ("send", "/send"),
    ("register", "/register"),
    ("feed", "/feed/hour/current"),
    ("streams", "/streams"),
    ("discarded", "/discarded"),
    ("nodes", "/nodes"),
];

/// `GET /api/events` and `/api/events/`.
pub async fn entry(
    req: HttpRequest,
    caller: Caller,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    // A probe of the head alone is no session.
    let get = req.method() == Method::GET;
    let pass = Pass::new(caller, Arc::clone(&state.access));
    if get && wants_websocket(&req) {
        return Ok(session::start(&req, payload, &state.http, &door(&state), pass).await?);
    }
    if get && accept::wants_events(&req) {
        return Ok(sse::start(&req, &state.http, &door(&state), pass).await?);
    }
    // A malformed filter or cursor is told here, too: who tries a URL with a plain client learns what it is worth.
    opening::asked(&req)?;
    Ok(document(&req, &state))
}

/// What a session needs of the hub.
pub(super) fn door(state: &AppState) -> Door {
    Door {
        broadcast: state.broadcast.clone(),
        settings: Arc::clone(&state.live),
        store: Arc::clone(&state.store),
        types: Arc::new(state.types.clone()),
        look: look(state),
    }
}

/// Asks the registry to look, on behalf of a session.
fn look(state: &AppState) -> Arc<dyn Fn() -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync> {
    let registry = state.registry.look.clone();
    Arc::new(move || {
        let looked = registry.send(Look);
        Box::pin(async move { looked.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string()))) })
    })
}

pub(super) fn wants_websocket(req: &HttpRequest) -> bool {
    let upgrades = req.headers().get_all(header::UPGRADE).filter_map(|value| value.to_str().ok());
    upgrades.flat_map(|value| value.split(',')).any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

fn document(req: &HttpRequest, state: &AppState) -> HttpResponse {
    let base = Base::of(req, &state.http);
    let mut links: Vec<_> = LINKS.iter().map(|(rel, path)| Link::new(rel, base.url(&format!("{API}{path}")))).collect();
    let others = [("health", "/healthz"), ("openapi", "/openapi.json"), ("docs", "/docs"), ("dashboard", "/")];
    links.extend(others.map(|(rel, path)| Link::new(rel, base.url(path))));
    let mut body =
        format!("{{\"name\":\"{}\",\"version\":\"{}\",\"links\":", "event-source-api", env!("CARGO_PKG_VERSION"))
            .into_bytes();
    write_links(&links, &mut body);
    body.push(b'}');
    // Another `Accept` gets events here.
    HttpResponse::Ok().content_type("application/json").insert_header((header::VARY, "Accept")).body(body)
}
