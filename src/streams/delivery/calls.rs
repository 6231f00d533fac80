//! Store calls: making them when they are due, and what follows from their answers.

use super::*;

/// What a claim that gave nothing waits at least before it is repeated.
const AFTER_NOTHING: Duration = Duration::from_millis(50);

impl Driver {
    /// Claims when something may be due and there is room; when to look again, if time alone decides.
    pub(super) fn claim(&mut self, now: Instant) -> Option<Instant> {
        if self.stopping.is_some() || self.setup.paused || self.claiming {
            return None;
        }
        let wanted = if self.more { now } else { self.due_at.map_or(self.poll_at, |due| due.min(self.poll_at)) };
        let mut at = wanted.max(self.claim_at.unwrap_or(now));
        let probe = !self.ordered && self.circuit.is_open();
        if probe {
            at = at.max(self.circuit.probe_at()?);
        }
        if at > now {
            return Some(at);
        }
        let spec = &self.setup.spec;
        let lease = self.env.settings.lease;
        // Whatever keeps it from asking (a full window, attempts of an earlier claim) ends with an event.
        let asked = if self.ordered != spec.ordered() || (self.ordered && self.window.held() > 0) {
            return None;
        } else if probe {
            self.window.ask_one()?
        } else {
            self.window.ask(spec.concurrency, lease)?
        };
        let ordered = self.ordered;
        let request = ClaimRequest { stream: self.setup.key.clone(), max: asked, lease, ordered };
        let store = Arc::clone(&self.setup.store);
        // Cleared before the claim looks: what is committed after that comes with a wake.
        (self.claiming, self.more, self.due_at, self.claim_at) = (true, false, None, None);
        self.poll_at = now + POLL;
        self.calls.push(
            async move { Called::Claimed { sent: now, asked, ordered, probe, answer: store.claim(request).await } }
                .boxed(),
        );
        None
    }

    /// Renews or settles a claim.
    pub(super) fn tell_store(&mut self, plan: Plan) {
        let (store, stream) = (Arc::clone(&self.setup.store), self.setup.key.clone());
        let extend = self.env.settings.lease;
        let Plan { no, lease, settle } = plan;
        let call = async move {
            let answer = match settle {
                None => store.renew(&stream, lease, extend).await,
                Some(part) => {
                    let (total, exceptions, hold) = (part.total, part.exceptions, part.hold);
                    store.settle(Settle { stream, lease, total, exceptions, hold }).await
                }
            };
            Called::Answered { no, answer }
        };
        self.calls.push(call.boxed());
    }

    /// Asks what a draining stream has left; when to ask again.
    pub(super) fn count(&mut self, now: Instant) -> Option<Instant> {
        let at = self.count_at.filter(|_| self.setup.draining && self.stopping.is_none())?;
        if self.window.held() > 0 || self.claiming {
            return None;
        }
        if at > now {
            return Some(at);
        }
        self.count_at = None;
        let (store, stream) = (Arc::clone(&self.setup.store), self.setup.key.clone());
        self.calls.push(async move { Called::Counted(store.counts(&[stream]).await) }.boxed());
        None
    }

    /// After a recovery, makes due what waits for its retry; when to try again.
    pub(super) fn make_due(&mut self, now: Instant) -> Option<Instant> {
        let at = self.make_due_at.filter(|_| self.stopping.is_none())?;
        if at > now {
            return Some(at);
        }
        self.make_due_at = None;
        let (store, stream) = (Arc::clone(&self.setup.store), self.setup.key.clone());
        self.calls.push(async move { Called::MadeDue(store.make_due(&stream).await) }.boxed());
        None
    }

    /// Tells the store of attempts; when to look again.
    pub(super) fn tell_attempts(&mut self, now: Instant) -> Option<Instant> {
        let Some(attempts) = self.journal.take(now, self.stopping.is_some()) else { return self.journal.wake_at(now) };
        let (store, stream) = (Arc::clone(&self.setup.store), self.setup.key.clone());
        let call = async move {
            let told = store.record_attempts(&stream, attempts.clone()).await;
            Called::Told(told.map_err(|error| (attempts, error)))
        };
        self.calls.push(call.boxed());
        None
    }

    /// A store call has been answered.
    pub(super) fn called(&mut self, called: Called) {
        let now = Instant::now();
        match called {
            Called::Claimed { sent, asked, ordered, probe, answer } => {
                self.claiming = false;
                match answer {
                    Ok(claim) => self.claimed(claim, sent, asked, ordered, probe, now),
                    Err(error) => {
                        self.window.asked_in_vain();
                        if self.claim_backoff.failures() == 0 {
                            log::warn!("claim failed: stream={} error=\"{error}\"", self.label);
                        }
                        self.more = true;
                        self.claim_at = Some(now + self.claim_backoff.next_wait(rand::random()));
                    }
                }
            }
            Called::Answered { no, answer } => self.answered(no, answer, now),
            Called::Told(Ok(())) => self.journal.told(now),
            // At the end there is no later: what is shown of attempts is not worth a slow stop.
            Called::Told(Err(_)) if self.stopping.is_some() => self.journal = Journal::default(),
            Called::Told(Err((attempts, error))) => {
                log::info!("attempts are recorded later: stream={} error=\"{error}\"", self.label);
                self.journal.failed(attempts, now);
            }
            Called::MadeDue(Ok(())) => self.more = true,
            Called::MadeDue(Err(error)) => {
                log::warn!("retries are not made due yet: stream={} error=\"{error}\"", self.label);
                self.make_due_at = Some(now + DRAIN_POLL);
            }
            Called::Counted(Ok(counts)) if counts.first().is_some_and(|counts| counts.backlog == 0) => {
                if self.setup.draining {
                    log::info!("stream has drained: stream={}", self.label);
                    let told = self.setup.events.try_send(SinkEvent::Drained(self.setup.key.clone()));
                    self.count_at = told.is_err().then_some(now + DRAIN_POLL);
                }
            }
            Called::Counted(_) => self.count_at = self.setup.draining.then_some(now + DRAIN_POLL),
        }
    }

    fn claimed(&mut self, claim: Claim, sent: Instant, asked: usize, ordered: bool, probe: bool, now: Instant) {
        self.claim_backoff.reset();
        self.clock = Some((claim.now, now));
        let count = claim.events.len();
        match claim.lease {
            Some(lease) if count > 0 => {
                self.window.add(lease, sent, self.env.settings.lease, ordered, claim.events);
            }
            _ => self.window.asked_in_vain(),
        }
        if count >= asked {
            self.more = true;
        } else if let Some(next) = claim.next_due {
            // Both by the store's clock; what is left is the wait.
            let wait = Duration::from_millis(u64::try_from(next.saturating_sub(claim.now)).unwrap_or(0));
            let wait = if count == 0 { wait.max(AFTER_NOTHING) } else { wait };
            self.due_no_later_than(now + wait);
        }
        // The circuit opened while the claim was under way.
        if !ordered && !probe && self.circuit.is_open() {
            self.window.give_back();
        }
    }

    fn answered(&mut self, no: u64, answer: Result<Fenced, StoreError>, now: Instant) {
        if let Err(error) = &answer {
            log::warn!("settling failed: stream={} error=\"{error}\"", self.label);
        }
        let answer = self.window.answered(no, answer.map_err(drop), now, rand::random());
        if answer.dead > 0 {
            let error = self.logged_error.as_deref().unwrap_or_default();
            log::warn!("dead letters: stream={} count={} last_error={error:?}", self.label, answer.dead);
        }
        if let Some(end @ (End::Lost | End::GivenUp)) = answer.end {
            log::warn!("claim is gone: stream={} end={}", self.label, end.as_str());
            self.more = true;
        }
        if let Some(due) = answer.due {
            self.due_no_later_than(due);
        }
        if answer.end == Some(End::Settled) && self.setup.draining {
            // Soon empty, perhaps: no need to wait for the next poll.
            self.count_at = self.count_at.map(|at| at.min(now + AFTER_NOTHING));
        }
    }

    fn due_no_later_than(&mut self, at: Instant) {
        self.due_at = Some(self.due_at.map_or(at, |due| due.min(at)));
    }
}
