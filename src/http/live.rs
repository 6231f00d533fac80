//! `GET /api/events`: a live session when it is asked for, else the API's entry document.

use super::links::{API, Base, Link, write_links};
use super::{AppState, Problem, session};
use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

/// Where the entry document leads: relation and path.
const LINKS: &[(&str, &str)] = &[
    ("self", ""),
    ("send", "/send"),
    ("register", "/register"),
    ("feed", "/feed/hour/current"),
    ("streams", "/streams"),
    ("discarded", "/discarded"),
];

/// `GET /api/events` and `/api/events/`.
pub async fn entry(req: HttpRequest, payload: Payload, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    if wants_websocket(&req) {
        return Ok(session::start(&req, payload, &state.http, &state.live, &state.broadcast).await?);
    }
    Ok(document(&req, &state))
}

fn wants_websocket(req: &HttpRequest) -> bool {
    let upgrades = req.headers().get_all(header::UPGRADE).filter_map(|value| value.to_str().ok());
    upgrades.flat_map(|value| value.split(',')).any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

fn document(req: &HttpRequest, state: &AppState) -> HttpResponse {
    let base = Base::of(req, &state.http);
    let mut links: Vec<_> = LINKS.iter().map(|(rel, path)| Link::new(rel, base.url(&format!("{API}{path}")))).collect();
    links.push(Link::new("health", base.url("/healthz")));
    let mut body =
        format!("{{\"name\":\"{}\",\"version\":\"{}\",\"links\":", "event-source-api", env!("CARGO_PKG_VERSION"))
            .into_bytes();
    write_links(&links, &mut body);
    body.push(b'}');
    HttpResponse::Ok().content_type("application/json").body(body)
}
