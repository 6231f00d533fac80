//! What a client has not marked: how much, and the oldest.

use crate::kit::*;
use crate::registry::put;
use event_source_api::event::{ClientId, EventId, Ttl};
use event_source_api::store::*;
use std::sync::Arc;

fn client(name: &str) -> ClientId {
    name.parse().expect("a client")
}

fn lasting(number: u16, lifetime: &str) -> TypeRef {
    TypeRef { type_no: type_no(number), ttl: ttl(lifetime) }
}

fn marks(ids: &[EventId], lifetime: &Ttl) -> Vec<MarkRequest> {
    ids.iter().map(|id| MarkRequest { id: *id, ttl: lifetime.clone(), client: client("c") }).collect()
}

async fn mark(store: &Arc<dyn Store>, ids: &[EventId], lifetime: &str) {
    let answers = store.mark(&marks(ids, &ttl(lifetime))).await.expect("an answer");
    assert!(answers.into_iter().all(|exists| exists));
}

/// By type, and the oldest.
async fn pending(store: &Arc<dyn Store>, types: &[TypeRef]) -> (Vec<u64>, Option<EventId>) {
    let answer = store.pending(types, &client("c")).await.expect("an answer");
    let now = store.ping().await.expect("the clock");
    assert!((now - 10_000..=now).contains(&answer.now));
    (answer.counts, answer.oldest)
}

pub async fn what_is_not_marked_is_pending<H: Home>() {
    let (_home, store) = fresh::<H>();
    assert_eq!(pending(&store, &[]).await, (vec![], None));
    assert_eq!(pending(&store, &[ty(1), ty(2)]).await, (vec![0, 0], None));
    let one = ids(1, &append(&store, group(1, 300, &[])).await);
    let two = ids(2, &append(&store, group(2, 5, &[])).await);
    let both = [ty(2), ty(1), ty(3)];
    let oldest = one.iter().chain(&two).min().copied();
    assert_eq!(pending(&store, &both).await, (vec![5, 300, 0], oldest));
    // What is marked is not pending, wherever it stands; a mark counts once.
    mark(&store, &one[..299], "permanent").await;
    mark(&store, &one[..10], "permanent").await;
    assert_eq!(pending(&store, &[ty(1)]).await, (vec![1], Some(one[299])));
    mark(&store, &two[1..4], "permanent").await;
    assert_eq!(pending(&store, &both).await, (vec![2, 1, 0], one[299..].iter().chain(&two[..1]).min().copied()));
    mark(&store, &one, "permanent").await;
    assert_eq!(pending(&store, &[ty(1)]).await, (vec![0], None));
    // A mark that is taken back makes it pending again.
    store.unmark(&marks(&one[7..9], &Ttl::permanent())).await.expect("an answer");
    assert_eq!(pending(&store, &both).await, (vec![2, 2, 0], one[7..].iter().chain(&two[..1]).min().copied()));
    let other = store.pending(&both, &client("d")).await.expect("an answer");
    assert_eq!((other.counts, other.oldest), (vec![5, 300, 0], oldest));
}

pub async fn what_has_expired_is_not_pending<H: Home>() {
    let (_home, store) = fresh::<H>();
    let short = [lasting(1, "1s"), lasting(2, "1h")];
    let with = |number, count, lifetime: &str| AppendGroup { ttl: ttl(lifetime), ..group(number, count, &[]) };
    let old = ids(1, &append(&store, with(1, 4, "1s")).await);
    let kept = ids(2, &append(&store, with(2, 3, "1h")).await);
    mark(&store, &old[1..3], "1s").await;
    mark(&store, &kept[..1], "1h").await;
    assert_eq!(pending(&store, &short).await, (vec![2, 2], Some(old[0].min(kept[1]))));
    until("the short ones are gone", || async {
        (store.ping().await.expect("the clock") >= old[3].ms() + 1000).then_some(())
    })
    .await;
    assert_eq!(pending(&store, &short).await, (vec![0, 2], Some(kept[1])));
    // In the same hour as the marked ones that have expired.
    let new = ids(1, &append(&store, with(1, 2, "1s")).await);
    mark(&store, &new[..1], "1s").await;
    assert_eq!(pending(&store, &short).await, (vec![1, 2], Some(kept[1].min(new[1]))));
}

pub async fn a_changed_lifetime_changes_what_is_pending<H: Home>() {
    let (_home, store) = fresh::<H>();
    let record = put(&store, "a:b", "1s", 0).await;
    let number = record.type_no.get();
    let old = ids(number, &append(&store, AppendGroup { ttl: ttl("1s"), ..group(number, 3, &[]) }).await);
    mark(&store, &old[..2], "1s").await;
    until("they are gone", || async { (store.ping().await.expect("the clock") >= old[2].ms() + 1000).then_some(()) })
        .await;
    let record = put(&store, "a:b", "permanent", record.revision).await;
    assert_eq!(pending(&store, &[ty(number)]).await, (vec![0], None));
    let new = ids(number, &append(&store, group(number, 2, &[])).await);
    assert_eq!(pending(&store, &[ty(number)]).await, (vec![2], Some(new[0])));
    mark(&store, &new, "permanent").await;
    // Emptied, with marks in the same hour as what comes next.
    let record = put(&store, "a:b", "ephemeral", record.revision).await;
    put(&store, "a:b", "permanent", record.revision).await;
    assert_eq!(pending(&store, &[ty(number)]).await, (vec![0], None));
    let last = ids(number, &append(&store, group(number, 1, &[])).await);
    assert_eq!(pending(&store, &[ty(number)]).await, (vec![1], Some(last[0])));
    let unmarked = ReadQuery { marked: Marked::Pending(client("c")), ..query(vec![ty(number)], 10) };
    assert_eq!(ids_of(&read(&store, unmarked).await), last, "and the feed says the same");
}

pub async fn the_oldest_of_many_is_found<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut all = Vec::new();
    for _ in 0..20 {
        let answers = store.append((0..200).map(|number| group(number, 3, &[])).collect()).await.expect("answers");
        for (number, answer) in (0..).zip(answers) {
            let Ok(Appended::Stored(positions)) = answer else { panic!("not stored") };
            all.extend(ids(number, &positions));
        }
    }
    all.sort();
    let types: Vec<_> = (0..200).map(ty).collect();
    let (counts, oldest) = pending(&store, &types).await;
    assert_eq!((counts.iter().sum::<u64>(), oldest), (12_000, Some(all[0])));
    for some in all[..11_999].chunks(1000) {
        mark(&store, some, "permanent").await;
    }
    let (counts, oldest) = pending(&store, &types).await;
    assert_eq!((counts.iter().sum::<u64>(), oldest), (1, all.last().copied()));
}
