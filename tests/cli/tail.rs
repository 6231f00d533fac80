//! `tail`: live events over whatever happens to the connection, without a gap and none twice.

use super::program::Program;
use crate::both_stores;
use crate::support::hub::{Hub, Setup, run};
use crate::support::port::Port;
use serde_json::{Value, json};

fn payloads(events: &[Value]) -> Vec<Value> {
    events.iter().map(|event| event["payload"].clone()).collect()
}

/// Sends until the program has shown one: then it is surely live.
async fn until_live(hub: &Hub, tail: &mut super::program::Running) {
    let sending = async {
        loop {
            hub.send("t", json!("are you there?")).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = sending => {}
        line = tail.line() => assert!(line.contains("are you there?"), "{line}"),
    }
}

/// The next documents that are no signs of life.
async fn next(tail: &mut super::program::Running, n: usize) -> Vec<Value> {
    let mut all = Vec::new();
    while all.len() < n {
        all.extend(tail.documents(1).await.into_iter().filter(|event| event["payload"] != "are you there?"));
    }
    all
}

#[actix_web::test]
async fn events_are_printed_as_they_happen() {
    run(Setup::embedded(), async |hub: Hub| {
        for ty in ["t", "a:one", "b"] {
            hub.register(ty, "1h").await;
        }
        let mut tail = Program::new("tail t a:* --json").to(&hub).start();
        until_live(&hub, &mut tail).await;
        hub.send("b", json!("not asked for")).await;
        hub.send("a:one", json!({"x": "line\u{2028}end"})).await;
        let before = hub.send_raw("{\"type\":\"t\",\"payload\":{\n\"n\":\r\n1e400}}").await;
        let line = loop {
            let line = tail.line().await;
            if !line.contains("are you there?") {
                break line;
            }
        };
        assert!(line.contains("line\u{2028}end"), "{line}");
        let line = tail.line().await;
        assert!(line.contains(r#""n":"#) && line.contains("1e400"), "{line}");
        // People get time, id, type and payload.
        let id = hub.send("t", json!("seen")).await.id;
        let tail = Program::new("tail --count 1 --since").argument(&before.id).argument("t");
        let done = tail.to(&hub).run().await.expect(0);
        let words: Vec<_> = done.out.split_whitespace().collect();
        assert_eq!(words[1..], [id.as_str(), "t", "\"seen\""], "{done:?}");
    })
    .await;
}

both_stores!(nothing_is_missed_and_nothing_twice_when_the_hub_restarts, a_hub_that_is_killed_is_the_same);

async fn nothing_is_missed_and_nothing_twice_when_the_hub_restarts(setup: Setup) {
    survives(setup, async |hub: Hub| hub.stop().await).await;
}

async fn a_hub_that_is_killed_is_the_same(setup: Setup) {
    survives(setup, async |hub: Hub| hub.kill()).await;
}

/// Two types, so that the hub sends again what is just before the cursor; events before, while away and after.
async fn survives(setup: Setup, end: impl AsyncFn(Hub) -> Setup) {
    let port = Port::free();
    let setup = setup.set("http.bind", format!("127.0.0.1:{port}"));
    let mut hub = setup.start().await;
    hub.register("t", "1h").await;
    hub.register("u", "1h").await;
    let mut tail = Program::new("tail --json").to(&hub).start();
    until_live(&hub, &mut tail).await;
    let mut n = 0;
    for round in 0..2 {
        let mut expected = Vec::new();
        for ty in ["t", "u", "t", "u"] {
            n += 1;
            expected.push(json!(n));
            hub.send(ty, json!(n)).await;
        }
        let mut seen = payloads(&next(&mut tail, expected.len()).await);
        seen.sort_by_key(Value::as_i64);
        assert_eq!(seen, expected, "round {round}");
        hub = end(hub).await.start().await;
        // The session may come back before or after these: both must show them, once.
        for ty in ["u", "t"] {
            n += 1;
            hub.send(ty, json!(n)).await;
        }
        let mut seen = payloads(&next(&mut tail, 2).await);
        seen.sort_by_key(Value::as_i64);
        assert_eq!(seen, [json!(n - 1), json!(n)], "round {round}");
        tail.complaint("disconnected").await;
        tail.complaint("connected again after").await;
    }
    hub.send("t", json!("the end")).await;
    assert_eq!(payloads(&next(&mut tail, 1).await), [json!("the end")]);
}

#[actix_web::test]
async fn what_came_while_nothing_had_been_printed_is_caught_up_with_and_counted() {
    let port = Port::free();
    let setup = Setup::embedded().set("http.bind", format!("127.0.0.1:{port}"));
    let hub = setup.start().await;
    hub.register("t", "1h").await;
    hub.register("other", "1h").await;
    hub.send("t", json!("before the command began")).await;
    // The hub logs no sessions; one that asks for another type shows that they are opened by now.
    let mut tail = Program::new("tail t --json").to(&hub).start();
    let opened = || async { (hub.get("/api/events/nodes").await.json()["nodes"][0]["sessions"] != 0).then_some(()) };
    crate::support::wait::eventually(crate::support::wait::PATIENCE, "the session", opened).await;
    hub.kill();
    tail.complaint("disconnected").await;
    // On another address, where the program does not look: it is away while these are sent.
    let elsewhere = setup.clone().set("http.bind", "127.0.0.1:0").start().await;
    for n in 0..3 {
        elsewhere.send("t", json!(n)).await;
    }
    // Events of the second in which the session comes back count as caught up with or live.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    elsewhere.stop().await;
    let hub = setup.start().await;
    assert_eq!(payloads(&tail.documents(3).await), [0, 1, 2]);
    let report = tail.complaint("connected again after").await;
    assert!(report.contains("3 events caught up"), "{report}");
    hub.send("t", json!("live")).await;
    assert_eq!(payloads(&tail.documents(1).await), ["live"]);
}

#[actix_web::test]
async fn it_begins_after_an_event_and_ends_where_it_is_told_to() {
    run(Setup::embedded(), async |hub: Hub| {
        hub.register("t", "1h").await;
        let sent = hub.send_many("t", 5).await;
        let tail = Program::new("tail --json --count 2 --since").argument(&sent[1].id).to(&hub);
        let done = tail.run().await.expect(0);
        let ids: Vec<_> = done.out.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["id"].clone()).collect();
        assert_eq!(ids, [sent[2].id.as_str(), &sent[3].id]);
        let tail = Program::new("tail --since 0 --count 5").to(&hub).run().await.expect(0);
        assert_eq!((tail.out.lines().count(), tail.err.as_str()), (5, ""));
    })
    .await;
}

#[actix_web::test]
async fn a_reader_that_has_enough_ends_it_in_silence() {
    run(Setup::embedded(), async |hub: Hub| {
        hub.register("t", "1h").await;
        let mut tail = Program::new("tail").to(&hub).start();
        until_live(&hub, &mut tail).await;
        let ended = tail.end_without_reader();
        let sending = async {
            loop {
                hub.send("t", json!(1)).await;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let code = tokio::select! {
            code = ended => code,
            () = sending => None,
        };
        assert_eq!(code, Some(0));
    })
    .await;
}
