//! What was tried, as the streams tell it.

use crate::kit::*;
use bytes::Bytes;
use event_source_api::store::*;
use std::sync::Arc;
use std::time::Duration;

fn numbered(range: std::ops::Range<usize>) -> Vec<Bytes> {
    range.map(|n| Bytes::from(format!("attempt {n}"))).collect()
}

fn newest_first(range: std::ops::Range<usize>) -> Vec<Bytes> {
    numbered(range).into_iter().rev().collect()
}

async fn record(store: &Arc<dyn Store>, stream: &StreamKey, attempts: Vec<Bytes>) {
    store.record_attempts(stream, attempts).await.expect("an answer");
}

async fn attempts(store: &Arc<dyn Store>, stream: &StreamKey) -> Vec<Bytes> {
    store.attempts(stream).await.expect("attempts")
}

pub async fn attempts_come_newest_first<H: Home>() {
    let (_home, store) = fresh::<H>();
    let (hook, other) = (stream(1, "hook"), stream(1, "other"));
    assert_eq!(attempts(&store, &hook).await, Vec::<Bytes>::new());
    append(&store, group(1, 1, &["hook"])).await;
    assert_eq!(attempts(&store, &hook).await, Vec::<Bytes>::new());
    record(&store, &hook, numbered(0..3)).await;
    record(&store, &hook, Vec::new()).await;
    record(&store, &hook, numbered(3..4)).await;
    let bytes = Bytes::from_static(&[0, 255, 10, 13, 0]);
    record(&store, &other, vec![bytes.clone(), Bytes::new()]).await;
    assert_eq!(attempts(&store, &hook).await, newest_first(0..4));
    assert_eq!(attempts(&store, &other).await, [Bytes::new(), bytes]);
    assert_eq!(attempts(&store, &stream(2, "hook")).await, Vec::<Bytes>::new());
}

pub async fn the_newest_thousand_attempts_are_kept<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    record(&store, &hook, numbered(0..1000)).await;
    assert_eq!(attempts(&store, &hook).await, newest_first(0..1000));
    record(&store, &hook, numbered(1000..1001)).await;
    assert_eq!(attempts(&store, &hook).await, newest_first(1..1001));
    record(&store, &hook, numbered(1001..1600)).await;
    assert_eq!(attempts(&store, &hook).await, newest_first(600..1600));
    record(&store, &hook, numbered(1600..5000)).await;
    assert_eq!(attempts(&store, &hook).await, newest_first(4000..5000));
}

pub async fn attempts_are_recorded_side_by_side<H: Home>() {
    let (_home, store) = fresh::<H>();
    let hook = stream(1, "hook");
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..30 {
        let (store, hook) = (store.clone(), hook.clone());
        tasks.spawn(async move { record(&store, &hook, numbered(task * 50..task * 50 + 50)).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a task");
    }
    let kept = attempts(&store, &hook).await;
    assert_eq!(kept.len(), 1000);
    // Each call's stand together, in their order.
    for call in kept.chunks(50) {
        let first: usize = std::str::from_utf8(&call[49][8..]).expect("a number").parse().expect("a number");
        assert_eq!(call, newest_first(first..first + 50));
    }
}

pub async fn attempts_go_when_none_was_added_for_their_time<H: Home>() {
    let home = H::new();
    let store = home.open(StoreOptions { dead_ttl: Duration::from_millis(700), ..options() });
    let hook = stream(1, "hook");
    let start = store.ping().await.expect("the clock");
    for n in 0..4 {
        record(&store, &hook, numbered(n..n + 1)).await;
        until("a while has passed", || async {
            (store.ping().await.expect("the clock") > start + 300 * (n as i64 + 1)).then_some(())
        })
        .await;
    }
    let last = store.ping().await.expect("the clock");
    if last < start + 900 + 700 {
        // The last was added after `start + 900`.
        let kept = attempts(&store, &hook).await;
        if store.ping().await.expect("the clock") < start + 900 + 700 {
            assert_eq!(kept, newest_first(0..4));
        }
    }
    until("they are gone", || async { attempts(&store, &hook).await.is_empty().then_some(()) }).await;
    assert!(store.ping().await.expect("the clock") >= start + 900 + 700);
    record(&store, &hook, numbered(7..8)).await;
    assert_eq!(attempts(&store, &hook).await, newest_first(7..8));
}
