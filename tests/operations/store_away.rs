//! Redis goes away and comes back; the hub says so, refuses honestly, and recovers by itself.

use crate::support::api::webhook;
use crate::support::hub::Setup;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::webhook::Webhook;
use crate::support::ws::Session;
use serde_json::json;
use std::time::{Duration, Instant};

#[actix_web::test]
async fn the_hub_says_that_redis_is_away_and_recovers_by_itself() {
    let setup = Setup::redis();
    let hub = setup.start().await;
    let hook = Webhook::start().await;
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let mut session = Session::open(&hub, "?types=t").await;
    let before = hub.send("t", json!("before")).await;
    assert_eq!(session.event().await["id"], before.id.as_str());
    hook.delivered(1).await;
    for round in 0..2 {
        setup.redis_server().kill();
        eventually(PATIENCE, "the hub to notice", || async { (hub.get("/readyz").await.status == 503).then_some(()) })
            .await;
        hub.get("/healthz").await.expect(200);
        let body = json!({"type": "t", "payload": "away"});
        hub.post("/api/events/send", &body).await.problem(503);
        hub.post("/api/events/send", json!([body, body])).await.problem(503);
        hub.get("/api/events/feed/hour/current").await.problem(503);
        hub.get(&format!("/api/events/{}", before.id)).await.problem(503);
        hub.call("PUT", &format!("/api/events/{}/ok/c", before.id), &[], None).await.problem(503);
        hub.put("/api/events/register", json!({"type": "u", "ttl": "1h"})).await.problem(503);
        hub.put("/api/events/register", json!({"type": "u"})).await.problem(422);
        setup.redis_server().restart();
        eventually(PATIENCE, "the hub to recover", || async { (hub.get("/readyz").await.status == 200).then_some(()) })
            .await;
        let after = hub.send("t", json!({"round": round})).await;
        hook.until("the event after the outage", |r| r.iter().any(|r| r.header("webhook-id") == Some(&after.id))).await;
        assert!(hub.walk("100days/current").await.contains(&before.id), "nothing is lost with a synced Redis");
        // The session stays, and sees what is sent after the outage (and what it may have missed).
        loop {
            if session.event().await["id"] == after.id.as_str() {
                break;
            }
        }
    }
}

#[actix_web::test]
async fn the_first_requests_wait_a_moment_for_the_registry() {
    let setup = Setup::redis();
    let hub = setup.start().await;
    hub.register("t", "1h").await;
    hub.kill();
    setup.redis_server().freeze();
    let hub = setup.spawn().await;
    let since = Instant::now();
    let body = json!({"type": "t", "payload": 1});
    hub.post("/api/events/send", &body).await.problem(503);
    assert!(since.elapsed() >= Duration::from_millis(900), "told after {:?}", since.elapsed());
    let thaw = async {
        hub.get("/healthz").await.expect(200);
        setup.redis_server().thaw();
    };
    let (answer, ()) = futures_util::join!(hub.post("/api/events/send", &body), thaw);
    assert_eq!(answer.expect(202).json()["status"], "accepted");
}

#[actix_web::test]
async fn a_hub_may_start_before_its_redis() {
    let setup = Setup::redis();
    setup.redis_server().kill();
    let hub = setup.spawn().await;
    hub.get("/healthz").await.expect(200);
    hub.get("/readyz").await.problem(503);
    hub.post("/api/events/send", json!({"type": "t", "payload": 1})).await.problem(503);
    setup.redis_server().restart();
    eventually(PATIENCE, "the hub to be ready", || async { (hub.get("/readyz").await.status == 200).then_some(()) })
        .await;
    hub.register("t", "1h").await;
    hub.send("t", json!(1)).await;
}

#[actix_web::test]
async fn a_full_redis_refuses_and_still_drains() {
    let setup = Setup::redis();
    let hub = setup.start().await;
    let hook = Webhook::start().await;
    hook.answers(|_| crate::support::webhook::Answer::Status(500));
    hub.register_with("t", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
    let waiting = hub.send_many("t", 5).await;
    hook.until("a failure", |r| !r.is_empty()).await;
    // Less than it already uses: nothing more can be written.
    redis_cli(setup.redis_server().port(), &["CONFIG", "SET", "maxmemory", "1mb"]);
    let refused = hub.post("/api/events/send", json!({"type": "t", "payload": "x".repeat(1000)})).await;
    assert_eq!(refused.problem(503)["type"], "/problems/store-full");
    hook.answers(|_| crate::support::webhook::Answer::Status(200));
    let mut delivered = hook.delivered(5).await;
    delivered.sort_unstable();
    assert_eq!(delivered, waiting.into_iter().map(|s| s.id).collect::<Vec<_>>(), "a full Redis still drains");
    redis_cli(setup.redis_server().port(), &["CONFIG", "SET", "maxmemory", "0"]);
    hub.send("t", json!("again")).await;
}

fn redis_cli(port: u16, arguments: &[&str]) {
    let done = std::process::Command::new("redis-cli").args(["-p", &port.to_string()]).args(arguments).output();
    let done = done.expect("redis-cli comes with redis-server's packages");
    assert!(done.status.success() && done.stdout.starts_with(b"OK"), "{done:?}");
}
