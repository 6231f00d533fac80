//! `/api/events/streams/{type}/{name}/dead`: what a stream has given up, sending it again, deleting it.
//!
//! These doors stay open for a stream that is gone, for as long as it has left dead letters.

use super::json::write_str;
use super::links::{Base, Link, write_links};
use super::stream_ref::{StreamRef, to_the_end};
use super::{AppState, Problem, answer, body, marks, params};
use crate::access::Caller;
use crate::error::ApiError;
use crate::event::{EventId, Position, write_members, write_rfc3339};
use crate::store::{DeadLetter, Letters};
use actix_web::{HttpRequest, HttpResponse, web};
use std::sync::Arc;

/// Letters of a page when the reader does not say.
pub const LIMIT: usize = 100;
/// Most letters of a page.
pub const MAX_LIMIT: usize = 1000;
/// Letters read at a time.
const STEP: usize = 50;
/// Bytes of payload past which a page ends before its limit, with a `more` link.
const PAGE_BYTES: usize = 8 << 20;

/// `GET …/dead`: a page of them, in the order of their commits.
pub async fn list(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String, String)>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let [after, limit] = params::query(req.query_string(), &["after", "limit"])?;
    let after: Option<EventId> =
        after.map(|text| text.parse().map_err(|e| ApiError::parameter("after", e))).transpose()?;
    let limit = limit.map_or(Ok(LIMIT), |text| params::limit(&text, MAX_LIMIT))?;
    let stream = StreamRef::find(&path, &caller, &state).await?;
    stream.must_be_known(&state).await?;
    let (letters, more) = read(&stream, after.map(EventId::position), limit, &state).await?;
    let page = render(&stream, &letters, more, limit, &Base::of(&req, &state.http));
    Ok(answer::read(HttpResponse::Ok(), state.outgoing.weigh(page)?))
}

/// `POST …/dead/retry`: all of them, or those with the `ids` of the body, are due at once.
pub async fn retry(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let stream = StreamRef::find(&path, &caller, &state).await?;
    let letters = wanted(&req, payload, &stream, &state).await?;
    stream.must_take(&state).await?;
    let (store, key) = (Arc::clone(&state.store), stream.key.clone());
    let count = to_the_end(async move { Ok(store.retry_dead(&key, letters).await?) }).await?;
    state.types.committed(stream.key.type_no);
    log::info!("dead letters are sent again: type={} stream={} count={count}", stream.ty.name, stream.key.name);
    Ok(counted(count))
}

/// `DELETE …/dead`: all of them, or those with the `ids` of the body.
pub async fn delete(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let stream = StreamRef::find(&path, &caller, &state).await?;
    let letters = wanted(&req, payload, &stream, &state).await?;
    stream.must_be_known(&state).await?;
    let (store, key) = (Arc::clone(&state.store), stream.key.clone());
    let count = to_the_end(async move { Ok(store.delete_dead(&key, letters).await?) }).await?;
    log::warn!("dead letters deleted: type={} stream={} count={count}", stream.ty.name, stream.key.name);
    Ok(counted(count))
}

/// `{"count": N}`.
pub fn counted(count: u64) -> HttpResponse {
    answer::json(HttpResponse::Ok(), format!("{{\"count\":{count}}}").into_bytes())
}

/// Which letters a body names: all without a body or with `{}`. Ids that are not of this stream's type name none.
async fn wanted(
    req: &HttpRequest,
    payload: web::Payload,
    stream: &StreamRef,
    state: &AppState,
) -> Result<Letters, Problem> {
    let Some(body) = body::read_optional(req, payload, &state.http).await? else { return Ok(Letters::All) };
    let Some(ids) = marks::optional_ids(body::text(&body)?, state.http.max_depth)? else { return Ok(Letters::All) };
    let ids = ids.iter().filter_map(|id| id.parse::<EventId>().ok());
    Ok(Letters::Some(ids.filter(|id| id.type_no() == stream.key.type_no).map(EventId::position).collect()))
}

/// Up to `limit` letters after a position, and whether there are more.
async fn read(
    stream: &StreamRef,
    mut after: Option<Position>,
    limit: usize,
    state: &AppState,
) -> Result<(Vec<DeadLetter>, bool), Problem> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    let mut bytes = 0;
    loop {
        // One more than is shown says whether there are more.
        let step = (limit + 1 - letters.len()).min(STEP);
        let some = state.store.dead_letters(&stream.key, after, step).await?;
        let last = some.len() < step;
        bytes += some.iter().map(|letter| letter.event.payload.len()).sum::<usize>();
        letters.extend(some);
        after = letters.last().map(|letter| letter.event.id.position());
        if letters.len() > limit {
            letters.truncate(limit);
            return Ok((letters, true));
        }
        if last || bytes > PAGE_BYTES {
            return Ok((letters, !last));
        }
    }
}

fn render(stream: &StreamRef, letters: &[DeadLetter], more: bool, limit: usize, base: &Base<'_>) -> Vec<u8> {
    let payloads: usize = letters.iter().map(|letter| letter.event.payload.len()).sum();
    let mut out = Vec::with_capacity(256 + letters.len() * 256 + payloads);
    out.extend_from_slice(b"{\"dead\":[");
    for (n, letter) in letters.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"{\"event\":{" } else { b",{\"event\":{" });
        write_members(letter.event.id, &stream.ty.name, &letter.event.payload, &mut out);
        out.extend_from_slice(format!("}},\"attempts\":{},\"last_error\":", letter.failure.attempts).as_bytes());
        write_str(&letter.failure.last_error, &mut out);
        out.extend_from_slice(b",\"since\":\"");
        write_rfc3339(letter.since, &mut out);
        out.extend_from_slice(b"\"}");
    }
    let mut links = vec![Link::new("self", stream.url("/dead", base)), Link::new("stream", stream.url("", base))];
    if let Some(last) = letters.last().filter(|_| more) {
        links.push(Link::new("more", stream.url(&format!("/dead?limit={limit}&after={}", last.event.id), base)));
    }
    out.extend_from_slice(b"],\"links\":");
    write_links(&links, &mut out);
    out.push(b'}');
    out
}
