//! What goes into the store and what comes out: the messages of the [`Store`](super::Store) trait.
//!
//! | file | what |
//! | --- | --- |
//! | `append` | what is to be stored, and what became of it |
//! | `read` | feeds, single events, marks of clients |
//! | `delivery` | claims, their ends, counters |
//! | `redelivery` | dead letters and replays |
//! | `registry` | records of types |
//! | `live` | commits for live sessions |
//! | `error` | why something was not done |

mod append;
mod delivery;
mod error;
mod live;
mod read;
mod redelivery;
mod registry;

pub use append::{AppendGroup, Appended, Idempotency};
pub use delivery::{
    Claim, ClaimRequest, ClaimedEvent, Disposition, Failure, Fenced, Lease, Settle, StreamCounts, StreamKey,
};
pub use error::StoreError;
pub use live::{Live, LiveRun};
pub use read::{DeliveryState, EventDetail, MarkRequest, Marked, Page, ReadQuery, StoredEvent, StreamSince, TypeRef};
pub use redelivery::{DeadLetter, Letters, Replay, Replayed};
pub use registry::{Discarded, Put, PutType, RegistryVersion, TypeRecord};
