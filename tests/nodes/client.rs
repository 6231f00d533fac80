//! A client behind a balancer that goes round: each request to the next node, and what fails is repeated, which its
//! Idempotency-Key makes safe.

use crate::support::http::{Connection, Response, request};
use crate::support::wait::{PATIENCE, within};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Longest wait for an answer before the next node is asked.
const ANSWER: Duration = Duration::from_secs(3);
/// Between repetitions, so that a node on its way out is not asked without end.
const AGAIN: Duration = Duration::from_millis(20);

/// The nodes that the balancer knows, whether or not they are there.
pub type Known = Rc<RefCell<Vec<SocketAddr>>>;

/// One client with a kept connection to each node.
pub struct Client {
    known: Known,
    next: usize,
    lines: HashMap<SocketAddr, Connection>,
    /// Requests that had to be repeated.
    pub repeated: usize,
    /// How long something may be repeated.
    pub patience: Duration,
}

impl Client {
    /// A client that begins with the node at `first`.
    pub fn new(known: &Known, first: usize) -> Self {
        Self { known: Rc::clone(known), next: first, lines: HashMap::new(), repeated: 0, patience: PATIENCE }
    }

    /// Sends an event under a key until a node has accepted it; its id. Anything but a 202, a 503 and a connection that
    /// breaks is a fault.
    pub async fn send(&mut self, ty: &str, payload: Value, key: &str) -> String {
        let body = json!({"type": ty, "payload": payload}).to_string();
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        let bytes = request("POST", "/api/events/send", &headers, Some(body.as_bytes()));
        within(self.patience, "an event to be accepted by any node", async {
            loop {
                if let Some(answer) = self.accepted(&bytes).await {
                    return taken(&answer).expect("it is accepted, or answered otherwise").to_owned();
                }
            }
        })
        .await
    }

    /// Sends a batch under a key until each of its events has been accepted by a node; their ids, which no repetition
    /// changes.
    pub async fn send_all(&mut self, events: &[(&str, Value)], key: &str) -> Vec<String> {
        let items: Vec<_> = events.iter().map(|(ty, payload)| json!({"type": ty, "payload": payload})).collect();
        let body = json!(items).to_string();
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        let bytes = request("POST", "/api/events/send", &headers, Some(body.as_bytes()));
        let mut ids: Vec<Option<String>> = vec![None; events.len()];
        within(self.patience, "a batch to be accepted by any node", async {
            loop {
                let answer = self.accepted(&bytes).await.map(|answer| answer.as_array().expect("an array").clone());
                for (id, item) in ids.iter_mut().zip(answer.unwrap_or_default()) {
                    match taken(&item) {
                        Some(now) => {
                            assert!(id.as_deref().is_none_or(|before| before == now), "{id:?} before: {item}");
                            *id = Some(now.to_owned());
                        }
                        // On a cluster parts of a batch fail alone.
                        None => assert_eq!(item["status"], 503, "{item}"),
                    }
                }
                if ids.iter().all(Option::is_some) {
                    return ids.into_iter().flatten().collect();
                }
            }
        })
        .await
    }

    /// A 202's body; `None`, after a pause, when the request is to be repeated.
    async fn accepted(&mut self, bytes: &[u8]) -> Option<Value> {
        if let Some(answer) = self.ask(bytes).await {
            if answer.status == 202 {
                return Some(answer.json());
            }
            answer.problem(503);
        }
        self.repeated += 1;
        tokio::time::sleep(AGAIN).await;
        None
    }

    /// Asks the next node; `None` when nothing is known of what became of it.
    async fn ask(&mut self, bytes: &[u8]) -> Option<Response> {
        let address = {
            let known = self.known.borrow();
            self.next = (self.next + 1) % known.len();
            known[self.next]
        };
        let mut line = match self.lines.remove(&address) {
            Some(line) => line,
            None => Connection::open(address).await.ok()?,
        };
        let answer = tokio::time::timeout(ANSWER, line.exchange(bytes)).await.ok()?.ok()?;
        if answer.header("connection") != Some("close") {
            self.lines.insert(address, line);
        }
        Some(answer)
    }
}

/// The id of an event that was taken, now or before.
fn taken(item: &Value) -> Option<&str> {
    matches!(item["status"].as_str(), Some("accepted" | "duplicate")).then(|| item["id"].as_str().expect("an id"))
}
