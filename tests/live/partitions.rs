//! On Redis a hub is subscribed to the channels that its sessions need, and to no others.

use crate::support::api::number;
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually};
use crate::support::ws::Session;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// The channels that anybody is subscribed to.
fn channels(hub: &Hub) -> BTreeSet<String> {
    let mut redis = hub.setup().redis_server().plain();
    redis::cmd("PUBSUB").arg("SHARDCHANNELS").query(&mut redis).expect("channels")
}

/// The channel of a type of which this is an event's id.
fn channel(id: &str) -> String {
    format!("es:live:{{{}}}", (number(id) >> 9 & 0x3fff) % 64)
}

#[actix_web::test]
async fn a_hub_is_subscribed_to_what_its_sessions_need() {
    let hub = Setup::redis().start().await;
    let mut of = Vec::new();
    for ty in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        hub.register(ty, "1h").await;
        of.push(channel(&hub.send(ty, json!(0)).await.id));
    }
    let named = |types: &[usize]| -> BTreeSet<String> { types.iter().map(|ty| of[*ty].clone()).collect() };
    assert_eq!(channels(&hub), named(&[]), "nobody is there");
    let mut one = Session::open(&hub, "?types=b").await;
    assert_eq!(channels(&hub), named(&[1]));
    let mut two = Session::open(&hub, "?types=b,d").await;
    assert_eq!(channels(&hub), named(&[1, 3]));
    // What a session asks for later is there when it is answered.
    two.say(r#"{"subscribe": ["f"]}"#).await;
    assert_eq!(two.event().await["control"], "subscribed");
    assert_eq!(channels(&hub), named(&[1, 3, 5]));
    for (ty, hears) in [("b", true), ("f", false)] {
        let sent = hub.send(ty, json!(1)).await;
        assert_eq!(two.event().await["id"], sent.id.as_str());
        if hears {
            assert_eq!(one.event().await["id"], sent.id.as_str());
        }
    }
    // A feed that waits is a session, too.
    let feed = "/api/events/feed/month/current?types=h";
    let tag = hub.get(feed).await.header("etag").expect("a tag").to_owned();
    let headers = [("Prefer", "wait=20"), ("If-None-Match", tag.as_str())];
    let waiting = hub.call("GET", feed, &headers, None);
    let sending = async {
        let heard = || async { channels(&hub).contains(&of[7]).then_some(()) };
        eventually(PATIENCE, "the feed to wait", heard).await;
        hub.send("h", json!(1)).await
    };
    let (answer, _) = futures_util::future::join(waiting, sending).await;
    assert_eq!(answer.status, 200);
    // Whoever comes back soon finds everything there.
    drop((one, two));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(channels(&hub), named(&[1, 3, 5, 7]));
    // Everything, with types that come later, is everything.
    let mut all = Session::open(&hub, "").await;
    assert!(channels(&hub).is_superset(&named(&[0, 1, 2, 3, 4, 5, 6, 7])));
    let sent = hub.send("a", json!(2)).await;
    assert_eq!(all.event().await["id"], sent.id.as_str());
}

#[actix_web::test]
async fn a_type_that_is_registered_later_on_another_node_is_heard_from_its_first_event_on() {
    let setup = Setup::redis();
    let (here, there) = (setup.start().await, setup.start().await);
    let mut pattern = Session::open(&here, "?types=new:*").await;
    let mut exact = Session::open(&here, "?types=new:c").await;
    // Ephemeral events are nowhere to be read afterwards.
    for (ty, ttl) in [("new:a", "ephemeral"), ("new:b", "1h"), ("new:c", "ephemeral")] {
        there.register(ty, ttl).await;
        for n in 0..3 {
            let sent = there.send(ty, json!(n)).await;
            assert_eq!(pattern.event().await["id"], sent.id.as_str());
            if ty == "new:c" {
                assert_eq!(exact.event().await["id"], sent.id.as_str());
            }
        }
    }
    // Many at once, further ahead than anybody expects: what is stored is not missed.
    let mut wanted = BTreeSet::new();
    for n in 0..12 {
        let ty = format!("new:many{n}");
        there.register(&ty, "1h").await;
        wanted.insert(there.send(&ty, json!(n)).await.id);
    }
    let mut got = BTreeSet::new();
    while got.len() < wanted.len() {
        let id = pattern.event().await["id"].as_str().expect("an id").to_owned();
        assert!(got.insert(id.clone()), "{id} came twice");
    }
    assert_eq!(got, wanted);
}

#[actix_web::test]
async fn a_session_is_refused_while_redis_is_silent_and_begins_when_it_speaks() {
    let hub = Setup::redis().set("store.timeout", "1s").start().await;
    hub.register("a", "1h").await;
    hub.register("b", "1h").await;
    let mut before = Session::open(&hub, "?types=a").await;
    hub.setup().redis_server().freeze();
    assert_eq!(Session::refused(&hub, "?types=b").await, 503);
    before.say(r#"{"subscribe": ["b"]}"#).await;
    assert_eq!(before.event().await["control"], "error");
    // Of what the hub is subscribed to already nothing need be asked.
    let mut same = Session::open(&hub, "?types=a").await;
    hub.setup().redis_server().thaw();
    let ready = || async { (hub.get("/readyz").await.status == 200).then_some(()) };
    eventually(PATIENCE, "the hub to be ready", ready).await;
    let mut late = Session::open(&hub, "?types=b").await;
    let sent = hub.send("a", json!(1)).await;
    assert_eq!(before.event().await["id"], sent.id.as_str());
    assert_eq!(same.event().await["id"], sent.id.as_str());
    let sent = hub.send("b", json!(1)).await;
    assert_eq!(late.event().await["id"], sent.id.as_str());
    assert_eq!(before.event().await["id"], sent.id.as_str(), "what was refused for then is there now");
}
