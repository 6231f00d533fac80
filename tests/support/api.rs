//! The contract's everyday calls, asserted to work.

use super::http::Response;
use super::hub::Hub;
use super::wait::{PATIENCE, eventually};
use serde_json::{Value, json};

/// An accepted event.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its id.
    pub id: String,
    /// When it was committed.
    pub created_at: String,
}

impl Hub {
    /// Registers a type without streams.
    pub async fn register(&self, ty: &str, ttl: &str) {
        self.register_with(ty, ttl, json!([])).await;
    }

    /// Registers a type with streams; the stored configuration.
    pub async fn register_with(&self, ty: &str, ttl: &str, streams: Value) -> Value {
        let body = json!({"type": ty, "ttl": ttl, "streams": streams});
        let answer = self.put("/api/events/register", &body).await;
        assert!(matches!(answer.status, 200 | 201), "registering {body}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// Sends an event that must be accepted.
    pub async fn send(&self, ty: &str, payload: Value) -> Sent {
        self.send_raw(&format!(r#"{{"type":"{ty}","payload":{payload}}}"#)).await
    }

    /// Sends exactly these bytes, which must be accepted.
    pub async fn send_raw(&self, body: &str) -> Sent {
        let answer = self.post("/api/events/send", body).await.expect(202);
        sent(&answer.json())
    }

    /// Sends `n` events `{"n": 0}`, `{"n": 1}`… one after the other.
    pub async fn send_many(&self, ty: &str, n: usize) -> Vec<Sent> {
        let mut all = Vec::with_capacity(n);
        for i in 0..n {
            all.push(self.send(ty, json!({ "n": i })).await);
        }
        all
    }

    /// A feed that must be there.
    pub async fn feed(&self, path_and_query: &str) -> Value {
        self.get(&format!("/api/events/feed/{path_and_query}")).await.expect(200).json()
    }

    /// One event that must be there.
    pub async fn event(&self, id: &str) -> Value {
        self.get(&format!("/api/events/{id}")).await.expect(200).json()
    }

    /// GETs an absolute link of the hub.
    pub async fn follow(&self, href: &str) -> Response {
        self.get(path_of(href)).await
    }

    /// Waits until an event stands with a stream as `state`; the stream's part of the event.
    pub async fn until_state(&self, id: &str, stream: &str, state: &str) -> Value {
        let probe = || async {
            let event = self.event(id).await;
            let found = stream_of(&event, stream)?;
            (found["state"] == state).then_some(found)
        };
        eventually(PATIENCE, &format!("event {id} to be {state} at stream {stream}"), probe).await
    }

    /// All ids of a feed, walked through its `more` links; asserts that the walk ends and repeats nothing.
    pub async fn walk(&self, path_and_query: &str) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut page = self.feed(path_and_query).await;
        loop {
            let ids = ids(&page);
            assert!(!ids.is_empty() || all.is_empty(), "a `more` link leads to an empty page");
            all.extend(ids);
            let Some(more) = link(&page, "more") else { break };
            page = self.follow(&more).await.expect(200).json();
        }
        let numbers: Vec<u64> = all.iter().map(|id| number(id)).collect();
        assert!(numbers.windows(2).all(|w| w[0] > w[1]), "a walk is newest first and repeats nothing");
        all
    }
}

/// The part of an accepted answer that tests go on with.
#[track_caller]
pub fn sent(answer: &Value) -> Sent {
    assert_eq!(answer["status"], "accepted", "{answer}");
    Sent {
        id: answer["id"].as_str().expect("an id").to_owned(),
        created_at: answer["created_at"].as_str().expect("a time").to_owned(),
    }
}

/// Ids of a feed's events, in its order.
pub fn ids(feed: &Value) -> Vec<String> {
    let events = feed["events"].as_array().unwrap_or_else(|| panic!("not a feed: {feed}"));
    events.iter().map(|e| e["id"].as_str().expect("an id").to_owned()).collect()
}

/// An id as the number it is.
pub fn number(id: &str) -> u64 {
    assert!(id.bytes().all(|b| b.is_ascii_digit()), "an id is decimal: {id}");
    id.parse().expect("an id fits into 64 bits")
}

/// The target of a link.
pub fn link(document: &Value, rel: &str) -> Option<String> {
    let links = document["links"].as_array()?;
    links.iter().find(|l| l["rel"] == rel)?["href"].as_str().map(str::to_owned)
}

/// A link's path and query.
pub fn path_of(href: &str) -> &str {
    let rest = href.split_once("://").map_or(href, |(_, rest)| rest);
    &rest[rest.find('/').expect("a path")..]
}

/// What an event document says of a stream, in a list (by `name`) or a map.
pub fn stream_of(event: &Value, name: &str) -> Option<Value> {
    match &event["streams"] {
        Value::Array(all) => all.iter().find(|s| s["name"] == name).cloned(),
        Value::Object(all) => all.get(name).cloned(),
        _ => None,
    }
}

/// A webhook stream that retries fast.
pub fn webhook(name: &str, uri: &str) -> Value {
    json!({
        "source": "webhook", "name": name, "uri": uri,
        "retry": {"attempts": 1000, "first": "50ms", "max": "200ms"},
    })
}

/// A rabbit stream that retries fast.
pub fn rabbit(name: &str, exchange: &str, key: &str) -> Value {
    json!({
        "source": "rabbit", "name": name, "exchange": exchange, "routingKey": key,
        "retry": {"attempts": 1000, "first": "50ms", "max": "200ms"},
    })
}

/// The instant of an RFC 3339 text, in Unix milliseconds.
pub fn millis(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|e| panic!("{text}: {e}")).timestamp_millis()
}

/// Unix milliseconds as the contract writes them.
pub fn instant(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .expect("a representable time")
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
