//! `streams`: how deliveries do, and what can be done about them.

use super::failure::Failure;
use super::hub::{Answer, Connection, Hub};
use super::out::{Cell, Out, Tone, cell, printable, span};
use crate::event::{EventType, StreamName, parse_instant, rfc3339};
use awc::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// A stream of a type, as it stands in a URL.
#[derive(Debug, Clone)]
pub struct Stream {
    ty: EventType,
    name: StreamName,
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ty, name) = text.split_once('/').ok_or("must be TYPE/NAME")?;
        let wrong = |error: crate::event::Malformed| error.to_string();
        Ok(Self { ty: ty.parse().map_err(wrong)?, name: name.parse().map_err(wrong)? })
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ty, self.name)
    }
}

impl Stream {
    /// `/api/events/streams/TYPE/NAME` and what follows; names hold no character that would have to be encoded.
    pub fn path(&self, tail: &str) -> String {
        format!("/api/events/streams/{self}{tail}")
    }
}

/// Show streams, one stream, or do something about one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  event-source-api streams
  event-source-api streams shop:order/billing
  event-source-api streams pause shop:order/billing
  event-source-api streams tune shop:order/billing --concurrency 4
  event-source-api streams replay shop:order/billing --from 2018-02-01T11:00:00Z --dry-run")]
pub struct Streams {
    /// Only this stream, with all that is known of it
    #[arg(value_name = "TYPE/NAME")]
    stream: Option<Stream>,
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Deliver nothing until it is resumed; events wait in the store.
    Pause(One),
    /// Deliver again.
    Resume(One),
    /// Change how many events are on their way at a time, or may wait in memory.
    Tune {
        #[command(flatten)]
        one: One,
        /// Attempts at a time; 1 delivers in order
        #[arg(long, value_name = "N", required_unless_present = "mailbox")]
        concurrency: Option<u32>,
        /// Events in memory
        #[arg(long, value_name = "N")]
        mailbox: Option<u32>,
    },
    /// Show what it has tried of late, the newest first.
    Attempts(One),
    /// End the stream: what waits becomes dead letters at once.
    Delete {
        #[command(flatten)]
        one: One,
        /// Yes, end it
        #[arg(long, required = true)]
        yes: bool,
    },
    /// Deliver stored events of a range of time again.
    Replay {
        #[command(flatten)]
        one: One,
        /// From this instant on (RFC 3339)
        #[arg(long, value_name = "INSTANT", value_parser = instant)]
        from: String,
        /// Up to, not including, this one [default: now]
        #[arg(long, value_name = "INSTANT", value_parser = instant)]
        to: Option<String>,
        /// Only count them
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
struct One {
    /// Which one
    #[arg(value_name = "TYPE/NAME")]
    stream: Stream,
}

fn instant(text: &str) -> Result<String, String> {
    parse_instant(text).map(rfc3339).map_err(|error| error.to_string())
}

impl Streams {
    /// Shows or does it.
    ///
    /// # Errors
    /// When the hub refuses or is away.
    pub async fn run(self) -> Result<(), Failure> {
        let (hub, out) = (self.connection.hub(None)?, self.connection.out());
        match (self.action, self.stream) {
            (None, None) => list(&hub, out).await,
            (None, Some(stream)) => show(&hub.get(&stream.path("")).await?, out),
            (Some(_), Some(_)) => Err(Failure::Usage("name the stream after what is to be done".to_owned())),
            (Some(action), None) => act(action, &hub, out).await,
        }
    }
}

async fn act(action: Action, hub: &Hub, out: Out) -> Result<(), Failure> {
    match action {
        Action::Pause(one) => patch(&one.stream, json!({"state": "paused"}), hub, out).await,
        Action::Resume(one) => patch(&one.stream, json!({"state": "active"}), hub, out).await,
        Action::Tune { one, concurrency, mailbox } => {
            let given = [("concurrency", concurrency), ("mailbox", mailbox)];
            let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
            patch(&one.stream, Value::Object(given.collect()), hub, out).await
        }
        Action::Attempts(one) => attempts(&hub.get(&one.stream.path("/attempts")).await?, out),
        Action::Delete { one, yes: _ } => {
            let answer = hub.call(Method::DELETE, &one.stream.path(""), &[], None).await?.good()?;
            counted(&answer, &format!("{} is gone; dead letters of what waited", one.stream), out)
        }
        Action::Replay { one, from, to, dry_run } => {
            let to = to.unwrap_or_else(now);
            let body = json!({"from": from, "to": to, "dry_run": dry_run}).to_string();
            let answer = hub.call(Method::POST, &one.stream.path("/replay"), &[], Some(body)).await?.good()?;
            let what = if dry_run { "events that would be delivered again" } else { "events to be delivered again" };
            counted(&answer, what, out)
        }
    }
}

async fn patch(stream: &Stream, change: Value, hub: &Hub, out: Out) -> Result<(), Failure> {
    let answer = hub.call(Method::PATCH, &stream.path(""), &[], Some(change.to_string())).await?;
    show(&answer.good()?, out)
}

/// `what: N`, of an answer that counts.
///
/// # Errors
/// When it does not.
pub fn counted(answer: &Answer, what: &str, out: Out) -> Result<(), Failure> {
    if out.json {
        return answer.print(out);
    }
    let count: Value = answer.json()?;
    out.line(&format!("{what}: {}", count["count"]))
}

async fn list(hub: &Hub, out: Out) -> Result<(), Failure> {
    let answer = hub.get("/api/events/streams").await?;
    if out.json {
        return answer.print(out);
    }
    let all: Value = answer.json()?;
    let rows: Vec<Vec<Cell>> = all["streams"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return out.line("no streams");
    }
    out.table(&["STREAM", "SOURCE", "STATE", "WAITING", "OLDEST", "DELIVERED", "FAILED", "DEAD", "LAST ERROR"], &rows)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn state(value: &Value) -> Cell {
    let state = text(value);
    let tone = match state.as_str() {
        "active" => Tone::Good,
        "failing" => Tone::Bad,
        _ => Tone::Warn,
    };
    (state, tone)
}

fn row(stream: &Value) -> Vec<Cell> {
    let count = |name: &str, tone: Tone| {
        let zero = stream[name].as_u64() == Some(0);
        (text(&stream[name]), if zero { Tone::Plain } else { tone })
    };
    vec![
        cell(format!("{}/{}", text(&stream["type"]), text(&stream["name"]))),
        cell(text(&stream["source"])),
        state(&stream["state"]),
        count("backlog", Tone::Plain),
        cell(stream["oldest_age_ms"].as_u64().map(span).unwrap_or_default()),
        count("delivered", Tone::Plain),
        count("failed", Tone::Warn),
        count("dead", Tone::Bad),
        (text(&stream["last_error"]), Tone::Dim),
    ]
}

fn show(answer: &Answer, out: Out) -> Result<(), Failure> {
    if out.json {
        return answer.print(out);
    }
    let stream: Value = answer.json()?;
    let line = |name: &str, value: Cell| vec![(name.to_owned(), Tone::Dim), value];
    let mailbox = &stream["mailbox"];
    let rows = [
        line("stream", cell(format!("{}/{}", text(&stream["type"]), text(&stream["name"])))),
        line("source", cell(text(&stream["source"]))),
        line("state", state(&stream["state"])),
        line("waiting", cell(text(&stream["backlog"]))),
        line("oldest", cell(stream["oldest_age_ms"].as_u64().map(span).unwrap_or_default())),
        line("in flight", cell(format!("{} of {} at a time", stream["in_flight"], stream["concurrency"]))),
        line("in memory", cell(format!("{} of {}", mailbox["length"], mailbox["limit"]))),
        line("delivered", cell(text(&stream["delivered"]))),
        line("failed", cell(text(&stream["failed"]))),
        line("dead", cell(text(&stream["dead"]))),
        line("last error", cell(text(&stream["last_error"]))),
    ];
    let shown: Vec<_> = rows.into_iter().filter(|row| row.iter().all(|(text, _)| !text.is_empty())).collect();
    let (first, rest) = shown.split_at(1);
    let head: Vec<&str> = first.iter().flatten().map(|(text, _)| text.as_str()).collect();
    out.table(&head, rest)
}

fn attempts(answer: &Answer, out: Out) -> Result<(), Failure> {
    if out.json {
        return answer.print(out);
    }
    let all: Value = answer.json()?;
    let row = |attempt: &Value| {
        let outcome = text(&attempt["outcome"]);
        let tone = if outcome == "delivered" { Tone::Good } else { Tone::Bad };
        vec![
            cell(text(&attempt["at"])),
            cell(text(&attempt["event_id"])),
            (outcome, tone),
            cell(text(&attempt["status"])),
            cell(attempt["duration_ms"].as_u64().map(span).unwrap_or_default()),
            (text(&attempt["error"]), Tone::Dim),
        ]
    };
    let rows: Vec<Vec<Cell>> = all["attempts"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return out.line("no attempts");
    }
    out.table(&["AT", "EVENT", "OUTCOME", "STATUS", "TOOK", "ERROR"], &rows)
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
