//! A payload comes back byte by byte as it was sent: in feeds, single events and live sessions.

use crate::both_stores;
use crate::support::hub::Hub;
use crate::support::ws::Session;

both_stores!(payloads_are_returned_exactly_as_sent, payloads_of_a_batch_are_returned_exactly_as_sent);

const PAYLOADS: &[&str] = &[
    "null",
    "true",
    "0",
    "-0",
    "-0.0",
    "1.0",
    "1e400",
    "-1E-400",
    "123456789012345678901234567890",
    "18446744073709551616",
    "0.1000000000000000055511151231257827021181583404541015625",
    "9007199254740993",
    r#""""#,
    r#""plain""#,
    r#""\u0041\/\b\f\n\r\t\"\\""#,
    r#""é 漢 🦀 \u00e9 \ud83e\udd80""#,
    r#""\u0000""#,
    "\"\u{2028}\u{7f}\"",
    "[]",
    "{}",
    r#"{"b":1,"a":2,"c":{"z":1,"y":2}}"#,
    r#"{"a":1,"a":2}"#,
    r#"{"":{"":[]}}"#,
    r#"[1, 2 ,3 , { "a" :  1 } ]"#,
    "{\n\t\"a\": [\r\n 1\n]\n}",
    r#"{"id":"1","type":"x","payload":{},"created_at":"never"}"#,
    r#"{"__proto__":{},"$ref":"$serde_json::private::RawValue","$serde_json::private::Number":"1"}"#,
];

async fn payloads_are_returned_exactly_as_sent(hub: Hub) {
    hub.register("t", "1h").await;
    let mut live = Session::open(&hub, "?types=t").await;
    for payload in PAYLOADS {
        let event = hub.send_raw(&format!(r#"{{"type":"t","payload":{payload}}}"#)).await;
        let wanted = format!("\"payload\":{payload},\"");
        let one = hub.get(&format!("/api/events/{}", event.id)).await.expect(200).text();
        assert!(one.contains(&wanted), "the event changed {payload}: {one}");
        let feed = hub.get("/api/events/feed/100days/current?limit=1").await.expect(200).text();
        assert!(feed.contains(&wanted), "the feed changed {payload}: {feed}");
        let pushed = live.text().await;
        assert!(pushed.contains(&wanted), "the live session changed {payload}: {pushed}");
    }
    let spaced = hub.send_raw("\n { \"payload\" : \t{ \"a\" : 1 } , \"type\" : \"t\" } \n").await;
    let one = hub.get(&format!("/api/events/{}", spaced.id)).await.expect(200).text();
    assert!(one.contains(r#""payload":{ "a" : 1 },"#), "{one}");
}

async fn payloads_of_a_batch_are_returned_exactly_as_sent(hub: Hub) {
    hub.register("t", "1h").await;
    let items: Vec<String> = PAYLOADS.iter().map(|p| format!(r#"{{"payload":{p},"type":"t"}}"#)).collect();
    hub.post("/api/events/send", format!("[{}]", items.join(" , "))).await.expect(202);
    let feed = hub.get("/api/events/feed/100days/current").await.expect(200).text();
    let mut from = 0;
    for payload in PAYLOADS.iter().rev() {
        let wanted = format!("\"payload\":{payload},\"");
        let found = feed[from..].find(&wanted).unwrap_or_else(|| panic!("the feed changed or moved {payload}: {feed}"));
        from += found + wanted.len();
    }
}
