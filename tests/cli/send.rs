//! `send`: one event, many, and what happens when they cannot be sent.

use super::program::Program;
use crate::support::api::ids;
use crate::support::front::front;
use crate::support::hub::{Hub, Setup, run};
use serde_json::{Value, json};

#[actix_web::test]
async fn an_event_is_sent_as_it_was_written() {
    run(Setup::embedded(), async |hub: Hub| {
        hub.register("shop:order", "1h").await;
        let done = Program::new("send shop:order").argument("{\"n\": 1e400, \"b\":2}").to(&hub).run().await.expect(0);
        assert!(done.out.starts_with("accepted ") && done.err.is_empty(), "{done:?}");
        let id = done.out.split_whitespace().nth(1).expect("an id");
        let event = hub.get(&format!("/api/events/{id}")).await.expect(200).text();
        assert!(event.contains(r#"{"n": 1e400, "b":2}"#), "{event}");
        let done = Program::new("send shop:order --json -5").to(&hub).run().await.expect(0).json();
        assert_eq!(done["status"], "accepted");
        assert_eq!(hub.event(done["id"].as_str().unwrap()).await["payload"], -5);
    })
    .await;
}

#[actix_web::test]
async fn documents_on_standard_input_are_as_many_events() {
    run(Setup::embedded(), async |hub: Hub| {
        hub.register("t", "1h").await;
        // Pretty-printed, one event; several, as many; more than a batch holds, in order.
        let done = Program::new("send t --json -").input("{\n \"a\": 1\n}\n").to(&hub).run().await.expect(0);
        assert_eq!(done.json()["status"], "accepted");
        let lines: String = (0..1200).map(|n| format!("{n}\n")).collect();
        let done = Program::new("send t --json").input(&lines).to(&hub).run().await.expect(0);
        assert_eq!(done.out.lines().count(), 1200);
        let feed = hub.feed("100days/current?limit=2000").await;
        let payloads: Vec<Value> = feed["events"].as_array().unwrap().iter().map(|e| e["payload"].clone()).collect();
        let expected: Vec<Value> = (0..1200).rev().map(Value::from).chain([json!({"a": 1})]).collect();
        assert_eq!(payloads, expected);
        let done = Program::new("send t --batch").argument("[1, [2], null]").to(&hub).run().await.expect(0);
        assert_eq!(done.out.lines().filter(|line| line.starts_with("accepted ")).count(), 3, "{done:?}");
    })
    .await;
}

#[actix_web::test]
async fn an_idempotency_key_sends_once() {
    run(Setup::embedded(), async |hub: Hub| {
        hub.register("t", "1h").await;
        let lines: String = (0..700).map(|n| format!("{n}\n")).collect();
        for word in ["accepted", "duplicate"] {
            let done = Program::new("send t - --idempotency-key k").input(&lines).to(&hub).run().await.expect(0);
            assert_eq!(done.out.lines().filter(|line| line.starts_with(word)).count(), 700, "{word}");
        }
        assert_eq!(ids(&hub.feed("100days/current?limit=2000").await).len(), 700);
        let done = Program::new("send t 1 --idempotency-key k").to(&hub).run().await.expect(1);
        done.complains(&["idempotency key", "(422)"]);
    })
    .await;
}

#[actix_web::test]
async fn what_is_not_stored_is_no_success() {
    run(Setup::embedded(), async |hub: Hub| {
        let done = Program::new("send nobody:knows 1").to(&hub).run().await.expect(1);
        done.complains(&["discarded", "nobody:knows", "not registered"]);
        let done = Program::new("send nobody:knows 1 --json").to(&hub).run().await.expect(1);
        assert_eq!(done.json()["status"], "discarded");
        hub.register("t", "1h").await;
        let done = Program::new("send t -").input("1\n2\n{oops\n").to(&hub).run().await.expect(2);
        assert!(done.err.contains("not JSON") && done.err.contains("2 events had been sent"), "{done:?}");
        for (arguments, json, word) in [
            ("send t", "text", "quotes"),
            ("send t --batch", "{}", "array"),
            ("send a::b", "1", "a type is"),
            ("send t --idempotency-key", "", "--idempotency-key"),
        ] {
            let done = Program::new(arguments).argument(json).to(&hub).run().await.expect(2);
            assert!(done.err.contains(word), "{done:?}");
        }
        let done = Program::new("send t").to(&hub).run().await.expect(2);
        done.complains(&["no JSON on standard input"]);
    })
    .await;
}

#[actix_web::test]
async fn what_got_no_answer_may_have_arrived() {
    // It takes the request, and cuts the connection.
    let url = format!("http://{}", front(|| None, |_| None).await);
    let done = Program::new("send t 1").env("EVENTS_URL", &url).run().await.expect(3);
    assert!(done.err.contains("it may have arrived: repeat it with --idempotency-key cli-"), "{done:?}");
}
