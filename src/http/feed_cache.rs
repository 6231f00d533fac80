//! What requests for the same feed share, so that many readers cost the store little more than one.
//!
//! Nothing here is ever older than a look at the store that began after the request came: a body is used again only
//! under the stamp that the store gives now, and a look is shared only by those who came before it began.

use super::Problem;
use super::feed_tag::Content;
use crate::event::EventId;
use crate::store::{Stamp, StoreError};
use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{Semaphore, oneshot};

/// Bytes of bodies kept in the whole process; what came first goes first.
const KEPT: usize = 16 << 20;
/// A body larger than this is not kept.
const LARGEST: usize = KEPT / 8;
/// Requests that have waited and may look at the store at a time: an event that wakes thousands must not flood it.
const LATE: usize = 32;
/// Pages that are read at a time: each may take twice 16 MiB until it is whole.
const READERS: usize = 8;

/// A page as it leaves.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The body.
    pub body: Bytes,
    /// Whether it shows no event.
    pub empty: bool,
    /// Where the page was cut.
    pub more: Option<EventId>,
}

/// Shared by all workers.
pub struct Feeds {
    /// Looks at the store for a stamp.
    pub stamps: Flights<Result<Stamp, StoreError>>,
    /// Pages being read.
    pub pages: Flights<Result<Rendered, Problem>>,
    /// Turns of those who read one.
    pub readers: Semaphore,
    /// Turns of those who have waited.
    pub late: Semaphore,
    bodies: Mutex<Bodies>,
}

#[derive(Default)]
struct Bodies {
    by_content: HashMap<Content, Rendered>,
    order: VecDeque<Content>,
    bytes: usize,
}

impl Default for Feeds {
    fn default() -> Self {
        let late = Semaphore::new(LATE);
        let readers = Semaphore::new(READERS);
        Self { stamps: Flights::default(), pages: Flights::default(), readers, late, bodies: Mutex::default() }
    }
}

impl Feeds {
    /// The page of this content, if it is kept.
    pub fn get(&self, content: &Content) -> Option<Rendered> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).by_content.get(content).cloned()
    }

    /// Keeps the page of this content for a while.
    pub fn put(&self, content: Content, page: &Rendered) {
        if page.body.len() > LARGEST {
            return;
        }
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        if bodies.by_content.insert(content, page.clone()).is_some() {
            return;
        }
        bodies.order.push_back(content);
        bodies.bytes += page.body.len();
        while bodies.bytes > KEPT {
            let Some(oldest) = bodies.order.pop_front() else { break };
            let gone = bodies.by_content.remove(&oldest).map_or(0, |page| page.body.len());
            bodies.bytes = bodies.bytes.saturating_sub(gone);
        }
    }
}

/// Answers that are worked out once for all who ask for the same before the work begins. Whoever asks after that waits
/// for the next time, since the answer may be older than the question. What is kept is bounded by those who ask: without
/// them there is nothing.
pub struct Flights<T>(Arc<DashMap<String, Vec<Seat<T>>>>);

/// What was seen by a look that began then.
#[derive(Debug, Clone, Copy)]
pub struct Seen<T> {
    /// What was seen.
    pub what: T,
    /// Everything that had happened by then is in it.
    pub began: Instant,
}

impl<T> Seen<T> {
    /// What is seen from now on.
    pub async fn from_now(look: impl Future<Output = T>) -> Self {
        let began = Instant::now();
        Self { what: look.await, began }
    }
}

/// Somebody who waits.
struct Seat<T> {
    came: Instant,
    turn: oneshot::Sender<Turn<T>>,
}

/// What somebody who waits is told.
enum Turn<T> {
    /// The answer.
    Landed(Seen<T>),
    /// To work it out, for all who wait now.
    Lead(Lead<T>),
}

/// The right, and the duty, to work out the next answer. Handed on when it is dropped, however that comes.
struct Lead<T> {
    flights: Arc<DashMap<String, Vec<Seat<T>>>>,
    key: Option<String>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Flights<T> {
    /// Joins those who wait; `None` when the answer is not being worked out.
    fn wait_for(&self, key: &str) -> Option<oneshot::Receiver<Turn<T>>> {
        let mut waiting = self.0.get_mut(key)?;
        let (turn, told) = oneshot::channel();
        waiting.push(Seat { came: Instant::now(), turn });
        Some(told)
    }

    /// The answer to `key`, by `work` or by that of another who asks for the same.
    pub async fn share<F: Future<Output = Seen<T>>>(&self, key: &str, work: impl FnOnce() -> F) -> Seen<T> {
        let lead = loop {
            let Some(turn) = self.wait_for(key) else {
                match self.0.entry(key.to_owned()) {
                    // Somebody else was faster.
                    Entry::Occupied(_) => continue,
                    Entry::Vacant(vacant) => vacant.insert(Vec::new()),
                };
                break Lead { flights: Arc::clone(&self.0), key: Some(key.to_owned()) };
            };
            match turn.await {
                Ok(Turn::Landed(answer)) => return answer,
                Ok(Turn::Lead(lead)) => break lead,
                // Whoever worked it out was given up in the middle.
                Err(_) => {}
            }
        };
        // On the heap, so that those who only wait are small.
        let answer = Box::pin(work()).await;
        for seat in lead.board(answer.began) {
            // Whoever waited may have given up.
            let _ = seat.turn.send(Turn::Landed(answer.clone()));
        }
        answer
    }
}

impl<T> Lead<T> {
    /// Those who came before the work began.
    fn board(&self, began: Instant) -> Vec<Seat<T>> {
        let Some(mut waiting) = self.flights.get_mut(self.key.as_deref().unwrap_or_default()) else {
            return Vec::new();
        };
        let late = waiting.partition_point(|seat| seat.came <= began);
        let late = waiting.split_off(late);
        std::mem::replace(waiting.value_mut(), late)
    }
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        let Some(mut key) = self.key.take() else { return };
        // Ends when somebody takes it, or nobody waits.
        while self.flights.remove_if(&key, |_, waiting| waiting.is_empty()).is_none() {
            let Some(mut waiting) = self.flights.get_mut(&key) else { return };
            let seat = waiting.pop();
            drop(waiting);
            let Some(seat) = seat else { continue };
            let lead = Lead { flights: Arc::clone(&self.flights), key: Some(key) };
            match seat.turn.send(Turn::Lead(lead)) {
                Err(Turn::Lead(mut lead)) => match lead.key.take() {
                    Some(back) => key = back,
                    None => return,
                },
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn those_who_ask_before_a_look_begins_share_it_and_others_the_next_one() {
        let flights = Arc::new(Flights::default());
        let (count, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        // Each look is let begin, and then let end.
        let ask = || {
            let (flights, count, go) = (Arc::clone(&flights), Arc::clone(&count), Arc::clone(&go));
            tokio::spawn(async move {
                let work = || async {
                    go.notified().await;
                    Seen::from_now(async {
                        let n = count.fetch_add(1, Ordering::SeqCst);
                        go.notified().await;
                        n
                    })
                    .await
                };
                flights.share("key", work).await.what
            })
        };
        let waiting = async |wanted: usize| {
            while flights.0.get("key").map_or(0, |waiting| waiting.len()) != wanted {
                tokio::task::yield_now().await;
            }
        };
        let begun = async |looks: usize| {
            while count.load(Ordering::SeqCst) != looks {
                tokio::task::yield_now().await;
            }
        };
        let early: Vec<_> = (0..6).map(|_| ask()).collect();
        waiting(5).await;
        go.notify_one();
        begun(1).await;
        let late: Vec<_> = (0..7).map(|_| ask()).collect();
        waiting(12).await;
        go.notify_one();
        for early in early {
            assert_eq!(early.await.unwrap(), 0);
        }
        // One of those who came late leads the next.
        waiting(6).await;
        assert!(late.iter().all(|late| !late.is_finished()));
        go.notify_one();
        begun(2).await;
        go.notify_one();
        for late in late {
            assert_eq!(late.await.unwrap(), 1);
        }
        assert!(flights.0.is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_look_that_was_given_up() {
        let flights = Arc::new(Flights::default());
        let ask = |work: Duration| {
            let flights = Arc::clone(&flights);
            tokio::spawn(async move { flights.share("key", || Seen::from_now(tokio::time::sleep(work))).await.what })
        };
        let stuck = ask(Duration::from_secs(3600));
        while flights.0.is_empty() {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..5).map(|_| ask(Duration::ZERO)).collect();
        while flights.0.get("key").unwrap().len() < 5 {
            tokio::task::yield_now().await;
        }
        // One of those who wait goes, too.
        others[4].abort();
        stuck.abort();
        for other in others.into_iter().take(4) {
            tokio::time::timeout(Duration::from_secs(10), other).await.unwrap().unwrap();
        }
        assert!(flights.0.is_empty());
    }

    #[test]
    fn bodies_are_kept_up_to_a_bound() {
        let feeds = Feeds::default();
        let view = |start: i64| {
            let slice: crate::event::Slice = "hour".parse().unwrap();
            let bounds = slice.at(start * 3_600_000).unwrap();
            let (client, types, limit, after, show) = Default::default();
            super::super::feed_page::View { slice, bounds, current: false, client, types, limit, after, show }
        };
        let content = |n: i64| Content::new(&[0; 32], &view(n), &super::super::links::Base::fixed("http://h"));
        let page = |len: usize| Rendered { body: Bytes::from(vec![0; len]), empty: false, more: None };
        for n in 0..40 {
            feeds.put(content(n), &page(1 << 20));
        }
        assert!(feeds.get(&content(0)).is_none() && feeds.get(&content(39)).is_some());
        assert_eq!(feeds.bodies.lock().unwrap().by_content.len(), 16);
        feeds.put(content(50), &page(LARGEST + 1));
        assert!(feeds.get(&content(50)).is_none());
    }
}
