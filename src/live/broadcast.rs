//! The BroadcastActor.

use actix::prelude::*;

/// Fans commits out to sessions.
pub struct BroadcastActor {}

impl Actor for BroadcastActor {
    type Context = Context<Self>;
}
