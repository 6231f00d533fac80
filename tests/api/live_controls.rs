//! What a WebSocket client may ask of its session.

use crate::both_stores;
use crate::support::hub::Hub;
use crate::support::ws::Session;
use serde_json::json;

both_stores!(
    types_come_and_go_while_a_session_lasts,
    a_session_marks_what_its_client_has_processed,
    a_flood_of_marks_is_answered_in_order,
    what_is_malformed_is_answered_and_closes_nothing,
);

async fn types_come_and_go_while_a_session_lasts(hub: Hub) {
    for ty in ["a", "b:x", "c"] {
        hub.register(ty, "1h").await;
    }
    let mut session = Session::open(&hub, "?types=a").await;
    // An answered event may still be on its way to the sessions: one that sees all tells when it has passed.
    let mut witness = Session::open(&hub, "").await;
    session.say(r#"{"subscribe": ["b:*"]}"#).await;
    assert_eq!(session.event().await, json!({"control": "subscribed", "types": ["a", "b:*"]}));
    let passed = hub.send("c", json!(0)).await;
    witness.until(&passed.id).await;
    hub.send("b:x", json!(1)).await;
    assert_eq!(session.event().await["payload"], 1);
    session.say(r#"{"unsubscribe": ["a", "unknown"]}"#).await;
    assert_eq!(session.event().await, json!({"control": "unsubscribed", "types": ["b:*"]}));
    let passed = hub.send("a", json!(2)).await;
    witness.until(&passed.id).await;
    hub.send("b:x", json!(3)).await;
    assert_eq!(session.event().await["payload"], 3);
    session.say(r#"{"unsubscribe": ["b:*"]}"#).await;
    assert_eq!(session.event().await, json!({"control": "unsubscribed", "types": []}));
    let passed = hub.send("b:x", json!(4)).await;
    witness.until(&passed.id).await;
    session.say(r#"{"subscribe": ["*"]}"#).await;
    assert_eq!(session.event().await["types"], json!(["*"]));
    hub.send("c", json!(5)).await;
    assert_eq!(session.event().await["payload"], 5);
}

async fn a_session_marks_what_its_client_has_processed(hub: Hub) {
    hub.register("t", "1h").await;
    let mut session = Session::open(&hub, "").await;
    let sent = hub.send("t", json!(1)).await;
    assert_eq!(session.event().await["id"], sent.id.as_str());
    session.say(&json!({"ok": sent.id, "client": "12345"}).to_string()).await;
    assert_eq!(session.event().await, json!({"control": "ok", "id": sent.id, "client": "12345", "acknowledge": true}));
    assert_eq!(hub.feed("hour/current/client/12345").await["events"], json!([]));
    for unknown in ["1", "none", ""] {
        session.say(&json!({"ok": unknown, "client": "12345"}).to_string()).await;
        let answer = session.event().await;
        assert_eq!((&answer["id"], &answer["acknowledge"]), (&json!(unknown), &json!(false)));
    }
}

async fn a_flood_of_marks_is_answered_in_order(hub: Hub) {
    hub.register("t", "1h").await;
    let sent = hub.send_many("t", 10).await;
    let mut session = Session::open(&hub, "?types=none").await;
    for n in 0..2000 {
        let client = format!("c{n}");
        session.say(&json!({"ok": sent[n % 10].id, "client": client}).to_string()).await;
    }
    for n in 0..2000 {
        let answer = session.event().await;
        assert_eq!((&answer["client"], &answer["acknowledge"]), (&json!(format!("c{n}")), &json!(true)));
    }
}

async fn what_is_malformed_is_answered_and_closes_nothing(hub: Hub) {
    hub.register("t", "1h").await;
    let mut session = Session::open(&hub, "").await;
    for text in ["no json", "{}", r#"{"subscribe": []}"#, r#"{"subscribe": ["a b"]}"#, r#"{"ok": 5, "client": "c"}"#] {
        session.say(text).await;
        let answer = session.event().await;
        assert_eq!(answer["control"], "error", "{text}");
        assert!(answer["detail"].is_string());
    }
    let sent = hub.send("t", json!(1)).await;
    assert_eq!(session.event().await["id"], sent.id.as_str());
}
