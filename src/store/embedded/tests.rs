//! Tests of what cannot be brought about, or seen, from outside.

use super::*;
use crate::store::{Appended, Disposition, Failure};
use bytes::Bytes;
use std::path::Path;
use std::task::Poll;

const NOW: Millis = 1_749_981_600_000;

fn open_with(folder: &Path, reserve: u64) -> EmbeddedStore {
    let options =
        StoreOptions { max_backlog: 100_000, dead_ttl: Duration::from_secs(1), timeout: Duration::from_secs(20) };
    EmbeddedStore::open_with_reserve(folder, options, Arc::new(|| NOW), reserve).unwrap()
}

fn stream() -> StreamKey {
    StreamKey { type_no: TypeNo::new(1).unwrap(), name: "s".parse().unwrap() }
}

fn group(events: usize) -> AppendGroup {
    AppendGroup {
        type_no: stream().type_no,
        ttl: "1h".parse().unwrap(),
        streams: Arc::new([stream().name]),
        revision: 1,
        payloads: vec![Bytes::from("1"); events],
        idempotency: None,
    }
}

async fn claim(store: &EmbeddedStore, max: usize) -> Claim {
    let lease = Duration::from_secs(9);
    store.claim(ClaimRequest { stream: stream(), max, lease, ordered: false }).await.unwrap()
}

fn settled(claim: &Claim) -> Settle {
    let lease = claim.lease.unwrap();
    Settle { stream: stream(), lease, total: claim.events.len(), exceptions: Vec::new(), hold: None }
}

#[tokio::test]
async fn a_full_disk_refuses_appends_and_still_drains() {
    let folder = tempfile::tempdir().unwrap();
    let roomy = open_with(folder.path(), 0);
    assert!(matches!(&roomy.append(vec![group(1)]).await.unwrap()[..], [Ok(Appended::Stored(_))]));
    drop(roomy);

    let full = open_with(folder.path(), u64::MAX);
    assert!(matches!(full.append(vec![group(1)]).await, Err(StoreError::Full(_))));
    assert!(matches!(full.ping().await, Err(StoreError::Full(_))));
    let claim = claim(&full, 9).await;
    assert_eq!(claim.events.len(), 1);
    assert_eq!(full.settle(settled(&claim)).await.unwrap(), Fenced::Done(None));
    full.close().await.unwrap();
}

#[tokio::test]
async fn claims_read_on_behind_what_was_delivered_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), 0);
    // The first waits for a retry; thousands after it are delivered; two are left.
    store.append(vec![group(10_003)]).await.unwrap();
    let first = claim(&store, 1).await;
    let failed = Failure { attempts: 1, last_error: "refused".into() };
    let retry = Disposition::Retry { after: Duration::from_secs(60), failure: failed };
    let exceptions = vec![(first.events[0].clone(), retry)];
    store.settle(Settle { exceptions, ..settled(&first) }).await.unwrap();
    let rest = claim(&store, 10_000).await;
    store.settle(settled(&rest)).await.unwrap();

    let next = first.events[0].position.plus(10_001);
    let cursor = async |store: &EmbeddedStore| {
        let look = |core: &mut core::Core, _: &Disk| {
            let stream = core.stream(&stream()).unwrap();
            Ok((stream.cursor, stream.row(Position::MAX).scan_from, stream.counts().oldest))
        };
        store.door().unwrap().ask(look).await.unwrap()
    };
    let expected = (Some(next), next.get(), Some(NOW));
    assert_eq!(cursor(&store).await, expected);
    drop(store);
    let store = open_with(folder.path(), 0);
    assert_eq!(cursor(&store).await, expected, "opening found it without a scan from the retry on");
    assert_eq!(claim(&store, 10).await.events.iter().map(|e| e.position).collect::<Vec<_>>(), [next, next.plus(1)]);
}

#[tokio::test]
async fn a_claim_that_nobody_waits_for_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_with(folder.path(), 0);
    store.append(vec![group(5)]).await.unwrap();
    let request = ClaimRequest { stream: stream(), max: 5, lease: Duration::from_secs(9), ordered: false };
    let mut given_up = 0;
    for _ in 0..1000 {
        // Polled once, which is when it is queued.
        let mut asked = store.claim(request.clone());
        match futures_util::poll!(&mut asked) {
            Poll::Pending => given_up += 1,
            // The committer was that fast: the one that asked gives it back.
            Poll::Ready(claim) => {
                let claim = claim.unwrap();
                let exceptions = claim.events.iter().map(|event| (event.clone(), Disposition::Release)).collect();
                if claim.lease.is_some() {
                    store.settle(Settle { exceptions, ..settled(&claim) }).await.unwrap();
                }
            }
        }
        if given_up == 20 {
            break;
        }
    }
    assert_eq!(given_up, 20);
    assert_eq!(claim(&store, 5).await.events.len(), 5);
}
