//! Killed in the midst of large operations: each event is in the outbox or a dead letter, never both or neither.

use crate::support::*;
use event_source_api::event::{Millis, Position};
use event_source_api::store::embedded::EmbeddedStore;
use event_source_api::store::*;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

const FOLDER: &str = "EMBEDDED_BULK_TEST_FOLDER";
const EVENTS: usize = 20_000;

fn key() -> StreamKey {
    stream(type_no(3), "s")
}

async fn replay_all(store: &EmbeddedStore) -> Replayed {
    let ttl = "permanent".parse().unwrap();
    store.replay(Replay { stream: key(), ttl, from: 0, to: Millis::MAX, dry_run: false }).await.unwrap()
}

/// Not a test by itself: the process that the next one kills.
#[tokio::test]
async fn child_that_moves_events_about_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let store = EmbeddedStore::open(std::path::Path::new(&folder), options()).unwrap();
    let known = store.last_positions(&[type_no(3)]).await.unwrap()[0] > Position::default();
    for _ in 0..if known { 0 } else { EVENTS / 1000 } {
        store.append(vec![group(type_no(3), "permanent", &["s"], 1000)]).await.unwrap().remove(0).unwrap();
    }
    replay_all(&store).await;
    // Bounded: a parent that died does not leave it running for ever.
    for _ in 0..200 {
        // From here on nothing is delivered, and everything is in the outbox or dead.
        std::io::stdout().write_all(b"ROUND\n").unwrap();
        replay_all(&store).await;
        store.bury(&key(), "deleted").await.unwrap();
        store.retry_dead(&key(), Letters::All).await.unwrap();
        store.bury(&key(), "deleted").await.unwrap();
    }
}

#[tokio::test]
async fn each_event_is_in_the_outbox_or_a_dead_letter_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "bulk_kill::child_that_moves_events_about_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("ROUND")), "it began");
        // Anywhere in its work: nothing to wait for.
        tokio::time::sleep(Duration::from_millis(130 + 170 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();

        let store = EmbeddedStore::open(folder.path(), options()).unwrap();
        let counts = store.counts(&[key()]).await.unwrap().remove(0);
        let letters = store.dead_letters(&key(), None, 2 * EVENTS).await.unwrap();
        let dead: BTreeSet<_> = letters.iter().map(|letter| letter.event.id.position()).collect();
        assert_eq!((letters.len() as u64, dead.len()), (counts.dead, letters.len()));
        let mut waiting = BTreeSet::new();
        loop {
            let claim = store.claim(request(&key(), 1000, false)).await.unwrap();
            let Some(lease) = claim.lease else { break };
            waiting.extend(positions(&claim));
            store.settle(settled(&key(), lease, claim.events.len())).await.unwrap();
        }
        assert_eq!(waiting.len() as u64, counts.backlog, "round {round}: {counts:?}");
        assert!(waiting.is_disjoint(&dead), "round {round}");
        assert_eq!(waiting.len() + dead.len(), EVENTS, "round {round}");
        assert_eq!(store.counts(&[key()]).await.unwrap().remove(0).backlog, 0);
        store.close().await.unwrap();
    }
}
