//! A session's end of its queue, without a hub.

use super::super::queue::{Offer, Stand};
use super::*;
use futures_util::task::noop_waker;
use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};

fn events(n: u64) -> Arc<[LiveEvent]> {
    let ty = TypeNo::new(1).unwrap();
    (0..n).map(|i| LiveEvent { id: EventId::new(ty, Position::new(i)), json: "0123456789".into() }).collect()
}

/// A waker that counts how often it was woken.
fn counting_waker() -> (Arc<AtomicUsize>, Waker) {
    struct Count(Arc<AtomicUsize>);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let woken = Arc::<AtomicUsize>::default();
    (Arc::clone(&woken), Arc::new(Count(woken)).into())
}

fn take(inbox: &mut Inbox, budget: usize) -> Poll<Result<usize, Ending>> {
    let waker = noop_waker();
    let mut n = 0;
    inbox.poll_take(&mut Context::from_waker(&waker), budget, |_| n += 1).map(|done| done.map(|_| n))
}

#[test]
fn a_commit_larger_than_the_mailbox_reaches_an_idle_session() {
    let (outbox, mut inbox) = queue(4);
    assert_eq!(outbox.offer(&events(1000)), Offer::Behind);
    assert_eq!(outbox.offer(&events(1)), Offer::Refused);
    assert_eq!(take(&mut inbox, usize::MAX), Poll::Ready(Ok(1000)));
    assert!(!outbox.is_behind());
    assert_eq!(outbox.offer(&events(1)), Offer::Taken);
}

#[test]
fn a_mailbox_of_events_waits_and_no_more_until_some_are_taken() {
    let (outbox, mut inbox) = queue(4);
    let offers: Vec<_> = (0..5).map(|_| outbox.offer(&events(1))).collect();
    assert_eq!(offers, [Offer::Taken, Offer::Taken, Offer::Taken, Offer::Behind, Offer::Refused]);
    assert!(outbox.stand(Stand { reached: HashMap::new(), floor: Position::MAX }));
    let before = outbox.progress();
    assert_eq!(take(&mut inbox, 10), Poll::Ready(Ok(1)));
    assert!(outbox.progress() > before);
    assert_eq!(outbox.offer(&events(1)), Offer::Behind);
}

#[test]
fn a_large_commit_is_taken_in_pieces() {
    let (outbox, mut inbox) = queue(4);
    outbox.offer(&events(3));
    outbox.offer(&events(5));
    assert_eq!(take(&mut inbox, 30), Poll::Ready(Ok(3)));
    assert!(outbox.is_behind());
    assert_eq!(take(&mut inbox, 25), Poll::Ready(Ok(3)));
    assert_eq!(take(&mut inbox, 1000), Poll::Ready(Ok(2)));
    assert_eq!(take(&mut inbox, 1000), Poll::Pending);
}

#[test]
fn what_was_read_before_it_came_by_the_queue_is_left_out() {
    let (outbox, mut inbox) = queue(4);
    inbox.skip.insert(TypeNo::new(1).unwrap(), Position::new(2));
    outbox.offer(&events(5));
    assert_eq!(take(&mut inbox, 1000), Poll::Ready(Ok(2)));
    assert!(inbox.skip.is_empty());
    assert!(!outbox.is_behind());
}

#[test]
fn a_slow_session_hears_it_before_what_is_queued_and_a_closed_one_after() {
    let (outbox, mut inbox) = queue(4);
    outbox.offer(&events(3));
    outbox.end(Ending::TooSlow);
    assert_eq!(take(&mut inbox, 1000), Poll::Ready(Err(Ending::TooSlow)));
    assert_eq!(inbox.cursor(), Some(events(1)[0].id.get() - 1));

    let (outbox, mut inbox) = queue(4);
    assert_eq!(inbox.cursor(), None);
    outbox.offer(&events(3));
    outbox.end(Ending::GoingAway);
    assert_eq!(take(&mut inbox, 1000), Poll::Ready(Ok(3)));
    assert_eq!(inbox.cursor(), Some(events(3)[2].id.get()));
    assert_eq!(take(&mut inbox, 1000), Poll::Ready(Err(Ending::GoingAway)));
}

#[test]
fn a_session_that_waits_is_woken_by_an_event_and_by_the_end() {
    let (outbox, mut inbox) = queue(4);
    let (woken, waker) = counting_waker();
    let mut cx = Context::from_waker(&waker);
    assert!(inbox.poll_take(&mut cx, 100, |_| {}).is_pending());
    outbox.offer(&events(1));
    assert_eq!(woken.swap(0, Ordering::SeqCst), 1);
    // It does not wait now.
    outbox.offer(&events(1));
    assert_eq!(woken.load(Ordering::SeqCst), 0);
    assert!(inbox.poll_take(&mut cx, 1000, |_| {}).is_ready());
    assert!(inbox.poll_take(&mut cx, 1000, |_| {}).is_pending());
    outbox.end(Ending::GoingAway);
    assert_eq!(woken.load(Ordering::SeqCst), 1);
    assert_eq!(inbox.poll_take(&mut cx, 1000, |_| {}), Poll::Ready(Err(Ending::GoingAway)));
}

#[test]
fn a_session_that_has_ended_takes_nothing() {
    let (outbox, inbox) = queue(4);
    drop(inbox);
    assert_eq!(outbox.offer(&events(1)), Offer::Gone);
}
