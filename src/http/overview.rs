//! `GET /api/events/overview`: how this node does, how it has done for a quarter of an hour, and what needs somebody.

use super::attention::{self, Need};
use super::history::{self, Sample};
use super::links::{API, Base, Link};
use super::{AppState, answer};
use crate::access::Caller;
use crate::event::rfc3339;
use crate::measure::{DELIVERIES, LIVE, SENDS};
use crate::streams::StreamState;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// The handler.
pub async fn get(req: HttpRequest, caller: Caller, state: web::Data<AppState>) -> HttpResponse {
    let view = state.outlook.now(&state).await.seen_by(&caller);
    let base = Base::of(&req, &state.http);
    let needs = attention::needs(&view, state.outlook.max_backlog);
    let (shown, more) = (needs.iter().take(attention::MOST), needs.len().saturating_sub(attention::MOST));
    let (delivered, failed) = DELIVERIES.totals();
    let totals = view.totals();
    let count = |wanted| view.streams.iter().filter(|stream| stream.state == wanted).count();
    let link = |rel: &'static str, path: String| {
        let link = Link::new(rel, base.url(&path));
        json!({"rel": link.rel, "href": link.href})
    };
    let body = json!({
        "at": rfc3339(view.at),
        "version": env!("CARGO_PKG_VERSION"),
        "ready": view.ready.is_ok(),
        "attention": shown.map(need).collect::<Vec<_>>(),
        "attention_more": more,
        "now": {
            "accepted": SENDS.accepted.get(),
            "discarded": SENDS.discarded.get(),
            "delivered": delivered,
            "failed": failed,
            "sessions": LIVE.sessions.get(),
            "in_flight": state.in_flight.load(Ordering::Acquire),
            "backlog": totals.map(|(backlog, ..)| backlog),
            "oldest_age_ms": totals.map(|(_, oldest, _)| u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX)),
            "dead": totals.map(|(.., dead)| dead),
            "streams": {
                "active": count(StreamState::Active),
                "paused": count(StreamState::Paused),
                "failing": count(StreamState::Failing),
                "draining": count(StreamState::Draining),
            },
        },
        "interval_ms": u64::try_from(history::STEP.as_millis()).unwrap_or(0),
        "history": state.outlook.history.samples().iter().map(sample).collect::<Vec<_>>(),
        "links": [
            link("self", format!("{API}/overview")),
            link("streams", format!("{API}/streams")),
            link("metrics", "/metrics".to_owned()),
        ],
    });
    answer::read(HttpResponse::Ok(), body.to_string().into_bytes())
}

fn need(need: &Need) -> Value {
    let mut shown = json!({
        "level": if need.broken { "error" } else { "warning" },
        "what": need.what,
        "text": need.text,
    });
    if let (Some((ty, name)), Some(shown)) = (&need.stream, shown.as_object_mut()) {
        shown.insert("type".into(), ty.as_str().into());
        shown.insert("stream".into(), name.as_str().into());
    }
    shown
}

fn sample(sample: &Sample) -> Value {
    // More digits would say no more.
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    json!({
        "at": rfc3339(sample.at),
        "accepted": round(sample.accepted),
        "discarded": round(sample.discarded),
        "delivered": round(sample.delivered),
        "failed": round(sample.failed),
        "sessions": sample.sessions,
        "backlog": sample.backlog,
        "commit_p50_ms": sample.commit_p50.map(round),
        "commit_p99_ms": sample.commit_p99.map(round),
    })
}
