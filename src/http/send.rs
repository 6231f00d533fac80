//! `POST /api/events/send`: one event or a batch, answered with 202 once the store has it.
//!
//! The way of an event: its type is looked up in the view, its payload stays the bytes that were sent,
//! and the StoreActor takes it along with its next flush. No other actor is asked on the way.

use super::links::Base;
use super::send_item::{self, Item, Target};
use super::{AppState, Problem, answer, body, json, problem, send_again, send_batch};
use crate::access::Caller;
use crate::error::{ApiError, Code};
use crate::event::{EventId, EventType, Position, Trace};
use crate::measure::SENDS;
use crate::registry::{Learn, TypeEntry};
use crate::store::{Appended, Idempotency, StoreError};
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The handler.
pub async fn send(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let body = body::read(&req, payload, &state.http).await?;
    let text = body::text(&body)?;
    let idempotency = idempotency(req.headers(), &body, &state)?;
    let base = Base::of(&req, &state.http);
    // After the body, which may take its time.
    state.up_to_date().await?;
    let trace = trace(req.headers());
    let with = With { caller: &caller, idempotency: idempotency.as_ref(), trace: trace.as_ref(), base: &base };
    if json::is_array(text) {
        // Boxed, as every send would be as large.
        return Box::pin(send_batch::send(&body, text, &with, &state)).await;
    }
    single(&body, text, &with, &state).await
}

/// Who sends, and what the headers say.
pub(super) struct With<'a> {
    pub caller: &'a Caller,
    pub idempotency: Option<&'a Idempotency>,
    pub trace: Option<&'a Trace>,
    pub base: &'a Base<'a>,
}

async fn single(body: &Bytes, text: &str, with: &With<'_>, state: &AppState) -> Result<HttpResponse, Problem> {
    let item = Item::read(text, &state.types, state.http.max_depth)?;
    with.caller.check_type(item.target.name())?;
    let mut out = Vec::with_capacity(384);
    let entry = match item.target {
        Target::Known(entry) => entry,
        Target::Unknown(name) => match look_further(state, &[(name.clone(), 1)]).await?.pop().flatten() {
            Some(entry) => entry,
            None if state.http.reject_unregistered => return Err(unregistered(&name).into()),
            None => return Ok(discarded(&name, out)),
        },
    };
    let payload = || vec![body.slice_ref(item.payload.as_bytes())];
    let group = send_item::group(&entry, payload(), with.idempotency, with.trace);
    let mut answers = state.appender.append(vec![group]).await?;
    let (entry, stored) = match answers.pop() {
        Some(Ok(Appended::Stale(newest))) => {
            // Boxed: it is rare, and every send would be as large.
            let (entry, stored) = Box::pin(send_again::again(entry, newest, &payload, with, state)).await?;
            match stored {
                Some(stored) => (entry, stored),
                None => return Ok(discarded(&entry.name, out)),
            }
        }
        answer => {
            let stored = stored(answer, &entry)?;
            (entry, stored)
        }
    };
    let at = stored.positions.first().copied().ok_or_else(|| short(&entry))?;
    send_item::write_accepted(&entry, at, stored.status, with.base, &mut out);
    log_stored(&entry, &stored);
    if !stored.repeated {
        hint(state, &entry);
    }
    Ok(accepted(out))
}

/// The answer about an event that is discarded.
fn discarded(name: &EventType, mut out: Vec<u8>) -> HttpResponse {
    send_item::write_discarded(name, &mut out);
    accepted(out)
}

/// A line an event, with the request's id, for whoever looks where an event came from.
pub(super) fn log_stored(entry: &TypeEntry, stored: &Stored) {
    if log::log_enabled!(log::Level::Debug) {
        for at in &stored.positions {
            let id = EventId::new(entry.type_no, *at);
            log::debug!("event stored: event_id={id} type={} status={}", entry.name, stored.status);
        }
    }
}

/// Events that are in the store.
pub(super) struct Stored {
    /// Where, one an event.
    pub positions: Vec<Position>,
    /// What the sender is told.
    pub status: &'static str,
    /// Whether they were there before.
    pub repeated: bool,
}

/// What became of a group, as a client is told.
pub(super) fn stored(answer: Option<Result<Appended, StoreError>>, entry: &TypeEntry) -> Result<Stored, ApiError> {
    match answer {
        Some(Ok(Appended::Stored(positions))) => Ok(Stored { positions, status: "accepted", repeated: false }),
        Some(Ok(Appended::Duplicate(positions))) => Ok(Stored { positions, status: "duplicate", repeated: true }),
        Some(Ok(Appended::KeyReused)) => Err(ApiError::new(
            Code::IdempotencyKeyReused,
            format!("this Idempotency-Key came before for {}, with another body; nothing was stored", entry.name),
        )),
        Some(Ok(Appended::BacklogFull(stream))) => Err(ApiError::new(
            Code::StreamBacklogFull,
            format!("stream {stream} of {} has too many undelivered events; nothing was stored", entry.name),
        )),
        Some(Ok(Appended::Stale(_))) => Err(ApiError::new(
            Code::StoreUnavailable,
            format!("{} is being changed over and over; nothing was stored", entry.name),
        )),
        Some(Err(error)) => Err(problem::of_store(&error)),
        None => Err(short(entry)),
    }
}

/// The store answered less than it was asked.
pub(super) fn short(entry: &TypeEntry) -> ApiError {
    problem::of_store(&StoreError::Corrupt(format!("too few answers to an append of {}", entry.name)))
}

/// For types that this node does not know: those that another node registered, each learnt before it is
/// answered; the others are counted as discarded, unless settings make them an error.
pub(super) async fn look_further(
    state: &AppState,
    unknown: &[(EventType, u64)],
) -> Result<Vec<Option<Arc<TypeEntry>>>, Problem> {
    let records = state.store.get_or_discard(unknown, !state.http.reject_unregistered).await?;
    if !state.http.reject_unregistered {
        let discarded =
            unknown.iter().zip(&records).filter(|(_, record)| !record.as_ref().is_some_and(|r| r.registered));
        discarded.for_each(|((name, count), _)| SENDS.discard(name, *count));
    }
    let known: Vec<_> = records.into_iter().flatten().filter(|record| record.registered).collect();
    if known.is_empty() {
        return Ok(vec![None; unknown.len()]);
    }
    let names: Vec<_> = known.iter().map(|record| record.name.clone()).collect();
    state.registry.learn.send(Learn(known)).await?;
    let entry = |name: &EventType| {
        let found = names.contains(name).then(|| state.types.get(name.as_str())).flatten();
        found.filter(|entry| entry.registered)
    };
    Ok(unknown.iter().map(|(name, _)| entry(name)).collect())
}

/// A 404, where settings ask for one.
pub(super) fn unregistered(name: &EventType) -> ApiError {
    ApiError::new(Code::UnregisteredType, format!("{name} is not registered; nothing was stored"))
}

/// Tells the streams of a type that something may be due. When that does not get through they find it
/// by themselves, a little later.
pub(super) fn hint(state: &AppState, entry: &TypeEntry) {
    if !entry.names.is_empty() {
        state.types.committed(entry.type_no);
    }
}

pub(super) fn accepted(body: Vec<u8>) -> HttpResponse {
    answer::json(HttpResponse::Accepted(), body)
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace that a request belongs to.
fn trace(headers: &HeaderMap) -> Option<Trace> {
    let mut parents = headers.get_all(TRACEPARENT);
    let parent = parents.next()?.to_str().ok();
    let states = headers.get_all(TRACESTATE).filter_map(|state| state.to_str().ok());
    // More than one is none, says the standard.
    Trace::read(parent.filter(|_| parents.next().is_none()), states)
}

fn idempotency(headers: &HeaderMap, body: &Bytes, state: &AppState) -> Result<Option<Idempotency>, ApiError> {
    let Some(key) = idempotency_key(headers)? else { return Ok(None) };
    let body_hash = Sha256::digest(body).into();
    Ok(Some(Idempotency { key: key.into(), body_hash, window: state.http.idempotency_window }))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut keys = headers.get_all("idempotency-key");
    let Some(key) = keys.next() else { return Ok(None) };
    let printable = |key: &&str| (1..=255).contains(&key.len()) && key.bytes().all(|b| (0x20..0x7f).contains(&b));
    match key.to_str().ok().filter(printable) {
        Some(key) if keys.next().is_none() => Ok(Some(key)),
        _ => Err(ApiError::parameter("Idempotency-Key", "must be there once, 1 to 255 printable ASCII characters")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn key(values: &[&str]) -> Result<Option<String>, Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers
                .append(HeaderName::from_static("idempotency-key"), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        idempotency_key(&headers).map(|key| key.map(str::to_owned)).map_err(|e| e.code)
    }

    #[test]
    fn a_key_is_printable_and_there_once() {
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&["order 12/3"]), Ok(Some("order 12/3".into())));
        assert_eq!(key(&[&"x".repeat(255)]).map(|k| k.map(|k| k.len())), Ok(Some(255)));
        for bad in [vec![""], vec!["é"], vec!["a\tb"], vec!["a", "a"]] {
            assert_eq!(key(&bad), Err(Code::BadParameter), "{bad:?}");
        }
        assert_eq!(key(&[&"x".repeat(256)]), Err(Code::BadParameter));
    }
}
