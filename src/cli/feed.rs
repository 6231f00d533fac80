//! `feed`: a slice of time as people read it, the newest last; and on from there.

use super::event::{self, Event};
use super::failure::Failure;
use super::hub::{Connection, Hub};
use super::out::{Out, say};
use super::tail::{self, Follow};
use crate::event::{ClientId, EventId, Millis, Slice, parse_instant, rfc3339};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Most events of one request.
const PAGE: usize = 10_000;

/// Print the events of a slice of time, the newest last.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  event-source-api feed                                    this hour
  event-source-api feed day 2018-02-01T00:00:00Z           a day that is past
  event-source-api feed hour current --client billing      what that client has not processed
  event-source-api feed minute --types 'financial:*' --follow")]
pub struct Feed {
    /// minute, hour, day, week, month, or a number and unit: 15minutes, 6hours
    #[arg(default_value = "hour", value_parser = slice)]
    slice: String,
    /// current, or an instant in the slice (RFC 3339)
    #[arg(default_value = "current", value_parser = at)]
    at: String,
    /// As this client: what it has not marked processed
    #[arg(long, value_name = "CLIENT")]
    client: Option<ClientId>,
    /// Only these types, in which * stands for anything
    #[arg(long, value_name = "FILTER", value_delimiter = ',')]
    types: Vec<String>,
    /// Which events of the client
    #[arg(long, value_enum, requires = "client")]
    status: Option<Status>,
    /// Most events: the newest of the slice
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on with live events (of the current slice only)
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Status {
    Pending,
    Processed,
    All,
}

fn slice(text: &str) -> Result<String, String> {
    text.parse::<Slice>().map(|slice| slice.to_string()).map_err(|error| error.to_string())
}

fn at(text: &str) -> Result<String, String> {
    if text == "current" {
        return Ok(text.to_owned());
    }
    parse_instant(text).map(rfc3339).map_err(|error| format!("current, or an instant: {error}"))
}

/// A page of a feed.
#[derive(Debug, Deserialize)]
pub struct Page<'a> {
    /// The newest first, as they came.
    #[serde(borrow)]
    pub events: Vec<&'a RawValue>,
    links: Vec<Link>,
}

#[derive(Debug, Deserialize)]
struct Link {
    rel: String,
    href: String,
}

impl Page<'_> {
    /// The first millisecond of its slice.
    pub fn start(&self) -> Option<Millis> {
        self.links.iter().find(|link| link.rel == "self").and_then(|link| tail::start_of(&link.href))
    }

    fn has_more(&self) -> bool {
        self.links.iter().any(|link| link.rel == "more")
    }
}

/// What was read of a slice.
struct Read {
    /// The newest first.
    events: Vec<String>,
    start: Option<Millis>,
    more: bool,
}

impl Feed {
    /// Prints it.
    ///
    /// # Errors
    /// When the hub refuses or is away.
    pub async fn run(self) -> Result<(), Failure> {
        if self.follow && self.at != "current" {
            return Err(Failure::Usage("--follow goes on from the current slice: leave out the instant".to_owned()));
        }
        if self.follow && self.status == Some(Status::Processed) {
            return Err(Failure::Usage("--follow shows what is new, which nobody has processed".to_owned()));
        }
        let (hub, out) = (self.connection.hub(None)?, self.connection.out());
        let filter = tail::filter(&self.types)?;
        let read = self.read(&hub, tail::types(filter.as_ref())).await?;
        let mut follow = Follow::new(&hub, out, filter, None);
        for raw in read.events.iter().rev() {
            let event = event::read(raw)?;
            show(&event, raw, out)?;
            follow.cursor = Some(event.id.0);
            let newest = follow.printed.entry(event.ty.clone()).or_insert(event.id.0);
            *newest = event.id.0.max(*newest);
        }
        if read.more {
            say(&format!("only the newest {} are shown: more with --limit", self.limit));
        } else if read.events.is_empty() && !out.json && !self.follow {
            say("no events");
        }
        if !self.follow {
            return Ok(());
        }
        follow.from = read.start;
        // An empty slice is followed from its beginning.
        follow.cursor = follow.cursor.or_else(|| read.start.map(EventId::first_of));
        follow.run().await
    }

    async fn read(&self, hub: &Hub, types: Option<String>) -> Result<Read, Failure> {
        let client = self.client.as_ref().map(|client| format!("/client/{client}")).unwrap_or_default();
        let status = self.status.map(|status| match status {
            Status::Pending => "status=pending",
            Status::Processed => "status=processed",
            Status::All => "status=all",
        });
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut all = Read { events: Vec::new(), start: None, more: false };
        let (mut at, mut after) = (self.at.clone(), None);
        loop {
            let wanted = (limit - all.events.len()).min(PAGE);
            let query = [
                Some(format!("limit={wanted}")),
                types.clone(),
                status.map(str::to_owned),
                after.map(|id: EventId| format!("after={id}")),
            ];
            let query: Vec<String> = query.into_iter().flatten().collect();
            let path = format!("/api/events/feed/{}/{at}{client}?{}", self.slice, query.join("&"));
            let answer = hub.get(&path).await?;
            let page: Page<'_> = answer.json()?;
            all.start = all.start.or(page.start());
            all.more = page.has_more();
            all.events.extend(page.events.iter().map(|raw| raw.get().to_owned()));
            if !all.more || page.events.is_empty() || all.events.len() >= limit {
                return Ok(all);
            }
            // The same slice, also when another has become the current one meanwhile.
            if let Some(start) = all.start {
                at = rfc3339(start);
            }
            after = all.events.last().map(|raw| event::read(raw)).transpose()?.map(|event| event.id.0);
        }
    }
}

fn show(event: &Event<'_>, raw: &str, out: Out) -> Result<(), Failure> {
    out.text(&event.line(raw, out))
}
