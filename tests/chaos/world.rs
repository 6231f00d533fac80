//! The servers of a run: hub processes on one store, RabbitMQ, the webhooks, and fronts that steal where asked to.

use crate::plan::Shape;
use crate::receiver::Receiver;
use crate::scenario::{STREAMS, TYPES};
use crate::support::amqp::Broker;
use crate::support::hub::{Hub, Setup};
use crate::support::rabbit::RabbitServer;
use crate::support::wait::{PATIENCE, eventually};
use crate::thief::{self, Stolen, Theft};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// How long a node may hold what it has claimed. Shorter than any freeze.
const LEASE: &str = "2s";
/// The longest exchange with a webhook. Shorter than a webhook hangs.
const WEBHOOK_TIMEOUT: &str = "2s";

/// A place for a hub process.
pub struct Node {
    setup: Setup,
    hub: RefCell<Option<Hub>>,
    /// Where the hub listens while it is there, frozen or not.
    address: Rc<Cell<Option<SocketAddr>>>,
    /// What senders are given in its place.
    door: Option<SocketAddr>,
}

impl Node {
    fn new(setup: Setup) -> Self {
        Self { setup, hub: RefCell::default(), address: Rc::default(), door: None }
    }

    async fn start(&self) {
        // It may have to wait for its store; senders are told no.
        let hub = self.setup.spawn().await;
        self.address.set(Some(hub.address()));
        self.hub.replace(Some(hub));
    }

    /// kill -9.
    pub fn kill(&self) {
        self.address.set(None);
        if let Some(hub) = self.hub.take() {
            hub.kill();
        }
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        if let Some(hub) = &*self.hub.borrow() {
            hub.signal(name);
        }
    }
}

/// All servers of a run. They end when it is dropped.
pub struct World {
    /// Hub processes.
    pub nodes: Vec<Node>,
    /// The webhooks.
    pub receiver: Receiver,
    /// The broker, if there is one.
    pub rabbit: Option<Arc<Mutex<RabbitServer>>>,
    /// The streams that are registered.
    pub streams: Vec<usize>,
    /// What fronts have kept from getting through.
    pub stolen: Stolen,
    setup: Setup,
    /// A Redis is not started in the moment in which a hub is.
    starting: tokio::sync::Mutex<()>,
}

impl World {
    /// Starts everything and registers the scenario. Hubs log into `folder`.
    pub async fn start(shape: Shape, theft: Option<Theft>, folder: &Path) -> Self {
        let rabbit = match shape.rabbit {
            true => Some(Arc::new(Mutex::new(blocking(RabbitServer::start).await))),
            false => None,
        };
        // Redis appends to its file and syncs it before it answers (`appendfsync always`), so its kill -9 loses nothing
        // that the hub was told, and the hub's promise has no exception here.
        let mut setup = if shape.redis { Setup::redis() } else { Setup::embedded() };
        setup = setup.set("streams.lease", LEASE).set("webhook.timeout", WEBHOOK_TIMEOUT);
        if let Some(rabbit) = &rabbit {
            setup = setup.set("rabbit.url", rabbit.lock().unwrap_or_else(PoisonError::into_inner).url());
        }
        let receiver = Receiver::start().await;
        let stolen = Stolen::default();
        let log = |node: usize| -> PathBuf { folder.join(format!("hub-{node}.log")) };
        let mut nodes: Vec<_> = (0..shape.nodes).map(|node| Node::new(setup.clone().log_to(log(node)))).collect();
        let mut target = receiver.address();
        match theft {
            Some(Theft::Sends) => {
                for node in &mut nodes {
                    let address = Rc::clone(&node.address);
                    node.door = Some(thief::of_sends(move || address.get(), stolen.clone()).await);
                }
            }
            Some(Theft::Deliveries) => target = thief::of_deliveries(target, stolen.clone()).await,
            None => {}
        }
        let streams = (0..STREAMS.len()).filter(|stream| STREAMS[*stream].hook || rabbit.is_some()).collect();
        let starting = tokio::sync::Mutex::default();
        let world = Self { nodes, receiver, rabbit, streams, stolen, setup, starting };
        for node in 0..world.nodes.len() {
            world.start_node(node).await;
        }
        world.register(target).await;
        world
    }

    async fn register(&self, hooks: SocketAddr) {
        let address = self.nodes[0].address.get().expect("the first node is there");
        let ready = || async {
            let answer = crate::support::http::call(address, "GET", "/readyz", &[], None).await;
            (answer.status == 200).then_some(())
        };
        eventually(PATIENCE, "the first node to be ready", ready).await;
        if let Some(broker) = self.broker().await {
            for &stream in self.streams.iter().filter(|stream| !STREAMS[**stream].hook) {
                let name = Self::queue(stream);
                broker.exchange(&name, lapin::ExchangeKind::Fanout).await;
                broker.queue(&name, &name, "").await;
            }
        }
        for (ty, spec) in TYPES.iter().enumerate() {
            let own = self.streams.iter().filter(|stream| STREAMS[**stream].ty == ty);
            let registration = |&stream: &usize| {
                let target = match STREAMS[stream].hook {
                    true => json!({"source": "webhook", "uri": format!("http://{hooks}{}", Receiver::path(stream))}),
                    false => json!({"source": "rabbit", "exchange": Self::queue(stream), "routingKey": "any"}),
                };
                STREAMS[stream].registration(&target)
            };
            let body =
                json!({"type": spec.name, "ttl": spec.ttl, "streams": own.map(registration).collect::<Vec<_>>()});
            let body = body.to_string();
            let headers = [("Content-Type", "application/json")];
            self.call("PUT", "/api/events/register", &headers, Some(body.as_bytes())).await;
        }
    }

    /// The queue (and exchange) of a rabbit stream.
    pub fn queue(stream: usize) -> String {
        format!("chaos-{stream}")
    }

    /// A connection to the broker, if there is one.
    pub async fn broker(&self) -> Option<Broker> {
        let url = self.rabbit.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).url();
        Some(Broker::connect(&url).await)
    }

    /// Where senders find a hub, frozen ones included.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let there = self.nodes.iter().filter_map(|node| Some(node.door.unwrap_or(node.address.get()?)));
        there.collect()
    }

    /// A call of the first node that must be answered with a 2xx, past any front; JSON.
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Value {
        let address = self.nodes[0].address.get().expect("the first node is there");
        let answer = crate::support::http::call(address, method, path, headers, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// GET of the first node.
    pub async fn get(&self, path: &str) -> Value {
        self.call("GET", path, &[], None).await
    }

    /// Starts a node that is not there.
    pub async fn start_node(&self, node: usize) {
        let _turn = self.starting.lock().await;
        self.nodes[node].start().await;
    }

    /// kill -9 of Redis.
    pub async fn kill_redis(&self) {
        let setup = self.setup.clone();
        blocking(move || setup.redis_server().kill()).await;
    }

    /// Starts Redis on what it had written.
    pub async fn restart_redis(&self) {
        let _turn = self.starting.lock().await;
        let setup = self.setup.clone();
        blocking(move || setup.redis_server().restart()).await;
    }

    /// Does something with the broker, which takes its time.
    pub async fn with_rabbit(&self, act: fn(&mut RabbitServer)) {
        if let Some(server) = self.rabbit.clone() {
            blocking(move || act(&mut server.lock().unwrap_or_else(PoisonError::into_inner))).await;
        }
    }

    /// Ends every hub in order, which must work after all that.
    pub async fn stop(&self) {
        for node in &self.nodes {
            let hub = node.hub.take();
            if let Some(hub) = hub {
                hub.stop().await;
            }
        }
    }
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(act).await.expect("it did not panic")
}
