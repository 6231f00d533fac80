//! One claim as it is held: what became of its events, and when the store has to hear of it.
//!
//! Pure: time is a parameter. Every event is decided once; a claim is settled when all of its events
//! are, and in part before that when some take long.

use super::Backoff;
use super::settlement::{Answer, Decision, End, Part, Plan};
use crate::store::{ClaimedEvent, Disposition, Failure, Fenced, Lease};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long decided events wait for the last ones of their claim before they are settled without them.
const LINGER: Duration = Duration::from_millis(500);
/// Settling in part sends what is still held once more; beyond so many bytes it waits for the end.
const MAX_HELD_BYTES: usize = 256 << 10;
/// Waits between store calls that fail.
const STORE_BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

#[derive(Debug)]
enum Slot {
    /// Not tried, or held for another attempt.
    Waiting {
        not_before: Option<Instant>,
    },
    InFlight,
    Decided(Decision),
}

#[derive(Debug)]
struct Entry {
    event: ClaimedEvent,
    slot: Slot,
    /// A failed attempt that the store has not heard of; ordered claims only.
    unrecorded: Option<Failure>,
}

/// The call under way.
#[derive(Debug)]
struct Call {
    sent: Instant,
    /// Entries that are settled once it succeeds; `None` for a renewal.
    settles: Option<Vec<u32>>,
}

/// A claim of this node.
#[derive(Debug)]
pub(super) struct Held {
    no: u64,
    lease: Lease,
    /// When the call that gave the lease was sent: it holds at least from then.
    granted: Instant,
    length: Duration,
    ordered: bool,
    /// By their place in the claim.
    entries: BTreeMap<u32, Entry>,
    /// The first entry that has not been started; in an ordered claim, that has not been decided.
    next: u32,
    waiting: usize,
    in_flight: usize,
    /// Bytes of payload not decided yet.
    open_bytes: usize,
    /// Nothing is started any more; what waits goes back once nothing is in flight.
    giving_back: bool,
    call: Option<Call>,
    /// After a failed call.
    retry_at: Option<Instant>,
    backoff: Backoff,
    /// When it was last settled in part.
    settled_at: Instant,
    /// The first due time among the decided retries.
    first_retry: Option<Instant>,
}

impl Held {
    /// A claim just made by a call sent at `sent`.
    pub fn new(
        no: u64,
        lease: Lease,
        sent: Instant,
        length: Duration,
        ordered: bool,
        events: Vec<ClaimedEvent>,
    ) -> Self {
        let open_bytes = events.iter().map(|event| event.payload.len()).sum();
        let waiting = events.len();
        let entry = |event| Entry { event, slot: Slot::Waiting { not_before: None }, unrecorded: None };
        Self {
            no,
            lease,
            granted: sent,
            length,
            ordered,
            entries: (0..).zip(events.into_iter().map(entry)).collect(),
            next: 0,
            waiting,
            in_flight: 0,
            open_bytes,
            giving_back: false,
            call: None,
            retry_at: None,
            backoff: Backoff::new(STORE_BACKOFF.0, STORE_BACKOFF.1),
            settled_at: sent,
            first_retry: None,
        }
    }

    /// Events in memory.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Events that wait for an attempt.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn expires(&self) -> Instant {
        self.granted + self.length
    }

    /// The next event to try, if there is one whose time has come and the lease holds for `need` more.
    pub fn start(&mut self, now: Instant, need: Duration) -> Option<(u32, ClaimedEvent)> {
        if self.giving_back || self.waiting == 0 || self.expires().saturating_duration_since(now) < need {
            return None;
        }
        // While the store hears of a failure its event stays as it is.
        if self.ordered && self.call.as_ref().is_some_and(|call| call.settles.is_some()) {
            return None;
        }
        let (&seq, entry) = self.entries.range_mut(self.next..).next()?;
        match entry.slot {
            Slot::Waiting { not_before } if not_before.is_none_or(|at| now >= at) => {}
            _ => return None,
        }
        entry.slot = Slot::InFlight;
        if !self.ordered {
            self.next = seq.saturating_add(1);
        }
        self.waiting -= 1;
        self.in_flight += 1;
        Some((seq, entry.event.clone()))
    }

    /// An attempt's event is decided. Nothing happens unless it is in flight.
    pub fn decide(&mut self, seq: u32, decision: Decision) {
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        if !matches!(entry.slot, Slot::InFlight) {
            return;
        }
        if let Decision::Retry { due, .. } = &decision {
            self.first_retry = Some(self.first_retry.map_or(*due, |first| first.min(*due)));
        }
        self.open_bytes = self.open_bytes.saturating_sub(entry.event.payload.len());
        entry.slot = Slot::Decided(decision);
        self.next = self.next.max(seq.saturating_add(1));
        self.in_flight -= 1;
    }

    /// An attempt has failed and the event is tried again from here, not before `until`. A `failure`
    /// is recorded in the store.
    pub fn postpone(&mut self, seq: u32, until: Instant, failure: Failure) {
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        if !matches!(entry.slot, Slot::InFlight) {
            return;
        }
        entry.event.attempts = failure.attempts;
        entry.unrecorded = Some(failure);
        entry.slot = Slot::Waiting { not_before: Some(until) };
        self.in_flight -= 1;
        self.waiting += 1;
    }

    /// An attempt was cut short: its event has not been tried.
    pub fn untried(&mut self, seq: u32) {
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        if !matches!(entry.slot, Slot::InFlight) {
            return;
        }
        if self.ordered {
            entry.slot = Slot::Waiting { not_before: None };
            self.in_flight -= 1;
            self.waiting += 1;
        } else {
            self.decide(seq, Decision::Release);
        }
    }

    /// What waits for another attempt need not wait longer than `until`.
    pub fn hurry(&mut self, until: Instant) {
        for entry in self.entries.range_mut(self.next..).map(|(_, entry)| entry) {
            if let Slot::Waiting { not_before: Some(at) } = &mut entry.slot {
                *at = until.min(*at);
            }
        }
    }

    /// What waits goes back to the outbox: at once, or, in an ordered claim, once the attempt under way has
    /// ended and the store has heard if it failed.
    pub fn give_back(&mut self) {
        if self.ordered {
            self.giving_back = true;
        } else {
            self.release();
        }
    }

    fn release(&mut self) {
        for entry in self.entries.range_mut(self.next..).map(|(_, entry)| entry) {
            if matches!(entry.slot, Slot::Waiting { .. }) {
                entry.slot = Slot::Decided(Decision::Release);
                self.open_bytes = self.open_bytes.saturating_sub(entry.event.payload.len());
                self.waiting -= 1;
            }
        }
    }

    fn head(&self) -> Option<&Entry> {
        self.entries.range(self.next..).map(|(_, entry)| entry).next()
    }

    fn decided(&self) -> usize {
        self.entries.len() - self.waiting - self.in_flight
    }

    /// Something has to be told to the store now, whatever the time.
    fn urgent(&self) -> bool {
        let all_decided = self.waiting + self.in_flight == 0;
        let failed = self.ordered && self.head().is_some_and(|entry| entry.unrecorded.is_some());
        all_decided || (self.in_flight == 0 && (self.giving_back || failed))
    }

    /// When the store has to hear of it next.
    fn call_at(&self) -> Instant {
        if self.urgent() {
            return self.granted;
        }
        let renew_at = self.granted + self.length / 3;
        if self.decided() == 0 || self.open_bytes > MAX_HELD_BYTES {
            return renew_at;
        }
        let linger = self.settled_at + LINGER;
        let part_at = match (self.waiting, self.first_retry) {
            (0, _) => linger,
            (_, Some(due)) => due.max(linger),
            (_, None) => renew_at,
        };
        renew_at.min(part_at)
    }

    /// The call that is due, which is then under way until [`answered`](Self::answered).
    pub fn plan(&mut self, now: Instant) -> Option<Plan> {
        if self.call.is_some() || self.retry_at.is_some_and(|at| now < at) || now < self.call_at() {
            return None;
        }
        // A release says nothing of a failure, and a retry would come after newer events.
        if self.giving_back && self.in_flight == 0 && self.head().is_some_and(|head| head.unrecorded.is_none()) {
            self.release();
        }
        let worth_it = self.decided() > 0 && self.open_bytes <= MAX_HELD_BYTES;
        let part = (self.urgent() || worth_it).then(|| self.part(now));
        let settles = part.is_some().then(|| self.decided_entries());
        self.call = Some(Call { sent: now, settles });
        Some(Plan { no: self.no, lease: self.lease, settle: part })
    }

    fn decided_entries(&self) -> Vec<u32> {
        self.entries.iter().filter(|(_, e)| matches!(e.slot, Slot::Decided(_))).map(|(&seq, _)| seq).collect()
    }

    fn part(&self, now: Instant) -> Part {
        let mut exceptions = Vec::new();
        for entry in self.entries.values() {
            let disposition = match &entry.slot {
                Slot::Decided(Decision::Delivered) => continue,
                Slot::Decided(Decision::Release) => Disposition::Release,
                Slot::Decided(Decision::Dead(failure)) => Disposition::Dead(failure.clone()),
                Slot::Decided(Decision::Retry { due, failure }) => {
                    Disposition::Retry { after: due.saturating_duration_since(now), failure: failure.clone() }
                }
                Slot::Waiting { .. } | Slot::InFlight => Disposition::Hold(entry.unrecorded.clone()),
            };
            exceptions.push((entry.event.clone(), disposition));
        }
        let open = self.waiting + self.in_flight > 0;
        Part { total: self.entries.len(), exceptions, hold: open.then_some(self.length) }
    }

    /// The store has answered the call under way; `Err` when nothing is known.
    pub fn answered(&mut self, answer: Result<Fenced, ()>, now: Instant, random: f64) -> Answer {
        let Some(call) = self.call.take() else { return Answer::default() };
        let ended = |end| Answer { end: Some(end), ..Answer::default() };
        let lease = match answer {
            Err(()) if now >= self.expires() => return ended(End::GivenUp),
            Err(()) => {
                self.retry_at = Some(now + self.backoff.next_wait(random));
                return Answer::default();
            }
            Ok(Fenced::Lost) => return ended(End::Lost),
            Ok(Fenced::Done(lease)) => lease,
        };
        self.backoff.reset();
        self.retry_at = None;
        let mut answer = Answer::default();
        if let Some(settled) = call.settles {
            for seq in settled {
                match self.entries.remove(&seq).map(|entry| entry.slot) {
                    Some(Slot::Decided(Decision::Retry { due, .. })) => {
                        answer.due = Some(answer.due.map_or(due, |first: Instant| first.min(due)));
                    }
                    Some(Slot::Decided(Decision::Release)) => answer.due = Some(now),
                    Some(Slot::Decided(Decision::Dead(_))) => answer.dead += 1,
                    _ => {}
                }
            }
            for entry in self.entries.values_mut() {
                entry.unrecorded = None;
            }
            self.settled_at = now;
            self.first_retry = self.entries.values().filter_map(retry_due).min();
            if self.entries.is_empty() {
                answer.end = Some(End::Settled);
                return answer;
            }
        }
        match lease {
            Some(lease) => (self.lease, self.granted) = (lease, call.sent),
            None => answer.end = Some(End::Lost),
        }
        answer
    }

    /// When something is to be done that nobody else will announce.
    pub fn wake_at(&self) -> Option<Instant> {
        let call_at = self.call.is_none().then(|| self.retry_at.map_or(self.call_at(), |at| at.max(self.call_at())));
        let held = self.head().filter(|_| self.ordered && self.call.is_none()).and_then(|entry| match entry.slot {
            Slot::Waiting { not_before } => not_before,
            _ => None,
        });
        [call_at, held].into_iter().flatten().min()
    }
}

fn retry_due(entry: &Entry) -> Option<Instant> {
    match &entry.slot {
        Slot::Decided(Decision::Retry { due, .. }) => Some(*due),
        _ => None,
    }
}
