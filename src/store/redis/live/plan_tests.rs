//! Subscriptions, at times that the tests say, on servers that are names.

use super::*;

const A: &str = "a";
const B: &str = "b";

fn p(number: u16) -> Partition {
    Partition::new(number).unwrap()
}

fn low() -> Partitions {
    Partitions::from_bits(0xffff_ffff)
}

fn high() -> Partitions {
    Partitions::ALL.without(low())
}

/// A cluster of two: `a` has the lower half.
fn cluster() -> Vec<(&'static str, Partitions)> {
    vec![(A, low()), (B, high())]
}

/// A plan in which these are subscribed, and the connections to `a` and `b`.
fn subscribed(wanted: &[u16], now: Instant) -> (Plan<&'static str>, LinkNo, LinkNo) {
    let mut plan = Plan::new(true);
    plan.want(wanted.iter().map(|number| p(*number)).collect());
    assert_eq!(plan.next(now), [Do::Find]);
    assert_eq!(plan.found(cluster(), now), []);
    assert_eq!(settle(&mut plan, now), []);
    let links = [A, B].map(|name| match plan.servers.get(name).map(|server| server.link) {
        Some(Link::Up(link)) => link,
        _ => 0,
    });
    (plan, links[0], links[1])
}

/// Does what is to be done, all of which succeeds, until nothing is; which channels were broken.
fn settle(plan: &mut Plan<&'static str>, now: Instant) -> Vec<Partition> {
    let mut broken = Vec::new();
    loop {
        let todo = plan.next(now);
        if todo.is_empty() {
            return broken;
        }
        for act in todo {
            match act {
                Do::Find => assert_eq!(plan.found(cluster(), now), []),
                Do::Connect(link, _) => plan.connected(link),
                Do::Subscribe(link, partition) => {
                    if plan.subscribed(link, partition).unwrap() {
                        broken.push(partition);
                    }
                }
                Do::Unsubscribe(..) | Do::Close(_) => {}
            }
        }
    }
}

#[test]
fn nothing_is_done_for_nobody_and_each_server_gets_its_own() {
    let now = Instant::now();
    let mut plan: Plan<&str> = Plan::new(true);
    assert_eq!((plan.next(now), plan.due(now)), (vec![], None));
    plan.want([p(1), p(40)].into_iter().collect());
    assert_eq!(plan.next(now), [Do::Find]);
    assert_eq!(plan.next(now), []);
    plan.found(cluster(), now);
    assert_eq!(plan.next(now), [Do::Connect(1, A), Do::Connect(2, B)]);
    plan.connected(2);
    assert_eq!(plan.next(now), [Do::Subscribe(2, p(40))]);
    assert_eq!(plan.on(), Partitions::NONE);
    assert_eq!(plan.subscribed(2, p(40)), Some(false));
    assert_eq!(plan.on(), p(40).into());
    assert_eq!(plan.subscribed(2, p(40)), None);
}

#[test]
fn what_is_not_wanted_any_more_is_taken_back_and_the_last_one_closes_its_connection() {
    let now = Instant::now();
    let (mut plan, a, b) = subscribed(&[1, 2, 40], now);
    assert_eq!(plan.want([p(2), p(40)].into_iter().collect()), [Do::Unsubscribe(a, p(1))]);
    assert_eq!(plan.next(now), []);
    assert_eq!(plan.want(p(2).into()), [Do::Unsubscribe(b, p(40))]);
    assert_eq!(plan.next(now), [Do::Close(b)]);
    plan.want([p(2), p(40)].into_iter().collect());
    assert_eq!(settle(&mut plan, now), [], "nobody has wanted what was missed meanwhile");
    assert_eq!(plan.on(), [p(2), p(40)].into_iter().collect());
}

#[test]
fn a_lost_connection_breaks_its_own_channels_alone() {
    let now = Instant::now();
    let (mut plan, a, _) = subscribed(&[1, 40], now);
    assert!(plan.lost(a, now));
    assert_eq!(plan.on(), p(40).into());
    // It is looked for at once, and connected to after a pause.
    assert_eq!(plan.due(now), Some(now + BACKOFF.0));
    let later = now + BACKOFF.0;
    assert_eq!(settle(&mut plan, later), [p(1)]);
    assert_eq!(plan.on().len(), 2);
}

#[test]
fn attempts_come_with_growing_pauses_until_one_succeeds() {
    let mut now = Instant::now();
    let mut plan: Plan<&str> = Plan::new(false);
    plan.want(p(1).into());
    let mut attempts: Vec<Instant> = Vec::new();
    while attempts.len() < 8 {
        for act in plan.next(now) {
            match act {
                Do::Find => drop(plan.found(vec![(A, Partitions::ALL)], now)),
                Do::Connect(link, _) => {
                    attempts.push(now);
                    assert_eq!(plan.lost(link, now), attempts.len() == 1, "only the first failure is news");
                }
                other => panic!("{other:?}"),
            }
        }
        now = plan.due(now).map_or(now, |due| due.max(now));
    }
    let pauses: Vec<u128> = attempts.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2000]);
    plan.found(vec![(A, Partitions::ALL)], now);
    now += BACKOFF.1;
    settle_single(&mut plan, now);
    assert_eq!(plan.on(), p(1).into());
    let Some(Link::Up(link)) = plan.servers.get(A).map(|server| server.link) else { panic!("not connected") };
    assert!(plan.lost(link, now), "a connection that stood and fails is news");
}

fn settle_single(plan: &mut Plan<&'static str>, now: Instant) {
    for _ in 0..10 {
        for act in plan.next(now) {
            match act {
                Do::Find => drop(plan.found(vec![(A, Partitions::ALL)], now)),
                Do::Connect(link, _) => plan.connected(link),
                Do::Subscribe(link, partition) => drop(plan.subscribed(link, partition)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_channel_that_moves_is_subscribed_where_it_is_and_others_stay() {
    let now = Instant::now();
    let (mut plan, a, b) = subscribed(&[1, 2, 40], now);
    assert!(plan.gone(a, p(1), now));
    assert_eq!(plan.on(), [p(2), p(40)].into_iter().collect());
    let later = now + BACKOFF.0;
    // Until it is known where it is, it is tried where it was.
    assert_eq!(plan.next(later), [Do::Find, Do::Subscribe(a, p(1))]);
    let moved = vec![(A, low().without(p(1).into())), (B, high().with(p(1).into()))];
    assert_eq!(plan.found(moved, later), [Do::Unsubscribe(a, p(1))]);
    assert_eq!(plan.next(later), [Do::Subscribe(b, p(1))]);
    assert_eq!(plan.subscribed(b, p(1)), Some(true), "what was said on the way may have been missed");
    assert_eq!(plan.on().len(), 3);
    // A sign of the old connection means nothing any more.
    assert!(!plan.gone(a, p(1), later));
    assert_eq!(plan.on().len(), 3);
}

#[test]
fn a_move_without_a_sign_is_found_by_looking() {
    let now = Instant::now();
    let (mut plan, a, b) = subscribed(&[1, 40], now);
    assert_eq!(plan.due(now), Some(now + REVIEW));
    let later = now + REVIEW;
    assert_eq!(plan.next(later), [Do::Find]);
    assert_eq!(plan.found(vec![(B, Partitions::ALL)], later), [Do::Unsubscribe(a, p(1))]);
    assert_eq!(plan.next(later), [Do::Subscribe(b, p(1)), Do::Close(a)]);
    assert_eq!(plan.subscribed(b, p(1)), Some(true));
}

#[test]
fn what_nobody_announces_is_looked_for_and_the_rest_goes_on() {
    let now = Instant::now();
    let mut plan: Plan<&str> = Plan::new(true);
    plan.want([p(1), p(40)].into_iter().collect());
    assert_eq!(plan.next(now), [Do::Find]);
    plan.found(vec![(B, high())], now);
    assert_eq!(plan.next(now), [Do::Connect(1, B)]);
    plan.connected(1);
    assert_eq!(plan.next(now), [Do::Subscribe(1, p(40))]);
    let later = now + BACKOFF.0;
    assert_eq!(plan.due(now), Some(later));
    assert_eq!(plan.next(later), [Do::Find]);
    assert!(!plan.not_found(later), "it was looked for in vain before");
    assert!(plan.due(later).unwrap() > later + BACKOFF.0);
}

#[test]
fn a_refused_channel_is_not_asked_for_without_a_pause() {
    let now = Instant::now();
    let (mut plan, a, _) = subscribed(&[1], now);
    plan.want([p(1), p(2)].into_iter().collect());
    assert_eq!(plan.next(now), [Do::Subscribe(a, p(2))]);
    assert!(plan.gone(a, p(2), now));
    assert!(!plan.next(now).iter().any(|act| matches!(act, Do::Subscribe(..))));
    assert_eq!(plan.on(), p(1).into());
    let later = now + BACKOFF.0;
    assert_eq!(settle(&mut plan, later), [], "it was never subscribed, so nothing was missed");
    assert_eq!(plan.on().len(), 2);
}
