//! Which types there are. The [`RegistryActor`] is the only writer; requests read the [`TypeView`]
//! without a mailbox hop. It starts and stops the SinkActors of the registered streams.

mod actor;
mod changes;
mod entry;
mod messages;
mod pulse;
mod record;
mod sinks;

pub use actor::RegistryActor;
pub use entry::{StreamEntry, TypeEntry, TypeView};
pub use messages::*;
