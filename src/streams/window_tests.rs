//! What must hold of a window whatever happens, against a model of the outbox; and how one behaves.

use super::super::settlement::End;
use super::*;
use crate::event::Position;
use crate::store::Disposition;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const LEASE: Duration = Duration::from_secs(60);
const NEED: Duration = Duration::from_secs(15);
const MOMENT: Duration = Duration::from_millis(10);

fn event(position: u64) -> ClaimedEvent {
    ClaimedEvent { position: Position::new(position), payload: Bytes::from_static(b"{}"), attempts: 0 }
}

fn events(positions: std::ops::Range<u64>) -> Vec<ClaimedEvent> {
    positions.map(event).collect()
}

fn failure(attempts: u32) -> Failure {
    Failure { attempts, last_error: "no".into() }
}

fn window(mailbox: usize, ordered: bool, count: u64, now: Instant) -> Window {
    let mut window = Window::new(mailbox);
    window.add(Lease(1.5), now, LEASE, ordered, events(0..count));
    window
}

#[test]
fn a_finished_claim_is_settled_at_once_and_names_exceptions_only() {
    let now = Instant::now();
    let mut window = window(10, false, 3, now);
    for decision in [Decision::Delivered, Decision::Dead(failure(4)), Decision::Delivered] {
        assert!(window.plans(now).is_empty());
        let (key, _) = window.start(now, NEED).unwrap();
        window.decide(key, decision, MOMENT);
    }
    let plans = window.plans(now);
    let part = plans[0].settle.as_ref().unwrap();
    assert_eq!((part.total, part.exceptions.len(), part.hold), (3, 1, None));
    assert!(window.plans(now).is_empty(), "one call at a time");
    assert_eq!(window.held(), 3, "in memory until it is settled");
    let answer = window.answered(plans[0].no, Ok(Fenced::Done(None)), now, 0.0);
    assert_eq!(answer, Answer { end: Some(End::Settled), due: None, dead: 1 });
    assert_eq!(window.held(), 0);
}

#[test]
fn a_slow_event_does_not_keep_the_others_of_its_claim() {
    let now = Instant::now();
    let mut window = window(10, false, 3, now);
    let keys: Vec<Key> = (0..3).map(|_| window.start(now, NEED).unwrap().0).collect();
    window.decide(keys[0], Decision::Delivered, MOMENT);
    window.decide(keys[2], Decision::Retry { due: now + MOMENT, failure: failure(1) }, MOMENT);
    assert!(window.plans(now).is_empty());
    let later = window.wake_at().unwrap();
    assert!(later < now + Duration::from_secs(1));
    let plan = window.plans(later).remove(0);
    let part = plan.settle.unwrap();
    assert_eq!((part.total, part.hold), (3, Some(LEASE)));
    assert!(matches!(part.exceptions[0], (_, Disposition::Hold(None))));
    assert!(matches!(part.exceptions[1], (_, Disposition::Retry { after: Duration::ZERO, .. })));
    let answer = window.answered(plan.no, Ok(Fenced::Done(Some(Lease(2.5)))), later, 0.0);
    assert_eq!(answer, Answer { end: None, due: Some(now + MOMENT), dead: 0 });
    window.decide(keys[1], Decision::Delivered, MOMENT);
    let plan = window.plans(later).remove(0);
    assert_eq!((plan.lease, plan.settle.unwrap().total), (Lease(2.5), 1));
}

#[test]
fn a_claim_is_renewed_after_a_third_and_starts_nothing_on_a_short_lease() {
    let now = Instant::now();
    let mut window = window(10, false, 3, now);
    assert_eq!(window.wake_at(), Some(now + LEASE / 3));
    let later = now + LEASE / 3;
    let plan = window.plans(later).remove(0);
    assert!(plan.settle.is_none());
    assert_eq!(window.answered(plan.no, Err(()), later, 0.0), Answer::default());
    let again = window.wake_at().unwrap();
    assert!(again > later && again < later + Duration::from_secs(1));
    let short = now + LEASE - NEED + Duration::from_secs(1);
    assert!(window.start(short, NEED).is_none());
    let plan = window.plans(short).remove(0);
    window.answered(plan.no, Ok(Fenced::Done(Some(Lease(2.5)))), short, 0.0);
    assert!(window.start(short, NEED).is_some());
}

#[test]
fn a_lost_claim_is_dropped_and_its_attempts_concern_nobody() {
    let now = Instant::now();
    let mut window = window(10, false, 3, now);
    let (key, _) = window.start(now, NEED).unwrap();
    let plan = window.plans(now + LEASE / 2).remove(0);
    assert_eq!(window.answered(plan.no, Ok(Fenced::Lost), now, 0.0).end, Some(End::Lost));
    assert_eq!((window.held(), window.waiting(), window.in_flight()), (1, 0, 1));
    window.decide(key, Decision::Delivered, MOMENT);
    assert_eq!(window.held(), 0);
    assert!(window.plans(now).is_empty());
}

#[test]
fn a_store_that_stays_away_is_given_up_when_the_lease_has_passed() {
    let now = Instant::now();
    let mut window = window(10, false, 1, now);
    let (key, _) = window.start(now, NEED).unwrap();
    window.decide(key, Decision::Delivered, MOMENT);
    let mut at = now;
    let mut calls = 0;
    loop {
        let plan = window.plans(at).remove(0);
        calls += 1;
        if let Some(end) = window.answered(plan.no, Err(()), at, 0.5).end {
            assert_eq!(end, End::GivenUp);
            break;
        }
        at = window.wake_at().unwrap();
    }
    assert!(at >= now + LEASE && (10..100).contains(&calls), "{calls}");
}

#[test]
fn an_ordered_claim_repeats_a_failed_event_before_anything_newer() {
    let now = Instant::now();
    let mut window = window(10, true, 3, now);
    let (first, event) = window.start(now, NEED).unwrap();
    assert_eq!(event.position, Position::new(0));
    assert!(window.start(now, NEED).is_none(), "one at a time");
    let until = now + Duration::from_secs(5);
    window.postpone(first, until, failure(1));

    let plan = window.plans(now).remove(0);
    let part = plan.settle.unwrap();
    assert!(matches!(&part.exceptions[0], (_, Disposition::Hold(Some(f))) if f.attempts == 1));
    assert!(part.exceptions[1..].iter().all(|(_, d)| matches!(d, Disposition::Hold(None))));
    assert_eq!((part.total, part.exceptions.len(), part.hold), (3, 3, Some(LEASE)));
    window.answered(plan.no, Ok(Fenced::Done(Some(Lease(2.5)))), now, 0.0);

    assert!(window.start(now, NEED).is_none());
    assert_eq!(window.wake_at(), Some(until));
    let (again, event) = window.start(until, NEED).unwrap();
    assert_eq!((again, event.attempts), (first, 1));
    window.decide(again, Decision::Delivered, MOMENT);
    assert_eq!(window.start(until, NEED).unwrap().1.position, Position::new(1));
}

#[test]
fn an_ordered_claim_is_given_back_whole() {
    let now = Instant::now();
    let mut window = window(10, true, 3, now);
    let (key, _) = window.start(now, NEED).unwrap();
    window.give_back();
    assert!(window.plans(now).is_empty(), "an attempt is under way");
    window.decide(key, Decision::Delivered, MOMENT);
    assert!(window.start(now, NEED).is_none());
    let plan = window.plans(now).remove(0);
    let part = plan.settle.unwrap();
    assert_eq!((part.total, part.exceptions.len(), part.hold), (3, 2, None));
    assert!(part.exceptions.iter().all(|(_, disposition)| matches!(disposition, Disposition::Release)));
    let answer = window.answered(plan.no, Ok(Fenced::Done(None)), now, 0.0);
    assert_eq!((answer.end, window.held()), (Some(End::Settled), 0));
}

#[test]
fn a_failure_is_recorded_before_its_ordered_claim_is_given_back() {
    let now = Instant::now();
    let mut window = window(10, true, 2, now);
    let (key, _) = window.start(now, NEED).unwrap();
    window.postpone(key, now, failure(1));
    window.give_back();
    let plan = window.plans(now).remove(0);
    let part = plan.settle.as_ref().unwrap();
    assert!(matches!(part.exceptions[0], (_, Disposition::Hold(Some(_)))));
    assert_eq!(window.answered(plan.no, Ok(Fenced::Done(Some(Lease(2.5)))), now, 0.0).end, None);
    let plan = window.plans(now).remove(0);
    let part = plan.settle.unwrap();
    assert_eq!((part.total, part.exceptions.len(), part.hold), (2, 2, None));
}

#[test]
fn a_claim_is_about_a_third_of_a_lease_and_never_more_than_fits() {
    let mut window = Window::new(1024);
    assert_eq!(window.ask(16, LEASE), Some(32), "nothing is known yet");
    assert_eq!(window.ask(16, LEASE), None, "one is under way");
    window.asked_in_vain();
    window.pace.seconds = Some(4.0);
    assert_eq!(window.ask(16, LEASE), Some(80), "16 at a time, 4 s each, 20 s");
    window.asked_in_vain();
    window.pace.seconds = Some(0.001);
    assert_eq!(window.ask(16, LEASE), Some(256), "a quarter of the mailbox");
    window.asked_in_vain();
    window.pace.bytes = Some(1e6);
    assert_eq!(window.ask(16, LEASE), Some(67), "64 MiB");
    window.add(Lease(1.5), Instant::now(), LEASE, false, events(0..67));
    window.pace = Pace { seconds: Some(4.0), bytes: None };
    assert_eq!(window.ask(16, LEASE), None, "what waits is enough");
    let mut small = Window::new(3);
    assert_eq!(small.ask(16, LEASE), Some(3));
}

#[derive(Debug, Clone)]
enum Step {
    Claim,
    Start,
    Decide(usize, u8),
    GiveBack,
    Calls(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Claim),
        6 => Just(Step::Start),
        6 => (any::<usize>(), any::<u8>()).prop_map(|(which, how)| Step::Decide(which, how)),
        1 => Just(Step::GiveBack),
        4 => any::<u8>().prop_map(Step::Calls),
        2 => (0u64..30_000).prop_map(Step::Wait),
    ]
}

/// The outbox as the store keeps it: what is out under which lease, and what became of the rest.
#[derive(Default)]
struct Outbox {
    leased: BTreeMap<u64, BTreeSet<u64>>,
    leases: f64,
    delivered: BTreeSet<u64>,
    ended: BTreeSet<u64>,
}

impl Outbox {
    fn lease(&mut self, events: BTreeSet<u64>) -> Lease {
        self.leases += 1.0;
        self.leased.insert(self.leases as u64, events);
        Lease(self.leases)
    }

    fn settle(&mut self, plan: &Plan) -> Fenced {
        let Some(mut held) = self.leased.remove(&(plan.lease.0 as u64)) else { return Fenced::Lost };
        let Some(part) = &plan.settle else { return Fenced::Done(Some(self.lease(held))) };
        assert_eq!(part.total, held.len(), "a settle names exactly what the claim holds");
        let mut kept = BTreeSet::new();
        for (event, disposition) in &part.exceptions {
            assert!(held.remove(&event.position.get()), "named once, and of this claim");
            match disposition {
                Disposition::Hold(_) => {
                    assert!(part.hold.is_some());
                    kept.insert(event.position.get());
                }
                _ => assert!(self.ended.insert(event.position.get()), "ended once"),
            }
        }
        for delivered in held {
            assert!(self.delivered.insert(delivered), "delivered once");
        }
        Fenced::Done((!kept.is_empty()).then(|| self.lease(kept)))
    }
}

proptest! {
    #[test]
    fn every_event_is_decided_once_and_the_window_keeps_its_bound(
        mailbox in 1usize..40, concurrency in 1usize..8, steps in prop::collection::vec(step(), 1..300),
    ) {
        let ordered = concurrency == 1;
        let mut window = Window::new(mailbox);
        let mut outbox = Outbox::default();
        let mut now = Instant::now();
        let (mut next, mut flying) = (0u64, Vec::new());
        let mut delivered = BTreeSet::new();
        for step in steps {
            match step {
                // Ordered streams have one claim at a time.
                Step::Claim if ordered && window.held() > 0 => {}
                Step::Claim => if let Some(count) = window.ask(concurrency, LEASE) {
                    prop_assert!(window.held() + count <= mailbox);
                    let given = next..next + count as u64;
                    next = given.end;
                    let lease = outbox.lease(given.clone().collect());
                    window.add(lease, now, LEASE, ordered, events(given));
                },
                Step::Start if window.in_flight() < concurrency => {
                    if let Some((key, event)) = window.start(now, NEED) {
                        prop_assert!(!delivered.contains(&event.position.get()));
                        flying.push((key, event.position.get()));
                    }
                }
                Step::Start => {}
                Step::Decide(which, how) if !flying.is_empty() => {
                    let (key, position) = flying.swap_remove(which % flying.len());
                    match how % 4 {
                        0 if ordered => window.postpone(key, now + MOMENT, failure(1)),
                        0 => window.decide(key, Decision::Retry { due: now, failure: failure(1) }, MOMENT),
                        1 => window.decide(key, Decision::Dead(failure(9)), MOMENT),
                        _ => {
                            delivered.insert(position);
                            window.decide(key, Decision::Delivered, MOMENT);
                        }
                    }
                }
                Step::Decide(..) => {}
                Step::GiveBack => window.give_back(),
                Step::Calls(how) => for plan in window.plans(now) {
                    // The store is away, has done it and the answer is lost, or has given it to another.
                    let answer = match how % 6 {
                        0 => Err(()),
                        1 => { outbox.leased.remove(&(plan.lease.0 as u64)); Ok(Fenced::Lost) }
                        _ => Ok(outbox.settle(&plan)),
                    };
                    window.answered(plan.no, answer, now, 0.0);
                },
                Step::Wait(ms) => now += Duration::from_millis(ms),
            }
            prop_assert!(window.held() <= mailbox);
            prop_assert!(window.in_flight() <= concurrency);
            prop_assert_eq!(window.in_flight(), flying.len());
            prop_assert!(window.waiting() + window.in_flight() <= window.held());
        }
        prop_assert!(outbox.delivered.is_subset(&delivered), "nothing counts as delivered that was not");
    }
}
