//! The one task that drives a stream: claims, attempts, settlements.
//!
//! Everything under way is in two sets of futures, attempts and store calls; after each event the task
//! takes every step that has become possible ([`Driver::step`]) and sleeps until the next one. What is
//! possible is decided by the pure parts, [`Window`] and [`Circuit`].

use super::circuit::Circuit;
use super::journal::Journal;
use super::load::Share;
use super::settlement::{End, Plan};
use super::window::{Key, Window};
use super::{Outcome, Report, Respecify, Retry, Sink, SinkEnv, SinkEvent, SinkSetup, SinkStatus, StreamState};
use crate::event::{EventId, Millis, Position, envelope};
use crate::store::{Claim, ClaimRequest, ClaimedEvent, Fenced, Settle, StoreError, StreamCounts};
use bytes::Bytes;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

mod attempts;
mod calls;

/// Looks into the outbox that often without being woken.
const POLL: Duration = Duration::from_secs(30);
/// How often a draining stream asks whether anything is left.
const DRAIN_POLL: Duration = Duration::from_secs(2);
/// How long, after the time to finish, a stopping stream goes on giving back what it holds.
const SETTLE: Duration = Duration::from_secs(3);
/// What a step left over waits for somebody else; asking sooner would be a busy loop.
const TICK: Duration = Duration::from_millis(5);

/// What the actor tells the task.
pub(super) enum Command {
    /// The stream was registered again, or paused, or resumed.
    Respecify(Respecify),
    /// Come to an end within the time given.
    Stop(Duration, oneshot::Sender<()>),
}

/// Between the actor and the task.
pub(super) struct Shared {
    /// Something may be due. One hint is as good as many.
    pub wake: Notify,
    /// As of the last step.
    pub status: RefCell<SinkStatus>,
}

/// A claim or its settlement has been answered, and the like.
enum Called {
    Claimed {
        sent: Instant,
        asked: usize,
        ordered: bool,
        probe: bool,
        answer: Result<Claim, StoreError>,
    },
    Answered {
        no: u64,
        answer: Result<Fenced, StoreError>,
    },
    MadeDue(Result<(), StoreError>),
    Counted(Result<Vec<StreamCounts>, StoreError>),
    /// What was not told, when it failed.
    Told(Result<(), (Vec<Bytes>, StoreError)>),
}

/// An attempt has ended.
struct Attempt {
    key: Key,
    position: Position,
    /// Failed attempts before it.
    failed: u32,
    report: Report,
    /// When it began, by the store's clock: a stream's attempts are those of all nodes.
    at: Millis,
    took: Duration,
}

/// On the way to the end.
struct Stopping {
    deadline: Instant,
    done: Option<oneshot::Sender<()>>,
}

/// The state of the task.
pub(super) struct Driver {
    env: SinkEnv,
    setup: SinkSetup,
    sink: Rc<dyn Sink>,
    commands: mpsc::UnboundedReceiver<Command>,
    shared: Rc<Shared>,
    /// `TYPE/STREAM`, for the log.
    label: String,
    /// What it holds, for the node's sums.
    share: Share,
    /// The store's clock as a claim has read it, and when.
    clock: Option<(Millis, Instant)>,

    window: Window,
    circuit: Circuit,
    journal: Journal,
    attempts: FuturesUnordered<LocalBoxFuture<'static, Attempt>>,
    /// The keys of `attempts`.
    flying: HashSet<Key>,
    calls: FuturesUnordered<BoxFuture<'static, Called>>,

    /// Whether the window holds ordered claims; changes only while it is empty.
    ordered: bool,
    /// The outbox may hold something that is due.
    more: bool,
    /// When it does, as far as is known.
    due_at: Option<Instant>,
    /// When to look in any case.
    poll_at: Instant,
    claiming: bool,
    /// After a claim that failed.
    claim_at: Option<Instant>,
    claim_backoff: super::Backoff,
    /// What waits for retries is to be made due, not before.
    make_due_at: Option<Instant>,
    /// A draining stream asks what is left, not before; `None` while it asks and once it has drained.
    count_at: Option<Instant>,
    last_error: Option<String>,
    /// As far as it may be logged.
    logged_error: Option<String>,
    /// For how long the window was full, without the time since `full_since`.
    full: Duration,
    full_since: Option<Instant>,
    stopping: Option<Stopping>,
}

impl Driver {
    /// A driver with nothing claimed yet, the channel to it, and what it shares.
    pub fn new(env: SinkEnv, setup: SinkSetup, share: Share) -> (Self, mpsc::UnboundedSender<Command>, Rc<Shared>) {
        // Unbounded, but fed by the registry alone, a command a change.
        let (send, commands) = mpsc::unbounded_channel();
        let status = RefCell::new(idle_status(&setup));
        let shared = Rc::new(Shared { wake: Notify::new(), status });
        let now = Instant::now();
        let driver = Self {
            sink: Rc::from(setup.spec.target.sink(&env)),
            commands,
            shared: Rc::clone(&shared),
            label: format!("{}/{}", setup.ty, setup.key.name),
            share,
            clock: None,
            window: Window::new(setup.spec.mailbox),
            circuit: Circuit::default(),
            journal: Journal::default(),
            attempts: FuturesUnordered::new(),
            flying: HashSet::new(),
            calls: FuturesUnordered::new(),
            ordered: setup.spec.ordered(),
            more: true,
            due_at: None,
            poll_at: now,
            claiming: false,
            claim_at: None,
            claim_backoff: super::Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
            make_due_at: None,
            count_at: setup.draining.then_some(now),
            last_error: None,
            logged_error: None,
            full: Duration::ZERO,
            full_since: None,
            stopping: None,
            env,
            setup,
        };
        (driver, send, shared)
    }

    /// Runs until it is stopped, or until nobody can tell it anything any more.
    pub async fn run(mut self) {
        loop {
            let wake_at = self.step(Instant::now());
            if self.is_over() {
                break;
            }
            let sink = Rc::clone(&self.sink);
            let shared = Rc::clone(&self.shared);
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                Some(called) = self.calls.next(), if !self.calls.is_empty() => self.called(called),
                Some(attempt) = self.attempts.next(), if !self.attempts.is_empty() => {
                    self.attempted(attempt);
                    while let Some(Some(attempt)) = self.attempts.next().now_or_never() {
                        self.attempted(attempt);
                    }
                }
                () = shared.wake.notified() => self.more = true,
                () = sink.recovered(), if self.circuit.unreachable() => {
                    let now = Instant::now();
                    self.circuit.probe_soon(now);
                    if let Some(probe_at) = self.circuit.probe_at() {
                        self.window.hurry(probe_at);
                        // In the outbox everything is due at the probe's old time.
                        self.make_due_at = Some(now);
                    }
                }
                () = sleep_until(wake_at) => {}
            }
        }
        if let Some(done) = self.stopping.and_then(|stopping| stopping.done) {
            let _ = done.send(());
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Respecify(new) => self.respecify(new),
            Command::Stop(grace, done) => {
                self.stopping = Some(Stopping { deadline: Instant::now() + grace, done: Some(done) });
            }
        }
    }

    fn respecify(&mut self, new: Respecify) {
        if !new.spec.same_target(&self.setup.spec) {
            // Attempts under way keep the old one for as long as they last.
            self.sink = Rc::from(new.spec.target.sink(&self.env));
            self.circuit = Circuit::default();
        }
        if self.setup.paused && !new.paused {
            self.circuit = Circuit::default();
        }
        self.window.resize(new.spec.mailbox);
        self.count_at = new.draining.then(Instant::now);
        (self.setup.spec, self.setup.draining, self.setup.paused) = (new.spec, new.draining, new.paused);
        self.more = true;
    }

    /// Does everything that can be done now; when to look again.
    fn step(&mut self, now: Instant) -> Instant {
        if self.stopping.is_some() || self.setup.paused || self.ordered != self.setup.spec.ordered() {
            self.window.give_back();
        }
        self.cut_short(now);
        if self.window.held() == 0 && !self.claiming {
            self.ordered = self.setup.spec.ordered();
        }
        self.start_attempts(now);
        for plan in self.window.plans(now) {
            self.tell_store(plan);
        }
        let claim = self.claim(now);
        let count = self.count(now);
        let due = self.make_due(now);
        let tell = self.tell_attempts(now);
        self.update_status(now);
        // A probe that is claimed and waits for its time.
        let probe = self.circuit.probe_at().filter(|_| self.window.waiting() > 0);
        let stop = self.stopping.as_ref().map(|s| if now < s.deadline { s.deadline } else { s.deadline + SETTLE });
        let wakes = [claim, count, due, tell, probe, stop, self.window.wake_at()];
        wakes.into_iter().flatten().min().unwrap_or(now + POLL).max(now + TICK)
    }

    /// What is to be given up at the end of a stop.
    fn cut_short(&mut self, now: Instant) {
        let Some(stopping) = &self.stopping else { return };
        if now >= stopping.deadline && !self.flying.is_empty() {
            log::info!("attempts are cut short: stream={} count={}", self.label, self.flying.len());
            self.attempts = FuturesUnordered::new();
            for key in self.flying.drain() {
                self.window.untried(key);
            }
            self.window.give_back();
        }
        if now >= stopping.deadline + SETTLE {
            log::warn!("stream stopped without settling: stream={} held={}", self.label, self.window.held());
            self.window.abandon();
            self.calls = FuturesUnordered::new();
            self.claiming = false;
        }
    }

    fn is_over(&self) -> bool {
        let idle = self.attempts.is_empty() && self.calls.is_empty() && self.window.held() == 0;
        self.stopping.is_some() && idle
    }

    fn update_status(&mut self, now: Instant) {
        if self.window.held() < self.setup.spec.mailbox {
            self.full += self.full_since.take().map_or(Duration::ZERO, |since| now - since);
        } else {
            self.full_since.get_or_insert(now);
        }
        let setup = &self.setup;
        let state = if setup.paused {
            StreamState::Paused
        } else if setup.draining {
            StreamState::Draining
        } else if self.circuit.failing() {
            StreamState::Failing
        } else {
            StreamState::Active
        };
        self.share.set(self.window.in_flight(), self.window.waiting());
        let mut status = self.shared.status.borrow_mut();
        status.state = state;
        status.in_flight = self.window.in_flight();
        status.waiting = self.window.waiting();
        status.mailbox = setup.spec.mailbox;
        status.concurrency = setup.spec.concurrency;
        status.full = self.full + self.full_since.map_or(Duration::ZERO, |since| now - since);
        if status.last_error != self.last_error {
            status.last_error.clone_from(&self.last_error);
        }
    }
}

/// Of a stream that has not begun.
pub(super) fn idle_status(setup: &SinkSetup) -> SinkStatus {
    let state = match (setup.paused, setup.draining) {
        (true, _) => StreamState::Paused,
        (false, true) => StreamState::Draining,
        (false, false) => StreamState::Active,
    };
    let (mailbox, concurrency) = (setup.spec.mailbox, setup.spec.concurrency);
    SinkStatus { state, in_flight: 0, waiting: 0, mailbox, concurrency, full: Duration::ZERO, last_error: None }
}
