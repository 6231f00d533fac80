//! The window of a stream: all its claims together, bounded by `mailbox`.
//!
//! Pure: time is a parameter. What is held here is what is in memory: claimed and waiting, in flight,
//! or decided and not yet settled.

use super::held::Held;
use super::settlement::{Answer, Decision, Plan};
use crate::store::{ClaimedEvent, Failure, Fenced, Lease};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Most bytes of payload that a window is filled with, by the size of the events seen so far.
const MAX_BYTES: usize = 64 << 20;
/// Weight of the newest observation in a running mean.
const NEWEST: f64 = 0.1;

/// Where an event under way belongs: its claim, and its place there.
pub(super) type Key = (u64, u32);

/// What is claimed.
#[derive(Debug)]
pub(super) struct Window {
    mailbox: usize,
    /// By age.
    claims: BTreeMap<u64, Held>,
    next_no: u64,
    /// Asked for by a claim under way.
    asked: usize,
    /// Attempts still under way of claims that are gone; their outcomes concern nobody.
    orphans: usize,
    pace: Pace,
}

/// How fast the stream is, by what it has delivered.
#[derive(Debug, Default)]
struct Pace {
    /// Mean time of an attempt in seconds.
    seconds: Option<f64>,
    /// Mean size of a payload in bytes.
    bytes: Option<f64>,
}

fn mean(of: Option<f64>, newest: f64) -> Option<f64> {
    Some(of.map_or(newest, |mean| mean + NEWEST * (newest - mean)))
}

impl Window {
    /// An empty window for at most `mailbox` events.
    pub fn new(mailbox: usize) -> Self {
        Self { mailbox, claims: BTreeMap::new(), next_no: 0, asked: 0, orphans: 0, pace: Pace::default() }
    }

    /// From now on at most so many; what is held already stays.
    pub fn resize(&mut self, mailbox: usize) {
        self.mailbox = mailbox;
    }

    /// Events in memory.
    pub fn held(&self) -> usize {
        self.claims.values().map(Held::len).sum::<usize>() + self.orphans
    }

    /// Events that wait for an attempt.
    pub fn waiting(&self) -> usize {
        self.claims.values().map(Held::waiting).sum()
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> usize {
        self.claims.values().map(Held::in_flight).sum::<usize>() + self.orphans
    }

    /// How many events to claim now, so that what is delivered in a third of a lease waits here: at least
    /// `concurrency`, at most what fits. `None` while there is enough to do. Until [`add`](Self::add) or
    /// [`asked_in_vain`](Self::asked_in_vain) the room is taken.
    pub fn ask(&mut self, concurrency: usize, lease: Duration) -> Option<usize> {
        if self.asked > 0 {
            return None;
        }
        let by_pace = match self.pace.seconds {
            Some(seconds) => concurrency as f64 * lease.as_secs_f64() / 3.0 / seconds.max(1e-6),
            None => concurrency as f64 * 2.0,
        };
        let by_size = self.pace.bytes.map_or(MAX_BYTES as f64, |bytes| MAX_BYTES as f64 / bytes.max(1.0));
        let target = (by_pace.max(concurrency as f64).min(by_size) as usize).max(1);
        // Several claims overlap, so that one is settled while the next is delivered.
        let share = self.mailbox.div_ceil(4).max(concurrency).min(target);
        let waiting = self.waiting();
        let room = self.mailbox.saturating_sub(self.held());
        let want = target.saturating_sub(waiting).min(share).min(room);
        // A call of the store for a few events is worth it only when there is little else to do.
        if want == 0 || (waiting >= concurrency && want < share.min(target.div_ceil(4))) {
            return None;
        }
        self.asked = want;
        Some(want)
    }

    /// Room for exactly one event, for a probe: only when nothing else is held.
    pub fn ask_one(&mut self) -> Option<usize> {
        let free = self.asked == 0 && self.waiting() == 0 && self.held() < self.mailbox;
        free.then(|| {
            self.asked = 1;
            1
        })
    }

    /// The claim under way gave nothing.
    pub fn asked_in_vain(&mut self) {
        self.asked = 0;
    }

    /// Takes in what a claim, sent at `sent`, has given.
    pub fn add(&mut self, lease: Lease, sent: Instant, length: Duration, ordered: bool, events: Vec<ClaimedEvent>) {
        self.asked = 0;
        for event in &events {
            self.pace.bytes = mean(self.pace.bytes, event.payload.len() as f64);
        }
        let no = self.next_no;
        self.next_no += 1;
        self.claims.insert(no, Held::new(no, lease, sent, length, ordered, events));
    }

    /// The next event to try: of the oldest claim first, in commit order.
    pub fn start(&mut self, now: Instant, need: Duration) -> Option<(Key, ClaimedEvent)> {
        self.claims.iter_mut().find_map(|(&no, claim)| {
            let (seq, event) = claim.start(now, need)?;
            Some(((no, seq), event))
        })
    }

    /// An attempt has ended with its event decided.
    pub fn decide(&mut self, key: Key, decision: Decision, took: Duration) {
        self.pace.seconds = mean(self.pace.seconds, took.as_secs_f64());
        match self.claims.get_mut(&key.0) {
            Some(claim) => claim.decide(key.1, decision),
            None => self.orphans = self.orphans.saturating_sub(1),
        }
    }

    /// An attempt has failed and is repeated from here.
    pub fn postpone(&mut self, key: Key, until: Instant, failure: Failure) {
        match self.claims.get_mut(&key.0) {
            Some(claim) => claim.postpone(key.1, until, failure),
            None => self.orphans = self.orphans.saturating_sub(1),
        }
    }

    /// An attempt was cut short: its event has not been tried.
    pub fn untried(&mut self, key: Key) {
        match self.claims.get_mut(&key.0) {
            Some(claim) => claim.untried(key.1),
            None => self.orphans = self.orphans.saturating_sub(1),
        }
    }

    /// What waits for another attempt here need not wait longer than `until`.
    pub fn hurry(&mut self, until: Instant) {
        self.claims.values_mut().for_each(|claim| claim.hurry(until));
    }

    /// Everything that waits goes back to the outbox.
    pub fn give_back(&mut self) {
        self.claims.values_mut().for_each(Held::give_back);
    }

    /// Store calls that are due, each under way until [`answered`](Self::answered).
    pub fn plans(&mut self, now: Instant) -> Vec<Plan> {
        self.claims.values_mut().filter_map(|claim| claim.plan(now)).collect()
    }

    /// The store has answered a claim's call; `Err` when nothing is known.
    pub fn answered(&mut self, no: u64, answer: Result<Fenced, ()>, now: Instant, random: f64) -> Answer {
        let Some(claim) = self.claims.get_mut(&no) else { return Answer::default() };
        let answer = claim.answered(answer, now, random);
        if answer.end.is_some() {
            self.orphans += claim.in_flight();
            self.claims.remove(&no);
        }
        answer
    }

    /// Forgets every claim: their leases pass, and their events come due again.
    pub fn abandon(&mut self) {
        self.orphans += self.claims.values().map(Held::in_flight).sum::<usize>();
        self.claims.clear();
    }

    /// When something is to be done that nobody else will announce.
    pub fn wake_at(&self) -> Option<Instant> {
        self.claims.values().filter_map(Held::wake_at).min()
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
