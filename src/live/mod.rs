//! The live side: commits, as they happen, to every session that wants them.
//!
//! The [`BroadcastActor`] reads the store's feed of commits, fills gaps from the store, encodes each event
//! once and hands whole commits to sessions. A session opens an [`Inbox`] and takes from it as fast as its
//! peer reads; one that does not keep up is closed, and never slows another. Nothing here knows how a
//! session talks to its peer.
//!
//! A session that comes back with a cursor reads from the store what it has missed, at its own pace, and is fed
//! live when it has caught up. One that falls behind while its peer still reads catches up in the same way.
//!
//! | file | what |
//! | --- | --- |
//! | `broadcast` | the actor: the way of a commit |
//! | `attend` | the actor: which partitions the store brings, who waits for them |
//! | `interest` | which partitions sessions need, pure |
//! | `recovery` | the actor: gaps, interruptions, types not known yet |
//! | `track` | the order of one type, pure |
//! | `gap` | what was missed, read oldest first |
//! | `pace` | when commits go out to many sessions, pure |
//! | `fanout` | filters, groups, who gets what, pure |
//! | `sessions` | who is too slow, who is leaving |
//! | `queue` | between the actor and one session |
//! | `inbox` | the session's end of it |
//! | `catchup` | what a session has missed, read in the order of ids; then the way back to live |
//! | `resume` | what a cursor means |

mod attend;
mod broadcast;
mod catchup;
mod fanout;
mod gap;
mod inbox;
mod interest;
mod messages;
mod pace;
mod queue;
mod recovery;
mod resume;
mod sessions;
#[cfg(test)]
pub(crate) mod testing;
mod track;

pub use broadcast::BroadcastActor;
pub use inbox::{Door, Inbox, OpenError};
pub use messages::*;
pub use queue::{Ending, Outbox};
pub use resume::{Cursor, Resumed};
