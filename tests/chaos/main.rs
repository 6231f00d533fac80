//! The hub's promise, proved under faults: what was answered with 202 is in the feed and arrives, or is a dead letter.
//!
//! A program derived from a seed sends under load while it kills and freezes hubs, kills Redis, stops RabbitMQ, and lets
//! webhooks refuse, hang, drop connections and answer without end; then it checks everything that was promised.
//! `make chaos` runs it longer. In the environment: `CHAOS_SEED`, `CHAOS_EVENTS` and `CHAOS_FAULTS` (of the run on Redis;
//! the one on the embedded store takes a part of them). A seed gives the same plan and the same senders; how they meet
//! is up to the machine.
//!
//! | file | what |
//! | --- | --- |
//! | `scenario` | types and streams |
//! | `plan`, `faults` | what is to go wrong, and doing it |
//! | `world` | the servers |
//! | `load`, `ledger` | senders, and what they were promised |
//! | `receiver` | the webhooks |
//! | `evidence`, `check`, `report` | what is there at the end, what is wrong with it, and telling so |
//! | `thief` | losing events on purpose, to see that it is found |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows the log of the hub it failed on"
)]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod check_tests;
mod evidence;
mod faults;
mod ledger;
mod load;
mod plan;
mod program;
mod receiver;
mod report;
mod scenario;
mod thief;
mod world;

use check::Violation;
use plan::Shape;
use program::{Program, Verdict};
use std::collections::BTreeSet;
use thief::Theft;

/// Of the runs in `make test`.
const SEED: u64 = 2018;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")),
        Err(_) => default,
    }
}

fn assert_kept(verdict: Verdict) {
    assert!(verdict.violations.is_empty(), "{}", verdict.report);
    verdict.forget();
}

#[actix_web::test]
async fn nothing_is_lost_on_redis_with_two_nodes() {
    let program = Program {
        name: "redis",
        seed: setting("CHAOS_SEED", SEED),
        events: setting("CHAOS_EVENTS", 20_000),
        faults: setting("CHAOS_FAULTS", 24) as usize,
        shape: Shape { nodes: 2, redis: true, rabbit: true },
        theft: None,
    };
    assert_kept(program.run().await);
}

#[actix_web::test]
async fn nothing_is_lost_on_the_embedded_store() {
    let faults = setting("CHAOS_FAULTS", 24) as usize;
    let program = Program {
        name: "embedded",
        seed: setting("CHAOS_SEED", SEED),
        events: setting("CHAOS_EVENTS", 20_000) / 4,
        faults: faults / 2,
        // A second RabbitMQ is much to start for a short run, and which store is behind makes no difference to it.
        shape: Shape { nodes: 1, redis: false, rabbit: faults > 24 },
        theft: None,
    };
    assert_kept(program.run().await);
}

#[actix_web::test]
async fn one_send_in_a_hundred_that_goes_nowhere_is_found() {
    let program = Program {
        name: "lost-sends",
        seed: SEED,
        events: 2000,
        faults: 3,
        shape: Shape { nodes: 1, redis: false, rabbit: false },
        theft: Some(Theft::Sends),
    };
    let verdict = program.run().await;
    let wanted: BTreeSet<u64> = verdict.stolen.all().into_iter().map(|(_, id)| id).collect();
    assert!(wanted.len() >= 10, "{} sends were stolen", wanted.len());
    let stored = |stream: usize| scenario::TYPES[scenario::STREAMS[stream].ty].stored;
    let mut found = BTreeSet::new();
    for violation in &verdict.violations {
        let id = match violation {
            Violation::NotStored { id, .. } => Some(*id),
            // An ephemeral event is only missed where it should have arrived.
            Violation::NotDelivered { stream, id, .. } if !stored(*stream) => Some(*id),
            // One of the answers to a key that was sent again came from the thief.
            Violation::KeyWithTwoIds { ids: (first, then), .. } => {
                [first, then].into_iter().find(|id| wanted.contains(id)).copied()
            }
            _ => None,
        };
        let id = id.filter(|id| wanted.contains(id));
        found.insert(id.unwrap_or_else(|| panic!("{violation:?} is none of the thief's: {}", verdict.report)));
    }
    assert_eq!(found, wanted, "what was lost is named");
    verdict.forget();
}

#[actix_web::test]
async fn one_delivery_in_a_hundred_that_goes_nowhere_is_found() {
    let program = Program {
        name: "lost-deliveries",
        seed: SEED,
        events: 2000,
        // What is stolen and comes again after a fault is no loss, and would not be found.
        faults: 0,
        shape: Shape { nodes: 1, redis: false, rabbit: false },
        theft: Some(Theft::Deliveries),
    };
    let verdict = program.run().await;
    let missed = |violation: &Violation| match violation {
        Violation::NotDelivered { stream, id, .. } => Some((receiver::Receiver::path(*stream), *id)),
        _ => None,
    };
    let wanted = verdict.stolen.all();
    assert!(wanted.len() >= 10, "{} deliveries were stolen", wanted.len());
    let found: BTreeSet<_> = verdict.violations.iter().filter_map(missed).collect();
    assert_eq!(found, wanted, "what was lost is named, with the stream");
    assert_eq!(verdict.violations.len(), wanted.len(), "and nothing else: {}", verdict.report);
    verdict.forget();
}
