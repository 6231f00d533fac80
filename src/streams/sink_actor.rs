//! The SinkActor: one stream's delivery.

use actix::prelude::*;

/// Delivers one stream's events.
pub struct SinkActor {}

impl Actor for SinkActor {
    type Context = Context<Self>;
}
