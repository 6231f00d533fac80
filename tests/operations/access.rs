//! Tokens of a running hub: from the command line into the settings, over every way in, and out again at SIGHUP.

use crate::support::hub::{Hub, Setup, command};
use crate::support::sse::Events;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::ws::Session;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A settings file whose tokens change.
struct Tokens {
    file: PathBuf,
    _folder: TempDir,
}

impl Tokens {
    fn new(tokens: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("hub-test-").tempdir().expect("a temporary folder");
        let tokens = tokens.join("\n");
        let file = folder.path().join("hub.toml");
        std::fs::write(&file, tokens).expect("the file is written");
        Self { file, _folder: folder }
    }

    fn set(&self, tokens: &[&str]) {
        std::fs::write(&self.file, tokens.join("\n")).expect("the file is written");
    }

    fn setup(&self) -> Setup {
        Setup::embedded().argument("--config").argument(self.file.to_str().expect("a text path"))
    }
}

/// Runs `event-source-api token`: the token, and the table for the settings.
fn make(arguments: &[&str]) -> (String, String) {
    let output = command().arg("token").args(arguments).stdout(Stdio::piped()).output().expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let (token, rest) = text.split_once('\n').expect("lines");
    let table = &rest[rest.find("[[auth.tokens]]").expect("a table")..];
    assert!(!table.contains(token), "the settings do not hold the token");
    (token.to_owned(), table.to_owned())
}

async fn reload(hub: &Hub, line: &str) {
    hub.signal("HUP");
    hub.logged(line).await;
}

#[actix_web::test]
async fn a_token_made_on_the_command_line_opens_what_its_scopes_say() {
    let (sender, sender_table) = make(&["--name", "sender", "--scopes", "send,register"]);
    let (reader, reader_table) = make(&["--name", "reader", "--scopes", "feed,live"]);
    assert!(sender.starts_with("es_") && sender.len() > 40 && sender != reader);
    let hub = Tokens::new(&[&sender_table, &reader_table]).setup().start().await;
    hub.get("/healthz").await.expect(200);
    let refused = hub.get("/api/events/register").await;
    assert_eq!(refused.problem(401)["type"], "/problems/unauthorized");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    hub.by("es_wrong", "GET", "/api/events/register", None).await.problem(401);
    let registration = json!({"type": "t", "ttl": "1h"});
    hub.by(&reader, "PUT", "/api/events/register", Some(&registration)).await.problem(403);
    hub.by(&sender, "PUT", "/api/events/register", Some(&registration)).await.expect(201);
    let mut session = Session::open_with(&hub, "?types=t", &reader).await;
    let event = json!({"type": "t", "payload": 1});
    hub.by(&reader, "POST", "/api/events/send", Some(&event)).await.problem(403);
    let sent = hub.by(&sender, "POST", "/api/events/send", Some(&event)).await.expect(202).json();
    assert_eq!(session.event().await["id"], sent["id"]);
    assert_eq!(Session::refused(&hub, "?types=t").await, 401);
    let log = hub.log().join("\n");
    assert!(!log.contains(&sender) && !log.contains(&reader));
}

#[actix_web::test]
async fn a_session_gets_no_types_that_its_token_is_not_for() {
    let (all, all_table) = make(&[]);
    let (some, some_table) = make(&["--name", "some"]);
    let some_table = format!("{some_table}types = [\"a:*\"]\nclient = \"7\"\n");
    let hub = Tokens::new(&[&all_table, &some_table]).setup().start().await;
    let send = async |ty: &str| -> Value {
        let event = json!({"type": ty, "payload": ty});
        hub.by(&all, "POST", "/api/events/send", Some(&event)).await.expect(202).json()["id"].clone()
    };
    for ty in ["a:x", "b"] {
        let registration = json!({"type": ty, "ttl": "1h"});
        hub.by(&all, "PUT", "/api/events/register", Some(&registration)).await.expect(201);
    }
    let (first_a, first_b) = (send("a:x").await, send("b").await);
    // Live, after asking for more, and what it missed.
    let mut live = Session::open_with(&hub, "", &some).await;
    live.say(r#"{"subscribe": ["b"]}"#).await;
    assert_eq!(live.event().await["control"], "subscribed");
    let mut resumed = Session::open_with(&hub, "?types=*&since=0", &some).await;
    assert_eq!(resumed.event().await["control"], "resumed");
    assert_eq!(resumed.event().await["id"], first_a);
    send("b").await;
    let second_a = send("a:x").await;
    assert_eq!(live.event().await["id"], second_a);
    assert_eq!(resumed.event().await["id"], second_a);
    // Marks keep to types and client as well.
    let mark = |id: &Value, client: &str| json!({"ok": id, "client": client}).to_string();
    live.say(&mark(&first_a, "7")).await;
    let answer = live.event().await;
    assert_eq!((&answer["control"], &answer["acknowledge"]), (&json!("ok"), &json!(true)));
    live.say(&mark(&first_b, "7")).await;
    assert_eq!(live.event().await["acknowledge"], false);
    live.say(&mark(&first_a, "8")).await;
    let answer = live.event().await;
    assert_eq!((&answer["control"], &answer["client"]), (&json!("error"), &json!("8")));
}

#[actix_web::test]
async fn tokens_change_while_sessions_stay() {
    let (old, old_table) = make(&["--name", "old"]);
    let (kept, kept_table) = make(&["--name", "kept"]);
    let (new, new_table) = make(&["--name", "new"]);
    let tokens = Tokens::new(&[&old_table, &kept_table]);
    let hub = tokens.setup().set("live.heartbeat", "1h").start().await;
    let registration = json!({"type": "t", "ttl": "1h"});
    hub.by(&old, "PUT", "/api/events/register", Some(&registration)).await.expect(201);
    let mut of_old = Session::open_with(&hub, "", &old).await;
    let mut of_kept = Session::open_with(&hub, "", &kept).await;
    // A file that cannot be used changes nothing.
    tokens.set(&[&new_table, "[[auth.tokens]]\nname = \"broken\"\n"]);
    reload(&hub, "auth.tokens[1]").await;
    hub.by(&new, "GET", "/api/events/register", None).await.problem(401);
    hub.by(&old, "GET", "/api/events/register", None).await.expect(200);
    // Rotation: for a while both are good.
    tokens.set(&[&old_table, &kept_table, &new_table]);
    reload(&hub, "tokens=3 added=1 removed=0").await;
    for token in [&old, &kept, &new] {
        hub.by(token, "GET", "/api/events/register", None).await.expect(200);
    }
    tokens.set(&[&kept_table, &new_table]);
    reload(&hub, "tokens=2 added=0 removed=1").await;
    hub.by(&old, "GET", "/api/events/register", None).await.problem(401);
    assert_eq!(of_old.closed().await, Some(4001));
    let event = json!({"type": "t", "payload": 1});
    let sent = hub.by(&new, "POST", "/api/events/send", Some(&event)).await.expect(202).json();
    assert_eq!(of_kept.event().await["id"], sent["id"]);
    hub.stop().await;
}

#[actix_web::test]
async fn a_stream_of_server_sent_events_ends_with_its_token_too() {
    let (old, old_table) = make(&["--name", "old", "--scopes", "live"]);
    let (_, new_table) = make(&["--name", "new"]);
    let tokens = Tokens::new(&[&old_table]);
    let hub = tokens.setup().set("live.heartbeat", "1h").start().await;
    let mut events = Events::open(&hub, "", &[("Authorization", &format!("Bearer {old}"))]).await;
    tokens.set(&[&new_table]);
    reload(&hub, "removed=1").await;
    let last = events.next().await.expect("a last message");
    assert_eq!((last.event.as_str(), &last.json()["code"]), ("control", &json!(4001)));
    assert_eq!(events.next().await, None);
}

#[actix_web::test]
async fn a_feed_that_waits_ends_with_its_token_too() {
    let (old, old_table) = make(&["--name", "old", "--scopes", "feed"]);
    let (kept, kept_table) = make(&["--name", "kept"]);
    let tokens = Tokens::new(&[&old_table, &kept_table]);
    let hub = tokens.setup().start().await;
    let wait = async |token: &str, seconds: u32| {
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", &*authorization), ("Prefer", &format!("wait={seconds}"))];
        hub.call("GET", "/api/events/feed/hour/current", &headers, None).await
    };
    let exchange = async {
        let both = || async {
            let figures = hub.by(&kept, "GET", "/metrics", None).await.expect(200).text();
            figures.lines().any(|line| line == "events_live_sessions 2").then_some(())
        };
        eventually(PATIENCE, "both to wait", both).await;
        tokens.set(&[&kept_table]);
        reload(&hub, "removed=1").await;
    };
    let since = Instant::now();
    let withdrawn = async {
        let answer = wait(&old, 60).await;
        (answer, since.elapsed())
    };
    let ((withdrawn, after), stayed, ()) = futures_util::join!(withdrawn, wait(&kept, 9), exchange);
    assert_eq!(withdrawn.problem(401)["type"], "/problems/unauthorized");
    assert!(after < Duration::from_secs(50), "{after:?}");
    assert_eq!(stayed.expect(200).header("preference-applied"), Some("wait=9"));
}

#[actix_web::test]
async fn without_tokens_a_page_that_rebinds_its_name_gets_nothing() {
    let hub = Setup::embedded().start().await;
    let ask = async |host: &str| hub.call("GET", "/api/events/register", &[("Host", host)], None).await;
    ask("localhost").await.expect(200);
    assert_eq!(ask("rebound.example").await.problem(403)["type"], "/problems/foreign-host");
    let hub = Setup::embedded().set("http.public_url", "https://hub.example/").start().await;
    hub.call("GET", "/api/events/register", &[("Host", "hub.example")], None).await.expect(200);
}

#[actix_web::test]
async fn pages_of_listed_origins_may_ask_and_others_may_not() {
    let hub = Setup::embedded().set("http.origins", "https://app.example").start().await;
    hub.register("t", "1h").await;
    let (good, evil) = (("Origin", "https://app.example"), ("Origin", "https://evil.example"));
    let preflight = async |origin| {
        let asked = [origin, ("Access-Control-Request-Method", "PUT")];
        hub.call("OPTIONS", "/api/events/register", &asked, None).await.expect(204)
    };
    let yes = preflight(good).await;
    assert_eq!(yes.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(yes.header("access-control-allow-headers").is_some_and(|h| h.contains("Authorization")));
    assert_eq!(preflight(evil).await.header("access-control-allow-origin"), None);
    let feed = async |origin| hub.call("GET", "/api/events/feed/hour/current", &[origin], None).await.expect(200);
    let answer = feed(good).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(answer.header("access-control-expose-headers").is_some_and(|h| h.contains("ETag") && h.contains("Link")));
    assert!(answer.header("vary").is_some_and(|v| v.contains("Origin")));
    assert_eq!(feed(evil).await.header("access-control-allow-origin"), None);
    // No leave is needed for a POST without a body, so it is refused.
    let retry = async |origin| hub.call("POST", "/api/events/streams/t/s/dead/retry", &[origin], None).await;
    assert_eq!(retry(evil).await.problem(403)["type"], "/problems/cross-origin");
    retry(good).await.problem(404);
}
