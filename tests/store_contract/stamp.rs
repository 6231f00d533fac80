//! Stamps: different whenever a page would be.

use crate::kit::*;
use crate::registry::put;
use event_source_api::event::{ClientId, EventId, Ttl};
use event_source_api::store::*;
use std::sync::Arc;
use std::time::Duration;

fn client() -> ClientId {
    "c".parse().expect("a client")
}

fn asked(types: Vec<TypeRef>) -> StampQuery {
    StampQuery { types, from: 0, to: i64::MAX, client: None }
}

async fn digest(store: &Arc<dyn Store>, query: StampQuery) -> [u8; 32] {
    store.stamp(query).await.expect("a stamp").digest.expect("a digest")
}

pub async fn a_stamp_changes_with_what_is_appended_in_its_range<H: Home>() {
    let (_home, store) = fresh::<H>();
    let empty = digest(&store, asked(vec![ty(1), ty(2)])).await;
    let first = append(&store, group(1, 1, &[])).await;
    let one = digest(&store, asked(vec![ty(1), ty(2)])).await;
    assert_ne!(one, empty);
    assert_eq!(digest(&store, asked(vec![ty(1), ty(2)])).await, one);
    append(&store, group(2, 1, &[])).await;
    assert_ne!(digest(&store, asked(vec![ty(1), ty(2)])).await, one);
    // Another type's does not matter, nor does what comes after the range.
    assert_eq!(digest(&store, asked(vec![ty(1)])).await, one);
    let before = StampQuery { to: first[0].ms() + 1, ..asked(vec![ty(1)]) };
    until("another millisecond", || async { (store.ping().await.expect("the clock") > first[0].ms()).then_some(()) })
        .await;
    let closed = digest(&store, before.clone()).await;
    append(&store, group(1, 700, &[])).await;
    assert_eq!(digest(&store, before.clone()).await, closed);
    assert_ne!(digest(&store, asked(vec![ty(1)])).await, one);
    // Nor what came before it.
    let empty = StampQuery { to: 1000, ..asked(vec![ty(1)]) };
    assert_eq!(digest(&store, empty.clone()).await, digest(&store, StampQuery { types: vec![ty(2)], ..empty }).await);
    let now = store.ping().await.expect("the clock");
    assert!((now..=now + 10_000).contains(&store.stamp(before).await.expect("a stamp").now));
    assert!(store.stamp(asked(Vec::new())).await.expect("a stamp").now >= now);
}

pub async fn a_stamp_follows_a_clients_marks<H: Home>() {
    let (_home, store) = fresh::<H>();
    let all = ids(1, &append(&store, group(1, 3, &[])).await);
    let query = StampQuery { client: Some(client()), ..asked(vec![ty(1)]) };
    let marks = |ids: &[EventId], by: &str| -> Vec<_> {
        let client: ClientId = by.parse().expect("a client");
        ids.iter().map(|id| MarkRequest { id: *id, ttl: Ttl::permanent(), client: client.clone() }).collect()
    };
    let mut seen = vec![digest(&store, query.clone()).await];
    // The same number of marks, on other events; and one set and taken back in between.
    for step in 0..6 {
        let at = &all[step % 3..step % 3 + 1];
        store.mark(&marks(at, "c")).await.expect("an answer");
        seen.push(digest(&store, query.clone()).await);
        store.unmark(&marks(at, "c")).await.expect("an answer");
        seen.push(digest(&store, query.clone()).await);
    }
    let last = *seen.last().expect("a stamp");
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
    // Another client's marks do not matter, nor those that change nothing.
    store.mark(&marks(&all, "d")).await.expect("an answer");
    store.unmark(&marks(&all, "c")).await.expect("an answer");
    assert_eq!(digest(&store, query.clone()).await, last);
    store.mark(&marks(&all, "c")).await.expect("an answer");
    let marked = digest(&store, query.clone()).await;
    store.mark(&marks(&all, "c")).await.expect("an answer");
    assert_eq!(digest(&store, query).await, marked);
    assert_ne!(marked, last);
}

pub async fn a_stamp_changes_when_an_event_expires_and_says_when<H: Home>() {
    let (_home, store) = fresh::<H>();
    let short = TypeRef { type_no: type_no(1), ttl: ttl("1s") };
    let group = |count| AppendGroup { ttl: ttl("1s"), ..group(1, count, &[]) };
    let first = append(&store, group(2)).await[1];
    until("100 ms", || async { (store.ping().await.expect("the clock") > first.ms() + 100).then_some(()) }).await;
    let last = append(&store, group(2)).await[1];
    until("the end", || async { (store.ping().await.expect("the clock") > last.ms()).then_some(()) }).await;
    let query = StampQuery { to: last.ms() + 1, ..asked(vec![short.clone()]) };
    let mut before = store.stamp(query.clone()).await.expect("a stamp");
    assert_eq!(before.expires, Some(first.ms() + 1000));
    let mut changes = 0;
    until("all have expired", || async { Some(()) }).await;
    for _ in 0..20_000 {
        let page = read(&store, ReadQuery { to: query.to, ..crate::kit::query(vec![short.clone()], 10) }).await;
        let after = store.stamp(query.clone()).await.expect("a stamp");
        if after.digest != before.digest {
            changes += 1;
            assert!(after.now >= before.expires.expect("a time"));
        } else {
            assert!(before.now < before.expires.unwrap_or(i64::MAX));
        }
        before = after;
        if page.events.is_empty() && before.expires.is_none() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!((changes, before.expires), (2, None));
    // Nothing is left, as if nothing had been.
    assert_eq!(before.digest, store.stamp(StampQuery { types: vec![ty(9)], ..query }).await.expect("a stamp").digest);
}

pub async fn a_stamp_follows_lifetimes<H: Home>() {
    let (_home, store) = fresh::<H>();
    let record = put(&store, "a:b", "permanent", 0).await;
    let number = record.type_no.get();
    append(&store, group(number, 1, &[])).await;
    let whole = digest(&store, asked(vec![ty(number)])).await;
    let record = put(&store, "a:b", "1s", record.revision).await;
    let short = TypeRef { type_no: record.type_no, ttl: ttl("1s") };
    until("it is gone", || async {
        let page = read(&store, query(vec![short.clone()], 10)).await;
        page.events.is_empty().then_some(())
    })
    .await;
    let gone = digest(&store, asked(vec![short])).await;
    assert_ne!(gone, whole);
    // As long a lifetime as at first, and yet there is nothing any more.
    let record = put(&store, "a:b", "permanent", record.revision).await;
    assert_eq!(digest(&store, asked(vec![ty(number)])).await, gone);
    append(&store, group(number, 2, &[])).await;
    let new = digest(&store, asked(vec![ty(number)])).await;
    assert!(new != whole && new != gone);
    // The same registration again takes nothing away.
    let record = put(&store, "a:b", "permanent", record.revision).await;
    assert_eq!(digest(&store, asked(vec![ty(number)])).await, new);
    let record = put(&store, "a:b", "ephemeral", record.revision).await;
    put(&store, "a:b", "permanent", record.revision).await;
    assert_eq!(digest(&store, asked(vec![ty(number)])).await, gone);
}

pub async fn a_stamp_of_a_thousand_types_is_quick<H: Home>() {
    let (_home, store) = fresh::<H>();
    store.append((0..1000).map(|number| group(number, 1, &[])).collect()).await.expect("answers");
    let now = store.ping().await.expect("the clock");
    let month = StampQuery { from: now - 30 * 86_400_000, ..asked((0..1000).map(ty).collect()) };
    let before = quick(Duration::from_secs(1), async || digest(&store, month.clone()).await).await;
    append(&store, group(999, 1, &[])).await;
    assert_ne!(digest(&store, month).await, before);
}

pub async fn two_equal_stamps_mean_the_same_page<H: Home>() {
    use std::collections::HashMap;
    let (_home, store) = fresh::<H>();
    let mut records = [put(&store, "a", "1s", 0).await, put(&store, "b", "permanent", 0).await];
    let mut dice = 0x9E37_79B9_7F4A_7C15_u64;
    let mut roll = |n: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % n
    };
    let begin = store.ping().await.expect("the clock");
    let mut all: Vec<EventId> = Vec::new();
    let mut pages: HashMap<(usize, [u8; 32]), Vec<StoredEvent>> = HashMap::new();
    let mut again = 0;
    for _ in 0..700 {
        let which = roll(2);
        let (number, lifetime) = (records[which].type_no.get(), records[which].ttl.clone());
        let recent = all.len().saturating_sub(5);
        match roll(10) {
            0..3 => {
                let group = AppendGroup { ttl: lifetime, ..group(number, 1 + roll(3), &[]) };
                all.extend(ids(number, &append(&store, group).await));
            }
            3..6 if !all.is_empty() => {
                let id = all[recent + roll(all.len() - recent)];
                let ttl = records.iter().find(|record| record.type_no == id.type_no()).map(|record| record.ttl.clone());
                let mark = [MarkRequest { id, ttl: ttl.expect("a record"), client: client() }];
                if roll(2) == 0 { store.mark(&mark).await } else { store.unmark(&mark).await }.expect("an answer");
            }
            6 if roll(4) == 0 => {
                let lives = ["1s", "2s", "permanent", "ephemeral"];
                let name = if which == 0 { "a" } else { "b" };
                records[which] = put(&store, name, lives[roll(4)], records[which].revision).await;
            }
            7..9 => tokio::time::sleep(std::time::Duration::from_millis([1, 5, 20][roll(3)])).await,
            _ => {}
        }
        let types: Vec<_> =
            records.iter().map(|record| TypeRef { type_no: record.type_no, ttl: record.ttl.clone() }).collect();
        let now = store.ping().await.expect("the clock");
        let ranges = [(0, i64::MAX), (begin, begin + 1500), (now - 600, now - 100), (now - 50, i64::MAX)];
        for (at, (from, to)) in ranges.into_iter().enumerate() {
            for (client, marked) in [(None, Marked::Ignore), (Some(client()), Marked::All(client()))] {
                let at = at * 2 + usize::from(client.is_some());
                let asked = StampQuery { types: types.clone(), from, to, client };
                let before = digest(&store, asked.clone()).await;
                let page = read(&store, ReadQuery { from, to, marked, ..query(types.clone(), 10_000) }).await;
                if digest(&store, asked).await != before {
                    continue;
                }
                // Ranges that move are no reader's: each is a range of its own.
                let at = if at < 4 { at } else { usize::try_from(from).unwrap_or(0) * 10 + at };
                let known = pages.entry((at, before)).or_insert_with(|| page.events.clone());
                again += usize::from(!page.events.is_empty());
                assert_eq!(known, &page.events, "range {at}");
            }
        }
    }
    assert!(again > 1000, "{again}");
}
