//! `concurrency: 1`: commit order, whatever happens.

use super::bench::*;
use event_source_api::streams::*;
use std::time::Duration;

both_stores!(an_ordered_stream_never_overtakes, an_ordered_stream_keeps_its_order_over_pauses_and_stops);

async fn an_ordered_stream_never_overtakes(home: Home) {
    let act = |event: usize, attempt| match (event % 7, attempt) {
        (3, 1 | 2) => Step::End(retry("twice")),
        (5, 1) => Step::End(away()),
        _ => Step::End(Outcome::Delivered),
    };
    let mut bench = Bench::new(home, 1, Duration::from_secs(60), act);
    bench.send(20).await;
    bench.start();
    bench.send(20).await;
    bench.drained().await;
    assert!(bench.delivered().into_iter().eq(0..40), "{:?}", bench.delivered());
    bench.end().await;
}

async fn an_ordered_stream_keeps_its_order_over_pauses_and_stops(home: Home) {
    let act = |event: usize, attempt| match (event % 5, attempt) {
        (2, 1) => Step::End(retry("once")),
        _ => Step::After(2 * MS, Outcome::Delivered),
    };
    let mut bench = Bench::new(home, 1, Duration::from_secs(60), act);
    bench.send(100).await;
    for round in 0..6usize {
        let handle = bench.start();
        let before = bench.delivered().len();
        until("some are delivered", async || bench.delivered().len() > before + 5).await;
        if round % 2 == 0 {
            bench.respecify(|new| new.paused = true);
            until("nothing is held", async || {
                let status = handle.status().await;
                status.in_flight + status.waiting == 0
            })
            .await;
            bench.respecify(|_| {});
            let before = bench.delivered().len();
            until("it goes on", async || bench.delivered().len() > before + 2).await;
        }
        bench.send(10).await;
        handle.stop(Duration::from_secs(1)).await;
    }
    bench.start();
    bench.drained().await;
    assert!(bench.delivered().into_iter().eq(0..160), "{:?}", bench.delivered());
    bench.end().await;
}
