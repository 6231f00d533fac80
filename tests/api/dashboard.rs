//! `/`: the dashboard's files are whole, guarded, small, and of this hub alone.

use crate::both_stores;
use crate::support::hub::{Hub, Setup};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of everything that the page may ever load.
const MOST: usize = 150_000;

/// All files that the page names, and those that they name.
async fn files(hub: &Hub) -> BTreeMap<String, String> {
    let (mut found, mut wanted) = (BTreeMap::new(), BTreeSet::from(["/".to_owned()]));
    while let Some(path) = wanted.pop_first() {
        let answer = hub.get(&path).await.expect(200);
        let text = answer.text();
        for (begin, prefix) in [("\"assets/", "/assets/"), ("\"./", "/assets/")] {
            let names = text.split(begin).skip(1).filter_map(|rest| rest.split('"').next());
            wanted.extend(names.map(|name| format!("{prefix}{name}")).filter(|path| !found.contains_key(path)));
        }
        wanted.remove(&path);
        found.insert(path, text);
    }
    found
}

#[actix_web::test]
async fn the_page_and_its_files_are_guarded_and_have_their_types() {
    let hub = Setup::embedded().start().await;
    let files = files(&hub).await;
    assert!(files.len() >= 10, "{:?}", files.keys());
    for path in files.keys() {
        let answer = hub.get(path).await.expect(200);
        let kind = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        if kind.starts_with("text/html") {
            assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        }

        let tag = answer.header("etag").unwrap().to_owned();
        let again = hub.call("GET", path, &[("If-None-Match", &format!("\"other\", {tag}"))], None).await.expect(304);
        assert_eq!((again.body.len(), again.header("etag")), (0, Some(tag.as_str())), "{path}");
        hub.call("GET", path, &[("If-None-Match", "\"other\"")], None).await.expect(200);
        let head = hub.call("HEAD", path, &[], None).await.expect(200);
        assert_eq!((head.body.len(), head.header("etag")), (0, Some(tag.as_str())), "{path}");
    }
    for path in ["/assets/nothing.js", "/assets/index.html", "/assets/..%2fCargo.toml", "/assets/"] {
        hub.get(path).await.problem(404);
    }
}

#[actix_web::test]
async fn the_page_is_small_and_asks_no_other_host_for_anything() {
    let hub = Setup::embedded().start().await;
    let files = files(&hub).await;
    let size: usize = files.values().map(String::len).sum();
    assert!(size < MOST, "{size} bytes");
    for (path, text) in &files {
        // Names of XML, and what a form shows as an example.
        let text = text.replace("http://www.w3.org/", "").replace("https://example.com/hook", "");
        for foreign in ["http://", "https://", "//cdn", " url(", ":url("] {
            assert!(!text.contains(foreign), "{path} names another host: {foreign}");
        }
        if path == "/" {
            assert!(!text.contains("<style") && !text.contains("style=") && !text.contains(" onclick"), "inline");
            assert!(text.split("<script").skip(1).all(|rest| rest.contains("src=\"assets/")), "inline script");
        }
    }
}

both_stores!(counts_and_the_store_are_told);

async fn counts_and_the_store_are_told(setup: Setup) {
    let hub = setup.start().await;
    hub.register("a:b", "1h").await;
    hub.register("c", "ephemeral").await;
    hub.send_many("a:b", 5).await;
    hub.send("c", json!(1)).await;
    let counts = hub.get("/api/events/counts").await.expect(200).json();
    assert_eq!(counts["accepted"], json!({"a:b": 5, "c": 1}));

    let store = hub.get("/api/events/store").await.expect(200).json();
    if store["kind"] == "embedded" {
        assert!(store["disk_free"].as_u64() > Some(0), "{store}");
        assert_eq!(store["servers"], json!([]));
    } else {
        let server = &store["servers"][0];
        assert_eq!((&store["kind"], &server["error"]), (&json!("redis"), &json!(null)), "{store}");
        assert!(server["memory_used"].as_u64() > Some(0) && server["version"].as_str() != Some(""), "{server}");
        assert!(server["warnings"].is_array(), "{server}");
    }
}
