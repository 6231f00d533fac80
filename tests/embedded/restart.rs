//! What is answered is there after a crash, and time never runs backwards in positions.

use crate::support::*;
use bytes::Bytes;
use event_source_api::event::Position;
use event_source_api::store::embedded::EmbeddedStore;
use event_source_api::store::*;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const FOLDER: &str = "EMBEDDED_TEST_FOLDER";

/// Not a test by itself: the process that the next one kills.
#[tokio::test]
async fn child_that_appends_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let store = Arc::new(EmbeddedStore::open(std::path::Path::new(&folder), options()).unwrap());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                // Bounded: a parent that died does not leave it running for ever.
                for _ in 0..100_000 {
                    let answer = store.append(vec![group(type_no(3), "permanent", &["s"], 1)]).await.unwrap().remove(0);
                    let Ok(Appended::Stored(positions)) = answer else { panic!("{answer:?}") };
                    let line = format!("ACK {}\n", positions[0].get());
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "restart::child_that_appends_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acked = |line: String| Some(Position::new(line.rsplit_once("ACK ")?.1.parse().ok()?));
        let mut answered: HashSet<Position> = lines.by_ref().filter_map(acked).take(2000).collect();
        child.kill().unwrap();
        answered.extend(lines.filter_map(acked));
        child.wait().unwrap();
        assert!(answered.len() >= 2000, "{}", answered.len());

        let store = EmbeddedStore::open(folder.path(), options()).unwrap();
        let key = stream(type_no(3), "s");
        let waiting = store.counts(std::slice::from_ref(&key)).await.unwrap().remove(0).backlog;
        let mut pending = HashSet::new();
        loop {
            let claim = store.claim(request(&key, 1000, false)).await.unwrap();
            let Some(lease) = claim.lease else { break };
            pending.extend(positions(&claim));
            store.settle(settled(&key, lease, claim.events.len())).await.unwrap();
        }
        assert_eq!(pending.len() as u64, waiting, "the counter is exact");
        assert_eq!(answered.difference(&pending).count(), 0, "each answered event still waits for its stream");

        let mut stored = HashSet::new();
        let mut page = ReadQuery { from: 0, to: i64::MAX, ..query(&[(type_no(3), "permanent")], 10_000) };
        loop {
            let read = store.read(page.clone()).await.unwrap();
            page.before = read.events.last().map(|event| event.id);
            stored.extend(read.events.iter().map(|event| event.id.position()));
            if !read.more {
                break;
            }
        }
        assert_eq!(answered.difference(&stored).count(), 0, "each answered event is in the feed");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn positions_rise_when_the_clock_steps_back_and_over_a_restart() {
    let mut hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    let mut last = Position::default();
    for step in [0, -5000, 1, -3_600_000, 10] {
        hub.advance(step);
        let given = hub.send(ty, "1h", &[], 3).await;
        assert!(given[0] > last && given.is_sorted());
        last = given[2];
        hub.reopen();
        assert_eq!(hub.last_positions(&[ty, type_no(99)]).await.unwrap(), [last, Position::default()]);
    }
}

#[tokio::test]
async fn a_full_millisecond_borrows_from_the_next() {
    let hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    let first = hub.send(ty, "1h", &[], 700).await;
    let second = hub.send(ty, "1h", &[], 700).await;
    let all: Vec<_> = first.iter().chain(&second).copied().collect();
    assert_eq!(all[0], Position::first_of(START));
    assert!(all.windows(2).all(|pair| pair[1] == pair[0].plus(1)));
    assert_eq!(all[1399].ms(), START + 2);
    let feed = hub.feed(ty, "1h").await;
    assert_eq!(feed.iter().rev().map(|id| id.position()).collect::<Vec<_>>(), all);
}

#[tokio::test]
async fn registry_discards_marks_and_answers_outlive_a_restart() {
    let mut hub = Hub::new();
    let ty = hub.register("a:b", "2 days").await;
    let unknown = "no:such".parse().unwrap();
    hub.get_or_discard(&[(unknown, 7)], true).await.unwrap();
    let mut keyed = group(ty, "2 days", &[], 3);
    keyed.idempotency = Some(Idempotency { key: "k".into(), body_hash: [7; 32], window: Duration::from_secs(3600) });
    let first = hub.append(vec![keyed.clone()]).await.unwrap().remove(0).unwrap();
    let Appended::Stored(positions) = first else { panic!("{first:?}") };
    let id = event_source_api::event::EventId::new(ty, positions[1]);
    let client: event_source_api::event::ClientId = "c~1".parse().unwrap();
    let mark = MarkRequest { id, ttl: "2 days".parse().unwrap(), client: client.clone() };
    hub.advance(1500);
    assert_eq!(hub.mark(std::slice::from_ref(&mark)).await.unwrap(), [true]);
    hub.reopen();

    hub.advance(10);
    assert_eq!(hub.mark(&[mark]).await.unwrap(), [true]);
    let detail = hub.event(id, &type_ref(ty, "2 days"), &[]).await.unwrap().unwrap();
    assert_eq!(detail.processed_by, [(client, START + 1500)], "the first mark's time stays");
    assert_eq!(detail.event.payload, Bytes::from("1"));
    let again = hub.append(vec![keyed.clone()]).await.unwrap().remove(0).unwrap();
    assert_eq!(again, Appended::Duplicate(positions));
    hub.advance(HOUR);
    assert!(matches!(hub.append(vec![keyed]).await.unwrap().remove(0), Ok(Appended::Stored(_))));
    let (version, types) = hub.types().await.unwrap();
    assert_eq!((version.changes, types.len(), types[0].ttl.as_str()), (1, 1, "2 days"));
    assert_eq!(hub.register("c", "1h").await.get(), ty.get() + 1);
    assert_eq!(hub.discarded().await.unwrap()[0].count, 7);
}

#[tokio::test]
async fn requests_of_one_group_see_each_other() {
    let hub = Arc::new(Hub::new());
    let ty = hub.register("a", "1h").await;
    let mut keyed = group(ty, "1h", &["s"], 2);
    keyed.idempotency = Some(Idempotency { key: "k".into(), body_hash: [1; 32], window: Duration::from_secs(60) });
    let twice = hub.append(vec![keyed.clone(), keyed.clone()]).await.unwrap();
    assert!(matches!(&twice[0], Ok(Appended::Stored(_))));
    assert!(matches!(&twice[1], Ok(Appended::Duplicate(_))));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (hub, keyed) = (Arc::clone(&hub), keyed.clone());
            tokio::spawn(async move { hub.append(vec![keyed]).await.unwrap().remove(0).unwrap() })
        })
        .collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Appended::Duplicate(_)));
    }
    assert_eq!(hub.count(&stream(ty, "s")).await.backlog, 2);

    let put = |based_on| PutType {
        name: "b".parse().unwrap(),
        ttl: "1h".parse().unwrap(),
        registered: true,
        config: Bytes::new(),
        based_on,
    };
    let (a, b) = tokio::join!(hub.put_type(put(0)), hub.put_type(put(0)));
    assert!(matches!((a.unwrap(), b.unwrap()), (Put::Stored(_), Put::Conflict)));
    hub.clock.store(START - 5, Ordering::SeqCst);
    let both = hub.append(vec![group(ty, "1h", &[], 1), group(ty, "1h", &[], 1)]).await.unwrap();
    let [Ok(Appended::Stored(a)), Ok(Appended::Stored(b))] = &both[..] else { panic!("{both:?}") };
    assert_eq!(a[0].plus(1), b[0]);
}
