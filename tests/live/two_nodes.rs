//! Two nodes on one Redis: what one takes, sessions of the other get once and in order, though the connections that
//! bring it are killed all the while; and both know the same types.

use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::ws::Session;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TYPES: [&str; 3] = ["a", "b", "c"];
/// When every node knows of a change. A second is promised; this machine may be busy with other tests.
const LATEST: Duration = Duration::from_secs(3);

/// What a session gets, by type, until the last event of each of these.
async fn read(mut session: Session, types: &[&str]) -> BTreeMap<String, Vec<String>> {
    let (mut got, mut ended) = (BTreeMap::<String, Vec<String>>::new(), 0);
    while ended < types.len() {
        let event = session.event().await;
        let (ty, id) = (event["type"].as_str().expect("a type"), event["id"].as_str().expect("an id"));
        got.entry(ty.to_owned()).or_default().push(id.to_owned());
        ended += usize::from(event["payload"] == "end");
    }
    got
}

/// Sends as fast as it is answered until `done`, and counts it.
async fn send(hub: &Hub, done: &Cell<bool>, sent: &Cell<usize>) {
    let mut n = 0;
    while !done.get() {
        hub.send(TYPES[n % 3], json!({ "n": n })).await;
        n += 1;
        sent.set(sent.get() + 1);
    }
}

#[actix_web::test]
async fn killed_subscriptions_cost_no_session_an_event_and_bring_none_twice() {
    let setup = Setup::redis();
    let (here, there) = (Rc::new(setup.start().await), Rc::new(setup.start().await));
    for ty in TYPES {
        here.register(ty, "1h").await;
    }
    let until = Instant::now() + PATIENCE;
    while there.get("/api/events/register/c").await.status != 200 {
        assert!(Instant::now() < until, "the other node never heard of the types");
    }
    let mut readers = Vec::new();
    for hub in [&here, &there] {
        for (query, types) in [("?types=a", &TYPES[..1]), ("?types=b,c", &TYPES[1..]), ("", &TYPES[..])] {
            let session = Session::open(hub, query).await;
            readers.push((types, actix_web::rt::spawn(read(session, types))));
        }
    }
    let (done, sent) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let mut senders = Vec::new();
    for hub in [&here, &here, &there, &there] {
        let (hub, done, sent) = (Rc::clone(hub), Rc::clone(&done), Rc::clone(&sent));
        senders.push(actix_web::rt::spawn(async move { send(&hub, &done, &sent).await }));
    }
    let (stop, kills) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let killing = {
        let (mut redis, stop, kills) = (setup.redis_server().plain(), Arc::clone(&stop), Arc::clone(&kills));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let mut kill = redis::cmd("CLIENT");
                let killed = kill.arg("KILL").arg("TYPE").arg("pubsub").query(&mut redis).expect("an answer");
                kills.fetch_add(killed, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(120));
            }
        })
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    // On a busy machine that takes longer.
    let enough = || async { (kills.load(Ordering::Relaxed) >= 10 && sent.get() > 200).then_some(()) };
    eventually(PATIENCE, "ten connections to be killed, under load", enough).await;
    stop.store(true, Ordering::Relaxed);
    killing.join().expect("the killer");
    done.set(true);
    for sender in senders {
        sender.await.expect("a sender");
    }
    for ty in TYPES {
        here.send(ty, json!("end")).await;
    }
    let mut stored = BTreeMap::new();
    for ty in TYPES {
        let mut ids = here.walk(&format!("month/current?types={ty}")).await;
        ids.reverse();
        assert!(ids.len() > 50, "there was hardly any load: {} events of {ty}", ids.len());
        stored.insert(ty.to_owned(), ids);
    }
    for (types, reader) in readers {
        let got = reader.await.expect("a reader");
        let wanted: BTreeMap<_, _> = stored
            .iter()
            .filter(|(ty, _)| types.contains(&ty.as_str()))
            .map(|(ty, ids)| (ty.clone(), ids.clone()))
            .collect();
        assert!(got == wanted, "a session of {types:?} got something else than what is stored");
    }
}

#[actix_web::test]
async fn of_two_nodes_that_register_a_type_at_once_one_wins_everywhere() {
    let setup = Setup::redis();
    let (here, there) = (Rc::new(setup.start().await), Rc::new(setup.start().await));
    here.register("load", "1h").await;
    let done = Rc::new(Cell::new(false));
    let load = {
        let (hub, done) = (Rc::clone(&here), Rc::clone(&done));
        actix_web::rt::spawn(async move {
            while !done.get() {
                hub.send("load", json!(0)).await;
            }
        })
    };
    for round in 0..8 {
        let ty = format!("round:{round}");
        let wish = |ttl: &str| json!({"type": ty, "ttl": ttl, "streams": []});
        let (one, two) = (wish("1h"), wish("2h"));
        let registered =
            futures_util::future::join(here.put("/api/events/register", &one), there.put("/api/events/register", &two));
        let (one, two) = registered.await;
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201], "one of them was first");
        let answered = Instant::now();
        let path = format!("/api/events/register/{ty}");
        let known = |answer: Value| (answer["ttl"].clone(), answer["streams"].clone());
        loop {
            let (one, two) = (here.get(&path).await, there.get(&path).await);
            let took = answered.elapsed();
            if one.status == 200 && two.status == 200 && known(one.json()) == known(two.json()) {
                break;
            }
            assert!(took < LATEST, "after {took:?} the nodes do not agree on {ty}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // A change on one is in force on the other within a second, under load.
    for ttl in ["3h", "4h", "5h"] {
        here.register("round:0", ttl).await;
        let answered = Instant::now();
        while there.get("/api/events/register/round:0").await.json()["ttl"] != ttl {
            let took = answered.elapsed();
            assert!(took < LATEST, "after {took:?} the other node has not heard of {ttl}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    done.set(true);
    load.await.expect("the load");
}
