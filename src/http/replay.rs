//! `POST /api/events/streams/{type}/{name}/replay`: stored events of a range are delivered again.

use super::json::{self, Members};
use super::stream_ref::{StreamRef, to_the_end};
use super::{AppState, Problem, answer, body};
use crate::access::Caller;
use crate::error::{ApiError, Code};
use crate::event::{Millis, parse_instant};
use crate::store::{Replay, Replayed};
use actix_web::{HttpRequest, HttpResponse, web};
use std::sync::Arc;

/// Queues them, or with `"dry_run": true` only counts them.
pub async fn post(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let stream = StreamRef::find(&path, &caller, &state).await?;
    let body = body::read(&req, payload, &state.http).await?;
    let Range { from, to, dry_run } = read(body::text(&body)?, state.http.max_depth)?;
    stream.must_take(&state).await?;
    let replay = Replay { stream: stream.key.clone(), ttl: stream.ty.ttl.clone(), from, to, dry_run };
    let store = Arc::clone(&state.store);
    match to_the_end(async move { Ok(store.replay(replay).await?) }).await? {
        Replayed::BacklogFull(count) => {
            let detail = format!("{count} events would go over streams.max_backlog; nothing was queued");
            Err(ApiError::new(Code::StreamBacklogFull, detail).into())
        }
        Replayed::Queued(count) => {
            if !dry_run {
                state.types.committed(stream.key.type_no);
                log::info!("stream replays: type={} stream={} count={count}", stream.ty.name, stream.key.name);
            }
            let answer = format!("{{\"count\":{count},\"dry_run\":{dry_run}}}");
            Ok(answer::json(HttpResponse::Ok(), answer.into_bytes()))
        }
    }
}

/// Events committed in `from <= created_at < to`.
#[derive(Debug, PartialEq)]
struct Range {
    from: Millis,
    to: Millis,
    dry_run: bool,
}

fn read(text: &str, max_depth: usize) -> Result<Range, ApiError> {
    let mut members = json::members(text, &["from", "to", "dry_run"]).map_err(|e| json::malformed(&e))?;
    json::check_depth(text, max_depth)?;
    if members.errors.iter().any(|e| e.pointer.is_empty()) {
        return Err(ApiError::invalid(members.errors));
    }
    let [from, to, dry_run] = members.values;
    let (from, to) = (instant(from, "/from", &mut members), instant(to, "/to", &mut members));
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        members.wrong("/to", "must be later than from");
    }
    let dry_run = dry_run.map_or(Some(false), json::boolean);
    if dry_run.is_none() {
        members.wrong("/dry_run", "must be true or false");
    }
    let (from, to, dry_run) = (from.unwrap_or(0), to.unwrap_or(0), dry_run.unwrap_or(true));
    members.finish()?;
    Ok(Range { from, to, dry_run })
}

fn instant(raw: Option<&str>, pointer: &str, members: &mut Members<'_, 3>) -> Option<Millis> {
    let read = match raw.map(json::string) {
        None => Err("is required".to_owned()),
        Some(None) => Err("must be a string".to_owned()),
        Some(Some(text)) => parse_instant(&text).map_err(|e| e.to_string()),
    };
    read.map_err(|detail| members.wrong(pointer, detail)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_instants_in_order() {
        let range = read(r#"{"from":"2018-02-01T00:00:00Z","to":"2018-02-01T01:00:00+01:00"}"#, 128);
        assert_eq!(range.unwrap_err().errors[0].pointer, "/to");
        let range = read(r#"{"dry_run":true,"from":"1970-01-01T00:00:00Z","to":"1970-01-01T00:00:01Z"}"#, 128);
        assert_eq!(range, Ok(Range { from: 0, to: 1000, dry_run: true }));
        for (body, pointer) in [
            ("{}", "/from"),
            (r#"{"from":5,"to":"1970-01-01T00:00:01Z"}"#, "/from"),
            (r#"{"from":"yesterday","to":"1970-01-01T00:00:01Z"}"#, "/from"),
            (r#"{"from":"1970-01-01T00:00:00Z","to":"1970-01-01T00:00:01Z","dry_run":1}"#, "/dry_run"),
            (r#"{"from":"1970-01-01T00:00:00Z","to":"1970-01-01T00:00:01Z","dryrun":true}"#, "/dryrun"),
            ("[]", ""),
        ] {
            let error = read(body, 128).unwrap_err();
            assert_eq!((error.code, error.errors[0].pointer.as_str()), (Code::Invalid, pointer), "{body}");
        }
    }
}
