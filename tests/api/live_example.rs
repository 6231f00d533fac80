//! `examples/consumer.py`, run against a hub that is restarted under it.

use crate::support::hub::Setup;
use crate::support::port::Port;
use crate::support::wait::{PATIENCE, eventually, within};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};

#[actix_web::test]
async fn the_example_consumer_misses_nothing_over_a_restart() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    let port = Port::free();
    let hub = Setup::embedded().set("http.bind", format!("127.0.0.1:{port}")).start().await;
    hub.register("t", "1h").await;
    let mut sent: Vec<String> = hub.send_many("t", 5).await.into_iter().map(|e| e.id).collect();
    hub.put(&format!("/api/events/{}/ok/me", sent[1]), "").await.expect(200);

    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("cursor");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/consumer.py");
    let mut consumer = tokio::process::Command::new("python3")
        .args([script, &format!("http://127.0.0.1:{port}"), "me", "*"])
        .arg(&state)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(consumer.stdout.take().unwrap()).lines();
    let mut seen = BTreeSet::new();
    let mut until = async |wanted: &[String]| {
        within(PATIENCE, "the consumer to print what was sent", async {
            while !wanted.iter().all(|id| seen.contains(id)) {
                let line = lines.next_line().await.unwrap().expect("the consumer goes on");
                let event: Value = serde_json::from_str(&line).unwrap();
                seen.insert(event["id"].as_str().unwrap().to_owned());
            }
        })
        .await;
    };
    // What it had marked before is not processed again.
    sent.remove(1);
    until(&sent).await;
    sent.extend(hub.send_many("t", 3).await.into_iter().map(|e| e.id));
    until(&sent).await;
    let hub = hub.restart().await;
    sent.extend(hub.send_many("t", 3).await.into_iter().map(|e| e.id));
    until(&sent).await;
    // It prints first and marks then.
    let marked = || async { (hub.feed("day/current/client/me").await["events"] == json!([])).then_some(()) };
    eventually(PATIENCE, "everything to be marked", marked).await;
    consumer.kill().await.unwrap();
}
