//! `check`: what is wrong before a hub is started, and how to mend it.

use super::program::{Done, Program};
use crate::support::hub::{Backing, Setup};
use crate::support::port::Port;
use crate::support::redis::RedisServer;
use serde_json::Value;

fn check(arguments: &str, store: &str) -> Program {
    Program::new(&format!("check {arguments}"))
        .env("EVENTS__STORE__URL", store)
        .env("EVENTS__HTTP__BIND", "127.0.0.1:0")
        .env("EVENTS__LIVE__MAX_SESSIONS", "10")
        .env("RUST_LOG", "trace")
}

/// The findings about a setting that are not as they should be.
fn faults(done: &Done) -> Vec<(String, String)> {
    let document = done.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let checks = document["checks"].as_array().expect("checks");
    let faults = checks.iter().filter(|check| check["state"] != "ok");
    faults
        .map(|check| {
            assert!(!text(&check["mend"]).is_empty(), "it says how to mend it: {check}");
            (text(&check["what"]), text(&check["found"]))
        })
        .collect()
}

#[actix_web::test]
async fn a_machine_that_is_right_is_found_right() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("not/there/yet");
    let store = format!("embedded:{}", data.display());
    let done = check("--strict", &store).run().await.expect(0);
    assert!(done.out.ends_with("nothing is wrong\n") && done.err.is_empty(), "{done:?}");
    assert!(!data.exists(), "looking leaves nothing behind");
    let redis = RedisServer::start();
    let done = check("--strict --json", &redis.url()).run().await.expect(0);
    assert_eq!((faults(&done), done.json()["ok"].clone()), (vec![], Value::Bool(true)));
    let done = check("", &redis.url()).run().await.expect(0);
    assert!(done.out.contains("Redis 7") || done.out.contains("Redis 8"), "{done:?}");
    assert!(done.out.contains(&format!(" at 127.0.0.1:{}\n", redis.port())), "{done:?}");
}

#[actix_web::test]
async fn a_hub_that_runs_already_is_no_fault() {
    for setup in [Setup::embedded(), Setup::redis()] {
        let hub = setup.start().await;
        let store = setup.backing().url();
        let program = check("--strict", &store).env("EVENTS__HTTP__BIND", &hub.address().to_string());
        let done = program.run().await.expect(0);
        assert!(done.out.contains("a hub listens on"), "{done:?}");
        if matches!(setup.backing(), Backing::Embedded(_)) {
            assert!(done.out.contains("in use by a hub"), "{done:?}");
        }
        hub.get("/readyz").await.expect(200);
    }
}

#[actix_web::test]
async fn what_redis_would_lose_is_a_warning_with_its_cure() {
    let redis = RedisServer::start_with(&[
        "--appendonly",
        "no",
        "--appendfsync",
        "everysec",
        "--maxmemory-policy",
        "allkeys-lru",
    ]);
    let done = check("--json", &redis.url()).run().await.expect(0);
    let faults = faults(&done);
    for word in ["appendonly no", "maxmemory-policy allkeys-lru"] {
        assert!(faults.iter().any(|(what, found)| what == "store.url" && found.contains(word)), "{word}: {faults:?}");
    }
    // How often a file is synced that is not written makes no difference.
    assert_eq!(faults.len(), 2, "{faults:?}");
    check("--strict", &redis.url()).run().await.expect(1);
    let done = check("--json", &redis.url()).env("EVENTS__STORE__WAIT_REPLICAS", "1").run().await.expect(1);
    assert!(self::faults(&done).iter().any(|(what, _)| what == "store.wait_replicas"), "{done:?}");
}

#[actix_web::test]
async fn a_redis_without_a_limit_is_told_to_have_one_and_passes_all_the_same() {
    let redis = RedisServer::start();
    let done = check("--strict", &redis.url()).run().await.expect(0);
    assert!(done.out.contains("note     store.url: Redis has maxmemory 0\n           "), "{done:?}");
    assert!(done.out.contains("the kernel") && done.out.ends_with("nothing is wrong\n"), "{done:?}");
    let document = check("--json", &redis.url()).run().await.expect(0).json();
    let told = document["checks"].as_array().expect("checks").iter();
    let told: Vec<_> = told.filter(|check| check["found"] == "Redis has maxmemory 0").collect();
    assert!(told.len() == 1 && told[0]["mend"].as_str().is_some_and(|mend| mend.contains("set maxmemory")), "{told:?}");
    let mut limit = redis::cmd("CONFIG");
    limit.arg("SET").arg("maxmemory").arg("64mb").exec(&mut redis.plain()).expect("a limit");
    let done = check("--strict", &redis.url()).run().await.expect(0);
    assert!(!done.out.contains("maxmemory"), "{done:?}");
}

#[actix_web::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (address, nobody) = (taken.local_addr().expect("bound").to_string(), Port::free());
    let program = check("--json", &format!("redis://127.0.0.1:{nobody}"))
        .env("EVENTS__HTTP__BIND", &address)
        .env("EVENTS__RABBIT__BILLING__URL", &format!("amqp://guest:secret@127.0.0.1:{nobody}/%2f"));
    let done = program.run().await.expect(1);
    let what: Vec<_> = faults(&done).into_iter().map(|(what, _)| what).collect();
    assert_eq!(what, ["http.bind", "store.url", "rabbit.billing.url"]);
    assert!(!done.out.contains("secret") && !done.err.contains("secret"), "{done:?}");
}

#[actix_web::test]
async fn a_store_that_cannot_be_used_says_why_and_what_to_do() {
    let cure = async |store: &str| {
        let done = check("--json", store).run().await.expect(1);
        let checks = done.json()["checks"].clone();
        let wrong = checks.as_array().expect("checks").iter().find(|check| check["state"] == "wrong").cloned();
        wrong.expect("something is wrong")["mend"].as_str().expect("a cure").to_owned()
    };
    let locked = RedisServer::start();
    let mut password = redis::cmd("CONFIG");
    password.arg("SET").arg("requirepass").arg("secret").exec(&mut locked.plain()).expect("a password");
    let port = locked.port();
    for (user, told) in
        [("", "user and password"), (":wrong@", "user and password"), ("nobody:wrong@", "user and password")]
    {
        assert!(cure(&format!("redis://{user}127.0.0.1:{port}")).await.contains(told), "{user}");
    }
    let plain = RedisServer::start();
    assert!(cure(&format!("redis-cluster://127.0.0.1:{}", plain.port())).await.contains("redis://"));
    assert!(cure(&format!("redis://127.0.0.1:{}/99", plain.port())).await.contains("database"));
    let nobody = Port::free();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &nobody.to_string()]);
    assert!(cure(&replica.url()).await.contains("master"));
    assert!(cure(&format!("redis://127.0.0.1:{nobody}")).await.contains("start Redis"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").expect("a file");
    for store in [file.clone(), file.join("data")] {
        assert!(cure(&format!("embedded:{}", store.display())).await.contains("another folder"));
    }
}

#[actix_web::test]
async fn bad_settings_are_exit_code_78() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("hub.toml");
    std::fs::write(&file, "[http]\nmax_batch = 0\n").expect("the file is written");
    let path = file.to_str().expect("a text path");
    for arguments in
        [&["check", "--config", path][..], &["--config", path, "check"], &["check", "--config", path, "--json"]]
    {
        let mut program = Program::new("");
        for argument in arguments {
            program = program.argument(argument);
        }
        program.run().await.expect(78).complains(&["http.max_batch"]);
    }
}
