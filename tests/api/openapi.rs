//! `GET /openapi.json` and `GET /docs`: the document is valid, names every route and method, and is readable without
//! anybody else's server. `answers` holds real answers against it.

mod answers;
mod contract;

use crate::support::http::Response;
use crate::support::hub::{Hub, Setup};
use contract::Contract;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[actix_web::test]
async fn the_document_is_openapi_3_1() {
    let hub = Setup::embedded().start().await;
    let answer = hub.get("/openapi.json").await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    let meta: Value = serde_json::from_str(include_str!("openapi/schema-3.1.json")).unwrap();
    let meta = jsonschema::draft202012::new(&meta).unwrap();
    let errors: Vec<_> = meta.iter_errors(&document).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    // The meta-schema takes anything for a schema.
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}");
    }
    let ids: Vec<_> = Contract::of(&hub).await.operations().iter().map(|(_, _, o)| o["operationId"].clone()).collect();
    let unique: BTreeSet<_> = ids.iter().map(Value::to_string).collect();
    assert_eq!(unique.len(), ids.len(), "operation ids are unique: {ids:?}");
}

/// The paths that `routes.rs` mounts, written as the document writes them.
fn mounted() -> BTreeSet<String> {
    let source = include_str!("../../src/http/routes.rs");
    let strings = source.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| {
        line.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/')).map(|text| text.replace(":[0-9]+", ""))
    });
    let mut paths: BTreeSet<_> = strings.collect();
    // That one has a name.
    assert!(source.contains("readable(ENTRY, "));
    paths.insert("/api/events".to_owned());
    paths
}

#[actix_web::test]
async fn every_route_and_method_is_described_and_no_other() {
    let hub = Setup::embedded().start().await;
    let contract = Contract::of(&hub).await;
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in contract.operations() {
        described.entry(path).or_default().insert(method);
    }
    assert_eq!(described.keys().cloned().collect::<BTreeSet<_>>(), mounted());
    let names = [
        ("{type}", "t"),
        ("{name}", "s"),
        ("{slice}", "hour"),
        ("{at}", "current"),
        ("{client}", "c"),
        ("{id}", "1"),
        ("{file}", "start.js"),
    ];
    for (template, methods) in described {
        let path = names.iter().fold(template.clone(), |path, (name, value)| path.replace(name, value));
        let slash = if path == "/" { "" } else { "/" };
        for path in [path.clone(), path + slash] {
            let answer = hub.call("OPTIONS", &path, &[], None).await.expect(204);
            let mut allowed: BTreeSet<_> =
                answer.header("allow").expect("Allow").split(", ").map(str::to_owned).collect();
            assert!(allowed.remove("OPTIONS"), "{path}");
            assert_eq!(allowed.remove("HEAD"), methods.contains("GET"), "{path}: HEAD is there where GET is");
            assert_eq!(allowed, methods, "{path}");
            // What is allowed is there, and what is not is a 405.
            for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
                let status = hub.call(method, &path, &[], None).await.status;
                assert_eq!(status != 405, methods.contains(method), "{method} {path}: {status}");
            }
        }
    }
}

#[actix_web::test]
async fn links_of_the_document_begin_with_the_public_url() {
    let hub = Setup::embedded().set("http.public_url", "https://events.example/hub/").start().await;
    let document = hub.get("/openapi.json").await.expect(200).json();
    assert_eq!(document["servers"], json!([{ "url": "https://events.example/hub" }]));
    let entry = hub.get("/api/events").await.expect(200).json();
    assert!(
        entry["links"].as_array().unwrap().contains(&json!({"rel": "docs", "href": "https://events.example/hub/docs"}))
    );
}

/// The addresses in a page's attributes.
fn addresses(page: &str) -> Vec<String> {
    let attributes = ["src=\"", "href=\"", "data-document=\""];
    let values = attributes.iter().flat_map(|name| page.split(name).skip(1).filter_map(|rest| rest.split('"').next()));
    values.filter(|value| !value.starts_with("data:")).map(str::to_owned).collect()
}

#[actix_web::test]
async fn the_page_consists_of_the_hubs_own_files() {
    let hub = Setup::embedded().start().await;
    for (path, folder) in [("/docs", "/"), ("/docs/", "/docs/")] {
        let page = hub.get(path).await.expect(200);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let text = page.text();
        assert!(!text.contains("<script>") && !text.contains("style=") && !text.contains("://"), "{text}");
        let addresses = addresses(&text);
        assert!(addresses.len() >= 5, "{addresses:?}");
        for address in addresses {
            let at = url::Url::parse("http://hub.test").unwrap().join(folder).unwrap().join(&address).unwrap();
            let file = hub.get(at.path()).await.expect(200);
            assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{address}");
            let kind = file.header("content-type").unwrap();
            let expected = match address.rsplit('.').next().unwrap() {
                "css" => "text/css; charset=utf-8",
                "js" => "text/javascript; charset=utf-8",
                _ => "application/json",
            };
            assert_eq!(kind, expected, "{address}");
        }
    }
    let script = hub.get("/docs/swagger-ui-bundle.js").await.expect(200);
    assert!(script.body.len() > 1_000_000 && script.text().contains("SwaggerUIBundle"));
    hub.get("/docs/index.html").await.problem(404);
    hub.get("/docs/..%2fopenapi.json").await.problem(404);
}

async fn with(hub: &Hub, path: &str, headers: &[(&str, &str)]) -> Response {
    hub.call("GET", path, headers, None).await
}

#[actix_web::test]
async fn document_and_files_are_sent_again_only_when_they_have_changed() {
    let hub = Setup::embedded().start().await;
    for path in ["/openapi.json", "/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"] {
        let plain = hub.get(path).await.expect(200);
        assert_eq!((plain.header("cache-control"), plain.header("vary")), (Some("no-cache"), Some("Accept-Encoding")));
        assert_eq!(plain.header("content-encoding"), None);
        let small = with(&hub, path, &[("Accept-Encoding", "br, gzip")]).await.expect(200);
        assert_eq!(small.header("content-encoding"), Some("gzip"));
        assert!(small.body.len() < plain.body.len(), "{path}");
        assert_ne!(small.header("etag"), plain.header("etag"), "{path}: other bytes have another tag");
        let tag = plain.header("etag").unwrap();
        let again = with(&hub, path, &[("If-None-Match", tag)]).await.expect(304);
        assert!(again.body.is_empty() && again.header("etag") == Some(tag));
        with(&hub, path, &[("If-None-Match", "\"other\"")]).await.expect(200);
    }
}

/// The checks of this folder can fail.
#[actix_web::test]
async fn an_answer_that_is_not_as_described_is_noticed() {
    let hub = Setup::embedded().start().await;
    let contract = Contract::of(&hub).await;
    let good = hub.get("/healthz").await.expect(200);
    let passes = |answer: &Response| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| contract.check("GET", "/healthz", answer))).is_ok()
    };
    let with = |body: Value| Response { body: body.to_string().into_bytes(), ..good.clone() };
    let without = |name: &str| {
        let headers = good.headers.iter().filter(|(known, _)| known != name).cloned().collect();
        Response { headers, ..good.clone() }
    };
    assert!(passes(&good));
    assert!(!passes(&with(json!({"status": "ok", "more": 1}))), "a member that is not described");
    assert!(!passes(&with(json!({}))), "a member that is missing");
    assert!(!passes(&with(json!({"status": "bad"}))), "another value");
    assert!(!passes(&Response { status: 204, ..good.clone() }), "another status");
    for header in ["content-type", "cache-control", "x-request-id"] {
        assert!(!passes(&without(header)), "no {header}");
    }
}
