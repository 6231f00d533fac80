//! The RegistryActor: sole writer of the [`TypeView`](super::TypeView).

use actix::prelude::*;

/// Owns type configurations and the SinkActors of their streams.
pub struct RegistryActor {}

impl Actor for RegistryActor {
    type Context = Context<Self>;
}
