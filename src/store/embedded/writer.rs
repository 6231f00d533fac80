//! The committer: the one thread that changes anything.
//!
//! fjall blocks, so it has a thread of its own. It takes what is queued, applies it in one write batch,
//! makes it durable with one `fdatasync` if anything in it needs that, and answers. What only looks at the
//! committer's memory (claims, counters) is answered after the commit, so it sees all of its group.
//!
//! When a commit fails, fjall takes no more writes, and memory is ahead of the disk: from then on everything
//! is answered with [`StoreError::Unavailable`] until the process is started again, which reads the disk.

use super::super::{LiveRun, StoreError};
use super::core::Core;
use super::disk::{Disk, unavailable};
use super::live::LiveFeed;
use super::sweep;
use super::tx::Tx;
use fjall::PersistMode;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Most requests that wait for the committer; more wait at the door until the time-out.
pub(super) const QUEUE: usize = 1024;
/// Most requests in one group.
const GROUP: usize = 256;
/// How often expired data is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How soon a live reader that has missed commits is told, when nothing else happens.
const OWED_EVERY: Duration = Duration::from_millis(20);

/// Answers a request once its group is on disk, or is known not to be.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What a writing request works on.
pub(super) struct Access<'a, 'b> {
    pub core: &'a mut Core,
    pub disk: &'a Disk,
    pub tx: &'a mut Tx<'b>,
}

/// A request that changes something. Given nothing when the store is broken.
pub(super) type Write = Box<dyn for<'a, 'b> FnOnce(Result<Access<'a, 'b>, StoreError>) -> Answer + Send>;

/// A request that looks at memory, or changes nothing but memory. Given nothing when the store is broken.
pub(super) type Ask = Box<dyn for<'a> FnOnce(Result<(&'a mut Core, &'a Disk), StoreError>) + Send>;

/// A request to the committer.
pub(super) enum Job {
    /// Applied, committed with its group, then answered.
    Write(Write),
    /// One of many steps of something large: applied and committed alone, between groups.
    Step(Write),
    /// Answered after its group's commit.
    Ask(Ask),
    /// Removes all that has expired by now, then answers.
    Sweep(oneshot::Sender<Result<(), StoreError>>),
    /// Takes no more requests, and ends once those that wait are answered.
    Stop,
}

/// The committer thread's own things.
pub(super) struct Committer {
    disk: Arc<Disk>,
    core: Core,
    live: LiveFeed,
    jobs: mpsc::Receiver<Job>,
    /// Steps whose turn has not come: one after each group. No more than there are askers, who wait for each.
    steps: VecDeque<Write>,
    /// Why nothing works any more.
    broken: Option<String>,
    next_sweep: Instant,
    sweeping: bool,
    /// Told when the sweep under way ends.
    sweep_waiters: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl Committer {
    pub(super) fn new(disk: Arc<Disk>, core: Core, live: LiveFeed, jobs: mpsc::Receiver<Job>) -> Self {
        Self {
            disk,
            core,
            live,
            jobs,
            steps: VecDeque::new(),
            broken: None,
            next_sweep: Instant::now() + SWEEP_EVERY,
            sweeping: false,
            sweep_waiters: Vec::new(),
        }
    }

    /// Works until the queue is closed and empty, then makes everything durable.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        let _loud = Loud;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let mut group = Vec::with_capacity(GROUP);
        while runtime.block_on(self.collect(&mut group)) {
            self.commit(&mut group);
            self.live.retry();
            self.step();
            self.sweep_some();
        }
        if let Some(reason) = &self.broken {
            return Err(StoreError::Unavailable(reason.clone()));
        }
        self.disk.db.persist(PersistMode::SyncAll).map_err(unavailable)
    }

    /// Waits for requests, or for something else to do. False when the queue is closed and empty.
    async fn collect(&mut self, group: &mut Vec<Job>) -> bool {
        let patience = match (self.sweeping || !self.steps.is_empty(), self.live.owes()) {
            (true, _) => Duration::ZERO,
            (false, true) => OWED_EVERY,
            (false, false) => self.next_sweep.saturating_duration_since(Instant::now()),
        };
        match tokio::time::timeout(patience, self.jobs.recv_many(group, GROUP)).await {
            Ok(taken) => taken > 0 || !self.steps.is_empty(),
            Err(_) => true,
        }
    }

    fn commit(&mut self, group: &mut Vec<Job>) {
        let disk = Arc::clone(&self.disk);
        let mut tx = Tx::new(&disk);
        let (mut answers, mut asks) = (Vec::new(), Vec::new());
        for job in group.drain(..) {
            match (job, &self.broken) {
                (Job::Write(write), broken) => answers.push(write(match broken {
                    None => Ok(Access { core: &mut self.core, disk: &self.disk, tx: &mut tx }),
                    Some(reason) => Err(StoreError::Unavailable(reason.clone())),
                })),
                (Job::Step(step), _) => self.steps.push_back(step),
                (Job::Ask(ask), _) => asks.push(ask),
                (Job::Sweep(waiter), _) => {
                    self.sweep_waiters.push(waiter);
                    self.sweeping = true;
                }
                (Job::Stop, _) => self.jobs.close(),
            }
        }
        let committed = match &self.broken {
            Some(reason) => Err(StoreError::Unavailable(reason.clone())),
            None => {
                self.core.write_changes(&mut tx);
                tx.commit().inspect_err(|error| self.broken = Some(fail(&self.disk, error)))
            }
        };
        if let Ok(runs) = &committed {
            let last = |run: &LiveRun| Some((run.type_no.get(), run.events.last()?.0));
            self.core.hours.set_last(runs.iter().filter_map(last));
        }
        let done = committed.as_ref().map(|_| ()).map_err(StoreError::clone);
        answers.into_iter().for_each(|answer| answer(done.clone()));
        self.live.send(committed.unwrap_or_default());
        for ask in asks {
            ask(match &self.broken {
                None => Ok((&mut self.core, &self.disk)),
                Some(reason) => Err(StoreError::Unavailable(reason.clone())),
            });
        }
    }

    /// Takes the next step. It finds on disk all that was done before it.
    fn step(&mut self) {
        let Some(step) = self.steps.pop_front() else { return };
        if let Some(reason) = &self.broken {
            let error = StoreError::Unavailable(reason.clone());
            return step(Err(error.clone()))(Err(error));
        }
        let disk = Arc::clone(&self.disk);
        let mut tx = Tx::new(&disk);
        // A step that fails on reading has changed nothing, or as much in memory as in its batch.
        let answer = step(Ok(Access { core: &mut self.core, disk: &self.disk, tx: &mut tx }));
        self.core.write_changes(&mut tx);
        let committed = tx.commit().inspect_err(|error| self.broken = Some(fail(&self.disk, error)));
        answer(committed.map(|_| ()));
    }

    fn sweep_some(&mut self) {
        if !self.sweeping && Instant::now() >= self.next_sweep {
            self.sweeping = true;
        }
        if !self.sweeping {
            return;
        }
        let swept = match &self.broken {
            Some(reason) => Err(StoreError::Unavailable(reason.clone())),
            None => self.sweep_step(),
        };
        if let Ok(true) = swept {
            return;
        }
        if let Err(error) = &swept {
            log::warn!("expired data could not be removed: error=\"{error}\"");
        }
        self.sweeping = false;
        self.next_sweep = Instant::now() + SWEEP_EVERY;
        for waiter in self.sweep_waiters.drain(..) {
            // Whoever waited may have given up.
            let _ = waiter.send(swept.clone().map(|_| ()));
        }
    }

    fn sweep_step(&mut self) -> Result<bool, StoreError> {
        let disk = Arc::clone(&self.disk);
        let mut tx = Tx::new(&disk);
        // A step that fails on reading has changed what it had come to: its part is committed as it is.
        let more = sweep::step(&mut self.core, &self.disk, &mut tx);
        self.core.write_changes(&mut tx);
        tx.commit().inspect_err(|error| self.broken = Some(fail(&self.disk, error)))?;
        sweep::committed(&mut self.core);
        more
    }
}

/// Says loudly that nothing works any more; answers what requests are told.
fn fail(disk: &Disk, error: &StoreError) -> String {
    log::error!(
        "the embedded store could not write to disk and takes no more requests, restart the hub once the disk is well: \
         folder={:?} error=\"{error}\"",
        disk.path()
    );
    format!("writing to disk has failed, the hub must be restarted ({error})")
}

/// The committer's door.
#[derive(Debug)]
pub(super) struct Door {
    pub jobs: mpsc::Sender<Job>,
    /// Longest wait for room in the queue and the answer together.
    pub timeout: Duration,
}

impl Door {
    /// Changes something and waits until it is committed. A request whose asker has given up before its
    /// turn is not tried.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl for<'a, 'b> FnOnce(Access<'a, 'b>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.submit(|reply| Job::Write(answered(change, reply))).await
    }

    /// Takes one step of something large, like [`write`](Self::write), but in a commit of its own: its key may
    /// be one that others write, and what it reads from disk is all there is.
    pub(super) async fn step<T: Send + 'static>(
        &self,
        change: impl for<'a, 'b> FnOnce(Access<'a, 'b>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.submit(|reply| Job::Step(answered(change, reply))).await
    }

    /// Looks at the committer's memory, after everything asked before is committed.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        look: impl for<'a> FnOnce(&'a mut Core, &'a Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask_or_undo(look, |_, _| ()).await
    }

    /// Like [`ask`](Self::ask); `undo` takes back what nobody waits for any more.
    pub(super) async fn ask_or_undo<T: Send + 'static>(
        &self,
        look: impl for<'a> FnOnce(&'a mut Core, &'a Disk) -> Result<T, StoreError> + Send + 'static,
        undo: impl for<'a> FnOnce(&'a mut Core, T) + Send + 'static,
    ) -> Result<T, StoreError> {
        self.submit(|reply: oneshot::Sender<Result<T, StoreError>>| {
            Job::Ask(Box::new(move |access| {
                if reply.is_closed() {
                    return;
                }
                match access {
                    Err(error) => drop(reply.send(Err(error))),
                    Ok((core, disk)) => {
                        let result = look(core, disk);
                        if let Err(Ok(unheard)) = reply.send(result) {
                            undo(core, unheard);
                        }
                    }
                }
            }))
        })
        .await
    }

    /// Puts a job in the queue and waits for its answer.
    pub(super) async fn submit<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.jobs.send(job(reply)).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        let late = || StoreError::Unavailable("the embedded store did not answer in time".into());
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(late()))
    }
}

/// A change that answers once it is committed.
fn answered<T: Send + 'static>(
    change: impl for<'a, 'b> FnOnce(Access<'a, 'b>) -> Result<T, StoreError> + Send + 'static,
    reply: oneshot::Sender<Result<T, StoreError>>,
) -> Write {
    Box::new(move |access| {
        let result = if reply.is_closed() { Err(gone()) } else { access.and_then(change) };
        Box::new(move |committed| {
            // An asker that has given up has been told that nothing is known.
            let _ = reply.send(committed.and(result));
        })
    })
}

fn gone() -> StoreError {
    StoreError::Unavailable("the embedded store is closed, or has failed".into())
}

/// Says so when the committer dies of a panic: every request after that is refused.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        if std::thread::panicking() {
            log::error!("the embedded store's committer has died, the store takes no more requests");
        }
    }
}
