//! `GET /api/events/{id}`: one event, and what became of it.

use super::json::write_str;
use super::links::{API, Base, Link, write_links};
use super::{AppState, Problem, answer, marks};
use crate::access::Caller;
use crate::event::{EventId, write_members, write_rfc3339};
use crate::registry::TypeEntry;
use crate::store::{DeliveryState, EventDetail, Failure};
use actix_web::{HttpRequest, HttpResponse, web};

/// The handler.
pub async fn get(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String,)>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let id: EventId = path.0.parse().map_err(|_| marks::unknown())?;
    state.know([id.type_no()]).await?;
    // As if it were not there, for whoever may not know that it is.
    let entry = state.types.by_number(id.type_no()).filter(|entry| caller.sees(&entry.name));
    let entry = entry.ok_or_else(marks::unknown)?;
    let mut detail =
        state.store.event(id, &entry.type_ref(), &entry.streams_since()).await?.ok_or_else(marks::unknown)?;
    detail.processed_by.retain(|(client, _)| caller.client().is_none_or(|own| own == client));
    let base = Base::of(&req, &state.http);
    Ok(answer::read(HttpResponse::Ok(), state.outgoing.weigh(render(&entry, &detail, &base))?))
}

fn render(entry: &TypeEntry, detail: &EventDetail, base: &Base<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(detail.event.payload.len() + 512);
    let id = detail.event.id;
    out.push(b'{');
    write_members(id, &entry.name, &detail.event.payload, &mut out);
    out.extend_from_slice(b",\"streams\":[");
    // The store answers in the order in which it was asked: active ones, then draining ones.
    let streams = entry.streams.iter().chain(&entry.draining);
    for (n, (stream, state)) in streams.zip(&detail.streams).enumerate() {
        out.extend_from_slice(if n == 0 { b"{\"name\":" } else { b",{\"name\":" });
        write_str(stream.spec.name.as_str(), &mut out);
        out.extend_from_slice(b",\"source\":");
        write_str(stream.spec.target.source(), &mut out);
        write_state(state, &mut out);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"processed_by\":[");
    for (n, (client, _)) in detail.processed_by.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_str(client.as_str(), &mut out);
    }
    out.extend_from_slice(b"],\"links\":");
    write_links(&[Link::new("self", base.url(&format!("{API}/{id}")))], &mut out);
    out.push(b'}');
    out
}

fn write_state(state: &DeliveryState, out: &mut Vec<u8>) {
    let (name, failure, next) = match state {
        DeliveryState::Pending { failed, next_attempt_at } => ("pending", failed.as_ref(), *next_attempt_at),
        DeliveryState::Delivered => ("delivered", None, None),
        DeliveryState::Dead(failure) => ("dead", Some(failure), None),
        DeliveryState::None => ("none", None, None),
        DeliveryState::Dropped => ("dropped", None, None),
    };
    out.extend_from_slice(b",\"state\":\"");
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
    if let Some(Failure { attempts, last_error }) = failure {
        out.extend_from_slice(b",\"attempts\":");
        out.extend_from_slice(attempts.to_string().as_bytes());
        out.extend_from_slice(b",\"last_error\":");
        write_str(last_error, out);
        // When it is due says something of an event that has failed; the others are on their way.
        if let Some(at) = next {
            out.extend_from_slice(b",\"next_attempt_at\":\"");
            write_rfc3339(at, out);
            out.push(b'"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Position, parse_instant};
    use crate::http::testing::entry;
    use crate::store::StoredEvent;
    use serde_json::{Value, json};

    #[test]
    fn an_event_says_what_became_of_it() {
        let entry = entry("a:b", 1, &["s1", "s2", "s3", "s4", "s5", "s6"]);
        let at = parse_instant("2018-02-01T11:12:01Z").unwrap();
        let id = EventId::new(entry.type_no, Position::first_of(at));
        let failure = Failure { attempts: 3, last_error: "500 \"oops\"".into() };
        let detail = EventDetail {
            event: StoredEvent { id, payload: "[1.0]".into(), processed_at: None },
            streams: vec![
                DeliveryState::Pending { failed: None, next_attempt_at: Some(at) },
                DeliveryState::Pending { failed: Some(failure.clone()), next_attempt_at: Some(at) },
                DeliveryState::Dead(failure),
                DeliveryState::Delivered,
                DeliveryState::None,
                DeliveryState::Dropped,
            ],
            processed_by: vec![("c1".parse().unwrap(), at), ("c2".parse().unwrap(), at)],
        };
        let body: Value = serde_json::from_slice(&render(&entry, &detail, &Base::fixed("http://h"))).unwrap();
        let states: Vec<_> = body["streams"].as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["pending", "pending", "dead", "delivered", "none", "dropped"]);
        assert_eq!(
            body["streams"][1],
            json!({
                "name": "s2", "source": "test", "state": "pending", "attempts": 3,
                "last_error": "500 \"oops\"", "next_attempt_at": "2018-02-01T11:12:01.000Z",
            })
        );
        assert_eq!(body["streams"][0], json!({"name": "s1", "source": "test", "state": "pending"}));
        assert_eq!(body["processed_by"], json!(["c1", "c2"]));
        assert_eq!(body["links"], json!([{"rel": "self", "href": format!("http://h/api/events/{id}")}]));
    }
}
