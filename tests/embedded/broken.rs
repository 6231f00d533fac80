//! A disk that takes no more writes in the middle of work.

use crate::support::*;
use event_source_api::store::embedded::EmbeddedStore;
use event_source_api::store::*;
use std::process::Command;

const FOLDER: &str = "EMBEDDED_BROKEN_FOLDER";

/// Not a test by itself: the process whose files may not grow any more, in which the next one's claims hold.
#[tokio::test]
async fn child_whose_disk_fails() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let store = EmbeddedStore::open(std::path::Path::new(&folder), options()).unwrap();
    let ty = type_no(1);
    let one = || vec![group(ty, "permanent", &["s"], 3)];
    assert!(matches!(&store.append(one()).await.unwrap()[..], [Ok(Appended::Stored(_))]));
    let pid = std::process::id().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, "--fsize=64"]).status().unwrap();
    assert!(limited.success());

    assert!(store.append(one()).await.is_err());
    assert!(matches!(store.append(one()).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.claim(request(&stream(ty, "s"), 9, false)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.sweep().await, Err(StoreError::Unavailable(_))));
    let everything = ReadQuery { from: 0, to: i64::MAX, ..query(&[(ty, "permanent")], 100) };
    assert_eq!(store.read(everything).await.unwrap().events.len(), 3, "what is stored can still be read");
    assert!(store.close().await.is_err());
    std::process::exit(7);
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_answered_until_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    // Without the signal, a write past the limit is an error.
    let status = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "broken::child_whose_disk_fails"])
        .env(FOLDER, folder.path())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(7));

    let store = EmbeddedStore::open(folder.path(), options()).unwrap();
    let key = stream(type_no(1), "s");
    let claim = store.claim(request(&key, 9, false)).await.unwrap();
    assert_eq!(claim.events.len(), 3);
    store.settle(settled(&key, claim.lease.unwrap(), 3)).await.unwrap();
    store.append(vec![group(type_no(1), "permanent", &["s"], 1)]).await.unwrap();
    store.close().await.unwrap();
}
