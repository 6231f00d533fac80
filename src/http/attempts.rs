//! `GET /api/events/streams/{type}/{name}/attempts`: what a stream has tried of late, on all nodes.

use super::links::{Base, Link, write_links};
use super::stream_ref::{StreamRef, no_stream};
use super::{AppState, Problem, answer};
use crate::access::Caller;
use actix_web::{HttpRequest, HttpResponse, web};

/// The newest 1000, newest first: every failure, and successes once a second.
pub async fn list(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String, String)>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let stream = StreamRef::find(&path, &caller, &state).await?;
    if stream.entry().is_none() {
        return Err(no_stream().into());
    }
    let attempts = state.store.attempts(&stream.key).await?;
    let mut out = Vec::with_capacity(256 + attempts.iter().map(|attempt| attempt.len() + 1).sum::<usize>());
    out.extend_from_slice(b"{\"attempts\":[");
    for (n, attempt) in attempts.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        // As the stream wrote them: JSON already.
        out.extend_from_slice(attempt);
    }
    out.extend_from_slice(b"],\"links\":");
    let base = Base::of(&req, &state.http);
    let links = [Link::new("self", stream.url("/attempts", &base)), Link::new("stream", stream.url("", &base))];
    write_links(&links, &mut out);
    out.push(b'}');
    Ok(answer::read(HttpResponse::Ok(), out))
}
