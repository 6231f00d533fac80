//! What was answered is there again after a restart.

use crate::kit::*;
use crate::registry::put;
use event_source_api::store::*;

pub async fn everything_outlives_a_restart<H: Home>() {
    let (home, store) = fresh::<H>();
    let record = put(&store, "a:b", "1h", 0).await;
    let number = record.type_no.get();
    let hook = stream(number, "hook");
    let positions = append(&store, AppendGroup { ttl: ttl("1h"), ..group(number, 100, &["hook"]) }).await;
    let all = ids(number, &positions);
    let client: event_source_api::event::ClientId = "c".parse().expect("a client");
    let mark = MarkRequest { id: all[0], ttl: ttl("1h"), client: client.clone() };
    store.mark(&[mark]).await.expect("an answer");
    let one = store.claim(claim(&hook, 10)).await.expect("a claim");
    let exceptions = vec![
        (one.events[0].clone(), Disposition::Dead(failure(3, "gone"))),
        (one.events[1].clone(), Disposition::Retry { after: Default::default(), failure: failure(1, "busy") }),
    ];
    store.settle(Settle { exceptions, ..delivered(&hook, &one) }).await.expect("an answer");
    let held = store.claim(claim(&hook, 5)).await.expect("a claim");
    store.get_or_discard(&[("typo".parse().expect("a type"), 2)], true).await.expect("an answer");
    let before = counts(&store, &hook).await;
    store.close().await.expect("closed");
    drop(store);

    let store = home.open(options());
    assert_eq!(store.types().await.expect("types").0.changes, record.revision);
    let kept = TypeRef { type_no: record.type_no, ttl: ttl("1h") };
    assert_eq!(ids_of(&read(&store, query(vec![kept.clone()], 1000)).await), newest_first(all.clone()));
    let processed = ReadQuery { marked: Marked::Processed(client), ..query(vec![kept], 1000) };
    assert_eq!(ids_of(&read(&store, processed).await), all[..1]);
    assert_eq!(counts(&store, &hook).await, before);
    assert_eq!(store.dead_letters(&hook, None, 10).await.expect("letters").len(), 1);
    assert_eq!(store.discarded().await.expect("a list").len(), 1);
    let rest = store.claim(claim(&hook, 1000)).await.expect("a claim");
    let settled = store.settle(delivered(&hook, &held)).await.expect("an answer");
    if H::CLAIMS_OUTLIVE {
        assert_eq!((rest.events.len(), settled), (100 - 9 - 5, Fenced::Done(None)));
        assert!(rest.lease > held.lease);
    } else {
        assert_eq!((rest.events.len(), settled), (100 - 9, Fenced::Lost));
    }
    // Positions go on rising.
    assert!(append(&store, group(number, 1, &[])).await[0] > positions[99]);
}
