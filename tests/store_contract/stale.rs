//! Appends by a record that is out of date: a stream that it names may be gone.

use crate::kit::*;
use crate::registry::put;
use event_source_api::event::{EventId, Position};
use event_source_api::store::*;
use std::sync::Arc;
use std::time::Duration;

/// A type that has been changed once: its number, its first revision, and that in force.
async fn changed(store: &Arc<dyn Store>) -> (u16, u64, u64) {
    let first = put(store, "a:b", "permanent", 0).await;
    let second = put(store, "a:b", "permanent", first.revision).await;
    (second.type_no.get(), first.revision, second.revision)
}

fn by(revision: u64, number: u16, count: usize) -> AppendGroup {
    AppendGroup { revision, ..group(number, count, &["hook"]) }
}

fn keyed(revision: u64, number: u16, key: &str, body: u8) -> AppendGroup {
    let idempotency = Idempotency { key: key.into(), body_hash: [body; 32], window: Duration::from_secs(3600) };
    AppendGroup { idempotency: Some(idempotency), ..by(revision, number, 1) }
}

async fn stored(store: &Arc<dyn Store>, group: AppendGroup) -> Vec<Position> {
    match append_by(store, group).await {
        Appended::Stored(positions) => positions,
        other => panic!("not stored: {other:?}"),
    }
}

async fn in_feed(store: &Arc<dyn Store>, number: u16) -> Vec<EventId> {
    ids_of(&read(store, query(vec![ty(number)], 100)).await)
}

pub async fn an_append_by_an_old_record_stores_nothing<H: Home>() {
    let (_home, store) = fresh::<H>();
    let first = put(&store, "a:b", "permanent", 0).await;
    let number = first.type_no.get();
    let before = stored(&store, by(first.revision, number, 2)).await;
    let second = put(&store, "a:b", "permanent", first.revision).await;
    // Not even what comes along with others.
    let groups = vec![group(number + 1, 1, &[]), by(first.revision, number, 3), by(second.revision, number, 1)];
    let answers = store.append(groups).await.expect("answers");
    let [Ok(Appended::Stored(_)), Ok(Appended::Stale(newer)), Ok(Appended::Stored(after))] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!(*newer, second.revision);
    let kept: Vec<_> = before.into_iter().chain(after.iter().copied()).collect();
    assert_eq!(in_feed(&store, number).await, newest_first(ids(number, &kept)));
    let hook = stream(number, "hook");
    assert_eq!(counts(&store, &hook).await.backlog, 3);
    assert_eq!(drain(&store, &hook).await, kept);
    assert_eq!(store.last_positions(&[first.type_no]).await.expect("positions"), after[..]);
    // A node that has newer news than the store has told anybody is right.
    stored(&store, by(second.revision + 7, number, 1)).await;
}

pub async fn a_deleted_type_takes_nothing_by_the_record_before<H: Home>() {
    let (_home, store) = fresh::<H>();
    let record = put(&store, "a:b", "permanent", 0).await;
    let gone = PutType {
        name: record.name.clone(),
        ttl: record.ttl.clone(),
        registered: false,
        config: record.config.clone(),
        based_on: record.revision,
    };
    let Put::Stored(gone) = store.put_type(gone).await.expect("an answer") else { panic!("not stored") };
    let answer = append_by(&store, by(record.revision, record.type_no.get(), 1)).await;
    assert_eq!(answer, Appended::Stale(gone.revision));
}

pub async fn a_repeated_send_is_answered_whatever_its_record<H: Home>() {
    let (_home, store) = fresh::<H>();
    let first = put(&store, "a:b", "permanent", 0).await;
    let number = first.type_no.get();
    let positions = stored(&store, keyed(first.revision, number, "k", 7)).await;
    let second = put(&store, "a:b", "permanent", first.revision).await;
    for revision in [first.revision, second.revision] {
        let again = append_by(&store, keyed(revision, number, "k", 7)).await;
        assert_eq!(again, Appended::Duplicate(positions.clone()));
        assert_eq!(append_by(&store, keyed(revision, number, "k", 8)).await, Appended::KeyReused);
    }
    // A refusal uses no key up.
    assert_eq!(append_by(&store, keyed(first.revision, number, "new", 7)).await, Appended::Stale(second.revision));
    let new = stored(&store, keyed(second.revision, number, "new", 7)).await;
    assert_eq!(in_feed(&store, number).await, newest_first(ids(number, &[positions, new].concat())));
}

pub async fn an_old_record_is_no_full_backlog<H: Home>() {
    let home = H::new();
    let store = home.open(StoreOptions { max_backlog: 1, ..options() });
    let (number, old, new) = changed(&store).await;
    stored(&store, by(new, number, 1)).await;
    assert_eq!(append_by(&store, by(old, number, 1)).await, Appended::Stale(new));
    assert!(matches!(append_by(&store, by(new, number, 1)).await, Appended::BacklogFull(_)));
}

pub async fn what_is_in_force_outlives_a_restart<H: Home>() {
    let (home, store) = fresh::<H>();
    let (number, old, new) = changed(&store).await;
    store.close().await.expect("closed");
    drop(store);
    let store = home.open(options());
    assert_eq!(append_by(&store, by(old, number, 1)).await, Appended::Stale(new));
    stored(&store, by(new, number, 1)).await;
}
