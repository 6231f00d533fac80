//! The live side: commits, as they happen, to every session that wants them.
//!
//! The [`BroadcastActor`] reads the store's feed of commits, fills gaps from the store, encodes each event
//! once and hands whole commits to sessions. A session opens an [`Inbox`] and takes from it as fast as its
//! peer reads; one that does not keep up is closed, and never slows another. Nothing here knows how a
//! session talks to its peer.
//!
//! | file | what |
//! | --- | --- |
//! | `broadcast` | the actor: the way of a commit |
//! | `recovery` | the actor: gaps, interruptions, types not known yet |
//! | `track` | the order of one type, pure |
//! | `gap` | what was missed, read oldest first |
//! | `fanout` | filters, groups, who gets what, pure |
//! | `sessions` | who is too slow, who is leaving |
//! | `queue` | between the actor and one session |

mod broadcast;
mod fanout;
mod gap;
mod messages;
mod queue;
mod recovery;
mod sessions;
#[cfg(test)]
pub(crate) mod testing;
mod track;

pub use broadcast::BroadcastActor;
pub use messages::*;
pub use queue::{Ending, Inbox, Outbox};
