//! `streams` and `dead`: what operators see and do.

use super::program::Program;
use crate::support::api::webhook;
use crate::support::hub::{Hub, Setup, run};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::webhook::{Answer, Webhook};
use serde_json::json;

#[actix_web::test]
async fn a_stream_is_shown_paused_tuned_resumed_replayed_and_ended() {
    run(Setup::embedded(), async |hub: Hub| {
        let hook = Webhook::start().await;
        assert_eq!(Program::new("streams").to(&hub).run().await.expect(0).out, "no streams\n");
        hub.register_with("a:b", "1h", json!([webhook("hook", &hook.uri("/"))])).await;
        let call = |arguments: &str| Program::new(arguments).to(&hub).run();
        let done = call("streams pause a:b/hook --json").await.expect(0).json();
        assert_eq!(done["state"], "paused");
        hub.send_many("a:b", 3).await;
        let done = call("streams").await.expect(0);
        let row: Vec<_> = done.out.lines().nth(1).expect("a row").split_whitespace().collect();
        assert_eq!(row[..4], ["a:b/hook", "webhook", "paused", "3"], "{done:?}");
        let done = call("streams tune a:b/hook --concurrency 2 --mailbox 7").await.expect(0);
        assert!(done.out.contains("of 2 at a time") && done.out.contains("of 7"), "{done:?}");
        assert!(call("streams resume a:b/hook").await.expect(0).out.contains("active"));
        hook.delivered(3).await;
        let attempts = || async {
            let done = call("streams attempts a:b/hook").await.expect(0);
            done.out.contains("delivered").then_some(())
        };
        eventually(PATIENCE, "an attempt to be shown", attempts).await;
        let range = "--from 2018-02-01T00:00:00+01:00";
        let done = call(&format!("streams replay a:b/hook {range} --dry-run")).await.expect(0);
        assert!(done.out.ends_with(": 3\n"), "{done:?}");
        assert_eq!(call(&format!("streams replay a:b/hook {range} --json")).await.expect(0).json()["count"], 3);
        hook.until("the replay", |requests| requests.len() >= 6).await;
        call("streams delete a:b/hook").await.expect(2);
        call("streams delete a:b/hook --yes").await.expect(0);
        call("streams a:b/hook").await.expect(1).complains(&["(404)"]);
    })
    .await;
}

#[actix_web::test]
async fn dead_letters_are_shown_sent_again_and_deleted() {
    run(Setup::embedded(), async |hub: Hub| {
        let hook = Webhook::start().await;
        hook.answers(|_| Answer::Status(500));
        let mut stream = webhook("hook", &hook.uri("/"));
        stream["retry"] = json!({"attempts": 1, "first": "50ms", "max": "50ms"});
        hub.register_with("a:b", "1h", json!([stream])).await;
        let call = |arguments: &str| Program::new(arguments).to(&hub).run();
        assert_eq!(call("dead a:b/hook").await.expect(0).out, "no dead letters\n");
        let sent = hub.send_many("a:b", 5).await;
        let all_dead = |n: u64| {
            let hub = &hub;
            move || async move { (hub.get("/api/events/streams/a:b/hook").await.json()["dead"] == n).then_some(()) }
        };
        eventually(PATIENCE, "the dead letters", all_dead(5)).await;
        let done = call("dead a:b/hook --json").await.expect(0);
        assert_eq!(done.out.lines().count(), 5);
        let done = call("dead a:b/hook --limit 2").await.expect(0);
        assert!(done.out.lines().count() == 3 && done.err.contains("--limit"), "{done:?}");
        assert!(done.out.contains("500") && done.out.contains(r#"{"n":0}"#), "{done:?}");
        let done = call(&format!("dead a:b/hook --delete {}", sent[0].id)).await.expect(0);
        assert_eq!(done.out, "deleted: 1\n");
        call(&format!("dead a:b/hook --delete {}", sent[0].id))
            .await
            .expect(1)
            .complains(&["no dead letters of a:b/hook"]);
        hook.answers(|_| Answer::Status(200));
        assert_eq!(call(&format!("dead a:b/hook --retry {}", sent[1].id)).await.expect(0).out, "sent again: 1\n");
        hub.until_state(&sent[1].id, "hook", "delivered").await;
        assert_eq!(call("dead a:b/hook --retry --json").await.expect(0).json()["count"], 3);
        eventually(PATIENCE, "them to be gone", all_dead(0)).await;
        assert_eq!(call("dead a:b/hook --delete --yes").await.expect(0).out, "deleted: 0\n");
    })
    .await;
}
