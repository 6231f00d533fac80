//! Appends without a pause, and a ledger of what was answered, to be compared with what is stored.

use crate::kit::*;
use bytes::Bytes;
use event_source_api::event::Position;
use event_source_api::store::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How long a cluster may take to be itself again on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What one type's sender was told.
struct Sent {
    number: u16,
    acknowledged: BTreeMap<u64, Position>,
}

struct Sender {
    number: u16,
    acknowledged: Arc<AtomicUsize>,
    task: JoinHandle<Sent>,
}

/// A sender for each type.
pub struct Load {
    store: Arc<dyn Store>,
    stop: Arc<AtomicBool>,
    senders: Vec<Sender>,
}

impl Load {
    /// Starts to send events of these types, with one stream each. A payload is a number that no other event has.
    pub fn start(store: &Arc<dyn Store>, numbers: &[u16]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sender = |number: &u16| {
            let acknowledged = Arc::new(AtomicUsize::new(0));
            let task = send(Arc::clone(store), *number, Arc::clone(&stop), Arc::clone(&acknowledged));
            Sender { number: *number, acknowledged, task: tokio::spawn(task) }
        };
        let senders = numbers.iter().map(sender).collect();
        Self { store: Arc::clone(store), stop, senders }
    }

    /// Appends of a type that were answered well so far.
    pub fn acknowledged(&self, number: u16) -> usize {
        let sender = self.senders.iter().find(|sender| sender.number == number).expect("a type that is sent");
        sender.acknowledged.load(Ordering::Acquire)
    }

    /// Waits until so many more appends of each of these types were answered well.
    pub async fn until_more(&self, numbers: &[u16], count: usize) {
        let end = Instant::now() + PATIENCE;
        for number in numbers {
            let start = self.acknowledged(*number);
            while self.acknowledged(*number) < start + count {
                assert!(Instant::now() < end, "waited in vain for appends of type {number} to be answered");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Stops, and compares: what was acknowledged is stored at its position, and nothing is stored twice, whatever was
    /// answered; each stored event waits for its stream once.
    pub async fn end(self) {
        let store = Arc::clone(&self.store);
        self.end_on(&store).await;
    }

    /// The same, by what another way to the store says.
    pub async fn end_on(self, store: &Arc<dyn Store>) {
        self.stop.store(true, Ordering::Release);
        for sender in self.senders {
            let sent = sender.task.await.expect("a sender");
            assert!(!sent.acknowledged.is_empty());
            let stored = stored(store, sent.number).await;
            for (payload, position) in &sent.acknowledged {
                let found = stored.get(payload);
                assert_eq!(found, Some(&vec![*position]), "type {} payload {payload}", sent.number);
            }
            let twice: Vec<_> = stored.iter().filter(|(_, positions)| positions.len() > 1).collect();
            assert!(twice.is_empty(), "type {}: stored twice: {twice:?}", sent.number);
            let order: Vec<_> = sent.acknowledged.values().collect();
            assert!(order.is_sorted(), "positions rise in the order in which they were answered");
            let counts = store.counts(&[stream(sent.number, "hook")]).await.expect("counts");
            assert_eq!(counts[0].backlog, stored.len() as u64, "type {}: one entry an event", sent.number);
        }
    }
}

async fn send(store: Arc<dyn Store>, number: u16, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicUsize>) -> Sent {
    let mut sent = Sent { number, acknowledged: BTreeMap::new() };
    let mut next = 0_u64;
    while !stop.load(Ordering::Acquire) {
        let payloads: Vec<u64> = (next..=next + next % 3).collect();
        next += payloads.len() as u64;
        let bytes = payloads.iter().map(|payload| Bytes::from(payload.to_string())).collect();
        let group = AppendGroup { payloads: bytes, ..group(number, 0, &["hook"]) };
        match store.append(vec![group]).await.and_then(|mut answers| answers.remove(0)) {
            Ok(Appended::Stored(positions)) => {
                sent.acknowledged.extend(payloads.into_iter().zip(positions));
                acknowledged.fetch_add(1, Ordering::AcqRel);
            }
            Ok(other) => panic!("not stored: {other:?}"),
            // It may be stored or not: a sender that wants to know repeats with a key.
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    }
    sent
}

/// The positions of each payload of a type.
async fn stored(store: &Arc<dyn Store>, number: u16) -> BTreeMap<u64, Vec<Position>> {
    let mut found: BTreeMap<u64, Vec<Position>> = BTreeMap::new();
    let mut query = query(vec![ty(number)], 10_000);
    loop {
        let page = store.read(query.clone()).await.expect("a page");
        for event in &page.events {
            let payload = std::str::from_utf8(&event.payload).expect("a number").parse().expect("a number");
            found.entry(payload).or_default().push(event.id.position());
        }
        if !page.more {
            return found;
        }
        query.before = page.events.last().map(|event| event.id);
    }
}
