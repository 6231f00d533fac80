//! Three nodes on a Redis Cluster, one of whose masters is killed under load: nothing that was accepted is lost, nothing
//! is doubled, and types of the other masters go on.

use crate::client::{Client, Known};
use crate::follower::Follower;
use crate::hubs::{self, drained, know};
use crate::support::api::{number, webhook};
use crate::support::hub::{Hub, Setup};
use crate::support::redis::cluster::RedisCluster;
use crate::support::wait::{eventually, within};
use crate::support::webhook::{Webhook, distinct};
use crate::support::ws::Session;
use futures_util::future::join_all;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Their partitions are on three masters, and none alone on one.
const TYPES: [&str; 6] = ["t0", "t1", "t2", "t3", "t4", "t5"];
/// How long a cluster may take to be itself again on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Events of each type that are accepted before the kill, while the master is away, and after it is back.
const EACH: usize = 15;

/// The ids of each type that were answered with 202, as they come.
type Accepted = Rc<RefCell<BTreeMap<&'static str, BTreeSet<u64>>>>;

#[actix_web::test]
async fn nothing_is_lost_or_doubled_when_a_master_is_killed_under_load() {
    let cluster = tokio::task::spawn_blocking(|| RedisCluster::with_replicas(1500)).await.expect("a cluster");
    // A send may take as long as a failover; what takes longer is repeated.
    let setup = Setup::cluster(cluster).set("store.wait_replicas", 1).set("store.timeout", "4s");
    setup.redis_cluster().until_replicated();
    let hubs = hubs::start(&setup, 3).await;
    let hook = Webhook::start().await;
    let accepted = Accepted::default();
    let mut firsts = Vec::new();
    for (n, ty) in TYPES.into_iter().enumerate() {
        hubs[n % 3].register_with(ty, "1h", json!([webhook("hook", &hook.uri("/"))])).await;
        know(&hubs, ty).await;
    }
    let known: Known = Rc::new(RefCell::new(hubs.iter().map(Hub::address).collect()));
    let mut client = patient(&known, 0);
    for ty in TYPES {
        firsts.push(client.send(ty, json!("first"), &format!("first/{ty}")).await);
    }
    // The registry's own: there is more to it than to any other.
    let (victim, lost, kept) = {
        let cluster = setup.redis_cluster();
        let victim = cluster.serving("reg");
        let at: Vec<usize> = (0..TYPES.len()).map(|number| cluster.serving(&number.to_string())).collect();
        let (lost, kept): (Vec<_>, Vec<_>) = (0..TYPES.len()).partition(|number| at[*number] == victim);
        (victim, lost, kept)
    };
    assert!(!lost.is_empty() && kept.len() > 2, "types of one master only are lost: {lost:?}");

    // At each node a session that stays, and one that goes away meanwhile and comes back.
    let mut staying = Vec::new();
    for hub in &hubs {
        staying.push(Staying::open(hub).await);
    }
    let followed: Vec<usize> = (0..3).map(|n| if n < 2 { lost[0] } else { kept[0] }).collect();
    let followers: Vec<_> =
        followed.iter().enumerate().map(|(n, ty)| Follower::start(&known, n, TYPES[*ty], &firsts[*ty])).collect();

    let stop = Rc::new(Cell::new(false));
    let mut senders: Vec<_> = (0..TYPES.len()).map(|n| one_by_one(&known, n, &stop, &accepted)).collect();
    senders.push(in_batches(&known, &stop, &accepted));
    let all: Vec<usize> = (0..TYPES.len()).collect();
    until_more(&accepted, &all, EACH).await;

    setup.redis_cluster().nodes[victim].kill();
    followers.iter().for_each(Follower::hang_up);
    // No replica has taken over yet, and other masters' types are sent all the same.
    let before = counts(&accepted);
    let serving = {
        let setup = setup.clone();
        tokio::task::spawn_blocking(move || setup.redis_cluster().until_moved("reg", victim))
    };
    serving.await.expect("a new master");
    for (ty, before) in kept.iter().zip(kept.iter().map(|ty| before[*ty])) {
        let meanwhile = counts(&accepted)[*ty] - before;
        assert!(meanwhile > 0, "nothing of {} was accepted while another master was away", TYPES[*ty]);
    }
    followers.iter().for_each(Follower::hang_up);
    // The new master has no replica before the old one is back, and so nothing may be promised that is on it.
    {
        let setup = setup.clone();
        let back = move || {
            let mut cluster = setup.redis_cluster();
            cluster.nodes[victim].restart();
            cluster.until_replicated();
        };
        tokio::task::spawn_blocking(back).await.expect("a replica");
    }
    until_more(&accepted, &all, EACH).await;
    followers.iter().for_each(Follower::hang_up);
    until_more(&accepted, &all, 3).await;
    stop.set(true);
    let repeated = within(PATIENCE, "the senders to finish", join_all(senders)).await;
    let repeated: usize = repeated.into_iter().map(|sender| sender.expect("a sender ran")).sum();
    // What was answered by the master that is gone is known to the one that took over.
    for (ty, first) in TYPES.into_iter().zip(&firsts) {
        assert_eq!(client.send(ty, json!("first"), &format!("first/{ty}")).await, *first, "the same key and body");
    }

    for (ty, first) in TYPES.into_iter().zip(&firsts) {
        accepted.borrow_mut().get_mut(ty).expect("it was sent").insert(number(first));
    }
    let accepted = accepted.take();
    let count: usize = accepted.values().map(BTreeSet::len).sum();
    for (n, ty) in TYPES.into_iter().enumerate() {
        let stored = hubs[n % 3].walk(&format!("100days/current?limit=1000&types={ty}")).await;
        let stored: BTreeSet<u64> = stored.iter().map(|id| number(id)).collect();
        assert_eq!(stored, accepted[ty], "{ty}: stored and not accepted, or accepted and not stored");
    }
    hook.until_within(PATIENCE, "every event", |r| distinct(r).len() >= count).await;
    let delivered: BTreeSet<u64> = distinct(&hook.received()).iter().map(|id| number(id)).collect();
    assert_eq!(delivered, accepted.values().flatten().copied().collect());
    for ty in TYPES {
        let told = drained(&hubs[1], ty, "hook").await;
        assert_eq!((&told["delivered"], &told["failed"]), (&json!(accepted[ty].len()), &json!(0)), "{told}");
    }

    for (n, session) in staying.iter().enumerate() {
        eventually(PATIENCE, "a session to have seen every event", || async {
            assert!(!session.task.is_finished(), "the session at node {n} has ended");
            (session.seen.borrow().values().map(Vec::len).sum::<usize>() >= count - TYPES.len()).then_some(())
        })
        .await;
        for (ty, first) in TYPES.into_iter().zip(&firsts) {
            let wanted: Vec<u64> = accepted[ty].iter().copied().filter(|id| *id != number(first)).collect();
            assert_eq!(session.seen.borrow().get(ty), Some(&wanted), "{ty} at node {n}: in order, once, without a gap");
        }
    }
    for (follower, ty) in followers.iter().zip(followed) {
        let wanted: Vec<u64> = accepted[TYPES[ty]].iter().copied().filter(|id| *id != number(&firsts[ty])).collect();
        eventually(PATIENCE, "a session that comes back to have seen every event", || async {
            (follower.seen.borrow().len() >= wanted.len()).then_some(())
        })
        .await;
        assert_eq!(*follower.seen.borrow(), wanted, "{}: in order, once, without a gap", TYPES[ty]);
        assert!(follower.opened.get() > 1, "it went away and came back");
    }
    let twice = hook.received().len() - count;
    eprintln!("events: {count}, repeated requests: {repeated}, deliveries made twice: {twice}");
}

/// A session of all types that is never closed by its client.
struct Staying {
    /// The ids of each type that it has been sent, in their order.
    seen: Rc<RefCell<BTreeMap<String, Vec<u64>>>>,
    task: JoinHandle<()>,
}

impl Staying {
    async fn open(hub: &Hub) -> Self {
        let mut session = Session::open(hub, "?types=t*").await;
        let seen = Rc::<RefCell<BTreeMap<String, Vec<u64>>>>::default();
        let sight = Rc::clone(&seen);
        let task = actix_web::rt::spawn(async move {
            loop {
                let event = session.event().await;
                let (ty, id) = (event["type"].as_str().expect("a type"), event["id"].as_str().expect("an id"));
                sight.borrow_mut().entry(ty.to_owned()).or_default().push(number(id));
            }
        });
        Self { seen, task }
    }
}

/// Events of one type, one after the other, through all nodes in turn. Ends with the number of repeated requests.
fn one_by_one(known: &Known, n: usize, stop: &Rc<Cell<bool>>, accepted: &Accepted) -> JoinHandle<usize> {
    let (mut client, stop, accepted) = (patient(known, n), Rc::clone(stop), Rc::clone(accepted));
    actix_web::rt::spawn(async move {
        for turn in 0.. {
            if stop.get() {
                break;
            }
            let key = format!("{n}/{turn}");
            let id = client.send(TYPES[n], json!(key), &key).await;
            note(&accepted, TYPES[n], &id);
            // A steady load, not all that the machine can do.
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        client.repeated
    })
}

/// Batches of all types: parts of them are on a master that is away, and others are not.
fn in_batches(known: &Known, stop: &Rc<Cell<bool>>, accepted: &Accepted) -> JoinHandle<usize> {
    let (mut client, stop, accepted) = (patient(known, 0), Rc::clone(stop), Rc::clone(accepted));
    actix_web::rt::spawn(async move {
        for turn in 0.. {
            if stop.get() {
                break;
            }
            let events: Vec<_> = TYPES.iter().chain(&TYPES).map(|ty| (*ty, json!(turn))).collect();
            let ids = client.send_all(&events, &format!("batch/{turn}")).await;
            events.iter().zip(&ids).for_each(|((ty, _), id)| note(&accepted, ty, id));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        client.repeated
    })
}

fn patient(known: &Known, first: usize) -> Client {
    let mut client = Client::new(known, first);
    client.patience = PATIENCE;
    client
}

fn note(accepted: &Accepted, ty: &str, id: &str) {
    let ty = TYPES.into_iter().find(|known| *known == ty).expect("one of them");
    let fresh = accepted.borrow_mut().entry(ty).or_default().insert(number(id));
    assert!(fresh, "{id} of {ty} was given for two keys, or two events of a batch");
}

/// How many events of each type were accepted.
fn counts(accepted: &Accepted) -> Vec<usize> {
    let accepted = accepted.borrow();
    TYPES.iter().map(|ty| accepted.get(ty).map_or(0, BTreeSet::len)).collect()
}

/// Waits until so many more of each of these types were accepted.
async fn until_more(accepted: &Accepted, types: &[usize], more: usize) {
    let before = counts(accepted);
    eventually(PATIENCE, "more events of each type to be accepted", || async {
        let now = counts(accepted);
        types.iter().all(|ty| now[*ty] >= before[*ty] + more).then_some(())
    })
    .await;
}
