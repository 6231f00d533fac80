//! The live feed behind Sentinel.

use crate::connect;
use crate::kit::{comes_through, until};
use crate::redis_server::sentinel::Sentinels;
use event_source_api::store::{Partition, Partitions};
use tokio::task::block_in_place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_live_feed_follows_the_master_that_is_demoted_and_the_one_that_is_killed() {
    let mut sentinels = Sentinels::start(1000);
    let store = connect(&sentinels.url());
    let mut feed = store.live();
    let one = Partition::new(1).unwrap();
    store.listen(one).await.unwrap();
    assert_eq!(comes_through(&store, &mut feed, 1).await, Partitions::NONE);

    block_in_place(|| sentinels.fail_over());
    let now = block_in_place(|| sentinels.until_moved(0));
    block_in_place(|| sentinels.until_replicated(now));
    until("the feed to follow", || async { subscribed(&sentinels, now).then_some(()) }).await;
    assert_eq!(comes_through(&store, &mut feed, 1).await, one.into());

    block_in_place(|| sentinels.servers[now].kill());
    let next = block_in_place(|| sentinels.until_moved(now));
    block_in_place(|| sentinels.servers[now].restart());
    block_in_place(|| sentinels.until_replicated(next));
    until("the feed to follow", || async { subscribed(&sentinels, next).then_some(()) }).await;
    assert_eq!(comes_through(&store, &mut feed, 1).await, one.into());
    // A partition that nobody wanted before is brought by the new master.
    let other = Partition::new(2).unwrap();
    store.listen(other).await.unwrap();
    // The one before may be said to have been interrupted once more, when the killed server is back as a replica.
    assert!(!comes_through(&store, &mut feed, 2).await.contains(other));
}

fn subscribed(sentinels: &Sentinels, server: usize) -> bool {
    let channels: redis::RedisResult<Vec<String>> =
        redis::cmd("PUBSUB").arg("SHARDCHANNELS").query(&mut sentinels.servers[server].plain());
    channels.is_ok_and(|channels| !channels.is_empty())
}
