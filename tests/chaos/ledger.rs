//! What was sent, and what the hub has promised of it.
//!
//! Every event carries a mark of its own in its payload, so that it is known again wherever it turns up, also without
//! an id: an unanswered send promises nothing, but may have been stored.

use crate::check::Violation;
use crate::scenario::TYPES;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// Which event this is: sender, send and place in it, in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u64);

impl Mark {
    /// Of the `item`-th event of a sender's `n`-th send.
    pub fn new(sender: u64, n: u64, item: u64) -> Self {
        Self(sender << 40 | n << 8 | item)
    }

    /// Out of an event's payload.
    pub fn of_payload(payload: &Value) -> Option<Self> {
        payload["mark"].as_u64().map(Self)
    }
}

/// An event that was sent at least once.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Index of its type.
    pub ty: usize,
    /// Whether it was repeated until it was answered, always with the same key.
    pub keyed: bool,
    /// When it was sent first.
    pub sent: Duration,
    /// The id it was given, and when that was known here.
    pub acknowledged: Option<(u64, Duration)>,
}

/// Everything that was sent.
#[derive(Debug, Default)]
pub struct Ledger {
    events: HashMap<Mark, Sent>,
    acknowledged: u64,
    repeated: u64,
    violations: Vec<Violation>,
}

impl Ledger {
    /// An event is about to be sent for the first time.
    pub fn sends(&mut self, mark: Mark, ty: usize, keyed: bool, now: Duration) {
        self.events.insert(mark, Sent { ty, keyed, sent: now, acknowledged: None });
    }

    /// An item of a 202. Whether the event is acknowledged now (a 503 in its place leaves it open).
    pub fn answered(&mut self, mark: Mark, result: &Value, now: Duration) -> bool {
        let Some(event) = self.events.get_mut(&mark) else { return false };
        let status = result["status"].as_str();
        let id = result["id"].as_str().and_then(|id| id.parse::<u64>().ok());
        let right_type = result["type"] == TYPES[event.ty].name;
        match (status, id) {
            (Some("accepted"), Some(id)) | (Some("duplicate"), Some(id)) if right_type => {
                if status == Some("duplicate") {
                    self.repeated += 1;
                    if !event.keyed {
                        self.unexpected(format!("a send without a key was answered as a duplicate: {result}"));
                        return true;
                    }
                }
                match event.acknowledged {
                    None => {
                        event.acknowledged = Some((id, now));
                        self.acknowledged += 1;
                    }
                    Some((before, _)) if before != id => {
                        self.violations.push(Violation::KeyWithTwoIds { mark, ids: (before, id) });
                    }
                    Some(_) => {}
                }
                true
            }
            _ if result["status"] == 503 => event.acknowledged.is_some(),
            _ => {
                let ty = TYPES[event.ty].name;
                self.unexpected(format!("event {mark:?} of {ty} was answered with {result}"));
                true
            }
        }
    }

    /// The hub did what it never should.
    pub fn unexpected(&mut self, what: String) {
        self.violations.push(Violation::Unexpected(what));
    }

    /// How many events were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// How many of them were answered once more as duplicates.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// All of them.
    pub fn events(&self) -> &HashMap<Mark, Sent> {
        &self.events
    }

    /// What was wrong with answers.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
}
