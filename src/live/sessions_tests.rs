//! The sessions of a node, at times that the tests say.

use super::*;
use crate::event::{EventId, Position};
use crate::live::LiveEvent;
use crate::live::inbox::{Inbox, queue};
use futures_util::task::noop_waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

fn open(sessions: &mut Sessions, cuts: &Arc<AtomicUsize>) -> Result<(SessionId, Inbox), Refused> {
    let (outbox, inbox) = queue(4);
    let id = SessionId::unused();
    let cuts = Arc::clone(cuts);
    // The first try fails.
    let cut: Cut = Box::new(move || cuts.fetch_add(1, Ordering::Relaxed) > 0);
    let filter = "*".parse().unwrap();
    let subscribe = Subscribe { id, filter, outbox, begin: Begin::Now, cut };
    sessions.subscribe(subscribe, true, Instant::now()).map(|()| (id, inbox))
}

fn sessions(limit: usize) -> Sessions {
    Sessions::new(limit, PATIENCE * 30)
}

fn stand() -> Stand {
    Stand { reached: HashMap::new(), floor: Position::MAX }
}

fn runs(events: u64) -> Vec<EncodedRun> {
    let type_no = TypeNo::new(1).unwrap();
    let events =
        (1..=events).map(|v| LiveEvent { id: EventId::new(type_no, Position::new(v)), json: "{}".into() }).collect();
    vec![EncodedRun { type_no, name: "a".parse().unwrap(), events }]
}

fn take(inbox: &mut Inbox) -> Poll<Result<usize, Ending>> {
    let waker = noop_waker();
    let mut n = 0;
    inbox.poll_take(&mut Context::from_waker(&waker), usize::MAX, |_| n += 1).map(|done| done.map(|_| n))
}

#[test]
fn a_session_that_takes_nothing_is_closed_and_cut_and_others_go_on() {
    let (mut sessions, cuts) = (sessions(10), Arc::default());
    let start = Instant::now();
    let (_, mut slow) = open(&mut sessions, &cuts).unwrap();
    let (_, mut quick) = open(&mut sessions, &cuts).unwrap();
    sessions.hand_on(&runs(4), start);
    assert_eq!(take(&mut quick), Poll::Ready(Ok(4)));
    sessions.sweep(start + PATIENCE / 2);
    assert_eq!((sessions.open.len(), sessions.closing.len()), (2, 0));
    assert!(sessions.any_behind());
    sessions.sweep(start + PATIENCE);
    assert!(!sessions.any_behind());
    assert_eq!((sessions.open.len(), sessions.closing.len(), sessions.len()), (1, 1, 2));
    assert_eq!(take(&mut slow), Poll::Ready(Err(Ending::TooSlow)));
    sessions.hand_on(&runs(1), start);
    assert_eq!(take(&mut quick), Poll::Ready(Ok(1)));

    sessions.sweep(start + PATIENCE + GRACE / 2);
    assert_eq!(cuts.load(Ordering::Relaxed), 0);
    sessions.sweep(start + PATIENCE + GRACE);
    assert_eq!((cuts.load(Ordering::Relaxed), sessions.len()), (1, 2));
    sessions.sweep(start + PATIENCE + GRACE);
    assert_eq!((cuts.load(Ordering::Relaxed), sessions.len()), (2, 1));
}

#[test]
fn a_session_that_keeps_up_with_large_commits_stays() {
    let (mut sessions, cuts) = (sessions(10), Arc::default());
    let start = Instant::now();
    let (_, mut inbox) = open(&mut sessions, &cuts).unwrap();
    for i in 0..100 {
        let now = start + PATIENCE / 4 * i;
        sessions.hand_on(&runs(1000), now);
        sessions.sweep(now);
        assert_eq!(take(&mut inbox), Poll::Ready(Ok(1000)));
    }
    assert_eq!(sessions.open.len(), 1);
    sessions.sweep(start + PATIENCE * 50);
    assert!(sessions.behind.is_empty());
}

#[test]
fn a_session_that_takes_a_large_commit_slowly_gets_all_of_it() {
    let (mut sessions, cuts) = (sessions(10), Arc::default());
    let start = Instant::now();
    let (_, mut inbox) = open(&mut sessions, &cuts).unwrap();
    sessions.hand_on(&runs(100), start);
    let waker = noop_waker();
    for i in 1..=100 {
        sessions.sweep(start + PATIENCE / 2 * i);
        assert!(inbox.poll_take(&mut Context::from_waker(&waker), 1, |_| {}).is_ready());
    }
    assert_eq!(sessions.open.len(), 1);
}

#[test]
fn a_session_without_room_says_where_it_stands_and_is_closed_if_it_takes_nothing() {
    let (mut sessions, cuts) = (sessions(10), Arc::default());
    let start = Instant::now();
    let (id, mut inbox) = open(&mut sessions, &cuts).unwrap();
    let handed = sessions.hand_on(&runs(5), start);
    assert!(handed.taken == 1 && handed.refused.is_empty());
    let handed = sessions.hand_on(&runs(3), start);
    assert_eq!(handed.taken, 0);
    assert_eq!(handed.refused[&id], HashMap::from([(TypeNo::new(1).unwrap(), Position::new(0))]));
    sessions.fall_behind(id, stand(), start);
    assert_eq!((sessions.open.len(), sessions.away.len(), sessions.len()), (0, 1, 1));
    sessions.sweep(start + PATIENCE / 2);
    assert_eq!(take(&mut inbox), Poll::Ready(Ok(5)));
    sessions.sweep(start + PATIENCE);
    assert_eq!(sessions.away.len(), 1);
    assert_eq!(sessions.attach(id), Some("*".parse().unwrap()));
    assert_eq!((sessions.open.len(), sessions.away.len()), (1, 0));

    sessions.hand_on(&runs(5), start);
    sessions.hand_on(&runs(1), start);
    sessions.fall_behind(id, stand(), start);
    sessions.sweep(start + PATIENCE * 3);
    assert_eq!((sessions.away.len(), sessions.closing.len()), (0, 1));
    assert_eq!(sessions.attach(id), None);
    assert_eq!(take(&mut inbox), Poll::Ready(Err(Ending::TooSlow)));
    sessions.unsubscribe(id);
    assert_eq!((sessions.len(), cuts.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn a_session_that_never_catches_up_is_closed_though_it_reads() {
    let (mut sessions, cuts) = (sessions(10), Arc::default());
    let start = Instant::now();
    let (id, inbox) = open(&mut sessions, &cuts).unwrap();
    sessions.fall_behind(id, stand(), start);
    for second in 1..CATCH_UP.as_secs() {
        inbox.got_somewhere();
        sessions.sweep(start + Duration::from_secs(second));
        assert_eq!(sessions.away.len(), 1, "{second}");
    }
    inbox.got_somewhere();
    sessions.sweep(start + CATCH_UP);
    assert_eq!(sessions.closing.len(), 1);
}

#[test]
fn no_more_than_the_limit() {
    let (mut sessions, cuts) = (sessions(1), Arc::default());
    let (id, _inbox) = open(&mut sessions, &cuts).unwrap();
    assert_eq!(open(&mut sessions, &cuts).err(), Some(Refused::TooMany));
    sessions.unsubscribe(id);
    assert!(open(&mut sessions, &cuts).is_ok());
}

#[test]
fn at_the_end_all_are_told_and_waited_for() {
    let (mut sessions, cuts) = (sessions(10), Arc::default());
    let start = Instant::now();
    let (id, mut inbox) = open(&mut sessions, &cuts).unwrap();
    let (_, _stuck) = open(&mut sessions, &cuts).unwrap();
    let mut closed = sessions.close_all(start);
    assert_eq!(open(&mut sessions, &cuts).err(), Some(Refused::Stopping));
    assert_eq!(take(&mut inbox), Poll::Ready(Err(Ending::GoingAway)));
    sessions.unsubscribe(id);
    assert!(closed.try_recv().is_err());
    sessions.sweep(start + GRACE);
    assert!(closed.try_recv().is_err());
    // Whether it can be cut or not.
    sessions.sweep(start + GRACE + GRACE);
    assert!(closed.try_recv().is_ok());
    assert_eq!(cuts.load(Ordering::Relaxed), 2);
    assert!(sessions.close_all(start).try_recv().is_ok());
}
