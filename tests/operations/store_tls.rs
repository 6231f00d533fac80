//! A Redis that speaks TLS and lets nobody in without a name. Clusters and Sentinels of such: `make test-cluster`.

use crate::support::hub::{Hub, Setup};
use crate::support::redis::RedisServer;
use crate::support::redis::secured::{HUB, Secured, in_url};
use crate::support::ws::Session;
use ::redis::cmd;
use serde_json::json;

/// The store that comes with it is not used.
fn setup(server: &RedisServer, user: &str) -> Setup {
    Setup::embedded().set("store.url", format!("rediss://{user}localhost:{}/3", server.data_port()))
}

fn tells_no_password(hub: &Hub) {
    let log = hub.log().concat();
    assert!(!log.contains(HUB.1) && !log.contains("wrong-secret") && !log.contains("%40here"), "{log}");
}

#[actix_web::test]
async fn a_hub_speaks_tls_with_redis_and_says_who_it_is() {
    let secured = Secured::new();
    let server = RedisServer::start_secured(Some(&secured), &[]);
    let hub = setup(&server, &in_url()).env("SSL_CERT_FILE", secured.authority().display()).start().await;
    hub.register("t", "1h").await;
    let mut session = Session::open(&hub, "?types=t").await;
    let sent = hub.send("t", json!(1)).await;
    assert_eq!(session.event().await["id"], *sent.id);
    assert_eq!(hub.feed("100days/current").await["events"][0]["id"], *sent.id);
    let mut admin = server.plain();
    let clients: String = cmd("CLIENT").arg("LIST").query(&mut admin).expect("clients");
    let door = format!("laddr=127.0.0.1:{}", server.data_port());
    let at_door: Vec<&str> = clients.lines().filter(|client| client.contains(&door)).collect();
    assert!(at_door.len() >= 3 && at_door.iter().all(|client| client.contains("user=hub ")), "{clients}");
    // What the manual gives it is enough for all of this.
    let refused: Vec<Vec<::redis::Value>> = cmd("ACL").arg("LOG").query(&mut admin).expect("what was refused");
    assert!(refused.is_empty(), "{refused:?}");
    assert!(!hub.log().iter().any(|line| line.contains("CONFIG GET")), "the settings of Redis could be read");
    tells_no_password(&hub);
}

#[actix_web::test]
async fn who_is_refused_says_so_and_waits() {
    let secured = Secured::new();
    let server = RedisServer::start_secured(Some(&secured), &[]);
    let trusting = |user: &str| setup(&server, user).env("SSL_CERT_FILE", secured.authority().display());
    let wrong = format!("{}:wrong-secret@", HUB.0);
    for (setup, why) in [
        (trusting(&wrong), "authentication failed"),
        (trusting(""), "Authentication required"),
        // It trusts only those that this machine does.
        (setup(&server, &in_url()), "certificate"),
    ] {
        let hub = setup.spawn().await;
        let problem = hub.get("/readyz").await.problem(503);
        let line = hub.logged("Redis cannot be reached").await;
        assert!(format!("{line} {problem}").contains(why), "{line} {problem}");
        hub.post("/api/events/send", r#"{"type":"t","payload":1}"#).await.problem(503);
        tells_no_password(&hub);
    }
}
