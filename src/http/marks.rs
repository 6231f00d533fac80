//! `PUT` and `DELETE /api/events/{id}/ok/{client}`, `PUT /api/events/ok/{client}`: what a client has
//! processed. Answered once the store has it.

use super::json::{self, write_str};
use super::{AppState, Problem, answer, body, params};
use crate::access::Caller;
use crate::error::{ApiError, Code, FieldError};
use crate::event::{ClientId, EventId};
use crate::store::MarkRequest;
use actix_web::{HttpRequest, HttpResponse, web};
use std::borrow::Cow;

/// Most marks in one request.
pub const MAX_IDS: usize = 1000;

/// Marks one event; a body is not looked at.
pub async fn put(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    body::discard(&req, payload, &state.http).await;
    let mark = one(&path, &caller, &state).await?;
    known(&state.store.mark(&[mark]).await?)?;
    Ok(answer::json(HttpResponse::Ok(), b"{\"acknowledge\":true}".to_vec()))
}

/// Takes a mark back.
pub async fn delete(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    body::discard(&req, payload, &state.http).await;
    let mark = one(&path, &caller, &state).await?;
    known(&state.store.unmark(&[mark]).await?)?;
    Ok(answer::json(HttpResponse::Ok(), b"{\"acknowledge\":false}".to_vec()))
}

/// Marks many events, and says for each whether it was there to be marked.
pub async fn put_many(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String,)>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let client = params::client(&path.0)?;
    caller.check_client(Some(&client))?;
    let body = body::read(&req, payload, &state.http).await?;
    let ids = ids(body::text(&body)?, state.http.max_depth)?;
    let parsed: Vec<Option<EventId>> = ids.iter().map(|id| id.parse().ok()).collect();
    state.know(parsed.iter().flatten().map(|id| id.type_no())).await?;
    let asked = |id: &Option<EventId>| request((*id)?, &client, &caller, &state);
    let asked: Vec<_> = parsed.iter().map(asked).collect();
    let marks: Vec<_> = asked.iter().flatten().cloned().collect();
    let marked = if marks.is_empty() { Vec::new() } else { state.store.mark(&marks).await? };
    let mut marked = marked.into_iter();
    let mut out = Vec::with_capacity(32 + ids.len() * 64);
    out.extend_from_slice(b"{\"results\":[");
    for (n, (id, asked)) in ids.iter().zip(&asked).enumerate() {
        let acknowledged = asked.is_some() && marked.next().unwrap_or(false);
        out.extend_from_slice(if n == 0 { b"{\"id\":" } else { b",{\"id\":" });
        write_str(id, &mut out);
        out.extend_from_slice(b",\"acknowledge\":");
        out.extend_from_slice(if acknowledged { b"true}" } else { b"false}" });
    }
    out.extend_from_slice(b"]}");
    Ok(answer::json(HttpResponse::Ok(), out))
}

async fn one((id, client): &(String, String), caller: &Caller, state: &AppState) -> Result<MarkRequest, Problem> {
    let client = params::client(client)?;
    caller.check_client(Some(&client))?;
    let id: EventId = id.parse().map_err(|_| unknown())?;
    state.know([id.type_no()]).await?;
    Ok(request(id, &client, caller, state).ok_or_else(unknown)?)
}

/// `None` when no type that the caller may know of has the id's number: then, for him, no event has the id.
fn request(id: EventId, client: &ClientId, caller: &Caller, state: &AppState) -> Option<MarkRequest> {
    let entry = state.types.by_number(id.type_no()).filter(|entry| caller.sees(&entry.name))?;
    Some(MarkRequest { id, ttl: entry.ttl.clone(), client: client.clone() })
}

fn known(found: &[bool]) -> Result<(), ApiError> {
    if found.first() == Some(&true) { Ok(()) } else { Err(unknown()) }
}

/// The 404 of an event that is not there, or not any more.
pub(super) fn unknown() -> ApiError {
    ApiError::not_found("there is no event with this id, or its lifetime has passed")
}

fn ids(text: &str, max_depth: usize) -> Result<Vec<Cow<'_, str>>, ApiError> {
    optional_ids(text, max_depth)?.ok_or_else(|| ApiError::field("/ids", "is required"))
}

/// Reads `{"ids": […]}`, or `{}`. Ids are opaque: one that cannot be ours is one that is not there.
pub(super) fn optional_ids(text: &str, max_depth: usize) -> Result<Option<Vec<Cow<'_, str>>>, ApiError> {
    let mut members = json::members(text, &["ids"]).map_err(|e| json::malformed(&e))?;
    json::check_depth(text, max_depth)?;
    let [raw] = members.values;
    if raw.is_some_and(|raw| !json::is_array(raw)) {
        members.wrong("/ids", "must be an array of strings");
    }
    members.finish()?;
    let Some(raw) = raw else { return Ok(None) };
    let elements = json::elements(raw, MAX_IDS).map_err(|e| json::malformed(&e))?;
    if elements.total > MAX_IDS {
        let detail = format!("{} ids, where at most {MAX_IDS} are taken", elements.total);
        return Err(ApiError::new(Code::BatchTooLarge, detail));
    }
    let mut errors = Vec::new();
    let mut ids = Vec::with_capacity(elements.items.len());
    for (n, item) in elements.items.into_iter().enumerate() {
        match json::string(item) {
            Some(id) => ids.push(id),
            None => errors.push(FieldError::new(format!("/ids/{n}"), "must be a string")),
        }
    }
    if errors.is_empty() { Ok(Some(ids)) } else { Err(ApiError::invalid(errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_strings() {
        assert_eq!(ids(r#"{"ids":["1","\u0032","x"]}"#, 128).unwrap(), ["1", "2", "x"]);
        assert!(ids(r#"{"ids":[]}"#, 128).unwrap().is_empty());
        for (body, pointer) in [
            ("{}", "/ids"),
            (r#"{"ids":"1"}"#, "/ids"),
            (r#"{"ids":["1",2]}"#, "/ids/1"),
            (r#"{"ids":[],"id":1}"#, "/id"),
            ("[]", ""),
        ] {
            let error = ids(body, 128).unwrap_err();
            assert_eq!((error.code, error.errors[0].pointer.as_str()), (Code::Invalid, pointer), "{body}");
        }
    }

    #[test]
    fn a_thousand_and_no_more() {
        let body = |count: usize| format!("{{\"ids\":[{}]}}", vec!["\"1\""; count].join(","));
        assert_eq!(ids(&body(1000), 128).unwrap().len(), 1000);
        assert_eq!(ids(&body(1001), 128).unwrap_err().code, Code::BatchTooLarge);
    }
}
