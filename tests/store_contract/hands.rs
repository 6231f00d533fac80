//! Many workers with unsteady hands on one stream: nothing is lost, and the counters are exact.

use crate::kit::*;
use event_source_api::event::Position;
use event_source_api::store::*;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the store has agreed to, of each event.
#[derive(Default)]
struct Ledger {
    delivered: HashSet<Position>,
    dead: HashSet<Position>,
    failures: u64,
}

/// Takes what is due and does with it what the dice say; answers whether there was anything.
async fn turn(store: &Arc<dyn Store>, hook: &StreamKey, dice: &mut Dice, ledger: &Mutex<Ledger>, steady: bool) -> bool {
    let lease = Duration::from_millis(if steady { 10_000 } else { 1 + dice.throw(60) });
    let max = 1 + dice.throw(90) as usize;
    let mut held = store.claim(ClaimRequest { lease, ..claim(hook, max) }).await.expect("a claim");
    if held.events.is_empty() {
        return held.next_due.is_some();
    }
    assert!(held.events.len() <= max);
    if !steady && dice.throw(6) == 0 {
        return true; // Its node dies.
    }
    if dice.throw(4) == 0 {
        let lease = held.lease.expect("a lease");
        // Leases only ever grow: a long one here would hold up every short one after it.
        match store.renew(hook, lease, Duration::from_millis(80)).await.expect("an answer") {
            Fenced::Done(lease) => held.lease = lease,
            Fenced::Lost => return true,
        }
    }
    let mut exceptions = Vec::new();
    let (mut dead, mut fine, mut failures) = (Vec::new(), Vec::new(), 0);
    for event in &held.events {
        let failed = failure(event.attempts + 1, "no");
        match if steady { 9 } else { dice.throw(10) } {
            0 => exceptions.push((event.clone(), Disposition::Release)),
            1 | 2 => {
                failures += 1;
                let after = Duration::from_millis(dice.throw(30));
                exceptions.push((event.clone(), Disposition::Retry { after, failure: failed }));
            }
            3 if dice.throw(3) == 0 => {
                failures += 1;
                dead.push(event.position);
                exceptions.push((event.clone(), Disposition::Dead(failed)));
            }
            _ => fine.push(event.position),
        }
    }
    let settle = Settle { exceptions, ..delivered(hook, &held) };
    if matches!(store.settle(settle).await.expect("an answer"), Fenced::Done(_)) {
        let mut ledger = ledger.lock().expect("the ledger");
        ledger.failures += failures;
        for position in fine {
            assert!(ledger.delivered.insert(position), "{position:?} was delivered twice under the fence");
        }
        for position in dead {
            assert!(ledger.dead.insert(position), "{position:?} died twice");
        }
    }
    true
}

pub async fn nothing_is_lost_or_settled_twice<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(77, "hook");
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut workers = tokio::task::JoinSet::new();
    for seed in 0..4 {
        let (store, hook, ledger) = (store.clone(), hook.clone(), ledger.clone());
        workers.spawn(async move {
            let mut dice = Dice(seed);
            for _ in 0..150 {
                turn(&store, &hook, &mut dice, &ledger, false).await;
            }
        });
    }
    let mut all: HashMap<Position, String> = HashMap::new();
    let mut dice = Dice(99);
    for _ in 0..60 {
        let count = 1 + dice.throw(120) as usize;
        let positions = append(&store, group(77, count, &["hook"])).await;
        all.extend(positions.into_iter().enumerate().map(|(i, position)| (position, i.to_string())));
    }
    while let Some(done) = workers.join_next().await {
        done.expect("a worker");
    }
    until("all is delivered", || async {
        let mut dice = Dice(5);
        (!turn(&store, &hook, &mut dice, &ledger, true).await).then_some(())
    })
    .await;

    let ledger = std::mem::take(&mut *ledger.lock().expect("the ledger"));
    assert!(ledger.delivered.is_disjoint(&ledger.dead));
    assert_eq!(ledger.delivered.len() + ledger.dead.len(), all.len());
    let end = counts(&store, &hook).await;
    let (delivered, dead) = (ledger.delivered.len() as u64, ledger.dead.len() as u64);
    let expected = StreamCounts { backlog: 0, delivered, failed: ledger.failures, dead, oldest: None };
    assert_eq!(end, expected);
    let listed = store.dead_letters(&hook, None, 100_000).await.expect("letters");
    assert_eq!(listed.iter().map(|letter| letter.event.id.position()).collect::<HashSet<_>>(), ledger.dead);
    assert!(listed.iter().all(|letter| all[&letter.event.id.position()] == letter.event.payload));
}
