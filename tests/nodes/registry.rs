//! The registry over nodes: one winner everywhere, and nobody is behind for long.

use crate::hubs::{self, know};
use crate::support::api::webhook;
use crate::support::hub::{Hub, Setup};
use crate::support::webhook::Webhook;
use crate::support::ws::Session;
use ::redis::{self, Commands};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The second that is promised, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(2);

#[actix_web::test]
async fn of_two_registrations_at_once_one_wins_everywhere() {
    let setup = Setup::redis();
    let hubs = hubs::start(&setup, 3).await;
    let mut winners = Vec::new();
    for round in 0..8 {
        let ty = format!("type-{round}");
        let answers = join_all(hubs.iter().enumerate().map(|(n, hub)| {
            let uri = format!("http://127.0.0.1:9/{n}");
            let streams = json!([{"source": "webhook", "name": format!("of-{n}"), "uri": uri, "secret": SECRET}]);
            let body = json!({"type": ty, "ttl": format!("{}h", n + 1), "streams": streams});
            async move { hub.put("/api/events/register", body).await }
        }));
        let answers = answers.await;
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        assert!(created == 1 && answers.iter().all(|answer| matches!(answer.status, 200 | 201)), "{answers:?}");
        let agreed = agree(&hubs, &ty, |_| true).await;
        let given: Vec<Value> = answers.iter().map(|answer| answer.json()).collect();
        assert!(given.iter().any(|one| one["ttl"] == agreed["ttl"]), "{agreed} of {given:?}");
        winners.push((ty, agreed));
    }
    // One that starts has only the store to ask.
    let fresh = setup.start().await;
    for (ty, agreed) in winners {
        let stored = fresh.get(&format!("/api/events/register/{ty}")).await.expect(200).json();
        assert_eq!(stored, agreed);
    }
}

#[actix_web::test]
async fn a_change_whose_announcement_is_lost_is_in_force_everywhere_soon() {
    let setup = Setup::redis();
    let hubs = hubs::start(&setup, 3).await;
    for round in 0..5 {
        // Whoever listens to Redis listens no more.
        cut_subscribers(&setup);
        let ttl = format!("{}h", round + 1);
        hubs[round % 3].register("t", &ttl).await;
        agree(&hubs, "t", |record| record["ttl"] == ttl.as_str()).await;
        cut_subscribers(&setup);
        hubs[(round + 1) % 3].delete("/api/events/register/t").await.expect(204);
        let since = Instant::now();
        for hub in &hubs {
            while hub.get("/api/events/register/t").await.status != 404 {
                assert!(since.elapsed() < SOON, "it is still registered after {:?}", since.elapsed());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[actix_web::test]
async fn a_registry_that_has_lost_changes_counts_although_its_version_looks_the_same() {
    let setup = Setup::redis();
    let hubs = hubs::start(&setup, 3).await;
    let hook = Webhook::start().await;
    for ty in ["kept", "back"] {
        hubs[0].register(ty, "1h").await;
    }
    let mut redis = setup.redis_server().plain();
    let types = || -> HashMap<String, Vec<u8>> {
        setup.redis_server().plain().hgetall("es:{reg}:types").expect("the registry")
    };
    let mut other = types();
    // What the master that is lost has taken, and all nodes have heard of: the new master has not.
    let streams = json!([webhook("hook", &hook.uri("/lost"))]);
    hubs[1].register_with("back", "2h", streams.clone()).await;
    hubs[2].register_with("lost", "1h", streams).await;
    agree(&hubs, "back", |record| record["ttl"] == "2h").await;
    agree(&hubs, "lost", |_| true).await;
    let taken = types();
    // A session that waits for what will be registered under the number that was lost.
    let mut session = Session::open(&hubs[1], "?types=new").await;
    // In their place it has taken as many others: of a type that is known, and of one that is new.
    let mut kept = other["kept"].clone();
    kept[..8].copy_from_slice(&taken["back"][..8]);
    assert_eq!(&kept[13..15], b"1h");
    kept[13..15].copy_from_slice(b"9h");
    let mut new = taken["lost"].clone();
    let path = new.windows(5).position(|part| part == b"/lost").expect("its stream's path");
    new[path + 1..path + 5].copy_from_slice(b"/new");
    other.extend([("kept".to_owned(), kept), ("new".to_owned(), new)]);
    let mut fail_over = redis::pipe();
    fail_over.atomic().del("es:{reg}:types");
    for (ty, record) in &other {
        fail_over.hset("es:{reg}:types", ty, record);
    }
    fail_over.cmd("CLIENT").arg("KILL").arg("TYPE").arg("NORMAL").arg("SKIPME").arg("YES");
    let () = fail_over.query(&mut redis).expect("it is done");

    agree(&hubs, "kept", |record| record["ttl"] == "9h").await;
    agree(&hubs, "back", |record| record["ttl"] == "1h" && record["streams"] == json!([])).await;
    agree(&hubs, "new", |record| record["ttl"] == "1h").await;
    let mut sent = Vec::new();
    for hub in &hubs {
        hub.get("/api/events/register/lost").await.expect(404);
        let answer = hub.post("/api/events/send", r#"{"type":"lost","payload":1}"#).await.expect(202).json();
        assert_eq!(answer["status"], "discarded");
        sent.push(hub.send("new", json!("to be delivered")).await.id);
        hub.send("back", json!("to nobody")).await;
    }
    for id in sent {
        hubs[0].until_state(&id, "hook", "delivered").await;
        assert_eq!(session.event().await["id"], *id);
    }
    assert!(hook.received().iter().all(|request| request.line.contains("//new")), "{:?}", hook.received());
    hubs[0].logged("registry has lost changes").await;
}

#[actix_web::test]
async fn what_a_node_does_not_know_yet_it_looks_up_before_it_says_no() {
    let setup = Setup::redis();
    let hubs = hubs::start(&setup, 2).await;
    let (first, other) = (&hubs[0], &hubs[1]);
    let mut session = Session::open(other, "?types=none").await;
    for round in 0..4 {
        // A type each, of which the other node has not heard when it is asked.
        let mut fresh = Vec::new();
        for way in ["get", "mark", "many", "live", "send"] {
            let ty = format!("{way}-{round}");
            first.register(&ty, "1h").await;
            let id = first.send(&ty, json!(way)).await.id;
            match way {
                "get" => drop(other.get(&format!("/api/events/{id}")).await.expect(200)),
                "mark" => drop(other.call("PUT", &format!("/api/events/{id}/ok/c"), &[], None).await.expect(200)),
                "many" => {
                    let marked = other.put("/api/events/ok/c", json!({"ids": ["7", id]})).await.expect(200).json();
                    let both = json!([{"id": "7", "acknowledge": false}, {"id": id, "acknowledge": true}]);
                    assert_eq!(marked["results"], both);
                }
                "live" => {
                    session.say(&json!({"ok": id, "client": "c"}).to_string()).await;
                    assert_eq!(session.event().await["acknowledge"], true, "{id}");
                }
                _ => drop(other.send(&ty, json!("stored, not discarded")).await),
            }
            fresh.push(ty);
        }
        know(&hubs, &fresh[4]).await;
    }
}

/// Whoever makes ids up has the store asked no more often than a few times a second.
#[actix_web::test]
async fn ids_of_no_type_share_a_few_looks_at_the_store() {
    let setup = Setup::redis();
    let hub = setup.start().await;
    hub.register("t", "1h").await;
    let mut redis = setup.redis_server().plain();
    let mut looks = || -> u64 {
        let info: String = redis::cmd("INFO").arg("commandstats").query(&mut redis).expect("statistics");
        let get = info.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls=")).expect("GET was called");
        get.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number")
    };
    let (before, since) = (looks(), Instant::now());
    for _ in 0..4 {
        // Type 9000 has not been given to anybody.
        let path = format!("/api/events/{}", (1_u64 << 60) | 9000 << 9);
        let asked = join_all((0..50).map(|_| hub.get(&path))).await;
        assert!(asked.iter().all(|answer| answer.status == 404), "{:?}", asked[0]);
    }
    let (looks, time) = (looks() - before, since.elapsed());
    assert!(looks >= 4, "each round is looked up: {looks}");
    let most = 5 + time.as_millis() / 40;
    assert!(u128::from(looks) <= most, "{looks} looks in {time:?}");
}

const SECRET: &str = "whsec_uR5TUMv5rZrRb9sgZAc5CwkBIWmUDV//wyXa0M+vy0Y=";

/// Waits until every hub shows the same record; that.
async fn agree(hubs: &[Hub], ty: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let (path, since) = (format!("/api/events/register/{ty}"), Instant::now());
    loop {
        let all = join_all(hubs.iter().map(|hub| hub.get(&path))).await;
        if all.iter().all(|one| one.status == 200 && one.body == all[0].body) {
            let record = all[0].json();
            if wanted(&record) {
                return record;
            }
        }
        let shown: Vec<_> = all.iter().map(|one| one.text()).collect();
        assert!(since.elapsed() < SOON, "not agreed after {:?}: {shown:#?}", since.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn cut_subscribers(setup: &Setup) {
    let mut redis = TcpStream::connect(("127.0.0.1", setup.redis_server().port())).expect("Redis listens");
    redis.write_all(b"CLIENT KILL TYPE pubsub\r\n").expect("Redis is told");
    let mut answer = [0; 1];
    redis.read_exact(&mut answer).expect("Redis answers");
    assert_eq!(&answer, b":", "Redis kills them");
}
