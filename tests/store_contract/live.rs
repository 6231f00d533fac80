//! The live feed of commits.

use crate::kit::*;
use event_source_api::event::{Position, TypeNo};
use event_source_api::store::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// The next commit, past interruptions.
pub async fn next(feed: &mut Receiver<Live>) -> Vec<LiveRun> {
    loop {
        let live = timeout(Duration::from_secs(20), feed.recv()).await.expect("in time").expect("the feed is open");
        if let Live::Commit(runs) = live {
            return runs;
        }
    }
}

/// A feed that brings everything.
pub async fn feed(store: &Arc<dyn Store>) -> Receiver<Live> {
    let feed = store.live();
    let all = Partitions::ALL.into_iter().map(|partition| store.listen(partition));
    futures_util::future::try_join_all(all).await.expect("the store brings every partition");
    feed
}

pub async fn commits_come_in_order_and_name_the_one_before<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut feed = feed(&store).await;
    let mut sent: HashMap<TypeNo, Vec<Position>> = HashMap::new();
    for round in 0..30 {
        let groups: Vec<_> = [1, 2, 65].map(|number| group(number, 1 + round % 4 * 50, &[])).to_vec();
        for (group, answer) in groups.iter().zip(store.append(groups.clone()).await.expect("answers")) {
            let Ok(Appended::Stored(positions)) = answer else { panic!("not stored") };
            sent.entry(group.type_no).or_default().extend(positions);
        }
    }
    let total: usize = sent.values().map(Vec::len).sum();
    let mut heard: HashMap<TypeNo, Vec<Position>> = HashMap::new();
    while heard.values().map(Vec::len).sum::<usize>() < total {
        for run in next(&mut feed).await.into_iter() {
            let known = heard.entry(run.type_no).or_default();
            assert_eq!(run.previous, known.last().copied().unwrap_or_default());
            assert!(!run.events.is_empty());
            known.extend(run.events.iter().map(|(position, _)| *position));
        }
    }
    assert_eq!(heard, sent);
}

pub async fn payloads_and_ephemeral_events_are_live<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut feed = feed(&store).await;
    let ephemeral = AppendGroup { ttl: ttl("ephemeral"), ..group(7, 3, &[]) };
    let positions = append(&store, ephemeral).await;
    loop {
        let Some(run) = next(&mut feed).await.into_iter().find(|run| run.type_no == type_no(7)) else { continue };
        assert_eq!(run.events.iter().map(|(position, _)| *position).collect::<Vec<_>>(), positions);
        assert_eq!(run.events.iter().map(|(_, payload)| payload.clone()).collect::<Vec<_>>(), ["0", "1", "2"]);
        return;
    }
}

pub async fn a_reader_that_lags_sees_that_something_is_missing<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut feed = feed(&store).await;
    // Far more commits than any bounded queue holds.
    let mut sent = Vec::new();
    for _ in 0..6000 {
        sent.extend(append(&store, group(3, 1, &[])).await);
    }
    let (mut heard, mut known, mut gap) = (0, Position::default(), false);
    while heard == 0 || known != sent[sent.len() - 1] {
        let live = match timeout(Duration::from_millis(500), feed.recv()).await {
            Ok(live) => live.expect("the feed is open"),
            // All that was kept has been read: the next commit shows the gap.
            Err(_) => {
                sent.extend(append(&store, group(3, 1, &[])).await);
                continue;
            }
        };
        match live {
            Live::Interrupted(_) => gap = true,
            Live::Commit(runs) => {
                for run in runs.into_iter().filter(|run| run.type_no == type_no(3)) {
                    gap |= run.previous != known;
                    known = run.events.last().expect("an event").0;
                    heard += run.events.len();
                }
            }
        }
    }
    assert_eq!(gap, heard < sent.len(), "{heard} of {}", sent.len());
}

pub async fn what_is_listened_to_comes_from_the_answer_on<H: Home>() {
    let (_home, store) = fresh::<H>();
    let mut feed = store.live();
    for number in [5, 70, 6] {
        store.listen(Partition::of(type_no(number))).await.expect("the store brings it");
        let positions = append(&store, group(number, 2, &[])).await;
        loop {
            let run = next(&mut feed).await.remove(0);
            if run.type_no == type_no(number) {
                assert_eq!(run.events.iter().map(|(position, _)| *position).collect::<Vec<_>>(), positions);
                break;
            }
        }
        // Again is nothing new, and other partitions stay.
        store.listen(Partition::of(type_no(number))).await.expect("the store brings it");
    }
}
