//! The checks on made-up evidence: each broken promise is found, as what it is, and a kept one is not.

use crate::check::{Evidence, Stored, Violation, check, figures};
use crate::ledger::{Ledger, Mark};
use crate::receiver::{Arrival, Outcome};
use crate::scenario::{STREAMS, TYPES};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// The ordered type, and its ordered webhook.
const TYPE: usize = 1;
const STREAM: usize = 3;

/// Mark of the event that is given `id`.
fn mark(id: u64) -> Mark {
    Mark::new(id, 0, 0)
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn result(id: u64, status: &str) -> serde_json::Value {
    json!({"id": id.to_string(), "type": TYPES[TYPE].name, "status": status})
}

/// Events 1 to `n`, one sent and acknowledged after the other.
fn ledger(n: u64) -> Ledger {
    let mut ledger = Ledger::default();
    for id in 1..=n {
        ledger.sends(mark(id), TYPE, true, at(2 * id));
        assert!(ledger.answered(mark(id), &result(id, "accepted"), at(2 * id + 1)));
    }
    ledger
}

fn arrival(id: u64, outcome: Outcome) -> Arrival {
    Arrival { id, mark: mark(id), outcome }
}

/// All stored, and delivered as listed.
fn evidence<'a>(ledger: &'a Ledger, delivered: &[u64]) -> Evidence<'a> {
    let mut arrivals = vec![Vec::new(); STREAMS.len()];
    arrivals[STREAM] = delivered.iter().map(|id| arrival(*id, Outcome::Delivered)).collect();
    let mut feed = Vec::new();
    for (mark, sent) in ledger.events() {
        feed.extend(sent.acknowledged.map(|(id, _)| Stored { id, mark: *mark, ty: TYPE }));
    }
    let (said, bounds) = (vec![HashMap::new(); STREAMS.len()], vec![2; STREAMS.len()]);
    Evidence { ledger, streams: vec![STREAM], feed, arrivals, said, bounds }
}

#[test]
fn a_kept_promise_is_none_broken() {
    let ledger = ledger(4);
    assert_eq!(check(&evidence(&ledger, &[1, 2, 3, 4])), []);
    // After a fault it begins again at an older one.
    let evidence = evidence(&ledger, &[1, 2, 3, 2, 3, 4]);
    assert_eq!(check(&evidence), []);
    assert_eq!(figures(&evidence, STREAM).repeated, 2);
}

#[test]
fn what_is_in_no_feed_is_found() {
    let ledger = ledger(3);
    let mut evidence = evidence(&ledger, &[1, 3]);
    evidence.feed.retain(|event| event.id != 2);
    assert_eq!(check(&evidence), [Violation::NotStored { id: 2, mark: mark(2) }]);
}

#[test]
fn what_never_arrived_is_found_unless_it_is_a_dead_letter() {
    let ledger = ledger(3);
    let mut evidence = evidence(&ledger, &[1]);
    evidence.said[STREAM] = HashMap::from([(2, "delivered".to_owned()), (3, "dead".to_owned())]);
    let said = "delivered".to_owned();
    assert_eq!(check(&evidence), [Violation::NotDelivered { stream: STREAM, id: 2, said }]);
    evidence.arrivals[STREAM].push(arrival(2, Outcome::Failed));
    assert_eq!(check(&evidence).len(), 1, "a failed attempt is no delivery");
    evidence.arrivals[STREAM].push(arrival(2, Outcome::Cut));
    assert_eq!(check(&evidence), [], "a 200 is one, however its body ended");
}

#[test]
fn an_attempt_before_an_older_event_is_delivered_is_out_of_order() {
    let ledger = ledger(3);
    let skipped = [Violation::OutOfOrder { stream: STREAM, id: 3, older: 2 }];
    assert_eq!(check(&evidence(&ledger, &[1, 3, 2])), skipped);
    let mut evidence = evidence(&ledger, &[1]);
    let tried = [arrival(2, Outcome::Failed), arrival(3, Outcome::Failed)];
    evidence.arrivals[STREAM].extend(tried);
    evidence.arrivals[STREAM].extend([arrival(2, Outcome::Delivered), arrival(3, Outcome::Delivered)]);
    assert_eq!(check(&evidence), skipped, "also when it fails");
}

#[test]
fn more_repeated_than_was_in_flight_is_too_many() {
    let ledger = ledger(2);
    let evidence = evidence(&ledger, &[1, 1, 1, 1, 2]);
    assert_eq!(check(&evidence), [Violation::TooManyRepeated { stream: STREAM, repeated: 3, bound: 2 }]);
}

#[test]
fn what_was_stored_twice_or_never_sent_is_found() {
    let ledger = ledger(2);
    let mut evidence = evidence(&ledger, &[1, 2, 3]);
    evidence.feed.push(Stored { id: 3, mark: mark(2), ty: TYPE });
    evidence.arrivals[STREAM][2].mark = mark(2);
    let twice = Violation::StoredTwice { mark: mark(2), ids: (2, 3) };
    assert!(check(&evidence).contains(&twice), "{:?}", check(&evidence));
    evidence.feed.pop();
    assert!(check(&evidence).contains(&Violation::Phantom { stream: STREAM, id: 3 }), "{:?}", check(&evidence));
    evidence.arrivals[STREAM][2].mark = mark(3);
    assert_eq!(check(&evidence), [Violation::NeverSent { id: 3, mark: mark(3) }]);
}

#[test]
fn an_id_of_another_event_is_found() {
    let ledger = ledger(2);
    let mut evidence = evidence(&ledger, &[1, 2]);
    evidence.arrivals[STREAM][1].mark = mark(1);
    assert!(check(&evidence).contains(&Violation::Confused { id: 2, promised: mark(2), found: mark(1) }));
}

#[test]
fn ids_that_fall_are_found_within_a_batch_and_between_sends() {
    let mut ledger = Ledger::default();
    ledger.sends(mark(5), TYPE, false, at(1));
    ledger.answered(mark(5), &result(5, "accepted"), at(2));
    ledger.sends(mark(4), TYPE, false, at(3));
    ledger.answered(mark(4), &result(4, "accepted"), at(4));
    let sent_later = evidence(&ledger, &[4, 5]);
    assert_eq!(check(&sent_later), [Violation::IdFell { id: 4, below: 5 }]);

    let mut ledger = Ledger::default();
    for (item, id) in [(0, 8), (1, 7)] {
        ledger.sends(Mark::new(1, 1, item), TYPE, false, at(1));
        ledger.answered(Mark::new(1, 1, item), &result(id, "accepted"), at(2));
    }
    let mut batch = evidence(&ledger, &[7, 8]);
    batch.arrivals[STREAM][0].mark = Mark::new(1, 1, 1);
    batch.arrivals[STREAM][1].mark = Mark::new(1, 1, 0);
    assert_eq!(check(&batch), [Violation::IdFell { id: 7, below: 8 }]);
}

#[test]
fn a_key_with_two_ids_and_a_wrong_answer_are_found() {
    let mut ledger = ledger(1);
    assert!(ledger.answered(mark(1), &result(1, "duplicate"), at(9)));
    assert_eq!((ledger.violations(), ledger.repeated()), (&[][..], 1));
    ledger.answered(mark(1), &result(2, "duplicate"), at(9));
    assert_eq!(ledger.violations(), [Violation::KeyWithTwoIds { mark: mark(1), ids: (1, 2) }]);
    ledger.answered(mark(1), &json!({"type": TYPES[TYPE].name, "status": "discarded"}), at(9));
    assert!(matches!(ledger.violations(), [_, Violation::Unexpected(_)]));
}
