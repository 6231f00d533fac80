//! Anything in any order on one stream, beside a model of what should come of it.

use crate::kit::*;
use event_source_api::event::{Millis, Position, Ttl};
use event_source_api::store::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where the model has an event.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// In the outbox: failed attempts so far, and whether it is due.
    Waits(u32, bool),
    /// In this claim.
    Held(u32, usize),
    Delivered,
    Dead(Failure),
    Dropped,
}

struct Model {
    store: Arc<dyn Store>,
    hook: StreamKey,
    dice: Dice,
    events: BTreeMap<Position, Place>,
    claims: BTreeMap<usize, Claim>,
    given: usize,
    delivered: u64,
    failed: u64,
}

impl Model {
    fn find(&self, wanted: impl Fn(&Place) -> bool) -> Vec<Position> {
        self.events.iter().filter(|(_, place)| wanted(place)).map(|(position, _)| *position).collect()
    }

    fn count(&self, wanted: impl Fn(&Place) -> bool) -> u64 {
        self.find(wanted).len() as u64
    }

    fn some(&mut self) -> Vec<Position> {
        let dice = &mut self.dice;
        self.events.keys().copied().filter(|_| dice.throw(3) == 0).collect()
    }

    fn letters(&mut self) -> (Letters, Vec<Position>) {
        let dead = self.find(|place| matches!(place, Place::Dead(_)));
        match self.dice.throw(3) {
            0 => (Letters::All, dead),
            _ => {
                let named = self.some();
                (Letters::Some(named.clone()), dead.into_iter().filter(|at| named.contains(at)).collect())
            }
        }
    }

    fn put(&mut self, positions: &[Position], place: Place) {
        self.events.extend(positions.iter().map(|position| (*position, place.clone())));
    }

    async fn turn(&mut self) -> &'static str {
        match self.dice.throw(20) {
            0..4 => {
                let count = 1 + self.dice.throw(20) as usize;
                let new = append(&self.store, group(self.hook.type_no.get(), count, &["hook"])).await;
                self.put(&new, Place::Waits(0, true));
                "append"
            }
            4..9 => self.claim().await,
            9..14 => self.settle().await,
            14 => {
                let (named, expected) = self.letters();
                let done = self.store.retry_dead(&self.hook, named).await.expect("an answer");
                assert_eq!(done, expected.len() as u64);
                self.put(&expected, Place::Waits(0, true));
                "retry"
            }
            15 => {
                let (named, expected) = self.letters();
                let done = self.store.delete_dead(&self.hook, named).await.expect("an answer");
                assert_eq!(done, expected.len() as u64);
                self.put(&expected, Place::Dropped);
                "delete"
            }
            16 | 17 => self.replay().await,
            18 => {
                self.store.make_due(&self.hook).await.expect("an answer");
                for place in self.events.values_mut() {
                    if let Place::Waits(_, due) = place {
                        *due = true;
                    }
                }
                "make_due"
            }
            _ if self.dice.throw(3) == 0 => self.bury().await,
            _ => "nothing",
        }
    }

    async fn claim(&mut self) -> &'static str {
        let max = 1 + self.dice.throw(30) as usize;
        let claim = self.store.claim(claim(&self.hook, max)).await.expect("a claim");
        let due = self.count(|place| matches!(place, Place::Waits(_, true)));
        assert!(claim.events.len() <= max);
        assert_eq!(claim.events.is_empty(), due == 0, "{due} are due");
        for event in &claim.events {
            let Some(Place::Waits(attempts, true)) = self.events.get(&event.position) else {
                panic!("claimed {:?}, which is {:?}", event.position, self.events.get(&event.position))
            };
            assert_eq!(event.attempts, *attempts);
            self.events.insert(event.position, Place::Held(event.attempts, self.given));
        }
        if claim.lease.is_some() {
            self.claims.insert(self.given, claim);
            self.given += 1;
        }
        "claim"
    }

    async fn settle(&mut self) -> &'static str {
        let nth = self.dice.throw(self.claims.len().max(1) as u64) as usize;
        let Some(number) = self.claims.keys().nth(nth).copied() else { return "nothing" };
        let claim = self.claims.remove(&number).expect("a claim");
        let lost = claim
            .events
            .iter()
            .any(|event| !matches!(self.events.get(&event.position), Some(Place::Held(_, by)) if *by == number));
        let mut exceptions = Vec::new();
        let mut places = Vec::new();
        let mut failed = 0;
        for event in &claim.events {
            let failure = failure(event.attempts + 1, "no");
            let later = self.dice.throw(2) == 0;
            let (what, place) = match self.dice.throw(8) {
                0 => (Disposition::Release, Place::Waits(event.attempts, true)),
                1 | 2 => {
                    failed += 1;
                    let after = Duration::from_secs(if later { 3600 } else { 0 });
                    (Disposition::Retry { after, failure }, Place::Waits(event.attempts + 1, !later))
                }
                3 | 4 => {
                    failed += 1;
                    (Disposition::Dead(failure.clone()), Place::Dead(failure))
                }
                _ => {
                    places.push((event.position, Place::Delivered));
                    continue;
                }
            };
            exceptions.push((event.clone(), what));
            places.push((event.position, place));
        }
        let settle = Settle { exceptions, ..delivered(&self.hook, &claim) };
        let answer = self.store.settle(settle).await.expect("an answer");
        assert_eq!(answer, if lost { Fenced::Lost } else { Fenced::Done(None) });
        if !lost {
            self.failed += failed;
            self.delivered += places.iter().filter(|(_, place)| *place == Place::Delivered).count() as u64;
            self.events.extend(places);
        }
        "settle"
    }

    async fn replay(&mut self) -> &'static str {
        let all: Vec<_> = self.events.keys().copied().collect();
        if all.is_empty() {
            return "nothing";
        }
        let mut pick = || all[self.dice.throw(all.len() as u64) as usize].ms();
        let (mut from, mut to) = (pick(), pick());
        if self.dice.throw(4) == 0 {
            (from, to) = (0, Millis::MAX);
        }
        let dry_run = self.dice.throw(3) == 0;
        let asked = Replay { stream: self.hook.clone(), ttl: Ttl::permanent(), from, to, dry_run };
        let queued: Vec<_> = self.find(|place| !matches!(place, Place::Waits(..) | Place::Held(..)));
        let queued: Vec<_> = queued.into_iter().filter(|at| at.ms() >= from && at.ms() < to).collect();
        let answer = self.store.replay(asked).await.expect("an answer");
        assert_eq!(answer, Replayed::Queued(queued.len() as u64));
        if !dry_run {
            self.put(&queued, Place::Waits(0, true));
        }
        "replay"
    }

    async fn bury(&mut self) -> &'static str {
        let waiting = self.find(|place| matches!(place, Place::Waits(..) | Place::Held(..)));
        assert_eq!(self.store.bury(&self.hook, "buried").await.expect("an answer"), waiting.len() as u64);
        for position in waiting {
            let failure = match self.events[&position] {
                Place::Waits(attempts, _) | Place::Held(attempts, _) if attempts > 0 => failure(attempts, "no"),
                _ => failure(0, "buried"),
            };
            self.events.insert(position, Place::Dead(failure));
        }
        "bury"
    }

    async fn check_counts(&self) {
        let waits = |place: &Place| matches!(place, Place::Waits(..) | Place::Held(..));
        let expected = StreamCounts {
            backlog: self.count(waits),
            delivered: self.delivered,
            failed: self.failed,
            dead: self.count(|place| matches!(place, Place::Dead(_))),
            oldest: self.find(waits).first().map(|position| position.ms()),
        };
        assert_eq!(counts(&self.store, &self.hook).await, expected);
    }

    async fn check_states(&self) {
        for (position, place) in &self.events {
            let state = state(&self.store, &self.hook, *position).await;
            let right = match (place, &state) {
                (Place::Waits(attempts, _), DeliveryState::Pending { failed, next_attempt_at: Some(_) })
                | (Place::Held(attempts, _), DeliveryState::Pending { failed, next_attempt_at: None }) => {
                    failed.as_ref().map_or(0, |failure| failure.attempts) == *attempts
                }
                (Place::Dead(failure), DeliveryState::Dead(found)) => failure == found,
                (Place::Delivered, DeliveryState::Delivered) | (Place::Dropped, DeliveryState::Dropped) => true,
                _ => false,
            };
            assert!(right, "{position:?} should be {place:?} and is {state:?}");
        }
        let dead = self.find(|place| matches!(place, Place::Dead(_)));
        assert_eq!(letters(&self.store, &self.hook).await, dead);
    }
}

pub async fn states_and_counters_agree_whatever_is_done<H: Home>() {
    for seed in 0..4 {
        let (_home, store) = fresh::<H>();
        let mut model = Model {
            store,
            hook: stream(5, "hook"),
            dice: Dice(seed),
            events: BTreeMap::new(),
            claims: BTreeMap::new(),
            given: 0,
            delivered: 0,
            failed: 0,
        };
        let mut done = Vec::new();
        for turn in 0..150 {
            done.push(model.turn().await);
            println!("seed {seed}, turn {turn}: {}", done[turn]);
            model.check_counts().await;
            if turn % 15 == 14 {
                model.check_states().await;
            }
        }
    }
}
