//! Nodes announce themselves, and are gone when they say so or say nothing.

use crate::kit::*;
use event_source_api::store::{GONE_AFTER, Node, NodeId, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn node(number: u64, since: i64) -> Node {
    Node {
        id: NodeId::new(number),
        since,
        version: "1.2.3".into(),
        host: "müller \"the\" host".into(),
        addresses: vec!["127.0.0.1:80".into(), "[::1]:80".into()],
        public_url: number.is_multiple_of(2).then(|| "https://events.example".into()),
        stopping: false,
        sessions: 1,
        requests: 2,
        in_flight: 3,
        waiting: 4,
    }
}

async fn there(store: &Arc<dyn Store>) -> Vec<Node> {
    let seen = store.nodes().await.expect("nodes");
    assert!(seen.iter().all(|seen| seen.age < GONE_AFTER), "{seen:?}");
    seen.into_iter().map(|seen| seen.node).collect()
}

pub async fn a_node_is_listed_as_it_announced_itself_last<H: Home>() {
    let (_home, store) = fresh::<H>();
    assert_eq!(there(&store).await, []);
    let (young, old) = (node(1, 2000), node(2, 1000));
    store.announce(&young).await.expect("announced");
    store.announce(&old).await.expect("announced");
    assert_eq!(there(&store).await, [old.clone(), young.clone()], "the oldest first");
    let young = Node { stopping: true, sessions: 9, ..young };
    store.announce(&young).await.expect("announced");
    assert_eq!(there(&store).await, [old.clone(), young.clone()]);
    store.withdraw(&old.id).await.expect("withdrawn");
    assert_eq!(there(&store).await, std::slice::from_ref(&young));
    store.withdraw(&old.id).await.expect("a node that is not there can be withdrawn");
    assert_eq!(there(&store).await, [young]);
}

pub async fn a_silent_node_is_gone<H: Home>() {
    let (_home, store) = fresh::<H>();
    let (silent, alive) = (node(1, 1000), node(2, 2000));
    store.announce(&silent).await.expect("announced");
    let since = Instant::now();
    until("the silent node to be gone", || async {
        store.announce(&alive).await.expect("announced");
        tokio::time::sleep(Duration::from_millis(100)).await;
        (there(&store).await == [alive.clone()]).then_some(())
    })
    .await;
    assert!(since.elapsed() + Duration::from_millis(50) >= GONE_AFTER, "gone after {:?}", since.elapsed());
    // It was not dead: it comes back.
    store.announce(&silent).await.expect("announced");
    assert_eq!(there(&store).await, [silent, alive]);
}
