//! `concurrency: 1` delivers in commit order, whatever fails.

use crate::both_stores;
use crate::support::api::webhook;
use crate::support::hub::{Hub, Setup};
use crate::support::webhook::{Answer, Received, Webhook};
use serde_json::{Value, json};

both_stores!(one_at_a_time_keeps_the_order, a_failing_event_holds_those_after_it, the_order_outlives_a_kill,);

fn ordered(uri: &str) -> Value {
    let mut stream = webhook("hook", uri);
    stream["concurrency"] = json!(1);
    stream
}

/// The `n` of each successful delivery, in the order of arrival.
fn successes(received: &[Received]) -> Vec<i64> {
    received.iter().filter(|r| r.succeeded()).map(|r| r.json()["payload"]["n"].as_i64().unwrap()).collect()
}

async fn one_at_a_time_keeps_the_order(hub: Hub) {
    let hook = Webhook::start().await;
    hub.register_with("t", "1h", json!([ordered(&hook.uri("/"))])).await;
    hub.send_many("t", 100).await;
    hook.delivered(100).await;
    assert_eq!(successes(&hook.received()), (0..100).collect::<Vec<_>>());
}

async fn a_failing_event_holds_those_after_it(hub: Hub) {
    let hook = Webhook::start().await;
    hook.answers(|r| {
        let n = r.json()["payload"]["n"].as_i64().unwrap();
        Answer::Status(if n % 5 == 3 && r.attempt < 4 { 500 } else { 200 })
    });
    hub.register_with("t", "1h", json!([ordered(&hook.uri("/"))])).await;
    hub.send_many("t", 30).await;
    hook.delivered(30).await;
    let received = hook.received();
    assert_eq!(successes(&received), (0..30).collect::<Vec<_>>());
    let mut highest = -1;
    for request in &received {
        let n = request.json()["payload"]["n"].as_i64().unwrap();
        assert!(n >= highest, "{n} was attempted again after {highest}");
        highest = n;
    }
}

async fn the_order_outlives_a_kill(setup: Setup) {
    let setup = setup.set("streams.lease", "1s");
    let hub = setup.start().await;
    let hook = Webhook::start().await;
    hook.answers(|r| if r.json()["payload"]["n"] == 10 { Answer::Hang } else { Answer::Status(200) });
    hub.register_with("t", "1h", json!([ordered(&hook.uri("/"))])).await;
    hub.send_many("t", 30).await;
    hook.until("the event that hangs", |r| r.iter().any(|r| r.json()["payload"]["n"] == 10)).await;
    let setup = hub.kill();
    hook.answers(|_| Answer::Status(200));
    let _hub = setup.start().await;
    hook.delivered(30).await;
    // At least once: what had been delivered just before the kill may come again, but never out of order.
    let mut first_seen = Vec::new();
    for n in successes(&hook.received()) {
        if !first_seen.contains(&n) {
            first_seen.push(n);
        }
    }
    assert_eq!(first_seen, (0..30).collect::<Vec<_>>());
}
