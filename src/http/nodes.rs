//! `GET /api/events/nodes`: the hubs on this store, as each announced itself last.

use super::links::{API, Base, Link, write_links};
use super::{AppState, Problem, answer};
use crate::error::{ApiError, Code};
use crate::event::write_rfc3339;
use crate::store::SeenNode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

/// One of them.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    #[serde(rename = "self")]
    own: bool,
    state: &'static str,
    since: String,
    seen_age_ms: u64,
    version: &'a str,
    host: &'a str,
    addresses: &'a [String],
    public_url: Option<&'a str>,
    sessions: u64,
    requests: u64,
    in_flight: u64,
    waiting: u64,
}

/// The oldest first.
pub async fn list(req: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let nodes = state.store.nodes().await?;
    let shown: Vec<_> = nodes.iter().map(|seen| show(seen, &state)).collect();
    let mut out = b"{\"nodes\":".to_vec();
    serde_json::to_writer(&mut out, &shown).map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    out.extend_from_slice(b",\"links\":");
    let base = Base::of(&req, &state.http);
    let link = |rel, path: &str| Link::new(rel, base.url(&format!("{API}{path}")));
    write_links(&[link("self", "/nodes"), link("streams", "/streams")], &mut out);
    out.push(b'}');
    Ok(answer::read(HttpResponse::Ok(), out))
}

fn show<'a>(SeenNode { node, age }: &'a SeenNode, state: &AppState) -> Shown<'a> {
    let mut since = Vec::with_capacity(24);
    write_rfc3339(node.since, &mut since);
    Shown {
        id: node.id.as_str(),
        own: node.id == state.node,
        state: if node.stopping { "stopping" } else { "running" },
        since: String::from_utf8_lossy(&since).into_owned(),
        seen_age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        version: &node.version,
        host: &node.host,
        addresses: &node.addresses,
        public_url: node.public_url.as_deref(),
        sessions: node.sessions,
        requests: node.requests,
        in_flight: node.in_flight,
        waiting: node.waiting,
    }
}
