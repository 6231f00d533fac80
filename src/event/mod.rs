//! The vocabulary of the hub: identities, names, filters, lifetimes and slices of time.
//!
//! Pure values, used by every other layer and importing none of them. Time is always a parameter
//! here; nobody in this module reads a clock.

mod duration;
mod envelope;
mod filter;
mod id;
mod name;
mod slice;
mod time;
mod trace;
mod ttl;

pub use duration::{format_duration, parse_duration};
pub use envelope::{envelope, write_members};
pub use filter::TypeFilter;
pub use id::{EventId, HUB_EPOCH_MS, MAX_TYPES, Position, TypeNo};
pub use name::{ClientId, EventType, StreamName};
pub use slice::{Bounds, Slice};
pub use time::{Millis, hour_of, parse_instant, rfc3339, write_rfc3339};
pub use trace::Trace;
pub use ttl::Ttl;

/// A text that does not have the form it must have; the message says what that form is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
