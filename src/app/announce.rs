//! Announces this node to the others, and takes it back at the end.
//!
//! Nothing depends on it but what operators are shown: a failure is a log line.

use crate::http::AppState;
use crate::live::CountSessions;
use crate::store::Node;
use crate::streams::Load;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often. Four may be late or lost before the node seems to be gone.
const EVERY: Duration = Duration::from_secs(2);
/// Longest wait for the number of sessions; the one before is good enough.
const ANSWER: Duration = Duration::from_millis(500);
/// Longest wait for the store at the end. Without it the node is seen a little longer.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the announcing task is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping,
    Over,
}

/// The task that announces.
pub(super) struct Announcer {
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
}

impl Announcer {
    /// Announces from now on; the node listens at `addresses`, and its streams hold `load`.
    pub fn start(state: AppState, load: Load, addresses: &[SocketAddr]) -> Self {
        let (phase, told) = watch::channel(Phase::Running);
        let addresses = addresses.iter().map(ToString::to_string).collect();
        let voice = Voice { state, load, addresses, began: Instant::now(), since: None, sessions: 0, heard: true };
        Self { phase, task: actix::spawn(voice.speak(told)) }
    }

    /// The node goes on for as long as it has something to finish.
    pub fn stopping(&self) {
        self.phase.send_replace(Phase::Stopping);
    }

    /// The node is not there any more, and nothing more is said. Waits a moment at most.
    pub async fn end(self) {
        self.phase.send_replace(Phase::Over);
        let mut task = self.task;
        if timeout(GOODBYE, &mut task).await.is_err() {
            task.abort();
            log::warn!(
                "the node could not take itself back and is listed a little longer: error=\"no answer in time\""
            );
        }
    }
}

struct Voice {
    state: AppState,
    load: Load,
    addresses: Vec<String>,
    began: Instant,
    /// When the node started, by the store's clock; asked for once.
    since: Option<i64>,
    /// As of the last answer.
    sessions: usize,
    /// Whether the last announcement arrived, so that only changes are logged.
    heard: bool,
}

impl Voice {
    async fn speak(mut self, mut told: watch::Receiver<Phase>) {
        let mut ticks = interval(EVERY);
        // After a standstill once is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // An error means that the announcer was dropped, with the hub.
                changed = told.changed() => if changed.is_err() { return },
            }
            let phase = *told.borrow_and_update();
            if phase == Phase::Over {
                break;
            }
            // An end does not wait for a store that is away.
            tokio::select! {
                () = self.announce(phase) => {}
                _ = told.wait_for(|phase| *phase == Phase::Over) => {}
            }
            // Seen by then, and not announced as a change again.
            if *told.borrow() == Phase::Over {
                break;
            }
        }
        if let Err(error) = self.state.store.withdraw(&self.state.node).await {
            log::warn!("the node could not take itself back and is listed a little longer: error=\"{error}\"");
        }
    }

    async fn announce(&mut self, phase: Phase) {
        let said = async {
            let node = self.describe(phase).await?;
            self.state.store.announce(&node).await
        };
        match said.await {
            Ok(()) if self.heard => {}
            Ok(()) => log::info!("the node is announced again: node={}", self.state.node),
            Err(error) if self.heard => {
                log::warn!(
                    "the node is not announced, others may not list it: node={} error=\"{error}\"",
                    self.state.node
                );
                self.heard = false;
                return;
            }
            Err(_) => return,
        }
        self.heard = true;
    }

    async fn describe(&mut self, phase: Phase) -> Result<Node, crate::store::StoreError> {
        let since = match self.since {
            Some(since) => since,
            None => {
                let now = self.state.store.ping().await?;
                let ran = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(0);
                *self.since.insert(now - ran)
            }
        };
        if let Ok(Ok(sessions)) = timeout(ANSWER, self.state.broadcast.send(CountSessions)).await {
            self.sessions = sessions;
        }
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(Node {
            id: self.state.node.clone(),
            since,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host_name(),
            addresses: self.addresses.clone(),
            public_url: self.state.http.public_url.clone(),
            stopping: phase != Phase::Running,
            sessions: count(self.sessions),
            requests: count(self.state.in_flight.load(Ordering::Relaxed)),
            in_flight: count(self.load.in_flight()),
            waiting: count(self.load.waiting()),
        })
    }
}

/// The machine's name as its kernel knows it.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
