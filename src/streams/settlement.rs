//! What a claim tells the store, and what it hears from it.

use crate::store::{ClaimedEvent, Disposition, Failure, Lease};
use std::time::Duration;
use tokio::time::Instant;

/// What is to become of an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// The other side has it.
    Delivered,
    /// Back into the outbox after a failed attempt.
    Retry {
        /// When it is due again.
        due: Instant,
        /// Attempts and the last error.
        failure: Failure,
    },
    /// Back into the outbox, not tried.
    Release,
    /// To the dead letters.
    Dead(Failure),
}

/// A call of the store that a claim needs.
#[derive(Debug)]
pub(super) struct Plan {
    /// The claim.
    pub no: u64,
    /// Its fence.
    pub lease: Lease,
    /// Renewal when `None`.
    pub settle: Option<Part>,
}

/// What [`Settle`](crate::store::Settle) says of a claim.
#[derive(Debug)]
pub(super) struct Part {
    /// Events of the claim as it stands.
    pub total: usize,
    /// All that was not delivered.
    pub exceptions: Vec<(ClaimedEvent, Disposition)>,
    /// Lease for what is still held.
    pub hold: Option<Duration>,
}

/// How a claim ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Settled, or given back.
    Settled,
    /// Somebody else has it.
    Lost,
    /// The lease has passed and the store does not answer; its events come due again.
    GivenUp,
}

impl End {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Lost => "lost",
            Self::GivenUp => "given-up",
        }
    }
}

/// What an answer of the store means.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// Set when the claim is over.
    pub end: Option<End>,
    /// When the first of the events put back is due.
    pub due: Option<Instant>,
    /// Events that are dead letters now.
    pub dead: usize,
}
