//! `send`: events from the command line or standard input.
//!
//! Each request has an idempotency key, its own if nobody gave one, so that it can be repeated when the hub is away or
//! its answer is lost.

use super::failure::Failure;
use super::hub::{Answer, Connection, Hub, problem_in};
use super::out::{Out, Tone, printable, say};
use crate::event::EventType;
use awc::http::Method;
use clap::Args;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{BufReader, IsTerminal, Read};
use std::time::Duration;

/// Most events of a batch; `http.max_batch` is 1000 unless set lower.
const BATCH: usize = 500;
/// Bytes of payload past which a batch ends; `http.max_body` is 1 MiB unless set lower.
const BATCH_BYTES: usize = 512 << 10;
/// Waits between attempts, when the hub does not say.
const WAITS: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(600), Duration::from_millis(1500)];
/// Longest wait that a hub is granted.
const LONGEST_WAIT: u64 = 10;

/// Send an event, or many.
///
/// The payload is JSON. From standard input it is one document for one event, or several (NDJSON) for as many events.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  event-source-api send financial:end-budget '{\"campaign_id\": 123}'
  jq -c '.[]' orders.json | event-source-api send shop:order -
  event-source-api send shop:order --batch '[{\"n\": 1}, {\"n\": 2}]'
  event-source-api send shop:order --idempotency-key order-17 '{\"n\": 17}'

What is sent while the hub is away is tried again a few times, with the same idempotency key.")]
pub struct Send {
    /// The events' type
    #[arg(value_name = "TYPE")]
    ty: EventType,
    /// The payload; - reads standard input, as does leaving it out
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    payload: Option<String>,
    /// The JSON is an array of payloads, each of an event of its own
    #[arg(long)]
    batch: bool,
    /// Send these events once, however often this command is run with this key [default: a random one]
    #[arg(long, value_name = "KEY", value_parser = key)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

fn key(text: &str) -> Result<String, String> {
    // Room for the number of a batch.
    let fits = (1..=240).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if fits { Ok(text.to_owned()) } else { Err("must be 1 to 240 printable characters".to_owned()) }
}

type Payloads = Box<dyn Iterator<Item = Result<Box<RawValue>, Failure>>>;

impl Send {
    /// Sends what there is.
    ///
    /// # Errors
    /// When something was refused or is not registered, after the rest was sent.
    pub async fn run(mut self) -> Result<(), Failure> {
        let mut payloads = self.payloads()?;
        let (hub, out) = (self.connection.hub(None)?, self.connection.out());
        let given = self.idempotency_key.is_some();
        let key = self.idempotency_key.take().unwrap_or_else(|| format!("cli-{:032x}", rand::random::<u128>()));
        let mut sender = Sender { hub: &hub, out, ty: &self.ty, key, given, batches: 0, failed: 0, sent: 0 };
        let Some(first) = payloads.next().transpose()? else {
            return Err(Failure::Usage("there is no JSON on standard input".to_owned()));
        };
        let second = payloads.next().transpose()?;
        if second.is_none() && !self.batch {
            return sender.one(&first).await;
        }
        let mut batch = vec![first];
        batch.extend(second);
        let mut bytes: usize = batch.iter().map(|payload| payload.get().len()).sum();
        for payload in payloads {
            let payload = match payload {
                Ok(payload) => payload,
                Err(failure) => {
                    // What came before the fault is well-formed, and is sent.
                    sender.many(&batch).await?;
                    return Err(sender.so_far(failure));
                }
            };
            if batch.len() >= BATCH || bytes + payload.get().len() > BATCH_BYTES {
                sender.many(&batch).await?;
                batch.clear();
                bytes = 0;
            }
            bytes += payload.get().len();
            batch.push(payload);
        }
        sender.many(&batch).await?;
        if sender.failed > 0 { Err(Failure::Said) } else { Ok(()) }
    }

    fn payloads(&self) -> Result<Payloads, Failure> {
        let reader: Box<dyn Read> = match self.payload.as_deref() {
            None if std::io::stdin().is_terminal() => {
                return Err(Failure::Usage("give the payload, or - to read it from standard input".to_owned()));
            }
            None | Some("-") => Box::new(BufReader::new(std::io::stdin())),
            Some(text) => {
                let one = serde_json::from_str::<Box<RawValue>>(text).map_err(|error| malformed(&error))?;
                Box::new(std::io::Cursor::new(one.get().as_bytes().to_vec()))
            }
        };
        let documents = serde_json::Deserializer::from_reader(reader).into_iter::<Box<RawValue>>();
        let documents = documents.map(|read| read.map_err(|error| malformed(&error)));
        if !self.batch {
            return Ok(Box::new(documents));
        }
        Ok(Box::new(documents.flat_map(|document| {
            let elements = document.and_then(|document| {
                serde_json::from_str::<Vec<Box<RawValue>>>(document.get())
                    .map_err(|_| Failure::Usage("with --batch the JSON must be an array".to_owned()))
            });
            match elements {
                Ok(elements) => elements.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(failure) => vec![Err(failure)],
            }
        })))
    }
}

fn malformed(error: &serde_json::Error) -> Failure {
    if error.is_io() {
        return Failure::Usage(format!("standard input cannot be read: {error}"));
    }
    Failure::Usage(format!("the payload is not JSON: {error}; a text needs its own quotes: '\"text\"'"))
}

struct Sender<'a> {
    hub: &'a Hub,
    out: Out,
    ty: &'a EventType,
    key: String,
    /// The key is the caller's, who knows it.
    given: bool,
    batches: usize,
    failed: usize,
    sent: usize,
}

impl Sender<'_> {
    async fn one(&mut self, payload: &RawValue) -> Result<(), Failure> {
        let answer = self.post(item(self.ty, payload)).await?.good()?;
        if self.out.json {
            answer.print(self.out)?;
            let result: Value = answer.json()?;
            return if result["status"] == "discarded" { Err(Failure::Said) } else { Ok(()) };
        }
        let result = answer.json()?;
        self.show(&result)?;
        if self.failed > 0 { Err(Failure::Said) } else { Ok(()) }
    }

    async fn many(&mut self, payloads: &[Box<RawValue>]) -> Result<(), Failure> {
        if payloads.is_empty() {
            return Ok(());
        }
        let items: Vec<String> = payloads.iter().map(|payload| item(self.ty, payload)).collect();
        let answer = self.post(format!("[{}]", items.join(","))).await.and_then(Answer::good);
        let answer = answer.map_err(|failure| self.so_far(failure))?;
        let results: Vec<Value> = answer.json()?;
        for result in &results {
            if self.out.json {
                self.out.line(&result.to_string())?;
            }
            self.show(result)?;
        }
        Ok(())
    }

    /// With its key, so that it can be repeated: what the first attempt did is not done twice.
    async fn post(&mut self, body: String) -> Result<Answer, Failure> {
        self.batches += 1;
        let key = if self.batches == 1 { self.key.clone() } else { format!("{}:{}", self.key, self.batches) };
        let mut waits = WAITS.iter();
        let mut unsure = false;
        loop {
            let headers = [("idempotency-key", key.as_str())];
            let sent = self.hub.call(Method::POST, "/api/events/send", &headers, Some(body.clone()));
            let (failure, asked) = match sent.await {
                Ok(answer) if !matches!(answer.status, 429 | 502..=504) => return Ok(answer),
                Ok(answer) => (answer.failure(), answer.retry_after()),
                Err(failure) => (failure, None),
            };
            unsure |= !matches!(failure, Failure::Unreached(_));
            let Some(wait) = waits.next() else {
                if !self.given {
                    // Of more than one batch those before have arrived.
                    let none = !unsure && self.batches == 1;
                    let repeat = if none {
                        "it has not arrived: repeat it, with or without"
                    } else {
                        "it may have arrived: repeat it with"
                    };
                    say(&format!("{repeat} --idempotency-key {}", self.key));
                }
                return Err(failure);
            };
            let asked = asked.map(|seconds| Duration::from_secs(seconds.min(LONGEST_WAIT)));
            tokio::time::sleep(asked.unwrap_or(*wait).max(*wait)).await;
        }
    }

    /// A failure after part of the events was sent says so.
    fn so_far(&self, failure: Failure) -> Failure {
        if self.sent > 0 {
            say(&format!("{} events had been sent before this failed", self.sent));
        }
        failure
    }

    /// What became of an event.
    fn show(&mut self, result: &Value) -> Result<(), Failure> {
        let text = |name: &str| printable(result[name].as_str().unwrap_or_default());
        let status = text("status");
        match result["status"].as_str() {
            Some("accepted" | "duplicate") => {
                self.sent += 1;
                if self.out.json {
                    return Ok(());
                }
                let streams: Vec<_> =
                    result["streams"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let streams = if streams.is_empty() { String::new() } else { format!("  to {}", streams.join(", ")) };
                let tone = if status == "accepted" { Tone::Good } else { Tone::Warn };
                let (status, id, ty) = (self.out.paint(&status, tone), text("id"), text("type"));
                self.out.line(&format!("{status} {id} {ty}{}", printable(&streams)))
            }
            Some(_) => {
                self.failed += 1;
                if !self.out.json {
                    say(&format!("{status}: the type {} is not registered", text("type")));
                }
                Ok(())
            }
            None => {
                self.failed += 1;
                say(&problem_in(result));
                Ok(())
            }
        }
    }
}

fn item(ty: &EventType, payload: &RawValue) -> String {
    // A type's characters need no escaping in JSON.
    format!("{{\"type\":\"{ty}\",\"payload\":{}}}", payload.get())
}
