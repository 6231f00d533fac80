//! `feed`: a slice of time as people read it, and on from there.

use super::program::Program;
use crate::support::hub::{Hub, Setup, run};
use serde_json::{Value, json};

fn payloads(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["payload"].clone()).collect()
}

#[actix_web::test]
async fn the_newest_is_last_and_pages_are_read_to_the_end() {
    run(Setup::embedded(), async |hub: Hub| {
        let done = Program::new("feed").to(&hub).run().await.expect(0);
        assert_eq!((done.out.as_str(), done.err.contains("no events")), ("", true));
        hub.register("t", "1h").await;
        hub.register("u", "1h").await;
        let batch: Vec<Value> = (0..900).map(|n| json!({"type": "t", "payload": n})).collect();
        for part in 0..12 {
            let batch: Vec<Value> = batch
                .iter()
                .map(|e| json!({"type": "t", "payload": part * 900 + e["payload"].as_i64().unwrap()}))
                .collect();
            hub.post("/api/events/send", json!(batch)).await.expect(202);
        }
        hub.send("u", json!("last")).await;
        let done = Program::new("feed day --types t --json --limit 10500").to(&hub).run().await.expect(0);
        assert_eq!(payloads(&done.out), (300..10_800).map(Value::from).collect::<Vec<_>>());
        assert!(done.err.contains("--limit"), "{done:?}");
        let done = Program::new("feed day --limit 2").to(&hub).run().await.expect(0);
        let lines: Vec<_> = done.out.lines().collect();
        assert!(lines.len() == 2 && lines[0].ends_with("10799") && lines[1].ends_with("\"last\""), "{done:?}");
    })
    .await;
}

#[actix_web::test]
async fn a_clients_feed_is_what_it_has_not_processed() {
    run(Setup::embedded(), async |hub: Hub| {
        hub.register("t", "1h").await;
        let sent = hub.send_many("t", 3).await;
        hub.call("PUT", &format!("/api/events/{}/ok/c", sent[1].id), &[], None).await.expect(200);
        let feed = |tail: &str| Program::new(&format!("feed hour current --json --client c {tail}")).to(&hub).run();
        let pending = feed("").await.expect(0);
        assert_eq!(payloads(&pending.out), [json!({"n": 0}), json!({"n": 2})]);
        assert_eq!(payloads(&feed("--status processed").await.expect(0).out), [json!({"n": 1})]);
        assert_eq!(payloads(&feed("--status all").await.expect(0).out).len(), 3);
        let done = Program::new("feed hour 2999-01-01T00:00:00+01:00").to(&hub).run().await.expect(1);
        done.complains(&["(404)"]);
    })
    .await;
}

#[actix_web::test]
async fn following_goes_on_where_the_feed_ended() {
    run(Setup::embedded(), async |hub: Hub| {
        hub.register("t", "1h").await;
        hub.register("u", "1h").await;
        for (ty, n) in [("t", 0), ("u", 1), ("t", 2), ("u", 3)] {
            hub.send(ty, json!(n)).await;
        }
        let mut feed = Program::new("feed day --follow --json").to(&hub).start();
        let mut shown: Vec<_> = feed.documents(4).await.iter().map(|event| event["payload"].clone()).collect();
        // Types have no order among each other within a millisecond.
        shown.sort_by_key(Value::as_i64);
        assert_eq!(shown, [0, 1, 2, 3]);
        for n in 4..8 {
            hub.send("t", json!(n)).await;
        }
        let shown: Vec<_> = feed.documents(4).await.iter().map(|event| event["payload"].clone()).collect();
        assert_eq!(shown, [4, 5, 6, 7], "none twice, none missing");
        Program::new("feed day 2018-01-01T00:00:00Z --follow").to(&hub).run().await.expect(2);
    })
    .await;
}
