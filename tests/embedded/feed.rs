//! Feeds over many types and hours.

use crate::support::*;
use event_source_api::event::{ClientId, EventId, TypeNo};
use event_source_api::store::*;
use std::time::{Duration, Instant};

async fn all_pages(hub: &Hub, mut query: ReadQuery) -> Vec<EventId> {
    let mut ids = Vec::new();
    for _ in 0..10_000 {
        let page = hub.read(query.clone()).await.unwrap();
        ids.extend(page.events.iter().map(|event| event.id));
        if !page.more {
            return ids;
        }
        assert_eq!(page.events.len(), query.limit);
        query.before = ids.last().copied();
    }
    panic!("pages without end");
}

#[tokio::test]
async fn pages_are_exact_whatever_their_size() {
    let hub = Hub::new();
    let types: Vec<TypeNo> = (0..5).map(type_no).collect();
    let mut ids = Vec::new();
    for step in 0..60 {
        let groups = types.iter().filter(|ty| (step + ty.get()) % 3 != 0).map(|ty| group(*ty, "permanent", &[], 2));
        let groups: Vec<_> = groups.collect();
        let given: Vec<_> = groups.iter().map(|group| group.type_no).collect();
        for (ty, answer) in given.into_iter().zip(hub.append(groups).await.unwrap()) {
            let Ok(Appended::Stored(positions)) = answer else { panic!("{answer:?}") };
            ids.extend(positions.into_iter().map(|position| EventId::new(ty, position)));
        }
        hub.advance(if step % 7 == 0 { HOUR } else { 1 });
    }
    ids.sort_by(|a, b| b.cmp(a));
    let asked: Vec<_> = types.iter().map(|ty| (*ty, "permanent")).collect();
    for limit in [1, 7, 100, ids.len() - 1, ids.len(), 10_000] {
        assert_eq!(all_pages(&hub, query(&asked, limit)).await, ids, "limit {limit}");
    }
    let page = hub.read(query(&asked, ids.len())).await.unwrap();
    assert!(!page.more);
    let one = all_pages(&hub, query(&asked[2..3], 3)).await;
    assert_eq!(one, ids.iter().filter(|id| id.type_no() == types[2]).copied().collect::<Vec<_>>());
    let (from, to) = (START + HOUR, START + HOUR + 3);
    let cut = all_pages(&hub, ReadQuery { from, to, ..query(&asked, 4) }).await;
    let expected: Vec<_> = ids.iter().filter(|id| (from..to).contains(&id.ms())).copied().collect();
    assert!(!expected.is_empty());
    assert_eq!(cut, expected);
}

#[tokio::test]
async fn a_clients_view_follows_its_marks() {
    let hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let given = hub.send(ty, "permanent", &[], 10).await;
        ids.extend(given.into_iter().map(|position| EventId::new(ty, position)));
        hub.advance(HOUR);
    }
    ids.reverse();
    let (me, other): (ClientId, ClientId) = ("me".parse().unwrap(), "me2".parse().unwrap());
    let request = |id: &EventId, client: &ClientId| MarkRequest {
        id: *id,
        ttl: "permanent".parse().unwrap(),
        client: client.clone(),
    };
    // The newest hour whole, of the next every other event.
    let mine: Vec<_> = ids[..10].iter().chain(ids[10..20].iter().step_by(2)).copied().collect();
    let marks: Vec<_> = mine.iter().map(|id| request(id, &me)).collect();
    assert!(hub.mark(&marks).await.unwrap().into_iter().all(|found| found));
    hub.mark(&marks).await.unwrap();
    hub.mark(&[request(&ids[29], &other)]).await.unwrap();
    let view = async |marked, limit| all_pages(&hub, ReadQuery { marked, ..query(&[(ty, "permanent")], limit) }).await;
    let pending: Vec<_> = ids.iter().filter(|id| !mine.contains(id)).copied().collect();
    for limit in [1, 4, 1000] {
        assert_eq!(view(Marked::Pending(me.clone()), limit).await, pending);
        assert_eq!(view(Marked::Processed(me.clone()), limit).await, mine);
        assert_eq!(view(Marked::All(me.clone()), limit).await, ids);
    }
    let all =
        hub.read(ReadQuery { marked: Marked::All(me.clone()), ..query(&[(ty, "permanent")], 100) }).await.unwrap();
    assert!(all.events.iter().all(|event| event.processed_at.is_some() == mine.contains(&event.id)));
    assert_eq!(hub.unmark(&marks[..3]).await.unwrap(), [true; 3]);
    assert_eq!(view(Marked::Processed(me), 1000).await, mine[3..]);
    let unknown = EventId::new(ty, ids[0].position().plus(99));
    assert_eq!(hub.mark(&[request(&unknown, &other)]).await.unwrap(), [false]);
}

#[tokio::test]
async fn a_lifetime_counts_to_the_millisecond() {
    let hub = Hub::new();
    let ty = hub.register("a", "2s").await;
    let id = EventId::new(ty, hub.send(ty, "2s", &[], 1).await[0]);
    let mark = |ttl: &str| [MarkRequest { id, ttl: ttl.parse().unwrap(), client: "c".parse().unwrap() }];
    hub.advance(1999);
    assert_eq!(hub.feed(ty, "2s").await, [id]);
    assert_eq!(hub.mark(&mark("2s")).await.unwrap(), [true]);
    hub.advance(1);
    assert_eq!(hub.feed(ty, "2s").await, []);
    assert_eq!(hub.mark(&mark("2s")).await.unwrap(), [false]);
    assert!(hub.event(id, &type_ref(ty, "2s"), &[]).await.unwrap().is_none());
    assert_eq!(hub.feed(ty, "3s").await, [id], "a longer lifetime shows what is still there");
}

#[tokio::test]
async fn a_month_of_a_thousand_types_with_little_in_it_is_read_at_once() {
    let hub = Hub::new();
    let types: Vec<TypeNo> = (0..1000).map(type_no).collect();
    for _ in 0..30 {
        let groups = types.iter().step_by(40).map(|ty| group(*ty, "permanent", &[], 1)).collect();
        hub.append(groups).await.unwrap();
        hub.advance(24 * HOUR);
    }
    // An hour in which every type has something.
    hub.append(types.iter().map(|ty| group(*ty, "permanent", &[], 3)).collect()).await.unwrap();
    let asked: Vec<_> = types.iter().map(|ty| (*ty, "permanent")).collect();
    let sparse = ReadQuery { to: START + 30 * 24 * HOUR, ..query(&asked, 1000) };
    for (asked, expected) in [(sparse, (750, false)), (query(&asked, 1000), (1000, true))] {
        // At its best: on a busy machine anything may take long at times.
        let mut took = Vec::new();
        while took.iter().all(|took| *took >= Duration::from_millis(500)) {
            assert!(took.len() < 5, "{expected:?} in {took:?}");
            let started = Instant::now();
            let page = hub.read(asked.clone()).await.unwrap();
            took.push(started.elapsed());
            assert_eq!((page.events.len(), page.more), expected);
        }
    }
}

#[tokio::test]
async fn a_page_of_large_payloads_is_cut_and_says_so() {
    let hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    let payload = bytes::Bytes::from(format!("\"{}\"", "x".repeat(1 << 20)));
    for _ in 0..3 {
        let large = AppendGroup { payloads: vec![payload.clone(); 10], ..group(ty, "1h", &["s"], 1) };
        hub.append(vec![large]).await.unwrap();
    }
    let mut request = query(&[(ty, "1h")], 1000);
    let mut read = 0;
    for _ in 0..30 {
        let page = hub.read(request.clone()).await.unwrap();
        assert!(page.events.len() <= 17);
        read += page.events.len();
        request.before = page.events.last().map(|event| event.id);
        if !page.more {
            break;
        }
    }
    assert_eq!(read, 30);
    assert_eq!(hub.drain(&stream(ty, "s")).await, 30);
}
