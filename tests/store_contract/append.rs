//! Appending: order, atomicity, idempotency, backlog.

use crate::kit::*;
use bytes::Bytes;
use event_source_api::event::Position;
use event_source_api::store::*;
use std::collections::HashSet;
use std::time::Duration;

pub async fn ids_rise_in_commit_order_with_concurrent_appends<H: Home>() {
    let (_home, store) = fresh::<H>();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut runs = Vec::new();
                for _ in 0..25 {
                    runs.push(append(&store, group(1, 3, &[])).await);
                }
                runs
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        let runs = task.await.expect("a task");
        // What one sender sends later comes later.
        assert!(runs.concat().is_sorted_by(|a, b| a < b));
        // A group is one run: nothing of another comes between.
        all.extend(runs);
    }
    all.sort();
    assert!(all.concat().is_sorted_by(|a, b| a < b), "groups overlap");
    assert_eq!(all.concat().len(), 600);
    let expected = newest_first(ids(1, &all.concat()));
    assert_eq!(read_all(&store, query(vec![ty(1)], 1000)).await, expected);
}

pub async fn more_events_than_a_millisecond_holds_keep_their_order<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut all = Vec::new();
    for _ in 0..3 {
        all.extend(append(&store, group(5, 2000, &["hook"])).await);
    }
    assert_eq!(all.len(), 6000);
    assert!(all.is_sorted_by(|a, b| a < b));
    let page = read(&store, query(vec![ty(5)], 10_000)).await;
    assert!(!page.more);
    assert_eq!(ids_of(&page), newest_first(ids(5, &all)));
    let payloads: Vec<_> = page.events.iter().rev().map(|event| event.payload.clone()).collect();
    let expected: Vec<_> = (0..6000).map(|i| Bytes::from((i % 2000).to_string())).collect();
    assert_eq!(payloads, expected);
    // What borrowed a millisecond of the future is due all the same.
    let claim = store.claim(claim(&stream(5, "hook"), 10_000)).await.expect("a claim");
    assert_eq!(claimed(&claim), all);
}

pub async fn payloads_keep_their_bytes<H: Home>() {
    let (_home, store) = fresh::<H>();
    let payloads: Vec<Bytes> = vec![
        Bytes::from_static(br#"{"b": 1e400, "a":123456789012345678901234567890,"s":"\u00e9\u0000"}"#),
        Bytes::from_static(b"null"),
        Bytes::from("\"é日本\u{1F600}\""),
        Bytes::from(format!("\"{}\"", "x".repeat(300_000))),
        Bytes::from_static(b" [ 1 ,2.50 ] "),
        Bytes::from(format!("\"{}\"", "y".repeat(127))),
        Bytes::from(format!("\"{}\"", "z".repeat(20_000))),
    ];
    let positions = append(&store, AppendGroup { payloads: payloads.clone(), ..group(3, 0, &["s"]) }).await;
    let page = read(&store, query(vec![ty(3)], 10)).await;
    assert_eq!(page.events.iter().rev().map(|event| event.payload.clone()).collect::<Vec<_>>(), payloads);
    let claim = store.claim(claim(&stream(3, "s"), 10)).await.expect("a claim");
    assert_eq!(claim.events.iter().map(|event| event.payload.clone()).collect::<Vec<_>>(), payloads);
    let id = ids(3, &positions)[3];
    let detail = store.event(id, &ty(3), &[]).await.expect("an answer").expect("the event");
    assert_eq!(detail.event.payload, payloads[3]);
}

pub async fn an_event_is_dated_by_the_stores_clock<H: Home>() {
    let (_home, store) = fresh::<H>();
    let before = store.ping().await.expect("the clock");
    let position = append(&store, group(1, 1, &[])).await[0];
    let after = store.ping().await.expect("the clock");
    assert!((before..=after).contains(&position.ms()));
}

pub async fn groups_are_answered_in_order<H: Home>() {
    let (_home, store) = fresh::<H>();
    let groups: Vec<_> = (0..200).map(|i| group(i * 7, usize::from(i % 5) + 1, &[])).collect();
    let answers = store.append(groups.clone()).await.expect("answers");
    assert_eq!(answers.len(), groups.len());
    for (group, answer) in groups.iter().zip(answers) {
        let Ok(Appended::Stored(positions)) = answer else { panic!("not stored") };
        assert_eq!(positions.len(), group.payloads.len());
        let page = read(&store, query(vec![ty(group.type_no.get())], 10)).await;
        assert_eq!(ids_of(&page), newest_first(ids(group.type_no.get(), &positions)));
    }
    assert!(store.append(Vec::new()).await.expect("an answer").is_empty());
}

pub async fn the_same_type_twice_in_one_append_is_in_order<H: Home>() {
    let (_home, store) = fresh::<H>();
    let other = AppendGroup { revision: 2, ..group(1, 70, &["a"]) };
    let answers = store.append(vec![group(1, 70, &["a"]), group(2, 1, &[]), other]).await.expect("answers");
    let mut positions = Vec::new();
    for (answer, number) in answers.into_iter().zip([1, 2, 1]) {
        let Ok(Appended::Stored(stored)) = answer else { panic!("not stored") };
        if number == 1 {
            positions.extend(stored);
        }
    }
    assert!(positions.is_sorted_by(|a, b| a < b));
    assert_eq!(
        store.last_positions(&[type_no(1), type_no(9)]).await.expect("positions"),
        [positions[139], Position::default()]
    );
}

pub async fn a_full_backlog_refuses_its_type_alone<H: Home>() {
    let home = H::new();
    let store = home.open(StoreOptions { max_backlog: 10, ..options() });
    append(&store, group(1, 10, &["slow"])).await;
    let both = store.append(vec![group(1, 1, &["quick", "slow"]), group(2, 1, &["slow"])]).await.expect("answers");
    assert!(matches!(&both[0], Ok(Appended::BacklogFull(name)) if name.as_str() == "slow"));
    assert!(matches!(&both[1], Ok(Appended::Stored(_))));
    // Nothing of it was stored, for no stream and no feed.
    assert_eq!(counts(&store, &stream(1, "quick")).await.backlog, 0);
    assert_eq!(read(&store, query(vec![ty(1)], 100)).await.events.len(), 10);
    // Delivered events make room.
    let claim = store.claim(claim(&stream(1, "slow"), 5)).await.expect("a claim");
    assert!(matches!(append_one(&store, group(1, 1, &["slow"])).await, Appended::BacklogFull(_)));
    store.settle(delivered(&stream(1, "slow"), &claim)).await.expect("settled");
    append(&store, group(1, 1, &["slow"])).await;
}

fn keyed(number: u16, count: usize, key: &str, body: u8) -> AppendGroup {
    let idempotency = Idempotency { key: key.into(), body_hash: [body; 32], window: Duration::from_secs(3600) };
    AppendGroup { idempotency: Some(idempotency), ..group(number, count, &["hook"]) }
}

pub async fn a_key_gives_its_first_answer_again<H: Home>() {
    let (_home, store) = fresh::<H>();
    let first = append(&store, keyed(1, 130, "k 1", 7)).await;
    append(&store, keyed(1, 1, "k 2", 7)).await;
    assert_eq!(append_one(&store, keyed(1, 130, "k 1", 7)).await, Appended::Duplicate(first));
    assert_eq!(read(&store, query(vec![ty(1)], 1000)).await.events.len(), 131);
    assert_eq!(counts(&store, &stream(1, "hook")).await.backlog, 131);
}

pub async fn a_key_counts_within_the_same_append<H: Home>() {
    let (_home, store) = fresh::<H>();
    let answers = store.append(vec![keyed(1, 2, "k", 1), keyed(1, 2, "k", 1), keyed(1, 2, "k", 2)]).await;
    let answers: Vec<_> = answers.expect("answers").into_iter().map(|answer| answer.expect("an answer")).collect();
    let Appended::Stored(first) = answers[0].clone() else { panic!("not stored") };
    assert_eq!(answers[1..], [Appended::Duplicate(first), Appended::KeyReused]);
}

pub async fn a_key_with_another_body_stores_nothing<H: Home>() {
    let (_home, store) = fresh::<H>();
    append(&store, keyed(1, 1, "k", 7)).await;
    assert_eq!(append_one(&store, keyed(1, 1, "k", 8)).await, Appended::KeyReused);
    // A key belongs to its type.
    append(&store, keyed(2, 1, "k", 8)).await;
    assert_eq!(read(&store, query(vec![ty(1), ty(2)], 10)).await.events.len(), 2);
}

pub async fn a_key_is_forgotten_after_its_window<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut short = keyed(1, 1, "k", 7);
    short.idempotency.as_mut().expect("a key").window = Duration::from_millis(300);
    append(&store, short.clone()).await;
    until("the key is forgotten", || async {
        matches!(append_one(&store, short.clone()).await, Appended::Stored(_)).then_some(())
    })
    .await;
}

pub async fn a_key_of_a_refused_group_is_not_used_up<H: Home>() {
    let home = H::new();
    let store = home.open(StoreOptions { max_backlog: 1, ..options() });
    append(&store, group(1, 1, &["hook"])).await;
    assert!(matches!(append_one(&store, keyed(1, 1, "k", 7)).await, Appended::BacklogFull(_)));
    let claim = store.claim(claim(&stream(1, "hook"), 5)).await.expect("a claim");
    store.settle(delivered(&stream(1, "hook"), &claim)).await.expect("settled");
    let first = append(&store, keyed(1, 1, "k", 7)).await;
    // A known key is answered even while the stream is full.
    assert_eq!(append_one(&store, keyed(1, 1, "k", 7)).await, Appended::Duplicate(first));
}

pub async fn positions_are_given_once<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut seen = HashSet::new();
    for count in [1, 64, 65, 511, 512, 513, 3, 1000] {
        for position in append(&store, group(1, count, &[])).await {
            assert!(seen.insert(position));
        }
    }
}
