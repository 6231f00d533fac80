//! Attempts: starting them, and what follows from how they end.

use super::super::circuit::Fault;
use super::super::settlement::Decision;
use super::*;
use crate::event::Trace;
use crate::measure::{self, DELIVERIES};
use crate::store::Failure;

/// A sink bounds its attempts itself; past its time and this it is taken for stuck.
const SLACK: Duration = Duration::from_secs(2);

impl Driver {
    /// Starts what may start, in commit order, up to `concurrency` at a time.
    pub(super) fn start_attempts(&mut self, now: Instant) {
        if self.stopping.is_some() || self.setup.paused {
            return;
        }
        // A lease may be shorter than a time-out; then a fresh one is as good as it gets.
        let need = self.sink.timeout().min(self.env.settings.lease * 2 / 3);
        while self.attempts.len() < self.setup.spec.concurrency {
            // An ordered stream tries one event at a time anyway, and holds it.
            if !self.ordered && !self.circuit.lets_through(now) {
                return;
            }
            let Some((key, event)) = self.window.start(now, need) else { return };
            self.circuit.started(event.position, now);
            self.launch(key, &event);
        }
    }

    fn launch(&mut self, key: Key, event: &ClaimedEvent) {
        let position = event.position;
        let id = EventId::new(self.setup.key.type_no, position);
        let delivery = super::super::Delivery {
            id,
            ty: self.setup.ty.clone(),
            created_at: position.ms(),
            body: envelope(id, &self.setup.ty, &event.payload).into(),
            trace: Trace::of(&event.payload),
        };
        let (sink, failed) = (Rc::clone(&self.sink), event.attempts);
        let clock = self.clock;
        self.flying.insert(key);
        self.attempts.push(
            async move {
                let began = Instant::now();
                let at = clock.map_or(position.ms(), |clock| store_time(clock, began));
                let attempt = tokio::time::timeout(sink.timeout() + SLACK, sink.deliver(&delivery));
                let stuck = |_| Outcome::Retry { error: "the attempt did not end in time".into(), after: None }.into();
                let report = attempt.await.unwrap_or_else(stuck);
                Attempt { key, position, failed, report, at, took: began.elapsed() }
            }
            .boxed_local(),
        );
    }

    /// An attempt has ended: decides its event, and what it says of the other side.
    pub(super) fn attempted(&mut self, attempt: Attempt) {
        let Attempt { key, position, failed, report, at, took } = attempt;
        self.flying.remove(&key);
        let now = Instant::now();
        self.journal.note(EventId::new(self.setup.key.type_no, position), at, took, &report, now);
        let retry = self.setup.spec.retry.clone();
        self.note(position, failed, at, took, &report);
        match report.outcome {
            Outcome::Delivered => {
                self.window.decide(key, Decision::Delivered, took);
                if self.circuit.delivered() {
                    log::info!("stream has recovered: stream={}", self.label);
                    self.more = true;
                    if !self.ordered {
                        self.make_due_at = Some(now);
                    }
                }
            }
            Outcome::Retry { error, after } => {
                let failure = self.failure(failed.saturating_add(1), error);
                let fault = Fault { unreachable: false, after };
                self.fault(position, fault, &retry, now);
                if failure.attempts >= retry.attempts {
                    self.window.decide(key, Decision::Dead(failure), took);
                } else {
                    let due = now + retry.wait(failure.attempts, after, rand::random());
                    self.again(key, due, failure, took);
                }
            }
            Outcome::Unreachable { error } => {
                // Nobody was there to refuse the event: no attempt of it.
                let failure = self.failure(failed, error);
                self.fault(position, Fault { unreachable: true, after: None }, &retry, now);
                let due = self.circuit.probe_at().unwrap_or(now + retry.first);
                self.again(key, due, failure, took);
            }
            Outcome::Dead { error } => {
                self.circuit.inconclusive(position);
                let failure = self.failure(failed.saturating_add(1), error);
                self.window.decide(key, Decision::Dead(failure), took);
            }
            Outcome::Pause { error } => {
                self.circuit.inconclusive(position);
                let failure = self.failure(failed, error.clone());
                self.again(key, now, failure, took);
                if !self.setup.paused {
                    let logged = self.logged_error.as_deref().unwrap_or_default();
                    log::warn!("stream is paused by the other side: stream={} error={logged:?}", self.label);
                    self.setup.paused = true;
                    if self.setup.events.try_send(SinkEvent::Paused(self.setup.key.clone(), error)).is_err() {
                        log::error!("the pause is known here alone: stream={}", self.label);
                    }
                }
            }
        }
    }

    /// Counts an attempt, and how long a delivered event was on its way; what may be logged of a failure.
    fn note(&mut self, position: Position, failed: u32, at: Millis, took: Duration, report: &Report) {
        let outcome = match &report.outcome {
            Outcome::Delivered => {
                let took = Millis::try_from(took.as_millis()).unwrap_or(Millis::MAX);
                DELIVERIES.latency.millis(at.saturating_add(took) - position.ms());
                measure::Outcome::Delivered
            }
            Outcome::Retry { .. } if failed.saturating_add(1) >= self.setup.spec.retry.attempts => {
                measure::Outcome::Dead
            }
            Outcome::Retry { .. } => measure::Outcome::Retry,
            Outcome::Unreachable { .. } => measure::Outcome::Unreachable,
            Outcome::Dead { .. } => measure::Outcome::Dead,
            Outcome::Pause { .. } => measure::Outcome::Paused,
        };
        // With a status comes what the other side wrote, which may be the payload again.
        if let Some(error) = report.outcome.error() {
            self.logged_error =
                Some(report.status.map_or_else(|| error.to_owned(), |status| format!("status {status}")));
        }
        log::debug!(
            "attempt has ended: stream={} event_id={} outcome={} duration_us={}",
            self.label,
            EventId::new(self.setup.key.type_no, position),
            outcome.as_str(),
            took.as_micros()
        );
        DELIVERIES.time.time(took);
        DELIVERIES.attempt(self.setup.spec.target.source(), outcome);
    }

    /// The event comes again: held here when order matters, else from the outbox.
    fn again(&mut self, key: Key, due: Instant, failure: Failure, took: Duration) {
        if self.ordered {
            self.window.postpone(key, due, failure);
        } else {
            self.window.decide(key, Decision::Retry { due, failure }, took);
        }
    }

    fn failure(&mut self, attempts: u32, error: String) -> Failure {
        self.last_error = Some(error.clone());
        Failure { attempts, last_error: error }
    }

    fn fault(&mut self, position: Position, fault: Fault, retry: &Retry, now: Instant) {
        if self.circuit.failed(position, fault, retry, now, rand::random()) {
            let error = self.logged_error.as_deref().unwrap_or_default();
            log::warn!("stream fails: stream={} error={error:?}", self.label);
            if !self.ordered {
                self.window.give_back();
            }
        }
    }
}

/// The store's clock at an instant after it was read, in Unix milliseconds. Never ahead of it: the reading took its
/// time to arrive.
fn store_time((read, arrived): (Millis, Instant), at: Instant) -> Millis {
    let since = at.saturating_duration_since(arrived).as_millis();
    read.saturating_add(Millis::try_from(since).unwrap_or(Millis::MAX))
}
