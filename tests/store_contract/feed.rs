//! Reading: order, limits, cursors, ranges, many types.

use crate::kit::*;
use event_source_api::event::{EventId, Millis};
use event_source_api::store::*;
use std::sync::Arc;
use std::time::Duration;

pub async fn events_come_newest_first_up_to_the_limit<H: Home>() {
    let (_home, store) = fresh::<H>();
    let positions = append(&store, group(1, 10, &[])).await;
    let all = newest_first(ids(1, &positions));
    for limit in 1..=12 {
        let page = read(&store, query(vec![ty(1)], limit)).await;
        assert_eq!(ids_of(&page), all[..limit.min(10)], "limit {limit}");
        assert_eq!(page.more, limit < 10, "limit {limit}");
    }
    let payloads: Vec<_> = read(&store, query(vec![ty(1)], 3)).await.events;
    assert_eq!(payloads.iter().map(|event| &event.payload[..]).collect::<Vec<_>>(), [b"9", b"8", b"7"]);
}

pub async fn a_page_carries_on_below_the_one_before<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut all = Vec::new();
    for round in 0..60 {
        for number in [1, 2, 64, 65, 700] {
            let count = (round * 7 + usize::from(number)) % 6 + 1;
            all.extend(ids(number, &append(&store, group(number, count, &[])).await));
        }
    }
    let all = newest_first(all);
    let types: Vec<_> = [1, 2, 64, 65, 700].map(ty).to_vec();
    for limit in [1, 7, 64, 100, all.len() - 1, all.len(), all.len() + 1] {
        let found = read_all(&store, query(types.clone(), limit)).await;
        assert_eq!(found, all, "limit {limit}");
    }
    // From any place in it.
    for before in all.iter().step_by(17) {
        let page = read(&store, ReadQuery { before: Some(*before), ..query(types.clone(), 20) }).await;
        let below: Vec<_> = all.iter().copied().filter(|id| id < before).take(20).collect();
        assert_eq!(ids_of(&page), below);
    }
}

pub async fn only_the_types_asked_for_are_read<H: Home>() {
    let (_home, store) = fresh::<H>();
    let one = ids(1, &append(&store, group(1, 5, &[])).await);
    append(&store, group(2, 5, &[])).await;
    let three = ids(3, &append(&store, group(3, 5, &[])).await);
    let page = read(&store, query(vec![ty(1), ty(3), ty(4)], 100)).await;
    assert_eq!(ids_of(&page), newest_first([one, three].concat()));
    assert!(!page.more);
    assert_eq!(read(&store, query(vec![ty(4)], 100)).await.events, []);
    assert_eq!(read(&store, query(Vec::new(), 100)).await.events, []);
}

/// Appends until events stand in at least three milliseconds.
async fn spread(store: &Arc<dyn Store>) -> Vec<EventId> {
    let mut all: Vec<EventId> = Vec::new();
    until("three milliseconds", || async { Some(append(store, group(1, 2, &[])).await) }).await;
    let first = store.ping().await.expect("the clock");
    while all.last().is_none_or(|last| last.ms() < first + 4) {
        all.extend(ids(1, &append(store, group(1, 2, &[])).await));
    }
    all
}

pub async fn a_range_holds_its_first_millisecond_and_not_its_last<H: Home>() {
    let (_home, store) = fresh::<H>();
    let all = spread(&store).await;
    let (first, last) = (all[0].ms(), all[all.len() - 1].ms());
    for from in [first - 1, first, first + 1, last] {
        for to in [first, first + 1, last, last + 1, Millis::MAX] {
            let found = read_all(&store, ReadQuery { from, to, ..query(vec![ty(1)], 3) }).await;
            let mut expected = newest_first(all.clone());
            expected.retain(|id| (from..to).contains(&id.ms()));
            let found: Vec<_> = found.into_iter().filter(|id| all.contains(id)).collect();
            assert_eq!(found, expected, "{from}..{to}");
        }
    }
}

pub async fn an_empty_range_holds_nothing<H: Home>() {
    let (_home, store) = fresh::<H>();
    append(&store, group(1, 5, &[])).await;
    let now = store.ping().await.expect("the clock");
    for (from, to) in [(now, now), (now + 10, now), (now + 3_600_000, Millis::MAX), (0, 1), (Millis::MIN, 0)] {
        let page = read(&store, ReadQuery { from, to, ..query(vec![ty(1)], 10) }).await;
        assert_eq!((page.events.len(), page.more), (0, false), "{from}..{to}");
    }
    let page = read(&store, ReadQuery { from: Millis::MIN, ..query(vec![ty(1)], 10) }).await;
    assert_eq!(page.events.len(), 5);
}

pub async fn ten_thousand_events_fit_a_page<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut all = Vec::new();
    for _ in 0..6 {
        all.extend(append(&store, group(9, 2000, &[])).await);
    }
    let page = read(&store, query(vec![ty(9)], 10_000)).await;
    assert!(page.more);
    assert_eq!(ids_of(&page), newest_first(ids(9, &all))[..10_000]);
}

pub async fn a_month_of_a_thousand_types_with_little_in_it_is_quick<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut all = Vec::new();
    for number in (0..1000).step_by(50) {
        all.extend(ids(number, &append(&store, group(number, 3, &[])).await));
    }
    let now = store.ping().await.expect("the clock");
    let month = ReadQuery { from: now - 30 * 86_400_000, ..query((0..1000).map(ty).collect(), 1000) };
    let page = quick(Duration::from_secs(1), async || read(&store, month.clone()).await).await;
    assert_eq!(ids_of(&page), newest_first(all));
    assert!(!page.more);
}

pub async fn a_page_of_many_busy_types_is_in_order<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut all = Vec::new();
    for _ in 0..5 {
        let answers = store.append((0..300).map(|number| group(number, 4, &[])).collect()).await.expect("answers");
        for (number, answer) in (0..).zip(answers) {
            let Ok(Appended::Stored(positions)) = answer else { panic!("not stored") };
            all.extend(ids(number, &positions));
        }
    }
    let all = newest_first(all);
    let page = read(&store, query((0..300).map(ty).collect(), 1000)).await;
    assert!(page.more);
    assert_eq!(ids_of(&page), all[..1000]);
    assert_eq!(read_all(&store, query((0..300).map(ty).collect(), 777)).await, all);
}
