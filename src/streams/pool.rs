//! Where SinkActors run: a fixed set of arbiters, each with its own webhook client.
//!
//! Each stream has a supervisor on its arbiter. When the actor or its task dies, both are made anew
//! from the newest setup, with backoff; what was claimed comes back by its lease.

use super::delivery::{Driver, idle_status};
use super::{
    Backoff, Brokers, Load, Respecify, SinkActor, SinkEnv, SinkSetup, SinkStatus, Status, Stop, StreamSettings,
    StreamState, Wake, WebhookClient,
};
use actix::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Waits before a stream that died is rebuilt.
const REBUILD: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A stream that has run for so long has recovered from its last death.
const SETTLED: Duration = Duration::from_secs(60);
/// Longest wait for an answer that needs no work.
const ANSWER: Duration = Duration::from_secs(2);
/// How much longer than its grace a stop may take, settlements included.
const STOP_SLACK: Duration = Duration::from_secs(5);

/// A stream to be started on an arbiter.
type Start = Arc<Slot>;

/// The arbiters that sinks run on.
pub struct SinkPool {
    hosts: Vec<Host>,
    next: AtomicUsize,
    brokers: Brokers,
    load: Load,
}

struct Host {
    arbiter: Arbiter,
    /// Unbounded, but fed by the registry alone, one a new stream.
    starts: mpsc::UnboundedSender<Start>,
}

/// A stream's place in the pool, whoever fills it at the moment.
struct Slot {
    setup: Mutex<SinkSetup>,
    /// `None` while it is being rebuilt, and once it has ended.
    actor: Mutex<Option<Addr<SinkActor>>>,
    /// It has run once: without an actor it is being rebuilt, not started.
    lived: AtomicBool,
    /// A wake is on its way; more would say no more.
    woken: AtomicBool,
    /// The pool's, which it has a share in.
    load: Load,
    /// Set once: it is not to be rebuilt.
    stop: watch::Sender<bool>,
}

/// A running stream. Cloning shares it; dropping it does not stop the stream.
#[derive(Clone)]
pub struct SinkHandle(Arc<Slot>);

impl SinkPool {
    /// `arbiters` threads (at least one) for sinks. Needs a running actix system.
    pub fn new(settings: Arc<StreamSettings>, arbiters: usize) -> Self {
        let brokers = Brokers::new(&settings.brokers);
        let start_host = |_| {
            let (starts, waiting) = mpsc::unbounded_channel();
            let arbiter = Arbiter::new();
            let (settings, brokers) = (Arc::clone(&settings), brokers.clone());
            // What a host keeps never leaves its thread, so it is made there.
            arbiter.spawn_fn(move || drop(actix::spawn(host(settings, brokers, waiting))));
            Host { arbiter, starts }
        };
        let hosts = (0..arbiters.max(1)).map(start_host).collect();
        Self { hosts, next: AtomicUsize::new(0), brokers, load: Load::default() }
    }

    /// Starts a stream on the next arbiter and keeps it running until it is stopped.
    pub fn start(&self, setup: SinkSetup) -> SinkHandle {
        let slot = Arc::new(Slot {
            setup: Mutex::new(setup),
            actor: Mutex::new(None),
            lived: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            load: self.load.clone(),
            stop: watch::Sender::new(false),
        });
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.hosts.len().max(1);
        let started = self.hosts.get(turn).map(|host| host.starts.send(Arc::clone(&slot)));
        if !matches!(started, Some(Ok(()))) {
            log::error!("the arbiter of a stream has ended: stream={}", lock(&slot.setup).key.name);
        }
        SinkHandle(slot)
    }

    /// What its streams hold together.
    pub fn load(&self) -> Load {
        self.load.clone()
    }

    /// The arbiters, by name, for whoever looks whether they still run.
    pub fn arbiters(&self) -> Vec<(String, ArbiterHandle)> {
        let named = |(n, host): (usize, &Host)| (format!("streams-{n}"), host.arbiter.handle());
        self.hosts.iter().enumerate().map(named).collect()
    }

    /// Ends the arbiters and the connections to brokers. Streams are to be stopped before; those that
    /// are not are cut off, and what they held comes due again.
    pub async fn shutdown(self) {
        self.brokers.close().await;
        for host in self.hosts {
            host.arbiter.stop();
            let joined = tokio::task::spawn_blocking(move || host.arbiter.join());
            if tokio::time::timeout(ANSWER, joined).await.is_err() {
                log::warn!("an arbiter of streams does not end");
            }
        }
    }
}

impl SinkHandle {
    /// Something may be due. Never waits; one hint is as good as many.
    pub fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel)
            && let Some(actor) = &*lock(&self.0.actor)
            && actor.try_send(Woken(Arc::clone(&self.0))).is_err()
        {
            // Full, or about to be rebuilt: the next hint tries again, and the stream looks by itself.
            self.0.woken.store(false, Ordering::Release);
        }
    }

    /// The stream was registered again, paused, or resumed.
    pub fn respecify(&self, new: Respecify) {
        {
            let mut setup = lock(&self.0.setup);
            (setup.spec, setup.draining, setup.paused) = (new.spec.clone(), new.draining, new.paused);
        }
        if let Some(actor) = &*lock(&self.0.actor) {
            // A control message, one a change of the registry, that must not be lost.
            #[allow(clippy::disallowed_methods)]
            actor.do_send(new);
        }
    }

    /// How the stream does, on this node.
    pub async fn status(&self) -> SinkStatus {
        let actor = lock(&self.0.actor).clone();
        if let Some(actor) = actor
            && let Ok(Ok(status)) = tokio::time::timeout(ANSWER, actor.send(Status)).await
        {
            return status;
        }
        let mut status = idle_status(&lock(&self.0.setup));
        if !self.0.lived.load(Ordering::Acquire) {
            return status;
        }
        status.state = if status.state == StreamState::Active { StreamState::Failing } else { status.state };
        status.last_error = Some("the stream is being restarted".into());
        status
    }

    /// Takes no more, finishes what is under way within `grace`, gives back the rest, and ends. Waits
    /// until nothing is held any more, or a little longer than `grace`.
    pub async fn stop(&self, grace: Duration) {
        self.0.stop.send_replace(true);
        let actor = lock(&self.0.actor).clone();
        if let Some(actor) = actor
            && tokio::time::timeout(grace + STOP_SLACK, actor.send(Stop(grace))).await.is_err()
        {
            log::warn!("stream does not stop: stream={}", lock(&self.0.setup).key.name);
        }
        lock(&self.0.actor).take();
    }
}

/// [`Wake`], with the slot to be told that it has arrived.
#[derive(Message)]
#[rtype(result = "()")]
struct Woken(Arc<Slot>);

impl Handler<Woken> for SinkActor {
    type Result = ();

    fn handle(&mut self, Woken(slot): Woken, ctx: &mut Self::Context) {
        slot.woken.store(false, Ordering::Release);
        self.handle(Wake, ctx);
    }
}

/// Starts streams on this arbiter for as long as the pool is there.
async fn host(settings: Arc<StreamSettings>, brokers: Brokers, mut starts: mpsc::UnboundedReceiver<Start>) {
    let webhooks = WebhookClient::new(&settings);
    let env = SinkEnv { settings, brokers, webhooks };
    while let Some(slot) = starts.recv().await {
        actix::spawn(supervise(env.clone(), slot));
    }
}

/// Why a stream's actor and task are no more.
enum Ended {
    Stopped,
    Died(String),
}

async fn supervise(env: SinkEnv, slot: Arc<Slot>) {
    let mut stop = slot.stop.subscribe();
    let mut backoff = Backoff::new(REBUILD.0, REBUILD.1);
    loop {
        let began = tokio::time::Instant::now();
        let ended = run(&env, &slot).await;
        lock(&slot.actor).take();
        let reason = match ended {
            Ended::Stopped => return,
            Ended::Died(reason) => reason,
        };
        if *stop.borrow() {
            return;
        }
        if began.elapsed() > SETTLED {
            backoff.reset();
        }
        let wait = backoff.next_wait(rand::random());
        let name = lock(&slot.setup).key.name.clone();
        log::error!("stream died and is made anew: stream={name} reason={reason:?} wait_ms={}", wait.as_millis());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// One life of a stream.
async fn run(env: &SinkEnv, slot: &Arc<Slot>) -> Ended {
    let (alive, dead) = oneshot::channel();
    let mut task = {
        // Under the lock, so that a new specification is either in the setup or sent to the actor.
        let mut actor = lock(&slot.actor);
        let setup = lock(&slot.setup).clone();
        let mailbox = setup.spec.mailbox;
        let (driver, commands, shared) = Driver::new(env.clone(), setup, slot.load.share());
        let task = actix::spawn(driver.run());
        slot.woken.store(false, Ordering::Release);
        slot.lived.store(true, Ordering::Release);
        *actor = Some(SinkActor::new(shared, commands, mailbox, alive).start());
        task
    };
    // Asked to stop before there was anybody to tell.
    if *slot.stop.borrow() {
        task.abort();
        return Ended::Stopped;
    }
    tokio::select! {
        ended = &mut task => match ended {
            Ok(()) if *slot.stop.borrow() => Ended::Stopped,
            Ok(()) => Ended::Died("its task ended".into()),
            Err(error) => Ended::Died(format!("its task failed: {error}")),
        },
        _ = dead => {
            task.abort();
            Ended::Died("its actor ended".into())
        }
    }
}

/// A poisoned lock guards plain values that are whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
