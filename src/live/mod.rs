//! The live side: commits, as they happen, to every session that wants them.
//!
//! The [`BroadcastActor`] reads the store's feed of commits, fills gaps from the store, encodes each
//! event once and hands whole commits to sessions. A session that does not keep up is closed.

mod broadcast;
mod messages;

pub use broadcast::BroadcastActor;
pub use messages::*;
