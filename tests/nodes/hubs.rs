//! Hubs that are together on one store.

use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually};
use futures_util::future::join_all;
use serde_json::Value;

/// Starts so many hubs at once; all are ready.
pub async fn start(setup: &Setup, count: usize) -> Vec<Hub> {
    join_all((0..count).map(|_| setup.start())).await
}

/// Waits until every hub knows a type, as the first one does.
pub async fn know(hubs: &[Hub], ty: &str) {
    let path = format!("/api/events/register/{ty}");
    eventually(PATIENCE, "every node to know the type", || async {
        let all = join_all(hubs.iter().map(|hub| hub.get(&path))).await;
        (all[0].status == 200 && all.iter().all(|one| one.body == all[0].body)).then_some(())
    })
    .await;
}

/// How a stream does, as this hub says.
pub async fn stream(hub: &Hub, ty: &str, name: &str) -> Value {
    hub.get(&format!("/api/events/streams/{ty}/{name}")).await.expect(200).json()
}

/// Waits until a stream's outbox is empty; how it does then.
pub async fn drained(hub: &Hub, ty: &str, name: &str) -> Value {
    eventually(PATIENCE, "the stream's outbox to be empty", || async {
        let stream = stream(hub, ty, name).await;
        (stream["backlog"] == 0).then_some(stream)
    })
    .await
}
