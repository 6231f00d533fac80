//! The resources together, as a client meets them.

use super::testing::Hub;
use crate::event::{EventId, parse_instant};
use crate::store::Store;
use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn hub_at(instant: &str) -> Hub {
    let hub = Hub::start().await;
    set_clock(&hub, instant);
    hub
}

fn set_clock(hub: &Hub, instant: &str) {
    hub.store.set_clock(parse_instant(instant).unwrap());
}

fn post(body: impl Into<String>) -> TestRequest {
    TestRequest::post().uri("/api/events/send").insert_header(JSON).set_payload(body.into())
}

fn problem(answer: &(u16, Value)) -> (u16, &str) {
    let code = answer.1["type"].as_str().unwrap_or_default();
    assert_eq!(answer.1["status"], answer.0);
    assert!(answer.1["title"].is_string() && answer.1["detail"].is_string(), "{answer:?}");
    (answer.0, code.strip_prefix("/problems/").unwrap_or(code))
}

#[actix_web::test]
async fn an_event_goes_in_and_is_read_back_byte_for_byte() {
    let hub = hub_at("2018-02-01T11:12:01Z").await;
    hub.register("a:b", &["s1", "s2"]).await;
    let payload = "{ \"b\":1.50,\n\"a\":123456789012345678901234567890 , \"s\":\"\\u00e9\" }";
    let (status, sent) = hub.json(post(format!("{{\"payload\":  {payload} , \"type\":\"a:b\"}}"))).await;
    assert_eq!(status, 202);
    let id = sent["id"].as_str().unwrap().to_owned();
    let href = format!("http://127.0.0.1:8080/api/events/{id}");
    assert_eq!(
        sent,
        json!({
            "id": id, "type": "a:b", "created_at": "2018-02-01T11:12:01.000Z", "status": "accepted",
            "streams": ["s1", "s2"], "links": [{"rel": "self", "href": href}],
        })
    );
    for path in [format!("/api/events/{id}"), "/api/events/feed/hour/current/".into()] {
        let (status, _, body) = hub.call(TestRequest::with_uri(&path)).await;
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(status == 200 && text.contains(&format!("\"payload\":{payload},\"created_at\"")), "{text}");
    }
}

#[actix_web::test]
async fn an_unregistered_type_is_discarded_and_listed() {
    let hub = Hub::start().await;
    for _ in 0..2 {
        let answer = hub.send("POST", "/api/events/send/", r#"{"type":"x:y","payload":1}"#).await;
        assert_eq!(answer, (202, json!({"type": "x:y", "status": "discarded", "reason": "unregistered"})));
    }
    let (_, listed) = hub.get("/api/events/discarded").await;
    assert_eq!(listed["discarded"][0]["count"], 2);
    assert_eq!(listed["discarded"][0]["last_at"], "2018-01-01T00:00:00.000Z");
    let strict = Hub::with(|http| http.reject_unregistered = true).await;
    let refused = strict.json(post(r#"{"type":"x:y","payload":1}"#)).await;
    assert_eq!(problem(&refused), (404, "unregistered-type"));
}

#[actix_web::test]
async fn a_type_that_another_node_registered_is_learnt_on_the_way() {
    let hub = Hub::start().await;
    hub.store.register("far", "1h").await;
    let (_, batch) = hub.json(post(r#"[{"type":"far","payload":1},{"type":"nowhere","payload":2}]"#)).await;
    assert_eq!((&batch[0]["status"], &batch[1]["status"]), (&json!("accepted"), &json!("discarded")));
    assert_eq!(hub.get("/api/events/register/far").await.0, 200);
}

#[actix_web::test]
async fn a_batch_answers_in_order_and_fails_item_by_item() {
    let hub = Hub::start().await;
    hub.register("a", &[]).await;
    hub.register("b", &[]).await;
    let deep = "[".repeat(130) + &"]".repeat(130);
    let body = format!(
        r#"[{{"type":"a","payload":1}},{{"type":"b"}},{{"type":"b","payload":2}},{{"type":"a","payload":{deep}}},{{"type":"a","payload":3}}]"#
    );
    let (status, results) = hub.json(post(body)).await;
    assert_eq!(status, 202);
    let states: Vec<_> = results.as_array().unwrap().iter().map(|r| r["status"].to_string()).collect();
    assert_eq!(states, ["\"accepted\"", "422", "\"accepted\"", "422", "\"accepted\""]);
    assert_eq!(results[1]["errors"][0]["pointer"], "/payload");
    assert_eq!(results[3]["type"], "/problems/too-deep");
    assert_eq!(hub.json(post("[]")).await, (202, json!([])));
    assert_eq!(problem(&hub.json(post("[1,1,1,1,1,1]")).await), (413, "batch-too-large"));
    hub.store.close().await.unwrap();
    let down = hub.json(post(r#"[{"type":"a","payload":1},{"type":"a"}]"#)).await;
    assert_eq!(problem(&down), (503, "store-unavailable"));
}

#[actix_web::test]
async fn the_same_key_gives_the_same_answer() {
    let hub = Hub::start().await;
    hub.register("a", &[]).await;
    let keyed = |body: &str| post(body).insert_header(("Idempotency-Key", "k 1"));
    let (_, first) = hub.json(keyed(r#"{"type":"a","payload":1}"#)).await;
    let (_, mut again) = hub.json(keyed(r#"{"type":"a","payload":1}"#)).await;
    assert_eq!(again["status"], "duplicate");
    again["status"] = json!("accepted");
    assert_eq!(again, first);
    let reused = hub.json(keyed(r#"{"type":"a","payload":2}"#)).await;
    assert_eq!(problem(&reused), (422, "idempotency-key-reused"));
    let bad = post("{}").insert_header(("Idempotency-Key", "x".repeat(256)));
    assert_eq!(problem(&hub.json(bad).await), (400, "bad-parameter"));
}

#[actix_web::test]
async fn bad_bodies_get_the_contracts_status() {
    let hub = Hub::start().await;
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    for (body, expected) in [
        ("", (400, "malformed-json")),
        ("{", (400, "malformed-json")),
        ("[{]", (400, "malformed-json")),
        (&"[".repeat(4000), (400, "malformed-json")),
        ("\"str\"", (422, "invalid")),
        ("5", (422, "invalid")),
        (r#"{"type":"a","payload":1,"x":1}"#, (422, "invalid")),
        (&format!(r#"{{"type":"a","payload":{deep}}}"#), (422, "too-deep")),
        (&"x".repeat(4097), (413, "body-too-large")),
    ] {
        for (method, path) in [(Method::POST, "/api/events/send"), (Method::PUT, "/api/events/register")] {
            let batch_only = path.ends_with("register") && body == "[{]";
            let request = TestRequest::with_uri(path).method(method).insert_header(JSON);
            let answer = hub.json(request.set_payload(body.to_owned())).await;
            assert!(batch_only || problem(&answer) == expected, "{path} {body:.40}: {answer:?}");
        }
    }
    let invalid = TestRequest::post().uri("/api/events/send").insert_header(JSON);
    let answer = hub.json(invalid.set_payload(b"{\"type\":\"\xff\",\"payload\":1}".to_vec())).await;
    assert_eq!(problem(&answer), (400, "malformed-json"));
    let plain = TestRequest::post().uri("/api/events/send").set_payload("{}");
    assert_eq!(problem(&hub.json(plain).await), (415, "unsupported-media-type"));
}

#[actix_web::test]
async fn a_type_is_registered_read_and_deleted() {
    let hub = Hub::start().await;
    let put = |ttl: &str| format!(r#"{{"type":"a:b","ttl":"{ttl}"}}"#);
    let (status, headers, _) =
        hub.call(TestRequest::put().uri("/api/events/register").insert_header(JSON).set_payload(put("1h"))).await;
    assert_eq!(status, 201);
    assert_eq!(headers.get("location").unwrap(), "http://127.0.0.1:8080/api/events/register/a:b");
    let (status, stored) = hub.send("PUT", "/api/events/register/", put("2h")).await;
    assert_eq!((status, &stored["ttl"]), (200, &json!("2h")));
    assert_eq!(stored["links"][1]["href"], "http://127.0.0.1:8080/api/events/feed/hour/current?types=a:b");
    assert_eq!(hub.get("/api/events/register/a%3Ab").await, (200, stored.clone()));
    assert_eq!(hub.get("/api/events/register").await.1["types"], json!([stored]));
    let deleted = hub.json(TestRequest::delete().uri("/api/events/register/a:b")).await;
    assert_eq!(deleted, (204, Value::Null));
    assert_eq!(hub.get("/api/events/register/a:b").await.0, 404);
    assert_eq!(hub.json(TestRequest::delete().uri("/api/events/register/a:b")).await.0, 404);
    assert_eq!(hub.get("/api/events/register").await.1["types"], json!([]));
}

#[actix_web::test]
async fn a_feed_is_walked_by_its_links() {
    let hub = hub_at("2018-02-01T11:59:01Z").await;
    hub.register("a", &[]).await;
    hub.register("b", &[]).await;
    hub.json(post(r#"[{"type":"a","payload":1},{"type":"b","payload":2},{"type":"a","payload":3}]"#)).await;
    let (status, headers, body) =
        hub.call(TestRequest::with_uri("/api/events/feed/hour/current?types=a&limit=1")).await;
    let page: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, headers.get("cache-control").unwrap().to_str().unwrap()), (200, "no-cache"));
    assert_eq!(page["events"][0]["payload"], 3);
    let href = |page: &Value, rel: &str| {
        let links = page["links"].as_array().unwrap().clone();
        let link = links.into_iter().find(|l| l["rel"] == rel);
        link.map(|l| l["href"].as_str().unwrap().strip_prefix("http://127.0.0.1:8080").unwrap().to_owned())
    };
    assert!(headers.get("link").unwrap().to_str().unwrap().contains("rel=\"more\""));
    assert_eq!(href(&page, "self").unwrap(), "/api/events/feed/hour/2018-02-01T11:00:00.000Z?types=a&limit=1");
    assert_eq!(href(&page, "next"), None);
    let (_, rest) = hub.get(&href(&page, "more").unwrap()).await;
    assert_eq!((&rest["events"][0]["payload"], href(&rest, "more")), (&json!(1), None));
    let (_, before) = hub.get(&href(&page, "prev").unwrap()).await;
    assert_eq!(before["events"], json!([]));
    assert_eq!(href(&before, "next"), href(&page, "self"));
    for future in ["2018-02-01T12:00:00Z", "2018-02-01T13:00:00%2B01:00", "2018-02-01T13:00:00+01:00"] {
        let answer = hub.get(&format!("/api/events/feed/hour/{future}")).await;
        assert_eq!(problem(&answer), (404, "not-found"));
    }
    assert_eq!(hub.get("/api/events/feed/hour/2018-02-01T12:30:00+01:00/").await.0, 200);
}

#[actix_web::test]
async fn a_client_marks_what_it_has_processed() {
    let hub = hub_at("2018-02-01T11:12:01Z").await;
    hub.register("a", &[]).await;
    let (_, sent) = hub.json(post(r#"[{"type":"a","payload":1},{"type":"a","payload":2}]"#)).await;
    let ids: Vec<_> = sent.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
    let feed = |status: &str| format!("/api/events/feed/hour/current/client/c~1{status}");
    let (_, pending) = hub.get(&feed("")).await;
    let link = &pending["events"][1]["links"][0];
    assert_eq!((&link["rel"], &link["method"]), (&json!("mark-processed"), &json!("PUT")));
    let path = link["href"].as_str().unwrap().strip_prefix("http://127.0.0.1:8080").unwrap();
    assert_eq!(path, format!("/api/events/{}/ok/c~1", ids[0]));
    for _ in 0..2 {
        let marked = hub.json(TestRequest::put().uri(path).set_payload("not json")).await;
        assert_eq!(marked, (200, json!({"acknowledge": true})));
    }
    assert_eq!(hub.get(&feed("")).await.1["events"].as_array().unwrap().len(), 1);
    let (_, processed) = hub.get(&feed("?status=processed")).await;
    assert!(processed["events"][0]["processed_at"].is_string() && processed["events"][0]["links"].is_null());
    let taken = hub.json(TestRequest::delete().uri(path)).await;
    assert_eq!(taken, (200, json!({"acknowledge": false})));
    let many = json!({"ids": [ids[0], "5", "x\"", ids[1]]}).to_string();
    let (_, results) = hub.send("PUT", "/api/events/ok/c~1", many).await;
    let told: Vec<_> = results["results"].as_array().unwrap().iter().map(|r| r["acknowledge"].clone()).collect();
    assert_eq!(told, [true, false, false, true]);
    assert_eq!(results["results"][2]["id"], "x\"");
    for (path, status) in [("5/ok/c", 404), ("99999999999999999999999/ok/c", 404), ("x/ok/c", 404)] {
        assert_eq!(hub.json(TestRequest::put().uri(&format!("/api/events/{path}"))).await.0, status, "{path}");
    }
    let bad = hub.json(TestRequest::put().uri(&format!("/api/events/{}/ok/a%20b", ids[0]))).await;
    assert_eq!(problem(&bad), (400, "bad-parameter"));
}

#[actix_web::test]
async fn resources_know_their_methods() {
    let hub = Hub::start().await;
    for (method, path, allow) in [
        ("GET", "/api/events/send", "POST, OPTIONS"),
        ("PUT", "/api/events/send/", "POST, OPTIONS"),
        ("POST", "/api/events/register", "GET, HEAD, PUT, OPTIONS"),
        ("PUT", "/api/events/register/a", "GET, HEAD, DELETE, OPTIONS"),
        ("POST", "/api/events/feed/hour/current", "GET, HEAD, OPTIONS"),
        ("GET", "/api/events/5/ok/c", "PUT, DELETE, OPTIONS"),
        ("GET", "/api/events/ok/c", "PUT, OPTIONS"),
        ("DELETE", "/api/events/5", "GET, HEAD, OPTIONS"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("BREW", "/", "GET, HEAD, OPTIONS"),
    ] {
        let ask =
            |method: &str| hub.call(TestRequest::with_uri(path).method(Method::from_bytes(method.as_bytes()).unwrap()));
        let (status, headers, _) = ask(method).await;
        assert_eq!((status, headers.get("allow").unwrap().to_str().unwrap()), (405, allow), "{method} {path}");
        let (status, headers, _) = ask("OPTIONS").await;
        assert_eq!((status, headers.get("allow").unwrap().to_str().unwrap()), (204, allow), "{path}");
    }
    assert_eq!(hub.call(TestRequest::with_uri("/healthz/").method(Method::HEAD)).await.0, 200);
}

#[actix_web::test]
async fn odd_paths_are_not_found_and_nothing_worse() {
    let hub = Hub::start().await;
    for path in [
        "/nothing",
        "/api/events/feed",
        "/api/events/feed//current",
        "/api/events/register/a%2Fb",
        "/api/events/register/%FF",
        "/api/events/register/%00",
        "/api/events/register/%25",
        "/api/events/1%2F2",
        "/api/events/%zz",
        "/api/events/streams/a/b",
        "/api/events/18446744073709551615",
        "/api/eventsX",
        "//",
        "/..;/",
    ] {
        let answer = hub.get(path).await;
        assert_eq!(problem(&answer), (404, "not-found"), "{path}");
    }
    for path in
        ["/api/events/feed/hour/%FF", "/api/events/feed/hour%2F/current", "/api/events/feed/hour/current?limit=%FF"]
    {
        assert_eq!(problem(&hub.get(path).await), (400, "bad-parameter"), "{path}");
    }
    let two_hosts = TestRequest::with_uri("/healthz").append_header(("Host", "a")).append_header(("Host", "b"));
    assert_eq!(problem(&hub.json(two_hosts).await), (400, "bad-parameter"));
}

#[actix_web::test]
async fn a_store_that_is_away_is_a_503_on_every_door() {
    let hub = Hub::start().await;
    let a = hub.register("a", &["s"]).await;
    hub.state.stopping.store(true, Ordering::SeqCst);
    assert_eq!(problem(&hub.get("/readyz").await), (503, "shutting-down"));
    hub.state.stopping.store(false, Ordering::SeqCst);
    assert_eq!(hub.get("/readyz").await, (200, json!({"status": "ok"})));
    hub.store.close().await.unwrap();
    let id = EventId::new(a, Default::default());
    for request in [
        post(r#"{"type":"a","payload":1}"#),
        post(r#"{"type":"unknown","payload":1}"#),
        TestRequest::with_uri("/api/events/feed/hour/current"),
        TestRequest::with_uri(&format!("/api/events/{id}")),
        TestRequest::put().uri(&format!("/api/events/{id}/ok/c")),
        TestRequest::with_uri("/api/events/discarded"),
        TestRequest::with_uri("/api/events/register/unknown"),
        TestRequest::with_uri("/api/events/streams"),
        TestRequest::with_uri("/readyz"),
    ] {
        let (status, headers, body) = hub.call(request).await;
        let retry_after = headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!((status, retry_after.as_deref()), (503, Some("1")), "{body:?}");
    }
    assert_eq!(hub.get("/healthz").await.0, 200);
}
