//! What every handler is given.

use super::{Feeds, Outgoing, Outlook, Problem, StoreClock};
use crate::access::Access;
use crate::alive::Progress;
use crate::event::TypeNo;
use crate::live::{BroadcastActor, LiveSettings};
use crate::registry::{CatchUp, DeleteStream, Learn, Look, Register, Statuses, Tune, TypeView, Unregister};
use crate::store::{Appender, NodeId, Store};
use crate::streams::StreamSettings;
use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Recipient};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

/// Settings of the HTTP side (`[http]`, `[events]`).
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Largest body in bytes.
    pub max_body: usize,
    /// Most items in a batch.
    pub max_batch: usize,
    /// Deepest nesting of JSON.
    pub max_depth: usize,
    /// Base of the links in answers, without a trailing slash; else the request's Host.
    pub public_url: Option<String>,
    /// Most requests in flight; more get a 503.
    pub max_in_flight: usize,
    /// Most bytes of bodies in flight, and by themselves of large answers; more get a 503.
    pub max_in_flight_bytes: usize,
    /// Longest wait for a request's body.
    pub body_timeout: Duration,
    /// Whether a hub without tokens answers whatever name it is asked by.
    pub any_host: bool,
    /// Browser origins allowed besides the same one; `*` for all.
    pub origins: Vec<String>,
    /// Whether a type that is not registered is a 404 rather than a discarded event.
    pub reject_unregistered: bool,
    /// How long an `Idempotency-Key` is known.
    pub idempotency_window: Duration,
}

/// Shared by all workers of a process; each worker clones it once.
#[derive(Clone)]
pub struct AppState {
    /// Which node this is.
    pub node: NodeId,
    /// Settings of the HTTP side.
    pub http: Arc<HttpSettings>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// Settings of the live side.
    pub live: Arc<LiveSettings>,
    /// Settings of delivery, which registrations are checked against.
    pub streams: Arc<StreamSettings>,
    /// For reads and marks.
    pub store: Arc<dyn Store>,
    /// For appends.
    pub appender: Appender,
    /// Types as this node knows them.
    pub types: TypeView,
    /// The store's clock, for what is "now" in a feed.
    pub clock: Arc<StoreClock>,
    /// What readers of the same feed share.
    pub feeds: Arc<Feeds>,
    /// How the hub does, for `/metrics` and the overview.
    pub outlook: Arc<Outlook>,
    /// For registrations.
    pub registry: RegistryHandle,
    /// For live sessions.
    pub broadcast: Addr<BroadcastActor>,
    /// Whether the hub's parts get anything done.
    pub progress: Arc<Progress>,
    /// Set first at shutdown: `/readyz` turns 503.
    pub stopping: Arc<AtomicBool>,
    /// Requests in flight in the whole process.
    pub in_flight: Arc<AtomicUsize>,
    /// Bytes of their bodies that have arrived.
    pub in_flight_bytes: Arc<AtomicUsize>,
    /// Bytes of large answers that are on their way.
    pub outgoing: Arc<Outgoing>,
}

impl AppState {
    /// Makes sure that the types are those that there are: costs nothing, unless this node has stood still.
    ///
    /// # Errors
    /// 503 when it has, and the store does not say what has changed.
    pub async fn up_to_date(&self) -> Result<(), Problem> {
        if !self.types.is_current() {
            self.registry.catch_up.send(CatchUp).await??;
        }
        Ok(())
    }

    /// Has types of these numbers, out of ids, known if the store knows them: another node may have registered one a moment
    /// ago. Costs nothing where this node knows them already, and one look at the store's registry for all who come with
    /// ids of no type at a time.
    ///
    /// # Errors
    /// 503 when the store does not answer.
    pub async fn know(&self, types: impl IntoIterator<Item = TypeNo>) -> Result<(), Problem> {
        if types.into_iter().any(|number| self.types.by_number(number).is_none()) {
            self.registry.look.send(Look).await??;
        }
        Ok(())
    }
}

/// What HTTP says to the RegistryActor: an address a message, so that this layer knows the messages and
/// not the actor. Made with `addr.into()`.
#[derive(Clone)]
pub struct RegistryHandle {
    /// Registers or replaces a type.
    pub register: Recipient<Register>,
    /// Deletes a registration.
    pub unregister: Recipient<Unregister>,
    /// Changes a stream's mailbox, concurrency or state.
    pub tune: Recipient<Tune>,
    /// Deletes a stream.
    pub delete_stream: Recipient<DeleteStream>,
    /// Hands over records that this node had not seen.
    pub learn: Recipient<Learn>,
    /// Asks the store for changes after a standstill.
    pub catch_up: Recipient<CatchUp>,
    /// Asks the store for types that this node does not know.
    pub look: Recipient<Look>,
    /// Asks how this node's streams do.
    pub statuses: Recipient<Statuses>,
}

impl<A> From<Addr<A>> for RegistryHandle
where
    A: Actor
        + Handler<Register>
        + Handler<Unregister>
        + Handler<Tune>
        + Handler<DeleteStream>
        + Handler<Learn>
        + Handler<CatchUp>
        + Handler<Look>
        + Handler<Statuses>,
    A::Context: ToEnvelope<A, Register>
        + ToEnvelope<A, Unregister>
        + ToEnvelope<A, Tune>
        + ToEnvelope<A, DeleteStream>
        + ToEnvelope<A, Learn>
        + ToEnvelope<A, CatchUp>
        + ToEnvelope<A, Look>
        + ToEnvelope<A, Statuses>,
{
    fn from(addr: Addr<A>) -> Self {
        Self {
            register: addr.clone().recipient(),
            unregister: addr.clone().recipient(),
            tune: addr.clone().recipient(),
            delete_stream: addr.clone().recipient(),
            learn: addr.clone().recipient(),
            catch_up: addr.clone().recipient(),
            look: addr.clone().recipient(),
            statuses: addr.recipient(),
        }
    }
}
