//! `/healthz`, `/readyz`, and what every unknown path and method gets.

use crate::both_stores;
use crate::support::hub::Hub;

both_stores!(
    a_running_hub_is_alive_and_ready,
    unknown_paths_are_404_problems,
    unknown_methods_are_405_problems,
    head_answers_like_get_without_a_body
);

async fn a_running_hub_is_alive_and_ready(hub: Hub) {
    hub.get("/healthz").await.expect(200);
    hub.get("/readyz").await.expect(200);
}

async fn unknown_paths_are_404_problems(hub: Hub) {
    for path in [
        "/nope",
        "/api",
        "/api/nope",
        "/api/events/feed",
        "/api/events/feed/hour",
        "/api/events/feed/hour/current/client",
        "/api/events/feed/hour/current/nobody/c",
        "/api/events/1/ok",
        "/api/events/1/ok/c/d",
        "/api/events/register/a/b",
        "/api//events/send",
        "//",
    ] {
        let answer = hub.get(path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        answer.problem(404);
    }
}

async fn unknown_methods_are_405_problems(hub: Hub) {
    for (method, path) in [
        ("GET", "/api/events/send"),
        ("PUT", "/api/events/send"),
        ("DELETE", "/api/events/send"),
        ("POST", "/api/events/register"),
        ("DELETE", "/api/events/register"),
        ("PUT", "/api/events/register/t"),
        ("POST", "/api/events/feed/hour/current"),
        ("DELETE", "/api/events/feed/hour/current/client/c"),
        ("POST", "/api/events/discarded"),
        ("PATCH", "/api/events/1"),
        ("POST", "/api/events/"),
        ("POST", "/healthz"),
        ("DELETE", "/readyz"),
        ("BREW", "/api/events/send"),
    ] {
        let answer = hub.call(method, path, &[("Content-Type", "application/json")], Some(b"{}")).await;
        assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
        answer.problem(405);
        let allow = answer.header("allow").unwrap_or_else(|| panic!("{method} {path}: no Allow header"));
        assert!(!allow.is_empty() && !allow.split(", ").any(|m| m == method), "{allow}");
    }
}

async fn head_answers_like_get_without_a_body(hub: Hub) {
    for path in ["/healthz", "/api/events/feed/hour/current"] {
        let answer = hub.call("HEAD", path, &[], None).await;
        assert!(matches!(answer.status, 200 | 405), "{path}: {}", answer.status);
    }
}
