//! Delivery: what a stream takes from its outbox under a lease, and what becomes of it.

use crate::event::{Millis, Position, StreamName, TypeNo};
use bytes::Bytes;
use std::time::Duration;

/// A stream of a type, as the store names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The type's number.
    pub type_no: TypeNo,
    /// The stream's name in the type.
    pub name: StreamName,
}

/// A request for work of one stream.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Whose outbox.
    pub stream: StreamKey,
    /// At most so many events.
    pub max: usize,
    /// How long they are held unless renewed.
    pub lease: Duration,
    /// One claim at a time in all nodes, lapsed ones taken over first and whole (`concurrency: 1`).
    pub ordered: bool,
}

/// The fence of a claim: unique on its stream. Opaque outside the store; later leases are larger.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Lease(pub f64);

/// Events held by this node until the lease passes.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// The fence; `None` when nothing was claimed.
    pub lease: Option<Lease>,
    /// In commit order among those due.
    pub events: Vec<ClaimedEvent>,
    /// When the next entry of the outbox is due (Unix milliseconds on the store's clock), if any is left;
    /// for an ordered stream held elsewhere, when its holder's lease passes.
    pub next_due: Option<Millis>,
    /// The store's clock when it answered.
    pub now: Millis,
}

/// One event of a claim.
#[derive(Debug, Clone)]
pub struct ClaimedEvent {
    /// Its place in the type.
    pub position: Position,
    /// The payload's exact bytes.
    pub payload: Bytes,
    /// Failed attempts before this claim.
    pub attempts: u32,
}

/// What is to become of a claimed event that was not simply delivered.
#[derive(Debug, Clone)]
pub enum Disposition {
    /// Back into the outbox after a failed attempt.
    Retry {
        /// From the store's now.
        after: Duration,
        /// Failed attempts and the last error, kept for the next claim and for readers.
        failure: Failure,
    },
    /// Back into the outbox, due at once, without counting an attempt.
    Release,
    /// To the dead letters.
    Dead(Failure),
    /// Kept under the new lease that `Settle::hold` asks for; a failure is recorded when given.
    Hold(Option<Failure>),
}

/// What is kept of failed attempts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// Failed attempts so far.
    pub attempts: u32,
    /// The last error, one line.
    pub last_error: String,
}

/// The end of a claim (or, with `hold`, of a part of it).
#[derive(Debug, Clone)]
pub struct Settle {
    /// Whose outbox.
    pub stream: StreamKey,
    /// The fence; nothing happens when it has been lost.
    pub lease: Lease,
    /// How many events the claim held (in its current form, after earlier holds).
    pub total: usize,
    /// Every event of the claim that was *not* delivered, with its payload as it was claimed.
    /// What is not named here is delivered.
    pub exceptions: Vec<(ClaimedEvent, Disposition)>,
    /// Lease for the events held; required when a disposition is [`Disposition::Hold`].
    pub hold: Option<Duration>,
}

/// The answer to a [`Settle`] or a renewal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fenced {
    /// Done. The lease is that of the events held, if any are.
    Done(Option<Lease>),
    /// The lease had been lost to another claim: nothing was changed.
    Lost,
}

/// Counters of one stream, kept in the store for all nodes together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamCounts {
    /// Undelivered events in the outbox.
    pub backlog: u64,
    /// Deliveries so far.
    pub delivered: u64,
    /// Failed attempts so far.
    pub failed: u64,
    /// Dead letters now.
    pub dead: u64,
    /// Commit time of the oldest undelivered event.
    pub oldest: Option<Millis>,
}
