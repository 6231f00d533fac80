//! Another side that fails, or is away.

use super::bench::*;
use event_source_api::streams::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

both_stores!(
    a_dead_other_side_uses_up_no_attempts_and_is_probed_one_at_a_time,
    a_failing_stream_recovers_with_everything_due_at_once,
    what_waits_for_an_other_side_that_is_back_is_due_at_once,
    one_bad_event_holds_back_no_other
);

async fn a_dead_other_side_uses_up_no_attempts_and_is_probed_one_at_a_time(home: Home) {
    let began = Instant::now();
    let back = began + 2 * Duration::from_secs(1);
    let act = move |_, _| Step::End(if Instant::now() < back { away() } else { Outcome::Delivered });
    let mut bench = Bench::new(home, 8, Duration::from_secs(60), act);
    bench.spec.retry.attempts = 1;
    bench.send(100).await;
    let handle = bench.start();
    until("it is failing", async || handle.status().await.state == StreamState::Failing).await;
    bench.drained().await;
    let counts = bench.counts().await;
    assert_eq!((counts.delivered, counts.dead), (100, 0));
    let probes = bench.log().iter().filter(|seen| !seen.delivered).count();
    // Eight at once in the beginning, then on the schedule: 2 s of up to 200 ms each.
    assert!((10..40).contains(&probes), "{probes}");
    let last = bench.log().iter().map(|seen| seen.at).max().unwrap();
    assert!(last < back + Duration::from_secs(1), "at full speed once it is back: {:?}", last - back);
    assert_eq!(handle.status().await.state, StreamState::Active);
    bench.end().await;
}

async fn a_failing_stream_recovers_with_everything_due_at_once(home: Home) {
    let back = Instant::now() + Duration::from_secs(1);
    let act = move |_, _| Step::End(if Instant::now() < back { retry("no") } else { Outcome::Delivered });
    let mut bench = Bench::new(home, 8, Duration::from_secs(60), act);
    // On its own schedule an event would come again after half a minute.
    bench.spec.retry = Retry { attempts: 40, first: 300 * MS, max: Duration::from_secs(30) };
    bench.send(50).await;
    bench.start();
    bench.drained().await;
    assert!(Instant::now() < back + Duration::from_secs(3));
    assert_eq!(bench.counts().await.dead, 0);
    bench.end().await;
}

async fn what_waits_for_an_other_side_that_is_back_is_due_at_once(home: Home) {
    let there = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&there);
    let act = move |_, _| Step::End(if seen.load(Ordering::Relaxed) { Outcome::Delivered } else { away() });
    let mut bench = Bench::new(home, 4, Duration::from_secs(60), act);
    // Longer than the test waits: without a word of the sink nothing comes again in time.
    bench.spec.retry = Retry { attempts: 5, first: 2 * SOON, max: 2 * SOON };
    bench.send(1).await;
    let handle = bench.start();
    until("it is failing", async || handle.status().await.state == StreamState::Failing).await;
    until("the outbox has it back, for later", async || bench.counts().await.failed == 1).await;
    there.store(true, Ordering::Relaxed);
    bench.other.back.send_replace(true);
    bench.drained().await;
    assert_eq!(bench.counts().await.delivered, 1);
    // Once a step while it is away: told that the other side is back, it does not ask again and again.
    let waits = bench.other.waits.load(Ordering::Relaxed);
    assert!(waits < 200, "{waits}");
    bench.end().await;
}

async fn one_bad_event_holds_back_no_other(home: Home) {
    let act = |event, _| Step::End(if event == 0 { retry("bad") } else { Outcome::Delivered });
    let mut bench = Bench::new(home, 4, Duration::from_secs(60), act);
    bench.spec.retry = Retry { attempts: 10_000, first: 5 * MS, max: 10 * MS };
    bench.send(1).await;
    let handle = bench.start();
    until("it is failing", async || handle.status().await.state == StreamState::Failing).await;
    for n in 1..20 {
        bench.send(1).await;
        until("the new one is delivered", async || bench.delivered().contains(&n)).await;
    }
    bench.end().await;
}
