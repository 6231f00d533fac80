//! `GET /metrics`: what Prometheus reads. `docs/metrics.md` says what each metric means.

use super::AppState;
use super::outlook::{StreamView, View};
use crate::access::Caller;
use crate::measure::{self, Metric, Page};
use crate::streams::StreamState;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, web};
use std::sync::atomic::Ordering;

/// Streams that have series of their own; the rest is in the totals alone, and `events_streams_not_shown` says so.
const MAX_SHOWN: usize = 200;

/// The page.
pub async fn get(caller: Caller, state: web::Data<AppState>) -> HttpResponse {
    let view = state.outlook.now(&state).await.seen_by(&caller);
    let mut page = Page::new();
    page.many(&measure::BUILD_INFO, [(vec![env!("CARGO_PKG_VERSION")], 1.0)]);
    page.single(&measure::READY, f64::from(u8::from(view.ready.is_ok())));
    page.figures(|ty| caller.sees_named(ty));
    page.single(&measure::HTTP_IN_FLIGHT, state.in_flight.load(Ordering::Acquire) as f64);
    page.single(&measure::HTTP_LIMIT, state.http.max_in_flight as f64);
    page.single(&measure::SESSIONS_LIMIT, state.live.max_sessions as f64);
    page.single(&measure::BACKLOG_LIMIT, state.outlook.max_backlog as f64);
    streams(&view, &mut page);
    page.process();
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8")))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .body(page.finish())
}

fn streams(view: &View, page: &mut Page) {
    let states = [StreamState::Active, StreamState::Paused, StreamState::Failing, StreamState::Draining];
    let count = |state| view.streams.iter().filter(|stream| stream.state == state).count() as f64;
    page.many(&measure::STREAMS, states.map(|state| (vec![state.as_str()], count(state))));
    // What the store does not say is left out, so that nobody takes it for nothing.
    if let Some((backlog, oldest, dead)) = view.totals() {
        page.single(&measure::BACKLOG, backlog as f64);
        page.single(&measure::OLDEST, oldest.as_secs_f64());
        page.single(&measure::DEAD, dead as f64);
    }
    let shown = view.streams.len().min(MAX_SHOWN);
    page.single(&measure::UNTOLD, (view.streams.len() - shown + view.left_out) as f64);
    let mut each = |metric: &Metric, value: &dyn Fn(&StreamView) -> Option<f64>| {
        let samples = view
            .streams
            .iter()
            .take(shown)
            .filter_map(|stream| Some((vec![stream.ty.as_str(), stream.key.name.as_str()], value(stream)?)));
        page.many(metric, samples);
    };
    each(&measure::STREAM_BACKLOG, &|s| s.counts.as_ref().map(|c| c.backlog as f64));
    each(&measure::STREAM_OLDEST, &|s| s.counts.as_ref().map(|_| s.oldest.map_or(0.0, |age| age.as_secs_f64())));
    each(&measure::STREAM_DEAD, &|s| s.counts.as_ref().map(|c| c.dead as f64));
    each(&measure::STREAM_FAILING, &|s| Some(f64::from(u8::from(s.state == StreamState::Failing))));
    each(&measure::STREAM_MAILBOX, &|s| Some(s.mailbox.0 as f64));
    each(&measure::STREAM_MAILBOX_LIMIT, &|s| Some(s.mailbox.1 as f64));
    each(&measure::STREAM_FULL, &|s| Some(s.full.as_secs_f64()));
    each(&measure::STREAM_IN_FLIGHT, &|s| Some(s.in_flight as f64));
}
