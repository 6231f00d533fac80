//! Marks: which client has processed what.

use crate::kit::*;
use event_source_api::event::{ClientId, EventId, Position, Ttl};
use event_source_api::store::*;
use std::sync::Arc;

fn client(name: &str) -> ClientId {
    name.parse().expect("a client")
}

fn marks(ids: &[EventId], name: &str) -> Vec<MarkRequest> {
    ids.iter().map(|id| MarkRequest { id: *id, ttl: Ttl::permanent(), client: client(name) }).collect()
}

async fn mark(store: &Arc<dyn Store>, ids: &[EventId], name: &str) -> Vec<bool> {
    store.mark(&marks(ids, name)).await.expect("an answer")
}

fn by(types: &[u16], limit: usize, marked: Marked) -> ReadQuery {
    ReadQuery { marked, ..query(types.iter().map(|number| ty(*number)).collect(), limit) }
}

pub async fn a_client_reads_what_it_has_not_marked<H: Home>() {
    let (_home, store) = fresh::<H>();
    let all = ids(1, &append(&store, group(1, 10, &[])).await);
    let (odd, even): (Vec<_>, Vec<_>) = all.iter().partition(|id| id.get() % 2 == 1);
    assert!(mark(&store, &odd, "a").await.into_iter().all(|exists| exists));
    let pending = read(&store, by(&[1], 10, Marked::Pending(client("a")))).await;
    assert_eq!(ids_of(&pending), newest_first(even.clone()));
    assert!(pending.events.iter().all(|event| event.processed_at.is_none()));
    let processed = read(&store, by(&[1], 10, Marked::Processed(client("a")))).await;
    assert_eq!(ids_of(&processed), newest_first(odd.clone()));
    let now = store.ping().await.expect("the clock");
    for event in &processed.events {
        let at = event.processed_at.expect("a time");
        assert!((event.id.ms()..=now).contains(&at), "{at}");
    }
    let both = read(&store, by(&[1], 10, Marked::All(client("a")))).await;
    assert_eq!(ids_of(&both), newest_first(all.clone()));
    for event in &both.events {
        assert_eq!(event.processed_at.is_some(), odd.contains(&event.id));
    }
    // Another client has marks of its own.
    assert_eq!(ids_of(&read(&store, by(&[1], 10, Marked::Pending(client("b")))).await), newest_first(all.clone()));
    assert_eq!(read(&store, by(&[1], 10, Marked::Processed(client("b")))).await.events, []);
    let plain = read(&store, by(&[1], 10, Marked::Ignore)).await;
    assert!(plain.events.iter().all(|event| event.processed_at.is_none()));
}

pub async fn a_page_is_filled_past_what_is_marked<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut all = Vec::new();
    for number in [1, 2] {
        for _ in 0..10 {
            all.extend(ids(number, &append(&store, group(number, 100, &[])).await));
        }
    }
    let all = newest_first(all);
    // Three of a hundred stay.
    let (left, marked): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(i, _)| i % 100 < 3);
    let marked: Vec<_> = marked.into_iter().map(|(_, id)| *id).collect();
    let left: Vec<_> = left.into_iter().map(|(_, id)| *id).collect();
    for some in marked.chunks(1000) {
        mark(&store, some, "a").await;
    }
    for limit in [1, 10, left.len() - 1, left.len(), 1000] {
        let page = read(&store, by(&[1, 2], limit, Marked::Pending(client("a")))).await;
        assert_eq!(ids_of(&page), left[..limit.min(left.len())]);
        assert_eq!(page.more, limit < left.len());
    }
    assert_eq!(read_all(&store, by(&[1, 2], 7, Marked::Pending(client("a")))).await, left);
    assert_eq!(read_all(&store, by(&[1, 2], 300, Marked::Processed(client("a")))).await, marked);
    assert_eq!(read_all(&store, by(&[1, 2], 300, Marked::All(client("a")))).await, all);
}

pub async fn a_mark_is_set_once<H: Home>() {
    let (_home, store) = fresh::<H>();
    let id = ids(1, &append(&store, group(1, 1, &[])).await);
    assert_eq!(mark(&store, &[id[0], id[0]], "a").await, [true, true]);
    let first = read(&store, by(&[1], 1, Marked::All(client("a")))).await.events[0].processed_at;
    // Times are kept to the second after the commit.
    until("another second", || async { (store.ping().await.expect("the clock") > id[0].ms() + 1100).then_some(()) })
        .await;
    assert_eq!(mark(&store, &id, "a").await, [true]);
    assert_eq!(read(&store, by(&[1], 1, Marked::All(client("a")))).await.events[0].processed_at, first);
    assert_eq!(mark(&store, &id, "late").await, [true]);
    let late = read(&store, by(&[1], 1, Marked::All(client("late")))).await.events[0].processed_at;
    assert!(late.expect("a time") >= id[0].ms() + 1000);
}

pub async fn a_mark_is_taken_back<H: Home>() {
    let (_home, store) = fresh::<H>();
    let all = ids(1, &append(&store, group(1, 3, &[])).await);
    mark(&store, &all, "a").await;
    assert_eq!(read(&store, by(&[1], 10, Marked::Pending(client("a")))).await.events, []);
    assert_eq!(store.unmark(&marks(&all[1..2], "a")).await.expect("an answer"), [true]);
    assert_eq!(ids_of(&read(&store, by(&[1], 10, Marked::Pending(client("a")))).await), all[1..2]);
    assert_eq!(store.unmark(&marks(&all, "a")).await.expect("an answer"), [true, true, true]);
    assert_eq!(store.unmark(&marks(&all, "a")).await.expect("an answer"), [true, true, true]);
    assert_eq!(read(&store, by(&[1], 10, Marked::Pending(client("a")))).await.events.len(), 3);
    mark(&store, &all[..1], "a").await;
    assert_eq!(ids_of(&read(&store, by(&[1], 10, Marked::Processed(client("a")))).await), all[..1]);
}

pub async fn unknown_events_cannot_be_marked<H: Home>() {
    let (_home, store) = fresh::<H>();
    let positions = append(&store, group(1, 2, &[])).await;
    let unknown = [
        EventId::new(type_no(1), positions[1].plus(1)),
        EventId::new(type_no(1), Position::new(positions[0].get() - 1)),
        EventId::new(type_no(2), positions[0]),
        EventId::new(type_no(1), Position::default()),
        EventId::new(type_no(1), Position::MAX),
    ];
    assert_eq!(mark(&store, &unknown, "a").await, [false; 5]);
    assert_eq!(store.unmark(&marks(&unknown, "a")).await.expect("an answer"), [false; 5]);
    let mixed = [unknown[0], ids(1, &positions)[1], unknown[2]];
    assert_eq!(mark(&store, &mixed, "a").await, [false, true, false]);
    assert!(mark(&store, &[], "a").await.is_empty());
}

pub async fn an_event_names_who_has_processed_it<H: Home>() {
    let (_home, store) = fresh::<H>();
    let all = ids(1, &append(&store, group(1, 2, &[])).await);
    for name in ["b", "a", "c~1"] {
        mark(&store, &all[..1], name).await;
    }
    mark(&store, &all[1..], "d").await;
    let detail = store.event(all[0], &ty(1), &[]).await.expect("an answer").expect("the event");
    let mut names: Vec<_> = detail.processed_by.iter().map(|(client, _)| client.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c~1"]);
    assert!(detail.processed_by.iter().all(|(_, at)| *at >= all[0].ms()));
    store.unmark(&marks(&all[..1], "b")).await.expect("an answer");
    let detail = store.event(all[0], &ty(1), &[]).await.expect("an answer").expect("the event");
    assert_eq!(detail.processed_by.len(), 2);
}
