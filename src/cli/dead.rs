//! `dead`: the dead letters of a stream.

use super::event::Event;
use super::failure::Failure;
use super::hub::{Answer, Connection, Hub};
use super::out::{Cell, Out, Tone, cell, one_line, say};
use super::streams::{Stream, counted};
use crate::event::EventId;
use awc::http::Method;
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Letters asked for at a time.
const PAGE: usize = 500;

/// Show a stream's dead letters, send them again, or delete them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  event-source-api dead shop:order/billing
  event-source-api dead shop:order/billing --retry                      all of them
  event-source-api dead shop:order/billing --retry 2354686469827723264  this one
  event-source-api dead shop:order/billing --delete --yes               all of them, for good")]
pub struct Dead {
    /// Which stream
    #[arg(value_name = "TYPE/NAME")]
    stream: Stream,
    /// Of these events only
    #[arg(value_name = "ID")]
    ids: Vec<EventId>,
    /// Send them again
    #[arg(long, conflicts_with = "delete")]
    retry: bool,
    /// Delete them
    #[arg(long)]
    delete: bool,
    /// Yes, delete all
    #[arg(long, requires = "delete")]
    yes: bool,
    /// Most letters to show
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    dead: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Letter<'a> {
    #[serde(borrow)]
    event: Event<'a>,
    attempts: u64,
    last_error: String,
    since: String,
}

impl Dead {
    /// Shows or does it.
    ///
    /// # Errors
    /// When the hub refuses or is away.
    pub async fn run(self) -> Result<(), Failure> {
        if !self.ids.is_empty() && !self.retry && !self.delete {
            return Err(Failure::Usage("say what to do with these: --retry or --delete".to_owned()));
        }
        if self.delete && self.ids.is_empty() && !self.yes {
            return Err(Failure::Usage(
                "name the events, or delete all with --yes: they cannot be had back".to_owned(),
            ));
        }
        let (hub, out) = (self.connection.hub(None)?, self.connection.out());
        let ids: Vec<String> = self.ids.iter().map(ToString::to_string).collect();
        let body = (!ids.is_empty()).then(|| json!({ "ids": ids }).to_string());
        if self.retry {
            let answer = hub.call(Method::POST, &self.stream.path("/dead/retry"), &[], body).await?.good()?;
            return self.done(&answer, "sent again", out);
        }
        if self.delete {
            let answer = hub.call(Method::DELETE, &self.stream.path("/dead"), &[], body).await?.good()?;
            return self.done(&answer, "deleted", out);
        }
        self.list(&hub, out).await
    }

    /// Of events that were named, those that are none of the stream's dead letters were passed over.
    fn done(&self, answer: &Answer, what: &str, out: Out) -> Result<(), Failure> {
        counted(answer, what, out)?;
        let done: serde_json::Value = answer.json()?;
        let named = self.ids.len() as u64;
        match done["count"].as_u64() {
            Some(count) if count < named => {
                Err(Failure::Refused(format!("{} of the events are no dead letters of {}", named - count, self.stream)))
            }
            _ => Ok(()),
        }
    }

    async fn list(&self, hub: &Hub, out: Out) -> Result<(), Failure> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let (mut rows, mut shown, mut after) = (Vec::new(), 0, None);
        let more = loop {
            // One more than is shown says whether there are more.
            let wanted = (limit + 1 - shown).min(PAGE);
            let after_that = after.map(|id: EventId| format!("&after={id}")).unwrap_or_default();
            let answer = hub.get(&self.stream.path(&format!("/dead?limit={wanted}{after_that}"))).await?;
            let page: Page<'_> = answer.json()?;
            for raw in &page.dead {
                let letter: Letter<'_> = serde_json::from_str(raw.get())
                    .map_err(|error| Failure::Refused(format!("that is not a dead letter: {error}")))?;
                after = Some(letter.event.id.0);
                shown += 1;
                if shown > limit {
                    break;
                }
                if out.json {
                    out.line(&one_line(raw.get()))?;
                } else {
                    rows.push(row(&letter));
                }
            }
            // A page may end before its limit when payloads are large; an empty one is the end.
            if page.dead.is_empty() || shown > limit {
                break shown > limit;
            }
        };
        if !rows.is_empty() {
            out.table(&["EVENT", "CREATED", "DEAD SINCE", "ATTEMPTS", "LAST ERROR", "PAYLOAD"], &rows)?;
        } else if !out.json {
            out.line("no dead letters")?;
        }
        if more {
            say(&format!("only the oldest {limit} are shown: more with --limit"));
        }
        Ok(())
    }
}

fn row(letter: &Letter<'_>) -> Vec<Cell> {
    vec![
        cell(letter.event.id.0.to_string()),
        cell(&letter.event.created_at),
        cell(&letter.since),
        cell(letter.attempts.to_string()),
        (super::out::printable(&letter.last_error), Tone::Bad),
        (super::out::printable(letter.event.payload.get()), Tone::Dim),
    ]
}
