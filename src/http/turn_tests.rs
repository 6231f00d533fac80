//! A client that keeps the hub waiting.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

const HEAD: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_millis(300);
/// Longer than any limit here.
const LONG: Duration = Duration::from_secs(1);
/// Whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(30);

fn connection() -> (Timed<DuplexStream>, DuplexStream) {
    let (hub, client) = duplex(1 << 10);
    (Timed::new(hub, Times { head: HEAD, idle: IDLE }), client)
}

/// What can be read within a time; `None` when the connection just stays.
async fn read(timed: &mut Timed<DuplexStream>, within: Duration) -> Option<usize> {
    timeout(within, timed.read(&mut [0; 100])).await.ok().map(|read| read.unwrap())
}

/// How long it takes to end.
async fn end(timed: &mut Timed<DuplexStream>) -> Duration {
    let since = Instant::now();
    assert_eq!(read(timed, PATIENCE).await, Some(0));
    since.elapsed()
}

#[actix_web::test]
async fn neither_the_first_head_nor_an_answer_is_timed_here() {
    let (mut timed, mut client) = connection();
    client.write_all(b"GET").await.unwrap();
    assert_eq!(read(&mut timed, PATIENCE).await, Some(3));
    assert_eq!(read(&mut timed, LONG).await, None);
    let (first, second) = (timed.turn().begin(), timed.turn().begin());
    // A body, or another request, comes while the first is answered.
    client.write_all(b"body").await.unwrap();
    assert_eq!(read(&mut timed, PATIENCE).await, Some(4));
    drop(first);
    assert_eq!(read(&mut timed, LONG).await, None);
    drop(second);
    assert!(end(&mut timed).await >= IDLE);
}

#[actix_web::test]
async fn a_later_head_must_be_there_in_time_however_slowly_it_drips() {
    let (mut timed, mut client) = connection();
    drop(timed.turn().begin());
    client.write_all(b"GET / HTTP/1.1").await.unwrap();
    assert_eq!(read(&mut timed, PATIENCE).await, Some(14));
    let since = Instant::now();
    let dripping = async {
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(HEAD / 10).await;
        }
    };
    let ending = async {
        while read(&mut timed, PATIENCE).await != Some(0) {}
        since.elapsed()
    };
    let ended = tokio::select! {
        () = dripping => None,
        ended = ending => Some(ended),
    };
    assert!(ended.is_some_and(|after| after >= HEAD * 9 / 10), "{ended:?}");
}

#[actix_web::test]
async fn a_request_that_begins_in_time_has_all_the_time_it_needs() {
    let (mut timed, mut client) = connection();
    drop(timed.turn().begin());
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(read(&mut timed, PATIENCE).await, Some(18));
    let serving = timed.turn().begin();
    assert_eq!(read(&mut timed, LONG).await, None);
    drop(serving);
    assert!(end(&mut timed).await >= IDLE);
}
