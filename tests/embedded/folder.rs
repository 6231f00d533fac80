//! One owner per folder, and nothing of a newer version.

use crate::support::*;
use event_source_api::store::embedded::EmbeddedStore;
use event_source_api::store::*;

#[tokio::test]
async fn a_second_owner_is_refused_by_name_until_the_first_is_closed() {
    let hub = Hub::new();
    let folder = hub.folder.path();
    let error = EmbeddedStore::open(folder, options()).unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(text) if text.contains(&folder.display().to_string()) && text.contains("in use")),
        "{error}"
    );
    hub.close().await.unwrap();
    let second = EmbeddedStore::open(folder, options()).unwrap();
    second.ping().await.unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let hub = Hub::new();
    hub.close().await.unwrap();
    let folder = hub.folder.path();
    {
        let db = fjall::Database::builder(folder).open().unwrap();
        let state = db.keyspace("state", fjall::KeyspaceCreateOptions::default).unwrap();
        state.insert("F", [9]).unwrap();
        db.persist(fjall::PersistMode::SyncAll).unwrap();
    }
    let error = EmbeddedStore::open(folder, options()).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(text) if text.contains("format 9")), "{error}");
}

#[tokio::test]
async fn a_closed_store_answers_nothing_and_closes_twice() {
    let hub = Hub::new();
    let ty = hub.register("a", "1h").await;
    hub.close().await.unwrap();
    hub.close().await.unwrap();
    assert!(matches!(hub.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(hub.append(vec![group(ty, "1h", &[], 1)]).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(hub.read(query(&[(ty, "1h")], 10)).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let error = EmbeddedStore::open(std::path::Path::new("/proc/no/such"), options()).unwrap_err();
    assert!(error.to_string().contains("/proc/no/such"), "{error}");
}

#[tokio::test]
async fn everything_queued_before_closing_is_answered() {
    let hub = std::sync::Arc::new(Hub::new());
    let ty = hub.register("a", "1h").await;
    let sends: Vec<_> = (0..200)
        .map(|_| {
            let hub = std::sync::Arc::clone(&hub);
            tokio::spawn(async move { hub.append(vec![group(ty, "1h", &[], 1)]).await.is_ok() })
        })
        .collect();
    tokio::task::yield_now().await;
    hub.close().await.unwrap();
    let mut stored = 0;
    for send in sends {
        stored += usize::from(send.await.unwrap());
    }
    let reopened = open(hub.folder.path(), &hub.clock);
    let page = reopened.read(query(&[(ty, "1h")], 1000)).await.unwrap();
    assert_eq!(page.events.len(), stored);
}
