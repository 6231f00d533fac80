//! What tokens are limited to, how they may come, and what they get to hear.

use super::*;
use crate::access::{Limiter, Rate, Scope, Token, TokenHash, generate, seal};
use crate::http::testing::Hub;
use actix_web::test::TestRequest;
use serde_json::{Value, json};

fn token(text: &str, types: Option<&str>, client: Option<&str>) -> Token {
    Token {
        name: text.to_owned(),
        hash: TokenHash::of(text),
        scopes: Scope::ALL.into_iter().collect(),
        types: types.map(|types| std::sync::Arc::new(types.parse().unwrap())),
        client: client.map(|client| client.parse().unwrap()),
        limiter: None,
    }
}

/// A hub with types `a:x` and `b`, an event of each, and tokens for everything, for `a:*`, and for client 7.
async fn hub() -> (Hub, String, String) {
    let hub = Hub::start().await;
    hub.register("a:x", &["s"]).await;
    hub.register("b", &["s"]).await;
    let mut ids = Vec::new();
    for ty in ["a:x", "b"] {
        let (_, sent) = hub.send("POST", "/api/events/send", json!({"type": ty, "payload": 1}).to_string()).await;
        ids.push(sent["id"].as_str().unwrap().to_owned());
    }
    let tokens = vec![token("all", None, None), token("some", Some("a:*"), None), token("seven", None, Some("7"))];
    hub.state.access.replace(tokens);
    let b = ids.pop().unwrap();
    (hub, ids.pop().unwrap(), b)
}

async fn ask(hub: &Hub, who: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request =
        TestRequest::with_uri(path).method(method).insert_header((AUTHORIZATION, format!("Bearer {who}")));
    if let Some(body) = body {
        request = request.insert_header(("content-type", "application/json")).set_payload(body.to_string());
    }
    hub.json(request).await
}

#[actix_web::test]
async fn a_token_for_some_types_has_nothing_to_do_with_others() {
    let (hub, a, b) = hub().await;
    let some = async |method: &str, path: &str, body: Option<Value>| ask(&hub, "some", method, path, body).await;
    let send = |ty: &str| Some(json!({"type": ty, "payload": 2}));
    let register = |ty: &str| Some(json!({"type": ty, "ttl": "permanent"}));
    // What it names itself is a 403, whether it is there or not.
    for ty in ["b", "unknown"] {
        for (method, path, body) in [
            ("POST", "/api/events/send".to_owned(), send(ty)),
            ("PUT", "/api/events/register".to_owned(), register(ty)),
            ("GET", format!("/api/events/register/{ty}"), None),
            ("DELETE", format!("/api/events/register/{ty}"), None),
            ("GET", format!("/api/events/streams/{ty}/s"), None),
            ("PATCH", format!("/api/events/streams/{ty}/s"), Some(json!({}))),
            ("DELETE", format!("/api/events/streams/{ty}/s"), None),
            ("GET", format!("/api/events/streams/{ty}/s/attempts"), None),
            ("GET", format!("/api/events/streams/{ty}/s/dead"), None),
            ("DELETE", format!("/api/events/streams/{ty}/s/dead"), None),
            ("POST", format!("/api/events/streams/{ty}/s/dead/retry"), None),
            ("POST", format!("/api/events/streams/{ty}/s/replay"), Some(json!({}))),
        ] {
            let (status, answer) = some(method, &path, body).await;
            assert_eq!((status, answer["type"].as_str()), (403, Some("/problems/forbidden")), "{method} {path}");
        }
    }
    // Nothing was discarded that it may not send.
    let (_, discarded) = ask(&hub, "all", "GET", "/api/events/discarded", None).await;
    assert_eq!(discarded["discarded"], json!([]));
    let batch = json!([send("a:x"), send("b"), send("unknown")]);
    let (status, batch) = some("POST", "/api/events/send", Some(batch)).await;
    assert_eq!((status, &batch[0]["status"], &batch[1]["status"]), (202, &json!("accepted"), &json!(403)));
    assert_eq!(batch[2]["status"], 403);
    // An id says nothing of its type: one that it may not know of is not there.
    assert_eq!(some("GET", &format!("/api/events/{a}"), None).await.0, 200);
    assert_eq!(some("GET", &format!("/api/events/{b}"), None).await.0, 404);
    assert_eq!(some("PUT", &format!("/api/events/{b}/ok/c"), None).await.0, 404);
    assert_eq!(some("DELETE", &format!("/api/events/{b}/ok/c"), None).await.0, 404);
    let (_, marks) = some("PUT", "/api/events/ok/c", Some(json!({"ids": [a, b]}))).await;
    assert_eq!(marks["results"], json!([{"id": a, "acknowledge": true}, {"id": b, "acknowledge": false}]));
    // Lists leave the others out.
    let (_, types) = some("GET", "/api/events/register", None).await;
    assert_eq!(types["types"].as_array().unwrap().iter().map(|t| &t["type"]).collect::<Vec<_>>(), ["a:x"]);
    let (_, streams) = some("GET", "/api/events/streams", None).await;
    assert_eq!(streams["streams"].as_array().unwrap().iter().map(|t| &t["type"]).collect::<Vec<_>>(), ["a:x"]);
    let (_, pending) = some("GET", "/api/events/clients/c", None).await;
    assert_eq!(pending["types"], json!({"a:x": 1}));
    ask(&hub, "all", "POST", "/api/events/send", send("zzz")).await;
    assert_eq!(some("GET", "/api/events/discarded", None).await.1["discarded"], json!([]));
    // Figures, too.
    let (_, counts) = some("GET", "/api/events/counts", None).await;
    assert_eq!(counts["accepted"].as_object().unwrap().keys().collect::<Vec<_>>(), ["a:x"]);
    let (_, overview) = some("GET", "/api/events/overview", None).await;
    let (_, whole) = ask(&hub, "all", "GET", "/api/events/overview", None).await;
    let streams = |overview: &Value| -> u64 {
        overview["now"]["streams"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
    };
    assert_eq!((streams(&overview), streams(&whole)), (1, 2));
    let metrics = async |who: &str| {
        let request = TestRequest::with_uri("/metrics").insert_header((AUTHORIZATION, format!("Bearer {who}")));
        String::from_utf8(hub.call(request).await.2.to_vec()).unwrap()
    };
    let (of_some, of_all) = (metrics("some").await, metrics("all").await);
    for hidden in ["type=\"b\"", "type=\"zzz\""] {
        assert!(of_all.contains(hidden) && !of_some.contains(hidden), "{hidden}: {of_some}");
    }
    assert!(of_some.contains("events_stream_failing{type=\"a:x\"") && of_some.contains("type=\"other types\""));
}

#[actix_web::test]
async fn feeds_do_not_leak_from_one_token_to_another() {
    let (hub, a, b) = hub().await;
    let feed = async |who: &str, query: &str, known: Option<&str>| {
        let mut request = TestRequest::with_uri(&format!("/api/events/feed/hour/current{query}"));
        request = request.insert_header((AUTHORIZATION, format!("Bearer {who}")));
        if let Some(known) = known {
            request = request.insert_header(("if-none-match", known.to_owned()));
        }
        let (status, headers, body) = hub.call(request).await;
        let ids: Vec<String> = match status {
            304 => Vec::new(),
            _ => {
                let feed: Value = serde_json::from_slice(&body).unwrap();
                feed["events"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect()
            }
        };
        assert_eq!(headers.get("vary").unwrap(), "Authorization, Cookie");
        (status, headers.get("etag").unwrap().to_str().unwrap().to_owned(), ids)
    };
    for query in ["", "?types=*", "?types=a:x,b"] {
        let (_, of_all, everything) = feed("all", query, None).await;
        assert_eq!(everything, [b.clone(), a.clone()], "{query}");
        // The page of the other token is in the cache by now.
        let (_, of_some, some) = feed("some", query, None).await;
        assert_eq!(some, std::slice::from_ref(&a), "{query}");
        assert_ne!(of_all, of_some);
        assert_eq!(feed("some", query, Some(&of_all)).await.0, 200, "another's tag is not known");
        assert_eq!(feed("some", query, Some(&of_some)).await.0, 304);
        assert_eq!(feed("all", query, Some(&of_some)).await.0, 200);
    }
    assert_eq!(feed("some", "?types=b", None).await.2, [""; 0]);
}

#[actix_web::test]
async fn a_token_for_a_client_reads_and_marks_as_that_client() {
    let (hub, a, _) = hub().await;
    let seven = async |method: &str, path: &str| ask(&hub, "seven", method, path, None).await;
    assert_eq!(seven("GET", "/api/events/feed/hour/current/client/7").await.0, 200);
    assert_eq!(seven("GET", "/api/events/clients/7").await.0, 200);
    assert_eq!(seven("PUT", &format!("/api/events/{a}/ok/7")).await.0, 200);
    for (method, path) in [
        ("GET", "/api/events/feed/hour/current".to_owned()),
        ("GET", "/api/events/feed/hour/current/client/8".to_owned()),
        ("GET", "/api/events/clients/8".to_owned()),
        ("PUT", format!("/api/events/{a}/ok/8")),
        ("DELETE", format!("/api/events/{a}/ok/8")),
    ] {
        assert_eq!(seven(method, &path).await.0, 403, "{method} {path}");
    }
    let many = ask(&hub, "seven", "PUT", "/api/events/ok/8", Some(json!({"ids": [a]}))).await;
    assert_eq!(many.0, 403);
    // Nor does it learn who else has marked.
    ask(&hub, "all", "PUT", &format!("/api/events/{a}/ok/8"), None).await;
    assert_eq!(seven("GET", &format!("/api/events/{a}")).await.1["processed_by"], json!(["7"]));
}

#[actix_web::test]
async fn a_token_comes_once_as_bearer_and_never_in_a_url() {
    let (hub, ..) = hub().await;
    let status = async |headers: &[(&str, &str)], uri: &str| {
        let mut request = TestRequest::with_uri(uri);
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        hub.call(request).await.0
    };
    let entry = "/api/events/";
    for (headers, expected) in [
        (&[("authorization", "Bearer all")][..], 200),
        (&[("authorization", "bearer  all ")], 200),
        (&[], 401),
        (&[("authorization", "all")], 401),
        (&[("authorization", "Bearer ")], 401),
        (&[("authorization", "Basic all")], 401),
        (&[("authorization", "Bearer all"), ("authorization", "Bearer all")], 401),
        (&[("authorization", "Bearer all all")], 401),
        // Only for a WebSocket.
        (&[("sec-websocket-protocol", "bearer, all")], 401),
        (&[("cookie", "event-source-session=all")], 401),
    ] {
        assert_eq!(status(headers, entry).await, expected, "{headers:?}");
    }
    for uri in ["/api/events/?token=all", "/api/events/?access_token=all", "/api/events/?bearer=all"] {
        assert_eq!(status(&[], uri).await, 401, "{uri}");
    }
}

#[actix_web::test]
async fn a_page_signs_in_and_gets_a_cookie_that_only_its_own_pages_may_use() {
    let (hub, a, _) = hub().await;
    let secret = generate();
    hub.state.access.replace(vec![token(&secret, None, None)]);
    let sign_in = |token: &str| {
        let body = json!({"token": token}).to_string();
        TestRequest::post().uri("/api/session").insert_header(("content-type", "application/json")).set_payload(body)
    };
    let own = ("sec-fetch-site", "same-origin");
    assert_eq!(hub.json(sign_in("wrong").insert_header(own)).await.0, 401);
    assert_eq!(hub.json(sign_in(&secret).insert_header(("origin", "http://evil.example"))).await.0, 403);
    assert_eq!(hub.json(sign_in(&secret).insert_header(("sec-fetch-site", "cross-site"))).await.0, 403);
    let (status, headers, body) = hub.call(sign_in(&secret).insert_header(own)).await;
    assert_eq!(status, 200);
    let who: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&who["name"], &who["client"]), (&json!(secret), &Value::Null));
    assert_eq!(who["scopes"], json!(["send", "register", "feed", "live", "ops"]));
    let cookie = headers.get("set-cookie").unwrap().to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(&secret), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();

    let with = |request: TestRequest| request.insert_header(("cookie", cookie.clone()));
    assert_eq!(hub.json(with(TestRequest::with_uri("/api/session"))).await.0, 200);
    assert_eq!(hub.json(with(TestRequest::with_uri("/api/events/register"))).await.0, 200);
    // One that another path has kept from before comes first, and does not lock the good one out.
    let after = |stale: usize| {
        let mut all = vec![format!("event-source-session={}", seal("taken away", u64::MAX).unwrap()); stale];
        all.push(cookie.clone());
        TestRequest::with_uri("/api/session").insert_header(("cookie", all.join("; ")))
    };
    assert_eq!(hub.json(after(1)).await.1["name"], json!(secret));
    assert_eq!(hub.json(after(3)).await.0, 200);
    assert_eq!(hub.json(after(4)).await.0, 401, "no more than a few are looked at");
    let mark = format!("/api/events/{a}/ok/c");
    let put = || with(TestRequest::put().uri(&mark));
    assert_eq!(hub.json(put()).await.1["type"], "/problems/cross-origin");
    assert_eq!(hub.json(put().insert_header(("sec-fetch-site", "same-site"))).await.0, 403);
    assert_eq!(hub.json(put().insert_header(own)).await.0, 200);
    // A WebSocket's handshake is a GET that may do more.
    let upgrade = with(TestRequest::with_uri("/api/events/")).insert_header(("upgrade", "websocket"));
    assert_eq!(hub.json(upgrade).await.0, 403);

    let (status, headers, _) = hub.call(with(TestRequest::delete().uri("/api/session")).insert_header(own)).await;
    let gone = headers.get("set-cookie").unwrap().to_str().unwrap();
    assert!(status == 204 && gone.contains("Max-Age=0"), "{gone}");
    // A token that is taken away takes its cookies with it.
    hub.state.access.replace(vec![token("another", None, None)]);
    assert_eq!(hub.json(with(TestRequest::with_uri("/api/session"))).await.0, 401);
}

#[actix_web::test]
async fn a_token_that_comes_too_often_is_told_when_to_come_back() {
    let hub = Hub::start().await;
    let rate = Rate { per_second: 1.try_into().unwrap(), burst: 3.try_into().unwrap() };
    let limiter = Some(Limiter::new(rate, Instant::now()));
    hub.state.access.replace(vec![Token { limiter, ..token("often", None, None) }, token("all", None, None)]);
    let call = async |who: &str| {
        let request = TestRequest::with_uri("/api/events/register");
        let (status, headers, _) = hub.call(request.insert_header((AUTHORIZATION, format!("Bearer {who}")))).await;
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (status, header("ratelimit-policy"), header("ratelimit"), header("retry-after"))
    };
    let policy = Some("\"token\";q=3;w=3".to_owned());
    for left in [2, 1, 0] {
        let (status, told, limit, retry) = call("often").await;
        assert_eq!((status, &told, retry), (200, &policy, None));
        assert!(limit.as_ref().unwrap().starts_with(&format!("\"token\";r={left};t=")), "{limit:?}");
    }
    let (status, told, limit, retry) = call("often").await;
    assert_eq!((status, told, limit.as_deref()), (429, policy, Some("\"token\";r=0;t=3")));
    assert_eq!(retry.as_deref(), Some("1"));
    // Others are not concerned, and have no limit to be told of.
    assert_eq!(call("all").await, (200, None, None, None));
}

#[actix_web::test]
async fn without_tokens_only_names_of_this_machine_are_answered() {
    let (hub, ..) = hub().await;
    let status = async |hub: &Hub, host: &str| {
        let request = TestRequest::with_uri("/api/events/").insert_header(("host", host.to_owned()));
        hub.json(request.insert_header((AUTHORIZATION, "Bearer all"))).await
    };
    assert_eq!(status(&hub, "evil.example").await.0, 200, "a token is enough");
    hub.state.access.replace(Vec::new());
    let (refused, problem) = status(&hub, "evil.example").await;
    assert_eq!((refused, problem["type"].as_str()), (403, Some("/problems/foreign-host")));
    assert_eq!(status(&hub, "localhost:8080").await.0, 200);
    let absolute = TestRequest::with_uri("http://evil.example/api/events/").insert_header(("host", "localhost"));
    assert_eq!(hub.json(absolute).await.0, 403);
    let open = Hub::with(|http| http.any_host = true).await;
    assert_eq!(status(&open, "evil.example").await.0, 200);
}
