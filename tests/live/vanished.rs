//! Clients of a stream that vanish: their sockets and their places among the sessions are free again.

use crate::raw::{connections, stream};
use crate::support::hub::Setup;
use crate::support::wait::{PATIENCE, eventually};
use serde_json::json;
use socket2::SockRef;
use std::time::Duration;

const STREAMS: usize = 60;

#[actix_web::test]
async fn streams_whose_clients_vanish_are_freed() {
    let hub = Setup::embedded().set("live.max_sessions", STREAMS).set("live.heartbeat", "300ms").start().await;
    hub.register("t", "1h").await;
    // Idle, or while events are written to them.
    for busy in [false, true] {
        let mut streams = Vec::new();
        for n in 0..STREAMS {
            let opened = eventually(PATIENCE, "a place among the sessions", || async {
                let (status, stream) = stream(&hub, None).await;
                assert!(status == 200 || status == 503, "{status}");
                (status == 200).then_some(stream)
            });
            let opened = opened.await;
            // Half of them end in order, half are reset.
            if n % 2 == 0 {
                SockRef::from(&opened).set_linger(Some(Duration::ZERO)).expect("a socket option");
            }
            streams.push(opened);
        }
        assert_eq!(stream(&hub, None).await.0, 503);
        if busy {
            let text = "x".repeat(100_000);
            hub.send("t", json!(text)).await;
        }
        drop(streams);
        let freed = || async { (connections(&hub) == 0).then_some(()) };
        eventually(PATIENCE, "the sockets to be freed", freed).await;
    }
    let (status, _stream) = stream(&hub, None).await;
    assert_eq!(status, 200);
}
