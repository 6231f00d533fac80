//! Looks after the hub's parts: asks each whether it works, and notices one that has died.

use crate::alive::{Alive, LIMIT, Progress};
use actix::dev::ToEnvelope;
use actix::{Actor, Addr, ArbiterHandle, Handler};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a part is looked at for being there at all.
const LOOK: Duration = Duration::from_millis(200);
/// Looks between two questions whether it works.
const ASK_EVERY: u32 = 5;

/// The parts that are looked after.
pub(super) struct Watch {
    progress: Arc<Progress>,
    parts: Vec<Part>,
}

struct Part {
    name: String,
    /// A question is on its way; there is never a second one.
    asked: Arc<AtomicBool>,
    ask: Box<dyn Fn(Answer)>,
    /// Always true for what cannot be asked.
    there: Box<dyn Fn() -> bool>,
}

/// Where a part's answer goes.
struct Answer {
    name: String,
    progress: Arc<Progress>,
    asked: Arc<AtomicBool>,
}

impl Answer {
    fn give(self, answer: Result<(), String>) {
        self.progress.heard(&self.name, answer, Instant::now());
        self.asked.store(false, Ordering::Release);
    }
}

impl Watch {
    /// Looks after nothing yet; what is heard goes to `progress`.
    pub fn new(progress: Arc<Progress>) -> Self {
        Self { progress, parts: Vec::new() }
    }

    /// Looks after an actor.
    pub fn actor<A>(&mut self, name: &str, actor: &Addr<A>)
    where
        A: Actor + Handler<Alive>,
        A::Context: ToEnvelope<A, Alive>,
    {
        let (asked, looked_at) = (actor.clone(), actor.clone());
        let ask = move |answer: Answer| {
            let alive = asked.send(Alive);
            actix::spawn(async move {
                // An error means that it has died, which is looked at elsewhere.
                if let Ok(alive) = alive.await {
                    answer.give(alive);
                }
            });
        };
        self.add(name, Box::new(ask), Box::new(move || looked_at.connected()));
    }

    /// Looks after an arbiter: whether it gets to what it is given.
    pub fn arbiter(&mut self, name: &str, arbiter: &ArbiterHandle) {
        let arbiter = arbiter.clone();
        let ask = move |answer: Answer| {
            arbiter.spawn_fn(move || answer.give(Ok(())));
        };
        self.add(name, Box::new(ask), Box::new(|| true));
    }

    fn add(&mut self, name: &str, ask: Box<dyn Fn(Answer)>, there: Box<dyn Fn() -> bool>) {
        self.progress.heard(name, Ok(()), Instant::now());
        self.parts.push(Part { name: name.to_owned(), asked: Arc::default(), ask, there });
    }

    /// Goes on until a part has died; its name.
    pub async fn until_one_dies(&self) -> &str {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stuck = None;
        let mut look = 0_u32;
        loop {
            looks.tick().await;
            if let Some(part) = self.parts.iter().find(|part| !(part.there)()) {
                return &part.name;
            }
            if look.is_multiple_of(ASK_EVERY) {
                self.ask();
                self.tell(&mut stuck);
            }
            look = look.wrapping_add(1);
        }
    }

    fn ask(&self) {
        for part in self.parts.iter().filter(|part| !part.asked.swap(true, Ordering::AcqRel)) {
            let (name, progress) = (part.name.clone(), Arc::clone(&self.progress));
            (part.ask)(Answer { name, progress, asked: Arc::clone(&part.asked) });
        }
    }

    /// A line when a part comes to a standstill, and one when all work again.
    fn tell(&self, stuck: &mut Option<String>) {
        let now = self.progress.stuck(Instant::now());
        match (&now, &stuck) {
            (Some(part), None) => log::error!("no progress, /readyz is 503: part={part:?}"),
            (None, Some(_)) => log::info!("all parts make progress again: limit={LIMIT:?}"),
            _ => {}
        }
        *stuck = now;
    }
}
