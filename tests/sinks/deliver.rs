//! What is delivered, and how much at a time.

use super::bench::*;
use event_source_api::streams::*;
use std::time::Duration;

both_stores!(
    every_event_is_delivered_once_and_settled,
    no_more_is_in_memory_than_the_mailbox_and_no_more_in_flight_than_concurrency,
    a_slow_event_holds_up_nothing_but_its_slot,
    an_attempt_may_outlast_the_lease,
    an_attempt_that_never_ends_is_a_failed_one,
    attempts_are_counted_up_to_a_dead_letter
);

async fn every_event_is_delivered_once_and_settled(home: Home) {
    let mut bench = Bench::new(home, 16, Duration::from_secs(60), |_, _| Step::End(Outcome::Delivered));
    bench.send(2000).await;
    bench.start();
    for _ in 0..20 {
        bench.send(50).await;
    }
    bench.drained().await;
    let mut delivered = bench.delivered();
    delivered.sort_unstable();
    assert!(delivered.into_iter().eq(0..3000));
    assert_eq!(bench.counts().await.delivered, 3000);
    let status = bench.handle().status().await;
    assert_eq!((status.state, status.in_flight, status.waiting), (StreamState::Active, 0, 0));
    bench.end().await;
}

async fn no_more_is_in_memory_than_the_mailbox_and_no_more_in_flight_than_concurrency(home: Home) {
    let mut bench = Bench::new(home, 3, Duration::from_secs(60), |_, _| Step::Gate);
    bench.spec.mailbox = 10;
    bench.send(100).await;
    let handle = bench.start();
    until("events wait in memory", async || handle.status().await.waiting > 0).await;
    for opened in 0..100 {
        let status = handle.status().await;
        assert!(status.in_flight <= 3 && status.in_flight + status.waiting <= 10, "{status:?}");
        bench.other.gate.add_permits(1);
        until("one more is delivered", async || bench.delivered().len() > opened).await;
    }
    bench.drained().await;
    bench.end().await;
}

async fn a_slow_event_holds_up_nothing_but_its_slot(home: Home) {
    let act = |event, attempt| match (event, attempt) {
        (0, _) => Step::Gate,
        (5, 1) => Step::End(retry("once")),
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(home, 2, Duration::from_secs(60), act);
    bench.send(200).await;
    bench.start();
    // The failed one too, long before the claim of the slow one is renewed.
    until("all but one are settled", async || bench.counts().await.backlog == 1).await;
    assert_eq!(bench.delivered().len(), 199);
    bench.other.gate.add_permits(1);
    bench.drained().await;
    assert_eq!(bench.counts().await.failed, 1);
    bench.end().await;
}

async fn an_attempt_may_outlast_the_lease(home: Home) {
    let act = |_, _| Step::After(3500 * MS, Outcome::Delivered);
    let mut bench = Bench::new(home, 4, Duration::from_secs(1), act);
    bench.send(6).await;
    bench.start();
    bench.drained().await;
    assert_eq!(bench.log().len(), 6, "each was tried once");
    bench.end().await;
}

async fn an_attempt_that_never_ends_is_a_failed_one(home: Home) {
    let act = |event, attempt| match (event, attempt) {
        (0, 1) => Step::Never,
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(home, 2, Duration::from_secs(60), act);
    bench.send(3).await;
    bench.start();
    bench.drained().await;
    assert_eq!(bench.counts().await.failed, 1);
    bench.end().await;
}

async fn attempts_are_counted_up_to_a_dead_letter(home: Home) {
    let mut bench = Bench::new(home, 4, Duration::from_secs(60), |_, _| Step::End(retry("never")));
    bench.send(1).await;
    let handle = bench.start();
    bench.drained().await;
    assert_eq!(bench.log().len(), 5);
    let counts = bench.counts().await;
    assert_eq!((counts.dead, counts.failed, counts.delivered), (1, 5, 0));
    let dead = bench.store.dead_letters(&key(), None, 10).await.unwrap();
    assert_eq!((dead[0].failure.attempts, dead[0].failure.last_error.as_str()), (5, "never"));
    let status = handle.status().await;
    assert_eq!((status.state, status.last_error.as_deref()), (StreamState::Failing, Some("never")));
    bench.end().await;
}
