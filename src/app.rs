//! The composition root: puts the parts together, watches them, and takes them apart in order.

mod announce;
mod reload;
mod serve;
mod tls;
mod watch;

use crate::access::Access;
use crate::alive::Progress;
use crate::config::{BadSetting, Settings, StoreUrl};
use crate::event::{EventType, Ttl, TypeFilter, TypeNo};
use crate::http::{self, AppState};
use crate::live::{BroadcastActor, CloseAll, TypeNames};
use crate::registry::{RegistryActor, StopStreams, TypeView};
use crate::store::embedded::EmbeddedStore;
use crate::store::redis::RedisStore;
use crate::store::{Appender, Drain, Measured, NodeId, Store, StoreActor, StoreError};
use crate::streams::{Load, SinkPool};
use actix::{Actor, Addr, Arbiter, ArbiterHandle};
use announce::Announcer;
use reload::Reload;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tls::Certificates;
use tokio::sync::oneshot;
use watch::Watch;

pub use reload::ReadSettings;

/// Exit code after a core actor has died (`EX_SOFTWARE`).
const DIED: i32 = 70;

/// Why the hub did not start, or stopped badly. One line.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address is taken, or not this machine's.
    #[error("http.bind: cannot listen on {address}: {cause}")]
    Bind {
        /// What was asked for.
        address: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The store cannot be opened.
    #[error("store.url: {0}")]
    Store(#[from] StoreError),
    /// A file that a setting names cannot be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// The server failed.
    #[error("the server failed: {0}")]
    Server(#[from] std::io::Error),
}

/// The live side knows types by this view, without knowing the registry.
impl TypeNames for TypeView {
    fn find(&self, type_no: TypeNo) -> Option<(EventType, Ttl)> {
        self.by_number(type_no).map(|entry| (entry.name.clone(), entry.ttl.clone()))
    }

    fn all(&self) -> Vec<TypeNo> {
        self.matching(&TypeFilter::any()).iter().map(|entry| entry.type_no).collect()
    }

    fn count(&self) -> usize {
        self.seen()
    }
}

/// The core actors.
struct Core {
    store: Addr<StoreActor>,
    registry: Addr<RegistryActor>,
    broadcast: Addr<BroadcastActor>,
    /// Those that streams run on.
    arbiters: Vec<(String, ArbiterHandle)>,
    /// What streams hold together.
    load: Load,
}

impl Core {
    fn watch(&self, progress: &Arc<Progress>) -> Watch {
        let mut watch = Watch::new(Arc::clone(progress));
        watch.actor("StoreActor", &self.store);
        watch.actor("RegistryActor", &self.registry);
        watch.actor("BroadcastActor", &self.broadcast);
        for (name, arbiter) in &self.arbiters {
            watch.arbiter(name, arbiter);
        }
        watch
    }
}

/// Runs the hub until it is told to stop (SIGTERM, SIGINT). `load` reads the settings again (SIGHUP).
///
/// # Errors
/// When it cannot start.
pub async fn run(settings: Settings, load: ReadSettings) -> Result<(), RunError> {
    let certificates = settings.tls.as_ref().map(Certificates::open).transpose()?;
    let store = open(&settings)?;
    run_on(settings, store, certificates, load).await
}

/// Whether the certificate and key of the settings can be used.
///
/// # Errors
/// Why not.
pub fn check_certificate(settings: &Settings) -> Result<(), BadSetting> {
    settings.tls.as_ref().map(Certificates::open).transpose().map(drop)
}

/// Runs the hub on a store that is open already.
async fn run_on(
    settings: Settings,
    store: Arc<dyn Store>,
    certificates: Option<Arc<Certificates>>,
    load: ReadSettings,
) -> Result<(), RunError> {
    let access = Arc::new(Access::new(settings.tokens.clone()));
    let may_be_open = settings.http.any_host || settings.bind.iter().all(|address| address.ip().is_loopback());
    Reload { load, access: Arc::clone(&access), certificates: certificates.clone(), may_be_open }.at_hangup();
    let store = Measured::over(store);
    let view = TypeView::default();
    let streams = Arc::new(settings.streams.clone());
    let (core, appender) = start_core(&settings, &store, &view, &streams);
    let (progress, stopping) = (Arc::<Progress>::default(), Arc::new(AtomicBool::new(false)));
    let watch = core.watch(&progress);
    let state = AppState {
        node: NodeId::new(rand::random()),
        http: Arc::new(settings.http.clone()),
        access,
        live: Arc::new(settings.live.clone()),
        streams,
        store: Arc::clone(&store),
        appender,
        types: view,
        clock: Arc::default(),
        feeds: Arc::default(),
        outlook: Arc::new(http::Outlook::new(settings.store.max_backlog)),
        registry: core.registry.clone().into(),
        broadcast: core.broadcast.clone(),
        progress,
        stopping: Arc::clone(&stopping),
        in_flight: Arc::new(AtomicUsize::new(0)),
        in_flight_bytes: Arc::default(),
        outgoing: Arc::new(http::Outgoing::new(settings.http.max_in_flight_bytes)),
    };
    let history = http::keep_history(state.clone());
    let (server, addresses) = listen(&settings, &state, certificates.as_ref())?;
    if let Some(certificates) = certificates {
        actix::spawn(certificates.watch());
    }
    let announcer = Announcer::start(state, core.load.clone(), &addresses);
    raise_descriptor_limit(settings.live.max_sessions);
    let handle = server.handle();
    let running = actix::spawn(server);
    actix::spawn(history);
    tokio::select! {
        () = stop_signal() => {}
        name = watch.until_one_dies() => {
            // A hub that answers and does nothing is worse than one that is gone: what runs it starts it again.
            log::error!("core actor died, the process ends: actor={name} exit_code={DIED}");
            log::logger().flush();
            std::process::exit(DIED);
        }
    }
    stopping.store(true, Ordering::Release);
    log::info!("stopping: grace={:?}", settings.shutdown);
    announcer.stopping();
    shut_down(&settings, core, announcer, store, handle).await?;
    running.await.map_err(std::io::Error::other)??;
    log::info!("stopped");
    Ok(())
}

/// Takes as many file descriptors as the system lets this process have, and says when sessions may run
/// out of them.
fn raise_descriptor_limit(sessions: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some() && current != maximum {
        // What cannot be raised stays as it was, and is reported below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    let each = u64::try_from(http::descriptors_each()).unwrap_or(2);
    let wanted = u64::try_from(sessions).unwrap_or(u64::MAX).saturating_mul(each).saturating_add(1000);
    if let Some(limit) = getrlimit(Resource::Nofile).current.filter(|limit| *limit < wanted) {
        log::warn!(
            "too few file descriptors for live.max_sessions, raise LimitNOFILE or ulimit -n: limit={limit} wanted={wanted}"
        );
    }
}

fn open(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match &settings.store_url {
        StoreUrl::Embedded(path) => Arc::new(EmbeddedStore::open(path, settings.store.clone())?),
        StoreUrl::Redis(url) => {
            Arc::new(RedisStore::connect(url, &settings.store_prefix, settings.store.clone(), settings.wait_replicas)?)
        }
    })
}

fn start_core(
    settings: &Settings,
    store: &Arc<dyn Store>,
    view: &TypeView,
    streams: &Arc<crate::streams::StreamSettings>,
) -> (Core, Appender) {
    // Each waiting append is a request in flight: admission is the tighter bound.
    let waiting = settings.http.max_in_flight;
    let (for_registry, for_broadcast) = (Arc::clone(store), Arc::clone(store));
    // On this thread, where the store's connections live as well: a flush changes threads twice, not four times.
    let (store, appender) = StoreActor::open(Arc::clone(store), waiting);
    let (registry_view, live_view) = (view.clone(), view.clone());
    let (pool, streams) = (SinkPool::new(Arc::clone(streams), settings.stream_workers), Arc::clone(streams));
    let live = settings.live.clone();
    let (arbiters, load) = (pool.arbiters(), pool.load());
    let core = Core {
        store,
        arbiters,
        load,
        registry: RegistryActor::start_in_arbiter(&Arbiter::new().handle(), move |_| {
            RegistryActor::new(for_registry, streams, registry_view, pool)
        }),
        broadcast: BroadcastActor::start_in_arbiter(&Arbiter::new().handle(), move |_| {
            BroadcastActor::new(for_broadcast, Arc::new(live_view), live)
        }),
    };
    (core, appender)
}

fn listen(
    settings: &Settings,
    state: &AppState,
    certificates: Option<&Arc<Certificates>>,
) -> Result<(actix_web::dev::Server, Vec<SocketAddr>), RunError> {
    let node = state.node.clone();
    let address = settings.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let (server, addresses) =
        serve::listen(settings, state, certificates)?.map_err(|cause| RunError::Bind { address, cause })?;
    let tls = certificates.is_some();
    for address in &addresses {
        log::info!("listening: address={address} tls={tls} version={} node={node}", env!("CARGO_PKG_VERSION"));
    }
    let local = settings.bind.iter().all(|address| address.ip().is_loopback());
    let proxied = settings.http.public_url.as_deref().is_some_and(|url| url.starts_with("https:"));
    if !local && !tls && !proxied {
        log::warn!(
            "requests and their tokens can be read on their way, set http.tls, or http.public_url of a proxy with TLS"
        );
    }
    Ok((server, addresses))
}

/// Not ready, stop accepting, close sessions, answer what is in flight, flush the store, let streams
/// finish or give back, leave the list of nodes, close the store.
async fn shut_down(
    settings: &Settings,
    core: Core,
    announcer: Announcer,
    store: Arc<dyn Store>,
    server: actix_web::dev::ServerHandle,
) -> Result<(), RunError> {
    let accepting = actix::spawn(server.stop(true));
    if core.broadcast.send(CloseAll).await.is_err() {
        log::warn!("live sessions were not told that the hub stops");
    }
    let _ = accepting.await;
    let (done, drained) = oneshot::channel();
    if core.store.send(Drain(done)).await.is_err() || drained.await.is_err() {
        log::error!("the store actor was gone before it was flushed, events without an answer may be lost");
    }
    if core.registry.send(StopStreams { grace: settings.shutdown }).await.is_err() {
        log::warn!("streams were not stopped in order, what they held is delivered after its lease");
    }
    announcer.end().await;
    store.close().await?;
    Ok(())
}

#[cfg(unix)]
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(e) => {
            log::error!("cannot listen for SIGTERM: error=\"{e}\"");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
async fn stop_signal() {
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests;
