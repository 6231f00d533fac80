//! Type records, and types that were discarded.

use crate::kit::*;
use bytes::Bytes;
use event_source_api::event::EventType;
use event_source_api::store::*;
use std::collections::HashSet;
use std::sync::Arc;

fn change(name: &str, lifetime: &str, based_on: u64) -> PutType {
    PutType {
        name: name.parse().expect("a type"),
        ttl: ttl(lifetime),
        registered: true,
        config: Bytes::from(format!("{{\"of\":\"{name}\"}}")),
        based_on,
    }
}

/// Registers a type.
pub async fn put(store: &Arc<dyn Store>, name: &str, lifetime: &str, based_on: u64) -> TypeRecord {
    match store.put_type(change(name, lifetime, based_on)).await.expect("an answer") {
        Put::Stored(record) => record,
        other => panic!("not stored: {other:?}"),
    }
}

async fn get(store: &Arc<dyn Store>, name: &str) -> Option<TypeRecord> {
    store.get_type(&name.parse().expect("a type")).await.expect("an answer")
}

pub async fn a_record_is_kept_as_it_was_given<H: Home>() {
    let (_home, store) = fresh::<H>();
    assert!(get(&store, "a:b").await.is_none());
    let record = put(&store, "a:b", "2 weeks", 0).await;
    assert!(record.registered && record.revision > 0);
    let found = get(&store, "a:b").await.expect("a record");
    assert_eq!((found.name.as_str(), found.ttl.as_str()), ("a:b", "2 weeks"));
    assert_eq!(found.config, r#"{"of":"a:b"}"#);
    assert_eq!((found.type_no, found.revision, found.registered), (record.type_no, record.revision, true));
}

pub async fn numbers_are_given_once_and_revisions_rise<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut numbers = HashSet::new();
    let mut last = 0;
    for i in 0..100 {
        let record = put(&store, &format!("t:{i}"), "permanent", 0).await;
        assert!(numbers.insert(record.type_no));
        assert!(record.revision > last);
        last = record.revision;
    }
    let (version, types) = store.types().await.expect("types");
    assert_eq!((version.changes, types.len()), (last, 100));
    assert_eq!(types.iter().map(|record| record.type_no).collect::<HashSet<_>>(), numbers);
    assert_eq!(store.registry_version().await.expect("a version"), version);
    let again = put(&store, "t:5", "1h", types.iter().find(|r| r.name.as_str() == "t:5").expect("it").revision).await;
    assert!(again.revision > last);
    assert_eq!(store.registry_version().await.expect("a version").changes, again.revision);
    assert_eq!(store.types().await.expect("types").1.len(), 100);
}

pub async fn a_change_based_on_an_old_record_is_a_conflict<H: Home>() {
    let (_home, store) = fresh::<H>();
    let first = put(&store, "a", "1h", 0).await;
    let second = put(&store, "a", "2h", first.revision).await;
    let version = store.registry_version().await.expect("a version");
    for based_on in [0, first.revision, second.revision + 1] {
        let answer = store.put_type(change("a", "3h", based_on)).await.expect("an answer");
        assert!(matches!(answer, Put::Conflict), "{based_on}");
    }
    let answer = store.put_type(change("new", "3h", 7)).await.expect("an answer");
    assert!(matches!(answer, Put::Conflict));
    assert_eq!(get(&store, "a").await.expect("a record").ttl.as_str(), "2h");
    assert!(get(&store, "new").await.is_none());
    assert_eq!(store.registry_version().await.expect("a version"), version);
}

pub async fn of_two_changes_at_once_one_wins<H: Home>() {
    let (_home, store) = fresh::<H>();
    let tasks: Vec<_> = (0..10)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(
                async move { store.put_type(change("a", &format!("{}h", i + 1), 0)).await.expect("an answer") },
            )
        })
        .collect();
    let mut won = Vec::new();
    for task in tasks {
        if let Put::Stored(record) = task.await.expect("a task") {
            won.push(record);
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(get(&store, "a").await.expect("a record").ttl, won[0].ttl);
}

pub async fn a_deleted_type_keeps_number_and_lifetime<H: Home>() {
    let (_home, store) = fresh::<H>();
    let record = put(&store, "a", "1h", 0).await;
    put(&store, "b", "1h", 0).await;
    let gone = PutType { registered: false, ..change("a", "1h", record.revision) };
    let Put::Stored(gone) = store.put_type(gone).await.expect("an answer") else { panic!("not stored") };
    assert!(!gone.registered);
    let found = get(&store, "a").await.expect("a record");
    assert_eq!((found.registered, found.type_no, found.ttl.as_str()), (false, record.type_no, "1h"));
    assert_eq!(put(&store, "a", "2h", gone.revision).await.type_no, record.type_no);
    assert_ne!(put(&store, "c", "1h", 0).await.type_no, record.type_no);
}

pub async fn there_are_as_many_numbers_as_an_id_can_hold<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut tasks = tokio::task::JoinSet::new();
    for part in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            for i in 0..1024 {
                put(&store, &format!("t:{part}:{i}"), "permanent", 0).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a task");
    }
    let answer = store.put_type(change("one-more", "1h", 0)).await.expect("an answer");
    assert!(matches!(answer, Put::LimitReached));
    assert!(get(&store, "one-more").await.is_none());
    let known = get(&store, "t:3:500").await.expect("a record");
    put(&store, "t:3:500", "1h", known.revision).await;
    assert_eq!(store.types().await.expect("types").1.len(), 16_384);
}

pub async fn unknown_types_are_counted_as_discarded<H: Home>() {
    let (_home, store) = fresh::<H>();
    let name = |text: &str| -> EventType { text.parse().expect("a type") };
    let record = put(&store, "known", "1h", 0).await;
    let gone = PutType { registered: false, ..change("gone", "1h", 0) };
    store.put_type(gone).await.expect("an answer");
    let before = store.ping().await.expect("the clock");
    let asked = [(name("typo"), 3), (name("known"), 5), (name("gone"), 1)];
    let found = store.get_or_discard(&asked, true).await.expect("an answer");
    assert!(found[0].is_none() && found[2].is_none());
    assert_eq!(found[1].as_ref().expect("a record").revision, record.revision);
    let found = store.get_or_discard(&[(name("typo"), 100), (name("other"), 100)], false).await.expect("an answer");
    assert!(found.iter().all(Option::is_none), "and not counted");
    until("a later millisecond", || async { (store.ping().await.expect("the clock") > before + 5).then_some(()) })
        .await;
    store.get_or_discard(&[(name("typo"), 2)], true).await.expect("an answer");
    let list = store.discarded().await.expect("a list");
    let seen: Vec<_> = list.iter().map(|entry| (entry.name.as_str(), entry.count)).collect();
    assert_eq!(seen, [("typo", 5), ("gone", 1)]);
    assert!(list[0].last_at > list[1].last_at && list[1].last_at >= before);
    assert!(store.get_or_discard(&[], true).await.expect("an answer").is_empty());
}

pub async fn the_newest_thousand_discarded_types_are_kept<H: Home>() {
    let (_home, store) = fresh::<H>();
    for some in 0..12 {
        let types: Vec<_> =
            (0..100).map(|i| (format!("t:{some}:{i}").parse::<EventType>().expect("a type"), 1)).collect();
        let now = store.ping().await.expect("the clock");
        until("the next millisecond", || async { (store.ping().await.expect("the clock") > now).then_some(()) }).await;
        store.get_or_discard(&types, true).await.expect("an answer");
    }
    let list = store.discarded().await.expect("a list");
    assert_eq!(list.len(), 1000);
    assert!(list.is_sorted_by(|a, b| a.last_at >= b.last_at));
    assert!(list.iter().all(|entry| !entry.name.as_str().starts_with("t:0:")));
    assert!(list[0].name.as_str().starts_with("t:11:"));
    // One that was dropped counts from one again.
    store.get_or_discard(&[("t:0:0".parse().expect("a type"), 1)], true).await.expect("an answer");
    assert_eq!(store.discarded().await.expect("a list")[0].count, 1);
}
