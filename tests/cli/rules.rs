//! What holds for every command: where the hub is, as whom, exit codes, and help.

use super::program::Program;
use crate::support::front::front;
use crate::support::hub::{Hub, Setup, run};
use crate::support::port::Port;
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;

#[actix_web::test]
async fn a_hub_that_is_away_is_exit_code_3() {
    let nobody = Port::free();
    let url = format!("http://127.0.0.1:{nobody}");
    for arguments in ["tail", "feed", "streams", "nodes", "dead t/s", "streams pause t/s"] {
        let done = Program::new(arguments).env("EVENTS_URL", &url).run().await.expect(3);
        done.complains(&["cannot reach a hub at", &url]);
    }
    let done = Program::new("send t 1").env("EVENTS_URL", &url).run().await.expect(3);
    assert!(done.err.contains("--idempotency-key cli-"), "it says how to repeat it: {done:?}");
    assert!(done.err.contains("has not arrived") && !done.err.contains("may have arrived"), "{done:?}");
    let done = Program::new("register -").input(r#"{"type":"t","ttl":"1h"}"#).env("EVENTS_URL", &url).run().await;
    done.expect(3).complains(&["cannot reach"]);
    // A probe knows 0 and 1 alone.
    Program::new("health").env("EVENTS_URL", &url).run().await.expect(1).complains(&["cannot reach"]);
}

#[actix_web::test]
async fn a_store_that_is_away_is_exit_code_3_and_no_health() {
    let setup = Setup::redis();
    let hub = setup.start().await;
    assert_eq!(Program::new("health").to(&hub).run().await.expect(0).out, "ready\n");
    setup.redis_server().kill();
    let done = Program::new("send t 1").to(&hub).run().await.expect(3);
    assert!(done.err.contains("The store is not available") && done.err.contains("(503)"), "{done:?}");
    Program::new("health").to(&hub).run().await.expect(1).complains(&["(503)"]);
    assert_eq!(Program::new("health --alive").to(&hub).run().await.expect(0).out, "alive\n");
    let url = format!("http://{}", hub.address());
    Program::new("health --alive").argument(&url).run().await.expect(0);
}

#[actix_web::test]
async fn problems_are_one_line() {
    run(Setup::embedded(), async |hub: Hub| {
        let done = Program::new("streams a:b/c").to(&hub).run().await.expect(1);
        done.complains(&["There is no such resource", "(404)"]);
        let registration = json!({"type": "t", "ttl": "soon", "streams": [{"source": "webhook", "uri": "ftp://x"}]});
        let done = Program::new("register -").input(&registration.to_string()).to(&hub).run().await.expect(1);
        done.complains(&["/ttl", "/streams/0/uri", "(422)"]);
        // Something else answers there.
        let hook = crate::support::webhook::Webhook::start().await;
        let done = Program::new("nodes").argument("--url").argument(&hook.uri("")).run().await.expect(1);
        done.complains(&["is that"]);
    })
    .await;
}

#[actix_web::test]
async fn the_command_line_says_what_it_takes() {
    let done = Program::new("--help").run().await.expect(0);
    for word in
        ["serve", "send", "register", "tail", "feed", "streams", "dead", "nodes", "check", "health", "Exit codes"]
    {
        assert!(done.out.contains(word), "{word}: {}", done.out);
    }
    for command in ["send", "register", "tail", "feed", "streams", "dead", "nodes", "check", "health", "serve", "token"]
    {
        let done = Program::new(command).argument("--help").run().await.expect(0);
        assert!(done.out.contains("Usage: event-source-api"), "{done:?}");
        if !["nodes", "serve"].contains(&command) {
            assert!(done.out.contains("Example"), "{command} has an example: {}", done.out);
        }
    }
    for bad in [
        "sned t 1",
        "tail --sicne 5",
        "tail a::b",
        "tail --since x",
        "feed year",
        "feed hour never",
        "streams t",
        "streams delete t/s",
        "dead t/s 5",
        "dead t/s --delete",
        "feed hour --status all",
        "streams tune t/s",
        "feed --url nowhere",
        "feed --url http://user:secret@127.0.0.1:1",
        "streams t/s pause t/s",
    ] {
        let done = Program::new(bad).run().await.expect(2);
        assert!(!done.err.is_empty() && !done.err.contains("secret"), "{bad}: {done:?}");
    }
}

#[actix_web::test]
async fn the_token_comes_from_the_environment_or_a_file_and_never_an_argument() {
    let hub = Setup::embedded().start().await;
    let (seen, at) = (Rc::new(RefCell::new(Vec::new())), hub.address());
    let noted = Rc::clone(&seen);
    let note = move |asked: &crate::support::front::Asked| {
        noted.borrow_mut().push(asked.header("authorization").map(str::to_owned));
        None
    };
    let url = format!("http://{}", front(move || Some(at), note).await);
    Program::new("nodes").env("EVENTS_URL", &url).env("EVENTS_TOKEN", "from-environment").run().await.expect(0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "from-file\n").expect("the file is written");
    let path = file.to_str().expect("a text path");
    Program::new("nodes --token-file").argument(path).env("EVENTS_URL", &url).run().await.expect(0);
    Program::new("nodes").env("EVENTS_URL", &url).run().await.expect(0);
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    assert_eq!(*seen.borrow(), [bearer("from-environment"), bearer("from-file"), None]);
    let done = Program::new("nodes --token secret").env("EVENTS_URL", &url).run().await.expect(2);
    assert!(done.err.contains("--token"), "{done:?}");
    let done = Program::new("nodes --token-file /nowhere/token").env("EVENTS_URL", &url).run().await.expect(2);
    done.complains(&["--token-file", "/nowhere/token"]);
    let done = Program::new("nodes").env("EVENTS_URL", &url).env("EVENTS_TOKEN", "se cret\u{7f}").run().await.expect(2);
    assert!(!done.err.contains("cret"), "{done:?}");
}

#[actix_web::test]
async fn serve_is_the_default_and_takes_the_settings_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("hub.toml");
    std::fs::write(&file, "[http]\nmax_batch = 2\n").expect("the file is written");
    let path = file.to_str().expect("a text path");
    for arguments in
        [vec!["serve", "--config", path], vec!["--config", path, "serve"], vec!["--config", path], vec!["serve"]]
    {
        let batch = if arguments.contains(&path) { 413 } else { 202 };
        let setup = arguments.iter().fold(Setup::embedded(), |setup, argument| setup.argument(argument));
        let hub = setup.start().await;
        let event = r#"{"type":"t","payload":1}"#;
        hub.post("/api/events/send", format!("[{event},{event},{event}]")).await.expect(batch);
    }
}

#[actix_web::test]
async fn nodes_are_shown() {
    run(Setup::embedded(), async |hub: Hub| {
        let done = Program::new("nodes").to(&hub).run().await.expect(0);
        assert!(done.out.contains("running") && done.out.contains(&hub.address().to_string()), "{done:?}");
        assert!(!done.out.contains('\u{1b}'), "no colours but on a terminal");
        let done = Program::new("nodes --json").to(&hub).run().await.expect(0).json();
        assert_eq!(done["nodes"][0]["state"], "running");
    })
    .await;
}

#[actix_web::test]
async fn a_new_token_opens_a_hub_that_knows_its_hash_and_no_other() {
    let new = |arguments: &str| Program::new(&format!("token --json {arguments}")).run();
    let made = new("--name ops --scopes ops,send").await.expect(0).json();
    let token = made["token"].as_str().expect("a token").to_owned();
    let known = json!([{"name": made["name"], "sha256": made["sha256"], "scopes": made["scopes"]}]);
    let hub = Setup::embedded().set("auth.tokens", known).start().await;
    Program::new("nodes").to(&hub).env("EVENTS_TOKEN", &token).run().await.expect(0);
    Program::new("nodes").to(&hub).run().await.expect(1).complains(&["(401)"]);
    Program::new("feed").to(&hub).env("EVENTS_TOKEN", &token).run().await.expect(1).complains(&["(403)"]);
    let other = new("").await.expect(0).json()["token"].as_str().expect("a token").to_owned();
    Program::new("tail").to(&hub).env("EVENTS_TOKEN", &other).run().await.expect(1).complains(&["(401)"]);
    assert_eq!(Program::new("health").to(&hub).run().await.expect(0).out, "ready\n");
}
