//! `/api/events/streams` and `/streams/{type}/{name}`: how delivery does, and tuning it.
//!
//! Counters are the store's and count for all nodes; what is in memory is this node's.

use super::dead::counted;
use super::json::{self, write_str};
use super::links::{Base, Link, write_links};
use super::stream_history::{self, StreamSample};
use super::stream_ref::{StreamRef, no_stream, url};
use super::{AppState, Problem, answer, body};
use crate::access::Caller;
use crate::error::ApiError;
use crate::event::{Millis, rfc3339};
use crate::registry::{DeleteStream, Statuses, StreamEntry, Tune, Tuning, TypeEntry};
use crate::store::{StreamCounts, StreamKey};
use crate::streams::{MAX_CONCURRENCY, MAX_MAILBOX, SinkStatus, StreamState};
use actix_web::{HttpRequest, HttpResponse, web};
use std::collections::HashMap;

/// All streams, by type and name.
pub async fn list(req: HttpRequest, caller: Caller, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let mut types = state.types.matching(&caller.all_types());
    types.sort_by(|a, b| a.name.cmp(&b.name));
    let streams: Vec<_> = types.iter().flat_map(|ty| Stream::all(ty)).collect();
    let (counts, statuses, now) = ask(&streams, &state).await?;
    let base = Base::of(&req, &state.http);
    let mut out = Vec::with_capacity(32 + streams.len() * 512);
    out.extend_from_slice(b"{\"streams\":[");
    for (n, (stream, counts)) in streams.iter().zip(&counts).enumerate() {
        if n > 0 {
            out.push(b',');
        }
        stream.write(counts, statuses.get(&stream.key()), now, &base, &mut out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(answer::read(HttpResponse::Ok(), out))
}

/// One stream.
pub async fn get(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String, String)>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let stream = StreamRef::find(&path, &caller, &state).await?;
    show(&req, &stream.ty, path.1.as_str(), &state).await
}

/// `PATCH`: its mailbox, concurrency or state from now on.
pub async fn patch(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let stream = StreamRef::find(&path, &caller, &state).await?;
    let body = body::read(&req, payload, &state.http).await?;
    let tuning = read_tuning(body::text(&body)?, state.http.max_depth)?;
    let tune = Tune { ty: stream.ty.name.clone(), stream: stream.key.name, tuning: tuning.clone() };
    let ty = state.registry.tune.send(tune).await??;
    log::info!("stream tuned: type={} stream={} tuning=\"{tuning:?}\"", ty.name, path.1);
    show(&req, &ty, path.1.as_str(), &state).await
}

/// `DELETE`: what waits becomes dead letters at once, and the stream is gone. Answers how many events those were.
pub async fn delete(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    body::discard(&req, payload, &state.http).await;
    let stream = StreamRef::find(&path, &caller, &state).await?;
    let delete = DeleteStream { ty: stream.ty.name.clone(), stream: stream.key.name };
    let buried = state.registry.delete_stream.send(delete).await??;
    log::warn!("stream deleted: type={} stream={} dead_letters={buried}", stream.ty.name, path.1);
    Ok(counted(buried))
}

fn read_tuning(text: &str, max_depth: usize) -> Result<Tuning, ApiError> {
    let mut members = json::members(text, &["mailbox", "concurrency", "state"]).map_err(|e| json::malformed(&e))?;
    json::check_depth(text, max_depth)?;
    let [mailbox, concurrency, state] = members.values;
    let mut count = |raw: Option<&str>, pointer: &str, max: u64| {
        let number = raw.map(|raw| json::integer(raw).filter(|n| (1..=max).contains(n)));
        if number == Some(None) {
            members.wrong(pointer, format!("must be a number from 1 to {max}"));
        }
        number.flatten().and_then(|n| usize::try_from(n).ok())
    };
    let mailbox = count(mailbox, "/mailbox", MAX_MAILBOX);
    let concurrency = count(concurrency, "/concurrency", MAX_CONCURRENCY);
    let paused = match state.map(json::string) {
        None => None,
        Some(Some(state)) if state == "active" => Some(None),
        Some(Some(state)) if state == "paused" => Some(Some(String::new())),
        Some(_) => {
            members.wrong("/state", "must be \"paused\" or \"active\"");
            None
        }
    };
    members.finish()?;
    Ok(Tuning { mailbox, concurrency, paused })
}

async fn show(req: &HttpRequest, ty: &TypeEntry, name: &str, state: &AppState) -> Result<HttpResponse, Problem> {
    let streams: Vec<_> = Stream::all(ty).filter(|s| s.entry.spec.name.as_str() == name).collect();
    let (counts, statuses, now) = ask(&streams, state).await?;
    let (Some(stream), Some(counts)) = (streams.first(), counts.first()) else { return Err(no_stream().into()) };
    let past = state.outlook.stream_histories.of(&stream.key());
    let mut out = Vec::with_capacity(512 + past.len() * 96);
    stream.write(counts, statuses.get(&stream.key()), now, &Base::of(req, &state.http), &mut out);
    write_past(&past, &mut out);
    out.push(b'}');
    Ok(answer::read(HttpResponse::Ok(), out))
}

/// Counters in order, what this node's streams say, and the store's now.
async fn ask(
    streams: &[Stream<'_>],
    state: &AppState,
) -> Result<(Vec<StreamCounts>, HashMap<StreamKey, SinkStatus>, Millis), Problem> {
    if streams.is_empty() {
        return Ok((Vec::new(), HashMap::new(), 0));
    }
    let keys: Vec<_> = streams.iter().map(Stream::key).collect();
    let counts = state.store.counts(&keys).await?;
    let statuses = state.registry.statuses.send(Statuses).await?.into_iter().collect();
    let now = state.clock.now(&*state.store).await?;
    Ok((counts, statuses, now))
}

/// A stream of a type.
pub(super) struct Stream<'a> {
    pub ty: &'a TypeEntry,
    pub entry: &'a StreamEntry,
    draining: bool,
}

impl<'a> Stream<'a> {
    /// All of a type, those that are left of deleted ones excepted.
    pub fn all(ty: &'a TypeEntry) -> impl Iterator<Item = Stream<'a>> {
        let active = ty.streams.iter().map(|entry| (entry, false));
        let draining = ty.draining.iter().filter(|entry| !entry.deleted).map(|entry| (entry, true));
        active.chain(draining).map(move |(entry, draining)| Stream { ty, entry, draining })
    }

    /// Its name in the store.
    pub fn key(&self) -> StreamKey {
        StreamKey { type_no: self.ty.type_no, name: self.entry.spec.name.clone() }
    }

    /// Its condition, by its registration and by what this node says of it.
    pub fn state(&self, status: Option<&SinkStatus>) -> StreamState {
        let told = if self.entry.paused.is_some() {
            StreamState::Paused
        } else if self.draining {
            StreamState::Draining
        } else {
            StreamState::Active
        };
        // Only the node that delivers knows that it fails; the rest stands in the registration.
        match (told, status.map(|status| status.state)) {
            (StreamState::Active, Some(StreamState::Failing)) => StreamState::Failing,
            (told, _) => told,
        }
    }

    /// All but the last brace.
    fn write(
        &self,
        counts: &StreamCounts,
        status: Option<&SinkStatus>,
        now: Millis,
        base: &Base<'_>,
        out: &mut Vec<u8>,
    ) {
        let spec = &self.entry.spec;
        let text = |name: &str, value: Option<&str>, out: &mut Vec<u8>| {
            out.extend_from_slice(name.as_bytes());
            match value {
                Some(value) => write_str(value, out),
                None => out.extend_from_slice(b"null"),
            }
        };
        let number = |name: &str, value: Option<u64>, out: &mut Vec<u8>| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value.map_or_else(|| "null".to_owned(), |v| v.to_string()).as_bytes());
        };
        let size = |value: Option<usize>| Some(value.unwrap_or(0) as u64);
        let age = counts.oldest.map(|oldest| u64::try_from(now - oldest).unwrap_or(0));
        let last_error =
            status.and_then(|s| s.last_error.as_deref()).or(self.entry.paused.as_deref().filter(|why| !why.is_empty()));
        text("{\"type\":", Some(self.ty.name.as_str()), out);
        text(",\"name\":", Some(spec.name.as_str()), out);
        text(",\"source\":", Some(spec.target.source()), out);
        text(",\"state\":", Some(self.state(status).as_str()), out);
        number(",\"backlog\":", Some(counts.backlog), out);
        number(",\"oldest_age_ms\":", age, out);
        number(",\"in_flight\":", size(status.map(|s| s.in_flight)), out);
        number(",\"mailbox\":{\"length\":", size(status.map(|s| s.waiting)), out);
        number(",\"limit\":", size(Some(spec.mailbox)), out);
        number("},\"concurrency\":", size(Some(spec.concurrency)), out);
        number(",\"delivered\":", Some(counts.delivered), out);
        number(",\"failed\":", Some(counts.failed), out);
        number(",\"dead\":", Some(counts.dead), out);
        text(",\"last_error\":", last_error, out);
        out.extend_from_slice(b",\"links\":");
        let link = |rel, tail| Link::new(rel, url(self.ty.name.as_str(), spec.name.as_str(), tail, base));
        write_links(&[link("self", ""), link("attempts", "/attempts"), link("dead", "/dead")], out);
    }
}

/// The last quarter of an hour of one stream.
fn write_past(past: &[StreamSample], out: &mut Vec<u8>) {
    out.extend_from_slice(format!(",\"interval_ms\":{},\"history\":[", stream_history::STEP.as_millis()).as_bytes());
    // More digits would say no more.
    let round = |value: f32| (f64::from(value) * 1000.0).round() / 1000.0;
    for (n, StreamSample { at, backlog, delivered, failed }) in past.iter().enumerate() {
        let (comma, at) = (if n > 0 { "," } else { "" }, rfc3339(*at));
        let (delivered, failed) = (round(*delivered), round(*failed));
        let sample =
            format!("{comma}{{\"at\":\"{at}\",\"backlog\":{backlog},\"delivered\":{delivered},\"failed\":{failed}}}");
        out.extend_from_slice(sample.as_bytes());
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::entry;
    use serde_json::{Value, json};

    fn written(status: Option<&SinkStatus>, draining: bool) -> Value {
        let ty = entry("a:b", 1, &["s"]);
        let stream = Stream { ty: &ty, entry: &ty.streams[0], draining };
        let counts = StreamCounts { backlog: 3, delivered: 4, failed: 5, dead: 6, oldest: Some(900) };
        let mut out = Vec::new();
        stream.write(&counts, status, 1000, &Base::fixed("http://h"), &mut out);
        write_past(&[StreamSample { at: 1_517_483_521_000, backlog: 3, delivered: 0.1, failed: 2.0 }], &mut out);
        out.push(b'}');
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_stream_says_what_waits_and_what_fails() {
        let status = SinkStatus {
            state: StreamState::Failing,
            in_flight: 1,
            waiting: 2,
            mailbox: 7,
            concurrency: 8,
            full: std::time::Duration::ZERO,
            last_error: Some("refused".into()),
        };
        assert_eq!(
            written(Some(&status), false),
            json!({
                "type": "a:b", "name": "s", "source": "test", "state": "failing", "backlog": 3, "oldest_age_ms": 100,
                "in_flight": 1, "mailbox": {"length": 2, "limit": 1024}, "concurrency": 16, "delivered": 4, "failed": 5,
                "dead": 6, "last_error": "refused",
                "links": [
                    {"rel": "self", "href": "http://h/api/events/streams/a:b/s"},
                    {"rel": "attempts", "href": "http://h/api/events/streams/a:b/s/attempts"},
                    {"rel": "dead", "href": "http://h/api/events/streams/a:b/s/dead"},
                ],
                "interval_ms": 15_000,
                "history": [{"at": "2018-02-01T11:12:01.000Z", "backlog": 3, "delivered": 0.1, "failed": 2}],
            })
        );
        assert_eq!(written(Some(&status), true)["state"], "draining");
    }

    #[test]
    fn tuning_is_checked_field_by_field() {
        let all = read_tuning(r#"{"mailbox":5,"concurrency":1,"state":"paused"}"#, 128).unwrap();
        assert_eq!(all, Tuning { mailbox: Some(5), concurrency: Some(1), paused: Some(Some(String::new())) });
        assert_eq!(read_tuning(r#"{"state":"active"}"#, 128).unwrap().paused, Some(None));
        assert_eq!(read_tuning("{}", 128).unwrap(), Tuning::default());
        let pointers = |text: &str| -> Vec<String> {
            read_tuning(text, 128).unwrap_err().errors.into_iter().map(|e| e.pointer).collect()
        };
        assert_eq!(
            pointers(r#"{"mailbox":0,"concurrency":1025,"state":"failing","x":1}"#),
            ["/x", "/mailbox", "/concurrency", "/state"]
        );
        assert_eq!(
            pointers(r#"{"mailbox":1.5,"concurrency":"1","state":null}"#),
            ["/mailbox", "/concurrency", "/state"]
        );
        assert_eq!(pointers("[]"), [""]);
    }

    #[test]
    fn a_stream_that_runs_elsewhere_shows_its_registration() {
        let body = written(None, false);
        assert_eq!((&body["state"], &body["mailbox"]["limit"]), (&json!("active"), &json!(1024)));
        assert_eq!(body["last_error"], Value::Null);
    }
}
