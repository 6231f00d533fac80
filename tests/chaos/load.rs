//! The senders: single events and batches, with and without Idempotency-Key, paced over the time of the plan.

use crate::ledger::{Ledger, Mark};
use crate::scenario::TYPES;
use crate::support::http::{Connection, Response, request};
use crate::support::random::Random;
use crate::world::World;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Senders at a time.
pub const SENDERS: u64 = 12;
/// Longest wait for an answer; shorter than a freeze, so that a key is repeated elsewhere while its first request is
/// still in the hands of a node that stands still.
const ANSWER: Duration = Duration::from_secs(2);
/// Between repetitions of a send, and between looks for a node that is there.
const AGAIN: Duration = Duration::from_millis(50);
/// Between sends of a sender, once enough is acknowledged.
const TRICKLE: Duration = Duration::from_millis(250);
/// One event in so many is refused for ever by the streams that refuse marked ones.
const DOOMED: u64 = 200;

/// The types of events by their share. Of the ordered ones there are few: one at a time takes its time.
const SHARES: [usize; 8] = [0, 0, 0, 0, 0, 1, 2, 2];

/// What the senders share.
pub struct Load {
    /// The nodes they send to.
    pub world: Rc<World>,
    /// What they have sent.
    pub ledger: RefCell<Ledger>,
    /// Acknowledged events wanted at least.
    pub events: u64,
    /// Over which they are spread.
    pub length: Duration,
    /// When it began.
    pub began: Instant,
    /// Events sent so far.
    pub issued: Cell<u64>,
    /// Set when all faults are over: nobody stops before.
    pub calm: Cell<bool>,
}

/// One request, repeated as it is.
struct Send {
    marks: Vec<Mark>,
    bytes: Vec<u8>,
    keyed: bool,
    batch: bool,
}

/// Sends until enough is acknowledged and all faults are over.
pub async fn sender(load: Rc<Load>, number: u64, mut random: Random) {
    let mut line = None;
    for n in 0.. {
        if load.ledger.borrow().acknowledged() >= load.events {
            if load.calm.get() {
                return;
            }
            // A fault takes longer than planned: it still meets some load, and nothing piles up.
            sleep(TRICKLE).await;
        }
        let size = if number % 6 >= 4 { random.between(1, 12) } else { 1 };
        // At an even pace, whatever is in the way: after an outage there is something to catch up with.
        let issued = load.issued.replace(load.issued.get() + size);
        sleep_until(load.began + load.length.mul_f64(issued as f64 / load.events as f64)).await;
        let send = load.make(number, n, size, &mut random);
        while !load.attempt(&send, &mut line, &mut random).await {
            sleep(AGAIN).await;
            // Without a key a repetition would be another event.
            if !send.keyed {
                break;
            }
        }
        if send.keyed && random.once_in(20) {
            // A key that was answered is answered the same again.
            load.attempt(&send, &mut line, &mut random).await;
        }
    }
}

impl Load {
    fn make(&self, sender: u64, n: u64, size: u64, random: &mut Random) -> Send {
        let batch = sender % 6 >= 4;
        let keyed = matches!(sender % 6, 2 | 3 | 5);
        let now = self.began.elapsed();
        let mut marks = Vec::new();
        let mut items = Vec::new();
        for item in 0..size {
            let mark = Mark::new(sender, n, item);
            let ty = *random.pick(&SHARES);
            let pad = "x".repeat(random.between(0, 200) as usize);
            let payload = json!({"mark": mark.0, "doomed": random.once_in(DOOMED), "pad": pad});
            items.push(json!({"type": TYPES[ty].name, "payload": payload}));
            self.ledger.borrow_mut().sends(mark, ty, keyed, now);
            marks.push(mark);
        }
        let body = if batch { Value::from(items) } else { items.remove(0) }.to_string();
        let key = format!("chaos {sender}/{n}");
        let mut headers = vec![("Content-Type", "application/json")];
        if keyed {
            headers.push(("Idempotency-Key", &key));
        }
        let bytes = request("POST", "/api/events/send", &headers, Some(body.as_bytes()));
        Send { marks, bytes, keyed, batch }
    }

    /// Sends it once; whether everything in it is acknowledged now.
    async fn attempt(&self, send: &Send, line: &mut Option<(SocketAddr, Connection)>, random: &mut Random) -> bool {
        let Some(answer) = self.exchange(&send.bytes, line, random).await else { return false };
        let now = self.began.elapsed();
        let mut ledger = self.ledger.borrow_mut();
        match (answer.status, serde_json::from_slice::<Value>(&answer.body)) {
            (202, Ok(Value::Array(results))) if send.batch && results.len() == send.marks.len() => {
                let pairs = send.marks.iter().zip(&results);
                pairs.fold(true, |all, (mark, result)| ledger.answered(*mark, result, now) && all)
            }
            (202, Ok(result)) if !send.batch => ledger.answered(send.marks[0], &result, now),
            // It promises nothing: the event may be stored all the same.
            (503, _) => false,
            _ => {
                let body: String = answer.text().chars().take(300).collect();
                ledger.unexpected(format!("a send was answered with {}: {body}", answer.status));
                true
            }
        }
    }

    /// One exchange with some node that is there; `None` when nothing is known of what became of it.
    async fn exchange(
        &self,
        bytes: &[u8],
        line: &mut Option<(SocketAddr, Connection)>,
        random: &mut Random,
    ) -> Option<Response> {
        // Now and then another node, so that senders do not all gather at one that never fell.
        let mut connection = match line.take().filter(|_| !random.once_in(16)) {
            Some(kept) => kept,
            None => loop {
                let there = self.world.addresses();
                if there.is_empty() {
                    sleep(AGAIN).await;
                    continue;
                }
                let address = *random.pick(&there);
                match timeout(ANSWER, Connection::open(address)).await {
                    Ok(Ok(connection)) => break (address, connection),
                    _ => sleep(AGAIN).await,
                }
            },
        };
        let answer = timeout(ANSWER, connection.1.exchange(bytes)).await.ok()?.ok()?;
        *line = Some(connection);
        Some(answer)
    }
}
