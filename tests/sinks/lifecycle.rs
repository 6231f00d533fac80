//! Stops, pauses, new specifications, and deaths.

use super::bench::*;
use event_source_api::streams::*;
use std::time::{Duration, Instant};

both_stores!(
    a_stop_finishes_what_ends_in_time_and_gives_back_the_rest_at_once,
    a_pause_of_the_other_side_is_told_and_holds_until_it_is_lifted,
    a_draining_stream_says_when_it_is_empty,
    a_new_specification_is_followed_with_nothing_lost,
    a_stream_that_panics_is_rebuilt_and_loses_nothing
);

async fn a_stop_finishes_what_ends_in_time_and_gives_back_the_rest_at_once(home: Home) {
    let act = |event, attempt| match (event, attempt) {
        (0, _) => Step::After(300 * MS, Outcome::Delivered),
        (1, 1) => Step::Never,
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(home, 2, Duration::from_secs(600), act);
    bench.send(20).await;
    let handle = bench.start();
    until("two are under way", async || handle.status().await.in_flight == 2).await;
    let began = Instant::now();
    handle.stop(Duration::from_secs(1)).await;
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < Duration::from_secs(3));
    assert!(bench.delivered().contains(&0));
    assert_eq!(bench.counts().await.backlog as usize, 20 - bench.delivered().len(), "settled");
    // Under its lease it would not come back for ten minutes.
    bench.start();
    bench.drained().await;
    bench.end().await;
}

async fn a_pause_of_the_other_side_is_told_and_holds_until_it_is_lifted(home: Home) {
    let act = |event, attempt| match (event, attempt) {
        (0, 1) => Step::End(Outcome::Pause { error: "gone".into() }),
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(home, 1, Duration::from_secs(60), act);
    bench.send(5).await;
    let handle = bench.start();
    let told = tokio::time::timeout(SOON, bench.events.recv()).await.unwrap().unwrap();
    assert!(matches!(told, SinkEvent::Paused(k, error) if k == key() && error == "gone"));
    until("nothing is held", async || handle.status().await.waiting == 0).await;
    assert_eq!(handle.status().await.state, StreamState::Paused);
    bench.send(5).await;
    tokio::time::sleep(100 * MS).await;
    assert!(bench.delivered().is_empty());
    bench.respecify(|_| {});
    bench.drained().await;
    assert!(bench.delivered().into_iter().eq(0..10));
    bench.end().await;
}

async fn a_draining_stream_says_when_it_is_empty(home: Home) {
    let mut bench = Bench::new(home, 4, Duration::from_secs(60), |_, _| Step::Gate);
    bench.send(10).await;
    let handle = bench.start();
    bench.respecify(|new| new.draining = true);
    until("it is draining", async || handle.status().await.state == StreamState::Draining).await;
    bench.other.gate.add_permits(9);
    until("one is left", async || bench.delivered().len() == 9).await;
    assert!(bench.events.try_recv().is_err());
    bench.other.gate.add_permits(1);
    let told = tokio::time::timeout(SOON, bench.events.recv()).await.unwrap().unwrap();
    assert!(matches!(told, SinkEvent::Drained(k) if k == key()));
    assert_eq!(bench.counts().await.backlog, 0);
    bench.end().await;
}

async fn a_new_specification_is_followed_with_nothing_lost(home: Home) {
    let mut bench = Bench::new(home, 1, Duration::from_secs(60), |_, _| Step::After(MS, Outcome::Delivered));
    bench.send(300).await;
    let handle = bench.start();
    for concurrency in [8, 1, 3, 1, 16] {
        let before = bench.delivered().len();
        until("it goes on", async || bench.delivered().len() > before + 10).await;
        bench.respecify(|new| (new.spec.concurrency, new.spec.mailbox) = (concurrency, 20));
        until("it is known", async || handle.status().await.concurrency == concurrency).await;
    }
    bench.drained().await;
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    assert!(delivered.into_iter().eq(0..300));
    bench.end().await;
}

async fn a_stream_that_panics_is_rebuilt_and_loses_nothing(home: Home) {
    let act = |event, attempt| match (event, attempt) {
        (7, 1) => Step::Panic,
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(home, 4, Duration::from_secs(2), act);
    bench.send(20).await;
    bench.start();
    bench.drained().await;
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    delivered.dedup();
    assert!(delivered.into_iter().eq(0..20));
    // And hears of what comes next.
    bench.send(1).await;
    bench.drained().await;
    bench.end().await;
}

#[actix_web::test]
async fn what_was_delivered_while_the_store_was_away_is_settled_when_it_is_back() {
    // A claim whose answer was lost comes back by its lease.
    let mut bench = Bench::new(Home::redis(), 4, Duration::from_secs(10), |_, _| Step::Gate);
    bench.send(12).await;
    let handle = bench.start();
    until("attempts are under way", async || handle.status().await.in_flight == 4).await;
    let Home::Redis(server) = &mut bench.home else { panic!("it is on Redis") };
    server.kill();
    bench.other.gate.add_permits(100);
    until("what is claimed is delivered", async || bench.delivered().len() >= 4).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let Home::Redis(server) = &mut bench.home else { panic!("it is on Redis") };
    server.restart();
    bench.drained().await;
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    delivered.dedup();
    assert!(delivered.into_iter().eq(0..12));
    bench.end().await;
}
