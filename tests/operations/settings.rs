//! Settings: defaults, file, environment; and what stops the start.

use crate::support::hub::{Setup, command};
use crate::support::wait::PATIENCE;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

/// Runs the binary until it ends by itself: exit code, standard output, standard error.
async fn run(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = command();
    command.env("RUST_LOG", "warn").env("EVENTS__HTTP__BIND", "127.0.0.1:0");
    command.env("EVENTS__STORE__URL", format!("embedded:{}", folder.join("data").display()));
    command.args(arguments).envs(env.iter().copied()).current_dir(folder).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let ended = async {
        loop {
            if let Some(status) = child.try_wait().expect("the process can be waited for") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await.ok();
    // A hub that starts although it should not is killed, not left behind.
    if ended.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
    child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
    let status = ended.unwrap_or_else(|| panic!("the hub started with {arguments:?} {env:?}: {err}"));
    (status.code(), out, err)
}

pub async fn assert_refused(folder: &Path, arguments: &[&str], env: &[(&str, &str)], named: &str) {
    let (code, _, err) = run(folder, arguments, env).await;
    assert!(code.is_some_and(|c| c != 0), "exit code {code:?} for {env:?}");
    let lines: Vec<_> = err.lines().filter(|l| !l.trim().is_empty()).collect();
    assert_eq!(lines.len(), 1, "one line says what is wrong with {arguments:?} {env:?}: {err}");
    assert!(lines[0].contains(named), "'{named}' is not named: {}", lines[0]);
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("hub-test-").tempdir().expect("a temporary folder")
}

#[actix_web::test]
async fn a_bad_setting_stops_the_start_with_one_line_that_names_it() {
    let folder = folder();
    for (variable, value, named) in [
        ("EVENTS__HTTP__BIND", "nowhere", "http.bind"),
        ("EVENTS__HTTP__BIND", "127.0.0.1:99999", "http.bind"),
        ("EVENTS__HTTP__MAX_BODY", "1 elephant", "http.max_body"),
        ("EVENTS__HTTP__MAX_BATCH", "0", "http.max_batch"),
        ("EVENTS__HTTP__MAX_BATCH", "abc", "http.max_batch"),
        ("EVENTS__HTTP__MAX_BATCH", "-1", "http.max_batch"),
        ("EVENTS__HTTP__PUBLIC_URL", "not a url", "http.public_url"),
        ("EVENTS__HTTP__NOPE", "1", "http.nope"),
        ("EVENTS__NOPE__NOPE", "1", "nope"),
        ("EVENTS__STORE__URL", "mysql://127.0.0.1", "store.url"),
        ("EVENTS__STORE__URL", "", "store.url"),
        ("EVENTS__STORE__URL", "redis://:port", "store.url"),
        ("EVENTS__RABBIT__URL", "http://127.0.0.1", "rabbit.url"),
        ("EVENTS__STREAMS__MAILBOX", "0", "streams.mailbox"),
        ("EVENTS__STREAMS__CONCURRENCY", "many", "streams.concurrency"),
        ("EVENTS__STREAMS__RETRY__ATTEMPTS", "0", "streams.retry.attempts"),
        ("EVENTS__STREAMS__RETRY__FIRST", "soon", "streams.retry.first"),
        ("EVENTS__STREAMS__LEASE", "0s", "streams.lease"),
        ("EVENTS__WEBHOOK__TIMEOUT", "15", "webhook.timeout"),
        ("EVENTS__WEBHOOK__DENY", "10.0.0.0/99", "webhook.deny"),
        ("EVENTS__LIVE__HEARTBEAT", "often", "live.heartbeat"),
        ("EVENTS__LIVE__MAX_SESSIONS", "-5", "live.max_sessions"),
        ("EVENTS__EVENTS__UNREGISTERED", "maybe", "events.unregistered"),
    ] {
        assert_refused(folder.path(), &[], &[(variable, value)], named).await;
    }
}

#[actix_web::test]
async fn a_bad_file_stops_the_start_with_one_line_that_names_it() {
    let folder = folder();
    let file = folder.path().join("hub.toml");
    let path = file.to_str().expect("a text path");
    assert_refused(folder.path(), &["--config", path], &[], "hub.toml").await;
    for (text, named) in [
        ("[http]\nbnd = \"127.0.0.1:0\"\n", "http.bnd"),
        ("[htpp]\nbind = \"127.0.0.1:0\"\n", "htpp"),
        ("[http]\nmax_batch = \"abc\"\n", "http.max_batch"),
        ("[streams]\nmailbox = true\n", "streams.mailbox"),
        ("[http\n", "--config"),
    ] {
        std::fs::write(&file, text).expect("the file is written");
        assert_refused(folder.path(), &["--config", path], &[], named).await;
    }
}

#[actix_web::test]
async fn without_tokens_only_the_loopback_may_be_bound() {
    let folder = folder();
    assert_refused(folder.path(), &[], &[("EVENTS__HTTP__BIND", "0.0.0.0:0")], "http.bind").await;
    assert_refused(folder.path(), &[], &[("EVENTS__HTTP__BIND", "[::]:0")], "http.bind").await;
}

#[actix_web::test]
async fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let setup = Setup::embedded();
    let folder = folder();
    let file = folder.path().join("hub.toml");
    std::fs::write(&file, "[http]\nmax_batch = 3\nmax_depth = 5\n").expect("the file is written");
    let hub = setup.argument("--config").argument(file.to_str().unwrap()).set("http.max_batch", 2).start().await;
    hub.register("t", "1h").await;
    let event = |payload: &str| format!(r#"{{"type":"t","payload":{payload}}}"#);
    let batch = |n: usize| format!("[{}]", vec![event("1"); n].join(","));
    hub.post("/api/events/send", batch(2)).await.expect(202);
    hub.post("/api/events/send", batch(3)).await.problem(413);
    hub.post("/api/events/send", event("[[[[[[[[1]]]]]]]]")).await.problem(422);
}

#[actix_web::test]
async fn a_folder_belongs_to_one_process() {
    let setup = Setup::embedded();
    let hub = setup.start().await;
    let folder = folder();
    let url = setup.backing().url();
    assert_refused(folder.path(), &[], &[("EVENTS__STORE__URL", &url)], "store.url").await;
    hub.get("/readyz").await.expect(200);
}

#[actix_web::test]
async fn an_address_in_use_stops_the_start_with_one_line() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    assert_refused(folder.path(), &[], &[("EVENTS__HTTP__BIND", &address)], &address).await;
}

#[actix_web::test]
async fn help_and_version_are_answered() {
    let folder = folder();
    let (code, out, _) = run(folder.path(), &["--help"], &[]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("--config"), "{out}");
    let (code, out, _) = run(folder.path(), &["--version"], &[]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains(env!("CARGO_PKG_VERSION")), "{out}");
    let (code, _, err) = run(folder.path(), &["--nope"], &[]).await;
    assert!(code.is_some_and(|c| c != 0));
    assert!(err.contains("--nope"), "{err}");
}
