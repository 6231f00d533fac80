//! What a WebSocket client has asked for, done one thing after the other and answered in that order.
//!
//! Marks that wait are given to the store together. How many may wait is bounded: the session then stops to read
//! from its client, which is slowed down instead of filling memory.

use super::controls::{self, Command};
use crate::access::{Caller, Scope};
use crate::event::{ClientId, EventId, TypeFilter};
use crate::live::{Door, Inbox};
use crate::store::MarkRequest;
use futures_util::future::LocalBoxFuture;
use std::collections::VecDeque;

/// Commands that may wait; the session reads no more until half of them are done.
pub const MOST_WAITING: usize = 256;

/// Whether as many commands wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// No more should come.
    Yes,
    /// There is room.
    No,
}

/// The commands of one session.
pub struct Commands {
    door: Door,
    caller: Caller,
    waiting: VecDeque<Command>,
    /// Something is being done.
    busy: bool,
}

/// The answers, once something has been done.
pub type Work = LocalBoxFuture<'static, Vec<String>>;

impl Commands {
    /// None yet.
    pub fn new(door: Door, caller: Caller) -> Self {
        Self { door, caller, waiting: VecDeque::new(), busy: false }
    }

    /// Takes a client's message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, message: &[u8]) -> Result<Full, String> {
        self.waiting.push_back(Command::parse(message)?);
        Ok(if self.waiting.len() < MOST_WAITING { Full::No } else { Full::Yes })
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What is to be done next; `None` when there is nothing, or something is being done.
    pub fn next(&mut self, inbox: &mut Inbox) -> Option<Work> {
        if self.busy {
            return None;
        }
        let work = match self.waiting.pop_front()? {
            Command::Subscribe(more) => match inbox.filter().with(&more) {
                Ok(filter) => refilter(inbox, filter, "subscribed"),
                Err(e) => Box::pin(std::future::ready(vec![controls::error(&e.to_string())])),
            },
            Command::Unsubscribe(less) => refilter(inbox, inbox.filter().without(&less), "unsubscribed"),
            Command::Ok { id, client } => {
                let mut marks = vec![(id, client)];
                while let Some(Command::Ok { .. }) = self.waiting.front() {
                    if let Some(Command::Ok { id, client }) = self.waiting.pop_front() {
                        marks.push((id, client));
                    }
                }
                Box::pin(mark(self.door.clone(), self.caller.clone(), marks))
            }
        };
        self.busy = true;
        Some(work)
    }

    /// It has been done.
    pub fn done(&mut self) {
        self.busy = false;
    }
}

fn refilter(inbox: &mut Inbox, filter: TypeFilter, control: &'static str) -> Work {
    let asked = inbox.refilter(filter.clone());
    Box::pin(async move {
        vec![match asked.await {
            Ok(()) => controls::types(control, &filter),
            Err(e) => controls::error(&e.to_string()),
        }]
    })
}

/// Marks events as `PUT /{id}/ok/{client}` does.
async fn mark(door: Door, caller: Caller, marks: Vec<(String, ClientId)>) -> Vec<String> {
    let mut numbers = marks.iter().filter_map(|(id, _)| id.parse::<EventId>().ok()).map(|id| id.type_no());
    let unknown = numbers.any(|number| door.types.find(number).is_none());
    let looked = if unknown { (door.look)().await } else { Ok(()) };
    let asked: Vec<_> = marks
        .iter()
        .map(|(id, client)| allowed(client, &caller).map(|()| request(id, client, &caller, &door)))
        .collect();
    let requests: Vec<_> = asked.iter().flatten().flatten().cloned().collect();
    let known = match looked {
        Ok(()) if requests.is_empty() => Ok(Vec::new()),
        Ok(()) => door.store.mark(&requests).await,
        Err(error) => Err(error),
    };
    if let Err(e) = &known {
        log::warn!("marks of a live session were not stored: marks={} error=\"{e}\"", marks.len());
    }
    let mut known = known.map(Vec::into_iter);
    let answers = marks.iter().zip(asked).map(|((id, client), asked)| match (asked, &mut known) {
        (Err(detail), _) => controls::not_marked(id, client, &detail),
        (Ok(None), Ok(_)) => controls::acknowledged(id, client, false),
        (Ok(Some(_)), Ok(known)) => controls::acknowledged(id, client, known.next().unwrap_or(false)),
        (Ok(_), Err(_)) => controls::not_marked(id, client, "the store is not available; repeat"),
    });
    answers.collect()
}

/// Whoever may listen may not always mark.
fn allowed(client: &ClientId, caller: &Caller) -> Result<(), String> {
    if !caller.may(Scope::Feed) {
        return Err("this needs the scope feed".to_owned());
    }
    caller.check_client(Some(client)).map_err(|error| error.detail)
}

/// `None` when no type that the caller may know of has the id's number: then, for him, no event has the id.
fn request(id: &str, client: &ClientId, caller: &Caller, door: &Door) -> Option<MarkRequest> {
    let id: EventId = id.parse().ok()?;
    let (_, ttl) = door.types.find(id.type_no()).filter(|(name, _)| caller.sees(name))?;
    Some(MarkRequest { id, ttl, client: client.clone() })
}
