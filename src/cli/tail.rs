//! `tail`: live events as they happen, without a gap over lost connections, and none twice.
//!
//! A session that is lost is opened again with the last event that was printed as its cursor. What the hub then sends
//! twice (types other than the cursor's begin a little before it) is known by its id: ids of a type rise, so the newest
//! printed id of each type says all. Used by `feed --follow`, too.

use super::event::{self, Event};
use super::failure::Failure;
use super::hub::{Connection, Hub};
use super::out::{Out, say, span};
use super::sse::{Message, Parser};
use crate::event::{EventId, Millis, TypeFilter, parse_instant};
use awc::ClientResponse;
use awc::http::Method;
use awc::http::header::{DATE, HttpDate};
use clap::Args;
use futures_util::StreamExt;
use serde::Deserialize;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A session that is silent for so long is dead: hubs send a comment every `live.heartbeat` (15 s).
const SILENT: Duration = Duration::from_secs(60);
/// What comes within this time after a session is back belongs to catching up.
const SETTLED: Duration = Duration::from_secs(1);
/// Waits before a session is opened again: from, to.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// Print live events as they happen.
///
/// A lost connection is made again, and goes on after the last event printed: none is missed, none printed twice. What
/// happened to the connection is said on standard error.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  event-source-api tail                              everything
  event-source-api tail 'financial:*' campaign:stop  some types
  event-source-api tail --since 2354686469827723264  what came after that event, then live
  event-source-api tail --json | jq .payload         one JSON document a line")]
pub struct Tail {
    /// Types, in which * stands for anything [default: all]
    #[arg(value_name = "FILTER", value_delimiter = ',')]
    filters: Vec<String>,
    /// Begin after this event, as far as it is still stored. Other types begin up to 2 s before it. 0: the oldest there is
    #[arg(long, value_name = "ID")]
    since: Option<EventId>,
    /// Stop after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

impl Tail {
    /// Runs until it is stopped, or nobody reads any more.
    ///
    /// # Errors
    /// When the hub refuses, or was never reached.
    pub async fn run(self) -> Result<(), Failure> {
        let (hub, out) = (self.connection.hub(None)?, self.connection.out());
        let filter = filter(&self.filters)?;
        let mut follow = Follow::new(&hub, out, filter, self.count);
        match self.since {
            Some(id) => follow.cursor = Some(id),
            None => follow.fallback = now(&hub, follow.filter.as_ref()).await?,
        }
        follow.run().await
    }
}

/// The filter of a list of patterns, none meaning all.
///
/// # Errors
/// When a pattern is malformed.
pub fn filter(patterns: &[String]) -> Result<Option<TypeFilter>, Failure> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let filter = patterns.join(",").parse::<TypeFilter>();
    filter.map(Some).map_err(|error| Failure::Usage(format!("the type filter: {error}")))
}

/// `types=…` for a query; patterns hold no character that would have to be encoded there.
pub fn types(filter: Option<&TypeFilter>) -> Option<String> {
    filter.map(|filter| format!("types={}", filter.patterns().join(",")))
}

/// A cursor for "from now on", for a session that is lost before it brought anything: the newest event of this minute,
/// else the minute's beginning. `None` when the hub does not say (the token may not read feeds).
async fn now(hub: &Hub, filter: Option<&TypeFilter>) -> Result<Option<EventId>, Failure> {
    let types = types(filter).map(|types| format!("&{types}")).unwrap_or_default();
    let path = format!("/api/events/feed/minute/current?limit=1{types}");
    let Ok(answer) = hub.call(Method::GET, &path, &[], None).await?.good() else { return Ok(None) };
    let page: super::feed::Page<'_> = answer.json()?;
    if let Some(newest) = page.events.first() {
        return Ok(Some(event::read(newest.get())?.id.0));
    }
    Ok(page.start().map(EventId::first_of))
}

/// What a control message says.
#[derive(Debug, Default, Deserialize)]
struct Control {
    control: String,
    #[serde(default)]
    complete: Option<bool>,
    #[serde(default)]
    code: Option<u64>,
    #[serde(default)]
    reason: Option<String>,
}

/// A session that is back, until it has caught up.
struct CatchingUp {
    lost: Instant,
    /// Events committed later than this are live ones.
    until: Millis,
    events: u64,
    complete: bool,
}

impl CatchingUp {
    fn report(&self) {
        let events = match self.events {
            0 => "nothing was missed".to_owned(),
            1 => "1 event caught up".to_owned(),
            n => format!("{n} events caught up"),
        };
        let gap = if self.complete { "" } else { "; more may have come and expired meanwhile" };
        let away = u64::try_from(self.lost.elapsed().as_millis()).unwrap_or(u64::MAX);
        say(&format!("connected again after {}: {events}{gap}", span(away)));
    }
}

/// Follows live events from session to session.
pub struct Follow<'a> {
    hub: &'a Hub,
    out: Out,
    filter: Option<TypeFilter>,
    /// The last event printed, or where to begin.
    pub cursor: Option<EventId>,
    /// Where to go on when nothing has been printed.
    pub fallback: Option<EventId>,
    /// The newest printed event of each type.
    pub printed: HashMap<String, EventId>,
    /// Older events are none of what was asked for.
    pub from: Option<Millis>,
    /// How many are still wanted.
    left: Option<u64>,
    catching_up: Option<CatchingUp>,
    /// There has been a session.
    connected: bool,
}

impl<'a> Follow<'a> {
    /// From now on, or from the cursor that is set.
    pub fn new(hub: &'a Hub, out: Out, filter: Option<TypeFilter>, left: Option<u64>) -> Self {
        let (cursor, fallback, from, catching_up) = (None, None, None, None);
        Self { hub, out, filter, cursor, fallback, printed: HashMap::new(), from, left, catching_up, connected: false }
    }

    /// Until nothing more is wanted.
    ///
    /// # Errors
    /// When the hub refuses, was never reached, or nobody reads any more.
    pub async fn run(mut self) -> Result<(), Failure> {
        let (mut wait, mut lost) = (BACKOFF.0, None::<Instant>);
        loop {
            match self.open().await {
                Ok(session) => {
                    wait = BACKOFF.0;
                    self.connected = true;
                    if let Some(lost) = lost.take() {
                        let until = sent_at(&session);
                        self.catching_up = Some(CatchingUp { lost, until, events: 0, complete: true });
                    }
                    match self.read(session).await? {
                        Some(why) => {
                            let cursor = self.cursor.or(self.fallback);
                            let gap = if cursor.is_none() { "; what comes meanwhile is not shown" } else { "" };
                            say(&format!("disconnected: {why}; connecting again{gap}"));
                            lost = Some(Instant::now());
                        }
                        None => return Ok(()),
                    }
                }
                // Never yet connected: that may be the wrong URL, and nothing is lost by saying so.
                Err(failure) if lost.is_none() => return Err(failure),
                // Away still: asked again until it is back.
                Err(Failure::Away(_) | Failure::Unreached(_)) => {}
                Err(other) => return Err(other),
            }
            // Somewhere between half of it and all: many that were cut together do not come back together.
            tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    async fn open(&self) -> Result<ClientResponse, Failure> {
        let since = match (self.cursor, self.fallback) {
            (Some(id), _) => Some(id),
            // The first session begins where the command did; only later ones have something to catch up with.
            (None, fallback) => fallback.filter(|_| self.connected),
        };
        let query = [types(self.filter.as_ref()), since.map(|id| format!("since={id}"))];
        let query: Vec<String> = query.into_iter().flatten().collect();
        match self.hub.open(&format!("/api/events/?{}", query.join("&"))).await? {
            Ok(session) => Ok(session),
            Err(answer) => Err(answer.failure()),
        }
    }

    /// Reads a session to its end: why it ended, or `None` when nothing more is wanted.
    async fn read(&mut self, mut session: ClientResponse) -> Result<Option<String>, Failure> {
        let mut parser = Parser::default();
        loop {
            let patience = if self.catching_up.is_some() { SETTLED } else { SILENT };
            let bytes = match tokio::time::timeout(patience, session.next()).await {
                Err(_) if self.catching_up.is_some() => {
                    self.caught_up();
                    continue;
                }
                Err(_) => return Ok(Some(format!("nothing was heard for {} s", SILENT.as_secs()))),
                Ok(None) => return Ok(Some("the hub closed the connection".to_owned())),
                Ok(Some(Err(error))) => return Ok(Some(error.to_string())),
                Ok(Some(Ok(bytes))) => bytes,
            };
            let messages = parser.feed(&bytes).map_err(|error| Failure::Refused(error.to_string()))?;
            match self.take(&messages)? {
                Next::More => {}
                Next::Closed(why) => return Ok(Some(why)),
                Next::Enough => return Ok(None),
            }
        }
    }

    /// Prints what is new among messages that came together, in one write.
    fn take(&mut self, messages: &[Message]) -> Result<Next, Failure> {
        let (mut text, mut next) = (String::new(), Next::More);
        let mut last = None;
        for message in messages {
            if message.event.is_empty() {
                let event = event::read(&message.data)?;
                if self.is_new(&event) {
                    text.push_str(&event.line(&message.data, self.out));
                    last = Some(event.id.0);
                    if let Some(left) = &mut self.left {
                        *left -= 1;
                        if *left == 0 {
                            next = Next::Enough;
                            break;
                        }
                    }
                }
                continue;
            }
            let control: Control = serde_json::from_str(&message.data).unwrap_or_default();
            match control.control.as_str() {
                "resumed" => {
                    if let Some(catching_up) = &mut self.catching_up {
                        catching_up.complete &= control.complete.unwrap_or(true);
                    } else if control.complete == Some(false) && self.cursor.is_none_or(|id| id.get() > 0) {
                        // Who begins at 0 takes what there is.
                        say("events between the cursor and now have expired: what follows is not all there was");
                    }
                }
                "closed" => {
                    let code = control.code.unwrap_or_default();
                    next = Next::Closed(format!("{} ({code})", control.reason.unwrap_or_default()));
                }
                _ => {}
            }
        }
        if !text.is_empty() {
            self.out.text(&text)?;
        }
        // Only what is printed moves the cursor.
        self.cursor = last.or(self.cursor);
        Ok(next)
    }

    /// Whether an event is to be printed; it counts as printed from then on.
    fn is_new(&mut self, event: &Event<'_>) -> bool {
        let id = event.id.0;
        if self.from.is_some_and(|from| id.ms() < from) || self.printed.get(&event.ty).is_some_and(|last| *last >= id) {
            return false;
        }
        match &mut self.catching_up {
            Some(catching_up) if id.ms() <= catching_up.until => catching_up.events += 1,
            Some(_) => self.caught_up(),
            None => {}
        }
        self.printed.insert(event.ty.clone(), id);
        true
    }

    fn caught_up(&mut self) {
        if let Some(catching_up) = self.catching_up.take() {
            catching_up.report();
        }
    }
}

/// What is to be done after some messages.
enum Next {
    More,
    /// The hub has ended the session.
    Closed(String),
    /// Nothing more is wanted.
    Enough,
}

/// The last millisecond in which an answer may have begun, by its `Date`, which has seconds.
fn sent_at(session: &ClientResponse) -> Millis {
    let date = session.headers().get(DATE).and_then(|value| value.to_str().ok()?.parse::<HttpDate>().ok());
    let at = date.map_or_else(SystemTime::now, SystemTime::from);
    Millis::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(Millis::MAX - 999) + 999
}

/// The beginning of the slice in a feed's canonical URL (`…/feed/SLICE/INSTANT…`).
pub fn start_of(href: &str) -> Option<Millis> {
    let instant = href.split_once("/feed/")?.1.split('/').nth(1)?;
    parse_instant(instant.split('?').next().unwrap_or(instant)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feeds_url_says_where_its_slice_begins() {
        for tail in ["", "?limit=1", "/client/c?limit=1"] {
            let href = format!("http://h:1/p/api/events/feed/minute/2018-02-01T11:12:00.000Z{tail}");
            assert_eq!(start_of(&href), Some(1_517_483_520_000), "{href}");
        }
        assert_eq!(start_of("http://h/api/events/feed/minute/current"), None);
    }
}
